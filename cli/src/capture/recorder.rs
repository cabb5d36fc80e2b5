//! Writes recordings, limits their number and size, and deletes them after an hour.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::folder::Folder;

/// The age at which a recording is deleted.
const RETENTION: Duration = Duration::from_secs(3600);

/// The maximum size of all recordings.
const MOST_BYTES: u64 = 256 * 1024 * 1024;

/// The recordings of a folder, including those that an earlier process left in it.
pub(super) struct Recorder {
    folder: Folder,
    /// Permits for recordings that may still be made.
    permits: Arc<Semaphore>,
    most: usize,
    most_bytes: u64,
    state: Mutex<State>,
}

struct State {
    kept: Vec<Kept>,
    bytes: u64,
    /// The number of recordings that this process has made.
    recorded: usize,
    /// Set when all recordings are deleted at the end.
    closed: bool,
}

struct Kept {
    number: u16,
    bytes: u64,
    written: SystemTime,
    /// Counts if the system clock is set back.
    seen: Instant,
}

/// The permit for one recording. Another delivery gets it if it is dropped unused.
pub(super) struct Permit(OwnedSemaphorePermit);

impl Recorder {
    /// Creates a recorder for at most this many deliveries. Deletes expired recordings of an earlier process.
    pub(super) fn new(folder: Folder, most: usize) -> io::Result<Self> {
        let seen = Instant::now();
        let found = folder.recordings()?.into_iter();
        let kept = found.map(|(number, written)| Kept { number, bytes: 0, written, seen }).collect();
        let state = Mutex::new(State { kept, bytes: 0, recorded: 0, closed: false });
        let recorder =
            Recorder { folder, permits: Arc::new(Semaphore::new(most)), most, most_bytes: MOST_BYTES, state };
        recorder.purge()?;
        Ok(recorder)
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Reserves a recording. Returns `None` if the maximum number is reached.
    pub(super) fn begin(&self) -> Option<Permit> {
        self.permits.clone().try_acquire_owned().ok().map(Permit)
    }

    /// Returns whether the maximum number of recordings has been made.
    pub(super) fn is_full(&self) -> bool {
        self.state().recorded >= self.most
    }

    /// Returns whether all recordings have been made, and deleted again.
    pub(super) fn is_finished(&self) -> bool {
        self.is_full() && self.state().kept.is_empty()
    }

    /// Writes a recording, and returns its number.
    pub(super) fn record(&self, permit: Permit, head: &[u8], body: &[u8]) -> io::Result<u16> {
        let mut state = self.state();
        let bytes = (head.len() as u64).saturating_add(body.len() as u64);
        if state.closed {
            return Err(io::Error::other("the recorder is closed"));
        }
        if state.bytes.saturating_add(bytes) > self.most_bytes {
            return Err(io::Error::other(format!("the recordings would be larger than {} bytes", self.most_bytes)));
        }
        let first = state.kept.iter().map(|kept| kept.number).max().unwrap_or(0).saturating_add(1);
        let number = self.folder.write(first, head, body)?;
        state.kept.push(Kept { number, bytes, written: SystemTime::now(), seen: Instant::now() });
        state.bytes = state.bytes.saturating_add(bytes);
        state.recorded = state.recorded.saturating_add(1);
        permit.0.forget();
        Ok(number)
    }

    /// Deletes expired recordings, and returns how many were deleted. One that cannot be deleted is tried again at the
    /// next call.
    pub(super) fn purge(&self) -> io::Result<usize> {
        let (wall, now) = (SystemTime::now(), Instant::now());
        // The time of a file may be earlier than the one in memory.
        let found: BTreeMap<_, _> = self.folder.recordings().unwrap_or_default().into_iter().collect();
        self.remove_if(&mut self.state(), |kept| {
            let written = found.get(&kept.number).map_or(kept.written, |written| kept.written.min(*written));
            let age = wall.duration_since(written).unwrap_or_default();
            age.max(now.saturating_duration_since(kept.seen)) >= RETENTION
        })
    }

    /// Deletes all recordings, and makes no more.
    pub(super) fn close(&self) -> io::Result<usize> {
        let mut state = self.state();
        state.closed = true;
        self.remove_if(&mut state, |_| true)
    }

    fn remove_if(&self, state: &mut State, expired: impl Fn(&Kept) -> bool) -> io::Result<usize> {
        let (mut removed, mut bytes, mut failed) = (0_usize, 0_u64, None);
        state.kept.retain(|kept| {
            if !expired(kept) {
                return true;
            }
            match self.folder.remove(kept.number) {
                Ok(()) => {
                    removed = removed.saturating_add(1);
                    bytes = bytes.saturating_add(kept.bytes);
                    false
                }
                Err(error) => {
                    failed = Some(error);
                    true
                }
            }
        });
        state.bytes = state.bytes.saturating_sub(bytes);
        failed.map_or(Ok(removed), Err)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deletes the recordings of a command that ends early.
impl Drop for Recorder {
    fn drop(&mut self) {
        // No caller is left to report an error to.
        let _ = self.close();
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn recorder(path: &Path, most: usize) -> Recorder {
        Recorder::new(Folder::open(path).unwrap(), most).unwrap()
    }

    fn record(recorder: &Recorder) -> io::Result<u16> {
        recorder.record(recorder.begin().unwrap(), b"head", b"body")
    }

    fn files(path: &Path) -> Vec<String> {
        let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    fn leave(path: &Path, name: &str, age: Duration) {
        fs::write(path.join(name), "left").unwrap();
        let file = fs::File::options().write(true).open(path.join(name)).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn recordings_are_deleted_after_an_hour() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("out");
        let recorder = recorder(&path, 10);
        record(&recorder).unwrap();
        tokio::time::advance(Duration::from_secs(1800)).await;
        record(&recorder).unwrap();
        assert_eq!(files(&path), ["0001.body", "0001.head", "0002.body", "0002.head"]);
        tokio::time::advance(Duration::from_secs(1799)).await;
        assert_eq!(recorder.purge().unwrap(), 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(recorder.purge().unwrap(), 1);
        assert_eq!(files(&path), ["0002.body", "0002.head"]);
        tokio::time::advance(Duration::from_secs(1800)).await;
        assert_eq!(recorder.purge().unwrap(), 1);
        assert_eq!(files(&path), [""; 0]);
    }

    #[tokio::test]
    async fn the_files_of_a_killed_process_are_deleted_by_the_next_one() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("out");
        drop(Folder::open(&path).unwrap());
        let (young, old) = (Duration::from_secs(60), Duration::from_secs(3601));
        for (name, age) in [("0003.head", young), ("0003.body", young), ("0004.body", old), ("0005.head", old)] {
            leave(&path, name, age);
        }
        let others = ["0001.txt", "001.head", "00001.head", "notes", "x001.body"];
        others.iter().for_each(|name| leave(&path, name, old));
        std::os::unix::fs::symlink("notes", path.join("0006.head")).unwrap();

        let recorder = recorder(&path, 10);
        let left = files(&path);
        assert!(left.contains(&"0003.head".to_owned()) && left.contains(&"0003.body".to_owned()), "{left:?}");
        assert!(!left.contains(&"0004.body".to_owned()) && !left.contains(&"0005.head".to_owned()), "{left:?}");
        assert_eq!(record(&recorder).unwrap(), 4);
        drop(recorder);
        let mut left = files(&path);
        left.retain(|name| !others.contains(&name.as_str()));
        assert_eq!(left, ["0006.head"], "not made by a recorder");
    }

    #[tokio::test]
    async fn the_number_and_the_size_of_recordings_are_limited() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("out");
        let mut recorder = recorder(&path, 3);
        recorder.most_bytes = 20;
        // A sender that disconnects uses up nothing.
        let permits: Vec<_> = std::iter::from_fn(|| recorder.begin()).collect();
        assert!(permits.len() == 3 && !recorder.is_full() && !recorder.is_finished());
        drop(permits);
        assert_eq!((record(&recorder).unwrap(), record(&recorder).unwrap()), (1, 2));
        let error = record(&recorder).unwrap_err().to_string();
        assert_eq!(error, "the recordings would be larger than 20 bytes");
        assert_eq!(files(&path).len(), 4);
        recorder.most_bytes = 1000;
        assert_eq!(record(&recorder).unwrap(), 3);
        assert!(recorder.is_full() && recorder.begin().is_none());
        assert!(!recorder.is_finished());
        assert_eq!(recorder.close().unwrap(), 3);
        assert!(recorder.is_finished());
        assert_eq!(files(&path), [""; 0]);
    }

    #[tokio::test]
    async fn nothing_is_recorded_after_the_end() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("out");
        let recorder = recorder(&path, 3);
        let permit = recorder.begin().unwrap();
        recorder.close().unwrap();
        assert!(recorder.record(permit, b"head", b"body").is_err());
        assert_eq!(files(&path), [""; 0]);
    }
}
