//! The signature of the headers that `medhook receive` adds to a forwarded event.
//!
//! A Standard Webhooks signature covers the id, the time and the body, but no other header. `medhook-signature` covers
//! the others, and the three headers of Standard Webhooks, so that headers of one request cannot be moved to another.
//!
//! The signed text begins with [`FIRST_LINE`], so it is never the message of a Standard Webhooks signature under the
//! same key: `{id}.{timestamp}.{body}` has no line break before its first `.`, because no header value has one.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Signer;
use crate::ConfigError;

/// The header with the signature.
const SIGNATURE: HeaderName = HeaderName::from_static("medhook-signature");

const FIRST_LINE: &[u8] = b"medhook headers v1\n";

/// The headers of Standard Webhooks, which must be there.
const MESSAGE: [&str; 3] = ["webhook-id", "webhook-signature", "webhook-timestamp"];

impl Signer {
    /// Signs the headers that describe an event: all that begin with `medhook-`, and `webhook-id`, `webhook-timestamp`
    /// and `webhook-signature`, which must have been [signed](Signer::sign) before. Returns the value of
    /// `medhook-signature`.
    ///
    /// This is the signature that `medhook receive` adds with `forward_secret`. A receiver of Standard Webhooks ignores
    /// it. An application that relies on a header `medhook-*` also calls [`verify_headers`](Signer::verify_headers).
    ///
    /// The value is `v1,` and the padded base64 of the HMAC-SHA256 of this text: the line `medhook headers v1`, then a
    /// line `name:value` for each of these headers but `medhook-signature`, with the name in lower case, sorted by
    /// name. Each line ends with a line feed.
    ///
    /// # Errors
    /// Returns an error if the scheme is not Standard Webhooks with a shared key, if one of its headers is missing, or
    /// if a header occurs twice.
    pub fn sign_headers(&self, headers: &HeaderMap) -> Result<HeaderValue, ConfigError> {
        for name in MESSAGE {
            if !headers.contains_key(name) {
                return Err(ConfigError::new(format!("header {name} is missing; sign the body first")));
            }
        }
        let signed = lines(headers);
        if let Some((name, _)) = signed.windows(2).find_map(|pair| match pair {
            [one, next] if one.0 == next.0 => Some(one),
            _ => None,
        }) {
            return Err(ConfigError::new(format!("header {name} occurs twice; a signed header must be unique")));
        }
        let signature = self.scheme.sign_text(&text(&signed));
        let signature =
            signature.ok_or_else(|| ConfigError::new("only Standard Webhooks with a shared key signs headers"))?;
        let mut value = HeaderValue::try_from(signature)
            .map_err(|error| ConfigError::new("medhook-signature: invalid value").with_source(error))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Returns whether `medhook-signature` is a signature of these headers under this signer's secret.
    ///
    /// It fails if a header `medhook-*` was added, removed, repeated or changed, or is from another request. It does
    /// not verify the body or the time: verify `webhook-signature`, too, which does.
    ///
    /// ```
    /// use medhook::sign::Signer;
    /// use medhook::{Bytes, Custom, NoDedupe, Receiver, Secret, StandardWebhooks};
    /// # use std::time::{SystemTime, UNIX_EPOCH};
    /// # let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    /// # let secret = Secret::new("whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz")?;
    /// # let body = Bytes::from_static(b"{}");
    /// # let signer = Signer::new(StandardWebhooks::new(), &secret)?;
    /// # let mut headers = signer.sign("medhook_1", i64::try_from(now)?, &body)?;
    /// # headers.insert("medhook-attempt", "3".parse()?);
    /// # headers.insert("medhook-signature", signer.sign_headers(&headers)?);
    ///
    /// // `secret` is `forward_secret` of `medhook receive`; `headers` and `body` are those
    /// // of a request.
    /// let forwarded = Custom::new("medhook", StandardWebhooks::new(), secret.clone());
    /// let receiver = Receiver::builder("app", forwarded).store(NoDedupe).build()?;
    /// let same = Signer::new(StandardWebhooks::new(), &secret)?;
    ///
    /// let verified = receiver.verify(&headers, body)?;
    /// assert!(same.verify_headers(&headers));
    /// assert_eq!(headers["medhook-attempt"], "3");
    /// # let mut changed = headers.clone();
    /// # changed.insert("medhook-attempt", "1".parse()?);
    /// # assert!(!same.verify_headers(&changed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn verify_headers(&self, headers: &HeaderMap) -> bool {
        let mut signatures = headers.get_all(SIGNATURE).iter();
        let (Some(signature), None) = (signatures.next(), signatures.next()) else { return false };
        self.scheme.has_signed_text(&text(&lines(headers)), signature.as_bytes())
    }
}

/// Returns the signed headers, sorted. Repeated ones stay, so that one that was added changes the text.
fn lines(headers: &HeaderMap) -> Vec<(&str, &[u8])> {
    let is_signed =
        |name: &str| MESSAGE.contains(&name) || (name.starts_with("medhook-") && name != SIGNATURE.as_str());
    let mut signed: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .filter(|(name, _)| is_signed(name))
        .collect();
    signed.sort_unstable();
    signed
}

fn text(signed: &[(&str, &[u8])]) -> Vec<u8> {
    let mut text = FIRST_LINE.to_vec();
    for (name, value) in signed {
        for part in [name.as_bytes(), b":", value, b"\n"] {
            text.extend_from_slice(part);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HmacSha256Body, Secret, SharedSecret, StandardWebhooks};

    const SECRET: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";

    fn signer(secret: &str) -> Signer {
        Signer::new(StandardWebhooks::new(), &Secret::new(secret).unwrap()).unwrap()
    }

    /// The headers of a forwarded event, without `medhook-signature`.
    fn headers() -> HeaderMap {
        let mut headers = signer(SECRET).sign("medhook_00", 1_767_225_600, b"{}").unwrap();
        for (name, value) in [
            ("medhook-attempt", "3"),
            ("medhook-endpoint", "fasten"),
            ("medhook-kind", "a%20kind"),
            ("content-type", "application/json"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers
    }

    fn signed() -> HeaderMap {
        let mut headers = headers();
        let signature = signer(SECRET).sign_headers(&headers).unwrap();
        headers.insert("medhook-signature", signature);
        headers
    }

    /// Both signatures were computed with OpenSSL 3.0:
    ///
    /// ```text
    /// $ key=$(printf c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz | base64 -d |
    ///         od -An -tx1 | tr -d ' \n')
    /// $ mac() { openssl dgst -sha256 -mac HMAC -macopt hexkey:$key -binary | base64; }
    /// $ s=$(printf 'medhook_00.1767225600.{}' | mac); echo $s
    /// SsIVD0OemoDaqGeDU3VR/G3kQhBROpJkk+QMsqA4R8A=
    /// $ printf '%s\n' 'medhook headers v1' medhook-attempt:3 medhook-endpoint:fasten \
    ///       'medhook-kind:a%20kind' webhook-id:medhook_00 \
    ///       webhook-signature:v1,$s webhook-timestamp:1767225600 | mac
    /// GUtYZD/saxu1ErBHpVMhQhDsM/CBRdunjtusVO2Gqao=
    /// ```
    #[test]
    fn a_signature_is_the_one_that_openssl_computes() {
        let headers = headers();
        assert_eq!(headers["webhook-signature"], "v1,SsIVD0OemoDaqGeDU3VR/G3kQhBROpJkk+QMsqA4R8A=");
        assert_eq!(signer(SECRET).sign_headers(&headers).unwrap(), "v1,GUtYZD/saxu1ErBHpVMhQhDsM/CBRdunjtusVO2Gqao=");
    }

    #[test]
    fn any_change_of_a_signed_header_is_noticed() {
        assert!(signer(SECRET).verify_headers(&signed()));
        for name in ["medhook-attempt", "medhook-endpoint", "webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut changed = signed();
            changed.insert(name, HeaderValue::from_static("1"));
            assert!(!signer(SECRET).verify_headers(&changed), "{name} changed");
            changed.remove(name);
            assert!(!signer(SECRET).verify_headers(&changed), "{name} removed");
            let mut repeated = signed();
            let value = repeated[name].clone();
            repeated.append(name, value);
            assert!(!signer(SECRET).verify_headers(&repeated), "{name} repeated");
        }
        let mut added = signed();
        added.insert("medhook-replay", HeaderValue::from_static("true"));
        assert!(!signer(SECRET).verify_headers(&added));
        let mut other = signed();
        other.insert("content-type", HeaderValue::from_static("text/plain"));
        other.insert("x-request-id", HeaderValue::from_static("1"));
        assert!(signer(SECRET).verify_headers(&other), "a proxy may change headers that are not signed");
    }

    #[test]
    fn only_a_single_signature_under_the_same_secret_is_valid() {
        assert!(!signer("whsec_b3RoZXIgc2VjcmV0IG9mIHNvbWUgYnl0ZXM=").verify_headers(&signed()));
        let mut headers = headers();
        assert!(!signer(SECRET).verify_headers(&headers), "missing");
        for invalid in ["", "v1,", "v2,aaaa", "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] {
            headers.insert("medhook-signature", HeaderValue::from_static(invalid));
            assert!(!signer(SECRET).verify_headers(&headers), "{invalid}");
        }
        let mut twice = signed();
        let value = twice["medhook-signature"].clone();
        twice.append("medhook-signature", value.clone());
        assert!(!signer(SECRET).verify_headers(&twice));
        let list = format!("v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= {}", value.to_str().unwrap());
        let mut rotated = signed();
        rotated.insert("medhook-signature", HeaderValue::try_from(list).unwrap());
        assert!(signer(SECRET).verify_headers(&rotated), "one of a list is enough");
    }

    #[test]
    fn the_signature_of_a_message_is_never_one_of_headers() {
        // The body is the text of the headers, under any id that a receiver accepts.
        let headers = headers();
        let body = text(&lines(&headers));
        let message = signer(SECRET).sign("medhook", 1_767_225_600, &body).unwrap();
        let mut moved = headers;
        moved.insert("medhook-signature", message["webhook-signature"].clone());
        assert!(!signer(SECRET).verify_headers(&moved));
    }

    #[test]
    fn headers_that_cannot_be_signed_are_an_error() {
        let problem = |signer: Signer, headers: &HeaderMap| signer.sign_headers(headers).unwrap_err().to_string();
        let mut headers = headers();
        let secret = Secret::new("0123456789abcdef0123456789abcdef").unwrap();
        let mac = Signer::new(HmacSha256Body::new("x-mac"), &secret).unwrap();
        let shared = Signer::new(SharedSecret::new("x-key"), &secret).unwrap();
        for other in [mac, shared] {
            assert!(problem(other, &headers).contains("only Standard Webhooks with a shared key"));
        }
        #[cfg(feature = "ed25519")]
        {
            let private = Secret::new("whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=").unwrap();
            let pair = Signer::new(StandardWebhooks::new(), &private).unwrap();
            assert!(problem(pair, &headers).contains("only Standard Webhooks with a shared key"));
        }
        headers.append("medhook-kind", HeaderValue::from_static("b"));
        assert_eq!(
            problem(signer(SECRET), &headers),
            "header medhook-kind occurs twice; a signed header must be unique"
        );
        headers.remove("webhook-id");
        assert_eq!(problem(signer(SECRET), &headers), "header webhook-id is missing; sign the body first");
    }
}
