//! Writing to an output whose reader may be slow or gone, without ever keeping a handler's thread waiting.
//!
//! A thread of its own writes. Whoever only wants to mention a line leaves it there if there is room, and it is counted
//! if there is none. Whoever has to know waits until the system has taken the line, or has refused it.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// Lines on their way to an output. Clones write to the same one.
#[derive(Debug, Clone)]
pub(super) struct Printer {
    lines: mpsc::Sender<Line>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    left_out: AtomicU64,
    /// The last attempt to write failed.
    failing: AtomicBool,
}

struct Line {
    text: String,
    written: Option<oneshot::Sender<()>>,
}

impl Printer {
    /// Writes to `output`, which `name` names in warnings.
    pub(super) fn to(name: &'static str, output: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, waiting) = mpsc::channel(ROOM);
        let state = Arc::new(State::default());
        let writing = Writing { name, output, waiting, state: state.clone(), torn: false };
        thread::Builder::new().name(name.to_owned()).spawn(move || writing.run())?;
        Ok(Printer { lines, state })
    }

    /// Writes the line if there is room for it.
    pub(super) fn mention(&self, text: String) {
        if self.lines.try_send(Line { text, written: None }).is_err() {
            self.state.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes the line, and tells whether it was written. Dropped before, it withdraws a line that is still waiting.
    pub(super) async fn write(&self, text: String) -> bool {
        let (written, told) = oneshot::channel();
        self.lines.send(Line { text, written: Some(written) }).await.is_ok() && told.await.is_ok()
    }

    /// Whether the last attempt to write failed.
    pub(super) fn is_failing(&self) -> bool {
        self.state.failing.load(Ordering::Relaxed)
    }

    /// Waits until everything said so far is written, but not for ever.
    pub(super) async fn flush(&self, within: Duration) {
        // Nothing more can be done for a reader that does not read.
        let _ = tokio::time::timeout(within, self.write(String::new())).await;
    }
}

/// How many lines may wait.
const ROOM: usize = 1024;

/// How much is written at once.
const BATCH: usize = 64 * 1024;

struct Writing<W> {
    name: &'static str,
    output: W,
    waiting: mpsc::Receiver<Line>,
    state: Arc<State>,
    /// The last line came out in part.
    torn: bool,
}

impl<W: Write> Writing<W> {
    fn run(mut self) {
        while let Some(first) = self.waiting.blocking_recv() {
            let mut batch = Vec::new();
            let mut text = if self.torn { "\n".to_owned() } else { String::new() };
            let mut next = Some(first);
            while let Some(line) = next {
                // Nobody waits for it any more: what it says is no longer so.
                if !line.written.as_ref().is_some_and(oneshot::Sender::is_closed) {
                    text.push_str(&line.text);
                    batch.push((text.len(), line.written));
                }
                next = if text.len() < BATCH { self.waiting.try_recv().ok() } else { None };
            }
            let written = self.write(text.as_bytes());
            for (end, waits) in batch {
                if let Some(waits) = waits.filter(|_| end <= written) {
                    // Whoever waited may have tired of it.
                    let _ = waits.send(());
                }
            }
        }
    }

    /// Writes what can be written, and says how much that was.
    fn write(&mut self, text: &[u8]) -> usize {
        let mut written = 0;
        while let Some(rest) = text.get(written..).filter(|rest| !rest.is_empty()) {
            match self.output.write(rest) {
                Ok(0) => return self.failed(text, written, &ErrorKind::WriteZero.into()),
                Ok(count) => written = written.saturating_add(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // An output that somebody else set so.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(10)),
                Err(error) => return self.failed(text, written, &error),
            }
        }
        if !text.is_empty() {
            self.torn = false;
            if self.state.failing.swap(false, Ordering::Relaxed) {
                tracing::warn!("the {} can be written to again", self.name);
            }
            let left_out = self.state.left_out.swap(0, Ordering::Relaxed);
            if left_out > 0 {
                tracing::warn!(left_out, "lines left out: the reader of the {} is slow", self.name);
            }
        }
        written
    }

    fn failed(&mut self, text: &[u8], written: usize, error: &io::Error) -> usize {
        if !self.state.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "cannot write to the {}", self.name);
        }
        if let Some(last) = text.get(..written).and_then(<[u8]>::last) {
            self.torn = *last != b'\n';
        }
        written
    }
}

/// The standard output itself, without the buffer and the lock that the whole process shares.
pub(super) fn standard_output() -> io::Result<File> {
    #[cfg(unix)]
    let handle = std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned()?;
    #[cfg(windows)]
    let handle = std::os::windows::io::AsHandle::as_handle(&io::stdout()).try_clone_to_owned()?;
    Ok(File::from(handle))
}

/// The standard error, likewise.
pub(super) fn standard_error() -> io::Result<File> {
    #[cfg(unix)]
    let handle = std::os::fd::AsFd::as_fd(&io::stderr()).try_clone_to_owned()?;
    #[cfg(windows)]
    let handle = std::os::windows::io::AsHandle::as_handle(&io::stderr()).try_clone_to_owned()?;
    Ok(File::from(handle))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc as blocking;

    use futures_util::FutureExt;

    use super::*;

    /// Takes so many bytes at a time as it is told, in order; then all.
    struct Output {
        asked: blocking::Sender<()>,
        takes: blocking::Receiver<io::Result<usize>>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.asked.send(());
            let most = match self.takes.recv() {
                Ok(told) => told?,
                Err(_) => bytes.len(),
            };
            let count = most.min(bytes.len());
            self.taken.lock().unwrap().extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Stage {
        printer: Printer,
        asked: blocking::Receiver<()>,
        takes: blocking::Sender<io::Result<usize>>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Stage {
        fn new() -> Self {
            let (takes, told) = blocking::channel();
            let (asks, asked) = blocking::channel();
            let taken = Arc::default();
            let output = Output { asked: asks, takes: told, taken: Arc::clone(&taken) };
            Stage { printer: Printer::to("test output", output).unwrap(), asked, takes, taken }
        }

        /// With the thread at its first line, which it does not get rid of.
        fn stuck() -> Self {
            let stage = Stage::new();
            stage.printer.mention("first\n".to_owned());
            stage.asked.recv().unwrap();
            stage
        }

        /// Lets everything be written, and returns it.
        async fn all(self) -> String {
            drop(self.takes);
            self.printer.flush(Duration::from_secs(60)).await;
            String::from_utf8(self.taken.lock().unwrap().clone()).unwrap()
        }
    }

    #[tokio::test]
    async fn a_line_is_written_when_the_output_has_taken_all_of_it() {
        let stage = Stage::new();
        for told in [Ok(3), Err(ErrorKind::Interrupted.into()), Err(ErrorKind::WouldBlock.into()), Ok(100)] {
            stage.takes.send(told).unwrap();
        }
        assert!(stage.printer.write("one line\n".to_owned()).await);
        assert!(!stage.printer.is_failing());
        assert_eq!(stage.all().await, "one line\n");
    }

    #[tokio::test]
    async fn a_line_that_the_output_refuses_is_not_written_and_the_next_begins_anew() {
        let stage = Stage::new();
        stage.takes.send(Ok(4)).unwrap();
        stage.takes.send(Err(ErrorKind::StorageFull.into())).unwrap();
        assert!(!stage.printer.write("a torn line\n".to_owned()).await);
        assert!(stage.printer.is_failing());
        stage.takes.send(Ok(100)).unwrap();
        assert!(stage.printer.write("a whole line\n".to_owned()).await);
        assert!(!stage.printer.is_failing());
        assert_eq!(stage.all().await, "a to\na whole line\n");
    }

    #[tokio::test]
    async fn a_reader_that_does_not_read_costs_only_lines_that_are_mentioned() {
        let stage = Stage::stuck();
        for _ in 0..ROOM + 5 {
            stage.printer.mention("mentioned\n".to_owned());
        }
        assert_eq!(stage.printer.state.left_out.load(Ordering::Relaxed), 5);
        let printer = stage.printer.clone();
        let must_be_written = tokio::spawn(async move { printer.write("must be written\n".to_owned()).await });
        let all = stage.all().await;
        assert_eq!(all.lines().filter(|line| *line == "mentioned").count(), ROOM);
        assert!(must_be_written.await.unwrap());
    }

    #[tokio::test]
    async fn a_line_that_nobody_waits_for_any_more_is_withdrawn() {
        let stage = Stage::stuck();
        assert_eq!(stage.printer.write("withdrawn\n".to_owned()).now_or_never(), None);
        stage.printer.mention("last\n".to_owned());
        assert_eq!(stage.all().await, "first\nlast\n");
    }
}
