//! Marked secrets, headers and health data go in; all output (logs at trace level, those of dependencies included,
//! metrics, `Debug`, errors, responses, the files and the tables of stores and inboxes) is searched for the marks.
//!
//! This is a process of its own, because the subscriber and the recorder are global.

mod derived;
mod plant;
mod stored;

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use medhook::registry::OptionName;
use medhook::testing::{Fixture, Signing, StoppedClock, fixtures};
use medhook::{Bytes, DedupeStore, Delivery, MemoryStore, Receiver, Secret, SqliteStore, fasten};
use medhook_tests::leaks::Search;
use medhook_tests::providers::{facts, options, signing};
use medhook_tests::route::Route;
use medhook_tests::sender::{Outgoing, send};
use tracing_subscriber::fmt::MakeWriter;

#[path = "../middleware/servers.rs"]
mod servers;

use plant::{Planted, SECRET, TEXT_SECRET};

const NOW: i64 = 1_767_225_600;

/// Everything that was printed.
#[derive(Debug, Clone, Default)]
struct Printed(Arc<Mutex<String>>);

impl Printed {
    fn add(&self, what: &str) {
        let mut printed = self.0.lock().unwrap();
        writeln!(printed, "{what}").unwrap();
    }
}

impl io::Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Printed {
    type Writer = Printed;
    fn make_writer(&'w self) -> Printed {
        self.clone()
    }
}

/// Returns a receiver for a fixture with a marked secret, and how its provider signs.
fn receiver(
    fixture: &Fixture,
    endpoint: &str,
    store: Arc<dyn DedupeStore>,
    printed: &Printed,
) -> (Receiver, Signing, &'static str) {
    let facts = facts(fixture.provider());
    let configured = |secret| {
        let mut options = options(facts, Secret::new(secret).unwrap());
        options.pin_kind = plant::unsaid_kind(fixture).filter(|_| facts.takes(OptionName::PinKind)).map(str::to_owned);
        options
    };
    let standard = matches!(signing(facts, &configured(SECRET)), Signing::StandardWebhooks(_));
    let secret = if standard { SECRET } else { TEXT_SECRET };
    let options = configured(secret);
    printed.add(&format!("{options:?}"));
    let builder = Receiver::configured(endpoint, facts, &options).unwrap();
    let signing = signing(facts, &options);
    let builder = builder.store(store).clock(StoppedClock::at(NOW));
    printed.add(&format!("{builder:?}"));
    let receiver = builder.build().unwrap();
    printed.add(&format!("{receiver:?} {:?}", receiver.warnings()));
    (receiver, signing, secret)
}

/// Prints everything that a handler might print of a delivery.
fn print(delivery: &Delivery, printed: &Printed) {
    printed.add(&format!("{delivery:?} {delivery:#?} {} {:?}", delivery.kind_label(), delivery.mode().is_some()));
    printed.add(&format!("{:?} {:?} {}", delivery.sent_at(), delivery.occurred_at(), delivery.event_key()));
    let event = facts(delivery.provider()).decode(delivery).expect("its own provider");
    printed.add(&format!("{event:?} {event:#?} {:?} {:?}", event.problem, event.drifted));
    // Decoding succeeds for this provider only; the other deliveries give an error, which is printed, too.
    if let Err(error) = delivery.decode::<fasten::Event>() {
        printed.add(&format!("{error} {error:?}"));
    }
}

/// Returns a genuine delivery and its invalid variants.
fn deliveries(planted: &Planted, signing: &Signing, secret: &str) -> Vec<Outgoing> {
    let signed = |secret: &str, timestamp: i64, body: &Bytes| {
        let mut headers = signing.headers(secret, plant::MESSAGE_ID, &timestamp.to_string(), body).unwrap();
        headers.extend(plant::headers());
        Outgoing { method: "POST".to_owned(), headers, body: body.clone(), transfer: Default::default() }
    };
    let genuine = signed(secret, NOW, &planted.body);
    let mut altered = genuine.clone();
    altered.body = [&genuine.body, b" ".as_slice()].concat().into();
    let mut unsigned = genuine.clone();
    unsigned.headers = plant::headers();
    let mut garbage = genuine.clone();
    garbage.headers.iter_mut().for_each(|(_, value)| *value = format!("{}{value}", plant::MESSAGE_ID));
    let foreign = signed(plant::FOREIGN_SECRET, NOW, &planted.body);
    let stale = signed(secret, NOW - 301, &planted.body);
    let odd = planted.odd_bodies().into_iter().map(|body| signed(secret, NOW, &body));
    [genuine.clone(), genuine, altered, unsigned, garbage, foreign, stale].into_iter().chain(odd).collect()
}

async fn play(
    fixture: &Fixture,
    planted: &Planted,
    (name, start): (&str, servers::Start),
    store: Arc<dyn DedupeStore>,
    printed: &Printed,
) {
    let endpoint = format!("{}-{}", fixture.provider(), name.replace(' ', "-"));
    let (receiver, signing, secret) = receiver(fixture, &endpoint, store, printed);
    for outgoing in deliveries(planted, &signing, secret) {
        let headers = outgoing.headers.as_slice();
        match receiver.verify(headers, outgoing.body.clone()) {
            Ok(verified) => {
                printed.add(&format!("{verified:?}"));
                match receiver.open(verified) {
                    Ok(delivery) => print(&delivery, printed),
                    Err(rejection) => printed.add(&format!("{rejection} {rejection:?}")),
                }
            }
            Err(rejection) => printed.add(&format!("{rejection} {rejection:?} {:?}", rejection.header())),
        }
    }
    let calls = Arc::new(Mutex::new(0));
    let sees = printed.clone();
    let route = Route::new(receiver, move |delivery| {
        let (sees, calls) = (sees.clone(), calls.clone());
        async move {
            print(&delivery, &sees);
            let mut calls = calls.lock().unwrap();
            *calls += 1;
            // The first call fails, so that the next delivery is a retry.
            if *calls == 1 { 500 } else { 200 }
        }
    });
    let address: SocketAddr = start(Arc::new([route]));
    for outgoing in deliveries(planted, &signing, secret) {
        let answer = send(address, "/0".to_owned(), outgoing).await;
        printed.add(&format!("{:?}", answer.expect("an answer")));
    }
}

/// Returns the marks that occur in a text. Both are large, so the rest of a mark is compared only where its head
/// matches.
fn marks_in<'m>(text: &str, marks: &'m [String]) -> BTreeSet<&'m str> {
    const HEAD: usize = 5;
    let mut by_head: HashMap<&[u8], Vec<&str>> = HashMap::new();
    let mut begins = [false; 256];
    for mark in marks {
        by_head.entry(&mark.as_bytes()[..HEAD]).or_default().push(mark);
        begins[usize::from(mark.as_bytes()[0])] = true;
    }
    let text = text.as_bytes();
    let places = text.windows(HEAD).enumerate().filter(|(_, head)| begins[usize::from(head[0])]);
    let near = places.filter_map(|(at, head)| Some((&text[at..], by_head.get(head)?)));
    near.flat_map(|(rest, marks)| marks.iter().copied().filter(|mark| rest.starts_with(mark.as_bytes()))).collect()
}

#[test]
fn marks_are_found_wherever_they_are() {
    let marks = ["canary000001", "canary", "7700000001"].map(str::to_owned);
    assert_eq!(marks_in("x77000000011canary00000", &marks), ["7700000001", "canary"].into());
    assert_eq!(marks_in("ccanary000001", &marks), ["canary", "canary000001"].into());
    assert_eq!(marks_in("canar 770000000 1", &marks), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_marked_comes_out() {
    let printed = Printed::default();
    // Without colors, which another crate of the same build may enable, `name=value` is one text.
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::TRACE);
    let subscriber = subscriber.with_writer(printed.clone());
    subscriber.init();
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().expect("the only recorder");

    let folder = tempfile::tempdir().expect("a folder");
    let sqlite = Arc::new(SqliteStore::open(folder.path().join("store.db")).await.expect("a store"));
    printed.add(&format!("{sqlite:?}"));

    let mut marks = plant::fixed_marks();
    for (number, fixture) in fixtures().iter().enumerate() {
        let Some(planted) = Planted::of(fixture) else { continue };
        marks.extend(planted.marks.iter().cloned());
        for server in servers::ALL {
            // Each delivery is written to disk, which is slow; a subset of the fixtures is enough.
            let store: Arc<dyn DedupeStore> =
                if number % 8 == 0 { sqlite.clone() } else { Arc::new(MemoryStore::new(1_000)) };
            play(fixture, &planted, *server, store, &printed).await;
        }
    }
    stored::play(folder.path(), &printed).await;
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).expect("the folder") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        files += bytes.len();
        printed.add(&String::from_utf8_lossy(&bytes));
    }
    assert!(files > 10_000, "only {files} bytes in the store's files");
    for problem in plant::config_mistakes() {
        printed.add(&format!("{problem} {problem:?}"));
    }
    printed.add(&format!("{:?}", snapshotter.snapshot().into_vec()));

    let printed = printed.0.lock().unwrap();
    // Checks that the search works: each of these occurs in a log line, a response, a metric or a `Debug`.
    for expected in [
        "signature_mismatch",
        "SQLite format 3",
        "webhook delivery",
        "medhook_deliveries_total",
        "Phi(..)",
        "Secret(secret)",
        "event_key",
        // These lines are from the crates of the stores, and from their databases.
        "sqlx::query",
        "dump of leaks_",
        "outcome=\"dead\"",
        "panicked",
    ] {
        assert!(printed.contains(expected), "{expected} was never printed");
    }
    // Every text mark contains one of these, so their other forms, such as base64, are searched for as well.
    let other_forms = Search::of(&["canary", "Canary"]).found_in(printed.as_bytes());
    assert!(other_forms.is_empty(), "{:#?}", other_forms.iter().take(5).collect::<Vec<_>>());
    let found = marks_in(&printed, &marks);
    let places = found.iter().take(5).map(|mark| {
        let at = printed.find(mark).unwrap_or_default();
        printed[..at].lines().next_back().unwrap_or_default().to_owned() + "⟨" + mark + "⟩"
    });
    assert!(found.is_empty(), "{} of {} marks: {:#?}", found.len(), marks.len(), places.collect::<Vec<_>>());
    assert!(marks.len() > 200, "only {} marks were planted", marks.len());
}
