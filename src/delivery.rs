//! The verified delivery that the application receives.
//!
//! This module and `event` import each other: see `event`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::claim_token::ClaimToken;
use crate::endpoint::EndpointFacts;
use crate::envelope::{Envelope, Mode};
use crate::event::{Decoded, Event};
use crate::event_key::EventKey;
use crate::observe;
use crate::retention::Retention;
use crate::scheme::SignatureScope;
use crate::time::Time;
use crate::verified::Verified;

/// A verified, fresh delivery: the verified body and its envelope. Cheap to clone.
///
/// It contains nothing from unsigned headers.
#[derive(Clone)]
pub struct Delivery {
    opened: Arc<OpenedDelivery>,
    /// Set when the delivery is admitted.
    claim: Option<Arc<DeliveryClaim>>,
}

/// The claim under which a delivery is handled, shared by all clones of the delivery.
struct DeliveryClaim {
    token: ClaimToken,
    lost: AtomicBool,
}

struct OpenedDelivery {
    endpoint: Arc<EndpointFacts>,
    envelope: Envelope,
    sent_at: Option<Time>,
    body: Bytes,
    signature_scope: SignatureScope,
    secret: usize,
    key: EventKey,
    problem_logged: AtomicBool,
}

impl Delivery {
    pub(crate) fn new(mut envelope: Envelope, verified: Verified<'_>, key: EventKey) -> Self {
        let sent_at = envelope.sent_at.take().or_else(|| verified.attempted_at().map(Time::from_unix));
        let opened = Arc::new(OpenedDelivery {
            endpoint: verified.endpoint().clone(),
            sent_at,
            envelope,
            signature_scope: verified.signature_scope(),
            secret: verified.secret_index(),
            body: verified.into_body(),
            key,
            problem_logged: AtomicBool::new(false),
        });
        Delivery { opened, claim: None }
    }

    /// Returns the delivery with the token for claiming its event.
    pub(crate) fn with_claim_token(self, token: ClaimToken) -> Self {
        Delivery { claim: Some(Arc::new(DeliveryClaim { token, lost: AtomicBool::new(false) })), ..self }
    }

    /// Returns the verified body, byte for byte.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.opened.body
    }

    /// Decodes the body as a type of your own.
    ///
    /// # Errors
    /// Returns the error of `serde_json`. Its text may quote the body, so do not log it.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.opened.body)
    }

    /// Decodes the event as its provider's type. Deviations from the documentation are logged and counted, once per
    /// delivery.
    ///
    /// # Errors
    /// Returns an error if `E` is the type of another provider.
    pub fn decode<E: Event>(&self) -> Result<E, WrongProvider> {
        self.decoded().map(|decoded| decoded.event)
    }

    /// Decodes the event, and reports deviations.
    pub(crate) fn decoded<E: Event>(&self) -> Result<Decoded<E>, WrongProvider> {
        if self.provider() != E::PROVIDER {
            return Err(WrongProvider { wanted: E::PROVIDER, is: self.provider().into() });
        }
        let decoded = E::from_delivery(self);
        self.report_deviations(&decoded);
        Ok(decoded)
    }

    fn report_deviations<E>(&self, decoded: &Decoded<E>) {
        let as_documented = decoded.problem.is_none() && decoded.drifted.is_empty();
        if !as_documented && !self.opened.problem_logged.swap(true, Ordering::Relaxed) {
            observe::not_as_documented(self.subject(), decoded.problem.as_ref(), &decoded.drifted);
        }
    }

    /// Returns the kind, as the body or the pin names it. `None` if there is neither.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.opened.envelope.kind.as_ref().map(|kind| kind.as_str())
    }

    /// Returns the kind for logs and metrics: `unknown` for an undocumented kind.
    #[must_use]
    pub fn kind_label(&self) -> &str {
        self.opened.envelope.kind.as_ref().map_or("unknown", |kind| kind.label())
    }

    /// Returns the event's id from the body, or else the id that the scheme signs. `None` if there is neither.
    ///
    /// Some providers' ids identify a patient: treat them as health data.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.opened.envelope.id.as_deref()
    }

    /// Returns the time of this attempt, if it is signed.
    #[must_use]
    pub fn sent_at(&self) -> Option<&Time> {
        self.opened.sent_at.as_ref()
    }

    /// Returns the time of the event, if the body contains it.
    #[must_use]
    pub fn occurred_at(&self) -> Option<&Time> {
        self.opened.envelope.occurred_at.as_ref()
    }

    /// Returns the mode (test or live), if the body contains it.
    #[must_use]
    pub fn mode(&self) -> Option<&Mode> {
        self.opened.envelope.mode.as_ref()
    }

    /// Returns the name of the endpoint that received the delivery.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.opened.endpoint.name()
    }

    /// Returns the name of the provider.
    #[must_use]
    pub fn provider(&self) -> &str {
        self.opened.endpoint.provider()
    }

    /// Returns the label of the secret that verified the delivery.
    #[must_use]
    pub fn secret_label(&self) -> &str {
        self.opened.endpoint.secret_label(self.opened.secret)
    }

    /// Returns what the signature covers.
    #[must_use]
    pub fn signature_scope(&self) -> SignatureScope {
        self.opened.signature_scope
    }

    /// Returns the key under which stores record this event.
    #[must_use]
    pub fn event_key(&self) -> EventKey {
        self.opened.key
    }

    /// Returns whether the claim was lost while the handler was running: it expired, and another delivery of the event
    /// may have claimed it. Further work of the handler may then be done twice.
    #[must_use]
    pub fn claim_lost(&self) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.lost.load(Ordering::Relaxed))
    }

    /// Returns the token of the claim, or `None` before [`Receiver::admit`](crate::Receiver::admit). A store needs it
    /// to commit within the application's own transaction.
    #[must_use]
    pub fn claim_token(&self) -> Option<ClaimToken> {
        self.claim.as_ref().map(|claim| claim.token)
    }

    /// Returns how long the event is remembered, or `None` before [`Receiver::admit`](crate::Receiver::admit).
    #[must_use]
    pub fn retention(&self) -> Option<Retention> {
        self.claim.as_ref().map(|_| self.opened.endpoint.limits().retention)
    }

    /// Returns whether this very endpoint received the delivery, and not another one with the same name.
    pub(crate) fn is_of(&self, endpoint: &Arc<EndpointFacts>) -> bool {
        Arc::ptr_eq(&self.opened.endpoint, endpoint)
    }

    /// Returns the labels under which the delivery is logged and counted.
    pub(crate) fn subject(&self) -> observe::Subject<'_> {
        observe::Subject {
            endpoint: &self.opened.endpoint,
            kind: self.kind_label(),
            secret: self.secret_label(),
            event_key: &self.opened.key,
        }
    }

    pub(crate) fn lose_claim(&self) {
        if let Some(claim) = &self.claim {
            claim.lost.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn envelope(&self) -> &Envelope {
        &self.opened.envelope
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("endpoint", &self.endpoint())
            .field("provider", &self.provider())
            .field("kind", &self.kind_label())
            .field("signature_scope", &self.signature_scope())
            .field("event_key", &self.event_key())
            .finish_non_exhaustive()
    }
}

/// The error for decoding a delivery as another provider's event. The route has the wrong layer or the wrong extractor.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the delivery is from provider {is}, but the handler expects events of provider {wanted}")]
pub struct WrongProvider {
    wanted: &'static str,
    is: Box<str>,
}
