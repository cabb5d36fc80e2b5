//! Errors, and the closed table of reasons: a [`ConfigError`] is for the operator, a [`Reason`] explains a rejection,
//! and a [`StoreError`] comes from a store. None of them contains a body, a header value or a secret.

use std::error::Error;
use std::fmt;

use http::StatusCode;

type Source = Box<dyn Error + Send + Sync>;

macro_rules! reasons {
    ($($(#[$doc:meta])* $Variant:ident = $name:literal, $status:ident;)*) => {
        /// The reason why a delivery did not reach the handler, or why the handler's response was not sent.
        ///
        /// Responses, logs, metrics and the fixtures' case list all use this closed table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason { $(
            $(#[$doc])*
            #[doc = concat!("\n\n`", $name, "`, answered with `", stringify!($status), "`.")]
            $Variant,
        )* }

        impl Reason {
            /// All reasons, in the order of the table.
            pub const ALL: &'static [Reason] = &[$(Reason::$Variant,)*];

            /// Returns the name used in logs, metrics and case lists.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$Variant => $name,)* }
            }

            /// Returns the status that the sender receives.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Reason::$Variant => StatusCode::$status,)* }
            }
        }
    };
}

reasons! {
    /// A header that the scheme requires is missing.
    MissingHeader = "missing_header", UNAUTHORIZED;
    /// A header that the scheme requires occurs more than once.
    RepeatedHeader = "repeated_header", UNAUTHORIZED;
    /// A header that the scheme requires has a value that cannot be parsed, or is empty or too long.
    MalformedHeader = "malformed_header", UNAUTHORIZED;
    /// The signature matches no configured secret: the delivery was forged, modified in transit, or signed with another
    /// secret.
    SignatureMismatch = "signature_mismatch", UNAUTHORIZED;
    /// The signed timestamp, or the time of the verified event, is older than the freshness window.
    Stale = "stale", UNAUTHORIZED;
    /// The signed timestamp, or the time of the verified event, is further in the future than the allowed clock skew.
    InTheFuture = "in_the_future", UNAUTHORIZED;
    /// The body of a verified delivery does not begin with `{` or `[`, which the scheme requires: its signature could
    /// be that of another time and another body, or of a handshake.
    AmbiguousBody = "ambiguous_body", UNAUTHORIZED;
    /// The event lacks the time by which its freshness is checked. Events of undocumented kinds may lack it, except
    /// those of a [`Custom`](crate::Custom) provider.
    TimeMissing = "time_missing", UNAUTHORIZED;
    /// The tenant resolver found no receiver. Answered like a bad signature; [tenants](crate::guide::tenants) describes
    /// how to hide from clients which tenants exist.
    UnknownTenant = "unknown_tenant", UNAUTHORIZED;
    /// A `GET` request to an endpoint with a [`Handshake`](crate::Handshake) is not a valid handshake: its token or its
    /// challenge is missing, repeated or not acceptable.
    HandshakeRejected = "handshake_rejected", UNAUTHORIZED;
    /// The request method is not allowed. Most endpoints allow `POST` only.
    Method = "method", METHOD_NOT_ALLOWED;
    /// The body did not arrive in time.
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT;
    /// The body, or its `Content-Length`, exceeds the limit.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE;
    /// The body has a content encoding. Signatures cover the bytes before encoding.
    ContentEncoding = "content_encoding", UNSUPPORTED_MEDIA_TYPE;
    /// The connection was closed before the end of the body.
    BodyIncomplete = "body_incomplete", BAD_REQUEST;
    /// The tenant resolver failed, panicked, or did not answer in time.
    TenantLookupFailed = "tenant_lookup_failed", SERVICE_UNAVAILABLE;
    /// A secret that is configured as a test secret verified an event that is not a test event. The receiver's
    /// configuration is wrong: the secret is probably the live one. Answered with 503 so that the provider retries.
    SecretModeMismatch = "secret_mode_mismatch", SERVICE_UNAVAILABLE;
    /// Another delivery of this event is being handled.
    InFlight = "in_flight", SERVICE_UNAVAILABLE;
    /// More deliveries with these bytes arrived within a day than [`max_repeats`](crate::Builder::max_repeats) allows,
    /// of an event that can recur with the same bytes or whose id is unsigned: either the event recurs more often, or a
    /// captured delivery is being replayed.
    RepeatLimit = "repeat_limit", SERVICE_UNAVAILABLE;
    /// The dedupe store failed or did not answer in time.
    StoreUnavailable = "store_unavailable", SERVICE_UNAVAILABLE;
    /// The dedupe store is full of events that must not be forgotten yet, or the inbox contains as many bytes of the
    /// receiver's unfinished events as its `max_inbox_bytes` allows.
    StoreFull = "store_full", SERVICE_UNAVAILABLE;
    /// The `max_in_flight` limit is reached.
    TooBusy = "too_busy", SERVICE_UNAVAILABLE;
    /// The receiver is shutting down, so the handler was not called.
    Draining = "draining", SERVICE_UNAVAILABLE;
    /// The event was stored in the receiver's inbox and will be handled later. Not a rejection: answered with 200, or
    /// with the receiver's `ack_status`.
    Stored = "stored", OK;
    /// The event has already been handled, or was already stored in the receiver's inbox.
    Duplicate = "duplicate", OK;
    /// A live secret verified a test event. A live event that a test secret verified is a
    /// [`SecretModeMismatch`](Reason::SecretModeMismatch).
    WrongMode = "wrong_mode", OK;
    /// The handler panicked.
    HandlerPanicked = "handler_panicked", INTERNAL_SERVER_ERROR;
    /// The handler exceeded `handler_timeout`.
    HandlerTimeout = "handler_timeout", GATEWAY_TIMEOUT;
    /// The handler was canceled: it still ran at the deadline of the shutdown, or when the runtime shut down. Answered
    /// with 503 so that the provider retries.
    HandlerCanceled = "handler_canceled", SERVICE_UNAVAILABLE;
}

impl Reason {
    /// Returns the outcome of a delivery that has this reason.
    #[must_use]
    pub const fn outcome(self) -> Outcome {
        match self {
            Reason::Stored => Outcome::Stored,
            Reason::Duplicate => Outcome::Duplicate,
            Reason::WrongMode => Outcome::Ignored,
            Reason::InFlight => Outcome::InFlight,
            Reason::HandlerPanicked | Reason::HandlerTimeout | Reason::HandlerCanceled => Outcome::Failed,
            _ => Outcome::Rejected,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The outcome of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler answered 2xx. The event will not be delivered to the handler again.
    Handled,
    /// The event was stored in the receiver's inbox, to be handled later. Answered with 200 or the receiver's
    /// `ack_status`, without calling the handler.
    Stored,
    /// The event has already been handled or stored. Answered with 200, without calling the handler.
    Duplicate,
    /// A live secret verified a test event. Answered with 200, without calling the handler or recording the event.
    Ignored,
    /// Another delivery of the event is being handled. Answered with 503 so that the provider retries.
    InFlight,
    /// The delivery was rejected for a [`Reason`], without calling the handler.
    Rejected,
    /// The handler failed. A retry of the event will be delivered to the handler.
    Failed,
}

impl Outcome {
    /// Returns the name used in logs, metrics and case lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Handled => "handled",
            Outcome::Stored => "stored",
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

/// Writes the messages of an error and of its sources, each once.
pub(crate) fn write_with_sources(error: &dyn Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = error.to_string();
    let (mut sources, mut next) = (Vec::new(), error.source());
    while let Some(source) = next.filter(|_| sources.len() < MOST_SOURCES) {
        sources.push(source.to_string());
        next = source.source();
    }
    // A message may include that of a source, but not those in between.
    let included = sources.iter().rposition(|source| text.contains(source)).map_or(0, |last| last + 1);
    for source in sources.iter().skip(included) {
        if !text.contains(source) {
            text.extend([": ", source]);
        }
    }
    f.write_str(&text)
}

const MOST_SOURCES: usize = 16;

/// Implements `Debug` of errors as their message, because it is what a `main` that returns the error prints.
macro_rules! debug_as_message {
    ($($Error:ident)*) => {$(
        impl std::fmt::Debug for $Error {
            /// Writes the message, followed by those of the sources that it does not include.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::error::write_with_sources(self, f)
            }
        }
    )*};
}
pub(crate) use debug_as_message;

debug_as_message!(ConfigError StoreError);

/// The error of an invalid configuration. Its message is one line for the operator.
pub struct ConfigError {
    message: Box<str>,
    source: Option<Source>,
}

impl ConfigError {
    pub(crate) fn new(message: impl Into<Box<str>>) -> Self {
        ConfigError { message: message.into(), source: None }
    }

    pub(crate) fn no_randomness(error: getrandom::Error) -> Self {
        ConfigError::new("cannot read from the system random number generator").with_source(error)
    }

    /// Prefixes the message with the name of the misconfigured part.
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

/// The error of a store operation. If a claim fails, the delivery is answered with 503.
pub struct StoreError {
    kind: StoreErrorKind,
    message: Box<str>,
    source: Option<Source>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StoreErrorKind {
    Unavailable,
    /// Another process has the lock, so the operation has changed nothing.
    #[cfg(feature = "sqlite")]
    Busy,
    Full,
    Lost,
}

impl StoreError {
    /// Creates the error of a store that failed or did not answer. The message should name the operation, and must not
    /// contain a password or a key.
    pub fn unavailable(message: impl Into<Box<str>>) -> Self {
        StoreError { kind: StoreErrorKind::Unavailable, message: message.into(), source: None }
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn busy(message: impl Into<Box<str>>) -> Self {
        StoreError { kind: StoreErrorKind::Busy, message: message.into(), source: None }
    }

    /// Creates the error of a store that is full of events that must not be forgotten yet.
    #[must_use]
    pub fn full() -> Self {
        Self::full_with("the store is full of events that must not be forgotten yet; increase its capacity")
    }

    pub(crate) fn full_with(message: impl Into<Box<str>>) -> Self {
        StoreError { kind: StoreErrorKind::Full, message: message.into(), source: None }
    }

    /// Creates the error of a claim whose lease expired before it was committed, and whose event was claimed by another
    /// delivery. An application's transaction that was to commit the claim must be rolled back.
    #[must_use]
    pub fn lost() -> Self {
        let message = "the claim expired and another delivery claimed the event; roll the transaction back".into();
        StoreError { kind: StoreErrorKind::Lost, message, source: None }
    }

    /// Sets the underlying error.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns whether another process had the lock, so that the operation has changed nothing.
    #[cfg(all(feature = "inbox", feature = "sqlite"))]
    pub(crate) fn is_busy(&self) -> bool {
        self.kind == StoreErrorKind::Busy
    }

    /// Returns whether the store is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.kind == StoreErrorKind::Full
    }

    /// Returns whether another delivery has claimed the event.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.kind == StoreErrorKind::Lost
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
    fn errors_of_the_receiver_are_answered_with_5xx() {
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
            Reason::HandlerCanceled,
        ] {
            assert!(reason.status().is_server_error(), "{reason}");
        }
    }

    #[test]
    fn debug_is_the_message_once_with_the_sources() {
        let io = || std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        let shown = |error: &dyn Error| format!("{error:?}");

        let plain = ConfigError::new("body_limit must be greater than 0");
        assert_eq!(shown(&plain), "body_limit must be greater than 0");
        assert_eq!(format!("{plain:#?}"), "body_limit must be greater than 0");
        let caused = ConfigError::new("secret file x: cannot be read").with_source(io());
        assert_eq!(shown(&caused), "secret file x: cannot be read: no such file");
        let included = StoreError::unavailable("Redis: claim: no such file").with_source(io());
        assert_eq!(shown(&included), "Redis: claim: no such file");

        // A source in between is not repeated in other words.
        let between = ConfigError::new("PostgreSQL: cannot connect: no such file")
            .with_source(StoreError::unavailable("error of the driver: no such file").with_source(io()));
        assert_eq!(shown(&between), "PostgreSQL: cannot connect: no such file");
        let deep = StoreError::unavailable("a").with_source(StoreError::unavailable("b").with_source(io()));
        assert_eq!(shown(&deep), "a: b: no such file");
    }

    #[test]
    fn every_error_is_debugged_as_its_message() {
        use crate::registry::{OptionName, ProviderOptions, provider};

        let facts = provider("cair").unwrap();
        let options = ProviderOptions::new(crate::Secret::new("a-secret-of-some-length").unwrap());
        let option = facts.scheme(&options).unwrap_err();
        assert_eq!(option.option, OptionName::Scheme);
        let store = crate::Rejection::store(StoreError::full_with("the disk is full"));
        let errors: [&dyn Error; 3] = [&option, &store, &StoreError::lost()];
        for error in errors {
            let shown = format!("{error:?}");
            assert!(shown.starts_with(&error.to_string()) && !shown.contains(['{', '"']), "{shown}");
        }
        assert_eq!(format!("{store:?}"), "delivery rejected: store_full: the disk is full");
    }

    #[test]
    fn reason_names_are_unique() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
