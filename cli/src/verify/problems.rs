//! The reasons for which a receiver rejects a delivery before it verifies the signature: the header, and what is wrong
//! with its form, never its value.

use medhook::testing::Signing;
use medhook::{Encoding, Reason};

use super::case::Case;
use super::encodings;
use super::time_form::TimeForm;

/// A reason to reject a delivery, with the code of the cause.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) code: &'static str,
    pub(super) text: String,
}

/// Returns what is wrong with the head, for the reason for which a receiver rejected it.
pub(super) fn of_head(case: &Case<'_>, reason: Reason) -> Vec<Problem> {
    let required = case.required_headers();
    let count = |name: &str| case.head.values(name).count();
    match reason {
        Reason::MissingHeader => {
            let missing = required.into_iter().filter(|name| count(name) == 0);
            missing.map(|name| problem("missing_header", format!("the header {name} is missing"))).collect()
        }
        Reason::RepeatedHeader => {
            let repeated = required.into_iter().filter(|name| count(name) > 1);
            let text =
                |name| format!("the header {name} is repeated: it occurs {} times, but must occur once", count(name));
            repeated.map(|name| problem("repeated_header", text(name))).collect()
        }
        Reason::MalformedHeader => required.into_iter().filter_map(|name| of_value(case, name)).collect(),
        Reason::ContentEncoding => vec![problem(
            "content_encoding_rejected",
            "content-encoding says that the body is compressed, which receivers reject; let the proxy that compresses \
             it send it as it was signed",
        )],
        Reason::TooLarge => {
            let is_body = case.body.len() > case.endpoint.body_limit.unwrap_or(DEFAULT_LIMIT);
            let what = if is_body { "the body is longer" } else { "content-length is more" };
            vec![problem("body_too_large", format!("{what} than body_limit, by default 1 MiB"))]
        }
        Reason::Method => vec![problem("method_not_accepted", "the method is not POST")],
        _ => Vec::new(),
    }
}

/// The default of `body_limit`.
const DEFAULT_LIMIT: usize = 1024 * 1024;

fn problem(code: &'static str, text: impl Into<String>) -> Problem {
    Problem { code, text: text.into() }
}

/// Returns what is wrong with the value of a required header, if anything is.
fn of_value(case: &Case<'_>, name: &str) -> Option<Problem> {
    let value = case.head.values(name).next()?;
    if value.is_empty() {
        return Some(problem("empty_header", format!("the header {name} is empty")));
    }
    if value.len() > LONGEST {
        return Some(problem("header_too_long", format!("the header {name} is longer than {LONGEST} bytes")));
    }
    let Ok(text) = str::from_utf8(value) else {
        return Some(problem("header_not_text", format!("the header {name} is not UTF-8")));
    };
    match name {
        "webhook-id" if case.is_standard() => of_id(text),
        "webhook-timestamp" if case.is_standard() => match TimeForm::of(text) {
            TimeForm::Seconds | TimeForm::Milliseconds | TimeForm::Microseconds | TimeForm::Nanoseconds => None,
            form => Some(problem(
                form.code(),
                format!("{}; it must be an integer of Unix seconds", form.describe("webhook-timestamp")),
            )),
        },
        _ if name != case.signature_header().0 => None,
        _ => of_signature(case, text).map(|what| problem("malformed_signature", format!("{name} {what}"))),
    }
}

/// The longest value of a required header.
const LONGEST: usize = 4096;

fn of_id(id: &str) -> Option<Problem> {
    let what = if id.contains(',') && id.contains(' ') {
        "contains a comma and a space: a proxy joined a header that occurred more than once"
    } else if id.contains('.') {
        "contains a dot, which separates the signed parts; receivers reject it because another id and time could have \
         the same signature"
    } else if id.contains(|c: char| !c.is_ascii_graphic()) {
        "contains a character that is not visible ASCII"
    } else {
        return None;
    };
    Some(problem("malformed_id", format!("webhook-id {what}")))
}

/// Returns what is wrong with the form of a signature, if anything is.
fn of_signature(case: &Case<'_>, value: &str) -> Option<String> {
    let (prefix, encoding) = match case.signing {
        Signing::Signature(settings) => (settings.prefix(), settings.encoding),
        Signing::StandardWebhooks(_) => return of_list(value),
        _ => return None,
    };
    let Some(text) = value.strip_prefix(prefix) else {
        let starts_alike = value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        let is_encoded = ["%3d", "%3D", "%2c", "%2C", "%22"].iter().any(|digits| value.contains(digits));
        let difference = match (starts_alike, is_encoded) {
            (true, _) => ", which is written in a different case",
            (false, true) => ": it is percent-encoded",
            (false, false) => "",
        };
        return Some(format!("does not begin with `{prefix}`{difference}"));
    };
    let (expected, fits): (_, fn(usize) -> bool) = match encoding {
        Encoding::Hex => ("64 hexadecimal digits are", |length| length == 64),
        Encoding::Base64 => ("43 or 44 characters of base64 are", |length| matches!(length, 43 | 44)),
        _ => ("64 hexadecimal digits or 44 characters of base64 are", |length| matches!(length, 43 | 44 | 64)),
    };
    let after = if prefix.is_empty() { String::new() } else { format!(" after `{prefix}`") };
    if !fits(text.chars().count()) {
        return Some(format!("has {}{after} where {expected} expected{}", characters(text), other_hash(text)));
    }
    if text.len() == 64 {
        return (!is_hex(text)).then(|| format!("is not hexadecimal{after}"));
    }
    let is_base64 = encodings::base64(text).is_some_and(|bytes| bytes.len() == 32);
    (!is_base64).then(|| format!("is not base64 of 32 bytes{after}"))
}

/// Returns what is wrong with the signatures of Standard Webhooks.
fn of_list(value: &str) -> Option<String> {
    let entries: Vec<_> = value.split(' ').filter(|entry| !entry.is_empty()).take(MOST_SIGNATURES + 1).collect();
    let texts: Vec<_> = entries.iter().filter_map(|entry| entry.strip_prefix("v1,")).collect();
    if !value.is_ascii() {
        Some("contains a character that is not ASCII".to_owned())
    } else if entries.len() > MOST_SIGNATURES {
        Some(format!("has more than {MOST_SIGNATURES} signatures"))
    } else if texts.iter().any(|text| text.len() == 44) {
        None
    } else if let Some(text) = texts.first() {
        let other_hash = other_hash(text);
        Some(format!("has {} after `v1,` where 44 characters of base64 are expected{other_hash}", characters(text)))
    } else {
        Some("has no signature that begins with `v1,`".to_owned())
    }
}

/// The most signatures in one header.
const MOST_SIGNATURES: usize = 32;

fn characters(text: &str) -> String {
    match text.chars().count() {
        1 => "1 character".to_owned(),
        count => format!("{count} characters"),
    }
}

/// Names the hash whose HMAC has as many hexadecimal digits, or says that some are missing.
fn other_hash(text: &str) -> &'static str {
    match text.len() {
        32 if is_hex(text) => ", as many as MD5 has",
        40 if is_hex(text) => ", as many as HMAC-SHA1 has",
        96 if is_hex(text) => ", as many as HMAC-SHA384 has",
        128 if is_hex(text) => ", as many as HMAC-SHA512 has",
        1..43 | 45..64 => ", so that it is too short: it may be truncated",
        _ => "",
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
