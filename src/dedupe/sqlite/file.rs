//! The database's file, before SQLite opens it.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
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
        Ok(Self::from(&file))
    }

    fn from(file: &Metadata) -> Self {
        #[cfg(unix)]
        return Identity((file.dev(), file.ino()));
        #[cfg(not(unix))]
        {
            let _ = file;
            Identity()
        }
    }
}

/// A file that SQLite keeps beside the database while it is open: the write-ahead log (`-wal`) or its index (`-shm`).
#[derive(Debug, Clone)]
pub(super) struct Companion {
    path: PathBuf,
    opened: Identity,
}

/// The state of the path of an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The path leads to the open file.
    Intact,
    /// There is no file at the path, or an empty one, which no connection has written to.
    Removed,
    /// Another file is at the path, and a connection may have written to it.
    Replaced,
}

impl Companion {
    /// Returns the file whose name is that of the database with this ending, or `None` if it does not exist.
    pub(super) fn of(database: &Path, ending: &str) -> Result<Option<Self>, Fault> {
        let path = beside(database, ending);
        match identify(&path) {
            Ok((opened, _)) => Ok(Some(Companion { opened, path })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&path, &error)),
        }
    }

    pub(super) fn fate(&self) -> Result<Fate, Fault> {
        match identify(&self.path) {
            Ok((identity, _)) if identity == self.opened => Ok(Fate::Intact),
            Ok((_, 0)) => Ok(Fate::Removed),
            Ok(_) => Ok(Fate::Replaced),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Fate::Removed),
            Err(error) => Err(unreadable(&self.path, &error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Returns the identity and the length of a file.
///
/// On Linux without its times. Since Linux 6.13, a file whose times were read gets new ones at its next write, and
/// syncing that write takes 38 µs more: a claim of one caller would be slower by a fifth.
fn identify(path: &Path) -> io::Result<(Identity, u64)> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
        use rustix::io::Errno;

        match statx(CWD, path, AtFlags::empty(), StatxFlags::TYPE | StatxFlags::INO | StatxFlags::SIZE) {
            Ok(file) => {
                let device = makedev(file.stx_dev_major, file.stx_dev_minor);
                return Ok((Identity((device, file.stx_ino)), file.stx_size));
            }
            Err(Errno::NOENT) => return Err(ErrorKind::NotFound.into()),
            // A sandbox may not permit the call.
            Err(_) => {}
        }
    }
    let file = fs::metadata(path)?;
    Ok((Identity::from(&file), file.len()))
}

/// Returns the path of the database with an ending added to its name.
pub(super) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    Fault::new(format!("{} cannot be checked: {error}", path.display()))
}

pub(super) const WAL: &str = "-wal";
pub(super) const SHM: &str = "-shm";

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_beside_the_database_is_none_and_an_unreadable_one_an_error() {
        let folder = tempfile::TempDir::new().unwrap();
        let database = folder.path().join("medhook.db");
        assert!(Companion::of(&database, WAL).unwrap().is_none());
        let path = beside(&database, WAL);
        fs::write(&path, "log").unwrap();
        let log = Companion::of(&database, WAL).unwrap().unwrap();
        assert_eq!(log.fate().unwrap(), Fate::Intact);
        fs::remove_file(&path).unwrap();
        assert_eq!(log.fate().unwrap(), Fate::Removed);
        // A link to itself.
        std::os::unix::fs::symlink(&path, &path).unwrap();
        assert!(log.fate().is_err());
        assert!(Companion::of(&database, WAL).is_err());
    }
}
