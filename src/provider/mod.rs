//! The registry of providers. Each provider has a folder, which declares everything about it.
//!
//! - `definition`: the trait that a provider implements
//! - `facts`, `options`: the facts that a folder declares, and the options of an endpoint's configuration
//! - `events`: the macro that declares a provider's events as types
//! - `equal_bytes`: the fact whether equal bytes are the same event
//! - `unsigned_headers`, `unsigned_options`, `cloud_events`: options of `custom`, whose values are not all signed
//! - `agreed`, `json`, `key`: code that several providers share

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod agreed;
mod cloud_events;
mod custom;
mod definition;
mod equal_bytes;
mod events;
mod facts;
mod json;
mod key;
mod options;
#[cfg(feature = "testing")]
mod test_data;
mod unsigned_headers;
mod unsigned_options;

pub use self::cloud_events::CloudEvents;
pub use self::custom::Custom;
pub(crate) use self::definition::{METHODS, sealed};
pub use self::definition::{Policy, Provider};
pub use self::equal_bytes::EqualBytes;
pub use self::facts::{KindFacts, NaturalKey, Pointers, ProviderFacts, RetrySchedule, UnsignedHeader, UnsignedValue};
pub use self::options::{OptionError, OptionName, ProviderOptions, SchemeChoice, SecretMode};

macro_rules! registry {
    ($($module:ident: $Provider:ident,)*) => {
        /// Every built-in provider, sorted by name. [`Custom`](crate::Custom) providers are not listed.
        pub static PROVIDERS: &[&ProviderFacts] = &[$(&$module::FACTS),*];

        /// The crate's root re-exports these.
        pub(crate) mod all {
            $(pub use super::$module::{self, $Provider};)*
        }

        /// Calls a macro with the names of all provider modules.
        #[cfg(feature = "testing")]
        macro_rules! each_provider {
            ($callback:ident) => {
                $callback! { $($module)* }
            };
        }
        #[cfg(feature = "testing")]
        pub(crate) use each_provider;
    };
}

// To add a provider, add two lines here, its module and its entry. CONTRIBUTING.md describes the other steps.
pub mod azodha;
pub mod cair;
pub mod fasten;
pub mod healthsync;
pub mod mediquo;

registry! {
    azodha: Azodha,
    cair: Cair,
    fasten: Fasten,
    healthsync: HealthSync,
    mediquo: MediQuo,
}

/// Returns the facts about the provider with this name.
#[must_use]
pub fn provider(name: &str) -> Option<&'static ProviderFacts> {
    PROVIDERS.iter().find(|facts| facts.name == name).copied()
}
