//! The receiver: the steps of a delivery, in order.
//!
//! | step | module | result |
//! |---|---|---|
//! | 1. head | `tenant` (called by the middleware), `head`, then `crate::scheme` | finds the tenant's receiver; rejects by method, encoding and size; `scheme::begin` checks the signature's headers and rejects a stale timestamp |
//! | 2. handshake | `handshake`, `reply`, then `crate::handshake` | answers a handshake with a [`Reply`](crate::Reply), if the provider has handshakes: before the body, or after step 4 |
//! | 3. body | `body` | counts the body against the limit and feeds it to the MACs as it arrives |
//! | 4. verify | `verify` | compares the MACs and returns a [`Verified`] body |
//! | 5. envelope | `envelope` | reads id, kind, times and mode; rejects an event whose mode differs from the mode of the secret |
//! | 5, long | `long` | performs steps 5 and 6 for long bodies, without holding the executor |
//! | 6. event age | `fresh`, then `key_rule` | checks the event's age and returns a [`Delivery`] with its event key |
//! | 5. again | `stored` | reads the envelope of a stored event again, for each attempt to handle it |
//! | 7. permit | `crate::handling::permits` | `admit` reserves a concurrency permit, or rejects with 503 |
//! | 8. claim, handler, settle | `crate::handling::claim` | runs the handler; 2xx commits the claim, any other status releases it |
//!
//! `replace` swaps the secrets that steps 1 to 5 use, between deliveries.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod body;
mod builder;
mod current;
mod envelope;
mod fresh;
mod handshake;
mod head;
mod key_rule;
mod long;
mod replace;
mod reply;
#[cfg(feature = "inbox")]
mod request_part;
#[cfg(feature = "inbox")]
mod stored;
mod tenant;
mod verify;
mod watch;

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::time::sleep;

pub use self::body::Intake;
pub use self::builder::Builder;
pub use self::handshake::Received;
pub use self::key_rule::Dedupe;

use self::current::Current;
use self::fresh::{Age, FreshnessRule};
use self::key_rule::KeyRule;
use self::watch::Watch;
use crate::activity::Activity;
use crate::delivery::Delivery;
use crate::endpoint::EndpointFacts;
use crate::envelope::Envelope;
#[cfg(feature = "inbox")]
use crate::error::ConfigError;
use crate::error::Reason;
use crate::event_key::{DeliveryKeys, IdFrom};
use crate::generation::{Generation, HeadHeaders};
use crate::handling::{Admitted, Handling, not_admitted};
#[cfg(feature = "inbox")]
use crate::handling::{OnStoreError, Permits, Settings};
use crate::headers::Headers;
use crate::in_pool::LONGEST_INLINE;
#[cfg(feature = "inbox")]
use crate::inbox::Inbox;
use crate::observe;
use crate::provider::{METHODS, Provider};
use crate::rejection::Rejection;
use crate::request_head::RequestHead;
use crate::time::in_time;
use crate::unsigned::UnsignedNames;
use crate::verified::Verified;

/// A webhook endpoint: a provider, its secrets, and the policy for its deliveries. Cheap to clone.
///
/// The middleware crates call [`receive`](Receiver::receive), [`admit`](Receiver::admit) and
/// [`Admitted::run`](crate::Admitted::run), in this order. [`verify`](Receiver::verify) and [`open`](Receiver::open)
/// perform the same steps as `receive` for a complete body, without a runtime and without the method check.
#[derive(Clone)]
pub struct Receiver(Arc<ReceiverState>);

struct ReceiverState {
    endpoint: Arc<EndpointFacts>,
    /// Replaced by `replace_secrets`.
    current: RwLock<Current>,
    body_timeout: Duration,
    freshness_rule: FreshnessRule,
    /// The unsigned headers that options of the provider read. These options cannot be replaced with the secrets.
    unsigned: Option<UnsignedNames>,
    key_rule: KeyRule,
    handling: Handling,
    warnings: Vec<String>,
    watch: Option<Watch>,
}

impl Receiver {
    /// Receives a request: verifies its body and returns its [`Delivery`], or the [`Reply`](crate::Reply) to a
    /// handshake.
    ///
    /// The body must arrive within [`Builder::body_timeout`]. Rejections are logged and counted. Dropping the future
    /// before it completes abandons the delivery without claiming or handling the event.
    ///
    /// # Errors
    /// Returns the errors of [`begin`](Receiver::begin), [`Intake`] and [`open`](Receiver::open), and
    /// [`Reason::BodyTimeout`], [`Reason::BodyIncomplete`] or [`Reason::HandshakeRejected`].
    ///
    /// # Panics
    /// Panics outside a tokio runtime with its timer enabled.
    pub async fn receive<H, S, E>(&self, head: &RequestHead<'_, H>, body: S) -> Result<Received, Rejection>
    where
        H: Headers + ?Sized,
        S: Stream<Item = Result<Bytes, E>>,
    {
        let body = pin!(body);
        let steps = async {
            self.check_method(head)?;
            let Current { provider, generation } = self.current();
            let found = generation.find_headers(head.headers);
            head::check(self.0.endpoint.limits(), &found)?;
            if let Some(answered) = handshake::in_head(&generation, head) {
                return answered;
            }
            let mut intake = self.intake(generation, head.headers, &found)?;
            in_time(self.0.body_timeout, pin!(intake.read(body))).await.ok_or(Reason::BodyTimeout)??;
            let verified = intake.finish()?;
            if verified.body().len() > LONGEST_INLINE {
                // Without the box, the future is longer for short bodies, too.
                return Box::pin(self.open_long(provider, verified, head)).await;
            }
            if let Some(reply) = self.reply_to(&verified) {
                return Ok(Received::Reply(Box::new(reply)));
            }
            self.open_as(&*provider, verified, Some(head)).map(Received::Delivery)
        };
        let received = steps.await;
        if let Err(rejection) = &received {
            observe::rejected(&self.0.endpoint, rejection);
        }
        received
    }

    /// Checks the request head and rejects everything that can be rejected without reading the body. Only deliveries
    /// are accepted, and handshakes before the body are not answered.
    ///
    /// # Errors
    /// Returns [`Reason::Draining`], [`Reason::Method`], [`Reason::ContentEncoding`] or [`Reason::TooLarge`]; or the
    /// scheme's error: [`Reason::MissingHeader`], [`Reason::RepeatedHeader`], [`Reason::MalformedHeader`],
    /// [`Reason::Stale`] or [`Reason::InTheFuture`]; a [shared secret](crate::SharedSecret) also returns
    /// [`Reason::SignatureMismatch`].
    pub fn begin<'a>(&self, head: &RequestHead<'a, impl Headers + ?Sized>) -> Result<Intake<'a>, Rejection> {
        self.check_method(head)?;
        let generation = self.generation();
        let found = generation.find_headers(head.headers);
        head::check(self.0.endpoint.limits(), &found)?;
        // The methods of the endpoint include those of its handshakes.
        head::one_of(METHODS, head.method).map_err(|fault| Rejection::from(fault).allowing(METHODS))?;
        self.intake(generation, head.headers, &found)
    }

    /// Verifies a complete body. The request method is not checked. Allocates only if the provider has an option that
    /// reads an unsigned header.
    ///
    /// # Errors
    /// Returns the errors of [`begin`](Receiver::begin), [`Intake::push`] and [`Intake::finish`], except
    /// [`Reason::Method`].
    pub fn verify<'a>(&self, headers: &'a (impl Headers + ?Sized), body: Bytes) -> Result<Verified<'a>, Rejection> {
        self.0.handling.not_draining()?;
        let generation = self.generation();
        let found = generation.find_headers(headers);
        head::check(self.0.endpoint.limits(), &found)?;
        let mut intake = self.intake(generation, headers, &found)?;
        intake.push(body)?;
        intake.finish()
    }

    /// Reads the envelope of a verified body, and checks the event's mode and age. If the endpoint has a handshake in
    /// signed bodies, call [`reply_to`](Receiver::reply_to) first.
    ///
    /// # Errors
    /// Returns [`Reason::WrongMode`], [`Reason::SecretModeMismatch`], [`Reason::Stale`], [`Reason::InTheFuture`] or
    /// [`Reason::TimeMissing`]; or [`Reason::SignatureMismatch`] if another receiver verified the body.
    pub fn open(&self, verified: Verified<'_>) -> Result<Delivery, Rejection> {
        self.open_as::<http::HeaderMap>(&*self.provider_in_use(), verified, None)
    }

    /// Opens a delivery of the request with this head.
    #[inline]
    fn open_as<H: Headers + ?Sized>(
        &self,
        provider: &dyn Provider,
        verified: Verified<'_>,
        head: Option<&RequestHead<'_, H>>,
    ) -> Result<Delivery, Rejection> {
        if !Arc::ptr_eq(verified.endpoint(), &self.0.endpoint) {
            return Err(Reason::SignatureMismatch.into());
        }
        let (envelope, id_from) = self.check(provider.open(&verified), &verified)?;
        let keys = self.0.key_rule.keys(provider, &envelope, id_from, verified.body());
        Ok(self.delivery(envelope, verified, keys, head))
    }

    /// Completes an envelope, and checks the event's mode and age. Returns the source of its id.
    #[inline]
    fn check(&self, envelope: Envelope, verified: &Verified<'_>) -> Result<(Envelope, IdFrom), Rejection> {
        let state = &*self.0;
        let (envelope, id_from) = envelope::complete(envelope, verified);
        if let Some(unit) = envelope.occurred_at.as_ref().and_then(|time| time.finer_unit(|| state.endpoint.now())) {
            observe::event_time_unit(&state.endpoint, unit);
        }
        let accepted = envelope::check_mode(verified.mode_of_secret(), envelope.mode.as_ref())
            .and_then(|()| state.freshness_rule.check_event(&envelope, || state.endpoint.now()));
        match accepted {
            Ok(Age::Checked) => observe::genuine(&state.endpoint),
            Ok(Age::Unknown) => {}
            Err(reason) => return Err(Rejection::new(reason).about(envelope.kind, verified.secret_label())),
        }
        Ok((envelope, id_from))
    }

    #[inline]
    fn delivery<H: Headers + ?Sized>(
        &self,
        envelope: Envelope,
        verified: Verified<'_>,
        keys: DeliveryKeys,
        head: Option<&RequestHead<'_, H>>,
    ) -> Delivery {
        #[cfg(feature = "inbox")]
        if self.0.handling.settings().inbox.is_some() {
            let part = request_part::of(&verified, head);
            return Delivery::new(envelope, verified, keys).with_inbox(part);
        }
        let _ = head;
        Delivery::new(envelope, verified, keys)
    }

    /// Reserves one of the `max_in_flight` permits for the delivery. Rejections are logged and counted.
    ///
    /// # Errors
    /// Returns [`Reason::TooBusy`] or [`Reason::Draining`]; or [`Reason::SignatureMismatch`] if the delivery belongs to
    /// another receiver.
    pub fn admit(&self, delivery: Delivery) -> Result<Admitted, Rejection> {
        if !delivery.is_of(&self.0.endpoint) {
            return Err(not_admitted(&delivery, Reason::SignatureMismatch));
        }
        self.0.handling.admit(delivery)
    }

    /// Shuts the receiver down: new deliveries are answered with 503, and running handlers may finish. Handlers that
    /// still run after `within` are canceled and their claims are released, so that another instance can handle the
    /// events immediately. The same holds for the attempts of its workers, which start no further ones and end.
    ///
    /// Returns the number of canceled handlers. A drained receiver cannot be reopened. `Shutdown` (feature `shutdown`)
    /// drains all receivers of an application under one deadline when the process is signaled to stop.
    ///
    /// # Panics
    /// Panics outside a tokio runtime with its timer enabled.
    pub async fn drain(&self, within: Duration) -> usize {
        self.drain_until(sleep(within)).await
    }

    /// Drains the receiver and cancels the handlers that still run when `deadline` resolves.
    pub(crate) async fn drain_until(&self, deadline: impl Future<Output = ()>) -> usize {
        if let Some(watch) = &self.0.watch {
            watch.stop();
        }
        self.0.handling.drain(&self.0.endpoint, deadline).await
    }

    /// Returns the receiver's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.endpoint.name()
    }

    /// Returns the provider's name.
    #[must_use]
    pub fn provider(&self) -> &str {
        self.0.endpoint.provider()
    }

    /// Returns the inbox, if the receiver [has one](Builder::inbox).
    #[cfg(feature = "inbox")]
    #[must_use]
    pub fn inbox(&self) -> Option<&Inbox> {
        self.0.handling.settings().inbox.as_ref().map(|settings| &settings.inbox)
    }

    /// Checks that no delivery of this receiver needs a handler, for `post_to_inbox` of the crates for frameworks.
    #[cfg(feature = "inbox")]
    #[doc(hidden)]
    pub fn needs_no_handler(&self) -> Result<(), ConfigError> {
        let settings = self.0.handling.settings();
        let problem = if settings.inbox.is_none() {
            "`post_to_inbox` needs a receiver with an inbox; set `inbox`, or use `post` with a handler"
        } else if settings.on_store_error == OnStoreError::HandleUnclaimed {
            "with `HandleUnclaimed`, a handler runs if an event cannot be stored; use `post` with a handler"
        } else {
            return Ok(());
        };
        Err(ConfigError::new(problem).within(format_args!("receiver {}", self.name())))
    }

    /// Returns the settings with which deliveries are handled.
    #[cfg(feature = "inbox")]
    pub(crate) fn settings(&self) -> &Arc<Settings> {
        self.0.handling.settings()
    }

    #[cfg(feature = "inbox")]
    pub(crate) fn endpoint(&self) -> &Arc<EndpointFacts> {
        &self.0.endpoint
    }

    /// Returns permits for up to `most` attempts at a time to handle stored events. [`drain`](Receiver::drain) waits
    /// for them, too.
    #[cfg(feature = "inbox")]
    pub(crate) fn attempts(&self, most: usize) -> Result<Arc<Permits>, ConfigError> {
        self.0.handling.attempts(most)
    }

    /// Returns configuration warnings for the operator, such as a secret that is too short. Those about secrets are
    /// from the build; [`replace_secrets`](Receiver::replace_secrets) returns its own.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.0.warnings
    }

    /// Returns when the last genuine delivery arrived, and when each current secret was last used, in this process. The
    /// features `metrics` and `tracing` are not needed for it.
    ///
    /// After [`replace_secrets`](Receiver::replace_secrets), a secret that has the label of an earlier one keeps its
    /// time, and those that are no longer accepted are missing.
    ///
    /// ```
    /// use medhook::{HealthSync, MemoryStore, Receiver, Secret};
    ///
    /// let secret = Secret::new("a-secret-of-the-dashboard")?.labeled("2026")?;
    /// let receiver = Receiver::builder("healthsync", HealthSync::new(secret))
    ///     .store(MemoryStore::new(10_000))
    ///     .build()?;
    ///
    /// let activity = receiver.activity();
    /// assert_eq!(activity.last_genuine, None);
    /// let unused = activity.secrets.iter().filter(|secret| secret.last_used.is_none());
    /// assert_eq!(unused.map(|secret| &*secret.label).collect::<Vec<_>>(), ["2026"]);
    /// # Ok::<(), medhook::ConfigError>(())
    /// ```
    #[must_use]
    pub fn activity(&self) -> Activity {
        Activity { last_genuine: self.0.endpoint.last_genuine.get(), secrets: self.generation().activity() }
    }

    /// Returns whether `other` is a clone of this receiver.
    #[cfg(feature = "shutdown")]
    pub(crate) fn is(&self, other: &Receiver) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    #[inline]
    fn check_method(&self, head: &RequestHead<'_, impl Headers + ?Sized>) -> Result<(), Rejection> {
        self.0.handling.not_draining()?;
        let methods = self.0.endpoint.limits().methods;
        head::one_of(methods, head.method).map_err(|fault| Rejection::from(fault).allowing(methods))
    }

    /// Begins the scheme's check: its headers must be well formed, and a signed timestamp fresh.
    #[inline]
    fn intake<'a>(
        &self,
        generation: Arc<Generation>,
        headers: &'a (impl Headers + ?Sized),
        found: &HeadHeaders<'a>,
    ) -> Result<Intake<'a>, Rejection> {
        let state = &*self.0;
        let freshness = state.freshness_rule.freshness;
        let check = generation.scheme.begin(&found.signed, headers, freshness, || state.endpoint.now())?;
        let unsigned = state.unsigned.as_ref().map(|names| Box::new(names.find(headers)));
        Ok(Intake::new(generation, check, unsigned, found.length))
    }

    /// Returns the current secrets. Short, so it never waits for long.
    #[inline]
    fn generation(&self) -> Arc<Generation> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).generation.clone()
    }

    #[inline]
    fn provider_in_use(&self) -> Arc<dyn Provider> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).provider.clone()
    }

    #[inline]
    fn current(&self) -> Current {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("name", &self.name())
            .field("provider", &self.current().provider)
            .field("freshness", &self.0.freshness_rule.freshness)
            .field("store", &self.0.handling.settings().store)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod long_tests;
#[cfg(test)]
#[cfg(feature = "sign")]
mod replace_tests;
#[cfg(test)]
mod tests;
