//! The role and the options of a process of the library's checks, which is this test program, run again.

use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::database::Database;
use crate::process::Process;

pub const SETUP: &str = "MEDHOOK_INBOX_SETUP";

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

    /// Starts a process with this setup, which writes to a log.
    pub fn start(&self, log: PathBuf) -> Process {
        let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
        command
            .args(["--exact", "child_process", "--ignored", "--nocapture"])
            .env(SETUP, serde_json::to_string(self).expect("JSON"));
        Process::start(command, log)
    }
}
