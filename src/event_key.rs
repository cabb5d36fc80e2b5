//! The key of an event, and how it is computed.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use base16ct::HexDisplay;
use sha2::{Digest, Sha256};

use crate::envelope::{Envelope, Mode};
use crate::process_keys::ProcessKeys;

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
        digest(BY_ID, provider, endpoint, &[mode.as_bytes(), id.as_bytes()])
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

/// The keys of a delivery. They are computed on first use: with a memory store, most deliveries need none if no
/// subscriber logs them.
#[derive(Clone)]
pub(crate) struct DeliveryKeys {
    /// The part of the delivery that identifies its event.
    pub(crate) id_from: IdFrom,
    source: KeySource,
    event: OnceLock<EventKey>,
    /// The key of its body, if its deliveries count: if the event can recur with the same bytes, or only an unsigned
    /// header identifies it.
    recurring_body: Option<OnceLock<EventKey>>,
}

/// The part of a delivery from which its event key is computed, with the names of its provider and endpoint.
#[derive(Clone)]
pub(crate) enum KeySource {
    /// The mode and the id.
    Id,
    /// The mode, the unsigned id and the body.
    ///
    /// Without the body, an attacker who repeats a captured delivery with the id of another event could make that event
    /// look handled before it arrives.
    UnsignedId,
    /// The mode and the text with which the application identifies the event.
    Own(Box<str>),
    /// The body: equal bytes have the same key.
    Body,
    /// The body and a number, so that no other delivery has the key, not even one of the same body.
    Delivery(DeliveryNumber),
    /// The key was stored with the event.
    #[cfg(feature = "inbox")]
    Stored(EventKey),
}

/// The parts of a delivery from which its keys are computed.
#[derive(Clone, Copy)]
pub(crate) struct KeyParts<'a> {
    pub(crate) provider: &'a str,
    pub(crate) endpoint: &'a str,
    pub(crate) envelope: &'a Envelope,
    pub(crate) body: &'a [u8],
}

impl DeliveryKeys {
    pub(crate) fn new(id_from: IdFrom, source: KeySource) -> Self {
        DeliveryKeys { id_from, source, event: OnceLock::new(), recurring_body: None }
    }

    /// Returns the keys of a delivery that counts for its body.
    pub(crate) fn counted(id_from: IdFrom, source: KeySource) -> Self {
        DeliveryKeys { recurring_body: Some(OnceLock::new()), ..DeliveryKeys::new(id_from, source) }
    }

    /// Returns the keys that were stored with an event.
    #[cfg(feature = "inbox")]
    pub(crate) fn stored(id_from: IdFrom, event: EventKey, recurring_body: Option<EventKey>) -> Self {
        let recurring_body = recurring_body.map(OnceLock::from);
        DeliveryKeys { recurring_body, ..DeliveryKeys::new(id_from, KeySource::Stored(event)) }
    }

    /// Returns the key of the event.
    pub(crate) fn event(&self, of: KeyParts<'_>) -> EventKey {
        *self.event.get_or_init(|| match &self.source {
            KeySource::Id => of.key(BY_ID, &[of.mode(), of.id()]),
            KeySource::UnsignedId => of.key(BY_UNSIGNED_ID, &[of.mode(), of.unsigned_id(), of.body]),
            KeySource::Own(own) => of.key(BY_OWN, &[of.mode(), own.as_bytes()]),
            KeySource::Body => of.body_key(),
            KeySource::Delivery(number) => {
                let body = self.recurring_body(of).unwrap_or_else(|| of.body_key());
                of.key(BY_DELIVERY, &[body.as_bytes(), &number.random, &number.count])
            }
            #[cfg(feature = "inbox")]
            KeySource::Stored(key) => *key,
        })
    }

    /// Returns whether all keys have been computed.
    #[cfg(test)]
    pub(crate) fn are_computed(&self) -> bool {
        self.event.get().is_some() && self.recurring_body.as_ref().is_none_or(|key| key.get().is_some())
    }

    /// Returns the key of the body, if its deliveries count.
    pub(crate) fn recurring_body(&self, of: KeyParts<'_>) -> Option<EventKey> {
        self.recurring_body.as_ref().map(|key| *key.get_or_init(|| of.body_key()))
    }

    /// Returns the key of the event for stores that lose it with the process. Its first 16 bytes suffice.
    ///
    /// Bodies are hashed with SHA-256 nevertheless, which is faster for long ones where the processor has instructions
    /// for it.
    pub(crate) fn process_key(&self, of: KeyParts<'_>, keys: &ProcessKeys) -> EventKey {
        let key = match &self.source {
            KeySource::Id => keys.of(0, &[of.mode(), of.id()]),
            KeySource::UnsignedId => {
                let body = self.recurring_body(of).unwrap_or_else(|| of.body_key());
                keys.of(1, &[of.mode(), of.unsigned_id(), body.as_bytes()])
            }
            KeySource::Own(own) => keys.of(2, &[of.mode(), own.as_bytes()]),
            KeySource::Delivery(number) => keys.of(3, &[&number.random, &number.count]),
            _ => return self.event(of),
        };
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(key).for_each(|(to, from)| *to = from);
        EventKey(bytes)
    }
}

impl<'a> KeyParts<'a> {
    fn mode(self) -> &'a [u8] {
        self.envelope.mode.as_ref().map_or("", Mode::as_str).as_bytes()
    }

    fn id(self) -> &'a [u8] {
        self.envelope.id.as_deref().unwrap_or_default().as_bytes()
    }

    fn unsigned_id(self) -> &'a [u8] {
        self.envelope.unsigned_id.as_deref().unwrap_or_default().as_bytes()
    }

    fn body_key(self) -> EventKey {
        self.key(BY_BODY, &[self.body])
    }

    fn key(self, tag: &[u8], parts: &[&[u8]]) -> EventKey {
        digest(tag, self.provider, self.endpoint, parts)
    }
}

/// Makes the key of a delivery unique.
#[derive(Clone, Copy)]
pub(crate) struct DeliveryNumber {
    random: [u8; 16],
    count: [u8; 8],
}

/// Numbers the deliveries of one receiver.
pub(crate) struct DeliveryNumbers {
    random: [u8; 16],
    next: AtomicU64,
}

impl DeliveryNumbers {
    /// # Errors
    /// Returns an error if the system has no random bytes.
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        Ok(DeliveryNumbers { random, next: AtomicU64::new(0) })
    }

    pub(crate) fn next(&self) -> DeliveryNumber {
        let count = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        DeliveryNumber { random: self.random, count }
    }
}

const BY_ID: &[u8] = b"medhook event by id, 1";
const BY_UNSIGNED_ID: &[u8] = b"medhook event by unsigned id and body, 1";
const BY_OWN: &[u8] = b"medhook event by own key, 1";
const BY_BODY: &[u8] = b"medhook event by body, 1";
const BY_DELIVERY: &[u8] = b"medhook event by delivery, 1";

/// Prefixes each part with its length, so that different lists of parts never hash the same bytes.
fn digest(tag: &[u8], provider: &str, endpoint: &str, parts: &[&[u8]]) -> EventKey {
    let mut digest = Sha256::new();
    for part in [tag, provider.as_bytes(), endpoint.as_bytes()].iter().chain(parts) {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    EventKey(digest.finalize().into())
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
    use std::collections::HashSet;

    use super::*;

    /// The parts of a delivery.
    struct Parts {
        provider: &'static str,
        endpoint: &'static str,
        envelope: Envelope,
        body: &'static [u8],
    }

    impl Parts {
        fn borrowed(&self) -> KeyParts<'_> {
            KeyParts { provider: self.provider, endpoint: self.endpoint, envelope: &self.envelope, body: self.body }
        }

        fn key(&self, source: KeySource) -> EventKey {
            DeliveryKeys::new(IdFrom::Body, source).event(self.borrowed())
        }

        fn process_key(&self, source: KeySource) -> EventKey {
            let keys = ProcessKeys::new(self.provider, self.endpoint).unwrap();
            DeliveryKeys::new(IdFrom::Body, source).process_key(self.borrowed(), &keys)
        }
    }

    fn parts(provider: &'static str, endpoint: &'static str, mode: &str, id: &str, body: &'static [u8]) -> Parts {
        let mode = (!mode.is_empty()).then(|| Mode::from(mode));
        let envelope = Envelope { mode, id: Some(id.into()), unsigned_id: Some(id.into()), ..Envelope::default() };
        Parts { provider, endpoint, envelope, body }
    }

    #[test]
    fn events_that_differ_in_one_part_have_different_keys() {
        let (by_id, by_unsigned_id) = (|| KeySource::Id, || KeySource::UnsignedId);
        let (by_own, by_body) = (|| KeySource::Own("1".into()), || KeySource::Body);
        let numbers = [DeliveryNumbers::new().unwrap(), DeliveryNumbers::new().unwrap()];
        let deliveries: [(Parts, &dyn Fn() -> KeySource); 20] = [
            (parts("p", "e", "live", "1", b""), &by_id),
            (parts("p", "e", "live", "2", b""), &by_id),
            (parts("p", "e", "test", "1", b""), &by_id),
            (parts("p", "e", "", "live1", b""), &by_id),
            (parts("p", "e2", "live", "1", b""), &by_id),
            (parts("p2", "e", "live", "1", b""), &by_id),
            (parts("pe", "", "live", "1", b""), &by_id),
            (parts("p", "e", "live", "", b""), &by_own),
            (parts("p", "e", "live", "1", b"1"), &by_unsigned_id),
            (parts("p", "e", "live", "1", b"2"), &by_unsigned_id),
            (parts("p", "e", "live", "2", b"1"), &by_unsigned_id),
            (parts("p", "e", "live", "", b"11"), &by_unsigned_id),
            (parts("p", "e", "live", "11", b""), &by_unsigned_id),
            (parts("p", "e", "test", "1", b"1"), &by_unsigned_id),
            (parts("p", "e", "", "", b"1"), &by_body),
            (parts("p", "e", "", "", b"2"), &by_body),
            (parts("p", "e2", "", "", b"1"), &by_body),
            (parts("p2", "e", "", "", b"1"), &by_body),
            (parts("p", "e", "", "", b"1"), &|| KeySource::Delivery(numbers[0].next())),
            (parts("p", "e", "", "", b"1"), &|| KeySource::Delivery(numbers[1].next())),
        ];
        for key in [Parts::key, Parts::process_key] {
            let different: HashSet<_> = deliveries.iter().map(|(parts, source)| key(parts, source())).collect();
            assert_eq!(different.len(), deliveries.len());
        }
    }

    #[test]
    fn deliveries_of_one_event_have_the_same_key() {
        let sources: [&dyn Fn() -> KeySource; 4] =
            [&|| KeySource::Id, &|| KeySource::UnsignedId, &|| KeySource::Own("1".into()), &|| KeySource::Body];
        for source in sources {
            for key in [Parts::key, Parts::process_key] {
                let keys = [(); 2].map(|()| key(&parts("p", "e", "live", "1", b"1"), source()));
                assert_eq!(keys[0], keys[1]);
            }
        }
    }

    /// A sender that knows its event key could choose its place in the table of a memory store.
    #[test]
    fn a_process_key_is_not_the_event_key_unless_the_body_identifies_the_event() {
        let delivery = parts("p", "e", "live", "1", b"1");
        let number = DeliveryNumbers::new().unwrap().next();
        for source in [KeySource::Id, KeySource::UnsignedId, KeySource::Own("1".into()), KeySource::Delivery(number)] {
            assert_ne!(delivery.process_key(source.clone()), delivery.key(source));
        }
        assert_eq!(delivery.process_key(KeySource::Body), delivery.key(KeySource::Body));
    }

    #[test]
    fn each_delivery_of_one_body_has_a_key_of_its_own() {
        let (numbers, delivery) = (DeliveryNumbers::new().unwrap(), parts("p", "e", "", "", b"1"));
        for key in [Parts::key, Parts::process_key] {
            let keys = (0..100).map(|_| key(&delivery, KeySource::Delivery(numbers.next())));
            assert_eq!(keys.collect::<HashSet<_>>().len(), 100);
        }
    }

    #[test]
    fn the_body_has_a_key_of_its_own_if_its_deliveries_count() {
        let delivery = parts("p", "e", "live", "1", b"1");
        let counted = DeliveryKeys::counted(IdFrom::UnsignedHeader, KeySource::UnsignedId);
        assert_eq!(counted.recurring_body(delivery.borrowed()), Some(delivery.key(KeySource::Body)));
        let not_counted = DeliveryKeys::new(IdFrom::Body, KeySource::Id);
        assert_eq!(not_counted.recurring_body(delivery.borrowed()), None);
    }

    /// Stores keep keys across versions: if a version computed them differently, handled events would be handled again.
    #[test]
    fn a_key_is_the_digest_of_its_parts_with_their_lengths() {
        let digest = |parts: &[&[u8]]| -> [u8; 32] {
            let part = |part: &&[u8]| [&(part.len() as u64).to_be_bytes(), *part].concat();
            Sha256::digest(parts.iter().map(part).collect::<Vec<_>>().concat()).into()
        };
        let delivery = parts("fasten", "clinic", "live", "7d4b9f0e", b"{}");
        let expected = digest(&[b"medhook event by id, 1", b"fasten", b"clinic", b"live", b"7d4b9f0e"]);
        assert_eq!(delivery.key(KeySource::Id).as_bytes(), &expected);
        assert_eq!(EventKey::of_id("fasten", "clinic", Some(&Mode::Live), "7d4b9f0e").as_bytes(), &expected);
        let without_mode = parts("fasten", "clinic", "", "7d4b9f0e", b"{}");
        assert_eq!(EventKey::of_id("fasten", "clinic", None, "7d4b9f0e"), without_mode.key(KeySource::Id));

        let tag = &b"medhook event by unsigned id and body, 1"[..];
        let expected = digest(&[tag, b"fasten", b"clinic", b"", b"7d4b9f0e", b"{}"]);
        assert_eq!(without_mode.key(KeySource::UnsignedId).as_bytes(), &expected);
        let expected = digest(&[b"medhook event by own key, 1", b"fasten", b"clinic", b"live", b"own"]);
        assert_eq!(delivery.key(KeySource::Own("own".into())).as_bytes(), &expected);
        let body = digest(&[b"medhook event by body, 1", b"fasten", b"clinic", b"{}"]);
        assert_eq!(delivery.key(KeySource::Body).as_bytes(), &body);
        let number = DeliveryNumber { random: [7; 16], count: 1_u64.to_be_bytes() };
        let tag = &b"medhook event by delivery, 1"[..];
        let expected = digest(&[tag, b"fasten", b"clinic", &body, &[7; 16], &[0, 0, 0, 0, 0, 0, 0, 1]]);
        assert_eq!(delivery.key(KeySource::Delivery(number)).as_bytes(), &expected);
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
