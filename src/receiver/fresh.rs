//! Step 6, freshness: the event's age, where no attempt time is signed.

use crate::envelope::Envelope;
use crate::error::Reason;
use crate::freshness::Freshness;
use crate::time::Time;

/// The endpoint's freshness, and which events must have a time.
pub(super) struct FreshnessRule {
    pub(super) freshness: Freshness,
    /// Whether events of unknown kinds must have a time as well, as those of documented kinds must.
    pub(super) unknown_kinds_have_event_time: bool,
}

impl FreshnessRule {
    /// Checks the event's own time, if freshness depends on it. An event of an undocumented kind may lack it, such as
    /// one from a provider's test button, and is delivered to the handler.
    #[inline]
    pub(super) fn check_event(&self, envelope: &Envelope, now: impl FnOnce() -> i64) -> Result<(), Reason> {
        if !matches!(self.freshness, Freshness::EventTime { .. }) {
            return Ok(());
        }
        match envelope.occurred_at.as_ref().and_then(Time::unix) {
            Some(occurred_at) => self.freshness.judge(occurred_at, now()),
            None if self.unknown_kinds_have_event_time => Err(Reason::TimeMissing),
            None if envelope.kind.as_ref().is_some_and(|kind| kind.is_documented()) => Err(Reason::TimeMissing),
            None => Ok(()),
        }
    }
}
