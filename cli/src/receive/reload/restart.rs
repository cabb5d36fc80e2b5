//! Files that are read at the start only.

use std::path::PathBuf;

use super::change::{Reload, Reloaded};
use super::watched::FileContent;

/// Warns when a file has changed that is read at the start only.
pub(in crate::receive) struct NeedsRestart {
    /// The place of the key in the config file.
    place: String,
    file: PathBuf,
    at_start: Option<FileContent>,
}

impl NeedsRestart {
    pub(in crate::receive) fn new(place: String, file: PathBuf) -> Self {
        NeedsRestart { place, file, at_start: None }
    }
}

impl Reload for NeedsRestart {
    fn files(&self) -> Vec<PathBuf> {
        vec![self.file.clone()]
    }

    fn apply(&mut self, contents: &[FileContent]) -> Result<Reloaded, String> {
        let content = contents.first().cloned();
        if self.at_start.is_none() {
            self.at_start = content;
        } else if self.at_start != content {
            return Err(format!(
                "{}: the file has changed since the start; restart the receiver to use it",
                self.place
            ));
        }
        Ok(Reloaded::Unchanged)
    }
}
