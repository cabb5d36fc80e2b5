//! Endpoints with an inbox: events are stored, acknowledged, and forwarded until the application has handled them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::Request;
use medhook::Bytes;
use medhook::testing::{self, Signing};
use serde_json::Value;
use sqlx::{Connection, Executor, SqliteConnection};

use crate::application::{Application, with_status};
use crate::metrics::{operations, scrape};
use crate::program::{Folder, INBOX_KEY, Instance, PATIENCE, SECRET};
use crate::sender::{Sender, now};
use crate::serving::status_of;

/// Occurs in the bodies, in the ids and in a header of the sender.
pub(crate) const MARK: &str = "canary-of-a-stored-delivery";

/// Returns a config with one endpoint that forwards to this address from its inbox. MediQuo documents no retries.
pub(crate) fn config(application: SocketAddr, more: &str) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nshutdown_timeout = \"300ms\"\nstore = \"sqlite:medhook.db\"\n\
         inbox_key = {{ env = \"TEST_INBOX_KEY\" }}\n[operations]\nlisten = \"127.0.0.1:0\"\n[[endpoint]]\n\
         path = \"/mediquo\"\nprovider = \"mediquo\"\nsecrets = [{{ env = \"TEST_SECRET\" }}]\nlease = \"1s\"\n\
         inbox = true\nforward = \"http://{application}/app\"\n{more}\n"
    )
}

/// Returns a genuine delivery of MediQuo with the mark. The number is part of the event.
pub(crate) fn event(number: usize) -> Request<Bytes> {
    let sample = testing::mediquo("prescription_created").signing(Signing::shared_secret("x-webhook-signature"));
    let sample = sample.secret(SECRET);
    let mut body: Value = serde_json::from_slice(sample.request("/").body()).unwrap();
    body["prescription"]["id"] = Value::from(format!("{MARK}-{number}"));
    body["occurred_on"] = Value::from(now());
    let mut request = sample.body(body.to_string()).request("/mediquo?tenant=canary-of-a-query");
    request.headers_mut().insert("x-mark", MARK.parse().unwrap());
    request.headers_mut().insert("content-type", "application/json; charset=utf-8".parse().unwrap());
    request
}

/// An address at which nothing listens.
pub(crate) fn no_application() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn json(lines: &[String]) -> Vec<Value> {
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until a line has this outcome, and returns all lines so far.
fn lines_until(instance: &Instance, outcome: &str) -> Vec<Value> {
    let began = Instant::now();
    loop {
        let lines = json(&instance.stdout());
        if lines.iter().any(|line| line["outcome"] == outcome) {
            return lines;
        }
        assert!(began.elapsed() < PATIENCE, "no {outcome}: {lines:?} {:?}", instance.stderr());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asserts that the mark and the keys are in none of the output, and not in the files of the store.
fn nothing_marked(folder: &Folder, instance: &Instance, metrics: &str) {
    let written = [instance.stdout().join("\n"), instance.stderr().join("\n"), metrics.to_owned()].concat();
    for hidden in ["canary", SECRET, INBOX_KEY, "prescription\""] {
        assert!(!written.contains(hidden), "{hidden} in {written}");
    }
    let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut bytes = 0;
    for file in files.filter(|path| path.display().to_string().contains("medhook.db")) {
        let content = std::fs::read(&file).unwrap();
        bytes += content.len();
        for hidden in ["canary", "speciality", SECRET, INBOX_KEY] {
            let hidden = hidden.as_bytes();
            assert!(!content.windows(hidden.len()).any(|part| part == hidden), "{hidden:?} in {}", file.display());
        }
    }
    assert!(bytes > 4096, "{bytes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_arrives_although_the_application_is_down_and_the_receiver_is_killed() {
    let (folder, address) = (Folder::new(), no_application());
    let mut instance = Instance::start(&folder, &config(address, "expect_every = \"1h\""), &["--json"]);
    let log = instance.stderr().join("\n");
    let place =
        format!("endpoint mediquo at /mediquo, provider mediquo, forwards to http://{address}/app from its inbox");
    assert!(log.contains(&place) && log.contains("medhook.db; bodies of stored events are sealed\n"), "{log}");
    let (sender, sent) = (Sender::new(), event(1));
    assert_eq!(sender.send(instance.address, &sent).await, Ok(200));
    assert_eq!(sender.send(instance.address, &sent).await, Ok(200), "a duplicate");
    let lines = lines_until(&instance, "retry");
    let one = |outcome: &str| lines.iter().find(|line| line["outcome"] == outcome).unwrap().clone();
    let (stored, retry) = (one("stored"), one("retry"));
    assert_eq!(
        (&stored["status"], &stored["reason"], &stored["unknown"]),
        (&200.into(), &"stored".into(), &Value::Null)
    );
    assert_eq!(one("duplicate")["status"], 200);
    let key = stored["event_key"].as_str().unwrap();
    assert_eq!(key.len(), 64, "{key}");
    assert_eq!((retry["event_key"].as_str(), &retry["status"]), (Some(key), &Value::Null));
    assert_eq!((&retry["reason"], &retry["upstream"]), (&"unreachable".into(), &"not_reached".into()));
    assert_eq!((&retry["id"], &retry["attempt"], &retry["replay"]), (&1.into(), &1.into(), &false.into()));
    for time in ["time", "stored_at", "due"] {
        assert!(retry[time].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{time}: {retry}");
    }
    assert_eq!(status_of(instance.address, "/readyz"), 200, "events can be stored");
    let metrics = scrape(operations(&instance));
    for line in ["medhook_expect_every_seconds{endpoint=\"mediquo\",provider=\"mediquo\"} 3600", "medhook_store_up 1"] {
        assert!(metrics.lines().any(|served| served == line), "{line}: {metrics}");
    }
    assert!(metrics.contains("medhook_last_genuine_seconds{endpoint=\"mediquo\"} "), "{metrics}");
    nothing_marked(&folder, &instance, &metrics);
    let log = instance.stderr();
    let warning = "the application is unreachable, so stored webhook events wait and only one at a time is attempted";
    assert_eq!(log.iter().filter(|line| line.contains(warning)).count(), 1, "{log:?}");
    assert!(!log.iter().any(|line| line.contains("INFO")), "{log:?}");

    instance.signal("-KILL");
    instance.ended();
    let application = Application::start_at(address, |_, _| async { with_status(204) }).await;
    let mut instance = Instance::start(&folder, &config(address, ""), &["--json"]);
    assert_eq!(sender.send(instance.address, &sent).await, Ok(200), "a duplicate after the restart");
    let done = lines_until(&instance, "done").into_iter().find(|line| line["outcome"] == "done").unwrap();
    assert_eq!((done["event_key"].as_str(), &done["upstream"]), (Some(key), &"204".into()));
    assert_eq!((&done["reason"], &done["due"], &done["unknown"]), (&Value::Null, &Value::Null, &false.into()));
    assert_eq!(sender.send(instance.address, &sent).await, Ok(200), "a duplicate of an event that is done");
    assert_eq!(instance.terminate().code(), Some(0));
    let calls = application.calls();
    assert_eq!(calls.len(), 1, "handled once");
    let request = &calls[0].request;
    assert_eq!((request.body(), request.uri().to_string()), (sent.body(), "/app".to_owned()));
    assert_eq!(request.headers()["content-type"], "application/json; charset=utf-8");
    assert!(request.headers().get("x-mark").is_none());
    nothing_marked(&folder, &instance, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_attempts_are_repeated_and_an_event_without_success_is_dead() {
    // The first attempt of each event fails, and every attempt of the second one.
    let application = Application::start(|request, _| async move {
        let first = request.headers().get("medhook-event-key").cloned();
        let hopeless = request.body().windows(8).any(|part| part == b"ivery-2\"");
        static FAILED: std::sync::Mutex<Vec<http::HeaderValue>> = std::sync::Mutex::new(Vec::new());
        let mut failed = FAILED.lock().unwrap();
        let repeated = failed.iter().any(|key| Some(key) == first.as_ref());
        failed.extend(first);
        with_status(if repeated && !hopeless { 200 } else { 500 })
    })
    .await;
    let folder = Folder::new();
    let retry = "ack_status = 202\nworkers = 4\nretain_done = \"1h\"\nretain_dead = \"1d\"\nmax_bytes = 100000000\n\
                 retry = { initial_backoff = \"50ms\", max_backoff = \"50ms\", max_age = \"1h\", max_attempts = 3 }\n";
    let config = config(application.address, retry);
    let mut instance = Instance::start(&folder, &config, &["--json"]);
    let sender = Sender::new();
    for number in 1..=2 {
        assert_eq!(sender.send(instance.address, &event(number)).await, Ok(202));
    }
    lines_until(&instance, "dead");
    let lines = lines_until(&instance, "done");
    let stored: Vec<_> = lines.iter().filter(|line| line["outcome"] == "stored").collect();
    assert!(stored.iter().all(|line| line["status"] == 202), "{stored:?}");
    let attempts = |stored: &Value| -> Vec<_> {
        let of_event = lines.iter().filter(|line| line["event_key"] == stored["event_key"] && line["id"].is_i64());
        let shown = |line: &Value| {
            let (outcome, reason) = (line["outcome"].as_str().unwrap(), line["reason"].as_str().unwrap_or_default());
            format!("{} {outcome} {reason} {}", line["attempt"], line["upstream"].as_str().unwrap())
        };
        of_event.map(shown).collect()
    };
    assert_eq!(attempts(stored[0]), ["1 retry status_500 500", "2 done  200"]);
    assert_eq!(attempts(stored[1]), ["1 retry status_500 500", "2 retry status_500 500", "3 dead status_500 500"]);
    // Afterwards, both outputs have been read.
    assert_eq!(instance.terminate().code(), Some(0));
    let warnings = instance.stderr();
    let dead: Vec<_> = warnings.iter().filter(|line| line.contains("outcome=\"dead\"")).collect();
    assert!(dead.len() == 1 && dead[0].contains("limit=\"max_attempts\" ") && dead[0].contains(" next=\""), "{dead:?}");

    // The state of the inbox is measured at the start, and every 15 s.
    let instance = Instance::start(&folder, &config, &["--json"]);
    let began = Instant::now();
    let metrics = loop {
        let metrics = scrape(operations(&instance));
        if metrics.contains("medhook_inbox_dead{") {
            break metrics;
        }
        assert!(began.elapsed() < PATIENCE, "{metrics}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    for line in ["medhook_inbox_dead{endpoint=\"mediquo\"} 1", "medhook_inbox_waiting{endpoint=\"mediquo\"} 0"] {
        assert!(metrics.lines().any(|served| served == line), "{line} is missing:\n{metrics}");
    }
    assert_eq!(sender.send(instance.address, &event(3)).await, Ok(202));
    lines_until(&instance, "done");
    let metrics = scrape(operations(&instance));
    for attempt in ["outcome=\"retry\",reason=\"status_500\"} 1", "outcome=\"done\",reason=\"\"} 1"] {
        let begins = "medhook_attempts_total{endpoint=\"mediquo\",kind=\"prescription_created\",";
        assert!(metrics.contains(&format!("{begins}{attempt}")), "{metrics}");
    }
    nothing_marked(&folder, &instance, &metrics);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_that_do_not_finish_are_canceled_by_a_shutdown_and_stay_stored() {
    // The first two attempts get no answer.
    let application = Application::start(|_, before| async move {
        if before < 2 {
            std::future::pending::<()>().await;
        }
        with_status(200)
    })
    .await;
    let folder = Folder::new();
    let config = config(application.address, "");
    let mut instance = Instance::start(&folder, &config, &[]);
    let sender = Sender::new();
    assert_eq!(sender.send(instance.address, &event(1)).await, Ok(200));
    while application.calls().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(instance.terminate().code(), Some(0), "no delivery was canceled");
    let log = instance.stderr().join("\n");
    let kept = "medhook: canceled 1 unfinished attempts; their events stay stored and are attempted again";
    assert!(log.contains(kept) && !log.contains("unfinished deliveries"), "{log}");
    let lines = instance.stdout();
    let of_stored = |line: &String| line.contains("  stored     200  mediquo  prescription_created  event ");
    assert!(lines.iter().any(of_stored), "{lines:?}");
    let canceled = "  retry      -    mediquo  canceled  prescription_created  inbox id 1  attempt 1  next at ";
    assert!(lines.iter().any(|line| line.contains(canceled) && line.ends_with("  by TEST_SECRET")), "{lines:?}");

    let limited = format!("{config}handler_timeout = \"1s\"\nretry = {{ initial_backoff = \"20ms\" }}\n");
    let mut instance = Instance::start(&folder, &limited, &[]);
    let done = "  done       -    mediquo  prescription_created  inbox id 1  attempt 2  event ";
    let began = Instant::now();
    while !instance.stdout().iter().any(|line| line.contains(done) && line.ends_with("  by TEST_SECRET  upstream 200"))
    {
        assert!(began.elapsed() < PATIENCE, "{:?}", instance.stdout());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(instance.terminate().code(), Some(0));
    let timed_out = "  retry      -    mediquo  handler_timeout  prescription_created  inbox id 1  attempt 1  next at ";
    let lines = instance.stdout();
    assert!(lines[0].contains(timed_out) && lines[0].ends_with("  by TEST_SECRET"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_events_cannot_be_stored_the_receiver_is_not_ready_or_forwards_without_a_claim() {
    let application = Application::answering(200).await;
    for (what, status, ready) in [("reject", 503, 503), ("handle-unclaimed", 200, 200)] {
        let folder = Folder::new();
        let more = format!("on_store_error = \"{what}\"\n");
        let instance = Instance::start(&folder, &config(application.address, &more), &["--json"]);
        let url = format!("sqlite://{}", folder.path().join("medhook.db").display());
        let mut database = SqliteConnection::connect(&url).await.unwrap();
        database.execute("ALTER TABLE medhook_inbox RENAME TO away").await.unwrap();
        // The worker notices it without a delivery.
        let began = Instant::now();
        while status_of(instance.address, "/readyz") != ready {
            assert!(began.elapsed() < PATIENCE, "{what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (sender, called) = (Sender::new(), application.calls().len());
        assert_eq!(sender.send(instance.address, &event(1)).await, Ok(status), "{what}");
        assert_eq!(status_of(instance.address, "/readyz"), ready, "{what}");
        assert!(scrape(operations(&instance)).contains("medhook_store_up 0"), "{what}");
        assert_eq!(application.calls().len() - called, usize::from(status == 200), "{what}");
        database.execute("ALTER TABLE away RENAME TO medhook_inbox").await.unwrap();
        assert_eq!(sender.send(instance.address, &event(2)).await, Ok(200), "{what}");
        lines_until(&instance, "done");
        assert_eq!(status_of(instance.address, "/readyz"), 200, "{what}");
        // The worker has used the store since, and no event failed within 5 s.
        let began = Instant::now();
        while !scrape(operations(&instance)).contains("medhook_store_up 1") {
            assert!(began.elapsed() < PATIENCE, "{what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_events_that_no_endpoint_handles_are_a_warning_at_startup() {
    let (folder, first) = (Folder::new(), config(no_application(), ""));
    let left = "`store`: has stored events of the endpoint mediquo (1 unfinished), which has no inbox in this config";
    let has_warned = |mut instance: Instance| {
        assert_eq!(instance.terminate().code(), Some(0));
        instance.stderr().iter().any(|line| line.contains(left))
    };
    let instance = Instance::start(&folder, &first, &["--json"]);
    assert_eq!(Sender::new().send(instance.address, &event(1)).await, Ok(200));
    assert!(!has_warned(instance));
    let renamed = first.replace("provider =", "name = \"renamed\"\nprovider =");
    assert!(has_warned(Instance::start(&folder, &renamed, &[])));
    let key = "inbox_key = { env = \"TEST_INBOX_KEY\" }\n";
    let without = first.replace(key, "").replace("inbox = true", "inbox = false");
    assert!(has_warned(Instance::start(&folder, &without, &[])));
    assert!(!has_warned(Instance::start(&folder, &first, &[])), "the endpoint has its inbox again");

    // An endpoint of that name, but of another provider, which may have another application.
    let application = Application::start(|_, _| async { with_status(200) }).await;
    let other = config(application.address, "scheme = \"shared-secret\"\nheader = \"x-key\"");
    let other = other.replace("provider = \"mediquo\"", "provider = \"azodha\"\nname = \"mediquo\"");
    let mut instance = Instance::start(&folder, &other, &[]);
    let began = Instant::now();
    while !instance.stderr().iter().any(|line| line.contains("its endpoint had another provider when it was stored")) {
        assert!(began.elapsed() < PATIENCE, "{:?}", instance.stderr());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(instance.terminate().code(), Some(0));
    assert_eq!(application.calls().len(), 0);
}
