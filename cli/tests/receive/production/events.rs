//! Deliveries of MediQuo, which documents no retries, and the application that handles their events.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use medhook::Bytes;
use medhook::testing::{self, Signing};
use serde_json::Value;

use crate::application::{Application, with_status};
use crate::program::{PATIENCE, SECRET};
use crate::sender::{Sender, now};

/// Returns a genuine delivery. The number is part of the event.
pub(super) fn event(number: usize, secret: &str) -> Request<Bytes> {
    let sample = testing::mediquo("prescription_created").signing(Signing::shared_secret("x-webhook-signature"));
    let sample = sample.secret(secret);
    let mut body: Value = serde_json::from_slice(sample.request("/").body()).unwrap();
    body["prescription"]["id"] = Value::from(format!("drill-{number}"));
    body["occurred_on"] = Value::from(now());
    sample.body(body.to_string()).request("/mediquo")
}

/// Sends events with these numbers, each of which is acknowledged.
pub(super) async fn send(to: SocketAddr, numbers: std::ops::Range<usize>) {
    let sender = Sender::new();
    for number in numbers {
        assert_eq!(status(&sender, to, &event(number, SECRET)).await, 200);
    }
}

/// Sends a delivery again for as long as it is answered 503, as it is on a machine that is too busy for the timeouts of
/// the store. Returns the status of the last answer.
pub(super) async fn status(sender: &Sender, to: SocketAddr, delivery: &Request<Bytes>) -> u16 {
    let began = Instant::now();
    loop {
        match sender.send(to, delivery).await.unwrap() {
            503 if began.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(50)).await,
            status => return status,
        }
    }
}

/// Deliveries that arrive in the background.
pub(super) struct Arriving {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    sending: tokio::task::JoinHandle<()>,
}

impl Arriving {
    /// Starts with the event of this number, and waits until one is acknowledged.
    pub(super) async fn start(to: SocketAddr, first: usize) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(first)));
        let sending = tokio::spawn({
            let (stop, sent) = (stop.clone(), sent.clone());
            async move {
                while !stop.load(Ordering::SeqCst) {
                    let number = sent.load(Ordering::SeqCst);
                    send(to, number..number + 1).await;
                    sent.store(number + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        });
        until("a delivery arrives", async || sent.load(Ordering::SeqCst) > first).await;
        Arriving { stop, sent, sending }
    }

    /// Stops, and returns the number of the next event.
    pub(super) async fn stop(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.sending.await.unwrap();
        self.sent.load(Ordering::SeqCst)
    }
}

/// An application whose answer is changed while it runs.
pub(super) struct Handling {
    pub(super) application: Application,
    status: Arc<AtomicU16>,
}

impl Handling {
    pub(super) async fn start(status: u16) -> Self {
        let status = Arc::new(AtomicU16::new(status));
        let answer = status.clone();
        let application = Application::start(move |_, _| {
            let status = answer.load(Ordering::SeqCst);
            async move { with_status(status) }
        });
        Handling { application: application.await, status }
    }

    pub(super) fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Returns how many times each event was handled, by its key.
    pub(super) fn handled(&self) -> BTreeMap<String, usize> {
        let mut handled = BTreeMap::new();
        for call in self.application.calls().iter().filter(|call| call.status == Some(200)) {
            let key = call.request.headers()["medhook-event-key"].to_str().unwrap();
            *handled.entry(key.to_owned()).or_default() += 1;
        }
        handled
    }

    /// Waits until events were handled this many times in total.
    pub(super) async fn until_handled(&self, times: usize) {
        until(&format!("{times} are handled"), async || self.handled().values().sum::<usize>() >= times).await;
    }
}

/// Waits until a condition holds.
pub(super) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
