//! Connections: how they are made, what becomes of broken ones, and what is said about it.
//!
//! sqlx's pool hands out connections without knowing whether their server is still there, or, asked to find out, pays a
//! round trip for each step. Here a step that finds its connection broken is done again on another, which it may be:
//! every step is the same done twice; and all connections as old as the broken one are closed before anyone meets them.

use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::{PoolConnection, PoolConnectionMetadata};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Postgres};

use super::super::url;
use crate::{ConfigError, StoreError};

/// A pool of the store's own.
pub(super) struct Connections {
    pool: PgPool,
    step_timeout: Duration,
    broken: Arc<Broken>,
}

impl Connections {
    /// A pool that connects when it is first used.
    pub(super) fn new(options: PgConnectOptions, most: u32, step_timeout: Duration) -> Self {
        let broken = Arc::new(Broken::default());
        let known = broken.clone();
        let pool = PgPoolOptions::new()
            .max_connections(most)
            .acquire_timeout(step_timeout)
            .test_before_acquire(false)
            .before_acquire(move |connection, metadata| {
                let known = known.clone();
                Box::pin(async move { Ok(known.is_fit(connection, metadata).await) })
            })
            .after_connect(|connection, _| Box::pin(durably(connection)))
            .connect_lazy_with(options);
        Connections { pool, step_timeout, broken }
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
            self.broken.as_of_now();
            tries = tries.saturating_add(1);
        }
    }

    async fn attempt(&self, step: &Step<'_>) -> Result<Option<PgRow>, sqlx::Error> {
        let mut held = Held::new(self.pool.acquire().await?, self);
        let row = match tokio::time::timeout(self.step_timeout, step.run(held.connection()?)).await {
            Ok(row) => row,
            // The server has longer been told to give up: it is not there.
            Err(_) => return Err(sqlx::Error::PoolTimedOut),
        };
        if row.as_ref().is_err_and(is_of_the_connection) {
            return row;
        }
        held.give_back();
        row
    }
}

const MOST_TRIES: u32 = 3;

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
        query.fetch_optional(connection).await
    }
}

/// A connection in use. Given up in the middle, it is closed and its place is free at once: back in the pool it would
/// first wait for an answer that may never come.
struct Held<'a> {
    connection: Option<PoolConnection<Postgres>>,
    of: &'a Connections,
    since: Instant,
}

impl<'a> Held<'a> {
    fn new(connection: PoolConnection<Postgres>, of: &'a Connections) -> Self {
        Held { connection: Some(connection), of, since: Instant::now() }
    }

    fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.connection.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    fn give_back(mut self) {
        self.connection.take();
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            if self.since.elapsed() >= self.of.step_timeout {
                // Not one statement that takes long: a server that says nothing.
                self.of.broken.as_of_now();
            }
            drop(connection.detach());
        }
    }
}

/// Since when connections are not to be trusted.
#[derive(Default)]
struct Broken(Mutex<Option<Instant>>);

impl Broken {
    fn as_of_now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection that lay idle may be used.
    async fn is_fit(&self, connection: &mut PgConnection, metadata: PoolConnectionMetadata) -> bool {
        let broken = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if broken.is_some_and(|broken| metadata.age >= broken.elapsed()) {
            return false;
        }
        if metadata.idle_for < LONG_IDLE {
            return true;
        }
        matches!(tokio::time::timeout(LONGEST_PING, connection.ping()).await, Ok(Ok(())))
    }
}

/// From when on a connection is asked whether it is still there: firewalls forget quiet ones without a word.
const LONG_IDLE: Duration = Duration::from_secs(10);
const LONGEST_PING: Duration = Duration::from_secs(1);

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
    match tokio::time::timeout(LONGEST_CONNECT, options.connect()).await {
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
