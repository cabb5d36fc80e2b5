//! Limits the lines that clients can cause without a valid signature.
//!
//! The first rejection with each cause gets a line. The following ones are counted, and the count gets a line when the
//! burst ends, or every [`INTERVAL`] while it lasts. The size of the log therefore does not depend on how much is sent.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The rejections that were counted instead of reported. Its size is bounded by the number of causes.
#[derive(Debug)]
pub(super) struct Budget<C>(Mutex<HashMap<C, Burst>>);

impl<C> Default for Budget<C> {
    fn default() -> Self {
        Budget(Mutex::default())
    }
}

/// The rejections with one cause since the one that got a line.
#[derive(Debug)]
struct Burst {
    last: Instant,
    reported: Instant,
    /// Rejections since the last report.
    count: u64,
    /// Whether a pause was already taken for the end of the burst.
    paused: bool,
}

impl<C: Clone + Eq + Hash> Budget<C> {
    /// Records a rejection. Returns whether it gets its own line; otherwise it is counted.
    pub(super) fn spend(&self, cause: &C) -> bool {
        let now = Instant::now();
        let mut bursts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match bursts.get_mut(cause) {
            Some(burst) => {
                burst.last = now;
                burst.count += 1;
                false
            }
            None => {
                bursts.insert(cause.clone(), Burst { last: now, reported: now, count: 0, paused: false });
                true
            }
        }
    }

    /// Takes the counts that are due: those of bursts that have ended, and those last reported an [`INTERVAL`] ago. A
    /// burst that continues after a pause waits for the interval, so that pauses cause no additional lines.
    pub(super) fn due(&self) -> Vec<(C, u64)> {
        let now = Instant::now();
        let mut due = Vec::new();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|cause, burst| {
            let interval_over = now.duration_since(burst.reported) >= INTERVAL;
            let ended = !burst.paused && now.duration_since(burst.last) >= QUIET;
            if burst.count > 0 && (interval_over || ended) {
                due.push((cause.clone(), std::mem::take(&mut burst.count)));
                burst.reported = now;
                burst.paused = true;
                return true;
            }
            burst.count > 0 || !interval_over
        });
        due
    }

    /// Returns a count that could not be reported.
    pub(super) fn put_back(&self, cause: &C, count: u64) {
        let mut bursts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(burst) = bursts.get_mut(cause) {
            burst.count += count;
        }
    }

    /// Takes all counts, for the end of the process.
    pub(super) fn rest(&self) -> Vec<(C, u64)> {
        let bursts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        bursts.into_iter().map(|(cause, burst)| (cause, burst.count)).filter(|(_, count)| *count > 0).collect()
    }
}

/// The time between reports of a continuing burst. A rejection this long after the last line about its cause gets its
/// own line again.
const INTERVAL: Duration = Duration::from_secs(60);

/// The time without rejections after which a burst has ended.
const QUIET: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use medhook::Reason;
    use tokio::time::advance;

    use super::*;

    const ABSENT: Reason = Reason::MissingHeader;
    const FORGED: Reason = Reason::SignatureMismatch;

    #[tokio::test(start_paused = true)]
    async fn the_first_of_each_cause_gets_a_line_and_the_others_are_counted() {
        let budget = Budget::default();
        assert!(budget.spend(&ABSENT) && budget.spend(&FORGED));
        assert!((0..10_000).all(|_| !budget.spend(&ABSENT)));
        assert_eq!(budget.due(), [], "the burst goes on");
        advance(QUIET).await;
        assert_eq!(budget.due(), [(ABSENT, 10_000)], "reported without waiting for the next rejection");
        assert_eq!(budget.due(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_that_goes_on_is_reported_once_a_minute() {
        let budget = Budget::default();
        let (mut lines, mut counted) = (0, 0);
        for _ in 0..600 {
            lines += usize::from(budget.spend(&ABSENT));
            advance(Duration::from_secs(1)).await;
            for (_, count) in budget.due() {
                lines += 1;
                counted += count;
            }
        }
        assert_eq!(lines, 1 + 10, "in ten minutes");
        assert_eq!(counted + budget.rest().iter().map(|(_, count)| count).sum::<u64>() + 1, 600);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_cause_no_additional_lines() {
        let budget = Budget::default();
        let mut lines = 0;
        // An hour of rejections, each followed by a pause that could end the burst.
        for _ in 0..720 {
            lines += usize::from(budget.spend(&ABSENT));
            advance(QUIET).await;
            lines += budget.due().len();
        }
        assert!((60..=62).contains(&lines), "the first, the end of the first burst, and one a minute: {lines}");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_minute_without_rejections_the_next_gets_a_line_again() {
        let budget = Budget::default();
        assert!(budget.spend(&ABSENT));
        advance(INTERVAL - Duration::from_millis(1)).await;
        assert_eq!(budget.due(), []);
        assert!(!budget.spend(&ABSENT));
        advance(INTERVAL).await;
        assert_eq!(budget.due(), [(ABSENT, 1)]);
        budget.put_back(&ABSENT, 1);
        advance(INTERVAL).await;
        assert_eq!(budget.due(), [(ABSENT, 1)]);
        advance(INTERVAL).await;
        assert_eq!(budget.due(), []);
        assert!(budget.spend(&ABSENT));
    }

    #[tokio::test(start_paused = true)]
    async fn counts_that_are_not_due_are_reported_at_the_end() {
        let budget = Budget::default();
        assert!(budget.spend(&ABSENT) && budget.spend(&FORGED));
        assert!(!budget.spend(&FORGED));
        assert_eq!(budget.rest(), [(FORGED, 1)]);
        assert_eq!(budget.rest(), []);
    }
}
