//! The database of a check: the rows of its inbox, and the bytes of its files.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Executor, PgPool, Row, SqlitePool};

use super::process::PATIENCE;

#[derive(Debug, Clone, Copy)]
pub enum Which {
    Sqlite,
    Postgres,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Database {
    Sqlite(PathBuf),
    Postgres { url: String, namespace: String },
}

impl Database {
    /// Returns a statement on the tables of this database.
    pub fn sql(&self, statement: &str) -> String {
        match self {
            Database::Sqlite(_) => statement.to_owned(),
            Database::Postgres { namespace, .. } => statement.replace("medhook_", &format!("{namespace}_")),
        }
    }

    pub fn is_sqlite(&self) -> bool {
        matches!(self, Database::Sqlite(_))
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_sqlite() { "SQLite" } else { "PostgreSQL" })
    }
}

/// The tables of a database.
pub struct Tables {
    pub database: Database,
    pool: RefCell<Option<SqlPool>>,
}

#[derive(Clone)]
enum SqlPool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Tables {
    pub fn of(database: Database) -> Self {
        Tables { database, pool: RefCell::default() }
    }

    async fn pool(&self) -> SqlPool {
        if let Some(pool) = &*self.pool.borrow() {
            return pool.clone();
        }
        let pool = match &self.database {
            Database::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(60));
                SqlPool::Sqlite(SqlitePool::connect_with(options).await.expect("a file"))
            }
            Database::Postgres { url, .. } => SqlPool::Postgres(PgPool::connect(url).await.expect("a server")),
        };
        self.pool.replace(Some(pool.clone()));
        pool
    }

    /// Forgets the connections, before a server is stopped.
    pub fn disconnect(&self) {
        self.pool.take();
    }

    /// Runs statements beside the store.
    pub async fn sql(&self, statements: &str) {
        let statements = AssertSqlSafe(self.database.sql(statements));
        match self.pool().await {
            SqlPool::Sqlite(pool) => drop(pool.execute(statements).await.expect("a statement")),
            SqlPool::Postgres(pool) => drop(pool.execute(statements).await.expect("a statement")),
        }
    }

    /// Returns the number that a query returns.
    pub async fn number(&self, query: &str) -> i64 {
        let query = AssertSqlSafe(self.database.sql(query));
        match self.pool().await {
            SqlPool::Sqlite(pool) => sqlx::query(query).fetch_one(&pool).await.expect("a row").get(0),
            SqlPool::Postgres(pool) => sqlx::query(query).fetch_one(&pool).await.expect("a row").get(0),
        }
    }

    /// Returns the texts that a query returns.
    pub async fn texts(&self, query: &str) -> Vec<String> {
        let query = AssertSqlSafe(self.database.sql(query));
        match self.pool().await {
            SqlPool::Sqlite(pool) => {
                sqlx::query(query).fetch_all(&pool).await.expect("rows").iter().map(|row| row.get(0)).collect()
            }
            SqlPool::Postgres(pool) => {
                sqlx::query(query).fetch_all(&pool).await.expect("rows").iter().map(|row| row.get(0)).collect()
            }
        }
    }

    /// Returns the number of rows with a status.
    pub async fn rows(&self, status: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM medhook_inbox WHERE {status}")).await
    }

    /// Waits until this many events are done.
    pub async fn until_done(&self, number: usize) {
        let done = async || self.rows(DONE).await == number as i64;
        until(&format!("{number} events are done"), done, async || self.statuses().await).await;
    }

    /// Returns the row of each ended event: token, attempts, replays and end.
    pub async fn ended(&self) -> BTreeMap<String, String> {
        let (token, ended) = (self.hex("token"), self.millis("ended_at"));
        let rows = format!(
            "SELECT CAST(id AS text) || ' ' || coalesce({token}, '-') || ' ' || CAST(attempts AS text) || ' ' || \
             CAST(replays AS text) || ' ' || {ended} FROM medhook_inbox WHERE status >= 2"
        );
        let rows = self.texts(&rows).await;
        rows.iter().filter_map(|row| row.split_once(' ')).map(|(id, row)| (id.to_owned(), row.to_owned())).collect()
    }

    /// Returns an expression for the bytes of a column, in lowercase hex.
    pub fn hex(&self, column: &str) -> String {
        if self.database.is_sqlite() { format!("lower(hex({column}))") } else { format!("encode({column}, 'hex')") }
    }

    /// Returns an expression for a time in Unix milliseconds, as text.
    pub fn millis(&self, column: &str) -> String {
        if self.database.is_sqlite() {
            return format!("CAST({column} AS text)");
        }
        format!("CAST(CAST(floor(extract(epoch FROM {column}) * 1000) AS bigint) AS text)")
    }

    pub async fn statuses(&self) -> String {
        let statuses = "SELECT CAST(status AS text) || ': ' || CAST(count(*) AS text) || ', attempts up to ' || \
                        CAST(max(attempts) AS text) FROM medhook_inbox GROUP BY status";
        format!("rows by status: {:?}", self.texts(statuses).await)
    }

    /// Counts occurrences of pieces in the files of the database.
    pub async fn count_in_files(&self, folder: &Path, pieces: &[Vec<u8>]) -> usize {
        let files: Vec<PathBuf> = match &self.database {
            Database::Sqlite(path) => {
                let files = ["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{}{end}", path.display())));
                files.into_iter().filter(|file| file.exists()).collect()
            }
            Database::Postgres { .. } => {
                self.sql("CHECKPOINT").await;
                let folder = self.texts("SHOW data_directory").await.remove(0);
                vec![folder.into()]
            }
        };
        let list = folder.join("pieces");
        std::fs::write(&list, pieces.join(&b'\n')).expect("a file");
        // A cluster has a hundred times the bytes that a search of our own would take seconds for.
        let mut grep = Command::new("grep");
        grep.args(["-r", "-o", "-h", "-a", "-F", "-f"]).arg(&list).args(files).env("LC_ALL", "C");
        let found = grep.output().expect("grep").stdout;
        let found: BTreeSet<_> = found.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        found.len()
    }
}

pub const WAITING: &str = "status = 0";
pub const DONE: &str = "status = 2";
pub const DEAD: &str = "status = 3";

/// Waits for a condition.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool, state: impl AsyncFn() -> String) {
    let began = Instant::now();
    while !holds().await {
        if began.elapsed() > PATIENCE {
            panic!("after {PATIENCE:?} still waiting until {what}; {}", state().await);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
