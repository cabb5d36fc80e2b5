//! Step 5 again: the deliveries of stored events, which a worker handles.
//!
//! The signature, the mode and the age were checked before the event was stored, and are not checked again. The
//! envelope is read again from the body, and from the unsigned headers that were stored with it.

use bytes::Bytes;

use super::{Receiver, envelope};
use crate::dedupe::inbox::store::{Leased, SealedBody};
use crate::delivery::{Delivery, InboxPart, StoredAttempt};
use crate::event_key::{DeliveryKeys, EventKey};
use crate::inbox::record::{StoredHead, StoredRecord};
use crate::inbox::sealing::{Binding, Unsealable};
use crate::scheme::Verification;
use crate::time::Time;
use crate::verified::Verified;

impl Receiver {
    /// Opens a leased event, and makes its delivery again. `sealed` is its body, and is opened in its own buffer. The
    /// head contains the path and the content type of its request.
    ///
    /// # Errors
    /// Returns an error if the event was sealed under an unknown key, was changed, was stored by a later version, or is
    /// of another provider. A receiver without an inbox returns `Damaged`.
    pub(crate) fn open_sealed(
        &self,
        leased: &Leased,
        sealed: Option<Bytes>,
    ) -> Result<(Delivery, StoredHead), Unsealable> {
        let current = self.current();
        let inbox = self.inbox().ok_or(Unsealable::Damaged)?;
        // Its kind, its id and its application are those of another provider.
        if leased.provider != self.provider() {
            return Err(Unsealable::OtherProvider);
        }
        let SealedBody { endpoint, row_key, stored_by, .. } = &leased.body;
        let (to, sealed) = (Binding { endpoint, row_key, stored_by }, sealed.ok_or(Unsealable::Damaged)?);
        let (StoredRecord { head, body }, witness) = StoredRecord::open(&inbox.sealer, to, sealed)?;
        let verification = Verification {
            signature_scope: head.signature_scope().ok_or(Unsealable::Unsupported)?,
            // The index of a stored event's secret is never read: its label is stored, its mode was checked.
            secret: usize::MAX,
            message_id: head.message_id.as_deref().map(str::as_bytes),
            attempted_at: head.attempted_at,
            occurred_at: head.event_time,
        };
        let unsigned = head.unsigned.as_deref().map(|stored| Box::new(stored.as_found()));
        let verified = Verified::from_inbox(body, verification, current.generation, unsigned, &head.secret, &witness);
        let (envelope, _) = envelope::complete(current.provider.open(&verified), &verified);
        let keys = DeliveryKeys::stored(
            head.id_from().ok_or(Unsealable::Unsupported)?,
            EventKey::from_bytes(head.event_key),
            head.recurring_body.map(EventKey::from_bytes),
        );
        let attempt = StoredAttempt {
            row: leased.body.id,
            number: leased.attempts,
            stored_at: Time::from_unix(leased.stored_at.div_euclid(1_000)),
            is_replay: leased.replays > 0,
        };
        let delivery = Delivery::new(envelope, verified, keys)
            .with_inbox(InboxPart::Attempt(Box::new(attempt)))
            .with_claim_token(leased.token, Some(inbox.store_id));
        if let Some((first_seen, count)) = head.possible_duplicate {
            delivery.set_first_seen(count, first_seen);
        }
        Ok((delivery, head))
    }

    /// Opens a leased event, and leaves its sealed body.
    #[cfg(test)]
    pub(crate) fn open_stored(&self, leased: &Leased) -> Result<(Delivery, StoredHead), Unsealable> {
        self.open_sealed(leased, leased.body.sealed.clone())
    }
}
