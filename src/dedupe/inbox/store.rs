//! The operations of a store with an inbox, and their types. Only the stores of this crate implement them.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::rules::{Ending, Status};
use crate::claim_token::ClaimToken;
use crate::counts::EndpointCounts;
use crate::dedupe::{Forgotten, Settled, StoreFuture};
use crate::event_key::EventKey;
use crate::retention::Retention;

/// The tables of an inbox, in the same database as a store's records of handled events.
///
/// # Contract
/// - Each operation is one transaction, synced to disk before it is answered.
/// - Times are Unix milliseconds of the store's clock: the server's (PostgreSQL) or the machine's (SQLite).
/// - [`store_event`](InboxStore::store_event), [`lease`](InboxStore::lease), [`renew`](InboxStore::renew) and
///   [`finish`](InboxStore::finish) are idempotent by their token: if an answer is lost, the same call returns the same
///   result.
/// - The effect of each operation on a row is that of [`rules`](super::rules).
pub(crate) trait InboxStore: fmt::Debug + Send + Sync + 'static {
    /// Records the event as handled for the retention and stores its row and its body, or does nothing of that. An
    /// event is a duplicate if it is recorded as handled, or if an unfinished row has its key. A claim of an instance
    /// without an inbox is [`InFlight`](StoreResult::InFlight).
    fn store_event(&self, event: NewEvent) -> StoreFuture<'_, StoreResult>;

    /// Leases the next event that is due, unless the endpoint is paused or the inbox on hold. With `alone`, only
    /// suspects are leased: events whose lease has expired without an ending.
    fn lease(&self, request: LeaseRequest) -> StoreFuture<'_, LeaseAnswer>;

    /// Extends the lease to `lease` from now.
    fn renew(&self, id: i64, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled>;

    /// Ends a lease, unless the event was replayed since it was granted. Deletes the body of an event that is done,
    /// unless `keep_body` is set, also if the event is done already under the same token.
    fn finish(&self, lease: LeaseId, ending: Ending, keep_body: bool) -> StoreFuture<'_, Settled>;

    /// Returns the rows that a filter selects, by ascending id, or by descending id if it is so set.
    fn list(&self, filter: RowFilter) -> StoreFuture<'_, Vec<EntryRow>>;

    /// Returns the stored body of an event. `None` if there is no such event or its body was deleted. Writes the audit
    /// entry in the same transaction.
    fn body(&self, id: i64, audit: AuditRow) -> StoreFuture<'_, Option<SealedBody>>;

    /// Makes an event due now, as [`rules::replay`](super::rules::replay) says.
    fn replay(&self, id: i64, audit: AuditRow) -> StoreFuture<'_, Operated>;

    /// Discards an event and deletes its body, as [`rules::discard`](super::rules::discard) says.
    fn discard(&self, id: i64, audit: AuditRow) -> StoreFuture<'_, Operated>;

    /// Forgets that an event was handled, unless it has an unfinished row. Writes the audit entry if it removed the
    /// record.
    fn forget(&self, event: EventKey, row_key: [u8; 32], audit: AuditRow) -> StoreFuture<'_, Forgotten>;

    /// Pauses or resumes the leasing of an endpoint's events, by all instances.
    fn set_paused(&self, endpoint: String, paused: bool, audit: AuditRow) -> StoreFuture<'_, ()>;

    /// Sets which events may be leased.
    fn set_hold(&self, hold: LeaseHold, audit: AuditRow) -> StoreFuture<'_, ()>;

    /// Returns the number of rows by endpoint and status, from indexes only, and the hold.
    fn counts(&self, of: CountOf) -> StoreFuture<'_, InboxCounts>;

    /// Returns the number of waiting, processing and dead rows of every endpoint by status and kind. Reads at most
    /// `most` rows of each status and one more, from indexes only.
    fn count_kinds(&self, most: u32) -> StoreFuture<'_, KindCounts>;

    /// Returns the oldest unfinished row of each of these kinds of an endpoint, from indexes only. Kinds without one
    /// are missing.
    fn oldest_of(&self, endpoint: String, kinds: Vec<&'static str>) -> StoreFuture<'_, Vec<OldestRow>>;

    /// Deletes bodies, then rows, that an endpoint no longer has to keep, in one small batch. A row is never deleted
    /// before the record of its event as handled has expired. Waiting and processing events are never deleted.
    fn purge(&self, endpoint: String, keep: Keep) -> StoreFuture<'_, PurgedRows>;

    /// Removes what deleted bodies have left in the files, if the store has files of its own: truncates the write-ahead
    /// log of SQLite. Does nothing for a server.
    fn truncate_log(&self) -> StoreFuture<'_, ()>;

    /// Returns the records that identify the keys of the inbox.
    fn key_records(&self) -> StoreFuture<'_, Vec<KeyRecord>>;

    /// Adds the record of a key, unless there is one with its id.
    fn add_key_record(&self, record: KeyRecord) -> StoreFuture<'_, ()>;

    /// Deletes the record of a key, if no row or body is sealed under it.
    fn remove_key_record(&self, key_id: [u8; 4]) -> StoreFuture<'_, bool>;

    /// Returns up to `limit` rows with an id greater than `after` that are sealed under another key than this one or
    /// are in clear, with their bodies if they still have them.
    fn sealed_otherwise(&self, key_id: [u8; 4], after: i64, limit: u32) -> StoreFuture<'_, Vec<SealedBody>>;

    /// Replaces what is sealed of a row, if it has not changed. Returns whether it was replaced.
    fn reseal(&self, before: SealedBody, after: SealedBody) -> StoreFuture<'_, bool>;

    /// Writes an audit entry of an operation that changes nothing else.
    fn write_audit(&self, audit: AuditRow) -> StoreFuture<'_, ()>;

    /// Returns up to `limit` audit entries with an id greater than `after`, with their ids.
    fn audit_entries(&self, after: i64, limit: u32) -> StoreFuture<'_, Vec<(i64, i64, AuditRow)>>;

    /// Returns the last `limit` audit entries of one event, by ascending id, by an index: those whose subject is its id
    /// and whose action is `replay`, `discard` or `body`.
    fn audit_of(&self, id: i64, limit: u32) -> StoreFuture<'_, Vec<(i64, i64, AuditRow)>>;
}

/// An event to store.
#[derive(Clone)]
pub(crate) struct NewEvent {
    /// The key under which the event is recorded as handled.
    pub(crate) event_key: EventKey,
    /// The key of the row: a keyed digest of the event key if the inbox is sealed, else the event key.
    pub(crate) row_key: [u8; 32],
    /// Identifies this attempt to store the event.
    pub(crate) token: ClaimToken,
    pub(crate) retention: Retention,
    pub(crate) endpoint: String,
    pub(crate) provider: String,
    /// A documented kind, or `unknown`.
    pub(crate) kind: String,
    /// The label of the secret that verified the delivery.
    pub(crate) secret: String,
    /// The length of the body in bytes, before it is sealed.
    pub(crate) size: u64,
    /// The sealed event key.
    pub(crate) sealed_key: Bytes,
    /// The sealed [record](super::record::StoredRecord).
    pub(crate) sealed: Bytes,
}

/// The result of storing an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreResult {
    /// The event is stored, by this call or an earlier one with the same token.
    Stored { id: i64 },
    /// The event was stored or handled before.
    Duplicate,
    /// An instance without an inbox is handling the event.
    InFlight { retry_after: Duration },
}

#[derive(Debug, Clone)]
pub(crate) struct LeaseRequest {
    pub(crate) endpoint: String,
    pub(crate) token: ClaimToken,
    pub(crate) lease: Duration,
    /// Whether this process handles no other event of an inbox while it has this lease.
    pub(crate) alone: bool,
}

/// The answer to a request for a lease.
#[derive(Debug, Default)]
pub(crate) struct LeaseAnswer {
    pub(crate) leased: Option<Box<Leased>>,
    /// An event that was dead-lettered instead, because processes died while they handled it alone.
    pub(crate) crashed: Option<EntryRow>,
    /// Whether there are suspects: events whose lease has expired without an ending.
    pub(crate) suspects: bool,
    /// The time until the next event is due, if nothing was leased and one is waiting. `None` also while the endpoint
    /// is paused or the inbox on hold.
    pub(crate) next_due: Option<Duration>,
}

/// A leased event.
#[derive(Clone)]
pub(crate) struct Leased {
    pub(crate) token: ClaimToken,
    pub(crate) attempts: u32,
    pub(crate) replays: u32,
    pub(crate) stored_at: i64,
    pub(crate) provider: String,
    pub(crate) kind: String,
    pub(crate) body: SealedBody,
}

impl Leased {
    pub(crate) fn lease_id(&self) -> LeaseId {
        LeaseId { row: self.body.id, token: self.token, replays: self.replays }
    }
}

/// The lease of a row, and the number of replays of its event when the lease was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseId {
    pub(crate) row: i64,
    pub(crate) token: ClaimToken,
    pub(crate) replays: u32,
}

#[cfg(test)]
impl LeaseId {
    /// Returns the lease of an event that was never replayed.
    pub(crate) fn first(row: i64, token: ClaimToken) -> Self {
        LeaseId { row, token, replays: 0 }
    }
}

impl fmt::Debug for Leased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leased").field("id", &self.body.id).field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

/// The sealed parts of a row, and what they are bound to.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SealedBody {
    pub(crate) id: i64,
    pub(crate) endpoint: String,
    pub(crate) row_key: [u8; 32],
    /// The token with which the event was stored.
    pub(crate) stored_by: ClaimToken,
    pub(crate) sealed_key: Bytes,
    /// `None` if the body was deleted.
    pub(crate) sealed: Option<Bytes>,
}

impl fmt::Debug for SealedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedBody").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The rows that an operation concerns. Every set field restricts them further.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowFilter {
    pub(crate) id: Option<i64>,
    pub(crate) endpoint: Option<String>,
    pub(crate) status: Option<Status>,
    pub(crate) kind: Option<String>,
    pub(crate) reason: Option<String>,
    /// Unix milliseconds.
    pub(crate) stored_since: Option<i64>,
    /// Only rows with a greater id, or with a smaller one if the newest are first.
    pub(crate) after: Option<i64>,
    pub(crate) newest_first: bool,
    pub(crate) limit: u32,
}

/// A row without its body.
#[derive(Debug, Clone)]
pub(crate) struct EntryRow {
    pub(crate) id: i64,
    pub(crate) endpoint: String,
    pub(crate) provider: String,
    pub(crate) kind: String,
    pub(crate) secret: String,
    pub(crate) status: Status,
    pub(crate) attempts: u32,
    pub(crate) replays: u32,
    pub(crate) stored_at: i64,
    /// The next attempt, or the end of the lease; `None` once the event has ended.
    pub(crate) due: Option<i64>,
    pub(crate) ended_at: Option<i64>,
    /// The reason why the last attempt did not succeed.
    pub(crate) reason: Option<String>,
    pub(crate) size: u64,
    pub(crate) has_body: bool,
    pub(crate) row_key: [u8; 32],
    pub(crate) stored_by: ClaimToken,
    pub(crate) sealed_key: Bytes,
}

/// The result of an operator's operation on one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operated {
    Done,
    NotFound,
    /// A worker is handling the event.
    Processing,
    /// The event's body was deleted.
    NoBody,
    /// The event has a status that the operation does not apply to.
    WrongStatus(Status),
    /// Another row of the same event is unfinished.
    Conflict,
}

/// Which events may be leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseHold {
    /// All.
    None,
    /// None.
    All,
    /// Those stored at or after this time.
    StoredBefore(i64),
}

/// The rows to count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CountOf {
    /// The waiting, processing and dead rows of every endpoint.
    All,
    /// Those of one endpoint.
    Endpoint(String),
    /// The waiting and processing rows of one endpoint, whose bytes `max_inbox_bytes` limits.
    Unfinished(String),
}

impl CountOf {
    /// Returns the only endpoint whose rows are counted.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "PostgreSQL has a statement for each variant"))]
    pub(crate) fn endpoint(&self) -> Option<&str> {
        match self {
            CountOf::All => None,
            CountOf::Endpoint(endpoint) | CountOf::Unfinished(endpoint) => Some(endpoint),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InboxCounts {
    pub(crate) hold: LeaseHold,
    pub(crate) endpoints: Vec<EndpointCounts>,
}

/// The number of waiting, processing or dead events of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindCount {
    /// The name of the endpoint.
    pub endpoint: String,
    /// Their status: waiting, processing or dead.
    pub status: Status,
    /// The documented kind, or `unknown`.
    pub kind: String,
    /// Their number.
    pub count: u64,
}

/// The number of waiting, processing and dead events by endpoint, status and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindCounts {
    /// The numbers, in the order of endpoint, status and kind. Kinds without an event are missing.
    pub kinds: Vec<KindCount>,
    /// Whether all events were counted. If not, there are more events of a status than are counted, and some numbers
    /// are too small or missing.
    pub is_complete: bool,
}

impl KindCounts {
    /// Collects the counts of the statuses, each of at most `most` rows and one more.
    pub(crate) fn of(mut kinds: Vec<KindCount>, most: u32) -> Self {
        let all = |status| {
            let counts = kinds.iter().filter(|kind| kind.status == status).map(|kind| kind.count);
            counts.fold(0, u64::saturating_add)
        };
        let is_complete = Status::ALL.into_iter().all(|status| all(status) <= u64::from(most));
        kinds.sort_by(|one, other| {
            let key = |kind: &KindCount| kind.status.number();
            (&one.endpoint, key(one), &one.kind).cmp(&(&other.endpoint, key(other), &other.kind))
        });
        KindCounts { kinds, is_complete }
    }
}

/// The oldest unfinished row of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OldestRow {
    pub(crate) kind: &'static str,
    pub(crate) id: i64,
    pub(crate) age: Duration,
}

/// The time for which an endpoint keeps ended events. By default, dead events are kept forever, and others as long as
/// the record by which their duplicates are recognized.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// The time for which the bodies of done events are kept. An event that has its body can be replayed.
    pub done: Duration,
    /// The time for which dead events are kept, with their bodies; `None`: forever.
    pub dead: Option<Duration>,
    /// The time for which done and discarded events without a body are kept.
    pub rows: Duration,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PurgedRows {
    pub(crate) bodies: u64,
    pub(crate) rows: u64,
    /// Whether there may be more.
    pub(crate) more: bool,
}

/// Identifies a key of the ring: contains the key of the inbox's digests, sealed under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRecord {
    pub(crate) key_id: [u8; 4],
    pub(crate) sealed: Bytes,
}

/// An audit entry: an operation, and the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditRow {
    /// The account or name of the operator.
    pub(crate) actor: String,
    /// `replay`, `discard`, `pause`, `resume`, `hold`, `release`, `body`, `purge`, `rekey` or `forget`.
    pub(crate) action: String,
    /// The endpoint, the id of the event, the beginning of its key (`forget`), or the id of a key (`rekey`). Empty if
    /// the operation concerns the whole inbox.
    pub(crate) subject: String,
    /// The operator's reason.
    pub(crate) reason: String,
}
