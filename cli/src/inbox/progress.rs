//! The progress of a long command, on standard error.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// One line that is replaced on a terminal; in a pipe, a line from time to time.
pub(super) struct Progress {
    is_terminal: bool,
    next: Instant,
    is_shown: bool,
}

const ON_TERMINAL: Duration = Duration::from_millis(200);
const IN_PIPE: Duration = Duration::from_secs(5);

impl Progress {
    pub(super) fn new() -> Self {
        let is_terminal = stderr().is_terminal();
        let first = if is_terminal { ON_TERMINAL } else { IN_PIPE };
        let now = Instant::now();
        Progress { is_terminal, next: now.checked_add(first).unwrap_or(now), is_shown: false }
    }

    /// Writes the line if one is due.
    pub(super) fn update(&mut self, line: impl FnOnce() -> String) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        let interval = if self.is_terminal { ON_TERMINAL } else { IN_PIPE };
        self.next = now.checked_add(interval).unwrap_or(now);
        self.is_shown = true;
        // Progress is not worth a failure.
        let _ = match self.is_terminal {
            true => write!(stderr(), "\r\x1b[2K{}", line()),
            false => writeln!(stderr(), "medhook: {}", line()),
        };
    }

    /// Removes the line from a terminal.
    pub(super) fn end(&mut self) {
        if self.is_terminal && std::mem::take(&mut self.is_shown) {
            let _ = write!(stderr(), "\r\x1b[2K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
