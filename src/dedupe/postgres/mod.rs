mod connection;
mod probe;
mod schema;
mod statements;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::{PgConnectOptions, PgRow};

use self::connection::{BoundStatement, Connections};
use self::statements::{Statements, TABLES};
use super::namespace::Namespace;
use super::{Claimed, DedupeStore, Settled, StoreFuture};
use crate::claim_token::ClaimToken;
use crate::event_key::EventKey;
use crate::retention::Retention;
use crate::{ConfigError, StoreError, observe};

/// Remembers events in a PostgreSQL database, for any number of instances.
///
/// What was claimed or handled survives every restart: each step is one statement, answered after it is on disk (as far
/// as the server's `fsync` goes; `synchronous_commit = off` is overruled). Leases are judged by the server's clock, so
/// those of the instances may differ. Clones share their connections.
///
/// # Connecting
/// The URL is `postgres://user:password@host:port/database`, with `?sslmode=verify-full` where the network is not your
/// own; without it TLS is used if the server offers it, and its certificate is not looked at. `sslrootcert=FILE` names
/// another authority than the system's, `options[search_path]=SCHEMA` another schema than the default. Errors tell
/// neither the URL nor the password. A pooler in between has to pool sessions and to pass `options` on.
///
/// Connecting makes the tables `medhook_events`, `medhook_committed` and `medhook_schema`, if they are not there and the
/// role may. Any number of instances can do so at once. [`ddl`](PostgresStore::ddl) gives the statements for those who
/// make tables otherwise.
///
/// # When the server is away
/// Steps fail, and deliveries are answered 503, until it is back. No restart is needed, and a step that finds its
/// connection broken is repeated on another. The server ends statements that take too long and waits for locks
/// (`statement_timeout`, `lock_timeout`).
///
/// It does not end a COMMIT that waits for a synchronous standby, a stalled disk or a slow deferred trigger, and such a
/// COMMIT does not notice that its client has gone. The caller of the step gets an error after
/// [`step_timeout`](PostgresBuilder::step_timeout); the connection stays in use until the server has answered or closed it,
/// and the COMMIT is not canceled. So the store never has more connections than
/// [`max_connections`](PostgresBuilder::max_connections) says, and one with which it asks the server about such steps. When all are in
/// use, every step fails: while the standby is away, every delivery is answered 503.
///
/// # Keeping up
/// What has run out is deleted every minute, in small batches that nobody waits for, by whichever instance comes first.
///
/// # The server's clock
/// If it is set back, claims made before hold no longer than fresh ones, and handled events are remembered for longer.
/// If it is set ahead, claims run out early: keep the server's clock by NTP, without jumps.
#[derive(Clone)]
pub struct PostgresStore {
    inner: Arc<PostgresInner>,
}

struct PostgresInner {
    connections: Arc<Connections>,
    statements: Statements,
    namespace: Namespace,
}

impl PostgresStore {
    /// A store with the default options.
    ///
    /// # Errors
    /// As with [`PostgresBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, ConfigError> {
        Self::builder().connect(url).await
    }

    /// A store in the application's own database, with the default options: see [`PostgresBuilder::on`].
    ///
    /// # Errors
    /// As with [`PostgresBuilder::connect`].
    #[cfg(feature = "sqlx-09")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sqlx-09")))]
    pub async fn on(pool: &sqlx::PgPool) -> Result<Self, ConfigError> {
        Self::builder().on(pool).await
    }

    /// A store with other options.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder {
            namespace: Ok(Namespace::default()),
            max_connections: 8,
            step_timeout: Duration::from_secs(3),
            create_tables: true,
            purge_every: Duration::from_secs(60),
        }
    }

    /// The statements that make the tables of a namespace (`medhook`, unless you chose another), for a role that may.
    /// The store itself then needs `SELECT, INSERT, UPDATE, DELETE` on the first two and `SELECT` on the third.
    ///
    /// ```
    /// let ddl = medhook::PostgresStore::ddl("medhook")?;
    /// assert!(ddl.starts_with("CREATE TABLE medhook_events (\n    key bytea PRIMARY KEY,\n"));
    /// # Ok::<(), medhook::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// As with [`PostgresBuilder::namespace`].
    pub fn ddl(namespace: &str) -> Result<String, ConfigError> {
        Namespace::new(namespace).map(|namespace| schema::ddl(&namespace))
    }

    /// Remembers the event as handled within a transaction of the application's: the effect and the mark are committed
    /// together, or neither is. Where every handler of the event does so, it has one effect even if a claim was lost on
    /// the way.
    ///
    /// Call it at any time before the transaction is committed; nothing of ours waits for the transaction or takes a
    /// connection while it is open. Then answer 2xx. If the process dies after the commit and before the answer, the
    /// sender's next attempt is a duplicate.
    ///
    /// ```no_run
    /// # async fn handle(pool: sqlx::PgPool, store: medhook::PostgresStore, delivery: medhook::Delivery)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// let mut transaction = pool.begin().await?;
    /// sqlx::query("INSERT INTO reports (body) VALUES ($1)").bind(&delivery.body()[..]).execute(&mut *transaction).await?;
    /// store.commit_in(&mut transaction, &delivery).await?;
    /// transaction.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [Lost](StoreError::is_lost), if someone else has the event by now; otherwise the database's, as in `SERIALIZABLE`
    /// its request to try again. Either way drop the transaction and answer 5xx: the sender's next attempt is handled,
    /// or a duplicate.
    #[cfg(feature = "sqlx-09")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sqlx-09")))]
    pub async fn commit_in(
        &self,
        transaction: &mut sqlx::Transaction<'_, sqlx::Postgres>,
        delivery: &crate::Delivery,
    ) -> Result<(), StoreError> {
        let (Some(token), Some(retention)) = (delivery.claim_token(), delivery.retention()) else {
            return Err(StoreError::unavailable("PostgreSQL: commit_in: the delivery was not let in by a receiver"));
        };
        let key = delivery.event_key();
        let ids = (key, token);
        let statement = self.inner.statements.commit_in.clone();
        let step =
            BoundStatement { name: "commit_in", statement, key: Some(ids), seconds: Some(seconds(retention.total)) };
        match step.run(transaction).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(StoreError::lost()),
            Err(error) => Err(connection::unavailable(step.name, error)),
        }
    }

    fn begin(connections: Arc<Connections>, namespace: Namespace, purge_every: Duration) -> Self {
        let statements = Statements::new(&namespace);
        let inner = Arc::new(PostgresInner { connections, statements, namespace });
        tokio::spawn(purge(Arc::downgrade(&inner), purge_every));
        PostgresStore { inner }
    }

    async fn row(&self, step: BoundStatement) -> Result<Option<PgRow>, StoreError> {
        self.inner.connections.step(step).await
    }

    /// A step that gives a row if it is done.
    async fn settle(&self, step: BoundStatement) -> Result<Settled, StoreError> {
        Ok(if self.row(step).await?.is_some() { Settled::Settled } else { Settled::Lost })
    }

    async fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> Result<Claimed, StoreError> {
        let ids = (key, token);
        for _ in 0..MOST_LOOKS {
            let statement = self.inner.statements.claim.clone();
            let step = BoundStatement { name: "claim", statement, key: Some(ids), seconds: Some(seconds(lease)) };
            let row = self.row(step).await?;
            let answer = row.map(|row| claimed(&row, lease)).transpose();
            if let Some(claimed) = answer.map_err(|error| connection::unavailable("claim", error))?.flatten() {
                return Ok(claimed);
            }
        }
        // It changes hands faster than one can look.
        Ok(Claimed::InFlight { retry_after: lease })
    }
}

const MOST_LOOKS: usize = 3;

/// What a claim came to; nothing if it was refused by something newer than what could be read about it.
fn claimed(row: &PgRow, lease: Duration) -> Result<Option<Claimed>, sqlx::Error> {
    let won: Option<bool> = row.try_get(0)?;
    let committed: bool = row.try_get(1)?;
    let handled: Option<bool> = row.try_get(2)?;
    let left: Option<f64> = row.try_get(3)?;
    let in_flight = |left: f64| {
        let left = Duration::try_from_secs_f64(left).unwrap_or_default();
        Some(Claimed::InFlight { retry_after: left.min(lease) })
    };
    Ok(match (won, handled, left) {
        (Some(true), ..) => Some(Claimed::Acquired),
        _ if committed => Some(Claimed::AlreadyHandled),
        (_, Some(true), _) => Some(Claimed::AlreadyHandled),
        (Some(false), ..) => in_flight(lease.as_secs_f64()),
        (None, Some(false), Some(left)) => in_flight(left),
        _ => None,
    })
}

fn seconds(time: Duration) -> f64 {
    const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    time.min(FAR).as_secs_f64()
}

impl DedupeStore for PostgresStore {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        Box::pin(self.claim(key, token, lease))
    }

    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        Box::pin(async move {
            let ids = (key, token);
            let statement = self.inner.statements.renew.clone();
            self.settle(BoundStatement { name: "renew", statement, key: Some(ids), seconds: Some(seconds(lease)) })
                .await
        })
    }

    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled> {
        Box::pin(async move {
            let ids = (key, token);
            let statement = self.inner.statements.commit.clone();
            self.settle(BoundStatement {
                name: "commit",
                statement,
                key: Some(ids),
                seconds: Some(seconds(retention.total)),
            })
            .await
        })
    }

    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
        Box::pin(async move {
            let ids = (key, token);
            let statement = self.inner.statements.release.clone();
            self.settle(BoundStatement { name: "release", statement, key: Some(ids), seconds: None }).await
        })
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
    /// What the names of the tables begin with: `medhook` by default. Stores of different namespaces in one database
    /// know nothing of each other.
    pub fn namespace(self, name: &str) -> Self {
        PostgresBuilder { namespace: Namespace::new(name), ..self }
    }

    /// How many connections there may be. By default 8; each is used for the time of a statement. There is one more while
    /// the server has not answered steps whose callers have stopped waiting.
    pub fn max_connections(self, most: u32) -> Self {
        PostgresBuilder { max_connections: most, ..self }
    }

    /// How long a step may take. By default 3 s, which fits a receiver's default lease; it should be less than a third
    /// of the shortest lease. The server gives a statement up after two thirds of it, and a lock after one third; a COMMIT
    /// that takes longer goes on without its caller.
    pub fn step_timeout(self, longest: Duration) -> Self {
        PostgresBuilder { step_timeout: longest, ..self }
    }

    /// Whether tables that are not there are made. By default they are.
    pub fn create_tables(self, create: bool) -> Self {
        PostgresBuilder { create_tables: create, ..self }
    }

    /// How often what has run out is deleted. By default every minute.
    pub fn purge_every(self, interval: Duration) -> Self {
        PostgresBuilder { purge_every: interval, ..self }
    }

    /// Connects, looks at the tables and makes them if need be.
    ///
    /// # Errors
    /// One line about what does not fit: the URL, the password, a server that is not there, that takes no writes, that
    /// lets the role make no tables, or whose tables are of another version. Never with the URL or the password in it.
    ///
    /// # Panics
    /// Outside a tokio runtime with its timer and I/O enabled.
    pub async fn connect(self, url: &str) -> Result<PostgresStore, ConfigError> {
        let options = connection::options(url)?;
        self.connect_with(options).await
    }

    /// The same in the application's own database, so that [`PostgresStore::commit_in`] can be part of its transactions.
    ///
    /// The pool says where the database is and how it is connected to (its options, not its hooks). The store has a few
    /// connections of its own to it, so that a claim never waits until the application is done with one of its own.
    ///
    /// # Errors
    /// As with [`connect`](PostgresBuilder::connect).
    ///
    /// # Panics
    /// Outside a tokio runtime with its timer and I/O enabled.
    #[cfg(feature = "sqlx-09")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sqlx-09")))]
    pub async fn on(self, pool: &sqlx::PgPool) -> Result<PostgresStore, ConfigError> {
        let options = pool.connect_options().as_ref().clone();
        self.connect_with(options).await
    }

    async fn connect_with(self, options: PgConnectOptions) -> Result<PostgresStore, ConfigError> {
        self.check()?;
        let namespace = self.namespace?;
        let options = connection::for_steps(options, self.step_timeout);
        let mut first = connection::connect(&options).await?;
        schema::prepare(&mut first, &namespace, self.create_tables).await?;
        let connections = Connections::new(options, self.max_connections, self.step_timeout);
        Ok(PostgresStore::begin(connections, namespace, self.purge_every))
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.max_connections == 0 {
            return Err(ConfigError::new("PostgreSQL: max_connections must be greater than 0"));
        }
        if self.step_timeout < SHORTEST || self.purge_every < SHORTEST {
            return Err(ConfigError::new("PostgreSQL: a time under 10 ms"));
        }
        Ok(())
    }
}

const SHORTEST: Duration = Duration::from_millis(10);

/// Deletes what has run out, for as long as there is a store to do it for.
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
                    // The other table has its turn all the same.
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
    /// Whether there is more of it.
    async fn purge_batch(&self, table: usize) -> Result<bool, StoreError> {
        let Some(statement) = self.statements.purge.get(table).cloned() else {
            return Ok(false);
        };
        let row = self.connections.step(BoundStatement { name: "purge", statement, key: None, seconds: None }).await?;
        let count = row.map(|row| row.try_get::<i64, _>(0)).transpose();
        Ok(count.map_err(|error| connection::unavailable("purge", error))?.is_some_and(|count| count >= BATCH))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_of_anything_is_a_mistake() {
        let nine = Duration::from_millis(9);
        for (builder, said) in [
            (PostgresStore::builder().max_connections(0), "max_connections must be greater than 0"),
            (PostgresStore::builder().step_timeout(nine), "a time under 10 ms"),
            (PostgresStore::builder().purge_every(nine), "a time under 10 ms"),
        ] {
            assert_eq!(builder.check().unwrap_err().to_string(), format!("PostgreSQL: {said}"));
        }
        let least = PostgresStore::builder().max_connections(1).step_timeout(SHORTEST).purge_every(SHORTEST);
        assert!(least.check().is_ok());
    }

    #[test]
    fn any_time_up_to_ten_years_is_told_as_it_is() {
        const DAY: u64 = 24 * 3600;
        assert_eq!(seconds(Duration::from_millis(100)), 0.1);
        for days in [1, 30, 366, 3_650] {
            assert_eq!(seconds(Duration::from_secs(days * DAY)), (days * DAY) as f64, "{days}");
        }
        assert_eq!(seconds(Duration::MAX), (3_650 * DAY) as f64);
    }
}
