//! The last steps of a delivery, shared by all frameworks: claim, handler, settle.

mod claim;
mod detached;
#[cfg(feature = "inbox")]
mod intake;
mod panics;
mod permits;
#[cfg(feature = "inbox")]
mod quota;
mod repeats;
mod settings;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
#[cfg(feature = "inbox")]
use std::sync::{Mutex, PoisonError, Weak};

#[cfg(feature = "inbox")]
use futures_util::FutureExt;
#[cfg(feature = "inbox")]
use futures_util::future::{join, join_all};

use self::claim::Claim;
pub use self::detached::detached;
use self::panics::Guarded;
#[cfg(feature = "inbox")]
use self::permits::Drained;
#[cfg(feature = "inbox")]
pub(crate) use self::permits::Permit;
pub(crate) use self::permits::Permits;
pub use self::settings::OnStoreError;
pub(crate) use self::settings::Settings;
#[cfg(feature = "inbox")]
pub(crate) use self::{quota::Quota, settings::InboxSettings};
use crate::answered::Answered;
use crate::delivery::Delivery;
use crate::endpoint::EndpointFacts;
#[cfg(feature = "inbox")]
use crate::error::ConfigError;
use crate::error::Reason;
use crate::observe::{self, discard};
use crate::rejection::Rejection;

/// The settings and permits with which a receiver handles its deliveries.
pub(crate) struct Handling {
    settings: Arc<Settings>,
    permits: Arc<Permits>,
    /// The permits of the attempts of each worker.
    #[cfg(feature = "inbox")]
    attempts: Mutex<Vec<Weak<Permits>>>,
}

impl Handling {
    pub(crate) fn new(settings: Settings, permits: Permits) -> Self {
        Handling {
            settings: Arc::new(settings),
            permits: Arc::new(permits),
            #[cfg(feature = "inbox")]
            attempts: Mutex::default(),
        }
    }

    pub(crate) fn settings(&self) -> &Arc<Settings> {
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
        #[cfg(not(feature = "inbox"))]
        let drained = self.permits.drain(deadline, self.settings.store_timeout).await;
        #[cfg(feature = "inbox")]
        let drained = self.drain_all(deadline).await;
        if drained.unsettled > 0 {
            observe::unsettled(endpoint, drained.unsettled);
        }
        observe::closed(endpoint);
        drained.canceled
    }

    /// Returns permits for up to `most` attempts at a time, which `drain` waits for, too.
    #[cfg(feature = "inbox")]
    pub(crate) fn attempts(&self, most: usize) -> Result<Arc<Permits>, ConfigError> {
        let permits = Arc::new(Permits::new(most).map_err(ConfigError::no_randomness)?);
        {
            let mut all = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|permits| permits.strong_count() > 0);
            all.push(Arc::downgrade(&permits));
        }
        // A drain that starts after this check drains these permits.
        if self.not_draining().is_err() {
            permits.close();
        }
        Ok(permits)
    }

    /// Drains the deliveries and the attempts at the same time.
    #[cfg(feature = "inbox")]
    async fn drain_all(&self, deadline: impl Future<Output = ()>) -> Drained {
        let (deadline, store_timeout) = (deadline.shared(), self.settings.store_timeout);
        let deliveries = self.permits.drain(deadline.clone(), store_timeout);
        let attempts = async {
            // In the first poll, before which the deliveries' drain has begun.
            let all: Vec<_> = {
                let all = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
                all.iter().filter_map(Weak::upgrade).collect()
            };
            join_all(all.iter().map(|permits| permits.drain(deadline.clone(), store_timeout))).await
        };
        let (deliveries, attempts) = join(deliveries, attempts).await;
        attempts.into_iter().fold(deliveries, |all, of| Drained {
            canceled: all.canceled.saturating_add(of.canceled),
            unsettled: all.unsettled.saturating_add(of.unsettled),
        })
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
    /// If the receiver has an inbox, returns [`Reason::Stored`] when the event was stored, which is a success without a
    /// call of the handler. Without running the handler, also returns [`Reason::Duplicate`], [`Reason::InFlight`],
    /// [`Reason::RepeatLimit`], [`Reason::StoreUnavailable`] or [`Reason::StoreFull`]; the last two not with
    /// [`OnStoreError::HandleUnclaimed`].
    ///
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
                #[cfg(feature = "inbox")]
                body if claim.settings.inbox.is_some() => {
                    let mut work = Box::pin(claim.store(body, handler, answered));
                    poll_fn(|context| observe::within(&span, || work.as_mut().poll(context))).await
                }
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
#[cfg(all(feature = "inbox", feature = "testing"))]
mod intake_tests;
#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
#[cfg(all(feature = "inbox", feature = "testing"))]
mod unsigned_intake_tests;
#[cfg(test)]
mod unsigned_tests;
