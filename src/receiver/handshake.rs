//! Step 2, the handshake: answered before a body is read, and never delivered.

use super::head::RequestHead;
use crate::delivery::Delivery;
use crate::provider::Provider;
use crate::reply::Reply;

/// Returns the reply to a handshake; `None` if the request is not one.
pub(super) fn reply<H: ?Sized>(provider: &dyn Provider, head: &RequestHead<'_, H>) -> Option<Reply> {
    provider.handshake(head.method, head.target)
}

/// The outcome of [`Receiver::receive`](crate::Receiver::receive) for a request that is not rejected.
#[derive(Debug)]
#[must_use = "a delivery is not handled until it is admitted and run, and a reply has to be sent"]
pub enum Received {
    /// A verified, fresh delivery.
    Delivery(Delivery),
    /// A handshake of the provider, with the answer to send. The handler does not run.
    Reply(Box<Reply>),
}
