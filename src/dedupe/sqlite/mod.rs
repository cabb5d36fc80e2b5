mod connect;
mod fault;
mod file;
mod rules;
mod tables;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use self::connect::Database;
use self::rules::{Answer, Step};
use self::tables::Tables;
use self::writer::Op;
use super::namespace::Namespace;
use super::{Claimed, DedupeStore, EventKey, Retention, Settled, StoreFuture, Token};
use crate::{Clock, ConfigError, StoreError, SystemClock};

/// Remembers events in a SQLite file: over restarts, and for several processes on one machine.
#[derive(Clone)]
pub struct SqliteStore {
    queue: mpsc::Sender<Op>,
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
}

impl SqliteStore {
    /// A store in the file at `path`, which is created if it is not there, with the default options.
    ///
    /// # Errors
    /// What is wrong with the path or the file, in a line that names it.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::builder().open(path).await
    }

    /// A store with other options.
    #[must_use]
    pub fn builder() -> SqliteBuilder {
        SqliteBuilder { namespace: Ok(Namespace::default()), clock: Arc::new(SystemClock), create_tables: true }
    }

    /// A store in the application's own database, with the default options: see [`SqliteBuilder::on`].
    ///
    /// # Errors
    /// What is wrong with the database, in a line that names its file.
    #[cfg(feature = "sqlx-09")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sqlx-09")))]
    pub async fn on(pool: &sqlx::SqlitePool) -> Result<Self, ConfigError> {
        Self::builder().on(pool).await
    }

    /// Remembers the delivery's event as handled, in a transaction of the application's: what the handler did and that
    /// it was done are written together, or neither is. The receiver's own commit finds it done.
    ///
    /// The transaction has to be on the store's database. It may be the pool's that the store is [on](Self::on), or any
    /// other of the same file.
    ///
    /// - Begin it with `BEGIN IMMEDIATE` (`pool.begin_with(..)`): one that reads before it writes can be refused as
    ///   locked at once, whatever the busy time-out.
    /// - Keep it short. Nobody else can write while it is open: after two seconds claims are answered 503 and
    ///   renewals are tried again later.
    /// - Commit it before the handler answers, and answer 2xx if that went well. If the handler fails after it, the
    ///   event stays handled.
    /// - Do not commit it after an error: a dropped transaction is rolled back.
    ///
    /// # Errors
    /// [Lost](StoreError::is_lost), if the lease ran out and someone else has the event; or the database's.
    #[cfg(feature = "sqlx-09")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sqlx-09")))]
    pub async fn commit_in(
        &self,
        transaction: &mut sqlx::SqliteTransaction<'_>,
        delivery: &crate::Delivery,
    ) -> Result<(), StoreError> {
        let (Some(token), Some(retention)) = (delivery.token(), delivery.retention()) else {
            return Err(StoreError::unavailable("SQLite store: the delivery was let in by no receiver"));
        };
        let until = rules::after(writer::millis(&*self.clock), retention.total);
        let ours = self.database.tables().commit(&mut *transaction, delivery.event_key(), token, until).await;
        if ours.map_err(|fault| fault.to_store_error())? { Ok(()) } else { Err(StoreError::lost()) }
    }

    async fn ask(&self, key: EventKey, token: Token, step: Step) -> Result<Answer, StoreError> {
        let (reply, answer) = oneshot::channel();
        let gone = || StoreError::unavailable("SQLite store: its thread gave no answer");
        self.queue.send(Op { key, token, step, reply }).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl DedupeStore for SqliteStore {
    fn claim(&self, key: EventKey, token: Token, lease: Duration) -> StoreFuture<'_, Claimed> {
        Box::pin(async move { self.ask(key, token, Step::Claim(lease)).await?.claimed() })
    }

    fn renew(&self, key: EventKey, token: Token, lease: Duration) -> StoreFuture<'_, Settled> {
        Box::pin(async move { self.ask(key, token, Step::Renew(lease)).await?.settled() })
    }

    fn commit(&self, key: EventKey, token: Token, retention: Retention) -> StoreFuture<'_, Settled> {
        Box::pin(async move { self.ask(key, token, Step::Commit(retention)).await?.settled() })
    }

    fn release(&self, key: EventKey, token: Token) -> StoreFuture<'_, Settled> {
        Box::pin(async move { self.ask(key, token, Step::Release).await?.settled() })
    }
}

/// Options of a [`SqliteStore`].
#[derive(Debug)]
#[must_use = "nothing is opened until `open`"]
pub struct SqliteBuilder {
    namespace: Result<Namespace, ConfigError>,
    clock: Arc<dyn Clock>,
    create_tables: bool,
}

impl SqliteBuilder {
    /// What the names of the tables begin with: `medhook` by default. Stores of different namespaces in one file know
    /// nothing of each other.
    pub fn namespace(self, name: &str) -> Self {
        SqliteBuilder { namespace: Namespace::new(name), ..self }
    }

    /// The clock that judges leases and retentions; by default the machine's. All processes that share a file need
    /// clocks that agree.
    pub fn clock(self, clock: impl Clock) -> Self {
        SqliteBuilder { clock: Arc::new(clock), ..self }
    }

    /// Whether tables that are not there are made; by default they are.
    pub fn create_tables(self, create: bool) -> Self {
        SqliteBuilder { create_tables: create, ..self }
    }

    /// A store in the file at `path`, which is created if it is not there.
    ///
    /// # Errors
    /// What is wrong with the path or the file, in a line that names it; or with the namespace.
    pub async fn open(self, path: impl AsRef<Path>) -> Result<SqliteStore, ConfigError> {
        let path = path.as_ref();
        let tables = Tables::new(&self.namespace?);
        let database =
            Database::file(path, tables, self.create_tables).map_err(|fault| fault.into_config_error(path))?;
        start(database, self.clock).await
    }

    /// A store in the application's own database, so that [`SqliteStore::commit_in`] can be part of its transactions.
    ///
    /// The pool says where the database is and how it is opened (its pragmas, keys and collations, not its hooks); the
    /// store has a connection of its own to it, with synchronous=FULL. The journal mode is the application's: WAL
    /// is advisable. A database in memory will not do.
    ///
    /// # Errors
    /// What is wrong with the database, in a line that names its file; or with the namespace.
    #[cfg(feature = "sqlx-09")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sqlx-09")))]
    pub async fn on(self, pool: &sqlx::SqlitePool) -> Result<SqliteStore, ConfigError> {
        let tables = Tables::new(&self.namespace?);
        let database = Database::of(pool, tables, self.create_tables).await;
        let options = pool.connect_options();
        start(database.map_err(|fault| fault.into_config_error(options.get_filename()))?, self.clock).await
    }
}

async fn start(database: Database, clock: Arc<dyn Clock>) -> Result<SqliteStore, ConfigError> {
    let database = Arc::new(database);
    let queue = writer::start(database.clone(), clock.clone()).await?;
    Ok(SqliteStore { queue, database, clock })
}
