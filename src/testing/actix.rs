//! Test requests of actix-web 4.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use bytes::Bytes;

use super::{Sample, fails};

impl Sample {
    /// Returns the signed request as actix-web's tests take it: `call_service(&app, request.to_request())`.
    ///
    /// # Panics
    /// As [`request`](Sample::request).
    #[must_use]
    pub fn actix_request(&self, path: &str) -> TestRequest {
        actix_request(self.request(path))
    }
}

/// Converts a request into actix-web's for tests, with all of its headers and its body.
///
/// # Panics
/// If actix-web does not accept the method or the URI.
#[must_use]
pub fn actix_request(request: http::Request<Bytes>) -> TestRequest {
    let (head, body) = request.into_parts();
    // actix-web's `http` is an older version than ours, so its types are made from text.
    let method = Method::from_bytes(head.method.as_str().as_bytes())
        .unwrap_or_else(|error| fails(&format!("actix-web does not accept the method: {error}")));
    let request = TestRequest::with_uri(&head.uri.to_string()).method(method).set_payload(body);
    head.headers.iter().fold(request, |request, (name, value)| request.append_header((name.as_str(), value.as_bytes())))
}
