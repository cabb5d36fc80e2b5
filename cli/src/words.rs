//! Times, numbers and stored events in words, for the command line and the operator's page.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use medhook::inbox::{Entry, Hold, Status};

use crate::output::harmless;

/// Formats a time in UTC, with milliseconds.
pub(crate) fn utc(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| "unknown".to_owned(), |time| format!("{time:.3}"))
}

/// Formats a duration in its two largest units, such as `3 h 12 min`.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => two(minutes, "min", seconds % 60 * u64::from(minutes < 10), "s"),
        (0, _, _) => two(hours, "h", minutes, "min"),
        (1, _, _) => two(1, "day", hours, "h"),
        (_, _, _) => two(days, "days", hours, "h"),
    }
}

/// Formats the time that has passed since then, such as `3 h 12 min`; `0 s` for a later time.
pub(crate) fn age(time: SystemTime, now: SystemTime) -> String {
    span(now.duration_since(time).unwrap_or_default())
}

/// Formats a time relative to now: `3 h ago`, or `in 5 min`.
pub(crate) fn relative(time: SystemTime, now: SystemTime) -> String {
    match now.duration_since(time) {
        Ok(passed) => format!("{} ago", span(passed)),
        Err(ahead) => format!("in {}", span(ahead.duration())),
    }
}

/// Formats a number with separators.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a number of things: `1 event`, `2 events`.
pub(crate) fn number(number: u64, one: &str, several: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { several })
}

/// Formats a number of bytes.
pub(crate) fn bytes(number: u64) -> String {
    match number {
        0..10_000 => format!("{} B", grouped(number)),
        10_000..10_000_000 => format!("{} KiB", grouped(number / 1024)),
        _ => format!("{} MiB", grouped(number / (1024 * 1024))),
    }
}

/// Explains the code of a reason.
pub(crate) fn reason(code: &str) -> Option<String> {
    let explained = match code {
        "handler_failed" => "the application failed",
        "handler_panicked" => "the handler panicked",
        "handler_timeout" => "the application did not answer within handler_timeout",
        "given_up" => "the application said that it cannot handle the event",
        "unreachable" => "the application could not be reached",
        "canceled" => "the receiver was stopped during the attempt",
        "unknown_key" => "sealed under a key that is not in inbox_key",
        "other_provider" => "the endpoint had another provider when the event was stored",
        "damaged" => "the stored event was changed or damaged",
        "crashed" => "the receiver ended during the attempt, five times in a row",
        _ => {
            let status = code.strip_prefix("status_")?;
            let is_status = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
            return is_status.then(|| format!("the application answered {status}"));
        }
    };
    Some(explained.to_owned())
}

/// Returns what to do about an event, before the commands.
pub(crate) fn advice(entry: &Entry) -> Option<&'static str> {
    advice_on(entry.status, entry.reason.as_deref())
}

/// Returns what to do about an event with this status, whose last attempt failed for this reason.
pub(crate) fn advice_on(status: Status, reason: Option<&str>) -> Option<&'static str> {
    match (status, reason) {
        (Status::Waiting | Status::Dead, Some("unknown_key")) => Some("add the key to `inbox_key`, and restart"),
        (Status::Waiting | Status::Dead, Some("other_provider")) => {
            Some("give an endpoint of this name that provider again, or discard the event")
        }
        (Status::Dead, Some("damaged")) => Some("restore it from a backup, or ask the provider to send it again"),
        (Status::Dead, Some("crashed")) => Some("find out why the receiver ended before you replay it"),
        (Status::Waiting, Some("unreachable")) => Some("start the application; the event is then attempted by itself"),
        (Status::Dead, _) => Some("remove the cause, then replay it"),
        _ => None,
    }
}

/// Returns the reason of the last attempt: its code and in words.
pub(crate) fn why(entry: &Entry) -> Option<String> {
    let code = entry.reason.as_deref()?;
    let shown = harmless(code.as_bytes());
    Some(match reason(code) {
        Some(words) => format!("{shown}: {words}"),
        None => format!("{shown}: the reason that the application gave"),
    })
}

/// Returns when the event will be attempted again, or until when it is leased.
pub(crate) fn next(entry: &Entry, now: SystemTime) -> Option<String> {
    let due = entry.due?;
    match entry.status {
        Status::Waiting if due <= now => Some("due now".to_owned()),
        Status::Waiting => Some(format!("next attempt {}", relative(due, now))),
        Status::Processing if due <= now => Some(format!("its lease expired {}", relative(due, now))),
        Status::Processing => Some("being handled".to_owned()),
        _ => None,
    }
}

/// Returns the commands of `medhook inbox` that make sense for the event, each with its name.
pub(crate) fn steps(entry: &Entry) -> Vec<(&'static str, String)> {
    let id = entry.id;
    let (replay, discard) = (format!("replay {id}"), format!("discard {id} --because \"WHY\""));
    match entry.status {
        Status::Dead => vec![("replay", replay), ("discard", discard)],
        Status::Waiting => vec![("now", replay), ("discard", discard)],
        Status::Done if entry.has_body => vec![("again", replay)],
        _ => Vec::new(),
    }
}

/// Returns what a hold stops, or `None` if there is no hold.
pub(crate) fn held(hold: Hold) -> Option<String> {
    match hold {
        Hold::None => None,
        Hold::StoredBefore(time) => Some(format!("on hold: events stored before {} wait", utc(time))),
        _ => Some("on hold: nothing is handled".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn durations_have_at_most_two_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (599, "9 min 59 s"),
            (601, "10 min"),
            (3_599, "59 min"),
            (3_600, "1 h"),
            (3_661, "1 h 1 min"),
            (11_520, "3 h 12 min"),
            (86_399, "23 h 59 min"),
            (86_400, "1 day"),
            (90_000, "1 day 1 h"),
            (200_000, "2 days 7 h"),
            (86_400 * 400, "400 days"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn times_are_relative_to_now() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(relative(at(100), at(130)), "30 s ago");
        assert_eq!(relative(at(130), at(100)), "in 30 s");
        assert_eq!(age(at(130), at(100)), "0 s", "the clocks differ");
        assert_eq!(utc(at(1_795_891_200) + Duration::from_millis(7)), "2026-11-28T18:40:00.007Z");
        assert_eq!(utc(at(0)), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([number(1, "event", "events"), number(0, "event", "events")], ["1 event", "0 events"]);
        assert_eq!([9_999, 10_240, 20 << 20].map(bytes), ["9,999 B", "10 KiB", "20 MiB"]);
    }

    #[test]
    fn every_reason_of_the_library_is_explained() {
        for code in [
            "status_503",
            "handler_failed",
            "handler_panicked",
            "handler_timeout",
            "given_up",
            "unreachable",
            "canceled",
            "unknown_key",
            "other_provider",
            "damaged",
            "crashed",
        ] {
            assert!(reason(code).is_some(), "{code}");
        }
        for code in ["", "no_such_patient", "status_", "status_5xx", "status_5034"] {
            assert_eq!(reason(code), None, "{code}");
        }
    }
}
