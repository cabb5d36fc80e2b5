//! Responses with a body that the receiver sends itself.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

/// The response to a provider's handshake, sent by the receiver itself.
#[derive(Clone)]
#[non_exhaustive]
pub struct Reply {
    /// The status of the response.
    pub status: StatusCode,
    /// The headers of the response.
    pub headers: HeaderMap,
    /// The body of the response.
    pub body: Bytes,
}

impl fmt::Debug for Reply {
    /// Writes neither the headers nor the body, which contains a challenge of the client or a MAC of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

impl Reply {
    /// Creates a reply without headers.
    #[must_use]
    pub fn new(status: StatusCode, body: Bytes) -> Self {
        Reply { status, headers: HeaderMap::new(), body }
    }

    /// Creates the answer to a handshake that needs no body.
    pub(crate) fn without_body() -> Self {
        Reply::of_handshake(None, Bytes::new())
    }

    /// Creates an answer in plain text.
    pub(crate) fn text(text: String) -> Self {
        Reply::of_handshake(Some("text/plain; charset=utf-8"), text.into())
    }

    /// Creates the answer `{"<key>":"<value>"}`, with both escaped.
    pub(crate) fn json(key: &str, value: String) -> Self {
        let object = serde_json::Map::from_iter([(key.to_owned(), serde_json::Value::String(value))]);
        Reply::of_handshake(Some("application/json"), serde_json::Value::Object(object).to_string().into())
    }

    /// A browser that was led to the URL must neither interpret nor store what another site chose.
    fn of_handshake(content_type: Option<&'static str>, body: Bytes) -> Self {
        let mut reply = Reply::new(StatusCode::OK, body);
        let fixed = [(header::CACHE_CONTROL, "no-store"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
        for (name, value) in fixed.into_iter().chain(content_type.map(|form| (header::CONTENT_TYPE, form))) {
            reply.headers.insert(name, HeaderValue::from_static(value));
        }
        reply
    }
}
