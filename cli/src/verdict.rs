//! The outcome of a command.

/// The outcome of a command that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    AllIsWell,
    SomethingIsNot,
    /// Inconclusive; the output says why.
    CannotTell,
}
