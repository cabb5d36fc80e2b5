//! What tests have to know of every provider: its kinds, and how its events are read.

use medhook::{Delivery, Event, azodha, cair, fasten, healthsync, mediquo};

/// One provider.
#[derive(Debug)]
pub struct Provider {
    /// Its name.
    pub name: &'static str,
    /// The names of its documented kinds.
    pub kinds: fn() -> Vec<&'static str>,
    /// The variant that an event of a documented kind is.
    pub variant_of: fn(&str) -> Option<String>,
    /// Reads a delivery of its own.
    pub read: fn(&Delivery) -> Read,
    /// Whether the kind and the body of a delivery of its own decode as the delivery does.
    pub reads_body_alike: fn(&Delivery) -> bool,
}

/// A delivery, decoded.
#[derive(Debug)]
pub struct Read {
    /// `kind`, `unknown` or `undecodable`, as the list of cases has it.
    pub decodes: &'static str,
    /// The name of the variant.
    pub variant: String,
    /// The fields that were left out.
    pub drifted: Vec<String>,
    /// The event's `Debug`, in both forms.
    pub printed: String,
}

macro_rules! providers {
    ($($provider:ident)*) => {
        /// Every provider.
        pub const PROVIDERS: &[Provider] = &[$(Provider {
            name: $provider::Event::PROVIDER,
            kinds: || $provider::Kind::ALL.iter().map(|kind| kind.as_str()).collect(),
            variant_of: |kind| Some(format!("{:?}", $provider::Kind::from_name(kind)?)),
            read: |delivery| {
                let decoded = $provider::Event::from_delivery(delivery);
                let decodes = match decoded.event {
                    $provider::Event::Unknown(_) => "unknown",
                    $provider::Event::Undecodable(_) => "undecodable",
                    _ => "kind",
                };
                let printed = format!("{:?} {:#?}", decoded.event, decoded.event);
                Read {
                    decodes,
                    variant: printed.split('(').next().unwrap_or_default().to_owned(),
                    drifted: decoded.drifted.iter().map(ToString::to_string).collect(),
                    printed,
                }
            },
            reads_body_alike: |delivery| {
                let decoded = $provider::Event::from_delivery(delivery);
                let of_body = $provider::Event::from_body(delivery.kind(), delivery.body());
                (decoded.event, decoded.problem, decoded.drifted) == (of_body.event, of_body.problem, of_body.drifted)
            },
        },)*];
    };
}

// The one place where a provider is added.
providers! { azodha cair fasten healthsync mediquo }

/// The provider of this name.
#[must_use]
pub fn provider(name: &str) -> &'static Provider {
    PROVIDERS.iter().find(|provider| provider.name == name).unwrap_or_else(|| panic!("no provider {name}"))
}

/// Reads a delivery as its provider's event.
#[must_use]
pub fn read(delivery: &Delivery) -> Read {
    (provider(delivery.provider()).read)(delivery)
}
