//! A receiver, a worker or both in a process of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use medhook_tests::servers::signal;

/// The limit for a condition before a check fails.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Killed when dropped.
pub struct Process {
    pub address: SocketAddr,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command, and waits until it has written `listening at` with its address.
    pub fn start(command: Command, log: PathBuf) -> Self {
        Process::try_start(command, log).unwrap_or_else(|log| panic!("it has ended: {log}"))
    }

    /// Does the same, and returns the log of a process that ends instead.
    pub fn try_start(mut command: Command, log: PathBuf) -> Result<Self, String> {
        let file = File::create(&log).expect("a log");
        let mut child = command
            // The processes of the library's checks end when this one does.
            .stdin(Stdio::piped())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file)
            .spawn()
            .expect("it runs");
        let began = Instant::now();
        loop {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let line = text.split_inclusive('\n').find(|line| line.contains("listening at ") && line.ends_with('\n'));
            if let Some(address) = line.and_then(address_in) {
                return Ok(Process { address, child, log });
            }
            if child.try_wait().expect("a child").is_some() {
                return Err(std::fs::read_to_string(&log).unwrap_or_default());
            }
            assert!(began.elapsed() < PATIENCE, "it does not listen: {text}");
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

/// Returns the address in a line such as `listening at http://127.0.0.1:8787`.
fn address_in(line: &str) -> Option<SocketAddr> {
    let address = line.split("listening at ").nth(1)?.trim();
    address.strip_prefix("http://").unwrap_or(address).parse().ok()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
