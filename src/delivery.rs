//! What reaches the application.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::provider::{Decoded, Envelope, Event, Mode};
use crate::{EventKey, Proven, Proves, Time, observe};

/// One genuine, fresh delivery: proven bytes and what they say about themselves. Cheap to clone.
///
/// Nothing here comes from an unsigned header.
#[derive(Clone)]
pub struct Delivery(Arc<Inner>);

struct Inner {
    endpoint: Arc<str>,
    provider: Arc<str>,
    envelope: Envelope,
    sent_at: Option<Time>,
    body: Bytes,
    proves: Proves,
    secret: Arc<str>,
    key: EventKey,
    claim_lost: AtomicBool,
    problem_told: AtomicBool,
}

impl Delivery {
    pub(crate) fn new(
        endpoint: &Arc<str>,
        provider: &Arc<str>,
        envelope: Envelope,
        proven: Proven<'_>,
        key: EventKey,
    ) -> Self {
        let sent_at = envelope.sent_at.clone().or_else(|| proven.attempted_at().map(Time::from_unix));
        Delivery(Arc::new(Inner {
            endpoint: endpoint.clone(),
            provider: provider.clone(),
            sent_at,
            envelope,
            proves: proven.proves(),
            secret: proven.secret_label().into(),
            body: proven.into_body(),
            key,
            claim_lost: AtomicBool::new(false),
            problem_told: AtomicBool::new(false),
        }))
    }

    /// The proven body, byte for byte.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// The body as a type of your own.
    ///
    /// # Errors
    /// `serde_json`'s, whose text may quote the body: do not log it as it is.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.0.body)
    }

    /// The event as its provider's type. What could not be read as documented is logged and counted, once.
    ///
    /// # Errors
    /// `E` is another provider's type.
    pub fn decode<E: Event>(&self) -> Result<E, WrongProvider> {
        if *self.0.provider != *E::PROVIDER {
            return Err(WrongProvider { wanted: E::PROVIDER, is: self.0.provider.clone() });
        }
        let decoded = E::from_delivery(self);
        self.tell(&decoded);
        Ok(decoded.event)
    }

    fn tell<E>(&self, decoded: &Decoded<E>) {
        let as_documented = decoded.problem.is_none() && decoded.drifted.is_empty();
        if !as_documented && !self.0.problem_told.swap(true, Ordering::Relaxed) {
            observe::not_as_documented(self, decoded.problem.as_ref(), &decoded.drifted);
        }
    }

    /// The kind of event, as sent; `None` where the body does not say.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.0.envelope.kind.as_ref().map(|kind| kind.as_str())
    }

    /// The kind for logs: its name if it is a documented one, else `unknown`.
    #[must_use]
    pub fn kind_label(&self) -> &str {
        self.0.envelope.kind.as_ref().map_or("unknown", |kind| kind.label())
    }

    /// The event's id: the body's, else the one the scheme signs; `None` where there is neither. A provider's id may
    /// be a patient's: treat it as health data.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.0.envelope.id.as_deref()
    }

    /// When this attempt was made, where that is signed.
    #[must_use]
    pub fn sent_at(&self) -> Option<&Time> {
        self.0.sent_at.as_ref()
    }

    /// When the event happened, where the body says so.
    #[must_use]
    pub fn occurred_at(&self) -> Option<&Time> {
        self.0.envelope.occurred_at.as_ref()
    }

    /// Test or live, where the body says so.
    #[must_use]
    pub fn mode(&self) -> Option<&Mode> {
        self.0.envelope.mode.as_ref()
    }

    /// The name of the receiver it came through.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// The name of the provider it came from.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.0.provider
    }

    /// The label of the secret that vouches for it.
    #[must_use]
    pub fn secret_label(&self) -> &str {
        &self.0.secret
    }

    /// What is proven about it.
    #[must_use]
    pub fn proves(&self) -> Proves {
        self.0.proves
    }

    /// What stores know its event by.
    #[must_use]
    pub fn event_key(&self) -> EventKey {
        self.0.key
    }

    /// Whether the claim ran out while the handler ran and someone else has the event by now: what the handler still
    /// does may be done twice.
    #[must_use]
    pub fn claim_lost(&self) -> bool {
        self.0.claim_lost.load(Ordering::Relaxed)
    }

    /// Whether it came through this receiver.
    pub(crate) fn is_of(&self, receiver: &crate::Receiver) -> bool {
        Arc::ptr_eq(&self.0.endpoint, &receiver.0.name)
    }

    pub(crate) fn lose_claim(&self) {
        self.0.claim_lost.store(true, Ordering::Relaxed);
    }

    pub(crate) fn envelope(&self) -> &Envelope {
        &self.0.envelope
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("endpoint", &self.endpoint())
            .field("provider", &self.provider())
            .field("kind", &self.kind_label())
            .field("proves", &self.proves())
            .field("event_key", &self.event_key())
            .finish_non_exhaustive()
    }
}

/// A delivery was to be decoded as another provider's event: a route has the wrong layer or the wrong extractor.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the delivery is from provider {is}, the handler wants events of {wanted}")]
pub struct WrongProvider {
    wanted: &'static str,
    is: Arc<str>,
}
