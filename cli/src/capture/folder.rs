//! A folder that only its owner can read, and the files of recordings in it.
//!
//! All files are opened relative to the open folder, and never through a symbolic link, so that another user cannot
//! redirect them by renaming folders.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::failure::Failure;

/// An open folder that belongs to this user alone. No other recorder uses it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    #[cfg(unix)]
    opened: std::os::fd::OwnedFd,
}

/// The two files of a recording.
const ENDINGS: [&str; 2] = ["head", "body"];

/// The highest number of a recording.
const LAST: u16 = 9999;

impl Folder {
    /// Returns the path of a recording without its ending, for messages and commands.
    pub(super) fn path_of(&self, number: u16) -> PathBuf {
        self.path.join(format!("{number:04}"))
    }
}

#[cfg(unix)]
impl Folder {
    /// Opens a folder, or creates it.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, mkdir, open};

        let cannot = |error: io::Error| Failure::because(format_args!("--out: cannot use {}", path.display()), error);
        let wrong = |problem: &str| Failure::new(format!("--out: {} {problem}", path.display()));
        // Without a slash at the end, which would follow a symbolic link.
        let path: PathBuf = path.components().collect();
        match mkdir(&path, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(cannot(error.into())),
        }
        let opened = match open(&path, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Err(rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                return Err(wrong("is not a folder, or is a symbolic link; pass the path of a folder"));
            }
            opened => opened.map_err(|error| cannot(error.into()))?,
        };
        let stat = fstat(&opened).map_err(|error| cannot(error.into()))?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(wrong("belongs to another user; pass a new folder"));
        }
        if Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
            return Err(wrong("is open to other users; run chmod 700 on it, or pass a new folder"));
        }
        match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(wrong("is used by another medhook capture; pass another"));
            }
            locked => locked.map_err(|error| cannot(error.into()))?,
        }
        Ok(Folder { path, opened })
    }

    /// Returns the numbers of the recordings in the folder, and the times of their oldest files. Ignores all other
    /// files.
    pub(super) fn recordings(&self) -> io::Result<Vec<(u16, SystemTime)>> {
        use rustix::fs::{AtFlags, Dir, FileType, statat};

        let mut found = std::collections::BTreeMap::new();
        for entry in Dir::read_from(&self.opened)? {
            let name = entry?.file_name().to_owned();
            let Some(number) = name.to_str().ok().and_then(number_of) else { continue };
            let stat = match statat(&self.opened, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(rustix::io::Errno::NOENT) => continue,
                stat => stat?,
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                continue;
            }
            let written = u64::try_from(stat.st_mtime).ok().map(std::time::Duration::from_secs);
            let written = written.and_then(|written| SystemTime::UNIX_EPOCH.checked_add(written));
            let written = written.unwrap_or(SystemTime::UNIX_EPOCH);
            found
                .entry(number)
                .and_modify(|oldest: &mut SystemTime| *oldest = (*oldest).min(written))
                .or_insert(written);
        }
        Ok(found.into_iter().collect())
    }

    /// Writes a recording under the next free number from `first` on, and returns that. The head is written last, so
    /// that a recording with a head is complete.
    pub(super) fn write(&self, first: u16, head: &[u8], body: &[u8]) -> io::Result<u16> {
        for number in first..=LAST {
            let written = self.create(&name(number, "body"), body).and_then(|()| {
                self.create(&name(number, "head"), head).inspect_err(|_| drop(self.remove_file(&name(number, "body"))))
            });
            match written {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                written => return written.map(|()| number),
            }
        }
        Err(io::Error::other("all numbers up to 9999 are in use"))
    }

    fn create(&self, name: &str, content: &[u8]) -> io::Result<()> {
        use std::io::Write;

        use rustix::fs::{Mode, OFlags, openat};

        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.opened, name, flags, Mode::RUSR | Mode::WUSR)?;
        let written = std::fs::File::from(file).write_all(content);
        written.inspect_err(|_| drop(self.remove_file(name)))
    }

    /// Deletes a recording. Succeeds if it has been deleted already.
    pub(super) fn remove(&self, number: u16) -> io::Result<()> {
        let removed = ENDINGS.map(|ending| self.remove_file(&name(number, ending)));
        removed.into_iter().collect()
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.opened, name, rustix::fs::AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) => Ok(()),
            removed => Ok(removed?),
        }
    }
}

/// On other systems a folder cannot be made private in this way.
#[cfg(not(unix))]
impl Folder {
    pub(super) fn open(_: &Path) -> Result<Self, Failure> {
        Err(Failure::new("medhook capture needs a Unix system, whose folders and files have modes; use WSL"))
    }

    pub(super) fn recordings(&self) -> io::Result<Vec<(u16, SystemTime)>> {
        Ok(Vec::new())
    }

    pub(super) fn write(&self, _: u16, _: &[u8], _: &[u8]) -> io::Result<u16> {
        Err(ErrorKind::Unsupported.into())
    }

    pub(super) fn remove(&self, _: u16) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
}

fn name(number: u16, ending: &str) -> String {
    format!("{number:04}.{ending}")
}

fn number_of(name: &str) -> Option<u16> {
    let (number, ending) = name.split_once('.')?;
    let is_number = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && ENDINGS.contains(&ending) { number.parse().ok() } else { None }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn error(path: &Path) -> String {
        Folder::open(path).err().map(|failure| failure.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_folder_and_its_files_are_private() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("out");
        let folder = Folder::open(&path).unwrap();
        assert_eq!(folder.write(1, b"head", b"body").unwrap(), 1);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&path), 0o700);
        for (name, content) in [("0001.head", "head"), ("0001.body", "body")] {
            assert_eq!(mode(&path.join(name)), 0o600);
            assert_eq!(fs::read_to_string(path.join(name)).unwrap(), content);
        }
        assert!(error(&path).contains("is used by another medhook capture"), "{}", error(&path));
        drop(folder);
        assert_eq!(error(&path), "");
    }

    #[test]
    fn a_folder_that_others_can_open_is_rejected() {
        let parent = tempfile::tempdir().unwrap();
        for mode in [0o755, 0o701, 0o710, 0o770] {
            fs::set_permissions(parent.path(), Permissions::from_mode(mode)).unwrap();
            let error = error(parent.path());
            assert!(error.contains("is open to other users; run chmod 700 on it"), "{mode:o}: {error}");
        }
        fs::set_permissions(parent.path(), Permissions::from_mode(0o700)).unwrap();
        assert_eq!(error(parent.path()), "");
    }

    #[test]
    fn symbolic_links_are_never_followed() {
        let parent = tempfile::tempdir().unwrap();
        let (real, link, file) = (parent.path().join("real"), parent.path().join("link"), parent.path().join("file"));
        drop(Folder::open(&real).unwrap());
        symlink(&real, &link).unwrap();
        fs::write(&file, "kept").unwrap();
        for path in [&link, &link.join(""), &link.join("."), &file] {
            assert!(error(path).contains("is not a folder, or is a symbolic link"), "{path:?}: {}", error(path));
        }
        assert!(error(&parent.path().join("a/b")).starts_with("--out: cannot use "), "no parent");

        let folder = Folder::open(&real).unwrap();
        symlink(&file, real.join("0001.head")).unwrap();
        symlink(parent.path().join("new"), real.join("0002.body")).unwrap();
        assert_eq!(folder.write(1, b"head", b"body").unwrap(), 3, "the next number that is free");
        assert!(!real.join("0001.body").exists(), "an incomplete recording is removed");
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
        assert!(!parent.path().join("new").exists());
    }

    #[test]
    fn a_renamed_folder_keeps_its_recordings() {
        let parent = tempfile::tempdir().unwrap();
        let (path, moved) = (parent.path().join("out"), parent.path().join("moved"));
        let folder = Folder::open(&path).unwrap();
        fs::rename(&path, &moved).unwrap();
        fs::create_dir(&path).unwrap();
        folder.write(1, b"head", b"body").unwrap();
        assert!(moved.join("0001.head").exists() && !path.join("0001.head").exists());
        folder.remove(1).unwrap();
        folder.remove(1).unwrap();
        assert!(!moved.join("0001.head").exists() && !moved.join("0001.body").exists());
    }
}
