//! The rules of the operations, independent of the database: the writer reads a batch of events, applies these rules
//! and writes the changes.

use std::time::Duration;

use super::super::{Claimed, DeliveryRecord, Forgotten, Settled};
use crate::StoreError;
use crate::claim_token::ClaimToken;
use crate::retention::Retention;

/// The row of an event. Times are Unix milliseconds of the store's clock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct EventRow {
    pub(super) token: ClaimToken,
    pub(super) handled: bool,
    pub(super) until: i64,
}

/// The result of a step of the inbox, of the type that its caller expects.
#[cfg(feature = "inbox")]
pub(super) type InboxAnswer = Box<dyn std::any::Any + Send>;

#[derive(Clone, Copy)]
pub(super) enum Operation {
    Claim(Duration),
    Renew(Duration),
    Commit(Retention),
    Release,
}

/// An operation on the record of a body.
#[derive(Clone, Copy)]
pub(super) enum BodyOperation {
    Record(Duration, u64),
    Failure,
}

pub(super) enum OperationResult {
    Claimed(Claimed),
    Settled(Settled),
    Forgotten(Forgotten),
    Recorded(DeliveryRecord),
    Failed,
    #[cfg(feature = "inbox")]
    Inbox(InboxAnswer),
}

impl Operation {
    /// Applies the operation to the row and returns its result.
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

/// Forgets that an event was handled. An expired claim stays: it fences the holder of an earlier one.
pub(super) fn forget(row: &mut Option<EventRow>, now: i64) -> Forgotten {
    match row {
        Some(EventRow { handled: true, until, .. }) => {
            let was_handled = *until > now;
            *row = None;
            if was_handled { Forgotten::Removed } else { Forgotten::NotFound }
        }
        Some(EventRow { handled: false, until, .. }) if *until > now => Forgotten::Claimed,
        _ => Forgotten::NotFound,
    }
}

fn claim(row: &mut Option<EventRow>, token: ClaimToken, now: i64, lease: Duration) -> Claimed {
    let until = after(now, lease);
    match row {
        Some(EventRow { handled: true, until, .. }) if *until > now => Claimed::AlreadyHandled,
        Some(held) if !held.handled && held.until > now && held.token != token => {
            // A lease that ends later than a new one would was granted before the clock was set back.
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
        // An expired claim of another token is not taken over: its holder may have handled the event, too.
        Some(row) if row.token != token => return Settled::Lost,
        // A commit is final.
        Some(EventRow { handled: true, .. }) => {}
        _ => *row = becomes(),
    }
    Settled::Settled
}

impl OperationResult {
    pub(super) fn claimed(self) -> Result<Claimed, StoreError> {
        match self {
            OperationResult::Claimed(claimed) => Ok(claimed),
            _ => Err(wrong_type()),
        }
    }

    pub(super) fn settled(self) -> Result<Settled, StoreError> {
        match self {
            OperationResult::Settled(settled) => Ok(settled),
            _ => Err(wrong_type()),
        }
    }

    pub(super) fn forgotten(self) -> Result<Forgotten, StoreError> {
        match self {
            OperationResult::Forgotten(forgotten) => Ok(forgotten),
            _ => Err(wrong_type()),
        }
    }

    pub(super) fn recorded(self) -> Result<DeliveryRecord, StoreError> {
        match self {
            OperationResult::Recorded(record) => Ok(record),
            _ => Err(wrong_type()),
        }
    }

    #[cfg(feature = "inbox")]
    pub(super) fn of_inbox<T: 'static>(self) -> Result<T, StoreError> {
        match self {
            OperationResult::Inbox(answer) => answer.downcast().map(|answer| *answer).map_err(|_| wrong_type()),
            _ => Err(wrong_type()),
        }
    }
}

fn wrong_type() -> StoreError {
    StoreError::unavailable("SQLite store: wrong type of result")
}

pub(super) fn after(now: i64, time: Duration) -> i64 {
    now.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_forgotten_until_its_record_or_claim_expires() {
        let token = ClaimToken::from_bytes([1; 16]);
        for (handled, now, expected) in [
            (true, 9, Forgotten::Removed),
            (true, 10, Forgotten::NotFound),
            (false, 9, Forgotten::Claimed),
            (false, 10, Forgotten::NotFound),
        ] {
            let mut row = Some(EventRow { token, handled, until: 10 });
            assert_eq!(forget(&mut row, now), expected, "{handled} at {now}");
            assert_eq!(row.is_some(), !handled, "a claim stays");
        }
    }
}
