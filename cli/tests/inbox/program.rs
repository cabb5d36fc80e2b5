//! Runs the built program in a folder.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Ids and bodies of all events contain this text, which no command may print.
pub(crate) const CANARY: &str = "canary-4711";

/// The output of a command, and its exit code.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Returns the lines of JSON on standard output.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{self:?}"))).collect()
    }

    /// Asserts the exit code and a part of the output.
    pub(crate) fn says(self, code: i32, part: &str) -> Self {
        assert!(self.code == code && (self.out.contains(part) || self.err.contains(part)), "{part}: {self:?}");
        self
    }
}

pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medhook"));
    command.current_dir(folder).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program, and checks that its output contains neither ids nor bodies.
pub(crate) fn medhook(folder: &Path, arguments: &[&str]) -> Ran {
    let output = command(folder, arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let ran = Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) };
    assert!(!ran.out.contains(CANARY) && !ran.err.contains(CANARY), "{ran:?}");
    ran
}
