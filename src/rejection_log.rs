//! The limited log lines about rejections, each with its next step.

use std::sync::Arc;

use http::HeaderName;

use crate::error::Reason;
use crate::headers::HeaderProblem;
use crate::once_per_minute::{Line, OncePerMinute};

/// Limits the lines about the rejections of an endpoint.
pub(crate) type RejectionLimit = Arc<OncePerMinute<RejectionLine>>;

/// The target of the lines, so that a filter can select them.
const TARGET: &str = "medhook::rejections";

/// A line about rejections with the same cause. The number of different lines is limited by the configuration: it has
/// configured labels, documented kinds and fixed texts, but no value that a client chose.
#[derive(Clone, PartialEq)]
pub(crate) struct RejectionLine {
    pub(crate) endpoint: Arc<str>,
    /// `None` if no receiver was found.
    pub(crate) provider: Option<Arc<str>>,
    pub(crate) cause: Cause,
}

#[derive(Clone, PartialEq)]
pub(crate) enum Cause {
    /// Deliveries that were not verified.
    Unverified { reason: Reason, header: Option<HeaderName>, detail: Option<&'static str> },
    /// Events that a secret of the wrong mode verified.
    ModeMismatch { secret: Arc<str> },
    /// Deliveries of bodies beyond the limit of repeats.
    RepeatLimit { kind: Arc<str>, secret: Arc<str>, max_repeats: u32 },
    /// Times of verified events in a finer unit than seconds. Such a delivery is rejected only if its age is checked.
    EventTimeUnit { unit: &'static str, is_checked: bool },
}

impl Line for RejectionLine {
    fn write(&self, count: u64) {
        let (endpoint, provider) = (&*self.endpoint, self.provider.as_deref());
        match &self.cause {
            Cause::Unverified { reason, header, detail } => {
                let header = header.as_ref().map(HeaderName::as_str);
                let (next, reason) = (next_step(*reason, *detail), reason.as_str());
                tracing::warn!(
                    target: TARGET,
                    endpoint,
                    provider,
                    reason,
                    count,
                    header,
                    detail,
                    "webhook deliveries rejected; {next}"
                );
            }
            Cause::ModeMismatch { secret } => tracing::warn!(
                target: TARGET,
                endpoint,
                provider,
                reason = Reason::SecretModeMismatch.as_str(),
                count,
                secret = &**secret,
                "the secret labeled {secret:?} is configured as a test secret but verified an event that is not a \
                 test event; configure it as the live secret"
            ),
            Cause::RepeatLimit { kind, secret, max_repeats } => tracing::warn!(
                target: TARGET,
                endpoint,
                provider,
                reason = Reason::RepeatLimit.as_str(),
                count,
                kind = &**kind,
                secret = &**secret,
                max_repeats,
                "a body was handled more than `max_repeats` times again within a day; until the day is over, its \
                 deliveries are answered with 503 (repeat_limit); if the provider sent them, increase `max_repeats`; \
                 otherwise a captured delivery is being replayed: set a new secret at the provider and here, and \
                 remove the old one"
            ),
            Cause::EventTimeUnit { unit, is_checked } => {
                let reason = is_checked.then_some(Reason::InTheFuture.as_str());
                let result =
                    if *is_checked { "the delivery is rejected" } else { "the handler sees a time far in the future" };
                tracing::warn!(
                    target: TARGET,
                    endpoint,
                    provider,
                    reason,
                    count,
                    "the time of an event looks like {unit}, but numbers are read as seconds: {result}; the provider \
                     must send seconds or RFC 3339, or time_pointer of a custom provider must lead to such a time"
                );
            }
        }
    }
}

/// Returns the step that most likely finds the cause of a rejection.
pub(crate) fn next_step(reason: Reason, detail: Option<&'static str>) -> &'static str {
    match reason {
        Reason::InTheFuture if detail == Some(HeaderProblem::FinerUnit.as_str()) => {
            "the sender, or a proxy that rewrites the header, must send seconds"
        }
        Reason::MissingHeader | Reason::RepeatedHeader | Reason::MalformedHeader => {
            "if the provider sent them, compare the header with its documentation, and check whether a proxy removes \
             or changes it"
        }
        Reason::SignatureMismatch => {
            "if the provider sent them, compare the secret with the provider's, check whether a proxy changes the \
             body, and run `medhook verify` on a delivery that `medhook capture` recorded"
        }
        Reason::Stale | Reason::InTheFuture => {
            "check the clock of this machine; if it is right, old deliveries may be replayed"
        }
        Reason::Method => {
            "webhooks are POST requests; check what sends others, and whether a redirect turns POST into GET"
        }
        Reason::ContentEncoding => "disable compression at the provider or in the proxy",
        Reason::TooLarge => "if the provider sends bodies of this size, increase `body_limit`",
        Reason::BodyTimeout | Reason::BodyIncomplete => {
            "check the timeouts and limits of the proxy, and whether the sender closed the connection"
        }
        Reason::UnknownTenant => "check the URL at the provider, and the tenant lookup",
        Reason::TenantLookupFailed => {
            "check what the tenant lookup needs, such as its database; it must answer within 5 s"
        }
        Reason::TimeMissing => {
            "the body has no readable time to check the age by; compare it with the provider's documentation"
        }
        Reason::WrongMode => {
            "a live secret verified a test event, which is dropped; to handle test events, configure their secret"
        }
        Reason::SecretModeMismatch => "configure the secret as the live secret",
        Reason::StoreUnavailable => "check the store; the provider should retry",
        Reason::StoreFull => {
            "make room in the store, or shorten the retention; if an inbox is full, find out why its events are not \
             handled, or increase `max_inbox_bytes`; the provider should retry"
        }
        Reason::TooBusy => "make the handler faster, or increase `max_in_flight`; the provider should retry",
        Reason::Draining => "the receiver is shutting down; the provider should retry",
        Reason::HandlerPanicked => "see the message of the panic on standard error",
        Reason::HandlerTimeout => "make the handler faster, or increase `handler_timeout`",
        Reason::HandlerCanceled => {
            "allow more time for the shutdown, or make the handler faster; the provider should retry"
        }
        Reason::Stored | Reason::Duplicate | Reason::InFlight => "none: the event is or was handled or stored",
        Reason::RepeatLimit => "see the warning about `max_repeats`",
    }
}
