//! Every store, and every inbox with a worker whose handler fails, panics and succeeds. Then all that the databases of
//! the servers contain is printed, as a dump has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use medhook::inbox::{Filter, Keep, Operator};
use medhook::{
    AttemptOutcome, Bodies, Bytes, Custom, DedupeStore, Delivery, EchoToken, Found, Handled, Handshake, Headers, Inbox,
    Keyring, PostgresStore, Received, Receiver, RedisStore, RequestHead, Retry, Secret, SharedSecret, SqliteStore,
    Worker,
};
use medhook_tests::leaks::Search;
use medhook_tests::servers::{shared_postgres, shared_redis};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::Printed;
use crate::plant::{SECRET, TEXT_SECRET};

/// Runs all of it on an SQLite file in this folder, and on the servers that all tests share.
pub async fn play(folder: &std::path::Path, printed: &Printed) {
    let namespace = format!("leaks_{}_sealed", std::process::id());
    let sqlite = SqliteStore::open(folder.join("inbox.db")).await.expect("a store");
    let inbox = sqlite.inbox(bodies("first")).await.expect("an inbox");
    operate("sqlite", &inbox, Arc::new(sqlite.clone()), printed).await;
    printed.add(&format!("{:?}", sqlite.inbox(bodies("other")).await.map(drop)));
    printed.add(&format!("{:?}", sqlite.inbox(Bodies::plaintext()).await.map(drop)));

    let postgres = PostgresStore::builder().namespace(&namespace).connect(&shared_postgres()).await.expect("a store");
    printed.add(&format!("{postgres:?}"));
    let inbox = postgres.inbox(bodies("first")).await.expect("an inbox");
    operate("postgres", &inbox, Arc::new(postgres.clone()), printed).await;
    printed.add(&format!("{:?}", postgres.inbox(bodies("other")).await.map(drop)));
    dump_postgres(&namespace, printed).await;
    in_clear(&namespace.replace("sealed", "clear"), printed).await;

    let redis = RedisStore::builder().namespace(&namespace).connect(&shared_redis()).await.expect("a store");
    printed.add(&format!("{redis:?}"));
    deliver_each(&direct("redis", Arc::new(redis)), 0, printed).await;
    dump_redis(&namespace, printed).await;

    unreachable(printed).await;
    print_parts(printed).await;
}

/// Prints the parts of a request that are public types, and the reply to a handshake.
async fn print_parts(printed: &Printed) {
    let headers = [("x-key", TEXT_SECRET), ("x-token", "canarytoken"), ("x-other", SECRET)];
    let head = RequestHead::new("GET", "/canarypath?challenge=canarychallenge", &headers[..]);
    let found = Headers::find(&headers[..], &http::HeaderName::from_static("x-token"));
    assert_eq!(found, Found::Once(b"canarytoken"));
    let sample = medhook::testing::healthsync("document.uploaded").secret(TEXT_SECRET).id("canaryid");
    printed.add(&format!("{head:?} {found:?} {sample:?} {:?}", sample.clone().body("canarybody")));
    let token = EchoToken::header("x-token", Secret::new("canarytoken").expect("a secret"));
    for handshake in [Handshake::echo_text("challenge", token), Handshake::hmac("challenge", "answer")] {
        let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new(TEXT_SECRET).expect("a secret"));
        let custom = custom.handshake(handshake);
        printed.add(&format!("{custom:?}"));
        let receiver = Receiver::builder("handshakes", custom).store(medhook::NoDedupe).build().expect("a receiver");
        let body = futures_util::stream::empty::<Result<Bytes, std::io::Error>>();
        let reply = receiver.receive(&head, body).await;
        assert!(matches!(&reply, Ok(Received::Reply(reply)) if !reply.body.is_empty()), "{reply:?}");
        printed.add(&format!("{reply:?}"));
    }
}

/// Returns sealed bodies under a marked key.
fn bodies(name: &str) -> Bodies {
    Bodies::sealed(Keyring::new(key(name)).expect("a keyring"))
}

/// Returns a key: the base64 of 32 bytes that begin with a mark.
fn key(name: &str) -> Secret {
    use base64ct::{Base64, Encoding};
    let text: String = format!("Canary {name} 0123456789abcdef0123456789").chars().take(32).collect();
    Secret::new(Base64::encode_string(text.as_bytes())).expect("a secret")
}

fn acme() -> Custom {
    let scheme = SharedSecret::new("x-key").also_header("x-other", Secret::new(SECRET).expect("a secret"));
    let custom = Custom::new("acme", scheme, Secret::new(TEXT_SECRET).expect("a secret"));
    custom.id_pointer("/id").kind_pointer("/kind").known_kinds(["known"])
}

/// Returns a receiver without an inbox.
fn direct(name: &str, store: Arc<dyn DedupeStore>) -> Receiver {
    Receiver::builder(name, acme()).store(store).build().expect("a receiver")
}

/// The number of events in a row.
const EVENTS: usize = 4;

/// Delivers events with the numbers from this one on, and the first of them again, and prints what becomes of them. The
/// handler fails for each first delivery.
async fn deliver_each(receiver: &Receiver, from: usize, printed: &Printed) {
    for number in (from..from + EVENTS).chain([from]) {
        for succeeds in [false, true] {
            let mut headers = http::HeaderMap::new();
            headers.insert("x-key", TEXT_SECRET.parse().expect("a value"));
            headers.insert("x-other", SECRET.parse().expect("a value"));
            headers.insert("cookie", "canarycookie".parse().expect("a value"));
            let body = body(number);
            let head = RequestHead::new("POST", "/canarypath?canaryquery", &headers);
            let pieces = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(body))]);
            match receiver.receive(&head, pieces).await {
                Ok(Received::Delivery(delivery)) => {
                    printed.add(&format!("{delivery:?}"));
                    let admitted = receiver.admit(delivery).expect("no limit is reached");
                    printed.add(&format!("{admitted:?}"));
                    let ended = admitted.run(async {}, move |()| succeeds).await;
                    printed.add(&format!("{:?}", ended.map(drop)));
                }
                other => printed.add(&format!("{other:?}")),
            }
        }
    }
}

/// Returns a body with marks as texts, as names of members, and as kinds that no documentation has.
fn body(number: usize) -> String {
    let kind = if number.is_multiple_of(2) { "known" } else { "canarykind" };
    let nested = serde_json::json!({ "canarykey": [["canarytext", { "canary\u{0}": "\u{feff}canary" }]] });
    serde_json::json!({ "id": format!("canaryid{number}"), "kind": kind, "nested": nested }).to_string()
}

/// Stores events, has a worker attempt them, and uses every operation of an inbox.
async fn operate(name: &str, inbox: &Inbox, store: Arc<dyn DedupeStore>, printed: &Printed) {
    deliver_each(&direct(&format!("{name}-direct"), store), 0, printed).await;
    let receiver = Receiver::builder(name, acme()).inbox(inbox.clone()).build().expect("a receiver");
    deliver_each(&receiver, 0, printed).await;
    let short = Duration::from_millis(1);
    let retry = Retry::exponential(short, short).max_attempts(2);
    let (attempts, seen) = (printed.clone(), printed.clone());
    let ended = Arc::new(AtomicUsize::new(0));
    let count = ended.clone();
    let worker = Worker::builder(&receiver).retry(retry).workers(1).retain_dead(Duration::from_secs(3_600));
    let worker = worker.retain_done(Duration::from_secs(3_600)).on_attempt(move |report| {
        attempts.add(&format!("{report:?}"));
        if matches!(report.outcome, AttemptOutcome::Done | AttemptOutcome::Dead { .. }) {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let worker = worker.handler(move |delivery: Delivery| {
        seen.add(&format!("{delivery:?}"));
        let body = delivery.body().clone();
        async move {
            let ends = |digit: &[u8]| body.windows(digit.len()).any(|part| part == digit);
            match () {
                () if ends(b"canaryid1") => panic!("canarypanic"),
                () if ends(b"canaryid2") => Handled::from(http::StatusCode::INTERNAL_SERVER_ERROR),
                () => Handled::done(),
            }
        }
    });
    let worker = worker.expect("a worker");
    printed.add(&format!("{inbox:?} {worker:?} {receiver:?}"));
    let worker = tokio::spawn(worker.run());
    let unfinished = async || {
        let counts = inbox.counts().await.expect("counts");
        printed.add(&format!("{counts:?}"));
        counts.endpoints.iter().any(|endpoint| endpoint.waiting + endpoint.processing > 0)
    };
    // The last result is recorded before its line is logged, and reported after it.
    let waiting = async {
        while unfinished().await || ended.load(Ordering::SeqCst) < EVENTS {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), waiting).await.expect("the events end");
    worker.abort();
    let operator = Operator::new("tester", "a check").expect("an operator");
    let entries = inbox.list(&Filter::new()).await.expect("a list");
    assert_eq!(entries.len(), EVENTS, "{entries:?}");
    printed.add(&format!("{entries:?} {:?}", inbox.count_kinds().await));
    for entry in &entries {
        printed.add(&format!("{:?} {:?}", inbox.show(entry.id).await, inbox.replay(entry.id, &operator).await));
        let opened = inbox.body(entry.id, &operator).await.expect("a body").expect("the event has one");
        assert!(opened.windows(6).any(|part| part == b"canary"), "the event was stored, and opens");
        printed.add(&format!("{:?}", inbox.discard(entry.id, &operator).await));
    }
    printed.add(&format!("{:?} {:?}", inbox.hold(&operator).await, inbox.release(None, &operator).await));
    printed.add(&format!("{:?} {:?}", inbox.pause(name, &operator).await, inbox.resume(name, &operator).await));
    printed.add(&format!("{:?} {:?}", inbox.rekey(&operator).await, inbox.audit(0, 1_000).await));
    let keep = Keep { done: Duration::ZERO, dead: Some(Duration::ZERO), rows: Duration::ZERO };
    printed.add(&format!("{:?}", inbox.purge(name, keep, &operator).await));
    // Others are stored, so that sealed bodies are in the database when it is dumped.
    deliver_each(&receiver, EVENTS, printed).await;
}

/// Stores events in clear, as a control: the dump of that inbox has marks.
async fn in_clear(namespace: &str, printed: &Printed) {
    let postgres = PostgresStore::builder().namespace(namespace).connect(&shared_postgres()).await.expect("a store");
    let inbox = postgres.inbox(Bodies::plaintext()).await.expect("an inbox");
    let receiver = Receiver::builder("clear", acme()).inbox(inbox).build().expect("a receiver");
    deliver_each(&receiver, 0, printed).await;
    let dump = Printed::default();
    dump_postgres(namespace, &dump).await;
    let found = Search::of(&["canary"]).found_in(dump.0.lock().unwrap().as_bytes());
    assert!(found.iter().any(|found| found.contains("in hex")), "{found:?}");
}

/// Prints every row of every table of a namespace.
async fn dump_postgres(namespace: &str, printed: &Printed) {
    let mut server = PgConnection::connect(&shared_postgres()).await.expect("a server");
    let tables = sqlx::query("SELECT tablename::text FROM pg_tables WHERE starts_with(tablename, $1)").bind(namespace);
    let tables = tables.fetch_all(&mut server).await.expect("tables");
    assert!(tables.len() >= 4, "{} tables", tables.len());
    let mut bytes = 0;
    for table in tables {
        let name: String = table.get(0);
        let rows = sqlx::query(AssertSqlSafe(format!("SELECT t::text FROM {name} t"))).fetch_all(&mut server).await;
        for row in rows.expect("rows") {
            let row: String = row.get(0);
            bytes += row.len();
            printed.add(&format!("dump of {name}: {row}"));
        }
    }
    assert!(bytes > 1_000, "only {bytes} bytes in the tables");
}

/// Prints every key of a namespace and its value, as a snapshot of Redis has it.
async fn dump_redis(namespace: &str, printed: &Printed) {
    let client = redis::Client::open(shared_redis()).expect("a URL");
    let mut server = client.get_multiplexed_async_connection().await.expect("a server");
    let keys: Vec<Vec<u8>> =
        redis::cmd("KEYS").arg(format!("*{namespace}*")).query_async(&mut server).await.expect("keys");
    assert!(keys.len() >= EVENTS, "{} keys", keys.len());
    for key in keys {
        let dump: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut server).await.expect("a value");
        printed.add(&format!("dump of {:?}: {}", String::from_utf8_lossy(&key), String::from_utf8_lossy(&dump)));
    }
}

/// Prints the errors of stores whose URLs hold a password.
async fn unreachable(printed: &Printed) {
    for url in ["postgres://canaryuser:canarypassword@127.0.0.1:1/db", "postgres://canary:canary@127.0.0.1:canary/db"] {
        let error = PostgresStore::connect(url).await.map(drop).expect_err("no server");
        printed.add(&format!("{error} {error:?}"));
    }
    for url in ["redis://canaryuser:canarypassword@127.0.0.1:1/0", "redis://canary:canary@127.0.0.1:canary/0"] {
        let error = RedisStore::connect(url).await.map(drop).expect_err("no server");
        printed.add(&format!("{error} {error:?}"));
    }
}
