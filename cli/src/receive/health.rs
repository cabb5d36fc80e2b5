//! Liveness and readiness.
//!
//! `/livez` is always 200: a supervisor restarts the process on 503, which would not repair a store. `/readyz` is 503
//! while deliveries should go to another receiver. Neither queries the store; they use the result of its last
//! operation.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use medhook::{
    Bytes, ClaimToken, Claimed, DedupeStore, DeliveryRecord, EventKey, Inbox, Retention, Settled, StoreFuture, StoreId,
};
use tokio::time::Instant;

use super::path;
use super::printer::Printer;
use crate::server::{empty, method_not_allowed};

/// The state that the health checks report.
#[derive(Debug)]
pub(super) struct Health {
    phase: AtomicU8,
    /// The store as endpoints without an inbox use it.
    store: StoreHealth,
    /// The results of storing events.
    storing: StoreHealth,
    /// The inbox, which knows the results of its workers.
    inbox: OnceLock<Inbox>,
    needs: Needs,
}

/// The parts that the receiver needs to handle deliveries.
#[derive(Debug)]
pub(super) struct Needs {
    /// Whether every endpoint needs the store. An endpoint that does not can handle deliveries while it is unavailable.
    pub(super) store: bool,
    /// Standard output, if an endpoint writes its events there.
    pub(super) output: Option<Printer>,
}

/// A phase of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    Starting,
    Serving,
    Ending,
}

impl Health {
    pub(super) fn new(needs: Needs) -> Self {
        Health {
            phase: AtomicU8::new(Phase::Starting as u8),
            store: StoreHealth::default(),
            storing: StoreHealth::default(),
            inbox: OnceLock::new(),
            needs,
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    pub(super) fn is_in(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::SeqCst) == phase as u8
    }

    /// Wraps the store to record the results of its operations.
    pub(super) fn watch(&self, store: Arc<dyn DedupeStore>) -> Arc<dyn DedupeStore> {
        Arc::new(WatchedStore { store, health: self.store.clone() })
    }

    /// Returns where endpoints with an inbox record whether they could store an event. They use the store without a
    /// [wrapper](Self::watch).
    pub(super) fn storing(&self, inbox: Option<&Inbox>) -> StoreHealth {
        if let Some(inbox) = inbox {
            self.inbox.get_or_init(|| inbox.clone());
        }
        self.storing.clone()
    }

    /// Answers a request for one of the paths in [`path::HEALTH`]. Returns `None` for any other path.
    pub(super) fn answer(&self, method: &Method, path: &str) -> Option<Response<Full<Bytes>>> {
        if !path::HEALTH.contains(&path) {
            return None;
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Some(method_not_allowed("GET, HEAD"));
        }
        let problem = if path == path::LIVE { None } else { self.problem() };
        Some(match problem {
            None => empty(StatusCode::OK),
            Some(problem) => {
                let mut response = Response::new(Full::from(problem));
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                let text = HeaderValue::from_static("text/plain; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, text);
                response
            }
        })
    }

    /// Returns whether the receiver accepts deliveries.
    pub(super) fn is_ready(&self) -> bool {
        self.problem().is_none()
    }

    /// Returns whether the last operation of the store succeeded. That an event could not be stored expires, since the
    /// workers use the same store.
    pub(super) fn is_store_up(&self) -> bool {
        self.store.failed().is_none() && !self.storing.failed_recently() && self.worker_failed_since().is_none()
    }

    fn worker_failed_since(&self) -> Option<Duration> {
        self.inbox.get().and_then(Inbox::worker_failed_since)
    }

    fn store_failed_recently(&self) -> bool {
        self.store.failed_recently()
            || self.storing.failed_recently()
            || self.worker_failed_since().is_some_and(|since| since < MEMORY)
    }

    /// Returns the reason why the receiver is not ready.
    pub(super) fn problem(&self) -> Option<&'static str> {
        if self.is_in(Phase::Starting) {
            return Some("starting\n");
        }
        if self.is_in(Phase::Ending) {
            return Some("shutting down\n");
        }
        if self.needs.store && self.store_failed_recently() {
            return Some("the last store operation failed\n");
        }
        if self.needs.output.as_ref().is_some_and(|output| output.is_failing() || output.is_stuck()) {
            return Some("cannot write to standard output\n");
        }
        None
    }
}

/// The time at which the last operation of the store failed; `None` if it succeeded.
#[derive(Debug, Clone, Default)]
pub(super) struct StoreHealth(Arc<Mutex<Option<Instant>>>);

impl StoreHealth {
    pub(super) fn record(&self, succeeded: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (!succeeded).then(Instant::now);
    }

    fn failed(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed_recently(&self) -> bool {
        self.failed().is_some_and(|failed| failed.elapsed() < MEMORY)
    }
}

/// The time for which a failure makes the receiver unready. It must expire, because only a delivery can show that the
/// store works again, and an unready receiver gets none.
const MEMORY: Duration = Duration::from_secs(5);

/// A store that records the results of its operations.
#[derive(Debug)]
struct WatchedStore {
    store: Arc<dyn DedupeStore>,
    health: StoreHealth,
}

impl WatchedStore {
    fn recorded<'s, T: Send + 's>(&'s self, operation: StoreFuture<'s, T>) -> StoreFuture<'s, T> {
        Box::pin(async move {
            // The receiver drops an operation that takes too long, which then counts as failed.
            let mut unfinished = Unfinished { health: Some(&self.health), since: Instant::now() };
            let answer = operation.await;
            unfinished.health = None;
            self.health.record(answer.is_ok());
            answer
        })
    }
}

/// Records an operation as failed if it is dropped after [`SOON`]. Earlier drops do not count, because a renewal is
/// dropped when its handler ends.
struct Unfinished<'s> {
    health: Option<&'s StoreHealth>,
    since: Instant,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(health) = self.health
            && self.since.elapsed() >= SOON
        {
            health.record(false);
        }
    }
}

/// A working store answers within this time.
const SOON: Duration = Duration::from_millis(200);

impl DedupeStore for WatchedStore {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        self.recorded(self.store.claim(key, token, lease))
    }

    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        self.recorded(self.store.renew(key, token, lease))
    }

    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled> {
        self.recorded(self.store.commit(key, token, retention))
    }

    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
        self.recorded(self.store.release(key, token))
    }

    fn record_delivery(&self, body: EventKey, period: Duration, most: u64) -> StoreFuture<'_, DeliveryRecord> {
        self.recorded(self.store.record_delivery(body, period, most))
    }

    fn record_failure(&self, body: EventKey) -> StoreFuture<'_, ()> {
        self.recorded(self.store.record_failure(body))
    }

    fn store_id(&self) -> Option<StoreId> {
        self.store.store_id()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use medhook::{MemoryStore, StoreError};
    use tokio::time::{advance, timeout};

    use super::*;

    const STORE_ALONE: Needs = Needs { store: true, output: None };

    fn status(health: &Health, path: &str) -> u16 {
        health.answer(&Method::GET, path).unwrap().status().as_u16()
    }

    #[test]
    fn liveness_does_not_depend_on_the_phase_and_readiness_does() {
        let health = Health::new(STORE_ALONE);
        for (phase, ready) in [(Phase::Starting, 503), (Phase::Serving, 200), (Phase::Ending, 503)] {
            health.enter(phase);
            let statuses = ["/livez", "/readyz", "/healthz"].map(|path| status(&health, path));
            assert_eq!(statuses, [200, ready, ready], "{phase:?}");
        }
    }

    #[test]
    fn the_body_of_a_503_is_text() {
        let answer = Health::new(STORE_ALONE).answer(&Method::GET, "/readyz").unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    }

    #[test]
    fn health_checks_accept_get_and_head_at_their_paths() {
        let health = Health::new(STORE_ALONE);
        for path in ["/livez", "/readyz", "/healthz"] {
            assert_eq!(health.answer(&Method::POST, path).unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
            assert!(health.answer(&Method::HEAD, path).is_some());
            assert_eq!(health.answer(&Method::POST, path).unwrap().headers()[header::ALLOW], "GET, HEAD");
        }
        assert!(health.answer(&Method::GET, "/livez/").is_none());
    }

    /// A store that fails or never answers, depending on the lease.
    #[derive(Debug)]
    struct Failing(MemoryStore);

    const NEVER: Duration = Duration::from_secs(2);
    const FAILS: Duration = Duration::from_secs(1);

    impl DedupeStore for Failing {
        fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
            match lease {
                NEVER => Box::pin(std::future::pending()),
                FAILS => Box::pin(async { Err(StoreError::unavailable("away")) }),
                lease => self.0.claim(key, token, lease),
            }
        }

        fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
            self.0.renew(key, token, lease)
        }

        fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled> {
            self.0.commit(key, token, retention)
        }

        fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
            self.0.release(key, token)
        }

        fn record_delivery(&self, body: EventKey, period: Duration, most: u64) -> StoreFuture<'_, DeliveryRecord> {
            self.0.record_delivery(body, period, most)
        }

        fn record_failure(&self, body: EventKey) -> StoreFuture<'_, ()> {
            self.0.record_failure(body)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_or_abandoned_operation_counts_for_five_seconds_or_until_one_succeeds() {
        let health = Health::new(STORE_ALONE);
        health.enter(Phase::Serving);
        let store = health.watch(Arc::new(Failing(MemoryStore::new(10))));
        let (key, token) = (EventKey::from_bytes([1; 32]), ClaimToken::from_bytes([1; 16]));
        assert!(store.claim(key, token, NEVER).now_or_never().is_none());
        assert_eq!(status(&health, "/readyz"), 200, "dropped soon");
        for lease in [FAILS, NEVER] {
            assert!(
                timeout(SOON, store.claim(key, token, lease)).await.is_ok_and(|answer| answer.is_err())
                    || lease == NEVER
            );
            assert_eq!((status(&health, "/readyz"), status(&health, "/livez")), (503, 200));
            store.claim(key, token, Duration::from_secs(30)).await.unwrap();
            assert_eq!(status(&health, "/readyz"), 200);

            assert!(
                timeout(SOON, store.claim(key, token, lease)).await.is_ok_and(|answer| answer.is_err())
                    || lease == NEVER
            );
            advance(MEMORY - Duration::from_millis(1)).await;
            assert_eq!(status(&health, "/readyz"), 503);
            advance(Duration::from_millis(1)).await;
            assert_eq!(status(&health, "/readyz"), 200);
        }
    }

    /// If it became unready, it would not get the events that it could still handle.
    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_handles_events_without_a_claim_stays_ready_without_its_store() {
        let health = Health::new(Needs { store: false, output: None });
        health.enter(Phase::Serving);
        let store = health.watch(Arc::new(Failing(MemoryStore::new(10))));
        let (key, token) = (EventKey::from_bytes([1; 32]), ClaimToken::from_bytes([1; 16]));
        store.claim(key, token, FAILS).await.unwrap_err();
        assert_eq!(status(&health, "/readyz"), 200);
    }
}
