//! The same tests for actix-web's middleware.

use actix_web::body::{MessageBody, to_bytes};
use actix_web::dev::{Decompress, Payload, Service, ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::{Compress, Logger, Next, from_fn};
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, Error, HttpMessage, web};
use medhook::{Bytes, Fasten, HealthSync, MemoryStore, Outcome, Reason, Receiver, Secret, testing};
use medhook_actix::{Delivery, Verify};

use super::{DUPLICATE, HANDLED, Seen, rejected_for};
use crate::endpoint::{SECRET, builder, receiver};

fn genuine(path: &str) -> TestRequest {
    testing::healthsync("document.uploaded").secret(SECRET).actix_request(path)
}

fn forged(path: &str) -> TestRequest {
    testing::healthsync("document.uploaded").secret("another-secret").actix_request(path)
}

async fn answered<S, R, B>(app: &S, request: R) -> ServiceResponse<B>
where
    S: Service<R, Response = ServiceResponse<B>, Error = Error>,
{
    app.call(request).await.expect("an answer")
}

fn seen<B>(response: &ServiceResponse<B>) -> Seen {
    let extensions = response.response().extensions();
    (response.status().as_u16(), extensions.get().copied(), extensions.get().copied())
}

#[actix_web::test]
async fn outer_middleware_sees_the_responses_and_changes_nothing() {
    async fn handler(delivery: Delivery) -> String {
        [delivery.kind().unwrap_or_default(); 100].concat()
    }
    let endpoint = web::resource("/").wrap(Verify::new(receiver())).route(web::post().to(handler));
    let app = App::new().service(endpoint).wrap(Compress::default()).wrap(Logger::new("%s %b"));
    let app = init_service(app).await;
    let packed = |request: TestRequest| request.insert_header((header::ACCEPT_ENCODING, "gzip")).to_request();

    let handled = answered(&app, packed(genuine("/"))).await;
    assert_eq!(seen(&handled), HANDLED);
    assert_eq!(handled.headers().get(header::CONTENT_ENCODING).expect("packed"), "gzip");
    let rejected = answered(&app, packed(forged("/"))).await;
    assert_eq!(seen(&rejected), rejected_for(Reason::SignatureMismatch));
    assert!(to_bytes(rejected.into_body()).await.is_ok_and(|body| body.is_empty()));
    assert_eq!(seen(&answered(&app, genuine("/").to_request()).await), DUPLICATE);
}

/// Signatures cover the bytes on the wire, and a receiver cannot detect a middleware that alters them.
#[actix_web::test]
async fn an_outer_decompression_breaks_the_signature() {
    async fn unpack(
        mut request: ServiceRequest,
        next: Next<impl MessageBody>,
    ) -> Result<ServiceResponse<impl MessageBody>, Error> {
        let body = Decompress::from_headers(request.take_payload(), request.headers());
        request.headers_mut().remove(header::CONTENT_ENCODING);
        request.set_payload(Payload::Stream { payload: Box::pin(body) });
        next.call(request).await
    }
    let packed = || {
        let sample = testing::healthsync("document.uploaded").secret(SECRET).body(super::packed(genuine_body()));
        sample.actix_request("/").insert_header((header::CONTENT_ENCODING, "gzip")).to_request()
    };
    let endpoint = || web::resource("/").wrap(Verify::new(receiver()));
    let plain = init_service(App::new().service(endpoint().to(async || ""))).await;
    assert_eq!(seen(&answered(&plain, packed()).await), rejected_for(Reason::ContentEncoding));
    let unpacking = init_service(App::new().service(endpoint().wrap(from_fn(unpack)).to(async || ""))).await;
    assert_eq!(seen(&answered(&unpacking, packed()).await), rejected_for(Reason::SignatureMismatch));
    assert_eq!(seen(&answered(&unpacking, genuine("/").to_request()).await), HANDLED, "what is not packed passes");
}

fn genuine_body() -> Bytes {
    testing::healthsync("document.uploaded").secret(SECRET).request("/").into_body()
}

#[actix_web::test]
async fn scopes_have_a_provider_each_and_share_a_store() {
    const FASTEN: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
    let store = MemoryStore::new(100);
    let fasten = Fasten::live(Secret::new(FASTEN).expect("a secret"));
    let fasten = Receiver::builder("fasten", fasten).store(store.clone()).build().expect("a receiver");
    let named = |name| {
        let healthsync = HealthSync::new(Secret::new(SECRET).expect("a secret"));
        Receiver::builder(name, healthsync).store(store.clone()).build().expect("a receiver")
    };
    let inbox = |path, receiver| web::scope(path).wrap(Verify::new(receiver)).route("/in", web::post().to(async || ""));
    let hooks = web::scope("/webhooks")
        .service(inbox("/fasten", fasten))
        .service(inbox("/one", named("one")))
        .service(inbox("/other", named("other")));
    let app = init_service(App::new().service(hooks).route("/", web::post().to(async || "not a webhook"))).await;

    let fastens = |path| testing::fasten("patient.ehi_export_success").secret(FASTEN).actix_request(path);
    let to = async |request: TestRequest| seen(&answered(&app, request.to_request()).await);
    for expected in [HANDLED, DUPLICATE] {
        assert_eq!(to(fastens("/webhooks/fasten/in")).await, expected);
        assert_eq!(to(genuine("/webhooks/one/in")).await, expected);
        assert_eq!(to(genuine("/webhooks/other/in")).await, expected);
    }
    assert_eq!(to(genuine("/webhooks/fasten/in")).await, rejected_for(Reason::MissingHeader));
    assert_eq!(to(fastens("/webhooks/one/in")).await, rejected_for(Reason::MissingHeader));
    assert_eq!(to(genuine("/webhooks/none/in")).await, (404, None, None));
    assert_eq!(to(forged("/")).await, (200, None, None), "no webhook's business");
}

#[actix_web::test]
async fn an_inner_extractor_limit_does_not_affect_the_delivery() {
    let large = format!(r#"{{"id":"1","x":"{}"}}"#, "a".repeat(300 << 10));
    let large = || {
        let sample = testing::healthsync("document.uploaded").secret(SECRET).body(large.clone());
        sample.actix_request("/").to_request()
    };
    let verify = || {
        let builder = builder().freshness(medhook::Freshness::Unchecked);
        Verify::new(builder.build().expect("a receiver"))
    };
    let delivered =
        web::resource("/").wrap(verify()).to(async |delivery: Delivery| format!("{}", delivery.body().len()));
    let app = init_service(App::new().service(delivered)).await;
    assert_eq!(seen(&answered(&app, large()).await), HANDLED);
    let extracted = web::resource("/").wrap(verify()).to(async |_: web::Bytes| "");
    let app = init_service(App::new().service(extracted)).await;
    assert_eq!(seen(&answered(&app, large()).await), (413, Some(Outcome::Failed), None), "actix-web's own 256 KiB");
}
