//! The limits of the operator's page: long and slow requests, and many connections.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use crate::addresses::logged;
use crate::page_client::{Answer, FORM, OPERATIONS, TOKEN, TOP, connect, is_open, log_in, page, started};
use crate::program::{Folder, Instance, PATIENCE};
use crate::sender::ENDPOINT;

/// The longest accepted form.
const LONGEST: usize = 8192;

#[test]
fn a_form_is_short() {
    let folder = Folder::new();
    let (_instance, at) = started(&folder);
    for (length, status) in [(LONGEST, 303), (LONGEST + 1, 400)] {
        let form = format!("token={TOKEN}&pad=");
        let form = format!("{form}{}", "a".repeat(length - form.len()));
        let answer = crate::page_client::send(at, "POST", "/login", FORM, &form);
        assert_eq!(answer.status, status, "{length}");
        assert_eq!(answer.header("set-cookie").is_some(), status == 303);
    }
}

/// The longest token, each byte of it escaped, beside the longest path to continue with.
#[test]
fn the_longest_token_fits_into_the_form() {
    let folder = Folder::new();
    let token = "+/=%&#?!".repeat(128);
    assert_eq!(token.len(), 1024);
    let file = folder.file("token", &token);
    let operations = OPERATIONS.replace("{ env = \"TEST_THIRD_SECRET\" }", &format!("{{ file = {file:?} }}"));
    let instance = Instance::start(&folder, &format!("{TOP}{ENDPOINT}{operations}"), &[]);
    let at = page(&instance);
    let escaped: String = token.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let next = "%2F".repeat(1024);
    let answer = crate::page_client::send(at, "POST", "/login", FORM, &format!("next={next}&token={escaped}"));
    assert_eq!(answer.status, 303, "{answer:?}");
    assert!(is_open(at, &answer.cookie()));
}

#[test]
fn a_huge_body_is_not_read() {
    let folder = Folder::new();
    let (_instance, at) = started(&folder);
    let cookie = log_in(at, TOKEN).cookie();
    const HUGE: usize = 100_000_000;
    for (line, path, status) in
        [("POST", "/login", 400), ("POST", "/logout", 303), ("GET", "/", 200), ("PUT", "/", 405)]
    {
        let cookie = if path == "/logout" { String::new() } else { cookie.clone() };
        let mut stream = connect(at);
        let head = format!("{line} {path} HTTP/1.1\r\nhost: {at}\r\n{cookie}{FORM}content-length: {HUGE}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // The client sends as much as it can until the receiver closes the connection.
        let mut sender = stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            let chunk = [b'a'; 64 * 1024];
            let mut sent = 0;
            while sent < HUGE {
                match sender.write(&chunk) {
                    Ok(length) => sent += length,
                    Err(_) => break,
                }
            }
            sent
        });
        let mut start = [0; 13];
        // The kernel can drop the answer when the connection is closed with unread bytes.
        if stream.read_exact(&mut start).is_ok() {
            assert_eq!(start, *format!("HTTP/1.1 {status} ").as_bytes(), "{line} {path}");
        }
        let sent = sending.join().unwrap();
        assert!(sent < HUGE, "{line} {path}: the whole body was read");
    }
    assert!(is_open(at, &cookie));
}

#[test]
fn a_slow_form_is_ended_and_delays_no_other_client() {
    let folder = Folder::new();
    let (_instance, at) = started(&folder);
    let mut slow = connect(at);
    write!(slow, "POST /login HTTP/1.1\r\nhost: {at}\r\n{FORM}content-length: 100\r\n\r\ntoken=").unwrap();
    let cookie = log_in(at, TOKEN).cookie();
    assert!(is_open(at, &cookie));
    let answer = Answer::read(slow);
    assert_eq!((answer.status, answer.header("connection")), (400, Some("close")));
}

/// Opens a connection from another address, as a client on another machine does.
#[cfg(target_os = "linux")]
fn connect_as_another_client(to: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        tokio::time::timeout(PATIENCE, socket.connect(to)).await.unwrap().unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[cfg(target_os = "linux")]
#[test]
fn wrong_tokens_of_one_client_do_not_delay_another_one() {
    let folder = Folder::new();
    let (_instance, at) = started(&folder);
    let began = Instant::now();
    while log_in(at, "wrong").status != 429 {
        assert!(began.elapsed() < PATIENCE);
    }
    let mut other = connect_as_another_client(at);
    let form = format!("token={TOKEN}");
    let length = form.len();
    let head = format!("POST /login HTTP/1.1\r\nhost: {at}\r\n{FORM}connection: close\r\n");
    write!(other, "{head}content-length: {length}\r\n\r\n{form}").unwrap();
    assert_eq!(Answer::read(other).status, 303);
}

#[cfg(target_os = "linux")]
#[test]
fn idle_connections_of_one_client_keep_no_other_client_away() {
    let folder = Folder::new();
    let (instance, at) = started(&folder);
    let idle: Vec<_> = (0..300).map(|_| connect(at)).collect();
    let mut probe = connect_as_another_client(at);
    probe.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    assert_eq!(Answer::read(probe).status, 200);
    drop(idle);
    let line = logged(&instance, "connections to the operations address closed");
    assert!(line.contains("limit=64"), "{line}");
}

#[cfg(target_os = "linux")]
#[test]
fn malformed_requests_are_logged_and_counted() {
    let folder = Folder::new();
    let (mut instance, at) = started(&folder);
    for begin in [&b"GET / canary\r\n\r\n"[..], b"GET / canary\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"] {
        let mut client = connect(at);
        client.write_all(begin).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    }
    assert!(instance.terminate().success());
    let lines = instance.stderr();
    let about: Vec<_> = lines.iter().filter(|line| line.contains("to the operations address rejected")).collect();
    let [first, tls, rest] = &about[..] else { panic!("{about:?}") };
    assert!(first.contains("invalid HTTP/1.1") && first.contains("count=1 status=400"), "{first}");
    assert!(tls.contains("a client begins TLS") && tls.contains("count=1 status=400"), "{tls}");
    assert!(rest.contains("invalid HTTP/1.1") && rest.contains("count=1 status=400"), "{rest}");
    assert!(!lines.concat().contains("canary"));
}
