//! Writes lines to standard output on a thread of its own, so that a reader that does not read blocks nothing else.

use std::io::stdout;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::output::print_text;

/// A handle for writing lines.
pub(super) struct Lines(SyncSender<(String, oneshot::Sender<()>)>);

impl Lines {
    pub(super) fn start() -> Result<Self, Failure> {
        let (lines, waiting) = sync_channel::<(String, oneshot::Sender<()>)>(100);
        let write = move || {
            while let Ok((text, written)) = waiting.recv() {
                // A closed output does not end the recording.
                let _ = print_text(&mut stdout().lock(), &text);
                let _ = written.send(());
            }
        };
        let started = std::thread::Builder::new().name("output".to_owned()).spawn(write);
        started.map(|_| Lines(lines)).map_err(|error| Failure::because("cannot start a thread", error))
    }

    /// Writes lines, unless too many are waiting.
    pub(super) fn print(&self, text: String) {
        let _ = self.0.try_send((text, oneshot::channel().0));
    }

    /// Writes the last lines, and waits for that.
    pub(super) async fn finish(&self, text: String, within: Duration) {
        let (written, done) = oneshot::channel();
        if self.0.try_send((text, written)).is_ok() {
            // After the timeout the lines are lost, because the reader does not read.
            let _ = tokio::time::timeout(within, done).await;
        }
    }
}
