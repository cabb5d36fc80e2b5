//! The accepted age of deliveries.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::time::Duration;

use crate::{ConfigError, Reason};

/// The signed time that determines the age of a delivery, and its accepted range.
///
/// A signature authenticates the sender of a delivery, but not when it was sent. A captured delivery can be replayed at
/// any later time, unless its age is checked or its event is remembered. Once the event expires from the store, only
/// the age check prevents a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// The time of the attempt, which the scheme signs. It is checked on the headers, before the body is read.
    AttemptTime {
        /// The maximum age of an attempt.
        max_age: Duration,
        /// The maximum time by which the sender's clock may be ahead.
        max_skew: Duration,
    },
    /// The time of the event in the signed body, which is checked after the body is verified, or in a signed header
    /// ([`timestamp_of_event`](crate::TimestampedHmac::timestamp_of_event)), which is checked before the body is read.
    /// `max_age` must cover the provider's last retry, because all attempts contain the same time.
    EventTime {
        /// The maximum age of an event.
        max_age: Duration,
        /// The maximum time by which the provider's clock may be ahead.
        max_skew: Duration,
    },
    /// The age is not checked. A captured delivery is accepted again once its event expires from the store.
    Unchecked,
}

impl Freshness {
    /// The tolerance of the Standard Webhooks reference libraries: five minutes in either direction.
    pub const STANDARD_WEBHOOKS: Freshness =
        Freshness::AttemptTime { max_age: Duration::from_secs(300), max_skew: Duration::from_secs(300) };

    /// Returns the length of the period in which the same bytes are accepted.
    pub(crate) fn window(self) -> Duration {
        match self {
            Freshness::AttemptTime { max_age, max_skew } => max_age.saturating_add(max_skew),
            Freshness::EventTime { max_age, max_skew } => max_age.saturating_add(max_skew),
            Freshness::Unchecked => Duration::ZERO,
        }
    }

    pub(crate) fn validate(self) -> Result<(), ConfigError> {
        if self.window() > LONGEST_WINDOW {
            return Err(ConfigError::new("freshness: max_age and max_skew together must not be longer than a year"));
        }
        Ok(())
    }

    /// Checks a signed time. Both limits are inclusive.
    pub(crate) fn check(self, signed: i64, now: i64) -> Result<(), Reason> {
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
    fn both_limits_are_inclusive() {
        let freshness = Freshness::AttemptTime { max_age: Duration::from_secs(300), max_skew: Duration::from_secs(60) };
        let now = 1_700_000_000;
        assert_eq!(freshness.check(now - 300, now), Ok(()));
        assert_eq!(freshness.check(now - 301, now), Err(Reason::Stale));
        assert_eq!(freshness.check(now + 60, now), Ok(()));
        assert_eq!(freshness.check(now + 61, now), Err(Reason::InTheFuture));
    }

    #[test]
    fn the_longest_window_is_a_leap_year() {
        let window = |seconds| {
            let max_age = LONGEST_WINDOW - Duration::from_secs(60) + Duration::from_secs(seconds);
            Freshness::EventTime { max_age, max_skew: Duration::from_secs(60) }.validate()
        };
        assert!(window(0).is_ok());
        assert_eq!(
            window(1).unwrap_err().to_string(),
            "freshness: max_age and max_skew together must not be longer than a year"
        );
    }

    #[test]
    fn extreme_timestamps_do_not_overflow() {
        for now in [i64::MIN, 0, i64::MAX] {
            for signed in [i64::MIN, -1, 0, 1, i64::MAX] {
                let verdict = Freshness::STANDARD_WEBHOOKS.check(signed, now);
                assert_eq!(verdict.is_ok(), signed.abs_diff(now) <= 300, "{signed} at {now}");
            }
        }
    }
}
