//! HMAC-SHA256 over the body, in one header.

use base64ct::{Base64, Base64Unpadded, Encoding as _};
use http::HeaderName;
use zeroize::Zeroizing;

use super::header::{header_name, needed};
use super::keys::{KeyedMessage, Keys, Tag, same};
use super::verification::{SignatureScope, Verification};
use crate::{ConfigError, Headers, Reason, Secrets};

/// HMAC-SHA256 over the raw body, in a header of its own. The key is the secret's UTF-8 bytes as they are.
///
/// ```
/// use medhook::{Encoding, HmacSha256Body};
///
/// let scheme = HmacSha256Body::new("x-acme-signature").prefix("sha256=").encoding(Encoding::Hex);
/// ```
#[derive(Debug, Clone)]
pub struct HmacSha256Body {
    pub(crate) header: String,
    pub(crate) prefix: String,
    pub(crate) encoding: Encoding,
}

/// How a MAC is written. Either way it is compared as the 32 bytes it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Encoding {
    /// 64 hexadecimal digits, in either case.
    Hex,
    /// Standard base64, padded (44 characters) or not (43).
    Base64,
    /// Whichever of the two it is; their lengths tell them apart.
    #[default]
    Either,
}

impl HmacSha256Body {
    /// Reads the MAC from this header.
    pub fn new(header: impl Into<String>) -> Self {
        HmacSha256Body { header: header.into(), prefix: String::new(), encoding: Encoding::Either }
    }

    /// Text that stands before the MAC, exactly so. By default there is none.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How the MAC is written. By default either way.
    #[must_use]
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    pub(super) fn keyed(&self, secrets: &Secrets) -> Result<KeyedHmacSha256Body, ConfigError> {
        if self.prefix.starts_with(' ') || !self.prefix.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(ConfigError::new(format!("no header's value can begin with {:?}", self.prefix)));
        }
        Ok(KeyedHmacSha256Body {
            header: header_name(&self.header)?,
            prefix: self.prefix.as_str().into(),
            encoding: self.encoding,
            keys: Keys::read(secrets, |text| Ok(Zeroizing::new(text.as_bytes().to_vec())))?,
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
    pub(super) fn begin<'a>(&'a self, headers: &'a (impl Headers + ?Sized)) -> Result<HmacSha256BodyCheck<'a>, Reason> {
        let value = needed(headers.find(&self.header))?;
        let text = value.strip_prefix(self.prefix.as_bytes()).ok_or(Reason::MalformedHeader)?;
        let presented = decode(text, self.encoding).ok_or(Reason::MalformedHeader)?;
        Ok(HmacSha256BodyCheck { message: KeyedMessage::new(&self.keys, []), presented })
    }

    /// Returns the header that signs a body. Where either encoding is accepted, the MAC is written in hex.
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
    pub(super) fn finish(self, rest: &[u8]) -> Result<Verification<'a>, Reason> {
        let presented = self.presented;
        let secret = self.message.first_match(rest, |tag| same(tag, &presented))?;
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
    fn a_prefix_that_never_arrives_is_a_mistake() {
        let secrets = Secrets::new(crate::Secret::new("0123456789abcdef").unwrap().labeled("one").unwrap());
        let keyed = |prefix: &str| HmacSha256Body::new("x").prefix(prefix).keyed(&secrets);
        for prefix in ["", "sha256=", "v1 "] {
            assert!(keyed(prefix).is_ok(), "{prefix:?}");
        }
        for prefix in [" sha256=", "\tv1", "v1\n", "é="] {
            let problem = keyed(prefix).err().expect("rejected").to_string();
            assert_eq!(problem, format!("no header's value can begin with {prefix:?}"));
        }
    }

    #[test]
    fn only_what_decodes_to_32_bytes_is_a_mac() {
        let hex = "05252f884d6138725c14f8e82d5e9bf8d06b1b3772a601b4a76fbddabc223da5";
        let tag = decode(hex.as_bytes(), Encoding::Hex).unwrap();
        assert_eq!(decode(hex.to_uppercase().as_bytes(), Encoding::Either), Some(tag));
        let padded = Base64::encode_string(&tag);
        let unpadded = padded.trim_end_matches('=');
        assert_eq!(decode(padded.as_bytes(), Encoding::Base64), Some(tag));
        assert_eq!(decode(unpadded.as_bytes(), Encoding::Either), Some(tag));
        // One encoding is not taken for the other where one was named.
        assert_eq!(decode(padded.as_bytes(), Encoding::Hex), None);
        assert_eq!(decode(hex.as_bytes(), Encoding::Base64), None);
        let altered = [&hex[..63], &format!("{hex}0"), &hex.replace('0', "g"), "", &format!("{padded}=")];
        for text in altered {
            assert_eq!(decode(text.as_bytes(), Encoding::Either), None, "{text}");
        }
        // Base64 with bits left over in its last character is a second text for the same bytes.
        let loose = format!("{}B", &unpadded[..42]);
        assert_eq!(decode(loose.as_bytes(), Encoding::Either), None);
    }
}
