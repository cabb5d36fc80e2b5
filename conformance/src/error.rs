//! Errors of the list of cases and of its endpoints.

use std::fmt;

use medhook::ConfigError;
use medhook::registry::OptionError;

/// An error in the list of cases. Names the file and the row.
#[derive(thiserror::Error)]
#[error("{0}")]
pub struct CaseError(pub(crate) String);

impl fmt::Debug for CaseError {
    /// Writes the message, which a `main` that returns the error prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An [`Endpoint`](crate::Endpoint) that lacks a setting, or whose settings no receiver accepts.
#[derive(thiserror::Error)]
#[error("{0}")]
pub struct EndpointError(pub(crate) String);

impl fmt::Debug for EndpointError {
    /// Writes the message, which a `main` that returns the error prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ConfigError> for EndpointError {
    fn from(error: ConfigError) -> Self {
        EndpointError(error.to_string())
    }
}

impl From<OptionError> for EndpointError {
    fn from(error: OptionError) -> Self {
        EndpointError(error.to_string())
    }
}
