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

use sha2::{Digest, Sha256};

pub use self::memory::MemoryStore;
pub use self::none::NoDedupe;
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresBuilder, PostgresStore};
#[cfg(feature = "redis")]
pub use self::redis::{RedisBuilder, RedisStore};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteBuilder, SqliteStore};

use crate::StoreError;

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

/// How long a handled event is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// As long as the same bytes would be accepted again: never to be forgotten earlier, even if room runs out.
    pub replay: Duration,
    /// As long as the sender may retry, and longer.
    pub total: Duration,
}

impl Retention {
    /// A retention; `total` is at least `replay`.
    #[must_use]
    pub fn new(replay: Duration, total: Duration) -> Self {
        Retention { replay, total: total.max(replay) }
    }
}

/// What a store knows an event by: a SHA-256 digest. Providers' ids can be patients' codes; no store sees them as they
/// are. The digest has no key: whoever can read a store can try out ids that are easily guessed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKey([u8; 32]);

impl EventKey {
    /// A key from its bytes, as a store's own tests need them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        EventKey(bytes)
    }

    /// The digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What makes the keys of one receiver. All of them begin alike, and that much is hashed once.
pub(crate) struct EventKeys {
    by_id: Sha256,
    by_own: Sha256,
    by_body: Sha256,
}

impl EventKeys {
    pub(crate) fn new(provider: &str, endpoint: &str) -> Self {
        let of = |tag: &[u8]| {
            let mut digest = Sha256::new();
            [tag, provider.as_bytes(), endpoint.as_bytes()].iter().for_each(|part| add(&mut digest, part));
            digest
        };
        EventKeys {
            by_id: of(b"medhook event by id, 1"),
            by_own: of(b"medhook event by own key, 1"),
            by_body: of(b"medhook event by body, 1"),
        }
    }

    /// Of an event with an id.
    pub(crate) fn of_id(&self, mode: &str, id: &str) -> EventKey {
        finished(&self.by_id, &[mode.as_bytes(), id.as_bytes()])
    }

    /// Of an event that the application names itself.
    pub(crate) fn of_own(&self, mode: &str, own: &str) -> EventKey {
        finished(&self.by_own, &[mode.as_bytes(), own.as_bytes()])
    }

    /// Of an event without one: the same bytes are the same event.
    pub(crate) fn of_body(&self, body: &[u8]) -> EventKey {
        finished(&self.by_body, &[body])
    }
}

fn finished(begun: &Sha256, parts: &[&[u8]]) -> EventKey {
    let mut digest = begun.clone();
    parts.iter().for_each(|part| add(&mut digest, part));
    EventKey(digest.finalize().into())
}

/// Every part goes in with its length in front, so that no two lists of parts make the same bytes.
fn add(digest: &mut Sha256, part: &[u8]) {
    digest.update((part.len() as u64).to_be_bytes());
    digest.update(part);
}

impl fmt::Display for EventKey {
    /// The first 16 hexadecimal digits: enough to find an event in a log, and no more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventKey({self})")
    }
}

/// Whose claim it is. Made before a claim is sent, never used for a second one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClaimToken([u8; 16]);

impl ClaimToken {
    /// A token from its bytes, as a store's own tests need them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        ClaimToken(bytes)
    }

    /// The token's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for ClaimToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_key_tells_events_apart() {
        let keys = EventKeys::new;
        let keys = [
            keys("p", "e").of_id("live", "1"),
            keys("p", "e").of_id("live", "2"),
            keys("p", "e").of_id("test", "1"),
            keys("p", "e2").of_id("live", "1"),
            keys("p2", "e").of_id("live", "1"),
            keys("pe", "").of_id("live", "1"),
            keys("p", "e").of_own("live", "1"),
            keys("p", "e").of_body(b"1"),
            keys("p", "e").of_body(b"2"),
            keys("p", "e2").of_body(b"1"),
            keys("p2", "e").of_body(b"1"),
        ];
        let different: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
    }

    /// Keys outlive the version that made them: with another one, what was handled would be handled again.
    #[test]
    fn a_key_is_the_digest_of_its_parts_with_their_lengths() {
        let part = |part: &[u8]| [&(part.len() as u64).to_be_bytes(), part].concat();
        let parts = [&b"medhook event by id, 1"[..], b"fasten", b"clinic", b"live", b"7d4b9f0e"].map(part).concat();
        let expected: [u8; 32] = Sha256::digest(parts).into();
        assert_eq!(EventKeys::new("fasten", "clinic").of_id("live", "7d4b9f0e").as_bytes(), &expected);
    }
    #[test]
    fn a_key_is_shown_by_its_first_digits_and_a_token_not_at_all() {
        let key = EventKey::from_bytes(std::array::from_fn(|at| at as u8));
        assert_eq!(key.to_string(), "0001020304050607");
        assert_eq!(format!("{key:?}"), "EventKey(0001020304050607)");
        assert_eq!(format!("{:?}", ClaimToken::from_bytes([1; 16])), "ClaimToken(..)");
    }
}
