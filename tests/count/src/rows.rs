//! The deliveries of each row.

use std::convert::Infallible;
use std::hint::black_box;
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use actix_web::test::{TestRequest, call_service, init_service};
use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use hmac::Mac;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use medhook::testing::StoppedClock;
use medhook::{
    ClaimToken, Claimed, DedupeStore, Delivery, EventKey, Fasten, MemoryStore, Receiver, Retention, Secret, Settled,
    StoreFuture, fasten,
};
use medhook_tower::VerifyLayer;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::apps::{BY_HAND, Fresh, LAYER, actix_app, axum_app};
use crate::by_hand::ByHand;
use crate::families::family;
use crate::setting::NOW;
use crate::signed::{self, STANDARD_SECRET};
use crate::{LENGTHS, Subject, WARM_UP, added_work};

/// The rows of the table.
pub const ROWS: [&str; 12] = [
    "verify",
    "verify, HMAC of the body",
    "verify, two HMACs",
    "verify, time in element",
    "verify, time in a header",
    "verify, bearer token",
    "verify + envelope",
    "verify + envelope + event",
    "tower",
    "axum",
    "actix-web",
    "memory claim + commit",
];

/// The MAC of the same messages and nothing else: the compressions that verification cannot do without.
pub const MAC: &str = "MAC";

/// `verify` with [`added_work`] after each delivery.
pub const CONTROL: &str = "control";

/// The runs of the compression function for [`MAC`]: over the message, padded by a bit, zeros and its length, and
/// once over the digest of that. The states with the key are there already.
pub const MAC_COMPRESSIONS: u64 = {
    let message = "msg_10001.1767225600.".len() + BODY_LENGTH;
    (message as u64 + 1 + 8).div_ceil(64) + 1
};

pub(crate) const BODY_LENGTH: usize = 1019;

/// Returns the deliveries of a row, through medhook or by hand.
pub fn subject(row: &str, by_hand: bool) -> Option<Box<dyn Subject>> {
    Some(match (row, by_hand) {
        ("verify", false) => verify(),
        ("verify", true) => {
            let by_hand = ByHand::standard_webhooks();
            direct(move |headers, body| by_hand.verify(header(headers), &body).expect("genuine"))
        }
        ("verify + envelope", false) => {
            let receiver = receiver();
            direct(move |headers, body| drop(black_box(opened(&receiver, headers, body))))
        }
        ("verify + envelope", true) => {
            let by_hand = ByHand::standard_webhooks();
            direct(move |headers, body| drop(black_box(by_hand.envelope(header(headers), &body).expect("genuine"))))
        }
        ("verify + envelope + event", false) => {
            let receiver = receiver();
            direct(move |headers, body| {
                let event = opened(&receiver, headers, body).decode().expect("Fasten's");
                assert!(matches!(black_box(event), fasten::Event::EhiExportSuccess(_)));
            })
        }
        ("verify + envelope + event", true) => {
            let by_hand = ByHand::standard_webhooks();
            direct(move |headers, body| drop(black_box(by_hand.fasten(header(headers), &body).expect("genuine"))))
        }
        ("tower", false) => {
            let layer: VerifyLayer = VerifyLayer::new(receiver());
            served(layer.layer(service_fn(decoding)), LAYER, Full::new)
        }
        ("tower", true) => {
            let by_hand = Arc::new(ByHand::standard_webhooks());
            served(service_fn(move |request| receiving(by_hand.clone(), request)), BY_HAND, Full::new)
        }
        ("axum", false) => served(axum_app(&receiver()), LAYER, Body::from),
        ("axum", true) => served(axum_app(&receiver()), BY_HAND, Body::from),
        ("actix-web", false) => actix(LAYER),
        ("actix-web", true) => actix(BY_HAND),
        ("memory claim + commit", false) => claims(),
        ("memory claim + commit", true) => ids(),
        (MAC, _) => bare_mac(),
        (CONTROL, _) => Box::new(Slowed(verify())),
        _ => return family(row, by_hand),
    })
}

/// Numbers of events begin above this, so that all have five digits and every message has the same length.
pub(crate) const FIRST: u64 = 10_000;

fn receiver() -> Receiver {
    let fasten = Fasten::live(Secret::new(STANDARD_SECRET).expect("a secret"));
    let builder = Receiver::builder("fasten", fasten).store(store()).clock(StoppedClock::at(NOW));
    builder.build().expect("a receiver")
}

/// A store whose hash table does not grow while deliveries are counted: one of them would bear the cost of it.
fn store() -> MemoryStore {
    const { assert!(PREFILLED + WARM_UP + LENGTHS[0] + LENGTHS[1] < 8_192 / 8 * 7) };
    let store = MemoryStore::new(28_672);
    (0..PREFILLED).for_each(|number| claim_and_commit(&store, number));
    store
}

/// A little more than seven eighths of 4,096, where the table doubles.
const PREFILLED: u64 = 3_700;

fn verify() -> Box<dyn Subject> {
    let receiver = receiver();
    direct(move |headers, body| drop(black_box(receiver.verify(headers, body).expect("genuine"))))
}

fn opened(receiver: &Receiver, headers: &HeaderMap, body: Bytes) -> Delivery {
    receiver.open(receiver.verify(headers, body).expect("genuine")).expect("fresh")
}

pub(crate) fn header<'h>(headers: &'h HeaderMap) -> impl Fn(&str) -> Option<&'h str> {
    move |name| headers.get(name)?.to_str().ok()
}

/// Deliveries without a framework. The body is dropped within the count, the headers are not.
fn direct(mut handle: impl FnMut(&HeaderMap, Bytes) + 'static) -> Box<dyn Subject> {
    Steps::new(requests(LAYER), move |request: &mut Option<Request<Bytes>>| {
        if let Some(request) = request {
            let body = take(request.body_mut());
            handle(request.headers(), body);
        }
    })
}

fn requests(path: &'static str) -> impl FnMut() -> Request<Bytes> {
    let mut fresh = Fresh(FIRST);
    move || {
        let request = fresh.request(path);
        assert_eq!(request.body().len(), BODY_LENGTH);
        request
    }
}

/// Deliveries to a service, on a runtime of one thread.
fn served<S, B, R>(service: S, path: &'static str, body: fn(Bytes) -> B) -> Box<dyn Subject>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + 'static,
    B: 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut requests = requests(path);
    Steps::new(
        move || requests().map(body),
        move |request| {
            let request = request.take().expect("prepared");
            let Ok(response) = runtime.block_on(service.clone().oneshot(request));
            assert_eq!(response.status(), StatusCode::OK);
        },
    )
}

/// The handler behind tower's layer.
async fn decoding(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let event = request.extensions().get::<Delivery>().and_then(|delivery| delivery.decode().ok());
    Ok(answer(matches!(event, Some(fasten::Event::EhiExportSuccess(_)))))
}

/// The service that does the same work by hand.
async fn receiving(by_hand: Arc<ByHand>, request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await;
    let status = by_hand.receive(header(&head.headers), &body.to_bytes(), async |_| 200).await;
    Ok(answer(status == 200))
}

fn answer(handled: bool) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = if handled { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
    response
}

fn actix(path: &'static str) -> Box<dyn Subject> {
    let runtime = actix_web::rt::System::new();
    let (receiver, by_hand) = (receiver(), Arc::new(ByHand::standard_webhooks()));
    let app = actix_web::App::new().configure(|app| actix_app(app, &receiver, &by_hand));
    let app = runtime.block_on(init_service(app));
    let mut requests = requests(path);
    let prepare = move || {
        let (head, body) = requests().into_parts();
        let request = TestRequest::post().uri(path).set_payload(body);
        let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        headers.fold(request, TestRequest::insert_header).to_request()
    };
    Steps::new(prepare, move |request| {
        let request = request.take().expect("prepared");
        assert_eq!(runtime.block_on(call_service(&app, request)).status().as_u16(), 200);
    })
}

fn claims() -> Box<dyn Subject> {
    let store = store();
    let mut events = PREFILLED..;
    let prepare = move || events.next().expect("no end");
    Steps::new(prepare, move |event| claim_and_commit(&store, event.take().expect("prepared")))
}

fn claim_and_commit(store: &MemoryStore, event: u64) {
    const LEASE: Duration = Duration::from_secs(30);
    const HOUR: Duration = Duration::from_secs(3600);
    let key = key(event);
    let token = ClaimToken::from_bytes(u128::from(event).to_le_bytes());
    assert_eq!(now(store.claim(key, token, LEASE)), Claimed::Acquired);
    assert_eq!(now(store.commit(key, token, Retention::new(HOUR, 72 * HOUR))), Settled::Settled);
}

/// A key as evenly spread as a digest: four steps of SplitMix64.
fn key(event: u64) -> EventKey {
    let mut key = [0; 32];
    for (part, number) in key.chunks_exact_mut(8).zip(event * 4..) {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        part.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    EventKey::from_bytes(key)
}

/// Returns what a store in memory answers at once.
fn now<T>(step: StoreFuture<'_, T>) -> T {
    step.now_or_never().expect("memory does not wait").expect("memory does not fail")
}

fn ids() -> Box<dyn Subject> {
    let by_hand = ByHand::standard_webhooks();
    let mut events = FIRST..;
    let prepare = move || format!("7d4b9f0e-52a1-4c36-9b8e-{:012x}", events.next().expect("no end"));
    // The event owns the id, and drops it.
    Steps::new(prepare, move |id| by_hand.ids.claim(&id.take().expect("prepared")).expect("new").commit())
}

fn bare_mac() -> Box<dyn Subject> {
    let key = signed::standard_key();
    let mut requests = requests(LAYER);
    let prepare = move || {
        let request = requests();
        let header = header(request.headers());
        let [id, timestamp] = ["webhook-id", "webhook-timestamp"].map(|name| header(name).expect("signed"));
        let message = [id.as_bytes(), b".", timestamp.as_bytes(), b".", request.body()].concat();
        assert_eq!((message.len() as u64 + 1 + 8).div_ceil(64) + 1, MAC_COMPRESSIONS);
        message
    };
    Steps::new(prepare, move |message: &mut Option<Vec<u8>>| {
        let mut mac = key.clone();
        mac.update(message.as_deref().expect("prepared"));
        black_box(mac.finalize());
    })
}

struct Slowed(Box<dyn Subject>);

impl Subject for Slowed {
    fn prepare(&mut self) {
        self.0.prepare();
    }

    fn deliver(&mut self) {
        self.0.deliver();
        added_work();
    }
}

/// A subject of two closures. `deliver` takes what `prepare` made, or leaves it to be dropped outside of the count.
pub(crate) struct Steps<P, D, T> {
    prepare: P,
    deliver: D,
    ready: Option<T>,
}

impl<P, D, T> Steps<P, D, T>
where
    P: FnMut() -> T + 'static,
    D: FnMut(&mut Option<T>) + 'static,
    T: 'static,
{
    #[allow(clippy::new_ret_no_self, reason = "the types of closures have no names")]
    pub(crate) fn new(prepare: P, deliver: D) -> Box<dyn Subject> {
        Box::new(Steps { prepare, deliver, ready: None })
    }
}

impl<P: FnMut() -> T, D: FnMut(&mut Option<T>), T> Subject for Steps<P, D, T> {
    fn prepare(&mut self) {
        self.ready = Some((self.prepare)());
    }

    fn deliver(&mut self) {
        (self.deliver)(&mut self.ready);
    }
}
