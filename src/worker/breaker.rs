//! The circuit breaker of an endpoint: while the application is unreachable, single events probe it.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::random::random_within;

/// Opens when an attempt finds the application unreachable. While it is open, a single event at a time probes the
/// application, after 1, 2, 4 and at most every 30 s. Any answer closes it.
///
/// It belongs to one worker, so there is no shared state that could stay open.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Closed,
    /// The next probe may begin at this time. After it fails, the next one waits twice as long.
    Open {
        probe: Instant,
        wait: Duration,
    },
    Probing {
        wait: Duration,
    },
}

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The permission of a breaker to attempt one event.
#[derive(Debug)]
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    is_probe: bool,
}

impl Breaker {
    /// Returns whether attempts are limited to probes.
    pub(super) fn is_open(&self) -> bool {
        *self.lock() != State::Closed
    }

    /// Returns a pass if one is available now.
    pub(super) fn try_pass(self: &Arc<Self>) -> Option<Pass> {
        let mut state = self.lock();
        let is_probe = match *state {
            State::Closed => false,
            State::Open { probe, wait } if probe <= Instant::now() => {
                *state = State::Probing { wait };
                true
            }
            State::Open { .. } | State::Probing { .. } => return None,
        };
        Some(Pass { breaker: self.clone(), is_probe })
    }

    /// Waits for a pass.
    pub(super) async fn pass(self: &Arc<Self>) -> Pass {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(pass) = self.try_pass() {
                return pass;
            }
            let state = *self.lock();
            match state {
                State::Open { probe, .. } => tokio::select! {
                    () = sleep_until(probe) => {}
                    () = changed => {}
                },
                State::Closed | State::Probing { .. } => changed.await,
            }
        }
    }

    fn set(&self, state: State) {
        *self.lock() = state;
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    pub(super) fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// Closes the breaker: the application has answered. Returns whether it was open before.
    pub(super) fn answered(self) -> bool {
        let before = std::mem::replace(&mut *self.breaker.lock(), State::Closed);
        let was_open = before != State::Closed;
        if was_open {
            self.breaker.changed.notify_waiters();
        }
        was_open
    }

    /// Opens the breaker. Only a probe makes the wait longer, since other attempts that fail began before it opened.
    /// Returns whether it was closed before.
    pub(super) fn unreachable(self) -> bool {
        let state = *self.breaker.lock();
        let wait = match state {
            State::Closed => FIRST_WAIT,
            State::Probing { wait } if self.is_probe => wait.saturating_mul(2).min(LONGEST_WAIT),
            State::Open { .. } | State::Probing { .. } => return false,
        };
        self.breaker.set(State::Open { probe: later(wait), wait });
        state == State::Closed
    }
}

impl Drop for Pass {
    /// Lets another event probe, if this one ended without a result.
    fn drop(&mut self) {
        let state = *self.breaker.lock();
        if let (true, State::Probing { wait }) = (self.is_probe, state) {
            self.breaker.set(State::Open { probe: Instant::now(), wait });
        }
    }
}

/// Returns the time of the next probe: up to a quarter of the wait earlier, so that several instances do not probe at
/// the same time.
fn later(wait: Duration) -> Instant {
    Instant::now() + random_within(wait * 3 / 4, wait)
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_after_doubled_waits() {
        let breaker = Arc::new(Breaker::default());
        let first = breaker.try_pass().unwrap();
        let other = breaker.try_pass().unwrap();
        assert!(first.unreachable());
        assert!(!other.unreachable(), "it began before, and does not count as a probe");
        for expected in [1, 2, 4, 8, 16, 30, 30] {
            let began = Instant::now();
            let probe = breaker.pass().await;
            let (waited, expected) = (began.elapsed(), Duration::from_secs(expected));
            assert!((expected * 3 / 4..=expected + MOMENT).contains(&waited), "{expected:?}: {waited:?}");
            assert!(breaker.try_pass().is_none(), "one at a time");
            assert!(timeout(LONGEST_WAIT * 2, breaker.pass()).await.is_err());
            assert!(!probe.unreachable());
        }
    }

    /// It began before the breaker opened, and says nothing new.
    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_fails_beside_a_probe_neither_ends_it_nor_makes_the_wait_longer() {
        let breaker = Arc::new(Breaker::default());
        let (first, other) = (breaker.try_pass().unwrap(), breaker.try_pass().unwrap());
        assert!(first.unreachable());
        let probe = breaker.pass().await;
        assert!(!other.unreachable());
        assert!(timeout(LONGEST_WAIT * 2, breaker.pass()).await.is_err(), "the probe still runs");
        probe.unreachable();
        let began = Instant::now();
        breaker.pass().await;
        assert!(began.elapsed() <= FIRST_WAIT * 2 + MOMENT, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn any_answer_closes_it_and_wakes_those_that_wait() {
        let breaker = Arc::new(Breaker::default());
        let running = breaker.try_pass().unwrap();
        breaker.try_pass().unwrap().unreachable();
        let waiting = tokio::spawn({
            let breaker = breaker.clone();
            async move { breaker.pass().await }
        });
        sleep(MOMENT).await;
        assert!(breaker.is_open() && !waiting.is_finished());
        assert!(running.answered(), "it was open");
        assert!(!waiting.await.unwrap().is_probe && !breaker.is_open());
        breaker.try_pass().unwrap().unreachable();
        let began = Instant::now();
        breaker.pass().await;
        assert!(began.elapsed() <= FIRST_WAIT + MOMENT, "the waits begin with the first one again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_without_a_result_is_followed_by_another_one() {
        let breaker = Arc::new(Breaker::default());
        breaker.try_pass().unwrap().unreachable();
        drop(breaker.pass().await);
        let probe = timeout(MOMENT, breaker.pass()).await.unwrap();
        assert!(probe.is_probe && breaker.is_open());
    }
}
