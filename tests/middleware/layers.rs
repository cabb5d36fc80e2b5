//! Other layers outside and inside of ours: which combinations work, and which cannot.

mod actix;

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::routing::post;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full};
use medhook::{Bytes, Fasten, HealthSync, MemoryStore, Outcome, Reason, Receiver, Secret, testing};
use medhook_axum::{Delivery, VerifyLayer};
use tokio::sync::Semaphore;
use tower::buffer::BufferLayer;
use tower::limit::ConcurrencyLimitLayer;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::endpoint::{SECRET, builder, receiver};

fn genuine(event: &str) -> Request<Body> {
    testing::healthsync("document.uploaded").secret(SECRET).id(event).request("/").map(Body::from)
}

fn forged() -> Request<Body> {
    testing::healthsync("document.uploaded").secret("somebody-elses-secret").request("/").map(Body::from)
}

/// The parts of a response that an outer layer can read: its status and extensions.
type Seen = (u16, Option<Outcome>, Option<Reason>);

const HANDLED: Seen = (200, Some(Outcome::Handled), None);
const DUPLICATE: Seen = (200, Some(Outcome::Duplicate), Some(Reason::Duplicate));

fn rejected_for(reason: Reason) -> Seen {
    (reason.status().as_u16(), Some(reason.outcome()), Some(reason))
}

fn seen<B>(response: &Response<B>) -> Seen {
    let extensions = response.extensions();
    (response.status().as_u16(), extensions.get().copied(), extensions.get().copied())
}

async fn answer(app: &Router, request: Request<Body>) -> Seen {
    seen(&app.clone().oneshot(request).await.expect("an answer"))
}

/// Waits for a future, with a limit that suits the slowest machine.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("an answer at all")
}

#[tokio::test]
async fn outer_layers_see_the_responses_and_change_nothing() {
    let id = header::HeaderName::from_static("x-request-id");
    let handler = async |delivery: Delivery| [delivery.kind().unwrap_or_default(); 100].concat();
    let outside = ServiceBuilder::new()
        .layer(SetRequestIdLayer::new(id.clone(), MakeRequestUuid))
        .layer(PropagateRequestIdLayer::new(id.clone()))
        .layer(TraceLayer::new_for_http())
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(60)))
        .layer(CompressionLayer::new());
    let app = Router::new()
        .route("/", post(handler).layer(VerifyLayer::new(receiver())))
        .layer(RequestBodyLimitLayer::new(1 << 20))
        .layer(outside);

    let with = |mut request: Request<Body>| {
        request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        app.clone().oneshot(request)
    };
    let handled = with(genuine("1")).await.expect("an answer");
    assert_eq!(seen(&handled), HANDLED);
    assert_eq!(handled.headers()[header::CONTENT_ENCODING], "gzip");
    assert!(handled.headers().contains_key(&id));
    let rejected = with(forged()).await.expect("an answer");
    assert_eq!(seen(&rejected), rejected_for(Reason::SignatureMismatch));
    assert!(rejected.headers().contains_key(&id));
    assert_eq!(rejected.into_body().collect().await.expect("a body").to_bytes(), "");
    assert_eq!(answer(&app, genuine("1")).await, DUPLICATE);
}

/// An outer limit responds itself if the declared length exceeds it, and otherwise cuts the body off.
#[tokio::test]
async fn an_outer_limit_is_independent() {
    let verify = VerifyLayer::new(receiver());
    let app = Router::new().route("/", post(async || ()).layer(verify)).layer(RequestBodyLimitLayer::new(10));
    let sized = |mut request: Request<Body>| {
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("500"));
        request
    };
    assert_eq!(answer(&app, sized(genuine("1"))).await, (413, None, None));
    assert_eq!(answer(&app, genuine("1")).await, rejected_for(Reason::BodyIncomplete));
}

/// Signatures cover the bytes on the wire, and a receiver cannot detect a layer that alters them. Without that layer,
/// the content encoding is rejected.
#[tokio::test]
async fn an_outer_decompression_breaks_the_signature() {
    let packed = packed(genuine("1").into_body().collect().await.expect("a body").to_bytes());
    let request = || {
        let mut request = testing::healthsync("document.uploaded").secret(SECRET).body(packed.clone()).request("/");
        request.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        request.map(Body::from)
    };
    let plain = Router::new().route("/", post(async || ()).layer(VerifyLayer::new(receiver())));
    assert_eq!(answer(&plain, request()).await, rejected_for(Reason::ContentEncoding));
    let verify = VerifyLayer::new(receiver());
    let layers = ServiceBuilder::new()
        .layer(RequestDecompressionLayer::new())
        .map_request(|r: Request<_>| r.map(Body::new))
        .layer(verify);
    let unpacking = Router::new().route("/", post(async || ()).layer(layers));
    assert_eq!(answer(&unpacking, request()).await, rejected_for(Reason::SignatureMismatch));
    assert_eq!(answer(&unpacking, genuine("1")).await, HANDLED, "what is not packed passes");
}

fn packed(body: Bytes) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(&body).expect("room");
    packed.finish().expect("room")
}

/// An inner timeout is a failure like any other. With an outer one the sender gets an error while the handler
/// continues.
#[tokio::test]
async fn a_timeout_belongs_inside() {
    let timeout = || TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_millis(20));
    let gate = Arc::new(Semaphore::new(0));
    let handler = |gate: &Arc<Semaphore>| {
        let gate = gate.clone();
        post(move || async move {
            let _go = gate.acquire().await;
        })
    };
    let verify = || VerifyLayer::new(receiver());
    let inside = ServiceBuilder::new().layer(verify()).layer(timeout());
    let inside = Router::new().route("/", handler(&gate).layer(inside));
    assert_eq!(answer(&inside, genuine("1")).await, (504, Some(Outcome::Failed), None));
    let outside = Router::new().route("/", handler(&gate).layer(verify())).layer(timeout());
    assert_eq!(answer(&outside, genuine("1")).await, (504, None, None));
    // The claim is held, unless the response to the retry times out, too.
    let retry = answer(&outside, genuine("1")).await;
    assert!([rejected_for(Reason::InFlight), (504, None, None)].contains(&retry), "{retry:?}");

    gate.add_permits(1_000);
    soon(async {
        while answer(&inside, genuine("1")).await != HANDLED {}
        while answer(&outside, genuine("1")).await != DUPLICATE {}
    })
    .await;
}

/// Returns a delivery with a forged signature whose body stalls.
fn stalled() -> Request<Body> {
    let (head, _) = forged().into_parts();
    let body = stream::once(async { Ok::<_, Infallible>(Bytes::from_static(b"{")) }).chain(stream::pending());
    Request::from_parts(head, Body::from_stream(body))
}

#[tokio::test]
async fn stalled_bodies_take_no_permit_of_an_inner_limit() {
    let (begun, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let handler = {
        let (begun, gate) = (begun.clone(), gate.clone());
        move || {
            let (begun, gate) = (begun.clone(), gate.clone());
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                let _go = gate.acquire().await;
            }
        }
    };
    let layers = ServiceBuilder::new().layer(VerifyLayer::new(receiver())).layer(ConcurrencyLimitLayer::new(1));
    let app = Router::new().route("/", post(handler).layer(layers));
    let spawn = |request| {
        let app = app.clone();
        tokio::spawn(async move { answer(&app, request).await })
    };
    let waiting: Vec<_> = (0..100).map(|_| spawn(stalled())).collect();
    let one = spawn(genuine("1"));
    crate::endpoint::until("the handler has begun", || begun.load(Ordering::SeqCst) == 1).await;

    // Another genuine delivery waits for the permit and is not rejected.
    let other = spawn(genuine("2"));
    let forged = soon(answer(&app, forged())).await;
    assert_eq!(forged, rejected_for(Reason::SignatureMismatch), "unverified deliveries do not wait");
    assert!(!one.is_finished() && !other.is_finished());
    assert_eq!(begun.load(Ordering::SeqCst), 1, "one at a time");
    gate.add_permits(1_000);
    assert_eq!(soon(one).await.expect("an answer"), HANDLED);
    assert_eq!(soon(other).await.expect("an answer"), HANDLED);
    assert!(waiting.iter().all(|stalled| !stalled.is_finished()));
}

#[tokio::test]
async fn an_inner_buffer_is_polled_for_readiness() {
    let handler = service_fn(async |_: Request<Full<Bytes>>| {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let verify: medhook_tower::VerifyLayer = medhook_tower::VerifyLayer::new(receiver());
    let service = ServiceBuilder::new().layer(verify).layer(BufferLayer::new(1)).concurrency_limit(1).service(handler);
    // A buffer panics if it is called before `poll_ready` has returned ready.
    let answers = (0..100).map(|n| service.clone().oneshot(genuine(&n.to_string())));
    for answer in soon(futures_util::future::join_all(answers)).await {
        assert_eq!(seen(&answer.expect("an answer")), HANDLED);
    }
}

#[tokio::test]
async fn nested_routers_have_a_provider_each_and_share_a_store() {
    const FASTEN: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
    let store = MemoryStore::new(100);
    let fasten = Fasten::live(Secret::new(FASTEN).expect("a secret"));
    let fasten = Receiver::builder("fasten", fasten).store(store.clone()).build().expect("a receiver");
    let named = |name| {
        let healthsync = HealthSync::new(Secret::new(SECRET).expect("a secret"));
        Receiver::builder(name, healthsync).store(store.clone()).build().expect("a receiver")
    };
    let inbox = |receiver| Router::new().route("/in", post(async || ()).layer(VerifyLayer::new(receiver)));
    let hooks = Router::new()
        .nest("/fasten", inbox(fasten))
        .nest("/one", inbox(named("one")))
        .nest("/other", inbox(named("other")));
    let app = Router::new().nest("/webhooks", hooks).route("/", post(async || "not a webhook"));

    let to = |path: &str, mut request: Request<Body>| {
        *request.uri_mut() = path.parse().expect("a path");
        answer(&app, request)
    };
    let fastens = || testing::fasten("patient.ehi_export_success").secret(FASTEN).request("/").map(Body::from);
    for expected in [HANDLED, DUPLICATE] {
        assert_eq!(to("/webhooks/fasten/in", fastens()).await, expected);
        assert_eq!(to("/webhooks/one/in", genuine("1")).await, expected);
        assert_eq!(to("/webhooks/other/in", genuine("1")).await, expected);
    }
    assert_eq!(to("/webhooks/fasten/in", genuine("1")).await, rejected_for(Reason::MissingHeader));
    assert_eq!(to("/webhooks/one/in", fastens()).await, rejected_for(Reason::MissingHeader));
    assert_eq!(to("/webhooks/none/in", genuine("1")).await, (404, None, None));
    assert_eq!(to("/", forged()).await, (200, None, None), "no webhook's business");
}

#[tokio::test]
async fn an_inner_extractor_limit_does_not_affect_the_delivery() {
    let large = format!(r#"{{"id":"1","type":"x","created_at":"2026-01-01T00:00:00Z","x":"{}"}}"#, "a".repeat(3 << 20));
    let large =
        || testing::healthsync("document.uploaded").secret(SECRET).body(large.clone()).request("/").map(Body::from);
    let verify = || {
        let builder = builder().freshness(medhook::Freshness::Unchecked).body_limit(4 << 20);
        VerifyLayer::new(builder.build().expect("a receiver"))
    };
    let delivered = async |delivery: Delivery| assert!(delivery.body().len() > 3 << 20);
    let app = Router::new().route("/", post(delivered).layer(verify()));
    assert_eq!(answer(&app, large()).await, HANDLED);
    let app = Router::new().route("/", post(async |_: Bytes| ()).layer(verify()));
    assert_eq!(answer(&app, large()).await, (413, Some(Outcome::Failed), None), "axum's own 2 MB");
}
