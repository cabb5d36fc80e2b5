//! Arguments for the options that a provider lets each endpoint choose, and that describe a custom provider.

use std::path::PathBuf;

use clap::ValueEnum;
use medhook::registry::{OptionName, SchemeChoice};
use medhook::testing::Signing;
use medhook::{Encoding, HmacSha256Body};
use medhook_conformance::{CustomProvider, Endpoint};

use crate::failure::Failure;
use crate::provider::{CUSTOM, NamedProvider, Provider};
use crate::sources::{Validation, entry, read};

/// Options of the signature that some providers let each endpoint choose.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Signature (for providers that let each endpoint choose)")]
pub(crate) struct Dialect {
    /// Scheme that authenticates deliveries
    #[arg(long, value_enum, conflicts_with = "config")]
    scheme: Option<SchemeArg>,
    /// Header that holds the signature or the shared secret
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    header: Option<String>,
    /// Text before the HMAC in the header, such as `sha256=`
    #[arg(long, value_name = "TEXT", conflicts_with = "config")]
    prefix: Option<String>,
    /// Encoding of the HMAC
    #[arg(long, value_enum, conflicts_with = "config")]
    encoding: Option<EncodingArg>,
    /// JSON pointer to the event id in the body, such as `/id` (custom)
    #[arg(long, value_name = "POINTER", conflicts_with = "config")]
    id_pointer: Option<String>,
    /// JSON pointer to the kind in the body (custom)
    #[arg(long, value_name = "POINTER", conflicts_with = "config")]
    kind_pointer: Option<String>,
    /// JSON pointer to the time of the event in the body (custom)
    #[arg(long, value_name = "POINTER", conflicts_with = "config")]
    time_pointer: Option<String>,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SchemeArg {
    /// Standard Webhooks (custom)
    StandardWebhooks,
    /// HMAC-SHA256 of the body
    HmacSha256,
    /// The secret itself, sent in the header
    SharedSecret,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EncodingArg {
    Hex,
    Base64,
}

impl EncodingArg {
    fn encoding(self) -> Encoding {
        match self {
            EncodingArg::Hex => Encoding::Hex,
            EncodingArg::Base64 => Encoding::Base64,
        }
    }
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
        let mistake = |text: &str| Err(Failure::new(text));
        if self.also_header.is_some() {
            return mistake("--also-header does not apply to custom");
        }
        let signing = match (self.scheme, &self.header) {
            (None, _) => return mistake("custom requires --scheme standard-webhooks, hmac-sha256 or shared-secret"),
            (Some(SchemeArg::StandardWebhooks), None) if self.prefix.is_none() && self.encoding.is_none() => {
                Signing::standard_webhooks()
            }
            (Some(SchemeArg::StandardWebhooks), _) => {
                return mistake("--header, --prefix and --encoding do not apply to --scheme standard-webhooks");
            }
            (Some(_), None) => return mistake("--scheme hmac-sha256 and --scheme shared-secret require --header"),
            (Some(SchemeArg::HmacSha256), Some(header)) => Signing::of(
                HmacSha256Body::new(header.to_ascii_lowercase())
                    .prefix(self.prefix.clone().unwrap_or_default())
                    .encoding(self.encoding.map_or(Encoding::Either, EncodingArg::encoding)),
            ),
            (Some(SchemeArg::SharedSecret), Some(_)) if self.prefix.is_some() || self.encoding.is_some() => {
                return mistake(HMAC_ONLY);
            }
            (Some(SchemeArg::SharedSecret), Some(header)) => Signing::shared_secret(header.to_ascii_lowercase()),
        };
        let mut custom = CustomProvider::new(signing);
        for (option, given, pointer) in [
            ("--id-pointer", &self.id_pointer, &mut custom.id_pointer),
            ("--kind-pointer", &self.kind_pointer, &mut custom.kind_pointer),
            ("--time-pointer", &self.time_pointer, &mut custom.time_pointer),
        ] {
            if given.as_ref().is_some_and(|pointer| !pointer.starts_with('/')) {
                return Err(Failure::new(format!("{option} must be a JSON pointer, which begins with `/`")));
            }
            pointer.clone_from(given);
        }
        Ok(Endpoint::custom(CUSTOM, custom))
    }

    fn known(&self, provider: Provider, validation: Validation) -> Result<Endpoint, Failure> {
        let pointers = [&self.id_pointer, &self.kind_pointer, &self.time_pointer];
        if pointers.iter().any(|pointer| pointer.is_some()) {
            return Err(Failure::new(format!(
                "--id-pointer, --kind-pointer and --time-pointer do not apply to {}, only to custom",
                provider.name
            )));
        }
        let options = [
            (OptionName::Scheme, self.scheme.is_some()),
            (OptionName::Header, self.header.is_some()),
            (OptionName::Prefix, self.prefix.is_some()),
            (OptionName::Encoding, self.encoding.is_some()),
            (OptionName::AlsoHeader, self.also_header.is_some()),
        ];
        if let Some((option, _)) = options.iter().find(|(option, given)| *given && !provider.takes(*option)) {
            return Err(Failure::new(format!("{} does not apply to {}", flag(*option), provider.name)));
        }
        let is_missing = |needed: &&OptionName| options.iter().any(|(option, given)| option == *needed && !given);
        if provider.required_options.iter().any(|needed| is_missing(&needed)) {
            let flags: Vec<_> = provider.required_options.iter().map(|option| flag(*option)).collect();
            return Err(Failure::new(format!(
                "{} does not document how it signs; pass {}",
                provider.name,
                flags.join(" and ")
            )));
        }
        if self.scheme == Some(SchemeArg::SharedSecret) && (self.prefix.is_some() || self.encoding.is_some()) {
            return Err(Failure::new(HMAC_ONLY));
        }
        let mut endpoint = Endpoint::new(provider.name);
        endpoint.scheme = match self.scheme {
            None => None,
            Some(SchemeArg::HmacSha256) => Some(SchemeChoice::HmacSha256),
            Some(SchemeArg::SharedSecret) => Some(SchemeChoice::SharedSecret),
            Some(SchemeArg::StandardWebhooks) => {
                return Err(Failure::new(format!("--scheme standard-webhooks does not apply to {}", provider.name)));
            }
        };
        endpoint.header = self.header.as_ref().map(|name| name.to_ascii_lowercase());
        endpoint.prefix.clone_from(&self.prefix);
        endpoint.encoding = self.encoding.map(EncodingArg::encoding);
        if let Some(name) = &self.also_header {
            let variables = Vec::from_iter(self.also_secret_env.clone());
            let files = Vec::from_iter(self.also_secret_file.clone());
            endpoint.also_header = Some(name.to_ascii_lowercase());
            endpoint.also_secrets = read("also-", &variables, &files, validation)?.iter().map(entry).collect();
        }
        Ok(endpoint)
    }
}

const HMAC_ONLY: &str = "--prefix and --encoding require --scheme hmac-sha256";

/// Returns the name of an option on the command line.
fn flag(option: OptionName) -> String {
    format!("--{}", option.as_str().replace('_', "-"))
}
