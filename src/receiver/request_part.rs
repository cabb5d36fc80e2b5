//! The part of a request that a receiver with an inbox stores with the body.

use http::{HeaderName, header};

use crate::delivery::{InboxPart, RequestPart};
use crate::headers::{Found, Headers};
use crate::request_head::RequestHead;
use crate::verified::Verified;

/// Returns the part of a request that is stored with the body. Without a head, the path is `/`.
pub(super) fn of<H: Headers + ?Sized>(verified: &Verified<'_>, head: Option<&RequestHead<'_, H>>) -> InboxPart {
    InboxPart::Request(Box::new(RequestPart {
        path: head.map_or("/", |head| path(head.target)).to_owned(),
        content_type: head.and_then(|head| content_type(head.headers)).map(str::to_owned),
        message_id: verified.message_id().map(str::to_owned),
        attempted_at: verified.attempted_at(),
        event_time: verified.event_time(),
        unsigned: verified.unsigned().map(|values| Box::new(values.to_stored())),
    }))
}

const LONGEST_PATH: usize = 2_048;

/// Returns the path of a target, or `/` if it is not an absolute path, is not visible ASCII, or is too long.
fn path(target: &str) -> &str {
    let target = target.split(['?', '#']).next().unwrap_or_default();
    // The target of a request to a proxy is a whole URL.
    let path = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        _ => target,
    };
    let is_path = path.starts_with('/') && path.len() <= LONGEST_PATH && is_visible(path.as_bytes());
    if is_path { path } else { "/" }
}

const LONGEST_CONTENT_TYPE: usize = 256;

/// Returns the content type of a request, unless it is repeated, not visible ASCII and spaces, or too long.
fn content_type(headers: &(impl Headers + ?Sized)) -> Option<&str> {
    const NAME: HeaderName = header::CONTENT_TYPE;
    let Found::Once(value) = headers.find(&NAME) else {
        return None;
    };
    let is_usable = !value.is_empty()
        && value.len() <= LONGEST_CONTENT_TYPE
        && value.iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic());
    if is_usable { str::from_utf8(value).ok() } else { None }
}

fn is_visible(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}
