//! The silence of an endpoint: how long no genuine delivery has arrived, and why others were rejected meanwhile.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Reason;

/// The times of an endpoint's genuine deliveries, against `expect_every`.
///
/// Times are milliseconds since the receiver was built, plus 1, so that 0 is the build itself.
pub(crate) struct Silence {
    expect_every: Duration,
    built: Instant,
    /// The time of the last genuine delivery; 0 before the first one.
    last: AtomicU64,
    /// The value of `last` when the current silence was reported, plus 1; 0 if none has been reported.
    reported: AtomicU64,
    rejections: Mutex<Rejections>,
}

/// The rejections since the genuine delivery of time `last`.
#[derive(Default)]
struct Rejections {
    last: u64,
    counts: Vec<(Reason, u64)>,
}

/// The state of an endpoint at the time of a check.
pub(crate) struct Checked {
    /// The time of the next check; `None` if it is too far ahead to be expressed.
    pub(crate) next: Option<Instant>,
    /// The silence to report.
    pub(crate) silent: Option<Silent>,
    /// The length of a reported silence that has ended.
    pub(crate) ended: Option<Duration>,
}

/// A silence of at least `expect_every`.
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "logged, but not counted"))]
pub(crate) struct Silent {
    /// The length, a multiple of `expect_every`.
    pub(crate) length: Duration,
    /// The time since the last genuine delivery; `None` if there was none.
    pub(crate) last: Option<Duration>,
    /// The number of deliveries that were rejected since.
    pub(crate) rejected: u64,
    /// The most frequent reason of these rejections.
    pub(crate) mostly: Option<Reason>,
}

impl Silence {
    pub(crate) fn new(expect_every: Duration) -> Self {
        Silence {
            expect_every,
            built: Instant::now(),
            last: AtomicU64::new(0),
            reported: AtomicU64::new(0),
            rejections: Mutex::default(),
        }
    }

    /// Records a genuine delivery. If it ends a silence that was reported, returns the length of the silence.
    #[inline]
    pub(crate) fn record_genuine(&self) -> Option<Duration> {
        let now = self.now();
        self.last.store(now, Ordering::Relaxed);
        // A check on another thread may miss this delivery and report a silence that it ended; the next one ends it.
        if self.reported.load(Ordering::Relaxed) == 0 { None } else { self.end(now) }
    }

    #[cold]
    fn end(&self, last: u64) -> Option<Duration> {
        let before = self.reported.swap(0, Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(last.saturating_sub(before.max(1))))
    }

    /// Counts a rejection, for the report about a silence.
    pub(crate) fn rejected(&self, reason: Reason) {
        self.with_rejections(self.last.load(Ordering::Relaxed), |counts| {
            match counts.iter_mut().find(|(counted, _)| *counted == reason) {
                Some((_, count)) => *count = count.saturating_add(1),
                None => counts.push((reason, 1)),
            }
        });
    }

    /// Passes the counts since the genuine delivery of time `last`, and forgets earlier ones.
    fn with_rejections<T>(&self, last: u64, then: impl FnOnce(&mut Vec<(Reason, u64)>) -> T) -> T {
        let mut rejections = self.rejections.lock().unwrap_or_else(PoisonError::into_inner);
        if rejections.last != last {
            *rejections = Rejections { last, counts: Vec::new() };
        }
        then(&mut rejections.counts)
    }

    /// Checks the time since the last genuine delivery. Called at the time of `next` of the check before, so that each
    /// multiple of `expect_every` is reported once.
    pub(crate) fn check(&self) -> Checked {
        let last = self.last.load(Ordering::Relaxed);
        let since = last.max(1);
        let elapsed = self.now().saturating_sub(since);
        let every = u64::try_from(self.expect_every.as_millis()).unwrap_or(u64::MAX).max(1);
        let periods = elapsed.checked_div(every).unwrap_or_default();
        let due = periods.checked_add(1).and_then(|next| every.checked_mul(next)?.checked_add(since)?.checked_sub(1));
        let next = due.and_then(|due| self.built.checked_add(Duration::from_millis(due)));
        if periods == 0 {
            return Checked { next, silent: None, ended: self.end(last) };
        }
        self.reported.store(last.saturating_add(1), Ordering::Relaxed);
        let (rejected, mostly) = self.with_rejections(last, |counts| {
            let all = counts.iter().map(|(_, count)| *count).fold(0_u64, u64::saturating_add);
            (all, counts.iter().max_by_key(|(_, count)| *count).map(|(reason, _)| *reason))
        });
        let silent = Silent {
            length: Duration::from_millis(every.saturating_mul(periods)),
            last: (last > 0).then(|| Duration::from_millis(elapsed)),
            rejected,
            mostly,
        };
        Checked { next, silent: Some(silent), ended: None }
    }

    #[cfg(test)]
    pub(crate) fn is_reported(&self) -> bool {
        self.reported.load(Ordering::Relaxed) != 0
    }

    fn now(&self) -> u64 {
        let elapsed = Instant::now().saturating_duration_since(self.built);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn each_multiple_is_due_once_and_counts_from_the_last_delivery() {
        let silence = Silence::new(HOUR);
        let due = |silence: &Silence| silence.check().next.map(|next| next - silence.built);
        assert_eq!(due(&silence), Some(HOUR));
        advance(HOUR / 2).await;
        assert_eq!(silence.record_genuine(), None);
        advance(HOUR / 2).await;
        let checked = silence.check();
        assert!(checked.silent.is_none() && checked.ended.is_none());
        assert_eq!(due(&silence), Some(HOUR + HOUR / 2));
        advance(HOUR / 2).await;
        let silent = silence.check().silent.unwrap();
        assert_eq!((silent.length, silent.last), (HOUR, Some(HOUR)));
        assert_eq!(due(&silence), Some(2 * HOUR + HOUR / 2));
        // The machine was suspended for five periods.
        advance(5 * HOUR).await;
        assert_eq!(silence.check().silent.unwrap().length, 6 * HOUR);
        assert_eq!(due(&silence), Some(7 * HOUR + HOUR / 2));
        assert_eq!(silence.record_genuine(), Some(6 * HOUR));
        assert_eq!(silence.record_genuine(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_check_ends_a_silence_that_was_reported_during_a_delivery() {
        let silence = Silence::new(HOUR);
        advance(HOUR).await;
        silence.reported.store(1, Ordering::Relaxed);
        silence.last.store(silence.now(), Ordering::Relaxed);
        let checked = silence.check();
        assert!(checked.silent.is_none());
        assert_eq!(checked.ended, Some(HOUR));
        assert_eq!(silence.check().ended, None);
    }

    #[tokio::test(start_paused = true)]
    async fn rejections_before_the_last_delivery_are_not_counted() {
        let silence = Silence::new(HOUR);
        silence.rejected(Reason::Stale);
        advance(HOUR).await;
        let silent = silence.check().silent.unwrap();
        assert_eq!((silent.rejected, silent.mostly), (1, Some(Reason::Stale)));
        silence.record_genuine();
        advance(HOUR).await;
        let silent = silence.check().silent.unwrap();
        assert_eq!((silent.rejected, silent.mostly), (0, None));
        for reason in [Reason::Stale, Reason::SignatureMismatch, Reason::SignatureMismatch, Reason::Stale] {
            silence.rejected(reason);
            silence.rejected(Reason::Method);
        }
        let silent = silence.check().silent.unwrap();
        assert_eq!((silent.rejected, silent.mostly), (8, Some(Reason::Method)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_too_far_ahead_is_never_due() {
        let silence = Silence::new(Duration::MAX);
        assert!(silence.check().next.is_none_or(|next| next > Instant::now() + HOUR * 24 * 365));
    }
}
