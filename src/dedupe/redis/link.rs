//! Connections to the server.
//!
//! With redis' `ConnectionManager` (1.8) 5 of the 36 tests of the Redis store without TLS fail: it fails each step that
//! meets a broken connection (<https://github.com/redis-rs/redis-rs/issues/1415>), and keeps a connection on which the
//! server does not answer. Here a step that finds its connection broken is done again on a new one. Every step may be
//! repeated.
//!
//! TLS is set up here, because redis takes rustls' default provider of cryptography, and panics in a process that has none
//! or two: <https://github.com/redis-rs/redis-rs/issues/1812>. The process of `tests/stores/servers/tls.rs` has two.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as Lock, PoisonError};
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
use crate::{ConfigError, StoreError};

/// A few connections, each shared by many steps.
pub(super) struct Links {
    server: Server,
    links: Box<[Mutex<Option<Arc<Link>>>]>,
    next: AtomicUsize,
    step_timeout: Duration,
}

impl Links {
    pub(super) fn new(server: Server, number: usize, step_timeout: Duration) -> Self {
        let links = std::iter::repeat_with(Mutex::default).take(number).collect();
        Links { server, links, next: AtomicUsize::new(0), step_timeout }
    }

    /// Sends commands and gives their answers; on another connection, if the first turns out to be broken.
    pub(super) async fn ask<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, LinkError> {
        timeout(self.step_timeout, self.ask_until_answered(commands)).await.unwrap_or(Err(LinkError::NoAnswer))
    }

    async fn ask_until_answered<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, LinkError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let place = self.links.get(turn % self.links.len()).ok_or(LinkError::NoAnswer)?;
        let mut tries: u32 = 1;
        loop {
            // A connection can break while it is made, too.
            let failed = match self.link(place).await {
                Ok(link) => match link.ask(commands).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => {
                        if is_of_the_connection(&error) {
                            let mut place = place.lock().await;
                            if place.as_ref().is_some_and(|current| Arc::ptr_eq(current, &link)) {
                                *place = None;
                            }
                        }
                        error
                    }
                },
                Err(LinkError::With(error)) => error,
                Err(failed) => return Err(failed),
            };
            if !failed.is_unrecoverable_error() || tries >= MOST_TRIES {
                return Err(LinkError::With(failed));
            }
            tries += 1;
        }
    }

    /// The connection of a place, made anew if there is none that could still be good.
    async fn link(&self, place: &Mutex<Option<Arc<Link>>>) -> Result<Arc<Link>, LinkError> {
        let mut place = place.lock().await;
        if let Some(link) = &*place
            && link.may_be_good(self.step_timeout).await
        {
            return Ok(link.clone());
        }
        *place = None;
        let link = Arc::new(self.server.connect().await?);
        *place = Some(link.clone());
        Ok(link)
    }
}

const MOST_TRIES: u32 = 3;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum LinkError {
    NoAnswer,
    Tls(Box<str>),
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
        let line = format!("Redis: {step}: {}", self.says());
        match self {
            LinkError::With(error) => StoreError::unavailable(line).with_source(error),
            _ => StoreError::unavailable(line),
        }
    }

    pub(super) fn into_config_error(self, what: &str) -> ConfigError {
        let line = format!("Redis: {what}: {}", self.says());
        match self {
            LinkError::With(error) => ConfigError::new(line).with_source(error),
            _ => ConfigError::new(line),
        }
    }

    /// One line, without anything of the URL.
    pub(super) fn says(&self) -> String {
        let text = match self {
            LinkError::NoAnswer => "no answer in time".to_owned(),
            LinkError::Tls(problem) => format!("TLS: {problem}"),
            LinkError::With(error) => match error.kind() {
                ErrorKind::AuthenticationFailed => "the password, or the user, is wrong".to_owned(),
                ErrorKind::Server(ServerErrorKind::Moved) => {
                    "a node of a Redis Cluster, and not the event's".to_owned()
                }
                _ => match error.clone().into_server_errors().as_deref() {
                    Some([(_, error), ..]) => format!("{} {}", error.code(), error.details().unwrap_or_default()),
                    _ => error.to_string(),
                },
            },
        };
        // Behind a script's error stands which script, and where in it.
        let line = text.split(['\n', '\r']).next().unwrap_or_default();
        line.split(" script: ").next().unwrap_or_default().trim_end().to_owned()
    }
}

/// Whether a new connection may do better: this one is broken, or leads to a server that is none for us (any more), and
/// the name may lead elsewhere by now.
fn is_of_the_connection(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly};
    let elsewhere = [BusyLoading, ClusterDown, MasterDown, ReadOnly];
    error.is_unrecoverable_error() || elsewhere.into_iter().any(|kind| error.kind() == ErrorKind::Server(kind))
}

/// One connection, closed when nobody uses it any more.
struct Link {
    connection: MultiplexedConnection,
    driver: AbortHandle,
    heard: Lock<Heard>,
}

struct Heard {
    last: Instant,
    /// When the oldest of what is not answered was asked.
    silent_since: Option<Instant>,
}

impl Link {
    async fn ask<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, RedisError> {
        self.heard().silent_since.get_or_insert_with(Instant::now);
        let answer = commands.query_async(&mut self.connection.clone()).await;
        *self.heard() = Heard { last: Instant::now(), silent_since: None };
        answer
    }

    /// Whoever gave up waiting left no word: how long the server has said nothing is what tells.
    async fn may_be_good(&self, longest: Duration) -> bool {
        let (quiet, silent) = {
            let heard = self.heard();
            (heard.last.elapsed(), heard.silent_since.map(|since| since.elapsed()))
        };
        match silent {
            Some(silent) => silent < longest,
            None if quiet < LONG_IDLE => true,
            // Firewalls forget quiet connections without a word.
            None => {
                let mut ping = redis::pipe();
                ping.cmd("PING").ignore();
                matches!(timeout(LONGEST_PING, self.ask::<()>(&ping)).await, Ok(Ok(())))
            }
        }
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const LONG_IDLE: Duration = Duration::from_secs(10);
const LONGEST_PING: Duration = Duration::from_secs(1);

impl Drop for Link {
    fn drop(&mut self) {
        // By itself it would wait for answers that may never come.
        self.driver.abort();
    }
}

/// Where the server is, and what it wants to hear first.
pub(super) struct Server {
    place: ServerPlace,
    settings: RedisConnectionInfo,
}

enum ServerPlace {
    Tcp {
        host: String,
        port: u16,
        tls: Option<TlsConnector>,
    },
    #[cfg_attr(not(unix), allow(dead_code, reason = "there are no such sockets elsewhere"))]
    Unix(PathBuf),
}

impl Server {
    pub(super) fn new(url: &str, root_certificates: Option<&PathBuf>) -> Result<Self, ConfigError> {
        let unreadable = |problem: &str| ConfigError::new(format!("Redis: its URL cannot be read: {problem}"));
        url::check(url, SCHEMES, PARAMETERS).map_err(|problem| unreadable(&problem))?;
        // The library is built without TLS, and knows no URLs with it.
        let plain = url.strip_prefix("rediss://").or_else(|| url.strip_prefix("valkeys://"));
        let with_tls = plain.is_some();
        let plain = plain.map_or_else(|| url.to_owned(), |rest| format!("redis://{rest}"));
        let info = plain.into_connection_info().map_err(|error| unreadable(&LinkError::With(error).says()))?;
        let place = match info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                let tls = with_tls.then(|| tls(root_certificates)).transpose()?;
                ServerPlace::Tcp { host: host.clone(), port: *port, tls }
            }
            ConnectionAddr::Unix(path) => ServerPlace::Unix(path.clone()),
            _ => return Err(unreadable("it is for something that is not supported")),
        };
        Ok(Server { place, settings: info.redis_settings().clone() })
    }

    async fn connect(&self) -> Result<Link, LinkError> {
        timeout(LONGEST_CONNECT, self.connect_in_time()).await.unwrap_or(Err(LinkError::NoAnswer))
    }

    async fn connect_in_time(&self) -> Result<Link, LinkError> {
        match &self.place {
            ServerPlace::Tcp { host, port, tls } => {
                let stream = TcpStream::connect((&**host, *port)).await?;
                stream.set_nodelay(true)?;
                match tls {
                    None => self.greet(stream).await,
                    Some(tls) => {
                        let name = ServerName::try_from(host.clone());
                        let name = name.map_err(|_| LinkError::Tls("the host is not a name".into()))?;
                        let stream = tls.connect(name, stream).await;
                        self.greet(stream.map_err(|error| LinkError::Tls(error.to_string().into()))?).await
                    }
                }
            }
            #[cfg(unix)]
            ServerPlace::Unix(path) => self.greet(tokio::net::UnixStream::connect(path).await?).await,
            #[cfg(not(unix))]
            ServerPlace::Unix(_) => Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into()),
        }
    }

    async fn greet(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Link, LinkError> {
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(BUFFER);
        let (connection, driver) = MultiplexedConnection::new_with_config(&self.settings, stream, config).await?;
        let driver = tokio::spawn(driver).abort_handle();
        Ok(Link { connection, driver, heard: Lock::new(Heard { last: Instant::now(), silent_since: None }) })
    }
}

const SCHEMES: &[&str] = &["redis", "rediss", "valkey", "valkeys", "redis+unix", "valkey+unix", "unix"];
const PARAMETERS: &[&str] = &["db", "pass", "protocol", "user"];
const LONGEST_CONNECT: Duration = Duration::from_secs(2);
const BUFFER: usize = 1024;

/// With a provider of its own, so that nothing depends on what else is in the process.
fn tls(root_certificates: Option<&PathBuf>) -> Result<TlsConnector, ConfigError> {
    let mut roots = rustls::RootCertStore::empty();
    match root_certificates {
        Some(file) => {
            let fails = || ConfigError::new(format!("Redis: {}: no certificates can be read from it", file.display()));
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
        return Err(ConfigError::new("Redis: TLS: this system has no root certificates"));
    }
    let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::new("Redis: TLS cannot be set up").with_source(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_said(kind: ServerErrorKind) -> LinkError {
        LinkError::With(RedisError::from((ErrorKind::Server(kind), "what it said")))
    }

    #[test]
    fn what_is_said_is_one_line_in_an_operators_words() {
        let wrong_password = LinkError::With(RedisError::from((ErrorKind::AuthenticationFailed, "what it said")));
        for (failed, said) in [
            (LinkError::NoAnswer, "no answer in time"),
            (LinkError::Tls("no such name".into()), "TLS: no such name"),
            (wrong_password, "the password, or the user, is wrong"),
            (server_said(ServerErrorKind::Moved), "a node of a Redis Cluster, and not the event's"),
        ] {
            assert_eq!(failed.says(), said);
        }
    }

    #[test]
    fn a_new_connection_may_lead_elsewhere() {
        use ServerErrorKind::{BusyLoading, ClusterDown, ExecAbort, MasterDown, NoScript, ReadOnly};
        let is_of_it = |kind| match server_said(kind) {
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
}
