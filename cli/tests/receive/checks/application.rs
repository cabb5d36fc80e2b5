//! The application: it records each event once, by `webhook-id`, and fails as the check says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use medhook::sign::Signer;
use medhook::{Bytes, Secret, StandardWebhooks};
use medhook_tests::servers::free_port;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::mounted::{APPLICATION, key};
use super::shared::marks::MARK;
use super::shared::process::PATIENCE;

/// The answer to one call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// Records the event.
    Record,
    Status(u16),
    /// 503 with `Retry-After` in seconds.
    RetryAfter(u32),
    GiveUp,
    /// Records the event, and closes the connection without an answer.
    RecordAndHangUp,
    /// Records the event after a while.
    RecordAfter(Duration),
}

type Policy = Arc<dyn Fn(&Call) -> Answer + Send + Sync>;

/// A request for an event.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) id: String,
    /// The number of calls for this event before this one.
    pub(super) before: usize,
    /// The number in `medhook-attempt`.
    pub(super) attempt: Option<u32>,
    pub(super) is_replay: bool,
    pub(super) at: Instant,
}

/// An event that the application was called for.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    pub(super) body: Bytes,
    pub(super) calls: Vec<Call>,
    /// When it was recorded.
    pub(super) at: Option<Instant>,
    /// The number of calls after that.
    pub(super) again: usize,
}

#[derive(Clone)]
pub(super) struct Application {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    events: BTreeMap<String, Recorded>,
    policy: Policy,
    /// Whether the receivers have an inbox, and send the headers of stored events.
    has_inbox: bool,
    /// Requests that are not as they should be.
    mistakes: Vec<String>,
    accepting: Option<JoinHandle<()>>,
    connections: usize,
}

impl Application {
    /// Creates an application that is down.
    pub(super) fn new(has_inbox: bool) -> Self {
        let state = State {
            events: BTreeMap::new(),
            policy: Arc::new(|_| Answer::Record),
            has_inbox,
            mistakes: Vec::new(),
            accepting: None,
            connections: 0,
        };
        Application { address: ([127, 0, 0, 1], free_port()).into(), state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn answers(&self, policy: impl Fn(&Call) -> Answer + Send + Sync + 'static) {
        self.state.lock().unwrap().policy = Arc::new(policy);
    }

    /// Starts to accept connections.
    pub(super) async fn up(&self) {
        let began = Instant::now();
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let application = self.clone();
        let accepting = tokio::spawn(async move {
            // The set is dropped with this task, which closes the connections.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                application.state.lock().unwrap().connections += 1;
                let application = application.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| application.clone().handle(request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        self.state.lock().unwrap().accepting = Some(accepting);
    }

    /// Closes the listener and all connections.
    pub(super) async fn down(&self) {
        let accepting = self.state.lock().unwrap().accepting.take();
        if let Some(accepting) = accepting {
            accepting.abort();
            let _ = accepting.await;
        }
    }

    pub(super) fn events(&self) -> BTreeMap<String, Recorded> {
        self.state.lock().unwrap().events.clone()
    }

    /// Removes the events whose last call was before this time, and returns them.
    pub(super) fn take_before(&self, time: Instant) -> BTreeMap<String, Recorded> {
        let mut state = self.state.lock().unwrap();
        let is_old = |event: &Recorded| event.calls.last().is_some_and(|call| call.at < time);
        state.events.extract_if(.., |_, event| is_old(event)).collect()
    }

    /// Returns the number of recorded events.
    pub(super) fn recorded(&self) -> usize {
        self.state.lock().unwrap().events.values().filter(|event| event.at.is_some()).count()
    }

    /// Returns the number of calls for all events, and of connections.
    pub(super) fn calls(&self) -> (usize, usize) {
        let state = self.state.lock().unwrap();
        (state.events.values().map(|event| event.calls.len()).sum(), state.connections)
    }

    pub(super) fn mistakes(&self) -> Vec<String> {
        self.state.lock().unwrap().mistakes.clone()
    }

    async fn handle(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Interrupted> {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else { return Err(Interrupted) };
        let body = body.to_bytes();
        let (id, answer) = self.called(&head.headers, head.uri.path(), &body);
        let answered = Response::builder();
        let response = match answer {
            Answer::Record => {
                self.record(&id);
                answered.status(200)
            }
            Answer::RecordAfter(wait) => {
                tokio::time::sleep(wait).await;
                self.record(&id);
                answered.status(204)
            }
            Answer::RecordAndHangUp => {
                self.record(&id);
                return Err(Interrupted);
            }
            Answer::Status(status) => answered.status(status),
            Answer::RetryAfter(seconds) => answered.status(503).header("retry-after", seconds),
            Answer::GiveUp => answered.status(422).header("medhook-give-up", "unwanted"),
        };
        // Part of an answer that must not be logged.
        Ok(response.header("x-answer", MARK).body(Full::from(MARK)).unwrap())
    }

    fn called(&self, headers: &HeaderMap, path: &str, body: &Bytes) -> (String, Answer) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let id = text("webhook-id").to_owned();
        let mut state = self.state.lock().unwrap();
        let mistakes = mistakes(headers, path, body, state.has_inbox);
        state.mistakes.extend(mistakes);
        let event = state.events.entry(id.clone()).or_insert_with(|| Recorded {
            body: body.clone(),
            calls: Vec::new(),
            at: None,
            again: 0,
        });
        let has_own_body = event.body == body;
        event.again += usize::from(event.at.is_some());
        let call = Call {
            id: id.clone(),
            before: event.calls.len(),
            attempt: text("medhook-attempt").parse().ok(),
            is_replay: text("medhook-replay") == "true",
            at: Instant::now(),
        };
        event.calls.push(call.clone());
        if !has_own_body {
            state.mistakes.push("two bodies have one webhook-id".to_owned());
        }
        let policy = state.policy.clone();
        drop(state);
        (id, policy(&call))
    }

    fn record(&self, id: &str) {
        let mut state = self.state.lock().unwrap();
        let event = state.events.get_mut(id).unwrap();
        event.at.get_or_insert_with(Instant::now);
    }
}

/// Returns what is wrong with a request: its signature, or a header that carries something of the sender's.
fn mistakes(headers: &HeaderMap, path: &str, body: &Bytes, has_inbox: bool) -> Vec<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut mistakes = Vec::new();
    let signer = Signer::new(StandardWebhooks::new(), &Secret::new(key(APPLICATION)).unwrap()).unwrap();
    let time = text("webhook-timestamp").parse().unwrap_or_default();
    let expected = signer.sign(text("webhook-id"), time, body).ok();
    let expected = expected.and_then(|headers| headers.get("webhook-signature").cloned());
    if expected.is_none() || expected.as_ref() != headers.get("webhook-signature") {
        mistakes.push(format!("{path}: the signature is wrong"));
    }
    if time.abs_diff(crate::sender::now()) > 60 {
        mistakes.push(format!("{path}: the signature is of another time"));
    }
    if !signer.verify_headers(headers) {
        mistakes.push(format!("{path}: the signature of the headers is wrong"));
    }
    for name in ["medhook-attempt", "medhook-stored-at"] {
        if has_inbox && text(name).parse::<u64>().is_err() {
            mistakes.push(format!("{path}: {name} is not a number"));
        }
    }
    if path != format!("/{}", text("medhook-endpoint")) {
        mistakes.push(format!("{path}: the endpoint is {:?}", text("medhook-endpoint")));
    }
    for (name, value) in headers {
        if name != "medhook-event-id" && String::from_utf8_lossy(value.as_bytes()).contains(MARK) {
            mistakes.push(format!("{path}: the header {name} carries a mark"));
        }
    }
    mistakes
}

/// Ends a connection without an answer.
#[derive(Debug)]
struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}
