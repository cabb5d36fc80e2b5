//! Random secrets and ids.

use base16ct::HexDisplay;
use base64ct::{Base64, Encoding as _};

use crate::failure::Failure;

/// Returns a secret: 32 random bytes in hexadecimal, which is valid base64 as well.
pub(crate) fn secret() -> Result<String, Failure> {
    bytes::<32>().map(|bytes| hex(&bytes))
}

/// Returns an Ed25519 private key, `whsk_` and base64.
pub(crate) fn private_key() -> Result<String, Failure> {
    bytes::<32>().map(|bytes| format!("whsk_{}", Base64::encode_string(&bytes)))
}

/// Returns a UUID of version 4. None of our dependencies creates UUIDs.
pub(crate) fn uuid() -> Result<String, Failure> {
    let mut bytes = bytes::<16>()?;
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    let parts = [bytes.get(..4), bytes.get(4..6), bytes.get(6..8), bytes.get(8..10), bytes.get(10..)];
    Ok(parts.into_iter().flatten().map(hex).collect::<Vec<_>>().join("-"))
}

/// Returns a short text that is unique to this run.
pub(crate) fn mark() -> Result<String, Failure> {
    bytes::<8>().map(|bytes| hex(&bytes))
}

pub(crate) fn bytes<const LENGTH: usize>() -> Result<[u8; LENGTH], Failure> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::because("cannot read from the system random number generator", error))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    format!("{:x}", HexDisplay(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_the_format_of_version_4() {
        let uuid = uuid().unwrap();
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{uuid}");
        let digit = |index| uuid.chars().nth(index).unwrap();
        assert!(digit(14) == '4' && "89ab".contains(digit(19)), "{uuid}");
    }
}
