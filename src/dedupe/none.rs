use std::time::Duration;

use super::{Claimed, DedupeStore, DeliveryRecord, Forgotten, Settled, StoreFuture};
use crate::claim_token::ClaimToken;
use crate::event_key::EventKey;
use crate::retention::Retention;

/// A store that remembers nothing: every verified, fresh delivery reaches the handler, including retries and replays.
/// For handlers that are idempotent by themselves.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoDedupe;

impl DedupeStore for NoDedupe {
    fn claim(&self, _: EventKey, _: ClaimToken, _: Duration) -> StoreFuture<'_, Claimed> {
        Box::pin(async { Ok(Claimed::Acquired) })
    }

    fn renew(&self, _: EventKey, _: ClaimToken, _: Duration) -> StoreFuture<'_, Settled> {
        Box::pin(async { Ok(Settled::Settled) })
    }

    fn commit(&self, _: EventKey, _: ClaimToken, _: Retention) -> StoreFuture<'_, Settled> {
        Box::pin(async { Ok(Settled::Settled) })
    }

    fn release(&self, _: EventKey, _: ClaimToken) -> StoreFuture<'_, Settled> {
        Box::pin(async { Ok(Settled::Settled) })
    }

    fn record_delivery(&self, _: EventKey, _: Duration, _: u64) -> StoreFuture<'_, DeliveryRecord> {
        Box::pin(async { Ok(DeliveryRecord::default()) })
    }

    fn record_failure(&self, _: EventKey) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn forget(&self, _: EventKey) -> StoreFuture<'_, Forgotten> {
        Box::pin(async { Ok(Forgotten::NotFound) })
    }
}
