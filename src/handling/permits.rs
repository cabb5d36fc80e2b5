//! Permits, which limit how many deliveries are handled concurrently, and draining.

use std::future::Future;
use std::mem::take;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, TryAcquireError, watch};
use tokio::time::timeout;

use crate::claim_token::ClaimToken;
use crate::error::Reason;

/// The `max_in_flight` permits of a receiver, and whether it is draining.
pub(crate) struct Permits {
    free: Semaphore,
    most: u32,
    draining: AtomicBool,
    phase: watch::Sender<Phase>,
    /// The number of deliveries without an outcome. Claims that only wait to be settled hold a permit but do not count.
    unfinished: AtomicUsize,
    token_seed: [u8; 8],
    tokens: AtomicU64,
}

/// The phase of a drain.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Draining,
    /// The deadline has passed: handlers are canceled.
    Canceling,
}

/// The result of draining.
#[derive(Default)]
pub(super) struct Drained {
    /// The number of canceled handlers.
    pub(super) canceled: usize,
    /// The number of claims that the store had not settled when the receiver closed.
    pub(super) unsettled: usize,
}

impl Permits {
    pub(crate) fn new(most: usize) -> Result<Self, getrandom::Error> {
        let mut token_seed = [0; 8];
        getrandom::fill(&mut token_seed)?;
        let most = u32::try_from(most.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Ok(Permits {
            free: Semaphore::new(most as usize),
            most,
            draining: AtomicBool::new(false),
            phase: watch::Sender::new(Phase::Open),
            unfinished: AtomicUsize::new(0),
            token_seed,
            tokens: AtomicU64::new(0),
        })
    }

    #[inline]
    pub(crate) fn not_draining(&self) -> Result<(), Reason> {
        if self.draining.load(Ordering::SeqCst) { Err(Reason::Draining) } else { Ok(()) }
    }

    /// Acquires a permit for a delivery.
    #[inline]
    pub(crate) fn acquire(self: &Arc<Self>) -> Result<Permit, Reason> {
        self.not_draining()?;
        let permit = self.free.try_acquire().map_err(|error| match error {
            TryAcquireError::NoPermits => Reason::TooBusy,
            TryAcquireError::Closed => Reason::Draining,
        })?;
        // A drain that starts after this check waits for this permit.
        self.not_draining()?;
        permit.forget();
        self.unfinished.fetch_add(1, Ordering::SeqCst);
        Ok(Permit { permits: self.clone(), unfinished: true })
    }

    /// Returns a unique token: random bytes of this receiver, then a counter.
    pub(crate) fn token(&self) -> ClaimToken {
        let count = self.tokens.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut token = [0; 16];
        for (byte, source) in token.iter_mut().zip(self.token_seed.iter().chain(&count)) {
            *byte = *source;
        }
        ClaimToken::from_bytes(token)
    }

    /// Drains the receiver, and cancels the handlers that still run when `deadline` resolves. Their claims are then
    /// released, for which the drain waits up to `store_timeout`. Afterwards no permit can be acquired.
    pub(super) async fn drain(&self, deadline: impl Future<Output = ()>, store_timeout: Duration) -> Drained {
        self.draining.store(true, Ordering::SeqCst);
        self.phase.send_replace(Phase::Draining);
        let all_settled = tokio::select! {
            biased;
            _ = self.free.acquire_many(self.most) => true,
            () = deadline => false,
        };
        let mut drained = Drained::default();
        if !all_settled {
            drained.canceled = self.unfinished.load(Ordering::SeqCst);
            self.phase.send_replace(Phase::Canceling);
            // The store may be unavailable, and then no claim is released.
            if timeout(store_timeout, self.free.acquire_many(self.most)).await.is_err() {
                drained.unsettled = (self.most as usize).saturating_sub(self.free.available_permits());
            }
        }
        self.free.close();
        drained
    }

    /// Waits until the receiver drains.
    #[cfg(feature = "inbox")]
    pub(crate) async fn draining(&self) {
        let mut phase = self.phase.subscribe();
        let _ = phase.wait_for(|phase| *phase != Phase::Open).await;
    }

    /// Lets no permit be acquired, as after a drain.
    #[cfg(feature = "inbox")]
    pub(super) fn close(&self) {
        self.draining.store(true, Ordering::SeqCst);
        // A drain that is under way may have come further.
        self.phase.send_if_modified(|phase| {
            let was_open = *phase == Phase::Open;
            if was_open {
                *phase = Phase::Draining;
            }
            was_open
        });
    }
}

/// The permit of one delivery, returned when it is dropped.
pub(crate) struct Permit {
    permits: Arc<Permits>,
    unfinished: bool,
}

impl Permit {
    /// Marks the delivery as finished: it has an outcome, although its claim may not be settled yet.
    pub(crate) fn finish(&mut self) {
        if take(&mut self.unfinished) {
            self.permits.unfinished.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Waits until a drain has reached its deadline.
    pub(crate) async fn canceled(&self) {
        let mut phase = self.permits.phase.subscribe();
        // The sender lives as long as the permit.
        let _ = phase.wait_for(|phase| *phase == Phase::Canceling).await;
    }

    /// Waits until a drain has reached its deadline, without borrowing the permit.
    #[cfg(feature = "inbox")]
    pub(crate) fn cancellation(&self) -> impl Future<Output = ()> + Send + use<> {
        let permits = self.permits.clone();
        async move {
            let _ = permits.phase.subscribe().wait_for(|phase| *phase == Phase::Canceling).await;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.finish();
        self.permits.free.add_permits(1);
    }
}
