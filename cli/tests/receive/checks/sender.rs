//! A provider that signs its deliveries, and either never retries or retries until an event is accepted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;

use super::events::{Event, Sent};
use super::shared::process::PATIENCE;
use super::shared::wire;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retries {
    Never,
    UntilAccepted,
}

/// Sends to the receivers in turn. Their addresses and the secrets may change while it sends.
#[derive(Clone, Default)]
pub(super) struct Sender {
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    secrets: Arc<Mutex<BTreeMap<&'static str, String>>>,
    turn: Arc<AtomicUsize>,
    /// The number of events that were accepted or, without retries, sent.
    ended: Arc<AtomicUsize>,
    /// Sends over connections that stay open; without it, each try has a connection of its own.
    connections: Option<crate::sender::Sender>,
}

impl Sender {
    /// Sets the receivers for the following tries.
    pub(super) fn send_to(&self, addresses: Vec<SocketAddr>) {
        *self.addresses.lock().unwrap() = addresses;
    }

    /// Sets the secrets for the following tries, by endpoint.
    pub(super) fn sign_with(&self, secrets: BTreeMap<&'static str, String>) {
        *self.secrets.lock().unwrap() = secrets;
    }

    /// Returns a sender to the same receivers that keeps its connections open.
    pub(super) fn keeping_alive(&self) -> Self {
        Sender { connections: Some(crate::sender::Sender::new()), ..self.clone() }
    }

    /// Returns the secret of an endpoint.
    pub(super) fn secret(&self, endpoint: &str) -> String {
        self.secrets.lock().unwrap()[endpoint].clone()
    }

    /// Returns the receiver for the next try.
    pub(super) fn next_address(&self) -> Option<SocketAddr> {
        let addresses = self.addresses.lock().unwrap();
        addresses.get(self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len().max(1)).copied()
    }

    /// Sends events concurrently.
    pub(super) async fn send_all(
        &self,
        retries: Retries,
        callers: usize,
        events: impl IntoIterator<Item = Event>,
    ) -> Vec<Sent> {
        let sends = events.into_iter().map(|event| {
            let sender = self.clone();
            async move { tokio::spawn(async move { sender.send(retries, event).await }).await.unwrap() }
        });
        futures_util::stream::iter(sends).buffer_unordered(callers).collect().await
    }

    /// Returns the number of sends that have ended.
    pub(super) fn sent(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }

    /// Starts to send events without an end, at most 400 per second.
    pub(super) fn load(&self, retries: Retries, prefix: &str) -> Load {
        let (numbers, stopped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let callers = (0..4).map(|_| {
            let (sender, numbers, stopped) = (self.clone(), numbers.clone(), stopped.clone());
            let prefix = prefix.to_owned();
            tokio::spawn(async move {
                let mut sent = Vec::new();
                while !stopped.load(Ordering::SeqCst) {
                    let number = numbers.fetch_add(1, Ordering::SeqCst);
                    sent.push(sender.send(retries, Event::new(&prefix, number as u64)).await);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                sent
            })
        });
        Load { callers: callers.collect(), stopped }
    }

    pub(super) async fn send(&self, retries: Retries, mut event: Event) -> Sent {
        let began = Instant::now();
        let mut answers = Vec::new();
        loop {
            let tried = Instant::now();
            answers.push(self.try_to_send(&event).await);
            let sent = Sent { event, answers, took: tried.elapsed(), at: Instant::now() };
            if retries == Retries::Never || sent.is_accepted() {
                self.ended.fetch_add(1, Ordering::SeqCst);
                return sent;
            }
            assert!(began.elapsed() < PATIENCE, "not accepted within {PATIENCE:?}: {:?}", sent.answers.last());
            Sent { event, answers, .. } = sent;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the status of one try, or `None` if there was no answer.
    pub(super) async fn try_to_send(&self, event: &Event) -> Option<u16> {
        let secret = self.secret(event.provider.name);
        match &self.connections {
            Some(connections) => connections.send(self.next_address()?, &event.request(&secret)).await.ok(),
            None => self.ask(&event.head(&secret), &event.body).await,
        }
    }

    /// Sends any request to a receiver.
    pub(super) async fn ask(&self, head: &str, body: &[u8]) -> Option<u16> {
        Some(wire::ask(self.next_address()?, head, body).await?.0)
    }
}

/// Callers that send until they are stopped.
pub(super) struct Load {
    callers: Vec<tokio::task::JoinHandle<Vec<Sent>>>,
    stopped: Arc<AtomicBool>,
}

impl Load {
    pub(super) async fn stop(self) -> Vec<Sent> {
        self.stopped.store(true, Ordering::SeqCst);
        let sent = futures_util::future::join_all(self.callers).await;
        sent.into_iter().flat_map(Result::unwrap).collect()
    }
}
