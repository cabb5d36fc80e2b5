//! The reasons for which a receiver rejects a delivery before it verifies the signature: the header, and what is wrong
//! with its form, never its value.

use medhook::testing::Signing;
use medhook::{Reason, TimestampPlace, TimestampUnit};

use super::case::Case;
use super::causes::options::option;
use super::time_form::TimeForm;
use super::{elements, separators, signature_form, signed};

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
            let missing = required.iter().filter(|name| count(name) == 0);
            missing.map(|name| problem("missing_header", format!("the header {name} is missing"))).collect()
        }
        Reason::RepeatedHeader => {
            let repeated = required.iter().filter(|name| count(name) > 1);
            let text = |name: &str| {
                format!("the header {name} is repeated: it occurs {} times, but must occur once", count(name))
            };
            repeated.map(|name| problem("repeated_header", text(name))).collect()
        }
        Reason::MalformedHeader => required.iter().flat_map(|name| of_value(case, name)).collect(),
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
        Reason::AmbiguousBody => vec![problem("ambiguous_body", AMBIGUOUS)],
        Reason::Method => vec![problem("method_not_accepted", "the method is not POST")],
        _ => Vec::new(),
    }
}

/// The problem of a body that the signature leaves open: its template has no character between the timestamp and the
/// body.
pub(super) const AMBIGUOUS: &str = "the body begins with neither `{` nor `[`, so a template without a character \
                                   between the timestamp and the body does not show where the body begins";

/// The code of elements that no comma separates.
pub(super) const OTHER_SEPARATOR: &str = "elements_separated_otherwise";

/// The default of `body_limit`.
const DEFAULT_LIMIT: usize = 1024 * 1024;

fn problem(code: &'static str, text: impl Into<String>) -> Problem {
    Problem { code, text: text.into() }
}

/// Returns what is wrong with the value of a required header.
fn of_value(case: &Case<'_>, name: &str) -> Vec<Problem> {
    let Some(value) = case.head.values(name).next() else { return Vec::new() };
    if value.is_empty() {
        return vec![problem("empty_header", format!("the header {name} is empty"))];
    }
    if value.len() > LONGEST {
        return vec![problem("header_too_long", format!("the header {name} is longer than {LONGEST} bytes"))];
    }
    let Ok(text) = str::from_utf8(value) else {
        return vec![problem("header_not_text", format!("the header {name} is not UTF-8"))];
    };
    let other_separator =
        separators::other_separator(case.signing, case.head).filter(|_| name == case.signature_header());
    if let Some(by) = other_separator {
        return vec![problem(OTHER_SEPARATOR, elements::describe(by, name))];
    }
    let mut found = Vec::new();
    if case.id_header().is_some_and(|header| header == name) {
        found.extend(of_id(case, name, text));
    }
    let time = case.signed_time();
    let is_element = match case.signing {
        Signing::Signature(settings) => matches!(settings.timestamp, Some(TimestampPlace::Element(_))),
        _ => false,
    };
    if name == case.signature_header() {
        found.extend(signature_form::of(case, text).map(|what| match case.is_shared_secret() {
            true => problem("malformed_authorization", format!("{name} {what}")),
            false => problem("malformed_signature", format!("{name} {what}")),
        }));
    }
    match time {
        Some((header, Some(text))) if header == name || (is_element && name == case.signature_header()) => {
            found.extend(of_time(case, &header, text));
        }
        Some((_, None)) if is_element && name == case.signature_header() => {
            let other = elements::other_time(case).filter(|_| case.endpoint.custom.is_some());
            let found_in = other.map_or_else(String::new, |other| {
                format!("; a time is found in `{other}`: set {}", option("timestamp_element", other))
            });
            let text = format!("{name} does not have the configured element of the timestamp exactly once{found_in}");
            found.push(problem("timestamp_element_missing", text));
        }
        _ => {}
    }
    found
}

/// Returns what is wrong with the form of the signed timestamp. A number in another unit is only too old or too new,
/// unless its digits are counted.
fn of_time(case: &Case<'_>, name: &str, text: &str) -> Option<Problem> {
    let unit = case.unit()?;
    let form = TimeForm::of(text);
    let is_integer = form == TimeForm::Seconds || form.is_smaller_unit();
    let is_accepted = match unit {
        TimestampUnit::Rfc3339 => form == TimeForm::Rfc3339 && is_strict(text),
        unit if is_integer && signed::lacks_separator(case.template()) => {
            text.len() == if unit == TimestampUnit::Milliseconds { 13 } else { 10 }
        }
        _ => is_integer,
    };
    if is_accepted {
        return None;
    }
    let accepted = case.accepted_time();
    let (code, text) = match form {
        TimeForm::Rfc3339 if unit == TimestampUnit::Rfc3339 => (
            "timestamp_not_canonical",
            format!("{name} lacks the `T`, the seconds or the offset of RFC 3339; {accepted}"),
        ),
        _ => {
            let described = || (form.code(), format!("{}; {accepted}", form.describe(name)));
            case.other_unit(form, name).unwrap_or_else(described)
        }
    };
    Some(problem(code, text))
}

/// Returns whether a time that can be read has the exact form of RFC 3339.
fn is_strict(text: &str) -> bool {
    let text = text.as_bytes();
    let zone = text.last_chunk::<6>().is_some_and(|zone| matches!(zone, [b'+' | b'-', _, _, b':', _, _]));
    let has_seconds = text.get(10) == Some(&b'T') && text.get(13) == Some(&b':') && text.get(16) == Some(&b':');
    has_seconds && (text.ends_with(b"Z") || zone)
}

/// The longest value of a required header.
const LONGEST: usize = 4096;

fn of_id(case: &Case<'_>, name: &str, id: &str) -> Option<Problem> {
    let separator = signed::after_id(case.template());
    let what = if id.contains(',') && id.contains(' ') {
        "contains a comma and a space: a proxy joined a header that occurred more than once".to_owned()
    } else if let Some(separator) = separator.filter(|separator| id.contains(*separator)) {
        let separator = if separator == '.' { "a dot".to_owned() } else { format!("`{separator}`") };
        format!(
            "contains {separator}, which separates the signed parts; receivers reject it because another id and time \
             could have the same signature"
        )
    } else if id.contains(|c: char| !c.is_ascii_graphic()) {
        "contains a character that is not visible ASCII".to_owned()
    } else {
        return None;
    };
    Some(problem("malformed_id", format!("{name} {what}")))
}
