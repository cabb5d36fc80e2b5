//! The endpoints that cases are played at.

use std::future::Future;

use crate::answer::{Call, Sent};
use crate::case::Case;
use crate::error::CaseError;

/// An endpoint that cases are played at: how deliveries reach it, and what can be seen of it besides its answers.
///
/// Its implementation must limit the time of every wait.
pub trait Site {
    /// The error after which no more cases can be played.
    type Error: From<CaseError>;

    /// Sends a delivery once.
    fn deliver(&self, case: &Case) -> impl Future<Output = Result<Sent, Self::Error>>;

    /// Sends copies of a delivery at once, on connections that are all open before the first copy is sent.
    fn deliver_copies(&self, case: &Case, copies: usize) -> impl Future<Output = Result<Vec<Sent>, Self::Error>>;

    /// Sends more than this many bytes of a body that never ends, and returns the answer that arrives meanwhile.
    fn deliver_endless(&self, case: &Case, bytes: u64) -> impl Future<Output = Result<Sent, Self::Error>>;

    /// Returns how many events were handled so far, where that can be seen.
    fn handled(&self) -> impl Future<Output = Result<Option<u64>, Self::Error>>;

    /// Returns what the handler was last called with, where that can be seen.
    fn last_call(&self) -> Option<Call> {
        None
    }

    /// Makes the handling of the next event fail, or returns why it cannot.
    fn fail_next(&self) -> impl Future<Output = Result<Result<(), &'static str>, Self::Error>>;

    /// Makes the receiver shut down. Only called with [`Plan::inside`](crate::Plan::inside).
    fn drain(&self) -> impl Future<Output = Result<(), Self::Error>> {
        std::future::ready(Ok(()))
    }
}
