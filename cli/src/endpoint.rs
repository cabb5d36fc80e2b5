//! Arguments that describe an endpoint, or name one of a config file: its provider and its secrets. `dialect` has the
//! options of the signature.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use medhook::registry::{OptionName, UnsignedHeader, UnsignedValue};
use medhook::{Secret, Secrets};
use medhook_conformance::Endpoint;

use crate::dialect::Dialect;
use crate::failure::Failure;
use crate::key_kind::is_public_key;
use crate::output::print_error;
pub(crate) use crate::provider::{NamedProvider, Provider, named_provider_parser, provider_parser};
use crate::random;
use crate::receive::ChosenEndpoint;
pub(crate) use crate::sources::entry;
use crate::sources::{Validation, read};

/// Returns how long the endpoint's provider waits for an answer, or 30 s if that is undocumented.
pub(crate) fn answer_timeout(endpoint: &Endpoint) -> Duration {
    endpoint.known().and_then(|facts| facts.answer_timeout).unwrap_or(Duration::from_secs(30))
}

/// Arguments that describe an endpoint, or name one of a config file.
#[derive(Debug, clap::Args)]
pub(crate) struct EndpointArgs {
    /// Config file of `medhook receive` that has the endpoint, with its provider, secrets and options
    #[arg(long, value_name = "FILE", requires = "endpoint", help_heading = "Config file")]
    config: Option<PathBuf>,
    /// Name or path of the endpoint in the config file; only its own secrets are read
    #[arg(long, value_name = "NAME", requires = "config", help_heading = "Config file")]
    endpoint: Option<String>,
    #[command(flatten)]
    keys: SecretArgs,
    #[command(flatten)]
    dialect: Dialect,
}

/// An endpoint, and its secrets in order.
pub(crate) struct Described {
    /// The endpoint, without `secrets` and `test_secrets`.
    pub(crate) endpoint: Endpoint,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) test_secrets: Vec<Secret>,
    /// The endpoint of the config file, if it is described there.
    chosen: Option<ChosenEndpoint>,
}

impl EndpointArgs {
    /// Returns whether the endpoint is that of a config file.
    pub(crate) fn has_config(&self) -> bool {
        self.config.is_some()
    }

    /// Returns whether secrets are given as arguments.
    pub(crate) fn has_secrets(&self) -> bool {
        !self.keys.secret_env.is_empty() || !self.keys.secret_file.is_empty()
    }

    /// Returns the endpoint, whose secrets are those of the config file or of the arguments. Prints a line for each
    /// secret whose text looks like a mistake.
    pub(crate) fn read(
        &self,
        provider: Option<NamedProvider>,
        test_keys: Option<&TestSecretArgs>,
        validation: Validation,
    ) -> Result<Described, Failure> {
        let described = self.describe(provider, test_keys, validation)?;
        if self.has_config() && self.has_secrets() { Err(two_sources()) } else { Ok(described) }
    }

    /// Returns the endpoint, to sign its deliveries: the private key of a public key in the config file is that of the
    /// arguments. Prints as [`read`](Self::read) does.
    pub(crate) fn read_to_sign(
        &self,
        provider: Option<NamedProvider>,
        test_keys: Option<&TestSecretArgs>,
    ) -> Result<Described, Failure> {
        let described = self.describe(provider, test_keys, Validation::Full)?;
        if self.has_config() && self.has_secrets() {
            described.with_private_key(self.keys.read(Validation::Full)?)
        } else {
            Ok(described)
        }
    }

    fn describe(
        &self,
        provider: Option<NamedProvider>,
        test_keys: Option<&TestSecretArgs>,
        validation: Validation,
    ) -> Result<Described, Failure> {
        match (&self.config, &self.endpoint, provider) {
            (Some(config), Some(wanted), None) => {
                let chosen = ChosenEndpoint::read(config, wanted, validation)?;
                chosen.warnings.iter().for_each(|warning| print_error(warning));
                Described::of(chosen, validation)
            }
            (None, _, Some(provider)) => {
                let endpoint = self.dialect.endpoint(provider, validation)?;
                let test_secrets = test_keys.map_or_else(|| Ok(Vec::new()), |keys| keys.read(&endpoint, validation))?;
                let secrets = self.keys.read(validation)?;
                if secrets.is_empty() && test_secrets.is_empty() {
                    return Err(Failure::new("no secret given; pass --secret-env VARIABLE or --secret-file PATH"));
                }
                Ok(Described { endpoint, secrets, test_secrets, chosen: None })
            }
            (Some(_), _, Some(provider)) => Err(Failure::new(format!(
                "--config and --endpoint name the provider; remove `{}`, or these options",
                provider.name()
            ))),
            _ => Err(Failure::new(format!(
                "no provider given; pass one of {}, or --config FILE with --endpoint NAME",
                NamedProvider::names().join(", ")
            ))),
        }
    }
}

impl Described {
    fn of(chosen: ChosenEndpoint, validation: Validation) -> Result<Self, Failure> {
        let mut endpoint = chosen.endpoint.clone();
        // A sender has one secret for each header, the one that is listed first.
        let also = if validation == Validation::None { chosen.also_secrets.len() } else { 1 };
        endpoint.also_secrets = chosen.also_secrets.iter().take(also).map(entry).collect();
        let (secrets, test_secrets) = (chosen.secrets.clone(), chosen.test_secrets.clone());
        Ok(Described { endpoint, secrets, test_secrets, chosen: Some(chosen) })
    }

    /// Replaces the secrets by the private key, if the first of them is a public key.
    fn with_private_key(mut self, given: Vec<Secret>) -> Result<Self, Failure> {
        let signing = self.endpoint.signing().map_err(|error| Failure::new(error.to_string()))?;
        if !self.secrets.first().is_some_and(|first| is_public_key(&signing, first)) {
            return Err(two_sources());
        }
        match given.as_slice() {
            [key] if key.expose_secret().starts_with("whsk_") => self.secrets = given,
            [_] => {
                return Err(Failure::new(
                    "--secret-env, --secret-file: not a private key; pass `whsk_` and the base64 of the private key \
                     of an endpoint whose config file has the public key",
                ));
            }
            _ => {
                return Err(Failure::new(
                    "an endpoint is tried with one private key; pass --secret-env or --secret-file once",
                ));
            }
        }
        Ok(self)
    }

    /// Returns the URL in an argument, or else that of the receiver with the config file. `option` is the argument.
    pub(crate) fn url(&self, given: Option<&String>, option: &str) -> Result<String, Failure> {
        match (given, &self.chosen) {
            (Some(url), _) => Ok(url.clone()),
            (None, Some(chosen)) => chosen.url(option),
            (None, None) => Err(Failure::new(format!("no endpoint given; pass {option}"))),
        }
    }

    /// Returns the secret that signs an event: the test mode's for a test event, if the config file has one.
    pub(crate) fn signing_secret(&self, is_test: bool) -> Result<Secret, Failure> {
        if self.chosen.is_none() && self.secrets.len() > 1 {
            return Err(Failure::new("a delivery is signed with one secret; pass --secret-env or --secret-file once"));
        }
        let test = self.test_secrets.first().filter(|_| is_test);
        test.or(self.secrets.first()).cloned().ok_or_else(|| Failure::new("the endpoint has no secret"))
    }
}

/// Returns the failure for secrets of both the config file and the arguments.
fn two_sources() -> Failure {
    Failure::new(
        "--secret-env and --secret-file cannot be used with --config, which has the secrets; only `send` and `check` \
         take a private key this way, if the first secret of the endpoint is an Ed25519 public key",
    )
}

/// The names of secrets. The secrets themselves are never arguments, which appear in shell histories and process lists.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Secrets")]
struct SecretArgs {
    /// Environment variable that holds a secret; repeat the option for several secrets (not with `send`). With --config
    /// only a private key (`whsk_`) whose public key the config file has
    #[arg(long, value_name = "VARIABLE", conflicts_with = "secret_file")]
    secret_env: Vec<String>,
    /// File that holds a secret (one trailing line break is removed); repeat for several (not with `send`). With
    /// --config only a private key (`whsk_`)
    #[arg(long, value_name = "PATH")]
    secret_file: Vec<PathBuf>,
}

impl SecretArgs {
    /// Reads all secrets, of which there may be none.
    fn read(&self, validation: Validation) -> Result<Vec<Secret>, Failure> {
        let secrets = read("", &self.secret_env, &self.secret_file, validation)?;
        if secrets.len() > Secrets::MOST {
            return Err(Failure::new(format!(
                "at most {} secrets are supported; pass --secret-env or --secret-file less often",
                Secrets::MOST
            )));
        }
        Ok(secrets)
    }
}

/// The names of the test mode's secrets, for providers with a secret for each mode.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Secrets")]
pub(crate) struct TestSecretArgs {
    /// Environment variable that holds the test-mode secret, for providers with separate test and live secrets
    #[arg(long, value_name = "VARIABLE", conflicts_with = "config")]
    test_secret_env: Vec<String>,
    /// File that holds the test-mode secret, for providers with separate test and live secrets
    #[arg(long, value_name = "PATH", conflicts_with = "config")]
    test_secret_file: Vec<PathBuf>,
}

impl TestSecretArgs {
    fn read(&self, endpoint: &Endpoint, validation: Validation) -> Result<Vec<Secret>, Failure> {
        let secrets = read("test-", &self.test_secret_env, &self.test_secret_file, validation)?;
        if !endpoint.known().is_some_and(|facts| facts.takes(OptionName::TestSecrets)) && !secrets.is_empty() {
            return Err(Failure::new(format!(
                "--test-secret-env and --test-secret-file do not apply to {}: it has no test mode with its own secret",
                endpoint.provider
            )));
        }
        Ok(secrets)
    }
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
pub(crate) fn unsigned_headers(endpoint: &Endpoint, body: &[u8]) -> Result<Vec<(String, String)>, Failure> {
    let mut headers = vec![
        ("content-type".to_owned(), "application/json".to_owned()),
        ("user-agent".to_owned(), concat!("medhook/", env!("CARGO_PKG_VERSION")).to_owned()),
    ];
    if let Some(provider) = endpoint.known() {
        for UnsignedHeader { name, value, .. } in provider.unsigned_headers {
            let value = match value {
                UnsignedValue::Kind => kind_of(provider, body),
                _ => Some(random::uuid()?),
            };
            headers.extend(value.map(|value| ((*name).to_owned(), value)));
        }
    }
    Ok(headers)
}

/// Returns the kind that the body names, if a header can hold it.
fn kind_of(provider: Provider, body: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let kind = json.pointer(provider.pointers.kind?)?.as_str()?;
    kind.bytes().all(|byte| byte.is_ascii_graphic()).then(|| kind.to_owned())
}
