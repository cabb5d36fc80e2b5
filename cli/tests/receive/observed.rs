//! The deliveries, attempts and stored events on the operator's page.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use medhook::Bytes;
use tokio::time::sleep;

use crate::application::{Application, with_status};
use crate::inbox::{MARK, config, event, no_application};
use crate::page_client::{OPERATIONS, TOKEN, TOP, get, log_in, page, started};
use crate::program::{Folder, INBOX_KEY, Instance, PATIENCE, SECRET};
use crate::sender::{ENDPOINT, Sender, delivery};

/// A session at the operator's page.
struct Viewer {
    at: SocketAddr,
    cookie: String,
}

impl Viewer {
    fn of(at: SocketAddr) -> Self {
        Viewer { at, cookie: log_in(at, TOKEN).cookie() }
    }

    /// Returns the text of a view, without elements.
    fn view(&self, path: &str) -> String {
        let answer = get(self.at, path, &self.cookie);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        for hidden in [MARK, "canary", "prescription\"", SECRET, INBOX_KEY, TOKEN] {
            assert!(!answer.body.contains(hidden), "{hidden} in {path}: {}", answer.body);
        }
        let texts = answer.body.split('<').filter_map(|part| part.split_once('>')).map(|(_, text)| text.trim());
        texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ").replace("&#39;", "'").replace("&#34;", "\"")
    }

    /// Waits until a view has this text.
    async fn until(&self, path: &str, text: &str) -> String {
        let began = Instant::now();
        loop {
            let view = self.view(path);
            if view.contains(text) {
                return view;
            }
            assert!(began.elapsed() < PATIENCE, "no {text:?} in {path}: {view}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sums up a column of the numbers of the charts: 0 is the accepted ones, 1 repeated, 2 rejected, 3 failed.
    fn sum(&self, column: usize) -> u64 {
        let html = get(self.at, "/", &self.cookie).body;
        let (_, table) = html.split_once("Numbers of the charts, newest first").unwrap();
        let (_, rows) = table.split_once("<tbody>").unwrap();
        let (rows, _) = rows.split_once("</tbody>").unwrap();
        let cell = |row: &str| row.split("<td>").nth(column + 1).unwrap().split('<').next().unwrap().replace(',', "");
        rows.split("<tr>").skip(1).map(|row| cell(row).parse::<u64>().unwrap()).sum()
    }
}

/// Returns the same delivery with another body, so that its signature is wrong.
fn forged(number: usize) -> Request<Bytes> {
    let mut request = delivery("canary-id");
    *request.body_mut() = format!("{{\"canary\":{number}}}").into();
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_delivery_is_shown_with_its_reason_and_the_next_step() {
    let folder = Folder::new();
    let (instance, at) = started(&folder);
    let viewer = Viewer::of(at);
    assert!(viewer.view("/").contains("No delivery was rejected and nothing failed since the start"));
    let sender = Sender::new();
    assert_eq!(sender.send(instance.address, &forged(1)).await, Ok(401));
    for path in ["/", "/deliveries", "/deliveries?endpoint=healthsync&outcome=rejected"] {
        let view = viewer.view(path);
        for text in ["signature_mismatch", "answered 401", "compare the secret with the provider's", "not known"] {
            assert!(view.contains(text), "{text} in {path}: {view}");
        }
    }
    assert!(!viewer.view("/deliveries?outcome=handled").contains("signature_mismatch"));
    let mut missing = delivery("canary-id");
    missing.headers_mut().remove("x-webhook-signature");
    missing.headers_mut().remove("x-healthsync-signature");
    assert_ne!(missing.headers(), delivery("canary-id").headers());
    sender.send(instance.address, &missing).await.unwrap();
    assert!(viewer.view("/").contains("missing_header"));

    assert_eq!(sender.send(instance.address, &delivery("canary-id")).await, Ok(200));
    let view = viewer.view("/deliveries?outcome=handled");
    assert!(view.contains("document.uploaded") && view.contains("by TEST_SECRET"), "{view}");
    assert_eq!([0, 1, 2, 3].map(|column| viewer.sum(column)), [1, 0, 2, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_forged_deliveries_hides_nothing_and_is_counted_exactly() {
    const FLOOD: usize = 10_000;
    let folder = Folder::new();
    let (instance, at) = started(&folder);
    let viewer = Viewer::of(at);
    let sender = Sender::new();
    assert_eq!(sender.send(instance.address, &delivery("canary-id")).await, Ok(200));
    let next = Arc::new(AtomicUsize::new(0));
    let senders = (0..16).map(|_| {
        let (sender, next, to) = (sender.clone(), next.clone(), instance.address);
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::SeqCst);
                if number >= FLOOD {
                    return;
                }
                assert_eq!(sender.send(to, &forged(number)).await, Ok(401));
            }
        })
    });
    for sending in senders.collect::<Vec<_>>() {
        sending.await.unwrap();
    }
    assert_eq!([0, 2].map(|column| viewer.sum(column)), [1, FLOOD as u64], "before the count is reported");
    assert!(viewer.view("/deliveries").contains("document.uploaded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_an_outage_of_the_application_and_its_end() {
    let (folder, address) = (Folder::new(), no_application());
    let config = config(address, "retry = { initial_backoff = \"50ms\", max_backoff = \"50ms\" }\n");
    let config = config.replace("[operations]\nlisten = \"127.0.0.1:0\"\n", OPERATIONS);
    let mut instance = Instance::start(&folder, &config, &["--json"]);
    let sender = Sender::new();
    for number in 1..=3 {
        assert_eq!(sender.send(instance.address, &event(number)).await, Ok(200));
    }
    let viewer = Viewer::of(page(&instance));
    assert_eq!(viewer.sum(0), 3);
    instance.terminate();

    // The inbox is sampled at the start, and then every 5 s.
    let mut instance = Instance::start(&folder, &config, &["--json"]);
    let viewer = Viewer::of(page(&instance));
    viewer.until("/", "Now 3 events wait").await;
    let view = viewer.until("/deliveries?outcome=retry", "unreachable").await;
    assert!(view.contains("start the application") && !view.contains("next attempt"), "{view}");
    let overview = viewer.until("/", "the application is unreachable").await;
    assert!(overview.contains("could not be reached"), "{overview}");
    let list = viewer.view("/inbox?status=waiting");
    assert!(list.contains("prescription_created"), "{list}");
    let one = viewer.view("/inbox/1");
    assert!(one.contains("inbox replay 1") && one.contains("inbox discard 1"), "{one}");

    let application = Application::start_at(address, |_, _| async { with_status(200) }).await;
    for event in ["event 1", "event 2", "event 3"] {
        viewer.until("/deliveries?outcome=done", event).await;
    }
    assert_eq!(application.calls().len(), 3);
    let reachable = "INFO medhook::inbox: the application is reachable again";
    let log = instance.stderr();
    assert_eq!(log.iter().filter(|line| line.contains(reachable)).count(), 1, "{log:?}");
    let overview = viewer.view("/");
    assert!(overview.contains("answered 200") && !overview.contains("the application is unreachable"), "{overview}");
    assert!(viewer.view("/inbox/1").contains("done"));
    instance.terminate();

    let instance = Instance::start(&folder, &config, &["--json"]);
    Viewer::of(page(&instance)).until("/", "Now 0 events wait").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_event_is_shown_with_the_command_that_replays_it() {
    let application = Application::answering(500).await;
    let folder = Folder::new();
    let retry = "retry = { initial_backoff = \"20ms\", max_backoff = \"20ms\", max_attempts = 2 }\n";
    let config = config(application.address, retry);
    let config = config.replace("[operations]\nlisten = \"127.0.0.1:0\"\n", OPERATIONS);
    let mut instance = Instance::start(&folder, &config, &["--json"]);
    let viewer = Viewer::of(page(&instance));
    assert_eq!(Sender::new().send(instance.address, &event(1)).await, Ok(200));
    let view = viewer.until("/deliveries?outcome=dead", "status_500").await;
    assert!(view.contains("remove the cause, then replay it") && view.contains("attempt 2"), "{view}");
    let list = viewer.view("/inbox?status=dead&endpoint=mediquo&kind=prescription_created");
    assert!(list.contains("status_500") || list.contains("answered 500"), "{list}");
    let one = viewer.view("/inbox/1");
    assert!(one.contains("inbox replay 1"), "{one}");
    assert_eq!(get(viewer.at, "/inbox/2", &viewer.cookie).status, 404);
    instance.terminate();
    let instance = Instance::start(&folder, &config, &["--json"]);
    Viewer::of(page(&instance)).until("/", "1 event is dead").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_without_an_inbox_has_no_list_of_events() {
    let folder = Folder::new();
    let instance = Instance::start(&folder, &format!("{TOP}{ENDPOINT}{OPERATIONS}"), &[]);
    let viewer = Viewer::of(page(&instance));
    for path in ["/inbox", "/inbox/1"] {
        assert_eq!(get(viewer.at, path, &viewer.cookie).status, 404, "{path}");
    }
    assert!(viewer.view("/").contains("no inbox"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_is_logged_at_most_once_a_minute_by_open_pages() {
    let folder = Folder::new();
    let config = config(no_application(), "");
    let config = config.replace("[operations]\nlisten = \"127.0.0.1:0\"\n", OPERATIONS);
    let mut instance = Instance::start(&folder, &config, &["--json"]);
    let viewer = Viewer::of(page(&instance));
    assert_eq!(get(viewer.at, "/inbox", &viewer.cookie).status, 200);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap().path();
        if file.to_string_lossy().contains(".db") {
            std::fs::remove_file(file).unwrap();
        }
    }
    let began = std::time::Instant::now();
    for path in ["/inbox", "/inbox/1", "/inbox?status=dead"] {
        let answer = get(viewer.at, path, &viewer.cookie);
        assert_eq!(answer.status, 503, "{path}: {answer:?}");
        assert!(answer.body.contains("The store did not answer") && !answer.body.contains("sqlite"), "{answer:?}");
    }
    instance.terminate();
    let log = instance.stderr();
    let about: Vec<_> = log.iter().filter(|line| line.contains("page could not read the inbox")).collect();
    assert!(about.len() as u64 <= 2 + began.elapsed().as_secs() / 5, "{about:?}");
    assert!(about[0].contains("error=") && about[0].contains("count=1"), "{about:?}");
    let counts = about.iter().map(|line| line.split_once("count=").unwrap().1.parse::<usize>().unwrap());
    assert_eq!(counts.sum::<usize>(), 3, "{about:?}");
}
