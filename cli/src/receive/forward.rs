//! Forwards events to the application, in a new request with the verified body. Of the sender's headers only the
//! content type is passed on.
//!
//! The status of the application becomes the answer at once. The body of its answer is read in the background up to a
//! limit, so that the connection can be reused, and discarded.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::error::Error as _;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base16ct::HexDisplay;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use medhook::sign::Signer;
use medhook::{Bytes, Delivery, EventKey, PossibleDuplicate};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::connector::{Connector, Traffic};

/// Sends events to applications. All endpoints share its connections.
#[derive(Debug, Clone)]
pub(super) struct Forwarder {
    client: Client<Connector, Full<Bytes>>,
    /// Opens a connection for each request.
    unpooled: Client<Connector, Full<Bytes>>,
    /// Permits for reading bodies of answers in the background.
    body_reads: Arc<Semaphore>,
}

impl Forwarder {
    pub(super) fn new() -> Self {
        let connector = Connector::new(CONNECT);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MOST_IDLE)
            .build(connector.clone());
        let unpooled = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Forwarder { client, unpooled, body_reads: Arc::new(Semaphore::new(MOST_IDLE)) }
    }

    /// Sends an event and waits for the answer. The caller sets the timeout.
    ///
    /// An application may close an idle connection just when the event is sent over it. Whether it has received the
    /// event is then unknown, so HTTP clients do not repeat a POST. This client repeats it once, on a new connection:
    /// events are delivered at least once and have a key, and the sender's retry, if there is one, would only repeat
    /// it later. It does so only if the connection has answered before, no byte of this answer arrived, and the
    /// connection was closed at once. In any other case, the application may have failed because of this event.
    pub(super) async fn send(
        &self,
        to: &ForwardUrl,
        signer: Option<&Signer>,
        delivery: &Delivery,
        content_type: Option<HeaderValue>,
    ) -> ForwardAnswer {
        let mut request = Request::new(Full::new(delivery.body().clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = to.0.clone();
        *request.headers_mut() = headers(delivery, content_type);
        if let Some(signer) = signer {
            match signer.sign(&message_id(delivery.event_key()), now(), delivery.body()) {
                Ok(signature) => request.headers_mut().extend(signature),
                // This cannot happen: `message_id` and `now` return values that every scheme can sign.
                Err(_) => return ForwardAnswer::Failed,
            }
        }
        let sent = Instant::now();
        let mut answered = self.client.request(request.clone()).await;
        if let Err(error) = &answered
            && sent.elapsed() < CLOSING
            && Traffic::of_error(error).is_some_and(|traffic| traffic.was_closed_idle())
        {
            answered = self.unpooled.request(request).await;
        }
        match answered {
            Ok(response) => {
                if let Some(traffic) = response.extensions().get::<Traffic>() {
                    traffic.answered();
                }
                let status = response.status();
                self.drop_body(response.into_body());
                ForwardAnswer::Status(status)
            }
            Err(error) if timed_out(&error) => ForwardAnswer::TimedOut,
            Err(error) if error.is_connect() => ForwardAnswer::NotReached,
            Err(_) => ForwardAnswer::Failed,
        }
    }

    /// Reads the body of an answer in the background, so that its connection can be reused. The connection is closed
    /// instead if the body is too long or too slow, or if too many are being read.
    fn drop_body(&self, body: Incoming) {
        if body.is_end_stream() {
            return;
        }
        if let Ok(permit) = self.body_reads.clone().try_acquire_owned() {
            tokio::spawn(async move {
                let rest = Limited::new(body, LONGEST_ANSWER).collect();
                let _ = tokio::time::timeout(BODY_TIMEOUT, rest).await;
                drop(permit);
            });
        }
    }
}

/// The answer of the application to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForwardAnswer {
    /// The application answered with this status.
    Status(StatusCode),
    /// The application rejected the connection, or its host does not exist.
    NotReached,
    /// Connecting to the application timed out.
    TimedOut,
    /// The connection broke before the answer, or the answer is not HTTP.
    Failed,
}

impl ForwardAnswer {
    /// Returns the status for the sender. A redirect is a failure: it is not followed, and the sender must not follow
    /// it either.
    pub(super) fn status(self) -> StatusCode {
        match self {
            ForwardAnswer::Status(status) if status.is_redirection() || status.is_informational() => {
                StatusCode::BAD_GATEWAY
            }
            ForwardAnswer::Status(status) => status,
            ForwardAnswer::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            ForwardAnswer::NotReached | ForwardAnswer::Failed => StatusCode::BAD_GATEWAY,
        }
    }
}

/// Writes the status, or the kind of failure in snake_case.
impl fmt::Display for ForwardAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForwardAnswer::Status(status) => write!(f, "{}", status.as_u16()),
            ForwardAnswer::NotReached => f.write_str("not_reached"),
            ForwardAnswer::TimedOut => f.write_str("timed_out"),
            ForwardAnswer::Failed => f.write_str("failed"),
        }
    }
}

/// The URL of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ForwardUrl(Uri);

impl ForwardUrl {
    /// Parses a URL. Errors do not quote it, because it may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        const SUCH_AS: &str = "must be a URL such as \"http://127.0.0.1:3000/webhooks\"";
        if url.contains('#') {
            return Err("must not contain a fragment (`#`)".to_owned());
        }
        // The URL is printed at startup.
        if url.chars().any(char::is_control) {
            return Err("must not contain control characters".to_owned());
        }
        let uri: Uri = url.parse().map_err(|_| SUCH_AS.to_owned())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(
                    "https is not supported; forward to the application or to a proxy on this machine".to_owned()
                );
            }
            _ => return Err(SUCH_AS.to_owned()),
        }
        let authority = uri.authority().ok_or(SUCH_AS)?;
        if authority.as_str().contains('@') {
            return Err("must not contain a user or password; set `forward_secret` to sign forwarded events".to_owned());
        }
        let port_is_valid = authority.as_str() == authority.host() || authority.port_u16().is_some_and(|port| port > 0);
        if authority.host().is_empty() || !port_is_valid {
            return Err(SUCH_AS.to_owned());
        }
        Ok(ForwardUrl(uri))
    }

    /// Returns whether the host is `localhost` or a loopback address.
    pub(super) fn is_loopback(&self) -> bool {
        let host = self.0.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// Writes the URL without its query, which may hold a password.
impl fmt::Display for ForwardUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.0.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        write!(f, "http://{authority}{}", self.0.path())
    }
}

/// Returns the message id: a prefix and the event key in hexadecimal digits.
fn message_id(key: EventKey) -> String {
    format!("medhook_{:x}", HexDisplay(key.as_bytes()))
}

fn headers(delivery: &Delivery, content_type: Option<HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("medhook/", env!("CARGO_PKG_VERSION"))));
    if let Some(content_type) = content_type.filter(|value| value.len() <= LONGEST_VALUE && value.to_str().is_ok()) {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    let event_key = delivery.event_key().to_string();
    let possible_duplicate = delivery.possible_duplicate().map(|duplicate| {
        let PossibleDuplicate { first_seen, count, .. } = duplicate;
        format!("first_seen={},count={count}", first_seen.text())
    });
    for (name, value) in [
        ("medhook-endpoint", Some(delivery.endpoint())),
        ("medhook-provider", Some(delivery.provider())),
        ("medhook-kind", delivery.kind()),
        ("medhook-event-id", delivery.id()),
        ("medhook-event-key", Some(&event_key)),
        ("medhook-possible-duplicate", possible_duplicate.as_deref()),
    ] {
        if let Some(value) = value.and_then(escaped) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers
}

/// Percent-encodes a value for a header: `%` and every byte that is not visible ASCII. Returns `None` if it is empty or
/// too long.
fn escaped(value: &str) -> Option<HeaderValue> {
    use fmt::Write as _;
    if value.is_empty() || value.len() > LONGEST_VALUE {
        return None;
    }
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    if text.len() <= LONGEST_VALUE { HeaderValue::try_from(text).ok() } else { None }
}

fn timed_out(error: &hyper_util::client::legacy::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        source = error.source();
    }
    false
}

fn now() -> i64 {
    // With a clock before 1970, the signed timestamp is 0, which every application rejects as too old.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or_default()
}

const CONNECT: Duration = Duration::from_secs(5);

/// Shorter than the idle timeouts of common servers: 2 s in gunicorn, 5 s in Node.js, uvicorn, Apache and actix-web,
/// 20 s and more in Puma and Tomcat.
const IDLE: Duration = Duration::from_millis(1500);

/// If a reused connection is closed later than this after the event was sent, the application has probably worked on
/// the event.
const CLOSING: Duration = Duration::from_secs(1);
const MOST_IDLE: usize = 64;

/// The limits for reading the body of an answer. The connection is closed when one is exceeded.
const LONGEST_ANSWER: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

const LONGEST_VALUE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_values_are_percent_encoded() {
        for (value, expected) in [
            ("patient.ehi_export_success", Some("patient.ehi_export_success")),
            ("a\r\nx-evil: 1", Some("a%0D%0Ax-evil:%201")),
            ("\x1b[31m", Some("%1B[31m")),
            ("contraseña", Some("contrase%C3%B1a")),
            ("100%", Some("100%25")),
            ("\0\x7f", Some("%00%7F")),
            ("", None),
        ] {
            let escaped = escaped(value);
            assert_eq!(escaped.as_ref().map(|value| value.to_str().unwrap()), expected, "{value:?}");
        }
        assert!(escaped(&"a".repeat(LONGEST_VALUE)).is_some());
        assert!(escaped(&"a".repeat(LONGEST_VALUE + 1)).is_none());
        assert!(escaped(&"\n".repeat(LONGEST_VALUE)).is_none());
    }

    #[test]
    fn a_redirect_is_a_failure_and_every_other_status_is_passed_on() {
        for (status, expected) in [(200, 200), (204, 204), (302, 502), (304, 502), (404, 404), (429, 429), (503, 503)] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(ForwardAnswer::Status(status).status().as_u16(), expected);
        }
        assert_eq!(ForwardAnswer::NotReached.status(), 502);
        assert_eq!(ForwardAnswer::TimedOut.status(), 504);
    }

    #[test]
    fn only_localhost_and_loopback_addresses_are_loopback() {
        for (url, loopback) in [
            ("http://127.0.0.1:3000/x", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:3000/", true),
            ("http://localhost/", true),
            ("http://LOCALHOST:80/", true),
            ("http://localhost.example/", false),
            ("http://10.0.0.1/", false),
            ("http://app:3000/", false),
            ("http://[::ffff:10.0.0.1]/", false),
            ("http://0.0.0.0/", false),
        ] {
            assert_eq!(ForwardUrl::parse(url).unwrap().is_loopback(), loopback, "{url}");
        }
    }

    #[test]
    fn an_invalid_url_is_rejected_without_being_quoted() {
        for url in [
            "",
            "hunter2",
            "/hunter2",
            "127.0.0.1:3000",
            "ftp://hunter2/",
            "https://hunter2/",
            "http://me:hunter2@127.0.0.1/",
            "http://",
            "http://127.0.0.1:0/",
            "http://127.0.0.1:99999/",
            "http://127.0.0.1/#hunter2",
            "http://127.0.0.1/hunter 2",
            "http://127.0.0.1/hunter2\u{9b}31m",
        ] {
            let problem = ForwardUrl::parse(url).unwrap_err();
            assert!(!problem.contains("hunter"), "{url}: {problem}");
        }
    }
}
