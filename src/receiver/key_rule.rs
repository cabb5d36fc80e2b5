//! The key of an event: what counts as the same event.

use std::fmt;

use bytes::Bytes;

use crate::envelope::{Envelope, Mode};
use crate::event_key::{EventKey, EventKeys};

/// The rule by which deliveries are of the same event.
pub struct Dedupe(DedupeMode);

type OwnKey = Box<dyn Fn(&Envelope, &Bytes) -> Option<String> + Send + Sync>;

enum DedupeMode {
    ById,
    Off,
    By(OwnKey),
}

impl Dedupe {
    /// The same id; where a provider gives none, the same bytes. The default.
    #[must_use]
    pub fn by_id() -> Self {
        Dedupe(DedupeMode::ById)
    }

    /// Nothing: every genuine delivery is handed over. For endpoints where two events may be the same byte for byte.
    #[must_use]
    pub fn off() -> Self {
        Dedupe(DedupeMode::Off)
    }

    /// The same text, made from envelope and body; where it makes none, as [`by_id`](Dedupe::by_id). Only a digest of
    /// the text is stored.
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

/// Makes the keys of one endpoint's events.
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
