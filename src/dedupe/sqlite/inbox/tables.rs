//! The tables of an inbox, and all statements on them.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::super::batches::sizes;
use super::super::fault::Fault;
use crate::dedupe::namespace::Namespace;

macro_rules! statements {
    ({ $($(#[$doc:meta])* $name:ident = $sql:expr;)* } batches { $($batch:ident = $one:expr, $all:expr;)* }) => {
        /// The statements of one namespace. `{}` is its prefix, and `{row}` are the columns of
        /// [`InboxRow`](super::row::InboxRow).
        #[derive(Debug)]
        pub(in super::super) struct InboxTables {
            create: Arc<str>,
            /// The prefix of the tables, for statements that are composed.
            pub(super) prefix: Box<str>,
            $($(#[$doc])* pub(super) $name: Arc<str>,)*
            $(pub(super) $batch: Vec<Arc<str>>,)*
        }

        impl InboxTables {
            pub(in super::super) fn new(namespace: &Namespace) -> Self {
                // Without its schema, a name would be that of a temporary table of the application's connection.
                let prefix = format!("main.{}_inbox", namespace.as_str());
                let sql = |sql: &str| -> Arc<str> { sql.replace("{}", &prefix).replace("{row}", ROW).into() };
                InboxTables {
                    create: ddl(namespace).into(),
                    $($name: sql($sql),)*
                    $($batch: sizes($one, &|items| $all.replace("{}", &prefix).replace("{items}", &items)),)*
                    prefix: prefix.clone().into(),
                }
            }

            /// Returns all statements, for the test of their plans.
            #[cfg(test)]
            pub(super) fn all(&self) -> Vec<(&'static str, Arc<str>)> {
                vec![$((stringify!($name), self.$name.clone()),)* $((stringify!($batch), self.$batch[1].clone()),)*]
            }
        }
    };
}

statements! {{
    version = "SELECT version FROM {}_schema";
    get = "SELECT {row} FROM {} WHERE id = ?1";
    conflict = "SELECT 1 FROM {} WHERE row_key = ?1 AND status IN (0, 1) AND id <> ?2";
    unfinished_id = "SELECT id FROM {} WHERE row_key = ?1 AND status IN (0, 1)";
    // The event that the token has leased, and the time before which events are held.
    leased = "SELECT (SELECT id FROM {} WHERE status = 1 AND endpoint = ?1 AND token = ?2), \
        (SELECT max(held_before) FROM {}_control WHERE endpoint IN ('', ?1))";
    next_waiting = "SELECT id, due FROM {} WHERE status = 0 AND endpoint = ?1 AND stored_at >= ?2 \
        ORDER BY due, id LIMIT 1";
    next_suspect = "SELECT id FROM {} WHERE status = 1 AND endpoint = ?1 AND due <= ?3 AND stored_at >= ?2 \
        ORDER BY due, id LIMIT 1";
    update = "UPDATE {} SET status = ?2, due = ?3, token = ?4, attempts = ?5, crashes = ?6, alone = ?7, replays = ?8, \
        reason = ?9, ended_at = ?10, body_begins = CASE WHEN ?11 THEN body_begins END WHERE id = ?1";
    body = "SELECT sealed FROM {}_bodies WHERE id = ?1";
    delete_body = "DELETE FROM {}_bodies WHERE id = ?1";
    without_body = "UPDATE {} SET body_begins = NULL WHERE id = ?1";
    // The status is in the statement, so that no mistake elsewhere deletes an event that is not finished.
    delete = "DELETE FROM {} WHERE id = ?1 AND status >= 2 AND body_begins IS NULL AND mark_until <= ?2";
    ended_bodies = "SELECT id, size FROM {} WHERE status >= 2 AND body_begins IS NOT NULL AND endpoint = ?1 AND status = ?2 \
        AND ended_at <= ?3 ORDER BY ended_at LIMIT ?4";
    ended_rows = "SELECT id FROM {} WHERE status >= 2 AND body_begins IS NULL AND endpoint = ?1 AND status = ?2 \
        AND ended_at <= ?3 AND mark_until <= ?4 ORDER BY ended_at LIMIT ?5";
    controls = "SELECT endpoint, held_before FROM {}_control";
    control = "INSERT INTO {}_control (endpoint, held_before) VALUES (?1, ?2) \
        ON CONFLICT (endpoint) DO UPDATE SET held_before = excluded.held_before";
    remove_control = "DELETE FROM {}_control WHERE endpoint = ?1";
    count_waiting = "SELECT endpoint, count(*), sum(size), min(stored_at) FROM {} WHERE status = 0 GROUP BY endpoint";
    count_processing = "SELECT endpoint, count(*), sum(size), min(stored_at) FROM {} WHERE status = 1 \
        GROUP BY endpoint";
    count_dead = "SELECT endpoint, count(*), sum(size), NULL FROM {} WHERE status = 3 GROUP BY endpoint";
    count_waiting_of = "SELECT ?1, count(*), sum(size), min(stored_at) FROM {} WHERE status = 0 AND endpoint = ?1";
    count_processing_of = "SELECT ?1, count(*), sum(size), min(stored_at) FROM {} WHERE status = 1 AND endpoint = ?1";
    count_dead_of = "SELECT ?1, count(*), sum(size), NULL FROM {} WHERE status = 3 AND endpoint = ?1";
    kinds_waiting = "SELECT endpoint, kind, count(*) FROM (SELECT endpoint, kind FROM {} WHERE status = 0 LIMIT ?1) \
        GROUP BY endpoint, kind";
    kinds_processing = "SELECT endpoint, kind, count(*) FROM (SELECT endpoint, kind FROM {} WHERE status = 1 LIMIT ?1) \
        GROUP BY endpoint, kind";
    kinds_dead = "SELECT endpoint, kind, count(*) FROM (SELECT endpoint, kind FROM {} WHERE status = 3 LIMIT ?1) \
        GROUP BY endpoint, kind";
    // The id is that of the row with the minimum.
    oldest_waiting = "SELECT min(stored_at), id FROM {} WHERE status = 0 AND endpoint = ?1 AND kind = ?2";
    oldest_processing = "SELECT min(stored_at), id FROM {} WHERE status = 1 AND endpoint = ?1 AND kind = ?2";
    keys = "SELECT key_id, sealed FROM {}_keys ORDER BY key_id";
    add_key = "INSERT INTO {}_keys (key_id, sealed) VALUES (?1, ?2) ON CONFLICT (key_id) DO NOTHING";
    uses_key = "SELECT 1 FROM {} WHERE substr(sealed_key, 1, 5) = ?1 OR body_begins = ?1 LIMIT 1";
    remove_key = "DELETE FROM {}_keys WHERE key_id = ?1";
    sealed_otherwise = "SELECT {row} FROM {} WHERE id > ?1 AND (substr(sealed_key, 1, 5) IS NOT ?2 \
        OR (body_begins IS NOT NULL AND body_begins <> ?2)) ORDER BY id LIMIT ?3";
    reseal_key = "UPDATE {} SET sealed_key = ?2, body_begins = ?3 WHERE id = ?1";
    reseal_body = "UPDATE {}_bodies SET sealed = ?2 WHERE id = ?1";
    audit = "INSERT INTO {}_audit (at, actor, action, subject, reason) VALUES (?1, ?2, ?3, ?4, ?5)";
    audits = "SELECT id, at, actor, action, subject, reason FROM {}_audit WHERE id > ?1 ORDER BY id LIMIT ?2";
    audits_of = "SELECT id, at, actor, action, subject, reason FROM {}_audit WHERE subject = ?1 \
        AND action IN ('replay', 'discard', 'body') ORDER BY id DESC LIMIT ?2";
    // One statement, so that a deferred transaction that has not read before can run it.
    #[cfg_attr(not(feature = "sqlx-09"), allow(dead_code, reason = "only `finish_in` needs it"))]
    finish_in = "UPDATE {} SET status = 2, reason = NULL, crashes = 0, alone = 0, \
        ended_at = CASE status WHEN 1 THEN ?3 ELSE ended_at END WHERE id = ?1 AND token = ?2 AND status IN (1, 2)";
} batches {
    // The text of one event, and the statement for several.
    stored_by = "?", "SELECT id, stored_by FROM {} WHERE stored_by IN ({items})";
    unfinished = "?", "SELECT row_key FROM {} WHERE status IN (0, 1) AND row_key IN ({items})";
    // Rows without a key fill up the batch.
    insert = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "INSERT INTO {} (row_key, stored_by, endpoint, provider, kind, secret, \
        size, stored_at, due, mark_until, sealed_key, body_begins, status, attempts, crashes, alone, replays) \
        SELECT column1, column2, column3, column4, column5, column6, column7, column8, column8, column9, column10, \
        column11, 0, 0, 0, 0, 0 FROM (VALUES {items}) WHERE column1 IS NOT NULL RETURNING id, stored_by";
    // SQLite overwrites a cell that is deleted, but not the copies that were left behind when it was moved to another
    // page before. The cover fills the cell, so that the body is in overflow pages, which are never moved.
    insert_body = "(?, ?)", "INSERT INTO {}_bodies (id, cover, sealed) \
        SELECT column1, zeroblob((SELECT page_size FROM pragma_page_size)), column2 \
        FROM (VALUES {items}) WHERE column1 IS NOT NULL";
}}

impl InboxTables {
    /// Creates missing tables if `create` is set, and checks their version. Must run in a transaction.
    pub(in super::super) async fn prepare(&self, connection: &mut SqliteConnection, create: bool) -> Result<(), Fault> {
        if create {
            sqlx::raw_sql(AssertSqlSafe(self.create.clone())).execute(&mut *connection).await?;
        }
        let versions: Vec<i64> = sqlx::query_scalar(sql(&self.version)).fetch_all(connection).await?;
        match versions.as_slice() {
            [VERSION] => Ok(()),
            [newer] if *newer > VERSION => Err(Fault::new(format!(
                "the tables of its inbox have version {newer} of a newer medhook, but this medhook supports version \
                 {VERSION}; upgrade medhook"
            ))),
            _ => Err(Fault::new("the tables of its inbox were not created by medhook")),
        }
    }
}

/// Returns the statements that create the tables of an inbox.
pub(in super::super) fn ddl(namespace: &Namespace) -> String {
    TABLES.replace("medhook_", &format!("{}_", namespace.as_str()))
}

/// Returns a statement. Only checked names of namespaces and constants are inserted into statements.
pub(super) fn sql(statement: &Arc<str>) -> AssertSqlSafe<Arc<str>> {
    AssertSqlSafe(statement.clone())
}

/// The columns of an [`InboxRow`](super::row::InboxRow).
pub(super) const ROW: &str = "id, endpoint, provider, kind, secret, status, attempts, replays, stored_at, due, \
    ended_at, reason, size, body_begins IS NOT NULL, row_key, stored_by, sealed_key, token, crashes, alone";

/// The tables of the default namespace. The rustdoc of `SqliteStore::inbox_ddl` includes them.
const TABLES: &str = include_str!("../tables_inbox.sql");
const VERSION: i64 = 1;
