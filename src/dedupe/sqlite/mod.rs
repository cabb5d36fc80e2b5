mod batches;
mod connect;
mod fault;
mod file;
#[cfg(feature = "inbox")]
mod inbox;
mod rules;
mod tables;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "inbox")]
use tokio::sync::Semaphore;
use tokio::sync::{mpsc, oneshot};

use self::connect::Database;
use self::rules::{BodyOperation, Operation, OperationResult};
use self::tables::Tables;
use self::writer::{Op, Step};
use super::namespace::Namespace;
#[cfg(feature = "sqlx-09")]
use super::own_delivery::own_delivery;
use super::{Claimed, DedupeStore, DeliveryRecord, Forgotten, Settled, StoreFuture};
use crate::claim_token::ClaimToken;
use crate::event_key::EventKey;
use crate::retention::Retention;
use crate::store_id::StoreId;
use crate::{Clock, ConfigError, StoreError, SystemClock};

/// A store in a SQLite file, which survives restarts and can be shared by several processes on one machine.
///
/// ```
/// use medhook::{HealthSync, Receiver, Secret, SqliteStore};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # let name = format!("medhook-example-{}", std::process::id());
/// # let folder = std::env::temp_dir().join(name);
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("medhook.db");
/// # runtime.block_on(async {
/// let store = SqliteStore::open(&path).await?; // one for all endpoints: clones share it
/// let healthsync = HealthSync::new(Secret::new("a-secret-of-the-dashboard")?);
/// let receiver = Receiver::builder("healthsync", healthsync).store(store.clone());
/// let receiver = receiver.build()?;
///
/// // An unusable path is rejected here, not at the first delivery.
/// let error = SqliteStore::open(&folder).await.unwrap_err();
/// assert!(error.to_string().ends_with("is a directory, not a file"));
/// # drop((store, receiver));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Durability
/// Every operation returns after its transaction is committed and synced to disk (WAL, synchronous=FULL): claims and
/// handled events survive a crash of the process or the machine and a power failure, provided that the disk honors
/// syncs. Operations that wait at the same time share one COMMIT, so many concurrent callers cost little more than
/// one.
///
/// # Files
/// The file contains times, random tokens and digests of event ids and bodies, and no data of the deliveries unless the
/// store has an [inbox](#inbox). An attacker who can read it can test guessable ids and bodies against the digests. It
/// is created with mode 0600, as are the `-wal` and `-shm` files beside it. The mode of an existing file is not
/// changed, because a file shared by several users needs another mode. With the feature `tracing`, a warning is logged
/// if other users can access it.
///
/// Copy or move the three files together, and only while no process has them open, or use SQLite's `VACUUM INTO` or
/// `.backup`. Restoring a backup loses every event recorded since; retries of those events will be handled again.
///
/// Never remove or replace the `-wal` or the `-shm`. The `-wal` has the events that are not yet in the file itself:
///
/// - If one of them is removed while the store has it open, the store notices it within a second or at its next
///   operation, which fails with a [`StoreError`] that names the file. The store copies the events into the database
///   through the files that it still has open, and reopens the database. No event is forgotten, unless the process or
///   the machine crashes before that. While another connection still has the removed file open, every operation fails.
///   Other stores close theirs within a second, but a pool of the application has to be closed.
/// - If there is another file in its place, every operation fails until all processes that use the database are
///   restarted, and the error names the file. The file and its index may belong to different connections, so copying
///   could damage the database. Events since the last checkpoint may be lost.
/// - If the `-wal` is removed while no process has it open, for example after a crash, the events in it are lost
///   without a trace.
/// - A connection that is not a store's, such as one of a pool or of the `sqlite3` shell, checks nothing. If it is
///   opened after a removal and before the store has noticed it, it can damage the database.
///
/// With the feature `tracing`, the first two are logged. Systems other than Unix have no comparable identity of a file,
/// so only a removal is noticed there; Windows does not remove an open file.
///
/// # Inbox
/// With the feature `inbox`, the store has an [inbox](#method.inbox) in the same file. Storing an event and recording
/// it as handled are one transaction, whose COMMIT is shared with other operations that wait.
///
/// The file then contains bodies, sealed or in clear, and of each event its endpoint, provider, documented kind, size
/// and times. In clear, the inbox is opened only if the mode of the files is 0600 and only their owner can write to
/// their directory; a directory with the sticky bit that others can write to is not enough.
///
/// The store's connection overwrites deleted bodies with zeros (secure_delete=ON). Until the next checkpoint that
/// truncates it, the `-wal` still contains them; workers truncate it regularly, unless another connection is reading.
/// Copies of the file and blocks that the file system or the disk has moved are out of its reach: seal the bodies. A
/// body takes up a page (4 KiB by default) more than its length, so that nothing of it shares a page with others.
///
/// Instances without an inbox, including those of earlier versions, can share the file. If the disk has no space left,
/// no event is stored, and deliveries are answered with 503.
///
/// # Several processes
/// Several processes can share a file on a local disk. WAL needs shared memory, and network file systems can corrupt
/// the file. For several machines, use PostgreSQL or Redis.
///
/// # Clock
/// Leases and retentions are measured by the system's clock, which survives restarts and is the same for all
/// processes. If it is set forward, leases may expire early; the token ensures that only one of two holders settles
/// the claim. If it is set back, a claim blocks its event for at most one lease from the next attempt on, and handled
/// events are remembered for longer by the difference.
///
/// If the clock is set forward by more than the rest of a retention, handled events are forgotten: their retries are
/// handled again, and an hour after their retention the events are purged, so that they remain forgotten when the clock
/// is set back. Synchronize the clock by NTP, without jumps.
///
/// Expired events are purged in small batches. The file does not shrink; its free pages are reused.
///
/// # Failures
/// A full or failing disk, a read-only, damaged or removed file (see [Files](#files)), and a lock that another
/// connection holds for more than two seconds cause a [`StoreError`]. The delivery is answered with 503, so the
/// provider retries. Every operation tries the database again, so no restart is needed once the cause is removed. If
/// the file is removed, the store does not create an empty one, because that would forget all events. Opening the store
/// again creates it.
///
/// # Threads
/// A store has two threads of its own, which end with its last clone. It needs no runtime: it can be used after the
/// runtime in which it was opened has ended, and from several runtimes, such as those of actix-web's workers. At most
/// 1,024 operations are queued, with at most 32 MiB of bodies to store; further callers wait.
#[derive(Clone)]
pub struct SqliteStore {
    id: StoreId,
    queue: mpsc::Sender<Op>,
    /// Limits the bytes of queued bodies.
    #[cfg(feature = "inbox")]
    bytes: Arc<Semaphore>,
    #[cfg(any(feature = "inbox", feature = "sqlx-09"))]
    database: Arc<Database>,
    #[cfg(feature = "sqlx-09")]
    clock: Arc<dyn Clock>,
}

impl SqliteStore {
    /// Opens the store in the file at `path` with the default options. Creates the file if it does not exist.
    ///
    /// # Errors
    /// Returns the errors of [`SqliteBuilder::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::builder().open(path).await
    }

    /// Creates a builder for a store with other options.
    pub fn builder() -> SqliteBuilder {
        SqliteBuilder { namespace: Ok(Namespace::default()), clock: Arc::new(SystemClock), create_tables: true }
    }

    /// Opens a store in the application's own database with the default options. See [`SqliteBuilder::on`].
    ///
    /// # Errors
    /// Returns the errors of [`SqliteBuilder::on`].
    #[cfg(feature = "sqlx-09")]
    pub async fn on(pool: &sqlx::SqlitePool) -> Result<Self, ConfigError> {
        Self::builder().on(pool).await
    }

    /// Records the delivery's event as handled in a transaction of the application, so that the effects of the handler
    /// and this record are committed together or not at all. The receiver's own commit then changes nothing. An event
    /// that can recur with the same bytes has another key for each delivery, so a retry of it takes effect again
    /// ([`Dedupe::by_id`](crate::Dedupe::by_id)).
    ///
    /// The transaction must be on this store's file, through the pool that the store is [on](Self::on) or through any
    /// other connection whose main database it is. The delivery's receiver must have this store: a clone of it, an
    /// `Arc` of a clone, or a store that wraps a clone and returns its [`store_id`](DedupeStore::store_id). A second
    /// store that was opened on the same tables is another store.
    ///
    /// - Begin it with `BEGIN IMMEDIATE` (`pool.begin_with(..)`): a transaction that reads before it writes can fail
    ///   immediately with `SQLITE_BUSY`, regardless of the busy timeout.
    /// - Keep it short. No other connection can write while it is open: after two seconds, claims are answered with 503
    ///   and renewals are retried later.
    /// - Commit it before the handler answers, and answer 2xx if the commit succeeded. If the handler fails afterwards,
    ///   the event remains handled.
    /// - Do not commit it after an error. A dropped transaction is rolled back.
    ///
    /// The record is as durable as the transaction's connection makes it.
    ///
    /// For a delivery from an [inbox](#method.inbox), this is [`finish_in`](#method.finish_in).
    ///
    /// ```no_run
    /// use medhook::{Delivery, SqliteStore};
    /// use sqlx::SqlitePool;
    ///
    /// # type Error = Box<dyn std::error::Error>;
    /// async fn handle(
    ///     pool: &SqlitePool,
    ///     store: &SqliteStore,
    ///     delivery: Delivery,
    /// ) -> Result<(), Error> {
    ///     let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    ///     let insert = sqlx::query("INSERT INTO inbox (body) VALUES (?)");
    ///     let insert = insert.bind(&delivery.body()[..]);
    ///     insert.execute(&mut *transaction).await?;
    ///     store.commit_in(&mut transaction, &delivery).await?;
    ///     transaction.commit().await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns a [lost](StoreError::is_lost) error if the lease expired and another delivery has claimed the event;
    /// otherwise the database's error.
    ///
    /// Returns an error without changing anything if the delivery's receiver has another store, if no receiver has
    /// admitted the delivery, or if the transaction is on another file.
    #[cfg(feature = "sqlx-09")]
    pub async fn commit_in(
        &self,
        transaction: &mut sqlx::SqliteTransaction<'_>,
        delivery: &crate::Delivery,
    ) -> Result<(), StoreError> {
        let (token, retention) = own_delivery(self.id, "SQLite store: commit_in", delivery)?;
        self.check(transaction, "commit_in").await?;
        #[cfg(feature = "inbox")]
        if let Some(row) = delivery.inbox_row() {
            return self.finish_row(transaction, row, token).await;
        }
        let until = rules::after(writer::millis(&*self.clock), retention.total);
        let ours = self.database.tables().commit(&mut *transaction, delivery.event_key(), token, until).await;
        if ours.map_err(|fault| fault.to_store_error())? { Ok(()) } else { Err(StoreError::lost()) }
    }

    /// Checks that a transaction is on this store's file, and that the file is intact.
    #[cfg(feature = "sqlx-09")]
    async fn check(
        &self,
        transaction: &mut sqlx::SqliteTransaction<'_>,
        operation: &'static str,
    ) -> Result<(), StoreError> {
        self.database.check_is_main_of(&mut *transaction, operation).await.map_err(|fault| fault.to_store_error())?;
        // The transaction's connection would write to the lost file as well.
        self.database.check_companions().map_err(|fault| fault.to_store_error())
    }

    async fn ask(&self, step: Step) -> Result<OperationResult, StoreError> {
        let (reply, answer) = oneshot::channel();
        let gone = || StoreError::unavailable("SQLite store: its thread did not answer");
        #[cfg(feature = "inbox")]
        let bytes = match step.bytes() {
            0 => None,
            bytes => {
                let most = u32::try_from(bytes).unwrap_or(u32::MAX).min(inbox::work::QUEUE_BYTES);
                Some(self.bytes.clone().acquire_many_owned(most).await.map_err(|_| gone())?)
            }
        };
        let op = Op {
            step,
            reply,
            #[cfg(feature = "inbox")]
            _bytes: bytes,
        };
        self.queue.send(op).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

// No record of ended claims is needed: operations take effect in the order of the queue, and one that was dropped
// before it was queued never does. A token is used in one process only.
impl DedupeStore for SqliteStore {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        Box::pin(async move { self.ask(Step::OfEvent(key, token, Operation::Claim(lease))).await?.claimed() })
    }

    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        Box::pin(async move { self.ask(Step::OfEvent(key, token, Operation::Renew(lease))).await?.settled() })
    }

    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled> {
        Box::pin(async move { self.ask(Step::OfEvent(key, token, Operation::Commit(retention))).await?.settled() })
    }

    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
        Box::pin(async move { self.ask(Step::OfEvent(key, token, Operation::Release)).await?.settled() })
    }

    fn record_delivery(&self, body: EventKey, period: Duration, most: u64) -> StoreFuture<'_, DeliveryRecord> {
        Box::pin(async move { self.ask(Step::OfBody(body, BodyOperation::Record(period, most))).await?.recorded() })
    }

    fn record_failure(&self, body: EventKey) -> StoreFuture<'_, ()> {
        Box::pin(async move { self.ask(Step::OfBody(body, BodyOperation::Failure)).await.map(drop) })
    }

    fn forget(&self, key: EventKey) -> StoreFuture<'_, Forgotten> {
        Box::pin(async move { self.ask(Step::Forget(key)).await?.forgotten() })
    }

    fn store_id(&self) -> Option<StoreId> {
        Some(self.id)
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
    /// Sets the prefix of the tables' names. The default is `medhook`. Stores of different namespaces in one file are
    /// independent.
    pub fn namespace(self, name: &str) -> Self {
        SqliteBuilder { namespace: Namespace::new(name), ..self }
    }

    /// Sets the clock that measures leases and retentions. All processes that share a file need the same clock; the
    /// default is the system's.
    pub fn clock(self, clock: impl Clock) -> Self {
        SqliteBuilder { clock: Arc::new(clock), ..self }
    }

    /// Sets whether missing tables are created. The default is true. To create them in a migration of your own, use
    /// these statements, in which `medhook` is the namespace:
    ///
    /// ```sql
    #[doc = include_str!("tables.sql")]
    /// ```
    pub fn create_tables(self, create: bool) -> Self {
        SqliteBuilder { create_tables: create, ..self }
    }

    /// Opens the store in the file at `path`. Creates the file if it does not exist.
    ///
    /// # Errors
    /// Returns an error if the namespace is invalid, or if the file cannot be used. The message names the file.
    pub async fn open(self, path: impl AsRef<Path>) -> Result<SqliteStore, ConfigError> {
        let path = path.as_ref();
        let tables = Tables::new(&self.namespace?);
        let database =
            Database::file(path, tables, self.create_tables).map_err(|fault| fault.into_config_error(path))?;
        start(database, self.clock).await
    }

    /// Opens a store in the application's own database, so that [`SqliteStore::commit_in`] can be part of its
    /// transactions.
    ///
    /// The store opens a connection of its own, with synchronous=FULL. It uses the pool's connect options (path,
    /// pragmas, keys and collations) but not its hooks. The application sets the journal mode; WAL is recommended. A
    /// database in memory is not supported.
    ///
    /// # Errors
    /// Returns an error if the namespace is invalid, or if the database cannot be used. The message names its file.
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
        id: StoreId::new(),
        queue: writer::start(database.clone(), clock.clone()).await?,
        #[cfg(feature = "inbox")]
        bytes: Arc::new(Semaphore::new(usize::try_from(inbox::work::QUEUE_BYTES).unwrap_or(usize::MAX))),
        #[cfg(any(feature = "inbox", feature = "sqlx-09"))]
        database,
        #[cfg(feature = "sqlx-09")]
        clock,
    })
}
