//! The envelope: what a verified body says about its event.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::phi::Phi;
use crate::time::Time;

/// The envelope of an event, read from a verified body: id, kind, times, mode and payload.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Envelope {
    /// The event's id, the same over all attempts.
    pub id: Option<Box<str>>,
    /// The kind of event.
    pub kind: Option<KindName>,
    /// When this attempt was made.
    pub sent_at: Option<Time>,
    /// When the event happened.
    pub occurred_at: Option<Time>,
    /// Test or live.
    pub mode: Option<Mode>,
    /// The payload: a part of the body.
    pub data: Option<Bytes>,
    /// Why the body is no envelope.
    pub problem: Option<Problem>,
}

impl Envelope {
    /// Creates the envelope of a body that has none.
    pub(crate) fn none(problem: Problem) -> Self {
        Envelope { problem: Some(problem), ..Envelope::default() }
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope").field("kind", &self.kind).field("problem", &self.problem).finish_non_exhaustive()
    }
}

/// The name of a kind of event. Debug output shows it only where it is a documented one: anything else is the sender's
/// own text.
#[derive(Clone, PartialEq, Eq)]
pub struct KindName {
    text: Cow<'static, str>,
    documented: bool,
}

impl KindName {
    pub(crate) fn documented(text: &'static str) -> Self {
        KindName { text: Cow::Borrowed(text), documented: true }
    }

    pub(crate) fn unknown(text: String) -> Self {
        KindName { text: Cow::Owned(text), documented: false }
    }

    /// As sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the provider's documentation has it.
    #[must_use]
    pub fn is_documented(&self) -> bool {
        self.documented
    }

    /// For logs and metrics: the name if it is a documented one, else `unknown`.
    #[must_use]
    pub fn label(&self) -> &str {
        if self.documented { &self.text } else { "unknown" }
    }
}

impl fmt::Debug for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KindName({})", self.label())
    }
}

/// Whether an event is about real patients.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Real ones.
    Live,
    /// Made-up ones.
    Test,
    /// A mode that is not documented.
    Other(Phi<String>),
}

impl Mode {
    /// The text sent for it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Mode::Live => "live",
            Mode::Test => "test",
            Mode::Other(text) => text.expose(),
        }
    }
}

impl From<&str> for Mode {
    fn from(text: &str) -> Self {
        match text {
            "live" => Mode::Live,
            "test" => Mode::Test,
            other => Mode::Other(other.into()),
        }
    }
}

/// Why a body or a payload could not be decoded: a place and a rule of ours, never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(Box<str>);

impl Problem {
    pub(crate) fn new(text: impl Into<Box<str>>) -> Self {
        Problem(text.into())
    }

    /// From an error of the parser, whose own text may quote the input.
    pub(crate) fn json(error: &serde_json::Error) -> Self {
        let what = match error.classify() {
            serde_json::error::Category::Data => "not of the documented shape",
            _ => "not JSON",
        };
        Problem(format!("{what} (line {}, column {})", error.line(), error.column()).into())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_where_and_never_what() {
        for (json, told) in [
            (r#""A. Patient""#, "not of the documented shape (line 1, column 12)"),
            ("{\n A. Patient", "not JSON (line 2, column 2)"),
        ] {
            let error = serde_json::from_str::<std::collections::BTreeMap<String, u8>>(json).unwrap_err();
            assert_eq!(Problem::json(&error).to_string(), told);
        }
    }
}
