//! Leases, and stores that fail.

use super::*;
use crate::claim_token::ClaimToken;
use crate::dedupe::Settled;
use crate::dedupe::inbox::rules::Ending;
use crate::dedupe::inbox::store::{InboxStore as _, LeaseId, LeaseRequest, Leased};
use crate::worker::attempt;
use crate::worker::lease::Lease;

const OTHER: ClaimToken = ClaimToken::from_bytes([9; 16]);

/// Leases an event as a worker of another process does.
async fn lease(stage: &Stage, token: ClaimToken, alone: bool) -> Option<Box<Leased>> {
    let lease = if token == OTHER { 24 * HOUR } else { LEASE };
    let request = LeaseRequest { endpoint: "acme".to_owned(), token, lease, alone };
    stage.store.lease(request).await.unwrap().leased
}

#[tokio::test(start_paused = true)]
async fn a_long_handler_keeps_its_lease_even_if_renewals_fail_for_a_while() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let handler = move |delivery: Delivery| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            sleep(10 * LEASE).await;
            !delivery.claim_lost()
        }
    };
    tokio::spawn(stage.worker().handler(handler).unwrap().run());
    sleep(LEASE).await;
    stage.store.fail("renew", 4);
    sleep(10 * LEASE).await;
    assert_eq!((stage.store.statuses(), calls.load(Ordering::SeqCst)), (vec![Status::Done], 1));
    assert!((28..=40).contains(&stage.store.calls("renew")), "{}", stage.store.calls("renew"));
}

#[tokio::test(start_paused = true)]
async fn a_handler_sees_that_its_lease_is_lost_and_its_result_is_not_recorded() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    let lost = Arc::new(AtomicBool::new(false));
    let seen = lost.clone();
    let handler = move |delivery: Delivery| {
        let seen = seen.clone();
        async move {
            sleep(3 * LEASE).await;
            seen.store(delivery.claim_lost(), Ordering::SeqCst);
            true
        }
    };
    tokio::spawn(stage.worker().handler(handler).unwrap().run());
    sleep(SECOND).await;
    stage.store.fail("renew", usize::MAX);
    sleep(LEASE + SECOND).await;
    assert!(lease(&stage, OTHER, true).await.is_some());
    stage.store.release();
    sleep(LEASE / 2).await;
    let renewals = stage.store.calls("renew");
    sleep(LEASE * 2 - SECOND * 3).await;
    assert_eq!(stage.store.calls("renew"), renewals, "no renewal of a lost lease");
    assert!(lost.load(Ordering::SeqCst));
    let row = stage.store.row(1).state;
    assert_eq!((row.status, row.token), (Status::Processing, Some(OTHER)));
}

#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn a_result_that_is_not_recorded_because_the_lease_is_lost_is_logged() {
    let logged = Logged::of("message");
    let _subscribed = tracing::subscriber::set_default(logged.clone());
    let lost = || logged.values().iter().filter(|message| message.contains("lost the claim")).count();
    let stage = Stage::new().await;
    stage.store(0..1).await;
    let handler = async |_: Delivery| sleep(3 * LEASE).await;
    tokio::spawn(stage.worker().handler(handler).unwrap().run());
    sleep(4 * LEASE).await;
    assert_eq!((stage.store.statuses(), lost()), (vec![Status::Done], 0));
    stage.store(1..2).await;
    sleep(SECOND).await;
    stage.store.fail("renew", usize::MAX);
    sleep(LEASE + SECOND).await;
    assert!(lease(&stage, OTHER, true).await.is_some());
    sleep(3 * LEASE).await;
    assert_eq!((stage.store.row(2).state.token, lost()), (Some(OTHER), 1));
}

/// Leases an event, and stops the process for a while before the attempt begins.
async fn stalled(stage: &Stage, stop: Duration, meanwhile: impl Future<Output = ()>) -> usize {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let worker = stage.worker().handler(move |_: Delivery| {
        counter.fetch_add(1, Ordering::SeqCst);
        async {}
    });
    let shared = worker.unwrap().shared;
    let (token, granted, permit) = (shared.attempts.token(), Instant::now(), shared.attempts.acquire().unwrap());
    let leased = lease(stage, token, false).await.unwrap();
    tokio::time::advance(stop).await;
    meanwhile.await;
    let (turn, pass) = (shared.gate.turn().await, shared.breaker.pass().await);
    let lease = Lease { shared, id: leased.lease_id(), granted, permit };
    attempt::run(leased, lease, turn, pass).await;
    calls.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_was_stopped_starts_nothing_that_it_has_lost() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    let other = async { assert!(lease(&stage, OTHER, true).await.is_some()) };
    assert_eq!(stalled(&stage, 3 * LEASE, other).await, 0);
    assert_eq!(stage.store.row(1).state.token, Some(OTHER));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_was_stopped_renews_its_lease_before_it_starts_a_handler() {
    for (stop, renewals) in [(LEASE / 4, 0), (LEASE / 2, 1), (3 * LEASE, 1)] {
        let stage = Stage::new().await;
        stage.store(0..1).await;
        assert_eq!(stalled(&stage, stop, async {}).await, 1);
        assert_eq!((stage.store.statuses(), stage.store.calls("renew")), (vec![Status::Done], renewals), "{stop:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_does_not_start_while_it_is_unknown_whether_its_lease_is_held() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    stage.store.fail("renew", 3);
    assert_eq!(stalled(&stage, 3 * LEASE, async {}).await, 1);
    assert_eq!((stage.store.calls("renew"), stage.store.statuses()), (4, vec![Status::Done]));
}

#[tokio::test(start_paused = true)]
async fn attempts_count_when_they_are_leased() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    tokio::spawn(stage.worker().handler(async |_: Delivery| std::future::pending::<()>().await).unwrap().run());
    sleep(SECOND).await;
    let row = stage.store.row(1).state;
    assert_eq!((row.status, row.attempts), (Status::Processing, 1));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_a_request_for_a_lease_starts_no_second_attempt_and_loses_none() {
    let stage = Stage::new().await;
    stage.store(0..40).await;
    stage.store.lose_answers("lease", 25);
    let running = stage.run(stage.worker(), vec![Handled::done()]);
    sleep(LEASE - SECOND).await;
    assert_eq!(stage.store.statuses(), [Status::Done; 40]);
    assert_eq!(running.calls.attempts(), [1; 40]);
}

/// The lease began when the store granted it, not when the worker learned of it.
#[tokio::test(start_paused = true)]
async fn a_lease_whose_answers_were_lost_for_a_while_does_not_expire_while_its_handler_runs() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    stage.store.lose_answers("lease", usize::MAX);
    let worker = stage.worker().workers(1).handler(async |_: Delivery| sleep(10 * SECOND).await).unwrap();
    tokio::spawn(worker.run());
    sleep(LEASE - 5 * SECOND).await;
    stage.store.release();
    sleep(6 * SECOND).await;
    assert_eq!(stage.store.row(1).state.status, Status::Processing, "the handler runs");
    assert!(lease(&stage, OTHER, true).await.is_none(), "another worker cannot lease it");
    sleep(10 * SECOND).await;
    assert_eq!(stage.store.statuses(), [Status::Done]);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_could_not_be_recorded_is_repeated() {
    for answer in [Handled::done(), Handled::give_up("x")] {
        let stage = Stage::new().await;
        stage.store(0..1).await;
        let running = stage.run(stage.worker(), vec![answer.clone()]);
        stage.store.fail("finish", 2);
        sleep(SECOND).await;
        stage.store.lose_answers("finish", 2);
        stage.store(1..2).await;
        sleep(SECOND).await;
        let expected = if answer == Handled::done() { Status::Done } else { Status::Dead };
        assert_eq!((stage.store.statuses(), running.calls.count()), (vec![expected; 2], 2));
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_done_is_not_attempted_again_although_recording_it_fails_for_longer_than_its_lease() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    stage.store.fail("finish", usize::MAX);
    stage.store.fail("renew", usize::MAX);
    let running = stage.run(stage.worker().workers(1), vec![Handled::done()]);
    sleep(HOUR).await;
    assert_eq!(stage.store.statuses(), [Status::Processing]);
    stage.store.release();
    sleep(3 * SECOND).await;
    assert_eq!((stage.store.statuses(), running.calls.count()), (vec![Status::Done], 1));
}

/// Its lease would otherwise expire, and another worker could handle it again.
#[tokio::test(start_paused = true)]
async fn the_lease_of_an_event_that_is_done_is_renewed_while_that_cannot_be_recorded() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    stage.store.fail("finish", usize::MAX);
    stage.run(stage.worker().workers(1), vec![Handled::done()]);
    sleep(2 * LEASE).await;
    let renewals = stage.store.calls("renew");
    assert!((5..=6).contains(&renewals), "three per lease: {renewals}");
    assert!(lease(&stage, OTHER, true).await.is_none());
    stage.store.release();
    sleep(3 * SECOND).await;
    assert_eq!(stage.store.statuses(), [Status::Done]);
}

#[tokio::test(start_paused = true)]
async fn a_short_lease_of_an_event_that_is_done_is_renewed_in_time() {
    let stage = Stage::new().await;
    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
    let builder = Receiver::builder("acme", custom.id_pointer("/id")).inbox(stage.inbox().clone()).lease(SECOND);
    let receiver = builder.clock(StoreClock(stage.store.clone())).build().unwrap();
    store(&receiver, 0..1).await;
    stage.store.fail("finish", usize::MAX);
    tokio::spawn(worker(&receiver).handler(async |_: Delivery| true).unwrap().run());
    for _ in 0..200 {
        sleep(SECOND / 10).await;
        assert!(lease(&stage, OTHER, true).await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn the_lease_of_an_event_that_is_not_done_expires_while_that_cannot_be_recorded() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    stage.store.fail("finish", usize::MAX);
    stage.run(stage.worker().workers(1), vec![Handled::give_up("x")]);
    sleep(LEASE + SECOND).await;
    assert_eq!(stage.store.calls("renew"), 0);
    assert!(lease(&stage, OTHER, true).await.is_some());
}

/// The store may fail for this event only. Its slot is needed for others.
#[tokio::test(start_paused = true)]
async fn recording_a_failure_is_tried_for_an_hour() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    stage.store.fail("finish", usize::MAX);
    let running = stage.run(stage.worker().workers(1), vec![false.into()]);
    sleep(HOUR - SECOND).await;
    stage.store(1..2).await;
    assert_eq!(running.calls.count(), 1);
    sleep(5 * SECOND).await;
    assert_eq!(running.calls.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_cannot_be_recorded_is_attempted_again_after_its_lease() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    stage.store.fail("finish", usize::MAX);
    let running = stage.run(stage.worker(), vec![false.into(), true.into()]);
    sleep(LEASE * 2).await;
    stage.store.release();
    sleep(LEASE + 5 * SECOND).await;
    assert_eq!((stage.store.statuses(), running.calls.count()), (vec![Status::Done], 2));
}

#[tokio::test(start_paused = true)]
async fn a_worker_outlives_an_outage_of_its_store_and_resumes_within_two_seconds() {
    let stage = Stage::new().await;
    stage.store(0..30).await;
    for step in ["lease", "renew", "finish", "purge", "counts_of"] {
        stage.store.fail(step, usize::MAX);
    }
    let running = stage.run(stage.worker(), vec![Handled::done()]);
    sleep(HOUR).await;
    let asked = stage.store.calls("lease");
    assert!((1_800..=3_700).contains(&asked), "{asked}");
    assert!(stage.inbox().worker_failed_since().is_some());
    stage.store.release();
    sleep(2 * SECOND).await;
    assert_eq!((stage.store.statuses(), running.calls.count()), (vec![Status::Done; 30], 30));
    assert_eq!(stage.inbox().worker_failed_since(), None);
    assert!(!running.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_does_not_stop_the_worker() {
    let stage = Stage::new().await;
    stage.store(0..5).await;
    stage.store.hang("lease");
    let running = stage.run(stage.worker(), vec![Handled::done()]);
    sleep(60 * SECOND).await;
    stage.store.release();
    sleep(2 * SECOND).await;
    assert_eq!((stage.store.statuses(), running.calls.count()), (vec![Status::Done; 5], 5));
}

/// `finish_in` records that an event is done in the application's own transaction.
#[tokio::test(start_paused = true)]
async fn an_event_that_the_application_has_finished_stays_done_whatever_its_handler_answers() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    let store = stage.store.clone();
    let handler = move |delivery: Delivery| {
        let store = store.clone();
        async move {
            let (row, token) = (delivery.inbox_row().unwrap(), delivery.claim_token().unwrap());
            assert_eq!(store.finish(LeaseId::first(row, token), Ending::Done, true).await.unwrap(), Settled::Settled);
            false
        }
    };
    tokio::spawn(stage.worker().handler(handler).unwrap().run());
    sleep(HOUR).await;
    assert_eq!(stage.store.statuses(), [Status::Done]);
}
