//! Deduplication: stores in which events are claimed, and then committed or released.
//!
//! Marking an event as handled before its handler runs loses the event if the handler fails. Marking it afterwards lets
//! two concurrent deliveries be handled. So a delivery first *claims* its event for a short lease, which is renewed
//! while the handler runs. If the handler succeeds, the claim is *committed* and the event recorded as handled. If it
//! fails, the claim is *released* and the provider's next attempt is handled. If the process crashes, the lease
//! expires.

#[cfg(any(feature = "postgres", feature = "redis"))]
mod driver;
#[cfg(feature = "inbox")]
#[cfg_attr(not(any(feature = "postgres", feature = "sqlite")), allow(dead_code, reason = "no store has an inbox"))]
pub(crate) mod inbox;
mod memory;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
mod namespace;
mod none;
#[cfg(all(feature = "sqlx-09", any(feature = "sqlite", feature = "postgres")))]
mod own_delivery;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod url;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use self::memory::MemoryStore;
pub use self::none::NoDedupe;
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresBuilder, PostgresStore};
#[cfg(feature = "redis")]
pub use self::redis::{RedisBuilder, RedisStore};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteBuilder, SqliteStore};

use crate::claim_token::ClaimToken;
use crate::error::StoreError;
use crate::event_key::EventKey;
use crate::retention::Retention;
use crate::store_id::StoreId;

/// The boxed future returned by every store operation.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A store in which events are claimed and recorded as handled.
///
/// # Contract
/// - Each operation is atomic.
/// - Leases and retentions are measured by the store's own clock.
/// - Each operation is fenced by the token: the holder of an expired claim cannot settle the claim of its successor.
/// - Each operation on a claim is idempotent: if its answer is lost, it may be called again with the same arguments and
///   returns the same answer.
/// - A commit is final: until the [retention](Retention) ends, [`claim`](DedupeStore::claim) returns
///   [`AlreadyHandled`](Claimed::AlreadyHandled), and neither `renew` nor `release` changes the event.
/// - The first commit or release with a token ends its claim. A claim or renewal with this token that was called
///   before, and takes effect later because its caller stopped waiting or a packet was delayed, does not claim the
///   event: `claim` does not return [`Acquired`](Claimed::Acquired), and `renew` changes nothing. Operations that take
///   effect in the order of their calls, as in the example below, ensure this. Other stores remember the tokens whose
///   claims have ended, for longer than an operation can be late.
/// - A record of deliveries affects no claim. Its operations are not idempotent, so the number may be wrong after one
///   was repeated.
///
/// # Example
/// A complete store that never forgets an event and whose leases never expire:
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use std::time::{Duration, Instant};
///
/// use medhook::{
///     ClaimToken, Claimed, DedupeStore, DeliveryRecord, EventKey, Retention, Settled,
///     StoreFuture,
/// };
///
/// #[derive(Debug, Default)]
/// struct UnboundedStore {
///     events: Mutex<HashMap<EventKey, (ClaimToken, bool)>>,
///     bodies: Mutex<HashMap<EventKey, (DeliveryRecord, Instant, Instant)>>,
/// }
///
/// impl DedupeStore for UnboundedStore {
///     fn claim(
///         &self,
///         key: EventKey,
///         token: ClaimToken,
///         lease: Duration,
///     ) -> StoreFuture<'_, Claimed> {
///         Box::pin(async move {
///             let mut events = self.events.lock().unwrap();
///             Ok(match events.get(&key) {
///                 Some((_, true)) => Claimed::AlreadyHandled,
///                 Some((holder, false)) if *holder != token => {
///                     Claimed::InFlight { retry_after: lease }
///                 }
///                 _ => {
///                     events.insert(key, (token, false));
///                     Claimed::Acquired
///                 }
///             })
///         })
///     }
///
///     fn renew(
///         &self,
///         key: EventKey,
///         token: ClaimToken,
///         _: Duration,
///     ) -> StoreFuture<'_, Settled> {
///         self.settle(key, token, Some(false))
///     }
///
///     fn commit(
///         &self,
///         key: EventKey,
///         token: ClaimToken,
///         _: Retention,
///     ) -> StoreFuture<'_, Settled> {
///         self.settle(key, token, Some(true))
///     }
///
///     fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
///         self.settle(key, token, None)
///     }
///
///     fn record_delivery(
///         &self,
///         body: EventKey,
///         period: Duration,
///         most: u64,
///     ) -> StoreFuture<'_, DeliveryRecord> {
///         Box::pin(async move {
///             let now = Instant::now();
///             let mut bodies = self.bodies.lock().unwrap();
///             let new = (DeliveryRecord::default(), now, now);
///             let (record, first, began) = bodies.entry(body).or_insert(new);
///             if began.elapsed() >= period {
///                 (*began, record.in_period) = (now, 0);
///             }
///             (record.since, record.period) = (first.elapsed(), began.elapsed());
///             let before = *record;
///             if record.in_period < most {
///                 record.earlier += 1;
///                 record.in_period += 1;
///             }
///             Ok(before)
///         })
///     }
///
///     fn record_failure(&self, body: EventKey) -> StoreFuture<'_, ()> {
///         Box::pin(async move {
///             let mut bodies = self.bodies.lock().unwrap();
///             if let Some((record, ..)) = bodies.get_mut(&body) {
///                 record.in_period = record.in_period.saturating_sub(1);
///             }
///             Ok(())
///         })
///     }
/// }
///
/// impl UnboundedStore {
///     fn settle(
///         &self,
///         key: EventKey,
///         token: ClaimToken,
///         handled: Option<bool>,
///     ) -> StoreFuture<'_, Settled> {
///         Box::pin(async move {
///             let mut events = self.events.lock().unwrap();
///             match events.get(&key) {
///                 Some((holder, _)) if *holder != token => return Ok(Settled::Lost),
///                 Some((_, true)) => return Ok(Settled::Settled), // a commit is final
///                 _ => {}
///             }
///             match handled {
///                 Some(handled) => events.insert(key, (token, handled)),
///                 None => events.remove(&key),
///             };
///             Ok(Settled::Settled)
///         })
///     }
/// }
/// ```
pub trait DedupeStore: fmt::Debug + Send + Sync + 'static {
    /// Claims an event for `lease`. A repeated claim with the same token returns [`Acquired`](Claimed::Acquired) again.
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed>;

    /// Extends the claim to `lease` from now. If the store has lost the claim, no other token has claimed the event,
    /// and the claim has not ended, the claim is restored.
    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled>;

    /// Records the event as handled for `retention`. If the store no longer has the claim and no other token has
    /// claimed the event, it is recorded nevertheless.
    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled>;

    /// Releases the claim, so that the next delivery of the event can acquire it immediately. Also ends a claim that
    /// the store does not have, or not yet.
    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled>;

    /// Records a delivery of a body whose event can recur with the same bytes, and returns the earlier deliveries. Such
    /// deliveries are not claimed, since each counts as a separate event. The record of a body expires `period` after
    /// its last delivery. Within the record, periods follow one another: the first begins with the first delivery, each
    /// later one with the first delivery after the end of its predecessor. If `most` deliveries count in the current
    /// period, only the time of the last delivery changes.
    fn record_delivery(&self, body: EventKey, period: Duration, most: u64) -> StoreFuture<'_, DeliveryRecord>;

    /// Records that the handler of a delivery failed: it no longer counts in the current period of its body. It remains
    /// an earlier delivery.
    fn record_failure(&self, body: EventKey) -> StoreFuture<'_, ()>;

    /// Forgets that an event was handled, so that the provider's next delivery of it is handled again. It changes
    /// nothing while a delivery of the event is being handled. The default returns an error.
    ///
    /// Not idempotent: repeated after its answer was lost, it returns [`NotFound`](Forgotten::NotFound).
    ///
    /// For operators: see [`EventKey::of_id`] and [`EventKey::from_hex`] for the key. With an inbox, use
    /// `Inbox::forget`, which also writes an audit entry.
    fn forget(&self, key: EventKey) -> StoreFuture<'_, Forgotten> {
        let _ = key;
        Box::pin(async { Err(StoreError::unavailable("this store cannot forget an event")) })
    }

    /// Returns the identity of the store. The default is `None`.
    ///
    /// The `commit_in` of a store with an identity rejects a delivery whose receiver's store has another identity or
    /// none. A store that wraps another one, and passes keys and tokens on unchanged, must return the identity of the
    /// wrapped store, so that the `commit_in` of the wrapped store can be used:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use medhook::{ClaimToken, Claimed, DedupeStore, EventKey, Retention, Settled};
    /// # use medhook::{DeliveryRecord, StoreFuture, StoreId};
    /// #[derive(Debug)]
    /// struct Measured<S>(S);
    ///
    /// impl<S: DedupeStore> DedupeStore for Measured<S> {
    ///     fn store_id(&self) -> Option<StoreId> {
    ///         self.0.store_id()
    ///     }
    ///     // ..
    /// #   fn claim(
    /// #       &self,
    /// #       key: EventKey,
    /// #       token: ClaimToken,
    /// #       lease: Duration,
    /// #   ) -> StoreFuture<'_, Claimed> {
    /// #       self.0.claim(key, token, lease)
    /// #   }
    /// #
    /// #   fn renew(
    /// #       &self,
    /// #       key: EventKey,
    /// #       token: ClaimToken,
    /// #       lease: Duration,
    /// #   ) -> StoreFuture<'_, Settled> {
    /// #       self.0.renew(key, token, lease)
    /// #   }
    /// #
    /// #   fn commit(
    /// #       &self,
    /// #       key: EventKey,
    /// #       token: ClaimToken,
    /// #       retention: Retention,
    /// #   ) -> StoreFuture<'_, Settled> {
    /// #       self.0.commit(key, token, retention)
    /// #   }
    /// #
    /// #   fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
    /// #       self.0.release(key, token)
    /// #   }
    /// #
    /// #   fn record_delivery(
    /// #       &self,
    /// #       body: EventKey,
    /// #       period: Duration,
    /// #       most: u64,
    /// #   ) -> StoreFuture<'_, DeliveryRecord> {
    /// #       self.0.record_delivery(body, period, most)
    /// #   }
    /// #
    /// #   fn record_failure(&self, body: EventKey) -> StoreFuture<'_, ()> {
    /// #       self.0.record_failure(body)
    /// #   }
    /// }
    /// ```
    fn store_id(&self) -> Option<StoreId> {
        None
    }

    /// Returns the operations of a store that loses its events with the process and never waits. Receivers then call
    /// these, with process keys. A store that wraps another one returns `None`: see [`MemoryStore`].
    #[doc(hidden)]
    fn in_process(&self) -> Option<&dyn InProcess> {
        None
    }
}

/// The operations of a store that answers at once. They spare a delivery two allocations and two timeouts.
pub trait InProcess {
    /// See [`DedupeStore::claim`].
    fn claim_now(&self, key: EventKey, token: ClaimToken, lease: Duration) -> Result<Claimed, StoreError>;

    /// See [`DedupeStore::commit`].
    fn commit_now(&self, key: EventKey, token: ClaimToken, retention: Retention) -> Result<Settled, StoreError>;

    /// See [`DedupeStore::release`].
    fn release_now(&self, key: EventKey, token: ClaimToken) -> Result<Settled, StoreError>;
}

/// Lets [`Builder::store`](crate::Builder::store) take an `Arc<dyn DedupeStore>`.
impl<S: DedupeStore + ?Sized> DedupeStore for Arc<S> {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        (**self).claim(key, token, lease)
    }

    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        (**self).renew(key, token, lease)
    }

    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled> {
        (**self).commit(key, token, retention)
    }

    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
        (**self).release(key, token)
    }

    fn record_delivery(&self, body: EventKey, period: Duration, most: u64) -> StoreFuture<'_, DeliveryRecord> {
        (**self).record_delivery(body, period, most)
    }

    fn record_failure(&self, body: EventKey) -> StoreFuture<'_, ()> {
        (**self).record_failure(body)
    }

    fn forget(&self, key: EventKey) -> StoreFuture<'_, Forgotten> {
        (**self).forget(key)
    }

    fn store_id(&self) -> Option<StoreId> {
        (**self).store_id()
    }

    fn in_process(&self) -> Option<&dyn InProcess> {
        (**self).in_process()
    }
}

/// The result of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// The caller holds the claim and may handle the event.
    Acquired,
    /// The event has already been handled.
    AlreadyHandled,
    /// Another delivery of the event holds the claim.
    InFlight {
        /// The remaining lease of the other claim, unless it is renewed.
        retry_after: Duration,
    },
}

/// The result of a renewal, a commit or a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The operation took effect.
    Settled,
    /// The operation had no effect: the lease expired and another delivery has claimed the event, or the claim has
    /// ended.
    Lost,
}

/// The result of forgetting that an event was handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forgotten {
    /// The record is removed. The next delivery of the event is handled.
    Removed,
    /// There is no record of the event: it was not handled, its retention has ended, or it was forgotten before.
    NotFound,
    /// A delivery of the event is being handled. Nothing was changed.
    Claimed,
    /// The inbox has an unfinished row of the event. Nothing was changed: replay that row instead.
    Unfinished {
        /// The id of the row.
        id: i64,
    },
}

/// The earlier deliveries of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeliveryRecord {
    /// The number of earlier deliveries.
    pub earlier: u64,
    /// The time since the first of them; zero if there is none.
    pub since: Duration,
    /// The number of earlier deliveries in the current period, without those whose handler failed.
    pub in_period: u64,
    /// The time since the current period began; zero if it begins with this delivery.
    pub period: Duration,
}
