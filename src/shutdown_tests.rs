//! Time is paused in these tests: it advances when all tasks are idle.

use std::convert::Infallible;

use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::{Bytes, Custom, MemoryStore, Reason, Secret, SharedSecret};

const WITHIN: Duration = Duration::from_secs(30);
const DELAY: Duration = Duration::from_secs(5);
const HOUR: Duration = Duration::from_secs(3600);

fn receiver(name: &str) -> Receiver {
    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
    let builder = Receiver::builder(name, custom.id_pointer("/id")).store(MemoryStore::new(100));
    builder.handler_timeout(HOUR * 2).build().unwrap()
}

async fn handle(receiver: &Receiver, id: u32, handler: impl Future<Output = u16>) -> Result<u16, Reason> {
    let body = Bytes::from(format!(r#"{{"id":"{id}"}}"#));
    let handled = async {
        let verified = receiver.verify(&[("x-key", "0123456789abcdef")], body)?;
        receiver.admit(receiver.open(verified)?)?.run(handler, |status| *status == 200).await
    };
    handled.await.map_err(|rejection| rejection.reason())
}

/// Starts a handler that runs for this time, in a separate task as the middleware crates do.
async fn running(receiver: &Receiver, id: u32, time: Duration) -> JoinHandle<Result<u16, Reason>> {
    let receiver = receiver.clone();
    let handler = tokio::spawn(async move {
        let work = async {
            sleep(time).await;
            200
        };
        handle(&receiver, id, work).await
    });
    yield_now().await;
    handler
}

fn shutdown(receivers: &[Receiver]) -> Shutdown {
    Shutdown::when(pending(), WITHIN).receivers(receivers.iter().cloned())
}

/// A server that stops gracefully.
async fn graceful(stop: impl Future<Output = ()>) -> Result<(), Infallible> {
    stop.await;
    Ok(())
}

/// A server that never stops.
async fn endless() -> Result<(), Infallible> {
    pending().await
}

/// Runs a server in a separate task.
fn serving(
    shutdown: &Shutdown,
    server: impl Future<Output = Result<(), Infallible>> + Send + 'static,
) -> JoinHandle<usize> {
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        let Ok(canceled) = shutdown.serve(server).await;
        canceled
    })
}

#[tokio::test(start_paused = true)]
async fn all_receivers_share_one_deadline() {
    let receivers = ["one", "two", "three"].map(receiver);
    let mut handlers = Vec::new();
    for receiver in &receivers {
        handlers.push(running(receiver, 1, HOUR).await);
    }
    let shutdown = shutdown(&receivers);
    let began = Instant::now();
    shutdown.request();
    let canceled = shutdown.serve(graceful(shutdown.draining())).await;
    assert_eq!(canceled, Ok(3));
    assert_eq!(began.elapsed().as_secs(), 30);
    for handler in handlers {
        assert_eq!(handler.await.unwrap(), Err(Reason::HandlerCanceled));
    }
}

#[tokio::test(start_paused = true)]
async fn clones_of_a_receiver_are_drained_once() {
    let receiver = receiver("acme");
    let handler = running(&receiver, 1, HOUR).await;
    let shutdown = shutdown(&[receiver.clone(), receiver.clone()]).receivers([receiver, self::receiver("other")]);
    assert_eq!(shutdown.receivers.len(), 2);
    shutdown.request();
    assert_eq!(shutdown.serve(graceful(shutdown.draining())).await, Ok(1));
    assert_eq!(handler.await.unwrap(), Err(Reason::HandlerCanceled));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_takes_as_long_as_the_slowest_handler() {
    let receivers = ["one", "two"].map(receiver);
    let quick = running(&receivers[0], 1, Duration::from_secs(1)).await;
    let slow = running(&receivers[1], 1, Duration::from_secs(10)).await;
    let shutdown = shutdown(&receivers);
    let began = Instant::now();
    shutdown.request();
    assert_eq!(shutdown.serve(graceful(shutdown.draining())).await, Ok(0));
    assert_eq!(began.elapsed().as_secs(), 10);
    assert_eq!((quick.await.unwrap(), slow.await.unwrap()), (Ok(200), Ok(200)));
}

#[tokio::test(start_paused = true)]
async fn deliveries_are_handled_until_the_delay_is_over() {
    let receiver = receiver("acme");
    let shutdown = shutdown(std::slice::from_ref(&receiver)).drain_delay(DELAY);
    let served = serving(&shutdown, graceful(shutdown.draining()));
    let draining = tokio::spawn(shutdown.draining());
    yield_now().await;
    assert!(!shutdown.is_requested());

    let began = Instant::now();
    shutdown.request();
    shutdown.requested().await;
    assert!(shutdown.is_requested());
    sleep(DELAY - Duration::from_millis(1)).await;
    assert!(!draining.is_finished());
    assert_eq!(handle(&receiver, 1, async { 200 }).await, Ok(200));

    draining.await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 5);
    assert_eq!(served.await.unwrap(), 0);
    assert_eq!(handle(&receiver, 2, async { 200 }).await, Err(Reason::Draining));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_counted_from_the_end_of_the_delay() {
    let receiver = receiver("acme");
    let handler = running(&receiver, 1, HOUR).await;
    let shutdown = shutdown(&[receiver]).drain_delay(DELAY);
    let began = Instant::now();
    shutdown.request();
    assert_eq!(shutdown.serve(graceful(shutdown.draining())).await, Ok(1));
    assert_eq!(began.elapsed().as_secs(), 35);
    assert_eq!(handler.await.unwrap(), Err(Reason::HandlerCanceled));
}

#[tokio::test(start_paused = true)]
async fn a_second_request_ends_the_delay_and_the_draining() {
    for after in [Duration::from_secs(1), DELAY + Duration::from_secs(1)] {
        let receiver = receiver("acme");
        let handler = running(&receiver, 1, HOUR).await;
        let shutdown = shutdown(std::slice::from_ref(&receiver)).drain_delay(DELAY);
        let served = serving(&shutdown, graceful(shutdown.draining()));
        shutdown.request();
        sleep(after).await;
        let began = Instant::now();
        shutdown.request();
        assert_eq!(served.await.unwrap(), 1);
        assert_eq!(began.elapsed(), Duration::ZERO, "after {after:?}");
        assert_eq!(handler.await.unwrap(), Err(Reason::HandlerCanceled));
    }
}

#[tokio::test(start_paused = true)]
async fn a_canceled_event_can_be_claimed_immediately() {
    let store = MemoryStore::new(100);
    let instance = || {
        let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
        Receiver::builder("acme", custom.id_pointer("/id")).store(store.clone()).build().unwrap()
    };
    let (one, another) = (instance(), instance());
    let _canceled = running(&one, 1, HOUR).await;
    assert!(matches!(handle(&another, 1, async { 200 }).await, Err(Reason::InFlight)));
    let shutdown = shutdown(&[one]);
    shutdown.request();
    assert_eq!(shutdown.serve(graceful(shutdown.draining())).await, Ok(1));
    assert_eq!(handle(&another, 1, async { 200 }).await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_stops_is_dropped_after_the_deadline() {
    let receiver = receiver("acme");
    let _canceled = running(&receiver, 1, HOUR).await;
    let shutdown = shutdown(&[receiver]);
    let began = Instant::now();
    shutdown.request();
    assert_eq!(shutdown.serve(endless()).await, Ok(1));
    assert_eq!(began.elapsed(), WITHIN + TIME_FOR_ANSWERS);
}

#[tokio::test(start_paused = true)]
async fn a_second_request_drops_a_server_that_never_stops() {
    let shutdown = shutdown(&[receiver("acme")]);
    let served = serving(&shutdown, endless());
    shutdown.request();
    shutdown.drained().await;
    let began = Instant::now();
    shutdown.request();
    assert_eq!(served.await.unwrap(), 0);
    assert_eq!(began.elapsed(), TIME_FOR_ANSWERS);
}

/// A busy server stands for one that always has connections to accept.
#[tokio::test(start_paused = true)]
async fn a_busy_server_does_not_delay_the_deadline() {
    async fn busy() -> Result<(), Infallible> {
        loop {
            tokio::task::coop::consume_budget().await;
        }
    }
    let receiver = receiver("acme");
    let _canceled = running(&receiver, 1, HOUR).await;
    let shutdown = shutdown(&[receiver]);
    let served = serving(&shutdown, busy());
    shutdown.request();
    for _ in 0..3 {
        // Paused time does not advance by itself while a task is busy.
        tokio::time::advance(WITHIN).await;
        for _ in 0..10 {
            yield_now().await;
        }
    }
    assert!(served.is_finished());
    assert_eq!(served.await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn receivers_are_drained_when_the_server_ends_by_itself() {
    for output in [Ok(()), Err("cannot accept")] {
        let receiver = receiver("acme");
        let handler = running(&receiver, 1, Duration::from_secs(10)).await;
        let shutdown = shutdown(std::slice::from_ref(&receiver)).drain_delay(DELAY);
        let began = Instant::now();
        assert_eq!(shutdown.serve(async { output }).await, output.map(|()| 0));
        assert_eq!(began.elapsed().as_secs(), 10, "no delay");
        assert_eq!(handler.await.unwrap(), Ok(200));
        shutdown.requested().await;
        shutdown.draining().await;
        shutdown.drained().await;
        assert!(shutdown.is_requested());
    }
    let began = Instant::now();
    let idle = shutdown(&[receiver("acme")]).drain_delay(DELAY);
    assert_eq!(idle.serve(async { Err("cannot accept") }).await, Err("cannot accept"));
    assert_eq!(began.elapsed(), Duration::ZERO, "immediately if no handler runs");
}

#[tokio::test(start_paused = true)]
async fn a_signal_after_the_server_has_ended_is_the_first_one() {
    let receiver = receiver("acme");
    let handler = running(&receiver, 1, Duration::from_secs(10)).await;
    let shutdown = shutdown(&[receiver]);
    let served = serving(&shutdown, async { Ok(()) });
    sleep(Duration::from_secs(1)).await;
    shutdown.request();
    assert_eq!(served.await.unwrap(), 0);
    assert_eq!(handler.await.unwrap(), Ok(200));
}

#[tokio::test(start_paused = true)]
async fn a_request_before_serve_takes_effect() {
    let shutdown = shutdown(&[receiver("acme")]).drain_delay(DELAY);
    shutdown.request();
    sleep(DELAY).await;
    let began = Instant::now();
    assert_eq!(shutdown.serve(graceful(shutdown.draining())).await, Ok(0));
    assert_eq!(began.elapsed(), Duration::ZERO, "the delay began with the request");
}

#[tokio::test(start_paused = true)]
async fn a_future_requests_the_shutdown() {
    let shutdown = Shutdown::when(sleep(HOUR), WITHIN).receivers([receiver("acme")]);
    let began = Instant::now();
    assert_eq!(shutdown.serve(graceful(shutdown.draining())).await, Ok(0));
    assert_eq!(began.elapsed(), HOUR);
}

#[tokio::test(start_paused = true)]
async fn deadlines_that_cannot_be_represented_are_never_reached() {
    let receiver = receiver("acme");
    let handler = running(&receiver, 1, HOUR).await;
    let shutdown = Shutdown::when(async {}, Duration::MAX).receivers([receiver]);
    assert_eq!(shutdown.serve(graceful(shutdown.draining())).await, Ok(0));
    assert_eq!(handler.await.unwrap(), Ok(200));
    let shutdown = Shutdown::when(async {}, WITHIN).drain_delay(Duration::MAX);
    let served = serving(&shutdown, graceful(shutdown.draining()));
    sleep(HOUR).await;
    shutdown.request();
    assert_eq!(served.await.unwrap(), 0);
}

/// The task that waits for signals must not outlive its shutdown.
#[tokio::test(start_paused = true)]
async fn the_signal_task_ends_when_the_shutdown_and_its_futures_are_dropped() {
    struct Alive(#[allow(dead_code, reason = "only its drop is observed")] Arc<()>);
    let alive = Arc::new(());
    let held = Alive(alive.clone());
    let shutdown = Shutdown::when(
        async move {
            let _held = held;
            sleep(HOUR).await;
        },
        WITHIN,
    );
    let draining = shutdown.draining();
    drop(shutdown);
    yield_now().await;
    assert_eq!(Arc::strong_count(&alive), 2);
    draining.await;
    let shutdown = Shutdown::when(
        {
            let held = Alive(alive.clone());
            async move {
                let _held = held;
                pending().await
            }
        },
        WITHIN,
    );
    yield_now().await;
    drop(shutdown);
    yield_now().await;
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[tokio::test]
async fn a_shutdown_can_be_shared_between_threads() {
    fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    fn sent<T: Send + 'static>(_: T) {}
    let shutdown = Shutdown::on_signals(WITHIN).unwrap();
    shared(&shutdown);
    sent((shutdown.requested(), shutdown.draining(), shutdown.drained()));
    let served = shutdown.clone();
    sent(async move { served.serve(endless()).await });
}
