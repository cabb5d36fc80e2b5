//! The headers of the page's answers.

use http::{HeaderName, HeaderValue, Response, header};

/// Whether an answer may be kept by the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::receive::operations) enum Caching {
    /// Numbers and names of the receiver.
    Never,
    /// A part of the program. The browser requests it again each time, so that an upgrade takes effect.
    Assets,
}

/// Adds the headers that restrict what a browser does with the answer.
pub(in crate::receive::operations) fn protected<B>(mut response: Response<B>, caching: Caching) -> Response<B> {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let caching = if caching == Caching::Never { "no-store" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    response
}

/// Adds the header by which browsers use TLS for every later request to this name, for a year.
pub(in crate::receive::operations) fn strict<B>(mut response: Response<B>) -> Response<B> {
    let value = HeaderValue::from_static("max-age=31536000");
    response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, value);
    response
}

const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // With `no-referrer`, browsers send `Origin: null` with the page's own forms.
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parts_of_the_program_may_be_kept_by_the_browser() {
        for (caching, value) in [(Caching::Never, "no-store"), (Caching::Assets, "no-cache")] {
            let response = protected(Response::new(()), caching);
            assert_eq!(response.headers()[header::CACHE_CONTROL], value);
            assert!(HEADERS.iter().all(|(name, value)| response.headers()[name] == value), "{response:?}");
        }
    }
}
