//! Step 1, the head: everything that can be rejected without reading the body.

use http::header;

use crate::endpoint::Limits;
use crate::error::Reason;
use crate::generation::HeadHeaders;
use crate::headers::{Found, HeadFault, HeaderProblem, number};

#[inline]
pub(super) fn check(limits: &Limits, headers: &HeadHeaders<'_>) -> Result<(), HeadFault> {
    not_encoded(headers.encoding)?;
    not_too_large(headers.length, limits.body)
}

#[inline]
pub(super) fn one_of(methods: &[&str], method: &str) -> Result<(), HeadFault> {
    if methods.contains(&method) { Ok(()) } else { Err(Reason::Method.into()) }
}

/// Rejects an encoded body: signatures cover the bytes before encoding, and decompressing an unverified body invites a
/// zip bomb.
#[inline]
pub(super) fn not_encoded(encoding: Found<'_>) -> Result<(), HeadFault> {
    match encoding {
        Found::Absent => Ok(()),
        Found::Once(value) if value.eq_ignore_ascii_case(b"identity") || value.is_empty() => Ok(()),
        Found::Once(_) | Found::Repeated => Err(HeaderProblem::Encoded.of(&header::CONTENT_ENCODING)),
    }
}

/// Rejects a body whose `Content-Length` exceeds the limit. A malformed length is not rejected here: that is up to the
/// server, and the bytes that arrive are counted in any case.
#[inline]
fn not_too_large(length: Found<'_>, limit: usize) -> Result<(), HeadFault> {
    let Found::Once(value) = length else {
        return Ok(());
    };
    match number(value) {
        Some(length) if usize::try_from(length).map_or(true, |length| length > limit) => {
            Err(HeaderProblem::LengthOverLimit.of(&header::CONTENT_LENGTH))
        }
        _ => Ok(()),
    }
}
