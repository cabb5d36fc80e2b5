//! A server in a process of its own: this test program, run again.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use medhook_tests::servers::signal;
use tempfile::TempDir;

pub const FRAMEWORK: &str = "MEDHOOK_TEST_FRAMEWORK";
pub const STORE: &str = "MEDHOOK_TEST_STORE";
pub const WITHIN: &str = "MEDHOOK_TEST_WITHIN";
pub const DELAY: &str = "MEDHOOK_TEST_DELAY";

/// The limit for a condition before the test fails. Far less than the duration of a handler.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Process {
    pub address: SocketAddr,
    child: Child,
    /// Its standard error, where the test harness writes nothing of its own.
    lines: Arc<Mutex<Vec<String>>>,
    folder: TempDir,
}

impl Process {
    pub fn start(framework: &str, within: Duration, delay: Duration) -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut child = Command::new(std::env::current_exe().expect("the path of this program"))
            .args(["--exact", "server", "--nocapture"])
            .env(FRAMEWORK, framework)
            .env(STORE, folder.path().join("events.db"))
            .env(WITHIN, within.as_millis().to_string())
            .env(DELAY, delay.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let first = stderr.by_ref().find_map(|line| line.strip_prefix("listening at ")?.parse().ok());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let read = lines.clone();
        std::thread::spawn(move || {
            stderr.for_each(|line| read.lock().unwrap_or_else(PoisonError::into_inner).push(line));
        });
        Process { address: first.expect("it listens"), child, lines, folder }
    }

    pub fn store(&self) -> PathBuf {
        self.folder.path().join("events.db")
    }

    pub fn signal(&self, name: &str) {
        signal(name, &[self.child.id()]);
    }

    /// Releases all handlers, those that have not begun included.
    pub fn release_handlers(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(b"go\n").expect("it still runs");
    }

    /// Waits until the process has written this line.
    pub async fn line(&self, line: &str) {
        until(line, async || self.lines().iter().any(|written| written == line)).await;
    }

    /// Waits until the process has exited by itself, and not by the signal.
    pub async fn ended(&mut self) {
        let began = Instant::now();
        let status = loop {
            match self.child.try_wait().expect("a child") {
                Some(status) => break status,
                None => assert!(began.elapsed() < PATIENCE, "still running after {PATIENCE:?}: {:?}", self.lines()),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert!(status.success(), "{status}: {:?}", self.lines());
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "after {PATIENCE:?} still waiting for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
