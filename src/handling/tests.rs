//! Time is paused in these tests: it advances when all tasks are idle, so leases expire without real waiting.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, advance, sleep, timeout};

use super::claim::FIRST_RETRY;
use super::*;
use crate::claim_token::ClaimToken;
use crate::dedupe::{Claimed, DedupeStore, DeliveryRecord, MemoryStore, Settled, StoreFuture};
use crate::event_key::EventKey;
use crate::retention::Retention;
use crate::{Bytes, Custom, Receiver, RequestHead, Secret, SharedSecret, StoreError};

const LEASE: Duration = Duration::from_secs(30);

/// A fault of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Operations have no effect and return an error.
    Rejects,
    /// Operations take effect, but return an error.
    LosesAnswers,
    /// Operations never return.
    Hangs,
    /// Claims panic before they return a future.
    Panics,
    /// Operations panic when their future is polled.
    PanicsLater,
    /// Commits have no effect and return an error.
    RejectsCommits,
    /// Operations take a second.
    Slow,
    /// Claims arrive at the store after their callers have stopped waiting.
    ClaimsLater,
    /// Operations never return, and their futures panic when they are dropped.
    PanicsWhenDropped,
}

/// A memory store that simulates a fault.
#[derive(Debug, Clone)]
struct Faulty {
    store: MemoryStore,
    fault: Arc<Mutex<Fault>>,
    /// The tokens of all releases.
    released: Arc<Mutex<Vec<ClaimToken>>>,
}

impl Faulty {
    fn new() -> Self {
        Faulty { store: MemoryStore::new(100), fault: Arc::new(Mutex::new(Fault::None)), released: Arc::default() }
    }

    fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    async fn through<T>(&self, commit: bool, step: StoreFuture<'_, T>) -> Result<T, StoreError> {
        let fault = *self.fault.lock().unwrap();
        let down = || Err(StoreError::unavailable("unavailable"));
        match fault {
            Fault::Hangs => std::future::pending().await,
            Fault::PanicsWhenDropped => {
                let _panics = PanicsWhenDropped;
                std::future::pending().await
            }
            Fault::Panics | Fault::PanicsLater => panic!("the store panics"),
            Fault::Rejects => down(),
            Fault::RejectsCommits if commit => down(),
            Fault::LosesAnswers => step.await.and_then(|_| down()),
            Fault::Slow => {
                sleep(Duration::from_secs(1)).await;
                step.await
            }
            Fault::None | Fault::RejectsCommits | Fault::ClaimsLater => step.await,
        }
    }
}

impl DedupeStore for Faulty {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        let fault = *self.fault.lock().unwrap();
        assert_ne!(fault, Fault::Panics, "the store panics");
        if fault == Fault::ClaimsLater {
            let (store, released) = (self.store.clone(), self.released.clone());
            tokio::spawn(async move {
                sleep(LEASE / 4).await;
                if !released.lock().unwrap().contains(&token) {
                    store.claim(key, token, lease).await.unwrap();
                }
            });
            return Box::pin(std::future::pending());
        }
        Box::pin(self.through(false, self.store.claim(key, token, lease)))
    }
    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        Box::pin(self.through(false, self.store.renew(key, token, lease)))
    }
    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled> {
        Box::pin(self.through(true, self.store.commit(key, token, retention)))
    }
    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
        self.released.lock().unwrap().push(token);
        Box::pin(self.through(false, self.store.release(key, token)))
    }
    fn record_delivery(&self, body: EventKey, period: Duration, most: u64) -> StoreFuture<'_, DeliveryRecord> {
        Box::pin(self.through(false, self.store.record_delivery(body, period, most)))
    }
    fn record_failure(&self, body: EventKey) -> StoreFuture<'_, ()> {
        Box::pin(self.through(false, self.store.record_failure(body)))
    }
}

fn receiver(store: &Faulty, most: usize) -> Receiver {
    builder(store, most).build().unwrap()
}

fn builder(store: &Faulty, most: usize) -> crate::Builder {
    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
    Receiver::builder("acme", custom.id_pointer("/id")).store(store.clone()).lease(LEASE).max_in_flight(most)
}

fn delivery(receiver: &Receiver, id: &str) -> Delivery {
    let headers = [("x-key", "0123456789abcdef")];
    let body = Bytes::from(format!(r#"{{"id":"{id}"}}"#));
    receiver.open(receiver.verify(&headers, body).unwrap()).unwrap()
}

/// A value of the application with a destructor that panics.
struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("the destructor panics");
    }
}

/// A handler that uses up its task's cooperative budget in each poll until it is done.
async fn busy(done: Arc<AtomicBool>) -> u16 {
    while !done.load(Ordering::SeqCst) {
        tokio::task::coop::consume_budget().await;
    }
    200
}

/// Advances the paused time, which does not advance by itself while a task is busy.
async fn pass(time: Duration) {
    advance(time).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

/// Handles a delivery of event `1` with a handler that returns immediately.
async fn handle(receiver: &Receiver, status: u16) -> Result<u16, Reason> {
    run(receiver, async move { status }).await
}

async fn run(receiver: &Receiver, handler: impl Future<Output = u16>) -> Result<u16, Reason> {
    let admitted = receiver.admit(delivery(receiver, "1")).map_err(|rejection| rejection.reason())?;
    admitted.run(handler, |status| *status == 200).await.map_err(|rejection| rejection.reason())
}

fn spawn(
    receiver: &Receiver,
    handler: impl Future<Output = u16> + Send + 'static,
) -> tokio::task::JoinHandle<Result<u16, Reason>> {
    let receiver = receiver.clone();
    tokio::spawn(async move { run(&receiver, handler).await })
}

#[tokio::test(start_paused = true)]
async fn success_commits_the_event_and_failure_releases_it() {
    let receiver = receiver(&Faulty::new(), 10);
    assert_eq!(handle(&receiver, 500).await, Ok(500));
    assert_eq!(handle(&receiver, 200).await, Ok(200));
    assert_eq!(handle(&receiver, 200).await, Err(Reason::Duplicate));
}

#[tokio::test(start_paused = true)]
async fn only_one_of_many_concurrent_deliveries_is_handled() {
    let receiver = receiver(&Faulty::new(), 1_000);
    let calls = Arc::new(AtomicUsize::new(0));
    let copies: Vec<_> = std::iter::repeat_with(|| {
        let calls = calls.clone();
        spawn(&receiver, async move {
            calls.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_secs(1)).await;
            200
        })
    })
    .take(500)
    .collect();
    let mut answers = Vec::new();
    for copy in copies {
        answers.push(copy.await.unwrap());
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(200)).count(), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == Err(Reason::InFlight)).count(), 499);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_a_panic_of_the_handler_is_handled() {
    let receiver = receiver(&Faulty::new(), 10);
    let panics = run(&receiver, async { panic!("the handler panics") });
    assert_eq!(panics.await, Err(Reason::HandlerPanicked));
    assert_eq!(handle(&receiver, 200).await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_returns_is_canceled_and_the_retry_is_handled() {
    let receiver = receiver(&Faulty::new(), 10);
    let began = Instant::now();
    assert_eq!(run(&receiver, std::future::pending()).await, Err(Reason::HandlerTimeout));
    assert_eq!(began.elapsed().as_secs(), 600);
    assert_eq!(handle(&receiver, 200).await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_renewed_while_its_handler_runs() {
    let receiver = receiver(&Faulty::new(), 10);
    let first = spawn(&receiver, async {
        sleep(LEASE * 5).await;
        200
    });
    for _ in 0..9 {
        sleep(LEASE / 2).await;
        assert_eq!(handle(&receiver, 200).await, Err(Reason::InFlight));
    }
    assert_eq!(first.await.unwrap(), Ok(200));
    assert_eq!(handle(&receiver, 200).await, Err(Reason::Duplicate));
}

#[tokio::test(start_paused = true)]
async fn a_handler_learns_of_its_lost_claim_and_is_not_canceled() {
    let store = Faulty::new();
    let receiver = receiver(&store, 10);
    let admitted = receiver.admit(delivery(&receiver, "1")).unwrap();
    let first = admitted.delivery().clone();
    let late = tokio::spawn(admitted.run(
        async {
            sleep(LEASE * 3).await;
            200
        },
        |_| true,
    ));
    sleep(LEASE / 6).await;
    store.set(Fault::Rejects);
    sleep(LEASE * 3 / 2).await;
    assert!(!first.claim_lost(), "no other delivery has claimed the event");
    store.set(Fault::None);
    let other = store.store.claim(first.event_key(), ClaimToken::from_bytes([9; 16]), LEASE * 9).await;
    assert_eq!(other.unwrap(), Claimed::Acquired);
    sleep(LEASE).await;
    assert!(first.claim_lost());
    assert_eq!(late.await.unwrap().unwrap(), 200, "its answer is still returned");
    let key = first.event_key();
    let still = store.store.claim(key, ClaimToken::from_bytes([8; 16]), LEASE).await.unwrap();
    assert!(matches!(still, Claimed::InFlight { .. }), "the late commit did not settle the other claim");
}

#[tokio::test(start_paused = true)]
async fn a_failed_commit_is_retried_without_delaying_the_answer() {
    for fault in [Fault::Rejects, Fault::RejectsCommits, Fault::LosesAnswers, Fault::Hangs, Fault::PanicsLater] {
        let store = Faulty::new();
        let receiver = receiver(&store, 10);
        let breaks = store.clone();
        let answer = run(&receiver, async move {
            breaks.set(fault);
            200
        });
        assert_eq!(answer.await, Ok(200), "{fault:?}: never 5xx after success");
        sleep(LEASE / 2).await;
        store.set(Fault::None);
        sleep(LEASE).await;
        assert_eq!(handle(&receiver, 200).await, Err(Reason::Duplicate), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_claim_is_kept_while_its_commit_is_retried() {
    let store = Faulty::new();
    let receiver = receiver(&store, 10);
    let breaks = store.clone();
    let answer = run(&receiver, async move {
        breaks.set(Fault::RejectsCommits);
        200
    });
    assert_eq!(answer.await, Ok(200));
    for _ in 0..10 {
        sleep(LEASE / 2).await;
        assert_eq!(handle(&receiver, 200).await, Err(Reason::InFlight));
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_claim_is_rejected_and_leaves_no_claim() {
    for fault in [Fault::Rejects, Fault::LosesAnswers, Fault::Hangs, Fault::Panics, Fault::PanicsLater] {
        let store = Faulty::new();
        let receiver = receiver(&store, 10);
        store.set(fault);
        let handler = async { panic!("the handler must not run") };
        assert_eq!(run(&receiver, handler).await, Err(Reason::StoreUnavailable), "{fault:?}");
        store.set(Fault::None);
        // Less than a lease: a claim whose answer was lost is released before it expires.
        sleep(LEASE / 3).await;
        assert_eq!(handle(&receiver, 200).await, Ok(200), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_does_not_end_the_handler() {
    let store = Faulty::new();
    let receiver = receiver(&store, 10);
    let (breaks, mends) = (store.clone(), store.clone());
    let answer = run(&receiver, async move {
        breaks.set(Fault::PanicsLater);
        sleep(LEASE / 2).await;
        mends.set(Fault::None);
        sleep(LEASE).await;
        200
    });
    assert_eq!(answer.await, Ok(200));
    assert_eq!(handle(&receiver, 200).await, Err(Reason::Duplicate));
}

#[tokio::test(start_paused = true)]
async fn a_full_store_has_its_own_reason() {
    let store = Faulty { store: MemoryStore::new(1), ..Faulty::new() };
    let receiver = receiver(&store, 10);
    store.store.claim(EventKey::from_bytes([1; 32]), ClaimToken::from_bytes([1; 16]), LEASE).await.unwrap();
    assert_eq!(handle(&receiver, 200).await, Err(Reason::StoreFull));
}

#[tokio::test(start_paused = true)]
async fn deliveries_beyond_max_in_flight_are_rejected_until_a_permit_is_free() {
    let receiver = receiver(&Faulty::new(), 1);
    let go = Arc::new(Notify::new());
    let waits = go.clone();
    let first = spawn(&receiver, async move {
        waits.notified().await;
        200
    });
    tokio::task::yield_now().await;
    assert_eq!(handle(&receiver, 200).await, Err(Reason::TooBusy));
    go.notify_one();
    assert_eq!(first.await.unwrap(), Ok(200));
    assert_eq!(handle(&receiver, 200).await, Err(Reason::Duplicate));
}

#[tokio::test(start_paused = true)]
async fn draining_lets_handlers_finish_and_rejects_new_deliveries() {
    let receiver = receiver(&Faulty::new(), 10);
    let running = spawn(&receiver, async {
        sleep(LEASE).await;
        200
    });
    tokio::task::yield_now().await;
    let drained = tokio::spawn({
        let receiver = receiver.clone();
        async move { receiver.drain(LEASE * 2).await }
    });
    tokio::task::yield_now().await;
    let head = receiver.begin(&RequestHead::new("POST", "/", &[("x-key", "0123456789abcdef")])).map(drop);
    assert_eq!(head.unwrap_err().reason(), Reason::Draining);
    assert_eq!(drained.await.unwrap(), 0);
    assert_eq!(running.await.unwrap(), Ok(200));
}

#[tokio::test(start_paused = true)]
async fn handlers_still_running_at_the_deadline_are_canceled_and_released() {
    let store = Faulty::new();
    let one = receiver(&store, 10);
    let another = receiver(&store, 10);
    let running = spawn(&one, std::future::pending());
    tokio::task::yield_now().await;
    assert_eq!(one.drain(Duration::from_secs(1)).await, 1);
    assert_eq!(running.await.unwrap(), Err(Reason::HandlerCanceled));
    assert_eq!(handle(&another, 200).await, Ok(200), "another instance can claim it immediately");
}

#[tokio::test(start_paused = true)]
async fn tokens_are_unique_across_receivers() {
    let both = [Permits::new(10).unwrap(), Permits::new(10).unwrap()];
    let tokens = both.iter().flat_map(|permits| (0..1_000).map(|_| permits.token()));
    assert_eq!(tokens.collect::<std::collections::HashSet<_>>().len(), 2_000);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_verified_before_draining_is_not_admitted_afterwards() {
    let receiver = receiver(&Faulty::new(), 10);
    let verified = delivery(&receiver, "2");
    let running = spawn(&receiver, async {
        sleep(LEASE).await;
        200
    });
    tokio::task::yield_now().await;
    let drained = tokio::spawn({
        let receiver = receiver.clone();
        async move { receiver.drain(LEASE * 2).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(receiver.admit(verified.clone()).unwrap_err().reason(), Reason::Draining, "while it drains");
    assert_eq!((drained.await.unwrap(), running.await.unwrap()), (0, Ok(200)));
    assert_eq!(receiver.admit(verified).unwrap_err().reason(), Reason::Draining, "after it has drained");
}

#[tokio::test(start_paused = true)]
async fn draining_waits_until_canceled_claims_are_released() {
    let store = Faulty::new();
    let (one, another) = (receiver(&store, 10), receiver(&store, 10));
    let running = spawn(&one, std::future::pending());
    tokio::task::yield_now().await;
    store.set(Fault::Slow);
    one.drain(Duration::from_secs(1)).await;
    store.set(Fault::None);
    assert_eq!(handle(&another, 200).await, Ok(200));
    assert_eq!(running.await.unwrap(), Err(Reason::HandlerCanceled));
}

#[tokio::test(start_paused = true)]
async fn an_uncommitted_handled_event_does_not_count_as_canceled() {
    let store = Faulty::new();
    let receiver = receiver(&store, 10);
    let breaks = store.clone();
    let answer = run(&receiver, async move {
        breaks.set(Fault::RejectsCommits);
        200
    });
    assert_eq!(answer.await, Ok(200));
    let began = Instant::now();
    assert_eq!(receiver.drain(Duration::from_secs(1)).await, 0, "its sender was answered 200");
    assert_eq!(began.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_retried_for_an_hour_and_holds_its_permit() {
    let store = Faulty::new();
    let receiver = receiver(&store, 1);
    let breaks = store.clone();
    let answer = run(&receiver, async move {
        breaks.set(Fault::RejectsCommits);
        200
    });
    assert_eq!(answer.await, Ok(200));
    sleep(Duration::from_secs(3_500)).await;
    assert_eq!(receiver.admit(delivery(&receiver, "2")).unwrap_err().reason(), Reason::TooBusy);
    sleep(Duration::from_secs(200)).await;
    assert!(receiver.admit(delivery(&receiver, "2")).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_finishes_exactly_at_its_timeout_succeeds() {
    for _ in 0..20 {
        let receiver = receiver(&Faulty::new(), 10);
        let exactly = async {
            sleep(Duration::from_secs(600)).await;
            200
        };
        assert_eq!(run(&receiver, exactly).await, Ok(200));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_claim_is_noticed_when_it_is_settled() {
    let store = Faulty::new();
    let receiver = receiver(&store, 10);
    let admitted = receiver.admit(delivery(&receiver, "1")).unwrap();
    let first = admitted.delivery().clone();
    let go = Arc::new(Notify::new());
    let waits = go.clone();
    let late = tokio::spawn(admitted.run(
        async move {
            waits.notified().await;
            200
        },
        |_| true,
    ));
    sleep(LEASE / 6).await;
    store.set(Fault::Rejects);
    sleep(LEASE * 3 / 2).await;
    let other = store.store.claim(first.event_key(), ClaimToken::from_bytes([9; 16]), LEASE * 9).await;
    assert_eq!(other.unwrap(), Claimed::Acquired);
    store.set(Fault::None);
    assert!(!first.claim_lost());
    go.notify_one();
    assert_eq!(late.await.unwrap().unwrap(), 200);
    assert!(first.claim_lost());
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_still_under_way_is_ended_by_one_release() {
    let store = Faulty::new();
    let receiver = receiver(&store, 10);
    store.set(Fault::ClaimsLater);
    // The store timeout is a sixth of the lease; the claim arrives after a quarter of it.
    assert_eq!(handle(&receiver, 200).await, Err(Reason::StoreUnavailable));
    store.set(Fault::None);
    sleep(LEASE / 4).await;
    assert_eq!(handle(&receiver, 200).await, Ok(200), "long before the claim would expire");
    sleep(LEASE).await;
    assert_eq!(store.released.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failed_claim_does_not_count_as_lost_to_another_delivery() {
    let store = Faulty::new();
    let receiver = receiver(&store, 10);
    let admitted = receiver.admit(delivery(&receiver, "1")).unwrap();
    let rejected = admitted.delivery().clone();
    store.set(Fault::Rejects);
    assert!(admitted.run(async { 200 }, |_| true).await.is_err());
    let other = store.store.claim(rejected.event_key(), ClaimToken::from_bytes([9; 16]), LEASE * 9).await;
    assert_eq!(other.unwrap(), Claimed::Acquired);
    store.set(Fault::None);
    sleep(LEASE).await;
    assert!(!rejected.claim_lost());
    assert_eq!(handle(&receiver, 200).await, Err(Reason::InFlight), "the other claim is unchanged");
}

#[tokio::test(start_paused = true)]
async fn a_failed_claim_holds_no_permit_once_the_store_is_available_again() {
    let store = Faulty::new();
    let receiver = receiver(&store, 1);
    store.set(Fault::LosesAnswers);
    assert_eq!(handle(&receiver, 200).await, Err(Reason::StoreUnavailable));
    store.set(Fault::None);
    sleep(FIRST_RETRY * 2).await;
    assert_eq!(handle(&receiver, 200).await, Ok(200));
}

fn handle_unclaimed_receiver(store: &Faulty, most: usize) -> Receiver {
    builder(store, most).on_store_error(OnStoreError::HandleUnclaimed).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn handle_unclaimed_handles_events_while_the_store_is_unavailable() {
    for fault in [Fault::Rejects, Fault::LosesAnswers, Fault::Hangs] {
        let store = Faulty::new();
        let receiver = handle_unclaimed_receiver(&store, 10);
        store.set(fault);
        assert_eq!(handle(&receiver, 200).await, Ok(200), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn handle_unclaimed_handles_events_while_the_store_is_full() {
    let store = Faulty { store: MemoryStore::new(1), ..Faulty::new() };
    let receiver = handle_unclaimed_receiver(&store, 10);
    store.store.claim(EventKey::from_bytes([1; 32]), ClaimToken::from_bytes([1; 16]), LEASE).await.unwrap();
    assert_eq!(handle(&receiver, 200).await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn handle_unclaimed_claims_events_while_the_store_is_available() {
    let receiver = handle_unclaimed_receiver(&Faulty::new(), 10);
    let first = spawn(&receiver, async {
        sleep(LEASE * 2).await;
        200
    });
    sleep(LEASE).await;
    assert_eq!(handle(&receiver, 200).await, Err(Reason::InFlight));
    assert_eq!(first.await.unwrap(), Ok(200));
    assert_eq!(handle(&receiver, 200).await, Err(Reason::Duplicate));
}

#[tokio::test(start_paused = true)]
async fn an_unclaimed_event_is_claimed_and_committed_once_the_store_is_available_again() {
    let store = Faulty::new();
    let receiver = handle_unclaimed_receiver(&store, 10);
    store.set(Fault::Rejects);
    let first = spawn(&receiver, async {
        sleep(LEASE * 2).await;
        200
    });
    sleep(LEASE / 6).await;
    store.set(Fault::None);
    sleep(LEASE / 2).await;
    assert_eq!(handle(&receiver, 200).await, Err(Reason::InFlight));
    assert_eq!(first.await.unwrap(), Ok(200));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(handle(&receiver, 200).await, Err(Reason::Duplicate));
}

#[tokio::test(start_paused = true)]
async fn an_event_handled_unclaimed_holds_no_permit_while_the_store_is_unavailable() {
    let store = Faulty::new();
    let receiver = handle_unclaimed_receiver(&store, 1);
    store.set(Fault::Rejects);
    for _ in 0..5 {
        assert_eq!(handle(&receiver, 200).await, Ok(200));
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unclaimed_event_whose_handler_failed_can_be_handled_again() {
    let store = Faulty::new();
    let receiver = handle_unclaimed_receiver(&store, 10);
    store.set(Fault::LosesAnswers);
    assert_eq!(handle(&receiver, 500).await, Ok(500));
    sleep(Duration::from_millis(1)).await;
    store.set(Fault::None);
    assert_eq!(handle(&receiver, 200).await, Ok(200), "the claim whose answer was lost was released");
}

#[tokio::test]
async fn detached_work_that_completes_in_its_first_poll_is_not_spawned() {
    let done = detached(async { 200 }, |_| unreachable!("no task is needed")).await;
    assert_eq!(done, Some(200));
}

#[tokio::test]
async fn detached_work_completes_after_its_future_is_dropped() {
    let (go, over) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (start, completed) = (go.clone(), over.clone());
    let work = async move {
        start.notified().await;
        completed.notify_one();
    };
    let mut dropped = Box::pin(detached(work, tokio::spawn));
    assert!(dropped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(dropped);
    go.notify_one();
    timeout(Duration::from_secs(60), over.notified()).await.expect("the work completes");
}

#[tokio::test]
async fn detached_work_that_panics_resolves_to_none() {
    let at_once = async { panic!("at once") };
    assert_eq!(detached(at_once, |_| unreachable!("it panics before it is spawned")).await, None::<()>);
    let later = async {
        tokio::task::yield_now().await;
        panic!("later")
    };
    assert_eq!(detached(later, tokio::spawn).await, None::<()>);
}

#[test]
fn debug_of_a_claim_shows_its_delivery_and_no_secret() {
    let receiver = receiver(&Faulty::new(), 10);
    let admitted = receiver.admit(delivery(&receiver, "1")).unwrap();
    let shown = format!("{admitted:?}");
    assert!(
        shown.starts_with(&format!("Admitted {{ claim: Claim {{ delivery: {:?}, ..", admitted.delivery())),
        "{shown}"
    );
    assert!(!shown.contains("0123456789abcdef"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn the_claim_of_a_busy_handler_is_renewed() {
    let store = Faulty::new();
    let (one, another) = (receiver(&store, 10), receiver(&store, 10));
    let done = Arc::new(AtomicBool::new(false));
    let running = spawn(&one, busy(done.clone()));
    pass(Duration::ZERO).await;
    for _ in 0..8 {
        pass(LEASE / 2).await;
        assert_eq!(handle(&another, 200).await, Err(Reason::InFlight));
    }
    done.store(true, Ordering::SeqCst);
    assert_eq!(running.await.unwrap(), Ok(200));
    assert_eq!(handle(&another, 200).await, Err(Reason::Duplicate));
}

#[tokio::test(start_paused = true)]
async fn a_busy_handler_can_be_canceled() {
    for limit in [Reason::HandlerCanceled, Reason::HandlerTimeout] {
        let one = builder(&Faulty::new(), 10).handler_timeout(LEASE * 10).build().unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let running = spawn(&one, busy(done.clone()));
        pass(Duration::ZERO).await;
        if limit == Reason::HandlerCanceled {
            let draining = one.clone();
            tokio::spawn(async move { draining.drain(LEASE).await });
            pass(Duration::ZERO).await;
            pass(LEASE).await;
        } else {
            pass(LEASE * 10).await;
        }
        assert!(running.is_finished(), "{limit:?}");
        assert_eq!(running.await.unwrap(), Err(limit));
        done.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_destructor_that_panics_at_the_timeout_leaves_no_claim() {
    let receiver = receiver(&Faulty::new(), 10);
    let handler = async {
        let _panics = PanicsWhenDropped;
        std::future::pending().await
    };
    assert_eq!(run(&receiver, handler).await, Err(Reason::HandlerTimeout));
    assert_eq!(handle(&receiver, 200).await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn a_destructor_that_panics_while_draining_leaves_no_claim() {
    let store = Faulty::new();
    let (one, another) = (receiver(&store, 10), receiver(&store, 10));
    let running = spawn(&one, async {
        let _panics = PanicsWhenDropped;
        std::future::pending().await
    });
    tokio::task::yield_now().await;
    assert_eq!(one.drain(Duration::from_secs(1)).await, 1);
    assert_eq!(running.await.unwrap(), Err(Reason::HandlerCanceled));
    assert_eq!(handle(&another, 200).await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn a_finished_handler_whose_destructor_panics_has_handled_the_event() {
    struct Finished(#[allow(dead_code, reason = "dropped")] PanicsWhenDropped);

    impl Future for Finished {
        type Output = u16;

        fn poll(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> std::task::Poll<u16> {
            std::task::Poll::Ready(200)
        }
    }

    let receiver = receiver(&Faulty::new(), 10);
    assert_eq!(run(&receiver, Finished(PanicsWhenDropped)).await, Ok(200));
    assert_eq!(handle(&receiver, 200).await, Err(Reason::Duplicate));
    // The second handler is dropped without being polled.
    assert_eq!(run(&receiver, Finished(PanicsWhenDropped)).await, Err(Reason::Duplicate));
}

#[tokio::test(start_paused = true)]
async fn a_panic_payload_whose_destructor_panics_leaves_no_claim() {
    let receiver = receiver(&Faulty::new(), 10);
    let panics = run(&receiver, async { std::panic::panic_any(PanicsWhenDropped) });
    assert_eq!(panics.await, Err(Reason::HandlerPanicked));
    assert_eq!(handle(&receiver, 200).await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_check_of_an_answer_leaves_no_claim() {
    let receiver = receiver(&Faulty::new(), 10);
    let admitted = receiver.admit(delivery(&receiver, "1")).unwrap();
    let answer = admitted.run(async { PanicsWhenDropped }, |_| -> bool { panic!("the check panics") }).await;
    assert_eq!(answer.map(std::mem::forget).unwrap_err().reason(), Reason::HandlerPanicked);
    // The closure is dropped without a call, because the handler does not finish.
    let captured = PanicsWhenDropped;
    let admitted = receiver.admit(delivery(&receiver, "1")).unwrap();
    let succeeded = move |_: &u16| {
        let _ = &captured;
        true
    };
    let panics = admitted.run(async { panic!("the handler panics") }, succeeded).await;
    assert_eq!(panics.unwrap_err().reason(), Reason::HandlerPanicked);
    assert_eq!(handle(&receiver, 200).await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn a_future_of_the_store_may_panic_when_it_is_dropped() {
    let store = Faulty::new();
    let receiver = receiver(&store, 10);
    store.set(Fault::PanicsWhenDropped);
    assert_eq!(run(&receiver, async { 200 }).await, Err(Reason::StoreUnavailable), "a claim");
    store.set(Fault::None);
    sleep(LEASE).await;
    let (breaks, mends) = (store.clone(), store.clone());
    let answer = run(&receiver, async move {
        breaks.set(Fault::PanicsWhenDropped);
        // The first renewal is given up at its timeout, the next one when the handler finishes.
        sleep(LEASE * 2 / 3).await;
        mends.set(Fault::None);
        200
    });
    assert_eq!(answer.await, Ok(200));
    assert_eq!(handle(&receiver, 200).await, Err(Reason::Duplicate));
}

#[tokio::test]
async fn detached_work_whose_destructor_or_payload_panics_resolves_to_none() {
    let payload = async { std::panic::panic_any(PanicsWhenDropped) };
    assert_eq!(detached(payload, |_| unreachable!("it panics before it is spawned")).await, None::<()>);
    let later = async {
        tokio::task::yield_now().await;
        std::panic::panic_any(PanicsWhenDropped)
    };
    assert_eq!(detached(later, tokio::spawn).await, None::<()>);
}

#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn a_panicking_destructor_is_logged_with_the_endpoint_and_the_event_key() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<String>>>);

    impl tracing::field::Visit for Log {
        fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
            self.0.lock().unwrap().push(format!("{field}={value:?}"));
        }
    }

    impl tracing::Subscriber for Log {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            event.record(&mut self.clone());
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }

    let log = Log::default();
    let _subscribed = tracing::subscriber::set_default(log.clone());
    let receiver = receiver(&Faulty::new(), 10);
    let key = delivery(&receiver, "1").event_key();
    let handler = async {
        let _panics = PanicsWhenDropped;
        std::future::pending().await
    };
    assert_eq!(run(&receiver, handler).await, Err(Reason::HandlerTimeout));
    let log = log.0.lock().unwrap();
    let at =
        log.iter().position(|field| field.contains("a destructor of the handler or of the store panicked")).unwrap();
    assert!(log[at..].iter().take(3).any(|field| field == "endpoint=\"acme\""), "{log:?}");
    assert!(log[at..].iter().take(3).any(|field| *field == format!("event_key={key}")), "{log:?}");
}

/// Subscribers belong to the application, and a logger whose pipe is broken panics.
#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics_does_not_affect_handling() {
    struct Panics;

    impl tracing::Subscriber for Panics {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {
            panic!("the subscriber panics");
        }
        fn enter(&self, _: &tracing::span::Id) {
            panic!("the subscriber panics");
        }
        fn exit(&self, _: &tracing::span::Id) {
            panic!("the subscriber panics");
        }
        fn try_close(&self, _: tracing::span::Id) -> bool {
            panic!("the subscriber panics");
        }
    }

    let store = Faulty::new();
    let receiver = receiver(&store, 10);
    let _subscribed = tracing::subscriber::set_default(Panics);
    let span = tracing::info_span!("request");
    assert_eq!(observe::within(&span, || 200), 200, "entering and leaving a span");
    assert!(!discard(span), "closing it");
    assert_eq!(handle(&receiver, 500).await, Ok(500));
    // Logged are a failed renewal, a failed commit, and the end of the handler.
    store.set(Fault::Rejects);
    let rejected = run(&receiver, async { 200 }).await;
    assert_eq!(rejected, Err(Reason::StoreUnavailable));
    store.set(Fault::None);
    let (set, until) = (store.clone(), store.clone());
    let handled = run(&receiver, async move {
        set.set(Fault::Rejects);
        sleep(LEASE / 2).await;
        200
    });
    assert_eq!(handled.await, Ok(200));
    until.set(Fault::None);
    sleep(LEASE).await;
    assert_eq!(handle(&receiver, 200).await, Err(Reason::Duplicate), "committed in the background");
}
