//! Arguments that describe an endpoint: its secrets, and the options that its provider lets each endpoint choose.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use medhook::registry::{self, OptionName, PROVIDERS, ProviderFacts, SchemeChoice, UnsignedHeader, UnsignedValue};
use medhook::{Encoding, Secret, Secrets};
use medhook_conformance::Endpoint;

use crate::failure::Failure;
use crate::random;

/// The facts about a provider.
pub(crate) type Provider = &'static ProviderFacts;

/// Parses the name of a provider.
pub(crate) fn provider_parser() -> impl TypedValueParser<Value = Provider> {
    PossibleValuesParser::new(PROVIDERS.iter().map(|facts| facts.name))
        .try_map(|name| registry::provider(&name).ok_or("unknown provider"))
}

/// Returns how long a provider waits for an answer, or 30 s if that is undocumented.
pub(crate) fn answer_timeout(provider: Provider) -> Duration {
    provider.answer_timeout.unwrap_or(Duration::from_secs(30))
}

/// Options of the signature that some providers let each endpoint choose.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Signature (for providers that let each endpoint choose)")]
pub(crate) struct Dialect {
    /// Scheme that authenticates deliveries
    #[arg(long, value_enum)]
    scheme: Option<SchemeArg>,
    /// Header that holds the signature or the shared secret
    #[arg(long, value_name = "NAME")]
    header: Option<String>,
    /// Text before the HMAC in the header, such as `sha256=`
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Encoding of the HMAC
    #[arg(long, value_enum)]
    encoding: Option<EncodingArg>,
    /// Second header that holds another shared secret
    #[arg(long, value_name = "NAME", requires = "also_secrets")]
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

/// The names of secrets. The secrets themselves are never arguments, which appear in shell histories and process lists.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Secrets")]
pub(crate) struct SecretArgs {
    /// Environment variable that holds a secret; repeat the option for several valid secrets
    #[arg(long, value_name = "VARIABLE", conflicts_with = "secret_file")]
    secret_env: Vec<String>,
    /// File that holds a secret (one trailing line break is removed); repeat the option for several valid secrets
    #[arg(long, value_name = "PATH")]
    secret_file: Vec<PathBuf>,
}

impl SecretArgs {
    /// Reads all secrets. Fails if none is given.
    pub(crate) fn read(&self) -> Result<Vec<Secret>, Failure> {
        let secrets = self.read_if_any()?;
        if secrets.is_empty() { Err(Failure::new(NO_SECRET)) } else { Ok(secrets) }
    }

    /// Reads all secrets, of which there may be none.
    pub(crate) fn read_if_any(&self) -> Result<Vec<Secret>, Failure> {
        let secrets = read("", &self.secret_env, &self.secret_file)?;
        if secrets.len() > Secrets::MOST {
            return Err(Failure::new(format!(
                "at most {} secrets are supported; pass --secret-env or --secret-file less often",
                Secrets::MOST
            )));
        }
        Ok(secrets)
    }

    /// Reads the one secret that signs. Fails if several are given.
    pub(crate) fn only(&self) -> Result<Secret, Failure> {
        let mut secrets = self.read()?.into_iter();
        match (secrets.next(), secrets.next()) {
            (Some(secret), None) => Ok(secret),
            (None, _) => Err(Failure::new(NO_SECRET)),
            (Some(_), Some(_)) => {
                Err(Failure::new("a delivery is signed with one secret; pass --secret-env or --secret-file once"))
            }
        }
    }
}

const NO_SECRET: &str = "no secret given; pass --secret-env VARIABLE or --secret-file PATH";

/// The names of the test mode's secrets, for providers with a secret for each mode.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Secrets")]
pub(crate) struct TestSecretArgs {
    /// Environment variable that holds the test-mode secret, for providers with separate test and live secrets
    #[arg(long, value_name = "VARIABLE")]
    test_secret_env: Vec<String>,
    /// File that holds the test-mode secret, for providers with separate test and live secrets
    #[arg(long, value_name = "PATH")]
    test_secret_file: Vec<PathBuf>,
}

impl TestSecretArgs {
    pub(crate) fn read(&self, provider: Provider) -> Result<Vec<Secret>, Failure> {
        let secrets = read("test-", &self.test_secret_env, &self.test_secret_file)?;
        if !provider.takes(OptionName::TestSecrets) && !secrets.is_empty() {
            return Err(Failure::new(format!(
                "--test-secret-env and --test-secret-file do not apply to {}: it has no test mode with its own secret",
                provider.name
            )));
        }
        Ok(secrets)
    }
}

/// Reads secrets from the environment and from files. `option` is the beginning of the options' names, for messages.
///
/// No message quotes the name of a variable or file: it may be the secret itself, passed by mistake.
fn read(option: &str, variables: &[String], files: &[PathBuf]) -> Result<Vec<Secret>, Failure> {
    const NOT_SHOWN: &str = "(its name is not shown because it might be the secret)";
    let from_env = variables.iter().map(|variable| {
        Secret::from_env_if_set(variable)
            .map_err(|error| Failure::because(format_args!("--{option}secret-env"), error))?
            .ok_or_else(|| {
                Failure::new(format!("--{option}secret-env: the environment variable is not set {NOT_SHOWN}"))
            })
    });
    let from_files = files.iter().map(|path| {
        if !path.exists() {
            return Err(Failure::new(format!("--{option}secret-file: the file is not found {NOT_SHOWN}")));
        }
        Secret::from_file(path).map_err(|error| Failure::because(format_args!("--{option}secret-file"), error))
    });
    from_env.chain(from_files).collect()
}

impl Dialect {
    /// Returns the endpoint, without its secrets. Fails for an option that the provider does not have.
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
                "{} does not document how it signs; pass {}",
                provider.name,
                flags.join(" and ")
            )));
        }
        if self.scheme == Some(SchemeArg::SharedSecret) && (self.prefix.is_some() || self.encoding.is_some()) {
            return Err(Failure::new("--prefix and --encoding require --scheme hmac-sha256"));
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
            endpoint.also_secrets = read("also-", &variables, &files)?.iter().map(entry).collect();
        }
        Ok(endpoint)
    }
}

/// Returns the name of an option on the command line.
fn flag(option: OptionName) -> String {
    format!("--{}", option.as_str().replace('_', "-"))
}

/// Returns the label and the text of a secret, as [`Endpoint`] stores them.
pub(crate) fn entry(secret: &Secret) -> (String, String) {
    (secret.label().to_owned(), secret.expose_secret().to_owned())
}

/// Returns the labels and the texts of secrets, whose labels must differ.
pub(crate) fn labeled(secrets: &[Secret]) -> Result<BTreeMap<String, String>, Failure> {
    let map: BTreeMap<_, _> = secrets.iter().map(entry).collect();
    if map.len() < secrets.len() {
        return Err(Failure::new("two secrets have the same name; use a different variable or file name for each"));
    }
    Ok(map)
}

/// Returns the headers that a provider sends besides those of its scheme. They are not signed.
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

/// Returns the kind that the body names, if a header can hold it.
fn kind_of(provider: Provider, body: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let kind = json.pointer(provider.pointers.kind?)?.as_str()?;
    kind.bytes().all(|byte| byte.is_ascii_graphic()).then(|| kind.to_owned())
}
