//! Reads a delivery as an application would.

use std::fmt;

use medhook::{Delivery, Event, azodha, cair, fasten, healthsync, mediquo};

/// The result of decoding an event, compared with its provider's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DecodeOutcome {
    /// The variant of its kind.
    AsDocumented,
    /// The variant of its kind, without the fields at these paths.
    Without(Vec<String>),
    /// A kind that is not documented.
    Unknown,
    /// A documented kind that could not be read, or no envelope at all.
    Undecodable,
}

impl DecodeOutcome {
    pub(crate) fn of(delivery: &Delivery) -> Self {
        match delivery.provider() {
            azodha::Event::PROVIDER => reads!(azodha, delivery),
            cair::Event::PROVIDER => reads!(cair, delivery),
            fasten::Event::PROVIDER => reads!(fasten, delivery),
            healthsync::Event::PROVIDER => reads!(healthsync, delivery),
            mediquo::Event::PROVIDER => reads!(mediquo, delivery),
            _ => DecodeOutcome::Unknown,
        }
    }
}

impl fmt::Display for DecodeOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeOutcome::AsDocumented => f.write_str("as documented"),
            DecodeOutcome::Without(paths) => write!(f, "without {}", paths.join(", ")),
            DecodeOutcome::Unknown => f.write_str("Unknown"),
            DecodeOutcome::Undecodable => f.write_str("Undecodable"),
        }
    }
}

/// Reads a delivery as the event type of a provider's module.
macro_rules! reads {
    ($provider:ident, $delivery:expr) => {{
        let decoded = $provider::Event::from_delivery($delivery);
        match decoded.event {
            $provider::Event::Unknown(_) => DecodeOutcome::Unknown,
            $provider::Event::Undecodable(_) => DecodeOutcome::Undecodable,
            _ if decoded.drifted.is_empty() => DecodeOutcome::AsDocumented,
            _ => DecodeOutcome::Without(decoded.drifted.iter().map(ToString::to_string).collect()),
        }
    }};
}
use reads;
