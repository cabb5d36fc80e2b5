//! Answers to deliveries, and calls of the handler.

use std::fmt;
use std::time::Duration;

use medhook::registry::{self, Decoding};
use medhook::{Delivery, Outcome, Reason};

/// The answer to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The outcome, where the receiver runs in this process: a sender learns no more than the status.
    pub outcome: Option<Outcome>,
    /// The reason, where the receiver runs in this process.
    pub reason: Option<Reason>,
}

impl Answer {
    /// Returns an answer of which only the status is known.
    #[must_use]
    pub const fn of(status: u16) -> Self {
        Answer { status, outcome: None, reason: None }
    }

    /// Returns whether the status is 2xx.
    #[must_use]
    pub const fn is_2xx(&self) -> bool {
        matches!(self.status, 200..=299)
    }
}

/// Writes the status, and the reason or the outcome where they are known.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.reason, self.outcome) {
            (Some(reason), _) => write!(f, "{} {reason}", self.status),
            (None, Some(outcome)) => write!(f, "{} {outcome}", self.status),
            (None, None) => write!(f, "{}", self.status),
        }
    }
}

/// The result of sending a delivery.
pub type Sent = Result<Answer, Lost>;

/// The reason for a missing answer.
#[derive(Debug, Clone)]
pub enum Lost {
    /// The connection could not be opened.
    NoConnection(String),
    /// The connection ended without an answer.
    NoAnswer(String),
    /// The time limit passed.
    TimedOut(Duration),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::NoConnection(error) => write!(f, "no connection: {error}"),
            Lost::NoAnswer(error) => write!(f, "no answer: {error}"),
            Lost::TimedOut(limit) => write!(f, "no answer within {} s", limit.as_secs_f64()),
        }
    }
}

/// A call of the handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The kind of the event, as sent.
    pub kind: Option<String>,
    /// The result of decoding the event: `kind`, `unknown` or `undecodable`, as in [`Expected`](crate::Expected).
    pub decodes: &'static str,
    /// The paths of the fields that were left out because they are not as documented.
    pub without: Vec<String>,
}

impl Call {
    /// Returns the call of a handler with this delivery.
    #[must_use]
    pub fn of(delivery: &Delivery) -> Self {
        let event = registry::provider(delivery.provider()).and_then(|facts| facts.decode(delivery).ok());
        let decodes = match event.as_ref().map(|event| event.decoding) {
            Some(Decoding::Documented) => "kind",
            Some(Decoding::Undecodable) => "undecodable",
            _ => "unknown",
        };
        let without = event.iter().flat_map(|event| &event.drifted).map(ToString::to_string).collect();
        Call { kind: delivery.kind().map(str::to_owned), decodes, without }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decodes = match self.decodes {
            "kind" => "its type",
            other => other,
        };
        write!(f, "{} as {decodes}", self.kind.as_deref().unwrap_or("no kind"))?;
        if self.without.is_empty() { Ok(()) } else { write!(f, " without {}", self.without.join(", ")) }
    }
}
