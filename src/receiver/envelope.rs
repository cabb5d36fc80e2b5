//! Step 5, the envelope: id, kind, times and mode, read from the verified body.

use crate::envelope::{Envelope, Mode};
use crate::error::Reason;
use crate::event_key::IdFrom;
use crate::time::Time;
use crate::verified::Verified;

/// Adds the parts that the headers sign, and returns the source of the id. If the body contains no id, the signed
/// message id is used.
#[inline]
pub(super) fn complete(mut envelope: Envelope, verified: &Verified<'_>) -> (Envelope, IdFrom) {
    if envelope.occurred_at.is_none() {
        envelope.occurred_at = verified.event_time().map(Time::from_unix);
    }
    if envelope.id.is_some() {
        return (envelope, IdFrom::Body);
    }
    envelope.id = verified.message_id().map(Into::into);
    (envelope, IdFrom::Header)
}

/// Checks that the secret is of the event's mode.
///
/// With a live secret, an event of no mode or of an unknown one is delivered to the handler, since it may be about a
/// patient; a test event is ignored. With a test secret, any event that is not a test event means that the receiver's
/// configuration is wrong. It may be about a patient, so it must not be answered with 2xx.
#[inline]
pub(super) fn check_mode(secret: Option<&Mode>, event: Option<&Mode>) -> Result<(), Reason> {
    match (secret, event) {
        (Some(Mode::Live), Some(Mode::Test)) => Err(Reason::WrongMode),
        (Some(Mode::Test), mode) if mode != Some(&Mode::Test) => Err(Reason::SecretModeMismatch),
        _ => Ok(()),
    }
}
