//! SQLite: the suite, and tests of files, processes and transactions.

mod file;
mod lost;
mod processes;
mod transaction;
mod trouble;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use medhook::{DedupeStore, SqliteStore};
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;

use crate::suite::{Clocked, Forgetting, Hands, Namespaced, Place, suite};

suite!(Sqlite: Namespaced, Forgetting, Clocked);

pub struct Sqlite {
    folder: TempDir,
    clock: Hands,
}

impl Sqlite {
    fn path(&self) -> PathBuf {
        self.folder.path().join("medhook.db")
    }
}

impl Place for Sqlite {
    const SHORT: Duration = Duration::from_millis(1);

    async fn fresh() -> Self {
        Sqlite { folder: TempDir::new().unwrap(), clock: Hands::new() }
    }

    async fn store(&self) -> Arc<dyn DedupeStore> {
        Arc::new(SqliteStore::builder().clock(self.clock.clone()).open(self.path()).await.unwrap())
    }

    async fn pass(&self, time: Duration) {
        self.clock.forward(time);
    }
}

impl Namespaced for Sqlite {
    async fn namespaced(&self, name: &str) -> Arc<dyn DedupeStore> {
        let store = SqliteStore::builder().clock(self.clock.clone()).namespace(name);
        Arc::new(store.open(self.path()).await.unwrap())
    }
}

impl Forgetting for Sqlite {}

impl Clocked for Sqlite {
    fn clock(&self) -> &Hands {
        &self.clock
    }
}

/// Opens a connection to the store's file that bypasses the store.
async fn connection(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

async fn sql(connection: &mut SqliteConnection, statement: &'static str) {
    sqlx::query(statement).execute(connection).await.unwrap();
}
