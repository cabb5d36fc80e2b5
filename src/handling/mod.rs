//! The last steps of a delivery, shared by all frameworks: claim, handler, settle.

mod claim;
mod detached;
mod panics;
mod permits;
mod repeats;
mod settings;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;

use self::claim::Claim;
pub use self::detached::detached;
use self::panics::Guarded;
pub(crate) use self::permits::Permits;
pub use self::settings::OnStoreError;
pub(crate) use self::settings::Settings;
use crate::answered::Answered;
use crate::delivery::Delivery;
use crate::endpoint::EndpointFacts;
use crate::error::Reason;
use crate::observe::{self, discard};
use crate::rejection::Rejection;

/// The settings and permits with which a receiver handles its deliveries.
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

    /// Drains, and cancels the handlers that still run when `deadline` resolves. Returns their number.
    pub(crate) async fn drain(&self, endpoint: &EndpointFacts, deadline: impl Future<Output = ()>) -> usize {
        let drained = self.permits.drain(deadline, self.settings.store_timeout).await;
        if drained.unsettled > 0 {
            observe::unsettled(endpoint, drained.unsettled);
        }
        observe::closed(endpoint);
        drained.canceled
    }
}

/// Logs and counts a delivery that is not admitted, and returns its rejection.
pub(crate) fn not_admitted(delivery: &Delivery, reason: Reason) -> Rejection {
    let rejection = Rejection::from(reason);
    observe::not_handled(delivery.subject(), &rejection);
    rejection
}

/// An admitted delivery: it holds a permit, and its event can be claimed and handled.
#[derive(Debug)]
#[must_use = "the delivery is not handled until `run`"]
pub struct Admitted {
    claim: Claim,
    span: observe::Span,
}

impl Admitted {
    /// Returns the delivery that the handler receives.
    #[must_use]
    pub fn delivery(&self) -> &Delivery {
        self.claim.delivery()
    }

    /// Claims the event, runs the handler, settles the claim, and returns the handler's answer.
    ///
    /// `answered` returns the status of the answer, or whether the handler succeeded if the answer has no status. A
    /// 2xx or `true` commits the event.
    ///
    /// Run this future [detached], so that a client that disconnects neither interrupts the handler nor leaves the
    /// event claimed. The handler must not block its thread: the same task renews the claim, which otherwise expires.
    ///
    /// # Errors
    /// Without running the handler, returns [`Reason::Duplicate`], [`Reason::InFlight`], [`Reason::RepeatLimit`],
    /// [`Reason::StoreUnavailable`] or [`Reason::StoreFull`]; the last two not with [`OnStoreError::HandleUnclaimed`].
    /// If the handler does not finish, returns [`Reason::HandlerPanicked`], [`Reason::HandlerTimeout`] or
    /// [`Reason::HandlerCanceled`], and releases the claim. `answered` counts as a part of the handler if it panics. A
    /// destructor of the handler that panics is logged and changes nothing else.
    ///
    /// # Panics
    /// Panics outside a tokio runtime with its timer enabled.
    pub fn run<T, A: Into<Answered>>(
        self,
        handler: impl Future<Output = T>,
        answered: impl FnOnce(&T) -> A,
    ) -> impl Future<Output = Result<T, Rejection>> {
        let Admitted { claim, span } = self;
        // Boxed once, here, so that the futures that contain it are not as large as the handler.
        let handler = Box::pin(handler);
        async move {
            let delivery = claim.delivery().clone();
            let handler = Guarded::new(handler, &delivery);
            let answered = Guarded::new(|answer: &T| answered(answer).into(), &delivery);
            let result = match delivery.recurring_body() {
                None => {
                    let mut work = pin!(claim.run(handler, answered));
                    poll_fn(|context| observe::within(&span, || work.as_mut().poll(context))).await
                }
                Some(body) => {
                    // Boxed, so that the future of every other delivery is not as large as both.
                    let mut work = Box::pin(claim.run_recorded(body, handler, answered));
                    poll_fn(|context| observe::within(&span, || work.as_mut().poll(context))).await
                }
            };
            if let Err(rejection) = &result {
                observe::within(&span, || observe::not_handled(delivery.subject(), rejection));
            }
            discard(span);
            result
        }
    }
}

#[cfg(test)]
mod tests;
