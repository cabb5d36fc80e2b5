//! Errors, and the closed table of reasons: a [`ConfigError`] is for the operator, a [`Reason`] explains a rejection, and a
//! [`StoreError`] comes from a store. None of them ever holds a body, a header value or a secret.

use std::error::Error;
use std::fmt;

use http::StatusCode;

type Source = Box<dyn Error + Send + Sync>;

macro_rules! reasons {
    ($($(#[$doc:meta])* $Variant:ident = $name:literal, $status:ident;)*) => {
        /// Why a delivery was not handed over, or its handler's answer not sent.
        ///
        /// This is the one closed table behind answers, logs, metrics and the fixtures' case list.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason { $(
            $(#[$doc])*
            #[doc = concat!("\n\n`", $name, "`, answered with `", stringify!($status), "`.")]
            $Variant,
        )* }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Reason] = &[$(Reason::$Variant,)*];

            /// The name used in logs, metrics and case lists.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$Variant => $name,)* }
            }

            /// The status the sender gets.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Reason::$Variant => StatusCode::$status,)* }
            }
        }
    };
}

reasons! {
    /// A header the scheme needs is not there.
    MissingHeader = "missing_header", UNAUTHORIZED;
    /// A header the scheme needs is there more than once.
    RepeatedHeader = "repeated_header", UNAUTHORIZED;
    /// A header the scheme needs holds nothing the scheme could check.
    MalformedHeader = "malformed_header", UNAUTHORIZED;
    /// No configured secret vouches for the delivery: forged, altered on the way, or signed with another secret.
    SignatureMismatch = "signature_mismatch", UNAUTHORIZED;
    /// Verified, or signed to be, at a time too long ago.
    Stale = "stale", UNAUTHORIZED;
    /// Dated further ahead than two clocks may differ.
    InTheFuture = "in_the_future", UNAUTHORIZED;
    /// A documented kind of event without the signed time that freshness is judged by.
    TimeMissing = "time_missing", UNAUTHORIZED;
    /// The tenant resolver found no receiver. Answered like a bad signature so that tenants cannot be enumerated.
    UnknownTenant = "unknown_tenant", UNAUTHORIZED;
    /// Not a `POST`.
    Method = "method", METHOD_NOT_ALLOWED;
    /// The body did not arrive in time.
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT;
    /// The body is, or says it will be, over the limit.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE;
    /// A content encoding: signatures cover the bytes before one.
    ContentEncoding = "content_encoding", UNSUPPORTED_MEDIA_TYPE;
    /// The sender stopped before the end of the body.
    BodyIncomplete = "body_incomplete", BAD_REQUEST;
    /// The tenant resolver failed, panicked, or did not answer in time.
    TenantLookupFailed = "tenant_lookup_failed", SERVICE_UNAVAILABLE;
    /// A secret that is configured as a test secret verified an event that is not a test event. Only our own
    /// configuration can be wrong: the secret is probably the live one. Answered 503 so that the provider sends
    /// the event again.
    SecretModeMismatch = "secret_mode_mismatch", SERVICE_UNAVAILABLE;
    /// The same event is being handled at this moment.
    InFlight = "in_flight", SERVICE_UNAVAILABLE;
    /// The store that remembers events did not answer.
    StoreUnavailable = "store_unavailable", SERVICE_UNAVAILABLE;
    /// The store that remembers events may not forget one yet, and has no room for another.
    StoreFull = "store_full", SERVICE_UNAVAILABLE;
    /// As many handlers run as may.
    TooBusy = "too_busy", SERVICE_UNAVAILABLE;
    /// The receiver is shutting down.
    Draining = "draining", SERVICE_UNAVAILABLE;
    /// The event was handled before.
    Duplicate = "duplicate", OK;
    /// A test event that was verified by a live secret. A live event that was verified by a test secret is
    /// [`SecretModeMismatch`](Reason::SecretModeMismatch).
    WrongMode = "wrong_mode", OK;
    /// The handler panicked.
    HandlerPanicked = "handler_panicked", INTERNAL_SERVER_ERROR;
    /// The handler took longer than it may.
    HandlerTimeout = "handler_timeout", GATEWAY_TIMEOUT;
}

impl Reason {
    /// What the reason means for the delivery as a whole.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Reason::Duplicate => Outcome::Duplicate,
            Reason::WrongMode => Outcome::Ignored,
            Reason::InFlight => Outcome::InFlight,
            Reason::HandlerPanicked | Reason::HandlerTimeout => Outcome::Failed,
            _ => Outcome::Rejected,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler ran and answered 2xx; the event will not be handed over again.
    Handled,
    /// The event was handled before: answered 200, not handed over.
    Duplicate,
    /// A test event, verified by a live secret: answered 200, not delivered to the handler, not remembered.
    Ignored,
    /// Another delivery of the event is being handled: answered 503, so that the sender asks again.
    InFlight,
    /// Not handed over, for the [`Reason`] given.
    Rejected,
    /// The handler ran and did not succeed: the event will be handed over again when the sender retries.
    Failed,
}

impl Outcome {
    /// The name used in logs, metrics and case lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Handled => "handled",
            Outcome::Duplicate => "duplicate",
            Outcome::Ignored => "ignored",
            Outcome::InFlight => "in_flight",
            Outcome::Rejected => "rejected",
            Outcome::Failed => "failed",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A receiver that cannot be built as asked: one clear line for the operator.
#[derive(Debug)]
pub struct ConfigError {
    message: Box<str>,
    source: Option<Source>,
}

impl ConfigError {
    pub(crate) fn new(message: impl Into<Box<str>>) -> Self {
        ConfigError { message: message.into(), source: None }
    }

    /// Puts the name of the part that is misconfigured in front of the message.
    pub(crate) fn within(self, part: fmt::Arguments<'_>) -> Self {
        ConfigError { message: format!("{part}: {}", self.message).into(), ..self }
    }

    pub(crate) fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ConfigError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// A store that could not do what it was asked. Senders get a 503 and try again.
#[derive(Debug)]
pub struct StoreError {
    trouble: Trouble,
    message: Box<str>,
    source: Option<Source>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Unavailable,
    Full,
    Lost,
}

impl StoreError {
    /// The store did not answer, or not usefully. The message names what was tried, never a password or a key.
    pub fn unavailable(message: impl Into<Box<str>>) -> Self {
        StoreError { trouble: Trouble::Unavailable, message: message.into(), source: None }
    }

    /// The store may not forget anything yet and has no room.
    #[must_use]
    pub fn full() -> Self {
        let message = "the store is full of events it may not forget yet".into();
        StoreError { trouble: Trouble::Full, message, source: None }
    }

    /// The lease ran out and someone else has the event by now, so that a transaction of the application's which was to
    /// commit the claim must not be committed.
    #[must_use]
    pub fn lost() -> Self {
        let message = "the claim ran out, and someone else has the event".into();
        StoreError { trouble: Trouble::Lost, message, source: None }
    }

    /// Adds the error behind this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whether it is a matter of room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.trouble == Trouble::Full
    }

    /// Whether someone else has the event.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.trouble == Trouble::Lost
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_trouble_is_never_the_senders_fault() {
        for reason in [
            Reason::TenantLookupFailed,
            Reason::SecretModeMismatch,
            Reason::InFlight,
            Reason::StoreUnavailable,
            Reason::StoreFull,
            Reason::TooBusy,
            Reason::Draining,
            Reason::HandlerPanicked,
            Reason::HandlerTimeout,
        ] {
            assert!(reason.status().is_server_error(), "{reason}");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
