//! Decodes a delivery as an application would.

use std::fmt;

use medhook::Delivery;
use medhook::registry::{self, Decoding};

/// The result of decoding an event, compared with its provider's documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DecodeOutcome {
    /// It decodes completely.
    AsDocumented,
    /// It decodes, but the fields at these paths are not as documented.
    Without(Vec<String>),
    /// Its kind is undocumented.
    Unknown,
    /// Its kind is documented, but it does not decode; or it has no envelope.
    Undecodable,
}

impl DecodeOutcome {
    pub(crate) fn of(delivery: &Delivery) -> Self {
        let Some(Ok(event)) = registry::provider(delivery.provider()).map(|facts| facts.decode(delivery)) else {
            return DecodeOutcome::Unknown;
        };
        match event.decoding {
            Decoding::Unknown => DecodeOutcome::Unknown,
            Decoding::Undecodable => DecodeOutcome::Undecodable,
            _ if event.drifted.is_empty() => DecodeOutcome::AsDocumented,
            _ => DecodeOutcome::Without(event.drifted.iter().map(ToString::to_string).collect()),
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
