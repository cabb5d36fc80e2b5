//! The outcome of a command.

/// The outcome of a command that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Exit code 0.
    Success,
    /// Exit code 1; the output names the problem.
    Problem,
    /// Exit code 2; the output says why.
    Inconclusive,
}
