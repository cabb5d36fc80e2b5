//! The operations of operators. Each writes its audit entry in its own transaction.

use sqlx::postgres::{PgConnection, Postgres};
use sqlx::{AssertSqlSafe, Connection, QueryBuilder, Row};

use super::lease::{delete_body, lock, time, write};
use super::row::{Stored, columns, ms, sealed_body};
use super::statements::InboxStatements;
use crate::dedupe::Forgotten;
use crate::dedupe::inbox::rules::{self, Status};
use crate::dedupe::inbox::store::{AuditRow, EntryRow, Operated, RowFilter, SealedBody};
use crate::event_key::EventKey;

pub(super) async fn list(
    ns: &str,
    filter: &RowFilter,
    connection: &mut PgConnection,
) -> Result<Vec<EntryRow>, sqlx::Error> {
    let (is_after, none, order) = if filter.newest_first { ("<", i64::MAX, " DESC") } else { (">", i64::MIN, "") };
    let select = format!("SELECT {} FROM {ns}_inbox AS i WHERE i.id {is_after} ", columns());
    let mut query = QueryBuilder::<Postgres>::new(select);
    query.push_bind(filter.after.unwrap_or(none));
    if let Some(id) = filter.id {
        query.push(" AND i.id = ").push_bind(id);
    }
    if let Some(status) = filter.status {
        // Not a parameter, so that the partial indexes are used.
        query.push(format!(" AND i.status = {}", status.number()));
    }
    for (column, value) in [("endpoint", &filter.endpoint), ("kind", &filter.kind), ("reason", &filter.reason)] {
        if let Some(value) = value {
            query.push(format!(" AND i.{column} = ")).push_bind(value.as_str());
        }
    }
    if let Some(since) = filter.stored_since {
        query.push(" AND i.stored_at >= to_timestamp(").push_bind(time(since)).push("::bigint::float8 / 1000)");
    }
    query.push(format!(" ORDER BY i.id{order} LIMIT ")).push_bind(i64::from(filter.limit));
    let rows = query.build().persistent(false).fetch_all(connection).await?;
    rows.iter().map(|row| Stored::read(row).map(|stored| stored.entry)).collect()
}

pub(super) async fn body(
    ns: &str,
    id: i64,
    audit: &AuditRow,
    connection: &mut PgConnection,
) -> Result<Option<SealedBody>, sqlx::Error> {
    let body = format!(
        "SELECT i.id, i.endpoint, i.row_key, i.stored_by, i.sealed_key, b.sealed
        FROM {ns}_inbox AS i JOIN {ns}_inbox_bodies AS b ON b.id = i.id WHERE i.id = $1"
    );
    let row = sqlx::query(AssertSqlSafe(body)).bind(id).fetch_optional(&mut *connection).await?;
    let Some(row) = row else {
        return Ok(None);
    };
    write_audit(ns, audit, connection).await?;
    sealed_body(&row).map(Some)
}

pub(super) async fn replay(
    statements: &InboxStatements,
    id: i64,
    audit: &AuditRow,
    connection: &mut PgConnection,
) -> Result<Operated, sqlx::Error> {
    let Some(mut stored) = lock(&statements.rows, id, connection).await? else {
        return Ok(Operated::NotFound);
    };
    if !stored.entry.has_body && matches!(stored.state.status, Status::Done | Status::Dead) {
        return Ok(Operated::NoBody);
    }
    if !rules::replay(&mut stored.state, stored.now) {
        return Ok(not_operated(&stored));
    }
    // The index on unfinished rows rejects the second of two rows with one key.
    let mut nested = connection.begin().await?;
    match write(&statements.rows, &stored, false, &mut nested).await {
        Ok(_) => nested.commit().await?,
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            nested.rollback().await?;
            return Ok(Operated::Conflict);
        }
        Err(error) => return Err(error),
    }
    write_audit(&statements.ns, audit, connection).await?;
    Ok(Operated::Done)
}

pub(super) async fn discard(
    statements: &InboxStatements,
    id: i64,
    audit: &AuditRow,
    connection: &mut PgConnection,
) -> Result<Operated, sqlx::Error> {
    let Some(mut stored) = lock(&statements.rows, id, connection).await? else {
        return Ok(Operated::NotFound);
    };
    if !rules::discard(&mut stored.state, stored.now) {
        return Ok(not_operated(&stored));
    }
    delete_body(&statements.rows, &mut stored, connection).await?;
    write(&statements.rows, &stored, false, connection).await?;
    write_audit(&statements.ns, audit, connection).await?;
    Ok(Operated::Done)
}

/// Locks the record of the event first, so that no instance stores the event until this transaction has ended.
pub(super) async fn forget(
    statements: &InboxStatements,
    event: EventKey,
    row_key: [u8; 32],
    audit: &AuditRow,
    connection: &mut PgConnection,
) -> Result<Forgotten, sqlx::Error> {
    let mut nested = connection.begin().await?;
    let forget = sqlx::query(AssertSqlSafe(statements.forget.clone())).bind(&event.as_bytes()[..]);
    let forgotten = super::super::forgotten(&forget.fetch_one(&mut *nested).await?)?;
    let ns = &statements.ns;
    let unfinished = format!("SELECT i.id FROM {ns}_inbox AS i WHERE i.row_key = $1 AND i.status IN (0, 1)");
    let unfinished = sqlx::query_scalar(AssertSqlSafe(unfinished)).bind(&row_key[..]);
    if let Some(id) = unfinished.fetch_optional(&mut *nested).await? {
        nested.rollback().await?;
        return Ok(Forgotten::Unfinished { id });
    }
    nested.commit().await?;
    if forgotten == Forgotten::Removed {
        write_audit(ns, audit, connection).await?;
    }
    Ok(forgotten)
}

fn not_operated(stored: &Stored) -> Operated {
    match stored.state.status {
        Status::Processing => Operated::Processing,
        status => Operated::WrongStatus(status),
    }
}

/// Writes the row of an endpoint, or of all endpoints if it is `""`. `since` is in Unix milliseconds.
pub(super) async fn control(
    ns: &str,
    endpoint: &str,
    paused: bool,
    since: Option<i64>,
    audit: &AuditRow,
    connection: &mut PgConnection,
) -> Result<(), sqlx::Error> {
    let set = format!(
        "INSERT INTO {ns}_inbox_control (endpoint, paused, stored_since)
        VALUES ($1, $2, to_timestamp($3::bigint::float8 / 1000))
        ON CONFLICT (endpoint) DO UPDATE SET paused = excluded.paused, stored_since = excluded.stored_since"
    );
    let query = sqlx::query(AssertSqlSafe(set)).bind(endpoint).bind(paused).bind(since.map(time));
    query.execute(&mut *connection).await?;
    write_audit(ns, audit, connection).await
}

pub(super) async fn write_audit(ns: &str, audit: &AuditRow, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let insert = format!(
        "INSERT INTO {ns}_inbox_audit (at, actor, action, subject, reason) VALUES (clock_timestamp(), $1, $2, $3, $4)"
    );
    let AuditRow { actor, action, subject, reason } = audit;
    let query = sqlx::query(AssertSqlSafe(insert)).bind(actor).bind(action).bind(subject).bind(reason);
    query.execute(connection).await.map(drop)
}

pub(super) async fn audit_entries(
    ns: &str,
    after: i64,
    limit: u32,
    connection: &mut PgConnection,
) -> Result<Vec<(i64, i64, AuditRow)>, sqlx::Error> {
    let select = format!(
        "SELECT id, {}, actor, action, subject, reason FROM {ns}_inbox_audit WHERE id > $1 ORDER BY id LIMIT $2",
        ms("at")
    );
    let query = sqlx::query(AssertSqlSafe(select)).bind(after).bind(i64::from(limit));
    query.fetch_all(connection).await?.iter().map(audit_entry).collect()
}

pub(super) async fn audit_of(
    ns: &str,
    id: i64,
    limit: u32,
    connection: &mut PgConnection,
) -> Result<Vec<(i64, i64, AuditRow)>, sqlx::Error> {
    let query = sqlx::query(AssertSqlSafe(audit_of_event(ns))).bind(id.to_string()).bind(i64::from(limit));
    // The last ones are read first.
    query.fetch_all(connection).await?.iter().rev().map(audit_entry).collect()
}

/// The actions are constants, so that the partial index is used.
pub(super) fn audit_of_event(ns: &str) -> String {
    format!(
        "SELECT id, {}, actor, action, subject, reason FROM {ns}_inbox_audit
        WHERE subject = $1 AND action IN ('replay', 'discard', 'body') ORDER BY id DESC LIMIT $2",
        ms("at")
    )
}

fn audit_entry(row: &sqlx::postgres::PgRow) -> Result<(i64, i64, AuditRow), sqlx::Error> {
    let [actor, action, subject, reason] = [2, 3, 4, 5].map(|at| row.try_get::<String, _>(at));
    let entry = AuditRow { actor: actor?, action: action?, subject: subject?, reason: reason? };
    Ok((row.try_get(0)?, row.try_get(1)?, entry))
}
