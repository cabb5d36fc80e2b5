//! The delivery, as it reaches the application.
//!
//! This module and `event` import each other: see there.

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

/// One verified, fresh delivery: the verified bytes and their envelope. Cheap to clone.
///
/// Nothing here comes from an unsigned header.
#[derive(Clone)]
pub struct Delivery {
    opened: Arc<OpenedDelivery>,
    /// From when it is admitted.
    claim: Option<Arc<DeliveryClaim>>,
}

/// The claim under which a delivery is handled. All clones of the delivery share it.
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

    /// Returns the same delivery with the token that its event is to be claimed with.
    pub(crate) fn with_claim_token(self, token: ClaimToken) -> Self {
        Delivery { claim: Some(Arc::new(DeliveryClaim { token, lost: AtomicBool::new(false) })), ..self }
    }

    /// The proven body, byte for byte.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.opened.body
    }

    /// The body as a type of your own.
    ///
    /// # Errors
    /// `serde_json`'s, whose text may quote the body: do not log it as it is.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.opened.body)
    }

    /// The event as its provider's type. What could not be read as documented is logged and counted, once.
    ///
    /// # Errors
    /// `E` is another provider's type.
    pub fn decode<E: Event>(&self) -> Result<E, WrongProvider> {
        if self.provider() != E::PROVIDER {
            return Err(WrongProvider { wanted: E::PROVIDER, is: self.provider().into() });
        }
        let decoded = E::from_delivery(self);
        self.tell(&decoded);
        Ok(decoded.event)
    }

    fn tell<E>(&self, decoded: &Decoded<E>) {
        let as_documented = decoded.problem.is_none() && decoded.drifted.is_empty();
        if !as_documented && !self.opened.problem_logged.swap(true, Ordering::Relaxed) {
            observe::not_as_documented(self.subject(), decoded.problem.as_ref(), &decoded.drifted);
        }
    }

    /// The kind of event, as sent; `None` where the body does not say.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.opened.envelope.kind.as_ref().map(|kind| kind.as_str())
    }

    /// The kind for logs: its name if it is a documented one, else `unknown`.
    #[must_use]
    pub fn kind_label(&self) -> &str {
        self.opened.envelope.kind.as_ref().map_or("unknown", |kind| kind.label())
    }

    /// The event's id: the body's, else the one the scheme signs; `None` where there is neither. A provider's id may
    /// be a patient's: treat it as health data.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.opened.envelope.id.as_deref()
    }

    /// When this attempt was made, where that is signed.
    #[must_use]
    pub fn sent_at(&self) -> Option<&Time> {
        self.opened.sent_at.as_ref()
    }

    /// When the event happened, where the body says so.
    #[must_use]
    pub fn occurred_at(&self) -> Option<&Time> {
        self.opened.envelope.occurred_at.as_ref()
    }

    /// Test or live, where the body says so.
    #[must_use]
    pub fn mode(&self) -> Option<&Mode> {
        self.opened.envelope.mode.as_ref()
    }

    /// The name of the receiver it came through.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.opened.endpoint.name()
    }

    /// The name of the provider it came from.
    #[must_use]
    pub fn provider(&self) -> &str {
        self.opened.endpoint.provider()
    }

    /// The label of the secret that vouches for it.
    #[must_use]
    pub fn secret_label(&self) -> &str {
        self.opened.endpoint.secret_label(self.opened.secret)
    }

    /// What is proven about it.
    #[must_use]
    pub fn signature_scope(&self) -> SignatureScope {
        self.opened.signature_scope
    }

    /// What stores know its event by.
    #[must_use]
    pub fn event_key(&self) -> EventKey {
        self.opened.key
    }

    /// Whether the claim ran out while the handler ran and someone else has the event by now: what the handler still
    /// does may be done twice.
    #[must_use]
    pub fn claim_lost(&self) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.lost.load(Ordering::Relaxed))
    }

    /// Whose claim its event is under; `None` before [`Receiver::admit`](crate::Receiver::admit). A store that commits
    /// within a transaction of the application's goes by it.
    #[must_use]
    pub fn claim_token(&self) -> Option<ClaimToken> {
        self.claim.as_ref().map(|claim| claim.token)
    }

    /// How long its event is to be remembered; `None` before [`Receiver::admit`](crate::Receiver::admit).
    #[must_use]
    pub fn retention(&self) -> Option<Retention> {
        self.claim.as_ref().map(|_| self.opened.endpoint.limits().retention)
    }

    /// Returns whether the delivery came through this endpoint, and not through another of the same name.
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

/// A delivery was to be decoded as another provider's event: a route has the wrong layer or the wrong extractor.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the delivery is from provider {is}, the handler wants events of {wanted}")]
pub struct WrongProvider {
    wanted: &'static str,
    is: Box<str>,
}
