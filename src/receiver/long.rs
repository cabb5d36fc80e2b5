//! Steps 5 and 6 for long bodies: the work that grows with the body runs in the pool of threads for blocking work.

use std::sync::Arc;

use super::Receiver;
use super::handshake::Received;
use crate::event_key::KeyParts;
use crate::headers::Headers;
use crate::in_pool::in_pool;
use crate::observe;
use crate::provider::{Provider, sealed};
use crate::rejection::Rejection;
use crate::request_head::RequestHead;
use crate::verified::Verified;

impl Receiver {
    /// Does the same as [`reply_to`](Receiver::reply_to) and `open_as`.
    pub(super) async fn open_long<H: Headers + ?Sized>(
        &self,
        provider: Arc<dyn Provider>,
        verified: Verified<'_>,
        head: &RequestHead<'_, H>,
    ) -> Result<Received, Rejection> {
        let (by, reads, body) = (verified.generation().clone(), provider.clone(), verified.body().clone());
        let read = in_pool(move || match by.handshakes.answer_body(&body) {
            Some(reply) => Err(Box::new(reply)),
            None => Ok(reads.read(&body, sealed::Seal)),
        });
        let mut envelope = match read.await {
            Ok(envelope) => envelope,
            Err(named) => {
                let (name, reply) = *named;
                observe::handshake(verified.endpoint(), name);
                return Ok(Received::Reply(Box::new(reply)));
            }
        };
        provider.complete(&mut envelope, &verified, sealed::Seal);
        let (envelope, id_from) = self.check(envelope, &verified)?;

        let (receiver, body, known) = (self.clone(), verified.body().clone(), envelope.clone());
        let keys = in_pool(move || {
            let keys = receiver.0.key_rule.keys(&*provider, &known, id_from, &body);
            let (provider, endpoint) = (receiver.0.endpoint.provider(), receiver.0.endpoint.name());
            // Both can be digests of the body, and are not computed again.
            let of = KeyParts { provider, endpoint, envelope: &known, body: &body };
            keys.event(of);
            keys.recurring_body(of);
            keys
        });
        let keys = keys.await;
        Ok(Received::Delivery(self.delivery(envelope, verified, keys, Some(head))))
    }
}
