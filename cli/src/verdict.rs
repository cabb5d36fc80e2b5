//! The outcome of a command.

/// The outcome of a command that could do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    AllIsWell,
    SomethingIsNot,
    /// Neither is certain; what was printed says why.
    CannotTell,
}
