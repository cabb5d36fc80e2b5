//! The HMAC-SHA256 of the body, in one header.

use base64ct::{Base64, Base64Unpadded, Encoding as _};
use http::HeaderName;
use zeroize::Zeroizing;

use super::header::{header_name, required};
use super::keys::{KeyedMessage, Keys, Tag, same};
use super::verification::{SignatureScope, Verification};
use crate::headers::{HeadFault, HeaderProblem};
use crate::{ConfigError, Headers, Reason, Secrets};

/// A scheme with the HMAC-SHA256 of the raw body in a header. The key is the UTF-8 bytes of the secret.
///
/// ```
/// use medhook::{Encoding, HmacSha256Body};
///
/// let scheme = HmacSha256Body::new("x-acme-signature");
/// let scheme = scheme.prefix("sha256=").encoding(Encoding::Hex);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HmacSha256Body {
    pub(crate) header: String,
    pub(crate) prefix: String,
    pub(crate) encoding: Encoding,
}

/// The encoding of a MAC. It is decoded, and compared as 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Encoding {
    /// 64 hexadecimal digits, in either case.
    Hex,
    /// Standard base64, padded (44 characters) or unpadded (43).
    Base64,
    /// Either of the two, distinguished by their lengths.
    #[default]
    Either,
}

impl HmacSha256Body {
    /// Creates the scheme for a MAC in this header.
    pub fn new(header: impl Into<String>) -> Self {
        HmacSha256Body { header: header.into(), prefix: String::new(), encoding: Encoding::Either }
    }

    /// Sets the text that must precede the MAC exactly. The default is none.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the encoding of the MAC. The default is [`Encoding::Either`].
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    pub(super) fn keyed(&self, secrets: &Secrets) -> Result<KeyedHmacSha256Body, ConfigError> {
        if self.prefix.starts_with(' ') || !self.prefix.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            // Not quoted: it may be a pasted secret.
            return Err(ConfigError::new("the prefix must be printable ASCII and must not begin with a space"));
        }
        Ok(KeyedHmacSha256Body {
            header: header_name(&self.header)?,
            prefix: self.prefix.as_str().into(),
            encoding: self.encoding,
            keys: Keys::read(secrets, |secret| Ok(Zeroizing::new(secret.text().as_bytes().to_vec())))?,
        })
    }
}

pub(crate) struct KeyedHmacSha256Body {
    header: HeaderName,
    prefix: Box<str>,
    encoding: Encoding,
    pub(super) keys: Keys,
}

impl KeyedHmacSha256Body {
    #[inline]
    pub(super) fn begin<'a>(&self, headers: &'a (impl Headers + ?Sized)) -> Result<HmacSha256BodyCheck<'a>, HeadFault> {
        let presented = self.presented(headers).map_err(|problem| problem.of(&self.header))?;
        Ok(HmacSha256BodyCheck { message: KeyedMessage::new([]), presented })
    }

    #[inline]
    fn presented(&self, headers: &(impl Headers + ?Sized)) -> Result<Tag, HeaderProblem> {
        let value = required(headers.find(&self.header))?;
        let text = value.strip_prefix(self.prefix.as_bytes()).ok_or(HeaderProblem::NoPrefix)?;
        decode(text, self.encoding).ok_or(match self.encoding {
            Encoding::Hex => HeaderProblem::NotHex,
            Encoding::Base64 => HeaderProblem::NotBase64,
            Encoding::Either => HeaderProblem::NeitherHexNorBase64,
        })
    }

    /// Signs a body and returns the header. With [`Encoding::Either`] the MAC is written in hex.
    #[cfg(feature = "sign")]
    pub(super) fn sign(&self, body: &[u8]) -> Option<(HeaderName, String)> {
        let tag = self.keys.sign([], body)?;
        let mut hex = [0; 64];
        let text = match self.encoding {
            Encoding::Base64 => &Base64::encode_string(&tag),
            Encoding::Hex | Encoding::Either => base16ct::lower::encode_str(&tag, &mut hex).ok()?,
        };
        Some((self.header.clone(), format!("{}{text}", self.prefix)))
    }
}

pub(crate) struct HmacSha256BodyCheck<'a> {
    pub(super) message: KeyedMessage<'a, 0>,
    presented: Tag,
}

impl<'a> HmacSha256BodyCheck<'a> {
    #[inline]
    pub(super) fn finish(self, keys: &Keys, rest: &[u8]) -> Result<Verification<'a>, Reason> {
        let presented = self.presented;
        let secret = self.message.first_match(keys, rest, |tag| same(tag, &presented))?;
        Ok(Verification { signature_scope: SignatureScope::Body, secret, message_id: None, attempted_at: None })
    }
}

fn decode(text: &[u8], encoding: Encoding) -> Option<Tag> {
    let mut tag = Tag::default();
    let written = match (encoding, text.len()) {
        (Encoding::Hex | Encoding::Either, 64) => base16ct::mixed::decode(text, &mut tag).ok()?.len(),
        (Encoding::Base64 | Encoding::Either, 44) => Base64::decode(text, &mut tag).ok()?.len(),
        (Encoding::Base64 | Encoding::Either, 43) => Base64Unpadded::decode(text, &mut tag).ok()?.len(),
        _ => return None,
    };
    (written == tag.len()).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_that_no_header_can_have_is_rejected() {
        let secrets = Secrets::new(crate::Secret::new("0123456789abcdef").unwrap().labeled("one").unwrap());
        let keyed = |prefix: &str| HmacSha256Body::new("x").prefix(prefix).keyed(&secrets);
        for prefix in ["", "sha256=", "v1 "] {
            assert!(keyed(prefix).is_ok(), "{prefix:?}");
        }
        for prefix in [" sha256=", "\tv1", "v1\n", "é="] {
            let problem = keyed(prefix).err().expect("rejected").to_string();
            assert_eq!(problem, "the prefix must be printable ASCII and must not begin with a space", "{prefix:?}");
        }
    }

    #[test]
    fn only_text_that_decodes_to_32_bytes_is_a_mac() {
        let hex = "05252f884d6138725c14f8e82d5e9bf8d06b1b3772a601b4a76fbddabc223da5";
        let tag = decode(hex.as_bytes(), Encoding::Hex).unwrap();
        assert_eq!(decode(hex.to_uppercase().as_bytes(), Encoding::Either), Some(tag));
        let padded = Base64::encode_string(&tag);
        let unpadded = padded.trim_end_matches('=');
        assert_eq!(decode(padded.as_bytes(), Encoding::Base64), Some(tag));
        assert_eq!(decode(unpadded.as_bytes(), Encoding::Either), Some(tag));
        // A configured encoding excludes the other one.
        assert_eq!(decode(padded.as_bytes(), Encoding::Hex), None);
        assert_eq!(decode(hex.as_bytes(), Encoding::Base64), None);
        let altered = [&hex[..63], &format!("{hex}0"), &hex.replace('0', "g"), "", &format!("{padded}=")];
        for text in altered {
            assert_eq!(decode(text.as_bytes(), Encoding::Either), None, "{text}");
        }
        // Non-canonical base64: nonzero trailing bits make a second text for the same bytes.
        let loose = format!("{}B", &unpadded[..42]);
        assert_eq!(decode(loose.as_bytes(), Encoding::Either), None);
    }
}
