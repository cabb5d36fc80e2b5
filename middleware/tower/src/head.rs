//! Converts request heads for the core.

use http::HeaderMap;
use http::request::Parts;
use http::uri::PathAndQuery;
use medhook::RequestHead;

/// Returns the head of a request, as the core reads it.
pub(crate) fn request_head(parts: &Parts) -> RequestHead<'_, HeaderMap> {
    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    RequestHead::new(parts.method.as_str(), target, &parts.headers)
}
