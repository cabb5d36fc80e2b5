//! The limits of the operator's page: long and slow requests, and many connections.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use crate::addresses::logged;
use crate::page_client::{Answer, FORM, TOKEN, connect, is_open, log_in, started};
use crate::program::{Folder, PATIENCE};

/// The longest accepted form.
const LONGEST: usize = 4096;

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
