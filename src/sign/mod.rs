//! Signing of webhooks, with the schemes that a receiver verifies.
//!
//! Use this module in production code that sends webhooks: a relay that forwards verified events to an internal
//! service, or a service with webhooks of its own. A [`Signer`] is a scheme with a secret. The scheme is the same value
//! that configures the receiver, so both sides share one configuration:
//!
//! | scheme | headers |
//! |---|---|
//! | [`StandardWebhooks`](crate::StandardWebhooks) | `webhook-id`, `webhook-timestamp`, `webhook-signature` |
//! | [`HmacSha256Body`](crate::HmacSha256Body) | the configured header: the prefix, then the MAC of the body |
//! | [`SharedSecret`](crate::SharedSecret) | the configured header: the secret itself |
//!
//! Prefer Standard Webhooks for new webhooks: it is the only scheme that signs the time of the attempt, which prevents
//! a later replay of a captured delivery. [`Signer::sign_headers`] also signs the headers that describe an event.
//!
//! ```
//! use medhook::sign::Signer;
//! use medhook::{Bytes, Custom, NoDedupe, Receiver, Secret, StandardWebhooks};
//!
//! let secret = Secret::new("whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz")?;
//! let body = Bytes::from_static(br#"{"type":"report.ready"}"#);
//!
//! // The sender builds the signer once. It signs each attempt with the event's id and
//! // the time of the attempt.
//! let signer = Signer::new(StandardWebhooks::new(), &secret)?;
//! let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
//! let headers = signer.sign("msg_1", i64::try_from(now)?, &body)?;
//!
//! // The receiver has the same scheme and the same secret.
//! let acme =
//!     Custom::new("acme", StandardWebhooks::new(), secret).kind_pointer("/type");
//! let receiver = Receiver::builder("acme", acme).store(NoDedupe).build()?;
//! let verified = receiver.verify(&headers, body)?;
//! assert_eq!(verified.message_id(), Some("msg_1"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod headers;

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use crate::scheme::{SigningScheme, hmac_tag};
use crate::{ConfigError, SchemeConfig, Secret};

/// A scheme with a signing secret, which creates the headers of deliveries.
///
/// The secret is decoded once, when the signer is created. Clones share it, and its memory is zeroized when the last
/// clone is dropped. `Debug` shows only the secret's label.
#[derive(Clone)]
pub struct Signer {
    scheme: SigningScheme,
    label: Arc<str>,
}

impl Signer {
    /// Creates a signer. The scheme is [`StandardWebhooks`](crate::StandardWebhooks),
    /// [`HmacSha256Body`](crate::HmacSha256Body) or [`SharedSecret`](crate::SharedSecret), configured as at the
    /// receiver.
    ///
    /// A signer has one secret. To rotate it, add the new secret to all receivers first, then replace the signer. If a
    /// [`SharedSecret`](crate::SharedSecret) requires further headers, the signer sends the first secret of each.
    ///
    /// # Errors
    /// Returns an error if the scheme cannot use the secret, a header or the prefix, for the same reasons as a
    /// receiver.
    pub fn new(scheme: impl Into<SchemeConfig>, secret: &Secret) -> Result<Self, ConfigError> {
        Ok(Signer { scheme: SigningScheme::new(&scheme.into(), secret)?, label: secret.shared_label() })
    }

    /// Returns the headers that authenticate one attempt to deliver `body`.
    ///
    /// `id` is the id of the event, the same for every attempt. `timestamp` is the time of this attempt in Unix
    /// seconds. Only Standard Webhooks signs and sends these two; the other schemes ignore them.
    ///
    /// - Standard Webhooks: version `v1`, one signature, padded base64.
    /// - HMAC: lower-case hex, or padded base64 with [`Encoding::Base64`](crate::Encoding::Base64).
    /// - Every value is marked [sensitive](HeaderValue::is_sensitive): `Debug` does not print it, and HTTP/2 does not
    ///   add it to its compression table. Header values are not zeroized; with a shared secret, the value is the
    ///   secret.
    ///
    /// ```
    /// use medhook::{HmacSha256Body, Secret, sign::Signer};
    ///
    /// let secret = Secret::new("Jefe")?;
    /// let scheme = HmacSha256Body::new("x-acme-signature").prefix("sha256=");
    /// let signer = Signer::new(scheme, &secret)?;
    /// let headers = signer.sign("", 0, b"what do ya want for nothing?")?;
    /// assert_eq!(
    ///     headers["x-acme-signature"],
    ///     "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    /// );
    /// # Ok::<(), medhook::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// With Standard Webhooks, returns an error for an id or a timestamp that receivers reject: the id must be 1 to
    /// 4,096 visible ASCII characters without a `.`, and the timestamp must not be before 1970. The other schemes
    /// return no error.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> Result<HeaderMap, ConfigError> {
        self.scheme.check(id, timestamp)?;
        let headers = self.scheme.headers(id, &self.scheme.timestamp_text(timestamp), body);
        let valued = headers.into_iter().map(|(name, value)| {
            let mut value = HeaderValue::from_bytes(value.as_bytes())
                .map_err(|error| ConfigError::new(format!("header {name}: invalid value")).with_source(error))?;
            value.set_sensitive(true);
            Ok((name, value))
        });
        valued.collect()
    }

    /// Returns the headers as text. The id and the timestamp may be malformed.
    #[cfg(feature = "testing")]
    pub(crate) fn sign_unchecked(&self, id: &str, timestamp: &str, body: &[u8]) -> Vec<(String, String)> {
        let headers = self.scheme.headers(id, timestamp, body).into_iter();
        headers.map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned())).collect()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            SigningScheme::StandardWebhooks(_) => "StandardWebhooks",
            SigningScheme::Signature(_) => "Signature",
            SigningScheme::SharedSecret(_) => "SharedSecret",
        };
        f.debug_struct("Signer").field("scheme", &scheme).field("secret", &self.label).finish()
    }
}

/// Computes HMAC-SHA256 over the concatenation of `parts`.
///
/// Use it in tools that examine signatures, where the key is bytes and not a [`Secret`]. To send, use a [`Signer`]. To
/// verify, use a [`Receiver`](crate::Receiver), which compares in constant time.
#[must_use]
pub fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    hmac_tag(key, parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::rfc_4231;
    use crate::{Bytes, Custom, Encoding, HmacSha256Body, NoDedupe, Receiver, SharedSecret, StandardWebhooks};

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap().labeled("current").unwrap()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn macs_match_rfc_4231() {
        for (key, data, expected) in rfc_4231::CASES {
            assert!(hex(&mac(key, &[data])).starts_with(expected), "{expected}");
            let (before, after) = data.split_at(data.len() / 2);
            assert!(hex(&mac(key, &[before, b"", after])).starts_with(expected), "{expected}");
            // Keys that are text also work as a signer's secret.
            if let Ok(secret) = str::from_utf8(key).map_err(drop).and_then(|text| Secret::new(text).map_err(drop)) {
                let headers = Signer::new(HmacSha256Body::new("x-mac"), &secret).unwrap().sign("", 0, data).unwrap();
                assert!(headers["x-mac"].to_str().unwrap().starts_with(expected), "{expected}");
            }
        }
    }

    /// The test vector of the reference libraries:
    /// <https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/rust/src/lib.rs>.
    #[test]
    fn signatures_match_the_standard_webhooks_reference() {
        let signer = Signer::new(StandardWebhooks::new(), &secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let headers = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#).unwrap();
        assert_eq!(headers["webhook-id"], "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(headers["webhook-timestamp"], "1614265330");
        assert_eq!(headers["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(headers.len(), 3);
    }

    fn schemes() -> Vec<SchemeConfig> {
        let further = Secret::new("the second header's secret").unwrap();
        let mac = || HmacSha256Body::new("X-Mac");
        vec![
            StandardWebhooks::new().into(),
            mac().into(),
            mac().prefix("sha256=").encoding(Encoding::Hex).into(),
            mac().prefix("v1 ").encoding(Encoding::Base64).into(),
            SharedSecret::new("X-Key").into(),
            SharedSecret::new("X-Key").also_header("x-second", further).into(),
        ]
    }

    const TEXT: &str = "c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
    const OTHER: &str = "YW5vdGhlciBzZWNyZXQgb2YgdGhlIHNlbmRlcnM=";

    #[test]
    fn only_a_receiver_with_the_same_scheme_and_secret_verifies_a_signed_body() {
        let now = crate::time::unix_seconds(std::time::SystemTime::now());
        let verifies = |scheme: &SchemeConfig, text: &str, headers: &HeaderMap, body: &'static [u8]| {
            let custom = Custom::new("acme", scheme.clone(), secret(text)).kind_pointer("/type");
            let receiver = Receiver::builder("acme", custom).store(NoDedupe).build().unwrap();
            receiver.verify(headers, Bytes::from_static(body)).is_ok()
        };
        for scheme in schemes() {
            let signer = Signer::new(scheme.clone(), &secret(TEXT)).unwrap();
            for body in [&b"{}"[..], b"", b"\xff\0", br#"{"type":"a"}"#] {
                let headers = signer.sign("msg_1", now, body).unwrap();
                assert!(verifies(&scheme, TEXT, &headers, body), "{scheme:?}");
                assert!(!verifies(&scheme, OTHER, &headers, body), "{scheme:?}");
                let covers_body = !headers.contains_key("x-key");
                assert_eq!(verifies(&scheme, TEXT, &headers, b"another"), !covers_body, "{scheme:?}");
                assert_eq!(signer.clone().sign("msg_1", now, body).unwrap(), headers, "{scheme:?}");
            }
        }
    }

    #[test]
    fn ids_and_timestamps_that_receivers_reject_are_errors_in_schemes_that_sign_them() {
        let of = |scheme: SchemeConfig| Signer::new(scheme, &secret(TEXT)).unwrap();
        let standard = of(StandardWebhooks::new().into());
        let longest = "m".repeat(4096);
        for id in ["m", "~!", &longest] {
            assert!(standard.sign(id, 0, b"").is_ok(), "{id}");
        }
        for id in ["", "a.b", "a b", "a\n", "\u{e9}", &format!("{longest}m")] {
            assert!(standard.sign(id, 0, b"").unwrap_err().to_string().contains("message id"), "{id:?}");
        }
        assert!(standard.sign("m", -1, b"").unwrap_err().to_string().contains("1970"));
        for scheme in schemes().split_off(1) {
            assert!(of(scheme).sign("a.b\n", -1, b"").is_ok());
        }
    }

    #[test]
    fn a_configuration_that_receivers_reject_is_an_error() {
        let problem = |scheme: SchemeConfig, text: &str| Signer::new(scheme, &secret(text)).unwrap_err().to_string();
        assert!(problem(StandardWebhooks::new().into(), "not base64!").starts_with("secret current: not base64"));
        assert!(problem(HmacSha256Body::new("x mac").into(), TEXT).contains("is not a valid header name"));
        assert!(problem(HmacSha256Body::new("x-mac").prefix("\n").into(), TEXT).contains("begin"));
    }

    #[test]
    fn debug_shows_no_secret() {
        for scheme in schemes() {
            let signer = Signer::new(scheme, &secret(TEXT)).unwrap();
            let headers = signer.sign("msg_1", 1, b"{}").unwrap();
            assert!(headers.values().all(HeaderValue::is_sensitive));
            let shown = format!("{signer:?} {headers:?}");
            assert!(shown.contains("current") && !shown.contains(TEXT) && !shown.contains("second header"), "{shown}");
            for value in headers.values().filter_map(|value| value.to_str().ok()).filter(|value| value.len() > 8) {
                assert!(!shown.contains(value), "{shown}");
            }
        }
    }
}
