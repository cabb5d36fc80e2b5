mod inspect;
mod link;
mod record;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base16ct::HexDisplay;
use redis::Script;

use self::inspect::Requirements;
use self::link::{Links, Server};
use super::driver::Driver;
use super::namespace::Namespace;
use super::{Claimed, DedupeStore, DeliveryRecord, Forgotten, Settled, StoreFuture};
use crate::claim_token::ClaimToken;
use crate::event_key::EventKey;
use crate::retention::Retention;
use crate::{ConfigError, StoreError};

/// A store on a Redis or Valkey server, for any number of instances.
///
/// Each operation is one script. Leases are measured by the server's clock, so the clocks of the instances may differ.
/// Clones share their connections. Requires Redis 6.0 or newer, or Valkey.
///
/// # Durability
/// Redis answers before its writes are durable. The configuration of the server decides how many events can be lost:
///
/// - In a crash or power failure: none with `appendonly yes` and `appendfsync always`; those of the last second or two
///   with `everysec`; those since the last snapshot with snapshots only; all events with neither.
/// - In a failover to a replica: those that had not reached it. [`replicas`](RedisBuilder::replicas) waits for
///   replicas, which makes this rare but not impossible, since a replica that lacks events can be promoted.
/// - If memory runs short, with a `maxmemory-policy` other than `noeviction`: any event at any time. Such a server is
///   rejected when connecting. If the policy is changed later, claims fail from the next check on (every 10 s; see
///   [`check_every`](RedisBuilder::check_every)) until it is set back. Events that were evicted before are lost.
///
/// Retries of lost events are handled again. If that is not acceptable, use [`PostgresStore`](crate::PostgresStore)
/// (feature `postgres`), or handlers that are idempotent by themselves.
///
/// # Connecting
/// The URL is `redis://user:password@host:port/database`, `rediss://` for TLS, or `redis+unix:///path`. The server's
/// certificate is verified against the system's certificate authorities (or those of `SSL_CERT_FILE`), or against
/// [`root_certificates`](RedisBuilder::root_certificates). Errors contain neither the URL nor the password.
///
/// The URL must lead to one server, or to the current primary through a proxy or a host name. A node of a Redis Cluster
/// is rejected. Keys begin with `medhook:` and continue with 64 hexadecimal digits; a released claim has a key that
/// ends with `:ended` for an hour, and bodies whose event can recur have keys that begin with `medhook:bodies:`.
/// With ACLs, the user needs `EVAL`, `EVALSHA`, `GET`, `SET`, `DEL`, `INCR`, `DECR`, `EXISTS`, `PTTL`, `PEXPIRE`,
/// `TIME` and `PING` on `medhook:*`, `INFO` or `CONFIG GET`, and `WAIT` for replicas. If `INFO` and `CONFIG GET` are
/// both revoked later, claims fail, because the policy cannot be read.
///
/// # Failures
/// While the server is unavailable, loading its data or not a primary, operations fail and deliveries are answered with
/// 503. While it is out of memory, claims, renewals, commits and records of deliveries fail with a
/// [full](StoreError::is_full) error. While it may evict events, claims and records of deliveries fail; renewals,
/// commits and releases do not, since a record that may be evicted is better than none. No restart is needed, and an
/// operation that finds its connection broken is repeated on a new one.
///
/// # Threads
/// A store has a thread of its own, which drives its connections and ends with its last clone. The store needs no
/// runtime: it can be used after the runtime in which it was connected has ended, and from several runtimes, such as
/// those of actix-web's workers. A runtime that blocks stalls only its own callers. Connect after a `fork`, since the
/// child process does not have the thread.
///
/// # The server's clock
/// If it is set back, existing claims last no longer than new ones, and handled events are remembered for longer. If it
/// is set forward, claims expire and handled events are forgotten early. The server deletes expired events at once, so
/// they remain forgotten when the clock is set back. Synchronize the clock by NTP, without jumps.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<RedisInner>,
}

struct RedisInner {
    driver: Driver,
    links: Arc<Links>,
    namespace: Namespace,
    replicas: Option<(u32, Duration)>,
}

impl RedisStore {
    /// Connects a store with the default options.
    ///
    /// # Errors
    /// Returns the errors of [`RedisBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, ConfigError> {
        Self::builder().connect(url).await
    }

    /// Creates a builder for a store with other options.
    pub fn builder() -> RedisBuilder {
        RedisBuilder {
            namespace: Ok(Namespace::default()),
            max_connections: 2,
            step_timeout: Duration::from_secs(3),
            replicas: None,
            root_certificates: None,
            allow_eviction: false,
            check_every: Duration::from_secs(10),
        }
    }

    async fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> Result<Claimed, StoreError> {
        let arguments = [millis(lease), millis(KEPT_AFTER_EXPIRY)];
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
        let arguments = [millis(time), millis(KEPT_AFTER_EXPIRY)];
        let answer = self.run(step, (&SETTLE_DIGEST, SETTLE), key, token, Some(step), arguments).await?;
        Ok(if answer == 1 { Settled::Settled } else { Settled::Lost })
    }

    /// Runs a script on the store's thread and returns its answer.
    async fn run(
        &self,
        step: &'static str,
        script: (&'static Script, &'static str),
        key: EventKey,
        token: ClaimToken,
        word: Option<&'static str>,
        arguments: [u64; 2],
    ) -> Result<i64, StoreError> {
        let inner = self.inner.clone();
        let running = async move { inner.run(step, script, key, token, word, arguments).await };
        self.inner.driver.run(running).await?
    }
}

impl RedisInner {
    /// Runs a script and returns its answer. Sends the digest, and the text if the server does not have the script.
    async fn run(
        &self,
        step: &'static str,
        (digest, script): (&Script, &str),
        key: EventKey,
        token: ClaimToken,
        word: Option<&str>,
        arguments: [u64; 2],
    ) -> Result<i64, StoreError> {
        let key = self.key(key);
        let ended = format!("{key}:ended");
        let replicas = self.replicas.filter(|_| step != "release");
        // A record that the server may evict is better than none.
        let may_be_evicted = step != "claim";
        let ask = async |command: &str, script: &str| {
            let mut commands = redis::pipe();
            let command = commands.cmd(command).arg(script).arg(2).arg(&key).arg(&ended).arg(token.as_bytes());
            if let Some(word) = word {
                command.arg(word);
            }
            command.arg(&arguments);
            match replicas {
                None => self.links.ask::<(i64,)>(&commands, may_be_evicted).await.map(|(answer,)| (answer, u32::MAX)),
                Some((number, within)) => {
                    commands.cmd("WAIT").arg(number).arg(millis(within));
                    self.links.ask(&commands, may_be_evicted).await
                }
            }
        };
        let answered = match ask("EVALSHA", digest.get_hash()).await {
            Err(failed) if failed.is_no_script() => ask("EVAL", script).await,
            answered => answered,
        };
        let (answer, reached) = answered.map_err(|failed| failed.into_store_error(step))?;
        match replicas {
            // An operation without effect has written nothing that replicas could miss.
            Some((number, _)) if reached < number && answer == (if word.is_some() { 1 } else { 0 }) => {
                let line = format!("Redis: {step}: only {reached} of {number} replicas confirmed the write in time");
                Err(StoreError::unavailable(line))
            }
            _ => Ok(answer),
        }
    }
}

/// The time for which an expired claim is kept, so that it still fences the holder of an earlier one, and for which a
/// token is known to have ended, so that its late packets are fenced. TCP repeats a packet for a quarter of an hour.
const KEPT_AFTER_EXPIRY: Duration = Duration::from_secs(3600);

const CLAIM: &str = include_str!("claim.lua");
const SETTLE: &str = include_str!("settle.lua");
const FORGET: &str = include_str!("forget.lua");
static FORGET_DIGEST: LazyLock<Script> = LazyLock::new(|| Script::new(FORGET));
static CLAIM_DIGEST: LazyLock<Script> = LazyLock::new(|| Script::new(CLAIM));
static SETTLE_DIGEST: LazyLock<Script> = LazyLock::new(|| Script::new(SETTLE));

/// Returns milliseconds, at least 1, since Redis rejects an expiry of 0.
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

    fn record_delivery(&self, body: EventKey, period: Duration, most: u64) -> StoreFuture<'_, DeliveryRecord> {
        Box::pin(self.record_body(body, period, most))
    }

    fn record_failure(&self, body: EventKey) -> StoreFuture<'_, ()> {
        Box::pin(self.record_failed(body))
    }

    fn forget(&self, key: EventKey) -> StoreFuture<'_, Forgotten> {
        Box::pin(async move {
            let (script, unused) = ((&*FORGET_DIGEST, FORGET), ClaimToken::from_bytes([0; 16]));
            let arguments = [millis(Duration::ZERO), millis(KEPT_AFTER_EXPIRY)];
            Ok(match self.run("forget", script, key, unused, Some("forget"), arguments).await? {
                1 => Forgotten::Removed,
                0 => Forgotten::NotFound,
                _ => Forgotten::Claimed,
            })
        })
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
    check_every: Duration,
}

impl RedisBuilder {
    /// Sets the prefix of the keys, which a colon follows. The default is `medhook`. Stores of different namespaces on
    /// one server are independent.
    pub fn namespace(self, name: &str) -> Self {
        RedisBuilder { namespace: Namespace::new(name), ..self }
    }

    /// Sets the number of connections. The default is 2; concurrent operations share a connection.
    pub fn max_connections(self, number: usize) -> Self {
        RedisBuilder { max_connections: number, ..self }
    }

    /// Sets the timeout of an operation. The default is 3 s, which fits a receiver's default lease. It should be less
    /// than a third of the shortest lease.
    pub fn step_timeout(self, longest: Duration) -> Self {
        RedisBuilder { step_timeout: longest, ..self }
    }

    /// Makes each claim, renewal and commit wait until `number` replicas have confirmed the write. The operation fails
    /// if they do not confirm it `within` this time. Operations on one connection wait for each other's replicas, so
    /// increase [`max_connections`](RedisBuilder::max_connections).
    pub fn replicas(self, number: u32, within: Duration) -> Self {
        RedisBuilder { replicas: Some((number, within)), ..self }
    }

    /// Sets a PEM file of certificate authorities that replaces the system's for the server's certificate.
    pub fn root_certificates(self, file: impl AsRef<Path>) -> Self {
        RedisBuilder { root_certificates: Some(file.as_ref().to_owned()), ..self }
    }

    /// Sets whether a server is accepted that may evict events when memory runs short, or whose policy cannot be read.
    /// The default is false: such a server is rejected when connecting, and claims fail while a connected server has
    /// become one. Retries of an evicted event are handled again, and an evicted claim lets two handlers run
    /// concurrently.
    pub fn allow_eviction(self, allow: bool) -> Self {
        RedisBuilder { allow_eviction: allow, ..self }
    }

    /// Sets how often the `maxmemory-policy` and the role of the server are checked. The default is every 10 s of use,
    /// on each connection; [`Duration::ZERO`] checks before each claim. Each check costs one claim a round trip. New
    /// connections are always checked. With [`allow_eviction`](RedisBuilder::allow_eviction), open ones are not.
    pub fn check_every(self, interval: Duration) -> Self {
        RedisBuilder { check_every: interval, ..self }
    }

    /// Connects, and checks the configuration of the server.
    ///
    /// # Errors
    /// Returns an error if an option, the URL, the password or a certificate is wrong, or if the server is unavailable,
    /// is a replica or a node of a cluster, may evict keys, or rejects the scripts. The message is one line and
    /// contains neither the URL nor the password.
    pub async fn connect(self, url: &str) -> Result<RedisStore, ConfigError> {
        self.check()?;
        let server = Server::new(url, self.root_certificates.as_ref())?;
        let requirements = Requirements { allow_eviction: self.allow_eviction, check_every: self.check_every };
        let links = Links::new(server, requirements, self.max_connections, self.step_timeout);
        let driver = Driver::start("Redis").await?;
        let connected = links.clone();
        let connecting = async move {
            let mut ping = redis::pipe();
            ping.cmd("PING").ignore();
            connected.ask::<()>(&ping, false).await
        };
        driver.run(connecting).await?.map_err(|failed| failed.into_config_error("cannot connect"))?;
        let inner = RedisInner { driver, links, namespace: self.namespace?, replicas: self.replicas };
        let store = RedisStore { inner: Arc::new(inner) };
        store.check_permissions().await?;
        Ok(store)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.max_connections == 0 {
            return Err(ConfigError::new("Redis: max_connections must be greater than 0"));
        }
        if self.step_timeout < SHORTEST {
            return Err(ConfigError::new("Redis: step_timeout must be at least 10 ms"));
        }
        if self.replicas.is_some_and(|(_, within)| within >= self.step_timeout) {
            return Err(ConfigError::new("Redis: the time limit of replicas must be less than step_timeout"));
        }
        Ok(())
    }
}

const SHORTEST: Duration = Duration::from_millis(10);

impl RedisStore {
    /// Claims and releases a random key, and records it as a body, so that missing permissions are reported when
    /// connecting.
    async fn check_permissions(&self) -> Result<(), ConfigError> {
        let (mut key, mut token) = ([0; 32], [0; 16]);
        let filled = getrandom::fill(&mut key).and_then(|()| getrandom::fill(&mut token));
        filled.map_err(ConfigError::no_randomness)?;
        let (key, token) = (EventKey::from_bytes(key), ClaimToken::from_bytes(token));
        let tried = async {
            self.claim(key, token, Duration::from_secs(1)).await?;
            self.release(key, token).await?;
            self.record_body(key, Duration::from_secs(1), 1).await?;
            self.record_failed(key).await
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
    fn timeouts_that_are_too_short_are_rejected() {
        let builder = RedisStore::builder;
        let error = builder().step_timeout(Duration::from_millis(9)).check().unwrap_err();
        assert_eq!(error.to_string(), "Redis: step_timeout must be at least 10 ms");
        assert!(builder().step_timeout(SHORTEST).check().is_ok());
        let waited_for = |within| builder().step_timeout(SHORTEST).replicas(1, Duration::from_millis(within)).check();
        assert!(waited_for(9).is_ok());
        for within in [10, 11] {
            let error = waited_for(within).unwrap_err().to_string();
            assert_eq!(error, "Redis: the time limit of replicas must be less than step_timeout");
        }
    }

    #[test]
    fn times_are_passed_exactly_up_to_ten_years() {
        const DAY: u64 = 24 * 3600;
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_micros(2_999)), 2);
        for days in [1, 30, 366, 3_650] {
            assert_eq!(millis(Duration::from_secs(days * DAY)), days * DAY * 1000, "{days}");
        }
        assert_eq!(millis(Duration::MAX), 3_650 * DAY * 1000);
    }
}
