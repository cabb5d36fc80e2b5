//! The answer of an application has a meaning for the sender and for an inbox, whatever its headers contain.
//!
//! The input is a line with the status, a line with `Retry-After`, and the value of `medhook-give-up`. The last two may
//! be empty.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use medhook::Handled;
use medhook_cli::parsers::application_answer;

pub(super) fn holds(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let (status, after, give_up) = (lines.next().unwrap_or_default(), lines.next(), lines.next());
    let Ok(status) = StatusCode::from_bytes(status) else { return };
    let mut headers = HeaderMap::new();
    for (name, value) in [("retry-after", after), ("medhook-give-up", give_up)] {
        let value = value.filter(|value| !value.is_empty()).map(HeaderValue::from_bytes);
        headers.extend(value.and_then(Result::ok).map(|value| (http::HeaderName::from_static(name), value)));
    }
    let (answered, wait, handled) = application_answer(status, &headers);
    let is_passed_on = !status.is_redirection() && !status.is_informational();
    assert_eq!(answered, if is_passed_on { status } else { StatusCode::BAD_GATEWAY });
    let text = headers.get("retry-after").and_then(|value| value.to_str().ok()).map(str::trim).unwrap_or_default();
    let waits = status == 429 || status == 503;
    let is_number = !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = headers.get("retry-after").is_some_and(|value| value.len() <= 64);
    let seconds = (waits && is_number && is_short).then(|| text.parse().unwrap_or(u64::MAX));
    assert_eq!(wait, seconds.map(|seconds| seconds.min(3_600) as u32));
    match (headers.get("medhook-give-up"), seconds) {
        (Some(code), _) => {
            let code = code.to_str().map(str::trim).unwrap_or_default();
            assert_eq!(handled, Handled::give_up(code));
        }
        (None, _) if status.is_success() => assert_eq!(handled, Handled::done()),
        (None, Some(seconds)) => assert_eq!(handled, answer_of(status, text, seconds)),
        // A date, or no wait.
        (None, None) => assert_ne!(handled, Handled::done()),
    }
    assert!(format!("{handled:?}").len() < 200);
}

/// Returns the result of an answer with a wait, and checks that a very long wait is not cut off here: the policy of the
/// endpoint limits it.
fn answer_of(status: StatusCode, text: &str, seconds: u64) -> Handled {
    let response = http::Response::builder().status(status).header("retry-after", text).body(()).expect("a response");
    let handled = Handled::from(response);
    let shown = format!("{handled:?}");
    assert!(seconds == u64::MAX || shown.contains(&format!("{:?}", Duration::from_secs(seconds))), "{shown}");
    handled
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let answers = [
        "200\n\n",
        "503\n7\n",
        "429\n 7 \n",
        "503\n99999999999999999999\n",
        "503\n3601\n",
        "503\n-7\n",
        "503\nSun, 06 Nov 2044 08:49:37 GMT\n",
        "503\nSun, 06 Nov 1994 08:49:37 GMT\n",
        "503\nSun, 99 Nov 1994\n",
        "500\n7\n",
        "200\n\nunknown_patient",
        "422\n\nUnknown Patient",
        "503\n7\nx",
        "302\n\n",
        "100\n\n",
        "999\n\n",
        "204\n\n ",
        "410\n\nabcdefghijklmnopqrstuvwxyz_0123456789",
    ];
    answers.map(|answer| answer.as_bytes().to_vec()).into()
}
