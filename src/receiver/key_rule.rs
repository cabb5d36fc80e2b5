//! The event key: decides which deliveries are of the same event.

use std::fmt;

use bytes::Bytes;

use crate::envelope::{Envelope, KindName, Mode};
use crate::event_key::{DeliveryKeys, EventKeys, IdFrom};
use crate::provider::Provider;

/// The rule that decides which deliveries are of the same event.
pub struct Dedupe(DedupeMode);

type OwnKey = Box<dyn Fn(&Envelope, &Bytes) -> Option<String> + Send + Sync>;

enum DedupeMode {
    ById,
    ByBytes,
    Off,
    By(OwnKey),
}

impl Dedupe {
    /// Deduplicates by the event's id. The default. An id in an
    /// [unsigned header](crate::Custom::unsigned_id_header) counts only together with the bytes of the body, and
    /// [`Builder::max_repeats`](crate::Builder::max_repeats) limits the number of ids with equal bytes.
    ///
    /// If the provider sends no event id, the [facts](crate::registry::KindFacts::equal_bytes) about the kind decide.
    /// If the body contains an id or a time that belongs to one event only, deliveries with equal bytes are the same
    /// event. Otherwise the event can recur with the same bytes, and each delivery is handled as a separate event,
    /// under its own event key. Events of undocumented kinds, and those of a [`Custom`](crate::Custom) provider without
    /// an id, can always recur. For an event that can recur,
    /// [`Delivery::possible_duplicate`](crate::Delivery::possible_duplicate) returns the earlier deliveries of the same
    /// bytes, and [`Builder::max_repeats`](crate::Builder::max_repeats) limits their number.
    #[must_use]
    pub fn by_id() -> Self {
        Dedupe(DedupeMode::ById)
    }

    /// Deduplicates by the event's id, or by the bytes of the body if it has no id. An id in an
    /// [unsigned header](crate::Custom::unsigned_id_header) is used before the bytes, as with
    /// [`by_id`](Dedupe::by_id), and [`Builder::max_repeats`](crate::Builder::max_repeats) limits the number of such
    /// ids with equal bytes.
    ///
    /// An event that recurs with the same bytes is then dropped as a duplicate, and one that arrives while its
    /// predecessor is being handled is answered with 503. Use this only if losing such an event is better than handling
    /// a retry or a replay twice.
    #[must_use]
    pub fn by_bytes() -> Self {
        Dedupe(DedupeMode::ByBytes)
    }

    /// Disables deduplication: every verified, fresh delivery reaches the handler, under an event key of its own.
    #[must_use]
    pub fn off() -> Self {
        Dedupe(DedupeMode::Off)
    }

    /// Deduplicates by a text that `own` returns for an event, or as [`by_id`](Dedupe::by_id) does if it returns
    /// `None`. Only a digest of the text is stored.
    ///
    /// A text that contains [`Envelope::unsigned_id`] must also contain a part of the body that belongs to one event.
    /// [`Builder::max_repeats`](crate::Builder::max_repeats) does not limit how often a captured delivery can then be
    /// replayed under other ids.
    #[must_use]
    pub fn by(own: impl Fn(&Envelope, &Bytes) -> Option<String> + Send + Sync + 'static) -> Self {
        Dedupe(DedupeMode::By(Box::new(own)))
    }
}

impl Dedupe {
    pub(super) fn is_off(&self) -> bool {
        matches!(self.0, DedupeMode::Off)
    }
}

impl fmt::Debug for Dedupe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            DedupeMode::ById => "Dedupe::by_id()",
            DedupeMode::ByBytes => "Dedupe::by_bytes()",
            DedupeMode::Off => "Dedupe::off()",
            DedupeMode::By(_) => "Dedupe::by(..)",
        })
    }
}

/// Computes the keys of one endpoint's deliveries.
pub(super) struct KeyRule {
    keys: EventKeys,
    dedupe: Dedupe,
}

impl KeyRule {
    pub(super) fn new(keys: EventKeys, dedupe: Dedupe) -> Self {
        KeyRule { keys, dedupe }
    }

    /// Returns the keys of a delivery. `id_from` is the source of the envelope's signed id, if it has one.
    #[inline]
    pub(super) fn keys(
        &self,
        provider: &dyn Provider,
        envelope: &Envelope,
        id_from: IdFrom,
        body: &Bytes,
    ) -> DeliveryKeys {
        let mode = envelope.mode.as_ref().map_or("", Mode::as_str);
        match &self.dedupe.0 {
            DedupeMode::Off => {
                return DeliveryKeys::of_event(self.keys.of_delivery(self.keys.of_body(body)), IdFrom::Nothing);
            }
            DedupeMode::By(own) => {
                if let Some(own) = own(envelope, body) {
                    return DeliveryKeys::of_event(self.keys.of_own(mode, &own), IdFrom::Own);
                }
            }
            DedupeMode::ById | DedupeMode::ByBytes => {}
        }
        match (&envelope.id, &envelope.unsigned_id) {
            (Some(id), _) => DeliveryKeys::of_event(self.keys.of_id(mode, id), id_from),
            (None, Some(id)) => {
                let (event, of_body) = (self.keys.of_unsigned_id(mode, id, body), self.keys.of_body(body));
                DeliveryKeys { id_from: IdFrom::UnsignedHeader, event, recurring_body: Some(of_body) }
            }
            (None, None) if matches!(self.dedupe.0, DedupeMode::ByBytes) => {
                DeliveryKeys::of_event(self.keys.of_body(body), IdFrom::Bytes)
            }
            (None, None) => self.without_id(provider, envelope, body),
        }
    }

    fn without_id(&self, provider: &dyn Provider, envelope: &Envelope, body: &Bytes) -> DeliveryKeys {
        let of_body = self.keys.of_body(body);
        let equal_bytes = provider.equal_bytes(envelope.kind.as_ref().map(KindName::as_str));
        if equal_bytes.are_the_same_event(body) {
            DeliveryKeys::of_event(of_body, IdFrom::Bytes)
        } else {
            let event = self.keys.of_delivery(of_body);
            DeliveryKeys { id_from: IdFrom::Nothing, event, recurring_body: Some(of_body) }
        }
    }
}
