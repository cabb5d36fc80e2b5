//! The settings for handling deliveries.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "inbox")]
use http::StatusCode;

#[cfg(feature = "inbox")]
use super::quota::Quota;
use crate::dedupe::DedupeStore;
use crate::delivery::Delivery;
use crate::event_key::EventKey;
#[cfg(feature = "inbox")]
use crate::inbox::Inbox;
use crate::process_keys::ProcessKeys;
use crate::retention::Retention;
use crate::store_id::StoreId;

/// The store, and the time limits for claims and handlers.
pub(crate) struct Settings {
    pub(crate) store: Arc<dyn DedupeStore>,
    pub(crate) store_id: Option<StoreId>,
    /// `None` if the store needs event keys.
    pub(crate) process_keys: Option<ProcessKeys>,
    pub(crate) retention: Retention,
    pub(crate) lease: Duration,
    pub(crate) handler_timeout: Duration,
    /// The time limit of one store operation, after which the store counts as unavailable.
    pub(crate) store_timeout: Duration,
    pub(crate) on_store_error: OnStoreError,
    /// The number of times that a body may be repeated within [`REPEAT_PERIOD`], if its deliveries count.
    pub(crate) max_repeats: u32,
    #[cfg(feature = "inbox")]
    pub(crate) inbox: Option<InboxSettings>,
}

/// The inbox of a receiver, and how events are stored in it.
#[cfg(feature = "inbox")]
pub(crate) struct InboxSettings {
    pub(crate) inbox: Inbox,
    /// The status of the answer to a delivery that was stored.
    pub(crate) ack_status: StatusCode,
    pub(crate) quota: Quota,
    /// The kinds whose event is useful for a limited time, and this time.
    pub(crate) useful_for: &'static [(&'static str, Duration)],
}

/// The period for which deliveries of a body are counted, from the first one on.
pub(crate) const REPEAT_PERIOD: Duration = Duration::from_secs(24 * 3600);

impl Settings {
    pub(super) fn part_of_lease(&self, parts: u32) -> Duration {
        self.lease / parts
    }

    /// Returns the key under which the store records the event of a delivery.
    pub(super) fn store_key(&self, delivery: &Delivery) -> EventKey {
        match &self.process_keys {
            Some(keys) => delivery.process_key(keys),
            None => delivery.event_key(),
        }
    }
}

/// The policy for deliveries whose event cannot be claimed because the store is unavailable or full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnStoreError {
    /// The delivery is answered with 503 and not handled. The default, for providers that retry.
    #[default]
    Reject,
    /// The delivery is handled without a claim, so its event may be handled twice. For providers that do not retry,
    /// whose event would be lost otherwise. The handler should be idempotent. If the handler fails, and the store
    /// has made the claim but does not answer the release, the next attempt is rejected until the lease has expired.
    HandleUnclaimed,
}
