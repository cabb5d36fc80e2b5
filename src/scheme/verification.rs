//! The result of a scheme.

/// The parts of a delivery that its signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureScope {
    /// The body, and when this attempt to deliver it was made.
    BodyAndTime,
    /// The body. When it was sent is at most what the body says.
    Body,
    /// That the sender knows the secret. The body could have been altered on the way, and the header with it taken
    /// from one delivery to another.
    SenderOnly,
}

/// The result of a scheme: which secret verified the delivery, and what it covers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verification<'h> {
    pub(crate) signature_scope: SignatureScope,
    pub(crate) secret: usize,
    /// Nothing but visible ASCII.
    pub(crate) message_id: Option<&'h [u8]>,
    pub(crate) attempted_at: Option<i64>,
}
