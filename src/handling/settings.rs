//! The settings that only handling needs.

use std::sync::Arc;
use std::time::Duration;

use crate::dedupe::DedupeStore;
use crate::retention::Retention;

/// Where events are claimed, for how long, and how long their handlers may run.
pub(crate) struct Settings {
    pub(crate) store: Arc<dyn DedupeStore>,
    pub(crate) retention: Retention,
    pub(crate) lease: Duration,
    pub(crate) handler_timeout: Duration,
    /// How long one operation of the store may take before the store counts as unavailable.
    pub(crate) store_timeout: Duration,
    pub(crate) on_store_error: OnStoreError,
}

impl Settings {
    pub(super) fn part_of_lease(&self, parts: u32) -> Duration {
        self.lease / parts
    }
}

/// The handling of a delivery whose event cannot be claimed, because the store is unavailable or full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnStoreError {
    /// It is answered 503 and not handled: the sender tries again. The default, and right for senders that do.
    #[default]
    Reject,
    /// It is handled without a claim, and with that perhaps twice: for senders that never try again, whose event would
    /// be lost. The handler has to be idempotent, or twice has to be better than never. If it fails, and a store that
    /// hung makes the claim late all the same, the next attempt waits for a lease.
    HandleUnclaimed,
}
