//! Remembering events: claim, then commit or release.
//!
//! To mark an event before it is handled loses it when the handler fails; to mark it afterwards lets two deliveries
//! through at once. So a delivery first *claims* its event for a short lease, which is renewed while the handler runs.
//! Success *commits* the claim, and the event is remembered as handled; failure *releases* it, and the sender's next
//! attempt is handled; if the process dies, the lease runs out.

mod memory;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
mod namespace;
mod none;
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

/// A store's answer, under way.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Where events are claimed and remembered.
///
/// Each method is one atomic step, judged by the store's own clock and fenced by the token: a late holder cannot end
/// its successor's claim. Each may be called again with the same arguments when its answer got lost, and then says
/// what it said.
///
/// # A whole store
/// One that remembers for ever and grants every claim a lease without end, which is enough to show the rules:
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use std::time::Duration;
///
/// use medhook::{Claimed, DedupeStore, EventKey, Retention, Settled, StoreFuture, ClaimToken};
///
/// #[derive(Debug, Default)]
/// struct ForEver(Mutex<HashMap<EventKey, (ClaimToken, bool)>>);
///
/// impl DedupeStore for ForEver {
///     fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
///         Box::pin(async move {
///             let mut events = self.0.lock().unwrap();
///             Ok(match events.get(&key) {
///                 Some((_, true)) => Claimed::AlreadyHandled,
///                 Some((holder, false)) if *holder != token => Claimed::InFlight { retry_after: lease },
///                 _ => {
///                     events.insert(key, (token, false));
///                     Claimed::Acquired
///                 }
///             })
///         })
///     }
///
///     fn renew(&self, key: EventKey, token: ClaimToken, _: Duration) -> StoreFuture<'_, Settled> {
///         self.settle(key, token, Some(false))
///     }
///
///     fn commit(&self, key: EventKey, token: ClaimToken, _: Retention) -> StoreFuture<'_, Settled> {
///         self.settle(key, token, Some(true))
///     }
///
///     fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
///         self.settle(key, token, None)
///     }
/// }
///
/// impl ForEver {
///     fn settle(&self, key: EventKey, token: ClaimToken, handled: Option<bool>) -> StoreFuture<'_, Settled> {
///         Box::pin(async move {
///             let mut events = self.0.lock().unwrap();
///             if events.get(&key).is_some_and(|(holder, _)| *holder != token) {
///                 return Ok(Settled::Lost);
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
    /// Claims an event for `lease`. A claim of the same token, sent again, is [`Acquired`](Claimed::Acquired) again.
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed>;

    /// Makes the lease last `lease` from now. Where the claim is gone but nobody else has the event, it is back.
    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled>;

    /// Remembers the event as handled. Where the claim is gone but nobody else has the event, that is written, too.
    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled>;

    /// Gives the claim up, so that the next delivery of the event wins it at once.
    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled>;
}

/// A store behind an `Arc`, so that [`Builder::store`](crate::Builder::store) also takes an `Arc<dyn DedupeStore>`.
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
}

/// A claim's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// The event is ours to handle.
    Acquired,
    /// The event was handled.
    AlreadyHandled,
    /// Someone else is at it.
    InFlight {
        /// How long their lease still runs, if nobody renews it.
        retry_after: Duration,
    },
}

/// The answer to a renewal, a commit or a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Done.
    Settled,
    /// Not done: the lease ran out, and someone else has the event by now.
    Lost,
}
