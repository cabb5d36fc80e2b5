//! The contract of the operations, with the suite that all stores share.

use std::sync::Arc;

use super::*;
use crate::inbox::suite::{StoreFixture, inbox_suite};

async fn fixture() -> StoreFixture {
    let folder = TempDir::new().unwrap();
    let store = SqliteStore::open(folder.path().join("medhook.db")).await.unwrap();
    let inbox = open(&store).await;
    StoreFixture { inbox: Arc::new(inbox), store: Arc::new(store), _guard: Box::new(folder) }
}

inbox_suite!(tokio::test, fixture().await);
