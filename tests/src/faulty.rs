//! Endpoints for tests of `medhook check`: a correct one, and others with one common fault each.
//!
//! Each has three paths: `/in` takes deliveries, `/count` returns how many events were handled, and after a `POST` to
//! `/fail-next` the handling of the next event fails.

use std::collections::HashSet;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use medhook::testing::Signing;
use medhook::{Bytes, Encoding, MemoryStore, Receiver};
use medhook_conformance::Endpoint;
use medhook_tower::VerifyLayer;
use serde_json::Value;
use tower_layer::Layer;
use tower_service::Service;

use crate::served::{Answering, Served, status, text};

/// A receiver of medhook behind its tower layer.
#[must_use]
pub fn sound(endpoint: &Endpoint) -> Served {
    let builder = endpoint.builder("checked").expect("a sound endpoint").store(MemoryStore::new(100_000));
    let handling = Arc::new(Handling::default());
    let verify = VerifyLayer::new(builder.build().expect("a sound endpoint")).layer(Handler(handling.clone()));
    served(handling, move |request| {
        let mut verify = verify.clone();
        Box::pin(async move { verify.call(request).await.unwrap_or_else(|never| match never {}) })
    })
}

/// An endpoint that accepts what a receiver of one of these endpoints accepts, checked in order: the endpoint, and a
/// looser one, make an endpoint with a fault.
#[must_use]
pub fn lenient(endpoints: &[Endpoint]) -> Served {
    let handling = Arc::new(Handling::default());
    let receivers = endpoints.iter().map(|endpoint| {
        let builder = endpoint.builder("checked").expect("a sound endpoint").store(MemoryStore::new(100_000));
        builder.build().expect("a sound endpoint")
    });
    let layered = receivers.map(|receiver| {
        let verify = VerifyLayer::new(receiver.clone()).layer(Handler(handling.clone()));
        (receiver, verify)
    });
    let layered: Arc<[_]> = layered.collect();
    served(handling, move |request| {
        let layered = layered.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let Ok(body) = Limited::new(body, 1024 * 1024).collect().await else { return status(413) };
            let body = body.to_bytes();
            let accepts = |receiver: &Receiver| receiver.verify(&head.headers, body.clone()).is_ok();
            let found = layered.iter().find(|(receiver, _)| accepts(receiver)).or(layered.first());
            let Some((_, mut verify)) = found.cloned() else { return status(401) };
            let request = Request::from_parts(head, Full::new(body));
            verify.call(request).await.unwrap_or_else(|never| match never {})
        })
    })
}

/// A HealthSync endpoint, written by hand, with at most one fault.
#[must_use]
pub fn healthsync(secret: &str, fault: Option<Fault>) -> Served {
    let handling = Arc::new(Handling::default());
    let naive =
        Arc::new(Naive { secret: secret.to_owned(), fault, seen: Mutex::default(), handling: handling.clone() });
    served(handling, move |request| {
        let naive = naive.clone();
        Box::pin(async move { status(naive.receive(request).await) })
    })
}

/// The fault of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is verified.
    Unchecked,
    /// Only the presence of a signature is checked.
    AnySignature,
    /// The signature is verified over the reserialized JSON.
    WrittenAgain,
    /// Only the beginning of the signature is compared.
    BeginningCompared,
    /// The age is not checked.
    AnyAge,
    /// An event is remembered before it is handled, and remains so if handling it fails.
    RememberedFirst,
    /// Lookup and insertion of an event are not atomic.
    AskedThenRemembered,
    /// Duplicates are rejected.
    DuplicateRefused,
    /// No event is remembered, so everything is handled every time.
    NothingRemembered,
    /// The kind is read from an unsigned header.
    KindFromHeader,
    /// Undocumented kinds are rejected.
    UnknownRefused,
    /// Payloads that differ from the documentation are rejected.
    DriftRefused,
    /// The size of a body is not limited.
    Unlimited,
    /// The event is handled before it is verified.
    HandledFirst,
    /// Bodies that are not JSON cause an internal error, before verification.
    Breaks,
}

/// The application behind an endpoint.
#[derive(Debug, Default)]
struct Handling {
    handled: AtomicUsize,
    fails: AtomicBool,
}

impl Handling {
    fn handle(&self) -> u16 {
        if self.fails.swap(false, Ordering::SeqCst) {
            return 500;
        }
        self.handled.fetch_add(1, Ordering::SeqCst);
        200
    }
}

fn served<A>(handling: Arc<Handling>, receive: A) -> Served
where
    A: Fn(Request<Incoming>) -> Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>> + Send + Sync + 'static,
{
    let answering: Arc<Answering> = Arc::new(move |request| match request.uri().path() {
        "/in" => receive(request),
        "/count" => {
            let count = handling.handled.load(Ordering::SeqCst);
            Box::pin(async move { text(200, format!("{count}\n")) })
        }
        "/fail-next" => {
            handling.fails.store(true, Ordering::SeqCst);
            Box::pin(async { status(204) })
        }
        _ => Box::pin(async { status(404) }),
    });
    Served::start(answering)
}

/// The application behind the layer.
#[derive(Clone)]
struct Handler(Arc<Handling>);

impl Service<Request<Full<Bytes>>> for Handler {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        std::future::ready(Ok(status(self.0.handle())))
    }
}

struct Naive {
    secret: String,
    fault: Option<Fault>,
    seen: Mutex<HashSet<Vec<u8>>>,
    handling: Arc<Handling>,
}

impl Naive {
    async fn receive(&self, request: Request<Incoming>) -> u16 {
        let (head, body) = request.into_parts();
        if head.method != http::Method::POST {
            return 405;
        }
        if head.headers.get("content-encoding").is_some_and(|encoding| encoding != "identity") {
            return 415;
        }
        let limit = if self.has(Fault::Unlimited) { usize::MAX } else { 1024 * 1024 };
        let body = match Limited::new(body, limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return 413,
        };
        let event: Option<Value> = serde_json::from_slice(&body).ok();
        if self.has(Fault::Breaks) && event.is_none() {
            return 500;
        }
        if self.has(Fault::HandledFirst) {
            let status = self.once(body.to_vec()).await;
            return if self.is_genuine(&head.headers, &body) { status } else { 401 };
        }
        if !self.has(Fault::Unchecked) && !self.is_genuine(&head.headers, &body) {
            return 401;
        }
        let part = |pointer: &str| event.as_ref().and_then(|event| event.pointer(pointer));
        let text_at = |pointer: &str| part(pointer).and_then(Value::as_str);
        if !self.has(Fault::Unchecked) && !self.has(Fault::AnyAge) && !is_fresh(part("/created_at")) {
            return 401;
        }
        let kind = if self.has(Fault::KindFromHeader) {
            head.headers.get("x-healthsync-event").and_then(|kind| kind.to_str().ok())
        } else {
            text_at("/type")
        };
        let is_documented = kind.is_some_and(|kind| medhook::healthsync::Kind::from_name(kind).is_some());
        match self.fault {
            Some(Fault::UnknownRefused) if !is_documented => return 400,
            Some(Fault::DriftRefused) if part("/data/object/file_size").is_some_and(|size| !size.is_u64()) => {
                return 422;
            }
            // An undocumented kind is acknowledged without handling.
            Some(Fault::KindFromHeader) if !is_documented => return 200,
            _ => {}
        }
        let id = text_at("/id").filter(|id| !id.is_empty()).map_or(body.to_vec(), |id| id.as_bytes().to_vec());
        self.once(id).await
    }

    async fn once(&self, id: Vec<u8>) -> u16 {
        let known = self.has(Fault::NothingRemembered) || self.seen.lock().unwrap().contains(&id);
        match self.fault {
            Some(Fault::NothingRemembered) => self.handling.handle(),
            Some(Fault::DuplicateRefused) if known => 409,
            Some(Fault::AskedThenRemembered) => {
                if !known {
                    // Takes as long as handling would, in small steps: on a stalled machine these delay copies on
                    // their way by the same amount.
                    for _ in 0..50 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    let status = self.handling.handle();
                    if status == 200 {
                        self.seen.lock().unwrap().insert(id);
                    }
                    return status;
                }
                200
            }
            Some(Fault::RememberedFirst) => {
                if !self.seen.lock().unwrap().insert(id) {
                    return 200;
                }
                self.handling.handle()
            }
            _ => {
                let mut seen = self.seen.lock().unwrap();
                if seen.contains(&id) {
                    return 200;
                }
                let status = self.handling.handle();
                if status == 200 {
                    seen.insert(id);
                }
                status
            }
        }
    }

    fn is_genuine(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        let mut given = headers.get_all("x-healthsync-signature").iter();
        let (Some(given), None) = (given.next(), given.next()) else {
            return false;
        };
        let Some(given) = given.to_str().ok().and_then(|given| given.strip_prefix("sha256=")) else {
            return false;
        };
        let again = self.has(Fault::WrittenAgain).then(|| minified(body));
        let signing = Signing::of(
            medhook::HmacSha256Body::new("x-healthsync-signature").prefix("sha256=").encoding(Encoding::Hex),
        );
        let signed = signing.headers(&self.secret, "", "", again.as_deref().unwrap_or(body));
        let signed = signed.expect("a secret").remove(0).1;
        let right = signed.strip_prefix("sha256=").expect("its prefix");
        match self.fault {
            Some(Fault::AnySignature) => true,
            Some(Fault::BeginningCompared) => right.starts_with(&given.to_ascii_lowercase()),
            _ => right.eq_ignore_ascii_case(given),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }
}

/// Accepts two hours back and five minutes ahead. A missing time is taken for a test event.
fn is_fresh(created_at: Option<&Value>) -> bool {
    let seconds = match created_at {
        Some(Value::String(text)) => text.parse().ok().map(jiff::Timestamp::as_second),
        Some(Value::Number(number)) => number.as_i64(),
        _ => None,
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let now = i64::try_from(now).expect("before the end of time");
    seconds.is_none_or(|seconds| (now - 7_200..=now + 300).contains(&seconds))
}

/// Returns the result of `JSON.stringify(JSON.parse(body))`.
fn minified(body: &[u8]) -> Vec<u8> {
    let (mut quoted, mut escaped) = (false, false);
    let significant = |byte: &u8| {
        let keep = quoted || !byte.is_ascii_whitespace();
        if quoted && !escaped && *byte == b'\\' {
            escaped = true;
        } else {
            if *byte == b'"' && !escaped {
                quoted = !quoted;
            }
            escaped = false;
        }
        keep
    };
    let mut significant = significant;
    body.iter().copied().filter(|byte| significant(byte)).collect()
}
