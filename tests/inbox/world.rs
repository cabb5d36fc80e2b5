//! The surroundings of a check: a database of its own, a folder, and what the processes wrote.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use medhook::inbox::{Bodies, Inbox, Keyring, Operator};
use medhook::{PostgresStore, Secret, Secrets, SqliteStore};
use medhook_tests::servers::shared_postgres;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Executor, PgPool, Row, SqlitePool};
use tempfile::TempDir;

use crate::ledger::Ledger;
use crate::process::{PATIENCE, Process, Setup};
use crate::role;
use crate::sender::{Event, Sender};

pub const ENDPOINT: &str = "checked";
pub const PATH: &str = "/in";
pub const SECRET: &str = "0123456789abcdef";

/// Part of every id, every body and every secret word in it; never of a log line or a metric.
pub const MARK: &str = "c4n4ry";

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

pub enum Store {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
}

impl Database {
    pub async fn store(&self) -> Store {
        match self {
            Database::Sqlite(path) => Store::Sqlite(SqliteStore::open(path).await.expect("a file")),
            Database::Postgres { url, namespace } => {
                let store = PostgresStore::builder().namespace(namespace).max_connections(8);
                Store::Postgres(store.connect(url).await.expect("a server"))
            }
        }
    }

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

/// Returns how bodies are stored: sealed if there are keys.
pub fn bodies(keys: &[String]) -> Bodies {
    let mut keys = keys.iter().map(|key| Secret::new(key.as_str()).expect("a key"));
    let Some(first) = keys.next() else { return Bodies::plaintext() };
    let all = keys.try_fold(Secrets::from(first), Secrets::also).expect("few keys");
    Bodies::sealed(Keyring::new(all).expect("keys"))
}

pub fn operator() -> Operator {
    Operator::new("tester", "a check").expect("an operator")
}

pub struct World {
    pub database: Database,
    folder: TempDir,
    processes: Cell<u32>,
    pool: RefCell<Option<SqlPool>>,
}

#[derive(Clone)]
enum SqlPool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

static WORLDS: AtomicU32 = AtomicU32::new(0);

impl World {
    pub async fn new(which: Which) -> Self {
        let folder = TempDir::new().expect("a folder");
        let database = match which {
            Which::Sqlite => Database::Sqlite(folder.path().join("medhook.db")),
            Which::Postgres => Self::postgres_at(shared_postgres()),
        };
        World::with(database, folder)
    }

    /// A namespace of its own on a server.
    pub fn postgres_at(url: String) -> Database {
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        Database::Postgres { url, namespace: format!("inbox_{}_{number}", std::process::id()) }
    }

    pub fn with(database: Database, folder: TempDir) -> Self {
        World { database, folder, processes: Cell::new(0), pool: RefCell::default() }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns a setup without a role.
    pub fn setup(&self) -> Setup {
        Setup {
            database: self.database.clone(),
            folder: self.folder().to_owned(),
            receives: false,
            works: false,
            inbox: true,
            keys: Vec::new(),
            lease: 1_000,
            first: 50,
            longest: 1_000,
            attempts: 0,
            workers: 8,
            retention: None,
            retain_done: 0,
            takes: None,
            ends_second: false,
            service: false,
            effects: false,
        }
    }

    pub fn start(&self, setup: &Setup) -> Process {
        let number = self.processes.replace(self.processes.get() + 1);
        Process::start(setup, self.folder().join(format!("{number}.log")))
    }

    /// Stores events through a receiver that ends afterwards.
    pub async fn store_events(&self, setup: &Setup, events: impl IntoIterator<Item = Event>) -> usize {
        let mut process = self.start(&Setup { works: false, ..setup.clone() }.receiver());
        let sender = Sender::to(&process);
        let sent = sender.send_all(16, events).await;
        self.look(&process).await;
        process.stop();
        sent.len()
    }

    pub fn ledger(&self) -> Ledger {
        Ledger::new(self.folder().join("ledger"))
    }

    pub fn set(&self, file: &str) {
        std::fs::write(self.folder().join(file), "").expect("a file");
    }

    pub fn unset(&self, file: &str) {
        std::fs::remove_file(self.folder().join(file)).expect("a file");
    }

    /// Opens the inbox as an operator's program would.
    pub async fn inbox(&self, keys: &[String]) -> Inbox {
        role::inbox(&self.database.store().await, keys).await
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

    /// Reads the metrics of a process into its folder, where [`silent`](World::silent) looks.
    pub async fn look(&self, process: &Process) {
        if let Some((200, text)) = Sender::to(process).get("/metrics").await {
            let number = self.processes.replace(self.processes.get() + 1);
            std::fs::write(self.folder().join(format!("{number}.log")), text).expect("a file");
        }
    }

    /// Counts marks in all that the processes wrote. Returns their bytes and the marks.
    pub fn silent(&self) -> (u64, usize) {
        let mut found = (0, 0);
        for entry in std::fs::read_dir(self.folder()).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let text = std::fs::read(path).expect("a log");
                found.0 += text.len() as u64;
                found.1 += text.windows(MARK.len()).filter(|part| *part == MARK.as_bytes()).count();
            }
        }
        found
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut logs: Vec<_> = std::fs::read_dir(self.folder()).into_iter().flatten().flatten().collect();
            logs.sort_by_key(|entry| entry.file_name());
            for entry in
                logs.iter().rev().filter(|entry| entry.path().extension().is_some_and(|of| of == "log")).take(3)
            {
                let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
                let lines: Vec<_> = text.lines().collect();
                let last = lines.get(lines.len().saturating_sub(15)..).unwrap_or_default();
                println!("{}:\n{}", entry.path().display(), last.join("\n"));
            }
        } else {
            let (_, marks) = self.silent();
            assert_eq!(marks, 0, "a process wrote part of a body");
        }
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
