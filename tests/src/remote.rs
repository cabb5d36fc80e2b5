//! A model of the stores on servers.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use medhook::{
    ClaimToken, Claimed, DedupeStore, DeliveryRecord, EventKey, MemoryStore, Retention, Settled, StoreFuture,
};

/// A memory store that remembers the tokens whose claims have ended. Operations may arrive late, after later ones with
/// the same token.
#[derive(Debug)]
pub struct RemoteStore {
    store: MemoryStore,
    ended: Mutex<HashSet<(EventKey, ClaimToken)>>,
}

impl RemoteStore {
    /// Creates a store for `capacity` events.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        RemoteStore { store: MemoryStore::new(capacity), ended: Mutex::default() }
    }

    /// Runs an operation of the memory store, which is never pending, with the record of ended claims.
    fn with<'s, T: Send + 's>(
        &'s self,
        step: impl FnOnce(&MemoryStore, &mut HashSet<(EventKey, ClaimToken)>) -> Option<T> + Send + 's,
    ) -> StoreFuture<'s, T> {
        Box::pin(async move {
            let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(step(&self.store, &mut ended).expect("there is room"))
        })
    }
}

fn at_once<T>(step: StoreFuture<'_, T>) -> Option<T> {
    step.now_or_never()?.ok()
}

impl DedupeStore for RemoteStore {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        self.with(move |store, ended| {
            if ended.contains(&(key, token)) {
                return Some(Claimed::InFlight { retry_after: lease });
            }
            at_once(store.claim(key, token, lease))
        })
    }

    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        self.with(move |store, ended| {
            if ended.contains(&(key, token)) {
                return Some(Settled::Lost);
            }
            at_once(store.renew(key, token, lease))
        })
    }

    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled> {
        self.with(move |store, ended| {
            let settled = at_once(store.commit(key, token, retention));
            if settled == Some(Settled::Lost) {
                ended.insert((key, token));
            }
            settled
        })
    }

    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
        self.with(move |store, ended| {
            ended.insert((key, token));
            at_once(store.release(key, token))
        })
    }

    fn record_delivery(&self, body: EventKey, period: Duration, most: u64) -> StoreFuture<'_, DeliveryRecord> {
        self.store.record_delivery(body, period, most)
    }

    fn record_failure(&self, body: EventKey) -> StoreFuture<'_, ()> {
        self.store.record_failure(body)
    }
}
