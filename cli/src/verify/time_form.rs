//! The forms in which times are written, and how they are described without showing the time.

use medhook::TimestampUnit;
use serde_json::value::RawValue;

/// The form of a time in a header or in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeForm {
    Seconds,
    /// Whole seconds with a sign or a leading zero.
    NotCanonical,
    Milliseconds,
    Microseconds,
    Nanoseconds,
    Fraction,
    Exponent,
    Rfc3339,
    NoZone,
    Rfc2822,
    Empty,
    Quoted,
    Hex,
    Unreadable,
    Null,
    /// A word that programs write for a time that is not set.
    Unset,
    Missing,
    Boolean,
    Object,
    List,
    NotJson,
    /// The form is one that receivers accept, but they cannot read the envelope of the body.
    Unread,
}

const QUOTES: [char; 2] = ['"', '\''];

const UNSET: [&str; 5] = ["null", "undefined", "None", "nil", "NaN"];

/// The longest text that is parsed as a time.
const LONGEST: usize = 64;

impl TimeForm {
    pub(super) fn of(text: &str) -> Self {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if text.is_empty() {
            TimeForm::Empty
        } else if text.len() > LONGEST {
            TimeForm::Unreadable
        } else if all_digits(digits) {
            match digits.len() {
                _ if digits.len() != text.len() || (digits.len() > 1 && digits.starts_with('0')) => {
                    TimeForm::NotCanonical
                }
                ..=11 => TimeForm::Seconds,
                12..=14 => TimeForm::Milliseconds,
                15..=17 => TimeForm::Microseconds,
                18..=20 => TimeForm::Nanoseconds,
                _ => TimeForm::Unreadable,
            }
        } else if digits.split_once('.').is_some_and(|(whole, part)| all_digits(whole) && all_digits(part)) {
            TimeForm::Fraction
        } else if digits.starts_with(|c: char| c.is_ascii_digit()) && digits.parse::<f64>().is_ok() {
            TimeForm::Exponent
        } else if text.parse::<jiff::Timestamp>().is_ok() {
            TimeForm::Rfc3339
        } else if text.parse::<jiff::civil::DateTime>().is_ok() {
            TimeForm::NoZone
        } else if jiff::fmt::rfc2822::parse(text).is_ok() {
            TimeForm::Rfc2822
        } else if text.starts_with(QUOTES) && text.ends_with(QUOTES) {
            TimeForm::Quoted
        } else if UNSET.contains(&text) {
            TimeForm::Unset
        } else if text.strip_prefix("0x").unwrap_or(text).bytes().all(|byte| byte.is_ascii_hexdigit()) {
            TimeForm::Hex
        } else {
            TimeForm::Unreadable
        }
    }

    /// Returns the form of a member of a JSON body, and its text if it is a string or a number.
    pub(super) fn of_json(value: Option<&RawValue>) -> (Self, String) {
        let Some(raw) = value.map(RawValue::get) else { return (TimeForm::Missing, String::new()) };
        let text = match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str(raw).unwrap_or_default(),
            Some(b'-' | b'0'..=b'9') => raw.to_owned(),
            Some(b'n') => return (TimeForm::Null, String::new()),
            Some(b'{') => return (TimeForm::Object, String::new()),
            Some(b'[') => return (TimeForm::List, String::new()),
            _ => return (TimeForm::Boolean, String::new()),
        };
        (TimeForm::of(&text), text)
    }

    /// Returns the time in Unix seconds. A time without a zone is read as UTC.
    pub(super) fn unix(self, text: &str) -> Option<i64> {
        match self {
            TimeForm::Seconds | TimeForm::NotCanonical => text.parse().ok(),
            TimeForm::Milliseconds => text.parse().ok().map(|time: i64| time / 1_000),
            TimeForm::Microseconds => text.parse().ok().map(|time: i64| time / 1_000_000),
            TimeForm::Nanoseconds => text.parse().ok().map(|time: i64| time / 1_000_000_000),
            TimeForm::Fraction => text.split_once('.')?.0.parse().ok(),
            TimeForm::Rfc3339 => text.parse().ok().map(jiff::Timestamp::as_second),
            TimeForm::NoZone => {
                let local: jiff::civil::DateTime = text.parse().ok()?;
                local.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_second())
            }
            TimeForm::Rfc2822 => jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp().as_second()),
            _ => None,
        }
    }

    /// Returns the code of the cause.
    pub(super) fn code(self) -> &'static str {
        match self {
            TimeForm::Seconds | TimeForm::Unreadable | TimeForm::Unread => "timestamp_unreadable",
            TimeForm::NotCanonical => "timestamp_not_canonical",
            TimeForm::Milliseconds => "timestamp_in_milliseconds",
            TimeForm::Microseconds => "timestamp_in_microseconds",
            TimeForm::Nanoseconds => "timestamp_in_nanoseconds",
            TimeForm::Fraction => "timestamp_with_fraction",
            TimeForm::Exponent => "timestamp_with_exponent",
            TimeForm::Rfc3339 => "timestamp_as_rfc_3339",
            TimeForm::NoZone => "timestamp_without_zone",
            TimeForm::Rfc2822 => "timestamp_as_rfc_2822",
            TimeForm::Empty => "timestamp_empty",
            TimeForm::Quoted => "timestamp_in_quotes",
            TimeForm::Hex => "timestamp_in_hex",
            TimeForm::Null | TimeForm::Unset => "timestamp_null",
            TimeForm::Missing => "timestamp_missing",
            TimeForm::Boolean | TimeForm::Object | TimeForm::List => "timestamp_of_other_type",
            TimeForm::NotJson => "body_not_json",
        }
    }

    /// Returns what is wrong with the field or header of this name.
    pub(super) fn describe(self, name: &str) -> String {
        let what = match self {
            TimeForm::Seconds | TimeForm::Unreadable => "is not a time that receivers can read",
            TimeForm::NotCanonical => "has a sign or a leading zero",
            TimeForm::Milliseconds => "looks like milliseconds",
            TimeForm::Microseconds => "looks like microseconds",
            TimeForm::Nanoseconds => "looks like nanoseconds",
            TimeForm::Fraction => "is a number with a fraction",
            TimeForm::Exponent => "is a number with an exponent",
            TimeForm::Rfc3339 => "looks like RFC 3339",
            TimeForm::NoZone => "looks like a date and time without a zone",
            TimeForm::Rfc2822 => "looks like RFC 2822",
            TimeForm::Empty => "is empty",
            TimeForm::Quoted => "is in quotation marks",
            TimeForm::Hex => "is hexadecimal",
            TimeForm::Null => "is null",
            TimeForm::Unset => "is a word such as null or undefined",
            TimeForm::Missing => "is missing",
            TimeForm::Boolean => "is true or false, not a string or a number",
            TimeForm::Object => "is an object, not a string or a number",
            TimeForm::List => "is a list, not a string or a number",
            TimeForm::Unread => "cannot be read, such as if a member of the body occurs twice",
            TimeForm::NotJson => return format!("the body is not JSON, so {name} cannot be read"),
        };
        format!("{name} {what}")
    }

    /// Returns the code and the description of a time in another unit than the configured one, which is read as a time
    /// long ago or far ahead, or rejected.
    pub(super) fn in_other_unit(self, unit: TimestampUnit, name: &str) -> Option<(&'static str, String)> {
        let is_other = match unit {
            TimestampUnit::Seconds => self.is_smaller_unit(),
            TimestampUnit::Milliseconds => matches!(self, TimeForm::Microseconds | TimeForm::Nanoseconds),
            _ => self.is_smaller_unit(),
        };
        match self {
            TimeForm::Seconds if unit != TimestampUnit::Seconds => {
                Some(("timestamp_in_seconds", format!("{name} looks like seconds")))
            }
            _ => is_other.then(|| (self.code(), self.describe(name))),
        }
    }

    /// Returns whether a text of this form is hardly anything but a time.
    pub(super) fn is_plausible(self, text: &str) -> bool {
        self.is_smaller_unit() || self == TimeForm::Rfc3339 || (self == TimeForm::Seconds && text.len() >= 9)
    }

    /// Returns whether the number is in a smaller unit than seconds.
    pub(super) fn is_smaller_unit(self) -> bool {
        matches!(self, TimeForm::Milliseconds | TimeForm::Microseconds | TimeForm::Nanoseconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_recognized_and_read() {
        for (text, form, unix) in [
            ("1767225600", TimeForm::Seconds, Some(1_767_225_600)),
            ("01767225600", TimeForm::NotCanonical, Some(1_767_225_600)),
            ("+1767225600", TimeForm::NotCanonical, Some(1_767_225_600)),
            ("1767225600000", TimeForm::Milliseconds, Some(1_767_225_600)),
            ("1767225600000000", TimeForm::Microseconds, Some(1_767_225_600)),
            ("1767225600000000000", TimeForm::Nanoseconds, Some(1_767_225_600)),
            ("1767225600.25", TimeForm::Fraction, Some(1_767_225_600)),
            ("1.7672256e9", TimeForm::Exponent, None),
            ("2026-01-01T00:00:00Z", TimeForm::Rfc3339, Some(1_767_225_600)),
            ("2026-01-01 01:00:00.5+01:00", TimeForm::Rfc3339, Some(1_767_225_600)),
            ("2026-01-01T00:00:00", TimeForm::NoZone, Some(1_767_225_600)),
            ("2026-01-01 00:00", TimeForm::NoZone, Some(1_767_225_600)),
            ("Thu, 01 Jan 2026 00:00:00 GMT", TimeForm::Rfc2822, Some(1_767_225_600)),
            ("1 Jan 2026 01:00:00 +0100", TimeForm::Rfc2822, Some(1_767_225_600)),
            ("", TimeForm::Empty, None),
            ("\"1767225600\"", TimeForm::Quoted, None),
            ("undefined", TimeForm::Unset, None),
            ("6955b900", TimeForm::Hex, None),
            ("0x6955b900", TimeForm::Hex, None),
            ("yesterday", TimeForm::Unreadable, None),
            ("inf", TimeForm::Unreadable, None),
            ("\u{661}", TimeForm::Unreadable, None),
            (&"9".repeat(1000), TimeForm::Unreadable, None),
        ] {
            assert_eq!(TimeForm::of(text), form, "{text}");
            assert_eq!(form.unix(text), unix, "{text}");
        }
    }

    #[test]
    fn the_form_of_a_member_is_that_of_its_text() {
        for (json, form) in [
            ("1767225600.5", TimeForm::Fraction),
            ("1.7e9", TimeForm::Exponent),
            ("\"1767225600000\"", TimeForm::Milliseconds),
            ("\"\"", TimeForm::Empty),
            ("null", TimeForm::Null),
            ("true", TimeForm::Boolean),
            ("{}", TimeForm::Object),
            ("[1]", TimeForm::List),
        ] {
            assert_eq!(TimeForm::of_json(Some(serde_json::from_str(json).unwrap())).0, form, "{json}");
        }
        assert_eq!(TimeForm::of_json(None).0, TimeForm::Missing);
    }
}
