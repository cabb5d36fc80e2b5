//! Standard Webhooks, symmetric (`v1`):
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.
//!
//! The signed message is `{webhook-id}.{webhook-timestamp}.{body}`. The signature is an HMAC-SHA256, written as padded
//! base64 after `v1,`, in a list separated by spaces. Differences from the reference libraries:
//!
//! - A `.` in the id and a timestamp in a non-canonical form are rejected: the three signed parts are joined by dots,
//!   so `("a", "1", "2.b")` would have the same signature as `("a.1", "2", "b")`.
//! - The MAC covers the timestamp's characters as received, not a number that was parsed and formatted again.
//! - The body need not be UTF-8: bytes are signed, not text.
//! - `svix-id` and the other `svix-` headers are ignored.

use base64ct::{Base64, Base64Unpadded, Encoding};
use http::HeaderName;
use subtle::Choice;
use zeroize::Zeroizing;

use super::header::required;
use super::keys::{KeyedMessage, Keys, Tag, same_as_any};
use super::verification::{SignatureScope, Verification};
#[cfg(feature = "sign")]
use crate::Found;
use crate::headers::{HeadFault, HeaderProblem, number};
use crate::secret::suspicious;
use crate::{ConfigError, Freshness, Headers, Reason, Secret, Secrets};

/// The Standard Webhooks scheme. Its secrets are base64, with or without the prefix `whsec_`.
#[derive(Debug, Clone, Copy, Default)]
pub struct StandardWebhooks;

impl StandardWebhooks {
    /// Creates the scheme, which has no options.
    #[must_use]
    pub fn new() -> Self {
        StandardWebhooks
    }

    pub(super) fn keyed(self, secrets: &Secrets) -> Result<KeyedStandardWebhooks, ConfigError> {
        Keys::read(secrets, decode_secret).map(|keys| KeyedStandardWebhooks { keys })
    }
}

/// Decodes the text of a secret to a key. Text that is not base64, or that was encoded twice, is rejected, since it was
/// copied incorrectly.
fn decode_secret(secret: &Secret) -> Result<Zeroizing<Vec<u8>>, String> {
    let encoded = secret.text().strip_prefix("whsec_").unwrap_or(secret.text());
    let mut key = Zeroizing::new(vec![0; encoded.len()]);
    let decoded = if encoded.ends_with('=') {
        Base64::decode(encoded, &mut key).map(<[u8]>::len)
    } else {
        Base64Unpadded::decode(encoded, &mut key).map(<[u8]>::len)
    };
    match decoded {
        Ok(length) => {
            key.truncate(length);
            if secret.is_checked() && key.starts_with(b"whsec_") {
                return Err(
                    "encoded twice: it is the base64 of a text that begins with `whsec_`; use that text".to_owned()
                );
            }
            Ok(key)
        }
        Err(_) => Err(match suspicious(secret.text()) {
            Some(mistake) => format!("not base64, as Standard Webhooks requires: it {mistake}"),
            None => "not base64; a Standard Webhooks secret is base64, with or without the prefix `whsec_`".to_owned(),
        }),
    }
}

/// Returns whether a secret is `whsec_` and a key in hexadecimal digits. Random base64 never has only these.
pub(super) fn is_hex(text: &str) -> bool {
    let digits = text.strip_prefix("whsec_").filter(|digits| digits.len() >= 32);
    digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

pub(crate) struct KeyedStandardWebhooks {
    pub(super) keys: Keys,
}

impl KeyedStandardWebhooks {
    #[inline]
    pub(super) fn begin<'a>(
        &self,
        headers: &'a (impl Headers + ?Sized),
        freshness: Freshness,
        now: impl FnOnce() -> i64,
    ) -> Result<StandardWebhooksCheck<'a>, HeadFault> {
        let id = required(headers.find(&ID)).and_then(message_id).map_err(|problem| problem.of(&ID))?;
        let timestamp = required(headers.find(&TIMESTAMP)).map_err(|problem| problem.of(&TIMESTAMP))?;
        let signatures = required(headers.find(&SIGNATURE)).map_err(|problem| problem.of(&SIGNATURE))?;
        let attempted_at = canonical_seconds(timestamp).map_err(|problem| problem.of(&TIMESTAMP))?;
        well_formed(signatures).map_err(|problem| problem.of(&SIGNATURE))?;
        freshness.judge(attempted_at, now()).map_err(|reason| outside(reason, attempted_at).of(&TIMESTAMP))?;
        let message = KeyedMessage::new([id, b".", timestamp, b"."]);
        Ok(StandardWebhooksCheck { message, signatures, id, attempted_at })
    }

    /// Signs a body with this id and timestamp, which are written as given, and returns the headers.
    #[cfg(feature = "sign")]
    pub(super) fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> Option<[(HeaderName, String); 3]> {
        let tag = self.keys.sign([id.as_bytes(), b".", timestamp.as_bytes(), b"."], body)?;
        let signature = format!("v1,{}", Base64::encode_string(&tag));
        Some([(ID.clone(), id.to_owned()), (TIMESTAMP.clone(), timestamp.to_owned()), (SIGNATURE.clone(), signature)])
    }

    /// Signs a text other than a message. Returns its signature with the version.
    #[cfg(feature = "sign")]
    pub(super) fn sign_text(&self, text: &[u8]) -> Option<String> {
        Some(format!("v1,{}", Base64::encode_string(&self.keys.sign([], text)?)))
    }

    /// Returns whether a list of signatures has one of this text.
    #[cfg(feature = "sign")]
    pub(super) fn has_signed_text(&self, text: &[u8], signatures: &[u8]) -> bool {
        let expected = self.keys.sign([], text).and_then(|tag| encoded(&tag));
        well_formed(signatures).is_ok()
            && expected.is_some_and(|expected| same_as_any(&expected, entries(signatures).flatten()).into())
    }
}

/// Returns whether a receiver accepts this text as a message id.
#[cfg(feature = "sign")]
pub(super) fn is_message_id(text: &str) -> bool {
    required(Found::Once(text.as_bytes())).and_then(message_id).is_ok()
}

pub(crate) struct StandardWebhooksCheck<'a> {
    pub(super) message: KeyedMessage<'a, 4>,
    signatures: &'a [u8],
    id: &'a [u8],
    attempted_at: i64,
}

impl<'a> StandardWebhooksCheck<'a> {
    #[inline]
    pub(super) fn finish(self, keys: &Keys, rest: &[u8]) -> Result<Verification<'a>, Reason> {
        let secret = self.message.first_match(keys, rest, |tag| {
            let Some(expected) = encoded(tag) else { return Choice::from(0) };
            same_as_any(&expected, entries(self.signatures).flatten())
        })?;
        Ok(Verification {
            signature_scope: SignatureScope::BodyAndTime,
            secret,
            message_id: Some(self.id),
            attempted_at: Some(self.attempted_at),
        })
    }
}

/// Encodes a MAC in canonical, padded base64.
///
/// Encoding the expected MAC once takes 671 instructions; decoding each of up to [`MOST_SIGNATURES`] candidates takes
/// 1,309 (`scripts/count --functions verify`). Comparing the texts accepts the same signatures: canonical base64 of 32
/// bytes, and nothing else.
///
/// base64ct encodes in constant time. The buffer fits 32 bytes, so this never returns `None`; if it did, no signature
/// would match.
#[inline]
fn encoded(tag: &Tag) -> Option<[u8; ENCODED_LENGTH]> {
    let mut text = [0; ENCODED_LENGTH];
    let written = Base64::encode(tag, &mut text).ok()?.len();
    (written == ENCODED_LENGTH).then_some(text)
}

const ENCODED_LENGTH: usize = 44;

/// Returns the entries of a space-separated list: a signature of version 1 and the right length, or `None` for any
/// other entry. The specification requires unknown versions to be ignored.
///
/// With `split` at every space, `verify` takes 548 instructions (14 %) more for one signature (`scripts/count`).
#[inline]
fn entries(mut signatures: &[u8]) -> impl Iterator<Item = Option<&[u8; ENCODED_LENGTH]>> {
    std::iter::from_fn(move || {
        while let Some((b' ', rest)) = signatures.split_first() {
            signatures = rest;
        }
        if signatures.is_empty() {
            return None;
        }
        // The next space is expected right after a signature. A text with earlier spaces is returned as a signature,
        // too, but equals none, since base64 has no spaces, and is too short to hide a whole signature.
        if let Some((encoded, rest)) = signatures.strip_prefix(b"v1,").and_then(|text| text.split_first_chunk())
            && rest.first().is_none_or(|next| *next == b' ')
        {
            signatures = rest;
            return Some(Some(encoded));
        }
        let end = signatures.iter().position(|byte| *byte == b' ').unwrap_or(signatures.len());
        signatures = signatures.get(end..).unwrap_or_default();
        Some(None)
    })
}

/// Returns the problem of a timestamp that is outside of the freshness window.
#[cold]
fn outside(reason: Reason, attempted_at: i64) -> HeaderProblem {
    match reason {
        Reason::Stale => HeaderProblem::Old,
        _ if attempted_at >= EARLIEST_MILLISECONDS => HeaderProblem::FinerUnit,
        _ => HeaderProblem::Ahead,
    }
}

/// The milliseconds of September 2001; as seconds, a time after the year 33000.
const EARLIEST_MILLISECONDS: i64 = 1_000_000_000_000;

fn well_formed(signatures: &[u8]) -> Result<(), HeaderProblem> {
    let (mut count, mut plausible) = (0_usize, false);
    for entry in entries(signatures).take(MOST_SIGNATURES + 1) {
        count = count.saturating_add(1);
        plausible |= entry.is_some();
    }
    if !signatures.is_ascii() {
        Err(HeaderProblem::NotVisibleAscii)
    } else if count > MOST_SIGNATURES {
        Err(HeaderProblem::TooManySignatures)
    } else if !plausible {
        Err(HeaderProblem::NoSignature)
    } else {
        Ok(())
    }
}

const MOST_SIGNATURES: usize = 32;

/// Returns the id if it is visible ASCII without a dot. With `all`, which stops at the first wrong byte, `verify` takes
/// 26 instructions more for a correct id (`scripts/count`).
fn message_id(value: &[u8]) -> Result<&[u8], HeaderProblem> {
    let clean = value.iter().fold(true, |clean, byte| clean & byte.is_ascii_graphic() & (*byte != b'.'));
    match clean {
        true => Ok(value),
        false if value.contains(&b'.') => Err(HeaderProblem::Dot),
        false => Err(HeaderProblem::NotVisibleAscii),
    }
}

/// Parses seconds written with digits only, without a sign or a leading zero, so that each time has one text.
fn canonical_seconds(value: &[u8]) -> Result<i64, HeaderProblem> {
    let canonical = value.len() == 1 || value.first() != Some(&b'0');
    let seconds = number(value).ok_or(HeaderProblem::NotInteger)?;
    let seconds = i64::try_from(seconds).map_err(|_| HeaderProblem::TooLarge)?;
    if canonical { Ok(seconds) } else { Err(HeaderProblem::LeadingZero) }
}

pub(crate) static ID: HeaderName = HeaderName::from_static("webhook-id");
pub(crate) static TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
pub(crate) static SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_cannot_be_decoded_is_an_error_with_the_likely_cause() {
        let problem = |text: &str| {
            let secret = Secret::new(text).unwrap().literal().labeled("KEY").unwrap();
            StandardWebhooks::new().keyed(&secret.into()).err().expect("rejected").to_string()
        };
        for (text, cause) in [
            ("\"whsec_AAECAwQFBgcICQoLDA0ODw==\"", "is in quotation marks; remove them"),
            ("${FASTEN_SECRET}", "holds an unexpanded variable"),
            ("SECRET=whsec_AAECAwQFBgcICQoLDA0ODw==", "begins with a name and `=`"),
            ("whsec_..", "looks like a placeholder"),
        ] {
            let problem = problem(text);
            let begins = format!("secret KEY: not base64, as Standard Webhooks requires: it {cause}");
            assert!(problem.starts_with(&begins) && !problem.contains("AAECAw"), "{problem}");
        }
        // The base64 of `whsec_AAECAwQFBgcICQoLDA0ODw==`, with and without a prefix.
        for text in ["d2hzZWNfQUFFQ0F3UUZCZ2NJQ1FvTERBME9Edz09", "whsec_d2hzZWNfQUFFQ0F3UUZCZ2NJQ1FvTERBME9Edz09"] {
            let twice = "encoded twice: it is the base64 of a text that begins with `whsec_`; use that text";
            assert_eq!(problem(text), format!("secret KEY: {twice}"));
        }
    }

    #[test]
    fn secrets_must_be_base64_with_or_without_the_prefix() {
        let decode_secret = |text: &str| super::decode_secret(&Secret::new(text).unwrap());
        let key = decode_secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
        assert_eq!(key.len(), 24);
        assert_eq!(decode_secret("C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap(), key);
        assert_eq!(decode_secret("whsec_AAECAw==").unwrap().as_slice(), [0, 1, 2, 3]);
        assert_eq!(decode_secret("whsec_AAECAw").unwrap().as_slice(), [0, 1, 2, 3]);
        for text in ["whsec_not base64!", "hs_test_secret", "whsec_AAECAw=", "whsec_AAEC_w=="] {
            assert!(decode_secret(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_in_two_spellings_is_rejected() {
        let secrets = Secrets::new(Secret::new("whsec_AAECAwQFBgcICQoLDA0ODw==").unwrap().labeled("new").unwrap());
        let secrets = secrets.also(Secret::new("AAECAwQFBgcICQoLDA0ODw==").unwrap().labeled("old").unwrap()).unwrap();
        let error = StandardWebhooks::new().keyed(&secrets).err().expect("rejected");
        assert_eq!(error.to_string(), "secret old is the same key as secret new");
        let empty = Secrets::new(Secret::new("whsec_").unwrap().labeled("none").unwrap());
        assert!(StandardWebhooks::new().keyed(&empty).is_err());
    }

    #[test]
    fn an_id_must_be_visible_ascii_without_a_dot() {
        for id in ["msg_1", "!", "~"] {
            assert_eq!(message_id(id.as_bytes()), Ok(id.as_bytes()));
        }
        for id in [".", ".a", "a.b", "a."] {
            assert_eq!(message_id(id.as_bytes()), Err(HeaderProblem::Dot), "{id:?}");
        }
        for id in [" a", "a b", "a\t", "a\u{7f}", "\u{1f}a", "é"] {
            assert_eq!(message_id(id.as_bytes()), Err(HeaderProblem::NotVisibleAscii), "{id:?}");
        }
    }

    #[test]
    fn each_time_has_one_accepted_text() {
        assert_eq!(canonical_seconds(b"1700000000"), Ok(1_700_000_000));
        assert_eq!(canonical_seconds(b"0"), Ok(0));
        for text in ["", "+1700000000", "-1", "1e9", "1.5", " 1", "1:", "1/", "١"] {
            assert_eq!(canonical_seconds(text.as_bytes()), Err(HeaderProblem::NotInteger), "{text}");
        }
        assert_eq!(canonical_seconds(b"001700000000"), Err(HeaderProblem::LeadingZero));
        assert_eq!(canonical_seconds(b"9223372036854775808"), Err(HeaderProblem::TooLarge));
    }

    #[test]
    fn a_list_needs_one_plausible_signature_and_at_most_32_entries() {
        let good = format!("v1,{}=", "A".repeat(43));
        for list in [good.clone(), format!("v1a,xyz {good}"), format!("v1,short  {good} "), format!(" {good} v2")] {
            assert_eq!(well_formed(list.as_bytes()), Ok(()), "{list}");
        }
        let many = |count| vec![good.as_str(); count].join(" ");
        assert_eq!(well_formed(many(32).as_bytes()), Ok(()));
        for list in ["v1,", "v1", "v1a,AAAA", "V1,AAAA", &good[3..]] {
            assert_eq!(well_formed(list.as_bytes()), Err(HeaderProblem::NoSignature), "{list}");
        }
        assert_eq!(well_formed(many(33).as_bytes()), Err(HeaderProblem::TooManySignatures));
        assert_eq!(well_formed(format!("{good} é").as_bytes()), Err(HeaderProblem::NotVisibleAscii));
    }

    #[test]
    fn no_entry_hides_the_next_one() {
        let good = format!("{}=", "A".repeat(43));
        for filler in ["a", "v1,", " ", "a b ", "v1, ", "v1,a "] {
            for length in 0..100 {
                let before: String = filler.chars().cycle().take(length).collect();
                for list in [format!("{before} v1,{good}"), format!("v1,{before} v1,{good} {before}")] {
                    let found = entries(list.as_bytes()).flatten().any(|encoded| encoded == good.as_bytes());
                    assert!(found, "{list}");
                }
            }
        }
    }
}
