//! Draining, and handlers that block their thread.

use std::sync::mpsc;

use super::*;

/// A handler that runs until it is canceled.
async fn endless(_: Delivery) {
    std::future::pending().await
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_running_handlers_and_leases_nothing_more() {
    let stage = Stage::new().await;
    stage.store(0..10).await;
    let worker = stage.worker().workers(4).handler(async |_: Delivery| sleep(10 * SECOND).await).unwrap();
    let task = tokio::spawn(worker.run());
    sleep(SECOND).await;
    assert_eq!(stage.receiver.drain(60 * SECOND).await, 0);
    timeout(SECOND, task).await.expect("the worker ends with the drain").unwrap();
    let done = stage.store.statuses().into_iter().filter(|status| *status == Status::Done).count();
    assert_eq!(done, 4);
    assert!(stage.store.rows().values().skip(4).all(|row| row.state.status == Status::Waiting));
    assert_eq!(stage.store.row(10).state.attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn handlers_that_still_run_at_the_deadline_are_canceled_and_their_attempts_do_not_count() {
    let stage = Stage::new().await;
    stage.store(0..3).await;
    let task = tokio::spawn(stage.worker().handler(endless).unwrap().run());
    sleep(SECOND).await;
    let began = Instant::now();
    assert_eq!(stage.receiver.drain(10 * SECOND).await, 3);
    assert!(began.elapsed() < 11 * SECOND);
    timeout(SECOND, task).await.expect("the worker ends with the drain").unwrap();
    for row in stage.store.rows().values() {
        assert_eq!((row.state.status, row.state.attempts), (Status::Waiting, 0));
        assert_eq!(row.state.reason.as_deref(), Some("canceled"));
        assert!(row.state.due <= stage.store.now(), "another instance can attempt it now");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_longer_for_a_store_that_is_away() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    let task = tokio::spawn(stage.worker().handler(endless).unwrap().run());
    sleep(SECOND).await;
    stage.store.hang("finish");
    let began = Instant::now();
    assert_eq!(stage.receiver.drain(SECOND).await, 1);
    assert!(began.elapsed() <= 7 * SECOND, "{:?}", began.elapsed());
    timeout(20 * SECOND, task).await.expect("the worker ends").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_has_ended_is_not_counted_as_canceled_although_its_result_is_not_recorded() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    stage.store.fail("finish", usize::MAX);
    let running = stage.run(stage.worker(), vec![Handled::done()]);
    sleep(SECOND).await;
    assert_eq!(stage.receiver.drain(SECOND).await, 0);
    timeout(20 * SECOND, running.task).await.expect("the worker ends").unwrap();
    assert_eq!((stage.store.statuses(), running.calls.count()), (vec![Status::Processing], 1));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_being_leased_when_the_drain_began_is_given_back() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    stage.store.hang("lease");
    let task = tokio::spawn(stage.worker().workers(1).handler(endless).unwrap().run());
    sleep(SECOND).await;
    let draining = tokio::spawn({
        let receiver = stage.receiver.clone();
        async move { receiver.drain(10 * SECOND).await }
    });
    sleep(SECOND).await;
    stage.store.release();
    assert_eq!(draining.await.unwrap(), 0);
    task.await.unwrap();
    // A store may lock the row until the first request ends, so that a second one would see no lease.
    assert_eq!(stage.store.calls("lease"), 1);
    let row = stage.store.row(1).state;
    assert_eq!((row.status, row.attempts), (Status::Waiting, 0));
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_lease_was_granted_without_an_answer_is_given_back() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    // The first failure makes the slot the one that polls, and it waits after the second one.
    stage.store.lose_answers("lease", 2);
    let task = tokio::spawn(stage.worker().workers(1).handler(endless).unwrap().run());
    sleep(Duration::from_millis(10)).await;
    assert_eq!(stage.store.statuses(), [Status::Processing]);
    assert_eq!(stage.receiver.drain(10 * SECOND).await, 0);
    task.await.unwrap();
    let row = stage.store.row(1).state;
    assert_eq!((row.status, row.attempts), (Status::Waiting, 0));
}

#[tokio::test(start_paused = true)]
async fn a_worker_of_a_drained_receiver_ends_at_once() {
    let stage = Stage::new().await;
    stage.store(0..1).await;
    let worker = stage.worker().handler(endless).unwrap();
    stage.receiver.drain(SECOND).await;
    timeout(SECOND, worker.run()).await.unwrap();
    timeout(SECOND, stage.worker().handler(endless).unwrap().run()).await.unwrap();
    assert_eq!(stage.store.row(1).state.attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_dropped_cancels_its_handlers() {
    struct Running(Arc<AtomicUsize>);
    impl Drop for Running {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let stage = Stage::new().await;
    stage.store(0..5).await;
    let running = Arc::new(AtomicUsize::new(0));
    let counted = running.clone();
    let handler = move |_: Delivery| {
        counted.fetch_add(1, Ordering::SeqCst);
        let running = Running(counted.clone());
        async move {
            std::future::pending::<()>().await;
            drop(running);
        }
    };
    let task = tokio::spawn(stage.worker().handler(handler).unwrap().run());
    sleep(SECOND).await;
    assert_eq!(running.load(Ordering::SeqCst), 5);
    task.abort();
    sleep(SECOND).await;
    assert_eq!(running.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_handler_that_blocks_its_thread_stops_neither_the_others_nor_its_renewals() {
    let stage = Stage::new().await;
    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
    let receiver = Receiver::builder("acme", custom.id_pointer("/id"))
        .inbox(stage.inbox().clone())
        .lease(Duration::from_millis(100))
        .build()
        .unwrap();
    store(&receiver, 0..50).await;
    let (release, blocked) = mpsc::channel::<()>();
    let blocked = Mutex::new(Some(blocked));
    let handler = move |_: Delivery| {
        let blocked = blocked.lock().unwrap().take();
        async move {
            if let Some(blocked) = blocked {
                let _ = blocked.recv();
            }
        }
    };
    tokio::spawn(worker(&receiver).handler(handler).unwrap().run());
    let until = async |condition: &dyn Fn() -> bool| {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let done = || stage.store.statuses().iter().filter(|status| **status == Status::Done).count();
    let renewals = || stage.store.calls("renew");
    timeout(60 * SECOND, until(&|| done() == 49)).await.expect("the others are done");
    timeout(60 * SECOND, until(&|| renewals() >= 5)).await.expect("the lease is renewed");
    assert_eq!(done(), 49);
    release.send(()).unwrap();
    timeout(60 * SECOND, until(&|| done() == 50)).await.expect("all are done");
    assert!(stage.store.rows().values().all(|row| row.state.attempts == 1));
}

/// A clock that panics on demand.
#[derive(Debug)]
struct Broken(StoreClock, Arc<AtomicBool>);

impl Clock for Broken {
    fn now(&self) -> SystemTime {
        assert!(!self.1.load(Ordering::SeqCst), "the clock panics");
        self.0.now()
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_panics_does_not_end_the_worker() {
    let stage = Stage::new().await;
    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
    let panics = Arc::new(AtomicBool::new(false));
    let receiver = Receiver::builder("acme", custom.id_pointer("/id"))
        .inbox(stage.inbox().clone())
        .clock(Broken(StoreClock(stage.store.clone()), panics.clone()))
        .build()
        .unwrap();
    store(&receiver, 0..5).await;
    panics.store(true, Ordering::SeqCst);
    let works = panics.clone();
    let handler = move |_: Delivery| {
        let works = !works.load(Ordering::SeqCst);
        async move { works }
    };
    let task = tokio::spawn(worker(&receiver).workers(2).handler(handler).unwrap().run());
    sleep(10 * SECOND).await;
    assert!(!task.is_finished());
    panics.store(false, Ordering::SeqCst);
    sleep(60 * SECOND).await;
    assert_eq!(stage.store.statuses(), [Status::Done; 5]);
    receiver.drain(SECOND).await;
    timeout(SECOND, task).await.expect("the worker ends with the drain").unwrap();
}
