//! The configuration of signatures in a header.

#[cfg(feature = "ed25519")]
use zeroize::Zeroizing;

use super::layout::SignatureLayout;
use super::template::{BodyForm, Template};
use super::timestamp::TimestampUnit;
#[cfg(feature = "ed25519")]
use crate::scheme::ed25519::PrivateKey;
use crate::scheme::encoding::{Encoding, SecretEncoding};
use crate::scheme::keys::KeyMaterial;
use crate::{ConfigError, Freshness, Secret};

/// The settings of a scheme with signatures in a header, for code that reads them. They are built by
/// [`HmacSha256Body`](crate::HmacSha256Body), [`HmacSha512Body`](crate::HmacSha512Body),
/// [`TimestampedHmac`](crate::TimestampedHmac) and [`Ed25519Body`](crate::Ed25519Body).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignatureSettings {
    /// The algorithm of the signatures.
    pub algorithm: SignatureAlgorithm,
    /// The header with the signatures.
    pub header: String,
    /// The layout of the header.
    pub layout: SignatureLayout,
    /// The encoding of a signature.
    pub encoding: Encoding,
    /// The encoding of a key in its secret.
    pub secret_encoding: SecretEncoding,
    /// The place of the signed timestamp, if there is one.
    pub timestamp: Option<TimestampPlace>,
    /// The form of the timestamp.
    pub unit: TimestampUnit,
    /// Whether the timestamp is the time of the event, the same for all attempts.
    pub is_event_time: bool,
    /// The header with the signed id, if there is one.
    pub id_header: Option<String>,
    /// The template of what is signed.
    pub signed: String,
    /// Whether the body must begin with `{` or `[`, although the template does not need it.
    pub needs_json: bool,
    /// The freshness that fits the provider, if it is a known one.
    pub freshness: Option<Freshness>,
    /// The setting that was made although elements do not have it, which is an error.
    pub(super) not_of_elements: Option<&'static str>,
}

/// The algorithm of signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// HMAC with SHA-256: 32 bytes.
    HmacSha256,
    /// HMAC with SHA-512: 64 bytes.
    HmacSha512,
    /// Ed25519: 64 bytes.
    Ed25519,
}

/// The place of a signed timestamp.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimestampPlace {
    /// A header of its own.
    Header(String),
    /// An element of the header with the signatures.
    Element(String),
}

impl SignatureSettings {
    /// Creates the settings for a signature of the body, which is the whole value of a header.
    pub(super) fn of_body(algorithm: SignatureAlgorithm, header: String) -> Self {
        let is_ed25519 = algorithm == SignatureAlgorithm::Ed25519;
        SignatureSettings {
            algorithm,
            header,
            layout: SignatureLayout::Value { prefix: String::new(), separator: None },
            encoding: Encoding::Either,
            secret_encoding: if is_ed25519 { SecretEncoding::Base64 } else { SecretEncoding::Text },
            timestamp: None,
            unit: TimestampUnit::Seconds,
            is_event_time: false,
            id_header: None,
            signed: "{body}".to_owned(),
            needs_json: false,
            freshness: None,
            not_of_elements: None,
        }
    }

    /// Returns the text before each signature.
    #[must_use]
    pub fn prefix(&self) -> &str {
        match &self.layout {
            SignatureLayout::Value { prefix, .. } => prefix,
            SignatureLayout::Elements { .. } => "",
        }
    }

    /// Returns the headers that a delivery must have, that with the signatures first.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        let timestamp = match &self.timestamp {
            Some(TimestampPlace::Header(name)) => Some(name.as_str()),
            _ => None,
        };
        std::iter::once(self.header.as_str()).chain(timestamp).chain(self.id_header.as_deref())
    }

    /// Returns whether the timestamp and the body, or a digit, stand side by side in the template. Then the digits of
    /// the timestamp are counted, and each body must begin with `{` or `[`.
    #[must_use]
    pub fn lacks_separator(&self) -> bool {
        self.template().is_ok_and(|template| template.lacks_separator)
    }

    /// Makes the names of headers lower case.
    #[cfg(feature = "testing")]
    pub(crate) fn make_headers_lowercase(&mut self) {
        self.header.make_ascii_lowercase();
        if let Some(TimestampPlace::Header(name)) = &mut self.timestamp {
            name.make_ascii_lowercase();
        }
        if let Some(name) = &mut self.id_header {
            name.make_ascii_lowercase();
        }
    }

    pub(super) fn template(&self) -> Result<Template, ConfigError> {
        Template::parse(&self.signed, self.timestamp.is_some(), self.id_header.is_some())
    }

    pub(super) fn check_layout(&self) -> Result<(), ConfigError> {
        let is_printable = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        match &self.layout {
            SignatureLayout::Value { prefix, separator } => {
                if prefix.starts_with(' ') || !is_printable(prefix) {
                    // Not quoted: it may be a pasted secret.
                    return Err(ConfigError::new("the prefix must be printable ASCII and must not begin with a space"));
                }
                let is_clear = |separator: char| separator.is_ascii_punctuation() && !"+/=-_".contains(separator);
                if separator.is_some_and(|separator| !(separator == ' ' || is_clear(separator))) {
                    return Err(ConfigError::new(
                        "the separator must be a space or a punctuation mark that no signature contains, such as `,`",
                    ));
                }
                if separator.is_some_and(|separator| prefix.contains(separator)) {
                    return Err(ConfigError::new("the prefix must not contain the separator"));
                }
            }
            SignatureLayout::Elements { timestamp, signature } => {
                if let Some(setting) = self.not_of_elements {
                    return Err(ConfigError::new(format!(
                        "the {setting} does not apply to elements, which have no prefix and are separated by commas; remove it"
                    )));
                }
                let is_name = |name: &str| {
                    name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_graphic() && !b",=;".contains(&byte))
                };
                let is_timestamp = timestamp.as_deref().is_none_or(|name| !name.is_empty() && is_name(name));
                if !is_timestamp || !is_name(signature) {
                    return Err(ConfigError::new(
                        "the name of an element must be at most 64 visible ASCII characters without `,`, `;` and `=`",
                    ));
                }
                if timestamp.as_deref() == Some(signature) {
                    return Err(ConfigError::new("the elements of the timestamp and the signature have one name"));
                }
            }
        }
        Ok(())
    }

    /// Decodes the text of a secret.
    pub(super) fn key(&self, secret: &Secret) -> Result<KeyMaterial, String> {
        let encoding = self.secret_encoding;
        if self.algorithm != SignatureAlgorithm::Ed25519 && secret.is_public_key() {
            return Err("is the public key of a pair, which others may know; it is not the key of an HMAC".to_owned());
        }
        // The prefix of Standard Webhooks is not base64, so no key begins with it.
        let unprefixed = || secret.text().strip_prefix("whsec_").filter(|_| encoding == SecretEncoding::Base64);
        let text = || unprefixed().unwrap_or(secret.text());
        let decoded = || encoding.decode(text()).ok_or_else(|| format!("not {}", encoding.as_str()));
        match self.algorithm {
            SignatureAlgorithm::HmacSha256 => decoded().map(KeyMaterial::HmacSha256),
            SignatureAlgorithm::HmacSha512 => decoded().map(KeyMaterial::HmacSha512),
            #[cfg(feature = "ed25519")]
            SignatureAlgorithm::Ed25519 => ed25519_key(encoding, secret.text()),
            #[cfg(not(feature = "ed25519"))]
            SignatureAlgorithm::Ed25519 => Err("Ed25519 needs the feature `ed25519` of medhook".to_owned()),
        }
    }

    /// Returns whether no signed message can be a challenge. `None` if even a body that begins with `{` or `[` can make
    /// one.
    pub(in crate::scheme) fn message_differs_from_challenges(&self) -> Option<bool> {
        let template = self.template().ok()?;
        match template.differs_from_challenges() || self.needs_json && template.body == BodyForm::Raw {
            true => Some(true),
            false => (template.body == BodyForm::Raw).then_some(false),
        }
    }

    pub(in crate::scheme) fn signs_attempt_time(&self) -> bool {
        self.timestamp.is_some() && !self.is_event_time
    }

    pub(in crate::scheme) fn signs_event_time(&self) -> bool {
        self.timestamp.is_some() && self.is_event_time
    }
}

/// Decodes an Ed25519 key: `whsk_` and base64 is a private key of 32 bytes, or of 64 with the public key; anything else
/// is a public key of 32 bytes, with or without `whpk_`, or with the prefix that a PEM file has.
#[cfg(feature = "ed25519")]
pub(in crate::scheme) fn ed25519_key(encoding: SecretEncoding, text: &str) -> Result<KeyMaterial, String> {
    let decode = |text: &str| match encoding {
        SecretEncoding::Hex => SecretEncoding::Hex.decode(text),
        _ => SecretEncoding::Base64.decode(text),
    };
    if let Some(private) = text.strip_prefix("whsk_") {
        let key = SecretEncoding::Base64.decode(private).filter(|key| matches!(key.len(), 32 | 64));
        let (seed, public) = key.as_deref().and_then(|key| key.split_first_chunk::<32>()).ok_or(NO_PRIVATE_KEY)?;
        if !public.is_empty() && PrivateKey::new(seed).public() != public {
            return Err("its second half is not the public key of its first half".to_owned());
        }
        return Ok(KeyMaterial::PrivateKey(Zeroizing::new(*seed)));
    }
    let key = match text.strip_prefix("whpk_") {
        Some(public) => SecretEncoding::Base64.decode(public),
        None => decode(text),
    };
    let is_hex =
        || encoding != SecretEncoding::Hex && SecretEncoding::Hex.decode(text).is_some_and(|key| key.len() == 32);
    if is_hex() {
        return Err("32 bytes in hex: set `secret_encoding` to hex".to_owned());
    }
    let key = key.ok_or("not an Ed25519 public key: 32 bytes in base64 or, with `secret_encoding` hex, in hex")?;
    // The key of a PEM file is preceded by its type (RFC 8410).
    if let Some(seed) = key.strip_prefix(&PKCS_8[..]).and_then(|seed| <[u8; 32]>::try_from(seed).ok()) {
        return Ok(KeyMaterial::PrivateKey(Zeroizing::new(seed)));
    }
    let bytes = key.strip_prefix(&SPKI[..]).unwrap_or(&key);
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| "not an Ed25519 public key, which has 32 bytes")?;
    Ok(KeyMaterial::PublicKey(bytes))
}

#[cfg(feature = "ed25519")]
const NO_PRIVATE_KEY: &str = "not `whsk_` and the base64 of 32 or 64 bytes";

/// The beginning of a private key in a PEM file, without attributes (RFC 8410).
#[cfg(feature = "ed25519")]
const PKCS_8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

#[cfg(feature = "ed25519")]
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
