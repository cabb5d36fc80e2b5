//! The tables, and all statements on them.

use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::batches::{padded, sizes};
use super::fault::Fault;
use super::rules::EventRow;
use crate::claim_token::ClaimToken;
use crate::dedupe::namespace::Namespace;
use crate::event_key::EventKey;

/// The statements of one namespace. A namespace is checked to be a plain name, and nothing else is inserted into SQL.
#[derive(Debug)]
pub(super) struct Tables {
    create: Arc<str>,
    version: Arc<str>,
    /// Fails if the table of bodies is missing.
    bodies: Arc<str>,
    /// One statement for each power of two of events, so that each is prepared once.
    read: Vec<Arc<str>>,
    write: Vec<Arc<str>>,
    delete: Vec<Arc<str>>,
    record: Arc<str>,
    failure: Arc<str>,
    /// One statement for each table whose rows expire.
    purge: [Arc<str>; 2],
    #[cfg(feature = "sqlx-09")]
    commit: Arc<str>,
    #[cfg(feature = "inbox")]
    pub(super) inbox: super::inbox::tables::InboxTables,
}

impl Tables {
    pub(super) fn new(namespace: &Namespace) -> Self {
        // Without its schema, a name would be that of a temporary table of the application's connection.
        let name = format!("main.{}", namespace.as_str());
        Tables {
            create: TABLES.replace("medhook_", &format!("{}_", namespace.as_str())).into(),
            version: format!("SELECT version FROM {name}_schema").into(),
            bodies: format!("SELECT key FROM {name}_bodies LIMIT 0").into(),
            read: sizes("?", &|keys| {
                format!("SELECT key, token, handled, until FROM {name}_events WHERE key IN ({keys})")
            }),
            write: sizes("(?,?,?,?)", &|rows| {
                format!(
                    "INSERT INTO {name}_events (key, token, handled, until) VALUES {rows} ON CONFLICT (key) DO UPDATE \
                     SET token = excluded.token, handled = excluded.handled, until = excluded.until"
                )
            }),
            delete: sizes("?", &|keys| format!("DELETE FROM {name}_events WHERE key IN ({keys})")),
            record: RECORD.replace("{name}", &name).replace("{full}", FULL).replace("{gone}", GONE).replace("{over}", OVER).into(),
            failure: format!("UPDATE {name}_bodies SET in_period = in_period - 1 WHERE key = ? AND in_period > 0").into(),
            purge: ["events", "bodies"].map(|table| {
                format!(
                    "DELETE FROM {name}_{table} WHERE key IN \
                     (SELECT key FROM {name}_{table} WHERE until <= ? ORDER BY until LIMIT ?)"
                )
                .into()
            }),
            #[cfg(feature = "sqlx-09")]
            commit: format!(
                "INSERT INTO {name}_events (key, token, handled, until) VALUES (?, ?, 1, ?) ON CONFLICT (key) DO UPDATE \
                 SET handled = 1, until = excluded.until WHERE token = excluded.token"
            )
            .into(),
            #[cfg(feature = "inbox")]
            inbox: super::inbox::tables::InboxTables::new(namespace),
        }
    }

    /// Creates missing tables if `create` is set, and checks their version. Must run in a transaction.
    pub(super) async fn prepare(&self, connection: &mut SqliteConnection, create: bool) -> Result<(), Fault> {
        if create {
            sqlx::raw_sql(AssertSqlSafe(self.create.clone())).execute(&mut *connection).await?;
        }
        let version: Vec<i64> =
            sqlx::query_scalar(AssertSqlSafe(self.version.clone())).fetch_all(&mut *connection).await?;
        match version.as_slice() {
            [VERSION] => {
                sqlx::query(AssertSqlSafe(self.bodies.clone())).execute(&mut *connection).await?;
                Ok(())
            }
            [newer] if *newer > VERSION => Err(Fault::new(format!(
                "its tables have version {newer} of a newer medhook, but this medhook supports version {VERSION}; \
                 upgrade medhook"
            ))),
            _ => Err(Fault::new("its tables were not created by medhook")),
        }
    }

    /// Reads the events of 1 to [`MOST`](super::batches::MOST) keys.
    pub(super) async fn read(
        &self,
        connection: &mut SqliteConnection,
        keys: &[EventKey],
    ) -> Result<Vec<(EventKey, EventRow)>, Fault> {
        let (sql, keys) = padded(&self.read, keys)?;
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for key in keys {
            query = query.bind(key.as_bytes().as_slice());
        }
        query.fetch_all(connection).await?.iter().map(row).collect()
    }

    pub(super) async fn write(
        &self,
        connection: &mut SqliteConnection,
        rows: &[(EventKey, EventRow)],
    ) -> Result<(), Fault> {
        let (sql, rows) = padded(&self.write, rows)?;
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (key, row) in rows {
            query = query.bind(key.as_bytes().as_slice()).bind(row.token.as_bytes().as_slice());
            query = query.bind(row.handled).bind(row.until);
        }
        query.execute(connection).await?;
        Ok(())
    }

    pub(super) async fn delete(&self, connection: &mut SqliteConnection, keys: &[EventKey]) -> Result<(), Fault> {
        let (sql, keys) = padded(&self.delete, keys)?;
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for key in keys {
            query = query.bind(key.as_bytes().as_slice());
        }
        query.execute(connection).await?;
        Ok(())
    }

    /// Records an event as handled in one statement, so that a deferred transaction that has not read before can run
    /// it. Returns false if another claim has the event.
    #[cfg(feature = "sqlx-09")]
    pub(super) async fn commit(
        &self,
        connection: &mut SqliteConnection,
        key: EventKey,
        token: ClaimToken,
        until: i64,
    ) -> Result<bool, Fault> {
        let query = sqlx::query(AssertSqlSafe(self.commit.clone()));
        let query = query.bind(key.as_bytes().as_slice()).bind(token.as_bytes().as_slice()).bind(until);
        Ok(query.execute(connection).await?.rows_affected() > 0)
    }

    /// Counts a delivery of a body. Returns the number of earlier deliveries, the time of the first of all, the number
    /// of earlier ones in the current period, and the time at which it began.
    pub(super) async fn record(
        &self,
        connection: &mut SqliteConnection,
        body: EventKey,
        now: i64,
        until: i64,
        most: i64,
    ) -> Result<[(i64, i64); 2], Fault> {
        let query = sqlx::query_as(AssertSqlSafe(self.record.clone()));
        let query = query.bind(body.as_bytes().as_slice()).bind(now).bind(until).bind(most);
        let (deliveries, first_seen, in_period, period_began) = query.fetch_one(connection).await?;
        Ok([(deliveries, first_seen), (in_period, period_began)])
    }

    /// Removes one delivery of a body from the current period.
    pub(super) async fn record_failure(&self, connection: &mut SqliteConnection, body: EventKey) -> Result<(), Fault> {
        let query = sqlx::query(AssertSqlSafe(self.failure.clone()));
        query.bind(body.as_bytes().as_slice()).execute(connection).await?;
        Ok(())
    }

    /// Deletes up to `most` of the rows of each table that expired before a time. Returns whether there may be more.
    pub(super) async fn purge(
        &self,
        connection: &mut SqliteConnection,
        before: i64,
        most: usize,
    ) -> Result<bool, Fault> {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let mut more = false;
        for purge in &self.purge {
            let query = sqlx::query(AssertSqlSafe(purge.clone())).bind(before).bind(most);
            more |= query.execute(&mut *connection).await?.rows_affected() >= u64::from(most);
        }
        Ok(more)
    }
}

/// The tables of the default namespace. The rustdoc of `SqliteBuilder::create_tables` includes them.
const TABLES: &str = include_str!("tables.sql");
const VERSION: i64 = 1;

/// Counts a delivery, unless `{full}`: enough of them count in the current period. `{gone}`: the record has expired.
/// `{over}`: the period has ended. A time in the future is from before the clock was set back, and becomes the present.
const RECORD: &str = "
INSERT INTO {name}_bodies (key, deliveries, first_seen, period_began, in_period, counted, until)
VALUES (?1, 1, ?2, ?2, 1, 1, ?3) ON CONFLICT (key) DO UPDATE SET
    deliveries = CASE WHEN {gone} THEN 1 WHEN {full} THEN deliveries ELSE deliveries + 1 END,
    first_seen = CASE WHEN {gone} THEN ?2 ELSE min(first_seen, ?2) END,
    period_began = CASE WHEN {over} THEN ?2 ELSE min(period_began, ?2) END,
    in_period = CASE WHEN {over} THEN 1 WHEN {full} THEN in_period ELSE in_period + 1 END,
    counted = NOT {full},
    until = ?3
RETURNING deliveries - counted, first_seen, in_period - counted, period_began";
const GONE: &str = "until <= ?2";
const OVER: &str = "(until <= ?2 OR period_began <= ?2 - (?3 - ?2))";
const FULL: &str = "(NOT {over} AND in_period >= ?4)";

fn row(row: &SqliteRow) -> Result<(EventKey, EventRow), Fault> {
    let damaged = || Fault::new("the row of an event is damaged");
    let key: &[u8] = row.try_get(0)?;
    let token: &[u8] = row.try_get(1)?;
    let key = EventKey::from_bytes(key.try_into().map_err(|_| damaged())?);
    let token = ClaimToken::from_bytes(token.try_into().map_err(|_| damaged())?);
    Ok((key, EventRow { token, handled: row.try_get(2)?, until: row.try_get(3)? }))
}
