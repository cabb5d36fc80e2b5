//! Random durations.

use std::time::Duration;

/// Returns a random duration between two, the lesser one if the system has no random numbers.
pub(super) fn random_within(least: Duration, most: Duration) -> Duration {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let span = micros(most.saturating_sub(least));
    let random = getrandom::u64().unwrap_or(0);
    let part = u128::from(random).saturating_mul(u128::from(span)).wrapping_shr(64);
    least.saturating_add(Duration::from_micros(u64::try_from(part).unwrap_or(span)))
}
