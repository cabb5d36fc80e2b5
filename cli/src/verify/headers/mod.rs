//! Parses the headers of a recorded delivery, in the forms in which logs and tools write them.
//!
//! - `lines`: `Name: value`, and the lines that tools such as `curl -v` write around them
//! - `command`: a command line of curl
//! - `json`: HAR, events of gateways, calls of `fetch`, objects and lists of headers
//!
//! A file that `medhook capture` wrote is recognized as well. No error quotes a line.

mod command;
mod head;
mod json;
mod lines;

use std::borrow::Cow;

pub(super) use self::head::Head;
use self::head::problem;
use crate::failure::Failure;
use crate::recording::{FIRST_LINE, RecordedHead};

/// The largest number of headers. Servers accept about a hundred.
const MOST: usize = 1000;

/// Parses the headers in any of the forms.
pub(super) fn parse(text: &[u8]) -> Result<Head, Failure> {
    let text = utf8(text)?;
    let head = if text.starts_with(FIRST_LINE) {
        recorded(&text)?
    } else if text.trim_ascii_start().starts_with(b"{") || text.trim_ascii_start().starts_with(b"[") {
        json::parse(&text)?
    } else if text.trim_ascii_start().starts_with(b"fetch(") || text.trim_ascii_start().starts_with(b"await fetch(") {
        json::parse_fetch(&text)?
    } else if command::is_command(&text) {
        command::parse(&text)?
    } else {
        lines::parse(&text)?
    };
    match head.headers.len() {
        0 if head.redacted.is_empty() => Err(problem("the file has no headers")),
        0..=MOST => Ok(head),
        _ => Err(problem(format_args!("the file has more than {MOST} headers; keep those of one request"))),
    }
}

fn recorded(text: &[u8]) -> Result<Head, Failure> {
    let wrong =
        |line| problem(format_args!("line {line} is not as medhook capture writes it; record the delivery again"));
    let RecordedHead { at, method, headers, redacted } = RecordedHead::parse(text).map_err(wrong)?;
    Ok(Head { method: Some(method), headers, body: None, at: Some(at), redacted })
}

/// Removes a byte order mark, and converts UTF-16 to UTF-8.
fn utf8(text: &[u8]) -> Result<Cow<'_, [u8]>, Failure> {
    let convert = |unit: fn([u8; 2]) -> u16, bytes: &[u8]| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let text = char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).collect::<Result<String, _>>().ok();
        text.filter(|_| rest.is_empty()).ok_or_else(|| problem("the file is not valid UTF-16; save it as UTF-8"))
    };
    match text {
        [0xef, 0xbb, 0xbf, text @ ..] => Ok(text.into()),
        [0xff, 0xfe, text @ ..] => convert(u16::from_le_bytes, text).map(|text| text.into_bytes().into()),
        [0xfe, 0xff, text @ ..] => convert(u16::from_be_bytes, text).map(|text| text.into_bytes().into()),
        _ if text.contains(&0) => Err(problem("the file contains NUL characters; save it as UTF-8")),
        _ => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests;
