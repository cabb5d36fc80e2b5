//! Connections: how they are made, what becomes of broken ones, and what is said about it.
//!
//! A pool of our own. sqlx's asks a connection whether it is still there each time one is done with it, without a limit:
//! one round trip more for each step, and where the server or the network falls silent just then its place is lost. Here a
//! step that finds its connection broken is done again on another, which it may be: every step is the same done twice.

use std::io::ErrorKind;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};

use super::super::url;
use crate::{ConfigError, StoreError};

/// Connections of the store's own, made when they are first needed.
pub(super) struct Connections {
    options: PgConnectOptions,
    step_timeout: Duration,
    /// One for each connection that there may be.
    places: Semaphore,
    idle: Mutex<Idle>,
}

/// What nobody uses.
#[derive(Default)]
struct Idle {
    /// From the one used longest ago to the last.
    connections: Vec<Pooled>,
    /// When one was found broken. Those made before are not to be trusted, wherever they are now.
    broken: Option<Instant>,
}

struct Pooled {
    connection: PgConnection,
    made: Instant,
    used: Instant,
}

impl Connections {
    pub(super) fn new(options: PgConnectOptions, most: u32, step_timeout: Duration) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Connections { options, step_timeout, places: Semaphore::new(most), idle: Mutex::default() }
    }

    /// Does one step, on another connection if the first turns out to be broken.
    pub(super) async fn step(&self, step: &Step<'_>) -> Result<Option<PgRow>, StoreError> {
        let mut tries: u32 = 1;
        loop {
            let failed = match self.attempt(step).await {
                Ok(row) => return Ok(row),
                Err(error) => error,
            };
            if !is_of_the_connection(&failed) || tries >= MOST_TRIES {
                return Err(unavailable(step.name, failed));
            }
            self.distrust();
            tries = tries.saturating_add(1);
        }
    }

    async fn attempt(&self, step: &Step<'_>) -> Result<Option<PgRow>, sqlx::Error> {
        let no_answer = |_| sqlx::Error::PoolTimedOut;
        let mut held = timeout(self.step_timeout, self.take()).await.map_err(no_answer)??;
        // If it takes as long as this, the server has longer been told to give up: it is not there.
        let row = timeout(self.step_timeout, step.run(held.connection()?)).await.map_err(no_answer)?;
        if !row.as_ref().is_err_and(is_of_the_connection) {
            held.give_back();
        }
        row
    }

    /// A connection that may be used: one that is there, or a new one.
    async fn take(&self) -> Result<Held<'_>, sqlx::Error> {
        let place = self.places.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        // Not held while anything waits.
        let idle = self.idle().connections.pop();
        if let Some(mut pooled) = idle {
            if pooled.is_fit().await {
                return Ok(Held::new(pooled, self, place));
            }
            // Those that are left lay idle for longer.
            self.distrust();
        }
        let made = Instant::now();
        let connection = self.connect().await?;
        Ok(Held::new(Pooled { connection, made, used: made }, self, place))
    }

    /// Waits for a server that is about to start, for as long as the caller waits.
    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let mut wait = FIRST_WAIT;
        loop {
            match self.options.connect().await {
                Ok(mut connection) => {
                    durably(&mut connection).await?;
                    return Ok(connection);
                }
                Err(error) if may_pass(&error) => sleep(wait).await,
                Err(error) => return Err(error),
            }
            wait = wait.saturating_mul(2).min(LONGEST_WAIT);
        }
    }

    /// Closes what there is, sooner or later: it is as old as what was found broken, or older.
    fn distrust(&self) {
        let broken = Some(Instant::now());
        let untrusted = std::mem::replace(&mut *self.idle(), Idle { connections: Vec::new(), broken });
        drop(untrusted);
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MOST_TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

impl Pooled {
    /// Whether it may be used again. One that lay idle for long is asked: firewalls forget quiet ones without a word.
    async fn is_fit(&mut self) -> bool {
        if self.made.elapsed() >= LONGEST_LIFE {
            return false;
        }
        self.used.elapsed() < LONG_IDLE || matches!(timeout(LONGEST_PING, self.connection.ping()).await, Ok(Ok(())))
    }
}

const LONG_IDLE: Duration = Duration::from_secs(10);
const LONGEST_PING: Duration = Duration::from_secs(1);
/// A server's process for a connection grows with time, and a name may lead elsewhere by now.
const LONGEST_LIFE: Duration = Duration::from_secs(1800);
/// What nobody has needed for so long was needed for a rush that is over.
const LONGEST_IDLE: Duration = Duration::from_secs(600);

/// A statement and what goes into it.
pub(super) struct Step<'a> {
    pub(super) name: &'static str,
    pub(super) statement: &'a Arc<str>,
    pub(super) key: Option<(&'a [u8], &'a [u8])>,
    pub(super) seconds: Option<f64>,
}

impl Step<'_> {
    pub(super) async fn run(&self, connection: &mut PgConnection) -> Result<Option<PgRow>, sqlx::Error> {
        let mut query = sqlx::query(AssertSqlSafe(self.statement.clone()));
        if let Some((key, token)) = self.key {
            query = query.bind(key).bind(token);
        }
        if let Some(seconds) = self.seconds {
            query = query.bind(seconds);
        }
        // To the end of the answer: what fails when it is committed is told behind the row.
        query.fetch_all(connection).await.map(|rows| rows.into_iter().next())
    }
}

/// A connection in use, and its place. Given up in the middle, it is closed: whoever used it next would first wait for an
/// answer that may never come.
struct Held<'a> {
    pooled: Option<Pooled>,
    of: &'a Connections,
    since: Instant,
    /// Free again when all else is done.
    _place: SemaphorePermit<'a>,
}

impl<'a> Held<'a> {
    fn new(pooled: Pooled, of: &'a Connections, place: SemaphorePermit<'a>) -> Self {
        Held { pooled: Some(pooled), of, since: Instant::now(), _place: place }
    }

    fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.pooled.as_mut().map(|pooled| &mut pooled.connection).ok_or(sqlx::Error::PoolClosed)
    }

    fn give_back(mut self) {
        let Some(pooled) = self.pooled.take() else { return };
        let now = Instant::now();
        let mut idle = self.of.idle();
        let oldest = idle.connections.first();
        let unneeded = oldest.is_some_and(|oldest| now.duration_since(oldest.used) >= LONGEST_IDLE);
        let unneeded = unneeded.then(|| idle.connections.remove(0));
        if idle.broken.is_none_or(|broken| pooled.made > broken) {
            idle.connections.push(Pooled { used: now, ..pooled });
        }
        drop(idle);
        drop(unneeded);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.pooled.take().is_some() && self.since.elapsed() >= self.of.step_timeout {
            // Not one statement that takes long: a server that says nothing.
            self.of.distrust();
        }
    }
}

/// Reads a URL, refusing what sqlx would only warn of, with the value in the warning.
pub(super) fn options(url: &str) -> Result<PgConnectOptions, ConfigError> {
    let unreadable = |problem: &str| ConfigError::new(format!("PostgreSQL: its URL cannot be read: {problem}"));
    url::check(url, &["postgres", "postgresql"], PARAMETERS).map_err(|problem| unreadable(&problem))?;
    PgConnectOptions::from_str(url).map_err(|error| unreadable(&says(&error)))
}

/// What the statements of this store rely on.
pub(super) fn for_steps(options: PgConnectOptions, step_timeout: Duration) -> PgConnectOptions {
    // Both shorter than the step is waited for, so that it is the server that gives up and says why.
    let third = step_timeout.checked_div(3).unwrap_or(step_timeout).as_millis();
    options.disable_statement_logging().options([
        ("lock_timeout", third.to_string()),
        ("statement_timeout", third.saturating_mul(2).to_string()),
        ("default_transaction_isolation", "read committed".to_owned()),
    ])
}

/// Those of sqlx that are not about what this store settles itself.
const PARAMETERS: &[&str] = &[
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "options[search_path]",
    "options%5Bsearch_path%5D",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// One connection without the pool, which would try for as long as it may and then say nothing of why.
pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, ConfigError> {
    match timeout(LONGEST_CONNECT, options.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(cannot_connect(&error).with_source(error)),
        Err(_) => Err(ConfigError::new("PostgreSQL: cannot connect: no answer within 10 s")),
    }
}

const LONGEST_CONNECT: Duration = Duration::from_secs(10);

fn cannot_connect(error: &sqlx::Error) -> ConfigError {
    ConfigError::new(format!("PostgreSQL: cannot connect: {}", says(error)))
}

/// What is committed is on disk, also where a database's own default is that it need not be.
async fn durably(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let on = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";
    sqlx::query(on).persistent(false).execute(connection).await.map(drop)
}

/// Whether a server that could not be connected to may be there soon: it is starting, or has too many connections now.
fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == ErrorKind::ConnectionRefused,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| ["53300", "57P03"].contains(&&*code)),
        _ => false,
    }
}

/// Whether it is the connection that failed, so that the step may do on another.
fn is_of_the_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // Lost, shutting down or starting; or no longer the primary, which is elsewhere now.
            code.starts_with("08") || ["57P01", "57P02", "57P03", "57P05", "25006"].contains(&&*code)
        }),
        _ => false,
    }
}

pub(super) fn unavailable(step: &str, error: sqlx::Error) -> StoreError {
    StoreError::unavailable(format!("PostgreSQL: {step}: {}", says(&error))).with_source(error)
}

/// An error in one line, without anything of the URL.
pub(super) fn says(error: &sqlx::Error) -> String {
    let text = match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Tls(error) => format!("TLS: {error}"),
        sqlx::Error::Configuration(error) => error.to_string(),
        sqlx::Error::PoolTimedOut => "no answer in time".to_owned(),
        sqlx::Error::PoolClosed => "its pool is closed".to_owned(),
        error => error.to_string(),
    };
    text.split(['\n', '\r']).next().unwrap_or_default().to_owned()
}
