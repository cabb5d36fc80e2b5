//! Mistakes of what is signed.

use medhook::{HmacSha256Body, TimestampUnit, TimestampedHmac};

use super::{KEY, NOW, Recorded};

fn plain() -> TimestampedHmac {
    TimestampedHmac::headers("x-sig", "x-time")
}

fn slack() -> TimestampedHmac {
    plain().prefix("v0=").signed("v0:{timestamp}:{body}")
}

fn with_id() -> TimestampedHmac {
    plain().id_header("x-id").signed("{id}.{timestamp}.{body}")
}

#[test]
fn genuine_deliveries_have_no_cause() {
    for scheme in [
        plain(),
        slack(),
        with_id(),
        plain().sha512(),
        plain().signed("{timestamp}{body}"),
        plain().signed("{timestamp}.{body_base64}"),
        plain().timestamp_unit(TimestampUnit::Milliseconds),
        plain().timestamp_unit(TimestampUnit::Rfc3339),
        TimestampedHmac::elements("x-sig", "t", "v1"),
        TimestampedHmac::elements("x-sig", "t", ""),
        TimestampedHmac::terra(),
        TimestampedHmac::whoop(),
        TimestampedHmac::oura(),
    ] {
        Recorded::genuine(scheme, KEY).is_verified().signature("valid");
    }
}

#[test]
fn every_other_template_is_found() {
    let signed = |template: &str| plain().signed(template);
    for (code, configured, sender) in [
        ("other_separator_signed", plain(), signed("{timestamp}{body}")),
        ("other_separator_signed", plain(), signed("{timestamp}:{body}")),
        ("other_separator_signed", plain(), signed("{timestamp}\n{body}")),
        ("other_separator_signed", signed("{timestamp}{body}"), plain()),
        ("other_separator_signed", slack(), slack().signed("v0.{timestamp}.{body}")),
        ("text_not_signed", slack(), slack().signed("{timestamp}:{body}")),
        ("text_signed", signed("{timestamp}:{body}"), signed("v0:{timestamp}:{body}")),
        ("base64_body_signed", plain(), signed("{timestamp}.{body_base64}")),
        ("raw_body_signed", signed("{timestamp}.{body_base64}"), plain()),
        ("parts_in_other_order", plain(), signed("{body}.{timestamp}")),
        ("parts_in_other_order", with_id(), with_id().signed("{timestamp}.{id}.{body}")),
        ("id_signed", plain(), with_id()),
    ] {
        let report = Recorded::genuine(configured.clone(), KEY).signed_by(sender, KEY);
        report.is_explained_by(&[code]).signature("invalid").step("verify", "failed", Some("signature_mismatch"));
        // The body has a mistake, too.
        let mut longer = report.clone();
        longer.body.push(b'\n');
        longer.is_explained_by(&[code, "trailing_line_break_added"]);
    }
    let report = Recorded::genuine(plain(), KEY).signed_by(signed("{timestamp}:{body}"), KEY).report();
    report.says("the sender signs `{timestamp}:{body}`; set `signed = \"{timestamp}:{body}\"`");
    let id = Recorded::genuine(plain(), KEY).signed_by(with_id(), KEY).report();
    id.says("; set `signed = \"{id}.{timestamp}.{body}\"` and `id_header = \"x-id\"`");
}

#[test]
fn a_part_that_is_not_signed_is_found() {
    let bare = |scheme: TimestampedHmac, sender: &TimestampedHmac| {
        let genuine = Recorded::genuine(scheme.clone(), KEY);
        let signed = genuine.clone().signed_by(sender.clone(), KEY).value("x-sig");
        genuine.header("x-sig", &signed)
    };
    let id = bare(with_id(), &plain()).is_explained_by(&["id_not_signed"]);
    id.says("; set `signed = \"{timestamp}.{body}\"`, and remove `id_header`");
    let by_body = Recorded::genuine(HmacSha256Body::new("x-sig"), KEY).value("x-sig");
    Recorded::genuine(plain(), KEY)
        .header("x-sig", &by_body)
        .is_explained_by(&["only_body_signed"])
        .says("only the body is signed: the sender signs `{body}`; set `scheme = \"hmac-sha256\"`, without the keys");
    let elements = Recorded::genuine(TimestampedHmac::elements("x-sig", "t", "v1"), KEY);
    let elements = elements.header("x-sig", &format!("t={NOW},v1={by_body}")).is_explained_by(&["only_body_signed"]);
    elements.says(
        "set `scheme = \"hmac-sha256\"` with `prefix = \"v1=\"` and `separator = \",\"` instead of `timestamp_element`",
    );
    let by_id = Recorded::genuine(HmacSha256Body::new("x-sig"), KEY);
    let mut message = by_id.clone();
    message.body = [b"msg-1.".as_slice(), &by_id.body].concat();
    let by_id = message.signed_by(HmacSha256Body::new("x-sig"), KEY).value("x-sig");
    Recorded::genuine(with_id(), KEY)
        .header("x-sig", &by_id)
        .is_explained_by(&["time_not_signed"])
        .says("no scheme supports");
}

#[test]
fn more_than_the_body_is_found() {
    let body = || Recorded::genuine(HmacSha256Body::new("x-sig"), KEY);
    body().is_verified();
    body().signed_by(plain(), KEY).is_explained_by(&["time_signed"]).says(
        "set `scheme = \"timestamped-hmac\"`, `signed = \"{timestamp}.{body}\"` and `timestamp_header = \"x-time\"`",
    );
    let elements = body().signed_by(TimestampedHmac::elements("x-sig", "t", "v1"), KEY).report();
    elements.says("`timestamp_element = \"t\"`");
    let slack = plain().signed("v0:{timestamp}:{body}");
    body().signed_by(slack, KEY).is_explained_by(&["time_signed"]).says("`v0:{timestamp}:{body}`");
    let text = medhook::StandardWebhooks::new().secret_encoding(medhook::SecretEncoding::Text);
    let standard = body().signed_by(text, KEY);
    let codes = ["id_and_time_signed", "signature_in_other_header", "text_around_signature"];
    assert_eq!(&standard.report().codes(true)[..2], &codes[..2]);
}

#[test]
fn another_time_is_found() {
    let genuine = || Recorded::genuine(plain(), KEY);
    let other = genuine().header("x-time", &(NOW - 7).to_string()).header("x-sent-at", &NOW.to_string());
    let other = other.is_explained_by(&["other_time_signed"]);
    other.says("that of the header x-sent-at, not of x-time: set `timestamp_header = \"x-sent-at\"`");
    // The header has milliseconds, but seconds are signed, and the other way around.
    let rewritten = genuine().header("x-time", &format!("{NOW}000"));
    let report = rewritten.is_explained_by(&["time_rewritten"]);
    report.says("the signed time is in another form than x-time, which is not supported");
    let milliseconds = plain().timestamp_unit(TimestampUnit::Milliseconds);
    let rewritten = Recorded::genuine(milliseconds, KEY).header("x-time", &NOW.to_string());
    assert_eq!(rewritten.report().codes(true)[..1], ["time_rewritten"]);
    let iso = plain().timestamp_unit(TimestampUnit::Rfc3339);
    let rewritten = Recorded::genuine(iso, KEY).header("x-time", &NOW.to_string());
    assert_eq!(rewritten.report().codes(true)[..1], ["time_rewritten"]);
}

#[test]
fn an_altered_delivery_has_no_cause() {
    for scheme in [plain(), slack(), with_id(), plain().sha512(), TimestampedHmac::elements("x-sig", "t", "v1")] {
        let mut altered = Recorded::genuine(scheme.clone(), KEY);
        altered.body[8] ^= 1;
        assert_eq!(altered.report().codes(true), [""; 0]);
        let other = Recorded::genuine(scheme, KEY).given("another made-up key of some length");
        let report = other.report();
        assert_eq!(report.0["causes"], serde_json::json!([]), "{}", report.0);
        assert!(report.0["tried"].as_u64().unwrap() > 100);
    }
}

#[test]
fn a_valid_signature_of_an_ambiguous_body_is_explained() {
    let mut text = Recorded::genuine(plain().signed("{timestamp}{body}"), KEY);
    text.body = b"event=created".to_vec();
    let text = text.signed_by(plain().signed("{timestamp}{body}"), KEY);
    let report = text.is_explained_by(&["ambiguous_body"]);
    report.signature("valid").step("verify", "failed", Some("ambiguous_body"));
}
