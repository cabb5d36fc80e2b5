//! Errors of the list of cases and of its endpoints.

use medhook::ConfigError;
use medhook::registry::OptionError;

/// An error in the list of cases. Names the file and the row.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CaseError(pub(crate) String);

/// An [`Endpoint`](crate::Endpoint) that lacks a setting, or whose settings no receiver accepts.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EndpointError(pub(crate) String);

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
