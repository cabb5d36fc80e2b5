//! The surroundings of a check: a database of its own, a folder, and what the processes wrote.

use std::cell::Cell;
use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use medhook::inbox::{Bodies, Inbox, Keyring, Operator};
use medhook::{PostgresStore, Secret, Secrets, SqliteStore};
use medhook_tests::servers::shared_postgres;
use tempfile::TempDir;

pub use crate::database::{DEAD, DONE, Database, Tables, WAITING, Which, until};
use crate::ledger::Ledger;
use crate::marks::{self, MARK};
use crate::process::Process;
use crate::role;
use crate::sender::{Event, Sender};
use crate::setup::Setup;

pub const ENDPOINT: &str = "checked";
pub const PATH: &str = "/in";
pub const SECRET: &str = "0123456789abcdef";

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
    tables: Tables,
    folder: TempDir,
    processes: Cell<u32>,
}

impl Deref for World {
    type Target = Tables;
    fn deref(&self) -> &Tables {
        &self.tables
    }
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
        World { tables: Tables::of(database), folder, processes: Cell::new(0) }
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
        setup.start(self.folder().join(format!("{number}.log")))
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

    /// Reads the metrics of a process into its folder, where [`silent`](World::silent) looks.
    pub async fn look(&self, process: &Process) {
        if let Some((200, text)) = Sender::to(process).get("/metrics").await {
            let number = self.processes.replace(self.processes.get() + 1);
            std::fs::write(self.folder().join(format!("{number}.log")), text).expect("a file");
        }
    }

    /// Counts occurrences of pieces in the files of the database.
    pub async fn count_pieces(&self, pieces: &[Vec<u8>]) -> usize {
        self.count_in_files(self.folder(), pieces).await
    }

    /// Counts marks in all that the processes wrote. Returns their bytes and the marks.
    pub fn silent(&self) -> (u64, usize) {
        marks::count_in_logs(self.folder(), &[MARK])
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            marks::print_logs(self.folder());
        } else {
            let (_, marks) = self.silent();
            assert_eq!(marks, 0, "a process wrote part of a body");
        }
    }
}
