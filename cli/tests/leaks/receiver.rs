//! `medhook receive`: its log in both forms, its answers, what the application gets, metrics, the operator's page, and
//! the files of its store.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::page_client::{FORM, log_in, page, request};
use crate::program::{Instance, PATIENCE};
use crate::requests::{all, answer, genuine, text};
use crate::stage::{HEALTHSYNC, Stage, TOKEN};
use crate::written::{KIND, MARK, NUMBER, Written, is_marked};

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_writes_no_mark_in_any_form() {
    for form in [&[][..], &["--json"]] {
        let mut stage = Stage::new().await;
        let mut instance = stage.receive(form);
        send_all(&mut stage, &instance);
        until_dead(&instance);
        let mut pages = Written::default();
        visit(page(&instance), &mut pages);
        stage.written.add("arguments", arguments(&instance));
        assert!(instance.terminate().success());
        // The log and the latest deliveries on the page have the kind of a verified delivery, documented or not.
        pages.is_silent(&[MARK, NUMBER], 20_000);
        pages.without(&["/", "/deliveries"]).is_silent(&[MARK, NUMBER, KIND], 20_000);
        stage.add_log(&instance);
        let log = [instance.stdout(), instance.stderr()].concat().join("\n");
        for expected in ["signature_mismatch", "stored", "duplicate", "missing_header", "dead", KIND] {
            assert!(log.contains(expected), "{expected} is not in the log: {log}");
        }
        let calls = stage.application.calls();
        assert!(calls.len() >= 3, "{} calls", calls.len());
        for call in &calls {
            is_marked(call.request.body());
            // The application gets the id of an event, but no secret, and no other header of the sender.
            let mut headers = call.request.headers().clone();
            headers.remove("medhook-event-id");
            stage.written.add("headers to the application", format!("{headers:?}"));
        }
        let stored = stage.add_files();
        assert!(stored > 20_000, "{stored} bytes of the store");
        stage.written.is_silent(&[MARK, NUMBER], 50_000);
    }
}

/// The same search finds the id that an operator wants in the log.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_found_in_the_log_if_it_is_configured() {
    let stage = Stage::new().await;
    let mut instance = stage.receive(&["--show-ids"]);
    assert!(answer(instance.address, &text(&genuine(1, None, HEALTHSYNC))).starts_with(b"HTTP/1.1 200"));
    instance.lines(1);
    assert!(instance.terminate().success());
    is_marked(instance.stdout().join("\n").as_bytes());
}

pub(crate) fn send_all(stage: &mut Stage, instance: &Instance) {
    for (name, request, status) in all() {
        let answer = answer(instance.address, &request);
        let head = String::from_utf8_lossy(&answer).into_owned();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")) || status.is_empty(), "{name}: {head}");
        stage.written.add(format!("the answer to {name}"), answer);
    }
}

/// Waits until all stored events are dead, so that every outcome has been logged.
pub(crate) fn until_dead(instance: &Instance) {
    let began = Instant::now();
    loop {
        let lines = instance.stdout();
        let count = |outcome: &str| {
            let is = |line: &str| {
                line.contains(&format!("\"outcome\":\"{outcome}\"")) || line.split(' ').any(|word| word == outcome)
            };
            lines.iter().filter(|line| is(line)).count()
        };
        let (stored, dead) = (count("stored"), count("dead"));
        if stored >= 2 && dead == stored {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{stored} stored, {dead} dead: {lines:?} {:?}", instance.stderr());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads everything at the address of `[operations]`.
fn visit(at: SocketAddr, written: &mut Written) {
    let own = format!("host: {at}\r\n");
    let session = log_in(at, TOKEN);
    assert_eq!(session.status, 303, "{session:?}");
    let cookie = session.cookie();
    let signed_in = format!("{own}{cookie}x-{MARK}: {MARK}\r\nauthorization: Bearer {MARK}\r\n");
    let marked_cookie = format!("{own}cookie: medhook={MARK}; {MARK}={MARK}\r\n");
    let wrong = format!("token={MARK}&next=%2F");
    let long = format!("token={}", MARK.repeat(1_000));
    let views = [
        "/",
        "/deliveries",
        "/deliveries?outcome=rejected",
        "/deliveries?endpoint=healthsync",
        "/inbox",
        "/inbox?status=dead",
        "/inbox/1",
        "/inbox/2",
        "/inbox/999",
        "/unknown",
        "/assets/page.css",
        "/assets/page.js",
        "/metrics",
        "/livez",
        "/readyz",
        "/healthz",
    ];
    let mut answers: Vec<_> = views.iter().map(|path| (*path, request(at, "GET", path, &signed_in, ""))).collect();
    for (path, answer) in &answers {
        let expected = if path.contains("unknown") || path.contains("999") { 404 } else { 200 };
        assert_eq!(answer.status, expected, "{path}: {answer:?}");
    }
    let dead = request(at, "GET", "/inbox/1", &signed_in, "");
    assert!(dead.body.contains("dead"), "the view of a dead event: {}", dead.body);
    answers.extend([
        ("no session", request(at, "GET", "/", &marked_cookie, "")),
        ("a wrong token", request(at, "POST", "/login", &format!("{own}{FORM}"), &wrong)),
        ("a long form", request(at, "POST", "/login", &format!("{own}{FORM}"), &long)),
        ("no form", request(at, "POST", "/login", &format!("{own}content-type: {MARK}/{MARK}\r\n"), &wrong)),
        (
            "another site",
            request(at, "POST", "/login", &format!("{own}{FORM}origin: http://{MARK}.example\r\n"), &wrong),
        ),
        ("another host", request(at, "GET", "/", &format!("host: {MARK}.example\r\n"), "")),
        ("another method", request(at, &MARK.to_uppercase(), "/", &signed_in, "")),
        ("an unknown path", request(at, "GET", &format!("/{MARK}"), &signed_in, "")),
        ("an unknown event", request(at, "GET", &format!("/inbox/{MARK}"), &signed_in, "")),
        ("a logout", request(at, "POST", "/logout", &signed_in, "")),
    ]);
    for (name, answer) in answers {
        let id = cookie.trim_end().strip_prefix("cookie: medhook=").unwrap();
        assert!(!answer.body.contains(id), "the id of the session is in {name}");
        written.add(name, format!("{}\r\n\r\n{}", answer.head, answer.body));
    }
}

/// Returns the arguments of the process and of its threads, as other users of the machine see them.
fn arguments(instance: &Instance) -> Vec<u8> {
    let process = std::path::PathBuf::from(format!("/proc/{}", instance.id()));
    if !cfg!(target_os = "linux") {
        return Vec::new();
    }
    let mut bytes = std::fs::read(process.join("cmdline")).unwrap();
    assert!(!bytes.is_empty());
    for thread in std::fs::read_dir(process.join("task")).unwrap() {
        let thread = thread.unwrap().path();
        bytes.extend(std::fs::read(thread.join("comm")).unwrap_or_default());
        let children = std::fs::read(thread.join("children")).unwrap_or_default();
        assert_eq!(children, b"", "a receiver starts no other process");
    }
    bytes
}
