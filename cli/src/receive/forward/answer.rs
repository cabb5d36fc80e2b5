//! The answer of the application, and its meaning for the sender and for an inbox.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use medhook::Handled;

/// The answer of the application to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::receive) enum ForwardAnswer {
    /// The application answered.
    Answered(ApplicationAnswer),
    /// The application rejected the connection, or its host or socket does not exist.
    NotReached,
    /// Connecting to the application timed out.
    TimedOut,
    /// The certificate of the application is not accepted, or TLS failed otherwise.
    TlsFailed,
    /// The connection broke before the answer, or the answer is not HTTP.
    Failed,
}

/// The status of the answer of the application, and the values of its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::receive) struct ApplicationAnswer {
    status: StatusCode,
    /// The result for an inbox.
    handled: Handled,
    /// The time in seconds after which the sender should try again.
    retry_after: Option<u32>,
}

impl From<StatusCode> for ForwardAnswer {
    fn from(status: StatusCode) -> Self {
        ForwardAnswer::Answered(ApplicationAnswer { status, handled: status.into(), retry_after: None })
    }
}

impl ForwardAnswer {
    /// Reads the status and the headers of an answer. Header values come from the application: they are never logged.
    pub(super) fn read(status: StatusCode, headers: &HeaderMap, codes: &GiveUpCodes) -> Self {
        let waits = headers.get(header::RETRY_AFTER).filter(|value| value.len() <= LONGEST_VALUE);
        let handled = match headers.get(GIVE_UP) {
            Some(code) => Handled::give_up(&codes.known(code)),
            None => {
                let mut response = Response::new(());
                *response.status_mut() = status;
                response.headers_mut().extend(waits.map(|value| (header::RETRY_AFTER, value.clone())));
                response.into()
            }
        };
        let may_wait = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let retry_after = waits.filter(|_| may_wait).and_then(seconds);
        ForwardAnswer::Answered(ApplicationAnswer { status, handled, retry_after })
    }

    /// Returns the status for the sender. A redirect is a failure: it is not followed, and the sender must not follow
    /// it either.
    pub(in crate::receive) fn status(&self) -> StatusCode {
        match self {
            ForwardAnswer::Answered(ApplicationAnswer { status, .. })
                if status.is_redirection() || status.is_informational() =>
            {
                StatusCode::BAD_GATEWAY
            }
            ForwardAnswer::Answered(answer) => answer.status,
            ForwardAnswer::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            ForwardAnswer::NotReached | ForwardAnswer::TlsFailed | ForwardAnswer::Failed => StatusCode::BAD_GATEWAY,
        }
    }

    /// Returns the step that an operator should take about an answer that is not 2xx.
    pub(in crate::receive) fn next_step(&self) -> &'static str {
        match self {
            ForwardAnswer::Answered(ApplicationAnswer { status, .. }) if status.is_redirection() => {
                "redirects are not followed; set `forward` to the final URL"
            }
            ForwardAnswer::Answered(_) => "see the log of the application; the provider should retry",
            ForwardAnswer::NotReached => "start the application, or correct `forward`; the provider should retry",
            ForwardAnswer::TimedOut => "check the network to the application; the provider should retry",
            ForwardAnswer::TlsFailed => "check the certificate of the application and `forward_ca`",
            ForwardAnswer::Failed => "check that the application speaks HTTP at `forward`; the provider should retry",
        }
    }

    /// Returns the time in seconds after which the sender should try again, if the application names one.
    pub(in crate::receive) fn retry_after(&self) -> Option<u32> {
        match self {
            ForwardAnswer::Answered(answer) => answer.retry_after,
            _ => None,
        }
    }
}

impl From<ForwardAnswer> for Handled {
    /// An application that cannot be reached is not the event's fault, so that attempt does not count.
    fn from(answer: ForwardAnswer) -> Self {
        match answer {
            ForwardAnswer::Answered(answer) => answer.handled,
            ForwardAnswer::NotReached | ForwardAnswer::TimedOut | ForwardAnswer::TlsFailed => Handled::unreachable(),
            ForwardAnswer::Failed => Handled::retry(),
        }
    }
}

/// Writes the status, or the kind of failure in snake_case.
impl fmt::Display for ForwardAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForwardAnswer::Answered(answer) => write!(f, "{}", answer.status.as_u16()),
            ForwardAnswer::NotReached => f.write_str("not_reached"),
            ForwardAnswer::TimedOut => f.write_str("timed_out"),
            ForwardAnswer::TlsFailed => f.write_str("tls_failed"),
            ForwardAnswer::Failed => f.write_str("failed"),
        }
    }
}

/// The header with which the application gives an event up.
const GIVE_UP: HeaderName = HeaderName::from_static("medhook-give-up");

/// A date has 29 characters.
const LONGEST_VALUE: usize = 64;

/// Parses a number of seconds. An application can make the sender wait for an hour, not longer.
fn seconds(value: &HeaderValue) -> Option<u32> {
    let text = value.to_str().ok()?.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u32::MAX).min(3600))
}

/// The codes with which an application gave events up. They are labels of logs and metrics, so only the
/// first ones count.
#[derive(Debug, Clone, Default)]
pub(super) struct GiveUpCodes(Arc<Mutex<HashSet<String>>>);

/// The most codes of one application. All others become `given_up`.
const MOST_CODES: usize = 64;

impl GiveUpCodes {
    /// Returns the code, or `given_up` if it is invalid or there are too many.
    fn known(&self, code: &HeaderValue) -> String {
        let code = code.to_str().ok().map(str::trim).filter(|code| Handled::give_up(code) != Handled::give_up(OTHER));
        let Some(code) = code else { return OTHER.to_owned() };
        let mut codes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if codes.len() < MOST_CODES {
            codes.insert(code.to_owned());
        }
        if codes.contains(code) { code.to_owned() } else { OTHER.to_owned() }
    }
}

/// The code of the library for a code that is invalid.
const OTHER: &str = "given_up";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, headers: &[(&'static str, &str)]) -> ForwardAnswer {
        let pairs = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap()));
        let status = StatusCode::from_u16(status).unwrap();
        ForwardAnswer::read(status, &pairs.collect(), &GiveUpCodes::default())
    }

    #[test]
    fn a_redirect_is_a_failure_and_every_other_status_is_passed_on() {
        for (status, expected) in [(200, 200), (204, 204), (302, 502), (304, 502), (404, 404), (429, 429), (503, 503)] {
            let answer = read(status, &[]);
            assert_eq!(answer.status().as_u16(), expected);
            assert_eq!(answer.to_string(), status.to_string());
            assert_eq!(Handled::from(answer), Handled::from(StatusCode::from_u16(status).unwrap()));
        }
        for (answer, status, text, handled) in [
            (ForwardAnswer::NotReached, 502, "not_reached", Handled::unreachable()),
            (ForwardAnswer::TlsFailed, 502, "tls_failed", Handled::unreachable()),
            (ForwardAnswer::TimedOut, 504, "timed_out", Handled::unreachable()),
            (ForwardAnswer::Failed, 502, "failed", Handled::retry()),
        ] {
            assert_eq!((answer.status().as_u16(), answer.to_string().as_str()), (status, text));
            assert_eq!(Handled::from(answer), handled);
        }
    }

    #[test]
    fn retry_after_is_honored_by_an_inbox_and_passed_to_the_sender_as_at_most_an_hour() {
        let after = |status, value| {
            let answer = read(status, &[("retry-after", value)]);
            let wait = answer.retry_after();
            (Handled::from(answer), wait)
        };
        let expected = |status: u16, value: &str| {
            Handled::from(Response::builder().status(status).header("retry-after", value).body(()).unwrap())
        };
        for (status, value, wait) in [
            (503, "7", Some(7)),
            (429, "0", Some(0)),
            (503, "86400", Some(3600)),
            (503, "99999999999999999999", Some(3600)),
            (503, "Sun, 06 Nov 1994 08:49:37 GMT", None),
            (503, "-1", None),
            (503, "soon", None),
            (503, "", None),
            (500, "7", None),
            (200, "7", None),
        ] {
            assert_eq!(after(status, value), (expected(status, value), wait), "{status} {value}");
        }
        assert_ne!(after(503, "7").0, Handled::from(StatusCode::SERVICE_UNAVAILABLE));
        let long = "7".repeat(65);
        assert_eq!(after(503, &long), (Handled::from(StatusCode::SERVICE_UNAVAILABLE), None));
        assert_eq!(read(503, &[]).retry_after(), None);
    }

    #[test]
    fn give_up_is_honored_with_any_status_and_its_code_is_checked() {
        for status in [200, 302, 422, 503] {
            let answer = read(status, &[("medhook-give-up", "no_such_account"), ("retry-after", "7")]);
            assert_eq!(answer.to_string(), status.to_string());
            assert_eq!(Handled::from(answer), Handled::give_up("no_such_account"));
        }
        let long = "x".repeat(33);
        for code in ["", "No!", "Müller", &long, "given_up"] {
            assert_eq!(Handled::from(read(422, &[("medhook-give-up", code)])), Handled::give_up("given_up"), "{code}");
        }
        assert_eq!(
            Handled::from(read(422, &[("medhook-give-up", " code_1 ")])),
            Handled::give_up("code_1"),
            "spaces around it do not count"
        );
    }

    #[test]
    fn an_application_cannot_create_any_number_of_codes() {
        let codes = GiveUpCodes::default();
        let known = |code: &str| codes.known(&HeaderValue::from_str(code).unwrap());
        for number in 0..MOST_CODES {
            let code = format!("code_{number}");
            assert_eq!(known(&code), code);
        }
        assert_eq!(known("one_more"), "given_up");
        assert_eq!(known("code_0"), "code_0");
    }

    #[test]
    fn debug_shows_no_header_value() {
        let answer = read(503, &[("retry-after", "canary"), ("medhook-give-up", "CANARY"), ("x-other", "canary")]);
        assert!(!format!("{answer:?}").to_lowercase().contains("canary"));
    }
}
