mod shard;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use self::shard::{Shard, millis};
use super::{Claimed, DedupeStore, Settled, StoreFuture};
use crate::claim_token::ClaimToken;
use crate::event_key::EventKey;
use crate::retention::Retention;
use crate::{StoreError, observe};

/// Remembers events in this process, up to a given number of them, in 92 to 150 bytes for each, and no more than 120
/// where there may be 150,000 or more (and what the allocator adds).
///
/// A restart forgets everything: what was handled before it is handled again if the sender retries. Several processes
/// do not know of each other. Clones share what they remember.
///
/// At capacity the oldest handled event makes room, if its bytes would no longer be accepted anyway
/// ([`Retention::replay`]); where no event may be forgotten yet, claims fail as
/// [full](StoreError::full), and senders get 503. Both say that the store is too small: see
/// [`forgotten`](Self::forgotten). Leases are judged by a monotonic clock, which no one can set.
#[derive(Clone)]
pub struct MemoryStore {
    shards: Arc<[Mutex<Shard>]>,
    began: Instant,
}

impl MemoryStore {
    /// A store for `capacity` events, at least one. At a steady rate that is the rate times the retention. A large store
    /// is split into parts that fill up a few per cent before the whole does.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        // Small stores have one shard: split up, an unlucky shard would be full before its store is.
        let mut table = FULL_TABLE;
        while capacity.div_ceil(table) > MOST_SHARDS {
            table *= 2;
        }
        let shards = capacity.div_ceil(table);
        let of_each = capacity.div_ceil(shards);
        let shards = std::iter::repeat_with(|| Mutex::new(Shard::new(of_each))).take(shards).collect();
        MemoryStore { shards, began: Instant::now() }
    }

    /// How many events it holds, claimed, handled or run out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many handled events it forgot before their retention ended, to make room for others: if their senders still
    /// retry, they are handled again. With the feature `metrics` they are counted in `medhook_store_forgotten_total`.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.shards.iter().map(|shard| lock(shard).forgotten()).sum()
    }

    fn with<T>(
        &self,
        key: EventKey,
        step: impl FnOnce(&mut Shard, u64) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let now = millis(self.began.elapsed());
        // The map within a shard goes by the first bytes of the key; these are others.
        let [.., a, b] = *key.as_bytes();
        let index = usize::from(u16::from_le_bytes([a, b])) % self.shards.len();
        let Some(shard) = self.shards.get(index) else {
            return Err(StoreError::unavailable("the memory store has no shards"));
        };
        let (done, forgot) = {
            let mut shard = lock(shard);
            let before = shard.forgotten();
            (step(&mut shard, now), shard.forgotten() > before)
        };
        if forgot {
            observe::forgotten();
        }
        done
    }
}

/// How many events fill a hash table to its last place: seven eighths of a power of two. One more doubles it, so a full
/// shard of nearly as many, or twice as many, is a table with little room to spare.
const FULL_TABLE: usize = 32_768 / 8 * 7;
/// Enough that threads seldom meet: with two callers a claim takes 0.73 of the time that it takes with one
/// (docs/performance.md). Few enough that what all begin with stays in a processor's cache.
const MOST_SHARDS: usize = 64;

/// No step leaves a shard half done, so a panic elsewhere does not spoil it.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl DedupeStore for MemoryStore {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        Box::pin(async move { self.with(key, |shard, now| shard.claim(key, token, millis(lease), now)) })
    }

    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        Box::pin(async move { self.with(key, |shard, now| shard.renew(key, token, millis(lease), now)) })
    }

    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled> {
        Box::pin(async move { self.with(key, |shard, now| shard.commit(key, token, retention, now)) })
    }

    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
        Box::pin(async move { self.with(key, |shard, _| Ok(shard.release(key, token))) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_key::EventKeys;

    const LEASE: Duration = Duration::from_secs(30);
    const HOUR: Duration = Duration::from_secs(3600);

    fn key(n: u64) -> EventKey {
        EventKeys::new("test", "test").of_id("", &n.to_string())
    }

    fn token(n: u8) -> ClaimToken {
        ClaimToken::from_bytes([n; 16])
    }

    fn retention() -> Retention {
        Retention::new(HOUR, 24 * HOUR)
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_two_wins_until_released() {
        let store = MemoryStore::new(10);
        assert!(store.is_empty());
        assert_eq!(store.claim(key(1), token(1), LEASE).await.unwrap(), Claimed::Acquired);
        assert_eq!(format!("{store:?}"), "MemoryStore { len: 1, .. }");
        assert!(!store.is_empty());
        assert_eq!(store.claim(key(1), token(1), LEASE).await.unwrap(), Claimed::Acquired, "sent again");
        let busy = store.claim(key(1), token(2), LEASE).await.unwrap();
        assert_eq!(busy, Claimed::InFlight { retry_after: LEASE });
        assert_eq!(store.release(key(1), token(2)).await.unwrap(), Settled::Lost, "not theirs");
        assert_eq!(store.release(key(1), token(1)).await.unwrap(), Settled::Settled);
        assert_eq!(store.claim(key(1), token(2), LEASE).await.unwrap(), Claimed::Acquired);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_runs_out_unless_renewed_and_the_late_holder_has_lost() {
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
    async fn handled_is_handled_until_retention_ends() {
        let store = MemoryStore::new(10);
        store.claim(key(1), token(1), LEASE).await.unwrap();
        assert_eq!(store.commit(key(1), token(1), retention()).await.unwrap(), Settled::Settled);
        assert_eq!(store.commit(key(1), token(1), retention()).await.unwrap(), Settled::Settled, "sent again");
        tokio::time::advance(24 * HOUR - Duration::from_millis(1)).await;
        assert_eq!(store.claim(key(1), token(2), LEASE).await.unwrap(), Claimed::AlreadyHandled);
        assert_eq!(store.renew(key(1), token(1), LEASE).await.unwrap(), Settled::Settled);
        assert_eq!(store.release(key(1), token(1)).await.unwrap(), Settled::Settled);
        assert_eq!(
            store.claim(key(1), token(2), LEASE).await.unwrap(),
            Claimed::AlreadyHandled,
            "nothing undoes a commit"
        );
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(store.claim(key(1), token(2), LEASE).await.unwrap(), Claimed::Acquired);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_to_be_remembered_for_ever_is() {
        let store = MemoryStore::new(10);
        // The second is one millisecond more than there is room for.
        for (n, total) in [(1, Duration::MAX), (2, Duration::from_millis(1 << 47))] {
            store.commit(key(n), token(1), Retention::new(HOUR, total)).await.unwrap();
            tokio::time::advance(HOUR).await;
            assert_eq!(store.claim(key(n), token(2), LEASE).await.unwrap(), Claimed::AlreadyHandled, "{total:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_vanished_claim_that_nobody_took_commits() {
        let store = MemoryStore::new(10);
        assert_eq!(store.commit(key(1), token(1), retention()).await.unwrap(), Settled::Settled);
        assert_eq!(store.claim(key(1), token(2), LEASE).await.unwrap(), Claimed::AlreadyHandled);
    }

    #[tokio::test(start_paused = true)]
    async fn at_capacity_only_what_cannot_be_replayed_goes() {
        let store = MemoryStore::new(2);
        for n in [1, 2] {
            store.claim(key(n), token(1), LEASE).await.unwrap();
            store.commit(key(n), token(1), retention()).await.unwrap();
        }
        assert!(store.claim(key(3), token(1), LEASE).await.unwrap_err().is_full());
        assert_eq!(store.claim(key(1), token(1), LEASE).await.unwrap(), Claimed::AlreadyHandled, "nothing went");
        tokio::time::advance(HOUR).await;
        assert_eq!(store.forgotten(), 0);
        assert_eq!(store.claim(key(3), token(1), LEASE).await.unwrap(), Claimed::Acquired);
        assert_eq!((store.len(), store.forgotten()), (2, 1));
        assert_eq!(store.claim(key(2), token(1), LEASE).await.unwrap(), Claimed::AlreadyHandled, "the oldest went");
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_not_go_yet_does_not_stand_before_what_may() {
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
        assert!((2..=3).contains(&tries), "64 are looked at in each of {tries}");
        assert_eq!(store.claim(key(0), token(2), LEASE).await.unwrap(), Claimed::AlreadyHandled);
    }

    #[tokio::test(start_paused = true)]
    async fn claims_under_way_are_never_dropped() {
        let store = MemoryStore::new(1);
        store.claim(key(1), token(1), LEASE).await.unwrap();
        assert!(store.claim(key(2), token(1), LEASE).await.unwrap_err().is_full());
        tokio::time::advance(LEASE).await;
        assert_eq!(store.claim(key(2), token(1), LEASE).await.unwrap(), Claimed::Acquired);
        assert_eq!(store.forgotten(), 0, "what ran out was not forgotten early");
    }

    #[test]
    fn a_shard_is_a_full_table_of_one_size_and_there_are_never_many() {
        for (capacity, shards) in
            [(0, 1), (28_672, 1), (28_673, 2), (64 * 28_672, 64), (64 * 28_672 + 1, 33), (10_000_000, 44)]
        {
            assert_eq!(MemoryStore::new(capacity).shards.len(), shards, "{capacity}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn memory_stays_within_capacity_and_all_of_it_is_used() {
        let store = MemoryStore::new(30_000);
        let mut full = 0;
        for n in 0..33_000 {
            full += u64::from(store.claim(key(n), token(1), LEASE).await.is_err());
        }
        assert_eq!((store.shards.len(), store.len(), full), (2, 30_000, 3_000));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_run_out_goes_before_room_is_needed() {
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
