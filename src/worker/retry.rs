//! The policy for attempts that failed.

use std::time::Duration;

use super::random::random_within;
use crate::error::ConfigError;

/// The retry policy of a [`Worker`](crate::Worker): how long it waits after a failed attempt, and when it gives up.
///
/// The wait before attempt n + 1 is `initial · 2^(n-1)`, at most `max`, and between half of that and all of it at
/// random, so that events which failed together are not retried together. The default is 5 s, doubled up to 10 min, for
/// 72 h.
///
/// ```
/// use std::time::Duration;
///
/// use medhook::Retry;
///
/// let retry = Retry::exponential(Duration::from_secs(5), Duration::from_secs(600))
///     .max_age(Duration::from_secs(72 * 3600))
///     .max_attempts(20);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a policy has no effect until it is given to a worker"]
pub struct Retry {
    initial: Duration,
    max: Duration,
    max_age: Duration,
    max_attempts: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Retry::exponential(Duration::from_secs(5), Duration::from_secs(600))
    }
}

/// The decision about an event whose attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    RetryAfter(Duration),
    /// The event is dead, because of this limit.
    GiveUp(&'static str),
}

/// The shortest wait that the application can ask for, unless the first backoff is shorter. `Retry-After: 0` would
/// otherwise be a loop without a wait.
const SHORTEST: Duration = Duration::from_secs(1);

impl Retry {
    /// Creates a policy that waits for `initial` after the first failed attempt, and doubles that up to `max`.
    pub fn exponential(initial: Duration, max: Duration) -> Self {
        Retry { initial, max, max_age: Duration::from_secs(72 * 3600), max_attempts: 0 }
    }

    /// Sets for how long an event is retried. An event is dead if its attempt fails at this age, counted from when it
    /// was stored. The default is 72 h.
    ///
    /// A replayed event may be older than that, so the waits before its attempts count instead.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Sets after how many failed attempts an event is dead. The default, 0, is no limit.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = if self.initial.is_zero() {
            "the initial backoff of `retry` must be greater than 0"
        } else if self.max < self.initial {
            "the maximum backoff of `retry` must not be shorter than the initial one"
        } else if self.max_age.is_zero() {
            "max_age of `retry` must be greater than 0"
        } else {
            return Ok(());
        };
        Err(ConfigError::new(wrong))
    }

    /// Decides about an event after its attempt with this number failed. `asked` is the wait that the application asked
    /// for, if it did. `age` is `None` for a replayed event.
    pub(super) fn decide(&self, attempt: u32, age: Option<Duration>, asked: Option<Duration>) -> Decision {
        let attempt = attempt.max(1);
        if self.max_attempts > 0 && attempt >= self.max_attempts {
            return Decision::GiveUp("max_attempts");
        }
        if age.unwrap_or_else(|| self.waits_before(attempt)) >= self.max_age {
            return Decision::GiveUp("max_age");
        }
        Decision::RetryAfter(match asked {
            Some(asked) => asked.clamp(SHORTEST.min(self.initial), self.max),
            None => random_within(self.wait(attempt) / 2, self.wait(attempt)),
        })
    }

    /// Returns the longest wait after an attempt.
    fn wait(&self, attempt: u32) -> Duration {
        let doubled = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        self.initial.saturating_mul(doubled).min(self.max)
    }

    /// Returns the sum of the longest waits before an attempt.
    fn waits_before(&self, attempt: u32) -> Duration {
        // All waits after the first 32 doubled ones are equal.
        let (doubled, equal) = (attempt.min(33), attempt.saturating_sub(33));
        let sum = (1..doubled).map(|attempt| self.wait(attempt)).fold(Duration::ZERO, Duration::saturating_add);
        sum.saturating_add(self.wait(33).saturating_mul(equal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const FAR: Duration = Duration::from_secs(600);

    fn wait(decision: Decision) -> Duration {
        match decision {
            Decision::RetryAfter(wait) => wait,
            Decision::GiveUp(limit) => panic!("given up: {limit}"),
        }
    }

    #[test]
    fn each_wait_is_between_half_of_the_doubled_one_and_all_of_it() {
        let retry = Retry::exponential(5 * SECOND, FAR);
        for (attempt, longest) in [(0, 5), (1, 5), (2, 10), (3, 20), (7, 320), (8, 600), (33, 600), (u32::MAX, 600)] {
            let longest = longest * SECOND;
            let waits: Vec<_> = (0..200).map(|_| wait(retry.decide(attempt, Some(SECOND), None))).collect();
            assert!(waits.iter().all(|wait| (longest / 2..=longest).contains(wait)), "{attempt}: {waits:?}");
            let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            assert!(*most - *least > longest / 4, "{attempt}: spread from {least:?} to {most:?}");
        }
    }

    #[test]
    fn a_wait_that_the_application_asked_for_is_kept_within_bounds() {
        let retry = Retry::exponential(5 * SECOND, FAR);
        for (asked, expected) in [(Duration::ZERO, SECOND), (7 * SECOND, 7 * SECOND), (Duration::MAX, FAR)] {
            assert_eq!(wait(retry.decide(4, Some(SECOND), Some(asked))), expected);
        }
        let quick = Retry::exponential(SECOND / 10, FAR);
        assert_eq!(wait(quick.decide(4, Some(SECOND), Some(Duration::ZERO))), SECOND / 10);
    }

    #[test]
    fn an_event_is_given_up_at_the_last_attempt_or_at_its_age() {
        let retry = Retry::exponential(SECOND, FAR).max_attempts(8).max_age(100 * SECOND);
        wait(retry.decide(7, Some(SECOND), None));
        assert_eq!(retry.decide(8, Some(SECOND), None), Decision::GiveUp("max_attempts"));
        wait(retry.decide(1, Some(99 * SECOND), Some(SECOND)));
        assert_eq!(retry.decide(1, Some(100 * SECOND), Some(SECOND)), Decision::GiveUp("max_age"));
        wait(Retry::default().decide(u32::MAX, Some(SECOND), None));
    }

    #[test]
    fn the_default_policy_gives_an_event_up_after_three_days() {
        let days = 3 * 24 * 3600 * SECOND;
        wait(Retry::default().decide(1, Some(days - SECOND), None));
        assert_eq!(Retry::default().decide(1, Some(days), None), Decision::GiveUp("max_age"));
    }

    #[test]
    fn a_replayed_event_is_retried_for_as_long_as_a_new_one() {
        let retry = Retry::exponential(SECOND, 4 * SECOND).max_age(15 * SECOND);
        // 1 + 2 + 4 + 4 + 4 seconds.
        wait(retry.decide(5, None, None));
        assert_eq!(retry.decide(6, None, None), Decision::GiveUp("max_age"));
        assert_eq!(retry.waits_before(u32::MAX), 3 * SECOND + 4 * SECOND * (u32::MAX - 3));
        assert_eq!(Retry::exponential(Duration::MAX, Duration::MAX).waits_before(40), Duration::MAX);
    }

    #[test]
    fn a_policy_without_a_wait_is_rejected() {
        let message = |retry: Retry| retry.check().unwrap_err().to_string();
        Retry::default().check().unwrap();
        assert!(message(Retry::exponential(Duration::ZERO, FAR)).contains("initial backoff"));
        assert!(message(Retry::exponential(FAR, SECOND)).contains("maximum backoff"));
        assert!(message(Retry::default().max_age(Duration::ZERO)).contains("max_age"));
    }
}
