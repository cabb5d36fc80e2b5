mod inspect;
mod link;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base16ct::HexDisplay;
use redis::Script;

use self::link::{LinkError, Links, Server};
use super::namespace::Namespace;
use super::{Claimed, DedupeStore, Settled, StoreFuture};
use crate::claim_token::ClaimToken;
use crate::event_key::EventKey;
use crate::retention::Retention;
use crate::{ConfigError, StoreError};

/// Remembers events in a Redis or Valkey server, for any number of instances.
///
/// Each step is one script over one key, judged by the server's clock, so those of the instances may differ. Clones
/// share their connections. Redis 6.0 or newer, or Valkey.
///
/// # What it may forget
/// Redis answers before what it says is safe. How much it forgets is a matter of its configuration:
///
/// - Killed or without power: with `appendonly yes` and `appendfsync always` nothing; with `everysec` the last second
///   or two; with snapshots alone everything since the last; without either everything.
/// - Failed over to a replica: whatever had not reached it. [`replicas`](RedisBuilder::replicas) waits for it, which
///   makes this rare, not impossible: a replica that lacks something can still be chosen.
/// - Short of memory with a `maxmemory-policy` other than `noeviction`: any event, at any time. Such a server is refused.
///
/// An event that was forgotten is handled again if its sender sends it again. Where that must not be, take
/// [`PostgresStore`](crate::PostgresStore) (feature `postgres`), or handlers that are idempotent by themselves.
///
/// # Connecting
/// `redis://user:password@host:port/database`, `rediss://` with TLS (the certificate is checked against the system's
/// authorities or [`root_certificates`](RedisBuilder::root_certificates); `SSL_CERT_FILE` is heeded), or
/// `redis+unix:///path`. One server, or a proxy or a name that leads to the current primary: a node of a Redis Cluster
/// is refused. Keys are `medhook:` and 64 hexadecimal digits. With ACLs the user needs `EVAL`, `EVALSHA`, `GET`, `SET`,
/// `DEL`, `TIME` and `PING` on `medhook:*`, `INFO` (or `CONFIG GET`), and `WAIT` if replicas are waited for. Errors
/// tell neither the URL nor the password.
///
/// # When the server is away
/// Steps fail, and senders get 503, until it is back; no restart is needed, and connections that broke meanwhile fail
/// nobody. The same while it loads its data, is out of memory, or is no primary.
///
/// # The server's clock
/// If it is set back, claims made before hold no longer than fresh ones, and handled events are remembered for longer.
/// If it is set ahead, claims run out and handled events are forgotten early: keep it by NTP, without jumps.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<RedisInner>,
}

struct RedisInner {
    links: Links,
    namespace: Namespace,
    replicas: Option<(u32, Duration)>,
}

impl RedisStore {
    /// A store with the default options.
    ///
    /// # Errors
    /// As with [`RedisBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, ConfigError> {
        Self::builder().connect(url).await
    }

    /// A store with other options.
    pub fn builder() -> RedisBuilder {
        RedisBuilder {
            namespace: Ok(Namespace::default()),
            max_connections: 2,
            step_timeout: Duration::from_secs(3),
            replicas: None,
            root_certificates: None,
            allow_eviction: false,
        }
    }

    async fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> Result<Claimed, StoreError> {
        let arguments = [millis(lease), millis(KEPT_LONGER)];
        let answer = self.run("claim", (&CLAIM_DIGEST, CLAIM), key, token, None, arguments).await?;
        Ok(match answer {
            0 => Claimed::Acquired,
            left => match u64::try_from(left) {
                Ok(left) => Claimed::InFlight { retry_after: Duration::from_millis(left).min(lease) },
                Err(_) => Claimed::AlreadyHandled,
            },
        })
    }

    async fn settle(
        &self,
        step: &'static str,
        key: EventKey,
        token: ClaimToken,
        time: Duration,
    ) -> Result<Settled, StoreError> {
        let arguments = [millis(time), millis(KEPT_LONGER)];
        let answer = self.run(step, (&SETTLE_DIGEST, SETTLE), key, token, Some(step), arguments).await?;
        Ok(if answer == 1 { Settled::Settled } else { Settled::Lost })
    }

    /// A script's answer, given by its digest, or where the server does not know it (any more) by its text.
    async fn run(
        &self,
        step: &'static str,
        (digest, script): (&Script, &str),
        key: EventKey,
        token: ClaimToken,
        word: Option<&str>,
        arguments: [u64; 2],
    ) -> Result<i64, StoreError> {
        let key = self.inner.key(key);
        let replicas = self.inner.replicas.filter(|_| step != "release");
        let ask = async |command: &str, script: &str| {
            let mut commands = redis::pipe();
            let command = commands.cmd(command).arg(script).arg(1).arg(&key).arg(token.as_bytes());
            if let Some(word) = word {
                command.arg(word);
            }
            command.arg(&arguments);
            match replicas {
                None => self.inner.links.ask::<(i64,)>(&commands).await.map(|(answer,)| (answer, u32::MAX)),
                Some((number, within)) => {
                    commands.cmd("WAIT").arg(number).arg(millis(within));
                    self.inner.links.ask(&commands).await
                }
            }
        };
        let answered = match ask("EVALSHA", digest.get_hash()).await {
            Err(failed) if failed.is_no_script() => ask("EVAL", script).await,
            answered => answered,
        };
        let (answer, reached) = answered.map_err(|failed| failed.into_store_error(step))?;
        match replicas {
            // What was refused was not written, and has nothing to reach anyone.
            Some((number, _)) if reached < number && answer == (if word.is_some() { 1 } else { 0 }) => {
                let line = format!("Redis: {step}: it has reached {reached} replicas in time, not {number}");
                Err(StoreError::unavailable(line))
            }
            _ => Ok(answer),
        }
    }
}

/// How long the end of a lease is kept after it, so that a holder who has lost its claim still finds out.
const KEPT_LONGER: Duration = Duration::from_secs(3600);

const CLAIM: &str = include_str!("claim.lua");
const SETTLE: &str = include_str!("settle.lua");
static CLAIM_DIGEST: LazyLock<Script> = LazyLock::new(|| Script::new(CLAIM));
static SETTLE_DIGEST: LazyLock<Script> = LazyLock::new(|| Script::new(SETTLE));

/// At least one: Redis takes no time of nothing.
fn millis(time: Duration) -> u64 {
    const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    u64::try_from(time.min(FAR).as_millis()).unwrap_or(u64::MAX).max(1)
}

impl RedisInner {
    fn key(&self, key: EventKey) -> String {
        format!("{}:{:x}", self.namespace.as_str(), HexDisplay(key.as_bytes()))
    }
}

impl DedupeStore for RedisStore {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        Box::pin(self.claim(key, token, lease))
    }

    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        Box::pin(self.settle("renew", key, token, lease))
    }

    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled> {
        Box::pin(self.settle("commit", key, token, retention.total))
    }

    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
        Box::pin(self.settle("release", key, token, Duration::ZERO))
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("namespace", &self.inner.namespace).finish_non_exhaustive()
    }
}

/// Options of a [`RedisStore`].
#[derive(Debug)]
#[must_use = "nothing is connected until `connect`"]
pub struct RedisBuilder {
    namespace: Result<Namespace, ConfigError>,
    max_connections: usize,
    step_timeout: Duration,
    replicas: Option<(u32, Duration)>,
    root_certificates: Option<PathBuf>,
    allow_eviction: bool,
}

impl RedisBuilder {
    /// What keys begin with, before a colon: `medhook` by default. Stores of different namespaces on one server know
    /// nothing of each other.
    pub fn namespace(self, name: &str) -> Self {
        RedisBuilder { namespace: Namespace::new(name), ..self }
    }

    /// How many connections there are. By default 2; each is shared by many steps.
    pub fn max_connections(self, number: usize) -> Self {
        RedisBuilder { max_connections: number, ..self }
    }

    /// How long a step may take. By default 3 s, which fits a receiver's default lease; it should be less than a third
    /// of the shortest lease.
    pub fn step_timeout(self, longest: Duration) -> Self {
        RedisBuilder { step_timeout: longest, ..self }
    }

    /// Waits after each claim, renewal and commit until so many replicas have it, and takes the server for unavailable
    /// if they have not in time. Steps on one connection wait for each other's replicas: take more connections.
    pub fn replicas(self, number: u32, within: Duration) -> Self {
        RedisBuilder { replicas: Some((number, within)), ..self }
    }

    /// The authorities, in a PEM file, that the server's certificate must be from, instead of the system's.
    pub fn root_certificates(self, file: impl AsRef<Path>) -> Self {
        RedisBuilder { root_certificates: Some(file.as_ref().to_owned()), ..self }
    }

    /// Takes a server that may drop events when it runs short of memory, or that does not tell whether it may. An event
    /// that was dropped is handled again if it is sent again; a claim that was dropped lets two handlers run at once.
    pub fn allow_eviction(self, allow: bool) -> Self {
        RedisBuilder { allow_eviction: allow, ..self }
    }

    /// Connects, and looks at how the server is configured.
    ///
    /// # Errors
    /// One line about what does not fit: the URL, the password, a certificate, a server that is not there, is a
    /// replica or a node of a cluster, drops keys when it runs short of memory, or refuses scripts. Never with the URL
    /// or the password in it.
    ///
    /// # Panics
    /// Outside a tokio runtime with its timer and I/O enabled.
    pub async fn connect(self, url: &str) -> Result<RedisStore, ConfigError> {
        self.check()?;
        let server = Server::new(url, self.root_certificates.as_ref())?;
        let links = Links::new(server, self.max_connections, self.step_timeout);
        inspect::inspect(&links, self.allow_eviction).await?;
        let inner = RedisInner { links, namespace: self.namespace?, replicas: self.replicas };
        let store = RedisStore { inner: Arc::new(inner) };
        store.try_out().await?;
        Ok(store)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.max_connections == 0 {
            return Err(ConfigError::new("Redis: max_connections must be greater than 0"));
        }
        if self.step_timeout < SHORTEST {
            return Err(ConfigError::new("Redis: a step of less than 10 ms"));
        }
        if self.replicas.is_some_and(|(_, within)| within >= self.step_timeout) {
            return Err(ConfigError::new("Redis: replicas are waited for longer than a step may take"));
        }
        Ok(())
    }
}

const SHORTEST: Duration = Duration::from_millis(10);

impl RedisStore {
    /// Claims and releases what is no event, so that rights that are missing show now.
    async fn try_out(&self) -> Result<(), ConfigError> {
        let (mut key, mut token) = ([0; 32], [0; 16]);
        let no_randomness = |error| ConfigError::new("no random numbers").with_source(error);
        getrandom::fill(&mut key).and_then(|()| getrandom::fill(&mut token)).map_err(no_randomness)?;
        let (key, token) = (EventKey::from_bytes(key), ClaimToken::from_bytes(token));
        let tried = async {
            self.claim(key, token, Duration::from_secs(1)).await?;
            self.release(key, token).await
        };
        tried.await.map(drop).map_err(|error| ConfigError::new(error.to_string()).with_source(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_without_connections_is_rejected() {
        let error = RedisStore::builder().max_connections(0).check().unwrap_err();
        assert_eq!(error.to_string(), "Redis: max_connections must be greater than 0");
        assert!(RedisStore::builder().max_connections(1).check().is_ok());
    }

    #[test]
    fn times_that_cannot_be_kept_are_a_mistake() {
        let builder = RedisStore::builder;
        let error = builder().step_timeout(Duration::from_millis(9)).check().unwrap_err();
        assert_eq!(error.to_string(), "Redis: a step of less than 10 ms");
        assert!(builder().step_timeout(SHORTEST).check().is_ok());
        let waited_for = |within| builder().step_timeout(SHORTEST).replicas(1, Duration::from_millis(within)).check();
        assert!(waited_for(9).is_ok());
        for within in [10, 11] {
            let error = waited_for(within).unwrap_err().to_string();
            assert_eq!(error, "Redis: replicas are waited for longer than a step may take");
        }
    }

    #[test]
    fn any_time_up_to_ten_years_is_told_as_it_is() {
        const DAY: u64 = 24 * 3600;
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_micros(2_999)), 2);
        for days in [1, 30, 366, 3_650] {
            assert_eq!(millis(Duration::from_secs(days * DAY)), days * DAY * 1000, "{days}");
        }
        assert_eq!(millis(Duration::MAX), 3_650 * DAY * 1000);
    }
}
