//! Operations of the inbox, and their repetition.

use std::pin::Pin;
use std::sync::Arc;

use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::super::work::{Failed, Work};

/// Work given by a function.
pub(super) struct Task<T> {
    name: &'static str,
    mode: TaskMode,
    steps: Arc<Steps<T>>,
}

type Steps<T> = dyn for<'c> Fn(&'c mut PgConnection) -> TaskAnswer<'c, T> + Send + Sync;
pub(super) type TaskAnswer<'c, T> = Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'c>>;

/// The way in which the steps are committed.
#[derive(Clone, Copy)]
pub(super) enum TaskMode {
    /// One statement, which can be repeated: the server commits it by itself.
    Statement,
    /// A transaction that can be repeated.
    Repeatable,
    /// A transaction whose repetition would have another effect. It is repeated only if it was not committed for
    /// certain: the connection broke before the COMMIT was sent.
    Once,
}

impl<T> Task<T> {
    pub(super) fn new(
        name: &'static str,
        mode: TaskMode,
        steps: impl for<'c> Fn(&'c mut PgConnection) -> TaskAnswer<'c, T> + Send + Sync + 'static,
    ) -> Self {
        Task { name, mode, steps: Arc::new(steps) }
    }
}

impl<T> Clone for Task<T> {
    fn clone(&self) -> Self {
        Task { name: self.name, mode: self.mode, steps: self.steps.clone() }
    }
}

impl<T: Send + 'static> Work for Task<T> {
    type Answer = T;

    fn name(&self) -> &'static str {
        self.name
    }

    async fn run(&self, connection: &mut PgConnection) -> Result<T, Failed> {
        if let TaskMode::Statement = self.mode {
            return Ok((self.steps)(connection).await?);
        }
        let mut transaction = connection.begin().await?;
        match (self.steps)(&mut transaction).await {
            Ok(answer) => {
                let repeatable = matches!(self.mode, TaskMode::Repeatable);
                transaction.commit().await.map_err(|error| Failed { error, repeatable })?;
                Ok(answer)
            }
            Err(error) => {
                // Now, since locks would otherwise be held until the connection is used again.
                transaction.rollback().await?;
                Err(error.into())
            }
        }
    }
}
