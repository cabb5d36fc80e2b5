//! The file that a config is read from, to notice that it has changed.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::receive::secrets::is_open_to_others;

/// The file that a config was read from, and a hash of its text.
#[derive(Debug, Clone)]
pub(in crate::receive) struct ConfigOrigin {
    path: PathBuf,
    file: String,
    hash: u64,
}

impl ConfigOrigin {
    /// Reads the text of a config file, up to one byte more than it may have.
    pub(in crate::receive) fn read(path: &Path) -> Result<(Self, Vec<u8>), Failure> {
        let (file, opened) = open(path)?;
        let mut text = Vec::new();
        opened.take(LONGEST + 1).read_to_end(&mut text).map_err(|error| unreadable(&file, error))?;
        Ok((ConfigOrigin { path: path.to_owned(), file, hash: hash(&text) }, text))
    }

    /// Returns the name of the file, for messages.
    pub(in crate::receive) fn file(&self) -> &str {
        &self.file
    }

    /// Returns whether users of the machine other than the owner and the group can access the file.
    pub(super) fn is_open_to_others(&self) -> bool {
        is_open_to_others(&self.path)
    }

    /// Returns whether the file has another text now, or cannot be read. Only a regular file can be read again.
    pub(in crate::receive) fn has_changed(&self) -> bool {
        match std::fs::metadata(&self.path) {
            Ok(file) if !file.is_file() => false,
            _ => ConfigOrigin::read(&self.path).map_or(true, |(now, _)| now.hash != self.hash),
        }
    }
}

fn hash(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Opens a config file. Returns its name, for messages.
pub(in crate::receive) fn open(path: &Path) -> Result<(String, File), Failure> {
    let shown = path.display().to_string();
    let file = File::open(path).map_err(|error| unreadable(&shown, error))?;
    Ok((shown, file))
}

/// The longest config file, in bytes.
pub(super) const LONGEST: u64 = 1024 * 1024;

pub(super) fn unreadable(file: &str, error: std::io::Error) -> Failure {
    let next = match error.kind() {
        std::io::ErrorKind::NotFound => "; pass --config FILE, or run the command in the folder of the file",
        _ => "",
    };
    Failure::because(format_args!("{file}: cannot be read"), format_args!("{error}{next}"))
}
