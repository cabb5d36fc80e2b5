//! The macro that declares and decodes the events of a provider.

use bytes::Bytes;

use crate::envelope::{Envelope, Problem};
use crate::event::{Decoded, Undecodable, Unknown};
use crate::payload::Drift;
use crate::phi::RawJson;

/// Declares a provider's documented kinds, and the event enum with a variant for each. After its name, each kind states
/// whether equal bytes are the same event: an [`EqualBytes`](crate::registry::EqualBytes).
macro_rules! events {
    ($provider:literal: $($(#[$doc:meta])* $Variant:ident($Payload:ty) = $kind:literal $(| $alias:literal)*: $equal_bytes:expr,)*) => {
        pub(super) const KINDS: &[$crate::registry::KindFacts] = &[$($crate::registry::KindFacts {
            name: $kind,
            aliases: &[$($alias),*],
            variant: stringify!($Variant),
            equal_bytes: $equal_bytes,
        },)*];

        /// The documented kinds.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Kind { $($(#[$doc])* $Variant,)* }

        impl Kind {
            /// Every documented kind.
            pub const ALL: &'static [Kind] = &[$(Kind::$Variant,)*];

            /// Returns the name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Kind::$Variant => $kind,)* }
            }

            /// Returns the kind with this name or alias.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($kind $(| $alias)* => Some(Kind::$Variant),)* _ => None }
            }

            /// Returns the name as a static string if it is documented. An alias is returned unchanged.
            #[allow(dead_code, reason = "unused by providers whose kinds can be pinned")]
            pub(crate) fn documented(name: &str) -> Option<&'static str> {
                match name { $($kind => Some($kind), $($alias => Some($alias),)*)* _ => None }
            }
        }

        /// A decoded event, by kind.
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum Event {
            $($(#[$doc])* $Variant($Payload),)*
            /// An event of an undocumented kind.
            Unknown($crate::event::Unknown),
            /// An event of a documented kind that could not be decoded, or a body without an envelope.
            Undecodable($crate::event::Undecodable),
        }

        impl $crate::event::Event for Event {
            const PROVIDER: &'static str = $provider;

            fn from_body(kind: Option<&str>, body: &bytes::Bytes) -> $crate::event::Decoded<Self> {
                Event::decoded(&super::envelope(kind, body), body)
            }

            fn from_delivery(delivery: &$crate::Delivery) -> $crate::event::Decoded<Self> {
                Event::decoded(delivery.envelope(), delivery.body())
            }
        }

        impl $crate::any_event::Classified for Event {
            fn decoding(&self) -> $crate::any_event::Decoding {
                match self {
                    Event::Unknown(_) => $crate::any_event::Decoding::Unknown,
                    Event::Undecodable(_) => $crate::any_event::Decoding::Undecodable,
                    _ => $crate::any_event::Decoding::Documented,
                }
            }

            #[cfg(feature = "testing")]
            fn is_read_again_as_written(&self) -> Option<bool> {
                match self {
                    $(Event::$Variant(payload) => Some($crate::any_event::is_read_again_as_written(payload)),)*
                    Event::Unknown(_) | Event::Undecodable(_) => None,
                }
            }
        }

        impl Event {
            fn decoded(envelope: &$crate::Envelope, body: &bytes::Bytes) -> $crate::event::Decoded<Self> {
                $crate::provider::events::decode(
                    envelope,
                    body,
                    Kind::from_name,
                    |kind, data, drift| match kind {
                        $(Kind::$Variant => <$Payload as $crate::event::Payload>::from_data(data, drift).map(Event::$Variant),)*
                    },
                    Event::Unknown,
                    Event::Undecodable,
                )
            }
        }
    };
}
pub(crate) use events;

/// Decodes the event of an envelope, the same way for every provider.
pub(crate) fn decode<E, K>(
    envelope: &Envelope,
    body: &Bytes,
    known: impl Fn(&str) -> Option<K>,
    read: impl Fn(K, &Bytes, &mut Drift) -> Result<E, Problem>,
    unknown: impl Fn(Unknown) -> E,
    undecodable: impl Fn(Undecodable) -> E,
) -> Decoded<E> {
    let fails = |problem: Problem| Decoded {
        event: undecodable(Undecodable {
            kind: envelope.kind.clone(),
            problem: problem.clone(),
            data: envelope.data.clone().map(RawJson::accepted),
        }),
        problem: Some(problem),
        drifted: Vec::new(),
    };
    let Some(kind) = &envelope.kind else {
        let problem = envelope.problem.clone();
        return fails(problem.unwrap_or_else(|| Problem::new("the body names no kind")));
    };
    let Some(documented) = known(kind.as_str()) else {
        let data = envelope.data.clone().unwrap_or_else(|| body.clone());
        return Decoded::new(unknown(Unknown { kind: kind.clone(), data: RawJson::accepted(data) }));
    };
    let Some(data) = &envelope.data else {
        let problem = envelope.problem.clone();
        return fails(problem.unwrap_or_else(|| Problem::new("the payload is missing")));
    };
    let mut drift = Drift::default();
    match read(documented, data, &mut drift) {
        Ok(event) => Decoded { event, problem: None, drifted: drift.into_paths() },
        Err(problem) => fails(problem),
    }
}
