use std::sync::Arc;
use std::time::Duration;

use medhook::{DedupeStore, RedisStore};
use medhook_tests::servers::shared_redis;

use crate::servers::unique;
use crate::suite::{Forgetting, HOUR, Namespaced, Place, Remote, suite};

suite!(Redis: Namespaced, Forgetting, Remote);

/// Namespaces of its own on the server that all tests share.
pub struct Redis(String);

impl Place for Redis {
    const SHORT: Duration = Duration::from_millis(20);

    async fn fresh() -> Self {
        Redis(unique())
    }

    async fn store(&self) -> Arc<dyn DedupeStore> {
        let builder = RedisStore::builder().namespace(&self.0).step_timeout(HOUR);
        Arc::new(builder.connect(&shared_redis()).await.unwrap())
    }
}

impl Namespaced for Redis {
    async fn namespaced(&self, name: &str) -> Arc<dyn DedupeStore> {
        let builder = RedisStore::builder().namespace(&format!("{}_{name}", self.0)).step_timeout(HOUR);
        Arc::new(builder.connect(&shared_redis()).await.unwrap())
    }
}

impl Forgetting for Redis {}

impl Remote for Redis {}
