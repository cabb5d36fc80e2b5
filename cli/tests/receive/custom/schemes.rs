//! Each family of schemes, from the config file to a signed delivery over a socket.

use medhook::testing::Signing;
use medhook::{
    Ed25519Body, Encoding, HmacSha256Body, HmacSha512Body, SecretEncoding, SharedSecret, StandardWebhooks,
    TimestampUnit, TimestampedHmac,
};

use super::{Running, config, signed, signed_at};
use crate::program::{Folder, Instance, OTHER_SECRET, SECRET, medhook};
use crate::sender::Sender;

const BODY: &str = r#"{"id":"1"}"#;

/// Asserts that an endpoint with these keys accepts a delivery of the scheme, and rejects it under another secret.
async fn accepts(keys: &str, signing: impl Into<medhook::SchemeConfig>) {
    let (running, signing, sender) = (Running::with(keys), Signing::of(signing), Sender::new());
    let send = async |secret: &str| sender.send(running.instance.address, &signed(&signing, secret, BODY)).await;
    assert_eq!(send(SECRET).await, Ok(200), "{keys}: {:?}", running.instance.stderr());
    assert_eq!(send(OTHER_SECRET).await, Ok(401), "{keys}");
    assert_eq!(running.outcome(2), "rejected signature_mismatch -", "{keys}");
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_webhooks_has_other_names_of_headers_and_encodings_of_secrets() {
    let svix = StandardWebhooks::new().header_prefix("svix-");
    accepts("scheme = \"standard-webhooks\"\nheader_prefix = \"svix-\"", svix).await;
    for (word, encoding) in
        [("text", SecretEncoding::Text), ("hex", SecretEncoding::Hex), ("base64", SecretEncoding::Base64)]
    {
        let keys = format!("scheme = \"standard-webhooks\"\nsecret_encoding = \"{word}\"");
        accepts(&keys, StandardWebhooks::new().secret_encoding(encoding)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_of_the_body_has_a_hash_a_prefix_an_encoding_and_a_separator() {
    for (word, encoding) in [("hex", Encoding::Hex), ("base64", Encoding::Base64), ("base64url", Encoding::Base64Url)] {
        let keys = format!(
            "scheme = \"hmac-sha512\"\nheader = \"X-Sig\"\nprefix = \"sha512=\"\nencoding = \"{word}\"\n\
             secret_encoding = \"hex\""
        );
        let scheme = HmacSha512Body::new("x-sig").prefix("sha512=").encoding(encoding);
        accepts(&keys, scheme.secret_encoding(SecretEncoding::Hex)).await;
    }
    let keys =
        "scheme = \"hmac-sha256\"\nheader = \"x-sig\"\nprefix = \"sha256=\"\nseparator = \",\"\nencoding = \"hex\"";
    let running = Running::with(keys);
    let signing = Signing::of(HmacSha256Body::new("x-sig").prefix("sha256=").encoding(Encoding::Hex));
    let mut request = signed(&signing, SECRET, BODY);
    let value = format!("sha256={:0>64},{}", "", request.headers()["x-sig"].to_str().unwrap());
    request.headers_mut().insert("x-sig", value.parse().unwrap());
    assert_eq!(Sender::new().send(running.instance.address, &request).await, Ok(200));
}

/// The keys are those of RFC 8032, test 1.
#[tokio::test(flavor = "multi_thread")]
async fn an_ed25519_signature_is_verified_with_a_public_key() {
    let (public, private) = (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=",
    );
    let folder = Folder::new();
    let keys = "scheme = \"ed25519\"\nheader = \"El8-Ed25519-Signature\"\nsecret_encoding = \"hex\"";
    folder.file("medhook.toml", &config(keys));
    let mut command = medhook(&folder, &["--json"]);
    command.env("TEST_SECRET", public);
    let instance = Instance::reading(command);
    let signing = Signing::of(Ed25519Body::new("el8-ed25519-signature").encoding(Encoding::Base64));
    let sender = Sender::new();
    assert_eq!(sender.send(instance.address, &signed(&signing, private, BODY)).await, Ok(200));
    let mut altered = signed(&signing, private, BODY);
    *altered.body_mut() = BODY.replace('1', "2").into();
    assert_eq!(sender.send(instance.address, &altered).await, Ok(401));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timestamp_is_an_element_or_a_header_of_its_own() {
    let family = "scheme = \"timestamped-hmac\"\n";
    let stripe = TimestampedHmac::elements("stripe-signature", "t", "v1").encoding(Encoding::Hex);
    let keys =
        "header = \"Stripe-Signature\"\ntimestamp_element = \"t\"\nsignature_element = \"v1\"\nencoding = \"hex\"";
    accepts(&format!("{family}{keys}"), stripe).await;
    let bare = TimestampedHmac::elements("x-ph-signature-256", "t", "");
    let keys = "header = \"x-ph-signature-256\"\ntimestamp_element = \"t\"\nsignature_element = \"\"";
    accepts(&format!("{family}{keys}"), bare).await;
    let slack = TimestampedHmac::headers("x-slack-signature", "x-slack-request-timestamp").prefix("v0=");
    let keys = "header = \"X-Slack-Signature\"\ntimestamp_header = \"X-Slack-Request-Timestamp\"\nprefix = \"v0=\"\n\
                signed = \"v0:{timestamp}:{body}\"\nencoding = \"hex\"\nseparator = \" \"\nsecret_encoding = \"text\"\n\
                timestamp_of = \"attempt\"";
    accepts(&format!("{family}{keys}"), slack.signed("v0:{timestamp}:{body}").encoding(Encoding::Hex)).await;
    for (word, unit) in [
        ("seconds", TimestampUnit::Seconds),
        ("milliseconds", TimestampUnit::Milliseconds),
        ("rfc-3339", TimestampUnit::Rfc3339),
    ] {
        let keys = format!(
            "header = \"x-sig\"\ntimestamp_header = \"x-at\"\ntimestamp_unit = \"{word}\"\nid_header = \"x-id\"\n\
             signed = \"{{id}}.{{timestamp}}.{{body_base64}}\"\nhash = \"sha-512\""
        );
        let scheme = TimestampedHmac::headers("x-sig", "x-at").id_header("x-id").timestamp_unit(unit);
        accepts(&format!("{family}{keys}"), scheme.signed("{id}.{timestamp}.{body_base64}").sha512()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preset_has_all_settings_of_its_provider() {
    for (preset, scheme) in
        [("terra", TimestampedHmac::terra()), ("whoop", TimestampedHmac::whoop()), ("oura", TimestampedHmac::oura())]
    {
        accepts(&format!("scheme = \"timestamped-hmac\"\npreset = \"{preset}\""), scheme).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_secret_is_a_bearer_token_or_a_password() {
    accepts("scheme = \"shared-secret\"\nform = \"bearer\"", SharedSecret::bearer()).await;
    accepts("scheme = \"shared-secret\"\nform = \"basic\"\nusername = \"acme\"", SharedSecret::basic("acme")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn max_age_limits_a_signed_time_of_the_event() {
    let hours = |hours: u128| hours * 3_600_000;
    let family = "scheme = \"timestamped-hmac\"\n";
    let own = "header = \"x-sig\"\ntimestamp_header = \"x-at\"\ntimestamp_of = \"event\"";
    for (keys, scheme, limit) in [
        (format!("{family}{own}\nmax_age = \"48h\""), TimestampedHmac::headers("x-sig", "x-at"), 48),
        (format!("{family}preset = \"whoop\""), TimestampedHmac::whoop(), 2),
        (format!("{family}preset = \"oura\"\nmax_age = \"24h\""), TimestampedHmac::oura(), 24),
    ] {
        let (running, signing) = (Running::with(&keys), Signing::of(scheme));
        let sender = Sender::new();
        let send =
            async |age: u128| sender.send(running.instance.address, &signed_at(&signing, SECRET, age, BODY)).await;
        assert_eq!(send(hours(limit) - 60_000).await, Ok(200), "{keys}");
        assert_ne!(send(hours(limit) + 60_000).await, Ok(200), "{keys}");
        assert!(running.outcome(2).starts_with("rejected stale "), "{keys}: {}", running.outcome(2));
    }
    let standard = "scheme = \"standard-webhooks\"\ntimestamp_of = \"event\"\nmax_age = \"48h\"";
    let (running, signing) = (Running::with(standard), Signing::standard_webhooks());
    let old = signed_at(&signing, SECRET, hours(40), BODY);
    assert_eq!(Sender::new().send(running.instance.address, &old).await, Ok(200));
}
