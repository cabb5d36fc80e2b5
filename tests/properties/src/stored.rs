//! An attacker who can write the tables of an inbox cannot make a sealed event another one, and no content of a row
//! makes an operator's command or a worker panic.
//!
//! The input begins with a letter: `p` and the stored body of an inbox in clear; `s` and the stored body of a sealed
//! one; `x`, the number of a column, a position and a mask for a byte of a sealed row; `r` and lines for the texts of a
//! row.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use medhook::inbox::{Bodies, Filter, Keyring, Operator, Status};
use medhook::testing::Signing;
use medhook::{Bytes, Custom, Delivery, Handled, HmacSha256Body, Inbox, Reason, Receiver, Secret, SqliteStore, Worker};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Row as _};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::{SECRET, secret};

const BODY: &[u8] = b"{\"id\":\"evt_1\",\"type\":\"ready\"}";
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

pub(super) fn holds(data: &[u8]) {
    thread_local! {
        static CLEAR: RefCell<Stage> = RefCell::new(Stage::new(Bodies::plaintext()));
        static SEALED: RefCell<Stage> = RefCell::new(Stage::new(Bodies::sealed(
            Keyring::new(Secret::new(KEY).expect("a secret")).expect("a key"),
        )));
    }
    match data {
        [b'p', stored @ ..] => CLEAR.with_borrow_mut(|stage| {
            stage.store();
            stage.set("medhook_inbox_bodies", "sealed", stored);
            let body = stage.body();
            if let Some(body) = &body {
                let (head, expected) = record(stored).expect("a record");
                assert!(body == expected && (head.is_object() || head.is_array()));
            }
            if let Some(handled) = stage.attempt() {
                assert_eq!(body, Some(handled));
            }
        }),
        [b's', stored @ ..] => SEALED.with_borrow_mut(|stage| {
            stage.store();
            stage.set("medhook_inbox_bodies", "sealed", stored);
            assert_eq!(stage.body(), None);
            assert_eq!(stage.attempt(), None);
        }),
        [b'x', column, at, mask] => SEALED.with_borrow_mut(|stage| {
            stage.store();
            let columns = [
                ("medhook_inbox_bodies", "sealed"),
                ("medhook_inbox", "row_key"),
                ("medhook_inbox", "stored_by"),
                ("medhook_inbox", "sealed_key"),
            ];
            let (table, column) = columns[usize::from(*column) % columns.len()];
            let mut bytes = stage.get(table, column);
            let at = usize::from(*at) % bytes.len();
            bytes[at] ^= mask;
            stage.set(table, column, &bytes);
            let is_bound = column != "sealed_key";
            let expected = (*mask == 0 || !is_bound).then_some(Bytes::from_static(BODY));
            assert_eq!(stage.body(), expected, "{column} {at}");
            assert_eq!(stage.entry().and_then(|entry| entry.event_key).is_some(), *mask == 0 || column == "sealed");
            assert_eq!(stage.attempt(), expected);
        }),
        [b'r', texts @ ..] => SEALED.with_borrow_mut(|stage| {
            stage.store();
            let mut lines =
                texts.splitn(4, |byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).into_owned());
            let mut line = || lines.next().unwrap_or_default();
            let (kind, label, reason, provider) = (line(), line(), line(), line());
            for (column, text) in [("kind", &kind), ("secret", &label), ("reason", &reason), ("provider", &provider)] {
                stage.set_text(column, text);
            }
            let entry = stage.entry().expect("its texts are only shown");
            assert_eq!((entry.kind, entry.secret), (kind, label));
            assert_eq!(stage.body().as_deref(), Some(BODY));
            assert_eq!(stage.attempt().is_some(), provider == "acme");
        }),
        _ => {}
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let head = r#"{"event_key":[7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7],"recurring_body":null,"id_from":"body","signature_scope":"body_and_time","message_id":"msg_1","attempted_at":1700000000,"secret":"2026","path":"/","content_type":null,"possible_duplicate":null}"#;
    let record =
        |head: &str, body: &[u8]| [&[0, 1][..], &(head.len() as u32).to_be_bytes(), head.as_bytes(), body].concat();
    let heads = [
        head.to_owned(),
        head.replace("\"body\"", "\"unsigned_header\""),
        head.replace(
            "\"possible_duplicate\":null",
            "\"possible_duplicate\":[-9223372036854775808,18446744073709551615]",
        ),
        head.replace("1700000000", "9223372036854775807"),
        head.replace("null,\"id_from\"", "[1],\"id_from\""),
        head.replace(
            '}',
            ",\"unsigned\":{\"id\":\"a\",\"source\":null,\"kind\":\"b\",\"time\":null},\"event_time\":-1}",
        ),
        head.replace("\"body_and_time\"", "\"later\""),
        head.replace("\"content_type\":null", "\"content_type\":\"\\u0000\\n\""),
    ];
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for head in &heads {
        let stored = record(head, BODY);
        seeds.push([&b"p"[..], &stored].concat());
    }
    seeds.push([&b"p"[..], &record(head, b"")].concat());
    let sealed = [&[1, 0xf4, 0x6b, 0x95, 0x39][..], &[0; 60]].concat();
    seeds.push([&b"s"[..], &record(head, BODY)].concat());
    seeds.push([&b"s"[..], &sealed].concat());
    seeds.push(b"s\x01\0\0\0\0".to_vec());
    seeds.extend(
        (0..4).flat_map(|column| [(0, 0), (0, 1), (7, 128), (40, 2)].map(|(at, mask)| vec![b'x', column, at, mask])),
    );
    seeds.push(b"rready\n2026\nstatus_503\nacme".to_vec());
    seeds.push(b"r\x1b[2J\n<script>\n\0\nother".to_vec());
    seeds
}

/// Returns the head and the body of a record in clear.
fn record(stored: &[u8]) -> Option<(Value, &[u8])> {
    let [0, 1, a, b, c, d, rest @ ..] = stored else { return None };
    let (head, body) = rest.split_at_checked(u32::from_be_bytes([*a, *b, *c, *d]) as usize)?;
    Some((serde_json::from_slice(head).ok()?, body))
}

/// A receiver with an inbox in a file, and a connection of the attacker.
struct Stage {
    runtime: Runtime,
    inbox: Inbox,
    receiver: Receiver,
    connection: SqliteConnection,
    /// The id of the event.
    id: i64,
    _folder: TempDir,
}

impl Stage {
    fn new(bodies: Bodies) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        // In memory where there is such a file system: nothing here has to survive.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
        let file = folder.path().join("inbox.db");
        let (inbox, connection) = runtime.block_on(async {
            let store = SqliteStore::open(&file).await.expect("a store");
            let connection = SqliteConnectOptions::new().filename(&file).connect().await.expect("a connection");
            (store.inbox(bodies).await.expect("an inbox"), connection)
        });
        let acme = Custom::new("acme", HmacSha256Body::new("x-signature"), secret());
        let acme = acme.id_pointer("/id").kind_pointer("/type").known_kinds(["ready"]);
        let receiver = Receiver::builder("property", acme).inbox(inbox.clone()).build().expect("a receiver");
        Stage { runtime, inbox, receiver, connection, id: 0, _folder: folder }
    }

    fn execute(&mut self, sql: &'static str) {
        self.runtime.block_on(sqlx::query(sql).execute(&mut self.connection)).expect("executed");
    }

    /// Stores the event, and removes an earlier one.
    fn store(&mut self) {
        for sql in [
            "DELETE FROM medhook_inbox_bodies",
            "DELETE FROM medhook_inbox",
            "DELETE FROM medhook_inbox_audit",
            "DELETE FROM medhook_events",
        ] {
            self.execute(sql);
        }
        let headers = Signing::hmac_sha256("x-signature").headers(SECRET, "", "", BODY).expect("signed");
        let verified = self.receiver.verify(&headers, Bytes::from_static(BODY)).expect("genuine");
        let delivery = self.receiver.open(verified).expect("a delivery");
        let admitted = self.receiver.admit(delivery).expect("a permit");
        let stored = self.runtime.block_on(admitted.run(async {}, |()| true)).expect_err("stored");
        assert_eq!(stored.reason(), Reason::Stored);
        let entries = self.runtime.block_on(self.inbox.list(&Filter::new())).expect("listed");
        self.id = entries.first().expect("an event").id;
    }

    fn set(&mut self, table: &str, column: &str, bytes: &[u8]) {
        let sql = format!("UPDATE {table} SET {column} = ?1");
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(bytes);
        self.runtime.block_on(query.execute(&mut self.connection)).expect("updated");
    }

    fn set_text(&mut self, column: &str, text: &str) {
        let sql = format!("UPDATE medhook_inbox SET {column} = ?1");
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(text);
        self.runtime.block_on(query.execute(&mut self.connection)).expect("updated");
    }

    fn get(&mut self, table: &str, column: &str) -> Vec<u8> {
        let sql = format!("SELECT {column} FROM {table}");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(&mut self.connection);
        self.runtime.block_on(row).expect("a row").get(0)
    }

    /// Returns the body as an operator reads it, or `None` if it cannot be opened.
    fn body(&self) -> Option<Bytes> {
        let operator = Operator::new("jdoe", "ticket 1").expect("an operator");
        match self.runtime.block_on(self.inbox.body(self.id, &operator)) {
            Ok(body) => Some(body.expect("it has a body")),
            Err(error) => {
                assert!(error.to_string().contains("cannot be opened"), "{error}");
                None
            }
        }
    }

    fn entry(&self) -> Option<medhook::inbox::Entry> {
        self.runtime.block_on(self.inbox.show(self.id)).expect("shown")
    }

    /// Attempts the event. Returns the body that the handler got, or `None` if it did not run.
    fn attempt(&self) -> Option<Bytes> {
        let handled = Arc::new(Mutex::new(None));
        let seen = handled.clone();
        let handler = move |delivery: Delivery| {
            let shown = format!("{delivery:?} {:?} {:?}", delivery.event_key(), delivery.possible_duplicate());
            assert!(!shown.is_empty());
            *seen.lock().expect("no panic") = Some(delivery.body().clone());
            async { Handled::done() }
        };
        let worker = Worker::builder(&self.receiver).workers(1).handler(handler).expect("a worker");
        self.runtime.block_on(async {
            let before = self.inbox.show(self.id).await.expect("shown").expect("an event").reason;
            let running = tokio::spawn(worker.run());
            loop {
                let entry = self.inbox.show(self.id).await.expect("shown").expect("an event");
                let is_ended = matches!(entry.status, Status::Done | Status::Dead);
                // An event that cannot be opened waits, and says why.
                let is_postponed = entry.status == Status::Waiting
                    && (entry.reason != before || entry.due.is_some_and(|due| due > entry.stored_at + WAIT));
                if is_ended || is_postponed {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            running.abort();
            let _ = running.await;
        });
        handled.lock().expect("no panic").take()
    }
}

/// Less than the time for which an event waits that cannot be opened, and more than its first attempt takes.
const WAIT: std::time::Duration = std::time::Duration::from_secs(30);
