//! Arguments that name a provider.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use medhook::registry::{self, PROVIDERS, ProviderFacts};

/// The facts about a provider.
pub(crate) type Provider = &'static ProviderFacts;

/// Parses the name of a provider of the registry.
pub(crate) fn provider_parser() -> impl TypedValueParser<Value = Provider> {
    PossibleValuesParser::new(PROVIDERS.iter().map(|facts| facts.name))
        .try_map(|name| registry::provider(&name).ok_or("unknown provider"))
}

/// A provider that an argument names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NamedProvider {
    Known(Provider),
    Custom,
}

impl NamedProvider {
    /// The names, for messages and for the help.
    pub(crate) fn names() -> Vec<&'static str> {
        PROVIDERS.iter().map(|facts| facts.name).chain([CUSTOM]).collect()
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        if name == CUSTOM { Some(NamedProvider::Custom) } else { registry::provider(name).map(NamedProvider::Known) }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            NamedProvider::Known(facts) => facts.name,
            NamedProvider::Custom => CUSTOM,
        }
    }
}

/// Stands for a provider that the registry does not know.
pub(crate) const CUSTOM: &str = "custom";

/// Parses the name of a provider, or `custom`.
pub(crate) fn named_provider_parser() -> impl TypedValueParser<Value = NamedProvider> {
    PossibleValuesParser::new(NamedProvider::names()).try_map(|name| NamedProvider::of(&name).ok_or("unknown provider"))
}
