//! The database's file, before SQLite opens it.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
#[cfg(unix)]
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::fault::Fault;

/// The path as SQLite is to have it: whole, so that it is neither a URI nor one of SQLite's names for no file.
pub(super) fn whole(path: &Path) -> Result<PathBuf, Fault> {
    if path.as_os_str().is_empty() || path.as_os_str() == ":memory:" {
        return Err(Fault::new("is no file; what need not outlast the process belongs into a `MemoryStore`"));
    }
    std::path::absolute(path).map_err(|error| Fault::new(format!("no path of a file: {error}")))
}

/// Creates the file if it is not there, for its owner alone from its first moment: SQLite gives the files beside it the
/// same mode. One that is there is left as it is.
pub(super) fn create(path: &Path) -> Result<(), Fault> {
    // Whoever closes a file loses all locks its process has on it, SQLite's included: nobody in this process opens the
    // file with SQLite before it is closed here.
    let _alone = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => is_ours(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Fault::new("its folder does not exist")),
        Err(error) => Err(Fault::new(format!("cannot be created: {error}"))),
    }
}

static CREATING: Mutex<()> = Mutex::new(());

fn is_ours(path: &Path) -> Result<(), Fault> {
    let file = fs::metadata(path).map_err(|error| Fault::new(format!("cannot be opened: {error}")))?;
    if file.is_dir() {
        return Err(Fault::new("is a folder, not a file"));
    }
    if !file.is_file() {
        return Err(Fault::new("is not a file"));
    }
    #[cfg(all(unix, feature = "tracing"))]
    if file.mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others than its owner may open the store's file; chmod 600 ends that");
    }
    Ok(())
}

/// Which file a path leads to, so that a file put in its place is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(#[cfg(unix)] (u64, u64));

impl Identity {
    pub(super) fn of(path: &Path) -> Result<Self, Fault> {
        let file = fs::metadata(path).map_err(|error| Fault::new(format!("cannot be opened: {error}")))?;
        #[cfg(unix)]
        return Ok(Identity((file.dev(), file.ino())));
        #[cfg(not(unix))]
        {
            let _ = file;
            Ok(Identity())
        }
    }
}
