//! Step 2, the handshake: answered before the body is read, and never delivered to the handler.

use super::head::RequestHead;
use crate::delivery::Delivery;
use crate::provider::Provider;
use crate::reply::Reply;

/// Returns the reply to a handshake, or `None` if the request is not a handshake.
pub(super) fn reply<H: ?Sized>(provider: &dyn Provider, head: &RequestHead<'_, H>) -> Option<Reply> {
    provider.handshake(head.method, head.target)
}

/// The outcome of [`Receiver::receive`](crate::Receiver::receive) for a request that is not rejected.
#[derive(Debug)]
#[must_use = "a delivery must be admitted and run, and a reply must be sent"]
pub enum Received {
    /// A verified, fresh delivery.
    Delivery(Delivery),
    /// The reply to a handshake of the provider. The handler does not run.
    Reply(Box<Reply>),
}
