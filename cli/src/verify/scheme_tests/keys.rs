//! Keys in other encodings and of other kinds, and Ed25519.

use medhook::{Ed25519Body, Encoding, HmacSha256Body, SecretEncoding, StandardWebhooks, TimestampedHmac};

use super::{KEY, Recorded};

/// The seed bytes 0 to 31, and their public key.
const PRIVATE: &str = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const PUBLIC: &str = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";
const PUBLIC_HEX: &str = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";
const WHSEC: &str = "whsec_YSBtYWRlLXVwIGtleSBvZiB0aGlydHktdHdvIGJ5dGVz";

/// The same without `whsec_`.
const BARE: &str = "YSBtYWRlLXVwIGtleSBvZiB0aGlydHktdHdvIGJ5dGVz";

fn standard() -> StandardWebhooks {
    StandardWebhooks::new()
}

fn whpk() -> String {
    format!("whpk_{PUBLIC}")
}

#[test]
fn a_key_in_another_encoding_is_found() {
    let text = || HmacSha256Body::new("x-sig");
    let (in_base64, in_hex) =
        (text().secret_encoding(SecretEncoding::Base64), text().secret_encoding(SecretEncoding::Hex));
    let (base64, hex) = ("YSBtYWRlLXVwIGtleSBvZiB0aGlydHktdHdvIGJ5dGVz", PUBLIC_HEX);
    for (code, configured, sender, secret, text) in [
        ("secret_read_as_base64", text(), in_base64.clone(), base64, "decodes secret current as base64"),
        ("secret_read_as_hex", text(), in_hex.clone(), hex, "decodes secret current as hexadecimal"),
        ("secret_read_as_text", in_base64.clone(), text(), base64, "uses secret current as text"),
        ("secret_read_as_text", in_hex.clone(), text(), hex, "uses secret current as text"),
        ("secret_read_as_hex", in_base64.clone(), in_hex.clone(), hex, "decodes secret current as hexadecimal"),
        ("secret_read_as_base64", in_hex.clone(), in_base64.clone(), hex, "decodes secret current as base64"),
    ] {
        let option = code.strip_prefix("secret_read_as_").unwrap();
        let report = Recorded::genuine(configured.clone(), secret).signed_by(sender, secret).is_explained_by(&[code]);
        report.says(&format!("the sender {text} before it signs: set `secret_encoding = \"{option}\"`"));
        Recorded::genuine(configured, secret).is_verified();
    }
    Recorded::genuine(in_base64.clone(), WHSEC).is_verified();
    Recorded::genuine(in_base64, WHSEC).signed_by(text(), WHSEC).is_explained_by(&["secret_read_as_text"]);
    // Stripe uses the whole text with `whsec_`; other senders remove it and decode the rest.
    let stripe = || TimestampedHmac::elements("stripe-signature", "t", "v1");
    Recorded::genuine(stripe(), WHSEC).is_verified();
    Recorded::genuine(stripe(), WHSEC).signed_by(stripe(), BARE).is_explained_by(&["secret_read_without_whsec"]);
    Recorded::genuine(stripe(), BARE).signed_by(stripe(), WHSEC).is_explained_by(&["secret_read_with_whsec"]);
    let decoded = stripe().secret_encoding(SecretEncoding::Base64);
    Recorded::genuine(stripe(), WHSEC).signed_by(decoded, BARE).is_explained_by(&["secret_read_as_base64"]);
}

fn asymmetric() -> Recorded {
    Recorded::genuine(standard(), PRIVATE).given(&whpk())
}

#[test]
fn a_genuine_signature_of_ed25519_has_no_cause() {
    asymmetric().is_verified().signature("valid");
    let plain = || Ed25519Body::new("x-sig");
    for secret in [PUBLIC, &whpk()] {
        Recorded::genuine(plain(), PRIVATE).given(secret).is_verified();
    }
}

#[test]
fn a_mistake_of_a_signature_of_ed25519_is_found() {
    let plain = || Ed25519Body::new("x-sig");
    let recorded = || Recorded::genuine(plain(), PRIVATE).given(PUBLIC);
    let mut spaced = recorded();
    spaced.body =
        serde_json::to_vec_pretty(&serde_json::from_slice::<serde_json::Value>(&spaced.body).unwrap()).unwrap();
    spaced.is_explained_by(&["json_was_compact"]);
    let mut longer = recorded();
    longer.body.push(b'\n');
    longer.is_explained_by(&["trailing_line_break_added"]);
    let mut timed = asymmetric();
    timed.body.push(b'\n');
    timed.is_explained_by(&["trailing_line_break_added"]);
    recorded()
        .given(PUBLIC_HEX)
        .is_explained_by(&["public_key_in_other_encoding"])
        .says("set `secret_encoding = \"hex\"`");
    let hex = || plain().encoding(Encoding::Hex);
    let hex = Recorded::genuine(hex(), PRIVATE).given(PUBLIC);
    hex.signed_by(plain().encoding(Encoding::Base64), PRIVATE).is_explained_by(&["wrong_encoding"]);
    // Another key, and another body.
    let mut altered = recorded();
    altered.body[8] ^= 1;
    assert_eq!(altered.report().codes(true), [""; 0]);
    let other = recorded().given("1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=").report();
    assert_eq!((other.codes(true), other.codes(false)), (vec![], vec![]), "{}", other.0);
}

#[test]
fn a_key_of_another_kind_is_found() {
    // The public key without `whpk_` is read as a shared key.
    let unnamed = asymmetric().given(PUBLIC);
    let report = unnamed.is_explained_by(&["public_key_without_whpk"]);
    report.says("it has only signatures of version v1a, which need the public key of the sender (`whpk_`)");
    asymmetric().given(WHSEC).may_be("malformed_signature", "which need the public key of the sender");
    let shared = Recorded::genuine(standard(), WHSEC).given(&whpk());
    shared.may_be("malformed_signature", "it has only signatures of version v1, which need a shared key (`whsec_`)");
    asymmetric().given(PRIVATE).may_be("secret_not_accepted", "is a private key, which signs");

    let (plain, hmac) = (Ed25519Body::new("x-sig"), HmacSha256Body::new("x-sig"));
    let signed = Recorded::genuine(hmac.clone(), PUBLIC).signed_by(plain.clone(), PRIVATE);
    signed.is_explained_by(&["ed25519_instead_of_hmac"]).says("set `scheme = \"ed25519\"`");
    let shared = Recorded::genuine(plain, PRIVATE).given(KEY).signed_by(hmac, KEY);
    let report = shared.is_explained_by(&["hmac_instead_of_ed25519"]);
    report.says("set `scheme = \"hmac-sha256\"`");
    assert!(report.codes(false).contains(&"secret_not_accepted"), "{}", report.0);
}

#[test]
fn lists_of_both_versions_are_verified_by_either_key() {
    let shared = Recorded::genuine(standard(), WHSEC);
    let v1a = asymmetric().value("webhook-signature");
    let both = shared.changed("webhook-signature", |value| format!("{v1a} {value}"));
    both.is_verified();
    both.clone().given(&whpk()).is_verified();
    let wrong = both.given("whsec_YW5vdGhlciBtYWRlLXVwIGtleSBvZiBhIHNlbmRlcg==").report();
    assert_eq!((wrong.codes(true), wrong.codes(false)), (vec![], vec![]), "{}", wrong.0);
}
