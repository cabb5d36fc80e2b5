//! Deliveries of a receiver with an inbox: they are stored instead of handled.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::claim::{AfterFailure, Claim};
use super::panics::Guarded;
use super::quota::Room;
use super::settings::{InboxSettings, OnStoreError};
use crate::answered::Answered;
use crate::claim_token::ClaimToken;
use crate::dedupe::inbox::store::{CountOf, NewEvent, StoreResult};
use crate::delivery::Delivery;
use crate::error::{Reason, StoreError};
use crate::event_key::EventKey;
use crate::in_pool::{LONGEST_INLINE, in_pool};
use crate::inbox::Inbox;
use crate::inbox::record::{StoredHead, StoredRecord, id_from_name, signature_scope_name};
use crate::inbox::sealing::{Binding, SealedPart, Sealer};
use crate::observe;
use crate::rejection::Rejection;
use crate::retention::Retention;

impl Claim {
    /// Stores the event. The handler runs only if that fails and the policy is
    /// [`HandleUnclaimed`](OnStoreError::HandleUnclaimed); otherwise the result is a rejection, and that of a stored
    /// event has [`Reason::Stored`].
    pub(super) async fn store<T>(
        mut self,
        recurring_body: Option<EventKey>,
        handler: Guarded<'_, impl Future<Output = T> + Unpin>,
        answered: Guarded<'_, impl FnOnce(&T) -> Answered>,
    ) -> Result<T, Rejection> {
        let settings = self.settings.clone();
        let Some(inbox) = &settings.inbox else {
            return self.run(handler, answered).await;
        };
        let handles_unclaimed = settings.on_store_error == OnStoreError::HandleUnclaimed;
        if !handles_unclaimed {
            // A drain waits for the store, but there is no handler that it could cancel.
            self.permit.finish();
        }
        let mut counted = None;
        if let Some(body) = recurring_body {
            let of_body;
            // The claim is that of the event to store: both have the same token.
            (self, of_body) = self.count(body).await?;
            if !of_body.is_recorded() {
                // The store is unavailable.
                return self.run_counted(of_body, handler, answered).await;
            }
            counted = Some(of_body);
        }
        let rejection = match self.store_event(inbox).await {
            Ok(StoreResult::Stored { .. }) => {
                // With a known body it may be a replay.
                if self.delivery.repeats().is_none() {
                    observe::new_event(self.delivery.facts());
                }
                observe::stored(self.delivery.subject());
                inbox.inbox.stored.notify_waiters();
                return Err(Rejection::stored(inbox.ack_status));
            }
            Ok(StoreResult::Duplicate) => Reason::Duplicate.into(),
            Ok(StoreResult::InFlight { retry_after }) => Rejection::in_flight(retry_after),
            Err(error) if handles_unclaimed => {
                observe::unclaimed(self.delivery.subject(), &error);
                return match counted {
                    Some(counted) => self.run_counted(counted, handler, answered).await,
                    None => self.run_claimed(false, handler, answered).await,
                };
            }
            Err(error) => Rejection::store(error),
        };
        if let Some(counted) = counted {
            self.give_back(counted, AfterFailure::Disown).await;
        }
        Err(rejection)
    }

    async fn store_event(&self, to: &InboxSettings) -> Result<StoreResult, StoreError> {
        let (began, body) = (Instant::now(), self.delivery.body().len());
        let room = self.in_store_timeout(Box::pin(to.inbox.room_to_store(body))).await?;
        let left = self.settings.store_timeout.saturating_sub(began.elapsed());
        let event = self.sealed_event(&to.inbox, Arc::new(room)).await?;
        let size = event.size.saturating_add(BESIDE_BODY);
        let stored = self.in_timeout(
            left,
            Box::pin(async {
                let bytes = || bytes_of(&to.inbox, self.delivery.endpoint());
                if to.quota.reserve(size, bytes).await? == Room::Full {
                    return Err(StoreError::full_with(format!(
                        "the unfinished events of this endpoint take the {} bytes that max_inbox_bytes allows",
                        to.quota.most()
                    )));
                }
                let stored = to.inbox.tables.store_event(event).await;
                if !matches!(stored, Ok(StoreResult::Stored { .. })) {
                    to.quota.give_back(size);
                }
                stored
            }),
        );
        stored.await
    }

    /// Returns the delivery as it is stored. Its sealed body keeps the room.
    async fn sealed_event(&self, inbox: &Inbox, room: Arc<OwnedSemaphorePermit>) -> Result<NewEvent, StoreError> {
        let (token, retention) = (self.token, self.settings.retention);
        let (delivery, sealer) = (self.delivery.clone(), inbox.sealer.clone());
        // The pool may still be at it after the caller has stopped waiting.
        let seal = move || {
            let event = sealed_event(&delivery, token, retention, &sealer)?;
            let sealed = Bytes::from_owner(InRoom { bytes: event.sealed, _room: room.clone() });
            Ok(NewEvent { sealed, ..event })
        };
        if self.delivery.body().len() <= LONGEST_INLINE { seal() } else { in_pool(seal).await }
    }
}

/// Bytes that keep their room until the last clone of them is dropped.
struct InRoom {
    bytes: Bytes,
    _room: Arc<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for InRoom {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn sealed_event(
    delivery: &Delivery,
    token: ClaimToken,
    retention: Retention,
    sealer: &Sealer,
) -> Result<NewEvent, StoreError> {
    let event_key = delivery.event_key();
    let row_key = sealer.row_key(&event_key);
    let to = Binding { endpoint: delivery.endpoint(), row_key: &row_key, stored_by: &token };
    let request = delivery.request_part();
    let head = StoredHead {
        event_key: *event_key.as_bytes(),
        recurring_body: delivery.recurring_body().map(|body| *body.as_bytes()),
        id_from: id_from_name(delivery.id_from()).to_owned(),
        signature_scope: signature_scope_name(delivery.signature_scope()).to_owned(),
        message_id: request.and_then(|request| request.message_id.clone()),
        attempted_at: request.and_then(|request| request.attempted_at),
        event_time: request.and_then(|request| request.event_time),
        secret: delivery.secret_label().to_owned(),
        path: request.map_or("/", |request| &request.path).to_owned(),
        content_type: request.and_then(|request| request.content_type.clone()),
        possible_duplicate: delivery
            .possible_duplicate()
            .and_then(|duplicate| Some((duplicate.first_seen.unix()?, duplicate.count))),
        unsigned: request.and_then(|request| request.unsigned.clone()),
    };
    let record = StoredRecord { head, body: delivery.body().clone() };
    Ok(NewEvent {
        event_key,
        token,
        retention,
        endpoint: delivery.endpoint().to_owned(),
        provider: delivery.provider().to_owned(),
        kind: delivery.kind_label().to_owned(),
        secret: delivery.secret_label().to_owned(),
        size: u64::try_from(delivery.body().len()).unwrap_or(u64::MAX),
        sealed_key: sealer.seal(SealedPart::EventKey, to, &[event_key.as_bytes()])?.into(),
        sealed: record.seal(sealer, to)?.into(),
        row_key,
    })
}

/// Returns the bytes of an endpoint's unfinished events, with what they take beside their bodies. Dead ones do not
/// count: they would keep a healthy endpoint from storing events until an operator has decided about each.
async fn bytes_of(inbox: &Inbox, endpoint: &str) -> Result<u64, StoreError> {
    let counts = inbox.tables.counts(CountOf::Unfinished(endpoint.to_owned())).await?;
    Ok(counts.endpoints.first().map_or(0, |of| {
        let events = of.waiting.saturating_add(of.processing);
        of.unfinished_bytes.saturating_add(events.saturating_mul(BESIDE_BODY))
    }))
}

/// The bytes that a stored event takes beside its body, so that many small ones neither fill the disk nor take long to
/// count. Most of them are the page that keeps a body apart from others in SQLite.
pub(super) const BESIDE_BODY: u64 = 4096;
