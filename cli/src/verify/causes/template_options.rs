//! The options of a custom provider for which the scheme signs another template or another time.

use medhook::testing::Signing;
use medhook::{SignatureAlgorithm, SignatureLayout, SignatureSettings, TimestampPlace};

use super::options::{option, scheme_of_body};
use crate::verify::case::Case;
use crate::verify::separators::is_name;

/// The place of a text in the head: a header, or an element of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place<'h> {
    pub(super) header: &'h str,
    pub(super) element: Option<&'h str>,
}

/// The remark about a form that no scheme has.
const UNSUPPORTED: &str = "; no scheme supports this";

/// Returns what to set if the sender signs this template, with the time and the id of these places if the configured
/// ones are missing. It is empty if the provider has no options.
pub(super) fn for_template(case: &Case<'_>, template: &str, time: Option<Place<'_>>, id: Option<&str>) -> String {
    let (Some(_), Signing::Signature(settings)) = (&case.endpoint.custom, case.signing) else { return String::new() };
    let (has_time, has_id) = (template.contains("{timestamp}"), template.contains("{id}"));
    if !has_time && template == "{body}" {
        return body_alone(settings);
    }
    if !has_time || settings.algorithm == SignatureAlgorithm::Ed25519 {
        return UNSUPPORTED.to_owned();
    }
    let mut set = vec![option("signed", template)];
    if settings.timestamp.is_none() {
        set.insert(0, option("scheme", "timestamped-hmac"));
        if settings.algorithm == SignatureAlgorithm::HmacSha512 {
            set.push(option("hash", "sha-512"));
        }
    }
    let mut remove = "";
    match (&settings.id_header, id) {
        (Some(_), _) if !has_id => remove = ", and remove `id_header`",
        (None, Some(header)) if has_id => set.push(option("id_header", header)),
        _ => {}
    }
    match time.map(|place| at_place(settings, place)) {
        Some(None) => return UNSUPPORTED.to_owned(),
        Some(Some(place)) => set.push(place),
        None => {}
    }
    format!("; set {}{remove}", listed(&set))
}

/// Returns what to set if the time of this place is signed instead of the configured one.
pub(super) fn for_place(case: &Case<'_>, place: Place<'_>) -> String {
    let (Some(_), Signing::Signature(settings)) = (&case.endpoint.custom, case.signing) else { return String::new() };
    at_place(settings, place).map_or_else(|| UNSUPPORTED.to_owned(), |option| format!(": set {option}"))
}

/// Returns the options for a time in this place, or `None` if no scheme reads it.
fn at_place(settings: &SignatureSettings, place: Place<'_>) -> Option<String> {
    let is_in_list = matches!(settings.layout, SignatureLayout::Elements { .. });
    match place.element {
        None if !is_in_list => Some(option("timestamp_header", place.header)),
        None => Some(format!("{}{}", option("timestamp_header", place.header), instead_of_elements(settings))),
        Some(_) if place.header != settings.header => None,
        Some(name) if is_in_list => Some(option("timestamp_element", name)),
        Some(name) => {
            let signature = settings.prefix().strip_suffix('=').unwrap_or_default();
            let instead = match settings.timestamp {
                Some(TimestampPlace::Header(_)) => " instead of `timestamp_header`",
                _ => "",
            };
            let elements = [option("timestamp_element", name), option("signature_element", signature)];
            Some(format!("{}{instead}, without `prefix` and `separator`", listed(&elements)))
        }
    }
}

/// Returns the scheme of a signature of the body alone, in the same header.
fn body_alone(settings: &SignatureSettings) -> String {
    let scheme = scheme_of_body(settings.algorithm);
    match settings.layout {
        SignatureLayout::Elements { .. } => format!("; set {scheme}{}", instead_of_elements(settings)),
        _ => format!("; set {scheme}, without the keys of the timestamp"),
    }
}

/// Returns the options with which a list of elements is a list of signatures with a prefix.
fn instead_of_elements(settings: &SignatureSettings) -> String {
    let separator = option("separator", ",");
    let list = match &settings.layout {
        SignatureLayout::Elements { signature, .. } if !signature.is_empty() => {
            format!("{} and {separator}", option("prefix", &format!("{signature}=")))
        }
        _ => separator,
    };
    format!(" with {list} instead of `timestamp_element` and `signature_element`")
}

/// Joins options with commas and `and`.
fn listed(options: &[String]) -> String {
    match options.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => options.concat(),
    }
}

impl<'h> Place<'h> {
    /// Returns the place of a part of a header, unless the name of its element is not shown.
    pub(super) fn of(header: &'h str, element: Option<&'h str>) -> Option<Self> {
        element.is_none_or(is_name).then_some(Place { header, element })
    }

    /// Returns the words for a message.
    pub(super) fn in_words(self) -> String {
        match self.element {
            Some(element) => format!("the element {element} of {}", self.header),
            None => format!("the header {}", self.header),
        }
    }
}
