//! The times that may have been signed: those in the headers of a delivery, and other forms of one.

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

/// Returns the values of headers, and of elements such as `t=`, that look like times.
pub(super) fn times<'h>(case: &Case<'h>) -> Vec<&'h str> {
    let values = case.head.headers.iter().filter_map(|(_, value)| str::from_utf8(value).ok());
    let parts = values.flat_map(|value| {
        value.split([',', ';']).take(16).flat_map(|part| {
            let part = part.trim();
            [Some(part), part.split_once('=').map(|(_, after)| after)].into_iter().flatten()
        })
    });
    let is_time = |part: &&str| {
        let form = TimeForm::of(part);
        form.is_smaller_unit() || matches!(form, TimeForm::Rfc3339) || (form == TimeForm::Seconds && part.len() >= 9)
    };
    parts.filter(is_time).take(8).collect()
}
