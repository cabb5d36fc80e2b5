//! The values in headers that could be a MAC, and what is wrong with their places and forms.

use medhook::Encoding;
use medhook::testing::Signing;

use super::cause::Cause;
use crate::verify::case::Case;
use crate::verify::encodings::{base64, base64url, hex};

/// A value in a header that could be a MAC.
pub(super) struct Tag<'h> {
    pub(super) header: &'h str,
    value: &'h str,
    text: &'h str,
    digits: Digits,
    pub(super) bytes: [u8; 32],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Digits {
    Hex,
    Base64,
    Base64Url,
    HexInBase64,
}

/// Returns every value in any header that could be an HMAC-SHA256.
pub(super) fn all<'h>(case: &Case<'h>) -> Vec<Tag<'h>> {
    let mut tags = Vec::new();
    for (name, value) in &case.head.headers {
        let Ok(value) = str::from_utf8(value) else { continue };
        for word in value.split([' ', ',', ';', '"', '\'']).take(MOST) {
            let after = word.split_once(['=', ':']).map(|(_, after)| after);
            for text in [Some(word), after].into_iter().flatten() {
                let found = decoded(text).map(|(bytes, digits)| Tag { header: name, value, text, digits, bytes });
                tags.extend(found);
            }
        }
    }
    tags.truncate(MOST);
    tags
}

/// The most words of a header that are read, and the most values that are compared.
const MOST: usize = 64;

impl Tag<'_> {
    /// Explains what is wrong with the header, prefix and encoding of a correct MAC.
    pub(super) fn misplaced(&self, case: &Case<'_>) -> Vec<Cause> {
        let (expected, prefix) = case.signature_header();
        let mut wrong = Vec::new();
        if self.header != expected {
            wrong.push(Cause::fitting(
                "signature_in_other_header",
                format!("the signature is in the header {}, but is expected in {expected}", self.header),
            ));
        }
        wrong.extend(self.surrounded(prefix, case.is_standard()));
        let encoding = match case.signing {
            Signing::Signature(settings) => Some(settings.encoding),
            _ => None,
        };
        let fits = match encoding {
            Some(Encoding::Hex) => self.digits == Digits::Hex,
            Some(Encoding::Either) => matches!(self.digits, Digits::Hex | Digits::Base64),
            _ => self.digits == Digits::Base64 && (!case.is_standard() || self.text.len() == 44),
        };
        if !fits {
            let digits = match self.digits {
                Digits::Hex => "hexadecimal",
                Digits::Base64 if case.is_standard() => "base64 without padding",
                Digits::Base64 => "base64",
                Digits::Base64Url => "base64url",
                Digits::HexInBase64 => "the base64 of hexadecimal digits",
            };
            let text = format!("the signature is encoded as {digits}, but another encoding is expected");
            wrong.push(Cause::fitting("wrong_encoding", text));
        }
        wrong
    }
}

impl Tag<'_> {
    /// Explains what surrounds the MAC besides the prefix.
    fn surrounded(&self, prefix: &str, is_list: bool) -> Vec<Cause> {
        let expected = format!("{prefix}{}", self.text);
        if self.value == expected || (is_list && self.value.split(' ').any(|entry| entry == expected)) {
            return Vec::new();
        }
        let mut causes = Vec::new();
        // The parts between the separators, of which one holds the MAC. A comma follows the version of a signature.
        let is_separator = |c: char| c == ';' || c == ',';
        let before = self.value.split_once(self.text).map_or("", |(before, _)| before);
        let version = before.rsplit([' ', ',', ';', '"', '\'']).nth(1).filter(|_| is_list && before.ends_with(','));
        let hidden = [prefix.to_owned(), format!("{},", version.unwrap_or_default())]
            .iter()
            .filter(|own| own.len() > 1)
            .fold(self.value.to_owned(), |value, own| value.replace(own.as_str(), &own.replace(is_separator, "\0")));
        let parts: Vec<_> = hidden.split(is_separator).collect();
        if parts.len() > 1 {
            let text = match is_list {
                true => "a comma or a semicolon follows the signature or separates several; only spaces separate them",
                false => {
                    "a comma or a semicolon joins the signature with other values, such as those of a repeated \
                          header"
                }
            };
            causes.push(Cause::fitting("signatures_joined", text));
        }
        let part = parts.into_iter().find(|part| part.contains(self.text)).unwrap_or(&hidden).trim();
        // Python writes bytes as `b'..'`.
        let part = part.strip_prefix('b').filter(|rest| rest.starts_with(QUOTES)).unwrap_or(part);
        let bare = part.trim_matches(QUOTES);
        if bare != part {
            let text = "quotation marks surround the signature or the header's value";
            causes.push(Cause::fitting("signature_in_quotes", text));
        }
        if bare != expected.replace(is_separator, "\0") {
            causes.push(if prefix.is_empty() {
                let text = "text surrounds the signature, but none is expected";
                Cause::fitting("text_around_signature", text)
            } else {
                let text = format!("the signature must follow `{prefix}`, without any other text");
                Cause::fitting("wrong_prefix", text)
            });
        }
        causes
    }
}

const QUOTES: [char; 2] = ['"', '\''];

fn decoded(text: &str) -> Option<([u8; 32], Digits)> {
    let (bytes, digits) = match text.len() {
        64 => (hex(text)?, Digits::Hex),
        88 => (hex(str::from_utf8(&base64(text)?).ok()?)?, Digits::HexInBase64),
        43 | 44 => match base64(text) {
            Some(bytes) => (bytes, Digits::Base64),
            None => (base64url(text)?, Digits::Base64Url),
        },
        _ => return None,
    };
    Some((bytes.try_into().ok()?, digits))
}
