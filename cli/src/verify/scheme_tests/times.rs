//! The signed time: its unit, its form, and the freshness step.

use medhook::{StandardWebhooks, TimestampUnit, TimestampedHmac};

use super::{KEY, NOW, Recorded};

fn unit(unit: TimestampUnit) -> TimestampedHmac {
    TimestampedHmac::headers("x-sig", "x-time").timestamp_unit(unit)
}

#[test]
fn a_time_in_another_unit_is_found_although_its_text_is_signed() {
    use TimestampUnit::{Milliseconds, Rfc3339, Seconds};
    for (configured, sender, code, step) in [
        (Milliseconds, Seconds, "timestamp_in_seconds", ("fresh", "stale")),
        (Seconds, Milliseconds, "timestamp_in_milliseconds", ("fresh", "in_the_future")),
        (Seconds, Rfc3339, "timestamp_as_rfc_3339", ("head", "malformed_header")),
        (Rfc3339, Seconds, "timestamp_in_seconds", ("head", "malformed_header")),
        (Rfc3339, Milliseconds, "timestamp_in_milliseconds", ("head", "malformed_header")),
    ] {
        let report = Recorded::genuine(unit(configured), KEY).signed_by(unit(sender), KEY).is_explained_by(&[code]);
        report.signature("valid").step(step.0, "failed", Some(step.1));
    }
    let counted = |unit| self::unit(unit).signed("{timestamp}{body}");
    let report = Recorded::genuine(counted(Seconds), KEY).signed_by(counted(Milliseconds), KEY);
    let report = report.is_explained_by(&["timestamp_in_milliseconds"]);
    report.signature("valid").step("head", "failed", Some("malformed_header"));
}

#[test]
fn the_age_is_that_of_the_signed_time() {
    for scheme in [
        unit(TimestampUnit::Seconds),
        unit(TimestampUnit::Milliseconds),
        unit(TimestampUnit::Rfc3339),
        TimestampedHmac::elements("x-sig", "t", "v1"),
    ] {
        let mut recorded = Recorded::genuine(scheme, KEY);
        recorded.is_verified().says("the body and the time of the attempt");
        recorded.at = NOW + 400;
        let report = recorded.report();
        report.signature("valid").step("fresh", "failed", Some("stale")).says("6 min");
        report.says("ahead, or the sender signs the time of the event instead of the attempt: set `timestamp_of = \"event\"` and `max_age`");
        assert_eq!(report.codes(false), ["stale_delivery"], "{}", report.0);
        recorded.at = NOW - 400;
        let report = recorded.report();
        report.signature("valid").step("fresh", "failed", Some("in_the_future"));
        assert_eq!(report.codes(false), ["clock_skew"], "{}", report.0);
    }
}

#[test]
fn the_configured_age_limits_the_time_of_an_event() {
    let stedi = StandardWebhooks::new().timestamp_of_event();
    let secret = "whsec_YSBtYWRlLXVwIGtleSBvZiB0aGlydHktdHdvIGJ5dGVz";
    let mut recorded = Recorded::genuine(stedi, secret).max_age(48 * 3600);
    recorded.at = NOW + 47 * 3600;
    recorded.is_verified().says("the body and the time of the event").says("47 h");
    recorded.at = NOW + 49 * 3600;
    let report = recorded.report();
    report.step("fresh", "failed", Some("stale"));
    assert!(!report.0.to_string().contains("timestamp_of"), "{}", report.0);
    let mut whoop = Recorded::genuine(TimestampedHmac::whoop(), KEY);
    whoop.at = NOW + 3600;
    whoop.is_verified();
}

#[test]
fn the_element_of_the_timestamp_must_occur_once() {
    let scheme = || TimestampedHmac::elements("x-sig", "t", "v1");
    let without = Recorded::genuine(scheme(), KEY);
    let without = without.changed("x-sig", |value| value.split_once(',').unwrap().1.to_owned());
    without.may_be("timestamp_element_missing", "x-sig does not have the configured element of the timestamp");
    let twice = Recorded::genuine(scheme(), KEY).changed("x-sig", |value| format!("{value},t={NOW}"));
    twice.report().step("head", "failed", Some("malformed_header"));
    let renamed = Recorded::genuine(scheme(), KEY).changed("x-sig", |value| value.replacen("t=", "ts=", 1));
    renamed.is_explained_by(&["other_time_signed", "timestamp_element_missing"]);
    let other = renamed.given("another made-up key of some length");
    other.may_be("timestamp_element_missing", "a time is found in `ts`: set `timestamp_element = \"ts\"`");
    let two = other.changed("x-sig", |value| format!("{value},sent={NOW}"));
    assert!(!two.report().0.to_string().contains("a time is found"));
    // The time is in a header of its own.
    let elsewhere = without.header("x-time", &NOW.to_string());
    elsewhere.is_explained_by(&["other_time_signed", "timestamp_element_missing"]);
    let missing = Recorded::genuine(unit(TimestampUnit::Seconds), KEY);
    let mut missing = missing;
    missing.headers.retain(|(name, _)| name != "x-time");
    missing.may_be("missing_header", "the header x-time is missing");
}
