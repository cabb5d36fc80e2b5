mod bodies;
mod shard;
mod short_key;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use self::shard::{Shard, millis};
use self::short_key::{ShortKey, first_half};
use super::{Claimed, DedupeStore, DeliveryRecord, Forgotten, InProcess, Settled, StoreFuture};
use crate::claim_token::ClaimToken;
use crate::event_key::EventKey;
use crate::retention::Retention;
use crate::{StoreError, observe};

/// A store in the memory of this process, with a limited number of events.
///
/// An event takes 76 to 134 bytes, and at most 104 in stores for 150,000 events or more, plus the overhead of the
/// allocator.
///
/// A receiver with this store, or an `Arc` of it, does not pass event keys to it, but keyed hashes of 16 bytes that are
/// the same for all receivers of this process. So the store finds no event of the receiver by
/// [`Delivery::event_key`](crate::Delivery::event_key), which is computed only where it is logged or read. A store
/// that wraps this one gets event keys, of which this store keeps the first 16 bytes: receivers of the same name must
/// all have the wrapper, or all the store itself.
///
/// A restart loses all events: retries of events that were handled before it are handled again. Processes do not share
/// events; clones of a store do.
///
/// At capacity, the oldest handled event whose replay would be rejected as stale ([`Retention::replay`]) makes room. If
/// there is none, claims fail with [`StoreError::full`], and deliveries are answered with 503. Both mean that the store
/// is too small; see [`forgotten`](Self::forgotten). Leases are measured by a monotonic clock, which cannot be set.
///
/// Records of deliveries whose event can recur ([`record_delivery`](DedupeStore::record_delivery)) are kept besides, as
/// many as there may be events, and the oldest one makes room, which counts as forgotten.
#[derive(Clone)]
pub struct MemoryStore {
    shards: Arc<[Mutex<Shard>]>,
    began: Instant,
}

impl MemoryStore {
    /// Creates a store for `capacity` events, at least one.
    ///
    /// A steady rate of events needs a capacity of the rate times the retention. A large store is split into shards,
    /// and the first shard is full a few percent before the whole store is.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        // A small store has one shard. With several, one of them could be full long before the store is.
        let mut table = FULL_TABLE;
        while capacity.div_ceil(table) > MOST_SHARDS {
            table *= 2;
        }
        let shards = capacity.div_ceil(table);
        let of_each = capacity.div_ceil(shards);
        let shards = std::iter::repeat_with(|| Mutex::new(Shard::new(of_each))).take(shards).collect();
        MemoryStore { shards, began: Instant::now() }
    }

    /// Returns the number of events in the store: claimed, handled, and expired but not yet purged.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Returns whether the store has no events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of handled events that were forgotten before their retention ended, to make room for others.
    /// Retries of these events are handled again. With the feature `metrics` they are counted in
    /// `medhook_store_forgotten_total`.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.shards.iter().map(|shard| lock(shard).forgotten()).sum()
    }

    fn with<T>(
        &self,
        key: EventKey,
        step: impl FnOnce(&mut Shard, ShortKey, u64) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let now = millis(self.began.elapsed());
        let key = first_half(key);
        // The shard's map hashes the first bytes of the key, so the shard is chosen by the last ones.
        let [.., a, b] = key;
        let index = usize::from(u16::from_le_bytes([a, b])) % self.shards.len();
        let Some(shard) = self.shards.get(index) else {
            return Err(StoreError::unavailable("the memory store has no shards"));
        };
        let (done, forgot) = {
            let mut shard = lock(shard);
            let before = shard.forgotten();
            (step(&mut shard, key, now), shard.forgotten() > before)
        };
        if forgot {
            observe::forgotten();
        }
        done
    }
}

/// The number of events that a hash table of 32,768 buckets holds: seven eighths of them. One more event doubles the
/// table, so a shard of slightly fewer events than this, or than a power of two times this, wastes little memory.
const FULL_TABLE: usize = 32_768 / 8 * 7;
/// Enough shards that threads rarely contend: with two callers a claim takes two thirds of the time that it takes with
/// one (docs/benchmarks.md). Few enough that the headers of all shards stay in a processor's cache.
const MOST_SHARDS: usize = 64;

/// Locks a shard. Poisoning is ignored: no operation leaves a shard half updated.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl InProcess for MemoryStore {
    fn claim_now(&self, key: EventKey, token: ClaimToken, lease: Duration) -> Result<Claimed, StoreError> {
        self.with(key, |shard, key, now| shard.claim(key, token, millis(lease), now))
    }

    fn commit_now(&self, key: EventKey, token: ClaimToken, retention: Retention) -> Result<Settled, StoreError> {
        self.with(key, |shard, key, now| shard.commit(key, token, retention, now))
    }

    fn release_now(&self, key: EventKey, token: ClaimToken) -> Result<Settled, StoreError> {
        self.with(key, |shard, key, _| Ok(shard.release(key, token)))
    }
}

// No record of ended claims is needed: each operation takes effect when it is polled, or never.
impl DedupeStore for MemoryStore {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        Box::pin(async move { self.claim_now(key, token, lease) })
    }

    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        Box::pin(async move { self.with(key, |shard, key, now| shard.renew(key, token, millis(lease), now)) })
    }

    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled> {
        Box::pin(async move { self.commit_now(key, token, retention) })
    }

    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
        Box::pin(async move { self.release_now(key, token) })
    }

    fn record_delivery(&self, body: EventKey, period: Duration, most: u64) -> StoreFuture<'_, DeliveryRecord> {
        let period = millis(period);
        Box::pin(async move { self.with(body, |shard, body, now| Ok(shard.bodies.record(body, period, most, now))) })
    }

    fn record_failure(&self, body: EventKey) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.with(body, |shard, body, _| {
                shard.bodies.record_failure(body);
                Ok(())
            })
        })
    }

    fn forget(&self, _: EventKey) -> StoreFuture<'_, Forgotten> {
        Box::pin(async {
            Err(StoreError::unavailable(
                "memory store: cannot forget one event; restart the process, which forgets all of them",
            ))
        })
    }

    fn in_process(&self) -> Option<&dyn InProcess> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);
    const HOUR: Duration = Duration::from_secs(3600);

    fn key(n: u64) -> EventKey {
        EventKey::of_id("test", "test", None, &n.to_string())
    }

    fn token(n: u8) -> ClaimToken {
        ClaimToken::from_bytes([n; 16])
    }

    fn retention() -> Retention {
        Retention::new(HOUR, 24 * HOUR)
    }

    #[tokio::test(start_paused = true)]
    async fn only_one_token_holds_a_claim_until_it_is_released() {
        let store = MemoryStore::new(10);
        assert!(store.is_empty());
        assert_eq!(store.claim(key(1), token(1), LEASE).await.unwrap(), Claimed::Acquired);
        assert_eq!(format!("{store:?}"), "MemoryStore { len: 1, .. }");
        assert!(!store.is_empty());
        assert_eq!(store.claim(key(1), token(1), LEASE).await.unwrap(), Claimed::Acquired, "repeated");
        let busy = store.claim(key(1), token(2), LEASE).await.unwrap();
        assert_eq!(busy, Claimed::InFlight { retry_after: LEASE });
        assert_eq!(store.release(key(1), token(2)).await.unwrap(), Settled::Lost, "another's claim");
        assert_eq!(store.release(key(1), token(1)).await.unwrap(), Settled::Settled);
        assert_eq!(store.claim(key(1), token(2), LEASE).await.unwrap(), Claimed::Acquired);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_expires_unless_renewed_and_its_holder_loses_the_claim() {
        let store = MemoryStore::new(10);
        store.claim(key(1), token(1), LEASE).await.unwrap();
        tokio::time::advance(LEASE / 2).await;
        assert_eq!(store.renew(key(1), token(1), LEASE).await.unwrap(), Settled::Settled);
        tokio::time::advance(LEASE - Duration::from_millis(1)).await;
        assert!(matches!(store.claim(key(1), token(2), LEASE).await.unwrap(), Claimed::InFlight { .. }));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(store.claim(key(1), token(2), LEASE).await.unwrap(), Claimed::Acquired);
        assert_eq!(store.renew(key(1), token(1), LEASE).await.unwrap(), Settled::Lost);
        assert_eq!(store.commit(key(1), token(1), retention()).await.unwrap(), Settled::Lost);
        assert_eq!(store.commit(key(1), token(2), retention()).await.unwrap(), Settled::Settled);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handled_event_stays_handled_until_its_retention_ends() {
        let store = MemoryStore::new(10);
        store.claim(key(1), token(1), LEASE).await.unwrap();
        assert_eq!(store.commit(key(1), token(1), retention()).await.unwrap(), Settled::Settled);
        assert_eq!(store.commit(key(1), token(1), retention()).await.unwrap(), Settled::Settled, "repeated");
        tokio::time::advance(24 * HOUR - Duration::from_millis(1)).await;
        assert_eq!(store.claim(key(1), token(2), LEASE).await.unwrap(), Claimed::AlreadyHandled);
        assert_eq!(store.renew(key(1), token(1), LEASE).await.unwrap(), Settled::Settled);
        assert_eq!(store.release(key(1), token(1)).await.unwrap(), Settled::Settled);
        assert_eq!(store.claim(key(1), token(2), LEASE).await.unwrap(), Claimed::AlreadyHandled, "a commit is final");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(store.claim(key(1), token(2), LEASE).await.unwrap(), Claimed::Acquired);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unlimited_retention_never_ends() {
        let store = MemoryStore::new(10);
        // The second is one millisecond more than `EntryState` can represent.
        for (n, total) in [(1, Duration::MAX), (2, Duration::from_millis(1 << 47))] {
            store.commit(key(n), token(1), Retention::new(HOUR, total)).await.unwrap();
            tokio::time::advance(HOUR).await;
            assert_eq!(store.claim(key(n), token(2), LEASE).await.unwrap(), Claimed::AlreadyHandled, "{total:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_without_a_claim_records_the_event() {
        let store = MemoryStore::new(10);
        assert_eq!(store.commit(key(1), token(1), retention()).await.unwrap(), Settled::Settled);
        assert_eq!(store.claim(key(1), token(2), LEASE).await.unwrap(), Claimed::AlreadyHandled);
    }

    #[tokio::test(start_paused = true)]
    async fn at_capacity_only_events_that_cannot_be_replayed_are_forgotten() {
        let store = MemoryStore::new(2);
        for n in [1, 2] {
            store.claim(key(n), token(1), LEASE).await.unwrap();
            store.commit(key(n), token(1), retention()).await.unwrap();
        }
        assert!(store.claim(key(3), token(1), LEASE).await.unwrap_err().is_full());
        assert_eq!(store.claim(key(1), token(1), LEASE).await.unwrap(), Claimed::AlreadyHandled, "none was forgotten");
        tokio::time::advance(HOUR).await;
        assert_eq!(store.forgotten(), 0);
        assert_eq!(store.claim(key(3), token(1), LEASE).await.unwrap(), Claimed::Acquired);
        assert_eq!((store.len(), store.forgotten()), (2, 1));
        assert_eq!(
            store.claim(key(2), token(1), LEASE).await.unwrap(),
            Claimed::AlreadyHandled,
            "only the oldest was forgotten"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn events_that_must_be_kept_do_not_block_the_eviction_of_others() {
        let store = MemoryStore::new(200);
        for n in 0..200 {
            let replay = if n < 150 { 24 * HOUR } else { Duration::ZERO };
            store.claim(key(n), token(1), LEASE).await.unwrap();
            store.commit(key(n), token(1), Retention::new(replay, 24 * HOUR)).await.unwrap();
        }
        let mut tries = 1;
        while tries < 10 && store.claim(key(200), token(1), LEASE).await.is_err() {
            tries += 1;
        }
        assert!((2..=3).contains(&tries), "64 events are examined in each of {tries} claims");
        assert_eq!(store.claim(key(0), token(2), LEASE).await.unwrap(), Claimed::AlreadyHandled);
    }

    #[tokio::test(start_paused = true)]
    async fn claims_are_never_evicted_before_they_expire() {
        let store = MemoryStore::new(1);
        store.claim(key(1), token(1), LEASE).await.unwrap();
        assert!(store.claim(key(2), token(1), LEASE).await.unwrap_err().is_full());
        tokio::time::advance(LEASE).await;
        assert_eq!(store.claim(key(2), token(1), LEASE).await.unwrap(), Claimed::Acquired);
        assert_eq!(store.forgotten(), 0, "an expired claim does not count as forgotten");
    }

    #[test]
    fn the_number_of_shards_is_bounded_and_each_fills_a_table() {
        for (capacity, shards) in
            [(0, 1), (28_672, 1), (28_673, 2), (64 * 28_672, 64), (64 * 28_672 + 1, 33), (10_000_000, 44)]
        {
            assert_eq!(MemoryStore::new(capacity).shards.len(), shards, "{capacity}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_whole_capacity_is_used_and_never_exceeded() {
        let store = MemoryStore::new(30_000);
        let mut full = 0;
        for n in 0..33_000 {
            full += u64::from(store.claim(key(n), token(1), LEASE).await.is_err());
        }
        assert_eq!((store.shards.len(), store.len(), full), (2, 30_000, 3_000));
    }

    #[tokio::test(start_paused = true)]
    async fn expired_events_are_purged_before_the_store_is_full() {
        let store = MemoryStore::new(100);
        for n in 0..50 {
            store.claim(key(n), token(1), LEASE).await.unwrap();
            store.commit(key(n), token(1), retention()).await.unwrap();
        }
        tokio::time::advance(24 * HOUR).await;
        store.claim(key(50), token(1), LEASE).await.unwrap();
        assert_eq!((store.len(), store.forgotten()), (1, 0));
    }
}
