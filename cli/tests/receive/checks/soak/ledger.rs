//! The fate of each event: whether it was accepted, and how often the application recorded it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use super::super::application::{Call, Recorded};

/// The fate of an event.
#[derive(Debug, Clone, Copy, Default)]
struct Fate {
    accepted: bool,
    /// Whether the application recorded it.
    recorded: bool,
    /// Whether the application answered that it does not want it.
    given_up: bool,
    /// A delivery that must be rejected: forged, stale or torn.
    bad: bool,
    last_call: Option<Instant>,
    /// The `webhook-id` of its calls, hashed.
    id: Option<u64>,
}

/// Fates by the bodies of the events, which are unique. Takes some 100 bytes for each event.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    fates: HashMap<u64, Fate>,
    /// Times in which an event may be called for again: a receiver was killed, or its store or application was away.
    disturbances: Vec<(Instant, Instant)>,
    /// Calls after the event was recorded, with a disturbance or a lost answer before them.
    pub(super) again: usize,
    pub(super) mistakes: Vec<String>,
}

/// The result of a run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fates {
    pub(super) events: usize,
    pub(super) accepted: usize,
    pub(super) recorded: usize,
    pub(super) given_up: usize,
    pub(super) bad: usize,
    /// Accepted events that were neither recorded nor given up.
    pub(super) lost: usize,
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Ledger {
    pub(super) fn sent(&mut self, body: &[u8], is_accepted: bool) {
        self.fates.entry(hash(body)).or_default().accepted |= is_accepted;
    }

    /// Enters a delivery that the application must never get.
    pub(super) fn sent_badly(&mut self, body: &[u8]) {
        self.fates.entry(hash(body)).or_default().bad = true;
    }

    pub(super) fn disturbed(&mut self, from: Instant) {
        self.disturbances.push((from, Instant::now()));
    }

    /// Enters the calls of an event. `loses_the_answer` and `gives_up` return whether the application did so.
    pub(super) fn called(
        &mut self,
        event: &Recorded,
        loses_the_answer: impl Fn(&Call) -> bool,
        gives_up: impl Fn(&Call) -> bool,
    ) {
        let fate = self.fates.entry(hash(&event.body)).or_default();
        let mut last: Option<&Call> = None;
        for call in &event.calls {
            let id = hash(&call.id);
            if *fate.id.get_or_insert(id) != id {
                self.mistakes.push(format!("an event has two ids: {}", call.id));
            }
            // An operator may replay an event while it is dead, so a replay is no repetition.
            if fate.recorded && !call.is_replay {
                let since = fate.last_call.unwrap_or(call.at);
                let disturbed = self.disturbances.iter().any(|(from, to)| *from <= call.at && since <= *to);
                if disturbed || last.is_some_and(&loses_the_answer) {
                    self.again += 1;
                } else {
                    let after = call.at - since;
                    self.mistakes.push(format!("recorded, and called {after:?} later without a cause: {}", call.id));
                }
            }
            fate.given_up |= gives_up(call);
            fate.recorded |= records(event, call);
            fate.last_call = Some(call.at);
            last = Some(call);
        }
        if fate.bad {
            self.mistakes.push("a forged, stale or torn delivery reached the application".to_owned());
        }
    }

    pub(super) fn fates(&self) -> Fates {
        let count = |is: fn(&Fate) -> bool| self.fates.values().filter(|fate| is(fate)).count();
        Fates {
            events: self.fates.len(),
            accepted: count(|fate| fate.accepted),
            recorded: count(|fate| fate.recorded),
            given_up: count(|fate| fate.given_up),
            bad: count(|fate| fate.bad),
            lost: count(|fate| fate.accepted && !fate.recorded && !fate.given_up),
        }
    }
}

/// Returns whether the event was recorded by this call: it was recorded before the next one, if there is one.
fn records(event: &Recorded, call: &Call) -> bool {
    let next = event.calls.iter().find(|next| next.before > call.before);
    event.at.is_some_and(|at| next.is_none_or(|next| at <= next.at))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use medhook::Bytes;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn event(began: Instant, seconds: &[u32], recorded: Option<u32>) -> Recorded {
        let calls = seconds.iter().enumerate().map(|(before, second)| Call {
            id: "one".to_owned(),
            before,
            attempt: Some(1),
            is_replay: false,
            at: began + SECOND * *second,
        });
        let at = recorded.map(|second| began + SECOND * second);
        Recorded { body: Bytes::from_static(b"body"), calls: calls.collect(), at, again: 0 }
    }

    fn enter(ledger: &mut Ledger, event: &Recorded) {
        ledger.called(event, |_| false, |_| false);
    }

    #[test]
    fn an_event_that_is_called_again_needs_a_cause() {
        let began = Instant::now();
        let mut ledger = Ledger::default();
        enter(&mut ledger, &event(began, &[0, 9], Some(1)));
        assert_eq!((ledger.again, ledger.mistakes.len()), (0, 1), "{ledger:?}");
        // The first outage is between the calls, and the second one after them.
        for (from, to, mistakes) in [(5, 6, 0), (20, 21, 1)] {
            let mut ledger = Ledger::default();
            ledger.disturbances.push((began + SECOND * from, began + SECOND * to));
            enter(&mut ledger, &event(began, &[0, 9], Some(1)));
            assert_eq!((ledger.again, ledger.mistakes.len()), (1 - mistakes, mistakes), "{ledger:?}");
        }
        let mut ledger = Ledger::default();
        ledger.called(&event(began, &[0, 9], Some(1)), |call| call.before == 0, |_| false);
        assert_eq!((ledger.again, ledger.mistakes.len()), (1, 0), "{ledger:?}");
        // Failed calls before it was recorded are no repetitions.
        let mut ledger = Ledger::default();
        enter(&mut ledger, &event(began, &[0, 3, 9], Some(10)));
        assert_eq!((ledger.again, ledger.mistakes.len()), (0, 0), "{ledger:?}");
        // The same event is called for again, in calls that are entered later.
        enter(&mut ledger, &event(began, &[30], Some(31)));
        assert_eq!((ledger.again, ledger.mistakes.len()), (0, 1), "{ledger:?}");
    }

    #[test]
    fn lost_and_bad_events_are_found() {
        let began = Instant::now();
        let mut ledger = Ledger::default();
        ledger.sent(b"body", true);
        assert_eq!(ledger.fates().lost, 1);
        enter(&mut ledger, &event(began, &[0], None));
        assert_eq!(ledger.fates().lost, 1);
        enter(&mut ledger, &event(began, &[1], Some(1)));
        assert_eq!((ledger.fates().lost, ledger.fates().recorded, ledger.mistakes.len()), (0, 1, 0));
        ledger.sent_badly(b"body");
        enter(&mut ledger, &event(began, &[], None));
        assert_eq!(ledger.mistakes.len(), 1);
        let mut ledger = Ledger::default();
        ledger.sent(b"body", true);
        ledger.called(&event(began, &[0], None), |_| false, |_| true);
        assert_eq!((ledger.fates().lost, ledger.fates().given_up), (0, 1));
        // An event that was not answered 2xx may be lost.
        ledger.sent(b"another", false);
        assert_eq!(ledger.fates().lost, 0);
    }
}
