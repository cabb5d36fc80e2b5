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
    /// Wrong tokens since the last line about them, and the time of that line.
    unlogged: u64,
    logged: Option<Instant>,
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

/// The minimum time between two lines about wrong tokens.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

impl Guesses {
    /// Returns how long the client must wait before its token is looked at, or `None` if it need not wait.
    pub(super) fn wait(&self, client: PeerAddress) -> Option<Duration> {
        let now = Instant::now();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.clients.get(&client.client()).map(|budget| budget.wait(now));
        match own {
            Some(wait) => wait,
            None if counts.has_room(now) => None,
            None => counts.others.wait(now),
        }
    }

    /// Records a wrong token. Returns how many there were since the last line about them, if a line is due.
    pub(super) fn record_wrong(&self, client: PeerAddress) -> Option<u64> {
        let now = Instant::now();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let client = client.client();
        if counts.clients.contains_key(&client) || counts.has_room(now) {
            counts.clients.entry(client).or_default().record(now);
        } else {
            counts.others.record(now);
        }
        counts.unlogged = counts.unlogged.saturating_add(1);
        if counts.logged.is_some_and(|logged| now.duration_since(logged) < LOG_INTERVAL) {
            return None;
        }
        counts.logged = Some(now);
        Some(std::mem::take(&mut counts.unlogged))
    }
}

impl Counts {
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

    #[tokio::test(start_paused = true)]
    async fn after_too_many_wrong_tokens_the_client_waits_for_the_period() {
        let guesses = Guesses::default();
        for _ in 1..MOST_WRONG {
            guesses.record_wrong(client(1));
        }
        assert_eq!(guesses.wait(client(1)), None);
        advance(Duration::from_secs(4)).await;
        guesses.record_wrong(client(1));
        assert_eq!(guesses.wait(client(1)), Some(PERIOD - Duration::from_secs(4)));
        assert_eq!(guesses.wait(client(2)), None, "another client need not wait");
        advance(PERIOD - Duration::from_secs(4)).await;
        assert_eq!(guesses.wait(client(1)), None);
        guesses.record_wrong(client(1));
        assert_eq!(guesses.wait(client(1)), None, "a new count has begun");
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_clients_share_a_count_until_others_are_forgotten() {
        let guesses = Guesses::default();
        let most = u32::try_from(MOST_CLIENTS).unwrap();
        for number in 0..most + MOST_WRONG {
            guesses.record_wrong(client(number));
        }
        let counted = || guesses.0.lock().unwrap().clients.len();
        assert_eq!(counted(), MOST_CLIENTS);
        assert!(guesses.wait(client(most + 1000)).is_some());
        assert_eq!(guesses.wait(client(0)), None, "it has a count of its own");
        advance(PERIOD).await;
        assert_eq!(guesses.wait(client(most + 1000)), None);
        guesses.record_wrong(client(most + 1000));
        assert_eq!(counted(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_tokens_are_logged_once_a_minute_with_their_number() {
        let guesses = Guesses::default();
        assert_eq!(guesses.record_wrong(client(1)), Some(1));
        for number in 0..5 {
            assert_eq!(guesses.record_wrong(client(number)), None);
        }
        advance(LOG_INTERVAL).await;
        assert_eq!(guesses.record_wrong(client(1)), Some(6));
    }
}
