//! The key of an event, and how it is made.

use std::fmt;

use sha2::{Digest, Sha256};

/// What a store knows an event by: a SHA-256 digest. Providers' ids can be patients' codes; no store sees them as they
/// are. The digest has no key: whoever can read a store can try out ids that are easily guessed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKey([u8; 32]);

impl EventKey {
    /// A key from its bytes, as a store's own tests need them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        EventKey(bytes)
    }

    /// The digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What makes the keys of one receiver. All of them begin alike, and that much is hashed once.
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

    /// Of an event with an id.
    pub(crate) fn of_id(&self, mode: &str, id: &str) -> EventKey {
        finished(&self.by_id, &[mode.as_bytes(), id.as_bytes()])
    }

    /// Of an event that the application names itself.
    pub(crate) fn of_own(&self, mode: &str, own: &str) -> EventKey {
        finished(&self.by_own, &[mode.as_bytes(), own.as_bytes()])
    }

    /// Of an event without one: the same bytes are the same event.
    pub(crate) fn of_body(&self, body: &[u8]) -> EventKey {
        finished(&self.by_body, &[body])
    }
}

fn finished(begun: &Sha256, parts: &[&[u8]]) -> EventKey {
    let mut digest = begun.clone();
    parts.iter().for_each(|part| add(&mut digest, part));
    EventKey(digest.finalize().into())
}

/// Every part goes in with its length in front, so that no two lists of parts make the same bytes.
fn add(digest: &mut Sha256, part: &[u8]) {
    digest.update((part.len() as u64).to_be_bytes());
    digest.update(part);
}

impl fmt::Display for EventKey {
    /// The first 16 hexadecimal digits: enough to find an event in a log, and no more.
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
    fn every_part_of_a_key_tells_events_apart() {
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

    /// Keys outlive the version that made them: with another one, what was handled would be handled again.
    #[test]
    fn a_key_is_the_digest_of_its_parts_with_their_lengths() {
        let part = |part: &[u8]| [&(part.len() as u64).to_be_bytes(), part].concat();
        let parts = [&b"medhook event by id, 1"[..], b"fasten", b"clinic", b"live", b"7d4b9f0e"].map(part).concat();
        let expected: [u8; 32] = Sha256::digest(parts).into();
        assert_eq!(EventKeys::new("fasten", "clinic").of_id("live", "7d4b9f0e").as_bytes(), &expected);
    }

    #[test]
    fn a_key_is_shown_by_its_first_digits() {
        let key = EventKey::from_bytes(std::array::from_fn(|at| at as u8));
        assert_eq!(key.to_string(), "0001020304050607");
        assert_eq!(format!("{key:?}"), "EventKey(0001020304050607)");
    }
}
