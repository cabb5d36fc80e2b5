//! Finds secrets that are configured for the wrong mode.

use medhook::Reason;

use super::cause::Cause;
use crate::verify::case::Case;
use crate::verify::steps::Steps;

/// Returns the mistake if the signature is valid: it is in the options or in the endpoint's configuration.
pub(super) fn of_verified(case: &Case<'_>, steps: &Steps) -> Option<Cause> {
    let label = steps.secret.as_deref().unwrap_or("that verified it");
    match steps.envelope.reason? {
        Reason::WrongMode => Some(Cause::fitting(
            "live_secret_for_test_event",
            format!(
                "each mode has its own secret: secret {label} was given as a live secret, but the event is a test \
                 event; pass a test secret with --test-secret-env or --test-secret-file (in the config file of medhook \
                 receive: test_secrets, or mode = \"test\" if the endpoint receives only test events)"
            ),
        )),
        Reason::SecretModeMismatch => {
            let mode = match case.mode().as_deref() {
                Some("live") => "is a live event",
                Some(_) => "has an undocumented mode",
                None => "names no mode",
            };
            Some(Cause::fitting(
                "test_secret_for_other_event",
                format!(
                    "each mode has its own secret: secret {label} was given as a test secret, but the event {mode}; \
                     pass a live secret with --secret-env or --secret-file (in the config file of medhook receive: \
                     secrets with mode = \"live\", not test_secrets or mode = \"test\")"
                ),
            ))
        }
        _ => None,
    }
}

/// Returns whether the secret of the mode that the body names was not given.
pub(super) fn of_unverified(case: &Case<'_>) -> Option<Cause> {
    match case.mode().filter(|_| case.is_standard()).as_deref() {
        Some("test") if case.endpoint.test_secrets.is_empty() => Some(Cause::possible(
            "test_event_without_test_secret",
            "the body names the test mode, which has its own secret; pass it with --test-secret-env or \
             --test-secret-file",
        )),
        Some("live") if case.endpoint.secrets.is_empty() => Some(Cause::possible(
            "live_event_without_live_secret",
            "the body names the live mode, but only a test secret was given; pass the live secret with --secret-env or \
             --secret-file",
        )),
        _ => None,
    }
}
