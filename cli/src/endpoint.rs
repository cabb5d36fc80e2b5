//! The arguments that say what an endpoint is like: its secrets, and what its provider leaves to each endpoint.

use std::path::PathBuf;

use clap::ValueEnum;
use medhook::{Secret, Secrets};
use medhook_conformance::{Endpoint, Scheme, Written};

use crate::failure::Failure;
use crate::random;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Provider {
    Azodha,
    Cair,
    Fasten,
    Healthsync,
    Mediquo,
}

impl Provider {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Provider::Azodha => "azodha",
            Provider::Cair => "cair",
            Provider::Fasten => "fasten",
            Provider::Healthsync => "healthsync",
            Provider::Mediquo => "mediquo",
        }
    }

    /// How many seconds it waits for an answer; where that is not documented, 30.
    pub(crate) fn patience(self) -> u64 {
        match self {
            Provider::Healthsync => 5,
            Provider::Fasten => 60,
            Provider::Azodha | Provider::Cair | Provider::Mediquo => 30,
        }
    }
}

/// What the provider leaves to each endpoint.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "What the endpoint is told")]
pub(crate) struct Dialect {
    /// Azodha, Cair: how a delivery is proven
    #[arg(long, value_enum)]
    scheme: Option<SchemeArg>,
    /// Azodha, Cair (needed), MediQuo: the header with the proof
    #[arg(long, value_name = "NAME")]
    header: Option<String>,
    /// Azodha, Cair: what stands before an HMAC, such as `sha256=`
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Azodha, Cair: how an HMAC is written
    #[arg(long, value_enum)]
    encoding: Option<EncodingArg>,
    /// MediQuo: a second header that must hold a secret, too
    #[arg(long, value_name = "NAME", requires = "also_secrets")]
    also_header: Option<String>,
    /// MediQuo: the variable with the second header's secret
    #[arg(long, value_name = "VARIABLE", group = "also_secrets", requires = "also_header")]
    also_secret_env: Option<String>,
    /// MediQuo: the file with the second header's secret
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

/// Fasten Connect has a secret for each mode.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Secrets")]
pub(crate) struct TestSecretArgs {
    /// Fasten: the variable with the secret of the test mode
    #[arg(long, value_name = "VARIABLE")]
    test_secret_env: Vec<String>,
    /// Fasten: the file with the secret of the test mode
    #[arg(long, value_name = "PATH")]
    test_secret_file: Vec<PathBuf>,
}

impl TestSecretArgs {
    pub(crate) fn read(&self, provider: Provider) -> Result<Vec<Secret>, Failure> {
        let secrets = read(&self.test_secret_env, &self.test_secret_file)?;
        if provider != Provider::Fasten && !secrets.is_empty() {
            return Err(Failure::new(format!("{} has no secrets of a test mode", provider.name())));
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
    /// The endpoint, still without secrets of its own. An option that means nothing to the provider is a mistake.
    pub(crate) fn endpoint(&self, provider: Provider) -> Result<Endpoint, Failure> {
        let chooses = matches!(provider, Provider::Azodha | Provider::Cair);
        let named = chooses || provider == Provider::Mediquo;
        let foreign = [
            ("--scheme", self.scheme.is_some() && !chooses),
            ("--header", self.header.is_some() && !named),
            ("--prefix", self.prefix.is_some() && !chooses),
            ("--encoding", self.encoding.is_some() && !chooses),
            ("--also-header", self.also_header.is_some() && provider != Provider::Mediquo),
        ];
        if let Some((option, _)) = foreign.iter().find(|(_, foreign)| *foreign) {
            return Err(Failure::new(format!("{option} means nothing with {}", provider.name())));
        }
        if chooses && (self.scheme.is_none() || self.header.is_none()) {
            return Err(Failure::new(format!(
                "{} is documented to sign neither one way nor in one header: --scheme and --header say what the endpoint \
                 is told",
                provider.name()
            )));
        }
        if self.scheme == Some(SchemeArg::SharedSecret) && (self.prefix.is_some() || self.encoding.is_some()) {
            return Err(Failure::new("--prefix and --encoding are for an HMAC, not for a shared secret"));
        }
        let mut endpoint = Endpoint::new(provider.name());
        endpoint.scheme = self.scheme.map(|scheme| match scheme {
            SchemeArg::HmacSha256 => Scheme::HmacSha256,
            SchemeArg::SharedSecret => Scheme::SharedSecret,
        });
        endpoint.header = self.header.as_ref().map(|name| name.to_ascii_lowercase());
        endpoint.prefix.clone_from(&self.prefix);
        endpoint.encoding = self.encoding.map(|digits| match digits {
            EncodingArg::Hex => Written::Hex,
            EncodingArg::Base64 => Written::Base64,
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

/// As an [`Endpoint`] keeps it.
pub(crate) fn entry(secret: &Secret) -> (String, String) {
    (secret.label().to_owned(), secret.expose_secret().to_owned())
}

/// The headers that a provider sends beside its proof. Nothing signs them.
pub(crate) fn unsigned_headers(endpoint: &Endpoint, body: &[u8]) -> Result<Vec<(String, String)>, Failure> {
    let mut headers = vec![
        ("content-type".to_owned(), "application/json".to_owned()),
        ("user-agent".to_owned(), concat!("medhook/", env!("CARGO_PKG_VERSION")).to_owned()),
    ];
    if endpoint.provider == "healthsync" {
        let json: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        let kind = json.as_ref().and_then(|json| json.pointer("/type")?.as_str());
        if let Some(kind) = kind.filter(|kind| kind.bytes().all(|byte| byte.is_ascii_graphic())) {
            headers.push(("x-healthsync-event".to_owned(), kind.to_owned()));
        }
        headers.push(("x-healthsync-delivery".to_owned(), random::uuid()?));
    }
    Ok(headers)
}
