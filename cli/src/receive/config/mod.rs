//! Reads the config file: its keys, their defaults, and the message for every mistake.
//!
//! - `listener`: the addresses to listen on, their TLS, and the limits of connections
//! - `operations`: the address of health checks, and the operator's page
//! - `store`, `inbox`: the store, and the durable inbox in it
//! - `placed`: a value and its place, for messages
//! - `endpoint`: an endpoint, with `settings` of all providers, and `forward`: where its events are sent
//! - `origin`: the file itself; `mistakes`: the mistakes in it

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod endpoint;
mod forward;
mod inbox;
mod listener;
mod mistakes;
mod operations;
mod origin;
mod placed;
mod settings;
mod store;

use std::collections::HashSet;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use toml::Table;

use self::endpoint::Reading;
pub(in crate::receive) use self::endpoint::{EndpointConfig, identity};
pub(in crate::receive) use self::inbox::{BodiesConfig, InboxConfig, keep};
use self::listener::{LISTEN, MOST_CONNECTIONS};
pub(in crate::receive) use self::listener::{ReceiverUrl, receiver_url};
pub(in crate::receive) use self::mistakes::Mistakes;
pub(in crate::receive) use self::operations::{OperationsConfig, PageConfig, check_token, token_is_unique};
pub(in crate::receive) use self::origin::{ConfigOrigin, open};
use self::origin::{LONGEST, unreadable};
pub(in crate::receive) use self::placed::Placed;
pub(in crate::receive) use self::store::take as store;
use super::keys::TableKeys;
use super::secrets::{Named, access_warnings, no_secret_twice};
use super::store::StoreConfig;
use super::tls::CertificateSource;
use crate::failure::Failure;
use crate::server::Limits;

/// A valid config file. Its port is not yet bound, and its store is not yet open.
pub(in crate::receive) struct Config {
    pub(in crate::receive) listen: Placed<SocketAddr>,
    pub(in crate::receive) store: Placed<StoreConfig>,
    /// The form in which bodies are stored. Set if an endpoint has an inbox.
    pub(in crate::receive) bodies: Option<BodiesConfig>,
    pub(in crate::receive) limits: Limits,
    pub(in crate::receive) tls: Option<CertificateSource>,
    /// Maximum number of open connections of one client address.
    pub(in crate::receive) per_address: Option<usize>,
    pub(in crate::receive) operations: Option<OperationsConfig>,
    /// The time for which connections are still accepted after SIGTERM.
    pub(in crate::receive) drain_delay: Duration,
    pub(in crate::receive) shutdown: Duration,
    pub(in crate::receive) endpoints: Vec<EndpointConfig>,
    /// One line for each secret whose text looks like a mistake.
    pub(in crate::receive) warnings: Vec<String>,
    /// Whether the file itself has the password of the store.
    holds_password: bool,
    /// The secrets that are read at the start only.
    pub(in crate::receive) read_at_start: Vec<Named>,
    /// The file, unless the content was passed.
    pub(in crate::receive) origin: Option<ConfigOrigin>,
}

/// The options of the command line that replace keys of the file.
#[derive(Debug, Default)]
pub(in crate::receive) struct Overrides {
    pub(in crate::receive) listen: Option<String>,
    pub(in crate::receive) store: Option<String>,
}

impl Config {
    /// Reads the config file at a path.
    pub(in crate::receive) fn load(path: &Path, overrides: Overrides) -> Result<Self, Failure> {
        Config::check_file(path, overrides).map_err(|mistakes| mistakes.first)
    }

    /// Reads the config file at a path, and collects the mistakes of all endpoints.
    pub(in crate::receive) fn check_file(path: &Path, overrides: Overrides) -> Result<Self, Mistakes> {
        let (origin, text) = ConfigOrigin::read(path)?;
        let mut config = Config::check(origin.file(), &text[..], overrides)?;
        if config.holds_password && origin.is_open_to_others() {
            config.warnings.push(config.store.wrong(PASSWORD_IN_OPEN_FILE).to_string());
        }
        Ok(Config { origin: Some(origin), ..config })
    }

    /// Reads the content of a config file. `file` is its name, for messages.
    pub(in crate::receive) fn read(file: &str, content: impl Read, overrides: Overrides) -> Result<Self, Failure> {
        Config::check(file, content, overrides).map_err(|mistakes| mistakes.first)
    }

    /// Reads the content of a config file, and collects the mistakes of all endpoints.
    pub(in crate::receive) fn check(file: &str, content: impl Read, overrides: Overrides) -> Result<Self, Mistakes> {
        let mut found = Vec::new();
        let mut keys = top(file, content)?;
        let listen = listener::placed(&mut keys, "listen", overrides.listen, LISTEN)?;
        let (store, store_secret) = store::take(&mut keys, overrides.store)?;
        // A URL with a password is rejected in `--store`.
        let holds_password = store_secret.is_none() && store.value.has_password();
        let bodies = BodiesConfig::take(&mut keys).map_err(|failure| found.push(failure)).unwrap_or_default();
        let listen = listener::address(listen, LISTEN)?;
        let tls = CertificateSource::take(&mut keys)?;
        let per_address = listener::per_address(&mut keys, tls.is_some())?;
        let operations = OperationsConfig::take(&mut keys)?;
        let mut limits = Limits { half_close: true, ..Limits::default() };
        limits.connections = keys.count("max_connections")?.unwrap_or(limits.connections);
        if limits.connections > MOST_CONNECTIONS {
            return Err(keys.wrong("max_connections", format_args!("must be at most {MOST_CONNECTIONS}")).into());
        }
        limits.head = keys.duration("idle_timeout")?.unwrap_or(limits.head);
        let drain_delay = keys.delay("drain_delay")?.unwrap_or(DRAIN_DELAY);
        let shutdown = keys.duration("shutdown_timeout")?.unwrap_or(SHUTDOWN);

        let mut read = Reading { file, endpoints: Vec::new() };
        for (number, table) in endpoints(&mut keys)? {
            found.extend(read.endpoint(number, table).err().into_iter().flatten());
        }
        Mistakes::fail(found)?;
        if read.endpoints.is_empty() {
            return Err(keys.wrong("endpoint", "missing; add at least one [[endpoint]]").into());
        }
        let groups: Vec<_> = read.endpoints.iter().flat_map(|endpoint| &endpoint.secrets.groups).collect();
        let signing: Vec<_> = read.endpoints.iter().flat_map(|endpoint| &endpoint.secrets.signing).collect();
        no_secret_twice(&groups, &signing)?;
        let token = operations.as_ref().and_then(OperationsConfig::token);
        let others = groups.iter().chain(&signing).flat_map(|group| &group.secrets);
        let others = others.chain(&store_secret).chain(bodies.iter().flat_map(BodiesConfig::secrets));
        token_is_unique(token, others.clone())?;
        no_duplicates(&read.endpoints)?;
        inboxes_have_a_store(&read.endpoints, &store, bodies.as_ref())?;
        let mut warnings: Vec<_> = read.endpoints.iter().flat_map(|endpoint| endpoint.secrets.warnings()).collect();
        warnings.extend(read.endpoints.iter().filter_map(|endpoint| endpoint.secrets.authorization_warning()));
        warnings.extend(store_secret.iter().filter_map(Named::warning));
        warnings.extend(read.endpoints.iter().filter_map(|endpoint| endpoint.forward.as_ref()?.warning.clone()));
        warnings.extend(bodies.iter().flat_map(BodiesConfig::warnings));
        let read_at_start = store_secret.iter().chain(bodies.iter().flat_map(BodiesConfig::secrets));
        let read_at_start = read_at_start.cloned().collect();
        warnings.extend(token.and_then(Named::warning));
        warnings.extend(access_warnings(others.chain(token)));
        let certificates = tls.iter().chain(operations.as_ref().and_then(|operations| operations.tls.as_ref()));
        warnings.extend(certificates.flat_map(|tls| tls.warnings(SystemTime::now())));
        Ok(Config {
            listen,
            store,
            bodies,
            limits,
            tls,
            per_address,
            operations,
            drain_delay,
            shutdown,
            endpoints: read.endpoints,
            warnings,
            holds_password,
            read_at_start,
            origin: None,
        })
    }
}

/// Reads the top level of a config file.
pub(in crate::receive) fn top(file: &str, content: impl Read) -> Result<TableKeys, Failure> {
    let mut text = String::new();
    let content = content.take(LONGEST + 1).read_to_string(&mut text);
    content.map_err(|error| unreadable(file, error))?;
    if text.len() as u64 > LONGEST {
        return Err(Failure::new(format!("{file}: longer than {LONGEST} bytes")));
    }
    let keys = TableKeys::parse(file, &text)?;
    keys.all_known(TOP)?;
    Ok(keys)
}

/// Takes the tables of the endpoints, and their numbers.
pub(in crate::receive) fn endpoints(
    keys: &mut TableKeys,
) -> Result<impl Iterator<Item = (usize, Table)> + use<>, Failure> {
    Ok((1..).zip(keys.tables("endpoint", "written as [[endpoint]]")?))
}

/// The keys at the top level of the file.
const TOP: &[&str] = &[
    "listen",
    "tls",
    "store",
    "max_connections",
    "max_connections_per_address",
    "idle_timeout",
    "drain_delay",
    "shutdown_timeout",
    "inbox_key",
    "allow_plaintext_bodies",
    "allow_plaintext_operations",
    "operations",
    "endpoint",
];

/// The advice about a config file with a password.
const PASSWORD_IN_OPEN_FILE: &str = "the URL has a password, and the mode of this file lets other users access it; \
                                     restrict it with chmod o-rwx, or keep the URL in a file of its own";

/// Long enough for load balancers that check readiness every second or two.
const DRAIN_DELAY: Duration = Duration::from_secs(5);
const SHUTDOWN: Duration = Duration::from_secs(30);

/// Fails if two endpoints have the same path or name.
fn no_duplicates(endpoints: &[EndpointConfig]) -> Result<(), Failure> {
    let (mut paths, mut names) = (HashSet::new(), HashSet::new());
    for EndpointConfig { place, path, name, .. } in endpoints {
        if !paths.insert(path) {
            return Err(Failure::new(format!(
                "{place}: `path`: another endpoint has the same path; change one of them"
            )));
        }
        if !names.insert(name) {
            return Err(Failure::new(format!(
                "{place}: `name`: another endpoint has the name {name} as well; set different names, which are part \
                 of the keys in the store"
            )));
        }
    }
    Ok(())
}

/// Checks that the store can hold the inboxes of these endpoints, and that it is known how their bodies are kept.
fn inboxes_have_a_store(
    endpoints: &[EndpointConfig],
    store: &Placed<StoreConfig>,
    bodies: Option<&BodiesConfig>,
) -> Result<(), Failure> {
    let Some(endpoint) = endpoints.iter().find(|endpoint| endpoint.inbox.is_some()) else {
        return match bodies {
            Some(bodies) => Err(bodies.wrong(
                "is set, but no endpoint has `inbox = true`; set it, or, if `medhook inbox stats` shows no events, \
                 remove this key",
            )),
            None => Ok(()),
        };
    };
    if !store.value.has_inbox() {
        return Err(store.wrong("an inbox requires a SQLite or PostgreSQL store, such as \"sqlite:medhook.db\""));
    }
    if bodies.is_none() {
        return Err(Failure::because(
            format_args!("{}: `inbox`", endpoint.place),
            "requires a key that seals the stored bodies; set `inbox_key = { file = \"/run/secrets/inbox\" }` at the \
             top of the file, with a key from `openssl rand -base64 32`, or `allow_plaintext_bodies = true`",
        ));
    }
    Ok(())
}
