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
const UNRECORD: &str = include_str!("unrecord.lua");
static RECORD_DIGEST: LazyLock<Script> = LazyLock::new(|| Script::new(RECORD));
static UNRECORD_DIGEST: LazyLock<Script> = LazyLock::new(|| Script::new(UNRECORD));

impl RedisStore {
    pub(super) async fn record_body(&self, body: EventKey, period: Duration) -> Result<DeliveryRecord, StoreError> {
        let inner = self.inner.clone();
        let counting = async move { inner.count("record", (&RECORD_DIGEST, RECORD), body, millis(period)).await };
        let (earlier, since): (u64, u64) = self.inner.driver.run(counting).await??;
        Ok(DeliveryRecord { earlier, since: Duration::from_millis(since) })
    }

    pub(super) async fn unrecord_body(&self, body: EventKey) -> Result<(), StoreError> {
        let inner = self.inner.clone();
        let counting = async move { inner.count::<i64>("unrecord", (&UNRECORD_DIGEST, UNRECORD), body, 0).await };
        self.inner.driver.run(counting).await?.map(drop)
    }
}

impl RedisInner {
    async fn count<T: FromRedisValue>(
        &self,
        step: &'static str,
        (digest, script): (&Script, &str),
        body: EventKey,
        argument: u64,
    ) -> Result<T, StoreError> {
        let key = format!("{}:bodies:{:x}", self.namespace.as_str(), HexDisplay(body.as_bytes()));
        let ask = async |command: &str, script: &str| {
            let mut commands = redis::pipe();
            commands.cmd(command).arg(script).arg(1).arg(&key).arg(argument);
            self.links.ask::<(T,)>(&commands, step != "record").await
        };
        let answered = match ask("EVALSHA", digest.get_hash()).await {
            Err(failed) if failed.is_no_script() => ask("EVAL", script).await,
            answered => answered,
        };
        answered.map(|(answer,)| answer).map_err(|failed| failed.into_store_error(step))
    }
}
