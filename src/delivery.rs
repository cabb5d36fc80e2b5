//! The verified delivery that the application receives.
//!
//! This module and `event` import each other: see `event`.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::activity::SecretUse;
use crate::claim_token::ClaimToken;
use crate::endpoint::EndpointFacts;
use crate::envelope::{Envelope, Mode};
use crate::event::{Decoded, Event};
use crate::event_key::{DeliveryKeys, EventKey, IdFrom, KeyParts};
use crate::observe;
use crate::process_keys::ProcessKeys;
use crate::retention::Retention;
use crate::scheme::SignatureScope;
use crate::store_id::StoreId;
use crate::time::Time;
#[cfg(feature = "inbox")]
use crate::unsigned::StoredUnsigned;
use crate::verified::Verified;

/// A verified, fresh delivery: the verified body and its envelope. Cheap to clone.
///
/// It contains nothing from unsigned headers, except with options of [`Custom`](crate::Custom) whose names say so.
#[derive(Clone)]
pub struct Delivery {
    opened: Arc<OpenedDelivery>,
}

/// The claim under which a delivery is handled, shared by all clones of the admitted delivery.
#[derive(Clone)]
struct DeliveryClaim {
    token: ClaimToken,
    store: Option<StoreId>,
    lost: OnceLock<()>,
    /// Set before the handler runs.
    possible_duplicate: OnceLock<PossibleDuplicate>,
}

#[derive(Clone)]
struct OpenedDelivery {
    endpoint: Arc<EndpointFacts>,
    envelope: Envelope,
    sent_at: Option<Time>,
    body: Bytes,
    signature_scope: SignatureScope,
    /// The label and the use of the secret that verified the delivery. The secret itself may have been replaced.
    secret: Arc<SecretUse>,
    keys: DeliveryKeys,
    problem_logged: OnceLock<()>,
    /// Set when the delivery is admitted.
    claim: Option<DeliveryClaim>,
    #[cfg(feature = "inbox")]
    inbox: InboxPart,
}

/// The part of a delivery that an inbox needs.
#[cfg(feature = "inbox")]
#[derive(Clone, Default)]
pub(crate) enum InboxPart {
    #[default]
    None,
    /// The delivery is from a request, and can be stored.
    Request(Box<RequestPart>),
    /// The delivery was stored, and this is an attempt to handle it.
    Attempt(Box<StoredAttempt>),
}

/// The part of a request that is stored with the body.
#[cfg(feature = "inbox")]
#[derive(Clone)]
pub(crate) struct RequestPart {
    /// The path, without the query, which is never stored.
    pub(crate) path: String,
    pub(crate) content_type: Option<String>,
    /// The signed id of the message, if the scheme signs one.
    pub(crate) message_id: Option<String>,
    /// The signed time of the attempt, in Unix seconds, if the scheme signs it.
    pub(crate) attempted_at: Option<i64>,
    pub(crate) event_time: Option<i64>,
    /// The unsigned headers that options of the provider read.
    pub(crate) unsigned: Option<Box<StoredUnsigned>>,
}

/// The attempt to handle a stored event.
#[cfg(feature = "inbox")]
#[derive(Clone)]
pub(crate) struct StoredAttempt {
    #[cfg_attr(not(feature = "sqlx-09"), allow(dead_code, reason = "only `finish_in` needs it"))]
    pub(crate) row: i64,
    pub(crate) number: u32,
    pub(crate) stored_at: Time,
    pub(crate) is_replay: bool,
}

impl Delivery {
    pub(crate) fn new(mut envelope: Envelope, verified: Verified<'_>, keys: DeliveryKeys) -> Self {
        let sent_at = envelope.sent_at.take().or_else(|| verified.attempted_at().map(Time::from_unix));
        let opened = Arc::new(OpenedDelivery {
            endpoint: verified.endpoint().clone(),
            sent_at,
            envelope,
            signature_scope: verified.signature_scope(),
            secret: verified.secret_use(),
            body: verified.into_body(),
            keys,
            problem_logged: OnceLock::new(),
            claim: None,
            #[cfg(feature = "inbox")]
            inbox: InboxPart::None,
        });
        Delivery { opened }
    }

    /// Sets what an inbox needs of the delivery. Has no effect on a clone.
    #[cfg(feature = "inbox")]
    pub(crate) fn with_inbox(mut self, part: InboxPart) -> Self {
        if let Some(opened) = Arc::get_mut(&mut self.opened) {
            opened.inbox = part;
        }
        self
    }

    /// Returns the delivery with the token for claiming its event in a store. Earlier clones do not have it.
    pub(crate) fn with_claim_token(mut self, token: ClaimToken, store: Option<StoreId>) -> Self {
        let (lost, possible_duplicate) = (OnceLock::new(), OnceLock::new());
        Arc::make_mut(&mut self.opened).claim = Some(DeliveryClaim { token, store, lost, possible_duplicate });
        self
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
        if !as_documented && self.opened.problem_logged.set(()).is_ok() {
            observe::not_as_documented(self.subject(), decoded.problem.as_ref(), &decoded.drifted);
        }
    }

    /// Returns the kind, as the body or the pin names it, or else the [unsigned
    /// header](crate::Custom::unsigned_kind_header). `None` if there is none of them.
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

    /// Returns the id from an unsigned header, if an [option](crate::Custom::unsigned_id_header) reads one and the
    /// delivery has no [`id`](Delivery::id).
    ///
    /// An attacker who captured a delivery can repeat it with any other id. Do not recognize handled events by this id
    /// alone: the [event key](Delivery::event_key) is computed from it and the body.
    #[must_use]
    pub fn unsigned_id(&self) -> Option<&str> {
        self.opened.envelope.unsigned_id.as_deref()
    }

    /// Returns the time of this attempt, if it is signed.
    #[must_use]
    pub fn sent_at(&self) -> Option<&Time> {
        self.opened.sent_at.as_ref()
    }

    /// Returns the time of the event, if the body contains it. With
    /// [`BinaryUnsigned`](crate::CloudEvents::BinaryUnsigned) and without a pointer to it, it is from an unsigned
    /// header.
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
        self.opened.secret.label()
    }

    /// Returns what the signature covers.
    #[must_use]
    pub fn signature_scope(&self) -> SignatureScope {
        self.opened.signature_scope
    }

    /// Returns the key under which stores record this event, except for [`MemoryStore`](crate::MemoryStore). If the
    /// event can recur with the same bytes, each delivery has a key of its own; see
    /// [`Dedupe::by_id`](crate::Dedupe::by_id). It is computed on first use.
    #[must_use]
    pub fn event_key(&self) -> EventKey {
        self.opened.keys.event(self.opened.key_parts())
    }

    /// Returns the key under which a memory store records this event.
    pub(crate) fn process_key(&self, keys: &ProcessKeys) -> EventKey {
        self.opened.keys.process_key(self.opened.key_parts(), keys)
    }

    /// Returns what identifies the event, from which the event key is computed.
    #[must_use]
    pub fn id_from(&self) -> IdFrom {
        self.opened.keys.id_from
    }

    /// Returns the earlier deliveries of the same bytes, if the event can recur with the same bytes
    /// ([`Dedupe::by_id`](crate::Dedupe::by_id)) or its id is [unsigned](crate::Custom::unsigned_id_header): this
    /// delivery may be a retry or a replay of an earlier one, or a new event. Deliveries whose handler failed are among
    /// them, since one may have had an effect. Duplicates are not. The count starts again after 24 hours without a
    /// delivery of the bytes.
    ///
    /// Always `None` before the handler runs, for other events that are deduplicated, and with
    /// [`Dedupe::off`](crate::Dedupe::off).
    #[must_use]
    pub fn possible_duplicate(&self) -> Option<PossibleDuplicate> {
        self.opened.claim.as_ref()?.possible_duplicate.get().cloned()
    }

    /// Returns whether the claim was lost while the handler was running: it expired, and another delivery of the event
    /// may have claimed it. Further work of the handler may then be done twice.
    #[must_use]
    pub fn claim_lost(&self) -> bool {
        self.opened.claim.as_ref().is_some_and(|claim| claim.lost.get().is_some())
    }

    /// Returns the token of the claim, or `None` before [`Receiver::admit`](crate::Receiver::admit). A store needs it
    /// to commit within the application's own transaction.
    #[must_use]
    pub fn claim_token(&self) -> Option<ClaimToken> {
        self.opened.claim.as_ref().map(|claim| claim.token)
    }

    /// Returns the identity of the receiver's store. `None` before [`Receiver::admit`](crate::Receiver::admit), and if
    /// the store [has none](crate::DedupeStore::store_id).
    #[must_use]
    pub fn store_id(&self) -> Option<StoreId> {
        self.opened.claim.as_ref().and_then(|claim| claim.store)
    }

    /// Returns how long the event is remembered, or `None` before [`Receiver::admit`](crate::Receiver::admit).
    #[must_use]
    pub fn retention(&self) -> Option<Retention> {
        self.opened.claim.as_ref().map(|_| self.opened.endpoint.limits().retention)
    }

    /// Returns the number of this attempt to handle the event, from 1. Always 1 without an inbox, where each delivery
    /// is the only attempt.
    ///
    /// The next attempt has the same number if this one does not count: if its worker stopped, the application was
    /// unreachable, or its process died, unless it attempted only this event, after an earlier death. So the first
    /// attempt with the number 1 may not be the only one. A [replayed](Delivery::is_replay) event begins with 1 again.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        #[cfg(feature = "inbox")]
        if let InboxPart::Attempt(attempt) = &self.opened.inbox {
            return attempt.number.max(1);
        }
        1
    }

    /// Returns when the event was stored in an inbox, in Unix seconds of the store's clock. `None` without an inbox.
    #[must_use]
    pub fn stored_at(&self) -> Option<Time> {
        #[cfg(feature = "inbox")]
        if let InboxPart::Attempt(attempt) = &self.opened.inbox {
            return Some(attempt.stored_at.clone());
        }
        None
    }

    /// Returns whether an operator has replayed the event from an inbox: it was handled or given up before.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        #[cfg(feature = "inbox")]
        if let InboxPart::Attempt(attempt) = &self.opened.inbox {
            return attempt.is_replay;
        }
        false
    }

    /// Returns the row of the inbox that the delivery comes from.
    #[cfg(feature = "inbox")]
    #[cfg_attr(not(feature = "sqlx-09"), allow(dead_code, reason = "only `finish_in` needs it"))]
    pub(crate) fn inbox_row(&self) -> Option<i64> {
        match &self.opened.inbox {
            InboxPart::Attempt(attempt) => Some(attempt.row),
            InboxPart::None | InboxPart::Request(_) => None,
        }
    }

    /// Returns the part of the request that is stored, if the receiver has an inbox.
    #[cfg(feature = "inbox")]
    pub(crate) fn request_part(&self) -> Option<&RequestPart> {
        match &self.opened.inbox {
            InboxPart::Request(part) => Some(part),
            InboxPart::None | InboxPart::Attempt(_) => None,
        }
    }

    /// Returns whether this very endpoint received the delivery, and not another one with the same name.
    pub(crate) fn is_of(&self, endpoint: &Arc<EndpointFacts>) -> bool {
        Arc::ptr_eq(&self.opened.endpoint, endpoint)
    }

    /// Returns the labels under which the delivery is logged and counted.
    pub(crate) fn facts(&self) -> &EndpointFacts {
        &self.opened.endpoint
    }

    pub(crate) fn subject(&self) -> observe::Subject<'_> {
        observe::Subject {
            endpoint: &self.opened.endpoint,
            kind: self.kind_label(),
            secret: &self.opened.secret,
            event_key: &*self.opened,
            repeats: self.repeats(),
        }
    }

    pub(crate) fn lose_claim(&self) {
        if let Some(claim) = &self.opened.claim {
            // It may have been set before.
            let _ = claim.lost.set(());
        }
    }

    /// Returns the number of earlier deliveries with the same bytes, if they count.
    pub(crate) fn repeats(&self) -> Option<u64> {
        self.opened.claim.as_ref()?.possible_duplicate.get().map(|duplicate| duplicate.count)
    }

    /// Returns whether all keys have been computed.
    #[cfg(test)]
    pub(crate) fn has_keys(&self) -> bool {
        self.opened.keys.are_computed()
    }

    /// Returns the key of the body, if its deliveries count. With an unsigned id, the event is claimed, too.
    pub(crate) fn recurring_body(&self) -> Option<EventKey> {
        self.opened.keys.recurring_body(self.opened.key_parts())
    }

    /// Sets the number of earlier deliveries of the body, and how long ago the first of them was.
    pub(crate) fn set_possible_duplicate(&self, count: u64, since: Duration) {
        let since = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        self.set_first_seen(count, self.opened.endpoint.now().saturating_sub(since));
    }

    /// Sets the number of earlier deliveries of the body, and the time of the first of them in Unix seconds.
    pub(crate) fn set_first_seen(&self, count: u64, first_seen: i64) {
        if let Some(claim) = &self.opened.claim {
            let first_seen = Time::from_unix(first_seen);
            // Already set only if the caller recorded the delivery twice, which `Admitted::run` does not do.
            let _ = claim.possible_duplicate.set(PossibleDuplicate { first_seen, count });
        }
    }

    pub(crate) fn envelope(&self) -> &Envelope {
        &self.opened.envelope
    }
}

impl OpenedDelivery {
    fn key_parts(&self) -> KeyParts<'_> {
        let (provider, endpoint) = (self.endpoint.provider(), self.endpoint.name());
        KeyParts { provider, endpoint, envelope: &self.envelope, body: &self.body }
    }
}

/// Writes the event key, which is computed only if a log subscriber asks for it.
impl fmt::Display for OpenedDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.keys.event(self.key_parts()).fmt(f)
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

/// The earlier deliveries with the bytes of a delivery. See [`Delivery::possible_duplicate`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PossibleDuplicate {
    /// The time of the first of them, in Unix seconds of the receiver's clock.
    pub first_seen: Time,
    /// Their number, at least 1.
    pub count: u64,
}

/// The error for decoding a delivery as another provider's event. The route has the wrong layer or the wrong extractor.
#[derive(Clone, thiserror::Error)]
#[error("the delivery is from provider {is}, but the handler expects events of provider {wanted}")]
pub struct WrongProvider {
    wanted: &'static str,
    is: Box<str>,
}

crate::error::debug_as_message!(WrongProvider);
