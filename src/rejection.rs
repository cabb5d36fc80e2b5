//! The response to a delivery that is not handled while the sender waits.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::{HeaderName, StatusCode};

use crate::envelope::KindName;
use crate::error::{Outcome, Reason, StoreError, debug_as_message};
use crate::handshake::HandshakeFault;
use crate::headers::{HeadFault, HeaderProblem};

/// A rejected delivery: the [`Reason`], and how long the sender should wait before it retries. A delivery that was
/// [stored](Reason::Stored) in an inbox has one, too, because its handler does not run while the sender waits.
///
/// The sender receives the status and an empty body. The reason is for logs, metrics and the application only.
pub struct Rejection {
    reason: Reason,
    retry_after: Option<Duration>,
    verified: bool,
    kind: Option<KindName>,
    secret: Option<std::sync::Arc<str>>,
    /// Boxed to keep the futures that hold a rejection small.
    source: Option<Box<StoreError>>,
    /// Boxed for the same reason.
    faulty: Option<Box<Faulty>>,
    allow: &'static [&'static str],
    /// The status of the response, if it is not that of the reason.
    status: Option<StatusCode>,
}

/// A problem of the request, and the header that it is about, if there is one.
struct Faulty {
    header: Option<HeaderName>,
    detail: &'static str,
}

impl Rejection {
    pub(crate) fn new(reason: Reason) -> Self {
        let retry_after = (reason.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER);
        let allow = &["POST"];
        Rejection {
            reason,
            retry_after,
            verified: false,
            kind: None,
            secret: None,
            source: None,
            faulty: None,
            allow,
            status: None,
        }
    }

    /// Sets the methods for the `Allow` header of a 405.
    pub(crate) fn allowing(self, allow: &'static [&'static str]) -> Self {
        Rejection { allow, ..self }
    }

    pub(crate) fn in_flight(retry_after: Duration) -> Self {
        Rejection { retry_after: Some(retry_after), ..Rejection::new(Reason::InFlight) }
    }

    pub(crate) fn repeat_limit(retry_after: Duration) -> Self {
        Rejection { retry_after: Some(retry_after), ..Rejection::new(Reason::RepeatLimit) }
    }

    /// Acknowledges a delivery that was stored.
    #[cfg(feature = "inbox")]
    pub(crate) fn stored(status: StatusCode) -> Self {
        Rejection { status: Some(status), ..Rejection::new(Reason::Stored) }
    }

    pub(crate) fn store(source: StoreError) -> Self {
        let reason = if source.is_full() { Reason::StoreFull } else { Reason::StoreUnavailable };
        Rejection { source: Some(Box::new(source)), ..Rejection::new(reason) }
    }

    /// Describes a verified delivery: its kind, and the label of the secret that verified it.
    pub(crate) fn about(self, kind: Option<KindName>, secret: &str) -> Self {
        Rejection { verified: true, kind, secret: Some(secret.into()), ..self }
    }

    /// Returns the label of the secret that verified the delivery; `None` if it was not verified.
    #[must_use]
    pub fn secret_label(&self) -> Option<&str> {
        self.secret.as_deref()
    }

    /// Returns whether the delivery's origin was verified before it was rejected. Any client can send unverified
    /// deliveries: an application that logs their rejections should limit how much it logs.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.verified
    }

    /// Returns the kind of a verified delivery for logs, and `unknown` for all others.
    #[must_use]
    pub fn kind_label(&self) -> &str {
        self.kind.as_ref().map_or("unknown", KindName::label)
    }

    /// Returns the reason for the rejection.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns the name of the request header that the rejection is about, if it is about one: a header that the
    /// scheme requires, `content-encoding` or `content-length`. The name is never the sender's.
    #[must_use]
    pub fn header_name(&self) -> Option<&HeaderName> {
        self.faulty.as_deref().and_then(|faulty| faulty.header.as_ref())
    }

    /// Returns what is wrong with the header, such as `missing` or `not 64 hexadecimal digits`, or with a handshake,
    /// such as `the challenge is missing`, for logs. The text describes the form of the value and never contains any of
    /// it.
    #[must_use]
    pub fn detail(&self) -> Option<&'static str> {
        self.faulty.as_deref().map(|faulty| faulty.detail)
    }

    /// Returns the status of the response: that of the reason, or the configured one of a stored delivery.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status.unwrap_or_else(|| self.reason.status())
    }

    /// Returns the header of the response, if there is one: `Retry-After` (in seconds, at least 1) for a 503, `Allow`
    /// for a 405, `Accept-Encoding` for a 415.
    #[must_use]
    pub fn header(&self) -> Option<(http::HeaderName, http::HeaderValue)> {
        use http::{HeaderValue, header};
        if let Some(wait) = self.retry_after {
            let up = u64::from(wait.subsec_nanos() > 0);
            let seconds = wait.as_secs().saturating_add(up).max(1);
            return Some((header::RETRY_AFTER, HeaderValue::from(seconds)));
        }
        match self.reason {
            Reason::Method => Some((header::ALLOW, self.allow.join(", ").try_into().ok()?)),
            Reason::ContentEncoding => Some((header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))),
            _ => None,
        }
    }
}

/// The `Retry-After` of rejections that have no better estimate.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Rejection::new(reason)
    }
}

impl From<HeadFault> for Rejection {
    fn from(fault: HeadFault) -> Self {
        let faulty = |(header, problem): (HeaderName, HeaderProblem)| {
            Box::new(Faulty { header: Some(header), detail: problem.as_str() })
        };
        Rejection { faulty: fault.header.map(faulty), ..Rejection::new(fault.reason) }
    }
}

impl From<HandshakeFault> for Rejection {
    fn from(fault: HandshakeFault) -> Self {
        let faulty = Faulty { header: fault.header, detail: fault.problem.as_str() };
        Rejection { faulty: Some(Box::new(faulty)), ..Rejection::new(Reason::HandshakeRejected) }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.reason.outcome() {
            Outcome::Stored => return f.write_str("delivery stored"),
            // A handler that did not finish had the delivery.
            Outcome::Failed => "failed",
            _ => "rejected",
        };
        write!(f, "delivery {what}: {}", self.reason)?;
        match self.faulty.as_deref() {
            Some(Faulty { header: Some(name), detail }) => write!(f, " ({name}: {detail})"),
            Some(Faulty { header: None, detail }) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

debug_as_message!(Rejection);

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_503_has_retry_after() {
        for &reason in Reason::ALL {
            let header = Rejection::new(reason).header().map(|(name, _)| name);
            let waits = header == Some(http::header::RETRY_AFTER);
            assert_eq!(waits, reason.status() == StatusCode::SERVICE_UNAVAILABLE, "{reason}");
        }
    }

    #[test]
    fn a_handler_that_did_not_finish_failed_and_is_not_called_rejected() {
        assert_eq!(Rejection::new(Reason::HandlerCanceled).to_string(), "delivery failed: handler_canceled");
        assert_eq!(Rejection::new(Reason::Draining).to_string(), "delivery rejected: draining");
    }

    #[test]
    fn a_405_lists_the_allowed_methods() {
        for (methods, allow) in [(&["POST"][..], "POST"), (&["GET", "POST"], "GET, POST")] {
            let header = Rejection::new(Reason::Method).allowing(methods).header();
            assert_eq!(header, Some((http::header::ALLOW, http::HeaderValue::from_static(allow))));
        }
    }

    #[test]
    fn retry_after_is_rounded_up_and_at_least_one_second() {
        for (millis, seconds) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (30_000, "30")] {
            let (_, value) =
                Rejection::in_flight(Duration::from_millis(millis)).header().expect("a 503 has Retry-After");
            assert_eq!(value, seconds, "{millis} ms");
        }
    }
}
