use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use actix_web::body::{BoxBody, to_bytes};
use actix_web::dev::HttpServiceFactory;
use actix_web::error::ErrorBadGateway;
use actix_web::http::{Method, header};
use actix_web::middleware::{Next, from_fn};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, Handler, HttpRequest, Responder, web};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::{join, select};

use super::*;

const SECRET: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";

fn builder() -> Builder {
    let fasten = Fasten::live(Secret::new(SECRET).unwrap());
    Receiver::builder("fasten", fasten).store(MemoryStore::new(100))
}

fn verify() -> Verify {
    Verify::new(builder().build().unwrap())
}

fn export() -> testing::Sample {
    testing::fasten("patient.ehi_export_success").secret(SECRET)
}

/// Returns a genuine delivery. All of them are of the same event.
fn genuine() -> TestRequest {
    export().actix_request("/")
}

fn genuine_of(event: &str) -> TestRequest {
    export().id(event).actix_request("/")
}

fn altered() -> TestRequest {
    let altered = export().request("/").map(|body| [&body, b" ".as_slice()].concat().into());
    testing::actix_request(altered)
}

fn endpoint<A>(verify: Verify, handler: impl Handler<A, Output: Responder + 'static>) -> impl HttpServiceFactory
where
    A: FromRequest + 'static,
{
    web::resource("/").wrap(verify).route(web::route().to(handler))
}

/// The parts of a response that a middleware outside can read: status and extensions.
type Seen = (u16, Option<Outcome>, Option<Reason>);

const HANDLED: Seen = (204, Some(Outcome::Handled), None);

fn rejected_for(reason: Reason) -> Seen {
    (reason.status().as_u16(), Some(reason.outcome()), Some(reason))
}

fn seen<B>(response: &HttpResponse<B>) -> Seen {
    let extensions = response.extensions();
    (response.status().as_u16(), extensions.get().copied(), extensions.get().copied())
}

async fn answer<S, R, B>(app: &S, request: R) -> Seen
where
    S: Service<R, Response = ServiceResponse<B>, Error = Error>,
{
    seen(app.call(request).await.unwrap().response())
}

async fn error<S, R, B>(app: &S, request: R) -> HttpResponse
where
    S: Service<R, Response = ServiceResponse<B>, Error = Error>,
{
    app.call(request).await.err().expect("an error").error_response()
}

async fn is_empty(response: HttpResponse<impl MessageBody>) -> bool {
    to_bytes(response.into_body()).await.is_ok_and(|body| body.is_empty())
}

#[derive(Clone, Default)]
struct Calls(Rc<AtomicUsize>);

impl Calls {
    fn count(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn so_far(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A handler that signals when it has started, and waits until it may finish.
#[derive(Clone, Default)]
struct Slow {
    started: Rc<Notify>,
    finish: Rc<Notify>,
}

impl Slow {
    fn endpoint(&self, verify: Verify) -> impl HttpServiceFactory + use<> {
        let slow = self.clone();
        endpoint(verify, move || {
            let slow = slow.clone();
            async move {
                slow.started.notify_one();
                slow.finish.notified().await;
                HttpResponse::NoContent().finish()
            }
        })
    }

    async fn starts_in<F: Future<Output: fmt::Debug>>(&self, call: &mut Pin<Box<F>>) {
        select! {
            answer = call => panic!("answered before the handler may finish: {answer:?}"),
            () = self.started.notified() => {}
        }
    }
}

#[actix_web::test]
async fn extractors_come_in_any_order_and_leave_the_body_for_others() {
    type Exported = Webhook<fasten::Event>;
    async fn first(_: Exported, delivery: Delivery, body: web::Json<serde_json::Value>) -> impl Responder {
        if body["id"] == delivery.id().unwrap() { HttpResponse::NoContent() } else { HttpResponse::Conflict() }
    }
    async fn last(body: web::Bytes, delivery: Delivery, Webhook(event): Exported) -> impl Responder {
        let same = body == *delivery.body() && matches!(event, fasten::Event::EhiExportSuccess(_));
        if same { HttpResponse::NoContent() } else { HttpResponse::Conflict() }
    }
    let app = init_service(App::new().service(endpoint(verify(), first))).await;
    assert_eq!(answer(&app, genuine().to_request()).await, HANDLED);
    let app = init_service(App::new().service(endpoint(verify(), last))).await;
    assert_eq!(answer(&app, genuine().to_request()).await, HANDLED);
}

#[actix_web::test]
async fn a_misplaced_extractor_is_answered_500() {
    async fn typed(_: Webhook<fasten::Event>) -> impl Responder {
        "handled"
    }
    async fn plain(_: Delivery) -> impl Responder {
        "handled"
    }
    async fn other(_: Webhook<healthsync::Event>) -> impl Responder {
        "handled"
    }
    let bare = App::new().route("/typed", web::post().to(typed)).route("/plain", web::post().to(plain));
    let app = init_service(bare.service(endpoint(verify(), other))).await;
    for path in ["/typed", "/plain", "/"] {
        let response = call_service(&app, export().actix_request(path).to_request()).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        assert!(is_empty(response.into_parts().1).await, "{path}");
    }
}

#[actix_web::test]
async fn an_event_is_handled_once() {
    let calls = Calls::default();
    let counted = calls.clone();
    let handler = move || {
        counted.count();
        HttpResponse::NoContent()
    };
    let app = init_service(App::new().service(endpoint(verify(), handler))).await;
    assert_eq!(answer(&app, genuine().to_request()).await, HANDLED);
    let again = call_service(&app, genuine().to_request()).await.into_parts().1;
    assert_eq!(seen(&again), rejected_for(Reason::Duplicate));
    assert!(is_empty(again).await);
    assert_eq!(calls.so_far(), 1);
}

#[actix_web::test]
async fn middlewares_outside_see_the_reason_and_clients_do_not() {
    let (notes, calls) = (Rc::new(RefCell::new(Vec::new())), Calls::default());
    let (noted, counted) = (notes.clone(), calls.clone());
    let handler = move || {
        counted.count();
        HttpResponse::NoContent()
    };
    let app = App::new().service(endpoint(verify(), handler)).wrap_fn(move |request, inner| {
        let (noted, answer) = (noted.clone(), inner.call(request));
        async move {
            let response = answer.await?;
            noted.borrow_mut().push(seen(response.response()));
            Ok(response)
        }
    });
    let app = init_service(app).await;
    let response = call_service(&app, altered().to_request()).await.into_parts().1;
    assert_eq!(*notes.borrow(), [rejected_for(Reason::SignatureMismatch)]);
    assert_eq!(calls.so_far(), 0);
    assert!(is_empty(response).await);
}

#[actix_web::test]
async fn rejections_have_their_headers() {
    let receiver = builder().build().unwrap();
    let app = init_service(App::new().service(endpoint(Verify::new(receiver.clone()), HttpResponse::NoContent))).await;

    let get = call_service(&app, genuine().method(Method::GET).to_request()).await;
    assert_eq!(seen(get.response()), rejected_for(Reason::Method));
    assert_eq!(get.headers().get(header::ALLOW).unwrap(), "POST");

    receiver.drain(Duration::ZERO).await;
    let late = call_service(&app, genuine().to_request()).await;
    assert_eq!(seen(late.response()), rejected_for(Reason::Draining));
    assert_eq!(late.headers().get(header::RETRY_AFTER).unwrap(), "5");
}

#[actix_web::test]
async fn the_signature_header_must_occur_exactly_once() {
    let app = init_service(App::new().service(endpoint(verify(), HttpResponse::NoContent))).await;
    let mut request = genuine().to_request();
    request.headers_mut().remove("webhook-signature");
    assert_eq!(answer(&app, request).await, rejected_for(Reason::MissingHeader));

    let mut request = genuine().to_request();
    let signature = request.headers().get("webhook-signature").unwrap().clone();
    request.headers_mut().append("Webhook-Signature".parse().unwrap(), signature);
    assert_eq!(answer(&app, request).await, rejected_for(Reason::RepeatedHeader));
}

#[actix_web::test]
async fn after_a_panic_the_retry_is_handled() {
    let calls = Calls::default();
    let handler = move || {
        let call = calls.count();
        async move {
            assert_ne!(call, 0, "the handler's error");
            HttpResponse::NoContent().finish()
        }
    };
    let app = init_service(App::new().service(endpoint(verify(), handler))).await;
    let panicked = error(&app, genuine().to_request()).await;
    assert_eq!(seen(&panicked), rejected_for(Reason::HandlerPanicked));
    assert!(is_empty(panicked).await);
    assert_eq!(answer(&app, genuine().to_request()).await, HANDLED);
}

#[actix_web::test]
async fn after_an_error_of_the_handler_the_retry_is_handled() {
    let calls = Calls::default();
    let handler = move || {
        let call = calls.count();
        async move { if call == 0 { Err(ErrorBadGateway("the handler's error")) } else { Ok(HttpResponse::NoContent()) } }
    };
    let app = init_service(App::new().service(endpoint(verify(), handler))).await;
    assert_eq!(answer(&app, genuine().to_request()).await, (502, Some(Outcome::Failed), None));
    assert_eq!(answer(&app, genuine().to_request()).await, HANDLED);
}

#[actix_web::test]
async fn after_an_error_of_an_inner_middleware_the_retry_is_handled() {
    let calls = Calls::default();
    let failing = move |request, next: Next<_>| {
        let call = calls.count();
        async move { if call == 0 { Err(ErrorBadGateway("the middleware's error")) } else { next.call(request).await } }
    };
    let resource = web::resource("/").wrap(from_fn(failing)).wrap(verify()).to(HttpResponse::NoContent);
    let app = init_service(App::new().service(resource)).await;
    let failed = error(&app, genuine().to_request()).await;
    assert_eq!(seen(&failed), (502, None, None));
    assert_eq!(to_bytes(failed.into_body()).await.unwrap(), "the middleware's error");
    assert_eq!(answer(&app, genuine().to_request()).await, HANDLED);
}

#[actix_web::test]
async fn the_response_of_an_error_decides_about_the_event() {
    #[derive(Debug)]
    struct AlreadyStored;
    impl fmt::Display for AlreadyStored {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("already stored")
        }
    }
    // Its `status_code` is 500.
    impl actix_web::ResponseError for AlreadyStored {
        fn error_response(&self) -> HttpResponse {
            HttpResponse::NoContent().finish()
        }
    }
    let failing = |_, _: Next<BoxBody>| async { Err::<ServiceResponse<BoxBody>, _>(AlreadyStored.into()) };
    let resource = web::resource("/").wrap(from_fn(failing)).wrap(verify()).to(HttpResponse::NoContent);
    let app = init_service(App::new().service(resource)).await;
    assert_eq!(error(&app, genuine().to_request()).await.status(), 204);
    assert_eq!(answer(&app, genuine().to_request()).await, rejected_for(Reason::Duplicate));
}

#[actix_web::test]
async fn the_handler_finishes_after_the_client_disconnects() {
    let slow = Slow::default();
    let app = init_service(App::new().service(slow.endpoint(verify()))).await;
    let mut call = Box::pin(answer(&app, genuine().to_request()));
    slow.starts_in(&mut call).await;
    drop(call);
    slow.finish.notify_one();
    let mut retry = answer(&app, genuine().to_request()).await;
    while retry == rejected_for(Reason::InFlight) {
        retry = answer(&app, genuine().to_request()).await;
    }
    assert_eq!(retry, rejected_for(Reason::Duplicate));
}

#[actix_web::test]
async fn retries_of_an_event_that_is_being_handled_are_rejected_and_other_events_are_not() {
    let slow = Slow::default();
    let app = init_service(App::new().service(slow.endpoint(verify()))).await;
    let mut call = Box::pin(answer(&app, genuine().to_request()));
    slow.starts_in(&mut call).await;
    assert_eq!(answer(&app, genuine().to_request()).await, rejected_for(Reason::InFlight));
    let mut other = Box::pin(answer(&app, genuine_of("another").to_request()));
    slow.starts_in(&mut other).await;
    slow.finish.notify_waiters();
    assert_eq!(join!(call, other), (HANDLED, HANDLED));
}

#[actix_web::test]
async fn a_canceled_handler_is_answered_with_an_error() {
    let (slow, receiver) = (Slow::default(), builder().build().unwrap());
    let app = init_service(App::new().service(slow.endpoint(Verify::new(receiver.clone())))).await;
    let mut call = Box::pin(error(&app, genuine().to_request()));
    slow.starts_in(&mut call).await;
    let (response, canceled) = join!(call, receiver.drain(Duration::ZERO));
    assert_eq!(canceled, 1);
    assert_eq!(seen(&response), rejected_for(Reason::HandlerCanceled));
    assert_eq!(response.headers().get(header::RETRY_AFTER).unwrap(), "5");
}

#[actix_web::test]
async fn a_handler_that_times_out_is_answered_with_an_error() {
    let (slow, receiver) = (Slow::default(), builder().handler_timeout(Duration::from_millis(1)).build().unwrap());
    let app = init_service(App::new().service(slow.endpoint(Verify::new(receiver)))).await;
    assert_eq!(seen(&error(&app, genuine().to_request()).await), rejected_for(Reason::HandlerTimeout));
}

#[actix_web::test]
async fn scopes_can_be_wrapped() {
    // Delays the routing of the second path segment: actix-web panics if the request is still held elsewhere by then.
    async fn later(
        request: ServiceRequest,
        next: Next<impl MessageBody>,
    ) -> Result<ServiceResponse<impl MessageBody>, Error> {
        yield_now().await;
        next.call(request).await
    }
    async fn handler(path: web::Path<(String, u32)>, request: HttpRequest, _: Delivery) -> impl Responder {
        let data = (request.app_data::<u32>(), request.app_data::<u64>());
        let found = *path == ("tenant".to_owned(), 7) && data == (Some(&1), Some(&2));
        if found { HttpResponse::NoContent() } else { HttpResponse::Conflict() }
    }
    let resource = web::resource("/{n}").app_data(2_u64).route(web::post().to(handler));
    let inner = web::scope("/in").app_data(1_u32).wrap(from_fn(later)).service(resource);
    let scope = web::scope("/hooks/{tenant}").wrap(verify()).service(inner);
    let app = init_service(App::new().service(scope)).await;
    let path = "/hooks/tenant/in/7";
    assert_eq!(answer(&app, export().actix_request(path).to_request()).await, HANDLED);
    let again = call_service(&app, export().actix_request(path).to_request()).await;
    assert_eq!(seen(again.response()), rejected_for(Reason::Duplicate));
    assert_eq!(again.request().path(), path);
}

#[actix_web::test]
async fn an_app_can_be_wrapped() {
    let app = init_service(App::new().wrap(verify()).route("/{n}", web::post().to(HttpResponse::NoContent))).await;
    assert_eq!(answer(&app, export().actix_request("/7").to_request()).await, HANDLED);
    assert_eq!(answer(&app, altered().to_request()).await, rejected_for(Reason::SignatureMismatch));
}

const NORTH: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgbm9ydGg=";
const SOUTH: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgc291dGg=";

/// A middleware for the tenants `north` and `south`; the lookup of `lost` fails.
fn per_tenant<K: FromRequest + 'static>(tenant: fn(K) -> String) -> Verify {
    let receiver = |name, secret| {
        let fasten = Fasten::live(Secret::new(secret).unwrap().labeled(name).unwrap());
        (name, Receiver::builder(name, fasten).store(NoDedupe).build().unwrap())
    };
    let tenants = Arc::new(HashMap::from([receiver("north", NORTH), receiver("south", SOUTH)]));
    Verify::per_tenant(move |key| {
        let (tenants, tenant) = (tenants.clone(), tenant(key));
        async move { if tenant == "lost" { Err("lookup failed") } else { Ok(tenants.get(&*tenant).cloned()) } }
    })
}

fn sent_to(path: &str, secret: &str) -> TestRequest {
    testing::fasten("patient.ehi_export_success").secret(secret).actix_request(path)
}

#[actix_web::test]
async fn each_tenant_has_its_own_receiver_in_resources_and_scopes() {
    async fn handler(tenant: web::Path<String>, delivery: Delivery) -> impl Responder {
        if *tenant == delivery.endpoint() { HttpResponse::NoContent() } else { HttpResponse::Conflict() }
    }
    let endpoint = |path| web::resource(path).route(web::post().to(handler));
    let by_path = || per_tenant(web::Path::into_inner);
    let resource = endpoint("/resource/{tenant}/fasten").wrap(by_path());
    let scope = web::scope("/scope/{tenant}").wrap(by_path()).service(endpoint("/fasten"));
    // The key may be the whole request.
    let whole = per_tenant(|request: HttpRequest| request.match_info().query("tenant").to_owned());
    let whole = endpoint("/whole/{tenant}/fasten").wrap(whole);
    let app = init_service(App::new().service(resource).service(scope).service(whole)).await;
    for wrapped in ["resource", "scope", "whole"] {
        for (secret, tenant, expected) in [
            (NORTH, "north", HANDLED),
            (SOUTH, "south", HANDLED),
            (SOUTH, "north", rejected_for(Reason::SignatureMismatch)),
            (NORTH, "west", rejected_for(Reason::UnknownTenant)),
            (NORTH, "lost", rejected_for(Reason::TenantLookupFailed)),
        ] {
            let path = format!("/{wrapped}/{tenant}/fasten");
            assert_eq!(answer(&app, sent_to(&path, secret).to_request()).await, expected, "{path}");
        }
    }
}

#[actix_web::test]
async fn an_unknown_tenant_is_answered_like_a_wrong_signature() {
    let resource = web::resource("/{tenant}").wrap(per_tenant(web::Path::into_inner)).to(HttpResponse::NoContent);
    let app = init_service(App::new().service(resource)).await;
    let sent = async |path: &str| {
        let response = call_service(&app, sent_to(path, SECRET).to_request()).await.into_parts().1;
        let head = (response.status(), response.headers().iter().count());
        (head, is_empty(response).await)
    };
    assert_eq!(sent("/north").await, sent("/west").await);
    let failed = call_service(&app, sent_to("/lost", SECRET).to_request()).await;
    assert_eq!(failed.headers().get(header::RETRY_AFTER).unwrap(), "5");
}

#[actix_web::test]
async fn a_key_that_cannot_be_extracted_is_rejected() {
    let numbered = per_tenant(|n: web::Path<u32>| n.to_string());
    let unset = per_tenant(|data: web::Data<String>| data.to_string());
    let from_the_body = per_tenant(|body: web::Bytes| format!("{}", body.len()));
    let app = App::new()
        .service(web::resource("/n/{n}").wrap(numbered).to(HttpResponse::NoContent))
        .service(web::resource("/unset").wrap(unset).to(HttpResponse::NoContent))
        .service(web::resource("/body").wrap(from_the_body).to(HttpResponse::NoContent));
    let app = init_service(app).await;
    for (path, reason) in
        [("/n/north", Reason::UnknownTenant), ("/unset", Reason::TenantLookupFailed), ("/body", Reason::UnknownTenant)]
    {
        assert_eq!(answer(&app, sent_to(path, NORTH).to_request()).await, rejected_for(reason), "{path}");
    }
}

#[actix_web::test]
async fn unknown_paths_are_answered_404() {
    let app = init_service(App::new().service(endpoint(verify(), HttpResponse::NoContent))).await;
    assert_eq!(answer(&app, TestRequest::post().uri("/other").to_request()).await, (404, None, None));
}

/// A service that takes one request at a time and wakes only the task that polled it last, as a service may.
#[derive(Default)]
struct OneAtATime(Rc<Capacity>);

#[derive(Default)]
struct Capacity {
    taken: Cell<bool>,
    last_polled: RefCell<Option<Waker>>,
}

impl Service<ServiceRequest> for OneAtATime {
    type Response = ServiceResponse;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<ServiceResponse, Error>>>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.0.taken.get() {
            self.0.last_polled.replace(Some(context.waker().clone()));
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        assert!(!self.0.taken.replace(true), "called without being ready");
        let permit = self.0.clone();
        Box::pin(async move {
            for _ in 0..10 {
                yield_now().await;
            }
            permit.taken.set(false);
            if let Some(waker) = permit.last_polled.take() {
                waker.wake();
            }
            Ok(request.into_response(HttpResponse::NoContent()))
        })
    }
}

#[actix_web::test]
async fn handlers_wait_until_the_inner_service_is_ready() {
    // A handler that is never woken must fail the test: its lease must not wake it, and it must time out.
    let receiver = builder().lease(Duration::from_secs(600)).handler_timeout(Duration::from_secs(20)).build().unwrap();
    let service = Verify::new(receiver).new_transform(OneAtATime::default()).await.unwrap();
    let event = |id| answer(&service, genuine_of(id).to_srv_request());
    assert_eq!(join!(event("a"), event("b"), event("c")), (HANDLED, HANDLED, HANDLED));
}

#[actix_web::test]
async fn unverified_deliveries_do_not_wait_for_the_inner_service() {
    let (receiver, full) =
        (builder().handler_timeout(Duration::from_millis(1)).build().unwrap(), OneAtATime::default());
    full.0.taken.set(true);
    let service = Verify::new(receiver).new_transform(full).await.unwrap();
    assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    assert_eq!(answer(&service, altered().to_srv_request()).await, rejected_for(Reason::SignatureMismatch));
    // A verified delivery waits, until the handler timeout.
    assert_eq!(answer(&service, genuine().to_srv_request()).await, rejected_for(Reason::HandlerTimeout));
}

#[actix_web::test]
async fn a_posted_handler_that_reads_only_the_body_is_verified() {
    async fn handler(_: web::Bytes) -> HttpResponse {
        HttpResponse::NoContent().finish()
    }
    let receiver = builder().build().unwrap();
    let app = init_service(App::new().route("/", post(receiver.clone(), handler))).await;
    assert_eq!(answer(&app, genuine().to_request()).await, HANDLED);
    assert_eq!(answer(&app, altered().to_request()).await, rejected_for(Reason::SignatureMismatch));
    assert_eq!(answer(&app, TestRequest::post().uri("/").to_request()).await, rejected_for(Reason::MissingHeader));
    assert_eq!(answer(&app, TestRequest::get().uri("/").to_request()).await, rejected_for(Reason::Method));

    let tenant = Verify::per_tenant(move |tenant: web::Path<String>| {
        let receiver = (*tenant == "north").then(|| receiver.clone());
        async move { Ok::<_, std::convert::Infallible>(receiver) }
    });
    let app = init_service(App::new().service(web::resource("/{tenant}").route(post(tenant, handler)))).await;
    let of = |path: &str| export().id("another").actix_request(path).to_request();
    assert_eq!(answer(&app, of("/north")).await, HANDLED);
    assert_eq!(answer(&app, of("/west")).await, rejected_for(Reason::UnknownTenant));
}

#[actix_web::test]
async fn routes_with_guards_come_before_a_posted_one() {
    let route = || post(builder().build().unwrap(), HttpResponse::NoContent);
    let page = || web::get().to(HttpResponse::Ok);
    let get = || TestRequest::get().uri("/").to_request();
    let app = init_service(App::new().service(web::resource("/").route(page()).route(route()))).await;
    assert_eq!(answer(&app, get()).await, (200, None, None));
    assert_eq!(answer(&app, genuine().to_request()).await, HANDLED);
    let app = init_service(App::new().service(web::resource("/").route(route()).route(page()))).await;
    assert_eq!(answer(&app, get()).await, rejected_for(Reason::Method));
}

#[actix_web::test]
async fn a_payload_that_was_read_has_only_the_verified_body() {
    let http1 = TestRequest::default().set_payload("read").to_srv_request().take_payload();
    for mut read in [http1, Payload::None] {
        let request = TestRequest::default().to_http_request();
        web::Bytes::from_request(&request, &mut read).await.unwrap();
        let mut payload = with_body(read, Bytes::from_static(b"verified"));
        for expected in ["verified", ""] {
            assert_eq!(web::Bytes::from_request(&request, &mut payload).await.unwrap(), expected);
        }
    }
}
