//! Step 2, the handshake: answered by the receiver before the body is read, and never delivered to the handler.

use crate::delivery::Delivery;
use crate::generation::Generation;
use crate::headers::Headers;
use crate::observe;
use crate::rejection::Rejection;
use crate::reply::Reply;
use crate::request_head::RequestHead;

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

/// The outcome of [`Receiver::receive`](crate::Receiver::receive) for a request that is not rejected.
#[derive(Debug)]
#[must_use = "a delivery must be admitted and run, and a reply must be sent"]
pub enum Received {
    /// A verified, fresh delivery.
    Delivery(Delivery),
    /// The reply to a [handshake](crate::Handshake) of the provider. The handler does not run.
    Reply(Box<Reply>),
}
