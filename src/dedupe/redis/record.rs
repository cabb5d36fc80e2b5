//! The records of deliveries whose event can recur with the same bytes.
//!
//! Replicas are not waited for: the records are advisory.

use std::sync::LazyLock;
use std::time::Duration;

use base16ct::HexDisplay;
use redis::{FromRedisValue, Script};

use super::super::DeliveryRecord;
use super::{RedisInner, RedisStore, millis};
use crate::StoreError;
use crate::event_key::EventKey;

const RECORD: &str = include_str!("record.lua");
const FAILURE: &str = include_str!("failure.lua");
static RECORD_DIGEST: LazyLock<Script> = LazyLock::new(|| Script::new(RECORD));
static FAILURE_DIGEST: LazyLock<Script> = LazyLock::new(|| Script::new(FAILURE));

impl RedisStore {
    pub(super) async fn record_body(
        &self,
        body: EventKey,
        period: Duration,
        most: u64,
    ) -> Result<DeliveryRecord, StoreError> {
        let inner = self.inner.clone();
        let counting =
            async move { inner.count("record", (&RECORD_DIGEST, RECORD), body, &[millis(period), most]).await };
        let (earlier, since, in_period, period): (u64, u64, u64, u64) = self.inner.driver.run(counting).await??;
        let (since, period) = (Duration::from_millis(since), Duration::from_millis(period));
        Ok(DeliveryRecord { earlier, since, in_period, period })
    }

    pub(super) async fn record_failed(&self, body: EventKey) -> Result<(), StoreError> {
        let inner = self.inner.clone();
        let counting = async move { inner.count::<i64>("record failure", (&FAILURE_DIGEST, FAILURE), body, &[]).await };
        self.inner.driver.run(counting).await?.map(drop)
    }
}

impl RedisInner {
    async fn count<T: FromRedisValue>(
        &self,
        step: &'static str,
        (digest, script): (&Script, &str),
        body: EventKey,
        arguments: &[u64],
    ) -> Result<T, StoreError> {
        let key = format!("{}:bodies:{:x}", self.namespace.as_str(), HexDisplay(body.as_bytes()));
        let ask = async |command: &str, script: &str| {
            let mut commands = redis::pipe();
            commands.cmd(command).arg(script).arg(1).arg(&key).arg(arguments);
            self.links.ask::<(T,)>(&commands, step != "record").await
        };
        let answered = match ask("EVALSHA", digest.get_hash()).await {
            Err(failed) if failed.is_no_script() => ask("EVAL", script).await,
            answered => answered,
        };
        answered.map(|(answer,)| answer).map_err(|failed| failed.into_store_error(step))
    }
}
