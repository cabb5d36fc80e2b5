//! Converts actix-web's request heads for the core.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderValue};
use actix_web::http::uri::PathAndQuery;
use medhook::http::HeaderName;
use medhook::{Found, Headers};

/// Returns the path and query of a request.
pub(crate) fn target(request: &HttpRequest) -> &str {
    request.uri().path_and_query().map_or("/", PathAndQuery::as_str)
}

/// Adapter that implements the core's [`Headers`] for actix-web.
pub(crate) struct RequestHeaders<'a>(pub(crate) &'a HeaderMap);

impl Headers for RequestHeaders<'_> {
    fn find(&self, name: &HeaderName) -> Found<'_> {
        Found::among(self.0.get_all(name.as_str()).map(HeaderValue::as_bytes))
    }

    /// actix-web's map is of `http` 0.2, so a lookup parses its name.
    fn find_each<'h>(&'h self, names: &[HeaderName], found: &mut [Found<'h>]) {
        let headers = || self.0.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        Found::each_among(headers, names, found);
    }
}
