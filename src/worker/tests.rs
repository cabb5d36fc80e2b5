//! Time is paused in most of these tests: it advances when all tasks are idle, so that hours of retries take no time.

#[allow(clippy::print_stdout, reason = "the seed that broke a promise")]
mod chaos;
mod expiry;
mod leases;
mod secrets;
mod service;
mod stops;
mod suspects;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::StatusCode;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::alone::Gate;
use super::*;
use crate::dedupe::inbox::rules::Status;
use crate::inbox::Inbox;
use crate::inbox::memory::{self, MemoryInbox};
use crate::inbox::{Bodies, Filter, Operator};
use crate::{Bytes, Clock, Custom, Delivery, Receiver, Secret, SharedSecret};

const LEASE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// A worker notices a new event within this time.
const POLL: Duration = Duration::from_millis(1050);

/// The clock of a store, for a receiver.
#[derive(Debug)]
struct StoreClock(Arc<MemoryInbox>);

impl Clock for StoreClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0.now().unsigned_abs())
    }
}

/// A receiver with an inbox in memory.
struct Stage {
    store: Arc<MemoryInbox>,
    receiver: Receiver,
}

impl Stage {
    async fn new() -> Self {
        let (inbox, store) = memory::inbox(Bodies::plaintext()).await;
        Stage { receiver: receiver("acme", &inbox, &store).await, store }
    }

    /// Stores events with these ids, as deliveries of the provider.
    async fn store(&self, ids: std::ops::Range<usize>) {
        store(&self.receiver, ids).await;
    }

    /// A builder of a worker whose suspects do not wait for other tests.
    fn worker(&self) -> WorkerBuilder {
        worker(&self.receiver)
    }

    fn inbox(&self) -> &Inbox {
        self.receiver.inbox().unwrap()
    }

    /// Runs a worker whose handler answers with the next of these values, and with the last one from then on.
    fn run(&self, builder: WorkerBuilder, answers: Vec<Handled>) -> Running {
        let calls = Calls::default();
        let (seen, next) = (calls.clone(), AtomicUsize::new(0));
        let handler = move |delivery: Delivery| {
            seen.0.lock().unwrap().push((Instant::now(), delivery.attempt()));
            let next = next.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
            let answer = answers[next].clone();
            async move { answer }
        };
        Running { calls, task: tokio::spawn(builder.handler(handler).unwrap().run()) }
    }

    fn reason(&self, id: i64) -> String {
        self.store.row(id).state.reason.unwrap_or_default()
    }
}

async fn receiver(name: &str, inbox: &Inbox, store: &Arc<MemoryInbox>) -> Receiver {
    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
    Receiver::builder(name, custom.id_pointer("/id"))
        .inbox(inbox.clone())
        .clock(StoreClock(store.clone()))
        .lease(LEASE)
        .build()
        .unwrap()
}

async fn store(receiver: &Receiver, ids: std::ops::Range<usize>) {
    for id in ids {
        let headers = [("x-key", "0123456789abcdef")];
        let body = Bytes::from(format!(r#"{{"id":"{id}"}}"#));
        let delivery = receiver.open(receiver.verify(&headers, body).unwrap()).unwrap();
        let stored = receiver.admit(delivery).unwrap().run(async {}, |()| true).await.unwrap_err();
        assert_eq!(stored.reason(), crate::Reason::Stored);
    }
}

fn worker(receiver: &Receiver) -> WorkerBuilder {
    let mut builder = Worker::builder(receiver);
    builder.gate = Gate::new(Arc::default());
    builder
}

/// The times and the attempts with which a handler was called.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<(Instant, u32)>>>);

impl Calls {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn attempts(&self) -> Vec<u32> {
        self.0.lock().unwrap().iter().map(|(_, attempt)| *attempt).collect()
    }

    /// The times between two calls.
    fn waits(&self) -> Vec<Duration> {
        self.0.lock().unwrap().windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }
}

struct Running {
    calls: Calls,
    task: JoinHandle<()>,
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_stored_is_handled_at_once_and_done() {
    let stage = Stage::new().await;
    let running = stage.run(stage.worker(), vec![Handled::done()]);
    sleep(HOUR).await;
    let began = Instant::now();
    stage.store(0..3).await;
    while running.calls.count() < 3 {
        sleep(Duration::from_millis(1)).await;
    }
    assert!(began.elapsed() < Duration::from_millis(100), "not at the next poll: {:?}", began.elapsed());
    sleep(SECOND).await;
    assert_eq!(stage.store.statuses(), [Status::Done; 3]);
    assert_eq!(running.calls.attempts(), [1; 3]);
    assert!(stage.store.bodies().is_empty());
    sleep(HOUR).await;
    assert_eq!(running.calls.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_failing_event_is_retried_within_the_bounds_of_the_policy_and_dead_after_its_attempts() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    let retry = Retry::exponential(5 * SECOND, 60 * SECOND).max_attempts(8);
    let running = stage.run(stage.worker().retry(retry), vec![StatusCode::INTERNAL_SERVER_ERROR.into()]);
    sleep(HOUR).await;
    assert_eq!(running.calls.attempts(), [1, 2, 3, 4, 5, 6, 7, 8]);
    for (wait, longest) in running.calls.waits().into_iter().zip([5, 10, 20, 40, 60, 60, 60]) {
        let longest = longest * SECOND;
        assert!((longest / 2..=longest + POLL).contains(&wait), "{wait:?} of {longest:?}");
    }
    assert_eq!(stage.store.statuses(), [Status::Dead]);
    assert_eq!(stage.reason(1), "status_500");
    assert_eq!(stage.store.bodies().len(), 1, "for a replay");
}

#[tokio::test(start_paused = true)]
async fn the_wait_that_the_application_asked_for_is_kept_and_capped() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    let asked = [7 * SECOND, Duration::MAX].map(Handled::retry_after);
    let running = stage.run(stage.worker(), [&asked[..], &[Handled::done()]].concat());
    sleep(HOUR).await;
    let waits = running.calls.waits();
    assert!((7 * SECOND..=7 * SECOND + SECOND / 2).contains(&waits[0]), "{waits:?}");
    assert!((600 * SECOND..=600 * SECOND + SECOND / 2).contains(&waits[1]), "{waits:?}");
    assert_eq!(stage.store.statuses(), [Status::Done]);
}

/// `Retry-After: 0`, for example, or a date in the past.
#[tokio::test(start_paused = true)]
async fn an_application_that_asks_for_no_wait_is_not_called_in_a_loop() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    let running = stage.run(stage.worker(), vec![Handled::retry_after(Duration::ZERO)]);
    sleep(60 * SECOND).await;
    assert!((30..=61).contains(&running.calls.count()), "{}", running.calls.count());
}

#[tokio::test(start_paused = true)]
async fn no_status_is_permanent_by_itself() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    let answers = [400, 401, 404, 410, 301, 500, 200].map(|status| StatusCode::from_u16(status).unwrap().into());
    let running = stage.run(stage.worker(), answers.to_vec());
    sleep(HOUR).await;
    assert_eq!(running.calls.count(), 7);
    assert_eq!(stage.store.statuses(), [Status::Done]);
}

#[tokio::test(start_paused = true)]
async fn the_application_gives_an_event_up_at_once_and_an_operator_replays_it() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    let running = stage.run(stage.worker(), vec![Handled::give_up("no_such_account"), Handled::done()]);
    sleep(HOUR).await;
    assert_eq!((stage.store.statuses(), running.calls.count()), (vec![Status::Dead], 1));
    assert_eq!(stage.reason(1), "no_such_account");
    stage.inbox().replay(1, &Operator::new("ops", "account created").unwrap()).await.unwrap();
    sleep(POLL).await;
    assert_eq!((stage.store.statuses(), running.calls.attempts()), (vec![Status::Done], vec![1, 1]));
}

/// A callback that keeps what it was called with.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<String>>>);

impl Reports {
    fn callback(&self) -> impl Fn(&AttemptReport<'_>) + Send + Sync + 'static {
        let seen = self.0.clone();
        move |report| {
            let (outcome, has_delivery) = (report.outcome, report.delivery.is_some());
            let replay = if report.is_replay { " replay" } else { "" };
            seen.lock().unwrap().push(format!("{} {}{replay} {outcome:?} {has_delivery}", report.id, report.attempt));
            let key = report.delivery.map_or(report.event_key, |delivery| Some(delivery.event_key()));
            assert_eq!((report.event_key.is_some(), report.event_key), (true, key));
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn the_callback_is_called_once_for_each_attempt_and_knows_the_decision() {
    let (stage, reports) = (Stage::new().await, Reports::default());
    stage.store(0..1).await;
    let retry = Retry::exponential(4 * SECOND, 4 * SECOND).max_attempts(2);
    let answers = vec![Handled::unreachable(), Handled::retry_after(3 * SECOND), false.into(), Handled::done()];
    let builder = stage.worker().retry(retry).on_attempt(reports.callback());
    let running = stage.run(builder, answers);
    sleep(HOUR).await;
    let retried = |reason: &str, wait: &str| format!("1 1 Retry {{ reason: \"{reason}\", wait: {wait} }} true");
    let dead = "1 2 Dead { reason: \"handler_failed\" } true".to_owned();
    assert_eq!(reports.take(), [retried("unreachable", "0ns"), retried("handler_failed", "3s"), dead]);
    stage.inbox().replay(1, &Operator::new("ops", "fixed").unwrap()).await.unwrap();
    sleep(POLL).await;
    assert_eq!(reports.take(), ["1 1 replay Done true"]);
    // A result that cannot be recorded is reported, too.
    stage.store.hang("finish");
    stage.store(1..2).await;
    sleep(SECOND).await;
    stage.receiver.drain(SECOND).await;
    timeout(HOUR, running.task).await.expect("the worker ends").unwrap();
    assert_eq!(reports.take(), ["2 1 Unrecorded true"]);
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_panics_ends_nothing() {
    let stage = Stage::new().await;
    stage.store(0..20).await;
    let builder = stage.worker().on_attempt(|_| panic!("the callback panics"));
    let running = stage.run(builder, vec![Handled::done()]);
    sleep(SECOND).await;
    assert_eq!((stage.store.statuses(), running.calls.count()), (vec![Status::Done; 20], 20));
}

#[tokio::test(start_paused = true)]
async fn an_event_is_dead_at_its_age_if_its_attempt_failed_and_counted() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    let retry = Retry::exponential(60 * SECOND, 60 * SECOND).max_age(HOUR);
    let running = stage.run(stage.worker().retry(retry), vec![false.into()]);
    sleep(HOUR - 60 * SECOND).await;
    assert_eq!(stage.store.statuses(), [Status::Waiting]);
    sleep(2 * 60 * SECOND).await;
    assert_eq!((stage.store.statuses(), stage.reason(1)), (vec![Status::Dead], "handler_failed".to_owned()));
    let tried = running.calls.count();
    // A replayed event is retried for as long as a new one, however old it is.
    stage.inbox().replay(1, &Operator::new("ops", "fixed").unwrap()).await.unwrap();
    sleep(HOUR / 2).await;
    assert_eq!(stage.store.statuses(), [Status::Waiting]);
    sleep(HOUR).await;
    assert_eq!(stage.store.statuses(), [Status::Dead]);
    assert!(running.calls.count() > tried + 50);
}

#[tokio::test(start_paused = true)]
async fn panics_and_timeouts_are_failures() {
    let stage = Stage::new().await;
    stage.store(0..2).await;
    let handler = |delivery: Delivery| async move {
        assert!(!delivery.body().windows(3).any(|part| part == b"\"0\""), "the handler panics");
        std::future::pending::<()>().await;
    };
    tokio::spawn(stage.worker().handler(handler).unwrap().run());
    sleep(600 * SECOND + SECOND).await;
    assert_eq!(stage.store.statuses(), [Status::Waiting; 2]);
    assert_eq!([stage.reason(1), stage.reason(2)], ["handler_panicked", "handler_timeout"]);
    assert_eq!(stage.store.row(2).state.attempts, 1);
}

/// Also one that panics before it returns its future.
#[tokio::test(start_paused = true)]
async fn a_closure_that_panics_ends_only_its_attempt() {
    let stage = Stage::new().await;
    stage.store(0..20).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let handler = move |_: Delivery| {
        assert!(counted.fetch_add(1, Ordering::SeqCst) >= 20, "the closure panics");
        async {}
    };
    tokio::spawn(stage.worker().handler(handler).unwrap().run());
    sleep(60 * SECOND).await;
    assert_eq!(stage.store.statuses(), [Status::Done; 20]);
}

#[tokio::test(start_paused = true)]
async fn an_hour_without_the_application_kills_no_event_and_probes_rarely() {
    let stage = Stage::new().await;
    stage.store(0..500).await;
    let up = Arc::new(AtomicBool::new(false));
    let (calls, is_up) = (Calls::default(), up.clone());
    let seen = calls.clone();
    let handler = move |delivery: Delivery| {
        seen.0.lock().unwrap().push((Instant::now(), delivery.attempt()));
        let up = is_up.load(Ordering::SeqCst);
        async move { if up { Handled::done() } else { Handled::unreachable() } }
    };
    let retry = Retry::default().max_attempts(2).max_age(60 * SECOND);
    let worker = stage.worker().retry(retry).handler(handler).unwrap();
    let status = worker.status();
    assert!(!status.is_breaker_open());
    tokio::spawn(worker.run());
    sleep(HOUR).await;
    assert!(status.is_breaker_open() && status.clone().is_breaker_open());
    assert!(calls.count() <= 200 && calls.count() > 100, "{} connects", calls.count());
    assert!(stage.store.statuses().iter().all(|status| matches!(status, Status::Waiting)));
    assert!(stage.store.rows().values().all(|row| row.state.attempts == 0), "none of them counts");
    up.store(true, Ordering::SeqCst);
    sleep(30 * SECOND + POLL).await;
    assert_eq!(stage.store.statuses(), [Status::Done; 500]);
    assert!(!status.is_breaker_open());
}

/// Idle slots have a pass from before the breaker opened.
#[tokio::test(start_paused = true)]
async fn an_idle_worker_attempts_only_probes_once_the_application_is_unreachable() {
    let stage = Stage::new().await;
    let running = stage.run(stage.worker(), vec![Handled::unreachable()]);
    sleep(10 * SECOND).await;
    stage.store(0..1).await;
    sleep(SECOND / 10).await;
    stage.store(1..20).await;
    // The first probe is not before 750 ms.
    sleep(SECOND / 2).await;
    assert_eq!(running.calls.count(), 1);
    sleep(SECOND / 2).await;
    assert_eq!(running.calls.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_probe_without_an_event_asks_the_store_about_once_per_second() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    let running = stage.run(stage.worker(), vec![Handled::unreachable()]);
    sleep(SECOND / 2).await;
    stage.inbox().discard(1, &Operator::new("ops", "test").unwrap()).await.unwrap();
    sleep(10 * SECOND).await;
    let before = stage.store.calls("lease");
    sleep(600 * SECOND).await;
    let asked = stage.store.calls("lease") - before;
    assert!((600..=850).contains(&asked), "{asked}");
    assert_eq!(running.calls.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_unreachable_does_not_hold_another_back() {
    let stage = Stage::new().await;
    let other = receiver("other", stage.inbox(), &stage.store).await;
    stage.run(stage.worker(), vec![Handled::unreachable()]);
    tokio::spawn(worker(&other).handler(async |_: Delivery| true).unwrap().run());
    stage.store(0..20).await;
    store(&other, 0..20).await;
    sleep(SECOND).await;
    let done = |endpoint: &str| {
        stage.store.rows().values().all(|row| row.event.endpoint != endpoint || row.state.status == Status::Done)
    };
    assert!(done("other") && !done("acme"));
}

#[tokio::test(start_paused = true)]
async fn a_paused_endpoint_is_attempted_after_it_is_resumed() {
    let stage = Stage::new().await;
    let running = stage.run(stage.worker(), vec![Handled::done()]);
    let operator = Operator::new("ops", "maintenance").unwrap();
    stage.inbox().pause("acme", &operator).await.unwrap();
    stage.store(0..10).await;
    sleep(HOUR).await;
    assert_eq!(running.calls.count(), 0);
    stage.inbox().resume("acme", &operator).await.unwrap();
    sleep(POLL).await;
    assert_eq!((stage.store.statuses(), running.calls.attempts()), (vec![Status::Done; 10], vec![1; 10]));
}

#[tokio::test(start_paused = true)]
async fn at_most_as_many_handlers_run_as_are_configured() {
    let stage = Stage::new().await;
    stage.store(0..50).await;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, seen) = (running.clone(), most.clone());
    let handler = move |_: Delivery| {
        let now = now.clone();
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        async move {
            sleep(SECOND).await;
            now.fetch_sub(1, Ordering::SeqCst);
        }
    };
    tokio::spawn(stage.worker().workers(4).handler(handler).unwrap().run());
    sleep(SECOND / 2).await;
    let leased = |status: &Status| *status == Status::Processing;
    assert_eq!(stage.store.statuses().iter().filter(|status| leased(status)).count(), 4, "nothing in advance");
    sleep(14 * SECOND).await;
    assert_eq!((most.load(Ordering::SeqCst), stage.store.statuses()), (4, vec![Status::Done; 50]));
}

#[tokio::test(start_paused = true)]
async fn two_workers_attempt_each_of_many_events_once() {
    let stage = Stage::new().await;
    stage.store(0..2_000).await;
    let one = stage.run(stage.worker(), vec![Handled::done()]);
    let other = stage.run(stage.worker(), vec![Handled::done()]);
    sleep(10 * SECOND).await;
    assert_eq!(one.calls.count() + other.calls.count(), 2_000);
    assert!(one.calls.count() > 400 && other.calls.count() > 400, "{} and {}", one.calls.count(), other.calls.count());
    assert_eq!(stage.store.statuses(), vec![Status::Done; 2_000]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_asks_the_store_about_once_per_second() {
    let stage = Stage::new().await;
    let running = stage.run(stage.worker(), vec![Handled::retry_after(600 * SECOND), Handled::done()]);
    sleep(600 * SECOND).await;
    let idle = stage.store.calls("lease");
    assert!((600..=850).contains(&idle), "{idle}");
    stage.store(0..1).await;
    sleep(599 * SECOND).await;
    let waiting = stage.store.calls("lease") - idle;
    assert!((600..=870).contains(&waiting), "{waiting} while an event waits");
    sleep(10 * SECOND).await;
    assert_eq!(running.calls.count(), 2);
    stage.inbox().pause("acme", &Operator::new("ops", "test").unwrap()).await.unwrap();
    stage.store(1..50).await;
    let before = stage.store.calls("lease");
    sleep(600 * SECOND).await;
    let paused = stage.store.calls("lease") - before;
    assert!(paused <= 850, "{paused} while paused");
}

#[tokio::test]
async fn an_event_that_is_due_but_is_not_leased_is_looked_for_more_and_more_rarely() {
    let stage = Stage::new().await;
    let mut slot = slot::Slot::new(stage.worker().handler(async |_: Delivery| true).unwrap().shared);
    let poll = SECOND * 3 / 4..=SECOND;
    let millis = |millis| Some(Duration::from_millis(millis));
    for wait in [10, 20, 40, 80, 160, 320, 640] {
        assert_eq!(Some(slot.until_due(millis(9))), millis(wait));
    }
    assert!(poll.contains(&slot.until_due(millis(0))));
    // Another one is due later.
    for due in [10, 500] {
        assert_eq!(Some(slot.until_due(millis(due))), millis(due));
        assert_eq!(Some(slot.until_due(millis(0))), millis(10));
    }
    for due in [Some(HOUR), None] {
        assert!(poll.contains(&slot.until_due(due)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_purges_about_once_a_minute_and_counts_four_times() {
    let stage = Stage::new().await;
    let running = stage.run(stage.worker(), vec![Handled::done()]);
    sleep(HOUR).await;
    let (purged, counted) = (stage.store.calls("purge"), stage.store.calls("counts_of"));
    assert!((60..=80).contains(&purged), "{purged}");
    let expected = if cfg!(feature = "metrics") { 240..=241 } else { 0..=0 };
    assert!(expected.contains(&counted), "{counted}");
    running.task.abort();
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_opened_waits_for_its_key_and_a_damaged_one_is_dead() {
    let stage = Stage::new().await;
    stage.store(0..3).await;
    let bodies = stage.store.bodies();
    // A sealed text, in an inbox without keys.
    stage.store.set_body(1, Some([&[1, 9, 9, 9, 9][..], &[7; 80]].concat().into()));
    stage.store.set_body(2, Some(Bytes::from_static(&[0, 1, 0, 0])));
    let running = stage.run(stage.worker().retry(Retry::default().max_attempts(1)), vec![Handled::done()]);
    sleep(HOUR).await;
    assert_eq!(stage.store.statuses(), [Status::Waiting, Status::Dead, Status::Done]);
    assert_eq!([stage.reason(1), stage.reason(2)], ["unknown_key", "damaged"]);
    assert_eq!((stage.store.row(1).state.attempts, running.calls.count()), (0, 1));
    let asked = stage.store.calls("finish");
    assert!((59..=63).contains(&asked), "once a minute, not {asked} times");
    stage.store.set_body(1, bodies.get(&1).cloned());
    sleep(60 * SECOND + POLL).await;
    assert_eq!(stage.store.row(1).state.status, Status::Done);
}

#[tokio::test(start_paused = true)]
async fn ended_events_are_purged_each_minute_by_their_retention() {
    let stage = Stage::new().await;
    stage.store(0..2).await;
    let builder = stage.worker().workers(1).retain_done(HOUR).retain_dead(2 * HOUR);
    stage.run(builder, vec![Handled::done(), Handled::give_up("x")]);
    sleep(SECOND).await;
    let kept = async |later: Duration| {
        stage.store.set_clock_by(i64::try_from(later.as_millis()).unwrap());
        sleep(62 * SECOND).await;
        (stage.store.bodies().len(), stage.store.rows().len(), stage.store.calls("truncate_log"))
    };
    assert_eq!(kept(HOUR / 2).await, (2, 2, 0));
    assert_eq!(kept(HOUR / 2).await, (1, 2, 1), "the body of the done one");
    assert_eq!(kept(24 * HOUR).await, (0, 1, 2), "the dead one");
    assert_eq!(kept(5 * 24 * HOUR).await, (0, 1, 2), "the row of the done one is listed for a week");
    assert_eq!(kept(24 * HOUR).await, (0, 0, 3));
}

#[tokio::test]
async fn a_worker_needs_an_inbox_and_usable_options() {
    let stage = Stage::new().await;
    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
    let without = Receiver::builder("plain", custom).store(crate::MemoryStore::new(10)).build().unwrap();
    let error = |builder: WorkerBuilder| builder.handler(async |_: Delivery| true).unwrap_err().to_string();
    let expected = "worker of receiver plain: the receiver has no inbox; set `inbox` of its builder";
    assert_eq!(error(Worker::builder(&without)), expected);
    assert_eq!(error(stage.worker().workers(0)), "worker of receiver acme: workers must be greater than 0");
    let expected = "worker of receiver acme: workers must be at most 10000";
    for most in [10_001, usize::MAX] {
        assert_eq!(error(stage.worker().workers(most)), expected);
    }
    assert!(stage.worker().workers(10_000).handler(async |_: Delivery| true).is_ok());
    assert!(error(stage.worker().retry(Retry::exponential(HOUR, SECOND))).contains("maximum backoff"));
}

#[tokio::test]
async fn the_state_of_dead_events_can_be_listed() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    let running = stage.run(stage.worker(), vec![Handled::give_up("no_such_account")]);
    let filter = Filter::new().endpoint("acme").status(Status::Dead);
    let dead = async {
        loop {
            if let Some(entry) = stage.inbox().list(&filter).await.unwrap().pop() {
                return entry;
            }
            tokio::task::yield_now().await;
        }
    };
    let entry = timeout(60 * SECOND, dead).await.unwrap();
    assert!(format!("{entry:?}").contains("no_such_account"));
    assert_eq!(running.calls.count(), 1);
    running.task.abort();
}

/// The values of a field of all log lines.
#[cfg(feature = "tracing")]
#[derive(Clone)]
struct Logged(&'static str, Arc<Mutex<Vec<String>>>);

#[cfg(feature = "tracing")]
impl Logged {
    fn of(field: &'static str) -> Self {
        Logged(field, Arc::default())
    }

    fn values(&self) -> Vec<String> {
        self.1.lock().unwrap().clone()
    }
}

#[cfg(feature = "tracing")]
impl tracing::field::Visit for Logged {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == self.0 {
            self.1.lock().unwrap().push(format!("{value:?}"));
        }
    }
}

#[cfg(feature = "tracing")]
impl tracing::Subscriber for Logged {
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

/// The columns of a row are not sealed: an attacker who writes them could otherwise invent labels of metrics.
#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn the_kind_of_an_attempt_is_that_of_the_sealed_body() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    stage.store.set_kind(1, "forged");
    let kinds = Logged::of("kind");
    let _subscribed = tracing::subscriber::set_default(kinds.clone());
    stage.run(stage.worker(), vec![Handled::done()]);
    sleep(SECOND).await;
    assert_eq!(kinds.values(), [r#""unknown""#]);
}
