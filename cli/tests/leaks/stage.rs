//! A folder with a config file whose secrets are marked, and the commands that run in it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64ct::{Base64, Encoding};
use http::Response;
use http_body_util::Full;
use medhook::Bytes;

use crate::application::Application;
use crate::program::{Folder, Instance};
use crate::written::{MARK, Written};

/// Valid for schemes that use the text.
pub(crate) const HEALTHSYNC: &str = "c4n4ryhealthsync0123456789abcdef";
pub(crate) const MEDIQUO: &str = "c4n4rymediquo0123456789abcdef";
pub(crate) const TOKEN: &str = "c4n4rytoken0123456789abcdef";

/// Returns base64 of 32 bytes with the mark, as keys of the inbox and the application's secret have it.
fn key(name: &str) -> String {
    let text: String = format!("{MARK}{name}0123456789abcdef0123456789").chars().take(32).collect();
    Base64::encode_string(text.as_bytes())
}

/// Returns a secret of Standard Webhooks.
pub(crate) fn fasten() -> String {
    format!("whsec_{}", key("fasten"))
}

pub(crate) struct Stage {
    folder: Folder,
    pub(crate) application: Application,
    pub(crate) written: Written,
}

impl Stage {
    /// Starts an application that fails for events of the inbox, and writes the config file.
    pub(crate) async fn new() -> Self {
        let application = Application::start(|request, _| async move {
            let fails = request.uri().path() == "/inbox";
            let marked = Full::new(Bytes::from(format!("{{\"error\":\"{MARK} of the application\"}}")));
            let answer = Response::builder().status(if fails { 500 } else { 200 }).header("x-error", MARK);
            let answer = answer.header(format!("x-{MARK}"), "a").header("set-cookie", format!("{MARK}={MARK}"));
            answer.header("retry-after", MARK).body(marked).unwrap()
        })
        .await;
        let stage = Stage { folder: Folder::new(), application, written: Written::default() };
        stage.file("medhook.toml", &config(stage.application.address));
        for folder in ["tmp", "man"] {
            std::fs::create_dir(stage.path().join(folder)).unwrap();
        }
        stage
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, name: &str, content: &str) {
        self.folder.file(name, content);
    }

    /// Returns a command in the folder, with all secrets in its environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_medhook"));
        command
            .current_dir(self.path())
            .args(arguments)
            .env("HEALTHSYNC", HEALTHSYNC)
            .env("MEDIQUO", MEDIQUO)
            .env("FASTEN", fasten())
            .env("INBOX_KEY", key("inbox"))
            .env("FORWARD", key("forward"))
            .env("TOKEN", TOKEN)
            .env("NOT_BASE64", format!("whsec_{MARK} is no base64 !"))
            .env("PADDED", format!(" {MARK}-padded-0123456789 "))
            .env("POSTGRES", format!("postgres://{MARK}:{MARK}@127.0.0.1:1/medhook?options={MARK}"))
            .env("REDIS", format!("redis://{MARK}:{MARK}@127.0.0.1:1/0"))
            .env("NO_STORE", format!("{MARK}://{MARK}:{MARK}@127.0.0.1:1"))
            .env("TMPDIR", self.path().join("tmp"))
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts a receiver.
    pub(crate) fn receive(&self, arguments: &[&str]) -> Instance {
        Instance::reading(self.command(&[&["receive"], arguments].concat()))
    }

    /// Runs a command, and keeps what it writes.
    pub(crate) fn run(&mut self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        let place = format!("medhook {}", arguments.join(" "));
        self.written.add(format!("standard output of {place}"), output.stdout.clone());
        self.written.add(format!("standard error of {place}"), output.stderr.clone());
        output
    }

    /// Adds the log of a receiver that has ended.
    pub(crate) fn add_log(&mut self, instance: &Instance) {
        self.written.add("standard output of receive", instance.stdout().join("\n"));
        self.written.add("standard error of receive", instance.stderr().join("\n"));
    }

    /// Adds the files of the store, and what commands left in the folder for temporary files. Returns the bytes of the
    /// store.
    pub(crate) fn add_files(&mut self) -> usize {
        let mut bytes = 0;
        for entry in std::fs::read_dir(self.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with("medhook.db") {
                let content = std::fs::read(&path).unwrap();
                bytes += content.len();
                self.written.add(path.display().to_string(), content);
            }
        }
        self.written.add_files(&self.folder.path().join("tmp"));
        bytes
    }
}

fn config(application: SocketAddr) -> String {
    format!(
        r#"listen = "127.0.0.1:0"
drain_delay = "0s"
shutdown_timeout = "300ms"
store = "sqlite:medhook.db"
inbox_key = {{ env = "INBOX_KEY" }}

[operations]
listen = "127.0.0.1:0"
token = {{ env = "TOKEN" }}

[[endpoint]]
path = "/healthsync"
provider = "healthsync"
secrets = [{{ env = "HEALTHSYNC" }}]
inbox = true
forward = "http://{application}/inbox?key={MARK}"
forward_secret = {{ env = "FORWARD" }}
retry = {{ initial_backoff = "50ms", max_backoff = "50ms", max_age = "1h", max_attempts = 2 }}

[[endpoint]]
path = "/mediquo"
provider = "mediquo"
secrets = [{{ env = "MEDIQUO" }}]
inbox = false
forward = "http://{application}/direct?key={MARK}"

[[endpoint]]
path = "/fasten"
provider = "fasten"
mode = "live"
secrets = [{{ env = "FASTEN" }}]
"#
    )
}
