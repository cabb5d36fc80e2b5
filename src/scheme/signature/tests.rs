//! A template without a separator, and the time of an event in a header, at a receiver.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Bytes, Clock, Custom, MemoryStore, Reason, Receiver, Secret, TimestampedHmac};

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
    let ends = "does not apply to elements, which are separated by commas, with no prefix; remove it";
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
