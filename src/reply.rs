//! Responses with a body that the receiver sends itself.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// The response to a provider's handshake, sent by the receiver itself.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Reply {
    /// The status of the response.
    pub status: StatusCode,
    /// The headers of the response.
    pub headers: HeaderMap,
    /// The body of the response.
    pub body: Bytes,
}

impl Reply {
    /// Creates a reply without headers.
    #[must_use]
    pub fn new(status: StatusCode, body: Bytes) -> Self {
        Reply { status, headers: HeaderMap::new(), body }
    }
}
