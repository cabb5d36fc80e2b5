//! The keys of events in a store that loses them with the process.

use std::hash::Hasher;
use std::sync::OnceLock;

use siphasher::sip128::{Hasher128, SipHasher13};

/// Computes the process keys of one receiver's events: SipHash-1-3 with an output of 128 bits, under a random key of
/// the process. A sender that does not know the key can neither find two events with the same one, nor one whose key is
/// in a certain part of a table; 2^32 events have two with the same key by chance with a probability of 2^-65.
pub(crate) struct ProcessKeys {
    /// The state after the names of the provider and the endpoint, which all keys have in common.
    begun: SipHasher13,
}

impl ProcessKeys {
    /// # Errors
    /// Returns an error if the system has no random bytes.
    pub(crate) fn new(provider: &str, endpoint: &str) -> Result<Self, getrandom::Error> {
        static KEY: OnceLock<[u64; 2]> = OnceLock::new();
        let [one, other] = match KEY.get() {
            Some(key) => *key,
            None => {
                let new = [getrandom::u64()?, getrandom::u64()?];
                *KEY.get_or_init(|| new)
            }
        };
        let mut begun = SipHasher13::new_with_keys(one, other);
        add(&mut begun, provider.as_bytes());
        add(&mut begun, endpoint.as_bytes());
        Ok(ProcessKeys { begun })
    }

    /// Returns the key of an event. `tag` says what the parts are.
    pub(crate) fn of(&self, tag: u64, parts: &[&[u8]]) -> [u8; 16] {
        let mut hasher = self.begun;
        hasher.write_u64(tag);
        parts.iter().for_each(|part| add(&mut hasher, part));
        u128::from(hasher.finish128()).to_le_bytes()
    }
}

/// Prefixes each part with its length, so that different lists of parts never hash the same bytes.
fn add(hasher: &mut SipHasher13, part: &[u8]) {
    hasher.write_u64(part.len() as u64);
    hasher.write(part);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn events_that_differ_in_one_part_have_different_keys() {
        let of =
            |provider, endpoint, tag, parts: &[&[u8]]| ProcessKeys::new(provider, endpoint).unwrap().of(tag, parts);
        let keys = [
            of("p", "e", 0, &[b"live", b"1"]),
            of("p", "e", 0, &[b"live", b"2"]),
            of("p", "e", 0, &[b"test", b"1"]),
            of("p", "e", 0, &[b"live1", b""]),
            of("p", "e", 0, &[b"", b"live1"]),
            of("p", "e", 0, &[b"live", b"1", b""]),
            of("p", "e", 1, &[b"live", b"1"]),
            of("p", "e2", 0, &[b"live", b"1"]),
            of("p2", "e", 0, &[b"live", b"1"]),
            of("pe", "", 0, &[b"live", b"1"]),
        ];
        let halves: HashSet<_> = keys.iter().flat_map(|key| key.chunks(8)).collect();
        assert_eq!(halves.len(), 2 * keys.len());
        assert_eq!(of("p", "e", 0, &[b"live", b"1"]), keys[0]);
    }
}
