//! The standard output, and those who read it, or do not.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use crate::application::Application;
use crate::program::{Folder, Instance, SECRET, medhook};
use crate::sender::{ENDPOINT, Sender, delivery};

const ALONE: &str = "listen = \"127.0.0.1:0\"\nstore = \"memory\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn one_line_for_each_delivery_in_words_and_in_json() {
    for (arguments, expected) in [
        (
            &[][..],
            [
                "handled    200  healthsync  document.uploaded  event KEY  by TEST_SECRET",
                "duplicate  200  healthsync  duplicate  document.uploaded  event KEY  by TEST_SECRET",
                "refused    401  healthsync  proof_mismatch",
                "refused    405  healthsync  method",
            ],
        ),
        (
            &["--json", "--show-ids"][..],
            [
                r#"{"endpoint":"healthsync","path":"/healthsync","provider":"healthsync","outcome":"handled","reason":null,"kind":"document.uploaded","unknown":false,"undecodable":false,"event_key":"KEY","secret":"TEST_SECRET","status":200,"event_id":"evt-1"}"#,
                r#"{"endpoint":"healthsync","path":"/healthsync","provider":"healthsync","outcome":"duplicate","reason":"duplicate","kind":"document.uploaded","unknown":null,"undecodable":null,"event_key":"KEY","secret":"TEST_SECRET","status":200,"event_id":"evt-1"}"#,
                r#"{"endpoint":"healthsync","path":"/healthsync","provider":"healthsync","outcome":"refused","reason":"proof_mismatch","kind":null,"unknown":null,"undecodable":null,"event_key":null,"status":401,"event_id":null}"#,
                r#"{"endpoint":"healthsync","path":"/healthsync","provider":"healthsync","outcome":"refused","reason":"method","kind":null,"unknown":null,"undecodable":null,"event_key":null,"status":405,"event_id":null}"#,
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
            let (before, after) = expected.split_once("KEY").unwrap_or((expected, ""));
            assert!(line.starts_with(before) && line.ends_with(after), "{line}\n{expected}");
            assert_eq!(line.len(), expected.len() + if expected.contains("KEY") { 13 } else { 0 }, "{line}");
        }
        let told = [lines.join("\n"), instance.stderr().join("\n")].concat();
        for hidden in [SECRET, "Lab Report", "evt-1"] {
            assert!(!told.replace("\"event_id\":\"evt-1\"", "").contains(hidden), "{hidden} in {told}");
        }
    }
}

/// Without an application an event is handled when its line is written, and not before.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_costs_no_event() {
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
    assert_eq!(sender.send(instance.address, &health).await, Ok(503));
    assert_eq!(instance.terminate().code(), Some(0));
    let told = instance.stderr();
    assert_eq!(told.iter().filter(|line| line.contains("cannot write to the standard output")).count(), 1, "{told:?}");

    let mut instance =
        Instance::start(&folder, &format!("{}{ENDPOINT}", ALONE.replace("memory", "sqlite:events.db")), &[]);
    assert_eq!(sender.send(instance.address, &unread).await, Ok(200));
    assert_eq!(sender.send(instance.address, &health).await, Ok(200));
    assert!(instance.lines(1)[0].starts_with("handled"));
    instance.terminate();
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_no_event() {
    let folder = Folder::new();
    folder.file("medhook.toml", &format!("{ALONE}{ENDPOINT}"));
    let mut command = medhook(&folder, &["--json"]);
    command.stdout(std::fs::File::create("/dev/full").unwrap());
    let mut instance = Instance::run(command);
    assert_eq!(Sender::new().send(instance.address, &delivery("evt-1")).await, Ok(503));
    assert_eq!(instance.terminate().code(), Some(0));
}

/// A line that waits for a reader in vain is withdrawn: what was answered 504 is not reported as handled.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_costs_no_event() {
    let folder = Folder::new();
    folder.file("medhook.toml", &format!("{ALONE}{ENDPOINT}max_handling = \"5s\"\n"));
    let mut instance = Instance::run(medhook(&folder, &["--json", "--show-ids"]));
    let mut stdout = instance.take_stdout();
    let sender = Sender::new();
    let mut forged = delivery("forged");
    *forged.body_mut() = medhook::Bytes::from_static(b"{}");
    for _ in 0..1800 {
        assert_eq!(sender.send(instance.address, &forged).await, Ok(401));
    }
    assert_eq!(sender.send(instance.address, &delivery("evt-1")).await, Ok(504));
    let reads = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    // Handled as soon as there is room.
    while sender.send(instance.address, &delivery("evt-1")).await != Ok(200) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(instance.terminate().code(), Some(0));
    let text = reads.join().unwrap().unwrap();
    let handled = text.lines().filter(|line| line.contains("\"outcome\":\"handled\""));
    assert_eq!(handled.count(), 1);
}

/// With an application neither a reader that is gone nor one that never reads keeps anything from being handled.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_stalls_no_forwarding() {
    for gone in [true, false] {
        let application = Application::answering(200).await;
        let folder = Folder::new();
        folder.file("medhook.toml", &format!("{ALONE}{ENDPOINT}forward = \"{}\"", application.url()));
        let mut instance = Instance::run(medhook(&folder, &["--json"]));
        let mut stdout = Some(instance.take_stdout());
        if gone {
            stdout = None;
        }
        // More than a pipe (64 KiB) and all that may wait (1,024 lines) hold.
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
            let told = instance.stderr().join("\n");
            assert!((1024..1803).contains(&lines), "{lines}");
            let numbers = told.split("left_out=").skip(1).map(|rest| rest.split_whitespace().next().unwrap());
            let left_out: usize = numbers.map(|number| number.parse::<usize>().unwrap()).sum();
            assert_eq!(left_out, 1803 - lines, "{told}");
        } else {
            assert_eq!(instance.terminate().code(), Some(0));
        }
    }
}

/// What was said before the end is written before the end, if somebody reads it.
#[tokio::test(flavor = "multi_thread")]
async fn lines_that_wait_at_the_end_are_written() {
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
    // Those that were waiting, beside those in the pipe.
    assert!(text.lines().count() > 1024, "{}", text.lines().count());
}
