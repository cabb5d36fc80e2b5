use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::time::{Instant, sleep};

use super::fault::Fault;
use super::file::{self, Identity};
use super::tables::Tables;

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
}

/// A connection, and the file that it has open.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) connection: SqliteConnection,
    file: Identity,
}

impl Database {
    /// Returns the database in a file of the store. Creates the file if it does not exist.
    pub(super) fn file(path: &Path, tables: Tables, create_tables: bool) -> Result<Self, Fault> {
        let path = file::absolute(path)?;
        file::create(&path)?;
        let options = SqliteConnectOptions::new().filename(&path).journal_mode(SqliteJournalMode::Wal);
        Ok(Database { options: durable(options), path, tables, create_tables, own: true })
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
        Ok(Database { options: durable(options.filename(&path)), path, tables, create_tables, own: false })
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

    pub(super) async fn connect(&self) -> Result<Connected, Fault> {
        let file = Identity::of(&self.path)?;
        let mut connection = self.options.connect().await?;
        if self.own {
            let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await?;
            if mode != "wal" {
                return Err(Fault::new("cannot enable the write-ahead log; the file must be on a local disk"));
            }
        }
        run(&mut connection, BEGIN).await?;
        self.tables.prepare(&mut connection, self.create_tables).await?;
        run(&mut connection, COMMIT).await?;
        Ok(Connected { connection, file })
    }

    /// Checks that the main database of the application's connection is this file. A database that is attached to
    /// another one is rejected, too: with a write-ahead log, SQLite does not commit both atomically.
    #[cfg(feature = "sqlx-09")]
    pub(super) async fn check_is_main_of(&self, connection: &mut SqliteConnection) -> Result<(), Fault> {
        // The tables are not read, so that a deferred transaction still begins with a write.
        let databases: Vec<(i64, String, Option<String>)> =
            sqlx::query_as("PRAGMA database_list").fetch_all(connection).await?;
        let main = databases.into_iter().find_map(|(_, name, file)| file.filter(|_| name == "main"));
        let main = main.filter(|file| !file.is_empty()).map(|file| Identity::of(Path::new(&file))).transpose()?;
        if main == Some(Identity::of(&self.path)?) {
            return Ok(());
        }
        Err(Fault::new(
            "commit_in: the main database of the transaction is another file than this store's; begin it on a \
             connection to the store's file",
        ))
    }

    /// Returns whether the path still leads to the open file.
    pub(super) fn is(&self, connected: &Connected) -> bool {
        Identity::of(&self.path).is_ok_and(|file| file == connected.file)
    }
}

impl Connected {
    /// Closes the connection and waits until it is closed, so that the file is no longer written to.
    pub(super) async fn close(self) {
        // A connection that cannot be closed is broken, and its thread ends with it.
        let _ = self.connection.close().await;
    }
}

fn durable(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .create_if_missing(false)
        .synchronous(SqliteSynchronous::Full)
        // On macOS, a sync reaches the disk only with this pragma.
        .pragma("fullfsync", "ON")
        .pragma("temp_store", "MEMORY")
        .busy_timeout(BUSY_TIMEOUT)
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

/// Shorter than a receiver's store timeout, so that the receiver gets SQLite's error.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN: Duration = Duration::from_millis(20);

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
        connected.close().await;
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
        database.check_is_main_of(&mut one).await.unwrap();
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
