//! A body that is signed in base64, encoded as it arrives.

use base64ct::{Base64, Encoding};

/// Encodes a body in padded base64, piece by piece.
#[derive(Default)]
pub(super) struct Base64Body {
    /// The last bytes, which do not fill a group of three yet.
    carried: [u8; 3],
    length: usize,
}

/// The number of bytes that are encoded at a time.
const AT_ONCE: usize = 768;

impl Base64Body {
    /// Encodes the next bytes, and passes the text to `each` in pieces.
    pub(super) fn update(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        let mut bytes = bytes;
        while self.length > 0 && !bytes.is_empty() {
            let Some((byte, rest)) = bytes.split_first() else { break };
            self.carry(*byte);
            bytes = rest;
            if self.length == self.carried.len() {
                encode(&self.carried, &mut each);
                self.length = 0;
            }
        }
        let (groups, rest) = bytes.as_chunks::<3>();
        groups.as_flattened().chunks(AT_ONCE).for_each(|groups| encode(groups, &mut each));
        rest.iter().for_each(|byte| self.carry(*byte));
    }

    /// Encodes the last bytes, with padding.
    pub(super) fn finish(&self, each: impl FnMut(&[u8])) {
        let mut each = each;
        encode(self.carried.get(..self.length).unwrap_or_default(), &mut each);
    }

    fn carry(&mut self, byte: u8) {
        if let Some(place) = self.carried.get_mut(self.length) {
            *place = byte;
            self.length = self.length.saturating_add(1);
        }
    }
}

fn encode(bytes: &[u8], each: &mut impl FnMut(&[u8])) {
    let mut text = [0; AT_ONCE / 3 * 4];
    // The buffer fits `AT_ONCE` bytes.
    if let Ok(text) = Base64::encode(bytes, &mut text) {
        each(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_length_are_encoded_as_the_whole() {
        let body: Vec<u8> = (0..2_000_u32).map(|at| (at * 7 % 251) as u8).collect();
        for length in [0, 1, 2, 3, 4, 767, 768, 769, 2_000] {
            let body = &body[..length];
            for piece in [1, 2, 3, 5, 700, 2_000] {
                let (mut text, mut encoder) = (Vec::new(), Base64Body::default());
                for bytes in body.chunks(piece) {
                    encoder.update(bytes, |part| text.extend_from_slice(part));
                    encoder.update(&[], |part| text.extend_from_slice(part));
                }
                encoder.finish(|part| text.extend_from_slice(part));
                assert_eq!(text, Base64::encode_string(body).as_bytes(), "{length} bytes in pieces of {piece}");
            }
        }
    }
}
