//! Files whose contents are watched together.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The content of a file at one read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum FileContent {
    /// The file does not exist, or it is a symlink to one that does not.
    Missing,
    /// The file cannot be read. The problem does not contain its content.
    Unreadable(String),
    Bytes(Zeroizing<Vec<u8>>),
}

impl FileContent {
    /// Reads a file, following symlinks. Only a regular file can be read again.
    pub(crate) fn read(path: &Path) -> Self {
        let cannot = |error: std::io::Error| FileContent::Unreadable(format!("cannot be read: {error}"));
        match std::fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return FileContent::Missing,
            Err(error) => return cannot(error),
            Ok(file) if file.is_dir() => {
                return FileContent::Unreadable("must be a file, but is a directory".to_owned());
            }
            Ok(file) if !file.is_file() => {
                return FileContent::Unreadable("is not a regular file, so a change of it needs a restart".to_owned());
            }
            Ok(_) => {}
        }
        let file = match open(path) {
            Ok(file) => file,
            // Removed since.
            Err(error) if error.kind() == ErrorKind::NotFound => return FileContent::Missing,
            Err(error) => return cannot(error),
        };
        // Another file may have taken its place since.
        if !file.metadata().is_ok_and(|file| file.is_file()) {
            return FileContent::Unreadable("was replaced while it was read".to_owned());
        }
        let mut bytes = Zeroizing::new(Vec::new());
        match file.take(LONGEST + 1).read_to_end(&mut bytes) {
            Err(error) => cannot(error),
            Ok(_) if bytes.len() as u64 > LONGEST => FileContent::Unreadable(format!("is longer than {LONGEST} bytes")),
            Ok(_) => FileContent::Bytes(bytes),
        }
    }
}

/// Opens a file. A pipe must not block, since nothing could be reloaded any more.
fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    if let Ok(flags) = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()) {
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags);
    }
    options.open(path)
}

/// Longer than every secret, and than usual chains of certificates.
const LONGEST: u64 = 1024 * 1024;

/// Files whose contents are watched together.
///
/// Contents are compared, not times of modification: a symlink may have been swapped, or a file replaced by one that is
/// older. A change counts once two reads in a row had the same contents, because a file may be read while it is
/// written, or between two files that are swapped together.
pub(super) struct WatchedFiles {
    paths: Vec<PathBuf>,
    known: Option<Vec<FileContent>>,
    unconfirmed: Option<Vec<FileContent>>,
}

/// The result of a read.
pub(super) enum WatchedRead {
    /// The contents are the known ones.
    Unchanged,
    /// The contents differ, and must be read once more.
    Unconfirmed,
    /// The contents differ, and were the same in the read before. They are the known ones now.
    Changed,
}

impl WatchedFiles {
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        WatchedFiles { paths, known: None, unconfirmed: None }
    }

    /// Reads the files once. The first contents of all count as changed, once they are confirmed.
    pub(super) fn read(&mut self) -> WatchedRead {
        let contents = Some(self.paths.iter().map(|path| FileContent::read(path)).collect());
        let before = self.unconfirmed.take();
        if contents == self.known {
            WatchedRead::Unchanged
        } else if contents == before {
            self.known = contents;
            WatchedRead::Changed
        } else {
            self.unconfirmed = contents;
            WatchedRead::Unconfirmed
        }
    }

    /// Returns the contents that were confirmed last.
    pub(super) fn known(&self) -> &[FileContent] {
        self.known.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;

    /// Returns the contents if they have changed, as `none` if a file is missing, after two reads.
    fn changed(files: &mut WatchedFiles) -> Option<Vec<String>> {
        let text = |content: &FileContent| match content {
            FileContent::Missing => "none".to_owned(),
            FileContent::Unreadable(problem) => problem.clone(),
            FileContent::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        };
        match (files.read(), files.read()) {
            (WatchedRead::Unchanged, WatchedRead::Unchanged) => None,
            (WatchedRead::Unconfirmed, WatchedRead::Changed) => Some(files.known().iter().map(text).collect()),
            _ => panic!("a change needs exactly two reads"),
        }
    }

    #[cfg(unix)]
    #[test]
    fn opening_a_pipe_does_not_block() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(!open(&pipe).unwrap().metadata().unwrap().is_file());
    }

    #[test]
    fn a_file_that_is_being_written_is_read_until_two_reads_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, "old").unwrap();
        let mut files = WatchedFiles::new(vec![path.clone()]);
        assert_eq!(changed(&mut files).unwrap(), ["old"]);
        assert_eq!(changed(&mut files), None);
        for part in ["", "n", "ne"] {
            fs::write(&path, part).unwrap();
            assert!(matches!(files.read(), WatchedRead::Unconfirmed), "{part:?}");
        }
        fs::write(&path, "new").unwrap();
        assert_eq!(changed(&mut files).unwrap(), ["new"]);
        // Back before it was confirmed.
        fs::write(&path, "other").unwrap();
        assert!(matches!(files.read(), WatchedRead::Unconfirmed));
        fs::write(&path, "new").unwrap();
        assert_eq!(changed(&mut files), None);
        fs::write(&path, "other").unwrap();
        assert_eq!(changed(&mut files).unwrap(), ["other"]);
    }

    #[test]
    fn contents_are_compared_and_not_times() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let write = |text: &str, time| {
            fs::write(&path, text).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        };
        write("one", time);
        let mut files = WatchedFiles::new(vec![path.clone()]);
        assert_eq!(changed(&mut files).unwrap(), ["one"]);
        write("two", time);
        assert_eq!(changed(&mut files).unwrap(), ["two"], "of the same time and length");
        write("two", time + Duration::from_secs(1));
        assert_eq!(changed(&mut files), None);
    }

    #[test]
    fn missing_unreadable_and_long_files_are_distinguished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let mut files = WatchedFiles::new(vec![path.clone(), folder.path().join("other")]);
        assert_eq!(changed(&mut files).unwrap(), ["none", "none"]);
        fs::write(&path, "").unwrap();
        assert_eq!(changed(&mut files).unwrap(), ["", "none"]);
        fs::write(&path, vec![b'x'; 1024 * 1024 + 1]).unwrap();
        assert_eq!(changed(&mut files).unwrap(), ["is longer than 1048576 bytes", "none"]);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(changed(&mut files).unwrap(), ["must be a file, but is a directory", "none"]);
        fs::remove_dir(&path).unwrap();
        assert_eq!(changed(&mut files).unwrap(), ["none", "none"]);
    }

    #[cfg(unix)]
    #[test]
    fn files_behind_a_symlink_that_is_swapped_change_together() {
        use std::os::unix::fs::symlink;

        // Kubernetes mounts a secret like this: secret -> ..data/secret, ..data -> ..2026_01_03.
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (version, one, two) in [("..1", "one", "two"), ("..2", "ONE", "TWO")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("one"), one).unwrap();
            fs::write(at(version).join("two"), two).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        for name in ["one", "two"] {
            symlink(format!("..data/{name}"), at(name)).unwrap();
        }
        let mut files = WatchedFiles::new(vec![at("one"), at("two")]);
        assert_eq!(changed(&mut files).unwrap(), ["one", "two"]);
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!(changed(&mut files).unwrap(), ["ONE", "TWO"]);
        fs::remove_dir_all(at("..2")).unwrap();
        assert_eq!(changed(&mut files).unwrap(), ["none", "none"]);
    }
}
