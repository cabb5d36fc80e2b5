//! The report on standard output, with readers that read it, stop reading it, or never read it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::application::Application;
use crate::program::{Folder, Instance, SECRET, medhook};
use crate::sender::{ENDPOINT, Sender, delivery};

const ALONE: &str = "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn each_delivery_is_one_line_of_text_or_json() {
    for (arguments, expected) in [
        (
            &[][..],
            [
                "handled    200  healthsync  document.uploaded  event KEY  by TEST_SECRET",
                "duplicate  200  healthsync  document.uploaded  event KEY  by TEST_SECRET",
                "rejected   401  healthsync  signature_mismatch",
                "rejected   405  healthsync  method",
            ],
        ),
        (
            &["--json", "--show-ids"][..],
            [
                r#"","endpoint":"healthsync","path":"/healthsync","provider":"healthsync","outcome":"handled","reason":null,"kind":"document.uploaded","unknown":false,"undecodable":false,"event_key":"KEY","id_from":"body","secret":"TEST_SECRET","status":200,"possible_duplicate":null,"event_id":"evt-1"}"#,
                r#"","endpoint":"healthsync","path":"/healthsync","provider":"healthsync","outcome":"duplicate","reason":"duplicate","kind":"document.uploaded","unknown":null,"undecodable":null,"event_key":"KEY","id_from":"body","secret":"TEST_SECRET","status":200,"possible_duplicate":null,"event_id":"evt-1"}"#,
                r#"","endpoint":"healthsync","path":"/healthsync","provider":"healthsync","outcome":"rejected","reason":"signature_mismatch","kind":null,"unknown":null,"undecodable":null,"event_key":null,"id_from":null,"status":401,"possible_duplicate":null,"event_id":null}"#,
                r#"","endpoint":"healthsync","path":"/healthsync","provider":"healthsync","outcome":"rejected","reason":"method","kind":null,"unknown":null,"undecodable":null,"event_key":null,"id_from":null,"status":405,"possible_duplicate":null,"event_id":null}"#,
            ],
        ),
    ] {
        let folder = Folder::new();
        let mut instance = Instance::start(&folder, &format!("{ALONE}{ENDPOINT}"), arguments);
        let sender = Sender::new();
        let sent = delivery("evt-1");
        let mut forged = sent.clone();
        *forged.body_mut() = [sent.body(), b" ".as_slice()].concat().into();
        let mut got = sent.clone();
        *got.method_mut() = http::Method::PUT;
        for (request, status) in [(&sent, 200), (&sent, 200), (&forged, 401), (&got, 405)] {
            assert_eq!(sender.send(instance.address, request).await, Ok(status));
        }
        let mut elsewhere = sent.clone();
        *elsewhere.uri_mut() = "/elsewhere".parse().unwrap();
        assert_eq!(sender.send(instance.address, &elsewhere).await, Ok(404));
        assert_eq!(instance.terminate().code(), Some(0));

        let lines = instance.lines(4);
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        for (line, expected) in lines.iter().zip(expected) {
            // The time of the line, such as 2026-01-31T12:00:00.000Z.
            let (time, line) = line.trim_start_matches(r#"{"time":""#).split_at(24);
            assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
            let line = line.trim_start();
            // Text lines have 16 digits, JSON lines all 64.
            let key = if arguments.is_empty() { 16 } else { 64 };
            let added = if expected.contains("KEY") { key - "KEY".len() } else { 0 };
            let (before, after) = expected.split_once("KEY").unwrap_or((expected, ""));
            assert!(line.starts_with(before) && line.ends_with(after), "{line}\n{expected}");
            assert_eq!(line.len(), expected.len() + added, "{line}");
        }
        let written = [lines.join("\n"), instance.stderr().join("\n")].concat();
        for hidden in [SECRET, "Lab Report", "evt-1"] {
            assert!(!written.replace("\"event_id\":\"evt-1\"", "").contains(hidden), "{hidden} in {written}");
        }
    }
}

/// Without an application, writing its line handles an event.
#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_when_the_reader_exits() {
    let folder = Folder::new();
    folder.file("medhook.toml", &format!("{}{ENDPOINT}", ALONE.replace("memory", "sqlite:events.db")));
    let mut instance = Instance::run(medhook(&folder, &["--json"]));
    let sender = Sender::new();
    let mut reader = BufReader::new(instance.take_stdout());
    assert_eq!(sender.send(instance.address, &delivery("read")).await, Ok(200));
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains("\"outcome\":\"handled\""), "{line}");

    drop(reader);
    let unread = delivery("unread");
    assert_eq!(sender.send(instance.address, &unread).await, Ok(503));
    assert_eq!(sender.send(instance.address, &unread).await, Ok(503));
    let health = http::Request::get("/healthz").body(medhook::Bytes::new()).unwrap();
    assert_eq!(sender.status(instance.address, &health).await, 503);
    assert_eq!(instance.terminate().code(), Some(0));
    let log = instance.stderr();
    assert_eq!(log.iter().filter(|line| line.contains("cannot write to standard output")).count(), 1, "{log:?}");

    let mut instance =
        Instance::start(&folder, &format!("{}{ENDPOINT}", ALONE.replace("memory", "sqlite:events.db")), &[]);
    assert_eq!(sender.send(instance.address, &unread).await, Ok(200));
    assert_eq!(sender.send(instance.address, &health).await, Ok(200));
    assert!(instance.lines(1)[0].contains("  handled  "));
    instance.terminate();
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_when_the_disk_is_full() {
    let folder = Folder::new();
    folder.file("medhook.toml", &format!("{ALONE}{ENDPOINT}"));
    let mut command = medhook(&folder, &["--json"]);
    command.stdout(std::fs::File::create("/dev/full").unwrap());
    let mut instance = Instance::run(command);
    assert_eq!(Sender::new().send(instance.address, &delivery("evt-1")).await, Ok(503));
    assert_eq!(instance.terminate().code(), Some(0));
}

/// Events written to it would be answered 200 and lost.
#[cfg(target_os = "linux")]
#[test]
fn events_cannot_be_written_to_a_closed_or_null_output() {
    let folder = Folder::new();
    folder.file("medhook.toml", &format!("{ALONE}{ENDPOINT}"));
    let null = || std::fs::File::options().write(true).open("/dev/null").unwrap();
    let output = medhook(&folder, &[]).stdout(null()).output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert!(line.contains("endpoint 1 (/healthsync)") && line.contains("closed or /dev/null"), "{line}");
    // The same if it is closed.
    let mut command = std::process::Command::new("sh");
    let run = format!("exec '{}' receive >&-", env!("CARGO_BIN_EXE_medhook"));
    let output = crate::program::with_secrets(&mut command, &folder).args(["-c", &run]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    // An endpoint that forwards its events does not need the output.
    folder.file("medhook.toml", &format!("{ALONE}{ENDPOINT}forward = \"http://127.0.0.1:1/\"\n"));
    let mut command = medhook(&folder, &[]);
    command.stdout(null());
    let mut instance = Instance::run(command);
    assert_eq!(instance.terminate().code(), Some(0));
}

/// An unready receiver gets no deliveries, and only a delivery can show that the output works again.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_output_makes_the_receiver_unready_for_some_seconds_only() {
    let folder = Folder::new();
    folder.file("medhook.toml", &format!("{ALONE}{ENDPOINT}"));
    let mut instance = Instance::run(medhook(&folder, &["--json"]));
    drop(instance.take_stdout());
    let (sender, ready) = (Sender::new(), http::Request::get("/readyz").body(medhook::Bytes::new()).unwrap());
    assert_eq!(sender.send(instance.address, &delivery("unread")).await, Ok(503));
    assert_eq!(sender.status(instance.address, &ready).await, 503);
    let began = Instant::now();
    while sender.status(instance.address, &ready).await != 200 {
        assert!(began.elapsed() < Duration::from_secs(120));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(instance.terminate().code(), Some(0));
}

/// Lines that could not be written are counted, whether the queue was full, the write failed or the process ended.
#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_lost_are_counted() {
    let application = Application::answering(200).await;
    let folder = Folder::new();
    folder.file("medhook.toml", &format!("{ALONE}{ENDPOINT}forward = \"{}\"", application.url()));
    let mut instance = Instance::run(medhook(&folder, &["--json"]));
    drop(instance.take_stdout());
    let sender = Sender::new();
    for number in 0..20 {
        assert_eq!(sender.send(instance.address, &delivery(&format!("evt-{number}"))).await, Ok(200));
    }
    assert_eq!(instance.terminate().code(), Some(0));
    let log = instance.stderr().join("\n");
    assert!(log.contains("20 lines were not written to standard output"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_is_detected_and_no_event_is_lost() {
    let folder = Folder::new();
    folder.file("medhook.toml", &format!("{ALONE}{ENDPOINT}"));
    let mut instance = Instance::run(medhook(&folder, &["--json", "--show-ids"]));
    let mut stdout = instance.take_stdout();
    let (sender, address) = (Sender::new(), instance.address);
    let ready = http::Request::get("/readyz").body(medhook::Bytes::new()).unwrap();
    let live = http::Request::get("/livez").body(medhook::Bytes::new()).unwrap();
    assert_eq!(sender.send(address, &delivery("first")).await, Ok(200));
    assert_eq!(sender.status(address, &ready).await, 200);
    // More lines than a pipe holds.
    for _ in 0..400 {
        assert_eq!(sender.send(address, &delivery("first")).await, Ok(200));
    }
    let began = Instant::now();
    // The delivery whose write blocks waits for some seconds. Later ones do not wait.
    assert_eq!(sender.send(address, &delivery("unread")).await, Ok(503));
    assert!(began.elapsed() < Duration::from_secs(50), "it waited for `handler_timeout`");
    assert_eq!((sender.status(address, &ready).await, sender.status(address, &live).await), (503, 200));
    let stuck = || instance.stderr().iter().filter(|line| line.contains("standard output is stuck")).count();
    for _ in 0..20 {
        assert_eq!(sender.send(address, &delivery("unread")).await, Ok(503));
    }
    assert_eq!(stuck(), 1, "{:?}", instance.stderr());

    let reads = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    // Handled as soon as the pipe has room.
    while sender.send(address, &delivery("unread")).await != Ok(200) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(sender.status(address, &ready).await, 200);
    assert_eq!(instance.terminate().code(), Some(0));
    let text = reads.join().unwrap().unwrap();
    let handled = |id: &str| {
        let id = format!("\"event_id\":\"{id}\"");
        text.lines().filter(|line| line.contains("\"outcome\":\"handled\"") && line.contains(&id)).count()
    };
    assert_eq!((handled("first"), handled("unread")), (1, 1), "a delivery answered 503 is reported as handled");
    assert_eq!(instance.stderr().iter().filter(|line| line.contains("no longer stuck")).count(), 1);
}

#[test]
fn a_client_without_a_signature_cannot_fill_the_log() {
    const SENT: usize = 20_000;
    let folder = Folder::new();
    let mut instance = Instance::start(&folder, &format!("{ALONE}{ENDPOINT}"), &["--json"]);
    let mut stream = TcpStream::connect(instance.address).unwrap();
    let mut answers = stream.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        answers.read_to_end(&mut all).unwrap();
        String::from_utf8(all).unwrap().matches("HTTP/1.1 401 ").count()
    });
    let request = "POST /healthsync HTTP/1.1\r\nhost:a\r\ncontent-length:0\r\n\r\n";
    for _ in 0..SENT / 100 {
        stream.write_all(request.repeat(100).as_bytes()).unwrap();
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(reading.join().unwrap(), SENT);

    // The count is reported when the burst has ended, without another request.
    let lines = instance.lines(2);
    assert_eq!(instance.terminate().code(), Some(0));
    let lines = instance.stdout().len().max(lines.len());
    let all = instance.stdout().join("\n");
    assert!(lines < 10 && all.len() + instance.stderr().join("\n").len() < 5_000, "{lines} lines: {all}");
    let counted: u64 = all.lines().map(|line| count(line).unwrap_or(1)).sum();
    assert_eq!(counted, SENT as u64, "{all}");
    assert!(all.lines().all(|line| line.contains("\"reason\":\"missing_header\"")));
    assert_eq!(count(all.lines().next().unwrap()), None, "the first in full: {all}");
}

/// Returns the number of deliveries that a line summarizes.
fn count(line: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(line).unwrap()["count"].as_u64()
}

/// Each reason of each endpoint has its own budget.
#[tokio::test(flavor = "multi_thread")]
async fn genuine_deliveries_have_their_own_lines_during_a_flood() {
    let folder = Folder::new();
    let more = ENDPOINT.replace("/healthsync", "/other");
    let config = format!("{ALONE}{ENDPOINT}reuse_secret = true\n{more}reuse_secret = true\n");
    let mut instance = Instance::start(&folder, &config, &["--json", "--show-ids"]);
    let sender = Sender::new();
    let mut forged = delivery("forged");
    *forged.body_mut() = medhook::Bytes::from_static(b"{}");
    let mut unsigned = forged.clone();
    unsigned.headers_mut().clear();
    let mut elsewhere = forged.clone();
    *elsewhere.uri_mut() = "/other".parse().unwrap();
    for number in 0..50 {
        for rejected in [&forged, &unsigned, &elsewhere] {
            assert_eq!(sender.send(instance.address, rejected).await, Ok(401));
        }
        assert_eq!(sender.send(instance.address, &delivery(&format!("genuine-{number}"))).await, Ok(200));
    }
    assert_eq!(instance.terminate().code(), Some(0));
    let lines = instance.stdout();
    for number in 0..50 {
        let id = format!("\"event_id\":\"genuine-{number}\"");
        assert_eq!(lines.iter().filter(|line| line.contains(&id)).count(), 1, "{number}");
    }
    for (endpoint, reason) in
        [("healthsync", "signature_mismatch"), ("healthsync", "missing_header"), ("other", "signature_mismatch")]
    {
        let about = [format!("\"endpoint\":\"{endpoint}\""), format!("\"reason\":\"{reason}\"")];
        let lines: Vec<_> = lines.iter().filter(|line| about.iter().all(|about| line.contains(about))).collect();
        assert_eq!(count(lines[0]), None);
        assert_eq!(lines.iter().map(|line| count(line).unwrap_or(1)).sum::<u64>(), 50, "{lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarding_continues_when_the_reader_exits_or_does_not_read() {
    for exits in [true, false] {
        let application = Application::answering(200).await;
        let folder = Folder::new();
        folder.file("medhook.toml", &format!("{ALONE}{ENDPOINT}forward = \"{}\"", application.url()));
        let mut instance = Instance::run(medhook(&folder, &["--json"]));
        let mut stdout = Some(instance.take_stdout());
        if exits {
            stdout = None;
        }
        // More lines than a pipe (64 KiB) and the queue (1,024 lines) hold.
        let sender = Sender::new();
        let repeated = delivery("evt-1");
        for _ in 0..1800 {
            assert_eq!(sender.send(instance.address, &repeated).await, Ok(200));
        }
        assert_eq!(sender.send(instance.address, &delivery("evt-2")).await, Ok(200));
        assert_eq!(application.calls().len(), 2);
        let health = http::Request::get("/healthz").body(medhook::Bytes::new()).unwrap();
        assert_eq!(sender.send(instance.address, &health).await, Ok(200));
        if let Some(mut stdout) = stdout {
            let reads = std::thread::spawn(move || {
                let mut text = String::new();
                stdout.read_to_string(&mut text).map(|_| text)
            });
            assert_eq!(sender.send(instance.address, &delivery("evt-3")).await, Ok(200));
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(sender.send(instance.address, &delivery("evt-4")).await, Ok(200));
            assert_eq!(instance.terminate().code(), Some(0));
            let text = reads.join().unwrap().unwrap();
            let lines = text.lines().count();
            assert!(text.lines().all(|line| line.starts_with('{') && line.ends_with('}')));
            let log = instance.stderr().join("\n");
            assert!((1024..1803).contains(&lines), "{lines}");
            let numbers = log.split("left_out=").skip(1).map(|rest| rest.split_whitespace().next().unwrap());
            let left_out: usize = numbers.map(|number| number.parse::<usize>().unwrap()).sum();
            assert_eq!(left_out, 1803 - lines, "{log}");
        } else {
            assert_eq!(instance.terminate().code(), Some(0));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queued_lines_are_written_before_the_process_ends() {
    let application = Application::answering(200).await;
    let folder = Folder::new();
    folder.file("medhook.toml", &format!("{ALONE}{ENDPOINT}forward = \"{}\"", application.url()));
    let mut instance = Instance::run(medhook(&folder, &["--json"]));
    let mut stdout = instance.take_stdout();
    let sender = Sender::new();
    let repeated = delivery("evt-1");
    for _ in 0..1800 {
        assert_eq!(sender.send(instance.address, &repeated).await, Ok(200));
    }
    instance.signal("-TERM");
    let mut text = String::new();
    stdout.read_to_string(&mut text).unwrap();
    assert_eq!(instance.ended().code(), Some(0));
    // The queued lines, and those in the pipe.
    assert!(text.lines().count() > 1024, "{}", text.lines().count());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pointer_that_leads_nowhere_is_seen_on_standard_error_and_in_each_line() {
    let folder = Folder::new();
    let acme = "[[endpoint]]\npath = \"/acme\"\nprovider = \"custom\"\nscheme = \"shared-secret\"\nheader = \"x-acme\"\n\
                secrets = [{ env = \"TEST_SECRET\" }]\nid_pointer = \"/idd\"\n";
    let mut instance = Instance::start(&folder, &format!("{ALONE}{acme}"), &["--json"]);
    let sender = Sender::new();
    for body in [r#"{"id": "evt-1"}"#, r#"{"id": "evt-2"}"#, r#"{"idd": "evt-3"}"#] {
        let request = http::Request::post("/acme").header("x-acme", SECRET).body(body.into()).unwrap();
        assert_eq!(sender.send(instance.address, &request).await, Ok(200));
    }
    assert_eq!(instance.terminate().code(), Some(0));
    let sources: Vec<_> =
        instance.lines(3).iter().map(|line| line.split_once("\"id_from\":").unwrap().1[..6].to_owned()).collect();
    assert_eq!(sources, ["\"none\"", "\"none\"", "\"body\""]);
    let warnings: Vec<_> =
        instance.stderr().into_iter().filter(|line| line.contains("id_pointer \"/idd\" found nothing")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}
