//! A template without a separator, the time of an event in a header, and mistakes in settings, at a receiver.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{
    Bytes, Clock, Custom, Freshness, HmacSha256Body, MemoryStore, Reason, Receiver, SchemeConfig, Secret,
    StandardWebhooks, TimestampedHmac,
};

/// A clock that shows the signed timestamp and these seconds.
#[derive(Debug)]
struct SecondsLater(u64);

impl Clock for SecondsLater {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_732_780_800 + self.0)
    }
}

/// A receiver with WHOOP's preset, `age` seconds after the signed timestamp.
fn whoop(age: u64) -> Receiver {
    let secret = Secret::new("made-up-whoop-client-secret").unwrap();
    let builder = Receiver::builder("in", Custom::new("whoop", TimestampedHmac::whoop(), secret));
    builder.store(MemoryStore::new(10)).clock(SecondsLater(age)).build().unwrap()
}

fn verify(receiver: &Receiver, timestamp: &str, body: &'static str, signature: &str) -> Result<(), Reason> {
    let headers = [("x-whoop-signature", signature), ("x-whoop-signature-timestamp", timestamp)];
    let verified = receiver.verify(&headers, Bytes::from_static(body.as_bytes()));
    verified.map(drop).map_err(|rejection| rejection.reason())
}

/// The signatures are from Python's `hmac.new(key, timestamp + body, "sha256")`, in base64.
#[test]
fn one_signature_has_one_timestamp_and_one_body() {
    let genuine = "TnC0uJiHrtVFsYcVVn1pHplaovMI9AA55YteTxjooe8=";
    let receiver = whoop(0);
    assert_eq!(verify(&receiver, "1732780800123", r#"{"id":1}"#, genuine), Ok(()));
    for (timestamp, body) in [("173278080012", r#"3{"id":1}"#), ("1732780800123{", r#""id":1}"#)] {
        assert_eq!(verify(&receiver, timestamp, body, genuine), Err(Reason::MalformedHeader), "{timestamp} {body}");
    }
    for (body, signature, expected) in [
        ("[1]", "vX3CzGPzuE2gEzw6pBtp4sf2WDPXMHx6hhwZRFgA77k=", Ok(())),
        (r#"3{"id":1}"#, "+Klmvr/m+8oH/AwNNMHCczXNpKnjItRHR0fC+eruHUs=", Err(Reason::AmbiguousBody)),
        (r#" {"id":1}"#, "aWYCpk8+9+Gkltem8N+4kXmSPCM1R8GHpX3NMvTtJT8=", Err(Reason::AmbiguousBody)),
        ("", "qe5IppLHwS9cMG3KL97fzLpHAZmpDBCb0hDEsqxGs1Y=", Err(Reason::AmbiguousBody)),
    ] {
        assert_eq!(verify(&receiver, "1732780800123", body, signature), expected, "{body}");
        // An invalid signature is reported as such.
        assert_eq!(verify(&receiver, "1732780800124", body, signature), Err(Reason::SignatureMismatch), "{body}");
    }
}

#[test]
fn the_time_of_an_event_in_a_header_is_checked() {
    let verify = |age| {
        let signature = "TnC0uJiHrtVFsYcVVn1pHplaovMI9AA55YteTxjooe8=";
        verify(&whoop(age), "1732780800123", r#"{"id":1}"#, signature)
    };
    assert_eq!(verify(2 * 3600), Ok(()));
    assert_eq!(verify(2 * 3600 + 1), Err(Reason::Stale));
}

#[test]
fn elements_have_neither_a_prefix_nor_a_separator() {
    let problem = |scheme: TimestampedHmac| {
        let secret = Secret::new("a-long-random-secret").unwrap();
        let built = Receiver::builder("in", Custom::new("acme", scheme, secret)).store(MemoryStore::new(10)).build();
        built.err().map(|error| error.to_string())
    };
    let (elements, headers) = (|| TimestampedHmac::elements("x-sig", "t", "v1"), || TimestampedHmac::headers("x", "y"));
    let ends = "does not apply to elements, which have no prefix and are separated by commas; remove it";
    assert_eq!(problem(elements()), None);
    assert!(
        problem(elements().separator(';')).is_some_and(|problem| problem.ends_with(&format!("the separator {ends}")))
    );
    assert!(problem(elements().prefix("v1=")).is_some_and(|problem| problem.ends_with(&format!("the prefix {ends}"))));
    assert_eq!(problem(headers().separator(';').prefix("v1=")), None);
}

#[cfg(feature = "ed25519")]
#[test]
fn an_ed25519_key_in_hex_is_named() {
    use crate::{Ed25519Body, SecretEncoding};

    let problem = |encoding: SecretEncoding, key: &str| {
        let scheme = Ed25519Body::new("x-sig").secret_encoding(encoding);
        let custom = Custom::new("acme", scheme, Secret::new(key).unwrap());
        Receiver::builder("in", custom).store(MemoryStore::new(10)).build().err().map(|error| error.to_string())
    };
    let key = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8";
    assert_eq!(problem(SecretEncoding::Hex, key), None);
    assert!(problem(SecretEncoding::Base64, key).unwrap().ends_with("32 bytes in hex: set `secret_encoding` to hex"));
    let short = problem(SecretEncoding::Base64, &key[2..]).unwrap();
    assert!(short.contains("not an Ed25519 public key") && !short.contains("in hex: set"), "{short}");
}

/// Returns why no receiver can be built with this scheme and secret, or `None` if one can.
fn mistake(scheme: impl Into<SchemeConfig>, secret: &str) -> Option<String> {
    let custom = Custom::new("acme", scheme, Secret::new(secret).unwrap());
    let built = Receiver::builder("in", custom).store(MemoryStore::new(10)).build();
    built.err().map(|error| error.to_string())
}

#[test]
fn each_mistake_in_the_settings_of_a_header_is_an_error() {
    const SECRET: &str = "a-long-random-secret";
    let body = || HmacSha256Body::new("x-sig");
    let elements = |timestamp: &str, signature: &str| TimestampedHmac::elements("x-sig", timestamp, signature);
    let separator = "the separator must be a space or a punctuation mark that no signature contains, such as `,`";
    let name = "the name of an element must be at most 64 visible ASCII characters without `,`, `;` and `=`";
    for (scheme, expected) in [
        (body().separator('=').into(), Some(separator)),
        (body().separator('a').into(), Some(separator)),
        (body().separator('é').into(), Some(separator)),
        (body().separator(' ').into(), None),
        (body().prefix("a,b").separator(',').into(), Some("the prefix must not contain the separator")),
        (body().prefix("a;b").separator(',').into(), None),
        (elements("", "v1").into(), Some(name)),
        (elements("t=", "v1").into(), Some(name)),
        (elements("t", "v 1").into(), Some(name)),
        (elements("t", &"v".repeat(65)).into(), Some(name)),
        (elements("t", &"v".repeat(64)).into(), None),
        (elements("t", "t").into(), Some("the elements of the timestamp and the signature have one name")),
        (TimestampedHmac::headers("X-Sig", "x-sig").into(), Some("header x-sig is configured twice")),
        (TimestampedHmac::headers("x-sig", "x-time").into(), None),
    ] as [(SchemeConfig, _); 14]
    {
        let shown = format!("{scheme:?}");
        let found = mistake(scheme, SECRET);
        match expected {
            None => assert_eq!(found, None, "{shown}"),
            Some(expected) => assert!(found.as_ref().is_some_and(|it| it.ends_with(expected)), "{found:?}: {shown}"),
        }
    }
}

#[test]
fn the_prefix_of_standard_webhooks_ends_with_a_hyphen_or_an_underscore() {
    let with = |prefix: &str| mistake(StandardWebhooks::new().header_prefix(prefix), "MDEyMzQ1Njc4OWFiY2RlZg==");
    assert_eq!([with("svix-"), with("acme_")], [None, None]);
    for prefix in ["svix", ""] {
        assert!(with(prefix).is_some_and(|it| it.contains("the prefix of the headers must end with `-`")), "{prefix}");
    }
}

/// No age fits all senders that sign the time of the event, so there is no default.
#[test]
fn the_time_of_an_event_needs_a_freshness() {
    let schemes: [SchemeConfig; 2] = [
        StandardWebhooks::new().timestamp_of_event().into(),
        TimestampedHmac::headers("x-sig", "x-time").timestamp_of_event().into(),
    ];
    for scheme in schemes {
        let builder = || {
            let secret = Secret::new("MDEyMzQ1Njc4OWFiY2RlZg==").unwrap();
            Receiver::builder("in", Custom::new("acme", scheme.clone(), secret)).store(MemoryStore::new(10))
        };
        let error = builder().build().unwrap_err().to_string();
        assert!(error.contains("so `freshness` must be set"), "{error}");
        let (max_age, max_skew) = (Duration::from_secs(48 * 3600), Duration::from_secs(300));
        assert!(builder().freshness(Freshness::EventTime { max_age, max_skew }).build().is_ok());
        assert!(builder().freshness(Freshness::AttemptTime { max_age, max_skew }).build().is_err());
    }
}

/// The seed is the bytes 0 to 31. The weak key is the neutral point of the curve, under which anything can be signed.
#[cfg(feature = "ed25519")]
#[test]
fn a_weak_public_key_and_a_private_key_are_errors() {
    let with = |key: &str| mistake(StandardWebhooks::new(), key);
    assert_eq!(with("whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="), None);
    let weak = with("whpk_AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
    assert!(weak.contains("is a weak Ed25519 key"), "{weak}");
    let seed = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    assert!(with(seed).is_some_and(|it| it.contains("is a private key, which signs")));
    // The seed with a public key that is not its own: the last byte differs.
    let pair = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8DoQe/884Qvh1w3RjnS8CZZ+TWMJulDV8d3IZkElUxuA==";
    assert!(with(pair).is_some_and(|it| it.contains("is a private key, which signs")));
    let other = pair.replace("xuA==", "xuQ==");
    assert!(with(&other).is_some_and(|it| it.contains("its second half is not the public key of its first half")));
}
