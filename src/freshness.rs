//! The age of a delivery that is still accepted.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::time::Duration;

use crate::{ConfigError, Reason};

/// Which signed time says how old a delivery is, and how old it may be.
///
/// A signature proves where bytes come from, not when. What was captured once can be sent again for ever unless its
/// age is judged, or its event remembered; after the time an event is remembered for, only the age is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// The scheme signs the time of each attempt: judged from the headers alone, before the body is read.
    AttemptTime {
        /// How old an attempt may be.
        max_age: Duration,
        /// How far ahead of ours the sender's clock may be.
        max_skew: Duration,
    },
    /// The body, which is signed, says when the event was made: judged once the body is verified. The age must cover the
    /// provider's last retry, which carries the same time as its first attempt.
    EventTime {
        /// How old an event may be.
        max_age: Duration,
        /// How far ahead of ours the provider's clock may be.
        max_skew: Duration,
    },
    /// No age is judged: a captured delivery is accepted again once its event is no longer remembered.
    Unchecked,
}

impl Freshness {
    /// Five minutes to either side, as the Standard Webhooks reference libraries have it.
    pub const STANDARD_WEBHOOKS: Freshness =
        Freshness::AttemptTime { max_age: Duration::from_secs(300), max_skew: Duration::from_secs(300) };

    /// The longest time between the first and the last moment at which the same bytes are accepted.
    pub(crate) fn window(self) -> Duration {
        match self {
            Freshness::AttemptTime { max_age, max_skew } => max_age.saturating_add(max_skew),
            Freshness::EventTime { max_age, max_skew } => max_age.saturating_add(max_skew),
            Freshness::Unchecked => Duration::ZERO,
        }
    }

    pub(crate) fn validate(self) -> Result<(), ConfigError> {
        if self.window() > LONGEST_WINDOW {
            return Err(ConfigError::new("a freshness window is longer than a year"));
        }
        Ok(())
    }

    /// Judges a signed time. What is exactly as old as allowed is accepted.
    pub(crate) fn judge(self, signed: i64, now: i64) -> Result<(), Reason> {
        let (max_age, max_skew) = match self {
            Freshness::AttemptTime { max_age, max_skew } => (max_age, max_skew),
            Freshness::EventTime { max_age, max_skew } => (max_age, max_skew),
            Freshness::Unchecked => return Ok(()),
        };
        if signed <= now {
            if now.abs_diff(signed) > max_age.as_secs() { Err(Reason::Stale) } else { Ok(()) }
        } else if signed.abs_diff(now) > max_skew.as_secs() {
            Err(Reason::InTheFuture)
        } else {
            Ok(())
        }
    }
}

const LONGEST_WINDOW: Duration = Duration::from_secs(366 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_edges_are_inside_and_the_next_second_is_not() {
        let freshness = Freshness::AttemptTime { max_age: Duration::from_secs(300), max_skew: Duration::from_secs(60) };
        let now = 1_700_000_000;
        assert_eq!(freshness.judge(now - 300, now), Ok(()));
        assert_eq!(freshness.judge(now - 301, now), Err(Reason::Stale));
        assert_eq!(freshness.judge(now + 60, now), Ok(()));
        assert_eq!(freshness.judge(now + 61, now), Err(Reason::InTheFuture));
    }

    #[test]
    fn a_window_may_be_a_leap_year_and_no_second_more() {
        let window = |seconds| {
            let max_age = LONGEST_WINDOW - Duration::from_secs(60) + Duration::from_secs(seconds);
            Freshness::EventTime { max_age, max_skew: Duration::from_secs(60) }.validate()
        };
        assert!(window(0).is_ok());
        assert_eq!(window(1).unwrap_err().to_string(), "a freshness window is longer than a year");
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        for now in [i64::MIN, 0, i64::MAX] {
            for signed in [i64::MIN, -1, 0, 1, i64::MAX] {
                let verdict = Freshness::STANDARD_WEBHOOKS.judge(signed, now);
                assert_eq!(verdict.is_ok(), signed.abs_diff(now) <= 300, "{signed} at {now}");
            }
        }
    }
}
