//! Headers that are lists of elements, such as `t=..,v1=..`, and how senders write them otherwise.

use medhook::TimestampPlace;
use medhook::testing::Signing;

use super::case::Case;
use super::separators::{MOST, is_name, named};
use super::time_form::TimeForm;

/// Describes another separator than a comma.
pub(super) fn describe(by: char, header: &str) -> String {
    let by = if by == ' ' { "a space".to_owned() } else { format!("`{by}`") };
    format!(
        "{by} separates the elements of {header}, but elements are separated by commas; no other separator is supported"
    )
}

/// Returns the name of the only element with a time, if it is not the configured one and that one is missing.
pub(super) fn other_time<'c>(case: &Case<'c>) -> Option<&'c str> {
    let Signing::Signature(settings) = case.signing else { return None };
    let Some(TimestampPlace::Element(own)) = &settings.timestamp else { return None };
    let parts: Vec<&str> = case.head.text(&settings.header)?.split(',').take(MOST).collect();
    if parts.iter().any(|part| named(part) == Some(own)) {
        return None;
    }
    let time = |part: &&'c str| {
        let (name, text) = part.trim().split_once('=')?;
        (is_name(name) && TimeForm::of(text).is_plausible(text)).then_some(name)
    };
    let mut found = parts.iter().filter_map(time);
    let name = found.next()?;
    if found.next().is_some() { None } else { Some(name) }
}
