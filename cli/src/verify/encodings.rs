//! The encodings of secrets, signatures and bodies.

use base64ct::{Base64, Base64Unpadded, Base64Url, Base64UrlUnpadded, Encoding as _};

/// Decodes percent-encoded bytes, with `+` as a space if `plus` is set. Returns `None` if nothing changes.
pub(super) fn percent_decoded(bytes: &[u8], plus: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.split_at_checked(2).filter(|_| *first == b'%').and_then(|(digits, rest)| {
            let mut byte = [0];
            base16ct::mixed::decode(digits, &mut byte).ok()?;
            Some((byte[0], rest))
        });
        let (byte, after) = digits.unwrap_or((if plus && *first == b'+' { b' ' } else { *first }, after));
        out.push(byte);
        rest = after;
    }
    (out != bytes).then_some(out)
}

/// Decodes base64, padded or not.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    Base64::decode_vec(text).or_else(|_| Base64Unpadded::decode_vec(text)).ok()
}

/// Decodes base64url, padded or not.
pub(super) fn base64url(text: &str) -> Option<Vec<u8>> {
    Base64Url::decode_vec(text).or_else(|_| Base64UrlUnpadded::decode_vec(text)).ok()
}

/// Decodes hexadecimal digits.
pub(super) fn hex(text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    let mut bytes = vec![0; text.as_ref().len() / 2];
    let length = base16ct::mixed::decode(text, &mut bytes).ok()?.len();
    (length == bytes.len()).then_some(bytes)
}
