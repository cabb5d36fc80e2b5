//! The event key: decides which deliveries are of the same event.

use std::fmt;

use bytes::Bytes;

use crate::envelope::{Envelope, KindName};
use crate::event_key::{DeliveryKeys, DeliveryNumbers, IdFrom, KeySource};
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

/// Decides from which part of a delivery its keys are computed.
pub(super) struct KeyRule {
    numbers: DeliveryNumbers,
    dedupe: Dedupe,
}

impl KeyRule {
    pub(super) fn new(numbers: DeliveryNumbers, dedupe: Dedupe) -> Self {
        KeyRule { numbers, dedupe }
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
        match &self.dedupe.0 {
            DedupeMode::Off => return DeliveryKeys::new(IdFrom::Nothing, KeySource::Delivery(self.numbers.next())),
            DedupeMode::By(own) => {
                if let Some(own) = own(envelope, body) {
                    return DeliveryKeys::new(IdFrom::Own, KeySource::Own(own.into()));
                }
            }
            DedupeMode::ById | DedupeMode::ByBytes => {}
        }
        if envelope.id.is_some() {
            DeliveryKeys::new(id_from, KeySource::Id)
        } else if envelope.unsigned_id.is_some() {
            DeliveryKeys::counted(IdFrom::UnsignedHeader, KeySource::UnsignedId)
        } else if matches!(self.dedupe.0, DedupeMode::ByBytes) || bytes_are_unique(provider, envelope, body) {
            DeliveryKeys::new(IdFrom::Bytes, KeySource::Body)
        } else {
            DeliveryKeys::counted(IdFrom::Nothing, KeySource::Delivery(self.numbers.next()))
        }
    }
}

/// Returns whether deliveries of these bytes are of the same event.
fn bytes_are_unique(provider: &dyn Provider, envelope: &Envelope, body: &Bytes) -> bool {
    let kind = envelope.kind.as_ref().map(KindName::as_str);
    provider.equal_bytes(kind).are_the_same_event(body)
}
