//! The limited log lines about rejections, each with its next step, and about handshakes.

use std::sync::Arc;

use http::HeaderName;

use crate::error::Reason;
use crate::next_step::next_step;
use crate::once_per_minute::{Line, OncePerMinute};

/// Limits the lines about the rejections of an endpoint.
pub(crate) type RejectionLimit = Arc<OncePerMinute<RejectionLine>>;

/// The target of the lines, so that a filter can select them.
const TARGET: &str = "medhook::rejections";

/// The target of the lines about handshakes.
const HANDSHAKES: &str = "medhook::handshakes";

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
    /// Handshakes of this type, which were answered.
    Handshake { name: &'static str },
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
            Cause::Handshake { name } => {
                let handshake = *name;
                tracing::info!(target: HANDSHAKES, endpoint, provider, handshake, count, "webhook handshakes answered");
            }
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
