//! The keys of the tables, and their hasher.

use std::hash::{BuildHasherDefault, Hasher};

use crate::event_key::EventKey;

/// The first half of a key, which is all of a process key.
pub(super) type ShortKey = [u8; 16];

pub(super) fn first_half(key: EventKey) -> ShortKey {
    key.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// A hasher that returns the first bytes of a key. Keys are keyed hashes, or SHA-256 digests of verified events, so
/// these bytes are uniformly distributed, and an attacker without a secret cannot choose them.
#[derive(Default)]
pub(super) struct FirstBytes(u64);

pub(super) type FirstBytesState = BuildHasherDefault<FirstBytes>;

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    /// Ignores the length of the array, which is always the same.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn a_key_hashes_to_its_first_bytes() {
        let key = EventKey::from_bytes(std::array::from_fn(|at| at as u8));
        assert_eq!(first_half(key), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(FirstBytesState::default().hash_one(first_half(key)), 0x0706_0504_0302_0100);
    }
}
