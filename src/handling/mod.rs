//! The last steps of a delivery, written once for every framework: claim, handler, settle.

mod claim;
mod detached;
mod permits;
mod settings;

use std::future::Future;
use std::sync::Arc;

use self::claim::Claim;
pub use self::detached::detached;
pub(crate) use self::permits::Permits;
pub use self::settings::OnStoreError;
pub(crate) use self::settings::Settings;
use crate::delivery::Delivery;
use crate::endpoint::EndpointFacts;
use crate::error::Reason;
use crate::observe;
use crate::rejection::Rejection;

/// The handling of a receiver's deliveries.
pub(crate) struct Handling {
    settings: Arc<Settings>,
    permits: Arc<Permits>,
}

impl Handling {
    pub(crate) fn new(settings: Settings, permits: Permits) -> Self {
        Handling { settings: Arc::new(settings), permits: Arc::new(permits) }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    #[inline]
    pub(crate) fn not_draining(&self) -> Result<(), Reason> {
        self.permits.not_draining()
    }

    /// Reserves a permit for the delivery.
    #[inline]
    pub(crate) fn admit(&self, delivery: Delivery) -> Result<Admitted, Rejection> {
        match self.permits.acquire() {
            Ok(permit) => {
                let claim = Claim::new(delivery, self.permits.token(), self.settings.clone(), permit);
                Ok(Admitted { claim, span: observe::current_span() })
            }
            Err(reason) => Err(not_admitted(&delivery, reason)),
        }
    }

    /// Drains, and gives up the handlers that still run when `deadline` resolves. Returns how many those were.
    pub(crate) async fn drain(&self, endpoint: &EndpointFacts, deadline: impl Future<Output = ()>) -> usize {
        let drained = self.permits.drain(deadline, self.settings.store_timeout).await;
        if drained.unsettled > 0 {
            observe::unsettled(endpoint, drained.unsettled);
        }
        drained.canceled
    }
}

/// Logs and counts a delivery that gets no permit.
pub(crate) fn not_admitted(delivery: &Delivery, reason: Reason) -> Rejection {
    let rejection = Rejection::from(reason);
    observe::not_handled(delivery.subject(), &rejection);
    rejection
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
        self.claim.delivery()
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
            let delivery = claim.delivery().clone();
            let result = claim.run(handler, succeeded).await;
            if let Err(rejection) = &result {
                observe::not_handled(delivery.subject(), rejection);
            }
            result
        })
    }
}

#[cfg(test)]
mod tests;
