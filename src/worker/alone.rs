//! Suspects are attempted alone in their process.
//!
//! The events that a process had leased when it died are suspects, since one of them may be the cause. Only an event
//! that is attempted alone can be known to be the cause, so a suspect waits until no other attempt of this process is
//! running, and no other one begins meanwhile. If that takes too long, the others go on, and it tries again later.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::time::{Instant, timeout};

static PROCESS: LazyLock<Arc<Process>> = LazyLock::new(Arc::default);

/// The state that the workers of a process share.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// Held by all attempts: by those of suspects exclusively. Its queue is fair, so that neither a stream of other
    /// events nor one of suspects holds the other back forever.
    attempts: Arc<RwLock<()>>,
    alone: Mutex<Alone>,
}

/// The wait of a suspect for the other attempts, during which no other one begins.
#[derive(Debug, Default)]
struct Alone {
    /// Whether a worker has a turn for suspects or waits for it.
    is_taken: bool,
    /// The number of waits in a row that were too long, and when the next one may begin.
    failed: u32,
    not_before: Option<Instant>,
}

/// The gate through which the attempts of a process pass, and what is known of an endpoint's suspects.
#[derive(Debug)]
pub(super) struct Gate {
    process: Arc<Process>,
    suspects: Mutex<Suspects>,
}

#[derive(Debug, Default)]
struct Suspects {
    /// Whether the store has some.
    present: bool,
    /// The number of turns in a row in which there was nothing to lease, and when the next one may begin.
    empty: u32,
    not_before: Option<Instant>,
}

/// A turn to lease and attempt one event.
pub(super) enum Turn {
    /// Beside other attempts.
    Shared { _process: OwnedRwLockReadGuard<()> },
    /// Alone, one suspect.
    Alone { _process: OwnedRwLockWriteGuard<()>, _suspects: SuspectsTurn },
}

/// The turn for suspects, of which a process has one.
pub(super) struct SuspectsTurn(Arc<Process>);

impl Gate {
    pub(super) fn of_process() -> Self {
        Gate::new(PROCESS.clone())
    }

    pub(super) fn new(process: Arc<Process>) -> Self {
        Gate { process, suspects: Mutex::default() }
    }

    /// Waits for a turn. A suspect waits only for a while: a handler that never ends must not stop the whole process.
    pub(super) async fn turn(self: &Arc<Self>) -> Turn {
        let attempts = &self.process.attempts;
        if let Some(turn) = self.suspects_turn() {
            match timeout(turn.longest_wait(), attempts.clone().write_owned()).await {
                Ok(process) => {
                    turn.began();
                    return Turn::Alone { _process: process, _suspects: turn };
                }
                Err(_) => turn.postpone(),
            }
        }
        Turn::Shared { _process: attempts.clone().read_owned().await }
    }

    fn suspects_turn(&self) -> Option<SuspectsTurn> {
        let is_due = |time: Option<Instant>| time.is_none_or(|time| time <= Instant::now());
        let suspects = self.lock();
        if !suspects.present || !is_due(suspects.not_before) {
            return None;
        }
        let mut alone = lock(&self.process.alone);
        if alone.is_taken || !is_due(alone.not_before) {
            return None;
        }
        alone.is_taken = true;
        Some(SuspectsTurn(self.process.clone()))
    }

    /// Records the store's answer to a request for a lease. Turns without a lease become rarer, since each of them
    /// stops the whole process for a moment.
    pub(super) fn answered(&self, turn: &Turn, leased: bool, suspects: bool) {
        let mut state = self.lock();
        state.present = suspects;
        if turn.is_alone() {
            state.empty = if leased { 0 } else { state.empty.saturating_add(1) };
            let wait = Duration::from_secs(1_u64.checked_shl(state.empty.saturating_sub(1)).unwrap_or(u64::MAX));
            state.not_before = (state.empty > 0).then(|| Instant::now() + wait.min(LONGEST_WAIT));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Suspects> {
        lock(&self.suspects)
    }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The first wait of a suspect for the other attempts, and the longest one: that of the default `handler_timeout`.
const FIRST_ALONE: Duration = Duration::from_secs(30);
const LONGEST_ALONE: Duration = Duration::from_secs(600);
/// After a wait that was too long, the others go on for this many times as long.
const OTHERS: u32 = 4;

impl SuspectsTurn {
    /// Returns for how long a suspect waits for the other attempts: each time twice as long, so that long handlers do
    /// not hold it back forever.
    fn longest_wait(&self) -> Duration {
        let doubled = 1_u32.checked_shl(lock(&self.0.alone).failed).unwrap_or(u32::MAX);
        FIRST_ALONE.saturating_mul(doubled).min(LONGEST_ALONE)
    }

    fn began(&self) {
        let mut alone = lock(&self.0.alone);
        (alone.failed, alone.not_before) = (0, None);
    }

    fn postpone(self) {
        let others = self.longest_wait().saturating_mul(OTHERS);
        let mut alone = lock(&self.0.alone);
        alone.failed = alone.failed.saturating_add(1);
        alone.not_before = Some(Instant::now() + others);
    }
}

impl Turn {
    pub(super) fn is_alone(&self) -> bool {
        matches!(self, Turn::Alone { .. })
    }
}

impl Drop for SuspectsTurn {
    fn drop(&mut self) {
        lock(&self.0.alone).is_taken = false;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep, timeout};

    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    fn gate() -> Arc<Gate> {
        Arc::new(Gate::new(Arc::default()))
    }

    async fn shared(gate: &Arc<Gate>) -> Turn {
        let turn = gate.turn().await;
        assert!(!turn.is_alone());
        turn
    }

    #[test]
    fn the_workers_of_a_process_share_one_gate() {
        assert!(Arc::ptr_eq(&Gate::of_process().process, &Gate::of_process().process));
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspect_waits_for_the_others_and_no_other_one_begins_meanwhile() {
        let gate = gate();
        let other_endpoint = Arc::new(Gate::new(gate.process.clone()));
        let running = shared(&gate).await;
        gate.answered(&running, true, true);
        let suspect = tokio::spawn({
            let gate = gate.clone();
            async move { gate.turn().await }
        });
        sleep(MOMENT).await;
        assert!(!suspect.is_finished());
        let next = tokio::spawn({
            let gate = other_endpoint.clone();
            async move { gate.turn().await }
        });
        sleep(MOMENT).await;
        assert!(!next.is_finished(), "the suspect is before it");
        drop(running);
        let suspect = suspect.await.unwrap();
        assert!(suspect.is_alone() && !next.is_finished());
        gate.answered(&suspect, true, true);
        // The next suspect waits for the events that waited for this one.
        let second = tokio::spawn({
            let gate = gate.clone();
            async move {
                drop(suspect);
                gate.turn().await
            }
        });
        let next = next.await.unwrap();
        sleep(MOMENT).await;
        assert!(!next.is_alone() && !second.is_finished());
        drop(next);
        assert!(second.await.unwrap().is_alone());
    }

    #[tokio::test(start_paused = true)]
    async fn one_worker_at_a_time_has_a_turn_for_suspects_and_empty_turns_become_rarer() {
        let gate = gate();
        gate.answered(&shared(&gate).await, false, true);
        for wait in [1, 2, 4, 8, 16, 30, 30] {
            let turn = gate.turn().await;
            assert!(turn.is_alone(), "{wait}");
            assert!(gate.suspects_turn().is_none());
            gate.answered(&turn, false, true);
            drop(turn);
            advance(Duration::from_secs(wait) - MOMENT).await;
            drop(shared(&gate).await);
            advance(MOMENT).await;
        }
        let turn = gate.turn().await;
        gate.answered(&turn, true, true);
        drop(turn);
        let turn = gate.turn().await;
        assert!(turn.is_alone(), "at once after one that was leased");
        gate.answered(&turn, false, false);
        drop(turn);
        drop(timeout(MOMENT, shared(&gate)).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspect_does_not_wait_forever_for_others_that_never_end() {
        let gate = gate();
        let endless = shared(&gate).await;
        gate.answered(&endless, true, true);
        // Another endpoint of the process, with suspects of its own.
        let other = Arc::new(Gate::new(gate.process.clone()));
        other.answered(&endless, true, true);
        for wait in [30, 60, 120, 240, 480, 600, 600] {
            let wait = Duration::from_secs(wait);
            let began = Instant::now();
            let suspect = tokio::spawn({
                let gate = gate.clone();
                async move { shared(&gate).await }
            });
            sleep(MOMENT).await;
            assert!(timeout(wait - 2 * MOMENT, shared(&other)).await.is_err(), "{wait:?}");
            drop(shared(&other).await);
            drop(suspect.await.unwrap());
            assert!((wait..=wait + 3 * MOMENT).contains(&began.elapsed()), "{wait:?}: {:?}", began.elapsed());
            // The others go on.
            sleep(wait * 4 - 4 * MOMENT).await;
            for gate in [&gate, &other] {
                drop(timeout(MOMENT, shared(gate)).await.unwrap());
            }
            sleep(4 * MOMENT).await;
        }
        let suspect = tokio::spawn({
            let gate = gate.clone();
            async move { gate.turn().await }
        });
        sleep(MOMENT).await;
        drop(endless);
        let suspect = timeout(MOMENT, suspect).await.unwrap().unwrap();
        assert!(suspect.is_alone());
        drop(suspect);
        assert!(gate.turn().await.is_alone(), "at once after one that began");
        assert_eq!(
            gate.suspects_turn().unwrap().longest_wait(),
            FIRST_ALONE,
            "the waits begin with the first one again"
        );
    }
}
