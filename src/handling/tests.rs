//! Time is paused in these tests: it moves when everything waits, and leases end without anyone waiting for them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, advance, sleep, timeout};

use super::claim::FIRST_RETRY;
use super::*;
use crate::claim_token::ClaimToken;
use crate::dedupe::{Claimed, DedupeStore, MemoryStore, Settled, StoreFuture};
use crate::event_key::EventKey;
use crate::retention::Retention;
use crate::{Bytes, Custom, Receiver, RequestHead, Secret, SharedSecret, StoreError};

const LEASE: Duration = Duration::from_secs(30);

/// What a store does wrong, for as long as it is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Nothing is done and an error is answered.
    Rejects,
    /// All is done, and the answer gets lost.
    LosesAnswers,
    /// Nothing is ever answered.
    Hangs,
    /// It panics before there is anything to wait for.
    Panics,
    /// It panics when it is waited for.
    PanicsLater,
    /// Commits alone are refused.
    RejectsCommits,
    /// All is done, a second late.
    Slow,
    /// Claims are made after a while, when nobody waits for them any more.
    ClaimsLater,
}

/// A real store that a fault can be put in front of.
#[derive(Debug, Clone)]
struct Faulty {
    store: MemoryStore,
    fault: Arc<Mutex<Fault>>,
}

impl Faulty {
    fn new() -> Self {
        Faulty { store: MemoryStore::new(100), fault: Arc::new(Mutex::new(Fault::None)) }
    }

    fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    async fn through<T>(&self, commit: bool, step: StoreFuture<'_, T>) -> Result<T, StoreError> {
        let fault = *self.fault.lock().unwrap();
        let down = || Err(StoreError::unavailable("out of order"));
        match fault {
            Fault::Hangs => std::future::pending().await,
            Fault::Panics | Fault::PanicsLater => panic!("the store's own"),
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
        assert_ne!(fault, Fault::Panics, "the store's own");
        if fault == Fault::ClaimsLater {
            let store = self.store.clone();
            tokio::spawn(async move {
                sleep(LEASE / 4).await;
                store.claim(key, token, lease).await.unwrap();
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
        Box::pin(self.through(false, self.store.release(key, token)))
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

/// Spends whatever its task may use each time it is asked, until it is done, as work does that gives way now and then or
/// reads what is always there.
async fn busy(done: Arc<AtomicBool>) -> u16 {
    while !done.load(Ordering::SeqCst) {
        tokio::task::coop::consume_budget().await;
    }
    200
}

/// Lets time pass that nobody waits for, since someone is busy.
async fn pass(time: Duration) {
    advance(time).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

/// Handles a delivery of event `1` with a handler that answers at once.
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
async fn success_is_remembered_and_failure_is_not() {
    let receiver = receiver(&Faulty::new(), 10);
    assert_eq!(handle(&receiver, 500).await, Ok(500));
    assert_eq!(handle(&receiver, 200).await, Ok(200));
    assert_eq!(handle(&receiver, 200).await, Err(Reason::Duplicate));
}

#[tokio::test(start_paused = true)]
async fn of_many_copies_at_once_one_is_handled() {
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
async fn a_panic_is_contained_and_the_retry_is_handled() {
    let receiver = receiver(&Faulty::new(), 10);
    let panics = run(&receiver, async { panic!("the handler's own") });
    assert_eq!(panics.await, Err(Reason::HandlerPanicked));
    assert_eq!(handle(&receiver, 200).await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_ends_is_canceled_and_the_retry_is_handled() {
    let receiver = receiver(&Faulty::new(), 10);
    let began = Instant::now();
    assert_eq!(run(&receiver, std::future::pending()).await, Err(Reason::HandlerTimeout));
    assert_eq!(began.elapsed().as_secs(), 600);
    assert_eq!(handle(&receiver, 200).await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn a_claim_holds_for_as_long_as_its_handler_runs() {
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
async fn a_lost_claim_is_told_to_its_handler_which_is_not_killed() {
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
    assert!(!first.claim_lost(), "nobody has taken it yet");
    store.set(Fault::None);
    let thief = store.store.claim(first.event_key(), ClaimToken::from_bytes([9; 16]), LEASE * 9).await;
    assert_eq!(thief.unwrap(), Claimed::Acquired);
    sleep(LEASE).await;
    assert!(first.claim_lost());
    assert_eq!(late.await.unwrap().unwrap(), 200, "its answer still goes out");
    let key = first.event_key();
    let still = store.store.claim(key, ClaimToken::from_bytes([8; 16]), LEASE).await.unwrap();
    assert!(matches!(still, Claimed::InFlight { .. }), "the late one did not end its successor's claim");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_is_made_up_for_and_the_answer_does_not_wait() {
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
async fn while_a_commit_is_made_up_for_the_claim_is_kept() {
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
async fn without_its_store_nothing_is_handled_and_nothing_stays_claimed() {
    for fault in [Fault::Rejects, Fault::LosesAnswers, Fault::Hangs, Fault::Panics, Fault::PanicsLater] {
        let store = Faulty::new();
        let receiver = receiver(&store, 10);
        store.set(fault);
        let handler = async { panic!("must not run") };
        assert_eq!(run(&receiver, handler).await, Err(Reason::StoreUnavailable), "{fault:?}");
        store.set(Fault::None);
        // Less than a lease: what a lost answer claimed is released, not left to run out.
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
async fn a_full_store_is_told_apart() {
    let store = Faulty { store: MemoryStore::new(1), ..Faulty::new() };
    let receiver = receiver(&store, 10);
    store.store.claim(EventKey::from_bytes([1; 32]), ClaimToken::from_bytes([1; 16]), LEASE).await.unwrap();
    assert_eq!(handle(&receiver, 200).await, Err(Reason::StoreFull));
}

#[tokio::test(start_paused = true)]
async fn more_handlers_than_may_run_are_turned_away_and_places_come_back() {
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
async fn draining_lets_what_runs_finish_and_lets_nothing_in() {
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
async fn what_still_runs_at_the_deadline_is_canceled_and_released() {
    let store = Faulty::new();
    let one = receiver(&store, 10);
    let another = receiver(&store, 10);
    let running = spawn(&one, std::future::pending());
    tokio::task::yield_now().await;
    assert_eq!(one.drain(Duration::from_secs(1)).await, 1);
    assert_eq!(running.await.unwrap(), Err(Reason::Draining));
    assert_eq!(handle(&another, 200).await, Ok(200), "another instance has it at once");
}

#[tokio::test(start_paused = true)]
async fn tokens_are_never_used_twice_nor_by_two_receivers() {
    let both = [Permits::new(10).unwrap(), Permits::new(10).unwrap()];
    let tokens = both.iter().flat_map(|permits| (0..1_000).map(|_| permits.token()));
    assert_eq!(tokens.collect::<std::collections::HashSet<_>>().len(), 2_000);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_verified_before_the_draining_began_is_rejected_after_it() {
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
    assert_eq!(receiver.admit(verified).unwrap_err().reason(), Reason::Draining, "and after");
}

#[tokio::test(start_paused = true)]
async fn draining_ends_when_what_it_gave_up_is_released() {
    let store = Faulty::new();
    let (one, another) = (receiver(&store, 10), receiver(&store, 10));
    let running = spawn(&one, std::future::pending());
    tokio::task::yield_now().await;
    store.set(Fault::Slow);
    one.drain(Duration::from_secs(1)).await;
    store.set(Fault::None);
    assert_eq!(handle(&another, 200).await, Ok(200));
    assert_eq!(running.await.unwrap(), Err(Reason::Draining));
}

#[tokio::test(start_paused = true)]
async fn a_handled_event_that_the_store_has_not_marked_is_not_canceled_and_does_not_delay_the_end() {
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
async fn a_commit_is_made_up_for_as_long_as_an_hour_and_holds_its_place() {
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
async fn a_handler_that_is_done_in_time_to_the_moment_is_done() {
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
async fn a_claim_lost_without_notice_is_noticed_when_it_is_settled() {
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
    let thief = store.store.claim(first.event_key(), ClaimToken::from_bytes([9; 16]), LEASE * 9).await;
    assert_eq!(thief.unwrap(), Claimed::Acquired);
    store.set(Fault::None);
    assert!(!first.claim_lost());
    go.notify_one();
    assert_eq!(late.await.unwrap().unwrap(), 200);
    assert!(first.claim_lost());
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_made_after_it_was_released_is_released_again() {
    let store = Faulty::new();
    let receiver = receiver(&store, 10);
    store.set(Fault::ClaimsLater);
    // The answer is waited for for a sixth of the lease; the claim is made at a quarter of it.
    assert_eq!(handle(&receiver, 200).await, Err(Reason::StoreUnavailable));
    store.set(Fault::None);
    sleep(LEASE / 6).await;
    assert_eq!(handle(&receiver, 200).await, Err(Reason::InFlight), "the claim has been made");
    sleep(LEASE / 4).await;
    assert_eq!(handle(&receiver, 200).await, Ok(200), "long before it runs out");
}

#[tokio::test(start_paused = true)]
async fn what_was_never_had_is_not_lost_to_whoever_has_it() {
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
    assert_eq!(handle(&receiver, 200).await, Err(Reason::InFlight), "the other's claim is as it was");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_claimed_holds_no_place_once_the_store_is_back() {
    let store = Faulty::new();
    let receiver = receiver(&store, 1);
    store.set(Fault::LosesAnswers);
    assert_eq!(handle(&receiver, 200).await, Err(Reason::StoreUnavailable));
    store.set(Fault::None);
    sleep(FIRST_RETRY * 2).await;
    assert_eq!(handle(&receiver, 200).await, Ok(200));
}

fn of_a_sender_that_never_tries_again(store: &Faulty, most: usize) -> Receiver {
    builder(store, most).on_store_error(OnStoreError::HandleUnclaimed).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn for_a_sender_that_never_tries_again_the_event_is_handled_without_its_store() {
    for fault in [Fault::Rejects, Fault::LosesAnswers, Fault::Hangs] {
        let store = Faulty::new();
        let receiver = of_a_sender_that_never_tries_again(&store, 10);
        store.set(fault);
        assert_eq!(handle(&receiver, 200).await, Ok(200), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_store_is_no_reason_either_to_lose_what_is_never_sent_again() {
    let store = Faulty { store: MemoryStore::new(1), ..Faulty::new() };
    let receiver = of_a_sender_that_never_tries_again(&store, 10);
    store.store.claim(EventKey::from_bytes([1; 32]), ClaimToken::from_bytes([1; 16]), LEASE).await.unwrap();
    assert_eq!(handle(&receiver, 200).await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn with_its_store_a_sender_that_never_tries_again_is_as_any_other() {
    let receiver = of_a_sender_that_never_tries_again(&Faulty::new(), 10);
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
async fn a_store_that_comes_back_while_an_unclaimed_event_is_handled_has_it_claimed_and_committed() {
    let store = Faulty::new();
    let receiver = of_a_sender_that_never_tries_again(&store, 10);
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
async fn what_was_handled_unclaimed_holds_no_place_while_its_store_stays_away() {
    let store = Faulty::new();
    let receiver = of_a_sender_that_never_tries_again(&store, 1);
    store.set(Fault::Rejects);
    for _ in 0..5 {
        assert_eq!(handle(&receiver, 200).await, Ok(200));
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unclaimed_event_whose_handler_failed_can_be_handled_again() {
    let store = Faulty::new();
    let receiver = of_a_sender_that_never_tries_again(&store, 10);
    store.set(Fault::LosesAnswers);
    assert_eq!(handle(&receiver, 500).await, Ok(500));
    sleep(Duration::from_millis(1)).await;
    store.set(Fault::None);
    assert_eq!(handle(&receiver, 200).await, Ok(200), "the claim whose answer was lost was released");
}

#[tokio::test]
async fn what_waits_for_nothing_needs_no_task() {
    let done = detached(async { 200 }, |_| unreachable!("no task is asked for")).await;
    assert_eq!(done, Some(200));
}

#[tokio::test]
async fn what_waits_goes_on_when_nobody_waits_for_it() {
    let (go, over) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (waits, tells) = (go.clone(), over.clone());
    let work = async move {
        waits.notified().await;
        tells.notify_one();
    };
    let mut dropped = Box::pin(detached(work, tokio::spawn));
    assert!(dropped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(dropped);
    go.notify_one();
    timeout(Duration::from_secs(60), over.notified()).await.expect("it came to its end");
}

#[tokio::test]
async fn a_panic_at_once_and_a_panic_later_are_the_same() {
    let at_once = async { panic!("at once") };
    assert_eq!(detached(at_once, |_| unreachable!("it panicked before")).await, None::<()>);
    let later = async {
        tokio::task::yield_now().await;
        panic!("later")
    };
    assert_eq!(detached(later, tokio::spawn).await, None::<()>);
}

#[test]
fn what_is_shown_of_a_claim_is_its_delivery_and_no_secret() {
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
async fn a_handler_that_is_never_idle_keeps_its_claim() {
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
async fn a_handler_that_is_never_idle_is_canceled_all_the_same() {
    for limit in [Reason::Draining, Reason::HandlerTimeout] {
        let one = builder(&Faulty::new(), 10).handler_timeout(LEASE * 10).build().unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let running = spawn(&one, busy(done.clone()));
        pass(Duration::ZERO).await;
        if limit == Reason::Draining {
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

/// What listens is the application's, and a logger whose pipe is broken panics.
#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_changes_nothing() {
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
            panic!("the listener's own");
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }

    let store = Faulty::new();
    let receiver = receiver(&store, 10);
    let _listening = tracing::subscriber::set_default(Panics);
    assert_eq!(handle(&receiver, 500).await, Ok(500));
    // Told of: a renewal that fails, a commit that fails, and the handler's end.
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
