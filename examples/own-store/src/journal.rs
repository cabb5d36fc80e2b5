//! Handled events in a file, one after the other; claims in memory, since a process that died holds none.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use medhook_axum::{ClaimToken, Claimed, DedupeStore, EventKey, Retention, Settled, StoreError, StoreFuture};

/// A store in one file. It never forgets, so it grows by 32 bytes an event: a real one would drop what is past its
/// [`Retention`].
#[derive(Debug, Clone)]
pub struct JournalStore(Arc<Mutex<Events>>);

#[derive(Debug)]
struct Events {
    journal: File,
    length: u64,
    states: HashMap<EventKey, State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Claimed { by: ClaimToken, until: Instant },
    Handled,
}

impl JournalStore {
    /// Reads what was handled before. A last entry that was cut off by a crash was never answered for: it is dropped.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let mut journal = File::options().create(true).read(true).append(true).open(path)?;
        let mut known = Vec::new();
        journal.read_to_end(&mut known)?;
        let (entries, cut_off) = known.as_chunks::<32>();
        let length = (known.len() - cut_off.len()) as u64;
        let states = entries.iter().map(|key| (EventKey::from_bytes(*key), State::Handled)).collect();
        Ok(JournalStore(Arc::new(Mutex::new(Events { journal, length, states }))))
    }

    /// One step at a time: that is what makes each atomic. Writing waits for the disk, so it may not hold up a thread
    /// of the runtime.
    fn step<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut Events) -> io::Result<T> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let events = self.0.clone();
        Box::pin(async move {
            let done =
                tokio::task::spawn_blocking(move || step(&mut events.lock().unwrap_or_else(PoisonError::into_inner)));
            match done.await {
                Ok(Ok(answer)) => Ok(answer),
                // 503, and the sender tries again. Never "won" on an error, nor "handled".
                Ok(Err(_)) | Err(_) => Err(StoreError::unavailable("the journal cannot be written")),
            }
        })
    }
}

impl Events {
    /// The token of whoever holds the event, and whether it is handled. A claim of another's that has run out counts,
    /// too: who settles late must not undo what the other has done meanwhile.
    fn is_anothers(&self, key: EventKey, token: ClaimToken) -> bool {
        matches!(self.states.get(&key), Some(State::Claimed { by, .. }) if *by != token)
    }
}

impl DedupeStore for JournalStore {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        self.step(move |events| {
            let now = Instant::now();
            Ok(match events.states.get(&key) {
                Some(State::Handled) => Claimed::AlreadyHandled,
                // The same token is the same claim, sent again because its answer got lost.
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
        self.step(move |events| {
            if events.is_anothers(key, token) {
                return Ok(Settled::Lost);
            }
            if !matches!(events.states.get(&key), Some(State::Handled)) {
                events.states.insert(key, State::Claimed { by: token, until: Instant::now() + lease });
            }
            Ok(Settled::Settled)
        })
    }

    fn commit(&self, key: EventKey, token: ClaimToken, _: Retention) -> StoreFuture<'_, Settled> {
        self.step(move |events| {
            if events.is_anothers(key, token) {
                return Ok(Settled::Lost);
            }
            if !matches!(events.states.get(&key), Some(State::Handled)) {
                // On the disk first: what is answered as handled must outlive a crash. A full disk may have left half
                // an entry of the last attempt behind.
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
        self.step(move |events| {
            if events.is_anothers(key, token) {
                return Ok(Settled::Lost);
            }
            if !matches!(events.states.get(&key), Some(State::Handled)) {
                events.states.remove(&key);
            }
            Ok(Settled::Settled)
        })
    }
}
