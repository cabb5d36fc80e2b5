//! The results of the operations of an inbox.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::counts::EndpointCounts;
use crate::dedupe::inbox::rules::Status;
use crate::dedupe::inbox::store::{self, EntryRow, Operated};
use crate::event_key::EventKey;

/// An event of an inbox, without its body.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Entry {
    /// The number of the event in its inbox. Later events have greater numbers.
    pub id: i64,
    /// The name of the receiver that stored the event.
    pub endpoint: String,
    /// The name of the provider.
    pub provider: String,
    /// The documented kind of the event, or `unknown`.
    pub kind: String,
    /// The label of the secret that verified the delivery.
    pub secret: String,
    /// The status of the event.
    pub status: Status,
    /// The number of attempts that count, since the event was stored or replayed.
    pub attempts: u32,
    /// The number of replays.
    pub replays: u32,
    /// When the event was stored, by the store's clock.
    pub stored_at: SystemTime,
    /// The next attempt of a waiting event, or the end of the lease of a processing one.
    pub due: Option<SystemTime>,
    /// When the event was done, dead or discarded.
    pub ended_at: Option<SystemTime>,
    /// The reason why the last attempt did not succeed.
    pub reason: Option<String>,
    /// The length of the body in bytes.
    pub size: u64,
    /// Whether the inbox still has the body. Without it, the event cannot be replayed.
    pub has_body: bool,
    /// The key of the event, as in the log lines of its deliveries. `None` if it cannot be opened, for example because
    /// it is sealed under a key that is not on the ring.
    pub event_key: Option<EventKey>,
}

impl Entry {
    pub(super) fn new(row: EntryRow, event_key: Option<EventKey>) -> Self {
        Entry {
            id: row.id,
            endpoint: row.endpoint,
            provider: row.provider,
            kind: row.kind,
            secret: row.secret,
            status: row.status,
            attempts: row.attempts,
            replays: row.replays,
            stored_at: from_millis(row.stored_at),
            due: row.due.map(from_millis),
            ended_at: row.ended_at.map(from_millis),
            reason: row.reason,
            size: row.size,
            has_body: row.has_body,
            event_key,
        }
    }
}

/// The result of replaying an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replayed {
    /// The event is due now.
    Due,
    /// There is no event with this id.
    NotFound,
    /// A worker is handling the event now.
    Processing,
    /// The body of the event was deleted.
    BodyDeleted,
    /// The event was discarded, and its body deleted.
    Discarded,
    /// The event was stored a second time, and the other one is waiting or processing.
    StoredAgain,
}

impl From<Operated> for Replayed {
    fn from(operated: Operated) -> Self {
        match operated {
            Operated::Done => Replayed::Due,
            Operated::NotFound => Replayed::NotFound,
            Operated::Processing => Replayed::Processing,
            Operated::NoBody => Replayed::BodyDeleted,
            Operated::WrongStatus(_) => Replayed::Discarded,
            Operated::Conflict => Replayed::StoredAgain,
        }
    }
}

/// The result of discarding an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Discarded {
    /// The event will not be handled, and its body is deleted.
    Discarded,
    /// There is no event with this id.
    NotFound,
    /// A worker is handling the event now.
    Processing,
    /// The event is done or was discarded before.
    Ended,
}

impl From<Operated> for Discarded {
    fn from(operated: Operated) -> Self {
        match operated {
            Operated::Done => Discarded::Discarded,
            Operated::NotFound => Discarded::NotFound,
            Operated::Processing => Discarded::Processing,
            Operated::NoBody | Operated::WrongStatus(_) | Operated::Conflict => Discarded::Ended,
        }
    }
}

/// A [hold](crate::Inbox::hold) of an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hold {
    /// There is none: workers lease all events.
    None,
    /// Workers lease no events.
    All,
    /// Workers lease only events that were stored at or after this time.
    StoredBefore(SystemTime),
}

/// The number of events in an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// The hold of the inbox.
    pub hold: Hold,
    /// The events of each endpoint.
    pub endpoints: Vec<EndpointCounts>,
}

impl From<store::InboxCounts> for Counts {
    fn from(counts: store::InboxCounts) -> Self {
        let hold = match counts.hold {
            store::LeaseHold::None => Hold::None,
            store::LeaseHold::All => Hold::All,
            store::LeaseHold::StoredBefore(millis) => Hold::StoredBefore(from_millis(millis)),
        };
        Counts { hold, endpoints: counts.endpoints }
    }
}

/// The number of bodies and of events that were deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Purged {
    /// The number of bodies.
    pub bodies: u64,
    /// The number of events.
    pub events: u64,
}

/// The result of sealing all events under the first key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rekeyed {
    /// The number of events that are now sealed under the first key.
    pub sealed: u64,
    /// The number of events that could not be opened and were left as they are: sealed under a key that is not on the
    /// ring, in clear, written by a later version, or damaged.
    pub unreadable: u64,
    /// The ids of the first 100 of these events.
    pub unreadable_ids: Vec<i64>,
    /// The number of events that may still be sealed under another key or in clear, since another instance stored
    /// or changed them meanwhile.
    pub left: u64,
    /// The ids of the keys that the inbox no longer needs and has forgotten. A key that is still on the ring of an
    /// instance is not among them.
    pub forgotten_keys: Vec<String>,
}

/// An operation that an operator did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEntry {
    /// The number of the entry.
    pub id: i64,
    /// When it was done, by the store's clock.
    pub at: SystemTime,
    /// The account or name of the operator.
    pub actor: String,
    /// `replay`, `discard`, `pause`, `resume`, `hold`, `release`, `body`, `purge`, `rekey` or `forget`.
    pub action: String,
    /// The endpoint, the id of the event, the beginning of its key (`forget`), or the id of a key (`rekey`). Empty if
    /// the operation concerns the whole inbox.
    pub subject: String,
    /// The operator's reason.
    pub reason: String,
}

impl From<(i64, i64, store::AuditRow)> for AuditEntry {
    fn from((id, at, entry): (i64, i64, store::AuditRow)) -> Self {
        let store::AuditRow { actor, action, subject, reason } = entry;
        AuditEntry { id, at: from_millis(at), actor, action, subject, reason }
    }
}

/// Returns the time of a number of Unix milliseconds, or the epoch if the system cannot represent it.
pub(crate) fn from_millis(millis: i64) -> SystemTime {
    let distance = Duration::from_millis(millis.unsigned_abs());
    let time = if millis < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    time.unwrap_or(UNIX_EPOCH)
}

pub(super) fn to_millis(time: SystemTime) -> i64 {
    let millis = |distance: Duration| i64::try_from(distance.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => millis(after),
        Err(before) => millis(before.duration()).saturating_neg(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_converted_both_ways() {
        for millis in [0, 1, -1, 1_790_000_000_123, -62_135_596_800_000] {
            assert_eq!(to_millis(from_millis(millis)), millis);
        }
        from_millis(i64::MAX);
        from_millis(i64::MIN);
    }
}
