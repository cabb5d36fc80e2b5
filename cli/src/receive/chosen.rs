//! One endpoint of a config file, for `send`, `verify` and `check`. Only its own secrets are read.

use std::path::Path;

use medhook::Secret;
use medhook_conformance::{CustomProvider, Endpoint};

use super::config::{ReceiverUrl, endpoints, identity, open, receiver_url, top};
use super::keys::cut;
use super::path;
use super::provider::{self, Provided, Source};
use crate::failure::Failure;
use crate::sources::Validation;

/// An endpoint of a config file.
pub(crate) struct ChosenEndpoint {
    /// The endpoint, without its secrets.
    pub(crate) endpoint: Endpoint,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) test_secrets: Vec<Secret>,
    pub(crate) also_secrets: Vec<Secret>,
    listen: ReceiverUrl,
    path: String,
    /// One line for each secret whose text looks like a mistake.
    pub(crate) warnings: Vec<String>,
}

impl ChosenEndpoint {
    /// Reads the endpoint with this name or path.
    pub(crate) fn read(config: &Path, wanted: &str, validation: Validation) -> Result<Self, Failure> {
        let (file, content) = open(config)?;
        let mut keys = top(&file, content)?;
        let listen = receiver_url(&mut keys)?;
        let mut found = Vec::new();
        let mut others = Vec::new();
        for (number, table) in endpoints(&mut keys)? {
            let text = |key| table.get(key).and_then(toml::Value::as_str);
            let path = text("path").unwrap_or_default();
            let name = text("name").map_or_else(|| path::name(path), str::to_owned);
            if name == wanted || path == wanted {
                found.push((number, table));
            } else {
                others.push(cut(&name).escape_debug().to_string());
            }
        }
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (Some((number, table)), None) => ChosenEndpoint::of(&file, listen, number, table, validation),
            (Some(_), Some(_)) => Err(Failure::new(format!(
                "--endpoint: {file} has several endpoints of this name or path; set different names"
            ))),
            (None, _) if others.is_empty() => {
                Err(Failure::new(format!("--endpoint: {file} has no endpoints; add an [[endpoint]]")))
            }
            (None, _) => Err(Failure::new(format!(
                "--endpoint: {file} has no endpoint {:?}; pass one of {}",
                cut(wanted),
                others.join(", ")
            ))),
        }
    }

    fn of(
        file: &str,
        listen: ReceiverUrl,
        number: usize,
        table: toml::Table,
        validation: Validation,
    ) -> Result<Self, Failure> {
        let (mut keys, path, name) = identity(file, number, table)?;
        let reuse = keys.flag("reuse_secret")?;
        let Provided { source, freshness, groups, .. } = provider::take(&mut keys, &name, reuse, validation)?;
        let mut endpoint = endpoint(source);
        endpoint.freshness = freshness;
        endpoint.body_limit = keys.count("body_limit")?;
        let under = |key: &str| {
            let group = groups.iter().filter(|group| group.key == key).flat_map(|group| &group.secrets);
            group.map(|named| named.secret.clone()).collect()
        };
        let warnings = groups.iter().flat_map(|group| &group.secrets).filter_map(|named| named.warning()).collect();
        Ok(ChosenEndpoint {
            secrets: under("secrets"),
            test_secrets: under("test_secrets"),
            also_secrets: under("also_secrets"),
            endpoint,
            listen,
            path,
            warnings,
        })
    }

    /// Returns the URL of the endpoint at a receiver on this machine. `option` is the one that replaces it.
    pub(crate) fn url(&self, option: &str) -> Result<String, Failure> {
        let ReceiverUrl { address, scheme } = self.listen;
        if address.ip().is_loopback() && address.port() != 0 {
            return Ok(format!("{scheme}://{address}{}", self.path));
        }
        Err(Failure::new(format!(
            "pass {option}: `listen` of the config file is {address}, not a loopback address with a port"
        )))
    }
}

/// Returns the endpoint without its secrets. Names of headers are in lower case, as recorded heads are compared.
fn endpoint(source: Source) -> Endpoint {
    match source {
        Source::Known(facts, options) => {
            let mut endpoint = Endpoint::new(facts.name);
            endpoint.mode = options.mode;
            endpoint.scheme = options.scheme;
            endpoint.header = options.header.map(|name| name.to_ascii_lowercase());
            endpoint.prefix = options.prefix;
            endpoint.encoding = options.encoding;
            endpoint.pin_kind = options.pin_kind;
            endpoint.also_header = options.also_header.map(|name| name.to_ascii_lowercase());
            endpoint
        }
        Source::Custom(options) => {
            let mut signing = options.signing();
            signing.make_headers_lowercase();
            let mut custom = CustomProvider::new(signing);
            // The kind and the time of a CloudEvent have fixed places. Its id has two, so a sample has none.
            let is_structured = options.is_structured();
            let fixed = |pointer: &str| is_structured.then(|| pointer.to_owned());
            custom.kind_pointer = fixed("/type").or(options.kind_pointer);
            custom.time_pointer = fixed("/time").or(options.time_pointer);
            custom.id_pointer = options.id_pointer;
            custom.known_kinds = options.known_kinds;
            Endpoint::custom(&options.name, custom)
        }
    }
}
