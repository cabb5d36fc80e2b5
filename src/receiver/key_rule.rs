//! The event key: decides which deliveries are of the same event.

use std::fmt;

use bytes::Bytes;

use crate::envelope::{Envelope, Mode};
use crate::event_key::{EventKey, EventKeys};

/// The rule that decides which deliveries are of the same event.
pub struct Dedupe(DedupeMode);

type OwnKey = Box<dyn Fn(&Envelope, &Bytes) -> Option<String> + Send + Sync>;

enum DedupeMode {
    ById,
    Off,
    By(OwnKey),
}

impl Dedupe {
    /// Deduplicates by the event's id, or by the bytes of the body if it has no id. The default.
    #[must_use]
    pub fn by_id() -> Self {
        Dedupe(DedupeMode::ById)
    }

    /// Disables deduplication: every verified, fresh delivery reaches the handler. For endpoints where different events
    /// may have identical bytes.
    #[must_use]
    pub fn off() -> Self {
        Dedupe(DedupeMode::Off)
    }

    /// Deduplicates by a text that `own` returns for an event, or as [`by_id`](Dedupe::by_id) does if it returns
    /// `None`. Only a digest of the text is stored.
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
            DedupeMode::Off => "Dedupe::off()",
            DedupeMode::By(_) => "Dedupe::by(..)",
        })
    }
}

/// Computes the event keys of one endpoint.
pub(super) struct KeyRule {
    keys: EventKeys,
    dedupe: Dedupe,
}

impl KeyRule {
    pub(super) fn new(keys: EventKeys, dedupe: Dedupe) -> Self {
        KeyRule { keys, dedupe }
    }

    #[inline]
    pub(super) fn key(&self, envelope: &Envelope, body: &Bytes) -> EventKey {
        let mode = envelope.mode.as_ref().map_or("", Mode::as_str);
        if let Dedupe(DedupeMode::By(own)) = &self.dedupe
            && let Some(own) = own(envelope, body)
        {
            return self.keys.of_own(mode, &own);
        }
        match &envelope.id {
            Some(id) => self.keys.of_id(mode, id),
            None => self.keys.of_body(body),
        }
    }
}
