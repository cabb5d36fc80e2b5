//! The separator of a list of elements, such as `t=..,v1=..`.

use medhook::SignatureLayout;
use medhook::testing::Signing;

use super::headers::Head;

/// Separators that senders use instead of a comma, which no scheme supports.
const OTHER_SEPARATORS: [char; 4] = [';', '&', '|', ' '];

/// The most elements that are read.
pub(super) const MOST: usize = 32;

/// Returns the separator of the elements in the header with the signatures, if it is not a comma.
pub(super) fn other_separator(signing: &Signing, head: &Head) -> Option<char> {
    let Signing::Signature(settings) = signing else { return None };
    let SignatureLayout::Elements { timestamp, signature } = &settings.layout else { return None };
    let value = head.text(&settings.header)?;
    let is_named = |by: char, name: &str| value.split(by).take(MOST).any(|part| named(part) == Some(name));
    let has_all = |by: char| {
        timestamp.as_deref().is_none_or(|name| is_named(by, name)) && (signature.is_empty() || is_named(by, signature))
    };
    let is_list = |by: char| {
        let is_element = |part: &str| signature.is_empty() || named(part).is_some();
        value.split(by).take(MOST).count() > 1 && value.split(by).take(MOST).all(is_element)
    };
    if value.contains(',') && has_all(',') {
        return None;
    }
    let has_any = |by: char| is_named(by, signature) || timestamp.as_deref().is_some_and(|name| is_named(by, name));
    OTHER_SEPARATORS.into_iter().find(|by| is_list(*by) && has_any(*by))
}

/// Returns the name of an element.
pub(super) fn named(part: &str) -> Option<&str> {
    part.trim().split_once('=').map(|(name, _)| name).filter(|name| is_name(name))
}

/// The longest name of an element and the longest prefix that are shown.
const LONGEST: usize = 16;

/// Returns whether a part of a header can be shown as the name of an element.
pub(in crate::verify) fn is_name(text: &str) -> bool {
    let is_named = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_named)
}
