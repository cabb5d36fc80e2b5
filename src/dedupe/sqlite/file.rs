//! The database's file, before SQLite opens it.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
#[cfg(unix)]
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::fault::Fault;

/// Returns the absolute path, which SQLite takes neither for a URI nor for one of its special names.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Fault> {
    if path.as_os_str().is_empty() || path.as_os_str() == ":memory:" {
        return Err(Fault::new("is not a file; use `MemoryStore` for a store in memory"));
    }
    std::path::absolute(path).map_err(|error| Fault::new(format!("invalid path: {error}")))
}

/// Creates the file with mode 0600 if it does not exist. SQLite gives the files beside it the same mode. An existing
/// file is not changed.
pub(super) fn create(path: &Path) -> Result<(), Fault> {
    // Closing a file releases all locks that the process has on it, including SQLite's. The mutex ensures that no other
    // store of this process has the file open while it is closed here.
    let _alone = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => check_existing(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Fault::new("its directory does not exist")),
        Err(error) => Err(Fault::new(format!("cannot be created: {error}"))),
    }
}

static CREATING: Mutex<()> = Mutex::new(());

fn check_existing(path: &Path) -> Result<(), Fault> {
    let file = fs::metadata(path).map_err(|error| Fault::new(format!("cannot be opened: {error}")))?;
    if file.is_dir() {
        return Err(Fault::new("is a directory, not a file"));
    }
    if !file.is_file() {
        return Err(Fault::new("is not a file"));
    }
    #[cfg(all(unix, feature = "tracing"))]
    if file.mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "other users can access the store's file; restrict it with chmod 600");
    }
    Ok(())
}

/// The identity of the file at a path, by which a replaced file is noticed.
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
