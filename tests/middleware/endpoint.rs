//! An endpoint to send to: its receiver, genuine deliveries, and a handler that waits.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use medhook::testing;
use medhook::{Builder, Bytes, HealthSync, MemoryStore, Receiver, Secret};
use medhook_tests::route::Route;
use medhook_tests::sender::{Outgoing, send};
use tokio::sync::Semaphore;

pub const SECRET: &str = "a-secret-of-the-dashboard";

/// Returns a builder whose body timeout suits the slowest machine; a test that needs a late body sets its own.
pub fn builder() -> Builder {
    let healthsync = HealthSync::new(Secret::new(SECRET).expect("a secret"));
    Receiver::builder("healthsync", healthsync).store(MemoryStore::new(100)).body_timeout(Duration::from_secs(600))
}

pub fn receiver() -> Receiver {
    builder().build().expect("a receiver")
}

/// Returns a delivery of the same event with the same bytes at any time.
pub fn genuine() -> Outgoing {
    static ONCE: LazyLock<http::Request<Bytes>> =
        LazyLock::new(|| testing::healthsync("document.uploaded").secret(SECRET).request("/"));
    ONCE.clone().into()
}

/// Returns a genuine delivery of the event with this id.
pub fn genuine_of(event: &str) -> Outgoing {
    testing::healthsync("document.uploaded").secret(SECRET).id(event).request("/").into()
}

/// Returns a delivery with a forged signature.
pub fn forged() -> Outgoing {
    testing::healthsync("document.uploaded").secret("somebody-elses-secret").request("/").into()
}

/// Waits until a condition holds, however slow the machine is.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..12_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("still not: {what}");
}

pub async fn status(to: SocketAddr) -> u16 {
    send(to, "/0".to_owned(), genuine()).await.expect("a response").status().as_u16()
}

/// A handler that counts its calls and waits to be released.
#[derive(Clone, Default)]
pub struct Slow {
    begun: Arc<AtomicUsize>,
    pub done: Arc<AtomicUsize>,
    gate: Arc<Gate>,
}

struct Gate(Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Gate(Semaphore::new(0))
    }
}

impl Slow {
    pub fn route(&self) -> Arc<[Route]> {
        let slow = self.clone();
        let handle = move |_| {
            let slow = slow.clone();
            async move {
                slow.begun.fetch_add(1, Ordering::SeqCst);
                let _go = slow.gate.0.acquire().await;
                slow.done.fetch_add(1, Ordering::SeqCst);
                200
            }
        };
        Arc::new([Route::new(receiver(), handle)])
    }

    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    pub fn let_go(&self) {
        self.gate.0.add_permits(1_000);
    }
}
