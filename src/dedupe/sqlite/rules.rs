//! What each step makes of an event, without a database: the batch reads, this decides, the batch writes.

use std::time::Duration;

use super::super::{Claimed, Settled};
use crate::StoreError;
use crate::claim_token::ClaimToken;
use crate::retention::Retention;

/// What the table says of an event. Times are milliseconds since 1970 by the store's clock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct EventRow {
    pub(super) token: ClaimToken,
    pub(super) handled: bool,
    pub(super) until: i64,
}

#[derive(Clone, Copy)]
pub(super) enum Operation {
    Claim(Duration),
    Renew(Duration),
    Commit(Retention),
    Release,
}

#[derive(Clone, Copy)]
pub(super) enum OperationResult {
    Claimed(Claimed),
    Settled(Settled),
}

impl Operation {
    /// Changes the row as the step asks, and says how it went.
    pub(super) fn apply(self, row: &mut Option<EventRow>, token: ClaimToken, now: i64) -> OperationResult {
        match self {
            Operation::Claim(lease) => OperationResult::Claimed(claim(row, token, now, lease)),
            Operation::Renew(lease) => OperationResult::Settled(settle(row, token, || {
                Some(EventRow { token, handled: false, until: after(now, lease) })
            })),
            Operation::Commit(retention) => OperationResult::Settled(settle(row, token, || {
                Some(EventRow { token, handled: true, until: after(now, retention.total) })
            })),
            Operation::Release => OperationResult::Settled(settle(row, token, || None)),
        }
    }
}

fn claim(row: &mut Option<EventRow>, token: ClaimToken, now: i64, lease: Duration) -> Claimed {
    let until = after(now, lease);
    match row {
        Some(EventRow { handled: true, until, .. }) if *until > now => Claimed::AlreadyHandled,
        Some(held) if !held.handled && held.until > now && held.token != token => {
            // No lease ends later than one that begins now, unless the clock was set back since.
            held.until = held.until.min(until);
            Claimed::InFlight { retry_after: Duration::from_millis(held.until.abs_diff(now)) }
        }
        _ => {
            *row = Some(EventRow { token, handled: false, until });
            Claimed::Acquired
        }
    }
}

fn settle(row: &mut Option<EventRow>, token: ClaimToken, becomes: impl FnOnce() -> Option<EventRow>) -> Settled {
    match row {
        // Not even a run-out claim of another is taken over: it may have handled the event, too.
        Some(row) if row.token != token => return Settled::Lost,
        // Nothing undoes a commit.
        Some(EventRow { handled: true, .. }) => {}
        _ => *row = becomes(),
    }
    Settled::Settled
}

impl OperationResult {
    pub(super) fn claimed(self) -> Result<Claimed, StoreError> {
        match self {
            OperationResult::Claimed(claimed) => Ok(claimed),
            OperationResult::Settled(_) => Err(StoreError::unavailable("the SQLite store gave another step's answer")),
        }
    }

    pub(super) fn settled(self) -> Result<Settled, StoreError> {
        match self {
            OperationResult::Settled(settled) => Ok(settled),
            OperationResult::Claimed(_) => Err(StoreError::unavailable("the SQLite store gave another step's answer")),
        }
    }
}

pub(super) fn after(now: i64, time: Duration) -> i64 {
    now.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}
