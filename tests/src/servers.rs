//! Servers for tests: those that `scripts/test` started, and those that a test starts itself.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The password of servers that a test started.
pub const PASSWORD: &str = "hunter2-and-more";

/// Returns the URL of the PostgreSQL server that all tests share.
pub fn shared_postgres() -> String {
    variable("MEDHOOK_TEST_POSTGRES")
}

/// Returns the URL of the Redis server that all tests share.
pub fn shared_redis() -> String {
    variable("MEDHOOK_TEST_REDIS")
}

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run scripts/test, which starts the servers"))
}

/// A server with a folder and a port of its own, stopped when dropped.
pub struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    folder: TempDir,
    port: u16,
    child: Option<Child>,
    url: fn(u16) -> String,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Server {
    /// Starts PostgreSQL with settings `name=value`.
    pub fn postgres(settings: &[&str]) -> Self {
        // Cheap to verify: each of many connections authenticates, with a client that is not optimized.
        Self::postgres_in(folder(), "password", settings, Vec::new())
    }

    /// Starts PostgreSQL on a disk that can stall.
    pub fn postgres_on_a_stallable_disk() -> Self {
        let folder = folder();
        let [source, library] = ["stall.c", "stall.so"].map(|name| folder.path().join(name));
        std::fs::write(&source, include_str!("stall.c")).unwrap();
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).output();
        let compiled = compiled.expect("`cc` not found");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let environment = vec![("LD_PRELOAD", library), ("MEDHOOK_TEST_STALL", folder.path().join(STALLED))];
        Self::postgres_in(folder, "password", &["fsync=on", "wal_sync_method=fdatasync"], environment)
    }

    /// Stalls the disk: no write of the server reaches it.
    pub fn stall_disk(&self) {
        std::fs::write(self.folder().join(STALLED), "").unwrap();
    }

    /// Ends the stall.
    pub fn free_disk(&self) {
        std::fs::remove_file(self.folder().join(STALLED)).unwrap();
    }

    fn postgres_in(folder: TempDir, auth: &str, settings: &[&str], environment: Vec<(&'static str, PathBuf)>) -> Self {
        let bin = PathBuf::from(variable("MEDHOOK_TEST_POSTGRES_BIN"));
        std::fs::write(folder.path().join("password"), PASSWORD).unwrap();
        let mut initdb = Command::new(bin.join("initdb"));
        initdb.args(["--no-sync", "--username=medhook", "--encoding=UTF8", "--locale=C", "--auth", auth]);
        initdb.arg("--pwfile").arg(folder.path().join("password")).arg("--pgdata").arg(folder.path().join("data"));
        let made = unprivileged(&mut initdb).current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut arguments = vec!["-D".to_owned(), folder.path().join("data").display().to_string()];
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"].iter().chain(settings) {
            arguments.extend(["-c".to_owned(), (*setting).to_owned()]);
        }
        let url = |port| format!("postgres://medhook:{PASSWORD}@127.0.0.1:{port}/postgres");
        Self::begun(bin.join("postgres"), arguments, folder, url, environment)
    }

    /// Starts Redis without eviction, with settings `--name value`.
    pub fn redis(settings: &[&str]) -> Self {
        let mut arguments =
            vec!["--bind", "127.0.0.1", "--requirepass", PASSWORD, "--masterauth", PASSWORD, "--save", ""];
        arguments.extend(["--appendonly", "yes", "--appendfsync", "always"].iter().chain(settings));
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        let url = |port| format!("redis://:{PASSWORD}@127.0.0.1:{port}/");
        Self::begun(variable("MEDHOOK_TEST_REDIS_SERVER").into(), arguments, folder(), url, Vec::new())
    }

    /// Starts PostgreSQL with TLS.
    pub fn postgres_with_tls(certificate: &Path, key: &Path) -> Self {
        let folder = folder();
        // PostgreSQL requires a key file that only its own user can read.
        let own = folder.path().join("key");
        std::fs::copy(key, &own).unwrap();
        std::fs::set_permissions(&own, PermissionsExt::from_mode(0o600)).unwrap();
        if let Some((user, group)) = unprivileged_user() {
            std::os::unix::fs::chown(&own, Some(user), Some(group)).unwrap();
        }
        let certificate = format!("ssl_cert_file={}", certificate.display());
        Self::postgres_in(
            folder,
            "scram-sha-256",
            &["ssl=on", &certificate, &format!("ssl_key_file={}", own.display())],
            Vec::new(),
        )
    }

    /// Starts Redis with TLS, and returns its TLS port.
    pub fn redis_with_tls(certificate: &Path, key: &Path) -> (Self, u16) {
        let port = free_port();
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        let with_tls = ["--tls-port", &port.to_string(), "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let server =
            Self::redis(&[&with_tls[..], &["--tls-auth-clients", "no", "--tls-ca-cert-file", &certificate]].concat());
        (server, port)
    }

    fn begun(
        program: PathBuf,
        arguments: Vec<String>,
        folder: TempDir,
        url: fn(u16) -> String,
        environment: Vec<(&'static str, PathBuf)>,
    ) -> Self {
        let mut server = Server { program, arguments, folder, port: 0, child: None, url, environment };
        // Another process may take the port before the server does.
        for _ in 0..5 {
            server.port = free_port();
            if server.try_start() {
                return server;
            }
        }
        panic!("{} does not start:\n{}", server.program.display(), server.log());
    }

    /// Returns the URL with user and password.
    pub fn url(&self) -> String {
        (self.url)(self.port)
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the server, or restarts it with its data.
    pub fn start(&mut self) {
        assert!(self.try_start(), "{} does not start:\n{}", self.program.display(), self.log());
    }

    fn try_start(&mut self) -> bool {
        let log = std::fs::File::options().create(true).append(true).open(self.folder().join("log")).unwrap();
        let port = if self.is_postgres() { "-p" } else { "--port" };
        let mut server = Command::new(&self.program);
        server.args(&self.arguments).arg(port).arg(self.port.to_string()).current_dir(self.folder());
        server.envs(self.environment.iter().cloned());
        server.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(unprivileged(&mut server).spawn().unwrap());
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(60) {
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                self.child = None;
                return false;
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() && self.log_says_ready() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Stops the server as an operator would, and keeps its data.
    pub fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        signal(if self.is_postgres() { "INT" } else { "TERM" }, &[child.id()]);
        child.wait().unwrap();
        std::fs::write(self.folder().join("log"), "").unwrap();
    }

    /// Suspends the server: its connections stay open without answers.
    pub fn pause(&self) {
        signal("STOP", &self.processes());
    }

    /// Resumes the server.
    pub fn resume(&self) {
        signal("CONT", &self.processes());
    }

    fn processes(&self) -> Vec<u32> {
        let main = self.child.as_ref().unwrap().id();
        let mut all = vec![main];
        for entry in std::fs::read_dir("/proc").unwrap() {
            let Some(id) = entry.unwrap().file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // The process may have exited.
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            if status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|of| of.trim() == main.to_string())) {
                all.push(id);
            }
        }
        all
    }

    fn is_postgres(&self) -> bool {
        self.program.ends_with("postgres")
    }

    fn log_says_ready(&self) -> bool {
        let ready = if self.is_postgres() { "ready to accept connections" } else { "eady to accept connections" };
        self.log().contains(ready)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }
}

const STALLED: &str = "stalled";

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // PostgreSQL writes to disk before it stops.
            let _ = std::fs::remove_file(self.folder().join(STALLED));
            signal("CONT", &[child.id()]);
            signal(if self.program.ends_with("postgres") { "QUIT" } else { "KILL" }, &[child.id()]);
            let _ = child.wait();
        }
    }
}

/// Chooses a port below those that the system assigns to connections (from 32768, on Linux). While a server is
/// stopped, one of those could be assigned to any outgoing connection, and the server could not restart.
pub fn free_port() -> u16 {
    loop {
        let port = 20_000 + (RandomState::new().build_hasher().finish() % 12_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub(crate) fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    if let Some((user, group)) = unprivileged_user() {
        std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).unwrap();
    }
    folder
}

/// PostgreSQL does not run as root.
pub(crate) fn unprivileged(command: &mut Command) -> &mut Command {
    match unprivileged_user() {
        Some((user, group)) => command.uid(user).gid(group),
        None => command,
    }
}

fn unprivileged_user() -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("nobody:")).expect("a user with this name");
    let mut numbers = line.split(':').skip(2).map(|number| number.parse().unwrap());
    Some((numbers.next().unwrap(), numbers.next().unwrap()))
}

/// Sends a signal, such as `TERM`, to processes. A minimal Debian has no program `kill`, but its shell has the command.
pub fn signal(name: &str, processes: &[u32]) {
    for process in processes {
        let kill = format!("kill -{name} {process} 2>/dev/null || true");
        Command::new("sh").args(["-c", &kill]).status().unwrap();
    }
}
