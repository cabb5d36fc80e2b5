//! Connections to the server.
//!
//! With redis' `ConnectionManager` (1.8), five of the tests of the Redis store without TLS failed: every operation that
//! finds its connection broken fails (<https://github.com/redis-rs/redis-rs/issues/1415>), and a connection on which
//! the server does not answer is kept. Here an operation that finds its connection broken is repeated on a new one.
//! Every operation on a claim is idempotent. A record of deliveries may count a repeated operation twice.
//!
//! TLS is set up here because redis uses rustls' default crypto provider and panics in a process that has none or two:
//! <https://github.com/redis-rs/redis-rs/issues/1812>. The process of `tests/stores/servers/tls.rs` has two.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisError, ServerErrorKind,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::super::url;
use super::inspect::{self, CLUSTER, Requirements, Unmet};
use crate::{ConfigError, StoreError};

/// A few connections, each shared by concurrent operations.
pub(super) struct Links {
    server: Server,
    requirements: Requirements,
    links: Box<[Mutex<Option<Arc<Link>>>]>,
    next: AtomicUsize,
    step_timeout: Duration,
}

impl Links {
    pub(super) fn new(server: Server, requirements: Requirements, number: usize, step_timeout: Duration) -> Arc<Self> {
        let links = std::iter::repeat_with(Mutex::default).take(number).collect();
        Arc::new(Links { server, requirements, links, next: AtomicUsize::new(0), step_timeout })
    }

    /// Sends commands and returns their answers. Repeats them on another connection if the first is broken. Fails if
    /// the server does not meet the requirements; with `may_be_evicted`, a server that may evict events is accepted.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        commands: &Pipeline,
        may_be_evicted: bool,
    ) -> Result<T, LinkError> {
        let asked = self.ask_until_answered(commands, may_be_evicted);
        timeout(self.step_timeout, asked).await.unwrap_or(Err(LinkError::NoAnswer))
    }

    async fn ask_until_answered<T: FromRedisValue>(
        &self,
        commands: &Pipeline,
        may_be_evicted: bool,
    ) -> Result<T, LinkError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let slot = self.links.get(turn % self.links.len()).ok_or(LinkError::NoAnswer)?;
        let mut tries: u32 = 1;
        loop {
            // A connection can also break while it is being made.
            match self.try_once(slot, commands, may_be_evicted).await {
                Err(LinkError::With(error)) if error.is_unrecoverable_error() && tries < MOST_TRIES => tries += 1,
                // The first try had no effect; an earlier one whose answer was lost may have had one.
                Err(LinkError::With(error)) if tries == 1 && is_out_of_memory(&error) => {
                    return Err(LinkError::Full(error));
                }
                answered => return answered,
            }
        }
    }

    async fn try_once<T: FromRedisValue>(
        &self,
        slot: &Mutex<Option<Arc<Link>>>,
        commands: &Pipeline,
        may_be_evicted: bool,
    ) -> Result<T, LinkError> {
        let link = self.link(slot).await?;
        let answered = async {
            if !may_be_evicted {
                link.check(&self.requirements).await?;
            }
            Ok(link.ask(commands).await?)
        };
        let answered = answered.await;
        if answered.as_ref().is_err_and(LinkError::is_of_the_connection) {
            let mut slot = slot.lock().await;
            if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, &link)) {
                *slot = None;
            }
        }
        answered
    }

    /// Returns the connection of a slot. Connects if there is none, or if it seems to be broken.
    async fn link(&self, slot: &Mutex<Option<Arc<Link>>>) -> Result<Arc<Link>, LinkError> {
        let mut slot = slot.lock().await;
        if let Some(link) = &*slot
            && link.is_responsive(self.step_timeout).await
        {
            return Ok(link.clone());
        }
        *slot = None;
        let link = Arc::new(self.server.connect().await?);
        match link.inspect(&self.requirements).await {
            Err(LinkError::Unmet(Unmet::Eviction(_))) | Ok(()) => {}
            Err(failed) => return Err(failed),
        }
        *slot = Some(link.clone());
        Ok(link)
    }
}

const MOST_TRIES: u32 = 3;

/// The reason why an operation has no answer.
#[derive(Debug)]
pub(super) enum LinkError {
    NoAnswer,
    Tls(Box<str>),
    Unmet(Unmet),
    /// The server is out of memory, and the operation had no effect.
    Full(RedisError),
    With(RedisError),
}

impl From<RedisError> for LinkError {
    fn from(error: RedisError) -> Self {
        LinkError::With(error)
    }
}

impl From<std::io::Error> for LinkError {
    fn from(error: std::io::Error) -> Self {
        LinkError::With(error.into())
    }
}

impl LinkError {
    pub(super) fn is_no_script(&self) -> bool {
        matches!(self, LinkError::With(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
    }

    pub(super) fn into_store_error(self, step: &str) -> StoreError {
        let line = format!("Redis: {step}: {}", self.describe());
        match self {
            LinkError::Full(error) => StoreError::full_with(line).with_source(error),
            LinkError::With(error) => StoreError::unavailable(line).with_source(error),
            _ => StoreError::unavailable(line),
        }
    }

    pub(super) fn into_config_error(self, problem: &str) -> ConfigError {
        let line = match &self {
            LinkError::Unmet(unmet) => format!("Redis: {}", unmet.line()),
            _ => format!("Redis: {problem}: {}", self.describe()),
        };
        match self {
            LinkError::Full(error) | LinkError::With(error) => ConfigError::new(line).with_source(error),
            _ => ConfigError::new(line),
        }
    }

    /// Returns whether the operation may succeed on a new connection.
    fn is_of_the_connection(&self) -> bool {
        match self {
            LinkError::With(error) => is_of_the_connection(error),
            LinkError::Unmet(unmet) => matches!(unmet, Unmet::Role(_)),
            LinkError::NoAnswer | LinkError::Tls(_) | LinkError::Full(_) => false,
        }
    }

    /// Describes the error in one line that contains nothing of the URL.
    pub(super) fn describe(&self) -> String {
        let text = match self {
            LinkError::NoAnswer => "no answer in time".to_owned(),
            LinkError::Tls(problem) => format!("TLS: {problem}"),
            LinkError::Unmet(unmet) => unmet.line().to_owned(),
            LinkError::Full(error) | LinkError::With(error) => match error.kind() {
                ErrorKind::AuthenticationFailed => "wrong user name or password".to_owned(),
                ErrorKind::Server(ServerErrorKind::Moved) => CLUSTER.to_owned(),
                _ => match error.clone().into_server_errors().as_deref() {
                    Some([(_, error), ..]) => format!("{} {}", error.code(), error.details().unwrap_or_default()),
                    _ => error.to_string(),
                },
            },
        };
        // The errors of scripts end with the script's digest and the line.
        let line = text.split(['\n', '\r']).next().unwrap_or_default();
        line.split(" script: ").next().unwrap_or_default().trim_end().to_owned()
    }
}

/// Returns whether the operation may succeed on a new connection: this one is broken, or the server cannot accept
/// writes now and the host name may lead to another one.
fn is_of_the_connection(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly};
    let elsewhere = [BusyLoading, ClusterDown, MasterDown, ReadOnly];
    error.is_unrecoverable_error() || elsewhere.into_iter().any(|kind| error.kind() == ErrorKind::Server(kind))
}

/// Returns whether the server rejected a write because it has no memory left.
fn is_out_of_memory(error: &RedisError) -> bool {
    let errors = error.clone().into_server_errors();
    errors.as_deref().and_then(<[_]>::first).is_some_and(|(_, error)| {
        // Redis 6 wraps the errors of a script's commands.
        error.code() == "OOM" || error.details().is_some_and(|details| details.contains("-OOM "))
    })
}

/// One connection, closed when it is no longer in use.
struct Link {
    connection: MultiplexedConnection,
    driver: AbortHandle,
    activity: Lock<Activity>,
    inspection: Lock<Inspection>,
    /// Held during an inspection.
    inspecting: Mutex<()>,
}

/// The last inspection of the server.
struct Inspection {
    at: Instant,
    unmet: Option<Unmet>,
}

struct Activity {
    last_answer: Instant,
    /// The time at which the first command since the last answer was sent.
    silent_since: Option<Instant>,
}

impl Link {
    async fn ask<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, RedisError> {
        self.activity().silent_since.get_or_insert_with(Instant::now);
        let answer = commands.query_async(&mut self.connection.clone()).await;
        *self.activity() = Activity { last_answer: Instant::now(), silent_since: None };
        answer
    }

    /// Fails if the server does not meet the requirements. One of the concurrent operations inspects the server if that
    /// is due: at the interval, and each time while a requirement is not met.
    async fn check(&self, requirements: &Requirements) -> Result<(), LinkError> {
        let (age, unmet) = {
            let inspection = self.inspection();
            (inspection.at.elapsed(), inspection.unmet.clone())
        };
        let due = unmet.is_some() || (age >= requirements.check_every && !requirements.allow_eviction);
        match self.inspecting.try_lock() {
            Ok(_inspecting) if due => self.inspect(requirements).await,
            _ => unmet.map_or(Ok(()), |unmet| Err(LinkError::Unmet(unmet))),
        }
    }

    async fn inspect(&self, requirements: &Requirements) -> Result<(), LinkError> {
        let unmet = self.unmet(requirements).await?;
        *self.inspection() = Inspection { at: Instant::now(), unmet: unmet.clone() };
        unmet.map_or(Ok(()), |unmet| Err(LinkError::Unmet(unmet)))
    }

    async fn unmet(&self, requirements: &Requirements) -> Result<Option<Unmet>, RedisError> {
        let info = inspect::if_permitted(self.ask::<(String,)>(&inspect::info()).await)?;
        let (info,) = info.unwrap_or_default();
        if let Err(unmet) = inspect::check_role(&info) {
            return Ok(Some(unmet));
        }
        if requirements.allow_eviction {
            return Ok(None);
        }
        let policy = match inspect::policy(&info) {
            Some(policy) => Some(policy),
            None => {
                let pair = inspect::if_permitted(self.ask::<(Vec<String>,)>(&inspect::config()).await)?;
                pair.and_then(|(pair,)| pair.into_iter().nth(1))
            }
        };
        Ok(inspect::check_policy(policy.as_deref()).err())
    }

    fn inspection(&self) -> MutexGuard<'_, Inspection> {
        self.inspection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the server answers on this connection. Callers that time out record nothing, so this depends on
    /// how long commands have been without an answer.
    async fn is_responsive(&self, longest: Duration) -> bool {
        let (idle, silent) = {
            let activity = self.activity();
            (activity.last_answer.elapsed(), activity.silent_since.map(|since| since.elapsed()))
        };
        match silent {
            Some(silent) => silent < longest,
            None if idle < LONG_IDLE => true,
            // Firewalls drop idle connections without notice.
            None => {
                let mut ping = redis::pipe();
                ping.cmd("PING").ignore();
                matches!(timeout(LONGEST_PING, self.ask::<()>(&ping)).await, Ok(Ok(())))
            }
        }
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const LONG_IDLE: Duration = Duration::from_secs(10);
const LONGEST_PING: Duration = Duration::from_secs(1);

impl Drop for Link {
    fn drop(&mut self) {
        // The driver would otherwise wait for answers that may never arrive.
        self.driver.abort();
    }
}

/// The address of the server, and the settings with which a connection begins.
pub(super) struct Server {
    address: ServerAddress,
    settings: RedisConnectionInfo,
}

enum ServerAddress {
    Tcp {
        host: String,
        port: u16,
        tls: Option<TlsConnector>,
    },
    #[cfg_attr(not(unix), allow(dead_code, reason = "other systems have no such sockets"))]
    Unix(PathBuf),
}

impl Server {
    pub(super) fn new(url: &str, root_certificates: Option<&PathBuf>) -> Result<Self, ConfigError> {
        let invalid = |problem: &str| ConfigError::new(format!("Redis: invalid URL: {problem}"));
        url::check(url, SCHEMES, PARAMETERS).map_err(|problem| invalid(&problem))?;
        // The library is built without TLS and rejects URLs with it.
        let plain = url.strip_prefix("rediss://").or_else(|| url.strip_prefix("valkeys://"));
        let with_tls = plain.is_some();
        let plain = plain.map_or_else(|| url.to_owned(), |rest| format!("redis://{rest}"));
        let info = plain.into_connection_info().map_err(|error| invalid(&LinkError::With(error).describe()))?;
        let address = match info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                let tls = with_tls.then(|| tls(root_certificates)).transpose()?;
                ServerAddress::Tcp { host: host.clone(), port: *port, tls }
            }
            ConnectionAddr::Unix(path) => ServerAddress::Unix(path.clone()),
            _ => return Err(invalid("unsupported type of address")),
        };
        Ok(Server { address, settings: info.redis_settings().clone() })
    }

    async fn connect(&self) -> Result<Link, LinkError> {
        timeout(LONGEST_CONNECT, self.connect_in_time()).await.unwrap_or(Err(LinkError::NoAnswer))
    }

    async fn connect_in_time(&self) -> Result<Link, LinkError> {
        match &self.address {
            ServerAddress::Tcp { host, port, tls } => {
                let stream = TcpStream::connect((&**host, *port)).await?;
                stream.set_nodelay(true)?;
                match tls {
                    None => self.handshake(stream).await,
                    Some(tls) => {
                        let name = ServerName::try_from(host.clone());
                        let name = name.map_err(|_| LinkError::Tls("the host is not a valid name".into()))?;
                        let stream = tls.connect(name, stream).await;
                        self.handshake(stream.map_err(|error| LinkError::Tls(error.to_string().into()))?).await
                    }
                }
            }
            #[cfg(unix)]
            ServerAddress::Unix(path) => self.handshake(tokio::net::UnixStream::connect(path).await?).await,
            #[cfg(not(unix))]
            ServerAddress::Unix(_) => Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into()),
        }
    }

    async fn handshake(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Link, LinkError> {
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(BUFFER);
        let (connection, driver) = MultiplexedConnection::new_with_config(&self.settings, stream, config).await?;
        let driver = tokio::spawn(driver).abort_handle();
        Ok(Link {
            connection,
            driver,
            activity: Lock::new(Activity { last_answer: Instant::now(), silent_since: None }),
            inspection: Lock::new(Inspection { at: Instant::now(), unmet: None }),
            inspecting: Mutex::new(()),
        })
    }
}

const SCHEMES: &[&str] = &["redis", "rediss", "valkey", "valkeys", "redis+unix", "valkey+unix", "unix"];
const PARAMETERS: &[&str] = &["db", "pass", "protocol", "user"];
const LONGEST_CONNECT: Duration = Duration::from_secs(2);
const BUFFER: usize = 1024;

/// Sets up TLS with a crypto provider of its own, independent of the process's default provider.
fn tls(root_certificates: Option<&PathBuf>) -> Result<TlsConnector, ConfigError> {
    let mut roots = rustls::RootCertStore::empty();
    match root_certificates {
        Some(file) => {
            let fails = || ConfigError::new(format!("Redis: cannot read certificates from {}", file.display()));
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| fails().with_source(error))? {
                let certificate = certificate.map_err(|error| fails().with_source(error))?;
                roots.add(certificate).map_err(|error| fails().with_source(error))?;
            }
            if roots.is_empty() {
                return Err(fails());
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        return Err(ConfigError::new("Redis: TLS: the system has no root certificates; set `root_certificates`"));
    }
    let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::new("Redis: cannot set up TLS").with_source(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_error(kind: ServerErrorKind) -> LinkError {
        LinkError::With(RedisError::from((ErrorKind::Server(kind), "the server's message")))
    }

    #[test]
    fn errors_are_described_for_the_operator() {
        let wrong_password =
            LinkError::With(RedisError::from((ErrorKind::AuthenticationFailed, "the server's message")));
        for (failed, description) in [
            (LinkError::NoAnswer, "no answer in time"),
            (LinkError::Tls("no such name".into()), "TLS: no such name"),
            (wrong_password, "wrong user name or password"),
            (LinkError::Unmet(Unmet::Role("a replica")), "a replica"),
            (
                server_error(ServerErrorKind::Moved),
                "the server is a node of a Redis Cluster; use a single server or a proxy",
            ),
        ] {
            assert_eq!(failed.describe(), description);
        }
    }

    #[test]
    fn errors_that_a_new_connection_may_resolve_are_recognized() {
        use ServerErrorKind::{BusyLoading, ClusterDown, ExecAbort, MasterDown, NoScript, ReadOnly};
        let is_of_it = |kind| match server_error(kind) {
            LinkError::With(error) => is_of_the_connection(&error),
            _ => unreachable!(),
        };
        for kind in [BusyLoading, ClusterDown, MasterDown, ReadOnly] {
            assert!(is_of_it(kind), "{kind:?}");
        }
        for kind in [ExecAbort, NoScript] {
            assert!(!is_of_it(kind), "{kind:?}");
        }
        assert!(is_of_the_connection(&std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()));
    }

    #[test]
    fn out_of_memory_is_recognized_in_the_answers_of_all_versions() {
        let error = |answer: &str| {
            let value = redis::parse_redis_value(format!("-{answer}\r\n").as_bytes()).unwrap();
            value.extract_error().unwrap_err()
        };
        const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";
        let redis_6 = "ERR Error running script (call to f_0a): @user_script:28: @user_script: 28: -";
        for answer in [OOM.to_owned(), format!("{OOM} script: 0a, on @user_script:28."), format!("{redis_6}{OOM}")] {
            assert!(is_out_of_memory(&error(&answer)), "{answer}");
        }
        for answer in ["ERR not an event of this version of medhook", "MISCONF Redis is configured to save snapshots"] {
            assert!(!is_out_of_memory(&error(answer)), "{answer}");
        }
        assert!(!is_out_of_memory(&std::io::Error::from(std::io::ErrorKind::OutOfMemory).into()));
    }
}
