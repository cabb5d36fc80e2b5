//! The part of a worker that its slots share.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::Mutex;

use super::alone::Gate;
use super::breaker::Breaker;
use super::report::{AttemptReport, OnAttempt};
use super::retry::Retry;
use super::service::Handler;
use crate::dedupe::StoreFuture;
use crate::dedupe::inbox::store::InboxStore;
use crate::error::StoreError;
use crate::handling::Permits;
use crate::inbox::Inbox;
use crate::isolated::isolated;
use crate::observe::inbox::LineLimit;
use crate::observe::{caught, discard};
use crate::receiver::Receiver;
use crate::time::in_time;

/// The part of a worker that its slots share.
pub(super) struct Shared {
    pub(super) receiver: Receiver,
    pub(super) inbox: Inbox,
    pub(super) attempts: Arc<Permits>,
    pub(super) handler: Box<dyn Handler>,
    pub(super) on_attempt: Option<OnAttempt>,
    pub(super) retry: Retry,
    pub(super) retain_done: Duration,
    pub(super) retain_dead: Option<Duration>,
    pub(super) gate: Arc<Gate>,
    pub(super) breaker: Arc<Breaker>,
    /// Held by the slot that waits for events, so that an idle worker asks the store once for all of them.
    pub(super) poller: Arc<Mutex<()>>,
    pub(super) limit: LineLimit,
}

impl Shared {
    /// Calls the callback of the application, if there is one.
    pub(super) fn report(&self, report: &AttemptReport<'_>) {
        if let Some(on_attempt) = &self.on_attempt {
            isolated(|| on_attempt(report));
        }
    }

    /// Runs one operation of the inbox with the receiver's timeout for stores.
    pub(super) async fn answer<'s, T>(
        &'s self,
        step: impl FnOnce(&'s dyn InboxStore) -> StoreFuture<'s, T>,
    ) -> Result<T, StoreError> {
        let limit = self.receiver.settings().store_timeout;
        self.answer_within(limit, || step(&*self.inbox.tables)).await
    }

    /// Runs operations of the inbox with a timeout. A panic of the store counts as unavailable.
    pub(super) async fn answer_within<'s, T>(
        &'s self,
        limit: Duration,
        step: impl FnOnce() -> StoreFuture<'s, T>,
    ) -> Result<T, StoreError> {
        let answer = Self::caught_within(limit, step).await;
        self.inbox.record_of_worker(answer.is_ok());
        answer
    }

    async fn caught_within<'s, T>(limit: Duration, step: impl FnOnce() -> StoreFuture<'s, T>) -> Result<T, StoreError> {
        let panicked = || StoreError::unavailable("the store panicked");
        let stepped = caught(step).ok_or_else(panicked)?;
        match in_time(limit, AssertUnwindSafe(stepped).catch_unwind()).await {
            Some(Ok(answer)) => answer,
            Some(Err(payload)) => {
                discard(payload);
                Err(panicked())
            }
            None => Err(StoreError::unavailable("the store did not answer in time")),
        }
    }
}
