//! Runs the built program.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The timeout of every wait, much longer than anything takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Valid for every scheme, as text and as base64.
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const OTHER_SECRET: &str = "fedcba9876543210fedcba9876543210";
pub(crate) const THIRD_SECRET: &str = "00112233445566778899aabbccddeeff";

/// A key of an inbox.
pub(crate) const INBOX_KEY: &str = "kSgYTfzSAoXrYAhbVL6jHyVLgUzDrzaTMKs05R4BsNM=";

/// A temporary folder, removed when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("medhook-receive-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file. A new one is private, as the receiver expects it of a secret.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        opened.and_then(|mut file| file.write_all(content.as_bytes())).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Returns the command `medhook receive` in a folder, with the secrets of the tests in its environment.
pub(crate) fn medhook(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medhook"));
    with_secrets(&mut command, folder).arg("receive").args(arguments);
    command
}

pub(crate) fn with_secrets<'c>(command: &'c mut Command, folder: &Folder) -> &'c mut Command {
    command
        .current_dir(folder.path())
        .env("TEST_SECRET", SECRET)
        .env("TEST_OTHER_SECRET", OTHER_SECRET)
        .env("TEST_THIRD_SECRET", THIRD_SECRET)
        .env("TEST_EMPTY_SECRET", "")
        .env("TEST_INBOX_KEY", INBOX_KEY)
        .env_remove("TEST_UNSET_SECRET")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
}

/// Runs the program with this config file until it ends.
pub(crate) fn ends(folder: &Folder, config: &str, arguments: &[&str]) -> Output {
    folder.file("medhook.toml", config);
    let mut child = medhook(folder, arguments).spawn().unwrap();
    let _ = wait(&mut child);
    child.wait_with_output().unwrap()
}

/// A running receiver.
pub(crate) struct Instance {
    child: Child,
    pub(crate) address: SocketAddr,
    stderr: Lines,
    stdout: Option<Lines>,
}

impl Instance {
    /// Starts a receiver with this config file, and reads its output.
    pub(crate) fn start(folder: &Folder, config: &str, arguments: &[&str]) -> Self {
        folder.file("medhook.toml", config);
        Instance::reading(medhook(folder, arguments))
    }

    /// Starts a command that runs a receiver, and reads its output.
    pub(crate) fn reading(command: Command) -> Self {
        let mut instance = Instance::run(command);
        let stdout = instance.child.stdout.take().unwrap();
        instance.stdout = Some(Lines::of(stdout));
        instance
    }

    /// Starts a command that runs a receiver. The caller reads its standard output.
    pub(crate) fn run(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stderr = Lines::of(child.stderr.take().unwrap());
        let listening = |line: &String| line.contains("listening at http");
        let began = Instant::now();
        let line = loop {
            if let Some(line) = stderr.all().into_iter().find(listening) {
                break line;
            }
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "does not listen: {:?}", stderr.all());
            thread::sleep(Duration::from_millis(5));
        };
        let (_, address) = line.split_once("://").unwrap();
        // The origin of a socket that was passed follows.
        let (address, _) = address.split_once(',').unwrap_or((address, ""));
        Instance { child, address: address.parse().unwrap(), stderr, stdout: None }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stderr(&self) -> Vec<String> {
        self.stderr.all()
    }

    pub(crate) fn stdout(&self) -> Vec<String> {
        self.stdout.as_ref().unwrap().all()
    }

    /// Takes the standard output of a receiver that was started with [`run`](Instance::run).
    pub(crate) fn take_stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    /// Waits until standard output has this many lines.
    pub(crate) fn lines(&self, count: usize) -> Vec<String> {
        let began = Instant::now();
        loop {
            let lines = self.stdout();
            if lines.len() >= count {
                return lines;
            }
            assert!(began.elapsed() < PATIENCE, "{count} lines of {lines:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        medhook_tests::servers::signal(signal.trim_start_matches('-'), &[self.child.id()]);
    }

    /// Waits until the receiver has ended, and its output has been read.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let status = wait(&mut self.child);
        for lines in [Some(&mut self.stderr), self.stdout.as_mut()].into_iter().flatten() {
            lines.end();
        }
        status
    }

    /// Sends SIGTERM, and waits until the receiver has ended.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal("-TERM");
        self.ended()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(child: &mut Child) -> ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("does not end");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The lines of an output, read in the background.
struct Lines {
    read: Arc<Mutex<Vec<String>>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Lines {
    fn of(output: impl Read + Send + 'static) -> Self {
        let read: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = read.clone();
        let reader = thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { break };
                sink.lock().unwrap().push(line);
            }
        });
        Lines { read, reader: Some(reader) }
    }

    /// Waits for the last line.
    fn end(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }

    fn all(&self) -> Vec<String> {
        self.read.lock().unwrap().clone()
    }
}
