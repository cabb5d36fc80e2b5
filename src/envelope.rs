//! The envelope of an event.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::phi::Phi;
use crate::pointer_fault::PointerFaults;
use crate::time::Time;

/// The envelope of an event, read from a verified body: id, kind, times, mode and payload.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Envelope {
    /// The event's id, the same for all attempts.
    pub id: Option<Box<str>>,
    /// The id from an unsigned header, if an [option](crate::Custom::unsigned_id_header) reads one. An attacker can
    /// change it: see [`Delivery::unsigned_id`](crate::Delivery::unsigned_id).
    pub unsigned_id: Option<Box<str>>,
    /// The kind of the event.
    pub kind: Option<KindName>,
    /// The time of the attempt.
    pub sent_at: Option<Time>,
    /// The time of the event.
    pub occurred_at: Option<Time>,
    /// The mode: test or live.
    pub mode: Option<Mode>,
    /// The payload, a part of the body.
    pub data: Option<Bytes>,
    /// The reason why the body has no envelope.
    pub problem: Option<Problem>,
    /// The pointers of the configuration that found no usable value in the body.
    pub(crate) faults: PointerFaults,
}

impl Envelope {
    /// Creates the result for a body without an envelope.
    pub(crate) fn none(problem: Problem) -> Self {
        Envelope { problem: Some(problem), ..Envelope::default() }
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope").field("kind", &self.kind).field("problem", &self.problem).finish_non_exhaustive()
    }
}

/// The name of a kind. `Debug` shows it only if it is documented, because any other name is text from the sender.
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

    /// Returns the name of a kind, which is documented if it is one of `known`.
    pub(crate) fn among(known: &[&'static str], text: Cow<'_, str>) -> Self {
        match known.iter().find(|known| **known == text) {
            Some(known) => KindName::documented(known),
            None => KindName::unknown(text.into_owned()),
        }
    }

    /// Returns the name as sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the provider documents this kind.
    #[must_use]
    pub fn is_documented(&self) -> bool {
        self.documented
    }

    /// Returns the name for logs and metrics: `unknown` for an undocumented kind.
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

/// The mode of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// The event concerns real patients.
    Live,
    /// The event is a test.
    Test,
    /// An undocumented mode.
    Other(Phi<String>),
}

impl Mode {
    /// Returns the mode as sent. An undocumented value can be health data: do not log it.
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

/// The reason why a body or a payload could not be decoded: a rule and a position, never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(Box<str>);

impl Problem {
    pub(crate) fn new(text: impl Into<Box<str>>) -> Self {
        Problem(text.into())
    }

    /// Converts an error of the parser, whose own text may quote the input.
    pub(crate) fn json(error: &serde_json::Error) -> Self {
        let rule = match error.classify() {
            serde_json::error::Category::Data => "not of the documented shape",
            _ => "not JSON",
        };
        Problem(format!("{rule} (line {}, column {})", error.line(), error.column()).into())
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
    fn a_problem_contains_the_position_but_no_value() {
        for (json, expected) in [
            (r#""A. Patient""#, "not of the documented shape (line 1, column 12)"),
            ("{\n A. Patient", "not JSON (line 2, column 2)"),
        ] {
            let error = serde_json::from_str::<std::collections::BTreeMap<String, u8>>(json).unwrap_err();
            assert_eq!(Problem::json(&error).to_string(), expected);
        }
    }
}
