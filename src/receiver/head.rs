//! Step 1, the head: everything that can be rejected without reading the body.

use http::{HeaderName, header};

use crate::endpoint::Limits;
use crate::error::Reason;
use crate::headers::{Found, HeadFault, HeaderProblem, Headers, number};
use crate::request_head::RequestHead;

#[inline]
pub(super) fn check(limits: &Limits, head: &RequestHead<'_, impl Headers + ?Sized>) -> Result<(), HeadFault> {
    one_of(limits.methods, head.method)?;
    check_headers(limits, head.headers)
}

#[inline]
pub(super) fn check_headers(limits: &Limits, headers: &(impl Headers + ?Sized)) -> Result<(), HeadFault> {
    not_encoded(headers)?;
    not_too_large(headers, limits.body)
}

#[inline]
pub(super) fn one_of(methods: &[&str], method: &str) -> Result<(), HeadFault> {
    if methods.contains(&method) { Ok(()) } else { Err(Reason::Method.into()) }
}

/// Rejects an encoded body: signatures cover the bytes before encoding, and decompressing an unverified body invites a
/// zip bomb.
pub(super) fn not_encoded(headers: &(impl Headers + ?Sized)) -> Result<(), HeadFault> {
    const NAME: HeaderName = header::CONTENT_ENCODING;
    match headers.find(&NAME) {
        Found::Absent => Ok(()),
        Found::Once(value) if value.eq_ignore_ascii_case(b"identity") || value.is_empty() => Ok(()),
        Found::Once(_) | Found::Repeated => Err(HeaderProblem::Encoded.of(&NAME)),
    }
}

/// Rejects a body whose `Content-Length` exceeds the limit. A malformed length is not rejected here: that is up to the
/// server, and the bytes that arrive are counted in any case.
fn not_too_large(headers: &(impl Headers + ?Sized), limit: usize) -> Result<(), HeadFault> {
    const NAME: HeaderName = header::CONTENT_LENGTH;
    let Found::Once(value) = headers.find(&NAME) else {
        return Ok(());
    };
    match number(value) {
        Some(length) if usize::try_from(length).map_or(true, |length| length > limit) => {
            Err(HeaderProblem::LengthOverLimit.of(&NAME))
        }
        _ => Ok(()),
    }
}
