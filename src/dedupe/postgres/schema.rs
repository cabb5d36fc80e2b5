//! The tables, their version, and the privileges that the store needs.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, Row};

use super::super::namespace::Namespace;
use super::describe::describe;
use super::location::Location;
use crate::ConfigError;

/// The version of the tables that this code reads and writes.
const VERSION: i32 = 2;

/// Returns the statements that create the tables.
///
/// Two tables record events. The store's own operations write `_events`. Transactions of the application write
/// `_committed` only, so that their locks are on no row that a claim or a renewal would wait for. `_bodies` counts the
/// deliveries of bodies whose event can recur.
pub(super) fn ddl(namespace: &Namespace) -> String {
    let ns = namespace.as_str();
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
CREATE TABLE {ns}_bodies (
    key bytea PRIMARY KEY,
    deliveries bigint NOT NULL,
    first_seen timestamptz NOT NULL,
    period_began timestamptz NOT NULL,
    in_period bigint NOT NULL,
    counted boolean NOT NULL,
    until timestamptz NOT NULL
);
CREATE INDEX {ns}_bodies_until ON {ns}_bodies (until);
CREATE TABLE {ns}_schema (version integer NOT NULL);
INSERT INTO {ns}_schema (version) VALUES ({VERSION});
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
        transaction.execute("SET LOCAL lock_timeout = '20s'; SET LOCAL statement_timeout = '30s'").await?;
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended('medhook schema ' || $1, 0))";
        sqlx::query(lock).bind(namespace.as_str()).execute(&mut *transaction).await?;
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

async fn may_write(connection: &mut PgConnection, location: &Location) -> Result<bool, sqlx::Error> {
    let every = "SELECT bool_and(has_table_privilege($1 || of, may))
        FROM unnest(ARRAY['_events', '_committed', '_bodies']) AS of, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS may";
    sqlx::query(every).bind(location.in_database()).fetch_one(connection).await?.try_get(0)
}
