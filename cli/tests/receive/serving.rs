//! The server: what visitors may take, and how it ends.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use http::Request;
use medhook::Bytes;
use tokio::sync::watch;

use crate::application::{Application, event, with_status};
use crate::program::{Folder, Instance, PATIENCE, with_secrets};
use crate::sender::{ENDPOINT, Sender, delivery};

const TOP: &str = "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n";

/// Opens a connection and writes this.
fn visit(to: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

/// Everything that comes until the connection is closed.
fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not closed: {error}"),
    }
    String::from_utf8(text).unwrap()
}

/// What is answered to this, until the connection is closed. It has to be sent in time, which a slow machine may not
/// manage: then it is sent again.
fn answered_in_time(to: SocketAddr, text: &str) -> String {
    let began = Instant::now();
    loop {
        let answer = rest(visit(to, text));
        if !answer.is_empty() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "never answered");
    }
}

/// Asks on an open connection, and reads the answer, which has no body unless a health check says why it failed.
fn status(stream: &mut TcpStream, method: &str, path: &str) -> u16 {
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length: usize =
        head.split("content-length: ").nth(1).map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
    let mut body = vec![0; if method == "HEAD" { 0 } else { length }];
    stream.read_exact(&mut body).unwrap();
    assert!(body.is_empty() || path.starts_with("/readyz") || path.starts_with("/healthz"), "a body for {path}");
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Asks on a connection of its own.
fn status_of(to: SocketAddr, path: &str) -> u16 {
    status(&mut visit(to, ""), "GET", path)
}

#[test]
fn health_is_answered_and_unknown_paths_are_not_there() {
    let folder = Folder::new();
    let instance = Instance::start(&folder, &format!("{TOP}{ENDPOINT}"), &[]);
    let mut stream = visit(instance.address, "");
    for (method, path, expected) in [
        ("GET", "/livez", 200),
        ("HEAD", "/livez", 200),
        ("POST", "/livez", 405),
        ("GET", "/readyz", 200),
        ("POST", "/readyz", 405),
        ("GET", "/livez/", 404),
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/healthz?verbose", 200),
        ("POST", "/healthz", 405),
        ("GET", "/", 404),
        ("POST", "/healthsync/", 404),
        ("POST", "/HEALTHSYNC", 404),
        ("POST", "//healthsync", 404),
        ("POST", "/%68ealthsync", 404),
        ("GET", "/healthsync", 405),
        ("GET", "/healthsync?a=b", 405),
    ] {
        assert_eq!(status(&mut stream, method, path), expected, "{method} {path}");
    }
}

#[test]
fn half_a_head_and_an_idle_connection_have_an_end() {
    let folder = Folder::new();
    let config = format!("{TOP}idle_timeout = \"300ms\"\n{ENDPOINT}body_timeout = \"300ms\"\n");
    let instance = Instance::start(&folder, &config, &["--json"]);
    let at = instance.address;
    // Long before the server's own default of half a minute.
    let nothing = visit(at, "");
    nothing.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(rest(nothing), "");
    assert!(!rest(visit(at, "POST /healthsync HTTP/1.1\r\nhost: a\r\n")).contains(" 200 "));
    let idle = answered_in_time(at, "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(idle.starts_with("HTTP/1.1 200 ") && idle.ends_with("\r\n\r\n"), "{idle}");
    // A body that never comes, from somebody whose head may yet be an honest one.
    let signature = "ab".repeat(32);
    let head = format!(
        "POST /healthsync HTTP/1.1\r\nhost: a\r\nx-healthsync-signature: sha256={signature}\r\ncontent-length: 5\r\n\r\nabc"
    );
    assert!(answered_in_time(at, &head).starts_with("HTTP/1.1 408 "));
    assert!(instance.lines(1)[0].contains("body_timeout"));
}

#[test]
fn a_head_that_is_too_long_or_no_head_is_rejected() {
    let folder = Folder::new();
    let instance = Instance::start(&folder, &format!("{TOP}{ENDPOINT}"), &[]);
    for (name, head) in [
        ("one long header", format!("GET /healthz HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(17 * 1024))),
        ("many headers", format!("GET /healthz HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(200))),
        ("a long path", format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(100_000))),
        ("no HTTP", "\x16\x03\x01 a TLS hello, say\r\n\r\n".to_owned()),
    ] {
        let mut stream = TcpStream::connect(instance.address).unwrap();
        // It may be refused before it is all there.
        let _ = stream.write_all(head.as_bytes());
        let answer = rest(stream);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{name}: {answer}");
    }
    let mut stream = visit(instance.address, "");
    assert_eq!(status(&mut stream, "GET", "/healthz"), 200);
}

/// Those who only hold a connection keep others out no longer than they may be idle.
#[test]
fn above_the_most_connections_the_next_waits_until_one_is_closed() {
    let folder = Folder::new();
    let config = format!("{TOP}max_connections = 3\nidle_timeout = \"2m\"\n{ENDPOINT}");
    let instance = Instance::start(&folder, &config, &[]);
    let mut held: Vec<_> = (0..3).map(|_| visit(instance.address, "")).collect();
    for stream in &mut held {
        assert_eq!(status(stream, "GET", "/healthz"), 200);
    }
    let mut next = visit(instance.address, "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n");
    next.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(next.read(&mut [0]).is_err(), "answered above the limit");
    held.pop();
    next.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 12];
    next.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

/// Out of file descriptors it neither ends nor gives up accepting.
#[test]
fn it_survives_running_out_of_file_descriptors() {
    let folder = Folder::new();
    folder.file("medhook.toml", &format!("{TOP}idle_timeout = \"2m\"\n{ENDPOINT}"));
    let mut command = std::process::Command::new("sh");
    let run = format!("ulimit -n 40 && exec '{}' receive", env!("CARGO_BIN_EXE_medhook"));
    with_secrets(&mut command, &folder).args(["-c", &run]);
    let mut instance = Instance::run(command);
    // Connecting succeeds in the system's queue, whatever the program does.
    let held: Vec<_> = (0..60).map(|_| visit(instance.address, "")).collect();
    let began = Instant::now();
    while !instance.stderr().iter().any(|line| line.contains("cannot accept connections")) {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(held);
    let mut stream = visit(instance.address, "");
    assert_eq!(status(&mut stream, "GET", "/healthz"), 200);
    assert_eq!(instance.terminate().code(), Some(0));
}

/// An application that answers when it is told to.
async fn waiting() -> (watch::Sender<bool>, Application) {
    let (let_go, waits) = watch::channel(false);
    let application = Application::start(move |_, _| {
        let mut waits = waits.clone();
        async move {
            let _ = waits.wait_for(|go| *go).await;
            with_status(200)
        }
    });
    (let_go, application.await)
}

async fn called(application: &Application) {
    let began = Instant::now();
    while application.calls().is_empty() {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_end_it_finishes_what_it_has_begun() {
    for signal in ["-TERM", "-INT"] {
        let (let_go, application) = waiting().await;
        let folder = Folder::new();
        let config = format!("{TOP}{ENDPOINT}forward = \"{}\"", application.url());
        let mut instance = Instance::start(&folder, &config, &["--json"]);
        let address = instance.address;
        let held = tokio::spawn(async move { Sender::new().send(address, &delivery("held")).await });
        called(&application).await;
        let mut open = visit(address, "");
        assert_eq!(status(&mut open, "GET", "/healthz"), 200);
        instance.signal(signal);
        // New connections are not taken.
        let began = Instant::now();
        while TcpStream::connect(address).is_ok() {
            assert!(began.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(5));
        }
        let_go.send_replace(true);
        assert_eq!(held.await.unwrap(), Ok(200));
        assert_eq!(instance.ended().code(), Some(0));
        assert!(instance.lines(1)[0].contains("\"outcome\":\"handled\""));
    }
}

/// A load balancer takes a while to notice that a receiver ends: what it sends until then is handled.
#[tokio::test(flavor = "multi_thread")]
async fn after_sigterm_deliveries_are_accepted_for_the_drain_delay_while_readiness_is_503() {
    let (let_go, application) = waiting().await;
    let_go.send_replace(true);
    let folder = Folder::new();
    let config = format!("{TOP}{ENDPOINT}forward = \"{}\"", application.url());
    let config = config.replace("drain_delay = \"0s\"", "drain_delay = \"1h\"");
    let mut instance = Instance::start(&folder, &config, &["--json"]);
    let (sender, address) = (Sender::new(), instance.address);
    assert_eq!(sender.send(address, &delivery("before")).await, Ok(200));
    let mut kept_open = visit(address, "");
    assert_eq!(status(&mut kept_open, "GET", "/readyz"), 200);
    instance.signal("-TERM");
    let began = Instant::now();
    while status_of(address, "/readyz") != 503 {
        assert!(began.elapsed() < PATIENCE);
    }
    assert_eq!(status_of(address, "/livez"), 200);
    assert_eq!(sender.send(address, &delivery("after")).await, Ok(200));
    // A connection that was open is used for one more request, and then closed without cutting anything off.
    write!(kept_open, "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let answer = rest(kept_open);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close\r\n"), "{answer}");
    // The next signal ends the delay.
    instance.signal("-TERM");
    assert_eq!(instance.ended().code(), Some(0));
    assert_eq!(application.calls().len(), 2);
    assert_eq!(instance.lines(2).len(), 2);
}

/// At a terminal there is no load balancer to wait for.
#[test]
fn after_sigint_there_is_no_delay() {
    let folder = Folder::new();
    let config = format!("{TOP}{ENDPOINT}").replace("drain_delay = \"0s\"", "drain_delay = \"1h\"");
    let mut instance = Instance::start(&folder, &config, &[]);
    instance.signal("-INT");
    assert_eq!(instance.ended().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_is_logged_and_changes_nothing() {
    let (let_go, application) = waiting().await;
    let folder = Folder::new();
    let config = format!("{TOP}{ENDPOINT}forward = \"{}\"", application.url());
    let mut instance = Instance::start(&folder, &config, &[]);
    let address = instance.address;
    let held = tokio::spawn(async move { Sender::new().send(address, &delivery("held")).await });
    called(&application).await;
    instance.signal("-HUP");
    let began = Instant::now();
    while !instance.stderr().iter().any(|line| line.contains("SIGHUP ignored")) {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(status_of(address, "/readyz"), 200);
    let_go.send_replace(true);
    assert_eq!(held.await.unwrap(), Ok(200));
    assert_eq!(instance.terminate().code(), Some(0));
}

/// Such as a client that shuts its sending side down once it has sent the request.
#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_half_closes_its_connection_gets_its_answer() {
    let (let_go, application) = waiting().await;
    let folder = Folder::new();
    let instance =
        Instance::start(&folder, &format!("{TOP}{ENDPOINT}forward = \"{}\"", application.url()), &["--json"]);
    let request = delivery("half-closed");
    let mut text = format!("POST /healthsync HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n", request.body().len());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    let stream = visit(instance.address, &format!("{text}\r\n{}", str::from_utf8(request.body()).unwrap()));
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    called(&application).await;
    // Time for the server to see the end of the stream while the event is being handled.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let_go.send_replace(true);
    let answer = rest(stream);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    assert!(instance.lines(1)[0].contains("\"outcome\":\"handled\""));
}

/// A client without any signature takes every connection that there is.
#[test]
fn health_is_answered_while_all_connections_of_the_listener_are_held() {
    let folder = Folder::new();
    let operations = free_address();
    let config = format!(
        "{TOP}max_connections = 3\nidle_timeout = \"10m\"\n{ENDPOINT}[operations]\nlisten = \"{operations}\"\n"
    );
    let mut instance = Instance::start(&folder, &config, &[]);
    assert!(instance.stderr().join("\n").contains(&format!("health checks at http://{operations}")));
    let held: Vec<_> = (0..10).map(|_| visit(instance.address, "POST /healthsync HTTP/1.1\r\n")).collect();
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(status_of(operations, path), 200, "{path}");
    }
    // Nothing but health is there.
    assert_eq!(status(&mut visit(operations, ""), "POST", "/healthsync"), 404);
    drop(held);
    assert_eq!(instance.terminate().code(), Some(0));
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A store that does not answer yet: the process is alive, and not ready.
#[cfg(feature = "redis")]
#[test]
fn while_it_starts_it_is_alive_and_not_ready() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let store = format!("redis://{}/", silent.local_addr().unwrap());
    let folder = Folder::new();
    let operations = free_address();
    let config = format!(
        "listen = \"{}\"\nstore = \"{store}\"\n{ENDPOINT}[operations]\nlisten = \"{operations}\"\n",
        free_address()
    );
    folder.file("medhook.toml", &config);
    let mut child = crate::program::medhook(&folder, &[]).spawn().unwrap();
    let (_connected, _) = silent.accept().unwrap();
    assert_eq!((status_of(operations, "/livez"), status_of(operations, "/readyz")), (200, 503));
    let status = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_come_to_its_end_is_canceled_and_released() {
    let (_let_go, application) = waiting().await;
    let folder = Folder::new();
    let config = format!(
        "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"sqlite:events.db\"\nshutdown_timeout = \"200ms\"\n{ENDPOINT}forward = \"{}\"",
        application.url()
    );
    let mut instance = Instance::start(&folder, &config, &["--json"]);
    let address = instance.address;
    let held = tokio::spawn(async move { Sender::new().send(address, &delivery("held")).await });
    called(&application).await;
    assert_eq!(instance.terminate().code(), Some(1));
    assert_eq!(held.await.unwrap(), Ok(503));
    assert!(instance.stderr().join("\n").contains("canceled 1 deliveries"));
    assert!(instance.lines(1)[0].contains("\"reason\":\"draining\""));

    // Released, not left to its lease of 30 s.
    let ready = Application::answering(200).await;
    let config = config.replace(&application.url(), &ready.url());
    let instance = Instance::start(&folder, &config, &["--json"]);
    assert_eq!(Sender::new().send(instance.address, &delivery("held")).await, Ok(200));
    assert_eq!(ready.calls().len(), 1);
}

/// What a receiver was at when it died is free for another after the lease, and not before.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_outlives_a_receiver_that_dies() {
    let (let_go, application) = waiting().await;
    let folder = Folder::new();
    let config = |lease: &str| {
        format!(
            "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"sqlite:events.db\"\n{ENDPOINT}lease = \"{lease}\"\nforward = \"{}\"",
            application.url()
        )
    };
    let sender = Sender::new();
    for (number, lease) in ["1s", "1h"].into_iter().enumerate() {
        let event = format!("held-{number}");
        let mut instance = Instance::start(&folder, &config(lease), &[]);
        let (address, held) = (instance.address, event.clone());
        let sent = tokio::spawn(async move {
            let sender = Sender::new();
            // With so short a lease a disk may be too slow for the claim.
            while sender.send(address, &delivery(&held)).await == Ok(503) {}
        });
        let began = Instant::now();
        while !application.calls().iter().any(|call| self::event(&call.request) == event) {
            assert!(began.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        instance.signal("-KILL");
        instance.ended();
        sent.await.unwrap();
        let_go.send_replace(true);
        let instance = Instance::start(&folder, &config(lease), &[]);
        let began = Instant::now();
        loop {
            match (sender.send(instance.address, &delivery(&event)).await, lease) {
                (Ok(200), "1s") => break,
                (Ok(503), "1s") => assert!(began.elapsed() < Duration::from_secs(25), "as if there were no `lease`"),
                (Ok(503), _) if began.elapsed() > Duration::from_millis(1500) => break,
                (Ok(503), _) => {}
                (answer, _) => panic!("{lease}: {answer:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let_go.send_replace(false);
    }
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread")]
async fn without_its_store_it_does_as_the_file_says() {
    let mut server = medhook_tests::servers::Server::redis(&[]);
    let application = Application::answering(200).await;
    let start = |what: &str| {
        let config = format!(
            "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"{}\"\n{ENDPOINT}on_store_error = \"{what}\"\nforward = \"{}\"",
            server.url(),
            application.url()
        );
        Instance::start(&Folder::new(), &config, &["--json"])
    };
    let (rejects, handles) = (start("reject"), start("handle-unclaimed"));
    server.stop();
    let sender = Sender::new();
    assert_eq!(sender.send(rejects.address, &delivery("evt-1")).await, Ok(503));
    assert!(rejects.lines(1)[0].contains("\"reason\":\"store_unavailable\""));
    assert_eq!(application.calls().len(), 0);
    assert_eq!(sender.send(handles.address, &delivery("evt-1")).await, Ok(200));
    assert_eq!(application.calls().len(), 1);
    assert_eq!(status_of(handles.address, "/readyz"), 200, "its events are handled");
    // A supervisor does not restart it, a load balancer sends deliveries elsewhere.
    assert_eq!(status_of(rejects.address, "/livez"), 200);
    assert_eq!(sender.send(rejects.address, &delivery("evt-2")).await, Ok(503));
    assert_eq!(status_of(rejects.address, "/readyz"), 503);
    server.start();
    let began = Instant::now();
    while sender.send(rejects.address, &delivery("evt-3")).await != Ok(200) {
        assert!(began.elapsed() < PATIENCE);
    }
    assert_eq!(status_of(rejects.address, "/readyz"), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let (_let_go, application) = waiting().await;
    let folder = Folder::new();
    let config = format!("{TOP}shutdown_timeout = \"1h\"\n{ENDPOINT}forward = \"{}\"", application.url());
    let mut instance = Instance::start(&folder, &config, &["--json"]);
    let address = instance.address;
    let held = tokio::spawn(async move { Sender::new().send(address, &delivery("held")).await });
    called(&application).await;
    instance.signal("-TERM");
    let began = Instant::now();
    while !instance.stderr().iter().any(|line| line.contains("ending")) {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    instance.signal("-TERM");
    // The sender is answered, so that it tries again.
    assert_eq!(held.await.unwrap(), Ok(503));
    assert_eq!(instance.ended().code(), Some(1));
    assert!(instance.lines(1)[0].contains("\"reason\":\"draining\""));
}

/// A client that sends requests and reads no answers holds its connection no longer than an idle one.
#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let folder = Folder::new();
    let config = format!("{TOP}idle_timeout = \"500ms\"\nshutdown_timeout = \"1h\"\n{ENDPOINT}");
    let mut instance = Instance::start(&folder, &config, &[]);
    let mut stream = TcpStream::connect(instance.address).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let requests = "GET /nothing HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1_000);
    // Until the connection is reset: the answers fill all that the system buffers.
    let cut_off = (0..100_000).any(|_| stream.write_all(requests.as_bytes()).is_err());
    assert!(cut_off, "it still reads requests whose answers are not read");
    // And nothing of it delays the end.
    assert_eq!(instance.terminate().code(), Some(0));
}

/// Even where its reason cannot be written.
#[cfg(target_os = "linux")]
#[test]
fn a_start_that_fails_ends_though_the_standard_error_is_not_read() {
    let folder = Folder::new();
    folder.file("medhook.toml", &format!("{}{ENDPOINT}", TOP.replace("memory", "sqlite:no/such/folder/events.db")));
    let (reader, writer) = std::io::pipe().unwrap();
    let mut filling = writer.try_clone().unwrap();
    filling.write_all(&[b'x'; PIPE]).unwrap();
    let mut child = crate::program::medhook(&folder, &[]).stderr(writer).spawn().unwrap();
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(began.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(2));
    drop((reader, filling));
}

/// What a pipe holds.
#[cfg(target_os = "linux")]
const PIPE: usize = 65_536;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handled_stays_handled_over_a_restart() {
    let application = Application::answering(200).await;
    let folder = Folder::new();
    let config = format!(
        "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"sqlite:events.db\"\n{ENDPOINT}forward = \"{}\"",
        application.url()
    );
    let sender = Sender::new();
    for _ in 0..2 {
        let mut instance = Instance::start(&folder, &config, &[]);
        assert_eq!(sender.send(instance.address, &delivery("evt-1")).await, Ok(200));
        assert_eq!(instance.terminate().code(), Some(0));
    }
    assert_eq!(application.calls().len(), 1);
}

/// Bodies are refused by their length, said or not, and what follows on the connection is not taken for a request.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_413() {
    let folder = Folder::new();
    let instance = Instance::start(&folder, &format!("{TOP}{ENDPOINT}body_limit = 2000\n"), &[]);
    let mut sent = delivery("evt-1");
    *sent.body_mut() = Bytes::from(vec![b' '; 2001]);
    assert_eq!(Sender::new().send(instance.address, &sent).await, Ok(413));
    let signature = "ab".repeat(32);
    let head = format!(
        "POST /healthsync HTTP/1.1\r\nhost: a\r\nx-healthsync-signature: sha256={signature}\r\ncontent-length: {}\r\n\r\n",
        1_u64 << 46
    );
    let mut stream = visit(instance.address, &head);
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    let health = Request::get("/healthz").body(Bytes::new()).unwrap();
    assert_eq!(Sender::new().send(instance.address, &health).await, Ok(200));
}
