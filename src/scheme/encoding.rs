//! The encodings of signatures in headers, and of keys in secrets.

use base64ct::{Base64, Base64Unpadded, Base64Url, Base64UrlUnpadded, Encoding as _};
use zeroize::Zeroizing;

use crate::headers::HeaderProblem;

/// The encoding of a signature. It is decoded, and compared as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Encoding {
    /// Hexadecimal digits, in either case.
    Hex,
    /// Standard base64 (`+` and `/`), padded or unpadded.
    Base64,
    /// URL-safe base64 (`-` and `_`), padded or unpadded.
    #[serde(rename = "base64url")]
    Base64Url,
    /// Hexadecimal digits or standard base64, distinguished by their lengths.
    #[default]
    Either,
}

impl Encoding {
    /// Decodes a text of exactly `LENGTH` bytes.
    #[inline]
    pub(super) fn decode<const LENGTH: usize>(self, text: &[u8]) -> Option<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        let padded = LENGTH.div_ceil(3).checked_mul(4)?;
        // 32 bytes take 43 characters and one of padding; 64 take 86 and two.
        let unpadded = LENGTH.checked_mul(4)?.div_ceil(3);
        let is_hex = text.len() == LENGTH.checked_mul(2)?;
        let is_padded = text.len() == padded;
        let is_unpadded = text.len() == unpadded;
        let written = match self {
            Encoding::Hex | Encoding::Either if is_hex => return decode_hex(text),
            Encoding::Base64 | Encoding::Either if is_padded => Base64::decode(text, &mut bytes).ok()?.len(),
            Encoding::Base64 | Encoding::Either if is_unpadded => Base64Unpadded::decode(text, &mut bytes).ok()?.len(),
            Encoding::Base64Url if is_padded => Base64Url::decode(text, &mut bytes).ok()?.len(),
            Encoding::Base64Url if is_unpadded => Base64UrlUnpadded::decode(text, &mut bytes).ok()?.len(),
            _ => return None,
        };
        (written == LENGTH).then_some(bytes)
    }

    /// Encodes a signature. `Either` is written in hex.
    #[cfg(feature = "sign")]
    pub(super) fn encode(self, bytes: &[u8]) -> String {
        match self {
            Encoding::Base64 => Base64::encode_string(bytes),
            Encoding::Base64Url => Base64Url::encode_string(bytes),
            Encoding::Hex | Encoding::Either => base16ct::lower::encode_string(bytes),
        }
    }

    /// Returns the problem of a text that is no signature of 32 or 64 bytes.
    pub(super) fn problem(self, is_long: bool) -> HeaderProblem {
        match (self, is_long) {
            (Encoding::Hex, false) => HeaderProblem::NotHex,
            (Encoding::Hex, true) => HeaderProblem::NotLongHex,
            (Encoding::Base64, false) => HeaderProblem::NotBase64,
            (Encoding::Base64, true) => HeaderProblem::NotLongBase64,
            (Encoding::Base64Url, false) => HeaderProblem::NotBase64Url,
            (Encoding::Base64Url, true) => HeaderProblem::NotLongBase64Url,
            (Encoding::Either, false) => HeaderProblem::NeitherHexNorBase64,
            (Encoding::Either, true) => HeaderProblem::NeitherLongHexNorBase64,
        }
    }
}

/// Decodes hexadecimal digits, in either case.
///
/// All digits are treated alike, so that the compiler computes 16 at a time. base16ct takes 26 ns more, 3 % of
/// `verify` of an HMAC of 1 KiB.
#[inline]
fn decode_hex<const LENGTH: usize>(text: &[u8]) -> Option<[u8; LENGTH]> {
    let (digits, _) = text.as_chunks::<2>();
    let mut digits: [[u8; 2]; LENGTH] = digits.try_into().ok()?;
    let mut is_wrong = 0;
    for digit in digits.as_flattened_mut() {
        let is_decimal = u8::from(digit.wrapping_sub(b'0') < 10);
        let is_letter = u8::from((*digit | 0x20).wrapping_sub(b'a') < 6);
        is_wrong |= (is_decimal | is_letter) ^ 1;
        // Bit 6 is set in letters only, whose last four bits are 1 to 6.
        *digit = (*digit & 0xf).wrapping_add((*digit >> 6).wrapping_mul(9));
    }
    let mut bytes = [0; LENGTH];
    for (byte, [high, low]) in bytes.iter_mut().zip(digits) {
        *byte = (high << 4) | (low & 0xf);
    }
    (is_wrong == 0).then_some(bytes)
}

/// The length of a MAC of SHA-256 in padded base64.
pub(super) const TAG_IN_BASE64: usize = 44;

/// Encodes a MAC of SHA-256 in canonical, padded base64, in constant time.
///
/// The expected MAC is encoded once, and compared with the texts of up to 32 signatures: they match if they are the
/// canonical base64 of this MAC. Each word has eight characters, which are computed at a time without a branch or a
/// table. base64ct takes 23 ns and 340 instructions more, 3 % of `verify` at 1 KiB.
#[inline]
pub(super) fn tag_in_base64(tag: &[u8; 32]) -> [u8; TAG_IN_BASE64] {
    let word = |at: usize| tag.as_chunks().0.get(at).map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let [a, b, c, d] = [0, 1, 2, 3].map(word);
    // Six bytes each, and the last two with four zeros.
    let groups = [a >> 16, (a << 32) | (b >> 32), (b << 16) | (c >> 48), c, d >> 16, d << 32];
    let words = groups.map(|group| letters(sextets(group)).to_be_bytes());
    let mut text = words.as_flattened().first_chunk().copied().unwrap_or([0; TAG_IN_BASE64]);
    if let Some(padding) = text.last_mut() {
        *padding = b'=';
    }
    text
}

/// Spreads the last 48 bits of a number over eight bytes, six bits in each.
#[inline]
fn sextets(bits: u64) -> u64 {
    let halves = ((bits & 0xffff_ff00_0000) << 8) | (bits & 0xff_ffff);
    let quarters = ((halves & 0x00ff_f000_00ff_f000) << 4) | (halves & 0x0000_0fff_0000_0fff);
    ((quarters & 0x0fc0_0fc0_0fc0_0fc0) << 2) | (quarters & 0x003f_003f_003f_003f)
}

/// Returns the characters of base64 for eight numbers below 64, one in each byte.
#[inline]
fn letters(sextets: u64) -> u64 {
    const IN_EACH: u64 = 0x0101_0101_0101_0101;
    // A byte is 1 if its number exceeds the limit. No byte overflows: 63 + 127 - 25 < 256.
    let exceeds = |limit: u64| (sextets.wrapping_add(IN_EACH.wrapping_mul(127_u64.wrapping_sub(limit))) >> 7) & IN_EACH;
    // From one range to the next: A-Z, a-z, 0-9, `+`, `/`.
    sextets
        .wrapping_add(IN_EACH.wrapping_mul(u64::from(b'A')))
        .wrapping_add(exceeds(25).wrapping_mul(6))
        .wrapping_sub(exceeds(51).wrapping_mul(75))
        .wrapping_sub(exceeds(61).wrapping_mul(15))
        .wrapping_add(exceeds(62).wrapping_mul(3))
}

/// The encoding of a key in the text of its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SecretEncoding {
    /// The key is the UTF-8 bytes of the text.
    Text,
    /// The text is standard base64, padded or unpadded, with or without the prefix `whsec_`.
    Base64,
    /// The text is hexadecimal digits, in either case.
    Hex,
}

impl SecretEncoding {
    /// Decodes the text of a secret. Returns `None` for a text in another encoding.
    pub(super) fn decode(self, text: &str) -> Option<Zeroizing<Vec<u8>>> {
        let mut key = Zeroizing::new(vec![0; text.len()]);
        let length = match self {
            SecretEncoding::Text => return Some(Zeroizing::new(text.as_bytes().to_vec())),
            SecretEncoding::Base64 if text.ends_with('=') => Base64::decode(text, &mut key).ok()?.len(),
            SecretEncoding::Base64 => Base64Unpadded::decode(text, &mut key).ok()?.len(),
            SecretEncoding::Hex => base16ct::mixed::decode(text, &mut key).ok()?.len(),
        };
        key.truncate(length);
        Some(key)
    }

    /// Returns the name for messages.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            SecretEncoding::Text => "text",
            SecretEncoding::Base64 => "base64",
            SecretEncoding::Hex => "hexadecimal digits",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_that_decodes_to_the_length_is_a_signature() {
        let hex = "05252f884d6138725c14f8e82d5e9bf8d06b1b3772a601b4a76fbddabc223da5";
        let tag: [u8; 32] = Encoding::Hex.decode(hex.as_bytes()).unwrap();
        assert_eq!(Encoding::Either.decode(hex.to_uppercase().as_bytes()), Some(tag));
        let padded = Base64::encode_string(&tag);
        let unpadded = padded.trim_end_matches('=');
        assert_eq!(Encoding::Base64.decode(padded.as_bytes()), Some(tag));
        assert_eq!(Encoding::Either.decode(unpadded.as_bytes()), Some(tag));
        // A configured encoding excludes the others.
        assert_eq!(Encoding::Hex.decode::<32>(padded.as_bytes()), None);
        assert_eq!(Encoding::Base64.decode::<32>(hex.as_bytes()), None);
        let altered = [&hex[..63], &format!("{hex}0"), &hex.replace('0', "g"), "", &format!("{padded}=")];
        for text in altered {
            assert_eq!(Encoding::Either.decode::<32>(text.as_bytes()), None, "{text}");
        }
        // Non-canonical base64: nonzero trailing bits make a second text for the same bytes.
        let loose = format!("{}B", &unpadded[..42]);
        assert_eq!(Encoding::Either.decode::<32>(loose.as_bytes()), None);
    }

    #[test]
    fn hexadecimal_digits_are_those_of_base16ct() {
        for at in 0..64 {
            for byte in 0..=255 {
                let mut text = *b"0123456789abcdefABCDEF0123456789abcdefABCDEF0123456789abcdefABCD";
                text[at] = byte;
                let mut bytes = [0; 32];
                let theirs = base16ct::mixed::decode(text, &mut bytes).ok().map(<[u8]>::to_vec);
                let ours = Encoding::Hex.decode::<32>(&text).map(|bytes| bytes.to_vec());
                assert_eq!(ours, theirs, "{byte} at {at}");
            }
        }
    }

    #[test]
    fn a_tag_is_encoded_as_by_base64ct() {
        // Every number of six bits at every place.
        for character in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".chars() {
            let bytes = Base64::decode_vec(&character.to_string().repeat(44)).unwrap();
            let tag = *bytes.first_chunk().unwrap();
            assert_eq!(tag_in_base64(&tag).as_slice(), Base64::encode_string(&tag).as_bytes(), "{character}");
        }
        for bit in 0..256 {
            let mut tag = [0; 32];
            tag[bit / 8] = 0x80 >> (bit % 8);
            assert_eq!(tag_in_base64(&tag).as_slice(), Base64::encode_string(&tag).as_bytes(), "bit {bit}");
        }
    }

    #[test]
    fn base64url_differs_from_base64_in_two_characters() {
        let bytes = [0xfb; 64];
        let (url, standard) = (Base64Url::encode_string(&bytes), Base64::encode_string(&bytes));
        assert!(url.contains('-') && standard.contains('+'));
        assert_eq!(Encoding::Base64Url.decode(url.as_bytes()), Some(bytes));
        assert_eq!(Encoding::Base64Url.decode(url.trim_end_matches('=').as_bytes()), Some(bytes));
        assert_eq!(Encoding::Base64Url.decode::<64>(standard.as_bytes()), None);
        assert_eq!(Encoding::Base64.decode::<64>(url.as_bytes()), None);
        assert_eq!(Encoding::Either.decode::<64>(url.as_bytes()), None);
    }

    #[test]
    fn a_key_is_decoded_as_configured_only() {
        let decode = |encoding: SecretEncoding, text: &str| encoding.decode(text).map(|key| key.to_vec());
        assert_eq!(decode(SecretEncoding::Text, "AAEC"), Some(b"AAEC".to_vec()));
        assert_eq!(decode(SecretEncoding::Base64, "AAEC"), Some(vec![0, 1, 2]));
        assert_eq!(decode(SecretEncoding::Base64, "AAECAw=="), Some(vec![0, 1, 2, 3]));
        assert_eq!(decode(SecretEncoding::Hex, "00fF"), Some(vec![0, 255]));
        for (encoding, text) in
            [(SecretEncoding::Base64, "AA_C"), (SecretEncoding::Hex, "00f"), (SecretEncoding::Hex, "0g")]
        {
            assert_eq!(decode(encoding, text), None, "{text}");
        }
    }
}
