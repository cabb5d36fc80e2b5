//! The tables, their version, and the privileges that the store needs.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, Row};

use super::super::namespace::Namespace;
use super::describe::describe;
use super::location::Location;
use crate::ConfigError;

/// The version of the tables that this code reads and writes.
const VERSION: i32 = 2;

/// The version that can be migrated.
const FIRST_VERSION: i32 = 1;

/// Returns the statements that create the tables.
///
/// Two tables record events. The store's own operations write `_events`. Transactions of the application write
/// `_committed` only, so that their locks are on no row that a claim or a renewal would wait for. `_bodies` counts the
/// deliveries of bodies whose event can recur.
pub(super) fn ddl(namespace: &Namespace) -> String {
    let ns = namespace.as_str();
    let bodies = bodies(namespace, ns);
    format!(
        "CREATE TABLE {ns}_events (
    key bytea PRIMARY KEY,
    token bytea,
    handled boolean NOT NULL,
    until timestamptz NOT NULL,
    ended bytea[]
);
CREATE INDEX {ns}_events_until ON {ns}_events (until);
CREATE TABLE {ns}_committed (
    key bytea PRIMARY KEY,
    token bytea NOT NULL,
    until timestamptz NOT NULL
);
CREATE INDEX {ns}_committed_until ON {ns}_committed (until);
{bodies}CREATE TABLE {ns}_schema (version integer NOT NULL);
INSERT INTO {ns}_schema (version) VALUES ({VERSION});
"
    )
}

/// `at` is the beginning of the tables' names, with or without their schema.
fn bodies(namespace: &Namespace, at: &str) -> String {
    let ns = namespace.as_str();
    format!(
        "CREATE TABLE {at}_bodies (
    key bytea PRIMARY KEY,
    deliveries bigint NOT NULL,
    first_seen timestamptz NOT NULL,
    period_began timestamptz NOT NULL,
    in_period bigint NOT NULL,
    counted boolean NOT NULL,
    until timestamptz NOT NULL
);
CREATE INDEX {ns}_bodies_until ON {at}_bodies (until);
"
    )
}

/// Returns the statements that turn tables of version 1 into those of version 2.
///
/// They add what version 1 lacks. A running instance of version 1 continues to work: its statements neither write the
/// new columns nor read what a `NULL` token means, since a row without a token has expired. Its releases delete the row
/// instead, and with it the tokens that have ended. When it is restarted, it rejects the new version.
pub(super) fn migration(namespace: &Namespace, at: &str) -> String {
    let bodies = bodies(namespace, at);
    format!(
        "ALTER TABLE {at}_events ALTER COLUMN token DROP NOT NULL, ADD COLUMN ended bytea[];
{bodies}UPDATE {at}_schema SET version = {VERSION};
"
    )
}

/// Checks that the tables exist, have this version and can be written. Creates missing ones if `may_create` is set.
/// Returns their location.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    namespace: &Namespace,
    may_create: bool,
) -> Result<Location, ConfigError> {
    let fails = |error: sqlx::Error| {
        let line = format!("PostgreSQL: cannot check the tables: {}", describe(&error));
        ConfigError::new(line).with_source(error)
    };
    if is_read_only(connection).await.map_err(fails)? {
        return Err(ConfigError::new(
            "PostgreSQL: the server is read-only (a standby, or default_transaction_read_only is on); connect to \
             the primary",
        ));
    }
    let (location, version) = match find(connection, namespace).await.map_err(fails)? {
        Some(found) => found,
        None if may_create => create(connection, namespace).await?,
        None => {
            return Err(ConfigError::new(format!(
                "PostgreSQL: the tables {}_* do not exist, and create_tables is false",
                namespace.as_str()
            )));
        }
    };
    let version = match version {
        FIRST_VERSION if may_create => migrate(connection, namespace).await?,
        FIRST_VERSION => {
            return Err(ConfigError::new(format!(
                "PostgreSQL: the tables {}_* have version {version}, and create_tables is false; run the statements of \
                 `PostgresStore::migration_ddl` as the owner of the tables",
                namespace.as_str()
            )));
        }
        version => version,
    };
    if version != VERSION {
        return Err(ConfigError::new(format!(
            "PostgreSQL: the tables {}_* have version {version}, but this medhook supports version {VERSION}; use the \
             medhook that created them, or another namespace",
            namespace.as_str()
        )));
    }
    if may_write(connection, &location).await.map_err(fails)? {
        Ok(location)
    } else {
        Err(ConfigError::new(format!(
            "PostgreSQL: the role needs SELECT, INSERT, UPDATE and DELETE on {0}_events, {0}_committed and {0}_bodies",
            namespace.as_str()
        )))
    }
}

async fn is_read_only(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query("SELECT current_setting('transaction_read_only') = 'on'").fetch_one(connection).await?.try_get(0)
}

/// Returns the location and the version of the tables.
async fn find(connection: &mut PgConnection, namespace: &Namespace) -> Result<Option<(Location, i32)>, sqlx::Error> {
    let Some(location) = Location::find(connection, namespace).await? else {
        return Ok(None);
    };
    let version = format!("SELECT max(version) FROM {}_schema", location.in_database());
    let version: Option<i32> = sqlx::query(AssertSqlSafe(version)).fetch_one(connection).await?.try_get(0)?;
    Ok(version.map(|version| (location, version)))
}

/// Creates the tables. Of several instances that start at the same time, one creates them while the others wait.
async fn create(connection: &mut PgConnection, namespace: &Namespace) -> Result<(Location, i32), ConfigError> {
    let created = async {
        let mut transaction = connection.begin().await?;
        lock(&mut transaction, namespace).await?;
        if let Some(found) = find(&mut transaction, namespace).await? {
            return Ok(found);
        }
        transaction.execute(AssertSqlSafe(ddl(namespace))).await?;
        let Some(found) = find(&mut transaction, namespace).await? else {
            return Err(sqlx::Error::Configuration(
                "they would be temporary, since search_path begins with pg_temp".into(),
            ));
        };
        transaction.commit().await?;
        Ok(found)
    };
    created.await.map_err(|error: sqlx::Error| {
        let line = format!(
            "PostgreSQL: cannot create the tables {}_* ({}); run the statements of `PostgresStore::ddl` as a role with \
             the privilege to create tables",
            namespace.as_str(),
            describe(&error)
        );
        ConfigError::new(line).with_source(error)
    })
}

/// Migrates the tables, while other instances wait. Returns their version.
async fn migrate(connection: &mut PgConnection, namespace: &Namespace) -> Result<i32, ConfigError> {
    for _ in 1..MOST_MIGRATIONS {
        match migrate_once(connection, namespace).await {
            // A transaction that is open on the table, for example with `commit_in`.
            Err(error) if is_lock_timeout(&error) => tokio::time::sleep(BETWEEN_MIGRATIONS).await,
            Err(error) => return Err(cannot_migrate(namespace, error)),
            Ok(version) => return Ok(version),
        }
    }
    migrate_once(connection, namespace).await.map_err(|error| cannot_migrate(namespace, error))
}

async fn migrate_once(connection: &mut PgConnection, namespace: &Namespace) -> Result<i32, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let migrated = async {
        lock(&mut transaction, namespace).await?;
        let (location, version) = find(&mut transaction, namespace).await?.ok_or(sqlx::Error::RowNotFound)?;
        if version != FIRST_VERSION {
            return Ok(version);
        }
        // While the statement waits for its lock, claims wait behind it.
        transaction.execute("SET LOCAL lock_timeout = '300ms'").await?;
        transaction.execute(AssertSqlSafe(migration(namespace, location.in_database()))).await?;
        Ok(VERSION)
    };
    let migrated: Result<i32, sqlx::Error> = migrated.await;
    if migrated.is_ok() {
        transaction.commit().await?
    } else {
        transaction.rollback().await?
    }
    migrated
}

const MOST_MIGRATIONS: u32 = 20;
const BETWEEN_MIGRATIONS: Duration = Duration::from_secs(1);

fn is_lock_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "55P03")
}

fn cannot_migrate(namespace: &Namespace, error: sqlx::Error) -> ConfigError {
    let line = format!(
        "PostgreSQL: cannot migrate the tables {}_* ({}); run the statements of `PostgresStore::migration_ddl` as the \
         owner of the tables",
        namespace.as_str(),
        describe(&error)
    );
    ConfigError::new(line).with_source(error)
}

/// Acquires the lock under which tables are created and migrated.
pub(super) async fn lock(transaction: &mut PgConnection, namespace: &Namespace) -> Result<(), sqlx::Error> {
    transaction.execute("SET LOCAL lock_timeout = '20s'; SET LOCAL statement_timeout = '30s'").await?;
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('medhook schema ' || $1, 0))";
    sqlx::query(lock).bind(namespace.as_str()).execute(transaction).await?;
    Ok(())
}

async fn may_write(connection: &mut PgConnection, location: &Location) -> Result<bool, sqlx::Error> {
    let every = "SELECT bool_and(has_table_privilege($1 || of, may))
        FROM unnest(ARRAY['_events', '_committed', '_bodies']) AS of, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS may";
    sqlx::query(every).bind(location.in_database()).fetch_one(connection).await?.try_get(0)
}
