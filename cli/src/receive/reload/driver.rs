//! Polls the files, and applies changes.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::change::{PassResult, Reload, Reloaded};
use super::hangup::Hangup;
use super::watched::{WatchedFiles, WatchedRead};
use crate::receive::metrics::reload_failing;
use crate::receive::sockets::{ServiceState, notify};

/// The time between two polls of the files.
const POLL: Duration = Duration::from_secs(10);

/// The time between two reads of a change.
const CONFIRM: Duration = Duration::from_millis(500);

/// The most reads of a poll. A file that changes in each of them is read again in the next poll.
const MOST_READS: usize = 10;

/// Polls the files, and applies changes.
pub(super) struct Reloader {
    watched: Vec<Watched>,
}

struct Watched {
    reload: Box<dyn Reload>,
    files: WatchedFiles,
    /// The problem of the contents that were applied last.
    problem: Option<String>,
    /// The problem that was logged last, until contents can be applied again.
    logged: Option<String>,
}

impl Reloader {
    pub(super) fn new(reloads: Vec<Box<dyn Reload>>) -> Self {
        let watched = reloads.into_iter().map(|reload| {
            let files = WatchedFiles::new(reload.files());
            Watched { reload, files, problem: None, logged: None }
        });
        Reloader { watched: watched.collect() }
    }

    pub(super) async fn run(mut self, mut hangups: mpsc::Receiver<()>, hangup: Hangup) {
        let mut polls = interval(POLL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = polls.tick() => {
                    self.pass().await;
                }
                Some(()) = hangups.recv() => {
                    notify(ServiceState::Reloading);
                    // Logged again, because the operator waits for it.
                    self.watched.iter_mut().for_each(|watched| watched.logged = None);
                    let result = self.pass().await;
                    hangup.report(&result).await;
                    notify(ServiceState::Ready);
                }
            }
        }
    }

    /// Reads all files, and applies the changes that are confirmed.
    async fn pass(&mut self) -> PassResult {
        let mut pending: Vec<usize> = (0..self.watched.len()).collect();
        let mut changed = Vec::new();
        for read in 0..MOST_READS {
            if read > 0 {
                sleep(CONFIRM).await;
            }
            let mut unconfirmed = Vec::new();
            for index in pending {
                match self.read(index).await {
                    Some(WatchedRead::Unconfirmed) => unconfirmed.push(index),
                    Some(WatchedRead::Changed) => changed.push(index),
                    Some(WatchedRead::Unchanged) | None => {}
                }
            }
            pending = unconfirmed;
            if pending.is_empty() {
                break;
            }
        }
        self.apply(changed)
    }

    /// Reads the files of one, outside of the threads that answer requests.
    async fn read(&mut self, index: usize) -> Option<WatchedRead> {
        let watched = self.watched.get_mut(index)?;
        let mut files = std::mem::replace(&mut watched.files, WatchedFiles::new(Vec::new()));
        let (files, read) = tokio::task::spawn_blocking(move || {
            let read = files.read();
            (files, read)
        })
        .await
        .ok()?;
        self.watched.get_mut(index)?.files = files;
        Some(read)
    }

    /// Applies those whose files have changed. One that failed is applied again after another one succeeded, since its
    /// secret may have been in use there.
    fn apply(&mut self, mut changed: Vec<usize>) -> PassResult {
        let mut result = PassResult::default();
        while !changed.is_empty() {
            let mut is_replaced = false;
            for index in std::mem::take(&mut changed) {
                let Some(watched) = self.watched.get_mut(index) else { continue };
                watched.problem = None;
                match watched.reload.apply(watched.files.known()) {
                    Ok(Reloaded::Unchanged) => {}
                    Ok(Reloaded::Replaced) => {
                        is_replaced = true;
                        result.replaced = result.replaced.saturating_add(1);
                    }
                    Err(problem) => watched.problem = Some(problem),
                }
            }
            if is_replaced {
                let failing = self.watched.iter().enumerate().filter(|(_, watched)| watched.problem.is_some());
                changed = failing.map(|(index, _)| index).collect();
            }
        }
        for watched in &mut self.watched {
            if let Some(problem) = &watched.problem {
                result.failing = result.failing.saturating_add(1);
                if watched.logged.as_ref() != Some(problem) {
                    tracing::warn!(target: "medhook::secrets", "{problem}");
                }
            }
            watched.logged.clone_from(&watched.problem);
        }
        reload_failing(result.failing);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex};

    use tokio::time::Instant;

    use super::super::watched::FileContent;
    use super::*;
    use crate::receive::printer::Printer;

    type Calls = Arc<Mutex<Vec<(Instant, String)>>>;

    /// Accepts the contents of one file that `allowed` returns true for, and records what it was called with.
    struct Recording {
        path: PathBuf,
        allowed: fn(&str, &[String]) -> bool,
        calls: Calls,
        in_use: Arc<Mutex<Vec<String>>>,
        index: usize,
    }

    impl Reload for Recording {
        fn files(&self) -> Vec<PathBuf> {
            vec![self.path.clone()]
        }

        fn apply(&mut self, contents: &[FileContent]) -> Result<Reloaded, String> {
            let FileContent::Bytes(bytes) = &contents[0] else { return Err("missing".to_owned()) };
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            self.calls.lock().unwrap().push((Instant::now(), text.clone()));
            let mut in_use = self.in_use.lock().unwrap();
            if !(self.allowed)(&text, &in_use) {
                return Err(format!("{text} cannot be used"));
            }
            let is_same = in_use[self.index] == text;
            in_use[self.index] = text;
            Ok(if is_same { Reloaded::Unchanged } else { Reloaded::Replaced })
        }
    }

    /// Files in a folder, watched by recorders that share what is in use.
    struct Stage {
        folder: tempfile::TempDir,
        calls: Vec<Calls>,
        in_use: Arc<Mutex<Vec<String>>>,
        reloader: Reloader,
    }

    impl Stage {
        fn new(contents: &[&str], allowed: fn(&str, &[String]) -> bool) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let in_use = Arc::new(Mutex::new(contents.iter().map(ToString::to_string).collect::<Vec<_>>()));
            let calls: Vec<Calls> = contents.iter().map(|_| Arc::default()).collect();
            let reloads = contents.iter().enumerate().map(|(index, content)| {
                let path = folder.path().join(index.to_string());
                std::fs::write(&path, content).unwrap();
                let (calls, in_use) = (calls[index].clone(), in_use.clone());
                Box::new(Recording { path, allowed, calls, in_use, index }) as Box<dyn Reload>
            });
            let reloader = Reloader::new(reloads.collect());
            Stage { folder, calls, in_use, reloader }
        }

        fn write(&self, index: usize, content: &str) {
            std::fs::write(self.folder.path().join(index.to_string()), content).unwrap();
        }

        fn in_use(&self) -> Vec<String> {
            self.in_use.lock().unwrap().clone()
        }
    }

    fn printer(path: &Path) -> Printer {
        Printer::to("test output", std::fs::File::create(path).unwrap()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_applied_once_within_eleven_seconds_and_at_once_after_a_hangup() {
        let stage = Stage::new(&["old"], |text, _| !text.is_empty());
        let log = printer(&stage.folder.path().join("log"));
        let (hangup, hangups) = mpsc::channel(1);
        let calls = stage.calls[0].clone();
        let count = || calls.lock().unwrap().len();
        let running = tokio::spawn(stage.reloader.run(hangups, Hangup::new(log, None, Vec::new())));
        sleep(Duration::from_secs(5)).await;
        assert_eq!(count(), 1, "the contents of the start");
        let write = |content: &str| std::fs::write(stage.folder.path().join("0"), content).unwrap();
        for content in ["new", ""] {
            let (before, since) = (count(), Instant::now());
            write(content);
            sleep(Duration::from_secs(60)).await;
            let calls = calls.lock().unwrap();
            let (at, text) = calls.last().unwrap();
            assert_eq!((calls.len(), text.as_str()), (before + 1, content));
            assert!(*at - since <= Duration::from_secs(11), "{:?}", *at - since);
        }
        write("newer");
        hangup.send(()).await.unwrap();
        sleep(CONFIRM + Duration::from_millis(1)).await;
        assert_eq!((count(), stage.in_use.lock().unwrap()[0].as_str()), (4, "newer"));
        running.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_problem_is_logged_once_for_each_change() {
        let mut stage = Stage::new(&["old"], |text, _| !text.starts_with("bad"));
        stage.reloader.pass().await;
        let logged = |stage: &Stage| stage.reloader.watched[0].logged.clone();
        let result = |replaced, failing| PassResult { replaced, failing };
        stage.write(0, "bad");
        assert_eq!(stage.reloader.pass().await, result(0, 1));
        assert_eq!((logged(&stage).as_deref(), stage.in_use()[0].as_str()), (Some("bad cannot be used"), "old"));
        assert_eq!(stage.reloader.pass().await, result(0, 1));
        assert_eq!(stage.calls[0].lock().unwrap().len(), 2, "not applied again");
        stage.write(0, "old");
        assert_eq!((stage.reloader.pass().await, logged(&stage)), (result(0, 0), None));
        stage.write(0, "new");
        assert_eq!(stage.reloader.pass().await, result(1, 0));
        assert_eq!(stage.reloader.pass().await, result(0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_can_move_from_one_endpoint_to_another_in_one_pass() {
        let mut stage = Stage::new(&["one", "two"], |text, in_use| !in_use[..].iter().any(|other| other == text));
        // Each content is already in use, by itself: it fails until it changes.
        stage.reloader.pass().await;
        stage.write(0, "two");
        stage.write(1, "three");
        assert_eq!(stage.reloader.pass().await, PassResult { replaced: 2, failing: 0 });
        assert_eq!(stage.in_use(), ["two", "three"]);
    }
}
