//! Step 2, the handshake: answered by the receiver, and never delivered to the handler.

use std::sync::Arc;

use super::Receiver;
use super::head::RequestHead;
use crate::delivery::Delivery;
use crate::generation::Generation;
use crate::headers::Headers;
use crate::observe;
use crate::rejection::Rejection;
use crate::reply::Reply;
use crate::verified::Verified;

/// Returns the reply to a handshake whose head says that it is one, or `None` if the request is a delivery.
pub(super) fn in_head<H: Headers + ?Sized>(
    generation: &Generation,
    head: &RequestHead<'_, H>,
) -> Option<Result<Received, Rejection>> {
    if generation.handshakes.are_none() {
        return None;
    }
    let answer = generation.handshakes.answer_head(head, &generation.scheme)?;
    Some(match answer {
        Ok((name, reply)) => {
            observe::handshake(&generation.endpoint, name);
            Ok(Received::Reply(Box::new(reply)))
        }
        Err(fault) => Err(fault.into()),
    })
}

impl Receiver {
    /// Returns the reply to a verified body that is a handshake
    /// ([`Handshake::ping_pong`](crate::Handshake::ping_pong)), which must be sent instead of calling
    /// [`open`](Receiver::open); or `None` if the body is a delivery. [`receive`](Receiver::receive) does this itself.
    ///
    /// ```
    /// use medhook::{Custom, Handshake, HmacSha256Body, NoDedupe, Receiver, Secret, testing};
    ///
    /// let key = "made-up-metriport-key";
    /// let scheme = HmacSha256Body::new("x-sig");
    /// let metriport = Custom::new("metriport", scheme, Secret::new(key)?)
    ///     .handshake(Handshake::ping_pong("/ping", "pong"));
    /// let receiver = Receiver::builder("in", metriport).store(NoDedupe).build()?;
    ///
    /// let ping = r#"{"ping":"abc"}"#;
    /// let signing = testing::Signing::hmac_sha256("x-sig");
    /// let headers = signing.headers(key, "", "", ping.as_bytes()).expect("signed");
    /// let verified = receiver.verify(&headers, ping.into())?;
    /// let reply = receiver.reply_to(&verified).expect("a ping");
    /// assert_eq!(reply.body, r#"{"pong":"abc"}"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn reply_to(&self, verified: &Verified<'_>) -> Option<Reply> {
        if !Arc::ptr_eq(verified.endpoint(), &self.0.endpoint) {
            return None;
        }
        let (name, reply) = verified.generation().handshakes.answer_body(verified.body())?;
        observe::handshake(verified.endpoint(), name);
        Some(reply)
    }
}

/// The outcome of [`Receiver::receive`](crate::Receiver::receive) for a request that is not rejected.
#[derive(Debug)]
#[must_use = "a delivery must be admitted and run, and a reply must be sent"]
pub enum Received {
    /// A verified, fresh delivery.
    Delivery(Delivery),
    /// The reply to a [handshake](crate::Handshake) of the provider. The handler does not run.
    Reply(Box<Reply>),
}
