//! The metrics at the address of `[operations]`.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Instant;

use http::Request;
use medhook::Bytes;
use medhook::testing;
use medhook_tests::metrics::documented;

use crate::program::{Folder, Instance, OTHER_SECRET, PATIENCE, SECRET};
use crate::sender::{ENDPOINT, Sender, delivery, now};

const TOP: &str = "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n";
const OPERATIONS: &str = "[operations]\nlisten = \"127.0.0.1:0\"\n";

/// Starts a receiver, and returns the address of its `[operations]`.
fn started(folder: &Folder, endpoint: &str) -> (Instance, SocketAddr) {
    let instance = Instance::start(folder, &format!("{TOP}{endpoint}{OPERATIONS}"), &[]);
    let operations = operations(&instance);
    (instance, operations)
}

/// Returns the address of a receiver's `[operations]`.
pub(crate) fn operations(instance: &Instance) -> SocketAddr {
    let line = instance.stderr().into_iter().find(|line| line.contains("metrics at http://")).unwrap();
    let (_, address) = line.split_once("metrics at http://").unwrap();
    address.strip_suffix("/metrics").unwrap().parse().unwrap()
}

/// Sends a request, and returns the head and the body of the answer.
fn answer(to: SocketAddr, method: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

pub(crate) fn scrape(at: SocketAddr) -> String {
    let (head, text) = answer(at, "GET", "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    text
}

/// Sends the kinds of deliveries that differ in their labels: handled, a duplicate, undocumented, and forged.
async fn send_deliveries(to: SocketAddr) {
    let sender = Sender::new();
    for _ in 0..2 {
        assert_eq!(sender.send(to, &delivery("canary-id")).await, Ok(200));
    }
    let body = r#"{"event":"canary.kind","event_id":"canary-2","created_at":"NOW","data":{"patient":"canary"}}"#;
    let time = jiff_text(now());
    let unknown = testing::healthsync("document.uploaded").secret(SECRET).at(now());
    let unknown = unknown.body(body.replace("NOW", &time)).request("/healthsync");
    assert_eq!(sender.send(to, &unknown).await, Ok(200));
    let (head, _) = delivery("canary-3").into_parts();
    let forged = Request::from_parts(head, Bytes::from_static(br#"{"event":"canary.forged"}"#));
    assert_eq!(sender.send(to, &forged).await, Ok(401));
}

fn jiff_text(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().to_string()
}

/// Returns the name and the labels of a sample.
fn sample(line: &str) -> (&str, BTreeSet<&str>) {
    let (series, _) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels.split("\",").filter_map(|label| label.split_once('=')).map(|(label, _)| label);
    (name, labels.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_served_metrics_are_documented_and_described_and_have_no_value_of_a_sender() {
    let folder = Folder::new();
    let (instance, operations) = started(&folder, &format!("{ENDPOINT}expect_every = \"1h\"\n"));
    send_deliveries(instance.address).await;
    let text = scrape(operations);
    for line in [
        r#"medhook_deliveries_total{endpoint="healthsync",provider="healthsync",kind="document.uploaded",outcome="handled",reason=""} 1"#,
        r#"medhook_deliveries_total{endpoint="healthsync",provider="healthsync",kind="document.uploaded",outcome="duplicate",reason="duplicate"} 1"#,
        r#"medhook_deliveries_total{endpoint="healthsync",provider="healthsync",kind="unknown",outcome="handled",reason=""} 1"#,
        r#"medhook_deliveries_total{endpoint="healthsync",provider="healthsync",kind="",outcome="rejected",reason="signature_mismatch"} 1"#,
        r#"medhook_handler_seconds_bucket{endpoint="healthsync",le="60"} 2"#,
        r#"medhook_handler_seconds_count{endpoint="healthsync"} 2"#,
        r#"medhook_expect_every_seconds{endpoint="healthsync",provider="healthsync"} 3600"#,
        r#"medhook_silence_total{endpoint="healthsync",provider="healthsync"} 0"#,
        concat!(r#"medhook_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
        "medhook_connections_max 512",
        "medhook_ready 1",
        "medhook_store_up 1",
    ] {
        assert!(text.lines().any(|served| served == line), "{line} is missing:\n{text}");
    }
    for hidden in ["canary", SECRET, OTHER_SECRET] {
        assert!(!text.contains(hidden), "{hidden}");
    }

    let documented = documented();
    let mut served = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, mut labels) = sample(line);
        labels.remove("le");
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        let name = histogram.filter(|name| documented.contains_key(*name)).unwrap_or(name);
        let metric = documented.get(name).unwrap_or_else(|| panic!("{name} is not in docs/metrics.md"));
        assert!(metric.labels.iter().eq(labels.iter()), "{name}: {labels:?}");
        assert!(text.contains(&format!("# TYPE {name} {}\n", metric.form)), "{name}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        served.insert(name);
    }
    let own = documented.iter().filter(|(_, metric)| metric.of_receive).map(|(name, _)| &**name);
    for name in own {
        assert!(served.contains(name), "{name} is documented but not served");
    }
    // The histogram keeps its buckets after the recorded durations were moved into them.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    assert!(scrape(operations).contains("medhook_handler_seconds_count{endpoint=\"healthsync\"} 2\n"));
}

#[test]
fn metrics_are_served_at_the_address_of_operations_only() {
    let folder = Folder::new();
    let (instance, operations) = started(&folder, ENDPOINT);
    let status = |to, method, path| answer(to, method, path).0.split(' ').nth(1).unwrap().to_owned();
    assert_eq!(status(operations, "GET", "/metrics"), "200");
    assert_eq!(status(operations, "POST", "/metrics"), "405");
    assert_eq!(status(operations, "GET", "/metrics/"), "404");
    assert_eq!(status(instance.address, "GET", "/metrics"), "404");
    let (head, body) = answer(operations, "HEAD", "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 ") && body.is_empty(), "{head} {body}");
}

#[test]
fn open_connections_are_counted() {
    let folder = Folder::new();
    let (instance, operations) = started(&folder, ENDPOINT);
    let begin = |open: usize| {
        let began = Instant::now();
        while !scrape(operations).contains(&format!("medhook_connections {open}\n")) {
            assert!(began.elapsed() < PATIENCE, "{open}: {}", scrape(operations));
        }
    };
    begin(0);
    let held: Vec<_> = (0..3).map(|_| TcpStream::connect(instance.address).unwrap()).collect();
    begin(3);
    drop(held);
    begin(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_operations_nothing_is_recorded_and_no_recorder_is_missed() {
    let folder = Folder::new();
    let mut instance = Instance::start(&folder, &format!("{TOP}{ENDPOINT}"), &[]);
    send_deliveries(instance.address).await;
    instance.terminate();
    assert!(!instance.stderr().join("\n").contains("recorder"), "{:?}", instance.stderr());
}

/// Runs if `MEDHOOK_TEST_PROMTOOL` names the program (scripts/prometheus).
#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_no_problem_in_the_served_text() {
    let Some(promtool) = std::env::var_os("MEDHOOK_TEST_PROMTOOL").filter(|path| !path.is_empty()) else { return };
    let folder = Folder::new();
    let (instance, operations) = started(&folder, &format!("{ENDPOINT}expect_every = \"1h\"\n"));
    send_deliveries(instance.address).await;
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut checking = command.spawn().unwrap();
    checking.stdin.take().unwrap().write_all(scrape(operations).as_bytes()).unwrap();
    let output = checking.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && said.is_empty(), "{said}");
}
