//! Counts, purges, and the change of keys.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};

use super::super::work::seconds;
use super::row::{fixed, ms, sealed_body};
use super::statements::InboxStatements;
use crate::counts::EndpointCounts;
use crate::dedupe::inbox::store::{CountOf, InboxCounts, Keep, KeyRecord, LeaseHold, PurgedRows, SealedBody};

pub(super) async fn counts(
    statements: &InboxStatements,
    of: &CountOf,
    connection: &mut PgConnection,
) -> Result<InboxCounts, sqlx::Error> {
    let query = match of {
        CountOf::All => sqlx::query(AssertSqlSafe(statements.counts.clone())),
        CountOf::Endpoint(endpoint) => sqlx::query(AssertSqlSafe(statements.counts_of.clone())).bind(endpoint),
        CountOf::Unfinished(endpoint) => sqlx::query(AssertSqlSafe(statements.unfinished_of.clone())).bind(endpoint),
    };
    let rows = query.fetch_all(&mut *connection).await?;
    let now = format!("SELECT {}", ms("clock_timestamp()"));
    let now: i64 = sqlx::query(AssertSqlSafe(now)).fetch_one(connection).await?.try_get(0)?;
    let mut hold = LeaseHold::None;
    let mut endpoints = BTreeMap::<String, EndpointCounts>::new();
    for row in rows {
        let endpoint: String = row.try_get("endpoint")?;
        let (status, at): (Option<i16>, Option<i64>) = (row.try_get("status")?, row.try_get("at")?);
        let (count, bytes) = (number(&row, "count")?, number(&row, "bytes")?);
        let paused: bool = row.try_get("paused")?;
        if endpoint.is_empty() && status.is_none() {
            hold = match at {
                _ if paused => LeaseHold::All,
                Some(time) => LeaseHold::StoredBefore(time),
                None => LeaseHold::None,
            };
            continue;
        }
        if status.is_none() && !paused {
            continue;
        }
        let counts = endpoints
            .entry(endpoint.clone())
            .or_insert_with(|| EndpointCounts { endpoint, ..EndpointCounts::default() });
        match status {
            Some(0) => counts.waiting = count,
            Some(1) => counts.processing = count,
            Some(_) => counts.dead = count,
            None => counts.paused = true,
        }
        counts.bytes = counts.bytes.saturating_add(bytes);
        if matches!(status, Some(0 | 1)) {
            counts.unfinished_bytes = counts.unfinished_bytes.saturating_add(bytes);
        }
        let age = at.map(|at| Duration::from_millis(u64::try_from(now.saturating_sub(at)).unwrap_or_default()));
        counts.oldest = counts.oldest.max(age.filter(|_| status.is_some()));
    }
    Ok(InboxCounts { hold, endpoints: endpoints.into_values().collect() })
}

fn number(row: &PgRow, name: &str) -> Result<u64, sqlx::Error> {
    row.try_get::<i64, _>(name).map(|number| u64::try_from(number).unwrap_or_default())
}

pub(super) async fn purge(
    statements: &InboxStatements,
    endpoint: &str,
    keep: Keep,
    connection: &mut PgConnection,
) -> Result<PurgedRows, sqlx::Error> {
    let [bodies, dead, done, discarded] = &statements.purge;
    let mut purged = PurgedRows::default();
    let batches = [(bodies, Some(keep.done)), (dead, keep.dead), (done, Some(keep.rows)), (discarded, Some(keep.rows))];
    for (statement, kept) in batches {
        let Some(kept) = kept else {
            continue;
        };
        let query = sqlx::query(AssertSqlSafe(statement.clone())).bind(endpoint).bind(seconds(kept));
        let row = query.fetch_one(&mut *connection).await?;
        let (bodies, rows) = (number(&row, "bodies")?, number(&row, "rows")?);
        purged.bodies = purged.bodies.saturating_add(bodies);
        purged.rows = purged.rows.saturating_add(rows);
        purged.more |= bodies.max(rows) >= BATCH;
    }
    Ok(purged)
}

const BATCH: u64 = 500;

pub(super) async fn key_records(ns: &str, connection: &mut PgConnection) -> Result<Vec<KeyRecord>, sqlx::Error> {
    let select = format!("SELECT key_id, sealed FROM {ns}_inbox_keys ORDER BY key_id");
    let rows = sqlx::query(AssertSqlSafe(select)).fetch_all(connection).await?;
    let record = |row: &PgRow| {
        let key_id = fixed("key_id", row.try_get(0)?)?;
        Ok(KeyRecord { key_id, sealed: row.try_get::<Vec<u8>, _>(1)?.into() })
    };
    rows.iter().map(record).collect()
}

pub(super) async fn add_key_record(
    ns: &str,
    record: &KeyRecord,
    connection: &mut PgConnection,
) -> Result<(), sqlx::Error> {
    let insert = format!("INSERT INTO {ns}_inbox_keys (key_id, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING");
    let query = sqlx::query(AssertSqlSafe(insert)).bind(&record.key_id[..]).bind(&record.sealed[..]);
    query.execute(connection).await.map(drop)
}

pub(super) async fn remove_key_record(
    ns: &str,
    key_id: [u8; 4],
    connection: &mut PgConnection,
) -> Result<bool, sqlx::Error> {
    let used = format!(
        "SELECT EXISTS (SELECT FROM {ns}_inbox WHERE substring(sealed_key FROM 1 FOR 5) = $1)
            OR EXISTS (SELECT FROM {ns}_inbox_bodies WHERE substring(sealed FROM 1 FOR 5) = $1)"
    );
    let query = sqlx::query(AssertSqlSafe(used)).bind(&sealed_under(key_id)[..]);
    if query.fetch_one(&mut *connection).await?.try_get(0)? {
        return Ok(false);
    }
    let delete = format!("DELETE FROM {ns}_inbox_keys WHERE key_id = $1");
    sqlx::query(AssertSqlSafe(delete)).bind(&key_id[..]).execute(connection).await?;
    Ok(true)
}

/// Returns fewer rows than `limit` if their bodies are large.
pub(super) async fn sealed_otherwise(
    ns: &str,
    key_id: [u8; 4],
    after: i64,
    limit: u32,
    connection: &mut PgConnection,
) -> Result<Vec<SealedBody>, sqlx::Error> {
    let select = format!(
        "SELECT old.id, i.endpoint, i.row_key, i.stored_by, i.sealed_key, b.sealed
        FROM (
            SELECT i.id, sum(coalesce(octet_length(b.sealed), 0)) OVER (ORDER BY i.id ROWS UNBOUNDED PRECEDING)
                - coalesce(octet_length(b.sealed), 0) AS before
            FROM {ns}_inbox AS i LEFT JOIN {ns}_inbox_bodies AS b ON b.id = i.id
            WHERE i.id > $2
                AND (substring(i.sealed_key FROM 1 FOR 5) <> $1 OR substring(b.sealed FROM 1 FOR 5) <> $1)
            ORDER BY i.id LIMIT $3
        ) AS old
        JOIN {ns}_inbox AS i ON i.id = old.id LEFT JOIN {ns}_inbox_bodies AS b ON b.id = i.id
        WHERE old.before < {MOST_BYTES} ORDER BY old.id"
    );
    let query = sqlx::query(AssertSqlSafe(select)).bind(&sealed_under(key_id)[..]).bind(after).bind(i64::from(limit));
    query.fetch_all(connection).await?.iter().map(sealed_body).collect()
}

const MOST_BYTES: u32 = 4 * 1024 * 1024;

/// Returns the first bytes of what is sealed under a key.
fn sealed_under(key_id: [u8; 4]) -> [u8; 5] {
    let [a, b, c, d] = key_id;
    [1, a, b, c, d]
}

pub(super) async fn reseal(
    ns: &str,
    before: &SealedBody,
    after: &SealedBody,
    connection: &mut PgConnection,
) -> Result<bool, sqlx::Error> {
    // The row is locked first, as in every other operation.
    let lock = format!(
        "SELECT i.sealed_key = $2 AND (SELECT b.sealed FROM {ns}_inbox_bodies AS b WHERE b.id = i.id) 
            IS NOT DISTINCT FROM $3
        FROM {ns}_inbox AS i WHERE i.id = $1 FOR UPDATE"
    );
    let query = sqlx::query(AssertSqlSafe(lock)).bind(before.id).bind(&before.sealed_key[..]);
    let row = query.bind(before.sealed.as_deref()).fetch_optional(&mut *connection).await?;
    if !row.map_or(Ok(false), |row| row.try_get(0))? {
        return Ok(false);
    }
    let key = format!("UPDATE {ns}_inbox SET sealed_key = $2 WHERE id = $1");
    let query = sqlx::query(AssertSqlSafe(key)).bind(before.id).bind(&after.sealed_key[..]);
    query.execute(&mut *connection).await?;
    let Some(sealed) = after.sealed.as_deref() else {
        return Ok(true);
    };
    // No row is updated if the body was deleted between the two snapshots: it stays deleted.
    let body = format!("UPDATE {ns}_inbox_bodies SET sealed = $2 WHERE id = $1");
    sqlx::query(AssertSqlSafe(body)).bind(before.id).bind(sealed).execute(connection).await?;
    Ok(true)
}
