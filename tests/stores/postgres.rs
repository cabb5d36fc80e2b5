use std::sync::Arc;
use std::time::Duration;

use medhook::{DedupeStore, PostgresStore};
use medhook_tests::servers::shared_postgres;

use crate::servers::unique;
use crate::suite::{Forgetting, HOUR, Namespaced, Place, Remote, suite};

suite!(Postgres: Namespaced, Forgetting, Remote);

/// Namespaces of its own on the server that all tests share.
pub struct Postgres(String);

impl Place for Postgres {
    const SHORT: Duration = Duration::from_millis(20);

    async fn fresh() -> Self {
        Postgres(unique())
    }

    async fn store(&self) -> Arc<dyn DedupeStore> {
        let builder = PostgresStore::builder().namespace(&self.0).step_timeout(HOUR);
        Arc::new(builder.connect(&shared_postgres()).await.unwrap())
    }
}

impl Namespaced for Postgres {
    async fn namespaced(&self, name: &str) -> Arc<dyn DedupeStore> {
        let builder = PostgresStore::builder().namespace(&format!("{}_{name}", self.0)).step_timeout(HOUR);
        Arc::new(builder.connect(&shared_postgres()).await.unwrap())
    }
}

impl Forgetting for Postgres {}

impl Remote for Postgres {}
