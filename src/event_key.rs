//! The key of an event, and how it is computed.

use std::fmt;

use sha2::{Digest, Sha256};

/// The key under which stores record an event: a SHA-256 digest.
///
/// Providers' ids can be patients' codes, so stores never receive the ids themselves. The digest is not keyed: an
/// attacker who can read a store can test guessable ids against it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKey([u8; 32]);

impl EventKey {
    /// Creates a key from its bytes, for the tests of a store.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        EventKey(bytes)
    }

    /// Returns the bytes of the digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Computes the event keys of one receiver. Their common prefix is hashed once.
pub(crate) struct EventKeys {
    by_id: Sha256,
    by_own: Sha256,
    by_body: Sha256,
}

impl EventKeys {
    pub(crate) fn new(provider: &str, endpoint: &str) -> Self {
        let of = |tag: &[u8]| {
            let mut digest = Sha256::new();
            [tag, provider.as_bytes(), endpoint.as_bytes()].iter().for_each(|part| add(&mut digest, part));
            digest
        };
        EventKeys {
            by_id: of(b"medhook event by id, 1"),
            by_own: of(b"medhook event by own key, 1"),
            by_body: of(b"medhook event by body, 1"),
        }
    }

    /// Returns the key of an event that has an id.
    pub(crate) fn of_id(&self, mode: &str, id: &str) -> EventKey {
        finished(&self.by_id, &[mode.as_bytes(), id.as_bytes()])
    }

    /// Returns the key of an event that the application identifies itself.
    pub(crate) fn of_own(&self, mode: &str, own: &str) -> EventKey {
        finished(&self.by_own, &[mode.as_bytes(), own.as_bytes()])
    }

    /// Returns the key of an event without an id: equal bytes are the same event.
    pub(crate) fn of_body(&self, body: &[u8]) -> EventKey {
        finished(&self.by_body, &[body])
    }
}

fn finished(begun: &Sha256, parts: &[&[u8]]) -> EventKey {
    let mut digest = begun.clone();
    parts.iter().for_each(|part| add(&mut digest, part));
    EventKey(digest.finalize().into())
}

/// Prefixes each part with its length, so that different lists of parts never hash the same bytes.
fn add(digest: &mut Sha256, part: &[u8]) {
    digest.update((part.len() as u64).to_be_bytes());
    digest.update(part);
}

impl fmt::Display for EventKey {
    /// Writes the first 16 hexadecimal digits, which are enough to find an event in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_differ_in_one_part_have_different_keys() {
        let keys = EventKeys::new;
        let keys = [
            keys("p", "e").of_id("live", "1"),
            keys("p", "e").of_id("live", "2"),
            keys("p", "e").of_id("test", "1"),
            keys("p", "e2").of_id("live", "1"),
            keys("p2", "e").of_id("live", "1"),
            keys("pe", "").of_id("live", "1"),
            keys("p", "e").of_own("live", "1"),
            keys("p", "e").of_body(b"1"),
            keys("p", "e").of_body(b"2"),
            keys("p", "e2").of_body(b"1"),
            keys("p2", "e").of_body(b"1"),
        ];
        let different: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
    }

    /// Stores keep keys across versions: if a version computed them differently, handled events would be handled again.
    #[test]
    fn a_key_is_the_digest_of_its_parts_with_their_lengths() {
        let part = |part: &[u8]| [&(part.len() as u64).to_be_bytes(), part].concat();
        let parts = [&b"medhook event by id, 1"[..], b"fasten", b"clinic", b"live", b"7d4b9f0e"].map(part).concat();
        let expected: [u8; 32] = Sha256::digest(parts).into();
        assert_eq!(EventKeys::new("fasten", "clinic").of_id("live", "7d4b9f0e").as_bytes(), &expected);
    }

    #[test]
    fn display_and_debug_show_the_first_16_digits() {
        let key = EventKey::from_bytes(std::array::from_fn(|at| at as u8));
        assert_eq!(key.to_string(), "0001020304050607");
        assert_eq!(format!("{key:?}"), "EventKey(0001020304050607)");
    }
}
