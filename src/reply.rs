//! Answers with a body that the receiver gives itself.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// The answer to a provider's handshake, given by the receiver itself.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Reply {
    /// The status to answer with.
    pub status: StatusCode,
    /// The headers to answer with.
    pub headers: HeaderMap,
    /// The body to answer with.
    pub body: Bytes,
}

impl Reply {
    /// Creates a reply without headers.
    #[must_use]
    pub fn new(status: StatusCode, body: Bytes) -> Self {
        Reply { status, headers: HeaderMap::new(), body }
    }
}
