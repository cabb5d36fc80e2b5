//! Limits how often a wrong token can be tried.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::peer::PeerAddress;

/// Counts wrong tokens for each client, so that one client does not keep the others from logging in. Clients behind a
/// proxy have one address, and share one count.
#[derive(Default)]
pub(super) struct Guesses(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    clients: HashMap<IpAddr, Budget>,
    /// The clients that are too many for `clients` share one count.
    others: Budget,
}

/// The wrong tokens since the start of the current period; `None` before the first one.
#[derive(Default)]
struct Budget {
    begun: Option<Instant>,
    wrong: u32,
}

/// A client can try this many wrong tokens in a [`PERIOD`].
const MOST_WRONG: u32 = 20;
const PERIOD: Duration = Duration::from_secs(10);

/// Maximum number of clients with a count of their own. Together they can try 2,000 tokens a second, far too few to
/// find a random one of 16 characters.
const MOST_CLIENTS: usize = 1024;

impl Guesses {
    /// Checks a token of a client with `check`, which returns `None` for a wrong one. The error is how long the client
    /// must wait before its token is checked. One token is checked at a time, so that tokens sent at the same time
    /// do not exceed the limit.
    pub(super) fn check<T>(
        &self,
        client: PeerAddress,
        check: impl FnOnce() -> Option<T>,
    ) -> Result<Option<T>, Duration> {
        let (now, client) = (Instant::now(), client.client());
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = counts.of(client, now);
        if let Some(wait) = budget.and_then(|budget| budget.wait(now)) {
            return Err(wait);
        }
        let checked = check();
        if checked.is_none() {
            counts.record(client, now);
        }
        Ok(checked)
    }
}

impl Counts {
    /// Returns the count of a client. A client without one has a new one as long as there is room.
    fn of(&mut self, client: IpAddr, now: Instant) -> Option<&Budget> {
        if self.clients.contains_key(&client) || self.has_room(now) {
            self.clients.get(&client)
        } else {
            Some(&self.others)
        }
    }

    fn record(&mut self, client: IpAddr, now: Instant) {
        if self.clients.contains_key(&client) || self.has_room(now) {
            self.clients.entry(client).or_default().record(now);
        } else {
            self.others.record(now);
        }
    }

    /// Returns whether another client can have a count of its own. Forgets those whose period is over.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.clients.len() >= MOST_CLIENTS {
            self.clients.retain(|_, budget| budget.left(now).is_some());
        }
        self.clients.len() < MOST_CLIENTS
    }
}

impl Budget {
    /// Returns the rest of the current period.
    fn left(&self, now: Instant) -> Option<Duration> {
        PERIOD.checked_sub(now.duration_since(self.begun?)).filter(|left| !left.is_zero())
    }

    fn wait(&self, now: Instant) -> Option<Duration> {
        self.left(now).filter(|_| self.wrong >= MOST_WRONG)
    }

    fn record(&mut self, now: Instant) {
        if self.left(now).is_none() {
            *self = Budget { begun: Some(now), wrong: 0 };
        }
        self.wrong = self.wrong.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn client(number: u32) -> PeerAddress {
        PeerAddress::new(IpAddr::from(number.to_be_bytes()))
    }

    /// Returns how long the client must wait after a wrong token.
    fn wrong(guesses: &Guesses, number: u32) -> Option<Duration> {
        guesses.check(client(number), || None::<()>).err()
    }

    /// Returns how long the client must wait with the right token.
    fn right(guesses: &Guesses, number: u32) -> Option<Duration> {
        guesses.check(client(number), || Some(())).err()
    }

    #[tokio::test(start_paused = true)]
    async fn after_too_many_wrong_tokens_the_client_waits_for_the_period() {
        let guesses = Guesses::default();
        for _ in 1..MOST_WRONG {
            assert_eq!(wrong(&guesses, 1), None);
        }
        assert_eq!(right(&guesses, 1), None, "the right token does not count");
        advance(Duration::from_secs(4)).await;
        assert_eq!(wrong(&guesses, 1), None);
        assert_eq!(right(&guesses, 1), Some(PERIOD - Duration::from_secs(4)));
        assert_eq!(guesses.check(client(1), || -> Option<()> { panic!("looked at") }).err(), right(&guesses, 1));
        assert_eq!(right(&guesses, 2), None, "another client need not wait");
        advance(PERIOD - Duration::from_secs(4)).await;
        assert_eq!(wrong(&guesses, 1), None);
        assert_eq!(right(&guesses, 1), None, "a new count has begun");
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_clients_share_a_count_until_others_are_forgotten() {
        let guesses = Guesses::default();
        let most = u32::try_from(MOST_CLIENTS).unwrap();
        for number in 0..most + MOST_WRONG {
            assert_eq!(wrong(&guesses, number), None);
        }
        let counted = || guesses.0.lock().unwrap().clients.len();
        assert_eq!(counted(), MOST_CLIENTS);
        assert!(right(&guesses, most + 1000).is_some());
        assert_eq!(right(&guesses, 0), None, "it has a count of its own");
        advance(PERIOD).await;
        assert_eq!(right(&guesses, most + 1000), None);
        assert_eq!(wrong(&guesses, most + 1000), None);
        assert_eq!(counted(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_does_not_wait_for_the_others_once_there_is_room() {
        let guesses = Guesses::default();
        let most = u32::try_from(MOST_CLIENTS).unwrap();
        (0..most).for_each(|number| assert_eq!(wrong(&guesses, number), None));
        advance(PERIOD / 2).await;
        (0..MOST_WRONG).for_each(|_| assert_eq!(wrong(&guesses, most), None));
        assert_eq!(right(&guesses, most + 1), Some(PERIOD));
        advance(PERIOD / 2).await;
        assert_eq!(right(&guesses, most + 1), None);
    }

    /// Otherwise tokens that are sent at the same time would all be checked before the first of them is counted.
    #[test]
    fn tokens_sent_at_the_same_time_do_not_exceed_the_limit() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let (guesses, threads) = (Guesses::default(), 4 * MOST_WRONG as usize);
        let start = std::sync::Barrier::new(threads);
        let checked = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    start.wait();
                    guesses.check(client(1), || {
                        checked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        // The others arrive meanwhile.
                        std::thread::sleep(Duration::from_millis(2));
                        None::<()>
                    })
                });
            }
        });
        assert_eq!(checked.into_inner(), MOST_WRONG);
    }
}
