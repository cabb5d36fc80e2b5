//! A provider that sends an event until it is accepted.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::marks::{MARK, words};
use crate::process::{PATIENCE, Process};
use crate::wire;
use crate::world::{PATH, SECRET};

/// An event, and what its handler does.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: String,
    body: Value,
}

impl Event {
    pub fn new(name: impl std::fmt::Display) -> Self {
        let id = format!("{MARK}-{name}");
        let body = json!({ "id": id, "kind": "checked", "text": words(&id, 64) });
        Event { id, body }
    }

    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body[name] = value.into();
        self
    }

    /// Makes the body this long.
    pub fn of(mut self, length: usize) -> Self {
        self.body["text"] = "".into();
        let rest = length.saturating_sub(self.body().len());
        self.body["text"] = words(&self.id, rest).into();
        self
    }

    pub fn body(&self) -> Vec<u8> {
        self.body.to_string().into_bytes()
    }

    /// Returns 32 bytes of the body that are in no other one.
    pub fn piece(&self) -> Vec<u8> {
        words(&self.id, 32).into_bytes()
    }
}

/// Sends to one receiver or to several in turn. Its address may change while it sends.
#[derive(Clone, Default)]
pub struct Sender {
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    turn: Arc<AtomicUsize>,
    pub accepted: Arc<AtomicUsize>,
}

/// An event that was accepted.
#[derive(Debug, Clone)]
pub struct Sent {
    pub id: String,
    pub tries: u32,
    /// The answers before the last one; `None` without one.
    pub answers: Vec<Option<u16>>,
    /// The duration of the last try.
    pub took: Duration,
}

impl Sender {
    pub fn to(process: &Process) -> Self {
        let sender = Sender::default();
        sender.change(&[process]);
        sender
    }

    pub fn change(&self, processes: &[&Process]) {
        *self.addresses.lock().unwrap() = processes.iter().map(|process| process.address).collect();
    }

    /// Sends events concurrently, each until it is accepted.
    pub async fn send_all(&self, callers: usize, events: impl IntoIterator<Item = Event>) -> Vec<Sent> {
        let sends = events.into_iter().map(|event| {
            let sender = self.clone();
            async move { tokio::spawn(async move { sender.send(&event).await }).await.expect("a sender") }
        });
        futures_util::stream::iter(sends).buffer_unordered(callers).collect().await
    }

    /// Sends an event until it is accepted.
    pub async fn send(&self, event: &Event) -> Sent {
        let (began, body, mut answers) = (Instant::now(), event.body(), Vec::new());
        loop {
            let tried = Instant::now();
            let answer = self.try_to_send(&body).await;
            if answer.is_some_and(|status| (200..300).contains(&status)) {
                self.accepted.fetch_add(1, Ordering::SeqCst);
                let tries = answers.len() as u32 + 1;
                return Sent { id: event.id.clone(), tries, answers, took: tried.elapsed() };
            }
            answers.push(answer);
            let last = answers.last();
            assert!(began.elapsed() < PATIENCE, "not accepted within {PATIENCE:?}; {} tries: {last:?}", answers.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns the status of one try, or `None` if there was no answer.
    pub async fn try_to_send(&self, body: &[u8]) -> Option<u16> {
        let head = format!("POST {PATH} HTTP/1.1\r\nx-key: {SECRET}\r\ncontent-type: application/json\r\n");
        Some(self.ask(&head, body).await?.0)
    }

    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        self.ask(&format!("GET {path} HTTP/1.1\r\n"), b"").await
    }

    async fn ask(&self, head: &str, body: &[u8]) -> Option<(u16, String)> {
        let address = {
            let addresses = self.addresses.lock().unwrap();
            *addresses.get(self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len().max(1))?
        };
        wire::ask(address, head, body).await
    }
}

/// Returns the different events that were accepted.
pub fn distinct(sent: &[Sent]) -> BTreeSet<&str> {
    sent.iter().map(|sent| sent.id.as_str()).collect()
}
