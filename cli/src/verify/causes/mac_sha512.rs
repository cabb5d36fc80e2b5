//! HMAC-SHA512 (RFC 2104), to examine signatures only: a receiver verifies with the library.

use sha2::{Digest as _, Sha512};

const BLOCK: usize = 128;

/// Computes HMAC-SHA512 over the concatenation of `parts`.
pub(super) fn mac_sha512(key: &[u8], parts: &[&[u8]]) -> [u8; 64] {
    let hashed: [u8; 64] = Sha512::digest(key).into();
    let key = if key.len() > BLOCK { &hashed[..] } else { key };
    let pad = |with: u8| -> Vec<u8> {
        let padded = key.iter().copied().chain(std::iter::repeat(0)).take(BLOCK);
        padded.map(|byte| byte ^ with).collect()
    };
    let mut inner = Sha512::new();
    inner.update(pad(0x36));
    parts.iter().for_each(|part| inner.update(part));
    let mut outer = Sha512::new();
    outer.update(pad(0x5c));
    outer.update(inner.finalize());
    outer.finalize().into()
}

#[cfg(test)]
mod tests {
    use medhook::testing::Signing;
    use medhook::{Encoding, HmacSha512Body};

    use super::*;

    #[test]
    fn it_is_the_hmac_of_the_library_for_keys_of_any_length() {
        let signing = Signing::of(HmacSha512Body::new("x").encoding(Encoding::Hex));
        for length in [1, 127, 128, 129, 300] {
            let key = "k".repeat(length);
            let expected = signing.headers(&key, "", "", b"a body").unwrap().remove(0).1;
            assert_eq!(base16ct::lower::encode_string(&mac_sha512(key.as_bytes(), &[b"a ", b"body"])), expected);
        }
    }
}
