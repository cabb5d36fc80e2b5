//! The parsers of untrusted text, for `tests/properties`, which calls them with any bytes. Not a stable API.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, Method, StatusCode};
use medhook::{Bytes, Handled};
use medhook_conformance::Endpoint;

use crate::capture::recorded;
use crate::failure::Failure;
pub use crate::receive::{PageServer, certificate_lines, config_lines};
use crate::{clock, duration, inbox, receive, verify};

/// Returns the Unix seconds of a time of the command line.
pub fn time(text: &str) -> Result<i64, String> {
    clock::parse(text)
}

/// Returns a duration of a config file, and its text in the largest unit.
pub fn duration(text: &str) -> Result<(Duration, String), &'static str> {
    duration::parse(text).map(|duration| (duration, duration::in_units(duration)))
}

/// Returns the Unix seconds of the time of `--since` that begins at the epoch plus this duration.
pub fn since(text: &str, now: Duration) -> Result<Duration, String> {
    let time = inbox::since(text, UNIX_EPOCH.checked_add(now).unwrap_or(UNIX_EPOCH))?;
    Ok(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Returns the interval of a rate of replays.
pub fn rate(text: &str) -> Result<Duration, String> {
    inbox::rate(text)
}

/// Returns the status for the sender, the wait for it in seconds, and the result for an inbox, of an application's
/// answer.
pub fn application_answer(status: StatusCode, headers: &HeaderMap) -> (StatusCode, Option<u32>, Handled) {
    receive::application_answer(status, headers)
}

/// Returns the recorded head of a request to `medhook capture` with the secrets of this endpoint.
pub fn capture(endpoint: &Endpoint, headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, String> {
    recorded(endpoint, &Method::POST, headers, body).map_err(text)
}

/// Returns the headers in the `--headers` file of `medhook verify`, and the names of those whose values were not
/// recorded.
#[allow(clippy::type_complexity, reason = "for one caller")]
pub fn headers(file: &[u8]) -> Result<(Vec<(String, Vec<u8>)>, Vec<String>), String> {
    let (headers, redacted) = verify::headers_of(file).map_err(text)?;
    Ok((headers, redacted))
}

/// Returns whether `medhook verify` accepts a delivery, and its output as text and as JSON.
pub fn verify(endpoint: Endpoint, headers: &[u8], body: Bytes, at: i64) -> Result<(bool, [String; 2]), String> {
    verify::outputs(endpoint, headers, body, at).map_err(text)
}

fn text(failure: Failure) -> String {
    failure.to_string()
}
