//! `medhook receive` processes on one store, with an application and a sender.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use medhook_tests::program::Ran;
use medhook_tests::servers::signal;
use tempfile::TempDir;

use super::application::Application;
use super::mounted::{self, Mounted};
use super::sender::Sender;
use super::settings::Settings;
use super::shared::database::{Database, Tables, Which, until};
use super::shared::figures::times_matter;
use super::shared::marks;
use super::shared::process::Process;
use super::shared::wire;

/// Receivers on a database, whose rows are read.
pub(super) struct Fleet {
    pub(super) tables: Tables,
    receivers: Receivers,
}

/// Receivers that share a store of any kind.
pub(super) struct Receivers {
    pub(super) application: Application,
    pub(super) sender: Sender,
    pub(super) settings: Settings,
    pub(super) mounted: Mounted,
    pub(super) processes: Vec<Process>,
    store: String,
    folder: TempDir,
    logs: Cell<u32>,
}

/// The number of processes that share a database. Where `scripts/receive-check` does not run, most checks of
/// PostgreSQL start fewer.
pub(super) fn full(which: Which) -> usize {
    match which {
        Which::Sqlite => 3,
        Which::Postgres => 10,
    }
}

pub(super) fn usual(which: Which) -> usize {
    if times_matter() { full(which) } else { 2 }
}

impl Fleet {
    /// Starts receivers and their application.
    pub(super) async fn start(which: Which, processes: usize, settings: Settings) -> Self {
        let fleet = Fleet::stopped(which, settings).await;
        fleet.application.up().await;
        fleet.with(processes)
    }

    /// Creates the database and the files, without an application or receivers.
    pub(super) async fn stopped(which: Which, settings: Settings) -> Self {
        match which {
            Which::Sqlite => {
                let receivers = Receivers::stopped(sqlite_in, settings);
                let database = Database::Sqlite(receivers.folder().join(SQLITE));
                Fleet { tables: Tables::of(database), receivers }
            }
            Which::Postgres => {
                let (database, store) = postgres().await;
                Fleet { tables: Tables::of(database), receivers: Receivers::stopped(|_| store, settings) }
            }
        }
    }

    /// Starts the receivers at once.
    pub(super) fn with(self, processes: usize) -> Self {
        Fleet { receivers: self.receivers.with(processes), ..self }
    }

    /// Counts occurrences of pieces in the files of the database.
    pub(super) async fn count_in_files(&self, pieces: &[Vec<u8>]) -> usize {
        self.tables.count_in_files(self.folder(), pieces).await
    }

    /// Waits until no event waits or is processed.
    pub(super) async fn until_ended(&self) {
        let ended = async || self.tables.rows("status < 2").await == 0;
        until("all events have ended", ended, async || self.state().await).await;
    }

    /// Waits until the application has recorded this many events.
    pub(super) async fn until_recorded(&self, number: usize) {
        let recorded = async || self.application.recorded() >= number;
        until(&format!("{number} are recorded"), recorded, async || self.state().await).await;
    }

    /// Waits until this many sends have ended.
    pub(super) async fn until_sent(&self, number: usize) {
        let enough = async || self.sender.sent() >= number;
        until(&format!("{number} are sent"), enough, async || self.state().await).await;
    }

    pub(super) async fn state(&self) -> String {
        let (statuses, recorded) = (self.tables.statuses().await, self.application.recorded());
        format!("{statuses}; {recorded} recorded, calls {:?}", self.application.calls())
    }
}

impl Deref for Fleet {
    type Target = Receivers;

    fn deref(&self) -> &Receivers {
        &self.receivers
    }
}

impl DerefMut for Fleet {
    fn deref_mut(&mut self) -> &mut Receivers {
        &mut self.receivers
    }
}

/// The name of the SQLite file in the folder of its receivers.
pub(super) const SQLITE: &str = "medhook.db";

/// Returns the URL of the SQLite file in the folder of its receivers.
pub(super) fn sqlite_in(folder: &Path) -> String {
    format!("sqlite:{}", folder.join(SQLITE).display())
}

impl Receivers {
    /// Creates the files, without an application or receivers. `store` returns the URL of the store, and is given the
    /// folder of the files.
    pub(super) fn stopped(store: impl FnOnce(&Path) -> String, settings: Settings) -> Self {
        let folder = TempDir::new().unwrap();
        let mut mounted = Mounted::at(folder.path().join("secrets"));
        mounted.swap(&mounted::files(&[1]));
        let sender = Sender::default();
        sender.sign_with(mounted::secrets(1));
        Receivers {
            application: Application::new(settings.inbox),
            sender,
            settings,
            mounted,
            processes: Vec::new(),
            store: store(folder.path()),
            folder,
            logs: Cell::new(0),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the receivers at once.
    pub(super) fn with(mut self, processes: usize) -> Self {
        let begun: Vec<_> = (0..processes).map(|_| self.prepare()).collect();
        let starting = |(command, log)| std::thread::spawn(move || Process::start(command, log));
        let starting: Vec<_> = begun.into_iter().map(starting).collect();
        self.processes = starting.into_iter().map(|starting| starting.join().unwrap()).collect();
        self.announce();
        self
    }

    /// Writes the config, and returns the command of a receiver and its log.
    fn prepare(&self) -> (Command, std::path::PathBuf) {
        self.write_config();
        let mut command = self.medhook();
        command.args(["receive", "--config", "medhook.toml", "--json"]);
        (command, self.log())
    }

    pub(super) fn write_config(&self) {
        let config = self.settings.toml(&self.application.url());
        std::fs::write(self.folder.path().join("medhook.toml"), config).unwrap();
    }

    /// Starts a receiver in place of another one that has ended, as a supervisor does: a receiver that finds its file
    /// locked by the others for 2 s exits, and is started again.
    pub(super) fn restart(&mut self, number: usize) {
        self.processes[number] = loop {
            let (command, log) = self.prepare();
            match Process::try_start(command, log) {
                Ok(process) => break process,
                Err(log) => assert!(log.contains("locked by another connection"), "{log}"),
            }
        };
        self.announce();
    }

    /// Sends SIGKILL, and starts another receiver.
    pub(super) fn kill(&mut self, number: usize) {
        self.processes[number].kill();
        self.restart(number);
    }

    /// Restarts all receivers, one after the other. As with a load balancer, nothing is sent to the one that ends.
    pub(super) async fn roll(&mut self) {
        for number in 0..self.processes.len() {
            self.replace(number).await;
        }
    }

    /// Stops a receiver with SIGTERM while nothing is sent to it, and starts another one.
    pub(super) async fn replace(&mut self, number: usize) {
        let others = self.processes.iter().enumerate().filter(|(other, _)| *other != number);
        self.sender.send_to(others.map(|(_, process)| process.address).collect());
        // Deliveries that were addressed before arrive.
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.look(number).await;
        self.processes[number].stop();
        self.restart(number);
    }

    pub(super) fn stop_all(&mut self) {
        self.signal("TERM");
        self.processes.iter_mut().for_each(Process::stop);
        self.sender.send_to(Vec::new());
    }

    pub(super) fn signal(&self, name: &str) {
        signal(name, &self.processes.iter().map(Process::id).collect::<Vec<_>>());
    }

    /// Sends deliveries to the receivers that run.
    pub(super) fn announce(&self) {
        self.sender.send_to(self.processes.iter().map(|process| process.address).collect());
    }

    /// Reads the metrics of a receiver into a log.
    pub(super) async fn look(&self, number: usize) -> String {
        let log = self.processes[number].log();
        let address = log.split("metrics at http://").nth(1).and_then(|rest| rest.split("/metrics").next());
        let address = address.expect("a line with the address of the metrics").parse().unwrap();
        let (status, text) = wire::ask(address, "GET /metrics HTTP/1.1\r\n", b"").await.unwrap();
        assert_eq!(status, 200);
        std::fs::write(self.log(), &text).unwrap();
        text
    }

    /// Runs a command of `medhook` that ends, such as `inbox list`.
    pub(super) fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.medhook().args(arguments).output().unwrap();
        std::fs::write(self.log(), [output.stdout.as_slice(), &output.stderr].concat()).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Reads a file that a command has written, and checks that only its owner can read it.
    pub(super) fn private_file(&self, name: &str) -> Vec<u8> {
        use std::os::unix::fs::MetadataExt;
        let path = self.folder.path().join(name);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        std::fs::read(path).unwrap()
    }

    fn medhook(&self) -> Command {
        // A run of an hour must not depend on a program that is compiled again meanwhile.
        let program = std::env::var_os("MEDHOOK_TEST_RELEASE").unwrap_or(env!("CARGO_BIN_EXE_medhook").into());
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).env("CHECK_STORE", &self.store);
        command
    }

    fn log(&self) -> std::path::PathBuf {
        let number = self.logs.replace(self.logs.get() + 1);
        self.folder.path().join(format!("{number:03}.log"))
    }

    /// Reads what must not carry marks, and searches all that the receivers and the commands wrote. Returns the bytes
    /// and the marks.
    pub(super) async fn silent(&self) -> (u64, usize) {
        for number in 0..self.processes.len() {
            self.look(number).await;
        }
        let unspeakable = mounted::unspeakable();
        let mut unspeakable: Vec<_> = unspeakable.iter().map(String::as_str).collect();
        // The password of the database.
        if let Some(password) = self.store.split(':').nth(2).and_then(|rest| rest.split('@').next())
            && (self.store.starts_with("postgres:") || self.store.starts_with("redis:"))
        {
            unspeakable.push(password);
        }
        marks::count_in_logs(self.folder.path(), &unspeakable)
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            marks::print_logs(self.folder.path());
        }
    }
}

/// Creates a database on the server that all tests share, since a config has no namespace.
async fn postgres() -> (Database, String) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("receive_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let server = Tables::of(Database::Postgres {
        url: medhook_tests::servers::shared_postgres(),
        namespace: "medhook".to_owned(),
    });
    let Database::Postgres { url: shared, .. } = &server.database else { unreachable!() };
    let (address, _) = shared.rsplit_once('/').unwrap();
    let url = format!("{address}/{name}");
    server.sql(&format!("CREATE DATABASE {name}")).await;
    (Database::Postgres { url: url.clone(), namespace: "medhook".to_owned() }, url)
}
