//! Writes lines to an output without blocking handlers, even if the reader of the output is slow or gone.
//!
//! A separate thread writes. [`Printer::try_write`] queues a line, or counts it as lost if the queue is full.
//! [`Printer::write`] waits until the line has been written, writing it has failed, or the output is stuck, that is,
//! one write has blocked for [`LONGEST_WRITE`].

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

/// A handle for writing lines to an output. Clones write to the same output.
#[derive(Debug, Clone)]
pub(super) struct Printer {
    name: &'static str,
    lines: mpsc::Sender<QueuedLine>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Lines that were lost and that no caller waited for.
    left_out: AtomicU64,
    writes: Mutex<Writes>,
}

#[derive(Debug, Default)]
struct Writes {
    /// The start time of the current write.
    since: Option<Instant>,
    /// Whether the warning that the current write is stuck has been logged.
    stuck: bool,
    /// The time at which the last write failed; `None` if it succeeded.
    failed: Option<Instant>,
}

impl State {
    fn writes(&self) -> MutexGuard<'_, Writes> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records when the write began, unless this is another attempt at it.
    fn begin_writing(&self) {
        self.writes().since.get_or_insert_with(Instant::now);
    }

    /// Returns whether the output was known to be stuck.
    fn end_writing(&self) -> bool {
        let mut writes = self.writes();
        writes.since = None;
        std::mem::take(&mut writes.stuck)
    }
}

impl Writes {
    /// Returns how long the current write has blocked.
    fn blocked_for(&self) -> Duration {
        self.since.map(|since| since.elapsed()).unwrap_or_default()
    }
}

struct QueuedLine {
    text: String,
    written: Option<oneshot::Sender<()>>,
}

impl Printer {
    /// Creates a printer that writes to `output`. `name` is its name in warnings.
    pub(super) fn to(name: &'static str, output: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, waiting) = mpsc::channel(ROOM);
        let state = Arc::new(State::default());
        let writing = Writing { name, output, waiting, state: state.clone(), torn: false };
        thread::Builder::new().name(name.to_owned()).spawn(move || writing.run())?;
        Ok(Printer { name, lines, state })
    }

    /// Queues the line, or counts it as lost if the queue is full. Returns whether it was queued.
    pub(super) fn try_write(&self, text: String) -> bool {
        let queued = self.lines.try_send(QueuedLine { text, written: None }).is_ok();
        if !queued {
            self.state.left_out.fetch_add(1, Ordering::Relaxed);
        }
        queued
    }

    /// Writes the line, and returns whether it was written. Returns `false` at once if the output is stuck. If the
    /// future is dropped, a line that is still queued is withdrawn.
    pub(super) async fn write(&self, text: String) -> bool {
        let (written, done) = oneshot::channel();
        tokio::select! {
            biased;
            () = self.stuck() => false,
            is_written = async {
                self.lines.send(QueuedLine { text, written: Some(written) }).await.is_ok() && done.await.is_ok()
            } => is_written,
        }
    }

    /// Returns whether the last write failed within [`LONGEST_WRITE`]. The failure expires, because only a delivery can
    /// show that the output works again, and an unready receiver gets none.
    pub(super) fn is_failing(&self) -> bool {
        self.state.writes().failed.is_some_and(|failed| failed.elapsed() < LONGEST_WRITE)
    }

    /// Takes the number of lost lines that has not been logged, including lines that are still queued.
    pub(super) fn take_left_out(&self) -> u64 {
        let waiting = ROOM - self.lines.capacity();
        self.state.left_out.swap(0, Ordering::Relaxed) + waiting as u64
    }

    /// Returns whether one write has blocked for [`LONGEST_WRITE`], and logs that once.
    pub(super) fn is_stuck(&self) -> bool {
        let mut writes = self.state.writes();
        let stuck = writes.blocked_for() >= LONGEST_WRITE;
        let first = stuck && !std::mem::replace(&mut writes.stuck, stuck);
        drop(writes);
        if first {
            tracing::warn!(
                "{} is stuck: its reader has read nothing for {} s; restart the reader",
                self.name,
                LONGEST_WRITE.as_secs()
            );
        }
        stuck
    }

    /// Waits until the output is stuck.
    async fn stuck(&self) {
        while !self.is_stuck() {
            let left = LONGEST_WRITE.saturating_sub(self.state.writes().blocked_for());
            sleep(left).await;
        }
    }

    /// Waits until all lines so far have been written, or until the timeout.
    pub(super) async fn flush(&self, within: Duration) {
        // After the timeout the lines are lost, because the reader does not read.
        let _ = tokio::time::timeout(within, self.write(String::new())).await;
    }
}

/// The longest time of one write before the output counts as stuck.
pub(super) const LONGEST_WRITE: Duration = Duration::from_secs(5);

/// The capacity of the queue in lines.
const ROOM: usize = 1024;

struct Writing<W> {
    name: &'static str,
    output: W,
    waiting: mpsc::Receiver<QueuedLine>,
    state: Arc<State>,
    /// Whether the last line was only written in part.
    torn: bool,
}

impl<W: Write> Writing<W> {
    /// Writes one line at a time, so that at most one line can no longer be withdrawn when the output gets stuck.
    fn run(mut self) {
        while let Some(line) = self.waiting.blocking_recv() {
            // The caller has stopped waiting, and has answered that the event was not handled.
            if line.written.as_ref().is_some_and(oneshot::Sender::is_closed) {
                continue;
            }
            let text = if self.torn { format!("\n{}", line.text) } else { line.text };
            match (self.write(text.as_bytes()), line.written) {
                (true, Some(written)) => {
                    // Fails if the caller has stopped waiting.
                    let _ = written.send(());
                }
                (false, None) => drop(self.state.left_out.fetch_add(1, Ordering::Relaxed)),
                (true, None) | (false, Some(_)) => {}
            }
        }
    }

    /// Writes the text, and returns whether all of it was written.
    fn write(&mut self, text: &[u8]) -> bool {
        let mut written = 0;
        while let Some(rest) = text.get(written..).filter(|rest| !rest.is_empty()) {
            self.state.begin_writing();
            let taken = self.output.write(rest);
            if !matches!(&taken, Err(error) if error.kind() == ErrorKind::WouldBlock) {
                self.end_writing();
            }
            match taken {
                Ok(0) => return self.failed(text, written, &ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another process has made the output non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(10)),
                Err(error) => return self.failed(text, written, &error),
            }
        }
        if !text.is_empty() {
            self.torn = false;
            if self.state.writes().failed.take().is_some() {
                tracing::warn!("writing to {} works again", self.name);
            }
            let left_out = self.state.left_out.swap(0, Ordering::Relaxed);
            if left_out > 0 {
                tracing::warn!(left_out, "lines were not written to {}", self.name);
            }
        }
        true
    }

    fn end_writing(&self) {
        if self.state.end_writing() {
            tracing::warn!("{} is no longer stuck", self.name);
        }
    }

    fn failed(&mut self, text: &[u8], written: usize, error: &io::Error) -> bool {
        if self.state.writes().failed.replace(Instant::now()).is_none() {
            tracing::warn!(%error, "cannot write to {}", self.name);
        }
        if let Some(last) = text.get(..written).and_then(<[u8]>::last) {
            self.torn = *last != b'\n';
        }
        false
    }
}

/// Returns standard output without the buffer and the lock of the standard library.
pub(super) fn standard_output() -> io::Result<File> {
    #[cfg(unix)]
    let handle = std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned()?;
    #[cfg(windows)]
    let handle = std::os::windows::io::AsHandle::as_handle(&io::stdout()).try_clone_to_owned()?;
    Ok(File::from(handle))
}

/// Returns standard error without the lock of the standard library.
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

    /// An output that accepts as many bytes per write as the test allows; after the last allowance, any number.
    struct Output {
        asked: blocking::Sender<()>,
        takes: blocking::Receiver<io::Result<usize>>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.asked.send(());
            let most = match self.takes.recv() {
                Ok(allowed) => allowed?,
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
            let (takes, allowances) = blocking::channel();
            let (asks, asked) = blocking::channel();
            let taken = Arc::default();
            let output = Output { asked: asks, takes: allowances, taken: Arc::clone(&taken) };
            Stage { printer: Printer::to("test output", output).unwrap(), asked, takes, taken }
        }

        /// Creates a stage whose thread is blocked while it writes its first line.
        fn stuck() -> Self {
            let stage = Stage::new();
            stage.printer.try_write("first\n".to_owned());
            stage.asked.recv().unwrap();
            stage
        }

        /// Allows everything to be written, and returns it.
        async fn all(self) -> String {
            drop(self.takes);
            self.printer.flush(Duration::from_secs(60)).await;
            String::from_utf8(self.taken.lock().unwrap().clone()).unwrap()
        }
    }

    #[tokio::test]
    async fn a_line_is_written_when_the_output_has_accepted_all_of_it() {
        let stage = Stage::new();
        for allowed in [Ok(3), Err(ErrorKind::Interrupted.into()), Err(ErrorKind::WouldBlock.into()), Ok(100)] {
            stage.takes.send(allowed).unwrap();
        }
        assert!(stage.printer.write("one line\n".to_owned()).await);
        assert!(!stage.printer.is_failing());
        assert_eq!(stage.all().await, "one line\n");
    }

    #[tokio::test]
    async fn after_a_failed_write_the_next_line_begins_on_a_new_line() {
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
    async fn only_lines_without_a_waiting_caller_are_lost_if_the_reader_does_not_read() {
        let stage = Stage::stuck();
        for _ in 0..ROOM + 5 {
            stage.printer.try_write("tried\n".to_owned());
        }
        assert_eq!(stage.printer.state.left_out.load(Ordering::Relaxed), 5);
        let printer = stage.printer.clone();
        let must_be_written = tokio::spawn(async move { printer.write("must be written\n".to_owned()).await });
        let all = stage.all().await;
        assert_eq!(all.lines().filter(|line| *line == "tried").count(), ROOM);
        assert!(must_be_written.await.unwrap());
    }

    #[tokio::test]
    async fn a_line_is_withdrawn_when_its_caller_stops_waiting() {
        let stage = Stage::stuck();
        assert_eq!(stage.printer.write("withdrawn\n".to_owned()).now_or_never(), None);
        stage.printer.try_write("last\n".to_owned());
        assert_eq!(stage.all().await, "first\nlast\n");
    }
}
