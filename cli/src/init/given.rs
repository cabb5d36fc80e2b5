//! The schemes and headers that the arguments give for some providers.

use std::str::FromStr;

use clap::ValueEnum;
use medhook::registry::OptionName;

use super::custom::NAMES;
use crate::failure::Failure;
use crate::preset::Preset;
use crate::provider::{CUSTOM, NamedProvider};

/// A value for one provider, or for all that need it: `NAME` or `cair=NAME`.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    provider: Option<String>,
    value: String,
}

impl FromStr for Given {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (provider, value) = match text.split_once('=') {
            Some((provider, value)) => (Some(provider.to_owned()), value),
            None => (None, text),
        };
        if value.is_empty() {
            return Err("the value is missing");
        }
        Ok(Given { provider, value: value.to_owned() })
    }
}

/// The given values, each for a provider that takes it.
#[derive(Debug, Default)]
pub(super) struct GivenValues {
    schemes: Vec<Given>,
    headers: Vec<Given>,
    /// The preset of the custom provider.
    preset: Option<Preset>,
}

impl GivenValues {
    pub(super) fn check(
        providers: &[NamedProvider],
        schemes: &[Given],
        headers: &[Given],
        preset: Option<Preset>,
    ) -> Result<Self, Failure> {
        if preset.is_some() && !providers.iter().any(|provider| is_custom(*provider)) {
            return Err(Failure::new("--preset: applies only to custom; remove it, or name custom"));
        }
        for (index, provider) in providers.iter().enumerate() {
            if providers.iter().take(index).any(|other| other.name() == provider.name()) {
                let name = provider.name();
                return Err(Failure::new(format!("{name} is named twice; copy its endpoint in the file instead")));
            }
        }
        for (option, flag, all) in
            [(OptionName::Scheme, "--scheme", schemes), (OptionName::Header, "--header", headers)]
        {
            for given in all {
                let takes = |provider: &&NamedProvider| needs(**provider, option);
                let named =
                    |provider: &&NamedProvider| given.provider.as_deref().is_none_or(|name| provider.name() == name);
                let Some(provider) = providers.iter().filter(takes).find(named) else {
                    let problem = match &given.provider {
                        Some(name) => format!("{name} is not a named provider that lets you choose it"),
                        None => "no named provider lets you choose it".to_owned(),
                    };
                    return Err(Failure::new(format!("{flag}: {problem}; remove it")));
                };
                match option {
                    OptionName::Scheme if !schemes_of(*provider).contains(&given.value.as_str()) => {
                        let known = schemes_of(*provider).join(", ");
                        return Err(Failure::new(format!("{flag}: must be one of {known} for {}", provider.name())));
                    }
                    OptionName::Header if http::HeaderName::try_from(given.value.as_str()).is_err() => {
                        return Err(Failure::new(format!("{flag}: must be the name of a header, without a value")));
                    }
                    _ => {}
                }
            }
        }
        let values = GivenValues { schemes: schemes.to_vec(), headers: headers.to_vec(), preset };
        let custom = NamedProvider::Custom;
        for (flag, given) in [("--scheme", values.scheme(custom)), ("--header", values.header(custom))] {
            if preset.is_some() && given.is_some() {
                return Err(Failure::new(format!("{flag}: --preset sets it for custom; remove one of them")));
            }
        }
        Ok(values)
    }

    /// Returns the preset of a provider.
    pub(super) fn preset(&self, provider: NamedProvider) -> Option<String> {
        let preset = self.preset.filter(|_| is_custom(provider))?;
        preset.to_possible_value().map(|value| value.get_name().to_owned())
    }

    pub(super) fn scheme(&self, provider: NamedProvider) -> Option<&str> {
        find(&self.schemes, provider)
    }

    pub(super) fn header(&self, provider: NamedProvider) -> Option<&str> {
        find(&self.headers, provider)
    }
}

/// Returns the schemes that an endpoint of the provider can have, if it has to name one.
pub(super) fn schemes_of(provider: NamedProvider) -> &'static [&'static str] {
    match provider {
        NamedProvider::Known(_) => &["hmac-sha256", "shared-secret"],
        NamedProvider::Custom => &NAMES,
    }
}

/// Returns whether an endpoint of the provider has to name this option.
pub(super) fn needs(provider: NamedProvider, option: OptionName) -> bool {
    match provider {
        NamedProvider::Known(facts) => facts.required_options.contains(&option),
        NamedProvider::Custom => matches!(option, OptionName::Scheme | OptionName::Header),
    }
}

/// Returns the value for this provider, or else the one for all.
fn find(all: &[Given], provider: NamedProvider) -> Option<&str> {
    let own = all.iter().find(|given| given.provider.as_deref() == Some(provider.name()));
    let given = own.or_else(|| all.iter().find(|given| given.provider.is_none()));
    given.map(|given| given.value.as_str())
}

/// Returns the name of the provider in a portal, for comments.
pub(super) fn title(provider: NamedProvider) -> &'static str {
    match provider {
        NamedProvider::Known(facts) => facts.title,
        NamedProvider::Custom => "Your provider",
    }
}

/// Returns whether this is a provider that the registry does not know.
pub(super) fn is_custom(provider: NamedProvider) -> bool {
    provider.name() == CUSTOM
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(providers: &[&str], schemes: &[&str], headers: &[&str]) -> Result<GivenValues, String> {
        let providers: Vec<_> = providers.iter().map(|name| NamedProvider::of(name).unwrap()).collect();
        let given = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Given>>();
        GivenValues::check(&providers, &given(schemes), &given(headers), None).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_value_for_one_provider_takes_precedence_over_the_value_for_all() {
        let values = checked(&["cair", "azodha"], &["hmac-sha256"], &["X-All", "cair=X-API-KEY"]).unwrap();
        let (cair, azodha) = (NamedProvider::of("cair").unwrap(), NamedProvider::of("azodha").unwrap());
        assert_eq!((values.header(cair), values.header(azodha)), (Some("X-API-KEY"), Some("X-All")));
        assert_eq!((values.scheme(cair), values.scheme(azodha)), (Some("hmac-sha256"), Some("hmac-sha256")));
    }

    #[test]
    fn each_mistake_names_the_argument() {
        for (providers, schemes, headers, mistake) in [
            (&["cair", "cair"][..], &[][..], &[][..], "cair is named twice"),
            (&["fasten"], &["hmac-sha256"], &[], "--scheme: no named provider lets you choose it; remove it"),
            (
                &["cair"],
                &["azodha=hmac-sha256"],
                &[],
                "--scheme: azodha is not a named provider that lets you choose it",
            ),
            (&["cair"], &["standard-webhooks"], &[], "--scheme: must be one of hmac-sha256, shared-secret for cair"),
            (&["cair"], &[], &["X Key"], "--header: must be the name of a header"),
        ] {
            let problem = checked(providers, schemes, headers).err().unwrap();
            assert!(problem.starts_with(mistake), "{problem}");
        }
        assert!("cair=".parse::<Given>().is_err());
        let preset = |provider: &str, schemes: &[Given]| {
            let providers = [NamedProvider::of(provider).unwrap()];
            GivenValues::check(&providers, schemes, &[], Some(Preset::Oura)).map_err(|failure| failure.to_string())
        };
        assert!(preset("custom", &[]).is_ok());
        assert_eq!(preset("fasten", &[]).err().unwrap(), "--preset: applies only to custom; remove it, or name custom");
        let scheme = ["timestamped-hmac".parse().unwrap()];
        let problem = preset("custom", &scheme).err().unwrap();
        assert_eq!(problem, "--scheme: --preset sets it for custom; remove one of them");
    }
}
