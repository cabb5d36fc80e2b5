//! The current time, and times as arguments.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::failure::Failure;

/// Returns the current time in Unix seconds.
pub(crate) fn now() -> Result<i64, Failure> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    since
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .ok_or_else(|| Failure::new("the system clock is set before 1970; correct it"))
}

/// Parses a time: Unix seconds, or RFC 3339.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(jiff::Timestamp::as_second)
        .map_err(|_| "must be Unix seconds or a time such as 2026-01-31T12:00:00Z".to_owned())
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
    fn a_time_is_unix_seconds_or_rfc_3339() {
        assert_eq!(parse("1767225600"), Ok(1_767_225_600));
        assert_eq!(parse("2026-01-01T01:00:00+01:00"), Ok(1_767_225_600));
        assert!(parse("yesterday").is_err() && parse("").is_err() && parse("1767225600000000000000").is_err());
    }

    #[test]
    fn durations_are_shown_in_the_largest_suitable_unit() {
        assert_eq!([119, 120, 7_199, 7_200, 172_800].map(in_words), ["119 s", "2 min", "119 min", "2 h", "2 days"]);
    }
}
