//! The report of an attempt, for the application.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::delivery::Delivery;
use crate::event_key::EventKey;
use crate::inbox::entry::from_millis;
use crate::observe::inbox::{Attempt, Attempted};

/// A finished attempt of a [`Worker`](crate::Worker), for [`on_attempt`](crate::WorkerBuilder::on_attempt).
///
/// It has no body, no id and no text of the provider, except in [`delivery`](Self::delivery).
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct AttemptReport<'a> {
    /// The number of the event in its inbox.
    pub id: i64,
    /// The documented kind of the event, or `unknown`.
    pub kind: &'a str,
    /// The key of the event. `None` if it cannot be opened.
    pub event_key: Option<EventKey>,
    /// The delivery that the handler got. `None` if the handler did not run: the event is `damaged` or `crashed`.
    pub delivery: Option<&'a Delivery>,
    /// The number of the attempt, as in [`Delivery::attempt`].
    pub attempt: u32,
    /// Whether an operator has replayed the event, as in [`Delivery::is_replay`].
    pub is_replay: bool,
    /// When the event was stored, by the store's clock.
    pub stored_at: SystemTime,
    /// The time that the handler took. `None` if it did not run.
    pub took: Option<Duration>,
    /// The result.
    pub outcome: AttemptOutcome<'a>,
}

/// The result of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptOutcome<'a> {
    /// The event is done.
    Done,
    /// The event is attempted again.
    Retry {
        /// The [reason](crate::Worker#reasons).
        reason: &'a str,
        /// The time after which it is due. After an attempt that does not count it is zero, although the next one may
        /// have to wait for the application to be reachable.
        wait: Duration,
    },
    /// The event is not attempted again, unless an operator replays it.
    Dead {
        /// The [reason](crate::Worker#reasons).
        reason: &'a str,
    },
    /// The result was not recorded, because another worker has the event, or because the store did not answer. The
    /// event may be attempted again, also if the handler succeeded.
    Unrecorded,
}

impl<'a> From<Attempted<'a>> for AttemptOutcome<'a> {
    fn from(attempted: Attempted<'a>) -> Self {
        match attempted {
            Attempted::Done => AttemptOutcome::Done,
            Attempted::Retry(reason, wait) => AttemptOutcome::Retry { reason, wait },
            Attempted::Dead(reason, _) => AttemptOutcome::Dead { reason },
        }
    }
}

impl fmt::Debug for AttemptReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptReport")
            .field("id", &self.id)
            .field("attempt", &self.attempt)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// The callback of the application.
pub(super) type OnAttempt = Box<dyn Fn(&AttemptReport<'_>) + Send + Sync>;

impl<'a> AttemptReport<'a> {
    pub(super) fn new(
        attempt: Attempt<'a>,
        is_replay: bool,
        delivery: Option<&'a Delivery>,
        outcome: AttemptOutcome<'a>,
        took: Option<Duration>,
    ) -> Self {
        AttemptReport {
            id: attempt.id,
            kind: attempt.kind,
            event_key: attempt.event_key,
            delivery,
            attempt: attempt.number.max(1),
            is_replay,
            stored_at: from_millis(attempt.stored_at),
            took,
            outcome,
        }
    }
}
