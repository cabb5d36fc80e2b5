//! Headers and times that are not accepted: the report says which, and how they are written.

use medhook::testing::Signing;
use medhook_tests::program::Ran;

use super::{KINDS, NOW, OTHER, Recording, SECRET};

/// Returns a delivery by Standard Webhooks whose signature covers this id and this timestamp.
fn fasten(id: &str, timestamp: &str) -> Recording {
    let mut recording = Recording::of("fasten", "webhook.test");
    recording.headers = Signing::standard_webhooks().headers(SECRET, id, timestamp, &recording.body).unwrap();
    recording
}

fn healthsync(created_at: &str) -> Recording {
    let mut recording = Recording::of("healthsync", "document.uploaded");
    let time = if created_at.is_empty() { String::new() } else { format!(",\"created_at\":{created_at}") };
    recording.body = format!("{{\"type\":\"document.uploaded\",\"id\":\"1\"{time}}}").into_bytes();
    recording.signed(SECRET)
}

/// Asserts that the signature is valid, and that this cause, and no other, is shown without the value.
fn is_rejected_for(recording: &Recording, code: &str, text: &str, value: &str) {
    assert_eq!(recording.is_explained_by(&[code]), "valid", "{code}");
    recording.has_cause(code, text);
    let stdout = recording.examine(&[]).stdout;
    assert!(stdout.contains("the signature itself is valid"), "{stdout}");
    assert!(!stdout.contains("no known cause") && !stdout.contains("combinations"), "{stdout}");
    let step = stdout.lines().find(|line| line.contains("FAILED")).unwrap();
    assert!(step.contains(text), "{step}");
    assert!(value.is_empty() || !stdout.contains(value), "{stdout}");
}

#[test]
fn a_malformed_header_is_described_and_the_signature_is_checked_anyway() {
    for (timestamp, code, text) in [
        ("1767225600.25", "timestamp_with_fraction", "webhook-timestamp is a number with a fraction"),
        ("1.7672256e9", "timestamp_with_exponent", "webhook-timestamp is a number with an exponent"),
        ("2026-01-01T00:00:00Z", "timestamp_as_rfc_3339", "webhook-timestamp looks like RFC 3339"),
        ("2026-01-01 00:00:00", "timestamp_without_zone", "looks like a date and time without a zone"),
        ("Thu, 01 Jan 2026 00:00:00 GMT", "timestamp_as_rfc_2822", "webhook-timestamp looks like RFC 2822"),
        ("+1767225600", "timestamp_not_canonical", "webhook-timestamp has a sign or a leading zero"),
        ("this morning", "timestamp_unreadable", "webhook-timestamp is not a time"),
        ("\"1767225600\"", "timestamp_in_quotes", "webhook-timestamp is in quotation marks"),
        ("undefined", "timestamp_null", "webhook-timestamp is a word such as null or undefined"),
        ("6955b900", "timestamp_in_hex", "webhook-timestamp is hexadecimal"),
    ] {
        let shown = if timestamp == "undefined" { "" } else { timestamp };
        is_rejected_for(&fasten("msg_1", timestamp), code, text, shown);
    }
    is_rejected_for(
        &fasten("msg.cannot-be-shown", NOW),
        "malformed_id",
        "webhook-id contains a dot",
        "cannot-be-shown",
    );
    is_rejected_for(&fasten("a cannot-be-shown", NOW), "malformed_id", "is not visible ASCII", "cannot-be-shown");

    let encoded = Recording::of("healthsync", "document.uploaded").header("content-encoding", "gzip");
    is_rejected_for(&encoded, "content_encoding_rejected", "content-encoding says that the body is compressed", "gzip");
    let mut long = Recording::of("healthsync", "document.uploaded");
    long.body = vec![b' '; 1024 * 1024 + 1];
    is_rejected_for(&long.signed(SECRET), "body_too_large", "the body is longer than body_limit, by default 1 MiB", "");
}

#[test]
fn the_form_of_a_signature_is_described_without_its_value() {
    let with = |provider, kind, value: &str| {
        let mut recording = Recording::of(provider, kind);
        recording.value(|_| value.to_owned());
        recording
    };
    for (value, text) in [
        ("sha1=0123456789012345678901234567890123456789", "x-healthsync-signature does not begin with `sha256=`"),
        ("SHA256=00", "does not begin with `sha256=`, which is written in a different case"),
        (
            "sha256=0123456789012345678901234567890123456789",
            "has 40 characters after `sha256=` where 64 hexadecimal digits",
        ),
        ("sha256=0123456789012345678901234567890123456789", "as many as HMAC-SHA1 has"),
        ("sha256=", "has 0 characters after `sha256=`"),
    ] {
        let recording = with("healthsync", "document.uploaded", value);
        recording.has_possible_cause("malformed_signature", text);
        assert_eq!(recording.report(&[])["signature"], "unchecked", "{value}");
    }
    let not_hex = with("healthsync", "document.uploaded", &format!("sha256={}", "z".repeat(64)));
    not_hex.has_possible_cause("malformed_signature", "is not hexadecimal after `sha256=`");
    let short = with("fasten", "webhook.test", "v1,AAAA");
    short.has_possible_cause("malformed_signature", "has 4 characters after `v1,` where 44 characters of base64");
    short.has_possible_cause("malformed_signature", "too short: it may be truncated");
    let encoded = with("healthsync", "document.uploaded", "sha256%3D0123");
    encoded.has_possible_cause("malformed_signature", "does not begin with `sha256=`: it is percent-encoded");
    with("fasten", "webhook.test", "v2,AAAA")
        .has_possible_cause("malformed_signature", "no signature that begins with");
    with("fasten", "webhook.test", "").has_possible_cause("empty_header", "the header webhook-signature is empty");
}

#[test]
fn a_time_in_the_body_that_is_not_accepted_is_described() {
    for (created_at, code, text) in [
        ("", "timestamp_missing", "created_at is missing"),
        ("null", "timestamp_null", "created_at is null"),
        ("1767225600.5", "timestamp_with_fraction", "created_at is a number with a fraction"),
        ("1.7672256e9", "timestamp_with_exponent", "created_at is a number with an exponent"),
        ("1767225600000", "timestamp_in_milliseconds", "created_at looks like milliseconds"),
        ("\"1767225600000000\"", "timestamp_in_microseconds", "created_at looks like microseconds"),
        ("1767225600000000000", "timestamp_in_nanoseconds", "created_at looks like nanoseconds"),
        ("\"Thu, 01 Jan 2026 00:00:00 +0000\"", "timestamp_as_rfc_2822", "created_at looks like RFC 2822"),
        ("\"yesterday at noon\"", "timestamp_unreadable", "created_at is not a time"),
        ("\"\"", "timestamp_empty", "created_at is empty"),
        ("{}", "timestamp_of_other_type", "created_at is an object"),
        ("[]", "timestamp_of_other_type", "created_at is a list"),
        ("true", "timestamp_of_other_type", "created_at is true or false"),
    ] {
        let value = created_at.trim_matches('"');
        is_rejected_for(&healthsync(created_at), code, text, if value.len() > 5 { value } else { "" });
    }
    // The two seconds of difference are those of the recording, not of the clock.
    let old = healthsync("1600000000000");
    old.has_possible_cause("timestamp_in_milliseconds", "created_at looks like milliseconds");
}

#[test]
fn the_sign_of_a_clock_skew_is_shown() {
    let ahead = ("clock_skew", "webhook-timestamp is 10 min after the time of arrival");
    fasten("msg_1", "1767226200").has_possible_cause(ahead.0, ahead.1);
    fasten("msg_1", "1767226200")
        .has_possible_cause(ahead.0, "the sender's clock is ahead by 10 min, or this machine's");
    fasten("msg_1", "1767225000").has_possible_cause("stale_delivery", "webhook-timestamp is 10 min before");
    fasten("msg_1", "1767225000").has_possible_cause("stale_delivery", "the sender's clock is behind by 10 min");
    let forged = fasten("msg_1", "1767226200").signed_elsewhere("1767226200");
    forged.has_possible_cause("timestamp_outside_window", "webhook-timestamp is 10 min after the time of arrival");
    assert!(forged.examine(&[]).stdout.contains("start with the possible causes above"));
    let stdout = fasten("msg_1", "1767226200").examine(&[]).stdout;
    assert!(!stdout.contains("local time"), "{stdout}");
}

#[test]
fn a_local_time_is_a_possible_cause() {
    let text = "webhook-timestamp is off by 5 h, which may be the zone of the sender";
    fasten("msg_1", "1767243605").has_possible_cause("timestamp_in_local_time", text);
    // Whole hours are those of a zone, not of a clock.
    for (time, off) in [("1767243605", "5 h"), ("1767216600", "2 h 30 min"), ("1767222000", "1 h")] {
        let report = fasten("msg_1", time).report(&[]);
        assert_eq!(report["causes"][0]["code"], "timestamp_in_local_time", "{report}");
        let text = report.to_string();
        assert!(text.contains(&format!("is off by {off}, which may be")) && !text.contains("clock"), "{report}");
    }
    let local = healthsync("\"2026-01-01T05:30:00\"");
    local.has_possible_cause("timestamp_without_zone", "created_at has no zone, so it is read as UTC");
    let zoned = healthsync("\"2026-01-01T11:07:00Z\"").examine(&[]).stdout;
    assert!(zoned.contains("in_the_future") && !zoned.contains("zone"), "{zoned}");
}

#[test]
fn the_state_of_the_signature_is_known_if_a_header_is_not_accepted() {
    for (provider, kind) in KINDS.into_iter().filter(|(provider, _)| *provider != "mediquo") {
        let encoded = |secret| Recording::of(provider, kind).signed(secret).header("content-encoding", "br");
        assert_eq!(encoded(SECRET).report(&[])["signature"], "valid", "{provider}");
        assert_eq!(encoded(OTHER).report(&[])["signature"], "invalid", "{provider}");
    }
}

#[test]
fn wrong_times_are_found() {
    let fasten = || Recording::of("fasten", "webhook.test");
    fasten().is_explained(
        &["--at", "1767229200"],
        ("stale_delivery", false),
        "before the time of arrival (--at, or that of the capture, or now)",
    );
    let Ran { code, stdout, .. } = fasten().examine(&["--at", "1767229200"]);
    assert_eq!(code, Some(1));
    assert!(stdout.contains("fresh     FAILED     stale: 60 min old"), "{stdout}");
    assert!(stdout.contains("verify    passed"), "{stdout}");
    assert!(fasten().examine(&["--at", "1767222000"]).stdout.contains("in_the_future: 60 min ahead"));
    assert!(fasten().examine(&["--at", "2026-01-01T00:04:00Z"]).stdout.contains("fresh     passed     4 min old"));

    let mut millis = fasten();
    let headers = Signing::standard_webhooks().headers(SECRET, "msg_1", "1767225600000", &millis.body).unwrap();
    millis.headers = headers;
    millis.has_cause("timestamp_in_milliseconds", "webhook-timestamp looks like milliseconds");

    let healthsync = Recording::of("healthsync", "document.uploaded");
    let stdout = healthsync.examine(&["--at", "1767312000"]).stdout;
    assert!(stdout.contains("fresh     FAILED     stale: 24 h old"), "{stdout}");
}

impl Recording {
    /// Signs with another secret, with this timestamp.
    fn signed_elsewhere(mut self, timestamp: &str) -> Self {
        self.headers = Signing::standard_webhooks().headers(OTHER, "msg_1", timestamp, &self.body).unwrap();
        self
    }
}
