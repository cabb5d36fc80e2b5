//! The headers that carry signatures.

use http::HeaderName;

use crate::error::ConfigError;
use crate::headers::{Found, HeaderProblem};

/// The most headers of a scheme that are found in one pass over all headers.
pub(crate) const MOST_HEADERS: usize = 3;

/// The first headers of a scheme, in the order of their names.
pub(crate) type SignedHeaders<'h> = [Found<'h>; MOST_HEADERS];

/// Returns the value of a required header, which must occur once, not be empty, and not exceed [`LONGEST_HEADER`].
#[inline]
pub(in crate::scheme) fn required(header: Found<'_>) -> Result<&[u8], HeaderProblem> {
    match header {
        Found::Absent => Err(HeaderProblem::Missing),
        Found::Repeated => Err(HeaderProblem::Repeated),
        Found::Once([]) => Err(HeaderProblem::Empty),
        Found::Once(value) if value.len() > LONGEST_HEADER => Err(HeaderProblem::TooLong),
        Found::Once(value) => Ok(value),
    }
}

pub(super) const LONGEST_HEADER: usize = 4096;

/// Returns the most Ed25519 signatures that a delivery may have for this number of public keys. Each is checked under
/// each key, with a hash of the body, so that an unverified delivery causes at most 32 hashes. Svix signs with its
/// current key and up to ten old ones.
pub(in crate::scheme) fn most_ed25519(public_keys: usize) -> usize {
    (MOST_ED25519_CHECKS.checked_div(public_keys).unwrap_or(MOST_ED25519)).min(MOST_ED25519)
}

const MOST_ED25519: usize = 16;
const MOST_ED25519_CHECKS: usize = 32;

pub(in crate::scheme) fn header_name(name: &str) -> Result<HeaderName, ConfigError> {
    let header = HeaderName::try_from(name).map_err(|error| {
        // A whole header line may have been pasted, with a secret as its value.
        let shown = match name.split_once([':', ' ', '=']) {
            Some((before, _)) => format!("{before:?}.."),
            None => format!("{name:?}"),
        };
        ConfigError::new(format!("{shown} is not a valid header name")).with_source(error)
    })?;
    if OF_HTTP.contains(&header.as_str()) {
        return Err(ConfigError::new(format!(
            "the header {header} belongs to HTTP itself; set the one that has the provider's signature or secret"
        )));
    }
    Ok(header)
}

/// Headers with a meaning in HTTP, which servers, proxies and the checks of the request head interpret, remove or add.
/// A content type is also passed on to applications, so it must not be a secret.
const OF_HTTP: [&str; 13] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::Headers;

    #[test]
    fn a_required_header_must_occur_once_and_be_neither_empty_nor_too_long() {
        let name = HeaderName::from_static("x-key");
        let (longest, too_long) = ("k".repeat(4096), "k".repeat(4097));
        for (values, found) in [
            (&["k"][..], Ok(&b"k"[..])),
            (&[&longest], Ok(longest.as_bytes())),
            (&[&too_long], Err(HeaderProblem::TooLong)),
            (&[""], Err(HeaderProblem::Empty)),
            (&[], Err(HeaderProblem::Missing)),
            (&["k", "k"], Err(HeaderProblem::Repeated)),
        ] {
            let headers: Vec<_> = values.iter().map(|value| ("X-Key", value)).collect();
            assert_eq!(
                required(headers.find(&name)),
                found,
                "{} of {:?}",
                values.len(),
                values.first().map(|v| v.len())
            );
        }
    }

    #[test]
    fn a_header_of_http_itself_carries_no_signature() {
        for name in ["content-length", "Content-Encoding", "TRANSFER-ENCODING", "connection", "host", "te"] {
            let problem = header_name(name).unwrap_err().to_string();
            let expected = format!("the header {} belongs to HTTP itself", name.to_ascii_lowercase());
            assert!(problem.starts_with(&expected), "{problem}");
        }
        for name in ["authorization", "x-content-length", "cookie", "X-Signature", "signature"] {
            assert!(header_name(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn the_value_of_a_pasted_header_line_is_not_shown() {
        let problem = |name: &str| header_name(name).unwrap_err().to_string();
        assert_eq!(problem("x-key: canary"), "\"x-key\".. is not a valid header name");
        assert_eq!(problem("x-key canary"), "\"x-key\".. is not a valid header name");
        assert_eq!(problem("x/key"), "\"x/key\" is not a valid header name");
    }
}
