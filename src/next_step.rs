//! The next step after a rejection, for operators. The log lines about rejections end with it.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use crate::error::Reason;
use crate::headers::HeaderProblem;
use crate::rejection::Rejection;

impl Reason {
    /// Returns the step that most likely finds the cause of a rejection, for an operator: the end of the log line about
    /// it. [`Rejection::next_step`] is more exact where the rejection knows more than its reason.
    ///
    /// ```
    /// use medhook::Reason;
    ///
    /// let step = Reason::ContentEncoding.next_step();
    /// assert_eq!(step, "disable compression at the provider or in the proxy");
    /// ```
    #[must_use]
    pub fn next_step(self) -> &'static str {
        next_step(self, None)
    }
}

impl Rejection {
    /// Returns the step that most likely finds the cause, for an operator: the end of the log line about the rejection.
    /// It never contains anything that the sender sent.
    #[must_use]
    pub fn next_step(&self) -> &'static str {
        next_step(self.reason(), self.detail())
    }
}

/// Returns the step that most likely finds the cause of a rejection. `detail` is what is wrong with a header.
pub(crate) fn next_step(reason: Reason, detail: Option<&'static str>) -> &'static str {
    match reason {
        Reason::InTheFuture if detail == Some(HeaderProblem::FinerUnit.as_str()) => {
            "if the provider sends a finer unit, configure it as the unit of the timestamp; otherwise the sender, or a proxy \
             that rewrites the header, must send seconds"
        }
        Reason::Stale if detail == Some(HeaderProblem::CoarserUnit.as_str()) => {
            "if the provider sends seconds, configure them as the unit of the timestamp"
        }
        Reason::MissingHeader | Reason::RepeatedHeader | Reason::MalformedHeader => {
            "if the provider sent them, compare the header with its documentation, and check whether a proxy removes \
             or changes it"
        }
        Reason::SignatureMismatch => {
            "if the provider sent them, compare the secret with the provider's, check whether a proxy changes the \
             body, and run `medhook verify` on a delivery that `medhook capture` recorded"
        }
        Reason::AmbiguousBody => {
            "the provider must send JSON objects or arrays; if it sends anything else, set a template with a separator"
        }
        Reason::Stale | Reason::InTheFuture => {
            "check the clock of this machine; if it is right, old deliveries may be replayed, or the provider signs the \
             time of the event instead of the attempt"
        }
        Reason::HandshakeRejected => {
            "if the provider sent them, compare the token and the parameters with the handshake in its documentation"
        }
        Reason::Method => {
            "webhooks are POST requests; check what sends others, and whether a redirect turns POST into GET, or configure \
             the handshake of the provider"
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
        Reason::RepeatLimit => {
            "if the provider sent them, increase `max_repeats`; otherwise a captured delivery is being replayed: set \
             a new secret at the provider and here, and remove the old one"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_next_step_of_one_line() {
        for reason in Reason::ALL {
            let step = reason.next_step();
            let is_plain = step.starts_with(|c: char| c.is_ascii_lowercase()) && !step.ends_with('.');
            assert!(step.len() > 10 && is_plain && !step.contains('\n'), "{reason}: {step}");
            assert_eq!(Rejection::from(*reason).next_step(), step, "{reason}");
        }
    }

    #[test]
    fn a_rejected_method_can_be_a_handshake_that_is_not_configured() {
        assert!(Reason::Method.next_step().ends_with("or configure the handshake of the provider"));
    }

    #[test]
    fn a_rejection_with_a_detail_has_a_more_exact_next_step() {
        let detail = Some(HeaderProblem::FinerUnit.as_str());
        assert!(next_step(Reason::InTheFuture, detail).ends_with("must send seconds"));
        assert!(next_step(Reason::InTheFuture, None).starts_with("check the clock"));
        assert_eq!(next_step(Reason::Stale, detail), Reason::Stale.next_step(), "only for times in the future");
        let detail = Some(HeaderProblem::CoarserUnit.as_str());
        assert!(next_step(Reason::Stale, detail).starts_with("if the provider sends seconds, configure them"));
    }
}
