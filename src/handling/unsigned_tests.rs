//! Deliveries whose event only an unsigned id identifies. Time is paused, as in the other tests of this folder.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, advance, sleep};

use super::*;
use crate::claim_token::ClaimToken;
use crate::dedupe::{Claimed, DedupeStore, DeliveryRecord, MemoryStore, Settled, StoreFuture};
use crate::event_key::EventKey;
use crate::retention::Retention;
use crate::{Builder, Bytes, Custom, Receiver, Secret, SharedSecret, StoreError};

const LEASE: Duration = Duration::from_secs(30);
const BODY: &str = r#"{"result":"ready"}"#;

/// A memory store that counts its operations, and in which one kind of them fails, after it took effect, or is slow.
#[derive(Debug, Clone)]
struct Watched {
    store: MemoryStore,
    calls: Arc<Mutex<Vec<&'static str>>>,
    /// The operation that fails, and how often.
    failing: Arc<Mutex<(&'static str, usize)>>,
    /// The operation that takes 4 seconds.
    slow: Arc<Mutex<&'static str>>,
}

impl Watched {
    fn new() -> Self {
        Watched {
            store: MemoryStore::new(10_000),
            calls: Arc::default(),
            failing: Arc::default(),
            slow: Arc::default(),
        }
    }

    fn fail(&self, operation: &'static str, times: usize) {
        *self.failing.lock().unwrap() = (operation, times);
    }

    /// Returns the operations since the last call of this.
    fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    fn through<'s, T: Send + 's>(&'s self, operation: &'static str, step: StoreFuture<'s, T>) -> StoreFuture<'s, T> {
        self.calls.lock().unwrap().push(operation);
        Box::pin(async move {
            let slow = *self.slow.lock().unwrap() == operation;
            if slow {
                sleep(Duration::from_secs(4)).await;
            }
            let result = step.await;
            let mut failing = self.failing.lock().unwrap();
            if failing.0 == operation && failing.1 > 0 {
                failing.1 -= 1;
                return Err(StoreError::unavailable("the answer got lost"));
            }
            result
        })
    }
}

impl DedupeStore for Watched {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        self.through("claim", self.store.claim(key, token, lease))
    }
    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        self.through("renew", self.store.renew(key, token, lease))
    }
    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled> {
        self.through("commit", self.store.commit(key, token, retention))
    }
    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
        self.through("release", self.store.release(key, token))
    }
    fn record_delivery(&self, body: EventKey, period: Duration, most: u64) -> StoreFuture<'_, DeliveryRecord> {
        self.through("record", self.store.record_delivery(body, period, most))
    }
    fn record_failure(&self, body: EventKey) -> StoreFuture<'_, ()> {
        self.through("failure", self.store.record_failure(body))
    }
}

fn builder(store: &Watched, max_repeats: u32) -> Builder {
    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
    let builder = Receiver::builder("acme", custom.unsigned_id_header("x-trace-id")).store(store.clone());
    builder.lease(LEASE).max_repeats(max_repeats)
}

fn receiver(store: &Watched, max_repeats: u32) -> Receiver {
    builder(store, max_repeats).build().unwrap()
}

fn admitted(receiver: &Receiver, id: &str, body: &'static str) -> Admitted {
    let headers = [("x-key", "0123456789abcdef"), ("x-trace-id", id)];
    let delivery = receiver.open(receiver.verify(&headers, Bytes::from(body)).unwrap()).unwrap();
    receiver.admit(delivery).unwrap()
}

type Ran = Result<Option<u64>, Reason>;

/// Delivers the body under an id to a handler that answers with this status after some time, and returns how
/// many earlier deliveries it knows of.
async fn deliver_for(receiver: &Receiver, id: &str, status: u16, time: Duration) -> Ran {
    let admitted = admitted(receiver, id, BODY);
    let delivery = admitted.delivery().clone();
    let handler = async {
        let earlier = delivery.possible_duplicate();
        sleep(time).await;
        (status, earlier.map(|earlier| earlier.count))
    };
    let ran = admitted.run(handler, |(status, _)| *status == 200).await;
    ran.map(|(_, earlier)| earlier).map_err(|rejection| rejection.reason())
}

async fn deliver(receiver: &Receiver, id: &str, status: u16) -> Ran {
    deliver_for(receiver, id, status, Duration::ZERO).await
}

#[tokio::test(start_paused = true)]
async fn forged_ids_reach_the_handler_up_to_the_limit_and_retries_do_not_count() {
    let receiver = receiver(&Watched::new(), 20);
    let mut handled = Vec::new();
    for number in 0..1_000 {
        let id = format!("t-{number}");
        match deliver(&receiver, &id, 200).await {
            Ok(earlier) => {
                assert_eq!(earlier, (number > 0).then_some(number), "of the same bytes under other ids");
                handled.push(id);
            }
            Err(reason) => assert_eq!(reason, Reason::RepeatLimit),
        }
    }
    assert_eq!(handled.len(), 21, "the first one and 20 repeats");
    for id in &handled {
        for _ in 0..30 {
            assert_eq!(deliver(&receiver, id, 200).await, Err(Reason::Duplicate), "{id} was handled");
        }
    }
    let rejection = admitted(&receiver, "t-1000", BODY).run(async { 200 }, |_| true).await.unwrap_err();
    assert_eq!((rejection.reason(), rejection.status().as_u16()), (Reason::RepeatLimit, 503));
    assert_eq!(rejection.header().unwrap().1, "86400");
    let other_body = admitted(&receiver, "t-1000", "{}").run(async { 200 }, |_| true).await;
    assert!(other_body.is_ok(), "another event with the id of a rejected delivery");
    advance(Duration::from_secs(24 * 3600)).await;
    assert!(deliver(&receiver, "t-1000", 200).await.is_ok(), "its claim was released");
}

#[tokio::test(start_paused = true)]
async fn retries_while_the_event_is_handled_do_not_count() {
    let receiver = receiver(&Watched::new(), 1);
    let first = deliver_for(&receiver, "t-1", 200, Duration::from_secs(600));
    let retries = async {
        for _ in 0..30 {
            sleep(Duration::from_secs(10)).await;
            assert_eq!(deliver(&receiver, "t-1", 200).await, Err(Reason::InFlight));
        }
        assert_eq!(deliver(&receiver, "t-2", 200).await, Ok(Some(1)));
    };
    assert_eq!(tokio::join!(first, retries).0, Ok(None));
    assert_eq!(deliver(&receiver, "t-3", 200).await, Err(Reason::RepeatLimit));
}

#[tokio::test(start_paused = true)]
async fn two_deliveries_of_one_id_at_once_count_once() {
    let receiver = receiver(&Watched::new(), 1);
    let all = (0..50).map(|_| deliver_for(&receiver, "t-1", 200, Duration::from_secs(1)));
    let ran = join_all(all).await;
    assert_eq!(ran.iter().filter(|ran| ran.is_ok()).count(), 1);
    assert_eq!(ran.iter().filter(|ran| **ran == Err(Reason::InFlight)).count(), 49);
    assert_eq!(deliver(&receiver, "t-2", 200).await, Ok(Some(1)));
    assert_eq!(deliver(&receiver, "t-3", 200).await, Err(Reason::RepeatLimit));
}

#[tokio::test(start_paused = true)]
async fn of_many_ids_at_once_the_handler_runs_up_to_the_limit() {
    let receiver = receiver(&Watched::new(), 20);
    let ids: Vec<_> = (0..100).map(|number| format!("t-{number}")).collect();
    let all = ids.iter().map(|id| deliver_for(&receiver, id, 200, Duration::from_secs(1)));
    let ran = join_all(all).await;
    assert_eq!(ran.iter().filter(|ran| ran.is_ok()).count(), 21);
    assert_eq!(ran.iter().filter(|ran| **ran == Err(Reason::RepeatLimit)).count(), 79);
}

/// Otherwise retries of an event whose handler fails would use up the limit, and the event be lost.
#[tokio::test(start_paused = true)]
async fn a_failed_handler_gives_its_place_back_before_its_claim_ends() {
    let store = Watched::new();
    let receiver = receiver(&store, 0);
    for earlier in 0..30 {
        let known = (earlier > 0).then_some(earlier);
        assert_eq!(deliver(&receiver, "t-1", 500).await, Ok(known), "the failed handler may have had an effect");
        assert_eq!(store.calls(), ["claim", "record", "failure", "release"]);
    }
    let panicked = admitted(&receiver, "t-1", BODY).run(async { panic!("the handler panics") }, |(): &()| true).await;
    assert_eq!(panicked.unwrap_err().reason(), Reason::HandlerPanicked);
    let timed_out = admitted(&receiver, "t-1", BODY).run(std::future::pending::<()>(), |()| true).await;
    assert_eq!(timed_out.unwrap_err().reason(), Reason::HandlerTimeout);
    assert_eq!(store.calls().iter().filter(|call| **call == "renew").count(), 59, "600 s, every 10 s");
    assert_eq!(deliver(&receiver, "t-1", 200).await, Ok(Some(32)));
    assert_eq!(store.calls(), ["claim", "record", "commit"]);
    assert_eq!(deliver(&receiver, "t-1", 200).await, Err(Reason::Duplicate));
    assert_eq!(store.calls(), ["claim"]);
    assert_eq!(deliver(&receiver, "t-2", 200).await, Err(Reason::RepeatLimit));
    assert_eq!(store.calls(), ["claim", "record", "release"]);
}

/// The count of the next day is not lowered, but the claim ends.
#[tokio::test(start_paused = true)]
async fn a_failure_does_not_count_for_the_next_day() {
    let store = Watched::new();
    let receiver = receiver(&store, 0);
    assert_eq!(deliver(&receiver, "t-1", 500).await, Ok(None));
    advance(Duration::from_secs(24 * 3600 - 30)).await;
    store.calls();
    assert!(deliver_for(&receiver, "t-1", 500, Duration::from_secs(60)).await.is_ok());
    assert!(!store.calls().contains(&"failure"));
    assert!(deliver(&receiver, "t-1", 200).await.is_ok());
    assert_eq!(deliver(&receiver, "t-2", 200).await, Err(Reason::RepeatLimit));
}

/// Otherwise the claim would expire while its handler runs.
#[tokio::test(start_paused = true)]
async fn the_first_renewal_is_a_third_of_the_lease_after_the_claim() {
    let store = Watched::new();
    let receiver = receiver(&store, 0);
    *store.slow.lock().unwrap() = "record";
    let (began, delivering) = (Instant::now(), deliver_for(&receiver, "t-1", 200, LEASE));
    let renewed = async {
        while !store.calls.lock().unwrap().contains(&"renew") {
            sleep(Duration::from_millis(1)).await;
        }
        began.elapsed().as_millis()
    };
    let (ran, renewed) = tokio::join!(delivering, renewed);
    assert_eq!(ran, Ok(None));
    assert!((10_000..10_010).contains(&renewed), "{renewed}");
}

#[tokio::test(start_paused = true)]
async fn a_delivery_whose_record_was_not_answered_is_not_handled_and_does_not_use_up_the_limit() {
    let store = Watched::new();
    let receiver = receiver(&store, 0);
    store.fail("record", 1);
    assert_eq!(deliver(&receiver, "t-1", 200).await, Err(Reason::StoreUnavailable));
    assert_eq!(deliver(&receiver, "t-1", 200).await, Err(Reason::InFlight), "until the claim is released");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(store.calls(), ["claim", "record", "claim", "failure", "release"]);
    assert_eq!(deliver(&receiver, "t-1", 200).await, Ok(Some(1)));
}

/// A repeated failure would remove another delivery from the count.
#[tokio::test(start_paused = true)]
async fn a_failed_release_is_repeated_without_the_failure() {
    let store = Watched::new();
    let receiver = receiver(&store, 1);
    assert_eq!(deliver(&receiver, "t-1", 200).await, Ok(None));
    store.fail("release", 3);
    store.calls();
    assert_eq!(deliver(&receiver, "t-2", 500).await, Ok(Some(1)));
    sleep(LEASE / 2).await;
    assert_eq!(store.calls(), ["claim", "record", "failure", "release", "release", "release", "release"]);
    assert!(deliver(&receiver, "t-2", 200).await.is_ok());
    assert_eq!(deliver(&receiver, "t-3", 200).await, Err(Reason::RepeatLimit));
}

#[tokio::test(start_paused = true)]
async fn without_the_store_the_policy_for_store_errors_applies() {
    for (policy, expected) in
        [(OnStoreError::Reject, Err(Reason::StoreUnavailable)), (OnStoreError::HandleUnclaimed, Ok(None))]
    {
        for operation in ["claim", "record"] {
            let store = Watched::new();
            let receiver = builder(&store, 0).on_store_error(policy).build().unwrap();
            store.fail(operation, 2);
            assert_eq!(deliver(&receiver, "t-1", 500).await, expected, "{operation}");
            sleep(Duration::from_secs(1)).await;
            assert_eq!(deliver(&receiver, "t-1", 200).await, expected, "{operation}");
            sleep(Duration::from_secs(1)).await;
            let retry = deliver(&receiver, "t-1", 200).await;
            match policy {
                OnStoreError::Reject => assert!(retry.is_ok(), "{operation}"),
                OnStoreError::HandleUnclaimed => assert_eq!(retry, Err(Reason::Duplicate), "{operation}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_poll_that_outlasts_a_third_of_the_lease_is_followed_by_a_renewal() {
    let store = Watched::new();
    let receiver = receiver(&store, 10);
    let handler = async {
        advance(LEASE - Duration::from_secs(5)).await;
        sleep(Duration::from_secs(7)).await;
        true
    };
    let ran = admitted(&receiver, "1", BODY).run(handler, |_| true).await;
    assert!(ran.is_ok_and(|succeeded| succeeded));
    assert_eq!(store.calls(), ["claim", "record", "renew", "commit"]);
}
