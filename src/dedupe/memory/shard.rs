use std::time::Duration;

use super::super::{Claimed, EventKey, Retention, Settled, Token};
use super::millis;
use super::recent::Recent;
use crate::StoreError;

/// A part of the events, from the one claimed or settled last to the one longest ago. Times are milliseconds since the
/// store began.
pub(super) struct Shard {
    events: Recent<Event>,
    forgotten: u64,
}

#[derive(Clone, Copy)]
struct Event {
    token: Token,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Claimed { until: u64 },
    Handled { replay: u64, until: u64 },
}

impl State {
    fn has_run_out(self, now: u64) -> bool {
        let (State::Claimed { until } | State::Handled { until, .. }) = self;
        until <= now
    }

    /// Whether it may go when room is needed.
    fn may_go(self, now: u64) -> bool {
        match self {
            State::Claimed { until } => until <= now,
            State::Handled { replay, .. } => replay <= now,
        }
    }
}

impl Shard {
    pub(super) fn new(most: usize) -> Self {
        Shard { events: Recent::new(most), forgotten: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// How many went before they had run out.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub(super) fn claim(&mut self, key: EventKey, token: Token, lease: u64, now: u64) -> Result<Claimed, StoreError> {
        match self.events.get(&key) {
            Some(Event { state: State::Handled { until, .. }, .. }) if *until > now => return Ok(Claimed::Handled),
            Some(Event { state: State::Claimed { until }, token: holder }) if *until > now && *holder != token => {
                return Ok(Claimed::InFlight { retry_after: Duration::from_millis(until.abs_diff(now)) });
            }
            _ => {}
        }
        self.put(key, Event { token, state: State::Claimed { until: now.saturating_add(lease) } }, now)?;
        Ok(Claimed::Won)
    }

    pub(super) fn renew(&mut self, key: EventKey, token: Token, lease: u64, now: u64) -> Result<Settled, StoreError> {
        self.settle(key, token, State::Claimed { until: now.saturating_add(lease) }, now)
    }

    pub(super) fn commit(
        &mut self,
        key: EventKey,
        token: Token,
        retention: Retention,
        now: u64,
    ) -> Result<Settled, StoreError> {
        let replay = now.saturating_add(millis(retention.replay));
        let until = now.saturating_add(millis(retention.total));
        self.settle(key, token, State::Handled { replay, until }, now)
    }

    fn settle(&mut self, key: EventKey, token: Token, state: State, now: u64) -> Result<Settled, StoreError> {
        match self.events.get(&key) {
            // Not even a run-out claim of another is taken over: it may have handled the event, too.
            Some(event) if event.token != token => return Ok(Settled::Lost),
            Some(Event { state: State::Handled { .. }, .. }) => return Ok(Settled::Settled),
            _ => {}
        }
        self.put(key, Event { token, state }, now)?;
        Ok(Settled::Settled)
    }

    pub(super) fn release(&mut self, key: EventKey, token: Token) -> Settled {
        match self.events.get(&key) {
            Some(event) if event.token != token => Settled::Lost,
            Some(Event { state: State::Handled { .. }, .. }) | None => Settled::Settled,
            Some(_) => {
                self.events.remove(&key);
                Settled::Settled
            }
        }
    }

    fn put(&mut self, key: EventKey, event: Event, now: u64) -> Result<(), StoreError> {
        if self.events.get(&key).is_none() {
            self.make_room(now);
        }
        if self.events.put(key, event) { Ok(()) } else { Err(StoreError::full()) }
    }

    /// Drops what has run out, oldest first, and if there is still no room, the oldest event that may go.
    fn make_room(&mut self, now: u64) {
        for _ in 0..AT_ONCE {
            match self.events.oldest() {
                Some((key, event)) if event.state.has_run_out(now) => self.events.remove(&key),
                _ => break,
            }
        }
        for _ in 0..AT_ONCE.min(self.events.len()) {
            let oldest = self.events.oldest().filter(|_| self.events.is_full());
            match oldest.map(|(key, event)| (key, event.state)) {
                Some((key, state)) if state.may_go(now) => {
                    self.forgotten = self.forgotten.saturating_add(u64::from(!state.has_run_out(now)));
                    self.events.remove(&key);
                }
                // Out of the way, so that the next claim looks at others: retentions differ among endpoints.
                Some((key, _)) => self.events.promote(&key),
                None => break,
            }
        }
    }
}

/// How many events one claim looks at: it has to be answered soon, and the next one goes on.
const AT_ONCE: usize = 64;
