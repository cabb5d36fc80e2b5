//! The current time, and times as arguments.

mod parse;

use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use self::parse::parse;
use crate::failure::Failure;

/// Returns the current time in Unix seconds.
pub(crate) fn now() -> Result<i64, Failure> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    since
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .ok_or_else(|| Failure::new("the system clock is set before 1970; correct it"))
}

/// Formats a duration in seconds, minutes, hours or days.
pub(crate) fn in_words(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_in_the_largest_suitable_unit() {
        assert_eq!([119, 120, 7_199, 7_200, 172_800].map(in_words), ["119 s", "2 min", "119 min", "2 h", "2 days"]);
    }
}
