//! Suspects: the events that a process had leased when it died.

use super::*;
use crate::claim_token::ClaimToken;
use crate::dedupe::inbox::rules::Ending;
use crate::dedupe::inbox::store::{InboxStore as _, LeaseRequest};

/// Leases as many events as a process that then dies, and waits until their leases have expired.
async fn die(stage: &Stage, events: u8, alone: bool) {
    for event in 0..events {
        let mut token = [event; 16];
        token[0] = u8::from(alone);
        token[1..9].copy_from_slice(&stage.store.now().to_be_bytes());
        let token = ClaimToken::from_bytes(token);
        let request = LeaseRequest { endpoint: "acme".to_owned(), token, lease: LEASE, alone };
        assert!(stage.store.lease(request).await.unwrap().leased.is_some());
    }
    sleep(LEASE + SECOND).await;
}

/// A handler that records how many run at the same time, by whether one of them is a suspect.
#[derive(Clone, Default)]
struct Seen {
    running: Arc<AtomicUsize>,
    beside_suspect: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    suspect_runs: Arc<AtomicBool>,
}

impl Seen {
    fn handler(&self, takes: Duration) -> impl Fn(Delivery) -> futures_util::future::BoxFuture<'static, ()> + use<> {
        let seen = self.clone();
        move |delivery: Delivery| {
            let seen = seen.clone();
            let id = delivery.id().and_then(|id| id.parse::<usize>().ok()).unwrap();
            Box::pin(async move {
                let is_suspect = id < 4;
                let others = seen.running.fetch_add(1, Ordering::SeqCst);
                seen.most.fetch_max(others + 1, Ordering::SeqCst);
                if is_suspect {
                    seen.beside_suspect.fetch_add(others, Ordering::SeqCst);
                    seen.suspect_runs.store(true, Ordering::SeqCst);
                } else if seen.suspect_runs.load(Ordering::SeqCst) {
                    seen.beside_suspect.fetch_add(1, Ordering::SeqCst);
                }
                sleep(takes).await;
                if is_suspect {
                    seen.suspect_runs.store(false, Ordering::SeqCst);
                }
                seen.running.fetch_sub(1, Ordering::SeqCst);
            })
        }
    }
}

#[tokio::test(start_paused = true)]
async fn suspects_are_attempted_alone_and_the_others_beside_each_other() {
    let stage = Stage::new().await;
    stage.store(0..4).await;
    die(&stage, 4, false).await;
    stage.store(4..40).await;
    let seen = Seen::default();
    tokio::spawn(stage.worker().handler(seen.handler(SECOND)).unwrap().run());
    sleep(30 * SECOND).await;
    assert_eq!(stage.store.statuses(), [Status::Done; 40]);
    assert_eq!(seen.beside_suspect.load(Ordering::SeqCst), 0);
    assert!(seen.most.load(Ordering::SeqCst) > 8);
    // The attempt of the process that died does not count twice.
    assert!(stage.store.rows().values().all(|row| row.state.attempts == 1));
}

#[tokio::test(start_paused = true)]
async fn suspects_wait_for_the_workers_of_other_endpoints_of_the_process() {
    let stage = Stage::new().await;
    let other = receiver("other", stage.inbox(), &stage.store).await;
    stage.store(0..4).await;
    die(&stage, 4, false).await;
    store(&other, 4..40).await;
    let (seen, process) = (Seen::default(), Arc::default());
    for receiver in [&stage.receiver, &other] {
        let mut builder = worker(receiver);
        builder.gate = Gate::new(Arc::clone(&process));
        tokio::spawn(builder.handler(seen.handler(SECOND)).unwrap().run());
    }
    sleep(30 * SECOND).await;
    assert_eq!(stage.store.statuses(), [Status::Done; 40]);
    assert_eq!(seen.beside_suspect.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_other_events_does_not_hold_suspects_back_nor_the_reverse() {
    let stage = Stage::new().await;
    stage.store(0..4).await;
    die(&stage, 4, false).await;
    tokio::spawn(stage.worker().handler(Seen::default().handler(SECOND)).unwrap().run());
    let mut stored = 4;
    for _ in 0..30 {
        stage.store(stored..stored + 20).await;
        stored += 20;
        sleep(SECOND).await;
    }
    assert!((1..=4).all(|id| stage.store.row(id).state.status == Status::Done));
    let done = stage.store.statuses().into_iter().filter(|status| *status == Status::Done).count();
    assert!(done > 200, "{done} done");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_ends_its_process_five_times_is_dead() {
    let stage = Stage::new().await;
    stage.store(0..2).await;
    die(&stage, 2, false).await;
    for _ in 0..5 {
        die(&stage, 1, true).await;
        die(&stage, 1, true).await;
    }
    let reports = Reports::default();
    let running = stage.run(stage.worker().on_attempt(reports.callback()), vec![Handled::done()]);
    sleep(10 * SECOND).await;
    assert_eq!((stage.store.statuses(), running.calls.count()), (vec![Status::Dead; 2], 0));
    let mut reports = reports.take();
    reports.sort();
    assert_eq!(reports, [1, 2].map(|id| format!("{id} 5 Dead {{ reason: \"crashed\" }} false")));
    assert_eq!(stage.reason(1), "crashed");
}

#[tokio::test(start_paused = true)]
async fn a_replayed_event_that_ends_its_process_is_reported_as_replayed() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    let token = ClaimToken::from_bytes([9; 16]);
    let request = LeaseRequest { endpoint: "acme".to_owned(), token, lease: LEASE, alone: false };
    let leased = stage.store.lease(request).await.unwrap().leased.unwrap();
    stage.store.finish(leased.lease_id(), Ending::Dead { reason: "x".to_owned() }, true).await.unwrap();
    stage.inbox().replay(1, &Operator::new("ops", "fixed").unwrap()).await.unwrap();
    die(&stage, 1, false).await;
    for _ in 0..5 {
        die(&stage, 1, true).await;
    }
    let reports = Reports::default();
    stage.run(stage.worker().on_attempt(reports.callback()), vec![Handled::done()]);
    sleep(10 * SECOND).await;
    assert_eq!(reports.take(), ["1 5 replay Dead { reason: \"crashed\" } false"]);
}

#[tokio::test(start_paused = true)]
async fn suspects_of_a_paused_endpoint_rarely_stop_the_process() {
    let stage = Stage::new().await;
    let other = receiver("other", stage.inbox(), &stage.store).await;
    stage.store(0..4).await;
    die(&stage, 4, false).await;
    stage.inbox().pause("acme", &Operator::new("ops", "test").unwrap()).await.unwrap();
    let (seen, process) = (Seen::default(), Arc::default());
    for receiver in [&stage.receiver, &other] {
        let mut builder = worker(receiver);
        builder.gate = Gate::new(Arc::clone(&process));
        tokio::spawn(builder.handler(seen.handler(SECOND)).unwrap().run());
    }
    store(&other, 4..164).await;
    sleep(20 * SECOND).await;
    let done = stage.store.statuses().into_iter().filter(|status| *status == Status::Done).count();
    assert_eq!(done, 160);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_never_ends_does_not_keep_the_others_from_beginning_while_a_suspect_waits() {
    let stage = Stage::new().await;
    let other = receiver("other", stage.inbox(), &stage.store).await;
    let process = Arc::default();
    let mut builder = worker(&other);
    builder.gate = Gate::new(Arc::clone(&process));
    // It is canceled at its `handler_timeout`, after 600 s.
    tokio::spawn(builder.handler(async |_: Delivery| std::future::pending::<()>().await).unwrap().run());
    stage.store(0..1).await;
    die(&stage, 1, false).await;
    store(&other, 1..2).await;
    sleep(POLL).await;
    let mut builder = stage.worker();
    builder.gate = Gate::new(process);
    tokio::spawn(builder.handler(async |_: Delivery| true).unwrap().run());
    stage.store(2..42).await;
    sleep(60 * SECOND).await;
    let done = stage.store.statuses().into_iter().filter(|status| *status == Status::Done).count();
    assert_eq!(done, 40, "all but the suspect and the endless one");
    sleep(HOUR).await;
    assert_eq!(stage.store.row(1).state.status, Status::Done);
}

/// The process lives: only its store was away.
#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_does_not_count_as_the_death_of_a_process() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    die(&stage, 1, false).await;
    let running = stage.run(stage.worker().workers(1), vec![false.into(); 2]);
    for outage in 1..=6 {
        while running.calls.count() < outage {
            stage.store.fail("finish", usize::MAX);
            sleep(SECOND / 10).await;
        }
        stage.store.fail("renew", usize::MAX);
        sleep(2 * LEASE).await;
        stage.store.release();
        // The result is repeated within 2 s, and the next attempt is not before 2.5 s.
        sleep(Duration::from_millis(2_200)).await;
    }
    let row = stage.store.row(1).state;
    assert_eq!((row.status, row.crashes, row.attempts), (Status::Waiting, 0, 6));
}
