//! A receiver with its files and its store, and the shell in which the blocks of the guide run.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::guide;
use crate::metrics::operations;
use crate::program::{Folder, INBOX_KEY, Instance, SECRET, with_secrets};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
}

/// The result of a block.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

pub(super) struct Stage {
    pub(super) folder: Folder,
    pub(super) which: Which,
    /// The keys of the config file that drills change.
    pub(super) keys: Vec<&'static str>,
    pub(super) top: String,
    pub(super) more: String,
    pub(super) instance: Option<Instance>,
    application: String,
    /// PostgreSQL: the URL of the server, and the names of the database in use and of the one to restore into.
    server: String,
    database: Cell<usize>,
    /// The blocks that the drill has still to run.
    left: RefCell<Vec<&'static str>>,
}

impl Stage {
    /// Creates the files and the store of a receiver that forwards to this URL, for a drill that runs these blocks.
    /// Returns `None` if a program is missing.
    pub(super) async fn new(which: Which, blocks: &[&'static str], application: String) -> Option<Self> {
        if !has_programs(which) {
            return None;
        }
        let folder = Folder::new();
        for name in ["secrets", "state", "backups", "escrow", "bin", "new"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let program = Path::new(env!("CARGO_BIN_EXE_medhook"));
        let linked = folder.path().join("bin/medhook");
        if std::fs::hard_link(program, &linked).is_err() {
            std::fs::copy(program, &linked).unwrap();
        }
        folder.file("secrets/mediquo", SECRET);
        folder.file("secrets/inbox.key", INBOX_KEY);
        folder.file("secrets/page-token", "drill-of-the-page-token-0123456789");
        let mut stage = Stage {
            folder,
            which,
            keys: vec!["inbox.key"],
            top: String::new(),
            more: String::new(),
            instance: None,
            application,
            server: String::new(),
            database: Cell::new(0),
            left: RefCell::new(blocks.to_vec()),
        };
        #[cfg(feature = "postgres")]
        if which == Which::Postgres {
            stage.server = medhook_tests::servers::shared_postgres();
            stage.create_database().await;
        }
        stage.use_database();
        Some(stage)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes the config file, and starts a receiver.
    pub(super) fn start(&mut self) {
        let command = self.receive();
        self.instance = Some(Instance::reading(command));
    }

    /// Stops the receiver as a supervisor does.
    pub(super) fn stop(&mut self) {
        let mut instance = self.instance.take().unwrap();
        assert_eq!(instance.terminate().code(), Some(0), "{:?}", instance.stderr());
    }

    pub(super) fn restart(&mut self) {
        self.stop();
        self.start();
    }

    pub(super) fn instance(&self) -> &Instance {
        self.instance.as_ref().unwrap()
    }

    /// Writes the config file, and returns the command of a receiver.
    pub(super) fn receive(&self) -> Command {
        self.write_config();
        let mut command = Command::new(self.path("bin/medhook"));
        with_secrets(&mut command, &self.folder);
        command.args(["receive", "--config"]).arg(self.path("medhook.toml"));
        command
    }

    pub(super) fn write_config(&self) {
        let secrets = self.path("secrets");
        let secrets = secrets.display();
        let keys: Vec<_> = self.keys.iter().map(|key| format!("{{ file = \"{secrets}/{key}\" }}")).collect();
        self.folder.file(
            "medhook.toml",
            &format!(
                "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = {{ file = \"{secrets}/store\" }}\n\
                 inbox_key = [{}]\n{}\n[operations]\nlisten = \"127.0.0.1:0\"\n\
                 token = {{ file = \"{secrets}/page-token\" }}\n[[endpoint]]\npath = \"/mediquo\"\n\
                 provider = \"mediquo\"\nname = \"mediquo\"\nlease = \"1s\"\ninbox = true\nforward = \"{}\"\n{}\n\
                 secrets = [{{ file = \"{secrets}/mediquo\" }}, {{ file = \"{secrets}/mediquo-new\", optional = true }}]\n",
                keys.join(", "),
                self.top,
                self.application,
                if self.more.is_empty() {
                    "retry = { initial_backoff = \"20ms\", max_backoff = \"200ms\" }"
                } else {
                    &self.more
                },
            ),
        );
    }

    /// Runs a block of the guide.
    pub(super) fn run(&self, block: &str) -> Ran {
        self.run_with(block, "")
    }

    /// Runs a block of the guide, and asserts that it succeeds. Returns its output.
    pub(super) fn succeeds(&self, block: &str) -> String {
        let ran = self.run(block);
        assert_eq!(ran.code, 0, "{block}: {ran:?} {:?}", self.instance.as_ref().map(Instance::stderr));
        ran.out
    }

    /// Runs a block of the guide with this standard input.
    pub(super) fn run_with(&self, block: &str, input: &str) -> Ran {
        self.left.borrow_mut().retain(|left| *left != block);
        self.shell(&guide::commands(block), input)
    }

    /// Runs commands with the variables of the guide.
    pub(super) fn shell(&self, commands: &str, input: &str) -> Ran {
        let mut command = Command::new("bash");
        command.args(["-euc", commands]).current_dir(self.folder.path()).envs(self.variables());
        command.env("PATH", format!("{}:{}", self.path("bin").display(), path_with_postgres()));
        command.env("PGSERVICEFILE", self.path("services"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = tokio::task::block_in_place(|| child.wait_with_output().unwrap());
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.path(name).display().to_string();
        let instance = self.instance.as_ref();
        // Without a receiver, the commands use a port at which nothing listens.
        let (operations, public) = match instance {
            Some(instance) => (operations(instance).to_string(), instance.address.to_string()),
            None => ("127.0.0.1:9".to_owned(), "127.0.0.1:9".to_owned()),
        };
        let variables = vec![
            ("config", path("medhook.toml")),
            ("secrets", path("secrets")),
            ("state", path("state")),
            ("backups", path("backups")),
            ("escrow", path("escrow")),
            ("operations", format!("http://{operations}")),
            ("public", public),
            ("program", path("bin/medhook")),
            ("restored", self.name(self.database.get() + 1)),
        ];
        let exported: String = variables.iter().map(|(name, _)| format!("export {name}\n")).collect();
        let printed = guide::commands("variables");
        let printed: String = printed.lines().map(|line| format!("{}\n", line.split_once('=').unwrap().0)).collect();
        assert_eq!(printed, exported, "the variables of the guide are those of the drills");
        variables
    }

    /// Returns the rows of `medhook inbox stats`.
    pub(super) fn stats(&self) -> Value {
        let ran = self.shell("medhook inbox stats --config \"$config\" --json", "");
        serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"))
    }

    /// Returns the number of events that wait or are leased.
    pub(super) fn unfinished(&self) -> usize {
        let stats = self.stats();
        let count = |status: &str| usize::try_from(stats[status].as_u64().unwrap()).unwrap();
        count("waiting") + count("processing")
    }

    /// Lets the config file name the database that was restored.
    pub(super) fn use_restored(&self) {
        self.database.set(self.database.get() + 1);
        self.use_database();
    }

    /// Writes the URL of the store, and the service of PostgreSQL's programs.
    fn use_database(&self) {
        let url = match self.which {
            Which::Sqlite => format!("sqlite:{}", self.path("state/medhook.db").display()),
            #[cfg(feature = "postgres")]
            Which::Postgres => {
                format!("{}/{}", self.server.rsplit_once('/').unwrap().0, self.name(self.database.get()))
            }
        };
        self.folder.file("secrets/store", &url);
        let Some((_, rest)) = self.server.split_once("://") else { return };
        let (user, rest) = rest.split_once(':').unwrap();
        let (password, rest) = rest.split_once('@').unwrap();
        let (host, rest) = rest.split_once(':').unwrap();
        let (port, _) = rest.split_once('/').unwrap();
        // The database that backups are made of.
        let database = self.name(0);
        self.folder.file(
            "services",
            &format!("[medhook]\nhost={host}\nport={port}\nuser={user}\npassword={password}\ndbname={database}\n"),
        );
    }

    /// Returns the name of a database, which no other stage has.
    fn name(&self, number: usize) -> String {
        let folder = self.folder.path().file_name().unwrap().to_str().unwrap();
        format!("{}_{number}", folder.replace('-', "_"))
    }

    #[cfg(feature = "postgres")]
    async fn create_database(&self) {
        use sqlx::{AssertSqlSafe, Connection, PgConnection};
        let mut server = PgConnection::connect(&self.server).await.unwrap();
        let create = format!("CREATE DATABASE {}", self.name(0));
        sqlx::query(AssertSqlSafe(create)).execute(&mut server).await.unwrap();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.left.borrow().is_empty(), "the drill has not run {:?}", self.left.borrow());
        }
    }
}

/// Returns the path on which PostgreSQL's programs are found first.
fn path_with_postgres() -> String {
    let path = std::env::var("PATH").unwrap();
    std::env::var("MEDHOOK_TEST_POSTGRES_BIN").map_or_else(|_| path.clone(), |bin| format!("{bin}:{path}"))
}

/// Returns whether the programs of the guide are installed. `scripts/production-drills` requires them.
fn has_programs(which: Which) -> bool {
    let mut programs = vec!["bash", "curl", "jq", "openssl", "sqlite3"];
    if which != Which::Sqlite {
        programs.extend(["createdb", "pg_dump", "pg_restore", "psql"]);
    }
    let runs =
        |program: &&str| Command::new(program).env("PATH", path_with_postgres()).arg("--version").output().is_ok();
    let missing: Vec<_> = programs.iter().filter(|program| !runs(program)).collect();
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var_os("MEDHOOK_TEST_DRILLS").is_none(), "not found: {missing:?}");
    println!("SKIPPED: not found: {missing:?}");
    false
}
