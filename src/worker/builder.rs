//! The builder of a worker.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

use super::Worker;
use super::alone::Gate;
use super::breaker::Breaker;
use super::handled::Handled;
use super::report::{AttemptReport, OnAttempt};
use super::retry::Retry;
use super::service::{Cloned, Closure, Handler};
use super::shared::Shared;
use crate::delivery::Delivery;
use crate::error::ConfigError;
use crate::observe::inbox::LineLimit;
use crate::receiver::Receiver;

/// A builder of a [`Worker`]. Every option has a default.
#[must_use = "a builder does nothing until `handler` or `service`"]
pub struct WorkerBuilder {
    receiver: Receiver,
    retry: Retry,
    workers: usize,
    pub(super) gate: Gate,
    retain_done: Duration,
    retain_dead: Option<Duration>,
    on_attempt: Option<OnAttempt>,
}

impl Worker {
    /// Creates a builder for a worker of this receiver, which must have an [`inbox`](crate::Builder::inbox).
    pub fn builder(receiver: &Receiver) -> WorkerBuilder {
        WorkerBuilder::new(receiver.clone())
    }
}

impl WorkerBuilder {
    pub(super) fn new(receiver: Receiver) -> Self {
        WorkerBuilder {
            receiver,
            retry: Retry::default(),
            workers: 16,
            gate: Gate::of_process(),
            retain_done: Duration::ZERO,
            retain_dead: None,
            on_attempt: None,
        }
    }

    /// Sets the policy for failed attempts. The default waits for 5 s, doubled up to 10 min, and gives up after 72 h.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Sets how many events are handled at the same time. The default is 16, the maximum 10,000. Each holds
    /// its body in memory.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets how long the body of an event that is done is kept, so that it can be replayed. By default it is deleted in
    /// the transaction that finishes the event.
    pub fn retain_done(mut self, time: Duration) -> Self {
        self.retain_done = time;
        self
    }

    /// Sets after what time dead events are deleted with their bodies. By default they are kept until an operator
    /// discards them.
    pub fn retain_dead(mut self, time: Duration) -> Self {
        self.retain_dead = Some(time);
        self
    }

    /// Sets a callback for the end of each attempt, once its result is recorded. It can write a line of the
    /// application's own, for example: only the worker knows whether a failed attempt is the last one.
    ///
    /// It is called once for each attempt with a line in the log, also for events that are dead without an attempt of
    /// this process because they are `damaged` or `crashed`; and for an attempt whose result could not be recorded. It
    /// is not called for events that wait because they cannot be opened. It must not block, since the worker waits for
    /// it. A panic in it is ignored.
    ///
    /// ```no_run
    /// # fn example(receiver: medhook::Receiver) -> Result<(), medhook::ConfigError> {
    /// use medhook::{AttemptOutcome, Delivery, Worker};
    ///
    /// let worker = Worker::builder(&receiver)
    ///     .on_attempt(|report| {
    ///         if let AttemptOutcome::Dead { reason } = report.outcome {
    ///             eprintln!("event {} is dead: {reason}", report.id);
    ///         }
    ///     })
    ///     .handler(async |delivery: Delivery| delivery.body().len() > 2)?;
    /// # tokio::spawn(worker.run());
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_attempt(mut self, callback: impl Fn(&AttemptReport<'_>) + Send + Sync + 'static) -> Self {
        self.on_attempt = Some(Box::new(callback));
        self
    }

    /// Builds a worker with a closure, which is called for each attempt. See [`Handled`] for what it can return.
    ///
    /// Its future runs as a task of its own. It may run more than once for an event, also after it has succeeded: when
    /// the process dies before the result is recorded. An effect that must happen once belongs in a transaction with
    /// `finish_in` of the store.
    ///
    /// # Errors
    /// Returns an error if the receiver has no inbox, or an option is invalid.
    pub fn handler<F, T>(self, handler: F) -> Result<Worker, ConfigError>
    where
        F: Fn(Delivery) -> T + Send + Sync + 'static,
        T: Future<Output: Into<Handled>> + Send + 'static,
    {
        self.build(Box::new(Closure(handler)))
    }

    /// Builds a worker with a tower service, such as a `Router`. Each attempt calls a clone of it, with a POST request
    /// to the path at which the event arrived. The request has the body, its `content-type` if there was one, no other
    /// header, and the [`Delivery`] in its extensions. The status of the response decides, unless the extensions of the
    /// response contain a [`Handled`]. An error of the service is a failed attempt.
    ///
    /// A service for every type of body, such as an axum `Router`, needs that type here:
    /// `.service::<axum::body::Body, _>(router)`.
    ///
    /// # Errors
    /// Returns an error if the receiver has no inbox, or an option is invalid.
    pub fn service<B, R>(
        self,
        service: impl Service<Request<B>, Response = Response<R>, Future: Send> + Clone + Send + 'static,
    ) -> Result<Worker, ConfigError>
    where
        B: From<Bytes> + Send + 'static,
    {
        self.build(Box::new(Cloned::new(service)))
    }

    fn build(self, handler: Box<dyn Handler>) -> Result<Worker, ConfigError> {
        let name = self.receiver.name().to_owned();
        self.try_build(handler).map_err(|error| error.within(format_args!("worker of receiver {name}")))
    }

    fn try_build(self, handler: Box<dyn Handler>) -> Result<Worker, ConfigError> {
        let inbox = self.receiver.inbox().cloned();
        let inbox = inbox.ok_or_else(|| ConfigError::new("the receiver has no inbox; set `inbox` of its builder"))?;
        if self.workers == 0 {
            return Err(ConfigError::new("workers must be greater than 0"));
        }
        if self.workers > MOST_WORKERS {
            return Err(ConfigError::new(format!("workers must be at most {MOST_WORKERS}")));
        }
        self.retry.check()?;
        let attempts = self.receiver.attempts(self.workers)?;
        Ok(Worker {
            workers: self.workers,
            shared: Arc::new(Shared {
                inbox,
                attempts,
                receiver: self.receiver,
                handler,
                on_attempt: self.on_attempt,
                retry: self.retry,
                retain_done: self.retain_done,
                retain_dead: self.retain_dead,
                gate: Arc::new(self.gate),
                breaker: Arc::new(Breaker::default()),
                poller: Arc::default(),
                limit: LineLimit::default(),
            }),
        })
    }
}

/// Each is a task, also while it has no event.
const MOST_WORKERS: usize = 10_000;

impl fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerBuilder").finish_non_exhaustive()
    }
}
