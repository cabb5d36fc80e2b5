use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

use super::{Claimed, DedupeStore, EventKey, Retention, Settled, StoreFuture, Token};
use crate::StoreError;

/// Remembers events in this process, up to a given number of them.
///
/// A restart forgets everything: what was handled before it is handled again if the sender retries. Several processes
/// do not know of each other. Clones share what they remember.
///
/// At capacity the oldest handled event makes room, if its bytes would no longer be accepted anyway
/// ([`Retention::replay`]); where no event may be forgotten yet, claims fail as
/// [full](StoreError::full), and senders get 503. Leases are judged by a monotonic clock, which no one can set.
#[derive(Clone)]
pub struct MemoryStore {
    shards: Arc<[Mutex<Shard>]>,
}

impl MemoryStore {
    /// A store for `capacity` events, at least one. At a steady rate that is the rate times the retention. A large store
    /// is split into parts that fill up a few per cent before the whole does.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        // Small stores have one shard: split up, an unlucky shard would be full before its store is.
        let shards = (capacity / SMALLEST_SHARD).clamp(1, MOST_SHARDS);
        let of_each = capacity.div_ceil(shards);
        let shard = || Mutex::new(Shard { events: LruCache::unbounded_with_hasher(Digested::default()), of_each });
        MemoryStore { shards: std::iter::repeat_with(shard).take(shards).collect() }
    }

    /// How many events it holds, claimed, handled or run out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).events.len()).sum()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, key: &EventKey) -> Option<MutexGuard<'_, Shard>> {
        // The hasher takes the first bytes of the key; this is another one.
        let [.., last] = *key.as_bytes();
        let index = usize::from(last).checked_rem(self.shards.len())?;
        self.shards.get(index).map(lock)
    }

    fn with<T>(
        &self,
        key: EventKey,
        step: impl FnOnce(&mut Shard, Instant) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.shard(&key) {
            Some(mut shard) => step(&mut shard, Instant::now()),
            None => Err(StoreError::unavailable("the memory store has no shards")),
        }
    }
}

const SMALLEST_SHARD: usize = 4096;
const MOST_SHARDS: usize = 16;

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
    fn claim(&self, key: EventKey, token: Token, lease: Duration) -> StoreFuture<'_, Claimed> {
        Box::pin(async move { self.with(key, |shard, now| shard.claim(key, token, lease, now)) })
    }

    fn renew(&self, key: EventKey, token: Token, lease: Duration) -> StoreFuture<'_, Settled> {
        Box::pin(async move {
            self.with(key, |shard, now| {
                shard.settle(key, token, now, |now| State::Claimed { until: after(now, lease) })
            })
        })
    }

    fn commit(&self, key: EventKey, token: Token, retention: Retention) -> StoreFuture<'_, Settled> {
        Box::pin(async move {
            self.with(key, |shard, now| {
                shard.settle(key, token, now, |now| State::Handled {
                    replay: after(now, retention.replay),
                    until: after(now, retention.total),
                })
            })
        })
    }

    fn release(&self, key: EventKey, token: Token) -> StoreFuture<'_, Settled> {
        Box::pin(async move { self.with(key, |shard, _| Ok(shard.release(key, token))) })
    }
}

/// Events from the one claimed or settled last to the one longest ago.
struct Shard {
    events: LruCache<EventKey, Entry, Digested>,
    of_each: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    token: Token,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Claimed { until: Instant },
    Handled { replay: Instant, until: Instant },
}

impl State {
    fn has_run_out(self, now: Instant) -> bool {
        let (State::Claimed { until } | State::Handled { until, .. }) = self;
        until <= now
    }

    /// Whether it may go when room is needed.
    fn may_go(self, now: Instant) -> bool {
        match self {
            State::Claimed { until } => until <= now,
            State::Handled { replay, .. } => replay <= now,
        }
    }
}

impl Shard {
    fn claim(&mut self, key: EventKey, token: Token, lease: Duration, now: Instant) -> Result<Claimed, StoreError> {
        match self.events.peek(&key) {
            Some(Entry { state: State::Handled { until, .. }, .. }) if *until > now => return Ok(Claimed::Handled),
            Some(Entry { state: State::Claimed { until }, token: holder }) if *until > now && *holder != token => {
                return Ok(Claimed::InFlight { retry_after: until.duration_since(now) });
            }
            Some(_) => {}
            None => self.make_room(now)?,
        }
        self.events.put(key, Entry { token, state: State::Claimed { until: after(now, lease) } });
        Ok(Claimed::Won)
    }

    fn settle(
        &mut self,
        key: EventKey,
        token: Token,
        now: Instant,
        state: impl FnOnce(Instant) -> State,
    ) -> Result<Settled, StoreError> {
        match self.events.peek(&key) {
            // Not even a run-out claim of another is taken over: it may have handled the event, too.
            Some(entry) if entry.token != token => return Ok(Settled::Lost),
            Some(Entry { state: State::Handled { .. }, .. }) => return Ok(Settled::Settled),
            Some(_) => {}
            None => self.make_room(now)?,
        }
        self.events.put(key, Entry { token, state: state(now) });
        Ok(Settled::Settled)
    }

    fn release(&mut self, key: EventKey, token: Token) -> Settled {
        match self.events.peek(&key) {
            Some(entry) if entry.token != token => Settled::Lost,
            Some(Entry { state: State::Handled { .. }, .. }) | None => Settled::Settled,
            Some(_) => {
                self.events.pop(&key);
                Settled::Settled
            }
        }
    }

    /// Drops what has run out, oldest first, and if there is still no room, the oldest event that may go.
    fn make_room(&mut self, now: Instant) -> Result<(), StoreError> {
        for _ in 0..AT_ONCE {
            match self.events.peek_lru() {
                Some((_, entry)) if entry.state.has_run_out(now) => self.events.pop_lru(),
                _ => break,
            };
        }
        if self.events.len() < self.of_each {
            return Ok(());
        }
        for _ in 0..AT_ONCE.min(self.events.len()) {
            match self.events.peek_lru().map(|(key, entry)| (*key, entry.state.may_go(now))) {
                Some((key, true)) => {
                    self.events.pop(&key);
                    return Ok(());
                }
                // Out of the way, so that the next claim looks at others: retentions differ among endpoints.
                Some((key, false)) => drop(self.events.promote(&key)),
                None => break,
            }
        }
        Err(StoreError::full())
    }
}

/// How many entries one claim looks at: it has to be answered soon, and the next one goes on.
const AT_ONCE: usize = 64;

fn after(now: Instant, time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    now.checked_add(time.min(FAR)).unwrap_or(now)
}

/// Keys are digests already: their first bytes are as good as any hash, and nobody without a secret can choose them.
#[derive(Default)]
struct FirstBytes(u64);

type Digested = BuildHasherDefault<FirstBytes>;

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    /// The length of the array, which is always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);
    const HOUR: Duration = Duration::from_secs(3600);

    fn key(n: u64) -> EventKey {
        EventKey::of_id("test", "test", "", &n.to_string())
    }

    fn token(n: u8) -> Token {
        Token::from_bytes([n; 16])
    }

    fn retention() -> Retention {
        Retention::new(HOUR, 24 * HOUR)
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_two_wins_until_released() {
        let store = MemoryStore::new(10);
        assert_eq!(store.claim(key(1), token(1), LEASE).await.unwrap(), Claimed::Won);
        assert_eq!(store.claim(key(1), token(1), LEASE).await.unwrap(), Claimed::Won, "sent again");
        let busy = store.claim(key(1), token(2), LEASE).await.unwrap();
        assert_eq!(busy, Claimed::InFlight { retry_after: LEASE });
        assert_eq!(store.release(key(1), token(2)).await.unwrap(), Settled::Lost, "not theirs");
        assert_eq!(store.release(key(1), token(1)).await.unwrap(), Settled::Settled);
        assert_eq!(store.claim(key(1), token(2), LEASE).await.unwrap(), Claimed::Won);
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
        assert_eq!(store.claim(key(1), token(2), LEASE).await.unwrap(), Claimed::Won);
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
        assert_eq!(store.claim(key(1), token(2), LEASE).await.unwrap(), Claimed::Handled);
        assert_eq!(store.renew(key(1), token(1), LEASE).await.unwrap(), Settled::Settled);
        assert_eq!(store.release(key(1), token(1)).await.unwrap(), Settled::Settled);
        assert_eq!(store.claim(key(1), token(2), LEASE).await.unwrap(), Claimed::Handled, "nothing undoes a commit");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(store.claim(key(1), token(2), LEASE).await.unwrap(), Claimed::Won);
    }

    #[tokio::test(start_paused = true)]
    async fn a_vanished_claim_that_nobody_took_commits() {
        let store = MemoryStore::new(10);
        assert_eq!(store.commit(key(1), token(1), retention()).await.unwrap(), Settled::Settled);
        assert_eq!(store.claim(key(1), token(2), LEASE).await.unwrap(), Claimed::Handled);
    }

    #[tokio::test(start_paused = true)]
    async fn at_capacity_only_what_cannot_be_replayed_goes() {
        let store = MemoryStore::new(2);
        for n in [1, 2] {
            store.claim(key(n), token(1), LEASE).await.unwrap();
            store.commit(key(n), token(1), retention()).await.unwrap();
        }
        assert!(store.claim(key(3), token(1), LEASE).await.unwrap_err().is_full());
        assert_eq!(store.claim(key(1), token(1), LEASE).await.unwrap(), Claimed::Handled, "nothing went");
        tokio::time::advance(HOUR).await;
        assert_eq!(store.claim(key(3), token(1), LEASE).await.unwrap(), Claimed::Won);
        assert_eq!(store.len(), 2);
        assert_eq!(store.claim(key(2), token(1), LEASE).await.unwrap(), Claimed::Handled, "the oldest went");
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
        while store.claim(key(200), token(1), LEASE).await.is_err() {
            tries += 1;
        }
        assert!((2..=3).contains(&tries), "64 are looked at in each of {tries}");
        assert_eq!(store.claim(key(0), token(2), LEASE).await.unwrap(), Claimed::Handled);
    }

    #[tokio::test(start_paused = true)]
    async fn claims_under_way_are_never_dropped() {
        let store = MemoryStore::new(1);
        store.claim(key(1), token(1), LEASE).await.unwrap();
        assert!(store.claim(key(2), token(1), LEASE).await.unwrap_err().is_full());
        tokio::time::advance(LEASE).await;
        assert_eq!(store.claim(key(2), token(1), LEASE).await.unwrap(), Claimed::Won);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_stays_within_capacity() {
        let store = MemoryStore::new(10_000);
        let mut full = 0;
        for n in 0..30_000 {
            match store.claim(key(n), token(1), LEASE).await {
                Ok(_) => drop(store.commit(key(n), token(1), retention()).await.unwrap()),
                Err(_) => full += 1,
            }
        }
        assert!(store.len() <= 10_000 && full >= 20_000, "{} held, {full} refused", store.len());
        assert!(store.len() > 9_500, "all shards are used: {} held", store.len());
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
        assert_eq!(store.len(), 1);
    }
}
