//! Arguments for the options that a provider lets each endpoint choose, and that describe a custom provider.
//!
//! - `options`: the options of a scheme, which a config file has, too; `words`: their values
//! - `scheme`: builds a scheme from them

mod options;
mod scheme;
#[cfg(test)]
mod tests;
mod words;

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use medhook::Freshness;
use medhook::registry::{OptionName, SchemeChoice};
use medhook::testing::Signing;
use medhook_conformance::{CustomProvider, Endpoint};

pub(crate) use self::options::{OptionMistake, OptionSource, SchemeOptions};
pub(crate) use self::scheme::{LONGEST_PREFIX, TOO_LONG, header_name};
pub(crate) use self::words::{SchemeName, SignatureEncoding};
use crate::duration;
use crate::failure::Failure;
use crate::provider::{CUSTOM, NamedProvider, Provider};
use crate::sources::{Validation, entry, read};

/// Options that some providers let each endpoint choose, and that describe a custom provider.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Dialect {
    #[command(flatten)]
    scheme: SchemeOptions,
    #[command(flatten)]
    event: EventOptions,
    #[command(flatten)]
    also: AlsoOptions,
}

/// The places of an event's parts in the deliveries of a custom provider.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Events (for custom)")]
struct EventOptions {
    /// JSON pointer to the event id in the body, such as `/id`
    #[arg(long, value_name = "POINTER", conflicts_with = "config")]
    id_pointer: Option<String>,
    /// JSON pointer to the kind in the body
    #[arg(long, value_name = "POINTER", conflicts_with = "config")]
    kind_pointer: Option<String>,
    /// JSON pointer to the time of the event in the body
    #[arg(long, value_name = "POINTER", conflicts_with = "config")]
    time_pointer: Option<String>,
    /// Maximum age of an event, such as `48h`; needed by --timestamp-of event
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, conflicts_with = "config")]
    max_age: Option<Duration>,
}

impl EventOptions {
    /// Returns the options, and whether each is given.
    fn given(&self) -> [(&'static str, bool); 4] {
        [
            ("id_pointer", self.id_pointer.is_some()),
            ("kind_pointer", self.kind_pointer.is_some()),
            ("time_pointer", self.time_pointer.is_some()),
            ("max_age", self.max_age.is_some()),
        ]
    }
}

/// A second header with a secret, for providers that have one.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Second header (for providers that send two secrets)")]
struct AlsoOptions {
    /// Second header that holds another shared secret
    #[arg(long, value_name = "NAME", requires = "also_secrets", conflicts_with = "config")]
    also_header: Option<String>,
    /// Environment variable that holds the second header's secret
    #[arg(long, value_name = "VARIABLE", group = "also_secrets", requires = "also_header")]
    also_secret_env: Option<String>,
    /// File that holds the second header's secret
    #[arg(long, value_name = "PATH", group = "also_secrets", requires = "also_header")]
    also_secret_file: Option<PathBuf>,
}

impl Dialect {
    /// Returns the endpoint, without its secrets. Fails for an option that the provider does not have.
    pub(crate) fn endpoint(&self, provider: NamedProvider, validation: Validation) -> Result<Endpoint, Failure> {
        match provider {
            NamedProvider::Known(facts) => self.known(facts, validation),
            NamedProvider::Custom => self.custom(),
        }
    }

    fn custom(&self) -> Result<Endpoint, Failure> {
        if self.also.also_header.is_some() {
            return Err(Failure::new("--also-header does not apply to custom"));
        }
        let Some(scheme) = self.scheme.scheme else {
            if self.scheme.preset.is_some() {
                return Err(Failure::new("--preset requires --scheme timestamped-hmac"));
            }
            let schemes: Vec<_> = SchemeName::value_variants().iter().map(|scheme| words::word(*scheme)).collect();
            return Err(Failure::new(format!("custom requires --scheme: one of {}", schemes.join(", "))));
        };
        let scheme = self.scheme.build(scheme, OptionSource::Arguments);
        let scheme =
            scheme.map_err(|OptionMistake { key, problem }| Failure::new(format!("{}: {problem}", flag(key))))?;
        let mut signing = Signing::from(&scheme);
        signing.make_headers_lowercase();
        let default_freshness = signing.freshness();
        let EventOptions { id_pointer, kind_pointer, time_pointer, max_age } = &self.event;
        let mut custom = CustomProvider::new(signing);
        for (option, given, pointer) in [
            ("--id-pointer", id_pointer, &mut custom.id_pointer),
            ("--kind-pointer", kind_pointer, &mut custom.kind_pointer),
            ("--time-pointer", time_pointer, &mut custom.time_pointer),
        ] {
            if given.as_ref().is_some_and(|pointer| !pointer.starts_with('/')) {
                return Err(Failure::new(format!("{option} must be a JSON pointer, which begins with `/`")));
            }
            pointer.clone_from(given);
        }
        let mut endpoint = Endpoint::custom(CUSTOM, custom);
        let has_event_time =
            time_pointer.is_some() || matches!(default_freshness, None | Some(Freshness::EventTime { .. }));
        endpoint.freshness = match max_age {
            Some(max_age) if has_event_time => Some(event_time(*max_age)),
            Some(_) => {
                return Err(Failure::new(
                    "--max-age: the events have no signed time; remove it, or pass --time-pointer or --timestamp-of event",
                ));
            }
            None if default_freshness.is_none() => {
                return Err(Failure::new(
                    "--timestamp-of event requires --max-age, which must cover the provider's last retry, such as 48h",
                ));
            }
            None => None,
        };
        Ok(endpoint)
    }

    fn known(&self, provider: Provider, validation: Validation) -> Result<Endpoint, Failure> {
        let scheme = &self.scheme;
        let options = [
            (OptionName::Scheme, scheme.scheme.is_some()),
            (OptionName::Header, scheme.header.is_some()),
            (OptionName::Prefix, scheme.prefix.is_some()),
            (OptionName::Encoding, scheme.encoding.is_some()),
            (OptionName::AlsoHeader, self.also.also_header.is_some()),
        ];
        let is_shared = |key: &str| options.iter().any(|(option, _)| option.as_str() == key);
        let mut only_custom = scheme.given().chain(self.event.given());
        if let Some((key, _)) = only_custom.find(|(key, given)| *given && !is_shared(key)) {
            return Err(Failure::new(format!("{} does not apply to {}, only to custom", flag(key), provider.name)));
        }
        if let Some((option, _)) = options.iter().find(|(option, given)| *given && !provider.takes(*option)) {
            return Err(Failure::new(format!("{} does not apply to {}", flag(option.as_str()), provider.name)));
        }
        let is_missing = |needed: &&OptionName| options.iter().any(|(option, given)| option == *needed && !given);
        if provider.required_options.iter().any(|needed| is_missing(&needed)) {
            let flags: Vec<_> = provider.required_options.iter().map(|option| flag(option.as_str())).collect();
            return Err(Failure::new(format!(
                "{} does not document how it signs; pass {}",
                provider.name,
                flags.join(" and ")
            )));
        }
        if scheme.scheme == Some(SchemeName::SharedSecret) && (scheme.prefix.is_some() || scheme.encoding.is_some()) {
            return Err(Failure::new("--prefix and --encoding require --scheme hmac-sha256"));
        }
        let mut endpoint = Endpoint::new(provider.name);
        endpoint.scheme = match scheme.scheme {
            None => None,
            Some(SchemeName::HmacSha256) => Some(SchemeChoice::HmacSha256),
            Some(SchemeName::SharedSecret) => Some(SchemeChoice::SharedSecret),
            Some(other) => {
                let other = words::word(other);
                return Err(Failure::new(format!("--scheme {other} does not apply to {}", provider.name)));
            }
        };
        endpoint.header = scheme.header.as_ref().map(|name| name.to_ascii_lowercase());
        endpoint.prefix.clone_from(&scheme.prefix);
        endpoint.encoding = scheme.encoding.map(Into::into);
        let AlsoOptions { also_header, also_secret_env, also_secret_file } = &self.also;
        if let Some(name) = also_header {
            let variables = Vec::from_iter(also_secret_env.clone());
            let files = Vec::from_iter(also_secret_file.clone());
            endpoint.also_header = Some(name.to_ascii_lowercase());
            endpoint.also_secrets = read("also-", &variables, &files, validation)?.iter().map(entry).collect();
        }
        Ok(endpoint)
    }
}

/// Returns the limit for the age of events, with the clock skew that is the default for HealthSync.
pub(crate) fn event_time(max_age: Duration) -> Freshness {
    Freshness::EventTime { max_age, max_skew: Duration::from_secs(300) }
}

/// Returns the name of an option on the command line.
fn flag(key: &str) -> String {
    OptionSource::Arguments.key(key)
}
