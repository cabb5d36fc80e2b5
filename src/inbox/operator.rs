//! The operator of an operation, and the events that it concerns.

use std::time::SystemTime;

use super::entry::to_millis;
use crate::dedupe::inbox::rules::Status;
use crate::dedupe::inbox::store::{self, AuditRow};
use crate::error::ConfigError;

/// The operator of an operation, and the reason for it. Both are written into the audit table with the operation, in
/// the same transaction.
///
/// ```
/// use medhook::inbox::Operator;
///
/// let operator = Operator::new("jdoe", "ticket 4711: amended reports failed")?;
/// assert!(Operator::new("jdoe", "").is_err());
/// # Ok::<(), medhook::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    actor: String,
    reason: String,
}

impl Operator {
    /// Creates an operator from the name of the account or person that acts, and the reason. Neither may contain health
    /// data: the audit table is not sealed, and is never purged.
    ///
    /// # Errors
    /// Returns an error if the actor is not 1 to 64 characters without spaces, or the reason not 1 to 256 characters,
    /// or if one of them contains a control character.
    pub fn new(actor: impl Into<String>, reason: impl Into<String>) -> Result<Self, ConfigError> {
        let (actor, reason) = (actor.into(), reason.into());
        let is_short = |text: &str, most| (1..=most).contains(&text.chars().count());
        if !is_short(&actor, 64) || actor.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(ConfigError::new("the actor of an operation must be 1 to 64 visible characters"));
        }
        if !is_short(&reason, 256) || reason.trim().is_empty() || reason.contains(char::is_control) {
            return Err(ConfigError::new(
                "the reason of an operation must be 1 to 256 characters on one line, without control characters",
            ));
        }
        Ok(Operator { actor, reason })
    }

    /// Returns the audit entry of an operation.
    pub(super) fn audit_row(&self, action: &str, subject: impl ToString) -> AuditRow {
        AuditRow {
            actor: self.actor.clone(),
            action: action.to_owned(),
            subject: subject.to_string(),
            reason: self.reason.clone(),
        }
    }
}

/// The events that an operation concerns. Every setting restricts them further.
///
/// ```
/// use medhook::inbox::{Filter, Status};
///
/// let late = Filter::new().endpoint("fasten").reason("handler_timeout");
/// let dead = late.status(Status::Dead);
/// ```
#[derive(Debug, Clone)]
pub struct Filter(pub(super) store::RowFilter);

impl Filter {
    /// The maximum of [`limit`](Filter::limit).
    pub const MOST: u32 = 1000;

    /// Creates a filter that selects all events, 100 at a time.
    #[must_use]
    pub fn new() -> Self {
        Filter(store::RowFilter { limit: 100, ..store::RowFilter::default() })
    }

    /// Selects the events of an endpoint.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.0.endpoint = Some(endpoint.into());
        self
    }

    /// Selects the events with a status.
    #[must_use]
    pub fn status(mut self, status: Status) -> Self {
        self.0.status = Some(status);
        self
    }

    /// Selects the events of a documented kind; `unknown` selects all others.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.0.kind = Some(kind.into());
        self
    }

    /// Selects the events whose last attempt did not succeed for this reason.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.0.reason = Some(reason.into());
        self
    }

    /// Selects the events that were stored at this time or later, by the store's clock.
    #[must_use]
    pub fn stored_since(mut self, time: SystemTime) -> Self {
        self.0.stored_since = Some(to_millis(time));
        self
    }

    /// Selects the events with a greater id, to continue a list after its last event. With
    /// [`newest_first`](Filter::newest_first), selects those with a smaller id.
    #[must_use]
    pub fn after(mut self, id: i64) -> Self {
        self.0.after = Some(id);
        self
    }

    /// Returns the events with the greatest ids first, instead of the oldest.
    #[must_use]
    pub fn newest_first(mut self) -> Self {
        self.0.newest_first = true;
        self
    }

    /// Sets how many events a list has at most: 1 to [`MOST`](Filter::MOST), 100 by default. A number outside is
    /// replaced by the nearest. Only [`Inbox::list`](crate::Inbox::list) is limited.
    #[must_use]
    pub fn limit(mut self, most: u32) -> Self {
        self.0.limit = most.clamp(1, Filter::MOST);
        self
    }
}

impl Default for Filter {
    fn default() -> Self {
        Filter::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_has_a_visible_name_and_a_reason_on_one_line() {
        assert!(Operator::new("é".repeat(64), "x".repeat(256)).is_ok());
        for (actor, reason, problem) in [
            ("", "why", "actor"),
            (&*"x".repeat(65), "why", "actor"),
            ("j doe", "why", "actor"),
            ("j\u{7}doe", "why", "actor"),
            ("jdoe", "", "reason"),
            ("jdoe", " ", "reason"),
            ("jdoe", &*"x".repeat(257), "reason"),
            ("jdoe", "two\nlines", "reason"),
            ("jdoe", "\u{1b}[2J", "reason"),
        ] {
            let error = Operator::new(actor, reason).unwrap_err().to_string();
            assert!(error.contains(problem), "{actor:?} {reason:?}: {error}");
        }
    }

    #[test]
    fn a_limit_is_brought_into_its_range() {
        let limit = |filter: Filter| filter.0.limit;
        assert_eq!([0, 1, 1000, 1001].map(|most| limit(Filter::new().limit(most))), [1, 1, 1000, 1000]);
        assert_eq!(limit(Filter::default()), 100);
    }
}
