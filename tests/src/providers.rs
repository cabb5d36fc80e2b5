//! Queries of the registry of providers for tests.

use medhook::registry::{self, Decoding, OptionName, ProviderFacts, ProviderOptions, SchemeChoice, SecretMode};
use medhook::testing::{Fixture, Signing};
use medhook::{Delivery, Secret};

/// A delivery, decoded.
#[derive(Debug)]
pub struct Read {
    /// `kind`, `unknown` or `undecodable`, as in the list of cases.
    pub decodes: &'static str,
    /// The name of the variant.
    pub variant: String,
    /// The fields that were left out.
    pub drifted: Vec<String>,
    /// The event's `Debug`, in both forms.
    pub printed: String,
}

/// Returns the facts about the provider of this name.
#[must_use]
pub fn facts(name: &str) -> &'static ProviderFacts {
    registry::provider(name).unwrap_or_else(|| panic!("no provider {name}"))
}

/// Returns the simplest options with which the provider accepts every event that the secret signs.
#[must_use]
pub fn options(facts: &ProviderFacts, secret: Secret) -> ProviderOptions {
    let mut options = ProviderOptions::new(secret);
    options.mode = facts.takes(OptionName::Mode).then_some(SecretMode::Any);
    if facts.required_options.contains(&OptionName::Scheme) {
        options.scheme = Some(SchemeChoice::HmacSha256);
        options.header = Some("x-signature".to_owned());
    }
    options
}

/// Returns how deliveries to an endpoint with these options are signed.
#[must_use]
pub fn signing(facts: &ProviderFacts, options: &ProviderOptions) -> Signing {
    Signing::from(&facts.scheme(options).expect("options that fit"))
}

/// Returns the documented kind that a fixture's file is named after: the longest that its name begins with.
#[must_use]
pub fn kind_in_name(fixture: &Fixture) -> Option<&'static str> {
    let name = fixture.path().split_once('/').map_or("", |(_, name)| name).trim_end_matches(".json");
    let named = |kind: &&str| name == *kind || name.starts_with(&format!("{kind}."));
    facts(fixture.provider()).kinds.iter().map(|kind| kind.name).filter(named).max_by_key(|kind| kind.len())
}

/// Reads a delivery as its provider's event.
#[must_use]
pub fn read(delivery: &Delivery) -> Read {
    let event = facts(delivery.provider()).decode(delivery).expect("its own provider");
    let decodes = match event.decoding {
        Decoding::Unknown => "unknown",
        Decoding::Undecodable => "undecodable",
        _ => "kind",
    };
    let printed = format!("{event:?} {event:#?}");
    Read {
        decodes,
        variant: printed.split('(').next().unwrap_or_default().to_owned(),
        drifted: event.drifted.iter().map(ToString::to_string).collect(),
        printed,
    }
}

/// Returns whether the kind and the body of a delivery decode as the delivery does.
#[must_use]
pub fn reads_body_alike(delivery: &Delivery) -> bool {
    let facts = facts(delivery.provider());
    facts.decode(delivery).expect("its own provider") == facts.decode_body(delivery.kind(), delivery.body())
}
