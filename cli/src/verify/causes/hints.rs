//! Finds causes that the headers, the secret and the body suggest, without explaining the signature.

use medhook::Secret;

use super::cause::Cause;
use super::json::{Piece, pieces};
use crate::verify::case::{Case, LONGEST_JSON};

/// Returns what suggests that a secret is not the right one.
pub(super) fn of_secrets(case: &Case<'_>) -> Vec<Cause> {
    let of = |secret: &Secret| {
        let text = format!("secret {} {}", secret.label(), secret.warning()?);
        Some(Cause::possible("secret_suspicious", text))
    };
    case.secrets.iter().filter(|secret| !secret.expose_secret().is_empty()).filter_map(of).collect()
}

/// Returns whether a log or a tool hid the value of the header with the signature or the shared secret.
pub(super) fn of_value(case: &Case<'_>) -> Option<Cause> {
    let name = case.signature_header();
    let is_mask = |value: &[u8]| {
        let inner = value.trim_ascii().strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">"));
        let inner = inner.or_else(|| value.trim_ascii().strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")));
        let word = inner.unwrap_or(value).to_ascii_lowercase();
        let words = [&b"redacted"[..], b"filtered", b"masked", b"hidden", b"secret", b"removed", b"sanitized"];
        let characters = |bytes: &[u8]| bytes.iter().all(|byte| b"*.xX".contains(byte));
        (inner.is_some() && !word.is_empty() && word.len() < 24)
            || words.contains(&&*word)
            || (word.len() > 1 && characters(&word))
    };
    case.head.values(&name).any(is_mask).then(|| {
        let text =
            format!("the header {name} holds a mask such as `***` or `[redacted]`: a log or a tool hid its value");
        Cause::possible("value_masked", text)
    })
}

/// Returns what suggests that the body is not the one that was signed.
pub(super) fn of_body(case: &Case<'_>) -> Vec<Cause> {
    [encoding(case), length(case), truncated(case), replaced(case), rounded(case)].into_iter().flatten().collect()
}

fn encoding(case: &Case<'_>) -> Option<Cause> {
    let compressed = [&[0x1f, 0x8b][..], &[0x28, 0xb5, 0x2f, 0xfd]].iter().any(|magic| case.body.starts_with(magic));
    // The first byte of gzip, and the second one as tools write it that cannot read it.
    let is_damaged = case.body.starts_with("\u{1f}\u{fffd}".as_bytes());
    let is_text = str::from_utf8(case.body).is_ok() && !is_damaged;
    let encodings = case.head.values("content-encoding");
    let encoded = encodings.map(<[u8]>::to_ascii_lowercase).any(|value| !value.is_empty() && value != b"identity");
    match (encoded, compressed) {
        (true, _) if is_text => Some(Cause::possible(
            "decompressed_in_transit",
            "content-encoding says that the body is compressed, but it is text: it was decompressed after it was signed, \
             by a proxy or by the tool that recorded it",
        )),
        (true, _) => Some(Cause::possible(
            "compressed_body",
            "content-encoding says that the body is compressed: the signature covers either these bytes or the uncompressed \
             ones",
        )),
        (false, true) => Some(Cause::possible(
            "compressed_without_header",
            "the body is compressed with gzip or zstd, but there is no content-encoding",
        )),
        (false, false) if is_base64_of_gzip(case.body) => Some(Cause::possible(
            "compressed_without_header",
            "the body is or holds the base64 of data that is compressed with gzip",
        )),
        (false, false) => None,
    }
}

/// Returns whether a text in base64 begins with the bytes of gzip: 1f 8b 08.
fn is_base64_of_gzip(body: &[u8]) -> bool {
    const MAGIC: &[u8] = b"H4sI";
    let is_long = |text: &[u8]| {
        text.iter().take(32).filter(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte)).count() >= 20
    };
    let mut before = b'"';
    body.windows(32).any(|text| {
        let begins = matches!(std::mem::replace(&mut before, *text.first().unwrap_or(&b'"')), b'"' | b'\'' | b'=');
        begins && text.starts_with(MAGIC) && is_long(text)
    })
}

fn length(case: &Case<'_>) -> Option<Cause> {
    let sent: Option<usize> = case.head.text("content-length").and_then(|text| text.parse().ok());
    let known = case.body.len();
    match sent {
        None | Some(0) if known == 0 => Some(Cause::possible("empty_body", "the recorded body is empty")),
        Some(sent) if known == 0 => Some(Cause::possible(
            "empty_body",
            format!(
                "the recorded body is empty, but content-length was {sent}: it was not recorded, or was read before"
            ),
        )),
        Some(sent) if known < sent => Some(Cause::possible(
            "truncated_body",
            format!(
                "content-length was {sent}, but the file has {known} bytes: it was shortened, or its end is missing"
            ),
        )),
        Some(sent) if known > sent => Some(Cause::possible(
            "body_length_differs",
            format!("content-length was {sent}, but the file has {known} bytes: it is not the body that was sent"),
        )),
        _ => None,
    }
}

fn truncated(case: &Case<'_>) -> Option<Cause> {
    let begins = matches!(case.body.trim_ascii_start().first(), Some(b'{' | b'['));
    let ends = matches!(case.body.trim_ascii_end().last(), Some(b'}'));
    let error = serde_json::from_slice::<serde::de::IgnoredAny>(case.body).err()?;
    // A body that was cut within a character is no UTF-8.
    let is_cut = error.is_eof() || str::from_utf8(case.body).is_err_and(|error| error.error_len().is_none());
    let text = match (begins, ends) {
        (true, _) if is_cut => "the body is JSON without an end: the end of the body is missing",
        (true, _) if case.body.starts_with(b"{'") => {
            "the body begins as Python or JavaScript print an object, with single quotes: it is not the JSON that was sent"
        }
        (false, true) if case.body.windows(2).any(|pair| pair == b"\":") => {
            "the body ends as JSON, but does not begin as JSON: its beginning is missing, or other text precedes it"
        }
        _ => return None,
    };
    Some(Cause::possible(if is_cut && begins { "truncated_json" } else { "body_not_as_sent" }, text))
}

fn replaced(case: &Case<'_>) -> Option<Cause> {
    let written = ["\u{fffd}".as_bytes(), b"\\ufffd", b"\\uFFFD", b"&#65533;"];
    // U+FFFD in UTF-8 that was read as Latin-1.
    let read_twice = "\u{ef}\u{bf}\u{bd}".as_bytes();
    let found =
        written.into_iter().chain([read_twice]).any(|text| case.body.windows(text.len()).any(|part| part == text));
    let text =
        "the body has the replacement character U+FFFD, which tools write in place of bytes that they cannot read";
    found.then(|| Cause::possible("replacement_character", text))
}

/// Finds large numbers that end in zeros as JavaScript writes them.
fn rounded(case: &Case<'_>) -> Option<Cause> {
    let body = case.body.get(..LONGEST_JSON.min(case.body.len()))?;
    let found = pieces(body).any(|piece| match piece {
        Piece::Number(raw) if raw.len() <= 24 && raw.contains(&b'e') => {
            let number = str::from_utf8(raw).ok().and_then(|text| text.parse::<f64>().ok());
            number.is_some_and(|number| number.fract() == 0.0 && (9e15..1e30).contains(&number.abs()))
        }
        Piece::Number(raw) if (17..=21).contains(&raw.len()) => {
            let text = str::from_utf8(raw).ok().filter(|text| text.ends_with('0'));
            text.and_then(|text| text.parse::<f64>().ok().map(|float| float.to_string() == text)).unwrap_or_default()
        }
        _ => false,
    });
    let text = "the body has a whole number above 2^53 that ends in zero or has an exponent: a tool such as JavaScript may have \
         rounded it";
    found.then(|| Cause::possible("number_rounded", text))
}
