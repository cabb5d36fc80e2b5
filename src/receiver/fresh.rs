//! Step 6, freshness: checks the event's age if no attempt time is signed.

use crate::envelope::Envelope;
use crate::error::Reason;
use crate::freshness::Freshness;
use crate::time::Time;

/// The freshness of an endpoint, and which events must have a time.
pub(super) struct FreshnessRule {
    pub(super) freshness: Freshness,
    /// Whether events of unknown kinds must have a time, too. Those of documented kinds must always have one.
    pub(super) unknown_kinds_have_event_time: bool,
}

/// Whether the age of a delivery is known. Without it, a replay looks like the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    Checked,
    Unknown,
}

impl FreshnessRule {
    /// Checks the event's own time if freshness depends on it. An event of an undocumented kind may lack it (one sent
    /// from a provider's dashboard as a test, for example) and is then accepted.
    #[inline]
    pub(super) fn check_event(&self, envelope: &Envelope, now: impl FnOnce() -> i64) -> Result<Age, Reason> {
        match self.freshness {
            // Checked with the request head.
            Freshness::AttemptTime { .. } => return Ok(Age::Checked),
            Freshness::Unchecked => return Ok(Age::Unknown),
            Freshness::EventTime { .. } => {}
        }
        match envelope.occurred_at.as_ref().and_then(Time::unix) {
            Some(occurred_at) => self.freshness.check(occurred_at, now()).map(|()| Age::Checked),
            None if self.unknown_kinds_have_event_time => Err(Reason::TimeMissing),
            None if envelope.kind.as_ref().is_some_and(|kind| kind.is_documented()) => Err(Reason::TimeMissing),
            None => Ok(Age::Unknown),
        }
    }
}
