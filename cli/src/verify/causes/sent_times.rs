//! The times that may have been signed: those in the headers of a delivery, and other forms of one.

use super::template_options::Place;
use crate::verify::case::Case;
use crate::verify::time_form::TimeForm;

/// Returns a timestamp in whole seconds, in milliseconds and as RFC 3339, except in the given form.
pub(super) fn other_times(time: &str) -> Vec<String> {
    let unix = TimeForm::of(time).unix(time);
    let rfc_3339 = |unix: i64| jiff::Timestamp::from_second(unix).map(|time| time.to_string()).ok();
    let forms = |unix: i64| [Some(unix.to_string()), Some(unix.saturating_mul(1_000).to_string()), rfc_3339(unix)];
    let times = unix.into_iter().flat_map(forms).flatten();
    times.filter(|other| other != time).collect()
}

/// Returns the values of headers, and of elements such as `t=`, that look like times, and their places.
pub(super) fn times<'h>(case: &Case<'h>) -> Vec<(&'h str, Option<Place<'h>>)> {
    let headers = case.head.headers.iter();
    let values = headers.filter_map(|(name, value)| Some((name.as_str(), str::from_utf8(value).ok()?)));
    let parts = values.flat_map(|(header, value)| {
        value.split([',', ';']).take(16).flat_map(move |part| {
            let part = part.trim();
            let element = part.split_once('=').map(|(name, text)| (text, Place::of(header, Some(name))));
            [Some((part, Place::of(header, None))), element].into_iter().flatten()
        })
    });
    parts.filter(|(text, _)| TimeForm::of(text).is_plausible(text)).take(8).collect()
}
