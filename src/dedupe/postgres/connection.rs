//! The store's connections: how they are made, which of them are reused, and how errors are reported.
//!
//! The store has a pool of its own. With sqlx's `PgPool` (0.9), seven of the tests in
//! `tests/stores/servers/postgres*.rs` failed. `PgPool` pings a connection without a timeout each time it is returned.
//! That costs a round trip per operation, and the permit is never released if the server or the network stops
//! responding at that moment: <https://github.com/transact-rs/sqlx/issues/4349>. `PgPool` also keeps connections that
//! were made before one was found broken. Here an operation that finds its connection broken is repeated on another
//! one. Every operation on a claim is idempotent: see `statements.rs`. A record of deliveries may count a repeated
//! operation twice. An operator's operation on an inbox is not repeated if it may have been committed: see
//! `inbox/task.rs`.
//!
//! A permit stands for a backend of the server, not for a caller. A backend that waits in its COMMIT (for a synchronous
//! standby, a stalled disk or a deferred trigger) does not notice that its client has closed the connection, and
//! `statement_timeout` does not apply to it. If an operation without an answer released its permit, the next one would
//! connect again, and the store's backends would exhaust the server's `max_connections`. So each operation runs in a
//! task that owns the connection and the permit. When its caller stops waiting, the task continues until the server has
//! answered or closed the connection, or until a [probe](super::probe) finds that the backend has ended.
//!
//! No statement is canceled: PostgreSQL ends a canceled wait for the standby by committing without the standby.

use std::io::ErrorKind;
use std::pin::pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::super::url;
use super::describe::describe;
#[cfg(feature = "sqlx-09")]
use super::location;
use super::probe::Probe;
use super::session::{Backend, LONGEST_CONNECT, Sessions};
use super::work::{Failed, Work};
use crate::claim_token::ClaimToken;
use crate::event_key::EventKey;
use crate::{ConfigError, StoreError};

/// The connections of one store, opened when they are first needed.
pub(super) struct Connections {
    sessions: Arc<Sessions>,
    step_timeout: Duration,
    /// One permit for each connection that the store may have.
    permits: Arc<Semaphore>,
    idle: Mutex<Idle>,
    /// Cloned by each abandoned operation; the reference count is their number plus one.
    abandoned: Arc<()>,
    /// Kept alive by the abandoned operations.
    probe: Mutex<Weak<Probe>>,
}

/// Connections that are not in use.
#[derive(Default)]
struct Idle {
    /// From the least to the most recently used.
    connections: Vec<Pooled>,
    /// The time at which a connection was last found broken. Connections made before are not reused.
    broken: Option<Instant>,
    /// The time at which an operation last timed out. Connections last used before are pinged before they are reused.
    silent: Option<Instant>,
}

struct Pooled {
    connection: PgConnection,
    backend: Backend,
    made: Instant,
    used: Instant,
}

/// A connection in use.
struct HeldConnection {
    pooled: Pooled,
    permit: OwnedSemaphorePermit,
}

enum StepError {
    Failed(Failed),
    NoAnswer,
    /// The number of operations that the server has not answered although their callers have stopped waiting.
    NoneFree(usize),
}

impl Connections {
    pub(super) fn new(sessions: Arc<Sessions>, most: u32, step_timeout: Duration) -> Arc<Self> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Arc::new(Connections {
            sessions,
            step_timeout,
            permits: Arc::new(Semaphore::new(most)),
            idle: Mutex::default(),
            abandoned: Arc::default(),
            probe: Mutex::default(),
        })
    }

    /// Runs one operation, and repeats it on another connection if the first is broken.
    pub(super) async fn step<W: Work>(self: &Arc<Self>, step: W) -> Result<W::Answer, StoreError> {
        let mut tries: u32 = 1;
        loop {
            match self.attempt(step.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(StepError::Failed(Failed { error, repeatable })) if is_of_the_connection(&error) => {
                    self.distrust();
                    if !repeatable || tries >= MOST_TRIES {
                        return Err(unavailable(step.name(), error));
                    }
                }
                Err(failed) => return Err(self.error(step.name(), failed)),
            }
            tries += 1;
        }
    }

    async fn attempt<W: Work>(self: &Arc<Self>, step: W) -> Result<W::Answer, StepError> {
        let held = self.take().await?;
        let (caller, answer) = oneshot::channel();
        tokio::spawn(self.clone().run(held, step, caller));
        // The server would have canceled the statement by now, so it is not responding, or in a COMMIT.
        let no_answer = |_| {
            self.idle().silent = Some(Instant::now());
            StepError::NoAnswer
        };
        received(timeout(self.step_timeout, answer).await.map_err(no_answer)?)
    }

    /// Takes an idle connection or makes one.
    async fn take(self: &Arc<Self>) -> Result<HeldConnection, StepError> {
        let began = Instant::now();
        let Ok(permit) = timeout(self.step_timeout, self.permits.clone().acquire_owned()).await else {
            return Err(StepError::NoneFree(Arc::strong_count(&self.abandoned) - 1));
        };
        let permit = permit.map_err(|_closed| StepError::Failed(sqlx::Error::PoolClosed.into()))?;
        let idle = match self.pop() {
            Some((pooled, Trust::Full)) => return Ok(HeldConnection { pooled, permit }),
            idle => idle,
        };
        let (caller, held) = oneshot::channel();
        tokio::spawn(self.clone().prepare(permit, idle, caller));
        let left = self.step_timeout.saturating_sub(began.elapsed());
        received(timeout(left, held).await.map_err(|_| StepError::NoAnswer)?)
    }

    fn pop(&self) -> Option<(Pooled, Trust)> {
        let mut idle = self.idle();
        let pooled = idle.connections.pop()?;
        let trust = pooled.trust(idle.silent);
        Some((pooled, trust))
    }

    /// Makes a connection ready. If the caller stops waiting, the connection is kept for the next operation.
    async fn prepare(
        self: Arc<Self>,
        permit: OwnedSemaphorePermit,
        idle: Option<(Pooled, Trust)>,
        mut caller: oneshot::Sender<Result<HeldConnection, Failed>>,
    ) {
        let prepared = match self.checked(idle).await {
            Some(pooled) => Ok(pooled),
            None => self.connect(&mut caller).await,
        };
        let held = prepared.map(|pooled| HeldConnection { pooled, permit }).map_err(Failed::from);
        if let Err(Ok(held)) = caller.send(held) {
            self.give_back(held);
        }
    }

    async fn checked(&self, idle: Option<(Pooled, Trust)>) -> Option<Pooled> {
        let (mut pooled, trust) = idle?;
        let fit = match trust {
            Trust::Full => true,
            Trust::AfterPing => pooled.answers_a_ping().await,
            Trust::None => false,
        };
        if !fit {
            // The other connections have been idle for longer.
            self.distrust();
        }
        fit.then_some(pooled)
    }

    /// Connects. While a server is starting, tries again until the caller stops waiting.
    async fn connect(
        &self,
        caller: &mut oneshot::Sender<Result<HeldConnection, Failed>>,
    ) -> Result<Pooled, sqlx::Error> {
        let mut wait = FIRST_WAIT;
        loop {
            let mut connecting = pin!(self.connect_once());
            let connected = tokio::select! {
                biased;
                connected = &mut connecting => connected,
                () = caller.closed() => {
                    // There is no known backend yet that could be probed, so the permit is kept for a limited time. A
                    // backend whose client disconnects during startup ends by itself.
                    let connected = timeout(LONGEST_CONNECT, connecting).await;
                    connected.unwrap_or(Err(sqlx::Error::PoolTimedOut))
                }
            };
            match connected {
                Err(error) if is_temporary(&error) && !caller.is_closed() => sleep(wait).await,
                connected => return connected,
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn connect_once(&self) -> Result<Pooled, sqlx::Error> {
        let made = Instant::now();
        let (connection, backend) = self.sessions.open().await?;
        Ok(Pooled { connection, backend, made, used: made })
    }

    /// Runs an operation until the server has answered, whether or not the caller still waits.
    async fn run<W: Work>(
        self: Arc<Self>,
        held: HeldConnection,
        step: W,
        mut caller: oneshot::Sender<Result<W::Answer, Failed>>,
    ) {
        let HeldConnection { mut pooled, permit } = held;
        let Some(answer) = self.answer(&mut pooled, &step, &mut caller).await else {
            drop(pooled);
            drop(permit);
            return;
        };
        if answer.as_ref().is_err_and(|failed| is_of_the_connection(&failed.error)) {
            drop(pooled);
            drop(permit);
        } else {
            self.give_back(HeldConnection { pooled, permit });
        }
        // The caller may have gone.
        let _ = caller.send(answer);
    }

    /// Returns the answer of the server, or `None` if the backend has ended without one.
    async fn answer<W: Work>(
        &self,
        pooled: &mut Pooled,
        step: &W,
        caller: &mut oneshot::Sender<Result<W::Answer, Failed>>,
    ) -> Option<Result<W::Answer, Failed>> {
        let mut running = pin!(step.run(&mut pooled.connection));
        tokio::select! {
            biased;
            answer = &mut running => return Some(answer),
            () = caller.closed() => {}
        }
        let _abandoned = self.abandoned.clone();
        tokio::select! {
            // An answer that has arrived takes precedence over the probe.
            biased;
            answer = running => Some(answer),
            () = self.ended(&pooled.backend) => None,
        }
    }

    /// Waits until a backend has ended, and ends it if it is idle.
    async fn ended(&self, backend: &Backend) {
        let probe = self.probe();
        let mut wait = self.step_timeout.min(LONGEST_BETWEEN_PROBES);
        loop {
            sleep(wait).await;
            // In a separate task: an answer to the operation must not interrupt the probe, whose connection is reused.
            let (probe, backend) = (probe.clone(), backend.clone());
            if let Ok(true) = tokio::spawn(async move { probe.has_ended(&backend).await }).await {
                return;
            }
            wait = (wait * 2).min(LONGEST_BETWEEN_PROBES);
        }
    }

    /// Returns the probe that all abandoned operations share.
    fn probe(&self) -> Arc<Probe> {
        let mut shared = self.probe.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let probe = Arc::new(Probe::new(self.sessions.clone()));
            *shared = Arc::downgrade(&probe);
            probe
        })
    }

    /// Returns a connection to the idle ones, unless another was found broken since it was made.
    fn give_back(&self, held: HeldConnection) {
        let HeldConnection { pooled, permit } = held;
        let now = Instant::now();
        let mut idle = self.idle();
        let oldest = idle.connections.first();
        let unneeded = oldest.is_some_and(|oldest| now.duration_since(oldest.used) >= LONGEST_IDLE);
        let unneeded = unneeded.then(|| idle.connections.remove(0));
        if idle.broken.is_none_or(|broken| pooled.made > broken) {
            idle.connections.push(Pooled { used: now, ..pooled });
        }
        drop(idle);
        drop(unneeded);
        // Last, so that the next operation finds the connection.
        drop(permit);
    }

    /// Closes the idle connections now, and those in use when they are returned, since none is newer than the broken
    /// one.
    fn distrust(&self) {
        let mut idle = self.idle();
        idle.broken = Some(Instant::now());
        let untrusted = std::mem::take(&mut idle.connections);
        drop(idle);
        drop(untrusted);
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, step: &str, failed: StepError) -> StoreError {
        let problem = match failed {
            StepError::Failed(failed) => return unavailable(step, failed.error),
            StepError::NoAnswer => "no answer in time".to_owned(),
            StepError::NoneFree(abandoned) => {
                let within = format!("no free connection within {} s", self.step_timeout.as_secs_f64());
                let operations = if abandoned == 1 { "operation" } else { "operations" };
                match abandoned {
                    0 => within,
                    _ => format!(
                        "{within}: the server has not answered {abandoned} earlier {operations}; check its synchronous \
                         standby and its disk"
                    ),
                }
            }
        };
        StoreError::unavailable(format!("PostgreSQL: {step}: {problem}"))
    }
}

const MOST_TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_BETWEEN_PROBES: Duration = Duration::from_secs(30);

/// Converts a received result. The sender is dropped without one only if its task panics or the runtime shuts down.
fn received<T>(received: Result<Result<T, Failed>, oneshot::error::RecvError>) -> Result<T, StepError> {
    received.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed.into())).map_err(StepError::Failed)
}

/// The condition under which an idle connection may be reused.
#[derive(Clone, Copy)]
enum Trust {
    Full,
    AfterPing,
    None,
}

impl Pooled {
    /// Returns whether the connection may be reused. One that was idle for long must be pinged first, because firewalls
    /// drop idle connections without notice. So must one that was last used before an operation timed out.
    fn trust(&self, silent: Option<Instant>) -> Trust {
        if self.made.elapsed() >= LONGEST_LIFE {
            Trust::None
        } else if self.used.elapsed() < LONG_IDLE && silent.is_none_or(|silent| self.used > silent) {
            Trust::Full
        } else {
            Trust::AfterPing
        }
    }

    async fn answers_a_ping(&mut self) -> bool {
        matches!(timeout(LONGEST_PING, self.connection.ping()).await, Ok(Ok(())))
    }
}

const LONG_IDLE: Duration = Duration::from_secs(10);
const LONGEST_PING: Duration = Duration::from_secs(1);
/// The memory of a backend grows over time, and the host name may resolve to another server by then.
const LONGEST_LIFE: Duration = Duration::from_secs(1800);
/// A connection that was idle for this long was opened for a burst of operations and is no longer needed.
const LONGEST_IDLE: Duration = Duration::from_secs(600);

/// A statement and its parameters.
#[derive(Clone)]
pub(super) struct BoundStatement {
    pub(super) name: &'static str,
    pub(super) statement: Arc<str>,
    pub(super) key: Option<(EventKey, Option<ClaimToken>)>,
    pub(super) seconds: Option<f64>,
    pub(super) most: Option<i64>,
}

impl Work for BoundStatement {
    type Answer = Option<PgRow>;

    fn name(&self) -> &'static str {
        self.name
    }

    async fn run(&self, connection: &mut PgConnection) -> Result<Option<PgRow>, Failed> {
        let mut query = sqlx::query(AssertSqlSafe(self.statement.clone()));
        if let Some((key, token)) = &self.key {
            query = query.bind(&key.as_bytes()[..]);
            if let Some(token) = token {
                query = query.bind(&token.as_bytes()[..]);
            }
        }
        if let Some(seconds) = self.seconds {
            query = query.bind(seconds);
        }
        if let Some(most) = self.most {
            query = query.bind(most);
        }
        // Reads the whole answer: an error at COMMIT comes after the row.
        Ok(query.fetch_all(connection).await?.into_iter().next())
    }
}

/// Parses a URL. Rejects unknown parameters, which sqlx would ignore with a warning that contains their values.
pub(super) fn options(url: &str) -> Result<PgConnectOptions, ConfigError> {
    let invalid = |problem: &str| ConfigError::new(format!("PostgreSQL: invalid URL: {problem}"));
    url::check(url, &["postgres", "postgresql"], PARAMETERS).map_err(|problem| invalid(&problem))?;
    PgConnectOptions::from_str(url).map_err(|error| invalid(&describe(&error)))
}

/// The URL parameters of sqlx, except those for settings that the store makes itself.
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

/// Returns whether a failure to connect may be temporary: the server is starting, or has too many connections.
fn is_temporary(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == ErrorKind::ConnectionRefused,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| ["53300", "57P03"].contains(&&*code)),
        _ => false,
    }
}

/// Returns whether the connection failed, so that the operation may succeed on another one.
fn is_of_the_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // The connection is lost, the server is shutting down or starting, it is no longer the primary, or it has
            // ended the session of a process that stood still in a transaction.
            code.starts_with("08") || ["57P01", "57P02", "57P03", "57P05", "25006", "25P03"].contains(&&*code)
        }),
        _ => false,
    }
}

pub(super) fn unavailable(step: &str, error: sqlx::Error) -> StoreError {
    StoreError::unavailable(format!("PostgreSQL: {step}: {}", describe(&error))).with_source(error)
}

/// Returns the error of an operation in a transaction of the application.
#[cfg(feature = "sqlx-09")]
pub(super) fn error_in(operation: &str, error: sqlx::Error) -> StoreError {
    if !location::is_of_another_database(&error) {
        return unavailable(operation, error);
    }
    StoreError::unavailable(format!(
        "PostgreSQL: {operation}: the transaction is on another database than this store; begin it on a connection to \
         the store's database"
    ))
    .with_source(error)
}
