//! Tests of a server that goes away and comes back, through a receiver and at the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::RETRY_AFTER;
use medhook::{Claimed, Custom, DedupeStore, Reason, Receiver, Rejection, Secret, SharedSecret};
use medhook_tests::servers::Server;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::suite::{HOUR, key, soon, token};

/// A receiver whose handler counts its calls.
pub struct Endpoint {
    receiver: Receiver,
    handled: Arc<AtomicUsize>,
}

impl Endpoint {
    pub fn new(store: impl DedupeStore) -> Self {
        Self::with_lease(store, HOUR)
    }

    pub fn with_lease(store: impl DedupeStore, lease: Duration) -> Self {
        let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
        let receiver = Receiver::builder("acme", custom.id_pointer("/id")).store(store).lease(lease).build().unwrap();
        Endpoint { receiver, handled: Arc::default() }
    }

    pub fn delivery(&self, id: usize) -> medhook::Delivery {
        let headers = [("x-key", "0123456789abcdef")];
        let body = Bytes::from(format!(r#"{{"id":"{id}"}}"#));
        self.receiver.open(self.receiver.verify(&headers, body).unwrap()).unwrap()
    }

    pub fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    pub async fn deliver(&self, id: usize) -> Result<(), Rejection> {
        let handled = self.handled.clone();
        let handler = async move {
            handled.fetch_add(1, Ordering::SeqCst);
        };
        self.receiver.admit(self.delivery(id)).unwrap().run(handler, |()| true).await
    }

    pub fn handled(&self) -> usize {
        self.handled.load(Ordering::SeqCst)
    }

    /// Delivers with retries until the event is handled. Returns whether the last attempt was a duplicate.
    pub async fn deliver_until_handled(&self, id: usize) -> bool {
        let began = Instant::now();
        while let Err(rejection) = self.deliver(id).await {
            if rejection.reason() == Reason::Duplicate {
                return true;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{id}: {rejection}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    pub async fn is_rejected_for_now(&self, id: usize) {
        let before = self.handled();
        let rejection = self.deliver(id).await.unwrap_err();
        assert_eq!(rejection.reason(), Reason::StoreUnavailable);
        assert_eq!(rejection.header().unwrap().0, RETRY_AFTER);
        assert_eq!(self.handled(), before, "nothing is handled without a claim");
    }
}

pub async fn a_stopped_server_is_503_and_its_return_needs_no_restart(mut server: Server, store: impl DedupeStore) {
    let endpoint = Endpoint::new(store);
    endpoint.deliver_until_handled(1).await;
    server.stop();
    endpoint.is_rejected_for_now(1).await;
    endpoint.is_rejected_for_now(2).await;
    server.start();
    endpoint.deliver_until_handled(2).await;
    assert!(endpoint.deliver_until_handled(1).await, "it was kept");
    assert_eq!(endpoint.handled(), 2);
}

/// A restart breaks every connection without notice to the store.
pub async fn a_restart_between_steps_fails_no_step(mut server: Server, store: impl DedupeStore) {
    let store = Arc::new(store);
    let claim_many = async |from: u64| {
        let claim = |n| {
            let store = store.clone();
            tokio::spawn(async move { store.claim(key(n), token(n), HOUR).await })
        };
        for claimed in (from..from + 60).map(claim).collect::<Vec<_>>() {
            assert_eq!(claimed.await.unwrap().unwrap(), Claimed::Acquired);
        }
    };
    claim_many(0).await;
    server.stop();
    server.start();
    claim_many(100).await;
}

/// A proxy closes every connection while the server keeps running.
pub async fn closed_connections_fail_no_step(between: &Between, store: impl DedupeStore) {
    for round in 0..5 {
        let claims = (0..20).map(|n| store.claim(key(round * 20 + n), token(n), HOUR));
        for claimed in futures_util::future::join_all(claims).await {
            assert_eq!(claimed.unwrap(), Claimed::Acquired);
        }
        between.change(Way::Cut);
    }
}

/// A firewall drops idle connections silently: no packet on them is answered.
pub async fn dead_idle_connections_are_detected(between: &Between, store: impl DedupeStore) {
    let claims = (1..=50).map(|n| store.claim(key(n), token(n), HOUR));
    assert!(futures_util::future::join_all(claims).await.iter().all(Result::is_ok));
    between.change(Way::Forgotten);
    // The wait is longer than a store trusts an idle connection without a check.
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    assert_eq!(store.claim(key(100), token(1), HOUR).await.unwrap(), Claimed::Acquired);
}

/// The same while connections are in use: steps fail until their timeout, and no longer. The store has a short
/// timeout.
pub async fn a_dead_connection_is_abandoned(between: &Between, store: impl DedupeStore) {
    soon(async || store.claim(key(1), token(1), HOUR).await.is_ok()).await;
    between.change(Way::Forgotten);
    store.claim(key(2), token(2), HOUR).await.unwrap_err();
    soon(async || store.claim(key(2), token(2), HOUR).await.is_ok()).await;
}

/// A proxy between a store and its server.
pub struct Between {
    port: u16,
    way: watch::Sender<Way>,
}

/// The state of the open connections.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Open,
    Cut,
    /// They stay open, and no data passes.
    Forgotten,
}

impl Between {
    pub async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, to) = (listener.local_addr().unwrap().port(), server.port());
        let (way, changes) = watch::channel(Way::Open);
        tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                let mut changes = changes.clone();
                changes.mark_unchanged();
                tokio::spawn(async move {
                    let mut there = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut here, &mut there) => {}
                        _ = changes.changed() => {
                            if *changes.borrow() == Way::Forgotten {
                                std::future::pending().await
                            }
                        }
                    }
                });
            }
        });
        Between { port, way }
    }

    /// Returns the server's URL through the proxy.
    pub fn url(&self, server: &Server) -> String {
        server.url().replace(&format!(":{}/", server.port()), &format!(":{}/", self.port))
    }

    pub fn change(&self, way: Way) {
        self.way.send_replace(way);
    }
}

pub async fn an_unresponsive_server_is_503_and_leaves_no_claim(server: Server, store: impl DedupeStore) {
    let endpoint = Endpoint::new(store);
    endpoint.deliver_until_handled(1).await;
    server.pause();
    endpoint.is_rejected_for_now(2).await;
    endpoint.is_rejected_for_now(3).await;
    server.resume();
    // The lease is an hour, so a claim whose answer was lost must have been released.
    endpoint.deliver_until_handled(2).await;
    endpoint.deliver_until_handled(3).await;
    assert_eq!(endpoint.handled(), 3);
}

/// Defines all these tests for one kind of server. The calling module has `own`, which returns a server and its
/// store; `patient`, which returns a store with a long timeout; and `at`, which returns a store for a URL with this
/// many connections and this timeout for a step.
macro_rules! tests {
    ($server:path) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_stopped_server_is_503_and_its_return_needs_no_restart() {
            let (server, store) = own().await;
            away::a_stopped_server_is_503_and_its_return_needs_no_restart(server, store).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_restart_between_steps_fails_no_step() {
            let server = $server(&[]);
            let store = patient(&server).await;
            away::a_restart_between_steps_fails_no_step(server, store).await;
        }

        #[tokio::test]
        async fn closed_connections_fail_no_step() {
            let server = $server(&[]);
            let between = away::Between::to(&server).await;
            let store = at(&between.url(&server), 8, HOUR).await;
            away::closed_connections_fail_no_step(&between, store).await;
        }

        #[tokio::test]
        async fn dead_idle_connections_are_detected() {
            let server = $server(&[]);
            let between = away::Between::to(&server).await;
            let store = at(&between.url(&server), 8, HOUR).await;
            away::dead_idle_connections_are_detected(&between, store).await;
        }

        #[tokio::test]
        async fn a_dead_connection_is_abandoned() {
            let server = $server(&[]);
            let between = away::Between::to(&server).await;
            let store = at(&between.url(&server), 1, Duration::from_secs(2)).await;
            away::a_dead_connection_is_abandoned(&between, store).await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn an_unresponsive_server_is_503_and_leaves_no_claim() {
            let (server, store) = own().await;
            away::an_unresponsive_server_is_503_and_leaves_no_claim(server, store).await;
        }
    };
}
pub(super) use tests;
