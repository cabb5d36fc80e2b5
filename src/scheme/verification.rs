//! The result of a successful verification.

/// The parts of a delivery that its signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureScope {
    /// The body and the time of this attempt to deliver it.
    BodyAndTime,
    /// The body only. No time is signed unless the body contains one.
    Body,
    /// Nothing of the delivery: the sender knows the secret, but the body may have been modified in transit, and the
    /// header may have been copied from another delivery.
    SenderOnly,
}

/// A successful verification: the scope of the signature, and the secret that verified it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Verification<'h> {
    pub(crate) signature_scope: SignatureScope,
    pub(crate) secret: usize,
    /// Visible ASCII only.
    pub(crate) message_id: Option<&'h [u8]>,
    pub(crate) attempted_at: Option<i64>,
    /// The time of the event, if the headers sign it.
    pub(crate) occurred_at: Option<i64>,
}
