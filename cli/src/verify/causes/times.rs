//! Finds why a delivery is not fresh: the form of its time, the clocks, and time zones.

use medhook::Reason;

use super::cause::Cause;
use super::options;
use crate::clock::in_words;
use crate::verify::case::Case;
use crate::verify::steps::Steps;
use crate::verify::time_form::TimeForm;

/// The time of arrival, and where it comes from.
const ARRIVAL: &str = "the time of arrival (--at, or that of the capture, or now)";

/// The clock skew and the delay that two correct clocks and a network may have.
const TOLERANCE: u64 = 300;

/// The largest difference between a zone and UTC.
const LARGEST_ZONE: u64 = 14 * 3_600;

/// Zones differ from UTC by multiples of half an hour, with few exceptions.
const HALF_AN_HOUR: u64 = 1_800;

/// Returns the causes in the time of a delivery.
pub(super) fn find(case: &Case<'_>, steps: &Steps, is_valid: bool) -> Vec<Cause> {
    let Some((name, form, text)) = case.time() else { return Vec::new() };
    let accepted = case.accepted_time();
    let unit = case.unit();
    match steps.fresh.reason {
        Some(Reason::TimeMissing) => {
            let form = case.unread_time().map_or(form, |(_, form)| form);
            return vec![Cause::fitting(form.code(), format!("{}; {accepted}", form.describe(&name)))];
        }
        Some(Reason::Stale | Reason::InTheFuture) => {}
        // A receiver checks the time of the attempt before the signature.
        None if unit.is_some() && !steps.verify.has_passed() => {}
        _ => return Vec::new(),
    }
    let Some(time) = form.unix(&text) else { return Vec::new() };
    let apart = time.abs_diff(case.at);
    if let Some((code, text)) = case.other_unit(form, &name) {
        let fits = is_valid && apart <= TOLERANCE;
        return vec![if fits { Cause::fitting(code, text) } else { Cause::possible(code, text) }];
    }
    let mut causes = Vec::new();
    let of_event = of_event(case);
    let zone = offset(apart).filter(|_| form != TimeForm::NoZone);
    let words = zone.clone().unwrap_or_else(|| in_words(apart));
    match steps.fresh.reason {
        // A clock is hardly ever wrong by whole hours.
        Some(Reason::Stale) if zone.is_some() => causes.push(Cause::possible(
            "stale_delivery",
            format!(
                "{name} is {words} before {ARRIVAL}; if that is right, the delivery was replayed or retried \
                 late{of_event}"
            ),
        )),
        Some(Reason::InTheFuture) if zone.is_some() => {}
        Some(Reason::Stale) => causes.push(Cause::possible(
            "stale_delivery",
            format!(
                "{name} is {words} before {ARRIVAL}; if that is right, the delivery was replayed or retried late, or the \
                 sender's clock is behind by {words}, or this machine's clock is ahead{of_event}"
            ),
        )),
        Some(Reason::InTheFuture) => causes.push(Cause::possible(
            "clock_skew",
            format!(
                "{name} is {words} after {ARRIVAL}: the sender's clock is ahead by {words}, or this machine's clock is \
                 behind"
            ),
        )),
        _ if apart > TOLERANCE && matches!(form, TimeForm::Seconds | TimeForm::Milliseconds | TimeForm::Rfc3339) => {
            let side = if time > case.at { "after" } else { "before" };
            causes.push(Cause::possible(
                "timestamp_outside_window",
                format!(
                    "{name} is {words} {side} {ARRIVAL}; at most 300 s are allowed"
                ),
            ));
        }
        _ => {}
    }
    if form == TimeForm::NoZone && !causes.is_empty() && apart <= LARGEST_ZONE {
        causes.push(Cause::possible(
            "timestamp_without_zone",
            format!("{name} has no zone, so it is read as UTC; it is {words} off, and may be a local time"),
        ));
    }
    let is_off = !causes.is_empty() || steps.fresh.reason.is_some();
    if let Some(zone) = zone.filter(|_| is_off) {
        let side = if time > case.at { "after" } else { "before" };
        let text = format!(
            "{name} is off by {zone}, which may be the zone of the sender: a local time that is written as UTC; it is \
             {side} {ARRIVAL}"
        );
        causes.insert(0, Cause::possible("timestamp_in_local_time", text));
    }
    causes
}

/// Returns the options for a sender whose timestamp is that of the event, if the timestamp is expected to be that of
/// the attempt.
fn of_event(case: &Case<'_>) -> String {
    if case.endpoint.custom.is_none() || case.unit().is_none() || case.signs_event_time() {
        return String::new();
    }
    let option = options::option("timestamp_of", "event");
    format!(", or the sender signs the time of the event instead of the attempt: set {option} and `max_age`")
}

/// Returns a difference that is one between a zone and UTC, give or take a minute.
fn offset(seconds: u64) -> Option<String> {
    let half_hours = seconds.saturating_add(60) / HALF_AN_HOUR;
    let is_zone = (TOLERANCE + 1..=LARGEST_ZONE + 60).contains(&seconds)
        && seconds.abs_diff(half_hours.saturating_mul(HALF_AN_HOUR)) <= 60;
    is_zone.then(|| match (half_hours / 2, half_hours % 2) {
        (0, _) => "30 min".to_owned(),
        (hours, 0) => format!("{hours} h"),
        (hours, _) => format!("{hours} h 30 min"),
    })
}
