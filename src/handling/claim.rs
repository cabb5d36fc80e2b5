//! The claim of one event, from the attempt until it is settled.

#![allow(clippy::manual_async_fn, reason = "an async fn stores each argument twice")]

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, pending};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use super::panics::Guarded;
use super::permits::Permit;
use super::settings::{OnStoreError, Settings};
use crate::answered::Answered;
use crate::claim_token::ClaimToken;
use crate::dedupe::{Claimed, DedupeStore, Settled, StoreFuture};
use crate::delivery::Delivery;
use crate::error::{Reason, StoreError};
use crate::event_key::EventKey;
use crate::observe::{self, caught};
use crate::rejection::Rejection;
use crate::time::{in_time, unless};

/// The claim of a delivery's event, with the delivery's permit. Exists from before the claim is attempted until it is
/// settled.
pub(super) struct Claim {
    pub(super) delivery: Delivery,
    pub(super) token: ClaimToken,
    /// The key under which the store records the event.
    key: EventKey,
    pub(super) settings: Arc<Settings>,
    pub(super) permit: Permit,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("delivery", &self.delivery).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ClaimEnding {
    Commit,
    Release,
    /// Releases a claim whose outcome is unknown because the store did not answer. If the claim is still under way, it
    /// has no effect after the release. `Lost` is expected here and is not reported.
    Disown,
    /// Records that the handler of a recorded delivery failed, or did not run because the store did not answer. The
    /// event's claim ends after that, so that the limit has room for the next delivery of the event.
    Failure(EventKey, AfterFailure),
}

/// The fate of the claim after a failure was recorded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterFailure {
    /// There is no claim.
    Nothing,
    Release,
    Disown,
}

impl ClaimEnding {
    /// Returns what remains to be done after this.
    pub(super) fn next(self) -> Option<ClaimEnding> {
        match self {
            ClaimEnding::Failure(_, after) => after.ending(),
            ClaimEnding::Commit | ClaimEnding::Release | ClaimEnding::Disown => None,
        }
    }
}

impl AfterFailure {
    pub(super) fn ending(self) -> Option<ClaimEnding> {
        match self {
            AfterFailure::Nothing => None,
            AfterFailure::Release => Some(ClaimEnding::Release),
            AfterFailure::Disown => Some(ClaimEnding::Disown),
        }
    }
}

impl Claim {
    /// Prepares the claim of a delivery's event, without a call to the store.
    #[inline]
    pub(super) fn new(delivery: Delivery, token: ClaimToken, settings: Arc<Settings>, permit: Permit) -> Self {
        let key = settings.store_key(&delivery);
        let delivery = delivery.with_claim_token(token, settings.store_id);
        Claim { delivery, token, key, settings, permit }
    }

    pub(super) fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// Claims the event, runs the handler, and settles the claim.
    pub(super) fn run<T>(
        self,
        handler: Guarded<'_, impl Future<Output = T> + Unpin>,
        answered: Guarded<'_, impl FnOnce(&T) -> Answered>,
    ) -> impl Future<Output = Result<T, Rejection>> {
        async move {
            let claimed = match self.acquire().await {
                Ok(Claimed::Acquired) => true,
                Ok(Claimed::AlreadyHandled) => return Err(Reason::Duplicate.into()),
                Ok(Claimed::InFlight { retry_after }) => return Err(Rejection::in_flight(retry_after)),
                Err(error) if self.settings.on_store_error == OnStoreError::HandleUnclaimed => {
                    observe::unclaimed(self.delivery.subject(), &error);
                    false
                }
                Err(error) => {
                    let maybe_claimed = !error.is_full();
                    return Err(self.reject(error, maybe_claimed.then_some(ClaimEnding::Disown)));
                }
            };
            self.run_claimed(claimed, handler, answered).await
        }
    }

    /// Rejects the delivery because of the store. A claim that it may have made ends in the background.
    pub(super) fn reject(mut self, error: StoreError, ending: Option<ClaimEnding>) -> Rejection {
        let rejection = Rejection::store(error);
        self.permit.finish();
        if let Some(ending) = ending {
            self.settle_in_background(ending);
        }
        rejection
    }

    /// Runs the handler, and settles the claim if there is one. Without one, the event is claimed by the first renewal
    /// that the store answers.
    pub(super) fn run_claimed<T>(
        mut self,
        claimed: bool,
        handler: Guarded<'_, impl Future<Output = T> + Unpin>,
        answered: Guarded<'_, impl FnOnce(&T) -> Answered>,
    ) -> impl Future<Output = Result<T, Rejection>> {
        async move {
            observe::new_event(self.delivery.facts());
            let handled = self.handle(handler, answered, || Some(self.settings.part_of_lease(3))).await;
            let (ending, result) = match handled {
                Ok((answer, succeeded)) => {
                    self.permit.finish();
                    (if succeeded { ClaimEnding::Commit } else { ClaimEnding::Release }, Ok(answer))
                }
                Err(reason) => (ClaimEnding::Release, Err(reason.into())),
            };
            if claimed {
                self.settle(ending).await;
            } else {
                // There is a single attempt to record the event, since retries would hold a permit that another
                // delivery needs.
                tokio::spawn(async move { self.try_settle(ending).await });
            }
            result
        }
    }

    /// Runs the handler. While it is pending, renews the claim if there is one, for the first time after
    /// `renewed_after`, which is called after the first poll. Returns the handler's answer, and whether it succeeded.
    pub(super) async fn handle<T>(
        &self,
        mut handler: Guarded<'_, impl Future<Output = T> + Unpin>,
        answered: Guarded<'_, impl FnOnce(&T) -> Answered>,
        renewed_after: impl Fn() -> Option<Duration>,
    ) -> Result<(T, bool), Reason> {
        let watch = observe::Stopwatch::start();
        let running = AssertUnwindSafe(&mut handler).catch_unwind();
        let ran = match unless(running, || self.interrupted(renewed_after())).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(payload)) => {
                drop(Guarded::new(payload, &self.delivery));
                Err(Reason::HandlerPanicked)
            }
            Err(reason) => Err(reason),
        };
        // Before the claim is released: an unfinished handler is canceled by dropping it.
        drop(handler);
        let answer = ran?;
        let Some(answered) = answered.consume(|answered| answered(&answer)) else {
            // Whether the handler succeeded is unknown.
            drop(Guarded::new(answer, &self.delivery));
            return Err(Reason::HandlerPanicked);
        };
        observe::finished(self.delivery.subject(), answered, watch);
        Ok((answer, answered.succeeded()))
    }

    /// Renews the claim until the handler must end, and returns the reason.
    async fn interrupted(&self, renewed_after: Option<Duration>) -> Reason {
        let renewing = async {
            match renewed_after {
                Some(wait) => self.keep_renewing(wait).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = sleep(self.settings.handler_timeout) => Reason::HandlerTimeout,
            () = self.permit.canceled() => Reason::HandlerCanceled,
            never = renewing => match never {},
        }
    }

    /// Renews the claim, for the first time after `wait`.
    async fn keep_renewing(&self, mut wait: Duration) -> Infallible {
        let settings = &*self.settings;
        loop {
            sleep(wait).await;
            wait = match self.renew().await {
                Ok(Settled::Settled) => settings.part_of_lease(3),
                Ok(Settled::Lost) => {
                    self.delivery.lose_claim();
                    observe::claim_lost(self.delivery.subject());
                    pending().await
                }
                Err(error) => {
                    observe::settle_failed(self.delivery.subject(), "renew", &error);
                    settings.part_of_lease(10)
                }
            };
        }
    }

    /// Settles the claim. If the store fails, continues in the background, so that the handler's answer is sent now.
    pub(super) fn settle(self, ending: ClaimEnding) -> impl Future<Output = ()> {
        async move {
            if !self.try_settle(ending).await {
                self.settle_in_background(ending);
            }
        }
    }

    pub(super) fn settle_in_background(self, mut ending: ClaimEnding) {
        tokio::spawn(async move {
            let settings = self.settings.clone();
            let began = Instant::now();
            let longest = match ending {
                ClaimEnding::Commit => settings.retention.total.min(LONGEST_SETTLING),
                // By then the lease has expired. A record of deliveries is advisory.
                ClaimEnding::Release | ClaimEnding::Disown | ClaimEnding::Failure(..) => settings.lease,
            };
            let mut wait = FIRST_RETRY;
            loop {
                let canceled = tokio::select! {
                    () = sleep(wait) => false,
                    // One last attempt follows.
                    () = self.permit.canceled() => true,
                };
                while self.try_settle(ending).await {
                    let Some(next) = ending.next() else { return };
                    ending = next;
                }
                if canceled || began.elapsed() >= longest {
                    return;
                }
                wait = wait.saturating_mul(2).min(settings.part_of_lease(3));
                if ending == ClaimEnding::Commit {
                    // A renewal may succeed although the commit failed, and keeps the event claimed until the
                    // next attempt.
                    if let Err(error) = self.renew().await {
                        observe::settle_failed(self.delivery.subject(), "renew", &error);
                    }
                }
            }
        });
    }

    /// Takes one step, and returns whether it is done: [`next`](ClaimEnding::next) may remain.
    pub(super) async fn try_settle(&self, ending: ClaimEnding) -> bool {
        let settings = &*self.settings;
        let settled = match ending {
            ClaimEnding::Commit => match settings.store.in_process() {
                Some(store) => store.commit_now(self.key, self.token, settings.retention),
                None => self.answer(|store| store.commit(self.key, self.token, settings.retention)).await,
            },
            ClaimEnding::Release | ClaimEnding::Disown => match settings.store.in_process() {
                Some(store) => store.release_now(self.key, self.token),
                None => self.answer(|store| store.release(self.key, self.token)).await,
            },
            ClaimEnding::Failure(body, _) => {
                self.answer(|store| store.record_failure(body)).await.map(|()| Settled::Settled)
            }
        };
        match settled {
            Ok(Settled::Settled) => true,
            Ok(Settled::Lost) => {
                if ending != ClaimEnding::Disown && !self.delivery.claim_lost() {
                    self.delivery.lose_claim();
                    observe::claim_lost(self.delivery.subject());
                }
                true
            }
            Err(error) => {
                let step = match ending {
                    ClaimEnding::Commit => "commit",
                    ClaimEnding::Release | ClaimEnding::Disown => "release",
                    ClaimEnding::Failure(..) => "record failure",
                };
                observe::settle_failed(self.delivery.subject(), step, &error);
                false
            }
        }
    }

    pub(super) async fn acquire(&self) -> Result<Claimed, StoreError> {
        let (key, lease) = (self.key, self.settings.lease);
        match self.settings.store.in_process() {
            Some(store) => store.claim_now(key, self.token, lease),
            None => self.answer(|store| store.claim(key, self.token, lease)).await,
        }
    }

    async fn renew(&self) -> Result<Settled, StoreError> {
        let (key, lease) = (self.key, self.settings.lease);
        self.answer(|store| store.renew(key, self.token, lease)).await
    }

    /// Runs one store operation with `store_timeout`. A panic of the store counts as unavailable: it must not end the
    /// handler, and whether the operation took effect is unknown.
    pub(super) fn answer<'s, T>(
        &'s self,
        step: impl FnOnce(&'s dyn DedupeStore) -> StoreFuture<'s, T>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        async move {
            match caught(|| step(&*self.settings.store)) {
                Some(stepped) => self.in_store_timeout(stepped).await,
                None => Err(panicked()),
            }
        }
    }

    /// Waits for the store for up to `store_timeout`. A panic counts as unavailable.
    pub(super) fn in_store_timeout<T>(
        &self,
        stepped: impl Future<Output = Result<T, StoreError>> + Unpin,
    ) -> impl Future<Output = Result<T, StoreError>> {
        self.in_timeout(self.settings.store_timeout, stepped)
    }

    /// Runs a step of the store for a limited time.
    pub(super) fn in_timeout<T>(
        &self,
        limit: Duration,
        stepped: impl Future<Output = Result<T, StoreError>> + Unpin,
    ) -> impl Future<Output = Result<T, StoreError>> {
        async move {
            let stepped = AssertUnwindSafe(Guarded::new(stepped, &self.delivery)).catch_unwind();
            match in_time(limit, stepped).await {
                Some(Ok(answer)) => answer,
                Some(Err(payload)) => {
                    drop(Guarded::new(payload, &self.delivery));
                    Err(panicked())
                }
                None => Err(StoreError::unavailable("the store did not answer in time")),
            }
        }
    }
}

fn panicked() -> StoreError {
    StoreError::unavailable("the store panicked")
}

pub(super) const FIRST_RETRY: Duration = Duration::from_millis(100);

/// The time for which a commit is retried. It holds a permit of the receiver during this time, so that a store that
/// stays unavailable leads to 503 responses and not to unbounded memory.
const LONGEST_SETTLING: Duration = Duration::from_secs(3600);
