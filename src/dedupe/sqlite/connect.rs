use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::time::{Instant, sleep};

use super::fault::Fault;
use super::file::{self, Companion, Fate, Identity, SHM, WAL};
use super::tables::Tables;
use crate::observe;

/// The database: how to connect to it, and what is required of it.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    options: SqliteConnectOptions,
    tables: Tables,
    create_tables: bool,
    /// Whether the file belongs to the store, which then requires a write-ahead log. In the application's database the
    /// application sets the journal mode.
    own: bool,
    /// The files of the store's connection, for transactions of the application.
    companions: Mutex<Companions>,
    /// Whether the store has an inbox, whose deleted bodies are overwritten.
    #[cfg(feature = "inbox")]
    has_inbox: std::sync::atomic::AtomicBool,
}

/// A connection, and the file that it has open.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) connection: SqliteConnection,
    file: Identity,
}

/// The state of the files beside the database.
#[derive(Debug)]
enum Companions {
    /// The store's connection has these files open.
    Open(Vec<Companion>),
    /// The application has chosen another journal mode. A file at this path would mean that it has changed the mode.
    NoLog(PathBuf),
    /// One of them was removed or replaced, and the store has not connected since.
    Lost(Box<str>),
}

impl Database {
    /// Returns the database in a file of the store. Creates the file if it does not exist.
    pub(super) fn file(path: &Path, tables: Tables, create_tables: bool) -> Result<Self, Fault> {
        let path = file::absolute(path)?;
        file::create(&path)?;
        let options = SqliteConnectOptions::new().filename(&path).journal_mode(SqliteJournalMode::Wal);
        let options = options.pragma("wal_autocheckpoint", PAGES_OF_LOG);
        Ok(Database {
            options: durable(options),
            path,
            tables,
            create_tables,
            own: true,
            companions: Mutex::default(),
            #[cfg(feature = "inbox")]
            has_inbox: false.into(),
        })
    }

    /// Returns the database of the application, with the connect options of its pool. The store has a connection of its
    /// own: a pool whose connections are all waiting for the store would deadlock.
    #[cfg(feature = "sqlx-09")]
    pub(super) async fn of(pool: &sqlx::SqlitePool, tables: Tables, create_tables: bool) -> Result<Self, Fault> {
        // The first connection of the pool may create the file.
        drop(pool.acquire().await?);
        let options = pool.connect_options().as_ref().clone();
        let path = file::absolute(options.get_filename())?;
        if !path.is_file() {
            return Err(Fault::new("is not a file; a database in memory is not supported"));
        }
        Ok(Database {
            options: durable(options.filename(&path)),
            path,
            tables,
            create_tables,
            own: false,
            companions: Mutex::default(),
            #[cfg(feature = "inbox")]
            has_inbox: false.into(),
        })
    }

    /// Sets the busy timeout.
    #[cfg(test)]
    pub(super) fn with_busy_timeout(self, time: Duration) -> Self {
        Database { options: self.options.busy_timeout(time), ..self }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Connects for the first time. If many processes do so at once, SQLite rejects some of them without waiting.
    pub(super) async fn open(&self) -> Result<Connected, Fault> {
        let began = Instant::now();
        loop {
            match self.connect().await {
                Err(fault) if fault.is_busy() && began.elapsed() < PATIENCE => sleep(BETWEEN).await,
                result => return result,
            }
        }
    }

    /// Makes connections overwrite what they delete, from the next one on.
    #[cfg(feature = "inbox")]
    pub(super) fn open_inbox(&self) {
        self.has_inbox.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    #[cfg(feature = "inbox")]
    pub(super) fn creates_tables(&self) -> bool {
        self.create_tables
    }

    pub(super) async fn connect(&self) -> Result<Connected, Fault> {
        let file = Identity::of(&self.path)?;
        if locked(&ABANDONED).contains(&file) {
            return Err(Fault::lost(replaced(self.path.display())));
        }
        let real = real(&self.path);
        self.check_missing(&real).await?;
        let mut connection = self.options.connect().await?;
        let mode = journal_mode(&mut connection).await?;
        if self.own && mode != "wal" {
            return Err(Fault::new("cannot enable the write-ahead log; the file must be on a local disk"));
        }
        #[cfg(feature = "inbox")]
        if self.has_inbox.load(std::sync::atomic::Ordering::Relaxed) {
            run(&mut connection, SECURE_DELETE).await?;
        }
        run(&mut connection, BEGIN).await?;
        self.tables.prepare(&mut connection, self.create_tables).await?;
        // In the transaction both files exist, unless the application has chosen another mode.
        let mut open = Vec::new();
        if mode == "wal" {
            for ending in [WAL, SHM] {
                let companion = Companion::of(&real, ending)?;
                if companion.is_none() && self.own {
                    let path = file::beside(&real, ending);
                    return Err(Fault::new(format!("{} was removed while it was opened", path.display())));
                }
                open.extend(companion);
            }
        }
        run(&mut connection, COMMIT).await?;
        let no_log = mode != "wal";
        *locked(&self.companions) =
            if no_log { Companions::NoLog(file::beside(&real, WAL)) } else { Companions::Open(open) };
        Ok(Connected { connection, file })
    }

    /// Checks that the main database of the application's connection is this file. A database that is attached to
    /// another one is rejected, too: with a write-ahead log, SQLite does not commit both atomically.
    #[cfg(feature = "sqlx-09")]
    pub(super) async fn check_is_main_of(
        &self,
        connection: &mut SqliteConnection,
        operation: &'static str,
    ) -> Result<(), Fault> {
        // The tables are not read, so that a deferred transaction still begins with a write.
        let databases: Vec<(i64, String, Option<String>)> =
            sqlx::query_as("PRAGMA database_list").fetch_all(connection).await?;
        let main = databases.into_iter().find_map(|(_, name, file)| file.filter(|_| name == "main"));
        let main = main.filter(|file| !file.is_empty()).map(|file| Identity::of(Path::new(&file))).transpose()?;
        if main == Some(Identity::of(&self.path)?) {
            return Ok(());
        }
        Err(Fault::new(format!(
            "{operation}: the main database of the transaction is another file than this store's; begin it on a \
             connection to the store's file"
        )))
    }

    /// Rejects a database whose `-wal` or `-shm` is missing although another connection has the database open. SQLite
    /// would create new ones, and both connections would write without regard to each other.
    ///
    /// A connection in exclusive locking mode uses no `-shm`, and creates a `-wal` only after it has locked out all
    /// others.
    async fn check_missing(&self, real: &Path) -> Result<(), Fault> {
        let began = Instant::now();
        loop {
            let missing = [WAL, SHM].map(|ending| file::beside(real, ending)).into_iter().find(|path| !path.exists());
            // An empty database is new, and has no events that could be lost.
            let Some(missing) = missing.filter(|_| std::fs::metadata(real).is_ok_and(|file| file.len() > 0)) else {
                return Ok(());
            };
            let options = self.options.clone().locking_mode(SqliteLockingMode::Exclusive).busy_timeout(Duration::ZERO);
            let alone = async {
                let mut connection = options.connect().await?;
                let alone = journal_mode(&mut connection).await;
                connection.close().await?;
                alone
            };
            match alone.await {
                Ok(_) => return Ok(()),
                // The connection that follows has the same error, or a clearer one.
                Err(fault) if !fault.is_busy() => return Ok(()),
                // Another process may be opening or closing the database.
                Err(_) if began.elapsed() < BUSY_TIMEOUT => sleep(BETWEEN).await,
                Err(_) => {
                    return Err(Fault::busy(format!(
                        "{} is missing while another connection has the database open; close it or restart its process",
                        missing.display()
                    )));
                }
            }
        }
    }

    /// Returns whether the path still leads to the open file.
    pub(super) fn is(&self, connected: &Connected) -> bool {
        Identity::of(&self.path).is_ok_and(|file| file == connected.file)
    }

    /// Returns an error if the `-wal` or the `-shm` that the store has open was removed or replaced: later writes to it
    /// would be lost, and a new connection would not see earlier ones.
    ///
    /// Must run while the caller has the write lock, so that no other store writes until the transaction ends.
    pub(super) fn check_companions(&self) -> Result<(), Fault> {
        match &*locked(&self.companions) {
            Companions::Open(open) => match worst(open)? {
                Some((path, fate)) => Err(Fault::lost(format!("{} {fate}", path.display()))),
                None => Ok(()),
            },
            Companions::NoLog(_) => Ok(()),
            Companions::Lost(message) => Err(Fault::lost(message.clone())),
        }
    }

    /// Returns whether the application has enabled the write-ahead log since the store connected.
    pub(super) fn has_new_log(&self) -> bool {
        matches!(&*locked(&self.companions), Companions::NoLog(log) if log.exists())
    }

    /// Ends the use of a connection whose `-wal` or `-shm` was removed or replaced, or returns the connection if that
    /// is not the case. The error says what became of the events in the write-ahead log.
    ///
    /// If the file was removed, no other connection can have written to a new one. So the log is copied into the
    /// database through the files that are still open, and nothing is lost. The connection is then closed.
    ///
    /// If there is another file in its place, the log and its index may belong to different connections. SQLite checks
    /// neither, and copying would damage the database, also when the connection is closed. So it is left open and never
    /// used again, and this process does not open the database again.
    pub(super) async fn leave(&self, mut connected: Connected) -> Result<Connected, (Fault, Option<Connected>)> {
        let lost = match &*locked(&self.companions) {
            Companions::Open(open) => worst(open).map(|worst| worst.map(|(path, fate)| (path.to_owned(), fate))),
            Companions::NoLog(_) => Ok(None),
            Companions::Lost(message) => Err(Fault::lost(message.clone())),
        };
        let (path, fate) = match lost {
            Ok(Some(lost)) => lost,
            Ok(None) => return Ok(connected),
            Err(fault) => return Err((fault, Some(connected))),
        };
        // If the database itself was moved, its files were moved with it.
        if !self.is(&connected) {
            return Ok(connected);
        }
        let path = path.display();
        if fate == Fate::Replaced {
            let message = replaced(&path);
            locked(&ABANDONED).push(connected.file);
            std::mem::forget(connected);
            return Err((self.lost(message), None));
        }
        match checkpoint(&mut connected.connection).await {
            Ok(()) => {
                let _ = connected.connection.close().await;
                let message =
                    format!("{path} {fate}; its events were copied into the database, and the database is reopened");
                Err((self.lost(message), None))
            }
            // The open files have the only copy of the events: try again.
            Err(fault) => {
                let message =
                    format!("{path} {fate}, and its events could not be copied into the database: {}", fault.message());
                observe::store_files_lost(&message);
                Err((Fault::lost(message), Some(connected)))
            }
        }
    }

    fn lost(&self, message: String) -> Fault {
        observe::store_files_lost(&message);
        *locked(&self.companions) = Companions::Lost(message.as_str().into());
        Fault::lost(message)
    }

    /// Closes a connection and waits until it is closed, so that the file is no longer written to.
    pub(super) async fn close(&self, connected: Connected) {
        match self.leave(connected).await {
            // A connection that cannot be closed is broken, and its thread ends with it.
            Ok(connected) | Err((_, Some(connected))) => drop(connected.connection.close().await),
            Err((_, None)) => {}
        }
    }
}

/// Resolves links, as SQLite does before it adds the endings.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Returns the first file that was replaced, or else the first that was removed.
fn worst(open: &[Companion]) -> Result<Option<(&Path, Fate)>, Fault> {
    let mut worst = None;
    for companion in open {
        match companion.fate()? {
            Fate::Intact => {}
            Fate::Removed => worst = worst.or(Some((companion.path(), Fate::Removed))),
            Fate::Replaced => return Ok(Some((companion.path(), Fate::Replaced))),
        }
    }
    Ok(worst)
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fate::Intact => "is unchanged",
            Fate::Removed => "was removed while the database was open",
            Fate::Replaced => "was replaced while the database was open",
        })
    }
}

fn replaced(path: impl fmt::Display) -> String {
    format!(
        "{path} was replaced while the database was open; stop all processes that use the database and start them \
         again; events that were recorded since the last checkpoint may be lost"
    )
}

/// Copies the write-ahead log into the database and truncates it, unless another connection uses it. Does not wait for
/// other connections.
#[cfg(feature = "inbox")]
pub(super) async fn truncate_log(connection: &mut SqliteConnection) -> Result<(), Fault> {
    run(connection, "PRAGMA busy_timeout = 0").await?;
    let truncated = run(connection, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    run(connection, BUSY_TIMEOUT_PRAGMA).await?;
    match truncated {
        Err(fault) if fault.is_busy() => Ok(()),
        truncated => truncated,
    }
}

/// Copies the whole write-ahead log into the database.
async fn checkpoint(connection: &mut SqliteConnection) -> Result<(), Fault> {
    let (busy, frames, copied): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(FULL)").fetch_one(connection).await?;
    if busy == 0 && frames == copied { Ok(()) } else { Err(Fault::busy("locked by another connection")) }
}

async fn journal_mode(connection: &mut SqliteConnection) -> Result<String, Fault> {
    Ok(sqlx::query_scalar("PRAGMA journal_mode").fetch_one(connection).await?)
}

/// The databases that this process must not open again, because it has left a connection to them open.
static ABANDONED: Mutex<Vec<Identity>> = Mutex::new(Vec::new());

impl Default for Companions {
    fn default() -> Self {
        Companions::Open(Vec::new())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn durable(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .create_if_missing(false)
        .synchronous(SqliteSynchronous::Full)
        // On macOS, a sync reaches the disk only with this pragma.
        .pragma("fullfsync", "ON")
        .pragma("temp_store", "MEMORY")
        .busy_timeout(BUSY_TIMEOUT)
        // More than there are statements.
        .statement_cache_capacity(200)
        .thread_name(|_| "medhook-db".into())
        .disable_statement_logging()
}

/// Runs a statement. BEGIN and COMMIT are run like this because sqlx's own transactions lose count when SQLite rolls
/// back by itself, as it does on a full disk.
pub(super) async fn run(connection: &mut SqliteConnection, statement: &'static str) -> Result<(), Fault> {
    sqlx::query(statement).execute(connection).await?;
    Ok(())
}

/// Takes the write lock first: a transaction that reads before it writes can fail when it writes.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";

/// Overwrites deleted content with zeros. The bundled SQLite does not by default.
#[cfg(feature = "inbox")]
pub(super) const SECURE_DELETE: &str = "PRAGMA secure_delete = ON";

/// The number of pages in the write-ahead log after which it is copied into the database: 8 MB, twice the default. A
/// page that is written several times meanwhile is copied once. With 64 callers, storing an event of 4 KiB writes 6 %
/// fewer bytes, as does a claim with its commit. With 4,000 pages it would be 10 %, but the COMMIT that copies them
/// would take twice as long.
const PAGES_OF_LOG: &str = "2000";

/// Shorter than a receiver's store timeout, so that the receiver gets SQLite's error.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// Sets [`BUSY_TIMEOUT`].
#[cfg(feature = "inbox")]
const BUSY_TIMEOUT_PRAGMA: &str = "PRAGMA busy_timeout = 2000";

/// The time for which opening is repeated while the file is busy, and the wait between two attempts.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
pub(super) const BETWEEN: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::dedupe::namespace::Namespace;

    #[tokio::test]
    async fn connections_have_the_pragmas_for_durable_commits() {
        let folder = TempDir::new().unwrap();
        let Connected { mut connection, .. } = database(&folder).open().await.unwrap();
        for (pragma, wanted) in [
            ("PRAGMA synchronous", 2),
            ("PRAGMA fullfsync", 1),
            ("PRAGMA busy_timeout", 2_000),
            ("PRAGMA temp_store", 2),
            ("PRAGMA wal_autocheckpoint", 2_000),
        ] {
            let is: i64 = sqlx::query_scalar(pragma).fetch_one(&mut connection).await.unwrap();
            assert_eq!(is, wanted, "{pragma}");
        }
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.unwrap();
        assert_eq!(mode, "wal");
        connection.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_replaced_file_is_noticed() {
        let folder = TempDir::new().unwrap();
        let database = database(&folder);
        let connected = database.open().await.unwrap();
        assert!(database.is(&connected));
        // Renamed, not deleted: a new file could get the inode of a deleted one.
        std::fs::rename(database.path(), folder.path().join("away.db")).unwrap();
        assert!(!database.is(&connected));
        std::fs::write(database.path(), "").unwrap();
        assert!(!database.is(&connected));
        std::fs::rename(folder.path().join("away.db"), database.path()).unwrap();
        assert!(database.is(&connected));
        database.close(connected).await;
    }

    #[tokio::test(start_paused = true)]
    async fn opening_is_retried_if_the_file_is_busy_but_not_if_it_is_damaged() {
        let folder = TempDir::new().unwrap();
        let mut other = database(&folder).open().await.unwrap().connection;
        run(&mut other, BEGIN).await.unwrap();
        let database = database(&folder).with_busy_timeout(Duration::ZERO);
        let began = Instant::now();
        assert!(database.open().await.is_err_and(|fault| fault.is_busy()));
        assert!(began.elapsed() >= PATIENCE, "{:?}", began.elapsed());
        run(&mut other, ROLLBACK).await.unwrap();
        other.close().await.unwrap();

        // In another folder, since abandoned connections may still be closing the first file.
        let folder = TempDir::new().unwrap();
        let database = self::database(&folder);
        std::fs::write(database.path(), "this is not a database").unwrap();
        let began = Instant::now();
        assert!(database.open().await.is_err_and(|fault| !fault.is_busy()));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    /// A deferred transaction that has read cannot write once another connection has written.
    #[cfg(feature = "sqlx-09")]
    #[tokio::test]
    async fn checking_the_file_does_not_begin_to_read() {
        let folder = TempDir::new().unwrap();
        let database = database(&folder);
        let [mut one, mut other] =
            [database.open().await.unwrap().connection, database.open().await.unwrap().connection];
        let write = "INSERT INTO medhook_events VALUES (randomblob(32), randomblob(16), 1, 0)";
        run(&mut one, "BEGIN").await.unwrap();
        database.check_is_main_of(&mut one, "commit_in").await.unwrap();
        run(&mut other, write).await.unwrap();
        run(&mut one, write).await.unwrap();
        run(&mut one, COMMIT).await.unwrap();
        one.close().await.unwrap();
        other.close().await.unwrap();
    }

    fn database(folder: &TempDir) -> Database {
        Database::file(&folder.path().join("medhook.db"), Tables::new(&Namespace::default()), true).unwrap()
    }
}
