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
        Ok(SqliteStore { queue: writer::start(database, self.clock).await? })
    }
}
