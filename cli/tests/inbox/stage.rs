//! A store with events, and the config file of its inbox.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use medhook::inbox::{AuditEntry, Counts};
use medhook::{
    Bodies, Bytes, Custom, DedupeStore, Delivery, Handled, Inbox, Keyring, Reason, Receiver, RequestHead, Retry,
    Secret, SharedSecret, SqliteStore, Worker,
};

use crate::program::{CANARY, Ran, medhook};

pub(crate) const ENDPOINT: &str = "clinic";
pub(crate) const KIND: &str = "report.amended";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// The keys of the inbox, by the number in the name of their file.
const KEYS: [&str; 3] = [
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "/////////////////////////////////////////v8=",
    "CzBVep/E6Q4zWH2ix+wRNluApcrvFDleg6jN8hc8YYY=",
];

/// The config file of a stage, without the store.
pub(crate) const CONFIG: &str = r#"
inbox_key = { file = "key0" }

[[endpoint]]
path = "/clinic"
name = "clinic"
provider = "custom"
provider_name = "acme"
scheme = "shared-secret"
header = "x-key"
id_pointer = "/id"
kind_pointer = "/kind"
known_kinds = ["report.amended"]
secrets = [{ file = "secret" }]
forward = "http://127.0.0.1:9/clinic"
inbox = true

[[endpoint]]
path = "/plain"
name = "plain"
provider = "custom"
scheme = "shared-secret"
header = "x-key"
secrets = [{ file = "secret" }]
"#;

pub(crate) struct Stage {
    folder: tempfile::TempDir,
    pub(crate) inbox: Inbox,
    pub(crate) receiver: Receiver,
}

impl Stage {
    /// Creates a stage with an empty SQLite store.
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("medhook.db")).await.unwrap();
        let inbox = store.inbox(bodies()).await.unwrap();
        Stage::new(folder, inbox, "sqlite:medhook.db")
    }

    pub(crate) fn new(folder: tempfile::TempDir, inbox: Inbox, url: &str) -> Self {
        for (number, key) in KEYS.iter().enumerate() {
            std::fs::write(folder.path().join(format!("key{number}")), key).unwrap();
        }
        std::fs::write(folder.path().join("secret"), SECRET).unwrap();
        let receiver = Receiver::builder(ENDPOINT, acme()).inbox(inbox.clone()).build().unwrap();
        let stage = Stage { folder, inbox, receiver };
        stage.file("store", url);
        stage.config(CONFIG);
        stage
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Writes the config file, with the store of the stage.
    pub(crate) fn config(&self, config: &str) {
        self.file("medhook.toml", &format!("store = {{ file = \"store\" }}\n{config}"));
    }

    /// Runs `medhook` with these arguments.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        medhook(self.folder(), arguments)
    }

    /// Runs `medhook inbox`.
    pub(crate) fn inbox(&self, arguments: &[&str]) -> Ran {
        self.run(&[&["inbox"], arguments].concat())
    }

    /// Stores an event with this number. The event with number N has the id N in a new store.
    pub(crate) async fn store(&self, number: u32) -> Reason {
        deliver(&self.receiver, number).await
    }

    /// Handles all events that are due, each with this result. A retry is the last attempt.
    pub(crate) async fn handle(&self, result: fn(&Delivery) -> Handled) {
        self.handle_keeping(result, Duration::ZERO).await;
    }

    pub(crate) async fn handle_keeping(&self, result: fn(&Delivery) -> Handled, retain_done: Duration) {
        let retry = Retry::exponential(Duration::from_millis(1), Duration::from_millis(1)).max_attempts(1);
        let worker = Worker::builder(&self.receiver).retry(retry).workers(1).retain_done(retain_done);
        let worker = worker.handler(move |delivery: Delivery| std::future::ready(result(&delivery))).unwrap();
        let worker = tokio::spawn(worker.run());
        until(async || {
            self.counts().await.endpoints.iter().all(|counts| counts.waiting == 0 && counts.processing == 0)
        })
        .await;
        worker.abort();
        let _ = worker.await;
    }

    pub(crate) async fn counts(&self) -> Counts {
        self.inbox.counts().await.unwrap()
    }

    /// Returns the audit entries after the one with this id.
    pub(crate) async fn audit(&self) -> Vec<AuditEntry> {
        self.inbox.audit(0, 1_000).await.unwrap()
    }

    /// Returns action, subject, actor and reason of all audit entries.
    pub(crate) async fn audited(&self) -> Vec<String> {
        let line = |entry: AuditEntry| {
            let AuditEntry { actor, action, subject, reason, .. } = entry;
            format!("{action} {subject} {actor} {reason}")
        };
        self.audit().await.into_iter().map(line).collect()
    }
}

pub(crate) fn bodies() -> Bodies {
    Bodies::sealed(Keyring::new(Secret::new(KEYS[0]).unwrap()).unwrap())
}

fn acme() -> Custom {
    Custom::new("acme", SharedSecret::new("x-key"), Secret::new(SECRET).unwrap())
        .id_pointer("/id")
        .kind_pointer("/kind")
        .known_kinds([KIND])
}

/// Returns a receiver without an inbox.
pub(crate) fn plain(endpoint: &str, store: Arc<dyn DedupeStore>) -> Receiver {
    Receiver::builder(endpoint, acme()).store(store).build().unwrap()
}

pub(crate) fn id(number: u32) -> String {
    format!("{CANARY}-{number}")
}

/// Returns the reason why a delivery of this event did not reach a handler.
pub(crate) async fn deliver(receiver: &Receiver, number: u32) -> Reason {
    admitted(receiver, number).await.run(async {}, |()| true).await.map_err(|rejection| rejection.reason()).unwrap_err()
}

/// Returns an admitted delivery of this event.
pub(crate) async fn admitted(receiver: &Receiver, number: u32) -> medhook::Admitted {
    let body = Bytes::from(format!("{{\"id\":\"{}\",\"kind\":\"{KIND}\"}}", id(number)));
    let mut headers = http::HeaderMap::new();
    headers.insert("x-key", SECRET.parse().unwrap());
    let head = RequestHead::new("POST", "/clinic", &headers);
    let body = futures_util::stream::iter([Ok::<_, std::io::Error>(body)]);
    match receiver.receive(&head, body).await.unwrap() {
        medhook::Received::Delivery(delivery) => receiver.admit(delivery).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Waits until a condition holds.
pub(crate) async fn until(condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), waiting).await.expect("the condition holds");
}

pub(crate) fn not_found(_: &Delivery) -> Handled {
    Handled::from(http::StatusCode::NOT_FOUND)
}

pub(crate) fn done(_: &Delivery) -> Handled {
    Handled::done()
}
