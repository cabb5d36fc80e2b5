//! A cause of a failed verification.

/// A cause of a failed verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    /// The stable name, for scripts.
    pub(crate) code: &'static str,
    /// One line for the operator.
    pub(crate) text: String,
    /// Whether the cause, alone or with all other causes that fit, explains the delivery completely.
    pub(crate) fits: bool,
}

impl Cause {
    pub(super) fn fitting(code: &'static str, text: impl Into<String>) -> Self {
        Cause { code, text: text.into(), fits: true }
    }

    pub(super) fn possible(code: &'static str, text: impl Into<String>) -> Self {
        Cause { code, text: text.into(), fits: false }
    }
}

/// Adds a cause, unless it is there already.
pub(super) fn add(causes: &mut Vec<Cause>, cause: Cause) {
    if !causes.contains(&cause) {
        causes.push(cause);
    }
}
