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
use self::rules::{Operation, OperationResult};
use self::tables::Tables;
use self::writer::Op;
use super::namespace::Namespace;
use super::{Claimed, DedupeStore, Settled, StoreFuture};
use crate::claim_token::ClaimToken;
use crate::event_key::EventKey;
use crate::retention::Retention;
use crate::{Clock, ConfigError, StoreError, SystemClock};

/// Remembers events in a SQLite file: over restarts, and for several processes on one machine.
///
/// ```
/// use medhook::{HealthSync, Receiver, Secret, SqliteStore};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # let folder = std::env::temp_dir().join(format!("medhook-example-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("medhook.db");
/// # runtime.block_on(async {
/// let store = SqliteStore::open(&path).await?; // one for all endpoints: clones share it
/// let secret = Secret::new("a-secret-of-the-dashboard")?;
/// let receiver = Receiver::builder("healthsync", HealthSync::new(secret)).store(store.clone()).build()?;
///
/// // What can be no store is refused here, not at the first delivery.
/// let error = SqliteStore::open(&folder).await.unwrap_err();
/// assert!(error.to_string().ends_with("is a folder, not a file"));
/// # drop((store, receiver));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What is on the disk, and when
/// Every step is answered after the COMMIT it was part of has been synced (WAL, synchronous=FULL): a claim that was won
/// and an event that was handled outlast a crash of the process, of the machine, and a power cut, as far as the disk
/// keeps its word. What waits at the same time is written by one COMMIT, so that many callers cost little more than one.
///
/// The file holds digests of event ids, random tokens and times, and nothing of what was delivered; but whoever can
/// read it can try out ids that are easily guessed. It is created for its owner alone (mode 0600), and so are the files
/// `-wal` and `-shm` beside it, which belong to it: copy or move all three, and only while nobody has them open, or use
/// SQLite's own `VACUUM INTO` or `.backup`. The mode of a file that is there already is left as it is, since sharing
/// one between users takes another; with the feature `tracing`, a mode that lets others in is logged as a warning.
///
/// There is little worth a backup: a store brought back from one has forgotten what was handled since, and hands it
/// over again if the senders still retry.
///
/// # Several processes
/// May share a file, if it is on a local disk of one machine: WAL needs shared memory, and network file systems
/// corrupt such a file sooner or later. For several machines there are servers.
///
/// # The clock
/// Leases and retentions are judged by the machine's clock, which outlasts restarts and is the same for all processes.
/// If it is set forward, leases may end early: the token sees to it that only one of two holders settles. If it is set
/// back, an event is blocked for one lease from the next attempt on, not for longer, and handled events are remembered
/// for longer by as much. What has run out is deleted an hour later, a little at a time; the file does not shrink, its
/// room is used again.
///
/// # When something is wrong
/// A disk that is full or fails, a file that is read-only, damaged or taken away, a lock held by someone else for more
/// than two seconds: [`StoreError`], which senders see as 503, so that they try again; nothing is lost. The
/// store tries anew at every step, and needs no restart when the trouble is over. A file taken away is not replaced by
/// an empty one, which would have forgotten everything, until the store is opened again.
///
/// # Threads
/// A store has two threads of its own, which end with its last clone, and needs no runtime: it goes on when the one it
/// was opened in has ended, and may be used from several, as actix-web's workers do. At most 1,024 steps wait within
/// it, and further ones where they were called.
#[derive(Clone)]
pub struct SqliteStore {
    queue: mpsc::Sender<Op>,
    #[cfg(feature = "sqlx-09")]
    database: Arc<Database>,
    #[cfg(feature = "sqlx-09")]
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
    pub fn builder() -> SqliteBuilder {
        SqliteBuilder { namespace: Ok(Namespace::default()), clock: Arc::new(SystemClock), create_tables: true }
    }

    /// A store in the application's own database, with the default options: see [`SqliteBuilder::on`].
    ///
    /// # Errors
    /// What is wrong with the database, in a line that names its file.
    #[cfg(feature = "sqlx-09")]
    pub async fn on(pool: &sqlx::SqlitePool) -> Result<Self, ConfigError> {
        Self::builder().on(pool).await
    }

    /// Remembers the delivery's event as handled, in a transaction of the application's: what the handler did and that
    /// it was done are written together, or neither is. The receiver's own commit finds it done.
    ///
    /// The transaction has to be on this store's database, through the pool that it is [on](Self::on) or any other way,
    /// and the delivery's receiver has to have this store.
    ///
    /// - Begin it with `BEGIN IMMEDIATE` (`pool.begin_with(..)`): one that reads before it writes can be refused as
    ///   locked at once, whatever the busy time-out.
    /// - Keep it short. Nobody else can write while it is open: after two seconds claims are answered 503 and
    ///   renewals are tried again later.
    /// - Commit it before the handler answers, and answer 2xx if that went well. If the handler fails after it, the
    ///   event stays handled.
    /// - Do not commit it after an error: a dropped transaction is rolled back.
    ///
    /// It is as durable as the transaction's own connection makes it.
    ///
    /// ```no_run
    /// use medhook::{Delivery, SqliteStore};
    /// use sqlx::SqlitePool;
    ///
    /// # type Error = Box<dyn std::error::Error>;
    /// async fn handle(pool: &SqlitePool, store: &SqliteStore, delivery: Delivery) -> Result<(), Error> {
    ///     let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    ///     let insert = sqlx::query("INSERT INTO inbox (body) VALUES (?)").bind(&delivery.body()[..]);
    ///     insert.execute(&mut *transaction).await?;
    ///     store.commit_in(&mut transaction, &delivery).await?;
    ///     transaction.commit().await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [Lost](StoreError::is_lost), if the lease ran out and someone else has the event; or the database's.
    #[cfg(feature = "sqlx-09")]
    pub async fn commit_in(
        &self,
        transaction: &mut sqlx::SqliteTransaction<'_>,
        delivery: &crate::Delivery,
    ) -> Result<(), StoreError> {
        let (Some(token), Some(retention)) = (delivery.claim_token(), delivery.retention()) else {
            return Err(StoreError::unavailable("SQLite store: the delivery was let in by no receiver"));
        };
        let until = rules::after(writer::millis(&*self.clock), retention.total);
        let ours = self.database.tables().commit(&mut *transaction, delivery.event_key(), token, until).await;
        if ours.map_err(|fault| fault.to_store_error())? { Ok(()) } else { Err(StoreError::lost()) }
    }

    async fn ask(&self, key: EventKey, token: ClaimToken, step: Operation) -> Result<OperationResult, StoreError> {
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
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        Box::pin(async move { self.ask(key, token, Operation::Claim(lease)).await?.claimed() })
    }

    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        Box::pin(async move { self.ask(key, token, Operation::Renew(lease)).await?.settled() })
    }

    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled> {
        Box::pin(async move { self.ask(key, token, Operation::Commit(retention)).await?.settled() })
    }

    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
        Box::pin(async move { self.ask(key, token, Operation::Release).await?.settled() })
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

    /// The clock that judges leases and retentions; by default the machine's, which all processes that share a file
    /// have in common.
    pub fn clock(self, clock: impl Clock) -> Self {
        SqliteBuilder { clock: Arc::new(clock), ..self }
    }

    /// Whether tables that are not there are made; by default they are. To make them by migrations of your own, these
    /// are they, where `medhook` is the namespace:
    ///
    /// ```sql
    #[doc = include_str!("tables.sql")]
    /// ```
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
    pub async fn on(self, pool: &sqlx::SqlitePool) -> Result<SqliteStore, ConfigError> {
        let tables = Tables::new(&self.namespace?);
        let database = Database::of(pool, tables, self.create_tables).await;
        let options = pool.connect_options();
        start(database.map_err(|fault| fault.into_config_error(options.get_filename()))?, self.clock).await
    }
}

async fn start(database: Database, clock: Arc<dyn Clock>) -> Result<SqliteStore, ConfigError> {
    let database = Arc::new(database);
    Ok(SqliteStore {
        queue: writer::start(database.clone(), clock.clone()).await?,
        #[cfg(feature = "sqlx-09")]
        database,
        #[cfg(feature = "sqlx-09")]
        clock,
    })
}
