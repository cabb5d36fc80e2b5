//! Test requests for actix-web 4.

use actix_web::http::Method;
use actix_web::test::TestRequest;
use bytes::Bytes;

use super::{Sample, fails};

impl Sample {
    /// Returns the signed request for tests with actix-web: `call_service(&app, request.to_request())`.
    ///
    /// # Panics
    /// Panics for the same reasons as [`request`](Sample::request).
    #[must_use]
    pub fn actix_request(&self, path: &str) -> TestRequest {
        actix_request(self.request(path))
    }
}

/// Converts a request, with its headers and body, into a test request of actix-web.
///
/// # Panics
/// Panics if actix-web does not accept the method or the URI.
#[must_use]
pub fn actix_request(request: http::Request<Bytes>) -> TestRequest {
    let (head, body) = request.into_parts();
    // actix-web uses an older version of `http`, so its types are created from text.
    let method = Method::from_bytes(head.method.as_str().as_bytes())
        .unwrap_or_else(|error| fails(&format!("actix-web does not accept the method: {error}")));
    let request = TestRequest::with_uri(&head.uri.to_string()).method(method).set_payload(body);
    head.headers.iter().fold(request, |request, (name, value)| request.append_header((name.as_str(), value.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_request_has_the_method_the_uri_and_every_header() {
        let request = http::Request::put("/a?b=c").header("x-a", "1").header("x-a", "2").body(Bytes::new());
        let request = actix_request(request.unwrap()).to_http_request();
        assert_eq!((request.method().as_str(), request.uri().to_string().as_str()), ("PUT", "/a?b=c"));
        assert_eq!(request.headers().get_all("x-a").collect::<Vec<_>>(), ["1", "2"]);
    }
}
