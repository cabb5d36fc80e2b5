//! The answer of a handler, as far as it decides about the event.

use http::StatusCode;

use crate::error::Outcome;

/// Whether a handler succeeded, for [`Admitted::run`](crate::Admitted::run). Converted from the status of its answer,
/// which the log shows, or from a `bool` if the answer has none.
///
/// ```
/// use medhook::{Answered, Outcome, http::StatusCode};
///
/// assert_eq!(Answered::from(StatusCode::NO_CONTENT).outcome(), Outcome::Handled);
/// assert_eq!(Answered::from(StatusCode::FOUND).outcome(), Outcome::Failed);
/// assert_eq!(Answered::from(false), Answered::Failed);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// The handler answered with this status. 2xx commits the event.
    Status(StatusCode),
    /// The handler succeeded, and its answer has no status.
    Succeeded,
    /// The handler failed without a status, for example with an error of an inner service.
    Failed,
}

impl Answered {
    /// Returns the outcome of the delivery: [`Outcome::Handled`] or [`Outcome::Failed`].
    #[must_use]
    #[inline]
    pub fn outcome(self) -> Outcome {
        match self {
            Answered::Status(status) if status.is_success() => Outcome::Handled,
            Answered::Succeeded => Outcome::Handled,
            Answered::Status(_) | Answered::Failed => Outcome::Failed,
        }
    }

    #[inline]
    pub(crate) fn succeeded(self) -> bool {
        self.outcome() == Outcome::Handled
    }
}

impl From<StatusCode> for Answered {
    #[inline]
    fn from(status: StatusCode) -> Self {
        Answered::Status(status)
    }
}

impl From<bool> for Answered {
    #[inline]
    fn from(succeeded: bool) -> Self {
        if succeeded { Answered::Succeeded } else { Answered::Failed }
    }
}
