//! The keys under which stores record events.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::claim_token::ClaimToken;
use crate::dedupe::{Claimed, DedupeStore, DeliveryRecord, MemoryStore, Settled, StoreFuture};
use crate::delivery::Delivery;
use crate::error::Reason;
use crate::event_key::EventKey;
use crate::retention::Retention;
use crate::{Bytes, Custom, Dedupe, Receiver, Rejection, Secret, SharedSecret};

fn receiver(name: &str, store: impl DedupeStore, dedupe: Dedupe) -> Receiver {
    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new("0123456789abcdef").unwrap());
    Receiver::builder(name, custom.id_pointer("/id")).store(store).dedupe(dedupe).build().unwrap()
}

fn opened(receiver: &Receiver, body: &'static str) -> Delivery {
    let headers = [("x-key", "0123456789abcdef")];
    receiver.open(receiver.verify(&headers, Bytes::from(body)).unwrap()).unwrap()
}

async fn deliver(receiver: &Receiver, body: &'static str) -> Result<(), Reason> {
    let admitted = receiver.admit(opened(receiver, body)).unwrap();
    admitted.run(async {}, |()| true).await.map_err(|rejection: Rejection| rejection.reason())
}

#[tokio::test]
async fn receivers_of_one_name_that_share_a_memory_store_know_each_others_events() {
    let store = MemoryStore::new(100);
    let by_text = || Dedupe::by(|_, body| Some(format!("{body:?}")));
    for dedupe in [Dedupe::by_id, by_text, Dedupe::by_bytes] {
        let store = MemoryStore::new(100);
        let one = receiver("one", store.clone(), dedupe());
        let same = receiver("one", Arc::new(store.clone()) as Arc<dyn DedupeStore>, dedupe());
        let other = receiver("other", store, dedupe());
        for body in [r#"{"id":"1"}"#, r#"{"id":"2"}"#] {
            assert_eq!(deliver(&one, body).await, Ok(()));
            assert_eq!(deliver(&same, body).await, Err(Reason::Duplicate));
            assert_eq!(deliver(&other, body).await, Ok(()));
        }
    }
    let off = receiver("one", store, Dedupe::off());
    for _ in 0..2 {
        assert_eq!(deliver(&off, r#"{"id":"1"}"#).await, Ok(()));
    }
}

#[tokio::test]
async fn a_memory_store_does_not_know_an_event_by_its_event_key() {
    let store = MemoryStore::new(100);
    let receiver = receiver("one", store.clone(), Dedupe::by_id());
    assert_eq!(deliver(&receiver, r#"{"id":"1"}"#).await, Ok(()));
    let key = opened(&receiver, r#"{"id":"1"}"#).event_key();
    assert_eq!(key, EventKey::of_id("acme", "one", None, "1"));
    let claimed = store.claim(key, ClaimToken::from_bytes([1; 16]), Duration::from_secs(30)).await;
    assert_eq!((claimed.unwrap(), store.len()), (Claimed::Acquired, 2));
}

/// A memory store that records the keys of claims.
#[derive(Debug, Clone)]
struct Wrapper(MemoryStore, Arc<Mutex<Vec<EventKey>>>);

impl DedupeStore for Wrapper {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        self.1.lock().unwrap().push(key);
        self.0.claim(key, token, lease)
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

#[tokio::test]
async fn a_store_that_wraps_a_memory_store_gets_event_keys() {
    let wrapper = Wrapper(MemoryStore::new(100), Arc::default());
    let receiver = receiver("one", wrapper.clone(), Dedupe::by_id());
    assert_eq!(deliver(&receiver, r#"{"id":"1"}"#).await, Ok(()));
    assert_eq!(deliver(&receiver, r#"{"id":"1"}"#).await, Err(Reason::Duplicate));
    assert_eq!(*wrapper.1.lock().unwrap(), [EventKey::of_id("acme", "one", None, "1"); 2]);
}
