//! The rules of claiming, kept in a ledger beside a store: every answer is entered, and one that breaks a rule
//! panics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use medhook::{ClaimToken, Claimed, EventKey, Retention, Settled};
use tokio::time::Instant;

/// The operations that a store was called for, and their results.
#[derive(Debug, Default)]
pub struct Ledger {
    events: BTreeMap<EventKey, Event>,
    late: u32,
}

#[derive(Debug, Default)]
struct Event {
    held: Option<(ClaimToken, Instant)>,
    /// The commit and its retention. Kept until the next claim is acquired: its token can neither renew nor release
    /// the event, even after the retention.
    handled: Option<(ClaimToken, Instant)>,
    won: Vec<ClaimToken>,
    lapsed: Vec<ClaimToken>,
    /// The tokens whose claims were released, or lost when they were committed.
    ended: BTreeSet<[u8; 16]>,
}

impl Event {
    fn held(&self, now: Instant) -> Option<(ClaimToken, Instant)> {
        self.held.filter(|(_, until)| *until > now)
    }

    fn handled(&self, now: Instant) -> Option<ClaimToken> {
        self.handled.filter(|(_, until)| *until > now).map(|(token, _)| token)
    }

    fn is_free_or_own(&self, token: ClaimToken, now: Instant) -> bool {
        let has_other = |other: ClaimToken| other != token;
        !self.held(now).is_some_and(|(holder, _)| has_other(holder)) && !self.handled(now).is_some_and(has_other)
    }
}

impl Ledger {
    /// Enters a claim and its answer.
    pub fn claim(&mut self, key: EventKey, token: ClaimToken, lease: Duration, answer: Claimed) {
        let now = Instant::now();
        let event = self.events.entry(key).or_default();
        let ended = event.ended.contains(token.as_bytes());
        self.late += u32::from(ended);
        match answer {
            Claimed::Acquired => {
                assert!(!ended, "a claim that has ended is never acquired by a late packet");
                assert_eq!(event.handled(now), None, "a handled event is never won again while it is remembered");
                if let Some((holder, _)) = event.held(now) {
                    assert_eq!(holder, token, "an event is never won while another's lease holds");
                }
                if let Some((holder, _)) = event.held.filter(|(holder, _)| *holder != token) {
                    event.lapsed.push(holder);
                }
                if !event.won.contains(&token) {
                    event.won.push(token);
                }
                event.held = Some((token, now + lease));
                event.handled = None;
            }
            Claimed::AlreadyHandled => assert!(event.handled(now).is_some(), "only what was handled is said to be"),
            // Its caller no longer waits.
            Claimed::InFlight { .. } if ended => {}
            Claimed::InFlight { retry_after } => {
                let (holder, until) = event.held(now).expect("only what another holds is in flight");
                assert_ne!(holder, token, "a holder does not wait for its own claim");
                assert_eq!(retry_after, until - now, "the wait is the rest of the lease");
            }
        }
    }

    /// Enters a renewal and its answer.
    pub fn renew(&mut self, key: EventKey, token: ClaimToken, lease: Duration, answer: Settled) {
        let now = Instant::now();
        let event = self.settled(key, token, answer, now);
        let ended = event.ended.contains(token.as_bytes());
        if answer == Settled::Settled && event.handled.is_none() {
            assert!(!ended, "a claim that has ended is never renewed by a late packet");
            event.held = Some((token, now + lease));
        }
        self.late += u32::from(ended);
    }

    /// Enters a commit and its answer.
    pub fn commit(&mut self, key: EventKey, token: ClaimToken, retention: Retention, answer: Settled) {
        let now = Instant::now();
        let event = self.settled(key, token, answer, now);
        if answer == Settled::Settled && event.handled.is_none() {
            event.held = None;
            event.handled = Some((token, now + retention.total));
        }
        if answer == Settled::Lost {
            event.ended.insert(*token.as_bytes());
        }
    }

    /// Enters a release and its answer.
    pub fn release(&mut self, key: EventKey, token: ClaimToken, answer: Settled) {
        let now = Instant::now();
        let event = self.settled(key, token, answer, now);
        if answer == Settled::Settled && event.handled.is_none() {
            event.held = None;
        }
        event.ended.insert(*token.as_bytes());
    }

    /// Returns how many claims and renewals came after the end of their claim.
    #[must_use]
    pub fn late(&self) -> u32 {
        self.late
    }

    /// Returns the tokens that acquired an event and lost it to another because their lease expired.
    #[must_use]
    pub fn lapsed(&self, key: EventKey) -> BTreeSet<[u8; 16]> {
        let event = self.events.get(&key);
        event.into_iter().flat_map(|event| &event.lapsed).map(|token| *token.as_bytes()).collect()
    }

    /// Returns whether an event is remembered as handled.
    #[must_use]
    pub fn is_handled(&self, key: EventKey) -> bool {
        self.events.get(&key).is_some_and(|event| event.handled(Instant::now()).is_some())
    }

    fn settled(&mut self, key: EventKey, token: ClaimToken, answer: Settled, now: Instant) -> &mut Event {
        let event = self.events.entry(key).or_default();
        match answer {
            Settled::Settled => {
                assert!(event.is_free_or_own(token, now), "a late holder never ends its successor's claim");
            }
            Settled::Lost => {
                let by_another = event.ended.contains(token.as_bytes())
                    || event.won.iter().any(|winner| *winner != token)
                    || event.handled.is_some_and(|(by, _)| by != token)
                    || event.held.is_some_and(|(by, _)| by != token);
                assert!(by_another, "a claim is only ever lost to another");
            }
        }
        event
    }
}
