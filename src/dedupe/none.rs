use std::time::Duration;

use super::{Claimed, DedupeStore, EventKey, Retention, Settled, StoreFuture, Token};

/// Remembers nothing: every genuine, fresh delivery is handed over, repeated ones included. For handlers that are
/// idempotent by themselves.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoDedupe;

impl DedupeStore for NoDedupe {
    fn claim(&self, _: EventKey, _: Token, _: Duration) -> StoreFuture<'_, Claimed> {
        Box::pin(async { Ok(Claimed::Won) })
    }

    fn renew(&self, _: EventKey, _: Token, _: Duration) -> StoreFuture<'_, Settled> {
        Box::pin(async { Ok(Settled::Settled) })
    }

    fn commit(&self, _: EventKey, _: Token, _: Retention) -> StoreFuture<'_, Settled> {
        Box::pin(async { Ok(Settled::Settled) })
    }

    fn release(&self, _: EventKey, _: Token) -> StoreFuture<'_, Settled> {
        Box::pin(async { Ok(Settled::Settled) })
    }
}
