//! The operations of operators: lists, replays, pauses and counts.

use std::collections::BTreeMap;

use sqlx::{QueryBuilder, Sqlite};

use super::super::fault::Fault;
use super::super::rules::EventRow;
use super::events::millis_between;
use super::row::{InboxRow, unsigned};
use super::tables::{ROW, sql};
use super::work::InboxTransaction;
use crate::counts::EndpointCounts;
use crate::dedupe::Forgotten;
use crate::dedupe::inbox::rules::{self, Status};
use crate::dedupe::inbox::store::{
    AuditRow, CountOf, EntryRow, InboxCounts, KindCount, KindCounts, LeaseHold, OldestRow, Operated, RowFilter,
    SealedBody,
};

impl InboxTransaction<'_> {
    pub(super) async fn list(&mut self, filter: &RowFilter) -> Result<Vec<EntryRow>, Fault> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT ");
        let (is_after, none, order) = if filter.newest_first { ("<", i64::MAX, " DESC") } else { (">", i64::MIN, "") };
        // The ids are selected first, mostly from an index, and only their rows are read and sorted: of 200,000 waiting
        // events in 40 ms instead of 230.
        let prefix = &self.tables.prefix;
        query.push(format_args!("{ROW} FROM {prefix} WHERE id IN (SELECT id FROM {prefix} WHERE id {is_after} "));
        query.push_bind(filter.after.unwrap_or(none));
        if let Some(id) = filter.id {
            query.push(" AND id = ").push_bind(id);
        }
        // A constant, so that the partial index of the status is used.
        match filter.status {
            Some(Status::Waiting) => drop(query.push(" AND status = 0")),
            Some(Status::Processing) => drop(query.push(" AND status = 1")),
            Some(Status::Done) => drop(query.push(" AND status = 2")),
            Some(Status::Dead) => drop(query.push(" AND status = 3")),
            Some(Status::Discarded) => drop(query.push(" AND status = 4")),
            None => {}
        }
        let texts = [
            (" AND endpoint = ", &filter.endpoint),
            (" AND kind = ", &filter.kind),
            (" AND reason = ", &filter.reason),
        ];
        for (column, wanted) in texts {
            if let Some(wanted) = wanted {
                query.push(column).push_bind(wanted.as_str());
            }
        }
        if let Some(since) = filter.stored_since {
            query.push(" AND stored_at >= ").push_bind(since);
        }
        query.push(format_args!(" ORDER BY id{order} LIMIT ")).push_bind(filter.limit.min(MOST_LISTED));
        query.push(format_args!(") ORDER BY id{order}"));
        let rows = query.build().persistent(false).fetch_all(&mut *self.connection).await?;
        rows.iter().map(|row| Ok(InboxRow::read(row)?.entry)).collect()
    }

    pub(super) async fn read_body(&mut self, id: i64, audit: &AuditRow) -> Result<Option<SealedBody>, Fault> {
        self.audit(audit).await?;
        let Some(row) = self.row(id).await? else { return Ok(None) };
        Ok(Some(self.sealed(&row.entry).await?).filter(|body| body.sealed.is_some()))
    }

    pub(super) async fn replay(&mut self, id: i64, audit: &AuditRow) -> Result<Operated, Fault> {
        let Some(mut row) = self.row(id).await? else { return Ok(Operated::NotFound) };
        if let Status::Processing | Status::Discarded = row.state.status {
            return Ok(not_applicable(row.state.status));
        }
        if !row.entry.has_body {
            return Ok(Operated::NoBody);
        }
        let conflict = sqlx::query(sql(&self.tables.conflict)).bind(row.entry.row_key.as_slice()).bind(id);
        if conflict.fetch_optional(&mut *self.connection).await?.is_some() {
            return Ok(Operated::Conflict);
        }
        if !rules::replay(&mut row.state, self.now) {
            return Ok(not_applicable(row.state.status));
        }
        self.write(&row).await?;
        self.audit(audit).await?;
        Ok(Operated::Done)
    }

    pub(super) async fn discard(&mut self, id: i64, audit: &AuditRow) -> Result<Operated, Fault> {
        let Some(mut row) = self.row(id).await? else { return Ok(Operated::NotFound) };
        if !rules::discard(&mut row.state, self.now) {
            return Ok(not_applicable(row.state.status));
        }
        self.write(&row).await?;
        self.delete_body(id).await?;
        self.audit(audit).await?;
        Ok(Operated::Done)
    }

    /// Forgets that an event was handled, unless it has an unfinished row. `mark` is its record, which the caller
    /// writes in the same transaction.
    pub(in super::super) async fn forget(
        &mut self,
        mark: &mut Option<EventRow>,
        row_key: &[u8; 32],
        audit: &AuditRow,
    ) -> Result<Forgotten, Fault> {
        let unfinished = sqlx::query_scalar(sql(&self.tables.unfinished_id)).bind(row_key.as_slice());
        let unfinished: Option<i64> = unfinished.fetch_optional(&mut *self.connection).await?;
        if let Some(id) = unfinished {
            return Ok(Forgotten::Unfinished { id });
        }
        let forgotten = super::super::rules::forget(mark, self.now);
        if forgotten == Forgotten::Removed {
            self.audit(audit).await?;
        }
        Ok(forgotten)
    }

    /// Sets that no event of an endpoint that was stored before a time is leased; of all endpoints if it is empty.
    pub(super) async fn hold(&mut self, endpoint: &str, before: Option<i64>, audit: &AuditRow) -> Result<(), Fault> {
        match before {
            Some(before) => sqlx::query(sql(&self.tables.control)).bind(endpoint).bind(before),
            None => sqlx::query(sql(&self.tables.remove_control)).bind(endpoint),
        }
        .execute(&mut *self.connection)
        .await?;
        self.audit(audit).await
    }

    /// Returns `None` if there are no tables of an inbox.
    pub(super) async fn counts_if_any(&mut self) -> Result<Option<InboxCounts>, Fault> {
        let name = self.tables.prefix.trim_start_matches("main.");
        let exists = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM main.sqlite_master WHERE name = ?1)");
        let exists: bool = exists.bind(name).fetch_one(&mut *self.connection).await?;
        Ok(if exists { Some(self.counts(&CountOf::All).await?) } else { None })
    }

    pub(super) async fn counts(&mut self, of: &CountOf) -> Result<InboxCounts, Fault> {
        let only = of.endpoint();
        let mut hold = LeaseHold::None;
        let mut endpoints: BTreeMap<String, EndpointCounts> = BTreeMap::new();
        let controls = sqlx::query_as(sql(&self.tables.controls));
        let controls: Vec<(String, i64)> = controls.fetch_all(&mut *self.connection).await?;
        for (endpoint, before) in controls {
            match (endpoint.is_empty(), before) {
                (true, HOLD_ALL) => hold = LeaseHold::All,
                (true, before) => hold = LeaseHold::StoredBefore(before),
                (false, _) if only.is_none_or(|only| only == endpoint) => {
                    endpoints.entry(endpoint).or_default().paused = true;
                }
                (false, _) => {}
            }
        }
        let tables = self.tables;
        for (status, of_all, of_one) in [
            (Status::Waiting, &tables.count_waiting, &tables.count_waiting_of),
            (Status::Processing, &tables.count_processing, &tables.count_processing_of),
            (Status::Dead, &tables.count_dead, &tables.count_dead_of),
        ] {
            if status == Status::Dead && matches!(of, CountOf::Unfinished(_)) {
                continue;
            }
            let query = only.map_or_else(|| sqlx::query_as(sql(of_all)), |only| sqlx::query_as(sql(of_one)).bind(only));
            let counted: Vec<(String, i64, Option<i64>, Option<i64>)> = query.fetch_all(&mut *self.connection).await?;
            for (endpoint, rows, bytes, oldest) in counted {
                let (rows, bytes) = (unsigned(rows), unsigned(bytes.unwrap_or(0)));
                if rows == 0 {
                    continue;
                }
                let counts = endpoints.entry(endpoint).or_default();
                counts.bytes = counts.bytes.saturating_add(bytes);
                if status != Status::Dead {
                    counts.unfinished_bytes = counts.unfinished_bytes.saturating_add(bytes);
                }
                match status {
                    Status::Waiting => counts.waiting = rows,
                    Status::Processing => counts.processing = rows,
                    _ => counts.dead = rows,
                }
                counts.oldest = counts.oldest.max(oldest.map(|oldest| millis_between(oldest, self.now)));
            }
        }
        let named = |(endpoint, counts)| EndpointCounts { endpoint, ..counts };
        Ok(InboxCounts { hold, endpoints: endpoints.into_iter().map(named).collect() })
    }

    pub(super) async fn count_kinds(&mut self, most: u32) -> Result<KindCounts, Fault> {
        let tables = self.tables;
        let mut kinds = Vec::new();
        for (status, statement) in [
            (Status::Waiting, &tables.kinds_waiting),
            (Status::Processing, &tables.kinds_processing),
            (Status::Dead, &tables.kinds_dead),
        ] {
            let query = sqlx::query_as(sql(statement)).bind(i64::from(most).saturating_add(1));
            let counted: Vec<(String, String, i64)> = query.fetch_all(&mut *self.connection).await?;
            let counts = counted.into_iter();
            kinds.extend(counts.map(|(endpoint, kind, count)| KindCount {
                endpoint,
                status,
                kind,
                count: unsigned(count),
            }));
        }
        Ok(KindCounts::of(kinds, most))
    }

    pub(super) async fn oldest_of(&mut self, endpoint: &str, kinds: &[&'static str]) -> Result<Vec<OldestRow>, Fault> {
        let tables = self.tables;
        let mut oldest = Vec::new();
        for kind in kinds {
            let mut of_kind: Option<(i64, i64)> = None;
            for statement in [&tables.oldest_waiting, &tables.oldest_processing] {
                let query = sqlx::query_as(sql(statement)).bind(endpoint).bind(*kind);
                let (stored_at, id): (Option<i64>, Option<i64>) = query.fetch_one(&mut *self.connection).await?;
                of_kind = of_kind.into_iter().chain(stored_at.zip(id)).min();
            }
            oldest.extend(of_kind.map(|(stored_at, id)| OldestRow {
                kind,
                id,
                age: millis_between(stored_at, self.now),
            }));
        }
        Ok(oldest)
    }

    pub(super) async fn audit(&mut self, entry: &AuditRow) -> Result<(), Fault> {
        let query = sqlx::query(sql(&self.tables.audit)).bind(self.now).bind(&*entry.actor).bind(&*entry.action);
        query.bind(&*entry.subject).bind(&*entry.reason).execute(&mut *self.connection).await?;
        Ok(())
    }

    pub(super) async fn audit_entries(&mut self, after: i64, limit: u32) -> Result<Vec<(i64, i64, AuditRow)>, Fault> {
        let query = sqlx::query_as(sql(&self.tables.audits)).bind(after).bind(limit.min(MOST_LISTED));
        let entries: Vec<(i64, i64, String, String, String, String)> = query.fetch_all(&mut *self.connection).await?;
        let entry = |(id, at, actor, action, subject, reason)| (id, at, AuditRow { actor, action, subject, reason });
        Ok(entries.into_iter().map(entry).collect())
    }

    pub(super) async fn audit_of(&mut self, id: i64, limit: u32) -> Result<Vec<(i64, i64, AuditRow)>, Fault> {
        let query = sqlx::query_as(sql(&self.tables.audits_of)).bind(id.to_string()).bind(limit.min(MOST_LISTED));
        let entries: Vec<(i64, i64, String, String, String, String)> = query.fetch_all(&mut *self.connection).await?;
        let entry = |(id, at, actor, action, subject, reason)| (id, at, AuditRow { actor, action, subject, reason });
        // The last ones are read first.
        Ok(entries.into_iter().rev().map(entry).collect())
    }
}

/// Returns the time before which stored events are not leased.
pub(super) fn held_before(hold: LeaseHold) -> Option<i64> {
    match hold {
        LeaseHold::None => None,
        LeaseHold::All => Some(HOLD_ALL),
        LeaseHold::StoredBefore(time) => Some(time),
    }
}

fn not_applicable(status: Status) -> Operated {
    match status {
        Status::Processing => Operated::Processing,
        other => Operated::WrongStatus(other),
    }
}

/// No event is stored at or after this time.
pub(super) const HOLD_ALL: i64 = i64::MAX;
/// The maximum number of rows in one answer.
const MOST_LISTED: u32 = 1000;
