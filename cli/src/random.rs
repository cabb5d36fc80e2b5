//! What must be new each time: secrets and ids.

use base16ct::HexDisplay;

use crate::failure::Failure;

/// 32 random bytes in hexadecimal: a good secret where it is taken as text, and good base64 where it is decoded.
pub(crate) fn secret() -> Result<String, Failure> {
    bytes::<32>().map(|bytes| hex(&bytes))
}

/// A UUID of version 4. No crate that we depend on has one.
pub(crate) fn uuid() -> Result<String, Failure> {
    let mut bytes = bytes::<16>()?;
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    let parts = [bytes.get(..4), bytes.get(4..6), bytes.get(6..8), bytes.get(8..10), bytes.get(10..)];
    Ok(parts.into_iter().flatten().map(hex).collect::<Vec<_>>().join("-"))
}

/// A short text that two runs will not share.
pub(crate) fn mark() -> Result<String, Failure> {
    bytes::<8>().map(|bytes| hex(&bytes))
}

fn bytes<const LENGTH: usize>() -> Result<[u8; LENGTH], Failure> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).map_err(|error| Failure::because("no random numbers", error))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    format!("{:x}", HexDisplay(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_its_form() {
        let uuid = uuid().unwrap();
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{uuid}");
        let digit = |place| uuid.chars().nth(place).unwrap();
        assert!(digit(14) == '4' && "89ab".contains(digit(19)), "{uuid}");
    }
}
