//! The values in headers that could be a signature, and what is wrong with their places and forms.

use base64ct::Encoding as _;
use medhook::testing::Signing;
use medhook::{Encoding, SignatureAlgorithm, SignatureLayout};

use super::cause::Cause;
use super::options::{is_prefix, option};
use crate::verify::case::Case;
use crate::verify::elements;
use crate::verify::encodings::{base64, base64url, hex};
use crate::verify::problems::OTHER_SEPARATOR;
use crate::verify::separators::{self, is_name};

/// A value in a header that could be a signature.
pub(super) struct Tag<'h> {
    pub(super) header: &'h str,
    value: &'h str,
    text: &'h str,
    digits: Digits,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Digits {
    Hex,
    Base64,
    Base64Url,
    HexInBase64,
    /// Base64 whose letters are all in upper case or all in lower case, so that it cannot be decoded any more.
    DamagedBase64,
}

/// Returns every value in any header that could be an HMAC-SHA256 (32 bytes), an HMAC-SHA512 or an Ed25519 signature
/// (64 bytes).
pub(super) fn all<'h>(case: &Case<'h>) -> Vec<Tag<'h>> {
    let mut tags = Vec::new();
    for (name, value) in &case.head.headers {
        let Ok(value) = str::from_utf8(value) else { continue };
        for word in value.split([' ', ',', ';', '&', '|', '"', '\'']).take(MOST) {
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
    /// Returns the number of bytes of the signature.
    pub(super) fn length(&self) -> usize {
        match self.digits {
            Digits::DamagedBase64 if self.text.len() < 80 => 32,
            Digits::DamagedBase64 => 64,
            _ => self.bytes.len(),
        }
    }

    /// Returns whether the value is this signature.
    pub(super) fn is(&self, signature: &[u8]) -> bool {
        if self.digits != Digits::DamagedBase64 {
            return self.bytes == signature;
        }
        let expected = base64ct::Base64::encode_string(signature);
        expected.trim_end_matches('=').eq_ignore_ascii_case(self.text.trim_end_matches('='))
    }

    /// Explains what is wrong with the header, prefix and encoding of a correct signature.
    pub(super) fn misplaced(&self, case: &Case<'_>, algorithm: SignatureAlgorithm) -> Vec<Cause> {
        let expected = case.signature_header();
        let mut wrong = Vec::new();
        if self.header != expected {
            wrong.push(Cause::fitting(
                "signature_in_other_header",
                format!(
                    "the signature is in the header {}, but is expected in {expected}{}",
                    self.header,
                    set(case, || option("header", self.header))
                ),
            ));
        }
        wrong.extend(self.surrounded(case, &case.signature_prefix(algorithm)));
        wrong.extend(self.wrong_encoding(case));
        wrong
    }

    fn wrong_encoding(&self, case: &Case<'_>) -> Option<Cause> {
        let is_padded = matches!(self.text.len(), 44 | 88);
        let fits = match case.signing {
            Signing::Signature(settings) => match settings.encoding {
                Encoding::Hex => self.digits == Digits::Hex,
                Encoding::Base64 => self.digits == Digits::Base64,
                // Most texts have none of the characters that differ.
                Encoding::Base64Url => base64url(self.text).is_some_and(|bytes| bytes == self.bytes),
                _ => matches!(self.digits, Digits::Hex | Digits::Base64),
            },
            _ => self.digits == Digits::Base64 && is_padded,
        };
        let digits = match self.digits {
            Digits::DamagedBase64 => {
                let text = "the letters of the signature are all in one case: a tool changed them, which destroys \
                            base64";
                return Some(Cause::fitting("signature_in_other_case", text));
            }
            _ if fits => return None,
            Digits::Hex => "hexadecimal",
            Digits::Base64 if case.is_standard() => "base64 without padding",
            Digits::Base64 => "base64",
            Digits::Base64Url => "base64url",
            Digits::HexInBase64 => "the base64 of hexadecimal digits",
        };
        let fix = set(case, || match self.digits {
            Digits::Hex => option("encoding", "hex"),
            Digits::Base64Url => option("encoding", "base64url"),
            Digits::Base64 => option("encoding", "base64"),
            Digits::HexInBase64 | Digits::DamagedBase64 => String::new(),
        });
        let text = format!("the signature is encoded as {digits}, but another encoding is expected{fix}");
        Some(Cause::fitting("wrong_encoding", text))
    }

    /// Explains what surrounds the signature besides the prefix.
    fn surrounded(&self, case: &Case<'_>, prefix: &str) -> Vec<Cause> {
        let expected = format!("{prefix}{}", self.text);
        let layout = match case.signing {
            Signing::Signature(settings) => Some(&settings.layout),
            _ => None,
        };
        let is_list = case.is_standard();
        match layout {
            Some(SignatureLayout::Elements { .. }) => {
                return self.in_elements(case, prefix, &expected).into_iter().collect();
            }
            Some(SignatureLayout::Value { separator: Some(separator), .. }) => {
                let part = self.value.split(*separator).find(|part| part.contains(self.text)).unwrap_or(self.value);
                return Tag { value: part.trim(), bytes: Vec::new(), ..*self }.in_value(case, prefix, &expected);
            }
            _ if is_list && self.value.split(' ').any(|entry| entry == expected) => return Vec::new(),
            _ => {}
        }
        self.in_value(case, prefix, &expected)
    }

    fn in_elements(&self, case: &Case<'_>, prefix: &str, expected: &str) -> Option<Cause> {
        let has_by = |value: &str, by: char| value.split(by).any(|entry| entry.trim() == expected);
        let has = |value: &str| has_by(value, ',');
        if has(self.value) {
            return None;
        }
        let other =
            separators::other_separator(case.signing, case.head).filter(|_| self.header == case.signature_header());
        if let Some(by) = other.filter(|by| has_by(self.value, *by)) {
            return Some(Cause::fitting(OTHER_SEPARATOR, elements::describe(by, self.header)));
        }
        if has(self.value.trim_matches(QUOTES)) || has(&self.value.replace(QUOTES, "")) {
            let text = "quotation marks surround the signature or the header's value";
            return Some(Cause::fitting("signature_in_quotes", text));
        }
        let text = match prefix.is_empty() {
            true => {
                "the signature must be an element alone, without any other text; commas separate elements".to_owned()
            }
            false => format!("the signature must be an element `{prefix}..`; commas separate elements"),
        };
        let entry = self.value.split(',').map(str::trim).find_map(|entry| entry.strip_suffix(self.text));
        let name = entry.and_then(|before| if before.is_empty() { Some("") } else { before.strip_suffix('=') });
        let fix = set(case, || match name {
            Some(name) if name.is_empty() || is_name(name) => option("signature_element", name),
            _ => String::new(),
        });
        Some(Cause::fitting("signature_in_other_element", format!("{text}{fix}")))
    }

    fn in_value(&self, case: &Case<'_>, prefix: &str, expected: &str) -> Vec<Cause> {
        if self.value == expected {
            return Vec::new();
        }
        let is_list = case.is_standard();
        let mut causes = Vec::new();
        // The parts between the separators, of which one holds the MAC. A comma follows the version of a signature.
        let is_separator = |c: char| c == ';' || c == ',';
        let before = self.value.split_once(self.text).map_or("", |(before, _)| before);
        let is_version = |text: &&str| is_list || (before == format!("{text},") && matches!(*text, "v1" | "v1a"));
        let version = before.rsplit([' ', ',', ';', '"', '\'']).nth(1).filter(|_| before.ends_with(','));
        let version = version.filter(is_version);
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
            let by = if hidden.contains(';') { ";" } else { "," };
            let fix = match set(case, || option("separator", by)) {
                fix if fix.is_empty() => fix,
                fix => format!("; if the sender sends several signatures{}", fix.replacen(": set", ", set", 1)),
            };
            causes.push(Cause::fitting("signatures_joined", format!("{text}{fix}")));
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
            let before = bare.strip_suffix(self.text).map(|before| before.replace('\0', ","));
            let fix = set(case, || match before.as_deref() {
                Some("") => option("prefix", ""),
                Some(before) if is_prefix(before) => option("prefix", before),
                _ => String::new(),
            });
            causes.push(if prefix.is_empty() {
                let text = format!("text surrounds the signature, but none is expected{fix}");
                Cause::fitting("text_around_signature", text)
            } else {
                let text = format!("the signature must follow `{prefix}`, without any other text{fix}");
                Cause::fitting("wrong_prefix", text)
            });
        }
        causes
    }
}

/// Returns the option to set, if there is one: Standard Webhooks and other providers have none for a signature.
fn set(case: &Case<'_>, option: impl FnOnce() -> String) -> String {
    if case.endpoint.custom.is_none() || case.is_standard() {
        return String::new();
    }
    let option = option();
    if option.is_empty() { option } else { format!(": set {option}") }
}

const QUOTES: [char; 2] = ['"', '\''];

fn decoded(text: &str) -> Option<(Vec<u8>, Digits)> {
    if matches!(text.len(), 43 | 44 | 86 | 88) && is_in_one_case(text) {
        return Some((Vec::new(), Digits::DamagedBase64));
    }
    let (bytes, digits) = match text.len() {
        64 | 128 => (hex(text)?, Digits::Hex),
        43 | 44 | 86 | 88 => match (base64(text), base64url(text)) {
            (Some(bytes), _) => match str::from_utf8(&bytes).ok().filter(|_| text.len() == 88).and_then(hex) {
                Some(bytes) => (bytes, Digits::HexInBase64),
                None => (bytes, Digits::Base64),
            },
            (None, decoded) => (decoded?, Digits::Base64Url),
        },
        172 => (hex(str::from_utf8(&base64(text)?).ok()?)?, Digits::HexInBase64),
        _ => return None,
    };
    matches!(bytes.len(), 32 | 64).then_some((bytes, digits))
}

/// Returns whether all letters are in one case, which random base64 never is.
fn is_in_one_case(text: &str) -> bool {
    let letters = text.bytes().filter(u8::is_ascii_alphabetic);
    let is_base64 = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
    letters.clone().count() >= 20
        && is_base64
        && (letters.clone().all(|byte| byte.is_ascii_uppercase())
            || letters.clone().all(|byte| byte.is_ascii_lowercase()))
}
