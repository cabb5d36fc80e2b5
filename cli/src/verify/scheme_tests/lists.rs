//! The place, the form and the encoding of signatures, and the names of headers.

use medhook::{Encoding, HmacSha256Body, HmacSha512Body, SecretEncoding, StandardWebhooks, TimestampedHmac};

use super::{KEY, Recorded};

const WHSEC: &str = "whsec_YSBtYWRlLXVwIGtleSBvZiB0aGlydHktdHdvIGJ5dGVz";

fn body() -> HmacSha256Body {
    HmacSha256Body::new("x-sig")
}

#[test]
fn another_encoding_or_prefix_is_found() {
    let hex = || body().encoding(Encoding::Hex);
    for (code, configured, sender, option) in [
        ("wrong_encoding", hex(), body().encoding(Encoding::Base64), "`encoding = \"base64\"`"),
        ("wrong_encoding", hex(), body().encoding(Encoding::Base64Url), "`encoding = \"base64url\"`"),
        ("wrong_encoding", body().encoding(Encoding::Base64), hex(), "`encoding = \"hex\"`"),
        ("wrong_encoding", body().encoding(Encoding::Base64Url), hex(), "`encoding = \"hex\"`"),
        ("wrong_prefix", hex().prefix("sha256="), hex(), "`prefix = \"\"`"),
        ("wrong_prefix", hex().prefix("v0="), hex().prefix("v1,"), "`prefix = \"v1,\"`"),
        ("text_around_signature", hex(), hex().prefix("sha256="), "`prefix = \"sha256=\"`"),
    ] {
        Recorded::genuine(configured.clone(), KEY).is_verified();
        let report = Recorded::genuine(configured, KEY).signed_by(sender, KEY).is_explained_by(&[code]);
        report.signature("valid").says(&format!(": set {option}"));
    }
    let upper = Recorded::genuine(hex(), KEY).changed("x-sig", str::to_uppercase);
    upper.is_verified();
    for case in [str::to_uppercase, str::to_lowercase] {
        let damaged = Recorded::genuine(body().encoding(Encoding::Base64), KEY).changed("x-sig", case);
        damaged.is_explained_by(&["signature_in_other_case"]).says("which destroys base64");
        // The signature is that of another body.
        let mut other = damaged;
        other.body[8] ^= 1;
        assert_eq!(other.report().codes(true), [""; 0]);
    }
}

#[test]
fn base64url_without_its_own_characters_is_accepted_as_such() {
    let scheme = || body().encoding(Encoding::Base64Url);
    let (mut alike, mut different) = (0, 0);
    for number in 0..40 {
        let mut recorded = Recorded::genuine(scheme(), KEY);
        recorded.body = format!("{{\"id\":\"evt-{number}\"}}").into();
        let recorded = recorded.signed_by(scheme(), KEY);
        recorded.is_verified();
        let standard = recorded.clone().signed_by(body().encoding(Encoding::Base64), KEY);
        if standard.value("x-sig") == recorded.value("x-sig") {
            alike += 1;
        } else {
            standard.is_explained_by(&["wrong_encoding"]);
            different += 1;
        }
    }
    assert!(alike > 0 && different > 0);
}

#[test]
fn several_signatures_are_accepted_as_configured_only() {
    let scheme = || body().prefix("sha256=").separator(',').encoding(Encoding::Hex);
    let old = Recorded::genuine(scheme(), "an older made-up key").value("x-sig");
    let both = Recorded::genuine(scheme(), KEY).changed("x-sig", |value| format!("{old}, {value}"));
    both.is_verified();
    let spaced = Recorded::genuine(scheme(), KEY).changed("x-sig", |value| format!("{old};{value}"));
    spaced.is_explained_by(&["signatures_joined"]).signature("valid");
    let single = body().prefix("sha256=").encoding(Encoding::Hex);
    let joined = Recorded::genuine(single, KEY).changed("x-sig", |value| format!("{old},{value}"));
    joined.is_explained_by(&["signatures_joined"]).says("several signatures, set `separator = \",\"`");
    let elsewhere = Recorded::genuine(body(), KEY).signed_by(HmacSha256Body::new("x-other"), KEY);
    elsewhere.is_explained_by(&["signature_in_other_header"]).says(": set `header = \"x-other\"`");
    let none = Recorded::genuine(scheme(), KEY).changed("x-sig", |value| value.replace("sha256=", ""));
    none.is_explained_by(&["wrong_prefix"]).says("does not begin with `sha256=`");
}

#[test]
fn another_element_is_found() {
    let scheme = || TimestampedHmac::elements("x-sig", "t", "v1");
    for name in ["v2", ""] {
        let to = if name.is_empty() { ",".to_owned() } else { format!(",{name}=") };
        let other = Recorded::genuine(scheme(), KEY).changed("x-sig", |value| value.replacen(",v1=", &to, 1));
        other.report().says(&format!(": set `signature_element = \"{name}\"`"));
        assert_eq!(other.report().codes(true)[0], "signature_in_other_element", "{to}: {}", other.report().0);
    }
    let other = Recorded::genuine(scheme(), KEY).changed("x-sig", |value| value.replacen(",v1=", ",v2=", 1));
    other.is_explained_by(&["signature_in_other_element"]).says("has no element that begins with `v1=`");
    let quoted = Recorded::genuine(scheme(), KEY).changed("x-sig", |value| value.replacen("v1=", "v1=\"", 1) + "\"");
    quoted.is_explained_by(&["signature_in_quotes"]);
    let rotated = Recorded::genuine(scheme(), KEY);
    let rotated = rotated.changed("x-sig", |value| value.replacen(",v1=", &format!(",v1={},v1=", "0".repeat(64)), 1));
    rotated.is_verified();
}

#[test]
fn elements_with_another_separator_are_found() {
    for (by, signature) in [(";", "v1"), ("; ", "v1"), ("&", "v1"), ("|", "v1"), (" ", "v1"), (";", "")] {
        let scheme = || TimestampedHmac::elements("x-sig", "t", signature);
        let genuine = || Recorded::genuine(scheme(), KEY);
        let reversed = genuine().changed("x-sig", |value| value.split(',').rev().collect::<Vec<_>>().join(by));
        for other in [genuine().changed("x-sig", |value| value.replace(',', by)), reversed] {
            let report = other.is_explained_by(&["elements_separated_otherwise"]);
            report.signature("valid").says("elements are separated by commas; no other separator is supported");
            // A receiver of another secret has this cause first.
            let report = other.given("another made-up key of some length").report();
            assert_eq!((report.codes(true), report.codes(false)[0]), (vec![], "elements_separated_otherwise"));
        }
    }
}

#[test]
fn another_hash_is_found() {
    let (short, long) = (body(), HmacSha512Body::new("x-sig"));
    let report = Recorded::genuine(short.clone(), KEY).signed_by(long.clone(), KEY).is_explained_by(&["other_hash"]);
    report.says("is an HMAC-SHA512, but an HMAC-SHA256 is expected").says("as many as HMAC-SHA512 has");
    report.says("set `scheme = \"hmac-sha512\"`");
    let report = Recorded::genuine(long, KEY).signed_by(short.clone(), KEY).is_explained_by(&["other_hash"]);
    report.says("is an HMAC-SHA256, but an HMAC-SHA512 is expected").says("as many as HMAC-SHA256 has");
    let timed = TimestampedHmac::headers("x-sig", "x-time");
    Recorded::genuine(timed.clone(), KEY)
        .signed_by(timed.sha512(), KEY)
        .is_explained_by(&["other_hash"])
        .says("set `hash = \"sha-512\"`");
    let sha1 = Recorded::genuine(short.clone(), KEY).header("x-sig", &"0a".repeat(20));
    sha1.may_be("malformed_signature", "as many as HMAC-SHA1 has");
    let sha1 = Recorded::genuine(short, KEY).header("x-sig", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    sha1.may_be("malformed_signature", "as many as HMAC-SHA1 has");
}

#[test]
fn another_prefix_of_the_headers_is_named() {
    let (plain, svix) = (StandardWebhooks::new(), StandardWebhooks::new().header_prefix("svix-"));
    let acme = StandardWebhooks::new().header_prefix("acme-");
    for scheme in [plain.clone(), svix.clone(), acme.clone()] {
        Recorded::genuine(scheme, WHSEC).is_verified();
    }
    for (configured, sender, code, possible, option) in [
        (&plain, &svix, "svix_id_and_time", "svix_headers", "set header_prefix to `svix-`"),
        (&svix, &plain, "other_header_prefix", "other_header_prefix", "set header_prefix to `webhook-`"),
        (&plain, &acme, "other_header_prefix", "other_header_prefix", "set header_prefix to `acme-`"),
    ] {
        let recorded = Recorded::genuine(configured.clone(), WHSEC).signed_by(sender.clone(), WHSEC);
        let report = recorded.is_explained_by(&[code, "signature_in_other_header"]);
        report.signature("valid").step("head", "failed", Some("missing_header")).says(option);
        assert!(report.codes(false).contains(&possible), "{}", report.0);
        recorded.given("whsec_YW5vdGhlciBtYWRlLXVwIGtleSBvZiBhIHNlbmRlcg==").may_be(possible, option);
    }
    // A mixture is not accepted.
    let mixed = Recorded::genuine(svix, WHSEC);
    let id = mixed.value("svix-id");
    let mut mixed = mixed.header("webhook-id", &id);
    mixed.headers.retain(|(name, _)| name != "svix-id");
    mixed.may_be("missing_header", "the header svix-id is missing");
}

#[test]
fn raw_text_secrets_of_standard_webhooks_are_told_from_base64() {
    let text = StandardWebhooks::new().secret_encoding(SecretEncoding::Text);
    Recorded::genuine(text.clone(), WHSEC).is_verified();
    let report = Recorded::genuine(StandardWebhooks::new(), WHSEC).signed_by(text.clone(), WHSEC);
    report.is_explained_by(&["secret_read_as_text"]);
    let report = Recorded::genuine(text, WHSEC).signed_by(StandardWebhooks::new(), WHSEC);
    report.is_explained_by(&["secret_read_as_base64"]).says("set `secret_encoding = \"base64\"`");
}
