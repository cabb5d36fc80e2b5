//! The registry of providers. Each has a folder, which declares everything that is known about it.
//!
//! - `definition`: what a provider implements
//! - `facts`, `options`: what its folder declares, and what the configuration of an endpoint says
//! - `events`: the macro that declares its events as types
//! - `agreed`, `json`, `key`: what several providers share

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod agreed;
mod custom;
mod definition;
mod events;
mod facts;
mod json;
mod key;
mod options;
#[cfg(feature = "testing")]
mod test_data;

pub use self::custom::Custom;
#[cfg(feature = "testing")]
pub(crate) use self::custom::pointed_at;
pub(crate) use self::definition::{METHODS, sealed};
pub use self::definition::{Policy, Provider};
pub use self::facts::{KindFacts, NaturalKey, Pointers, ProviderFacts, RetrySchedule, UnsignedHeader, UnsignedValue};
pub use self::options::{OptionError, OptionName, ProviderOptions, SchemeChoice, SecretMode};

macro_rules! registry {
    ($($module:ident: $Provider:ident,)*) => {
        /// Every provider, by name. A [`Custom`](crate::Custom) one is not among them.
        pub static PROVIDERS: &[&ProviderFacts] = &[$(&$module::FACTS),*];

        /// The crate's root re-exports these.
        pub(crate) mod all {
            $(pub use super::$module::{self, $Provider};)*
        }

        /// Gives the names of all providers' modules to a macro.
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

// A provider is added with two lines here, its module and its entry; CONTRIBUTING.md has the rest.
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

/// The facts about the provider of this name.
#[must_use]
pub fn provider(name: &str) -> Option<&'static ProviderFacts> {
    PROVIDERS.iter().find(|facts| facts.name == name).copied()
}
