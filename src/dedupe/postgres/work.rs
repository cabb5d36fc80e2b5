//! The work of an operation on one connection: a statement, or a small transaction.

use std::time::Duration;

use sqlx::postgres::PgConnection;

/// The work of one operation. It is cloned and run again on another connection if the first is found broken.
pub(super) trait Work: Clone + Send + Sync + 'static {
    type Answer: Send + 'static;

    /// Returns the name of the operation, for errors.
    fn name(&self) -> &'static str;

    /// Does the work. It must read the whole answer: an error at COMMIT comes after the rows.
    fn run(&self, connection: &mut PgConnection) -> impl Future<Output = Result<Self::Answer, Failed>> + Send;
}

/// A failure of the work.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: sqlx::Error,
    /// Whether the work may be repeated on another connection.
    pub(super) repeatable: bool,
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Failed { error, repeatable: true }
    }
}

/// Returns a time as the statements take it, at most ten years.
pub(super) fn seconds(time: Duration) -> f64 {
    const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    time.min(FAR).as_secs_f64()
}
