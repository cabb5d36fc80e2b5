//! The arguments that say what an endpoint is like: its secrets, and what its provider leaves to each endpoint.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use medhook::registry::{self, OptionName, PROVIDERS, ProviderFacts, SchemeChoice, UnsignedHeader, UnsignedValue};
use medhook::{Encoding, Secret, Secrets};
use medhook_conformance::Endpoint;

use crate::failure::Failure;
use crate::random;

/// The facts about a provider, which is chosen by its name.
pub(crate) type Provider = &'static ProviderFacts;

/// Reads the name of a provider.
pub(crate) fn provider_parser() -> impl TypedValueParser<Value = Provider> {
    PossibleValuesParser::new(PROVIDERS.iter().map(|facts| facts.name))
        .try_map(|name| registry::provider(&name).ok_or("no such provider"))
}

/// How long a provider waits for an answer; where that is not documented, 30 s.
pub(crate) fn answer_timeout(provider: Provider) -> Duration {
    provider.answer_timeout.unwrap_or(Duration::from_secs(30))
}

/// What the provider leaves to each endpoint.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "What provider and endpoint agreed on (not every provider has each of these)")]
pub(crate) struct Dialect {
    /// How deliveries are signed
    #[arg(long, value_enum)]
    scheme: Option<SchemeArg>,
    /// The header with the signature or the shared secret
    #[arg(long, value_name = "NAME")]
    header: Option<String>,
    /// The text before an HMAC, such as `sha256=`
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// How an HMAC is written
    #[arg(long, value_enum)]
    encoding: Option<EncodingArg>,
    /// A second header that must hold a secret, too
    #[arg(long, value_name = "NAME", requires = "also_secrets")]
    also_header: Option<String>,
    /// The environment variable with the second header's secret
    #[arg(long, value_name = "VARIABLE", group = "also_secrets", requires = "also_header")]
    also_secret_env: Option<String>,
    /// The file with the second header's secret
    #[arg(long, value_name = "PATH", group = "also_secrets", requires = "also_header")]
    also_secret_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SchemeArg {
    /// HMAC-SHA256 over the body
    HmacSha256,
    /// The secret itself
    SharedSecret,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EncodingArg {
    Hex,
    Base64,
}

/// Secrets, by name only: as arguments they would stand in histories and process lists.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Secrets")]
pub(crate) struct SecretArgs {
    /// The variable with the secret; again for a second one that is current, too
    #[arg(long, value_name = "VARIABLE", conflicts_with = "secret_file")]
    secret_env: Vec<String>,
    /// The file with the secret (one final line break is dropped); again for a second one
    #[arg(long, value_name = "PATH")]
    secret_file: Vec<PathBuf>,
}

impl SecretArgs {
    /// All of them, of which there must be one.
    pub(crate) fn read(&self) -> Result<Vec<Secret>, Failure> {
        let secrets = self.read_if_any()?;
        if secrets.is_empty() {
            return Err(Failure::new("no secret: name its variable with --secret-env or its file with --secret-file"));
        }
        Ok(secrets)
    }

    /// All of them, or none.
    pub(crate) fn read_if_any(&self) -> Result<Vec<Secret>, Failure> {
        let secrets = read(&self.secret_env, &self.secret_file)?;
        if secrets.len() > Secrets::MOST {
            return Err(Failure::new(format!("more than {} secrets", Secrets::MOST)));
        }
        Ok(secrets)
    }

    /// The first one: what a sender signs with.
    pub(crate) fn first(&self) -> Result<Secret, Failure> {
        self.read()?.into_iter().next().ok_or_else(|| Failure::new("no secret"))
    }
}

/// Some providers have a secret for each mode.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Secrets")]
pub(crate) struct TestSecretArgs {
    /// The environment variable with the secret of the test mode, where the provider has one
    #[arg(long, value_name = "VARIABLE")]
    test_secret_env: Vec<String>,
    /// The file with the secret of the test mode, where the provider has one
    #[arg(long, value_name = "PATH")]
    test_secret_file: Vec<PathBuf>,
}

impl TestSecretArgs {
    pub(crate) fn read(&self, provider: Provider) -> Result<Vec<Secret>, Failure> {
        let secrets = read(&self.test_secret_env, &self.test_secret_file)?;
        if !provider.takes(OptionName::TestSecrets) && !secrets.is_empty() {
            return Err(Failure::new(format!("{} has no secrets of a test mode", provider.name)));
        }
        Ok(secrets)
    }
}

/// Whoever gives the secret itself where its name is asked for should not read it in the error, too.
fn read(variables: &[String], files: &[PathBuf]) -> Result<Vec<Secret>, Failure> {
    const UNSAID: &str = "(the name is not repeated here, in case it is the secret itself)";
    let from_env = variables.iter().map(|variable| {
        Secret::from_env_if_set(variable)
            .map_err(|error| Failure::new(error.to_string()))?
            .ok_or_else(|| Failure::new(format!("an environment variable for a secret is not set {UNSAID}")))
    });
    let from_files = files.iter().map(|path| {
        if !path.exists() {
            return Err(Failure::new(format!("a file for a secret is not there {UNSAID}")));
        }
        Secret::from_file(path).map_err(|error| Failure::new(error.to_string()))
    });
    from_env.chain(from_files).collect()
}

impl Dialect {
    /// The endpoint, still without secrets of its own. An option that the provider does not have is a mistake.
    pub(crate) fn endpoint(&self, provider: Provider) -> Result<Endpoint, Failure> {
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
                "{} needs {}: how it signs is for each endpoint to agree on with it",
                provider.name,
                flags.join(" and ")
            )));
        }
        if self.scheme == Some(SchemeArg::SharedSecret) && (self.prefix.is_some() || self.encoding.is_some()) {
            return Err(Failure::new("--prefix and --encoding are for an HMAC, not for a shared secret"));
        }
        let mut endpoint = Endpoint::new(provider.name);
        endpoint.scheme = self.scheme.map(|scheme| match scheme {
            SchemeArg::HmacSha256 => SchemeChoice::HmacSha256,
            SchemeArg::SharedSecret => SchemeChoice::SharedSecret,
        });
        endpoint.header = self.header.as_ref().map(|name| name.to_ascii_lowercase());
        endpoint.prefix.clone_from(&self.prefix);
        endpoint.encoding = self.encoding.map(|encoding| match encoding {
            EncodingArg::Hex => Encoding::Hex,
            EncodingArg::Base64 => Encoding::Base64,
        });
        if let Some(name) = &self.also_header {
            let variables = Vec::from_iter(self.also_secret_env.clone());
            let files = Vec::from_iter(self.also_secret_file.clone());
            endpoint.also_header = Some(name.to_ascii_lowercase());
            endpoint.also_secrets = read(&variables, &files)?.iter().map(entry).collect();
        }
        Ok(endpoint)
    }
}

/// The name of an option on the command line.
fn flag(option: OptionName) -> String {
    format!("--{}", option.as_str().replace('_', "-"))
}

/// As an [`Endpoint`] keeps it.
pub(crate) fn entry(secret: &Secret) -> (String, String) {
    (secret.label().to_owned(), secret.expose_secret().to_owned())
}

/// The headers that a provider sends besides those of its scheme. Nothing signs them.
pub(crate) fn unsigned_headers(provider: Provider, body: &[u8]) -> Result<Vec<(String, String)>, Failure> {
    let mut headers = vec![
        ("content-type".to_owned(), "application/json".to_owned()),
        ("user-agent".to_owned(), concat!("medhook/", env!("CARGO_PKG_VERSION")).to_owned()),
    ];
    for UnsignedHeader { name, value, .. } in provider.unsigned_headers {
        let value = match value {
            UnsignedValue::Kind => kind_of(provider, body),
            _ => Some(random::uuid()?),
        };
        headers.extend(value.map(|value| ((*name).to_owned(), value)));
    }
    Ok(headers)
}

/// The kind that a body names, if a header can carry it.
fn kind_of(provider: Provider, body: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let kind = json.pointer(provider.pointers.kind?)?.as_str()?;
    kind.bytes().all(|byte| byte.is_ascii_graphic()).then(|| kind.to_owned())
}
