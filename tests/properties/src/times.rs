//! Durations, times and rates of the command line and of config files: any text is accepted, or rejected with one line.
//!
//! The input is the text.

use std::time::Duration;

use medhook::Time;
use medhook_cli::parsers;

pub(super) fn holds(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok((duration, shown)) = parsers::duration(text) {
        assert!(duration > Duration::ZERO && duration <= Duration::from_secs(3_653 * 86_400));
        assert_eq!(parsers::duration(&shown).map(|(duration, _)| duration), Ok(duration), "{text:?}");
    }
    match parsers::time(text) {
        Ok(seconds) => {
            let is_seconds = (0..100_000_000_000).contains(&seconds);
            assert!(!is_seconds || parsers::time(&format!("@{seconds}")) == Ok(seconds) || is_compact(seconds));
            let rfc_3339 = Time::from_unix(seconds);
            if rfc_3339.unix().is_some() && rfc_3339.text().contains('T') {
                assert_eq!(parsers::time(rfc_3339.text()), Ok(seconds), "{text:?}");
            }
        }
        Err(problem) => assert!(!problem.chars().any(char::is_control), "{problem:?}"),
    }
    let now = Duration::from_secs(1_767_225_600);
    match (parsers::since(text, now), parsers::duration(text)) {
        (Ok(since), Ok((before, _))) => assert_eq!(since, now.saturating_sub(before)),
        (Ok(since), Err(_)) => {
            assert_eq!(parsers::time(text).map(|time| since == Duration::from_secs(time.max(0) as u64)), Ok(true));
        }
        (Err(problem), Err(_)) => assert!(!problem.chars().any(char::is_control), "{problem:?}"),
        (Err(problem), Ok(_)) => panic!("{text:?}: {problem}"),
    }
    if let Ok(interval) = parsers::rate(text) {
        let (number, unit) = text.split_once('/').expect("a unit");
        let whole = if unit == "s" { Duration::from_secs(1) } else { Duration::from_secs(60) };
        assert_eq!(Ok(interval), number.parse().map(|number: u32| whole / number), "{text:?}");
        assert!(!interval.is_zero());
    }
}

/// Returns whether a number of seconds is written like a date without separators, which is rejected.
fn is_compact(seconds: i64) -> bool {
    parsers::time(&format!("@{seconds}")).is_err_and(|problem| problem.starts_with("has no separators"))
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "30s",
        "24h",
        "500ms",
        "3653d",
        "3654d",
        "0s",
        "18446744073709551615d",
        "1767225600",
        "-1",
        "1767225600123",
        "1.795891200123e+09",
        "1767225600,5",
        "@1767225600",
        "2026-01-31T12:00:00Z",
        "2026-01-31 13:00:00 +0100",
        "2026-12-31T23:59:60Z",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "[10/Oct/2000:13:55:36 -0700]",
        "Sat Jan 31 12:00:00 UTC 2026",
        "2026-01-31T12:00:00+01:00[Europe/Paris]",
        "Sat Jan 31 2026 12:00:00 GMT+0100 (CET)",
        "2026-01-31 12:00:00.5 +0000 UTC m=+0.1",
        "Jan 31 12:00:00",
        "20260131",
        "20260131120000",
        "2026-01-31",
        "\"2026-01-31T12:00:00Z\"",
        "9223372036854775807",
        "-9223372036854775808",
        "-9999-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999Z",
        "10/s",
        "1000000/m",
        "0/s",
        "1e11",
        "-0.5",
        "99999999999.9",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}
