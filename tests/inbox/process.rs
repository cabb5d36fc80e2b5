//! A receiver, a worker or both in a process of its own: this test program, run again.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use medhook_tests::servers::signal;
use serde::{Deserialize, Serialize};

use crate::world::Database;

pub const SETUP: &str = "MEDHOOK_INBOX_SETUP";

/// The limit for a condition before a check fails.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// The role of a process and its options. Times are milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Setup {
    pub database: Database,
    pub folder: PathBuf,
    pub receives: bool,
    pub works: bool,
    /// Whether the receiver has an inbox. Without one, its handler runs in the request.
    pub inbox: bool,
    /// The keys of the inbox; in clear without one.
    pub keys: Vec<String>,
    pub lease: u64,
    pub first: u64,
    pub longest: u64,
    pub attempts: u32,
    pub workers: usize,
    pub retention: Option<u64>,
    pub retain_done: u64,
    /// The duration of handlers in this process, instead of the event's own.
    pub takes: Option<u64>,
    /// Whether the handler of an event that another process has started waits until that one has ended, or for 5 s.
    pub ends_second: bool,
    /// Whether the worker has a tower service instead of a closure.
    pub service: bool,
    /// Whether the handler writes an effect and finishes its event in one transaction.
    pub effects: bool,
}

impl Setup {
    pub fn receiver(mut self) -> Self {
        self.receives = true;
        self
    }

    pub fn worker(mut self) -> Self {
        self.works = true;
        self
    }
}

/// Killed when dropped.
pub struct Process {
    pub address: SocketAddr,
    child: Child,
    log: PathBuf,
}

impl Process {
    pub fn start(setup: &Setup, log: PathBuf) -> Self {
        let file = File::create(&log).expect("a log");
        let mut child = Command::new(std::env::current_exe().expect("the path of this program"))
            .args(["--exact", "child_process", "--ignored", "--nocapture"])
            .env(SETUP, serde_json::to_string(setup).expect("JSON"))
            // Ends when this process does.
            .stdin(Stdio::piped())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .spawn()
            .expect("it runs");
        let began = Instant::now();
        loop {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let line = text.split_inclusive('\n').find(|line| line.contains("listening at ") && line.ends_with('\n'));
            if let Some(address) = line.and_then(|line| line.split("listening at ").nth(1)?.trim().parse().ok()) {
                return Process { address, child, log };
            }
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "{ended:?}: {text}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child");
        self.child.wait().expect("a child");
    }

    /// Sends SIGTERM and waits until the process has ended.
    pub fn stop(&mut self) {
        signal("TERM", &[self.id()]);
        let began = Instant::now();
        while self.is_running() {
            assert!(began.elapsed() < PATIENCE, "still running: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends SIGSTOP.
    pub fn pause(&self) {
        signal("STOP", &[self.id()]);
    }

    /// Sends SIGCONT.
    pub fn go_on(&self) {
        signal("CONT", &[self.id()]);
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns a value in bytes from `/proc`.
    pub fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).map_or(0, |kib: u64| kib * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
