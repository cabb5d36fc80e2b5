//! Reads the config file: its keys, their defaults, and the message for every mistake.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use medhook::sign::Signer;
use medhook::{Builder, DedupeStore, OnStoreError, Receiver, StandardWebhooks};
use toml::Table;

use super::forward::ForwardUrl;
use super::keys::{TableKeys, cut, in_units, is_name};
use super::path;
use super::provider::{self, Classify};
use super::secrets::{self, Group, no_secret_twice};
use super::store::{StoreConfig, Url};
use crate::failure::Failure;
use crate::server::Limits;
use crate::sources::Validation;

/// A valid config file. Its port is not yet bound, and its store is not yet open.
pub(super) struct Config {
    pub(super) listen: Placed<SocketAddr>,
    pub(super) store: Placed<StoreConfig>,
    pub(super) limits: Limits,
    /// The separate address of health checks, where deliveries cannot delay them.
    pub(super) operations: Option<Placed<SocketAddr>>,
    /// The time for which connections are still accepted after SIGTERM.
    pub(super) drain_delay: Duration,
    pub(super) shutdown: Duration,
    pub(super) endpoints: Vec<EndpointConfig>,
    /// One line for each secret whose text looks like a mistake.
    pub(super) warnings: Vec<String>,
}

/// A value and its place in the config file or the arguments, for messages.
pub(super) struct Placed<T> {
    pub(super) place: String,
    pub(super) value: T,
}

impl<T> Placed<T> {
    pub(super) fn wrong(&self, problem: impl fmt::Display) -> Failure {
        Failure::because(&self.place, problem)
    }
}

/// The config of an endpoint, without the store.
pub(super) struct EndpointConfig {
    pub(super) place: String,
    pub(super) path: String,
    pub(super) name: String,
    pub(super) builder: Builder,
    pub(super) classify: Classify,
    pub(super) forward: Option<Forward>,
    /// Whether deliveries are rejected while the store is unavailable.
    pub(super) needs_store: bool,
    /// The longest usual time without a genuine delivery.
    pub(super) expect_every: Option<Duration>,
    pub(super) max_in_flight: usize,
}

/// An endpoint with its receiver.
pub(super) struct Ready {
    pub(super) path: String,
    pub(super) receiver: Receiver,
    pub(super) classify: Classify,
    pub(super) forward: Option<Forward>,
    pub(super) expect_every: Option<Duration>,
}

/// The destination of the events of an endpoint.
pub(super) struct Forward {
    pub(super) target: ForwardUrl,
    /// Signs the requests to the application.
    pub(super) signer: Option<Signer>,
}

/// The options of the command line that replace keys of the file.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    pub(super) listen: Option<String>,
    pub(super) store: Option<String>,
}

impl EndpointConfig {
    /// Builds the receiver with its store.
    pub(super) fn ready(self, store: Arc<dyn DedupeStore>) -> Result<Ready, Failure> {
        let receiver = self.builder.store(store).build();
        let receiver = receiver.map_err(|error| Failure::because(&self.place, error))?;
        Ok(Ready {
            path: self.path,
            receiver,
            classify: self.classify,
            forward: self.forward,
            expect_every: self.expect_every,
        })
    }
}

/// Describes the endpoint for the operator.
impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "endpoint {} at {}, provider {}, ", self.receiver.name(), self.path, self.receiver.provider())?;
        match &self.forward {
            Some(forward) => write!(f, "forwards to {}", forward.target)?,
            None => f.write_str("writes events to standard output")?,
        }
        match self.expect_every {
            Some(every) => write!(f, ", expects a delivery every {}", in_units(every)),
            None => Ok(()),
        }
    }
}

impl Config {
    /// Reads the config file at a path.
    pub(super) fn load(path: &Path, overrides: Overrides) -> Result<Self, Failure> {
        let (shown, file) = open(path)?;
        Config::read(&shown, file, overrides)
    }

    /// Reads the content of a config file. `file` is its name, for messages.
    pub(super) fn read(file: &str, content: impl Read, overrides: Overrides) -> Result<Self, Failure> {
        let mut keys = top(file, content)?;
        let listen = placed(&mut keys, "listen", overrides.listen, LISTEN)?;
        let (store, store_warning) = store(&mut keys, overrides.store)?;
        let listen = address(listen, LISTEN)?;
        let operations = operations(&mut keys)?;
        let mut limits = Limits { half_close: true, ..Limits::default() };
        limits.connections = keys.count("max_connections")?.unwrap_or(limits.connections);
        if limits.connections > MOST_CONNECTIONS {
            return Err(keys.wrong("max_connections", format_args!("must be at most {MOST_CONNECTIONS}")));
        }
        limits.head = keys.duration("idle_timeout")?.unwrap_or(limits.head);
        let drain_delay = keys.delay("drain_delay")?.unwrap_or(DRAIN_DELAY);
        let shutdown = keys.duration("shutdown_timeout")?.unwrap_or(SHUTDOWN);

        let mut read = Reading { file, endpoints: Vec::new(), groups: Vec::new(), signing: Vec::new() };
        for (number, table) in endpoints(&mut keys)? {
            read.endpoint(number, table)?;
        }
        if read.endpoints.is_empty() {
            return Err(keys.wrong("endpoint", "missing; add at least one [[endpoint]]"));
        }
        no_secret_twice(&read.groups, &read.signing)?;
        no_duplicates(&read.endpoints)?;
        let groups = read.groups.into_iter().chain(read.signing);
        let mut warnings: Vec<_> = groups.flat_map(|group| group.secrets).filter_map(|named| named.warning()).collect();
        warnings.extend(store_warning);
        Ok(Config { listen, store, limits, operations, drain_delay, shutdown, endpoints: read.endpoints, warnings })
    }
}

/// Opens a config file. Returns its name, for messages.
pub(super) fn open(path: &Path) -> Result<(String, File), Failure> {
    let shown = path.display().to_string();
    let file = File::open(path).map_err(|error| unreadable(&shown, error))?;
    Ok((shown, file))
}

/// Reads the top level of a config file.
pub(super) fn top(file: &str, content: impl Read) -> Result<TableKeys, Failure> {
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

/// Takes the address to listen on.
pub(super) fn listen(keys: &mut TableKeys) -> Result<SocketAddr, Failure> {
    Ok(address(placed(keys, "listen", None, LISTEN)?, LISTEN)?.value)
}

/// Takes the tables of the endpoints, and their numbers.
pub(super) fn endpoints(keys: &mut TableKeys) -> Result<impl Iterator<Item = (usize, Table)> + use<>, Failure> {
    Ok((1..).zip(keys.tables("endpoint", "written as [[endpoint]]")?))
}

/// Takes the path and the name of an endpoint.
pub(super) fn identity(file: &str, number: usize, table: Table) -> Result<(TableKeys, String, String), Failure> {
    let mut keys = TableKeys::within(format!("{file}: endpoint {number}"), table);
    let path = keys.text("path")?;
    if let Some(path) = &path {
        keys.rename(format!("{file}: endpoint {number} ({})", cut(path).escape_debug()));
    }
    let known: Vec<_> = ["path"].into_iter().chain(OF_ENDPOINT.iter().copied()).chain(provider::keys()).collect();
    keys.all_known(&known)?;
    let path = keys.needed("path", path)?;
    path::checked(&path).map_err(|problem| keys.wrong("path", problem))?;
    let name = name(&mut keys, &path)?;
    Ok((keys, path, name))
}

/// The default of `listen`.
const LISTEN: &str = "127.0.0.1:8787";

/// The longest config file, in bytes.
const LONGEST: u64 = 1024 * 1024;

/// The keys at the top level of the file.
const TOP: &[&str] = &[
    "listen",
    "store",
    "max_connections",
    "idle_timeout",
    "drain_delay",
    "shutdown_timeout",
    "operations",
    "endpoint",
];

/// The keys of every endpoint, besides [`provider::keys`].
const OF_ENDPOINT: &[&str] = &[
    "path",
    "name",
    "provider",
    "secrets",
    "reuse_secret",
    "body_limit",
    "body_timeout",
    "retention",
    "lease",
    "handler_timeout",
    "max_in_flight",
    "max_repeats",
    "on_store_error",
    "expect_every",
    "forward",
    "forward_secret",
    "forward_in_clear",
];

/// Long enough for load balancers that check readiness every second or two.
const DRAIN_DELAY: Duration = Duration::from_secs(5);
const SHUTDOWN: Duration = Duration::from_secs(30);

/// Each connection needs a file descriptor; by default systems allow a process at most about this many.
const MOST_CONNECTIONS: usize = 1_000_000;

/// No provider is documented to wait longer for an answer.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(60);
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The leases that a receiver accepts.
const LEASES: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// The shortest `expect_every` that a receiver accepts.
const SHORTEST_EXPECTATION: Duration = Duration::from_secs(60);

/// Each event in flight holds a body in memory, and a connection to the application.
const MAX_IN_FLIGHT: usize = 256;

fn unreadable(file: &str, error: std::io::Error) -> Failure {
    Failure::because(format_args!("{file}: cannot be read"), error)
}

fn placed(keys: &mut TableKeys, key: &str, instead: Option<String>, default: &str) -> Result<Placed<String>, Failure> {
    let text = keys.text(key)?;
    Ok(match instead {
        Some(value) => Placed { place: format!("--{key}"), value },
        None => {
            Placed { place: format!("{}: `{key}`", keys.place()), value: text.unwrap_or_else(|| default.to_owned()) }
        }
    })
}

fn address(text: Placed<String>, such_as: &str) -> Result<Placed<SocketAddr>, Failure> {
    match text.value.parse() {
        Ok(value) => Ok(Placed { place: text.place, value }),
        Err(_) => Err(text.wrong(format_args!("must be an IP address and a port, such as {such_as:?}"))),
    }
}

fn operations(keys: &mut TableKeys) -> Result<Option<Placed<SocketAddr>>, Failure> {
    let Some(table) = keys.table("operations", "a table, written as [operations]")? else {
        return Ok(None);
    };
    let mut inner = TableKeys::within(format!("{}: `operations`", keys.place()), table);
    inner.all_known(&["listen"])?;
    let listen = inner.text("listen")?;
    let listen = Placed { place: format!("{}: `listen`", inner.place()), value: inner.needed("listen", listen)? };
    address(listen, "127.0.0.1:8788").map(Some)
}

/// Reads the store: a URL, or a table that holds the URL or names its variable or file. `--store` replaces all of it.
///
/// Returns the warning about the URL, too, if its text looks like a mistake.
fn store(keys: &mut TableKeys, instead: Option<String>) -> Result<(Placed<StoreConfig>, Option<String>), Failure> {
    let (is_table, argument) = (keys.is_table("store"), instead.is_some());
    let table = if is_table { keys.table("store", STORE_SUCH_AS)? } else { None };
    if let Some(table) = table.filter(|_| !argument) {
        return store_in(TableKeys::within(format!("{}: `store`", keys.place()), table));
    }
    let store = placed(keys, "store", instead, "sqlite:medhook.db")?;
    let url = Url::parse(&store.value).map_err(|problem| store.wrong(problem))?;
    if argument && url.has_password() {
        return Err(store.wrong(
            "a password in an argument is visible in the process list; instead set \
             `store = { env = \"MEDHOOK_STORE\" }` or `store = { file = \"/run/secrets/store\" }` in the config file",
        ));
    }
    Ok((Placed { place: store.place, value: StoreConfig::new(url) }, None))
}

/// Reads the table of a store. A URL can hold a password, so the table can name its variable or file, as for a secret.
fn store_in(mut keys: TableKeys) -> Result<(Placed<StoreConfig>, Option<String>), Failure> {
    keys.all_known(&[OF_STORE, &["env", "file", "literal", "optional"]].concat())?;
    let place = keys.place().to_owned();
    let wrong = |problem: String| Failure::because(&place, problem);
    let number = keys.count("max_connections")?;
    let url = keys.text("url")?;
    if [url.is_some(), keys.has("env"), keys.has("file")].into_iter().filter(|is_set| *is_set).count() != 1 {
        return Err(wrong("must have exactly one of `url`, `env` and `file`".to_owned()));
    }
    if url.is_none() && keys.has("optional") {
        return Err(wrong("cannot be optional; remove `optional`".to_owned()));
    }
    let (url, named) = match url {
        Some(url) => {
            keys.all_taken("cannot be used together with `url`; remove it")?;
            (url, None)
        }
        None => match secrets::named(keys, Validation::Full)? {
            Some(named) => (named.secret.expose_secret().to_owned(), Some(named)),
            None => return Err(wrong("cannot be optional; remove `optional`".to_owned())),
        },
    };
    let url = Url::parse(&url).map_err(|problem| {
        let mistake = named.as_ref().and_then(|named| named.mistake);
        wrong(mistake.map_or_else(|| problem.clone(), |mistake| format!("{problem}; the text {mistake}")))
    });
    let mut store = StoreConfig::new(url?);
    if let Some(number) = number {
        store = store.max_connections(number).map_err(|problem| wrong(format!("`max_connections`: {problem}")))?;
    }
    Ok((Placed { place, value: store }, named.and_then(|named| named.warning())))
}

/// The expected form of a store's table, for messages.
const STORE_SUCH_AS: &str = "a table such as { url = \"sqlite:medhook.db\" }";

/// The keys of a store's table, besides those of a secret.
const OF_STORE: &[&str] = &["url", "max_connections"];

/// The endpoints that have been read so far.
struct Reading<'f> {
    file: &'f str,
    endpoints: Vec<EndpointConfig>,
    groups: Vec<Group>,
    /// Secrets that sign forwarded events.
    signing: Vec<Group>,
}

impl Reading<'_> {
    fn endpoint(&mut self, number: usize, table: Table) -> Result<(), Failure> {
        let (mut keys, path, name) = identity(self.file, number, table)?;
        let reuse = keys.flag("reuse_secret")?;
        let provided = provider::take(&mut keys, &name, reuse, Validation::Full)?;
        let mut builder = provided.builder;
        if let Some(bytes) = keys.count("body_limit")? {
            builder = builder.body_limit(bytes);
        }
        let body_timeout = keys.duration("body_timeout")?.unwrap_or(BODY_TIMEOUT);
        let handler_timeout = keys.duration("handler_timeout")?.unwrap_or(HANDLER_TIMEOUT);
        let max_in_flight = keys.count("max_in_flight")?.unwrap_or(MAX_IN_FLIGHT);
        builder = builder.body_timeout(body_timeout).handler_timeout(handler_timeout).max_in_flight(max_in_flight);
        if let Some(retention) = keys.duration("retention")? {
            builder = builder.retention(retention);
        }
        if let Some(lease) = keys.duration("lease")? {
            if !LEASES.contains(&lease) {
                return Err(keys.wrong("lease", "must be between 100ms and 1h"));
            }
            builder = builder.lease(lease);
        }
        let down = [("reject", OnStoreError::Reject), ("handle-unclaimed", OnStoreError::HandleUnclaimed)];
        let on_store_error = keys.choice("on_store_error", &down)?.unwrap_or_default();
        builder = builder.on_store_error(on_store_error);
        let expect_every = keys.duration("expect_every")?;
        if let Some(every) = expect_every {
            if every < SHORTEST_EXPECTATION {
                return Err(keys.wrong("expect_every", "must be at least 1m"));
            }
            builder = builder.expect_every(every);
        }
        let (forward, signing) = forward(&mut keys, reuse)?;
        keys.all_taken("does not apply to this `provider` and `scheme`; remove it")?;

        self.groups.extend(provided.groups);
        self.signing.extend(signing);
        let place = keys.place().to_owned();
        let needs_store = on_store_error == OnStoreError::Reject;
        self.endpoints.push(EndpointConfig {
            place,
            path,
            name,
            builder,
            classify: provided.classify,
            forward,
            needs_store,
            expect_every,
            max_in_flight,
        });
        Ok(())
    }
}

fn name(keys: &mut TableKeys, path: &str) -> Result<String, Failure> {
    if let Some(name) = keys.name("name")? {
        return Ok(name);
    }
    let made = Some(path::name(path)).filter(|name| is_name(name));
    made.ok_or_else(|| keys.wrong("name", "missing, and cannot be derived from this path; set it"))
}

/// Reads where events are forwarded to, and the secret that signs them.
fn forward(keys: &mut TableKeys, reuse: bool) -> Result<(Option<Forward>, Option<Group>), Failure> {
    let Some(url) = keys.text("forward")? else {
        return match ["forward_secret", "forward_in_clear"].into_iter().find(|key| keys.has(key)) {
            Some(key) => Err(keys.wrong(key, "requires `forward`; set it, or remove this key")),
            None => Ok((None, None)),
        };
    };
    let target = ForwardUrl::parse(&url).map_err(|problem| keys.wrong("forward", problem))?;
    let in_clear = keys.flag("forward_in_clear")?;
    if !target.is_loopback() && !in_clear {
        return Err(keys.wrong(
            "forward",
            "would send patient data unencrypted to another machine; if you trust the network in between, set \
             `forward_in_clear = true`",
        ));
    }
    let Some(named) = secrets::one(keys, "forward_secret")? else {
        return Ok((Some(Forward { target, signer: None }), None));
    };
    let signer = Signer::new(StandardWebhooks::new(), &named.secret);
    let signer = signer.map_err(|error| keys.wrong("forward_secret", error))?;
    Ok((
        Some(Forward { target, signer: Some(signer) }),
        Some(Group { key: "forward_secret", secrets: vec![named], reuse }),
    ))
}

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
