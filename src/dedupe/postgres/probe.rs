//! Checks the backends of abandoned operations: those without an answer whose callers have stopped waiting.
//!
//! Such a backend may be waiting in its COMMIT; then its permit must be kept. Or the network has lost the statement or
//! its answer; then neither side would ever notice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Row;
use sqlx::postgres::PgConnection;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::session::{Backend, LONGEST_CONNECT, Sessions};

/// One additional connection, on which all abandoned operations of a store are checked. It is opened for the first
/// check and closed with the last abandoned operation.
pub(super) struct Probe {
    sessions: Arc<Sessions>,
    /// Locked during a check, so that there is never a second connection.
    state: Mutex<ProbeState>,
}

#[derive(Default)]
struct ProbeState {
    connection: Option<PgConnection>,
    failed: Option<Instant>,
}

impl Probe {
    pub(super) fn new(sessions: Arc<Sessions>) -> Self {
        Probe { sessions, state: Mutex::default() }
    }

    /// Returns whether a backend has ended. Terminates an idle backend, also one that is idle in a transaction: it
    /// did not receive the statement, or its answer was lost. The future must not be dropped before it completes.
    pub(super) async fn has_ended(&self, backend: &Backend) -> bool {
        let mut state = self.state.lock().await;
        if state.failed.is_some_and(|failed| failed.elapsed() < BETWEEN_FAILURES) {
            return false;
        }
        // A connection without an answer in time is closed.
        let connection = state.connection.take();
        match timeout(LONGEST_CONNECT, self.check(connection, backend)).await {
            Ok(Ok((connection, ended))) => {
                *state = ProbeState { connection: Some(connection), failed: None };
                ended
            }
            Ok(Err(_)) => false,
            Err(_) => {
                state.failed = Some(Instant::now());
                false
            }
        }
    }

    async fn check(
        &self,
        connection: Option<PgConnection>,
        backend: &Backend,
    ) -> Result<(PgConnection, bool), sqlx::Error> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => self.sessions.open().await?.0,
        };
        // The answer of a backend that has just become idle may still be in transit.
        let check = "SELECT CASE WHEN state LIKE 'idle%' AND state_change < clock_timestamp() - interval '1 second'
                THEN pg_terminate_backend(pid) ELSE false END
            FROM pg_stat_activity WHERE pid = $1 AND extract(epoch FROM backend_start)::text IS NOT DISTINCT FROM $2";
        let query = sqlx::query(check).bind(backend.pid).bind(&backend.started);
        let found = query.fetch_optional(&mut connection).await?;
        let ended = found.map_or(Ok(true), |row| row.try_get(0))?;
        Ok((connection, ended))
    }
}

/// The wait after a check without an answer: each new connection may leave another hanging backend on the
/// server.
const BETWEEN_FAILURES: Duration = Duration::from_secs(30);
