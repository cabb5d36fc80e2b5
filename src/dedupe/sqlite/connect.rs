use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::time::{Instant, sleep};

use super::fault::Fault;
use super::file::{self, Identity};
use super::tables::Tables;

/// How to reach the database, and what it has to be like.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    options: SqliteConnectOptions,
    tables: Tables,
    create_tables: bool,
    /// A file of our own has a write-ahead log; of the application's the journal is its own matter.
    own: bool,
}

/// A connection, and the file it leads to.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) connection: SqliteConnection,
    file: Identity,
}

impl Database {
    /// In a file of the store's own, which is created if it is not there.
    pub(super) fn file(path: &Path, tables: Tables, create_tables: bool) -> Result<Self, Fault> {
        let path = file::whole(path)?;
        file::create(&path)?;
        let options = SqliteConnectOptions::new().filename(&path).journal_mode(SqliteJournalMode::Wal);
        Ok(Database { options: durable(options), path, tables, create_tables, own: true })
    }

    /// In a database of the application's, reached as its pool reaches it, but by a connection of the store's own: a
    /// pool whose connections all wait for the store would wait for ever.
    #[cfg(feature = "sqlx-09")]
    pub(super) async fn of(pool: &sqlx::SqlitePool, tables: Tables, create_tables: bool) -> Result<Self, Fault> {
        // Whatever the pool does first, creating the file for one, is done after this.
        drop(pool.acquire().await?);
        let options = pool.connect_options().as_ref().clone();
        let path = file::whole(options.get_filename())?;
        if !path.is_file() {
            return Err(Fault::new("is no file; a store can be in no other database"));
        }
        Ok(Database { options: durable(options.filename(&path)), path, tables, create_tables, own: false })
    }

    /// With another time to wait for whoever holds a lock.
    #[cfg(test)]
    pub(super) fn waiting(self, time: Duration) -> Self {
        Database { options: self.options.busy_timeout(time), ..self }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Connects for the first time. When many processes do so at once, SQLite refuses some without having waited.
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
                return Err(Fault::new("cannot have a write-ahead log there; is it on a local disk?"));
            }
        }
        run(&mut connection, BEGIN).await?;
        self.tables.prepare(&mut connection, self.create_tables).await?;
        run(&mut connection, COMMIT).await?;
        Ok(Connected { connection, file })
    }

    /// Whether the path still leads to the file that is open.
    pub(super) fn is(&self, connected: &Connected) -> bool {
        Identity::of(&self.path).is_ok_and(|file| file == connected.file)
    }
}

impl Connected {
    /// Ends the connection and waits for that, so that the file is not written to any more.
    pub(super) async fn close(self) {
        // What cannot be closed is broken, and its thread ends with it.
        let _ = self.connection.close().await;
    }
}

fn durable(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .create_if_missing(false)
        .synchronous(SqliteSynchronous::Full)
        // Where a sync does not reach the disk by itself (macOS).
        .pragma("fullfsync", "ON")
        .pragma("temp_store", "MEMORY")
        .busy_timeout(BUSY_TIMEOUT)
        .thread_name(|_| "medhook-db".into())
        .disable_statement_logging()
}

/// sqlx's own transactions lose count where SQLite has rolled back by itself, as it does on a full disk.
pub(super) async fn run(connection: &mut SqliteConnection, statement: &'static str) -> Result<(), Fault> {
    sqlx::query(statement).execute(connection).await?;
    Ok(())
}

/// A write lock from the start: a transaction that reads first may be refused when it comes to write.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";

/// Shorter than a receiver waits for its store, so that it hears what the matter is.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::dedupe::namespace::Namespace;

    #[tokio::test]
    async fn what_is_answered_is_on_the_disk() {
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
    async fn a_file_is_the_one_that_was_opened_until_another_is_in_its_place() {
        let folder = TempDir::new().unwrap();
        let database = database(&folder);
        let connected = database.open().await.unwrap();
        assert!(database.is(&connected));
        // Renamed, not deleted: a new file could be given the number of one that is no more.
        std::fs::rename(database.path(), folder.path().join("away.db")).unwrap();
        assert!(!database.is(&connected));
        std::fs::write(database.path(), "").unwrap();
        assert!(!database.is(&connected));
        std::fs::rename(folder.path().join("away.db"), database.path()).unwrap();
        assert!(database.is(&connected));
        connected.close().await;
    }

    #[tokio::test(start_paused = true)]
    async fn opening_is_tried_for_a_while_if_the_file_is_busy_and_once_if_it_is_broken() {
        let folder = TempDir::new().unwrap();
        let mut other = database(&folder).open().await.unwrap().connection;
        run(&mut other, BEGIN).await.unwrap();
        let database = database(&folder).waiting(Duration::ZERO);
        let began = Instant::now();
        assert!(database.open().await.is_err_and(|fault| fault.is_busy()));
        assert!(began.elapsed() >= PATIENCE, "{:?}", began.elapsed());
        run(&mut other, ROLLBACK).await.unwrap();
        other.close().await.unwrap();

        // In a folder of its own: connections that were given up above may still be closing the other file.
        let folder = TempDir::new().unwrap();
        let database = self::database(&folder);
        std::fs::write(database.path(), "this is not a database").unwrap();
        let began = Instant::now();
        assert!(database.open().await.is_err_and(|fault| !fault.is_busy()));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    fn database(folder: &TempDir) -> Database {
        Database::file(&folder.path().join("medhook.db"), Tables::new(&Namespace::default()), true).unwrap()
    }
}
