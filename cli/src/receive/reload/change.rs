//! Parts that are read from files, and the results of a change.

use std::path::PathBuf;

use super::watched::FileContent;

/// Something that is read from files, and replaced when their contents change.
pub(crate) trait Reload: Send {
    /// Returns the files. They are read together, in this order.
    fn files(&self) -> Vec<PathBuf>;

    /// Applies contents, in the order of the files. Called once for each change, and first with the contents soon after
    /// the start, and again with the same contents if it failed and another one succeeded since.
    ///
    /// # Errors
    /// Returns a line for the log that names the place in the config file, the problem, and what stays in use, but no
    /// content of a file.
    fn apply(&mut self, contents: &[FileContent]) -> Result<Reloaded, String>;
}

/// The result of contents that were applied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reloaded {
    /// The contents equal those in use.
    Unchanged,
    /// The contents replaced those in use, which the implementation has logged.
    Replaced,
}

/// The findings of a pass over the files.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PassResult {
    /// The number of parts that were replaced.
    pub(super) replaced: usize,
    /// The number of parts whose files cannot be used.
    pub(super) failing: usize,
}
