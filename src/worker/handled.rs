//! The result of an attempt, as the application returns it.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, Response, StatusCode};

use crate::answered::Answered;

/// The result of an attempt to handle a stored event. A handler of a [`Worker`](crate::Worker) returns it or something
/// that converts into it; a service can put it into the extensions of its response.
///
/// | value | converted from | what happens to the event |
/// |---|---|---|
/// | [`done`](Handled::done) | a 2xx status or response, `true`, `()`, `Ok` of one of these | it is done |
/// | [`retry`](Handled::retry) | any other status or response, `false`, `Err(..)`, `Ok` of one of these | it is attempted again, as the [`Retry`](crate::Retry) policy says. No status is permanent by itself |
/// | [`retry_after`](Handled::retry_after) | a 429 or 503 response with `Retry-After` in seconds or as a date | it is attempted again after this time |
/// | [`give_up`](Handled::give_up) | | it is dead, until an operator replays or discards it |
/// | [`unreachable`](Handled::unreachable) | | something that handling needs is unreachable. It is attempted again, the attempt does not count, and until there is an answer again, only one event at a time is attempted |
///
/// ```
/// use medhook::{Handled, http::StatusCode};
///
/// assert_eq!(Handled::from(StatusCode::NO_CONTENT), Handled::done());
/// assert_eq!(Handled::from(false), Handled::retry());
/// assert_eq!(Handled::from(Err::<(), _>("no such account")), Handled::retry());
/// assert_eq!(Handled::give_up("Not a code!"), Handled::give_up("given_up"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled(pub(super) HandlerResult);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HandlerResult {
    Done,
    Retry { reason: &'static str, after: Option<Duration> },
    GiveUp { reason: String },
    Unreachable,
}

/// The reason of an attempt whose handler failed without a status.
pub(super) const FAILED: &str = "handler_failed";

impl Handled {
    /// Returns the result for an event that was handled.
    #[must_use]
    pub fn done() -> Self {
        Handled(HandlerResult::Done)
    }

    /// Returns the result for an event that is to be attempted again.
    #[must_use]
    pub fn retry() -> Self {
        Handled(HandlerResult::Retry { reason: FAILED, after: None })
    }

    /// Returns the result for an event that is to be attempted again after this time, but at the earliest after 1 s, or
    /// after the policy's first backoff if that is shorter, and at the latest after its maximum backoff.
    #[must_use]
    pub fn retry_after(time: Duration) -> Self {
        Handled(HandlerResult::Retry { reason: FAILED, after: Some(time) })
    }

    /// Returns the result for an event that cannot be handled and is not to be attempted again. The reason is for
    /// operators, and a label in logs and metrics: use few different ones, of 1 to 32 characters of `a-z`, `0-9` and
    /// `_`. Any other is replaced by `given_up`.
    #[must_use]
    pub fn give_up(reason: &str) -> Self {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_code = (1..=32).contains(&reason.len()) && reason.bytes().all(is_allowed);
        Handled(HandlerResult::GiveUp { reason: if is_code { reason } else { "given_up" }.to_owned() })
    }

    /// Returns the result for an event that could not be attempted, because something that handling it needs is
    /// unreachable.
    #[must_use]
    pub fn unreachable() -> Self {
        Handled(HandlerResult::Unreachable)
    }

    fn of_status(status: StatusCode, after: Option<Duration>) -> Self {
        match status.is_success() {
            true => Handled::done(),
            false => Handled(HandlerResult::Retry { reason: status_reason(status), after }),
        }
    }
}

impl From<()> for Handled {
    fn from((): ()) -> Self {
        Handled::done()
    }
}

impl From<bool> for Handled {
    fn from(succeeded: bool) -> Self {
        if succeeded { Handled::done() } else { Handled::retry() }
    }
}

impl From<StatusCode> for Handled {
    fn from(status: StatusCode) -> Self {
        Handled::of_status(status, None)
    }
}

impl From<Answered> for Handled {
    fn from(answered: Answered) -> Self {
        match answered {
            Answered::Status(status) => status.into(),
            Answered::Succeeded => Handled::done(),
            Answered::Failed => Handled::retry(),
        }
    }
}

impl<T: Into<Handled>, E> From<Result<T, E>> for Handled {
    fn from(result: Result<T, E>) -> Self {
        result.map_or_else(|_| Handled::retry(), Into::into)
    }
}

impl<B> From<Response<B>> for Handled {
    fn from(response: Response<B>) -> Self {
        if let Some(handled) = response.extensions().get::<Handled>() {
            return handled.clone();
        }
        let status = response.status();
        let waits = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let after = if waits { retry_after(response.headers(), SystemTime::now()) } else { None };
        Handled::of_status(status, after)
    }
}

/// Reads `Retry-After`: a number of seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if text.is_empty() || text.len() > 64 {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let date: SystemTime = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().into();
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

/// Returns the reason of an attempt that was answered with this status, `status_503` for example.
fn status_reason(status: StatusCode) -> &'static str {
    static REASONS: LazyLock<Vec<String>> =
        LazyLock::new(|| (0..1000).map(|status| format!("status_{status}")).collect());
    REASONS.get(usize::from(status.as_u16())).map_or(FAILED, String::as_str)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn retry(reason: &'static str, after: Option<Duration>) -> Handled {
        Handled(HandlerResult::Retry { reason, after })
    }

    fn response(status: u16, retry_after: &str) -> Response<()> {
        Response::builder().status(status).header(RETRY_AFTER, retry_after).body(()).unwrap()
    }

    #[test]
    fn every_status_but_2xx_is_retried() {
        for status in 100..1000 {
            let handled = Handled::from(StatusCode::from_u16(status).unwrap());
            match status {
                200..300 => assert_eq!(handled, Handled::done()),
                _ => assert_eq!(handled, retry(Box::leak(format!("status_{status}").into()), None)),
            }
        }
    }

    #[test]
    fn the_wait_of_429_and_503_is_honored_and_that_of_others_is_not() {
        assert_eq!(Handled::from(response(503, "7")), retry("status_503", Some(7 * SECOND)));
        assert_eq!(Handled::from(response(429, "0")), retry("status_429", Some(Duration::ZERO)));
        assert_eq!(Handled::from(response(500, "7")), retry("status_500", None));
        assert_eq!(Handled::from(response(204, "7")), Handled::done());
    }

    #[test]
    fn the_wait_is_a_number_of_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |text: &'static str| retry_after(response(503, text).headers(), now);
        assert_eq!(read("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10 * SECOND));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:27 GMT"), Some(Duration::ZERO), "in the past");
        assert_eq!(read(" 7 "), Some(7 * SECOND));
        assert_eq!(read("99999999999999999999999"), Some(Duration::MAX));
        let longest: &'static str = "9".repeat(64).leak();
        assert_eq!((read(longest), read("9".repeat(65).leak())), (Some(Duration::MAX), None));
        for unreadable in ["", "-7", "7.5", "soon", "Sun, 99 Nov 1994 08:49:47 GMT"] {
            assert_eq!(read(unreadable), None, "{unreadable}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn an_extension_of_the_response_takes_precedence() {
        let mut response = response(200, "7");
        response.extensions_mut().insert(Handled::unreachable());
        assert_eq!(Handled::from(response), Handled::unreachable());
    }

    #[test]
    fn a_reason_is_a_short_code() {
        let long = "x".repeat(33);
        for (reason, expected) in
            [("no_such_account", "no_such_account"), ("", "given_up"), (&long, "given_up"), ("Müller", "given_up")]
        {
            assert_eq!(Handled::give_up(reason), Handled(HandlerResult::GiveUp { reason: expected.to_owned() }));
        }
    }
}
