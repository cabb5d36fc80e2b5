//! The server: its limits for clients, its health checks and its shutdown.

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

/// Opens a connection and writes this text.
fn connect(to: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

/// Reads everything until the connection is closed.
fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not closed: {error}"),
    }
    String::from_utf8(text).unwrap()
}

/// Sends this text and returns the answer. Repeats it if the connection timed out without an answer, which can happen
/// on a slow machine.
fn answered_in_time(to: SocketAddr, text: &str) -> String {
    let began = Instant::now();
    loop {
        let answer = rest(connect(to, text));
        if !answer.is_empty() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "never answered");
    }
}

/// Sends a request on an open connection, and returns the status of the answer. Only a failed health check has a body.
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

/// Sends a request on a new connection, and returns the status of the answer.
pub(crate) fn status_of(to: SocketAddr, path: &str) -> u16 {
    status(&mut connect(to, ""), "GET", path)
}

#[test]
fn health_checks_are_answered_and_unknown_paths_are_404() {
    let folder = Folder::new();
    let instance = Instance::start(&folder, &format!("{TOP}{ENDPOINT}"), &[]);
    let mut stream = connect(instance.address, "");
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
fn incomplete_heads_and_idle_connections_time_out() {
    let folder = Folder::new();
    let config = format!("{TOP}idle_timeout = \"300ms\"\n{ENDPOINT}body_timeout = \"300ms\"\n");
    let instance = Instance::start(&folder, &config, &["--json"]);
    let at = instance.address;
    // Less than hyper's default timeout of 30 s.
    let nothing = connect(at, "");
    nothing.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(rest(nothing), "");
    assert!(!rest(connect(at, "POST /healthsync HTTP/1.1\r\nhost: a\r\n")).contains(" 200 "));
    let idle = answered_in_time(at, "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(idle.starts_with("HTTP/1.1 200 ") && idle.ends_with("\r\n\r\n"), "{idle}");
    // A body that never arrives, after a well-formed head.
    let signature = "ab".repeat(32);
    let head = format!(
        "POST /healthsync HTTP/1.1\r\nhost: a\r\nx-healthsync-signature: sha256={signature}\r\ncontent-length: 5\r\n\r\nabc"
    );
    assert!(answered_in_time(at, &head).starts_with("HTTP/1.1 408 "));
    assert!(instance.lines(1)[0].contains("body_timeout"));
}

#[test]
fn a_head_that_is_too_long_or_invalid_is_rejected() {
    let folder = Folder::new();
    let instance = Instance::start(&folder, &format!("{TOP}{ENDPOINT}"), &[]);
    for (name, head) in [
        ("one long header", format!("GET /healthz HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(17 * 1024))),
        ("many headers", format!("GET /healthz HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(200))),
        ("a long path", format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(100_000))),
        ("no HTTP", "\x16\x03\x01 a TLS hello, say\r\n\r\n".to_owned()),
    ] {
        let mut stream = TcpStream::connect(instance.address).unwrap();
        // The server may reject the head before it is complete.
        let _ = stream.write_all(head.as_bytes());
        let answer = rest(stream);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{name}: {answer}");
    }
    let mut stream = connect(instance.address, "");
    assert_eq!(status(&mut stream, "GET", "/healthz"), 200);
}

#[test]
fn above_max_connections_the_next_one_waits_until_one_is_closed() {
    let folder = Folder::new();
    let config = format!("{TOP}max_connections = 3\nidle_timeout = \"2m\"\n{ENDPOINT}");
    let instance = Instance::start(&folder, &config, &[]);
    let mut held: Vec<_> = (0..3).map(|_| connect(instance.address, "")).collect();
    for stream in &mut held {
        assert_eq!(status(stream, "GET", "/healthz"), 200);
    }
    let mut next = connect(instance.address, "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n");
    next.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(next.read(&mut [0]).is_err(), "answered above the limit");
    held.pop();
    next.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 12];
    next.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[test]
fn the_receiver_recovers_after_running_out_of_file_descriptors() {
    let folder = Folder::new();
    folder.file("medhook.toml", &format!("{TOP}idle_timeout = \"2m\"\n{ENDPOINT}"));
    let mut command = std::process::Command::new("sh");
    let run = format!("ulimit -n 40 && exec '{}' receive", env!("CARGO_BIN_EXE_medhook"));
    with_secrets(&mut command, &folder).args(["-c", &run]);
    let mut instance = Instance::run(command);
    // Connecting succeeds in the system's queue even if the program does not accept.
    let held: Vec<_> = (0..60).map(|_| connect(instance.address, "")).collect();
    let began = Instant::now();
    while !instance.stderr().iter().any(|line| line.contains("accepting connections failed")) {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(held);
    let mut stream = connect(instance.address, "");
    assert_eq!(status(&mut stream, "GET", "/healthz"), 200);
    assert_eq!(instance.terminate().code(), Some(0));
}

/// Starts an application that answers once the returned sender allows it.
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
async fn on_a_signal_running_events_are_finished() {
    for signal in ["-TERM", "-INT"] {
        let (let_go, application) = waiting().await;
        let folder = Folder::new();
        let config = format!("{TOP}{ENDPOINT}forward = \"{}\"", application.url());
        let mut instance = Instance::start(&folder, &config, &["--json"]);
        let address = instance.address;
        let held = tokio::spawn(async move { Sender::new().send(address, &delivery("held")).await });
        called(&application).await;
        let mut open = connect(address, "");
        assert_eq!(status(&mut open, "GET", "/healthz"), 200);
        instance.signal(signal);
        // New connections are rejected.
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

/// A load balancer still sends deliveries until its next readiness check.
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
    let mut kept_open = connect(address, "");
    assert_eq!(status(&mut kept_open, "GET", "/readyz"), 200);
    instance.signal("-TERM");
    let began = Instant::now();
    while status_of(address, "/readyz") != 503 {
        assert!(began.elapsed() < PATIENCE);
    }
    assert_eq!(status_of(address, "/livez"), 200);
    assert_eq!(sender.send(address, &delivery("after")).await, Ok(200));
    // An open connection gets one more answer, and is then closed.
    write!(kept_open, "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let answer = rest(kept_open);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close\r\n"), "{answer}");
    // The next signal ends the delay.
    instance.signal("-TERM");
    assert_eq!(instance.ended().code(), Some(0));
    assert_eq!(application.calls().len(), 2);
    assert_eq!(instance.lines(2).len(), 2);
}

/// SIGINT comes from a terminal, where there is no load balancer to wait for.
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
    while !instance.stderr().iter().any(|line| line.contains("SIGHUP: no file of a secret or certificate has changed"))
    {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(status_of(address, "/readyz"), 200);
    let_go.send_replace(true);
    assert_eq!(held.await.unwrap(), Ok(200));
    assert_eq!(instance.terminate().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_closes_its_sending_side_gets_its_answer() {
    let (let_go, application) = waiting().await;
    let folder = Folder::new();
    let instance =
        Instance::start(&folder, &format!("{TOP}{ENDPOINT}forward = \"{}\"", application.url()), &["--json"]);
    let request = delivery("half-closed");
    let mut text = format!("POST /healthsync HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n", request.body().len());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    let stream = connect(instance.address, &format!("{text}\r\n{}", str::from_utf8(request.body()).unwrap()));
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    called(&application).await;
    // Time for the server to see the end of the stream while the event is being handled.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let_go.send_replace(true);
    let answer = rest(stream);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    assert!(instance.lines(1)[0].contains("\"outcome\":\"handled\""));
}

/// Clients without a signature can hold all connections.
#[test]
fn health_is_answered_while_all_connections_of_the_listener_are_held() {
    let folder = Folder::new();
    let operations = free_address();
    let config = format!(
        "{TOP}max_connections = 3\nidle_timeout = \"10m\"\n{ENDPOINT}[operations]\nlisten = \"{operations}\"\n"
    );
    let mut instance = Instance::start(&folder, &config, &[]);
    assert!(instance.stderr().join("\n").contains(&format!("health checks at http://{operations}")));
    let held: Vec<_> = (0..10).map(|_| connect(instance.address, "POST /healthsync HTTP/1.1\r\n")).collect();
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(status_of(operations, path), 200, "{path}");
    }
    // This address only serves health checks.
    assert_eq!(status(&mut connect(operations, ""), "POST", "/healthsync"), 404);
    drop(held);
    assert_eq!(instance.terminate().code(), Some(0));
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[cfg(feature = "redis")]
#[test]
fn while_the_store_is_being_opened_the_receiver_is_alive_and_not_ready() {
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
    medhook_tests::servers::signal("TERM", &[child.id()]);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_shutdown_timeout_running_events_are_canceled_and_released() {
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
    assert!(instance.stderr().join("\n").contains("canceled 1 unfinished deliveries"));
    assert!(instance.lines(1)[0].contains("\"outcome\":\"failed\",\"reason\":\"handler_canceled\""));

    // The claim was released, and did not have to expire after 30 s.
    let ready = Application::answering(200).await;
    let config = config.replace(&application.url(), &ready.url());
    let instance = Instance::start(&folder, &config, &["--json"]);
    assert_eq!(Sender::new().send(instance.address, &delivery("held")).await, Ok(200));
    assert_eq!(ready.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_killed_receiver_can_be_handled_only_after_its_lease() {
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
            // On a slow disk the claim may take longer than this short lease.
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
                (Ok(503), "1s") => assert!(began.elapsed() < Duration::from_secs(25), "`lease` has no effect"),
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
async fn while_the_store_is_unavailable_on_store_error_applies() {
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
    // It stays alive, so that a supervisor does not restart it, but becomes unready for the load balancer.
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
async fn a_second_signal_cancels_running_events() {
    let (_let_go, application) = waiting().await;
    let folder = Folder::new();
    let config = format!("{TOP}shutdown_timeout = \"1h\"\n{ENDPOINT}forward = \"{}\"", application.url());
    let mut instance = Instance::start(&folder, &config, &["--json"]);
    let address = instance.address;
    let held = tokio::spawn(async move { Sender::new().send(address, &delivery("held")).await });
    called(&application).await;
    instance.signal("-TERM");
    let began = Instant::now();
    while !instance.stderr().iter().any(|line| line.contains("shutting down")) {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    instance.signal("-TERM");
    // The sender is answered, so that it retries.
    assert_eq!(held.await.unwrap(), Ok(503));
    assert_eq!(instance.ended().code(), Some(1));
    assert!(instance.lines(1)[0].contains("\"outcome\":\"failed\",\"reason\":\"handler_canceled\""));
}

#[test]
fn a_client_that_does_not_read_its_answers_is_disconnected() {
    let folder = Folder::new();
    let config = format!("{TOP}idle_timeout = \"500ms\"\nshutdown_timeout = \"1h\"\n{ENDPOINT}");
    let mut instance = Instance::start(&folder, &config, &[]);
    let mut stream = TcpStream::connect(instance.address).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let requests = "GET /nothing HTTP/1.1\r\nhost: a\r\n\r\n".repeat(1_000);
    // The answers fill the buffers of the system, then the connection is reset.
    let is_reset = (0..100_000).any(|_| stream.write_all(requests.as_bytes()).is_err());
    assert!(is_reset, "the server still reads requests although their answers are not read");
    // The connection does not delay the shutdown.
    assert_eq!(instance.terminate().code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_failed_start_exits_even_if_standard_error_is_not_read() {
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

/// The capacity of a pipe in bytes.
#[cfg(target_os = "linux")]
const PIPE: usize = 65_536;

#[tokio::test(flavor = "multi_thread")]
async fn handled_events_are_duplicates_after_a_restart() {
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

/// The body is rejected by its announced or its actual length, and its rest is not read as another request.
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
    let mut stream = connect(instance.address, &head);
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    let health = Request::get("/healthz").body(Bytes::new()).unwrap();
    assert_eq!(Sender::new().send(instance.address, &health).await, Ok(200));
}
