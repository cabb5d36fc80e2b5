//! The inbox in PostgreSQL.

#[cfg(feature = "sqlx-09")]
mod finish_in;
mod kinds;
mod lease;
mod operations;
mod parts;
mod row;
mod schema;
mod statements;
mod task;
#[cfg(test)]
mod tests;
mod upkeep;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

pub(super) use self::parts::InboxParts;
use self::statements::InboxStatements;
use self::task::{Task, TaskAnswer, TaskMode};
use super::super::namespace::Namespace;
use super::PostgresStore;
use super::work::seconds;
use crate::claim_token::ClaimToken;
use crate::dedupe::inbox::rules::{self, Ending, RowState};
use crate::dedupe::inbox::store::{
    AuditRow, CountOf, EntryRow, InboxCounts, InboxStore, Keep, KeyRecord, KindCounts, LeaseAnswer, LeaseHold, LeaseId,
    LeaseRequest, NewEvent, OldestRow, Operated, PurgedRows, RowFilter, SealedBody, StoreResult,
};
use crate::dedupe::{Forgotten, Settled, StoreFuture};
use crate::event_key::EventKey;
use crate::store_id::StoreId;
use crate::{ConfigError, StoreError};

/// The tables of the inbox of a [`PostgresStore`].
#[derive(Clone)]
pub(super) struct PostgresInbox {
    store: PostgresStore,
}

impl PostgresStore {
    /// Returns the statements that create the tables of the inbox of a namespace, to be run after those of
    /// [`ddl`](PostgresStore::ddl) and in the same schema. The store's own role then needs
    /// `SELECT, INSERT, UPDATE, DELETE` on `_inbox` and `_inbox_bodies`, `SELECT, INSERT, UPDATE` on `_inbox_control`,
    /// `SELECT, INSERT, DELETE` on `_inbox_keys`, `SELECT, INSERT` on `_inbox_audit`, and `SELECT` on `_inbox_schema`.
    /// It needs no privilege on sequences.
    ///
    /// ```
    /// let ddl = medhook::PostgresStore::inbox_ddl("medhook")?;
    /// assert!(ddl.starts_with("CREATE TABLE medhook_inbox (\n"));
    /// # Ok::<(), medhook::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// Returns the error of [`ddl`](PostgresStore::ddl).
    #[cfg_attr(docsrs, doc(cfg(feature = "inbox")))]
    pub fn inbox_ddl(namespace: &str) -> Result<String, ConfigError> {
        Namespace::new(namespace).map(|namespace| schema::ddl(&namespace, namespace.as_str()))
    }

    /// Creates or checks the tables of the inbox.
    pub(crate) async fn inbox_tables(&self) -> Result<(Arc<dyn InboxStore>, StoreId), ConfigError> {
        Ok((Arc::new(self.open_inbox().await?), self.inner.id))
    }

    /// Counts the events of an inbox that need not be open. Returns `None` if there are no tables of one.
    pub(crate) async fn counts_if_any(&self) -> Result<Option<InboxCounts>, StoreError> {
        let inner = self.inner.clone();
        let exists = async move {
            let mut connection = inner.inbox.sessions.open_in_time().await?;
            schema::exists(&mut connection, &inner.inbox.location).await
        };
        let exists: Result<bool, ConfigError> = self.inner.driver.run(exists).await?;
        if !exists.map_err(|error| StoreError::unavailable(error.to_string()))? {
            return Ok(None);
        }
        PostgresInbox { store: self.clone() }.counts(CountOf::All).await.map(Some)
    }

    async fn open_inbox(&self) -> Result<PostgresInbox, ConfigError> {
        let inner = self.inner.clone();
        let prepare = async move {
            let InboxParts { sessions, location, create_tables, .. } = &inner.inbox;
            let mut connection = sessions.open_in_time().await?;
            schema::prepare(&mut connection, &inner.namespace, location, *create_tables).await
        };
        self.inner.driver.run(prepare).await??;
        Ok(PostgresInbox { store: self.clone() })
    }
}

impl PostgresInbox {
    /// Runs an operation. The inbox is cloned for it, since the operation outlives its caller.
    async fn run<T: Send + 'static, A: Send + Sync + 'static>(
        &self,
        name: &'static str,
        mode: TaskMode,
        arguments: A,
        steps: impl for<'c> Fn(&'c InboxStatements, &'c A, &'c mut PgConnection) -> TaskAnswer<'c, T>
        + Send
        + Sync
        + Copy
        + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::new((self.store.inner.inbox.statements.clone(), arguments));
        let task = Task::new(name, mode, move |connection| {
            let shared = shared.clone();
            Box::pin(async move { steps(&shared.0, &shared.1, connection).await })
        });
        let connections = self.store.inner.connections.clone();
        self.store.inner.driver.run(async move { connections.step(task).await }).await?
    }

    async fn store(&self, event: NewEvent) -> Result<StoreResult, StoreError> {
        let event = Arc::new(event);
        for _ in 0..MOST_ATTEMPTS {
            let stored =
                self.run("store event", TaskMode::Statement, event.clone(), |statements, event, connection| {
                    Box::pin(store(statements, event, connection))
                });
            if let Some(result) = stored.await? {
                return Ok(result);
            }
        }
        // The event's state changed during each attempt.
        Ok(StoreResult::InFlight { retry_after: Duration::from_secs(1) })
    }
}

const MOST_ATTEMPTS: usize = 3;

/// Returns `None` if the statement's snapshot is older than the row that prevented it.
async fn store(
    statements: &InboxStatements,
    event: &NewEvent,
    connection: &mut PgConnection,
) -> Result<Option<StoreResult>, sqlx::Error> {
    let query = sqlx::query(AssertSqlSafe(statements.store.clone()))
        .bind(&event.event_key.as_bytes()[..])
        .bind(&event.token.as_bytes()[..])
        .bind(seconds(event.retention.total))
        .bind(&event.row_key[..])
        .bind(&event.endpoint)
        .bind(&event.provider)
        .bind(&event.kind)
        .bind(&event.secret)
        .bind(i64::try_from(event.size).unwrap_or(i64::MAX))
        .bind(&event.sealed_key[..])
        .bind(&event.sealed[..]);
    // Reads the whole answer: an error at COMMIT comes after the row.
    let rows = query.fetch_all(connection).await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    if let Some(id) = row.try_get(0)? {
        return Ok(Some(StoreResult::Stored { id }));
    }
    let (duplicate, handled, left): (bool, Option<bool>, Option<f64>) =
        (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    Ok(match (handled, left) {
        _ if duplicate => Some(StoreResult::Duplicate),
        (Some(true), _) => Some(StoreResult::Duplicate),
        (Some(false), Some(left)) => {
            Some(StoreResult::InFlight { retry_after: Duration::try_from_secs_f64(left).unwrap_or_default() })
        }
        _ => None,
    })
}

impl fmt::Debug for PostgresInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresInbox").field("namespace", &self.store.inner.namespace).finish_non_exhaustive()
    }
}

impl InboxStore for PostgresInbox {
    fn store_event(&self, event: NewEvent) -> StoreFuture<'_, StoreResult> {
        Box::pin(self.store(event))
    }

    fn lease(&self, request: LeaseRequest) -> StoreFuture<'_, LeaseAnswer> {
        Box::pin(self.run("lease", TaskMode::Repeatable, request, |statements, request, connection| {
            Box::pin(lease::lease(statements, request, connection))
        }))
    }

    fn renew(&self, id: i64, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        let arguments = (id, token, lease);
        Box::pin(self.run("renew", TaskMode::Repeatable, arguments, |statements, &(id, token, lease), connection| {
            Box::pin(lease::renew(&statements.rows, id, token, lease, connection))
        }))
    }

    fn finish(&self, lease: LeaseId, ending: Ending, keep_body: bool) -> StoreFuture<'_, Settled> {
        let arguments = (lease, ending, keep_body);
        Box::pin(self.run("finish", TaskMode::Repeatable, arguments, |statements, arguments, connection| {
            let (lease, ending, keep_body) = arguments;
            let finish = |row: &mut RowState, now| rules::finish_leased(row, lease.token, lease.replays, now, ending);
            Box::pin(lease::finish(&statements.rows, lease.row, finish, *keep_body, connection))
        }))
    }

    fn list(&self, filter: RowFilter) -> StoreFuture<'_, Vec<EntryRow>> {
        Box::pin(self.run("list", TaskMode::Statement, filter, |statements, filter, connection| {
            Box::pin(operations::list(&statements.ns, filter, connection))
        }))
    }

    fn body(&self, id: i64, audit: AuditRow) -> StoreFuture<'_, Option<SealedBody>> {
        Box::pin(self.run("body", TaskMode::Once, (id, audit), |statements, (id, audit), connection| {
            Box::pin(operations::body(&statements.ns, *id, audit, connection))
        }))
    }

    fn replay(&self, id: i64, audit: AuditRow) -> StoreFuture<'_, Operated> {
        Box::pin(self.run("replay", TaskMode::Once, (id, audit), |statements, (id, audit), connection| {
            Box::pin(operations::replay(statements, *id, audit, connection))
        }))
    }

    fn discard(&self, id: i64, audit: AuditRow) -> StoreFuture<'_, Operated> {
        Box::pin(self.run("discard", TaskMode::Once, (id, audit), |statements, (id, audit), connection| {
            Box::pin(operations::discard(statements, *id, audit, connection))
        }))
    }

    fn forget(&self, event: EventKey, row_key: [u8; 32], audit: AuditRow) -> StoreFuture<'_, Forgotten> {
        let arguments = (event, row_key, audit);
        Box::pin(self.run("forget", TaskMode::Once, arguments, |statements, (event, row_key, audit), connection| {
            Box::pin(operations::forget(statements, *event, *row_key, audit, connection))
        }))
    }

    fn set_paused(&self, endpoint: String, paused: bool, audit: AuditRow) -> StoreFuture<'_, ()> {
        let arguments = (endpoint, paused, audit);
        Box::pin(self.run("pause", TaskMode::Once, arguments, |statements, (endpoint, paused, audit), connection| {
            Box::pin(operations::control(&statements.ns, endpoint, *paused, None, audit, connection))
        }))
    }

    fn set_hold(&self, hold: LeaseHold, audit: AuditRow) -> StoreFuture<'_, ()> {
        Box::pin(self.run("hold", TaskMode::Once, (hold, audit), |statements, (hold, audit), connection| {
            let (all, since) = match *hold {
                LeaseHold::None => (false, None),
                LeaseHold::All => (true, None),
                LeaseHold::StoredBefore(time) => (false, Some(time)),
            };
            Box::pin(operations::control(&statements.ns, "", all, since, audit, connection))
        }))
    }

    fn counts(&self, of: CountOf) -> StoreFuture<'_, InboxCounts> {
        Box::pin(self.run("counts", TaskMode::Statement, of, |statements, of, connection| {
            Box::pin(upkeep::counts(statements, of, connection))
        }))
    }

    fn count_kinds(&self, most: u32) -> StoreFuture<'_, KindCounts> {
        Box::pin(self.run("count kinds", TaskMode::Statement, most, |statements, most, connection| {
            Box::pin(kinds::count_kinds(statements, *most, connection))
        }))
    }

    fn oldest_of(&self, endpoint: String, kinds: Vec<&'static str>) -> StoreFuture<'_, Vec<OldestRow>> {
        let arguments = (endpoint, kinds);
        Box::pin(self.run("oldest", TaskMode::Statement, arguments, |statements, (endpoint, kinds), connection| {
            Box::pin(kinds::oldest_of(statements, endpoint, kinds, connection))
        }))
    }

    fn purge(&self, endpoint: String, keep: Keep) -> StoreFuture<'_, PurgedRows> {
        Box::pin(self.run(
            "purge",
            TaskMode::Repeatable,
            (endpoint, keep),
            |statements, (endpoint, keep), connection| Box::pin(upkeep::purge(statements, endpoint, *keep, connection)),
        ))
    }

    fn truncate_log(&self) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn key_records(&self) -> StoreFuture<'_, Vec<KeyRecord>> {
        Box::pin(self.run("key records", TaskMode::Statement, (), |statements, (), connection| {
            Box::pin(upkeep::key_records(&statements.ns, connection))
        }))
    }

    fn add_key_record(&self, record: KeyRecord) -> StoreFuture<'_, ()> {
        Box::pin(self.run("add key record", TaskMode::Statement, record, |statements, record, connection| {
            Box::pin(upkeep::add_key_record(&statements.ns, record, connection))
        }))
    }

    fn remove_key_record(&self, key_id: [u8; 4]) -> StoreFuture<'_, bool> {
        Box::pin(self.run("remove key record", TaskMode::Repeatable, key_id, |statements, key_id, connection| {
            Box::pin(upkeep::remove_key_record(&statements.ns, *key_id, connection))
        }))
    }

    fn sealed_otherwise(&self, key_id: [u8; 4], after: i64, limit: u32) -> StoreFuture<'_, Vec<SealedBody>> {
        let arguments = (key_id, after, limit);
        Box::pin(self.run("list sealed", TaskMode::Statement, arguments, |statements, arguments, connection| {
            let &(key_id, after, limit) = arguments;
            Box::pin(upkeep::sealed_otherwise(&statements.ns, key_id, after, limit, connection))
        }))
    }

    fn reseal(&self, before: SealedBody, after: SealedBody) -> StoreFuture<'_, bool> {
        Box::pin(self.run("reseal", TaskMode::Once, (before, after), |statements, (before, after), connection| {
            Box::pin(upkeep::reseal(&statements.ns, before, after, connection))
        }))
    }

    fn write_audit(&self, audit: AuditRow) -> StoreFuture<'_, ()> {
        Box::pin(self.run("audit", TaskMode::Once, audit, |statements, audit, connection| {
            Box::pin(operations::write_audit(&statements.ns, audit, connection))
        }))
    }

    fn audit_entries(&self, after: i64, limit: u32) -> StoreFuture<'_, Vec<(i64, i64, AuditRow)>> {
        Box::pin(self.run("audit entries", TaskMode::Statement, (after, limit), |statements, arguments, connection| {
            let &(after, limit) = arguments;
            Box::pin(operations::audit_entries(&statements.ns, after, limit, connection))
        }))
    }

    fn audit_of(&self, id: i64, limit: u32) -> StoreFuture<'_, Vec<(i64, i64, AuditRow)>> {
        Box::pin(self.run("audit of", TaskMode::Statement, (id, limit), |statements, &(id, limit), connection| {
            Box::pin(operations::audit_of(&statements.ns, id, limit, connection))
        }))
    }
}
