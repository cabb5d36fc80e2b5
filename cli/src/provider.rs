//! Arguments that name a provider.

use std::ffi::OsStr;

use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue};
use medhook::registry::{self, PROVIDERS, ProviderFacts};

use crate::preset::Preset;

/// The facts about a provider.
pub(crate) type Provider = &'static ProviderFacts;

/// Parses the name of a provider of the registry, for a command that makes secrets.
pub(crate) fn provider_parser() -> impl TypedValueParser<Value = Provider> {
    let advice = |_: &str| {
        "other senders: `medhook secret new --scheme ..`; with `ed25519` the secret is the public key of the sender, see \
         the guide `schemes` (src/guide/schemes.md)"
            .to_owned()
    };
    ProviderNames { names: PROVIDERS.iter().map(|facts| facts.name).collect(), advice }
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
    ProviderNames { names: NamedProvider::names(), advice: other_senders }
        .try_map(|name| NamedProvider::of(&name).ok_or("unknown provider"))
}

/// Returns what to do about a sender that the registry does not know.
pub(crate) fn other_senders(name: &str) -> String {
    let preset = Preset::from_str(name, true).ok().and_then(|preset| preset.to_possible_value());
    let command = match &preset {
        Some(preset) => format!("`medhook init custom --preset {}`", preset.get_name()),
        None => "`medhook init custom`, with `--preset` for terra, whoop and oura".to_owned(),
    };
    format!("other senders: provider `custom`, see the guide `schemes` (src/guide/schemes.md); {command}")
}

/// Parses one of these names. The message about another one says what to do.
#[derive(Clone)]
struct ProviderNames {
    names: Vec<&'static str>,
    advice: fn(&str) -> String,
}

impl TypedValueParser for ProviderNames {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        let parsed = PossibleValuesParser::new(&self.names).parse_ref(command, argument, value);
        parsed.map_err(|mut error| {
            let advice = (self.advice)(&value.to_string_lossy());
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![advice.into()]));
            error
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.names.iter().map(PossibleValue::new)))
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    #[test]
    fn the_message_about_an_unknown_sender_says_what_to_do() {
        let problem = |argument: Arg, name: &str| {
            Command::new("medhook").arg(argument).try_get_matches_from(["medhook", name]).err().unwrap().to_string()
        };
        let named = || Arg::new("provider").value_parser(named_provider_parser());
        for (name, command) in [
            ("oura", "`medhook init custom --preset oura`"),
            ("Terra", "`medhook init custom --preset terra`"),
            ("stripe", "`medhook init custom`, with `--preset` for terra, whoop and oura"),
        ] {
            let problem = problem(named(), name);
            let tip = format!(
                "tip: other senders: provider `custom`, see the guide `schemes` (src/guide/schemes.md); \
                 {command}"
            );
            assert!(problem.contains("possible values: ") && problem.contains(&tip), "{problem}");
        }
        let problem = problem(Arg::new("provider").value_parser(provider_parser()), "ed25519");
        assert!(problem.contains("with `ed25519` the secret is the public key of the sender"), "{problem}");
    }
}
