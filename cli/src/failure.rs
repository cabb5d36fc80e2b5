//! The error of a command.

use std::fmt;

/// The reason why a command failed: one line for the operator, without secrets and bodies.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Failure(message.into())
    }

    /// Adds what to do.
    pub(crate) fn advising(self, advice: impl fmt::Display) -> Self {
        Failure(format!("{}; {advice}", self.0))
    }

    /// Creates a failure from a message and its cause.
    pub(crate) fn because(message: impl fmt::Display, error: impl fmt::Display) -> Self {
        Failure(format!("{message}: {error}"))
    }
}

impl From<medhook_conformance::CaseError> for Failure {
    fn from(error: medhook_conformance::CaseError) -> Self {
        Failure(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
