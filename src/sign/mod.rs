//! Signing of webhooks, with the schemes that a receiver verifies.
//!
//! Use this module in production code that sends webhooks: a relay that forwards verified events to an internal
//! service, or a service with webhooks of its own. A [`Signer`] is a scheme with a secret. The scheme is the same value
//! that configures the receiver, so both sides share one configuration:
//!
//! | scheme | headers |
//! |---|---|
//! | [`StandardWebhooks`] | `webhook-id`, `webhook-timestamp`, `webhook-signature`, or with another prefix |
//! | [`HmacSha256Body`], [`HmacSha512Body`] | the configured header: the prefix, then the MAC of the body |
//! | [`TimestampedHmac`] | the configured headers: the MAC, the timestamp and, if it is signed, the id |
//! | [`Ed25519Body`] | the configured header: the prefix, then the signature of the body |
//! | [`SharedSecret`] | the configured header: the secret itself, also as a bearer token or a password |
//!
//! [`StandardWebhooks`]: crate::StandardWebhooks
//! [`HmacSha256Body`]: crate::HmacSha256Body
//! [`HmacSha512Body`]: crate::HmacSha512Body
//! [`TimestampedHmac`]: crate::TimestampedHmac
//! [`Ed25519Body`]: crate::Ed25519Body
//! [`SharedSecret`]: crate::SharedSecret
//!
//! Prefer Standard Webhooks for new webhooks: it signs the id of the event and the time of the attempt, which prevents
//! a later replay of a captured delivery. [`Signer::sign_headers`] also signs the headers that describe an event.
//!
//! With Ed25519 the sender signs with a private key, `whsk_` and base64, and its receivers have the public key, `whpk_`
//! and base64 (feature `ed25519`).
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

#[cfg(test)]
pub(crate) mod families;
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
    /// Creates a signer. The scheme is configured as at the receiver.
    ///
    /// A signer has one secret. With Ed25519 it is the private key, `whsk_` and base64. To rotate it, add the new
    /// secret to all receivers first, then replace the signer. If a [`SharedSecret`](crate::SharedSecret) requires
    /// further headers, the signer sends the first secret of each.
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
    /// seconds, or of the event if the scheme signs that one
    /// ([`timestamp_of_event`](crate::StandardWebhooks::timestamp_of_event)). They are sent if the scheme signs them,
    /// the timestamp in its unit; the other schemes ignore them.
    ///
    /// - Standard Webhooks: version `v1`, or `v1a` with a private key; one signature, padded base64.
    /// - A signature in a header: lower-case hex, or padded base64 if the encoding is
    ///   [`Base64`](crate::Encoding::Base64) or [`Base64Url`](crate::Encoding::Base64Url). With Ed25519 and
    ///   [`Either`](crate::Encoding::Either) it is base64.
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
    /// Returns an error for a signed id or timestamp that receivers reject. The id must be 1 to 4,096 visible ASCII
    /// characters without the one that follows it in the signed text (`.` in Standard Webhooks). An
    /// integer timestamp must not be before 1970; in a template without a separator it must be in the years 2001 to
    /// 2286. Schemes that sign neither return no error.
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
    use super::families::schemes;
    use super::*;
    use crate::scheme::rfc_4231;
    use crate::testing::Signing;
    use crate::{Bytes, Custom, HmacSha256Body, NoDedupe, Receiver, StandardWebhooks};

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

    const TEXT: &str = "c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
    const OTHER: &str = "YW5vdGhlciBzZWNyZXQgb2YgdGhlIHNlbmRlcnM=";

    #[test]
    fn only_a_receiver_with_the_same_scheme_and_secret_verifies_a_signed_body() {
        for scheme in schemes() {
            signs_for_its_receiver_only(&scheme, [TEXT, OTHER], [TEXT, OTHER]);
        }
        #[cfg(feature = "ed25519")]
        for scheme in families::key_pair_schemes() {
            let [(ours, our_public), (_, other_public)] = families::KEY_PAIRS;
            signs_for_its_receiver_only(&scheme, [ours, ""], [our_public, other_public]);
        }
    }

    fn signs_for_its_receiver_only(scheme: &SchemeConfig, [signing, _]: [&str; 2], [ours, other]: [&str; 2]) {
        let now = crate::time::unix_seconds(std::time::SystemTime::now());
        let verifies = |text: &str, headers: &HeaderMap, body: &'static [u8]| {
            let custom = Custom::new("acme", scheme.clone(), secret(text)).kind_pointer("/type");
            let receiver = Receiver::builder("acme", custom).store(NoDedupe).build().unwrap();
            receiver.verify(headers, Bytes::from_static(body)).is_ok()
        };
        let is_shared = matches!(Signing::of(scheme.clone()), Signing::SharedSecret { .. });
        let signer = Signer::new(scheme.clone(), &secret(signing)).unwrap();
        for body in [&b"{}"[..], b"[1, 2, 3]", br#"{"type":"a"}"#] {
            let headers = signer.sign("msg_1", now, body).unwrap();
            assert!(verifies(ours, &headers, body), "{scheme:?}");
            assert!(!verifies(other, &headers, body), "{scheme:?}");
            assert_eq!(verifies(ours, &headers, b"{\"another\":1}"), is_shared, "{scheme:?}");
            assert_eq!(signer.clone().sign("msg_1", now, body).unwrap(), headers, "{scheme:?}");
        }
        let lacks_separator =
            matches!(Signing::of(scheme.clone()), Signing::Signature(settings) if settings.lacks_separator());
        for body in [&b""[..], b"\xff\0"] {
            let headers = signer.sign("msg_1", now, body).unwrap();
            assert_eq!(verifies(ours, &headers, body), !lacks_separator, "{scheme:?}");
        }
    }

    /// `openssl pkey -in key.pem -outform DER | base64` of the private key of RFC 8032, section 7.1, test 1.
    #[cfg(feature = "ed25519")]
    #[test]
    fn a_private_key_of_openssl_signs_as_the_one_of_standard_webhooks() {
        let pkcs_8 = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
        let seed = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
        let signed =
            |text| Signer::new(crate::Ed25519Body::new("x-sig"), &secret(text)).unwrap().sign("", 0, b"").unwrap();
        assert_eq!(signed(pkcs_8), signed(seed));
        let of_rfc_8032 = "5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc+bRr0lv18FlbviRlUUFDjnoQCw==";
        assert_eq!(signed(seed)["x-sig"], of_rfc_8032);
    }

    /// The signer takes it for the key of an HMAC, so the receiver must get the same text.
    #[cfg(feature = "ed25519")]
    #[test]
    fn a_private_key_of_openssl_is_the_key_of_an_hmac_in_standard_webhooks() {
        let pkcs_8 = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g";
        let signed = Signer::new(StandardWebhooks::new(), &secret(pkcs_8)).unwrap().sign("msg_1", 0, b"").unwrap();
        assert!(signed["webhook-signature"].to_str().unwrap().starts_with("v1,"));
        assert_eq!(Signing::standard_webhooks().receiver_secret(pkcs_8), pkcs_8);
        assert_ne!(Signing::of(crate::Ed25519Body::new("x-sig")).receiver_secret(pkcs_8), pkcs_8);
    }

    #[cfg(feature = "ed25519")]
    #[test]
    fn a_public_key_cannot_sign() {
        let [(_, public), _] = families::KEY_PAIRS;
        for scheme in families::key_pair_schemes() {
            let problem = Signer::new(scheme, &secret(public)).unwrap_err().to_string();
            assert!(problem.contains("public key") && problem.contains("`whsk_`"), "{problem}");
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
        for scheme in schemes() {
            let signing = Signing::of(scheme.clone());
            let signer = of(scheme);
            assert_eq!(signer.sign("a.b\n", 1_700_000_000, b"").is_ok(), !signing.signs_id(), "{signing:?}");
            assert_eq!(signer.sign("msg_1", i64::MIN, b"").is_ok(), !signing.signs_time(), "{signing:?}");
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
            let headers = signer.sign("msg_1", 1_700_000_000, b"{}").unwrap();
            assert!(headers.values().all(HeaderValue::is_sensitive));
            let shown = format!("{signer:?} {headers:?}");
            assert!(shown.contains("current") && !shown.contains(TEXT) && !shown.contains("second header"), "{shown}");
            for value in headers.values().filter_map(|value| value.to_str().ok()).filter(|value| value.len() > 20) {
                assert!(!shown.contains(value), "{shown}");
            }
        }
    }
}
