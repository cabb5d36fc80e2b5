//! The state of a worker that runs.

use std::fmt;
use std::sync::Arc;

use super::breaker::Breaker;

/// A view of the state of a [`Worker`](crate::Worker), from [`Worker::status`](crate::Worker::status). Cheap to clone.
///
/// It belongs to this worker: other instances have breakers of their own.
#[derive(Clone)]
pub struct WorkerStatus(Arc<Breaker>);

impl WorkerStatus {
    pub(super) fn new(breaker: Arc<Breaker>) -> Self {
        WorkerStatus(breaker)
    }

    /// Returns whether the worker finds the application unreachable, so that its stored events wait, and only one at a
    /// time probes the application. The metric `medhook_inbox_breaker_open` is 1 then.
    #[must_use]
    pub fn is_breaker_open(&self) -> bool {
        self.0.is_open()
    }
}

impl fmt::Debug for WorkerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerStatus").field("is_breaker_open", &self.is_breaker_open()).finish()
    }
}
