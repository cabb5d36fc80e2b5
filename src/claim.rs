//! From proof to answer: claim, handle, settle. Written once, for every framework.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, watch};
use tokio::task::JoinHandle;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep, timeout};

use crate::dedupe::{ClaimToken, Claimed, DedupeStore, Settled, StoreFuture};
use crate::receiver::{Inner, Receiver};
use crate::time::in_time;
use crate::{Delivery, OnStoreError, Outcome, Reason, Rejection, StoreError, observe};

impl Receiver {
    /// Lets a delivery in, if there is room for another handler. Rejections are logged and counted.
    ///
    /// # Errors
    /// [`Reason::TooBusy`] or [`Reason::Draining`]; or [`Reason::SignatureMismatch`], if it is another receiver's.
    pub fn admit(&self, delivery: Delivery) -> Result<Admitted, Rejection> {
        let entered =
            if delivery.receiver().is(self) { self.0.admission.enter() } else { Err(Reason::SignatureMismatch) };
        match entered {
            Ok(slot) => {
                let token = self.0.admission.token();
                self.0.admission.unfinished.fetch_add(1, Ordering::SeqCst);
                let claim = Claim { token, delivery: delivery.held(token), slot: Some(slot), unfinished: true };
                Ok(Admitted { claim, span: observe::current_span() })
            }
            Err(reason) => {
                let rejection = Rejection::from(reason);
                observe::not_handled(&delivery, &rejection);
                Err(rejection)
            }
        }
    }

    /// Shuts the receiver down: new deliveries are answered 503, those being handled may finish. What still runs
    /// `within` that time is given up and its claim released, so that another instance can handle the event at once.
    ///
    /// Returns how many were given up. Afterwards the receiver stays shut. `Shutdown` (feature `shutdown`) drains all
    /// receivers of an application under one deadline, when the process is signaled to stop.
    ///
    /// # Panics
    /// Outside a tokio runtime with its timer enabled.
    pub async fn drain(&self, within: Duration) -> usize {
        self.drain_until(sleep(within)).await
    }

    /// Drains the receiver and gives up what still runs when `deadline` resolves.
    pub(crate) async fn drain_until(&self, deadline: impl Future<Output = ()>) -> usize {
        let admission = &self.0.admission;
        admission.draining.store(true, Ordering::SeqCst);
        let all_settled = tokio::select! {
            biased;
            _ = admission.slots.acquire_many(admission.most) => true,
            () = deadline => false,
        };
        let mut given_up = 0;
        if !all_settled {
            given_up = admission.unfinished.load(Ordering::SeqCst);
            admission.give_up.send_replace(true);
            // What is released is answered by the store, and a store may be down.
            let released = admission.slots.acquire_many(admission.most);
            if timeout(self.0.store_timeout, released).await.is_err() {
                let unsettled = (admission.most as usize).saturating_sub(admission.slots.available_permits());
                observe::unsettled(self, unsettled);
            }
        }
        admission.slots.close();
        given_up
    }
}

/// How many may be handled at once, and whether any may still come in.
pub(crate) struct Admission {
    slots: Arc<Semaphore>,
    most: u32,
    draining: AtomicBool,
    give_up: watch::Sender<bool>,
    /// Deliveries without an outcome yet. Claims that are only settled hold a slot, too, but are not among them.
    unfinished: AtomicUsize,
    token_seed: [u8; 8],
    tokens: AtomicU64,
}

impl Admission {
    pub(crate) fn new(most: usize) -> Result<Self, getrandom::Error> {
        let mut token_seed = [0; 8];
        getrandom::fill(&mut token_seed)?;
        let most = u32::try_from(most.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Ok(Admission {
            slots: Arc::new(Semaphore::new(most as usize)),
            most,
            draining: AtomicBool::new(false),
            give_up: watch::Sender::new(false),
            unfinished: AtomicUsize::new(0),
            token_seed,
            tokens: AtomicU64::new(0),
        })
    }

    pub(crate) fn is_open(&self) -> Result<(), Reason> {
        if self.draining.load(Ordering::SeqCst) { Err(Reason::Draining) } else { Ok(()) }
    }

    fn enter(&self) -> Result<OwnedSemaphorePermit, Reason> {
        self.is_open()?;
        let slot = self.slots.clone().try_acquire_owned().map_err(|error| match error {
            TryAcquireError::NoPermits => Reason::TooBusy,
            TryAcquireError::Closed => Reason::Draining,
        })?;
        // Whoever drains either sees this place taken or was seen here.
        self.is_open()?;
        Ok(slot)
    }

    /// Random for this receiver, then counted: no two claims ever share one.
    fn token(&self) -> ClaimToken {
        let count = self.tokens.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut token = [0; 16];
        for (byte, source) in token.iter_mut().zip(self.token_seed.iter().chain(&count)) {
            *byte = *source;
        }
        ClaimToken::from_bytes(token)
    }

    async fn given_up(&self) {
        let mut give_up = self.give_up.subscribe();
        // The sender lives in the receiver that the caller holds.
        let _ = give_up.wait_for(|now| *now).await;
    }
}

/// A delivery on its way to its handler.
#[derive(Debug)]
#[must_use = "the delivery is not handled until `run`"]
pub struct Admitted {
    claim: Claim,
    span: observe::Span,
}

impl Admitted {
    /// The delivery, as its handler is to see it.
    #[must_use]
    pub fn delivery(&self) -> &Delivery {
        &self.claim.delivery
    }

    /// Claims the event, runs the handler, settles the claim, and gives the handler's answer.
    ///
    /// Run it [detached]: a sender that hangs up must not stop a handler half-way, nor leave a claim behind.
    /// A handler must not block its thread: the claim is renewed by the same task, and would be lost after a lease.
    /// `succeeded` says whether an answer counts as handled; for HTTP, whether it is 2xx.
    ///
    /// # Errors
    /// [`Reason::Duplicate`], [`Reason::InFlight`], [`Reason::StoreUnavailable`] or [`Reason::StoreFull`] (the last two
    /// unless [`OnStoreError`] says otherwise): the handler did not run. [`Reason::HandlerPanicked`], [`Reason::HandlerTimeout`] or [`Reason::Draining`]: it did not finish,
    /// and the event can be claimed again.
    ///
    /// # Panics
    /// Outside a tokio runtime with its timer enabled.
    pub fn run<T>(
        self,
        handler: impl Future<Output = T>,
        succeeded: impl FnOnce(&T) -> bool,
    ) -> impl Future<Output = Result<T, Rejection>> {
        let Admitted { claim, span } = self;
        // Boxed here once and before anything waits, so that nothing that carries the future has to be as large as the
        // handler.
        let handler = Box::pin(handler);
        observe::within(span, async move {
            let delivery = claim.delivery.clone();
            let result = claim.run(handler, succeeded).await;
            if let Err(rejection) = &result {
                observe::not_handled(&delivery, rejection);
            }
            result
        })
    }
}

/// Runs work to its end, whoever stops waiting for it: what is not done at the first go goes on as a task of its own.
/// `None` if it panicked, or the runtime is shutting down.
///
/// Nobody can stop waiting in the middle of the first go, so a task for it would be made in vain: a handler that waits
/// for nothing needs none.
pub fn detached<F: Future>(
    work: F,
    spawn: impl FnOnce(Pin<Box<F>>) -> JoinHandle<F::Output>,
) -> impl Future<Output = Option<F::Output>> {
    let mut work = Box::pin(work);
    async move {
        let mut at_once = |context: &mut Context<'_>| catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        match poll_fn(|context| Poll::Ready(at_once(context))).await {
            Ok(Poll::Ready(output)) => Some(output),
            Ok(Poll::Pending) => spawn(work).await.ok(),
            Err(_panic) => None,
        }
    }
}

/// The right to handle an event; held from before it is asked for until it is settled, and with it one of the places
/// that [`Admission`] gives out.
struct Claim {
    delivery: Delivery,
    token: ClaimToken,
    slot: Option<OwnedSemaphorePermit>,
    /// Counted among the deliveries without an outcome.
    unfinished: bool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.finish();
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim").field("delivery", &self.delivery).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Commit,
    Release,
    /// Of a claim whose answer got lost: it may have been made all the same, or be made yet, by a store that hung and goes
    /// on with what it was asked. So it is released twice, the second time after whatever was under way; and if someone
    /// else has the event, nothing was lost that was had.
    Disown,
}

impl Claim {
    /// The delivery has its outcome; the claim may still have to be settled.
    fn finish(&mut self) {
        if std::mem::take(&mut self.unfinished) {
            self.inner().admission.unfinished.fetch_sub(1, Ordering::SeqCst);
        }
    }

    async fn run<T>(
        mut self,
        handler: impl Future<Output = T> + Unpin,
        succeeded: impl FnOnce(&T) -> bool,
    ) -> Result<T, Rejection> {
        let claimed = match self.take().await {
            Ok(Claimed::Acquired) => true,
            Ok(Claimed::AlreadyHandled) => return Err(Reason::Duplicate.into()),
            Ok(Claimed::InFlight { retry_after }) => return Err(Rejection::in_flight(retry_after)),
            Err(error) if self.inner().on_store_error == OnStoreError::HandleUnclaimed => {
                observe::unclaimed(&self.delivery, &error);
                false
            }
            Err(error) => {
                let full = error.is_full();
                let rejection = Rejection::store(error);
                self.finish();
                if !full {
                    self.settle_in_background(Ending::Disown);
                }
                return Err(rejection);
            }
        };
        let watch = observe::Stopwatch::start();
        match self.hold(handler).await {
            Ok(answer) => {
                let (ending, outcome) = if succeeded(&answer) {
                    (Ending::Commit, Outcome::Handled)
                } else {
                    (Ending::Release, Outcome::Failed)
                };
                observe::finished(&self.delivery, outcome, watch);
                self.finish();
                self.end(ending, claimed).await;
                Ok(answer)
            }
            Err(reason) => {
                self.end(Ending::Release, claimed).await;
                Err(reason.into())
            }
        }
    }

    /// Runs the handler while the claim is renewed.
    ///
    /// Whatever of its task's budget a handler spends, it is renewed, and can be given up.
    async fn hold<T>(&self, handler: impl Future<Output = T> + Unpin) -> Result<T, Reason> {
        let inner = self.inner();
        let ran = in_time(inner.handler_timeout, AssertUnwindSafe(handler).catch_unwind());
        tokio::select! {
            biased;
            ran = ran => match ran {
                Some(ran) => ran.map_err(|_panic| Reason::HandlerPanicked),
                None => Err(Reason::HandlerTimeout),
            },
            () = unconstrained(inner.admission.given_up()) => Err(Reason::Draining),
            never = unconstrained(self.keep()) => match never {},
        }
    }

    async fn keep(&self) -> Infallible {
        let inner = self.inner();
        let mut wait = inner.part_of_lease(3);
        loop {
            sleep(wait).await;
            wait = match self.renew().await {
                Ok(Settled::Settled) => inner.part_of_lease(3),
                Ok(Settled::Lost) => {
                    self.delivery.lose_claim();
                    observe::claim_lost(&self.delivery);
                    std::future::pending().await
                }
                Err(error) => {
                    observe::settle_failed(&self.delivery, "renew", &error);
                    inner.part_of_lease(10)
                }
            };
        }
    }

    /// Without a claim there is nothing that has to be settled. What was handled is written down if the store is back
    /// by now; to go on trying would take places from deliveries that are to be handled.
    async fn end(self, ending: Ending, claimed: bool) {
        if claimed {
            self.settle(ending).await;
        } else {
            tokio::spawn(async move { self.try_settle(ending).await });
        }
    }

    /// Settles, and if the store does not answer, goes on in the background: the handler's answer goes out now, for
    /// what it did is done.
    async fn settle(self, ending: Ending) {
        if !self.try_settle(ending).await {
            self.settle_in_background(ending);
        }
    }

    fn settle_in_background(mut self, ending: Ending) {
        tokio::spawn(async move {
            let receiver = self.delivery.receiver().clone();
            let inner = &*receiver.0;
            let began = Instant::now();
            let longest = match ending {
                Ending::Commit => inner.retention.total.min(LONGEST_SETTLING),
                // What is not released by then has run out.
                Ending::Release | Ending::Disown => inner.lease,
            };
            let mut settlings: u8 = if ending == Ending::Disown { 2 } else { 1 };
            let mut wait = FIRST_RETRY;
            loop {
                let given_up = tokio::select! {
                    () = sleep(wait) => false,
                    // This is the last that can be done for it.
                    () = inner.admission.given_up() => true,
                };
                if self.try_settle(ending).await {
                    settlings = settlings.saturating_sub(1);
                    wait = inner.store_timeout;
                    // The store is back: its place is for the next delivery.
                    self.slot = None;
                } else {
                    wait = wait.saturating_mul(2).min(inner.part_of_lease(3));
                }
                if settlings == 0 || given_up || began.elapsed() >= longest {
                    return;
                }
                if ending == Ending::Commit {
                    // Whatever keeps a commit from being written need not keep the claim from being kept.
                    if let Err(error) = self.renew().await {
                        observe::settle_failed(&self.delivery, "renew", &error);
                    }
                }
            }
        });
    }

    async fn try_settle(&self, ending: Ending) -> bool {
        let inner = self.inner();
        let key = self.delivery.event_key();
        let settled = match ending {
            Ending::Commit => self.answer(|store| store.commit(key, self.token, inner.retention)).await,
            Ending::Release | Ending::Disown => self.answer(|store| store.release(key, self.token)).await,
        };
        match settled {
            Ok(Settled::Settled) => true,
            Ok(Settled::Lost) => {
                if ending != Ending::Disown && !self.delivery.claim_lost() {
                    self.delivery.lose_claim();
                    observe::claim_lost(&self.delivery);
                }
                true
            }
            Err(error) => {
                let step = if ending == Ending::Commit { "commit" } else { "release" };
                observe::settle_failed(&self.delivery, step, &error);
                false
            }
        }
    }

    async fn take(&self) -> Result<Claimed, StoreError> {
        let (key, lease) = (self.delivery.event_key(), self.inner().lease);
        self.answer(|store| store.claim(key, self.token, lease)).await
    }

    async fn renew(&self) -> Result<Settled, StoreError> {
        let (key, lease) = (self.delivery.event_key(), self.inner().lease);
        self.answer(|store| store.renew(key, self.token, lease)).await
    }

    /// A store's answer, or none in time. One that panics is out of order like any other: nobody knows whether the step
    /// was done, and the handler must not end with it.
    async fn answer<'s, T>(
        &'s self,
        step: impl FnOnce(&'s dyn DedupeStore) -> StoreFuture<'s, T>,
    ) -> Result<T, StoreError> {
        let inner = self.inner();
        let stepped = pin!(AssertUnwindSafe(async { step(&*inner.store).await }).catch_unwind());
        match in_time(inner.store_timeout, stepped).await {
            Some(Ok(answer)) => answer,
            Some(Err(_panic)) => Err(StoreError::unavailable("the store panicked")),
            None => Err(StoreError::unavailable("the store did not answer in time")),
        }
    }

    fn inner(&self) -> &Inner {
        &self.delivery.receiver().0
    }
}

const FIRST_RETRY: Duration = Duration::from_millis(100);

/// How long a commit is tried for. It holds one of the receiver's places all the while, so that a store which stays
/// away ends in 503 and not in a full memory.
const LONGEST_SETTLING: Duration = Duration::from_secs(3600);

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
