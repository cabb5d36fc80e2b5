//! A store that appends handled events to a file. Claims are kept in memory, because they end with the process.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use medhook_axum::{
    ClaimToken, Claimed, DedupeStore, DeliveryRecord, EventKey, Retention, Settled, StoreError, StoreFuture,
};
use tokio::sync::Mutex;

/// A store in one file. It never purges events, so it grows by 32 bytes per event. A production store would purge
/// events after their [`Retention`].
#[derive(Debug, Clone)]
pub struct JournalStore(Arc<Mutex<Events>>);

#[derive(Debug)]
struct Events {
    journal: File,
    length: u64,
    states: HashMap<EventKey, State>,
    /// The deliveries of each body whose event can recur. Kept in memory: after a restart, a delivery that came before
    /// no longer counts.
    bodies: HashMap<EventKey, Body>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Claimed { by: ClaimToken, until: Instant },
    Handled,
}

#[derive(Debug)]
struct Body {
    deliveries: u64,
    first: Instant,
    last: Instant,
    period_began: Instant,
    in_period: u64,
}

impl JournalStore {
    /// Opens the journal and reads the handled events. Drops an incomplete last entry, which a crash can leave behind;
    /// its event was not answered 2xx.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let mut journal = File::options().create(true).read(true).append(true).open(path)?;
        let mut known = Vec::new();
        journal.read_to_end(&mut known)?;
        let (entries, incomplete) = known.as_chunks::<32>();
        let length = (known.len() - incomplete.len()) as u64;
        let states = entries.iter().map(|key| (EventKey::from_bytes(*key), State::Handled)).collect();
        Ok(JournalStore(Arc::new(Mutex::new(Events { journal, length, states, bodies: HashMap::new() }))))
    }

    /// Runs an operation. Writing waits for the disk, so it runs on a blocking thread. The lock makes each operation
    /// atomic, and admits operations in the order of their calls. It is held until the operation has ended, even if its
    /// caller stops waiting: a renewal must not take effect after the release that follows it.
    fn operation<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Events) -> io::Result<T> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let events = self.0.clone();
        Box::pin(async move {
            let mut events = events.lock_owned().await;
            let done = tokio::task::spawn_blocking(move || operation(&mut events));
            match done.await {
                Ok(Ok(answer)) => Ok(answer),
                // An error must not be answered `Acquired` or `AlreadyHandled`. The delivery is answered 503, so that
                // the sender retries.
                Ok(Err(_)) | Err(_) => Err(StoreError::unavailable("cannot write the journal")),
            }
        })
    }
}

impl Events {
    /// Returns whether another claim holds the event, even if that claim has expired: a late holder must not undo the
    /// result of a later one.
    fn is_claimed_by_other(&self, key: EventKey, token: ClaimToken) -> bool {
        matches!(self.states.get(&key), Some(State::Claimed { by, .. }) if *by != token)
    }
}

impl DedupeStore for JournalStore {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        self.operation(move |events| {
            let now = Instant::now();
            Ok(match events.states.get(&key) {
                Some(State::Handled) => Claimed::AlreadyHandled,
                // A claim with the same token was sent again, because the answer was lost.
                Some(State::Claimed { by, until }) if *by != token && *until > now => {
                    Claimed::InFlight { retry_after: *until - now }
                }
                _ => {
                    events.states.insert(key, State::Claimed { by: token, until: now + lease });
                    Claimed::Acquired
                }
            })
        })
    }

    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        self.operation(move |events| {
            if events.is_claimed_by_other(key, token) {
                return Ok(Settled::Lost);
            }
            if !matches!(events.states.get(&key), Some(State::Handled)) {
                events.states.insert(key, State::Claimed { by: token, until: Instant::now() + lease });
            }
            Ok(Settled::Settled)
        })
    }

    fn commit(&self, key: EventKey, token: ClaimToken, _: Retention) -> StoreFuture<'_, Settled> {
        self.operation(move |events| {
            if events.is_claimed_by_other(key, token) {
                return Ok(Settled::Lost);
            }
            if !matches!(events.states.get(&key), Some(State::Handled)) {
                // Written to the disk before it is answered, so that it survives a crash. The file is truncated first,
                // because a failed attempt may have left part of an entry behind.
                events.journal.set_len(events.length)?;
                events.journal.write_all(key.as_bytes())?;
                events.journal.sync_data()?;
                events.length += 32;
                events.states.insert(key, State::Handled);
            }
            Ok(Settled::Settled)
        })
    }

    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
        self.operation(move |events| {
            if events.is_claimed_by_other(key, token) {
                return Ok(Settled::Lost);
            }
            if !matches!(events.states.get(&key), Some(State::Handled)) {
                events.states.remove(&key);
            }
            Ok(Settled::Settled)
        })
    }

    fn record_delivery(&self, body: EventKey, period: Duration, most: u64) -> StoreFuture<'_, DeliveryRecord> {
        self.operation(move |events| {
            let now = Instant::now();
            events.bodies.retain(|_, body| now.duration_since(body.last) < period);
            let new = Body { deliveries: 0, first: now, last: now, period_began: now, in_period: 0 };
            let body = events.bodies.entry(body).or_insert(new);
            if now.duration_since(body.period_began) >= period {
                (body.period_began, body.in_period) = (now, 0);
            }
            let before = DeliveryRecord {
                earlier: body.deliveries,
                since: now.duration_since(body.first),
                in_period: body.in_period,
                period: now.duration_since(body.period_began),
            };
            if body.in_period < most {
                body.deliveries += 1;
                body.in_period += 1;
            }
            body.last = now;
            Ok(before)
        })
    }

    fn record_failure(&self, body: EventKey) -> StoreFuture<'_, ()> {
        self.operation(move |events| {
            if let Some(body) = events.bodies.get_mut(&body) {
                body.in_period = body.in_period.saturating_sub(1);
            }
            Ok(())
        })
    }
}
