//! A double of [`InboxStore`] in memory, for tests: applies the [rules](crate::dedupe::inbox::rules), counts calls, and
//! fails on demand. Its clock is tokio's, so that paused time works, and can be set.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::handle::Inbox;
use super::sealing::Bodies;
use crate::claim_token::ClaimToken;
use crate::counts::EndpointCounts;
use crate::dedupe::inbox::rules::{self, Ending, LeaseRule, RowState, Status};
use crate::dedupe::inbox::store::{
    AuditRow, CountOf, EntryRow, InboxCounts, InboxStore, Keep, KeyRecord, KindCount, KindCounts, LeaseAnswer,
    LeaseHold, LeaseId, LeaseRequest, Leased, NewEvent, OldestRow, Operated, PurgedRows, RowFilter, SealedBody,
    StoreResult,
};
use crate::dedupe::{Claimed, DedupeStore, DeliveryRecord, Forgotten, MemoryStore, Settled, StoreFuture};
use crate::error::StoreError;
use crate::event_key::EventKey;
use crate::retention::Retention;
use crate::store_id::StoreId;

/// The time at which the clock of a new double is, in Unix milliseconds.
pub(crate) const BEGIN: i64 = 1_790_000_000_000;

/// The number of bodies and of rows that one call of `purge` deletes.
const PURGED_AT_ONCE: u64 = 100;

/// Opens an inbox in memory, and returns it with the double behind it.
pub(crate) async fn inbox(bodies: Bodies) -> (Inbox, Arc<MemoryInbox>) {
    let double = MemoryInbox::new();
    let store: Arc<dyn DedupeStore> = double.clone();
    let inbox = Inbox::open(double.clone(), store, double.id, bodies).await.expect("the double has no other keys");
    (inbox, double)
}

/// An inbox in memory. Operations have the names of the methods of [`InboxStore`] and [`DedupeStore`].
#[derive(Debug)]
pub(crate) struct MemoryInbox {
    pub(crate) id: StoreId,
    tables: Arc<Mutex<MemoryTables>>,
    faults: Mutex<Faults>,
    released: watch::Sender<u64>,
    recurring: MemoryStore,
    began: Instant,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryTables {
    set_by: i64,
    last_id: i64,
    rows: BTreeMap<i64, MemoryRow>,
    bodies: HashMap<i64, Bytes>,
    marks: HashMap<EventKey, Mark>,
    paused: Vec<String>,
    hold: Option<LeaseHold>,
    keys: Vec<KeyRecord>,
    audit: Vec<(i64, AuditRow)>,
    /// The tokens whose lease expired, and whose event another worker has leased.
    lapsed: BTreeSet<[u8; 16]>,
}

/// The row of an event, without its body.
#[derive(Clone)]
pub(crate) struct MemoryRow {
    pub(crate) event: NewEvent,
    pub(crate) state: RowState,
    pub(crate) stored_at: i64,
    pub(crate) mark_until: i64,
}

impl std::fmt::Debug for MemoryRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryRow")
            .field("state", &self.state)
            .field("stored_at", &self.stored_at)
            .finish_non_exhaustive()
    }
}

/// The record of a claimed or handled event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) token: ClaimToken,
    pub(crate) handled: bool,
    pub(crate) until: i64,
}

#[derive(Debug, Default)]
struct Faults {
    calls: HashMap<&'static str, usize>,
    /// The number of calls that will fail, and whether before they took effect.
    failing: HashMap<&'static str, (usize, bool)>,
    hanging: Vec<&'static str>,
    trouble: Option<Trouble>,
}

/// The fate of a call on a bad connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CallTrouble {
    None,
    Rejects,
    LosesTheAnswer,
    /// The call takes effect after its caller has got an error.
    ArrivesLater(Duration),
    IsSlow(Duration),
    Hangs,
}

/// Returns the fault of each call.
struct Trouble(Box<dyn FnMut() -> CallTrouble + Send>);

impl std::fmt::Debug for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trouble")
    }
}

impl MemoryInbox {
    pub(crate) fn new() -> Arc<Self> {
        Self::of(MemoryTables::default())
    }

    /// Creates an inbox with the rows, bodies and marks of another one.
    pub(crate) fn of(tables: MemoryTables) -> Arc<Self> {
        Arc::new(MemoryInbox {
            id: StoreId::new(),
            tables: Arc::new(Mutex::new(tables)),
            faults: Mutex::default(),
            released: watch::Sender::new(0),
            recurring: MemoryStore::new(1000),
            began: Instant::now(),
        })
    }

    /// Returns a copy of all rows, bodies and marks.
    pub(crate) fn snapshot(&self) -> MemoryTables {
        lock(&self.tables).clone()
    }

    /// Makes the next `times` calls of an operation fail without an effect.
    pub(crate) fn fail(&self, operation: &'static str, times: usize) {
        lock(&self.faults).failing.insert(operation, (times, true));
    }

    /// Makes the next `times` calls of an operation fail after they took effect.
    pub(crate) fn lose_answers(&self, operation: &'static str, times: usize) {
        lock(&self.faults).failing.insert(operation, (times, false));
    }

    /// Asks for the fault of every call from now on.
    pub(crate) fn trouble(&self, next: impl FnMut() -> CallTrouble + Send + 'static) {
        lock(&self.faults).trouble = Some(Trouble(Box::new(next)));
    }

    /// Returns the tokens whose lease expired, and whose event another worker has leased.
    pub(crate) fn lapsed(&self) -> BTreeSet<[u8; 16]> {
        lock(&self.tables).lapsed.clone()
    }

    /// Makes calls of an operation wait, before they take effect, until [`release`](Self::release).
    pub(crate) fn hang(&self, operation: &'static str) {
        lock(&self.faults).hanging.push(operation);
    }

    /// Ends [`hang`](Self::hang), and failures that are still to come, of all operations.
    pub(crate) fn release(&self) {
        let mut faults = lock(&self.faults);
        faults.failing.clear();
        faults.hanging.clear();
        drop(faults);
        self.released.send_modify(|times| *times += 1);
    }

    /// Returns how often an operation was called, failed calls included.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        lock(&self.faults).calls.get(operation).copied().unwrap_or(0)
    }

    /// Sets the clock forward, or back if negative.
    pub(crate) fn set_clock_by(&self, millis: i64) {
        lock(&self.tables).set_by += millis;
    }

    /// Returns the time of the store's clock.
    pub(crate) fn now(&self) -> i64 {
        self.now_of(&lock(&self.tables))
    }

    fn now_of(&self, tables: &MemoryTables) -> i64 {
        tables.now(self.began)
    }

    pub(crate) fn rows(&self) -> BTreeMap<i64, MemoryRow> {
        lock(&self.tables).rows.clone()
    }

    /// Returns the row of an event, which must exist.
    pub(crate) fn row(&self, id: i64) -> MemoryRow {
        lock(&self.tables).rows.get(&id).expect("there is such a row").clone()
    }

    pub(crate) fn statuses(&self) -> Vec<Status> {
        lock(&self.tables).rows.values().map(|row| row.state.status).collect()
    }

    /// Returns the stored bodies, sealed or in clear, by the id of their event.
    pub(crate) fn bodies(&self) -> HashMap<i64, Bytes> {
        lock(&self.tables).bodies.clone()
    }

    /// Replaces the stored body of an event, as damage on the disk does.
    pub(crate) fn set_body(&self, id: i64, body: Option<Bytes>) {
        let mut tables = lock(&self.tables);
        tables.bodies.remove(&id);
        tables.bodies.extend(body.map(|body| (id, body)));
    }

    /// Replaces the kind of an event's row, which is not sealed.
    pub(crate) fn set_kind(&self, id: i64, kind: &str) {
        lock(&self.tables).rows.get_mut(&id).expect("there is such a row").event.kind = kind.to_owned();
    }

    pub(crate) fn marks(&self) -> HashMap<EventKey, Mark> {
        lock(&self.tables).marks.clone()
    }

    pub(crate) fn set_key_records(&self, records: Vec<KeyRecord>) {
        lock(&self.tables).keys = records;
    }

    pub(crate) fn audit(&self) -> Vec<AuditRow> {
        lock(&self.tables).audit.iter().map(|(_, entry)| entry.clone()).collect()
    }

    /// Runs an operation as one transaction, unless it is to hang or to fail.
    fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        run: impl FnOnce(&mut MemoryTables, i64) -> T + Send + 'static,
    ) -> StoreFuture<'_, T> {
        Box::pin(async move {
            *lock(&self.faults).calls.entry(operation).or_default() += 1;
            let mut released = self.released.subscribe();
            while lock(&self.faults).hanging.contains(&operation) {
                let _ = released.changed().await;
            }
            let failing = match lock(&self.faults).failing.get_mut(operation) {
                Some((times, before)) if *times > 0 => {
                    *times -= 1;
                    Some(*before)
                }
                _ => None,
            };
            if failing == Some(true) {
                return Err(StoreError::unavailable(format!("inbox in memory: {operation} was made to fail")));
            }
            let fault = lock(&self.faults).trouble.as_mut().map_or(CallTrouble::None, |trouble| trouble.0());
            let broken = |what| Err(StoreError::unavailable(format!("inbox in memory: {what} in {operation}")));
            match fault {
                CallTrouble::None | CallTrouble::LosesTheAnswer => {}
                CallTrouble::Rejects => return broken("rejected"),
                CallTrouble::IsSlow(time) => tokio::time::sleep(time).await,
                CallTrouble::Hangs => std::future::pending().await,
                CallTrouble::ArrivesLater(time) => {
                    let (tables, began) = (self.tables.clone(), self.began);
                    tokio::spawn(async move {
                        tokio::time::sleep(time).await;
                        let mut tables = lock(&tables);
                        let now = tables.now(began);
                        run(&mut tables, now);
                    });
                    return broken("connection lost");
                }
            }
            let mut tables = lock(&self.tables);
            let now = self.now_of(&tables);
            let result = run(&mut tables, now);
            if matches!(fault, CallTrouble::LosesTheAnswer) {
                return broken("answer lost");
            }
            match failing {
                None => Ok(result),
                Some(_) => Err(StoreError::unavailable(format!("inbox in memory: answer of {operation} lost"))),
            }
        })
    }
}

impl InboxStore for MemoryInbox {
    fn store_event(&self, event: NewEvent) -> StoreFuture<'_, StoreResult> {
        self.call("store_event", move |tables, now| tables.store_event(event, now))
    }

    fn lease(&self, request: LeaseRequest) -> StoreFuture<'_, LeaseAnswer> {
        self.call("lease", move |tables, now| tables.lease(&request, now))
    }

    fn renew(&self, id: i64, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        self.call("renew", move |tables, now| match tables.rows.get_mut(&id) {
            Some(row) => rules::renew(&mut row.state, token, now, lease),
            None => Settled::Lost,
        })
    }

    fn finish(&self, lease: LeaseId, ending: Ending, keep_body: bool) -> StoreFuture<'_, Settled> {
        self.call("finish", move |tables, now| {
            let Some(row) = tables.rows.get_mut(&lease.row) else { return Settled::Lost };
            let settled = rules::finish_leased(&mut row.state, lease.token, lease.replays, now, &ending);
            if settled == Settled::Settled && row.state.status == Status::Done && !keep_body {
                tables.bodies.remove(&lease.row);
            }
            settled
        })
    }

    fn list(&self, filter: RowFilter) -> StoreFuture<'_, Vec<EntryRow>> {
        self.call("list", move |tables, _| {
            let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
            let rows: Box<dyn Iterator<Item = (&i64, &MemoryRow)>> =
                if filter.newest_first { Box::new(tables.rows.iter().rev()) } else { Box::new(tables.rows.iter()) };
            let selected = rows.filter(|(id, row)| {
                filter.after.is_none_or(|after| if filter.newest_first { **id < after } else { **id > after })
                    && filter.id.is_none_or(|wanted| wanted == **id)
                    && filter.endpoint.as_ref().is_none_or(|endpoint| *endpoint == row.event.endpoint)
                    && filter.status.is_none_or(|status| status == row.state.status)
                    && filter.kind.as_ref().is_none_or(|kind| *kind == row.event.kind)
                    && filter.reason.as_ref().is_none_or(|reason| Some(reason) == row.state.reason.as_ref())
                    && filter.stored_since.is_none_or(|since| row.stored_at >= since)
            });
            selected.take(limit).map(|(id, row)| tables.entry(*id, row)).collect()
        })
    }

    fn body(&self, id: i64, audit: AuditRow) -> StoreFuture<'_, Option<SealedBody>> {
        self.call("body", move |tables, now| {
            let body = tables.sealed_body(id).filter(|body| body.sealed.is_some());
            tables.audit.push((now, audit));
            body
        })
    }

    fn replay(&self, id: i64, audit: AuditRow) -> StoreFuture<'_, Operated> {
        self.call("replay", move |tables, now| tables.replay(id, audit, now))
    }

    fn discard(&self, id: i64, audit: AuditRow) -> StoreFuture<'_, Operated> {
        self.call("discard", move |tables, now| {
            let Some(row) = tables.rows.get_mut(&id) else { return Operated::NotFound };
            if !rules::discard(&mut row.state, now) {
                return not_applicable(row.state.status);
            }
            tables.bodies.remove(&id);
            tables.audit.push((now, audit));
            Operated::Done
        })
    }

    fn forget(&self, event: EventKey, row_key: [u8; 32], audit: AuditRow) -> StoreFuture<'_, Forgotten> {
        self.call("forget", move |tables, now| {
            let unfinished = tables.rows.iter().find(|(_, row)| row.event.row_key == row_key && is_unfinished(row));
            if let Some((id, _)) = unfinished {
                return Forgotten::Unfinished { id: *id };
            }
            match tables.marks.get(&event) {
                Some(mark) if mark.until > now && mark.handled => {
                    tables.marks.remove(&event);
                    tables.audit.push((now, audit));
                    Forgotten::Removed
                }
                Some(mark) if mark.until > now => Forgotten::Claimed,
                _ => Forgotten::NotFound,
            }
        })
    }

    fn set_paused(&self, endpoint: String, paused: bool, audit: AuditRow) -> StoreFuture<'_, ()> {
        self.call("set_paused", move |tables, now| {
            tables.paused.retain(|other| *other != endpoint);
            tables.paused.extend(paused.then_some(endpoint));
            tables.audit.push((now, audit));
        })
    }

    fn set_hold(&self, hold: LeaseHold, audit: AuditRow) -> StoreFuture<'_, ()> {
        self.call("set_hold", move |tables, now| {
            tables.hold = Some(hold);
            tables.audit.push((now, audit));
        })
    }

    fn counts(&self, of: CountOf) -> StoreFuture<'_, InboxCounts> {
        let name = match of {
            CountOf::All => "counts",
            CountOf::Endpoint(_) => "counts_of",
            CountOf::Unfinished(_) => "unfinished_of",
        };
        self.call(name, move |tables, now| tables.counts(&of, now))
    }

    fn count_kinds(&self, most: u32) -> StoreFuture<'_, KindCounts> {
        self.call("count_kinds", move |tables, _| {
            let mut counts: BTreeMap<(i16, &str, &str), KindCount> = BTreeMap::new();
            for status in [Status::Waiting, Status::Processing, Status::Dead] {
                let rows = tables.rows.values().filter(|row| row.state.status == status);
                for row in rows.take(usize::try_from(most).unwrap_or(usize::MAX).saturating_add(1)) {
                    let (endpoint, kind) = (&row.event.endpoint, &row.event.kind);
                    let none = || KindCount { endpoint: endpoint.clone(), status, kind: kind.clone(), count: 0 };
                    counts.entry((status.number(), endpoint, kind)).or_insert_with(none).count += 1;
                }
            }
            KindCounts::of(counts.into_values().collect(), most)
        })
    }

    fn oldest_of(&self, endpoint: String, kinds: Vec<&'static str>) -> StoreFuture<'_, Vec<OldestRow>> {
        self.call("oldest_of", move |tables, now| {
            let oldest = |kind: &&'static str| {
                let rows = tables.rows.iter().filter(|(_, row)| {
                    is_unfinished(row) && row.event.endpoint == endpoint && row.event.kind == **kind
                });
                let (id, row) = rows.min_by_key(|(id, row)| (row.stored_at, **id))?;
                let age = Duration::from_millis(u64::try_from(now - row.stored_at).unwrap_or(0));
                Some(OldestRow { kind, id: *id, age })
            };
            kinds.iter().filter_map(oldest).collect()
        })
    }

    fn purge(&self, endpoint: String, keep: Keep) -> StoreFuture<'_, PurgedRows> {
        self.call("purge", move |tables, now| tables.purge(&endpoint, keep, now))
    }

    fn truncate_log(&self) -> StoreFuture<'_, ()> {
        self.call("truncate_log", |_, _| ())
    }

    fn key_records(&self) -> StoreFuture<'_, Vec<KeyRecord>> {
        self.call("key_records", |tables, _| tables.keys.clone())
    }

    fn add_key_record(&self, record: KeyRecord) -> StoreFuture<'_, ()> {
        self.call("add_key_record", move |tables, _| {
            if !tables.keys.iter().any(|known| known.key_id == record.key_id) {
                tables.keys.push(record);
            }
        })
    }

    fn remove_key_record(&self, key_id: [u8; 4]) -> StoreFuture<'_, bool> {
        self.call("remove_key_record", move |tables, _| {
            let rows = tables.rows.values().map(|row| &row.event.sealed_key);
            if rows.chain(tables.bodies.values()).any(|sealed| is_sealed_under(sealed, key_id)) {
                return false;
            }
            tables.keys.retain(|known| known.key_id != key_id);
            true
        })
    }

    fn sealed_otherwise(&self, key_id: [u8; 4], after: i64, limit: u32) -> StoreFuture<'_, Vec<SealedBody>> {
        self.call("sealed_otherwise", move |tables, _| {
            let bodies = tables.rows.keys().filter(|id| **id > after).filter_map(|id| tables.sealed_body(*id));
            let other = |sealed: &Bytes| !is_sealed_under(sealed, key_id);
            bodies
                .filter(|body| other(&body.sealed_key) || body.sealed.as_ref().is_some_and(other))
                .take(usize::try_from(limit).unwrap_or(usize::MAX))
                .collect()
        })
    }

    fn reseal(&self, before: SealedBody, after: SealedBody) -> StoreFuture<'_, bool> {
        self.call("reseal", move |tables, _| {
            if tables.sealed_body(before.id) != Some(before) {
                return false;
            }
            if let Some(row) = tables.rows.get_mut(&after.id) {
                row.event.sealed_key = after.sealed_key;
            }
            tables.bodies.extend(after.sealed.map(|sealed| (after.id, sealed)));
            true
        })
    }

    fn write_audit(&self, audit: AuditRow) -> StoreFuture<'_, ()> {
        self.call("write_audit", move |tables, now| tables.audit.push((now, audit)))
    }

    fn audit_entries(&self, after: i64, limit: u32) -> StoreFuture<'_, Vec<(i64, i64, AuditRow)>> {
        self.call("audit_entries", move |tables, _| {
            let entries = tables.audit.iter().zip(1..).map(|((at, entry), id)| (id, *at, entry.clone()));
            entries.filter(|(id, ..)| *id > after).take(usize::try_from(limit).unwrap_or(usize::MAX)).collect()
        })
    }

    fn audit_of(&self, id: i64, limit: u32) -> StoreFuture<'_, Vec<(i64, i64, AuditRow)>> {
        self.call("audit_of", move |tables, _| {
            let entries = tables.audit.iter().zip(1..).map(|((at, entry), id)| (id, *at, entry.clone()));
            let of_event = |entry: &AuditRow| {
                entry.subject == id.to_string() && ["replay", "discard", "body"].contains(&&*entry.action)
            };
            let mut entries: Vec<_> = entries.filter(|(.., entry)| of_event(entry)).collect();
            let last = usize::try_from(limit).unwrap_or(usize::MAX);
            entries.drain(..entries.len().saturating_sub(last));
            entries
        })
    }
}

impl MemoryTables {
    /// Returns the time of the clock of an inbox that was created at this moment.
    fn now(&self, began: Instant) -> i64 {
        rules::after(BEGIN + self.set_by, began.elapsed())
    }

    fn store_event(&mut self, event: NewEvent, now: i64) -> StoreResult {
        if let Some((id, _)) = self.rows.iter().find(|(_, row)| row.event.token == event.token) {
            return StoreResult::Stored { id: *id };
        }
        let unfinished = self.rows.values().any(|row| row.event.row_key == event.row_key && is_unfinished(row));
        let mark_until = rules::after(now, event.retention.total);
        match self.marks.get(&event.event_key) {
            _ if unfinished => return StoreResult::Duplicate,
            Some(mark) if mark.until > now && mark.handled => return StoreResult::Duplicate,
            // A claim that lasts longer than the retention was made before the clock was set back.
            Some(mark) if mark.until > now && mark.until <= mark_until && mark.token != event.token => {
                return StoreResult::InFlight { retry_after: Duration::from_millis(mark.until.abs_diff(now)) };
            }
            _ => {}
        }
        self.marks.insert(event.event_key, Mark { token: event.token, handled: true, until: mark_until });
        self.last_id += 1;
        self.bodies.insert(self.last_id, event.sealed.clone());
        let state = RowState::waiting(now);
        self.rows.insert(self.last_id, MemoryRow { event, state, stored_at: now, mark_until });
        StoreResult::Stored { id: self.last_id }
    }

    fn lease(&mut self, request: &LeaseRequest, now: i64) -> LeaseAnswer {
        let held = |row: &MemoryRow| row.state.status == Status::Processing && row.state.token == Some(request.token);
        let repeated = self.rows.iter().find(|(_, row)| held(row)).map(|(id, _)| *id);
        let mut answer = LeaseAnswer::default();
        if repeated.is_none() && self.paused.contains(&request.endpoint) {
            return answer;
        }
        let wanted = if request.alone { Status::Processing } else { Status::Waiting };
        let next = repeated.or_else(|| self.leasable(request, wanted).find(|(due, _)| *due <= now).map(|(_, id)| id));
        if let Some(row) = next.and_then(|id| self.rows.get_mut(&id)) {
            let former = row.state.token.filter(|_| row.state.status == Status::Processing);
            self.lapsed.extend(former.filter(|former| *former != request.token).map(|former| *former.as_bytes()));
            match rules::lease(&mut row.state, request.token, now, request.lease, request.alone) {
                LeaseRule::Leased => answer.leased = next.and_then(|id| self.leased(id, request.token)),
                LeaseRule::Crashed => answer.crashed = next.and_then(|id| Some(self.entry(id, self.rows.get(&id)?))),
                LeaseRule::NotDue | LeaseRule::Suspect => {}
            }
        }
        answer.suspects = self.leasable(request, Status::Processing).any(|(due, _)| due <= now);
        if answer.leased.is_none() {
            let due = self.leasable(request, Status::Waiting).next();
            answer.next_due = due.map(|(due, _)| Duration::from_millis(due.saturating_sub(now).max(0).unsigned_abs()));
        }
        answer
    }

    /// Returns the due times and ids of the endpoint's rows with a status that the hold lets through, the earliest
    /// first.
    fn leasable(&self, request: &LeaseRequest, status: Status) -> impl Iterator<Item = (i64, i64)> + use<> {
        let since = match self.hold {
            None | Some(LeaseHold::None) => Some(i64::MIN),
            Some(LeaseHold::All) => None,
            Some(LeaseHold::StoredBefore(time)) => Some(time),
        };
        let rows = self.rows.iter().filter(|(_, row)| {
            row.event.endpoint == request.endpoint
                && row.state.status == status
                && since.is_some_and(|since| row.stored_at >= since)
        });
        let mut leasable: Vec<_> = rows.map(|(id, row)| (row.state.due, *id)).collect();
        leasable.sort_unstable();
        leasable.into_iter()
    }

    fn leased(&self, id: i64, token: ClaimToken) -> Option<Box<Leased>> {
        let row = self.rows.get(&id)?;
        Some(Box::new(Leased {
            token,
            attempts: row.state.attempts,
            replays: row.state.replays,
            stored_at: row.stored_at,
            provider: row.event.provider.clone(),
            kind: row.event.kind.clone(),
            body: self.sealed_body(id)?,
        }))
    }

    fn replay(&mut self, id: i64, audit: AuditRow, now: i64) -> Operated {
        let Some(row) = self.rows.get(&id) else { return Operated::NotFound };
        let status = row.state.status;
        if matches!(status, Status::Processing | Status::Discarded) {
            return not_applicable(status);
        }
        if !self.bodies.contains_key(&id) {
            return Operated::NoBody;
        }
        let same = |other: &MemoryRow| other.event.row_key == row.event.row_key && is_unfinished(other);
        if self.rows.iter().any(|(other, row)| *other != id && same(row)) {
            return Operated::Conflict;
        }
        if !self.rows.get_mut(&id).is_some_and(|row| rules::replay(&mut row.state, now)) {
            return not_applicable(status);
        }
        self.audit.push((now, audit));
        Operated::Done
    }

    fn counts(&self, of: &CountOf, now: i64) -> InboxCounts {
        let mut endpoints: BTreeMap<&str, EndpointCounts> = BTreeMap::new();
        let counted = |endpoint: &str| of.endpoint().is_none_or(|only| only == endpoint);
        for endpoint in self.paused.iter().filter(|endpoint| counted(endpoint)) {
            endpoints.entry(endpoint).or_default().paused = true;
        }
        for row in self.rows.values().filter(|row| counted(&row.event.endpoint)) {
            if matches!(of, CountOf::Unfinished(_)) && !is_unfinished(row) {
                continue;
            }
            let counts = endpoints.entry(&row.event.endpoint).or_default();
            match row.state.status {
                Status::Waiting => counts.waiting += 1,
                Status::Processing => counts.processing += 1,
                Status::Dead => counts.dead += 1,
                Status::Done | Status::Discarded => continue,
            }
            counts.bytes += row.event.size;
            if is_unfinished(row) {
                counts.unfinished_bytes += row.event.size;
                let age = Duration::from_millis(now.saturating_sub(row.stored_at).max(0).unsigned_abs());
                counts.oldest = counts.oldest.max(Some(age));
            }
        }
        let named = |(endpoint, counts): (&str, _)| EndpointCounts { endpoint: endpoint.to_owned(), ..counts };
        InboxCounts {
            hold: self.hold.unwrap_or(LeaseHold::None),
            endpoints: endpoints.into_iter().map(named).collect(),
        }
    }

    fn purge(&mut self, endpoint: &str, keep: Keep, now: i64) -> PurgedRows {
        let mut purged = PurgedRows::default();
        let ended = |row: &MemoryRow, time: Option<Duration>| {
            time.zip(row.state.ended_at).is_some_and(|(time, ended)| rules::after(ended, time) <= now)
        };
        for row in self.rows.iter().filter(|(_, row)| row.event.endpoint == endpoint) {
            let (id, row) = row;
            let expired = match row.state.status {
                Status::Done => ended(row, Some(keep.done)),
                Status::Dead => ended(row, keep.dead),
                Status::Waiting | Status::Processing | Status::Discarded => false,
            };
            if expired && purged.bodies < PURGED_AT_ONCE && self.bodies.remove(id).is_some() {
                purged.bodies += 1;
            }
        }
        let (bodies, limit) = (&self.bodies, PURGED_AT_ONCE);
        self.rows.retain(|id, row| {
            let expired = match row.state.status {
                Status::Done | Status::Discarded => ended(row, Some(keep.rows)),
                Status::Dead => ended(row, keep.dead),
                Status::Waiting | Status::Processing => false,
            };
            let delete = row.event.endpoint == endpoint
                && expired
                && row.mark_until <= now
                && !bodies.contains_key(id)
                && purged.rows < limit;
            purged.rows += u64::from(delete);
            !delete
        });
        purged.more = purged.bodies == limit || purged.rows == limit;
        purged
    }

    fn entry(&self, id: i64, row: &MemoryRow) -> EntryRow {
        let MemoryRow { event, state, stored_at, .. } = row.clone();
        EntryRow {
            id,
            endpoint: event.endpoint,
            provider: event.provider,
            kind: event.kind,
            secret: event.secret,
            status: state.status,
            attempts: state.attempts,
            replays: state.replays,
            stored_at,
            due: state.ended_at.is_none().then_some(state.due),
            ended_at: state.ended_at,
            reason: state.reason,
            size: event.size,
            has_body: self.bodies.contains_key(&id),
            row_key: event.row_key,
            stored_by: event.token,
            sealed_key: event.sealed_key,
        }
    }

    fn sealed_body(&self, id: i64) -> Option<SealedBody> {
        let row = self.rows.get(&id)?;
        Some(SealedBody {
            id,
            endpoint: row.event.endpoint.clone(),
            row_key: row.event.row_key,
            stored_by: row.event.token,
            sealed_key: row.event.sealed_key.clone(),
            sealed: self.bodies.get(&id).cloned(),
        })
    }

    /// Settles a claim with what becomes of it.
    fn settle(&mut self, key: EventKey, token: ClaimToken, becomes: Option<Mark>) -> Settled {
        match self.marks.get(&key) {
            Some(mark) if mark.token != token => return Settled::Lost,
            Some(Mark { handled: true, .. }) => return Settled::Settled,
            _ => {}
        }
        self.marks.remove(&key);
        self.marks.extend(becomes.map(|mark| (key, mark)));
        Settled::Settled
    }
}

/// Claims, as an instance without an inbox has them.
impl DedupeStore for MemoryInbox {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        self.call("claim", move |tables, now| match tables.marks.get(&key) {
            Some(mark) if mark.until > now && mark.handled => Claimed::AlreadyHandled,
            Some(mark) if mark.until > now && mark.token != token => {
                Claimed::InFlight { retry_after: Duration::from_millis(mark.until.abs_diff(now)) }
            }
            _ => {
                tables.marks.insert(key, Mark { token, handled: false, until: rules::after(now, lease) });
                Claimed::Acquired
            }
        })
    }

    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        self.call("renew claim", move |tables, now| {
            tables.settle(key, token, Some(Mark { token, handled: false, until: rules::after(now, lease) }))
        })
    }

    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled> {
        self.call("commit", move |tables, now| {
            tables.settle(key, token, Some(Mark { token, handled: true, until: rules::after(now, retention.total) }))
        })
    }

    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
        self.call("release", move |tables, _| tables.settle(key, token, None))
    }

    fn record_delivery(&self, body: EventKey, period: Duration, most: u64) -> StoreFuture<'_, DeliveryRecord> {
        Box::pin(async move {
            self.call("record_delivery", |_, _| ()).await?;
            self.recurring.record_delivery(body, period, most).await
        })
    }

    fn record_failure(&self, body: EventKey) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.call("record_failure", |_, _| ()).await?;
            self.recurring.record_failure(body).await
        })
    }

    fn store_id(&self) -> Option<StoreId> {
        Some(self.id)
    }
}

fn not_applicable(status: Status) -> Operated {
    match status {
        Status::Processing => Operated::Processing,
        other => Operated::WrongStatus(other),
    }
}

fn is_unfinished(row: &MemoryRow) -> bool {
    matches!(row.state.status, Status::Waiting | Status::Processing)
}

/// Returns whether a sealed text names this key.
fn is_sealed_under(sealed: &[u8], key_id: [u8; 4]) -> bool {
    sealed.strip_prefix(&[1]).is_some_and(|rest| rest.starts_with(&key_id))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
