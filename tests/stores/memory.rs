use std::sync::Arc;
use std::time::Duration;

use medhook::{DedupeStore, MemoryStore};

use crate::suite::{Place, suite};

suite!(Memory);

pub struct Memory(MemoryStore);

impl Place for Memory {
    const SHORT: Duration = Duration::from_millis(20);

    async fn fresh() -> Self {
        Memory(MemoryStore::new(200_000))
    }

    async fn store(&self) -> Arc<dyn DedupeStore> {
        Arc::new(self.0.clone())
    }
}
