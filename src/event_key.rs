//! The key of an event, and how it is computed.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use base16ct::HexDisplay;
use sha2::{Digest, Sha256};

use crate::envelope::Mode;

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

    /// Computes the key of an event from the names of its provider and endpoint (that of the receiver), its
    /// [mode](crate::Mode) if the provider sends one, and its id. It is the key of events that were identified by their
    /// id ([`IdFrom::Body`] and [`IdFrom::Header`]).
    ///
    /// ```
    /// use medhook::{EventKey, Mode};
    ///
    /// let key = EventKey::of_id("fasten", "fasten", Some(&Mode::Live), "7d4b9f0e");
    /// assert_eq!(EventKey::from_hex(&key.to_hex()), Some(key));
    /// ```
    #[must_use]
    pub fn of_id(provider: &str, endpoint: &str, mode: Option<&Mode>, id: &str) -> Self {
        let mode = mode.map_or("", Mode::as_str);
        finished(&begun(BY_ID, provider, endpoint), &[mode.as_bytes(), id.as_bytes()])
    }

    /// Returns all 64 hexadecimal digits, in lower case. [`Display`](fmt::Display) writes the first 16.
    #[must_use]
    pub fn to_hex(&self) -> String {
        format!("{:x}", HexDisplay(&self.0))
    }

    /// Parses 64 hexadecimal digits. Returns `None` for any other text.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let decoded = base16ct::mixed::decode(text, &mut bytes).ok()?;
        (decoded.len() == 32).then_some(EventKey(bytes))
    }
}

/// The part of a delivery that identifies its event. See [`Dedupe`](crate::Dedupe).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdFrom {
    /// The event's id in the body.
    Body,
    /// The signed `webhook-id`, since the body has no id.
    Header,
    /// The id in an [unsigned header](crate::Custom::unsigned_id_header) together with the bytes of the body, since no
    /// id is signed.
    UnsignedHeader,
    /// The text that [`Dedupe::by`](crate::Dedupe::by) returned.
    Own,
    /// The bytes of the body, which are those of one event only.
    Bytes,
    /// Nothing: each delivery is handled as an event of its own.
    Nothing,
}

/// The keys of a delivery.
pub(crate) struct DeliveryKeys {
    /// The part of the delivery that identifies its event.
    pub(crate) id_from: IdFrom,
    /// The key of its event.
    pub(crate) event: EventKey,
    /// The key of its body, if its deliveries count: if the event can recur with the same bytes, or only an unsigned
    /// header identifies it.
    pub(crate) recurring_body: Option<EventKey>,
}

impl DeliveryKeys {
    pub(crate) fn of_event(event: EventKey, id_from: IdFrom) -> Self {
        DeliveryKeys { id_from, event, recurring_body: None }
    }
}

/// Computes the event keys of one receiver. Their common prefix is hashed once.
pub(crate) struct EventKeys {
    by_id: Sha256,
    by_unsigned_id: Sha256,
    by_own: Sha256,
    by_body: Sha256,
    by_delivery: Sha256,
    /// Makes the keys of deliveries unique, with `deliveries`.
    random: [u8; 16],
    deliveries: AtomicU64,
}

impl EventKeys {
    /// # Errors
    /// Returns an error if the system has no random bytes.
    pub(crate) fn new(provider: &str, endpoint: &str) -> Result<Self, getrandom::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let of = |tag: &[u8]| begun(tag, provider, endpoint);
        Ok(EventKeys {
            by_id: of(BY_ID),
            by_unsigned_id: of(BY_UNSIGNED_ID),
            by_own: of(b"medhook event by own key, 1"),
            by_body: of(b"medhook event by body, 1"),
            by_delivery: of(b"medhook event by delivery, 1"),
            random,
            deliveries: AtomicU64::new(0),
        })
    }

    /// Returns the key of an event that has an id.
    pub(crate) fn of_id(&self, mode: &str, id: &str) -> EventKey {
        finished(&self.by_id, &[mode.as_bytes(), id.as_bytes()])
    }

    /// Returns the key of an event that only an unsigned header identifies.
    ///
    /// The body is a part of it. Otherwise an attacker who repeats a captured delivery with the id of another event
    /// could make that event look handled before it arrives.
    pub(crate) fn of_unsigned_id(&self, mode: &str, id: &str, body: &[u8]) -> EventKey {
        finished(&self.by_unsigned_id, &[mode.as_bytes(), id.as_bytes(), body])
    }

    /// Returns the key of an event that the application identifies itself.
    pub(crate) fn of_own(&self, mode: &str, own: &str) -> EventKey {
        finished(&self.by_own, &[mode.as_bytes(), own.as_bytes()])
    }

    /// Returns the key of a body: equal bytes have the same key.
    pub(crate) fn of_body(&self, body: &[u8]) -> EventKey {
        finished(&self.by_body, &[body])
    }

    /// Returns a key that no other delivery has, not even one of the same body.
    pub(crate) fn of_delivery(&self, body: EventKey) -> EventKey {
        let count = self.deliveries.fetch_add(1, Ordering::Relaxed);
        finished(&self.by_delivery, &[body.as_bytes(), &self.random, &count.to_be_bytes()])
    }
}

const BY_ID: &[u8] = b"medhook event by id, 1";
const BY_UNSIGNED_ID: &[u8] = b"medhook event by unsigned id and body, 1";

fn begun(tag: &[u8], provider: &str, endpoint: &str) -> Sha256 {
    let mut digest = Sha256::new();
    [tag, provider.as_bytes(), endpoint.as_bytes()].iter().for_each(|part| add(&mut digest, part));
    digest
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
        let keys = |provider, endpoint| EventKeys::new(provider, endpoint).unwrap();
        let keys = [
            keys("p", "e").of_id("live", "1"),
            keys("p", "e").of_id("live", "2"),
            keys("p", "e").of_id("test", "1"),
            keys("p", "e2").of_id("live", "1"),
            keys("p2", "e").of_id("live", "1"),
            keys("pe", "").of_id("live", "1"),
            keys("p", "e").of_own("live", "1"),
            keys("p", "e").of_unsigned_id("live", "1", b"1"),
            keys("p", "e").of_unsigned_id("live", "1", b"2"),
            keys("p", "e").of_unsigned_id("live", "2", b"1"),
            keys("p", "e").of_unsigned_id("live", "", b"11"),
            keys("p", "e").of_unsigned_id("live", "11", b""),
            keys("p", "e").of_unsigned_id("test", "1", b"1"),
            keys("p", "e").of_body(b"1"),
            keys("p", "e").of_body(b"2"),
            keys("p", "e2").of_body(b"1"),
            keys("p2", "e").of_body(b"1"),
            keys("p", "e").of_delivery(keys("p", "e").of_body(b"1")),
            keys("p", "e").of_delivery(keys("p", "e").of_body(b"1")),
        ];
        let different: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
    }

    #[test]
    fn each_delivery_of_one_body_has_a_key_of_its_own() {
        let keys = EventKeys::new("p", "e").unwrap();
        let body = keys.of_body(b"1");
        let different: std::collections::HashSet<_> = (0..100).map(|_| keys.of_delivery(body)).collect();
        assert_eq!(different.len(), 100);
    }

    /// Stores keep keys across versions: if a version computed them differently, handled events would be handled again.
    #[test]
    fn a_key_is_the_digest_of_its_parts_with_their_lengths() {
        let part = |part: &[u8]| [&(part.len() as u64).to_be_bytes(), part].concat();
        let parts = [&b"medhook event by id, 1"[..], b"fasten", b"clinic", b"live", b"7d4b9f0e"].map(part).concat();
        let expected: [u8; 32] = Sha256::digest(parts).into();
        assert_eq!(EventKeys::new("fasten", "clinic").unwrap().of_id("live", "7d4b9f0e").as_bytes(), &expected);
        assert_eq!(EventKey::of_id("fasten", "clinic", Some(&Mode::Live), "7d4b9f0e").as_bytes(), &expected);
        let without_mode = EventKeys::new("fasten", "clinic").unwrap().of_id("", "7d4b9f0e");
        assert_eq!(EventKey::of_id("fasten", "clinic", None, "7d4b9f0e"), without_mode);
    }

    /// Stores keep these keys, too.
    #[test]
    fn a_key_of_an_unsigned_id_is_the_digest_of_the_id_and_the_body() {
        let part = |part: &[u8]| [&(part.len() as u64).to_be_bytes(), part].concat();
        let parts = [&b"medhook event by unsigned id and body, 1"[..], b"acme", b"clinic", b"", b"evt-1", b"{}"];
        let expected: [u8; 32] = Sha256::digest(parts.map(part).concat()).into();
        let keys = EventKeys::new("acme", "clinic").unwrap();
        assert_eq!(keys.of_unsigned_id("", "evt-1", b"{}").as_bytes(), &expected);
    }

    #[test]
    fn a_key_is_parsed_from_its_64_digits_only() {
        let key = EventKey::from_bytes(std::array::from_fn(|at| 0xf0 | at as u8));
        let hex = key.to_hex();
        assert_eq!((hex.len(), &hex[..16]), (64, &*key.to_string()));
        assert_eq!(EventKey::from_hex(&hex), Some(key));
        assert_eq!(EventKey::from_hex(&hex.to_uppercase()), Some(key));
        for other in
            ["", &hex[..16], &hex[..62], &hex[..63], &format!("{hex}00"), &format!("{}g0", &hex[..62]), "\u{e9}"]
        {
            assert_eq!(EventKey::from_hex(other), None, "{other}");
        }
    }

    #[test]
    fn display_and_debug_show_the_first_16_digits() {
        let key = EventKey::from_bytes(std::array::from_fn(|at| at as u8));
        assert_eq!(key.to_string(), "0001020304050607");
        assert_eq!(format!("{key:?}"), "EventKey(0001020304050607)");
    }
}
