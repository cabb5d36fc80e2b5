//! The rules of the inbox, independent of the database: each function changes the state of one row. Both databases and
//! the model check use them.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::claim_token::ClaimToken;
use crate::dedupe::Settled;

/// The status of a stored event. The numbers are those in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// It is or will be due.
    Waiting = 0,
    /// A worker has leased it.
    Processing = 1,
    /// It was handled.
    Done = 2,
    /// It was given up. An operator can replay or discard it.
    Dead = 3,
    /// An operator has discarded it.
    Discarded = 4,
}

/// The state of a row that the rules read and change. Times are Unix milliseconds of the store's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowState {
    pub(crate) status: Status,
    /// The next attempt of a waiting event, or the end of the lease of a processing one.
    pub(crate) due: i64,
    /// The holder of the current lease, or of the last one.
    pub(crate) token: Option<ClaimToken>,
    /// The number of attempts that count, the current one included.
    pub(crate) attempts: u32,
    /// The number of leases in a row that expired while the event was leased alone.
    pub(crate) crashes: u32,
    /// Whether the event is leased alone in its process.
    pub(crate) alone: bool,
    pub(crate) replays: u32,
    /// The reason why the last attempt did not succeed.
    pub(crate) reason: Option<String>,
    pub(crate) ended_at: Option<i64>,
}

#[cfg(test)]
impl RowState {
    /// Creates the state of a new event that is due at this time.
    pub(crate) fn waiting(due: i64) -> Self {
        RowState {
            status: Status::Waiting,
            due,
            token: None,
            attempts: 0,
            crashes: 0,
            alone: false,
            replays: 0,
            reason: None,
            ended_at: None,
        }
    }
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    Done,
    /// The event is due again after `wait`. With `counted: false` the attempt does not count: the worker stopped, or
    /// the application was unreachable.
    Retry {
        wait: Duration,
        reason: &'static str,
        counted: bool,
    },
    Dead {
        reason: String,
    },
}

/// The result of leasing a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseRule {
    Leased,
    /// The row is not due, or another lease holds it.
    NotDue,
    /// The lease expired without an ending. Only a worker that is alone may lease the event.
    Suspect,
    /// Too many processes have died while they handled the event alone. It is dead now.
    Crashed,
}

/// The number of expired leases, while it was leased alone, after which an event is dead.
pub(crate) const MAX_CRASHES: u32 = 5;

/// The reason of a dead event whose processes died.
pub(crate) const CRASHED: &str = "crashed";

/// Leases a row. An attempt counts when it is leased, since one that ends the process never ends otherwise.
///
/// The events that a process had leased when it died are suspects, since one of them may be the cause. Their attempt is
/// not counted. A suspect is leased alone in its process, and if that process dies, too, the event counts as its cause.
pub(crate) fn lease(row: &mut RowState, token: ClaimToken, now: i64, lease: Duration, alone: bool) -> LeaseRule {
    match row.status {
        Status::Processing if row.token == Some(token) => return LeaseRule::Leased,
        Status::Waiting | Status::Processing if row.due > now => return LeaseRule::NotDue,
        Status::Waiting => row.attempts = row.attempts.saturating_add(1),
        Status::Processing if !alone => return LeaseRule::Suspect,
        Status::Processing if row.alone => {
            row.crashes = row.crashes.saturating_add(1);
            if row.crashes >= MAX_CRASHES {
                end(row, Status::Dead, Some(CRASHED.to_owned()), now);
                return LeaseRule::Crashed;
            }
            row.attempts = row.attempts.saturating_add(1);
        }
        Status::Processing => {}
        Status::Done | Status::Dead | Status::Discarded => return LeaseRule::NotDue,
    }
    row.status = Status::Processing;
    row.token = Some(token);
    row.due = after(now, lease);
    row.alone = alone;
    LeaseRule::Leased
}

/// Extends a lease. A lease that has expired is extended, too, unless another one was acquired.
pub(crate) fn renew(row: &mut RowState, token: ClaimToken, now: i64, lease: Duration) -> Settled {
    if row.status != Status::Processing || row.token != Some(token) {
        return Settled::Lost;
    }
    row.due = after(now, lease);
    Settled::Settled
}

/// Ends an attempt. Repeating it with the same token changes nothing. An event that is done stays done, whatever its
/// handler answers afterwards: the application may have finished it in a transaction of its own.
pub(crate) fn finish(row: &mut RowState, token: ClaimToken, now: i64, ending: &Ending) -> Settled {
    if row.token != Some(token) {
        return Settled::Lost;
    }
    if row.status != Status::Processing {
        let repeated = match row.status {
            Status::Done => true,
            Status::Waiting => matches!(ending, Ending::Retry { .. }),
            Status::Dead => matches!(ending, Ending::Dead { .. }),
            Status::Processing | Status::Discarded => false,
        };
        return if repeated { Settled::Settled } else { Settled::Lost };
    }
    row.crashes = 0;
    row.alone = false;
    match ending {
        Ending::Done => end(row, Status::Done, None, now),
        Ending::Dead { reason } => end(row, Status::Dead, Some(reason.clone()), now),
        Ending::Retry { wait, reason, counted } => {
            row.status = Status::Waiting;
            row.due = after(now, *wait);
            row.reason = Some((*reason).to_owned());
            if !counted {
                row.attempts = row.attempts.saturating_sub(1);
            }
        }
    }
    Settled::Settled
}

/// Ends an attempt of a lease that was granted after this many replays, as [`finish`] does. An operator's replay resets
/// the token, so that a repeated call of the former lease can arrive late and be granted. The ending of that attempt,
/// late as well, must not end the replay, which no worker has attempted.
pub(crate) fn finish_leased(row: &mut RowState, token: ClaimToken, replays: u32, now: i64, ending: &Ending) -> Settled {
    if row.replays != replays {
        return Settled::Lost;
    }
    finish(row, token, now, ending)
}

/// Makes an event due now, with new attempts. Returns false if a worker is handling it or it was discarded.
pub(crate) fn replay(row: &mut RowState, now: i64) -> bool {
    match row.status {
        Status::Processing | Status::Discarded => return false,
        Status::Waiting => {}
        Status::Done | Status::Dead => {
            row.replays = row.replays.saturating_add(1);
            row.attempts = 0;
            row.crashes = 0;
            row.alone = false;
            row.token = None;
            row.ended_at = None;
            row.status = Status::Waiting;
        }
    }
    row.due = now;
    true
}

/// Discards an event that waits or is dead, or whose lease has expired, as that of a restored backup. Returns false for
/// any other.
pub(crate) fn discard(row: &mut RowState, now: i64) -> bool {
    match row.status {
        Status::Waiting | Status::Dead => {}
        Status::Processing if row.due <= now => {}
        Status::Processing | Status::Done | Status::Discarded => return false,
    }
    let reason = row.reason.take();
    end(row, Status::Discarded, reason, now);
    true
}

fn end(row: &mut RowState, status: Status, reason: Option<String>, now: i64) {
    row.status = status;
    row.reason = reason;
    row.ended_at = Some(now);
}

pub(crate) fn after(now: i64, time: Duration) -> i64 {
    now.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

impl Status {
    pub(crate) const ALL: [Status; 5] =
        [Status::Waiting, Status::Processing, Status::Done, Status::Dead, Status::Discarded];

    /// Returns the name used in lists, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Waiting => "waiting",
            Status::Processing => "processing",
            Status::Done => "done",
            Status::Dead => "dead",
            Status::Discarded => "discarded",
        }
    }

    pub(crate) fn number(self) -> i16 {
        self as i16
    }

    pub(crate) fn from_number(number: i64) -> Option<Self> {
        Status::ALL.into_iter().find(|status| i64::from(status.number()) == number)
    }
}
