//! The keys of events in a store that loses them with the process.

use std::sync::OnceLock;

/// Computes the process keys of one receiver's events: SipHash-1-3 with an output of 128 bits, under a random key of
/// the process. A sender that does not know the key can neither find two events with the same one, nor one whose key is
/// in a certain part of a table; 2^32 events have two with the same key by chance with a probability of 2^-65.
///
/// For an id of 36 bytes it takes 260 instructions, and two of the standard library's hashers take 900.
pub(crate) struct ProcessKeys {
    /// The state after the names of the provider and the endpoint, which all keys have in common.
    begun: SipState,
}

impl ProcessKeys {
    /// # Errors
    /// Returns an error if the system has no random bytes.
    pub(crate) fn new(provider: &str, endpoint: &str) -> Result<Self, getrandom::Error> {
        static KEY: OnceLock<[u64; 2]> = OnceLock::new();
        let key = match KEY.get() {
            Some(key) => *key,
            None => {
                let new = [getrandom::u64()?, getrandom::u64()?];
                *KEY.get_or_init(|| new)
            }
        };
        let mut begun = SipState::new(key);
        begun.part(provider.as_bytes());
        begun.part(endpoint.as_bytes());
        Ok(ProcessKeys { begun })
    }

    /// Returns the key of an event. `tag` says what the parts are.
    pub(crate) fn of(&self, tag: u64, parts: &[&[u8]]) -> [u8; 16] {
        let mut state = self.begun;
        state.word(tag);
        parts.iter().for_each(|part| state.part(part));
        state.finish(0)
    }
}

/// The state of SipHash-1-3-128.
#[derive(Clone, Copy)]
struct SipState([u64; 4]);

impl SipState {
    fn new([k0, k1]: [u64; 2]) -> Self {
        let [a, b, c, d] = [*b"somepseu", *b"dorandom", *b"lygenera", *b"tedbytes"].map(u64::from_be_bytes);
        SipState([k0 ^ a, k1 ^ b ^ 0xee, k0 ^ c, k1 ^ d])
    }

    /// Adds the length of a part and its bytes, filled up to whole words. So different lists of parts are different
    /// words, and none of them begins with another of the same number of parts.
    fn part(&mut self, part: &[u8]) {
        self.word(part.len() as u64);
        let (words, rest) = part.as_chunks();
        words.iter().for_each(|word| self.word(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            self.word(rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    fn word(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }

    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }

    /// Adds the last word, and returns the hash.
    fn finish(mut self, last: u64) -> [u8; 16] {
        self.word(last);
        self.0[2] ^= 0xee;
        let lower = self.half();
        self.0[1] ^= 0xdd;
        let upper = self.half();
        (u128::from(upper) << 64 | u128::from(lower)).to_le_bytes()
    }

    fn half(&mut self) -> u64 {
        (0..3).for_each(|_| self.round());
        self.0.iter().fold(0, |half, word| half ^ word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of SipHash-1-3-128 with the key 00 01 .. 0f and messages of the bytes 00 01 .., whose last word is the
    /// number of bytes in its highest byte.
    #[test]
    fn the_hash_is_siphash_1_3_with_128_bits() {
        let hash = |words: &[u64]| {
            let mut state = SipState::new([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
            words.iter().for_each(|word| state.word(*word));
            state.finish((words.len() as u64 * 8) << 56)
        };
        assert_eq!(hash(&[]), [231, 126, 188, 178, 39, 136, 165, 190, 253, 98, 219, 106, 221, 48, 48, 1]);
        let words = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        assert_eq!(hash(&words[..1]), [170, 18, 254, 225, 213, 227, 218, 180, 114, 79, 22, 171, 53, 249, 199, 153]);
        assert_eq!(hash(&words), [208, 168, 217, 87, 21, 81, 142, 235, 181, 19, 176, 248, 61, 158, 23, 147]);
    }

    #[test]
    fn a_part_is_its_length_and_its_bytes_in_words() {
        let key = |parts: &[&[u8]]| ProcessKeys::new("p", "e").unwrap().of(0, parts);
        let words = |words: &[u64]| {
            let mut state = ProcessKeys::new("p", "e").unwrap().begun;
            words.iter().for_each(|word| state.word(*word));
            state.finish(0)
        };
        assert_eq!(key(&[b"", b"12345678"]), words(&[0, 0, 8, 0x3837_3635_3433_3231]));
        assert_eq!(key(&[b"12345678ab"]), words(&[0, 10, 0x3837_3635_3433_3231, 0x6261]));
    }
}
