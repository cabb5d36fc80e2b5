use std::time::Duration;

use lru::LruCache;

use super::super::{Claimed, Settled};
use super::bodies::BodyRecords;
use super::short_key::{FirstBytesState, ShortKey};
use crate::StoreError;
use crate::claim_token::ClaimToken;
use crate::retention::Retention;

/// A shard of the events, ordered from the most to the least recently claimed or settled, also in vain. Times are
/// milliseconds since the store was created.
pub(super) struct Shard {
    events: LruCache<ShortKey, MemoryEntry, FirstBytesState>,
    capacity: usize,
    forgotten: u64,
    /// The records of deliveries whose event can recur.
    pub(super) bodies: BodyRecords,
}

#[derive(Clone, Copy)]
struct MemoryEntry {
    token: ClaimToken,
    state: EntryState,
}

/// The state of an event and when it expires, packed in eight bytes because there may be millions of them.
#[derive(Clone, Copy)]
struct EntryState(u64);

impl EntryState {
    fn claimed(until: u64) -> Self {
        EntryState(until.min(LATEST).wrapping_shl(UNTIL_FROM))
    }

    /// Creates the state of a handled event that expires at `until` and must not be forgotten before `replay`.
    fn handled(replay: u64, until: u64) -> Self {
        let EntryState(claimed) = EntryState::claimed(until);
        let early = (until.saturating_sub(replay) / MINUTE).min(EARLY);
        EntryState(claimed | HANDLED | early)
    }

    fn is_handled(self) -> bool {
        self.0 & HANDLED != 0
    }

    fn until(self) -> u64 {
        self.0.wrapping_shr(UNTIL_FROM)
    }

    fn has_expired(self, now: u64) -> bool {
        self.until() <= now
    }

    /// Returns whether the event may be forgotten to make room.
    fn may_be_forgotten(self, now: u64) -> bool {
        let early = (self.0 & EARLY) * MINUTE;
        self.until().saturating_sub(early) <= now
    }
}

// The bits of `EntryState`, from the lowest: how many whole minutes before its expiry the event may be forgotten,
// whether it is handled, and when it expires.
const EARLY: u64 = 0xffff;
const HANDLED: u64 = 0x1_0000;
const UNTIL_FROM: u32 = 17;
/// About 4,500 years.
const LATEST: u64 = u64::MAX >> UNTIL_FROM;
const MINUTE: u64 = 60_000;

impl Shard {
    pub(super) fn new(capacity: usize) -> Self {
        Shard {
            events: LruCache::unbounded_with_hasher(FirstBytesState::default()),
            capacity,
            forgotten: 0,
            bodies: BodyRecords::new(capacity),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Returns the number of events, and of records of deliveries, that were forgotten before they expired.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten.saturating_add(self.bodies.forgotten)
    }

    pub(super) fn claim(
        &mut self,
        key: ShortKey,
        token: ClaimToken,
        lease: u64,
        now: u64,
    ) -> Result<Claimed, StoreError> {
        let claimed = MemoryEntry { token, state: EntryState::claimed(now.saturating_add(lease)) };
        match self.events.peek(&key) {
            Some(event) if event.state.has_expired(now) => self.replace(key, claimed),
            Some(event) if event.state.is_handled() => return Ok(Claimed::AlreadyHandled),
            Some(event) if event.token != token => {
                let retry_after = Duration::from_millis(event.state.until().abs_diff(now));
                return Ok(Claimed::InFlight { retry_after });
            }
            Some(_) => self.replace(key, claimed),
            None => self.add(key, claimed, now)?,
        }
        Ok(Claimed::Acquired)
    }

    pub(super) fn renew(
        &mut self,
        key: ShortKey,
        token: ClaimToken,
        lease: u64,
        now: u64,
    ) -> Result<Settled, StoreError> {
        self.settle(key, token, EntryState::claimed(now.saturating_add(lease)), now)
    }

    pub(super) fn commit(
        &mut self,
        key: ShortKey,
        token: ClaimToken,
        retention: Retention,
        now: u64,
    ) -> Result<Settled, StoreError> {
        let replay = now.saturating_add(millis(retention.replay));
        let until = now.saturating_add(millis(retention.total));
        self.settle(key, token, EntryState::handled(replay, until), now)
    }

    fn settle(&mut self, key: ShortKey, token: ClaimToken, state: EntryState, now: u64) -> Result<Settled, StoreError> {
        match self.events.get_mut(&key) {
            // An expired claim of another token is not taken over: its holder may have handled the event, too.
            Some(event) if event.token != token => return Ok(Settled::Lost),
            Some(event) if event.state.is_handled() => {}
            Some(event) => event.state = state,
            None => self.add(key, MemoryEntry { token, state }, now)?,
        }
        Ok(Settled::Settled)
    }

    pub(super) fn release(&mut self, key: ShortKey, token: ClaimToken) -> Settled {
        match self.events.peek(&key) {
            Some(event) if event.token != token => return Settled::Lost,
            Some(event) if !event.state.is_handled() => drop(self.events.pop(&key)),
            _ => {}
        }
        Settled::Settled
    }

    /// Replaces the entry of a key that is present.
    fn replace(&mut self, key: ShortKey, event: MemoryEntry) {
        self.events.put(key, event);
    }

    /// Adds the entry of a key that is absent.
    fn add(&mut self, key: ShortKey, event: MemoryEntry, now: u64) -> Result<(), StoreError> {
        self.make_room(now)?;
        self.events.put(key, event);
        Ok(())
    }

    /// Purges expired events from the oldest on. If the shard is still full, forgets the oldest event that may be
    /// forgotten.
    fn make_room(&mut self, now: u64) -> Result<(), StoreError> {
        for _ in 0..AT_ONCE {
            match self.events.peek_lru() {
                Some((_, event)) if event.state.has_expired(now) => self.events.pop_lru(),
                _ => break,
            };
        }
        if self.events.len() < self.capacity {
            return Ok(());
        }
        for _ in 0..AT_ONCE.min(self.events.len()) {
            match self.events.peek_lru().map(|(key, event)| (*key, event.state)) {
                Some((key, state)) if state.may_be_forgotten(now) => {
                    self.forgotten += u64::from(!state.has_expired(now));
                    self.events.pop(&key);
                    return Ok(());
                }
                // Promoted, so that the next claim examines other events: retentions differ between endpoints.
                Some((key, _)) => drop(self.events.promote(&key)),
                None => break,
            }
        }
        Err(StoreError::full())
    }
}

/// The number of events that one claim examines. This bounds its time; the next claim continues with other events.
const AT_ONCE: usize = 64;

pub(super) fn millis(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000).saturating_add(time.subsec_millis().into())
}
