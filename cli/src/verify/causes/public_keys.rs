//! Ed25519 public keys that may belong to a signature.

use base64ct::Encoding as _;
use medhook::{Bytes, Custom, Ed25519Body, Encoding, NoDedupe, Receiver, Secret, SecretEncoding};

use crate::verify::encodings::{base64, base64url, hex};

/// An Ed25519 public key, as a receiver of one signature of a whole message.
pub(super) struct PublicKey {
    pub(super) bytes: [u8; 32],
    receiver: Receiver,
}

const HEADER: &str = "x-signature";

impl PublicKey {
    /// Returns the key, unless the bytes are no key or a weak one.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let key: [u8; 32] = bytes.try_into().ok()?;
        let scheme = Ed25519Body::new(HEADER).encoding(Encoding::Hex).secret_encoding(SecretEncoding::Base64);
        let secret = Secret::unchecked(&base64ct::Base64::encode_string(&key)).labeled("key").ok()?;
        let builder = Receiver::builder("verify", Custom::new("verify", scheme, secret)).store(NoDedupe);
        Some(PublicKey { bytes: key, receiver: builder.body_limit(usize::MAX).build().ok()? })
    }

    pub(super) fn verifies(&self, message: Bytes, signature: &[u8]) -> bool {
        let text = base16ct::lower::encode_string(signature);
        self.receiver.verify(&[(HEADER, text)], message).is_ok()
    }
}

/// Returns the bytes of a public key in this text, as a scheme with this encoding decodes it.
pub(super) fn decoded(text: &str, encoding: SecretEncoding) -> Option<Vec<u8>> {
    let bytes = match (text.strip_prefix("whpk_"), encoding) {
        (Some(public), _) => base64(public)?,
        (None, SecretEncoding::Hex) => hex(text)?,
        (None, _) => base64(text)?,
    };
    without_type(bytes)
}

/// Returns the bytes of a public key in this text, in any encoding.
pub(super) fn in_any_encoding(text: &str) -> Vec<Vec<u8>> {
    let bare = ["whpk_", "whsec_"].iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
    let found = [base64(bare), hex(bare), base64url(bare)];
    found.into_iter().flatten().filter_map(without_type).collect()
}

/// Removes the type of the key that a PEM file has (RFC 8410).
fn without_type(bytes: Vec<u8>) -> Option<Vec<u8>> {
    const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let key = bytes.strip_prefix(&SPKI[..]).unwrap_or(&bytes);
    (key.len() == 32).then(|| key.to_vec())
}
