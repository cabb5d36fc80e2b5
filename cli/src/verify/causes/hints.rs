//! Finds causes that the headers, the secret and the body suggest, without explaining the signature.

use super::cause::Cause;
use super::json::{Piece, pieces};
use super::secrets::is_unexpanded;
use crate::verify::case::{Case, LONGEST_JSON};

/// Returns what suggests that a secret is not the right one.
pub(super) fn of_secrets(case: &Case<'_>) -> Vec<Cause> {
    let unexpanded = case.secrets.iter().filter(|secret| is_unexpanded(secret.expose_secret()));
    let text = |label| {
        format!(
            "secret {label} looks like a reference to a variable, such as `${{NAME}}`, that was not replaced with its value"
        )
    };
    unexpanded.map(|secret| Cause::possible("secret_not_expanded", text(secret.label()))).collect()
}

/// Returns what suggests that the body is not the one that was signed.
pub(super) fn of_body(case: &Case<'_>) -> Vec<Cause> {
    [encoding(case), length(case), truncated(case), replaced(case), rounded(case)].into_iter().flatten().collect()
}

fn encoding(case: &Case<'_>) -> Option<Cause> {
    let compressed = [&[0x1f, 0x8b][..], &[0x28, 0xb5, 0x2f, 0xfd]].iter().any(|magic| case.body.starts_with(magic));
    let is_text = str::from_utf8(case.body).is_ok();
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
        (false, false) => None,
    }
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
    let error = serde_json::from_slice::<serde::de::IgnoredAny>(case.body).err()?;
    (begins && error.is_eof())
        .then(|| Cause::possible("truncated_json", "the body is JSON without an end: the end of the body is missing"))
}

fn replaced(case: &Case<'_>) -> Option<Cause> {
    let found = case.body.windows(3).any(|bytes| bytes == "\u{fffd}".as_bytes());
    let text = "the body has U+FFFD, which tools write in place of bytes that they cannot read";
    found.then(|| Cause::possible("replacement_character", text))
}

/// Finds large numbers that end in zeros as JavaScript writes them.
fn rounded(case: &Case<'_>) -> Option<Cause> {
    let body = case.body.get(..LONGEST_JSON.min(case.body.len()))?;
    let found = pieces(body).any(|piece| match piece {
        Piece::Number(raw) if (17..=21).contains(&raw.len()) => {
            let text = str::from_utf8(raw).ok().filter(|text| text.ends_with('0'));
            text.and_then(|text| text.parse::<f64>().ok().map(|float| float.to_string() == text)).unwrap_or_default()
        }
        _ => false,
    });
    let text =
        "the body has a whole number above 2^53 that ends in zero: a tool such as JavaScript may have rounded it";
    found.then(|| Cause::possible("number_rounded", text))
}
