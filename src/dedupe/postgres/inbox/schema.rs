//! The tables of the inbox, their version, and the privileges that the inbox needs.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, Row};

use super::super::super::namespace::Namespace;
use super::super::describe::describe;
use super::super::location::Location;
use super::super::schema::lock;
use crate::ConfigError;

/// The version of the inbox's tables that this code reads and writes. It is independent of the version of the store's
/// tables, so that instances without an inbox share the store.
const VERSION: i32 = 1;

/// Returns the statements that create the tables. `at` is the beginning of their names, with or without their schema.
///
/// Bodies have a table of their own, so that a body is deleted without its row, and are not compressed, since sealed
/// bytes do not compress. Each index that covers a status contains what counts and purges need of it. In `_control`,
/// the row of the endpoint `''` concerns all endpoints.
pub(in super::super) fn ddl(namespace: &Namespace, at: &str) -> String {
    let ns = namespace.as_str();
    format!(
        "CREATE TABLE {at}_inbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    row_key bytea NOT NULL CHECK (octet_length(row_key) = 32),
    stored_by bytea NOT NULL CHECK (octet_length(stored_by) = 16),
    endpoint text NOT NULL,
    provider text NOT NULL,
    kind text NOT NULL,
    secret text NOT NULL,
    status smallint NOT NULL DEFAULT 0 CHECK (status BETWEEN 0 AND 4),
    due timestamptz NOT NULL CHECK (isfinite(due)),
    token bytea CHECK (octet_length(token) = 16),
    attempts integer NOT NULL DEFAULT 0,
    crashes integer NOT NULL DEFAULT 0,
    alone boolean NOT NULL DEFAULT false,
    replays integer NOT NULL DEFAULT 0,
    reason text,
    stored_at timestamptz NOT NULL CHECK (isfinite(stored_at)),
    ended_at timestamptz CHECK (isfinite(ended_at)),
    mark_until timestamptz NOT NULL,
    size bigint NOT NULL,
    has_body boolean NOT NULL DEFAULT true,
    sealed_key bytea NOT NULL
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX {ns}_inbox_waiting ON {at}_inbox (endpoint, due, id, stored_at) INCLUDE (size, kind) WHERE status = 0;
CREATE INDEX {ns}_inbox_processing ON {at}_inbox (endpoint, due, id, stored_at) INCLUDE (size, kind) WHERE status = 1;
CREATE INDEX {ns}_inbox_dead ON {at}_inbox (endpoint, id) INCLUDE (size, kind) WHERE status = 3;
CREATE INDEX {ns}_inbox_ended ON {at}_inbox (endpoint, status, has_body, ended_at, mark_until) WHERE status >= 2;
CREATE UNIQUE INDEX {ns}_inbox_unfinished ON {at}_inbox (row_key) WHERE status IN (0, 1);
CREATE UNIQUE INDEX {ns}_inbox_token ON {at}_inbox (token) WHERE status = 1;
CREATE UNIQUE INDEX {ns}_inbox_stored_by ON {at}_inbox (stored_by);
CREATE TABLE {at}_inbox_bodies (
    id bigint PRIMARY KEY REFERENCES {at}_inbox,
    sealed bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE {at}_inbox_bodies ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE TABLE {at}_inbox_control (
    endpoint text PRIMARY KEY,
    paused boolean NOT NULL,
    stored_since timestamptz
);
CREATE TABLE {at}_inbox_keys (
    key_id bytea PRIMARY KEY,
    sealed bytea NOT NULL
);
CREATE TABLE {at}_inbox_audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    reason text NOT NULL
);
CREATE INDEX {ns}_inbox_audit_event ON {at}_inbox_audit (subject, id)
    WHERE action IN ('replay', 'discard', 'body');
CREATE TABLE {at}_inbox_schema (version integer NOT NULL);
INSERT INTO {at}_inbox_schema (version) VALUES ({VERSION});
"
    )
}

/// Checks that the tables exist beside the store's, have this version and can be used. Creates missing ones if
/// `may_create` is set.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    namespace: &Namespace,
    location: &Location,
    may_create: bool,
) -> Result<(), ConfigError> {
    let ns = namespace.as_str();
    let fails = |error: sqlx::Error| {
        let line = format!("PostgreSQL: cannot check the tables of the inbox: {}", describe(&error));
        ConfigError::new(line).with_source(error)
    };
    let version = match version(connection, location).await.map_err(fails)? {
        Some(version) => version,
        None if may_create => create(connection, namespace, location).await?,
        None => {
            return Err(ConfigError::new(format!(
                "PostgreSQL: the tables {ns}_inbox* do not exist, and create_tables is false; run the statements of \
                 `PostgresStore::inbox_ddl` in the schema of the tables {ns}_*"
            )));
        }
    };
    if version != VERSION {
        return Err(ConfigError::new(format!(
            "PostgreSQL: the tables {ns}_inbox* have version {version}, but this medhook supports version {VERSION}; \
             use the medhook that created them, or another namespace"
        )));
    }
    match missing_privilege(connection, location).await.map_err(fails)? {
        None => Ok(()),
        Some((table, privileges)) => {
            Err(ConfigError::new(format!("PostgreSQL: the role needs {privileges} on {ns}{table}")))
        }
    }
}

/// Returns whether there are tables of an inbox.
pub(super) async fn exists(connection: &mut PgConnection, location: &Location) -> Result<bool, ConfigError> {
    is_there(connection, location).await.map_err(|error| {
        let line = format!("PostgreSQL: cannot look for the tables of an inbox: {}", describe(&error));
        ConfigError::new(line).with_source(error)
    })
}

async fn is_there(connection: &mut PgConnection, location: &Location) -> Result<bool, sqlx::Error> {
    // Not `to_regclass`: see `Location::find`.
    let exists = "SELECT EXISTS (SELECT FROM pg_class AS t JOIN pg_namespace AS s ON s.oid = t.relnamespace
        WHERE quote_ident(s.nspname) || '.' || t.relname = $1)";
    let name = format!("{}_inbox_schema", location.in_database());
    sqlx::query(exists).bind(&name).fetch_one(connection).await?.try_get(0)
}

async fn version(connection: &mut PgConnection, location: &Location) -> Result<Option<i32>, sqlx::Error> {
    if !is_there(connection, location).await? {
        return Ok(None);
    }
    let name = format!("{}_inbox_schema", location.in_database());
    sqlx::query(AssertSqlSafe(format!("SELECT max(version) FROM {name}"))).fetch_one(connection).await?.try_get(0)
}

/// Creates the tables. Of several instances that start at the same time, one creates them while the others wait.
async fn create(connection: &mut PgConnection, namespace: &Namespace, location: &Location) -> Result<i32, ConfigError> {
    let created = create_once(connection, namespace, location).await;
    created.map_err(|error| {
        let ns = namespace.as_str();
        let line = format!(
            "PostgreSQL: cannot create the tables {ns}_inbox* ({}); run the statements of `PostgresStore::inbox_ddl` \
             as a role with the privilege to create tables, in the schema of the tables {ns}_*",
            describe(&error)
        );
        ConfigError::new(line).with_source(error)
    })
}

async fn create_once(
    connection: &mut PgConnection,
    namespace: &Namespace,
    location: &Location,
) -> Result<i32, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let created = async {
        lock(&mut transaction, namespace).await?;
        if let Some(version) = version(&mut transaction, location).await? {
            return Ok(version);
        }
        transaction.execute(AssertSqlSafe(ddl(namespace, location.in_database()))).await?;
        Ok(VERSION)
    };
    let created: Result<i32, sqlx::Error> = created.await;
    if created.is_ok() {
        transaction.commit().await?
    } else {
        transaction.rollback().await?
    }
    created
}

/// The privileges that the inbox needs. Identity columns need none on their sequences.
const PRIVILEGES: [(&str, &str); 5] = [
    ("_inbox", "SELECT, INSERT, UPDATE, DELETE"),
    ("_inbox_bodies", "SELECT, INSERT, UPDATE, DELETE"),
    ("_inbox_control", "SELECT, INSERT, UPDATE"),
    ("_inbox_keys", "SELECT, INSERT, DELETE"),
    ("_inbox_audit", "SELECT, INSERT"),
];

async fn missing_privilege(
    connection: &mut PgConnection,
    location: &Location,
) -> Result<Option<(&'static str, &'static str)>, sqlx::Error> {
    for (table, privileges) in PRIVILEGES {
        let every = "SELECT bool_and(has_table_privilege($1, may)) FROM unnest(string_to_array($2, ', ')) AS may";
        let name = format!("{}{table}", location.in_database());
        let query = sqlx::query(every).bind(name).bind(privileges);
        if !query.fetch_one(&mut *connection).await?.try_get::<bool, _>(0)? {
            return Ok(Some((table, privileges)));
        }
    }
    Ok(None)
}
