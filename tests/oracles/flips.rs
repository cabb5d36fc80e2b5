//! Every single flipped bit of every delivery in `vectors.toml`.

use medhook::Bytes;

use crate::vectors::{Vector, vectors};

#[test]
fn a_delivery_with_one_flipped_bit_is_rejected() {
    for vector in vectors() {
        let receiver = vector.receiver();
        let headers: Vec<_> = vector.headers.iter().map(|(name, value)| (&**name, value.as_bytes().to_vec())).collect();
        let verify = |headers: &[(&str, Vec<u8>)], body: Vec<u8>| {
            receiver.verify(headers, Bytes::from(body)).map(drop).map_err(|rejection| rejection.reason().as_str())
        };
        let expected = if vector.options.signs_body() { Err("signature_mismatch") } else { Ok(()) };
        for bit in 0..vector.body.len() * 8 {
            let mut body = vector.body.clone().into_bytes();
            body[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verify(&headers, body), expected, "{}: bit {bit} of the body", vector.name);
        }
        for which in 0..headers.len() {
            let (name, value) = (headers[which].0, headers[which].1.clone());
            for bit in 0..value.len() * 8 {
                let mut headers = headers.clone();
                headers[which].1[bit / 8] ^= 1 << (bit % 8);
                let accepted = verify(&headers, vector.body.clone().into_bytes()).is_ok();
                let expected = may_be_flipped(&vector, name, &value, bit);
                assert_eq!(accepted, expected, "{}: bit {bit} of {name}", vector.name);
            }
        }
    }
}

/// Returns whether a bit does not matter: in a header or a list entry that does not verify the delivery, or as the case
/// of a hexadecimal digit or of the word `Bearer` or `Basic`.
fn may_be_flipped(vector: &Vector, name: &str, value: &[u8], bit: usize) -> bool {
    let at = bit / 8;
    if !vector.options.reads(name) {
        return true;
    }
    // In the vectors with a list, the last entry is the genuine one.
    let separator = vector.options.separator.map(|separator| separator as u8);
    if value.iter().rposition(|byte| Some(*byte) == separator).is_some_and(|last| at < last) {
        return true;
    }
    let is_case = bit % 8 == 5;
    if vector.options.scheme == "shared-secret" {
        let word = value.iter().position(|byte| *byte == b' ').unwrap_or(0);
        return is_case && at < word;
    }
    // Digits of a MAC, not the names of elements. Base64 has no run of 64 hexadecimal digits in the vectors.
    let is_digit = |byte: &u8| byte.is_ascii_hexdigit();
    let before = value[..at].iter().rev().take_while(|byte| is_digit(byte)).count();
    let after = value[at..].iter().take_while(|byte| is_digit(byte)).count();
    is_case && value[at].is_ascii_alphabetic() && before + after >= 64
}
