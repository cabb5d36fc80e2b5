//! What keeps a command from doing its work: one line for the person at the terminal.

use std::fmt;

/// One clear line. It never holds a secret or a body.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Failure(what.into())
    }

    /// With the error behind it.
    pub(crate) fn because(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Failure(format!("{what}: {error}"))
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
