//! Writing to an output whose reader may be slow or gone, without ever keeping a handler's thread waiting.
//!
//! A thread of its own writes. A line that is only mentioned is queued if there is room, and counted if there is none. A
//! line that must be written is waited for until the system has taken it or has refused it, or the output is stuck: its
//! reader has let one write wait for [`LONGEST_WRITE`].

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

/// Lines on their way to an output. Clones write to the same one.
#[derive(Debug, Clone)]
pub(super) struct Printer {
    name: &'static str,
    lines: mpsc::Sender<QueuedLine>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Lines that were not written and that no caller waited for.
    left_out: AtomicU64,
    writes: Mutex<Writes>,
}

#[derive(Debug, Default)]
struct Writes {
    /// When the write that is under way began.
    since: Option<Instant>,
    /// The warning that it takes too long has been logged.
    stuck: bool,
    /// When the last write failed; `None` if it succeeded.
    failed: Option<Instant>,
}

impl State {
    fn writes(&self) -> MutexGuard<'_, Writes> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the time, unless it is another attempt at the same write.
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
    /// How long the write that is under way has taken so far.
    fn blocked_for(&self) -> Duration {
        self.since.map(|since| since.elapsed()).unwrap_or_default()
    }
}

struct QueuedLine {
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
        Ok(Printer { name, lines, state })
    }

    /// Writes the line if there is room for it. Returns whether there was.
    pub(super) fn mention(&self, text: String) -> bool {
        let queued = self.lines.try_send(QueuedLine { text, written: None }).is_ok();
        if !queued {
            self.state.left_out.fetch_add(1, Ordering::Relaxed);
        }
        queued
    }

    /// Writes the line, and returns whether it was written: at once `false` if the output is stuck. Dropped before, it
    /// withdraws a line that is still waiting.
    pub(super) async fn write(&self, text: String) -> bool {
        let (written, told) = oneshot::channel();
        tokio::select! {
            biased;
            () = self.stuck() => false,
            done = async {
                self.lines.send(QueuedLine { text, written: Some(written) }).await.is_ok() && told.await.is_ok()
            } => done,
        }
    }

    /// Whether the last attempt to write failed, not long ago: a receiver that is sent nothing because of it could never
    /// find out that the output can be written to again.
    pub(super) fn is_failing(&self) -> bool {
        self.state.writes().failed.is_some_and(|failed| failed.elapsed() < LONGEST_WRITE)
    }

    /// Takes the number of lines left out that has not been logged, those still waiting included.
    pub(super) fn take_left_out(&self) -> u64 {
        let waiting = ROOM - self.lines.capacity();
        self.state.left_out.swap(0, Ordering::Relaxed) + waiting as u64
    }

    /// Whether one write has been waiting for the reader for [`LONGEST_WRITE`]. The first time it is noticed, that is
    /// logged.
    pub(super) fn is_stuck(&self) -> bool {
        let mut writes = self.state.writes();
        let stuck = writes.blocked_for() >= LONGEST_WRITE;
        let first = stuck && !std::mem::replace(&mut writes.stuck, stuck);
        drop(writes);
        if first {
            tracing::warn!(
                "the {} is stuck: its reader has read nothing for {} s; restart the reader",
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

    /// Waits until everything said so far is written, but not for ever.
    pub(super) async fn flush(&self, within: Duration) {
        // Nothing more can be done for a reader that does not read.
        let _ = tokio::time::timeout(within, self.write(String::new())).await;
    }
}

/// How long one write may take until the output counts as stuck.
pub(super) const LONGEST_WRITE: Duration = Duration::from_secs(5);

/// How many lines may wait.
const ROOM: usize = 1024;

struct Writing<W> {
    name: &'static str,
    output: W,
    waiting: mpsc::Receiver<QueuedLine>,
    state: Arc<State>,
    /// The last line came out in part.
    torn: bool,
}

impl<W: Write> Writing<W> {
    /// Writes one line at a time, so that no more than one is beyond recall when the output gets stuck.
    fn run(mut self) {
        while let Some(line) = self.waiting.blocking_recv() {
            // Its caller has stopped waiting: what the line says is no longer so.
            if line.written.as_ref().is_some_and(oneshot::Sender::is_closed) {
                continue;
            }
            let text = if self.torn { format!("\n{}", line.text) } else { line.text };
            match (self.write(text.as_bytes()), line.written) {
                (true, Some(written)) => {
                    // The caller may have stopped waiting meanwhile.
                    let _ = written.send(());
                }
                (false, None) => drop(self.state.left_out.fetch_add(1, Ordering::Relaxed)),
                (true, None) | (false, Some(_)) => {}
            }
        }
    }

    /// Writes the text, and returns whether all of it was taken.
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
                // The output was made non-blocking by another process.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(10)),
                Err(error) => return self.failed(text, written, &error),
            }
        }
        if !text.is_empty() {
            self.torn = false;
            if self.state.writes().failed.take().is_some() {
                tracing::warn!("the {} can be written to again", self.name);
            }
            let left_out = self.state.left_out.swap(0, Ordering::Relaxed);
            if left_out > 0 {
                tracing::warn!(left_out, "lines were not written to the {}", self.name);
            }
        }
        true
    }

    fn end_writing(&self) {
        if self.state.end_writing() {
            tracing::warn!("the {} is no longer stuck", self.name);
        }
    }

    fn failed(&mut self, text: &[u8], written: usize, error: &io::Error) -> bool {
        if self.state.writes().failed.replace(Instant::now()).is_none() {
            tracing::warn!(%error, "cannot write to the {}", self.name);
        }
        if let Some(last) = text.get(..written).and_then(<[u8]>::last) {
            self.torn = *last != b'\n';
        }
        false
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
    async fn a_line_that_the_output_rejects_is_not_written_and_the_next_begins_anew() {
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
