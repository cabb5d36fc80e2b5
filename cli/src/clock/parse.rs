//! Parses a time in the forms in which logs, tools and programs write one.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::{rfc2822, strtime::BrokenDownTime, temporal};

/// Parses a time into Unix seconds, and drops its fraction. Fails for a time without a zone: it could be of any zone.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    let text = text.trim();
    let text = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(text);
    // Access logs put the time into brackets, and date(1) reads Unix seconds after `@`.
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let text = text.strip_prefix('@').unwrap_or(text);
    if let Some((date, time)) = compact(text) {
        return Err(format!("has no separators; if it is a date, write {date}{time}"));
    }
    if let Some(time) = number(text) {
        return time.ok_or_else(|| "is too large for a Unix time in nanoseconds".to_owned());
    }
    let zoned = with_offset(text);
    if let Some(time) = timestamp(&zoned) {
        return Ok(time.as_second());
    }
    if let Some(local) = local(text) {
        return Err(without_zone(local));
    }
    if FORMS_WITHOUT_YEAR.iter().any(|form| BrokenDownTime::parse(form, text).is_ok()) {
        return Err("has no year and no time zone; write it as 2026-01-31T12:00:00Z".to_owned());
    }
    if temporal::DateTimeParser::new().parse_date(text).is_ok() {
        return Err("has no time of day and no time zone; write it as 2026-01-31T12:00:00Z".to_owned());
    }
    Err(EXPECTED.to_owned())
}

const EXPECTED: &str = "must be Unix seconds, milliseconds, microseconds or nanoseconds, a time with a zone such as \
                        2026-01-31T12:00:00Z or `2026-01-31 13:00:00 +0100`, an HTTP date or a time of an access log";

/// Forms with an offset that neither RFC 3339 nor RFC 2822 describes.
const FORMS: [&str; 9] = [
    "%d/%b/%Y:%H:%M:%S%.f %z",    // access logs
    "%a %b %d %H:%M:%S%.f %z %Y", // date(1)
    "%a %b %d %I:%M:%S %p %z %Y", // date(1) with a 12-hour clock
    "%a %b %d %Y %H:%M:%S %z",    // JavaScript
    "%a %Y-%m-%d %H:%M:%S%.f %z", // journald
    "%A, %d-%b-%y %H:%M:%S %z",   // RFC 850
    "%a, %d-%b-%Y %H:%M:%S %z",   // cookies
    "%Y/%m/%d %H:%M:%S%.f %z",
    "%Y-%m-%d %H:%M:%S%.f %z",
];

/// Forms that have no zone.
const LOCAL_FORMS: [&str; 8] = [
    "%d/%b/%Y:%H:%M:%S%.f",
    "%a %b %d %H:%M:%S%.f %Y", // asctime(3)
    "%a %b %d %Y %H:%M:%S",
    "%A, %d-%b-%y %H:%M:%S",
    "%a, %d %b %Y %H:%M:%S",
    "%d %b %Y %H:%M:%S%.f",
    "%Y/%m/%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
];

/// The short forms of syslog and journald.
const FORMS_WITHOUT_YEAR: [&str; 2] = ["%b %d %H:%M:%S%.f", "%a %b %d %H:%M:%S%.f"];

/// Parses a number. Its unit follows from its magnitude: in each unit, the times from 1973 to 5138 are unambiguous.
/// The inner value is `None` if the number is too large.
fn number(text: &str) -> Option<Option<i64>> {
    if let Some(seconds) =
        text.parse::<f64>().ok().filter(|_| text.ends_with(|c: char| c.is_ascii_digit()) && text.contains(['e', 'E']))
    {
        // Some loggers write seconds as 1.795891200123e+09.
        return Some((0.0..1e11).contains(&seconds).then_some(seconds.floor() as i64));
    }
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once(['.', ',']).unwrap_or((digits, "0"));
    if [whole, fraction].iter().any(|part| part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    // Rounds down, also before 1970.
    let seconds = |count: i64, unit: i64| {
        let count = count.checked_mul(sign)?;
        let has_fraction = fraction.bytes().any(|digit| digit != b'0');
        let down = i64::from(sign < 0 && has_fraction && count.checked_rem(unit)? == 0);
        count.checked_div_euclid(unit)?.checked_sub(down)
    };
    Some(whole.parse::<i64>().ok().and_then(|count| match count {
        0..100_000_000_000 => seconds(count, 1),
        100_000_000_000..100_000_000_000_000 => seconds(count, 1_000),
        100_000_000_000_000..100_000_000_000_000_000 => seconds(count, 1_000_000),
        _ => seconds(count, 1_000_000_000),
    }))
}

/// Returns the date and the time of a number that is one without separators, such as 20260131 or 20260131120000.
fn compact(text: &str) -> Option<(String, String)> {
    let year = text.get(..4)?.parse().ok().filter(|year| (1970..2200).contains(year))?;
    let two = |at: usize| text.get(at..at.checked_add(2)?)?.parse::<i8>().ok();
    let date = Date::new(year, two(4)?, two(6)?).ok()?;
    match text.len() {
        8 => Some((date.to_string(), "T12:00:00Z with its time".to_owned())),
        14 => {
            let time = Time::new(two(8)?, two(10)?, two(12)?, 0).ok()?;
            Some((date.to_string(), format!("T{time}Z, or an offset such as +01:00 instead of Z")))
        }
        _ => None,
    }
}

/// Rewrites the zone at the end of a time as an offset: `UTC`, `GMT` and `Z`, an offset after a space, a name in
/// brackets or parentheses.
fn with_offset(text: &str) -> String {
    let text = text.split_once(" (").map_or(text, |(time, _)| time);
    // Go writes `+0000 UTC m=+0.1`.
    let text = text.split_once(" m=").map_or(text, |(time, _)| time);
    let has_offset = |text: &str| {
        let word = text.rsplit(' ').next().unwrap_or_default();
        word.starts_with(['+', '-']) && word.len() >= 3
    };
    let words: Vec<_> = text.split_whitespace().collect();
    let words = match words.split_last() {
        Some((zone, rest)) if rest.last().is_some_and(|word| has_offset(word)) && is_letters(zone) => rest.to_vec(),
        _ => words,
    };
    let words = words.iter().map(|word| match *word {
        "UTC" | "GMT" | "utc" | "gmt" | "Z" | "z" => "+0000".to_owned(),
        word => match word.strip_suffix("UTC").or_else(|| word.strip_suffix("GMT")) {
            // `12:00:00UTC`
            Some(time) => format!("{time}Z"),
            // `GMT+0100` of JavaScript, `UTC+1` is left alone.
            None => word.strip_prefix("GMT").filter(|offset| offset.len() == 5).unwrap_or(word).to_owned(),
        },
    });
    words.collect::<Vec<_>>().join(" ")
}

fn is_letters(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn timestamp(text: &str) -> Option<Timestamp> {
    let rfc_3339 = || {
        // An offset may follow a space.
        let joined = text.rsplit_once(' ').filter(|(_, offset)| offset.starts_with(['+', '-']));
        let joined = joined.map(|(time, offset)| format!("{time}{offset}"));
        text.parse().ok().or_else(|| joined?.parse().ok())
    };
    let others = || FORMS.iter().find_map(|form| BrokenDownTime::parse(form, text).ok()?.to_timestamp().ok());
    rfc_3339().or_else(|| rfc2822::DateTimeParser::new().parse_timestamp(text).ok()).or_else(others)
}

fn local(text: &str) -> Option<DateTime> {
    let time = LOCAL_FORMS.iter().find_map(|form| BrokenDownTime::parse(form, text).ok()?.to_datetime().ok());
    // A date alone would be read as midnight.
    time.or_else(|| text.parse().ok().filter(|_| text.contains(':')))
}

fn without_zone(local: DateTime) -> String {
    let local = local.with().subsec_nanosecond(0).build().unwrap_or(local);
    let utc = local.to_zoned(jiff::tz::TimeZone::UTC).map(|time| time.timestamp().as_second());
    let unix = utc.map(|unix| format!(" ({unix} in Unix seconds)")).unwrap_or_default();
    format!("has no time zone; write {local}Z if it is UTC{unix}, or an offset such as +01:00 instead of Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-28T18:40:00Z
    const UNIX: i64 = 1_795_891_200;

    #[test]
    fn a_time_may_have_any_common_form() {
        for text in [
            "1795891200",
            "1795891200.75",
            "@1795891200",
            "1795891200000",
            "1795891200000.5",
            "1795891200123456",
            "1795891200123456789",
            "2026-11-28T18:40:00Z",
            "2026-11-28t18:40:00z",
            "2026-11-28 18:40:00Z",
            "2026-11-28 18:40:00 Z",
            "2026-11-28T18:40:00.123Z",
            "2026-11-28 18:40:00,123Z",
            "2026-11-28T19:40:00+01:00",
            "2026-11-28T19:40:00+0100",
            "2026-11-28T19:40:00.5+0100",
            "2026-11-28 19:40:00.123+01",
            "2026-11-28 19:40:00 +0100",
            "2026-11-28 13:40:00 -05:00",
            "2026-11-28 18:40:00 UTC",
            "2026-11-28 18:40:00.123 UTC",
            "2026-11-28 18:40:00UTC",
            "2026-11-28T18:40:00 GMT",
            "2026-11-28 18:40:00.123456789 +0000 UTC m=+0.000012",
            "2026-11-28 19:40:00 +0100 CET",
            "2026-11-28T19:40:00+01:00[Europe/Madrid]",
            "2026/11/28 18:40:00 +0000",
            "Sat, 28 Nov 2026 18:40:00 GMT",
            "Sat, 28 Nov 2026 19:40:00 +0100",
            "28 Nov 2026 18:40:00 GMT",
            "Saturday, 28-Nov-26 18:40:00 GMT",
            "28/Nov/2026:18:40:00 +0000",
            "[28/Nov/2026:19:40:00 +0100]",
            "Sat Nov 28 18:40:00 UTC 2026",
            "Sat Nov 28 18:40:00 +0000 2026",
            "Sat Nov 28 06:40:00 PM UTC 2026",
            "Sat 2026-11-28 18:40:00 UTC",
            "Sat, 28-Nov-2026 18:40:00 GMT",
            "28/Nov/2026:18:40:00.123 +0000",
            "2026-11-28T18:40Z",
            "20261128T184000Z",
            "2026-11-28T19:40:00,123+0100",
            "1.795891200123e+09",
            "Sat Nov 28 2026 19:40:00 GMT+0100 (Central European Standard Time)",
            " 2026-11-28T18:40:00Z\n",
        ] {
            assert_eq!(parse(text), Ok(UNIX), "{text}");
        }
        assert_eq!(parse("0"), Ok(0));
        assert_eq!(parse("-86400"), Ok(-86_400));
        assert_eq!([parse("\"1767225600\""), parse("'2026-01-01T00:00:00Z'")], [Ok(1_767_225_600), Ok(1_767_225_600)]);
        assert!(parse("\"1767225600").is_err());
        assert_eq!(parse("-0.5"), Ok(-1));
        assert_eq!(parse("1969-12-31T23:59:59Z"), Ok(-1));
    }

    #[test]
    fn a_time_without_a_zone_is_not_guessed() {
        for text in [
            "2026-11-28T18:40:00",
            "2026-11-28 18:40:00",
            "2026-11-28 18:40:00,000",
            "2026/11/28 18:40:00",
            "28/Nov/2026:18:40:00",
            "Sat Nov 28 18:40:00 2026",
            "Sat, 28 Nov 2026 18:40:00",
            "28 Nov 2026 18:40:00",
            "[Sat Nov 28 18:40:00.123456 2026]",
            "28/Nov/2026:18:40:00.123",
        ] {
            let error = parse(text).unwrap_err();
            let wanted = "has no time zone; write 2026-11-28T18:40:00Z if it is UTC (1795891200 in Unix seconds)";
            assert!(error.starts_with(wanted), "{text}: {error}");
        }
        for (text, wanted) in [
            ("Nov 28 18:40:00", "has no year and no time zone"),
            ("Nov  8 18:40:00", "has no year and no time zone"),
            ("Sat Nov 28 18:40:00", "has no year and no time zone"),
            ("2026-11-28", "has no time of day and no time zone"),
            ("20261128", "has no separators; if it is a date, write 2026-11-28T12:00:00Z"),
            ("20261128184000", "has no separators; if it is a date, write 2026-11-28T18:40:00Z"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn any_other_text_is_rejected() {
        for text in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "yesterday",
            "18:40",
            "11/28/2026 6:40 PM",
            "2026-11-28 18:40:00 CET",
            "2026-02-30T00:00:00Z",
            "1767225600000000000000",
            "１７６７２２５６００",
            "Sun, 28 Nov 2026 18:40:00 GMT",
            "2026-11-28T25:00:00Z",
            "+1795891200",
            "NaN",
            "inf",
            "1e99",
            "-1e9",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let long = "9".repeat(100_000);
        assert!(parse(&long).is_err());
    }
}
