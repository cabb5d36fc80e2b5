//! The forms of a signed timestamp. Each time has one accepted text, and no accepted text begins with another one.

use crate::headers::{HeaderProblem, number};

/// The form of a signed timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TimestampUnit {
    /// An integer of Unix seconds.
    #[default]
    Seconds,
    /// An integer of Unix milliseconds.
    Milliseconds,
    /// A date and time with an offset, such as `2026-01-01T00:00:00Z`
    /// ([RFC 3339](https://www.rfc-editor.org/rfc/rfc3339)).
    #[serde(rename = "rfc-3339")]
    Rfc3339,
}

impl TimestampUnit {
    /// Parses a timestamp to whole Unix seconds, rounded down. With `counted`, an integer must have the number of
    /// digits that all times from 2001 to 2286 have: 10 of seconds, 13 of milliseconds.
    pub(super) fn parse(self, text: &[u8], counted: bool) -> Result<i64, HeaderProblem> {
        match self {
            TimestampUnit::Seconds if counted && text.len() != 10 => Err(HeaderProblem::NotTenDigits),
            TimestampUnit::Milliseconds if counted && text.len() != 13 => Err(HeaderProblem::NotThirteenDigits),
            TimestampUnit::Seconds => canonical_integer(text),
            TimestampUnit::Milliseconds => canonical_integer(text).map(|time| time.div_euclid(1_000)),
            TimestampUnit::Rfc3339 => rfc_3339(text).ok_or(HeaderProblem::NotRfc3339),
        }
    }

    /// Returns the problem of a time that is older than the freshness window.
    pub(super) fn old(self, time: i64) -> HeaderProblem {
        match self {
            // A number this small is a plausible time in seconds; in milliseconds, it would be before 1973.
            TimestampUnit::Milliseconds if time < EARLIEST_SECONDS => HeaderProblem::CoarserUnit,
            _ => HeaderProblem::Old,
        }
    }

    /// Writes a time.
    #[cfg(feature = "sign")]
    pub(crate) fn write(self, seconds: i64) -> String {
        match self {
            TimestampUnit::Seconds => seconds.to_string(),
            TimestampUnit::Milliseconds => seconds.saturating_mul(1_000).to_string(),
            TimestampUnit::Rfc3339 => {
                jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
            }
        }
    }
}

/// 100,000,000,000 milliseconds, in seconds.
const EARLIEST_SECONDS: i64 = 100_000_000;

/// Parses an integer of digits only, without a sign or a leading zero, so that each time has one text.
pub(in crate::scheme) fn canonical_integer(value: &[u8]) -> Result<i64, HeaderProblem> {
    let canonical = value.len() == 1 || value.first() != Some(&b'0');
    let integer = number(value).ok_or(HeaderProblem::NotInteger)?;
    let integer = i64::try_from(integer).map_err(|_| HeaderProblem::TooLarge)?;
    if canonical { Ok(integer) } else { Err(HeaderProblem::LeadingZero) }
}

/// Parses `YYYY-MM-DDThh:mm:ss`, a fraction of at most 9 digits or none, and `Z` or `±hh:mm`.
fn rfc_3339(text: &[u8]) -> Option<i64> {
    let (date, rest) = text.split_at_checked(b"0000-00-00T00:00:00".len())?;
    let shape = b"0000-00-00T00:00:00";
    let fits = |(byte, form): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form };
    if !date.iter().zip(shape).all(fits) {
        return None;
    }
    let fraction = match rest.split_first() {
        Some((b'.', digits)) => digits.iter().take_while(|byte| byte.is_ascii_digit()).count().checked_add(1)?,
        _ => 0,
    };
    let zone = rest.get(fraction..)?;
    let is_zone = zone == b"Z"
        || (zone.len() == 6
            && matches!(zone.first(), Some(b'+' | b'-'))
            && zone.iter().skip(1).zip(b"00:00").all(fits));
    if !is_zone || fraction == 1 || fraction > 10 {
        return None;
    }
    let time: jiff::Timestamp = str::from_utf8(text).ok()?.parse().ok()?;
    let second = time.as_second();
    // jiff rounds toward zero.
    Some(if time.subsec_nanosecond() < 0 { second.saturating_sub(1) } else { second })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_has_one_accepted_text() {
        assert_eq!(canonical_integer(b"1700000000"), Ok(1_700_000_000));
        assert_eq!(canonical_integer(b"0"), Ok(0));
        for text in ["", "+1700000000", "-1", "1e9", "1.5", " 1", "1:", "1/", "١"] {
            assert_eq!(canonical_integer(text.as_bytes()), Err(HeaderProblem::NotInteger), "{text}");
        }
        assert_eq!(canonical_integer(b"001700000000"), Err(HeaderProblem::LeadingZero));
        assert_eq!(canonical_integer(b"9223372036854775808"), Err(HeaderProblem::TooLarge));
    }

    #[test]
    fn milliseconds_are_rounded_down_to_seconds() {
        let parse = |text: &str| TimestampUnit::Milliseconds.parse(text.as_bytes(), false);
        assert_eq!(parse("1732780800999"), Ok(1_732_780_800));
        assert_eq!(parse("1732780800"), Ok(1_732_780));
        assert_eq!(TimestampUnit::Milliseconds.old(1_732_780), HeaderProblem::CoarserUnit);
        assert_eq!(TimestampUnit::Milliseconds.old(1_732_780_800), HeaderProblem::Old);
        assert_eq!(TimestampUnit::Milliseconds.old(99_999_999), HeaderProblem::CoarserUnit);
        assert_eq!(TimestampUnit::Milliseconds.old(100_000_000), HeaderProblem::Old);
        assert_eq!(TimestampUnit::Seconds.old(1_732_780), HeaderProblem::Old);
    }

    #[test]
    fn counted_digits_must_be_10_or_13() {
        let parse = |unit: TimestampUnit, text: &str| unit.parse(text.as_bytes(), true);
        assert_eq!(parse(TimestampUnit::Seconds, "1732780800"), Ok(1_732_780_800));
        assert_eq!(parse(TimestampUnit::Milliseconds, "1732780800123"), Ok(1_732_780_800));
        for text in ["173278080", "17327808001"] {
            assert_eq!(parse(TimestampUnit::Seconds, text), Err(HeaderProblem::NotTenDigits), "{text}");
        }
        for text in ["173278080012", "17327808001234"] {
            assert_eq!(parse(TimestampUnit::Milliseconds, text), Err(HeaderProblem::NotThirteenDigits), "{text}");
        }
    }

    #[test]
    fn rfc_3339_needs_seconds_and_an_offset() {
        let parse = |text: &str| TimestampUnit::Rfc3339.parse(text.as_bytes(), true);
        for (text, time) in [
            ("2024-11-28T08:00:00Z", 1_732_780_800),
            ("2024-11-28T09:00:00+01:00", 1_732_780_800),
            ("2024-11-28T08:00:00.999999999Z", 1_732_780_800),
            ("1969-12-31T23:59:59.5Z", -1),
        ] {
            assert_eq!(parse(text), Ok(time), "{text}");
        }
        for text in [
            "2024-11-28T08:00:00",
            "2024-11-28T08:00Z",
            "2024-11-28 08:00:00Z",
            "2024-11-28T08:00:00.Z",
            "2024-11-28T08:00:00+01",
            "2024-11-28T08:00:00+0100",
            "2024-11-28T08:00:00Z ",
            "2024-11-28T08:00:00+00:00[UTC]",
            "2024-13-28T08:00:00Z",
            "2024-11-28T08:00:00.0000000000Z",
            "1732780800",
            "",
        ] {
            assert_eq!(parse(text), Err(HeaderProblem::NotRfc3339), "{text}");
        }
    }
}
