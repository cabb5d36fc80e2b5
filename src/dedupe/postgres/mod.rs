mod connection;
mod describe;
#[cfg(feature = "inbox")]
mod inbox;
mod location;
mod probe;
mod record;
mod schema;
mod session;
mod statements;
mod work;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::{PgConnectOptions, PgRow};

use self::connection::{BoundStatement, Connections};
#[cfg(feature = "inbox")]
use self::inbox::InboxParts;
use self::session::Sessions;
use self::statements::{Statements, TABLES};
#[cfg(feature = "sqlx-09")]
use self::work::Work;
use self::work::seconds;
use super::driver::Driver;
use super::namespace::Namespace;
#[cfg(feature = "sqlx-09")]
use super::own_delivery::own_delivery;
use super::{Claimed, DedupeStore, DeliveryRecord, Forgotten, Settled, StoreFuture};
use crate::claim_token::ClaimToken;
use crate::event_key::EventKey;
use crate::retention::Retention;
use crate::store_id::StoreId;
use crate::{ConfigError, StoreError, observe};

/// A store in a PostgreSQL database, for any number of instances.
///
/// Claims and handled events survive restarts of the server. Each operation is one transaction, answered after it is on
/// disk (if the server's `fsync` is on; the store overrides `synchronous_commit = off`). Leases are measured by the
/// server's clock, so the clocks of the instances may differ. Clones share their connections.
///
/// # Connecting
/// The URL is `postgres://user:password@host:port/database`. Add `?sslmode=verify-full` if the network is not trusted;
/// otherwise TLS is used if the server offers it, and its certificate is not verified. `sslrootcert=FILE` replaces the
/// system's certificate authorities, `options[search_path]=SCHEMA` sets the schema. Errors contain neither the URL nor
/// the password.
///
/// The tables are in the schema that the `search_path` leads to when the store connects, and all statements name that
/// schema. A later `search_path` or a temporary table of the same name has no effect on them.
///
/// The store makes its settings, and those in `options`, by a statement on each connection, so a connection pooler need
/// not pass startup options on. A pooler must use session pooling, and needs a backend for each of the store's
/// connections, and one more. Connecting opens a second connection for a moment, and fails if the pooler assigns
/// backends for one transaction or statement only.
///
/// Connecting creates the tables `medhook_events`, `medhook_committed`, `medhook_bodies` and `medhook_schema` if they
/// do not exist and the role has the privileges, and migrates tables of version 1. Any number of instances can do so at
/// once. [`ddl`](PostgresStore::ddl) returns the statements for creating them in another way.
///
/// # Failures
/// While the server is unavailable, operations fail and deliveries are answered with 503. No restart is needed, and an
/// operation that finds its connection broken is repeated on another one. The server cancels statements and lock waits
/// that take too long (`statement_timeout`, `lock_timeout`).
///
/// The server does not cancel a COMMIT that waits for a synchronous standby, a stalled disk or a slow deferred trigger,
/// and such a COMMIT does not notice that its client has disconnected. Its caller gets an error after
/// [`step_timeout`](PostgresBuilder::step_timeout). Its connection stays in use until the server has answered or closed
/// it, and the COMMIT is not canceled. So the store never has more than
/// [`max_connections`](PostgresBuilder::max_connections) connections, plus one for asking the server about such
/// operations. When all are in use, every operation fails: while the standby is unavailable, every delivery is answered
/// with 503.
///
/// # Threads
/// A store has a thread of its own, which drives its connections and ends with its last clone. The store needs no
/// runtime: it can be used after the runtime in which it was connected has ended, and from several runtimes, such as
/// those of actix-web's workers. A runtime that blocks stalls only its own callers. Connect after a `fork`, since the
/// child process does not have the thread.
///
/// # Purging
/// Every minute, each instance purges expired events in small batches, which do not block other operations.
///
/// # Inbox
/// With the feature `inbox`, `PostgresStore::inbox` opens an inbox in further tables: `medhook_inbox`,
/// `medhook_inbox_bodies`, `medhook_inbox_control`, `medhook_inbox_keys`, `medhook_inbox_audit` and
/// `medhook_inbox_schema`. An event, its body and the record that it was handled are stored by one statement. Instances
/// with and without an inbox can share a store: each sees the events that the other has handled, and an event whose
/// claim an instance without an inbox holds is answered with 503.
///
/// Workers of any number of instances lease events one by one, and skip those that another transaction has locked. A
/// process that stands still in a transaction keeps a row locked for at most `step_timeout`; the server then ends its
/// session.
///
/// Deleted bodies remain in dead rows until they are vacuumed, in the write-ahead log, and in backups. Sealing protects
/// them there.
///
/// # The server's clock
/// If it is set back, existing claims last no longer than new ones, and handled events are remembered for longer. If it
/// is set forward, claims expire early. If it is set forward by more than the rest of a retention, handled events are
/// forgotten: their retries are handled again, and an hour after their retention the events are purged, so that they
/// remain forgotten when the clock is set back. Synchronize the clock by NTP, without jumps.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<PostgresInner>,
}

struct PostgresInner {
    id: StoreId,
    driver: Driver,
    connections: Arc<Connections>,
    statements: Statements,
    namespace: Namespace,
    #[cfg(feature = "inbox")]
    inbox: InboxParts,
}

impl PostgresStore {
    /// Connects a store with the default options.
    ///
    /// # Errors
    /// Returns the errors of [`PostgresBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, ConfigError> {
        Self::builder().connect(url).await
    }

    /// Connects a store in the application's own database, with the default options. See [`PostgresBuilder::on`].
    ///
    /// # Errors
    /// Returns the errors of [`PostgresBuilder::connect`].
    #[cfg(feature = "sqlx-09")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sqlx-09")))]
    pub async fn on(pool: &sqlx::PgPool) -> Result<Self, ConfigError> {
        Self::builder().on(pool).await
    }

    /// Creates a builder for a store with other options.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder {
            namespace: Ok(Namespace::default()),
            max_connections: 8,
            step_timeout: Duration::from_secs(3),
            create_tables: true,
            purge_every: Duration::from_secs(60),
        }
    }

    /// Returns the statements that create the tables of a namespace (`medhook` by default), to be run by a role with
    /// the privilege to create tables. The store's own role then needs `SELECT, INSERT, UPDATE, DELETE` on the first
    /// three tables and `SELECT` on the last.
    ///
    /// ```
    /// let ddl = medhook::PostgresStore::ddl("medhook")?;
    /// assert!(ddl.starts_with("CREATE TABLE medhook_events (\n    key bytea PRIMARY KEY,\n"));
    /// # Ok::<(), medhook::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the namespace is not 1 to 32 characters of `a-z`, `0-9` and `_`, does not begin with a
    /// letter, or begins with `sqlite_` or `pg_`.
    pub fn ddl(namespace: &str) -> Result<String, ConfigError> {
        Namespace::new(namespace).map(|namespace| schema::ddl(&namespace))
    }

    /// Returns the statements that migrate the tables of a namespace from version 1 to version 2, to be run in one
    /// transaction by their owner. Connecting does so, unless [`create_tables`](PostgresBuilder::create_tables) is
    /// false. All records are kept. Running instances of version 1 continue to work, but cannot connect again.
    ///
    /// # Errors
    /// Returns the error of [`ddl`](PostgresStore::ddl).
    pub fn migration_ddl(namespace: &str) -> Result<String, ConfigError> {
        Namespace::new(namespace).map(|namespace| schema::migration(&namespace, namespace.as_str()))
    }

    /// Records the event as handled in a transaction of the application, so that the effects of the handler and this
    /// record are committed together or not at all. If every handler of the event does so, the event takes effect once,
    /// even if a claim is lost. An event that can recur with the same bytes has another key for each delivery, so a
    /// retry of it takes effect again ([`Dedupe::by_id`](crate::Dedupe::by_id)).
    ///
    /// The delivery's receiver must have this store: a clone of it, an `Arc` of a clone, or a store that wraps a clone
    /// and returns its [`store_id`](DedupeStore::store_id). A second store that was connected to the same tables is
    /// another store.
    ///
    /// For a delivery from an [inbox](PostgresStore#inbox), it does the same as `finish_in`.
    ///
    /// Call it at any time before the transaction is committed: the store's own operations neither wait for the
    /// transaction nor hold a connection while it is open. Answer 2xx after the commit. If the process crashes between
    /// the commit and the answer, the provider's next attempt is a duplicate.
    ///
    /// ```no_run
    /// # use medhook::{Delivery, PostgresStore};
    /// # type Error = Box<dyn std::error::Error>;
    /// # async fn handle(
    /// #     pool: sqlx::PgPool,
    /// #     store: PostgresStore,
    /// #     delivery: Delivery,
    /// # ) -> Result<(), Error> {
    /// let mut transaction = pool.begin().await?;
    /// let insert = sqlx::query("INSERT INTO reports (body) VALUES ($1)");
    /// insert.bind(&delivery.body()[..]).execute(&mut *transaction).await?;
    /// store.commit_in(&mut transaction, &delivery).await?;
    /// transaction.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns a [lost](StoreError::is_lost) error if another delivery has claimed or handled the event; otherwise the
    /// database's error, such as a serialization failure in `SERIALIZABLE`. In both cases drop the transaction and
    /// answer 5xx: the provider's next attempt is handled, or is a duplicate.
    ///
    /// Returns an error without changing anything if the delivery's receiver has another store, if no receiver has
    /// admitted the delivery, or if the transaction is on a database with another name.
    #[cfg(feature = "sqlx-09")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sqlx-09")))]
    pub async fn commit_in(
        &self,
        transaction: &mut sqlx::Transaction<'_, sqlx::Postgres>,
        delivery: &crate::Delivery,
    ) -> Result<(), StoreError> {
        let (token, retention) = own_delivery(self.inner.id, "PostgreSQL: commit_in", delivery)?;
        #[cfg(feature = "inbox")]
        if let Some(row) = delivery.inbox_row() {
            return self.finish_row(transaction, "commit_in", row, token).await;
        }
        let key = delivery.event_key();
        let ids = (key, Some(token));
        let statement = self.inner.statements.commit_in.clone();
        let step = BoundStatement {
            name: "commit_in",
            statement,
            key: Some(ids),
            seconds: Some(seconds(retention.total)),
            most: None,
        };
        match step.run(transaction).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(StoreError::lost()),
            Err(failed) => Err(connection::error_in(step.name, failed.error)),
        }
    }

    async fn row(&self, step: BoundStatement) -> Result<Option<PgRow>, StoreError> {
        let connections = self.inner.connections.clone();
        self.inner.driver.run(async move { connections.step(step).await }).await?
    }

    /// Runs an operation whose statement returns a row if it took effect.
    async fn settle(&self, step: BoundStatement) -> Result<Settled, StoreError> {
        Ok(if self.row(step).await?.is_some() { Settled::Settled } else { Settled::Lost })
    }

    async fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> Result<Claimed, StoreError> {
        let ids = (key, Some(token));
        for _ in 0..MOST_CLAIM_ATTEMPTS {
            let statement = self.inner.statements.claim.clone();
            let step =
                BoundStatement { name: "claim", statement, key: Some(ids), seconds: Some(seconds(lease)), most: None };
            let row = self.row(step).await?;
            let answer = row.map(|row| claimed(&row, lease)).transpose();
            if let Some(claimed) = answer.map_err(|error| connection::unavailable("claim", error))?.flatten() {
                return Ok(claimed);
            }
        }
        // The event's state changed during each attempt.
        Ok(Claimed::InFlight { retry_after: lease })
    }
}

const MOST_CLAIM_ATTEMPTS: usize = 3;

/// Returns the result of forgetting an event.
fn forgotten(row: &PgRow) -> Result<Forgotten, sqlx::Error> {
    let (removed, claimed): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    Ok(match (removed, claimed) {
        (true, _) => Forgotten::Removed,
        (false, true) => Forgotten::Claimed,
        (false, false) => Forgotten::NotFound,
    })
}

/// Returns the result of a claim; `None` if the statement's snapshot is older than the row that rejected the claim.
fn claimed(row: &PgRow, lease: Duration) -> Result<Option<Claimed>, sqlx::Error> {
    let acquired: Option<bool> = row.try_get(0)?;
    let committed: bool = row.try_get(1)?;
    let handled: Option<bool> = row.try_get(2)?;
    let left: Option<f64> = row.try_get(3)?;
    let in_flight = |left: f64| {
        let left = Duration::try_from_secs_f64(left).unwrap_or_default();
        Some(Claimed::InFlight { retry_after: left.min(lease) })
    };
    Ok(match (acquired, handled, left) {
        (Some(true), ..) => Some(Claimed::Acquired),
        _ if committed => Some(Claimed::AlreadyHandled),
        (_, Some(true), _) => Some(Claimed::AlreadyHandled),
        (Some(false), ..) => in_flight(lease.as_secs_f64()),
        (None, Some(false), Some(left)) => in_flight(left),
        _ => None,
    })
}

impl DedupeStore for PostgresStore {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        Box::pin(self.claim(key, token, lease))
    }

    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        Box::pin(async move {
            let ids = (key, Some(token));
            let statement = self.inner.statements.renew.clone();
            self.settle(BoundStatement {
                name: "renew",
                statement,
                key: Some(ids),
                seconds: Some(seconds(lease)),
                most: None,
            })
            .await
        })
    }

    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled> {
        Box::pin(async move {
            let ids = (key, Some(token));
            let statement = self.inner.statements.commit.clone();
            self.settle(BoundStatement {
                name: "commit",
                statement,
                key: Some(ids),
                seconds: Some(seconds(retention.total)),
                most: None,
            })
            .await
        })
    }

    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
        Box::pin(async move {
            let ids = (key, Some(token));
            let statement = self.inner.statements.release.clone();
            self.settle(BoundStatement { name: "release", statement, key: Some(ids), seconds: None, most: None }).await
        })
    }

    fn record_delivery(&self, body: EventKey, period: Duration, most: u64) -> StoreFuture<'_, DeliveryRecord> {
        Box::pin(self.record_body(body, period, most))
    }

    fn record_failure(&self, body: EventKey) -> StoreFuture<'_, ()> {
        Box::pin(self.record_failed(body))
    }

    fn forget(&self, key: EventKey) -> StoreFuture<'_, Forgotten> {
        Box::pin(async move {
            let statement = self.inner.statements.forget.clone();
            let step = BoundStatement { name: "forget", statement, key: Some((key, None)), seconds: None, most: None };
            let row = self.row(step).await?.ok_or(sqlx::Error::RowNotFound);
            row.and_then(|row| forgotten(&row)).map_err(|error| connection::unavailable("forget", error))
        })
    }

    fn store_id(&self) -> Option<StoreId> {
        Some(self.inner.id)
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("namespace", &self.inner.namespace).finish_non_exhaustive()
    }
}

/// Options of a [`PostgresStore`].
#[derive(Debug)]
#[must_use = "nothing is connected until `connect`"]
pub struct PostgresBuilder {
    namespace: Result<Namespace, ConfigError>,
    max_connections: u32,
    step_timeout: Duration,
    create_tables: bool,
    purge_every: Duration,
}

impl PostgresBuilder {
    /// Sets the prefix of the tables' names. The default is `medhook`. Stores of different namespaces in one database
    /// are independent.
    pub fn namespace(self, name: &str) -> Self {
        PostgresBuilder { namespace: Namespace::new(name), ..self }
    }

    /// Sets the maximum number of connections. The default is 8; each is in use for the duration of an operation. There
    /// is one more while the server has not answered operations whose callers have stopped waiting.
    pub fn max_connections(self, most: u32) -> Self {
        PostgresBuilder { max_connections: most, ..self }
    }

    /// Sets the timeout of an operation. The default is 3 s, which fits a receiver's default lease. It should be less
    /// than a third of the shortest lease. The server cancels a statement after two thirds of it, and a lock wait after
    /// one third. A COMMIT that takes longer continues after its caller has stopped waiting.
    pub fn step_timeout(self, longest: Duration) -> Self {
        PostgresBuilder { step_timeout: longest, ..self }
    }

    /// Sets whether missing tables are created, and tables of version 1 migrated. The default is true.
    pub fn create_tables(self, create: bool) -> Self {
        PostgresBuilder { create_tables: create, ..self }
    }

    /// Sets how often expired events are purged. The default is every minute.
    pub fn purge_every(self, interval: Duration) -> Self {
        PostgresBuilder { purge_every: interval, ..self }
    }

    /// Connects, checks the tables and creates missing ones.
    ///
    /// # Errors
    /// Returns an error if an option, the URL or the password is wrong, the server is unavailable or read-only, the
    /// pooler uses transaction or statement pooling, the role lacks a privilege, or the tables have another version.
    /// The message is one line and contains neither the URL nor the password.
    pub async fn connect(self, url: &str) -> Result<PostgresStore, ConfigError> {
        let options = connection::options(url)?;
        self.connect_with(options).await
    }

    /// Connects a store in the application's own database, so that [`PostgresStore::commit_in`] can be part of its
    /// transactions.
    ///
    /// The store uses the pool's connect options but not its hooks. A `search_path` that a hook sets therefore does not
    /// choose the schema of the tables; set it in the connect options. The store has connections of its own, so that a
    /// claim never waits for one that the application is using.
    ///
    /// # Errors
    /// Returns the errors of [`connect`](PostgresBuilder::connect).
    #[cfg(feature = "sqlx-09")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sqlx-09")))]
    pub async fn on(self, pool: &sqlx::PgPool) -> Result<PostgresStore, ConfigError> {
        let options = pool.connect_options().as_ref().clone();
        self.connect_with(options).await
    }

    async fn connect_with(self, options: PgConnectOptions) -> Result<PostgresStore, ConfigError> {
        self.check()?;
        let driver = Driver::start("PostgreSQL").await?;
        driver.clone().run(self.connect_on(driver, options)).await?
    }

    /// Connects on the store's thread.
    async fn connect_on(self, driver: Driver, options: PgConnectOptions) -> Result<PostgresStore, ConfigError> {
        let namespace = self.namespace?;
        let sessions = Sessions::new(options, self.step_timeout);
        let mut first = sessions.open_first().await?;
        let location = schema::prepare(&mut first, &namespace, self.create_tables).await?;
        let inner = Arc::new(PostgresInner {
            id: StoreId::new(),
            driver,
            connections: Connections::new(sessions.clone(), self.max_connections, self.step_timeout),
            statements: Statements::new(&location),
            namespace,
            #[cfg(feature = "inbox")]
            inbox: InboxParts::new(sessions, location, self.create_tables),
        });
        tokio::spawn(purge(Arc::downgrade(&inner), self.purge_every));
        Ok(PostgresStore { inner })
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.max_connections == 0 {
            return Err(ConfigError::new("PostgreSQL: max_connections must be greater than 0"));
        }
        for (option, time) in [("step_timeout", self.step_timeout), ("purge_every", self.purge_every)] {
            if time < SHORTEST {
                return Err(ConfigError::new(format!("PostgreSQL: {option} must be at least 10 ms")));
            }
        }
        Ok(())
    }
}

const SHORTEST: Duration = Duration::from_millis(10);

/// Purges expired events until the store is dropped.
async fn purge(store: Weak<PostgresInner>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        for table in 0..TABLES {
            loop {
                let Some(store) = store.upgrade() else {
                    return;
                };
                match store.purge_batch(table).await {
                    Ok(true) => {}
                    Ok(false) => break,
                    // The purge continues with the other table.
                    Err(error) => {
                        observe::purge_failed(&error);
                        break;
                    }
                }
                drop(store);
                tokio::time::sleep(BETWEEN_BATCHES).await;
            }
        }
    }
}

const BATCH: i64 = 500;
const BETWEEN_BATCHES: Duration = Duration::from_millis(50);

impl PostgresInner {
    /// Purges one batch of a table. Returns whether there may be more.
    async fn purge_batch(&self, table: usize) -> Result<bool, StoreError> {
        let Some(statement) = self.statements.purge.get(table).cloned() else {
            return Ok(false);
        };
        let row = self
            .connections
            .step(BoundStatement { name: "purge", statement, key: None, seconds: None, most: None })
            .await?;
        let count = row.map(|row| row.try_get::<i64, _>(0)).transpose();
        Ok(count.map_err(|error| connection::unavailable("purge", error))?.is_some_and(|count| count >= BATCH))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_below_their_minimum_are_rejected() {
        let nine = Duration::from_millis(9);
        for (builder, problem) in [
            (PostgresStore::builder().max_connections(0), "max_connections must be greater than 0"),
            (PostgresStore::builder().step_timeout(nine), "step_timeout must be at least 10 ms"),
            (PostgresStore::builder().purge_every(nine), "purge_every must be at least 10 ms"),
        ] {
            assert_eq!(builder.check().unwrap_err().to_string(), format!("PostgreSQL: {problem}"));
        }
        let least = PostgresStore::builder().max_connections(1).step_timeout(SHORTEST).purge_every(SHORTEST);
        assert!(least.check().is_ok());
    }

    #[test]
    fn times_are_passed_exactly_up_to_ten_years() {
        const DAY: u64 = 24 * 3600;
        assert_eq!(seconds(Duration::from_millis(100)), 0.1);
        for days in [1, 30, 366, 3_650] {
            assert_eq!(seconds(Duration::from_secs(days * DAY)), (days * DAY) as f64, "{days}");
        }
        assert_eq!(seconds(Duration::MAX), (3_650 * DAY) as f64);
    }
}
