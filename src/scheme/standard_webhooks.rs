//! Standard Webhooks, symmetric (`v1`) and asymmetric (`v1a`):
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.
//!
//! The signed message is `{webhook-id}.{webhook-timestamp}.{body}`. The signature is an HMAC-SHA256, written as padded
//! base64 after `v1,`, or an Ed25519 signature after `v1a,`, in a list separated by spaces. A version is verified by
//! keys of its own kind only. Differences from the reference libraries:
//!
//! - A `.` in the id and a timestamp in a non-canonical form are rejected: the three signed parts are joined by dots,
//!   so `("a", "1", "2.b")` would have the same signature as `("a.1", "2", "b")`.
//! - The MAC covers the timestamp's characters as received, not a number that was parsed and formatted again.
//! - The body need not be UTF-8: bytes are signed, not text.
//! - Headers with another prefix are ignored: the three headers are never of two families.

#[cfg(feature = "sign")]
use base64ct::{Base64, Encoding};
use http::HeaderName;
use subtle::Choice;

use super::encoding::{self, SecretEncoding, tag_in_base64};
use super::header::{MOST_HEADERS, SignedHeaders, header_name, most_ed25519, required};
use super::keys::{KeyMaterial, KeyUse, KeyedMessage, Keys, Presented, Tag, same_as_any};
use super::signature::canonical_integer;
#[cfg(feature = "ed25519")]
use super::signature::ed25519_key;
use super::verification::{SignatureScope, Verification};
#[cfg(feature = "sign")]
use crate::Found;
use crate::headers::{HeadFault, HeaderProblem};
use crate::secret::suspicious;
use crate::{ConfigError, Freshness, Reason, Secret, Secrets};

/// The Standard Webhooks scheme.
///
/// A secret is a shared key in base64, with or without the prefix `whsec_`, which verifies signatures of version `v1`,
/// or (feature `ed25519`) the sender's public key with the prefix `whpk_`, which verifies those of version `v1a`. A
/// receiver may have secrets of both kinds. Of a list of at most 32 signatures one must be valid; 16 of them may be of
/// version `v1a` (10 with three public keys, 8 with four).
///
/// ```
/// use medhook::StandardWebhooks;
///
/// // `svix-id`, `svix-timestamp` and `svix-signature`
/// let svix = StandardWebhooks::new().header_prefix("svix-");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandardWebhooks {
    prefix: String,
    secret_encoding: SecretEncoding,
    is_event_time: bool,
}

impl Default for StandardWebhooks {
    fn default() -> Self {
        StandardWebhooks::new()
    }
}

impl StandardWebhooks {
    /// Creates the scheme with the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`.
    #[must_use]
    pub fn new() -> Self {
        StandardWebhooks {
            prefix: "webhook-".to_owned(),
            secret_encoding: SecretEncoding::Base64,
            is_event_time: false,
        }
    }

    /// Sets the beginning of the names of all three headers. The default is `webhook-`; Svix sends `svix-` unless its
    /// customer chose otherwise. Headers with another prefix are ignored.
    #[must_use]
    pub fn header_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the encoding of a shared key in its secret, instead of base64 with or without `whsec_`. With
    /// [`SecretEncoding::Text`] the key is the whole text, as some senders use it contrary to the specification.
    #[must_use]
    pub fn secret_encoding(mut self, encoding: SecretEncoding) -> Self {
        self.secret_encoding = encoding;
        self
    }

    /// Declares that the signed timestamp is the time of the event, which is the same for all attempts, contrary to the
    /// specification. Stedi sends it so, and retries for 48 hours. It is checked by [`Freshness::EventTime`], which
    /// must then be set, with a `max_age` that covers the provider's last retry.
    #[must_use]
    pub fn timestamp_of_event(mut self) -> Self {
        self.is_event_time = true;
        self
    }

    /// Returns the names of the headers: id, timestamp and signature.
    #[must_use]
    pub fn header_names(&self) -> [String; 3] {
        ["id", "timestamp", "signature"].map(|name| format!("{}{name}", self.prefix))
    }

    /// Returns the beginning of the names of the headers.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the encoding of a shared key in its secret.
    #[must_use]
    pub fn key_encoding(&self) -> SecretEncoding {
        self.secret_encoding
    }

    /// Returns whether the signed timestamp is the time of the event.
    #[must_use]
    pub fn is_event_time(&self) -> bool {
        self.is_event_time
    }

    pub(super) fn keyed(&self, secrets: &Secrets, key_use: KeyUse) -> Result<KeyedStandardWebhooks, ConfigError> {
        if !self.prefix.ends_with(['-', '_']) {
            return Err(ConfigError::new("the prefix of the headers must end with `-` or `_`, as `svix-` does"));
        }
        let [id, timestamp, signature] = self.header_names();
        Ok(KeyedStandardWebhooks {
            names: [header_name(&id)?, header_name(&timestamp)?, header_name(&signature)?],
            is_event_time: self.is_event_time,
            accepts: Versions::of(secrets),
            keys: Keys::read(secrets, key_use, |secret| decode_secret(secret, self.secret_encoding))?,
        })
    }
}

/// The versions of signatures that the keys of an endpoint verify.
#[derive(Debug, Clone, Copy)]
struct Versions {
    v1: bool,
    /// The number of keys that verify `v1a`.
    public_keys: usize,
}

impl Versions {
    fn of(secrets: &Secrets) -> Self {
        let is_pair = |secret: &Secret| is_of_pair(secret.text());
        Versions {
            v1: !secrets.iter().all(is_pair),
            public_keys: secrets.iter().filter(|secret| is_pair(secret)).count(),
        }
    }

    fn v1a(self) -> bool {
        self.public_keys > 0
    }
}

/// Returns whether a secret is a key of a pair, public or private, never the key of an HMAC.
pub(super) fn is_of_pair(text: &str) -> bool {
    text.starts_with("whpk_") || text.starts_with("whsk_")
}

/// Decodes the text of a secret to a key. Text that is not base64, or that was encoded twice, is rejected, since it was
/// copied incorrectly.
fn decode_secret(secret: &Secret, encoding: SecretEncoding) -> Result<KeyMaterial, String> {
    if is_of_pair(secret.text()) {
        #[cfg(feature = "ed25519")]
        return ed25519_key(SecretEncoding::Base64, secret.text());
        #[cfg(not(feature = "ed25519"))]
        return Err("is a key of Ed25519, which needs the feature `ed25519` of medhook".to_owned());
    }
    let encoded = match encoding {
        SecretEncoding::Text => secret.text(),
        _ => secret.text().strip_prefix("whsec_").unwrap_or(secret.text()),
    };
    match encoding.decode(encoded) {
        Some(key) => {
            if encoding == SecretEncoding::Base64 && secret.is_checked() && key.starts_with(b"whsec_") {
                return Err(
                    "encoded twice: it is the base64 of a text that begins with `whsec_`; use that text".to_owned()
                );
            }
            Ok(KeyMaterial::HmacSha256(key))
        }
        None if encoding == SecretEncoding::Hex => Err("not hexadecimal digits, as configured".to_owned()),
        None => Err(match suspicious(secret.text()) {
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
    /// The headers of the id, the timestamp and the signatures.
    names: [HeaderName; 3],
    is_event_time: bool,
    accepts: Versions,
    pub(super) keys: Keys,
}

impl KeyedStandardWebhooks {
    #[inline]
    pub(super) fn begin<'a>(
        &self,
        [id, timestamp, signatures]: &SignedHeaders<'a>,
        freshness: Freshness,
        now: impl FnOnce() -> i64,
    ) -> Result<StandardWebhooksCheck<'a>, HeadFault> {
        let [id_name, timestamp_name, signature_name] = &self.names;
        let id = required(*id).and_then(message_id).map_err(|problem| problem.of(id_name))?;
        let timestamp = required(*timestamp).map_err(|problem| problem.of(timestamp_name))?;
        let signatures = required(*signatures).map_err(|problem| problem.of(signature_name))?;
        let signed_time = canonical_integer(timestamp).map_err(|problem| problem.of(timestamp_name))?;
        self.well_formed(signatures).map_err(|problem| problem.of(signature_name))?;
        // An event time in the body is another time than that of the attempt.
        if self.is_event_time || !matches!(freshness, Freshness::EventTime { .. }) {
            let checked = freshness.check(signed_time, now());
            checked.map_err(|reason| outside(reason, signed_time).of(timestamp_name))?;
        }
        let message = KeyedMessage::default();
        Ok(StandardWebhooksCheck { message, signatures, id, timestamp, signed_time })
    }

    /// Returns the names of the headers, in the order in which they are found.
    pub(super) fn headers(&self) -> &[HeaderName; MOST_HEADERS] {
        &self.names
    }

    fn well_formed(&self, signatures: &[u8]) -> Result<(), HeaderProblem> {
        well_formed(signatures, self.accepts)
    }

    pub(super) fn signs_attempt_time(&self) -> bool {
        !self.is_event_time
    }

    /// Returns the HMAC-SHA256 of a challenge under the first key.
    pub(super) fn challenge_mac(&self, challenge: &[u8]) -> Option<Tag> {
        self.keys.sha256_mac(challenge)
    }

    /// Signs a body with this id and timestamp, which are written as given, and returns the headers.
    #[cfg(feature = "sign")]
    pub(super) fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> Option<Vec<(HeaderName, String)>> {
        let [id_name, timestamp_name, signature_name] = &self.names;
        let message = message(id.as_bytes(), timestamp.as_bytes()).into_iter().chain([body]);
        let signature = self.written(message)?;
        Some(vec![
            (id_name.clone(), id.to_owned()),
            (timestamp_name.clone(), timestamp.to_owned()),
            (signature_name.clone(), signature),
        ])
    }

    /// Signs a text other than a message, with a shared key. Returns its signature with the version.
    #[cfg(feature = "sign")]
    pub(super) fn sign_text(&self, text: &[u8]) -> Option<String> {
        Some(format!("v1,{}", Base64::encode_string(&self.keys.sha256_mac(text)?)))
    }

    #[cfg(feature = "sign")]
    fn written<'p>(&self, parts: impl Iterator<Item = &'p [u8]> + Clone) -> Option<String> {
        let version = if self.keys.signs_with_ed25519() { "v1a" } else { "v1" };
        Some(format!("{version},{}", Base64::encode_string(&self.keys.sign(parts)?)))
    }

    /// Returns whether a list of signatures has one of this text, by a shared key.
    #[cfg(feature = "sign")]
    pub(super) fn has_signed_text(&self, text: &[u8], signatures: &[u8]) -> bool {
        let expected = self.keys.sha256_mac(text).map(|tag| tag_in_base64(&tag));
        self.well_formed(signatures).is_ok()
            && expected.is_some_and(|expected| same_as_any(&expected, shared_key_signatures(signatures)).into())
    }
}

/// Returns the parts of a message before the body.
#[inline]
fn message<'p>(id: &'p [u8], timestamp: &'p [u8]) -> [&'p [u8]; 4] {
    [id, b".", timestamp, b"."]
}

/// Returns whether a receiver accepts this text as a message id.
#[cfg(feature = "sign")]
pub(super) fn is_message_id(text: &str) -> bool {
    required(Found::Once(text.as_bytes())).and_then(message_id).is_ok()
}

pub(crate) struct StandardWebhooksCheck<'a> {
    message: KeyedMessage,
    signatures: &'a [u8],
    id: &'a [u8],
    timestamp: &'a [u8],
    signed_time: i64,
}

/// The signatures of a delivery, as a list.
struct PresentedList<'a>(&'a [u8]);

impl Presented for PresentedList<'_> {
    #[inline]
    fn has_mac<const LENGTH: usize>(&self, mac: &[u8; LENGTH]) -> Choice {
        let expected = mac.first_chunk().filter(|_| LENGTH == 32).map(tag_in_base64);
        expected.map_or(Choice::from(0), |expected| same_as_any(&expected, shared_key_signatures(self.0)))
    }

    #[cfg(feature = "ed25519")]
    fn ed25519(&self) -> impl Iterator<Item = [u8; 64]> {
        entries(self.0).filter_map(|entry| match entry {
            ListEntry::PublicKey(text) => super::encoding::Encoding::Base64.decode(text),
            _ => None,
        })
    }
}

impl<'a> StandardWebhooksCheck<'a> {
    pub(super) fn push(&mut self, scheme: &KeyedStandardWebhooks, bytes: &[u8]) {
        let before = message(self.id, self.timestamp).into_iter();
        self.message.update(&scheme.keys, before, &PresentedList(self.signatures), bytes);
    }

    #[inline]
    pub(super) fn finish(self, scheme: &KeyedStandardWebhooks, rest: &[u8]) -> Result<Verification<'a>, Reason> {
        let before = message(self.id, self.timestamp).into_iter();
        let presented = PresentedList(self.signatures);
        let secret = self.message.first_match(&scheme.keys, before, &presented, std::iter::once(rest))?;
        let (attempted_at, occurred_at) =
            if scheme.is_event_time { (None, Some(self.signed_time)) } else { (Some(self.signed_time), None) };
        Ok(Verification {
            signature_scope: if scheme.is_event_time { SignatureScope::Body } else { SignatureScope::BodyAndTime },
            secret,
            message_id: Some(self.id),
            attempted_at,
            occurred_at,
        })
    }
}

const ENCODED_LENGTH: usize = encoding::TAG_IN_BASE64;

/// An entry of a list of signatures.
#[derive(Debug, PartialEq, Eq)]
enum ListEntry<'s> {
    /// A signature of version `v1`.
    SharedKey(&'s [u8; ENCODED_LENGTH]),
    /// A signature of version `v1a`.
    PublicKey(&'s [u8; LONG_ENCODED_LENGTH]),
    /// Any other entry. The specification requires unknown versions to be ignored.
    Other,
}

/// The length of 64 bytes in base64.
const LONG_ENCODED_LENGTH: usize = 88;

/// Returns the entries of a space-separated list.
///
/// With `split` at every space, `verify` takes 548 instructions (14 %) more for one signature (`scripts/count`).
#[inline]
fn entries(mut signatures: &[u8]) -> impl Iterator<Item = ListEntry<'_>> {
    std::iter::from_fn(move || {
        while let Some((b' ', rest)) = signatures.split_first() {
            signatures = rest;
        }
        if signatures.is_empty() {
            return None;
        }
        // The next space is expected right after a signature. A text with earlier spaces is returned as a signature,
        // too, but equals none, since base64 has no spaces, and is too short to hide a whole signature.
        if let Some((encoded, rest)) = of_version(signatures, b"v1,") {
            signatures = rest;
            return Some(ListEntry::SharedKey(encoded));
        }
        let end = signatures.iter().position(|byte| *byte == b' ').unwrap_or(signatures.len());
        let (entry, rest) = signatures.split_at_checked(end).unwrap_or((signatures, &[]));
        signatures = rest;
        Some(match of_version(entry, b"v1a,") {
            Some((encoded, _)) => ListEntry::PublicKey(encoded),
            None => ListEntry::Other,
        })
    })
}

/// Returns the text of a signature and the rest of the list, if it begins with a signature of this version.
#[inline]
fn of_version<'s, const LENGTH: usize>(list: &'s [u8], version: &[u8]) -> Option<(&'s [u8; LENGTH], &'s [u8])> {
    let (encoded, rest) = list.strip_prefix(version)?.split_first_chunk()?;
    rest.first().is_none_or(|next| *next == b' ').then_some((encoded, rest))
}

/// A signature of version `v1`, and the space after it.
type SpacedEntry = [u8; b"v1,".len() + ENCODED_LENGTH + 1];

/// Returns the signatures of version `v1` with which a list begins, each followed by a space, and the rest of the list.
///
/// A long list is almost all that. With [`entries`] for all of it, 32 signatures take 2,540 instructions (53 %) more.
#[inline]
fn spaced_entries(signatures: &[u8]) -> (&[SpacedEntry], &[u8]) {
    let (entries, _) = signatures.as_chunks();
    let is_spaced = |entry: &&SpacedEntry| entry.starts_with(b"v1,") && entry.ends_with(b" ");
    let count = entries.iter().take_while(is_spaced).count();
    let spaced = entries.get(..count).unwrap_or_default();
    (spaced, signatures.get(spaced.as_flattened().len()..).unwrap_or_default())
}

#[inline]
fn shared_key_signatures(signatures: &[u8]) -> impl Iterator<Item = &[u8; ENCODED_LENGTH]> {
    let (spaced, rest) = spaced_entries(signatures);
    let spaced = spaced.iter().filter_map(|[_, _, _, text @ ..]| text.first_chunk());
    let is_shared_key = |entry| if let ListEntry::SharedKey(text) = entry { Some(text) } else { None };
    spaced.chain(entries(rest).filter_map(is_shared_key))
}

/// Returns the problem of a timestamp that is outside of the freshness window.
#[cold]
fn outside(reason: Reason, attempted_at: i64) -> HeaderProblem {
    match reason {
        Reason::Stale => HeaderProblem::Old,
        _ => HeaderProblem::ahead(attempted_at),
    }
}

fn well_formed(signatures: &[u8], accepts: Versions) -> Result<(), HeaderProblem> {
    let (spaced, rest) = spaced_entries(signatures);
    let (mut count, mut public_key, mut plausible) = (spaced.len(), 0_usize, accepts.v1 && !spaced.is_empty());
    for entry in entries(rest).take(MOST_SIGNATURES + 1) {
        count = count.saturating_add(1);
        let is_public_key = matches!(entry, ListEntry::PublicKey(_));
        public_key = public_key.saturating_add(usize::from(is_public_key));
        plausible |= (accepts.v1a() && is_public_key) | (accepts.v1 && matches!(entry, ListEntry::SharedKey(_)));
    }
    if !signatures.is_ascii() {
        return Err(HeaderProblem::NotVisibleAscii);
    }
    if count > MOST_SIGNATURES {
        return Err(HeaderProblem::TooManySignatures);
    }
    if accepts.v1a() && public_key > most_ed25519(accepts.public_keys) {
        return Err(HeaderProblem::TooManyPublicKeySignatures);
    }
    match plausible {
        true => Ok(()),
        false if accepts.v1 => Err(HeaderProblem::NoSignature),
        false => Err(HeaderProblem::NoPublicKeySignature),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_cannot_be_decoded_is_an_error_with_the_likely_cause() {
        let problem = |text: &str| {
            let secret = Secret::new(text).unwrap().literal().labeled("KEY").unwrap();
            StandardWebhooks::new().keyed(&secret.into(), KeyUse::Verify).err().expect("rejected").to_string()
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
        let decode_secret =
            |text: &str| match super::decode_secret(&Secret::new(text).unwrap(), SecretEncoding::Base64)? {
                KeyMaterial::HmacSha256(key) => Ok::<_, String>(key),
                _ => panic!("the key of an HMAC"),
            };
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
        let error = StandardWebhooks::new().keyed(&secrets, KeyUse::Verify).err().expect("rejected");
        assert_eq!(error.to_string(), "secret old is the same key as secret new");
        let empty = Secrets::new(Secret::new("whsec_").unwrap().labeled("none").unwrap());
        assert!(StandardWebhooks::new().keyed(&empty, KeyUse::Verify).is_err());
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
    fn a_list_needs_one_plausible_signature_and_at_most_32_entries() {
        const BOTH: Versions = Versions { v1: true, public_keys: 1 };
        const V1: Versions = Versions { v1: true, public_keys: 0 };
        const V1A: Versions = Versions { v1: false, public_keys: 1 };
        let well_formed = |list: &[u8]| super::well_formed(list, V1);
        let good = format!("v1,{}=", "A".repeat(43));
        let pair = format!("v1a,{}==", "A".repeat(86));
        for list in [good.clone(), format!("v1a,xyz {good}"), format!("v1,short  {good} "), format!(" {good} v2")] {
            assert_eq!(well_formed(list.as_bytes()), Ok(()), "{list}");
        }
        let many = |count| vec![good.as_str(); count].join(" ");
        assert_eq!(well_formed(many(32).as_bytes()), Ok(()));
        for list in ["v1,", "v1", "v1a,AAAA", "V1,AAAA", &good[3..]] {
            assert_eq!(well_formed(list.as_bytes()), Err(HeaderProblem::NoSignature), "{list}");
        }
        assert_eq!(well_formed(many(33).as_bytes()), Err(HeaderProblem::TooManySignatures));
        // Entries of unknown versions count, too.
        let unknown = |count| vec!["v2,a"; count].join(" ");
        assert_eq!(well_formed(unknown(32).as_bytes()), Err(HeaderProblem::NoSignature));
        assert_eq!(well_formed(unknown(33).as_bytes()), Err(HeaderProblem::TooManySignatures));
        assert_eq!(well_formed(format!("{good} {}", unknown(31)).as_bytes()), Ok(()));
        let too_many = format!("{good} {}", unknown(32));
        assert_eq!(well_formed(too_many.as_bytes()), Err(HeaderProblem::TooManySignatures));
        assert_eq!(well_formed(format!("{good} é").as_bytes()), Err(HeaderProblem::NotVisibleAscii));

        // Only signatures of the versions that the keys verify are plausible.
        let of = |list: &str, accepts| super::well_formed(list.as_bytes(), accepts);
        assert_eq!((of(&pair, V1), of(&pair, V1A)), (Err(HeaderProblem::NoSignature), Ok(())));
        assert_eq!((of(&good, V1), of(&good, V1A)), (Ok(()), Err(HeaderProblem::NoPublicKeySignature)));
        assert_eq!(
            (of(&pair, BOTH), of(&good, BOTH), of("v2,A", BOTH)),
            (Ok(()), Ok(()), Err(HeaderProblem::NoSignature))
        );
        let many = |count| vec![pair.as_str(); count].join(" ");
        assert_eq!(of(&many(16), V1A), Ok(()));
        assert_eq!(of(&many(17), V1A), Err(HeaderProblem::TooManyPublicKeySignatures));
        for (public_keys, most) in [(2, 16), (3, 10), (4, 8)] {
            let accepts = Versions { v1: false, public_keys };
            assert_eq!(of(&many(most), accepts), Ok(()));
            assert_eq!(of(&many(most + 1), accepts), Err(HeaderProblem::TooManyPublicKeySignatures));
        }
        assert_eq!(of(&format!("{good} {}", many(17)), V1), Ok(()), "ignored");
    }

    #[test]
    fn no_entry_hides_the_next_one() {
        let good = format!("{}=", "A".repeat(43));
        for filler in ["a", "v1,", " ", "a b ", "v1, ", "v1,a "] {
            for length in 0..100 {
                let before: String = filler.chars().cycle().take(length).collect();
                for list in [format!("{before} v1,{good}"), format!("v1,{before} v1,{good} {before}")] {
                    let found = shared_key_signatures(list.as_bytes()).any(|encoded| encoded == good.as_bytes());
                    assert!(found, "{list}");
                }
            }
        }
    }
}
