//! The headers of a request to the application.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use medhook::sign::Signer;
use medhook::{ConfigError, Delivery, PossibleDuplicate};

/// Returns the headers of a request, signed if there is a signer.
pub(super) fn headers(
    delivery: &Delivery,
    content_type: Option<HeaderValue>,
    signer: Option<&Signer>,
) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("medhook/", env!("CARGO_PKG_VERSION"))));
    if let Some(content_type) = content_type {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    let event_key = delivery.event_key().to_hex();
    let possible_duplicate = delivery.possible_duplicate().map(|duplicate| {
        let PossibleDuplicate { first_seen, count, .. } = duplicate;
        format!("first_seen={},count={count}", first_seen.text())
    });
    let stored_at = delivery.stored_at();
    let attempt = stored_at.as_ref().map(|_| delivery.attempt().to_string());
    for (name, value) in [
        ("medhook-endpoint", Some(delivery.endpoint())),
        ("medhook-provider", Some(delivery.provider())),
        ("medhook-kind", delivery.kind()),
        ("medhook-event-id", delivery.id()),
        ("medhook-event-key", Some(&event_key)),
        ("medhook-possible-duplicate", possible_duplicate.as_deref()),
        ("medhook-attempt", attempt.as_deref()),
        ("medhook-stored-at", stored_at.as_ref().map(|time| time.text())),
        ("medhook-replay", delivery.is_replay().then_some("true")),
    ] {
        if let Some(value) = value.and_then(escaped) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if let Some(signer) = signer {
        headers.extend(signer.sign(&format!("medhook_{event_key}"), now(), delivery.body())?);
        headers.insert("medhook-signature", signer.sign_headers(&headers)?);
    }
    Ok(headers)
}

/// Returns the content type of a request, by the rule that an inbox has as well: it is ambiguous if it occurs more than
/// once, and it must be short visible ASCII, since no signature covers it.
pub(in crate::receive) fn content_type(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let is_usable = !value.is_empty()
        && value.len() <= LONGEST_CONTENT_TYPE
        && value.as_bytes().iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic());
    is_usable.then(|| value.clone())
}

const LONGEST_CONTENT_TYPE: usize = 256;

/// Percent-encodes a value for a header: `%` and every byte that is not visible ASCII. Returns `None` if it is empty or
/// too long.
fn escaped(value: &str) -> Option<HeaderValue> {
    use fmt::Write as _;
    if value.is_empty() || value.len() > LONGEST_VALUE {
        return None;
    }
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    if text.len() <= LONGEST_VALUE { HeaderValue::try_from(text).ok() } else { None }
}

fn now() -> i64 {
    // With a clock before 1970, the signed timestamp is 0, which every application rejects as too old.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}

const LONGEST_VALUE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_type_is_passed_on_if_it_occurs_once_and_is_short_visible_ascii() {
        let (longest, too_long) = ("a".repeat(256), "a".repeat(257));
        for (values, is_passed_on) in [
            (&["application/json; charset=utf-8"][..], true),
            (&[&longest], true),
            (&[], false),
            (&["application/json", "application/json"], false),
            (&["application/json", "text/plain"], false),
            (&[&too_long], false),
            (&[""], false),
            (&["application/json;\tcharset=utf-8"], false),
            (&["application/\u{e9}"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_TYPE, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            let expected = values.first().filter(|_| is_passed_on).map(|value| value.as_bytes());
            assert_eq!(content_type(&headers).as_ref().map(HeaderValue::as_bytes), expected, "{values:?}");
        }
    }

    #[test]
    fn header_values_are_percent_encoded() {
        for (value, expected) in [
            ("patient.ehi_export_success", Some("patient.ehi_export_success")),
            ("a\r\nx-evil: 1", Some("a%0D%0Ax-evil:%201")),
            ("\x1b[31m", Some("%1B[31m")),
            ("contraseña", Some("contrase%C3%B1a")),
            ("100%", Some("100%25")),
            ("\0\x7f", Some("%00%7F")),
            ("", None),
        ] {
            let escaped = escaped(value);
            assert_eq!(escaped.as_ref().map(|value| value.to_str().unwrap()), expected, "{value:?}");
        }
        assert!(escaped(&"a".repeat(LONGEST_VALUE)).is_some());
        assert!(escaped(&"a".repeat(LONGEST_VALUE + 1)).is_none());
        assert!(escaped(&"\n".repeat(LONGEST_VALUE)).is_none());
    }
}
