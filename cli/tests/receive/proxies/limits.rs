//! The limits of a proxy agree with those of the receiver: deliveries that the receiver accepts arrive, and one of them
//! rejects those over a limit.

use std::io::{ErrorKind, Read as _, Write as _};

use medhook::Bytes;

use super::bodies::{LIMIT, delivery, of_length};
use super::curl::EARLY;
use super::running::{Kind, Proxy, with_each};
use super::upstream::Recorder;
use super::{PATH, receiver};
use crate::program::Folder;

#[test]
fn bodies_over_the_limit_are_rejected() {
    with_each(|kind| {
        let folder = Folder::new();
        let instance = receiver(&folder, "");
        let proxy = Proxy::start(kind, instance.address);
        let over = of_length(LIMIT + 1, "over");
        for arguments in [&["--http1.1"][..], &["--http1.1", "--header", "Transfer-Encoding: chunked"], &["--http2"]] {
            let answer = proxy.send(&delivery(over.clone()), arguments);
            // Caddy is still passing the body on when the receiver answers and closes the connection, so that it may
            // answer 502, or curl may see no answer (0 or 100).
            let expected = if kind == Kind::Nginx { &[413][..] } else { &[413, 502, 100, 0] };
            assert!(expected.contains(&answer.status), "{kind:?} {arguments:?}: {}", answer.status);
        }
        // Only genuine deliveries below the limit are handled; nginx has answered the others itself.
        assert_eq!(proxy.send(&delivery(of_length(LIMIT, "below")), &[]).status, 200, "{kind:?}");
        let lines = instance.lines(if kind == Kind::Nginx { 1 } else { 2 });
        let handled = lines.iter().filter(|line| line.contains(r#""outcome":"handled""#)).count();
        let too_large = lines.iter().any(|line| line.contains(r#""reason":"too_large""#));
        assert_eq!((handled, too_large), (1, kind == Kind::Caddy), "{kind:?}: {lines:?}");
        // The receiver has the smaller limit.
        let smaller = receiver(&folder, "body_limit = 1000\n");
        let proxy = Proxy::start(kind, smaller.address);
        assert_eq!(proxy.send(&delivery(of_length(1001, "1001")), EARLY).status, 413, "{kind:?}");
        assert_eq!(proxy.send(&delivery(of_length(1000, "1000")), &[]).status, 200, "{kind:?}");
    });
}

#[test]
fn large_heads_are_answered_4xx_and_smaller_ones_arrive() {
    with_each(|kind| {
        let folder = Folder::new();
        let instance = receiver(&folder, "");
        let proxy = Proxy::start(kind, instance.address);
        let sent = |count: usize, length: usize, version: &[&str]| {
            let headers: Vec<_> = (0..count).map(|number| format!("X-{number}: {}", "x".repeat(length))).collect();
            let arguments: Vec<&str> = headers.iter().flat_map(|header| ["--header", header]).collect();
            let genuine = delivery(of_length(500, &format!("{count}-{length}")));
            proxy.send(&genuine, &[&arguments[..], version].concat()).status
        };
        // 15 KB, and 85 headers. The second delivery of each is a duplicate.
        for version in ["--http1.1", "--http2"] {
            assert_eq!(sent(2, 7_500, &[version]), 200, "{kind:?} {version}");
            assert_eq!(sent(80, 10, &[version]), 200, "{kind:?} {version}");
        }
        // Over 16 KiB, or more than 100 headers: the receiver answers.
        assert_eq!(sent(3, 6_000, EARLY), 431, "{kind:?}");
        assert_eq!(sent(110, 10, EARLY), 431, "{kind:?}");
        // One line of 20 KB. nginx has a limit of 8 KiB for it, and answers 400.
        assert_eq!(sent(1, 20_000, EARLY), if kind == Kind::Nginx { 400 } else { 431 }, "{kind:?}");
        let lines = instance.lines(4);
        assert_eq!(lines.len(), 4, "{kind:?}: {lines:?}");
    });
}

#[test]
fn a_slow_sender_is_timed_out_and_others_are_not_delayed() {
    with_each(|kind| {
        let folder = Folder::new();
        // Caddy passes bodies on while they arrive, so that the receiver's limit applies; nginx reads them first.
        let keys = if kind == Kind::Caddy { "body_timeout = \"1s\"\n" } else { "" };
        let instance = receiver(&folder, keys);
        let shorter = [("client_body_timeout 10s", "client_body_timeout 1s")];
        let edits = if kind == Kind::Nginx { &shorter[..] } else { &[] };
        let proxy = Proxy::edited(kind, instance.address, edits);
        let answer = std::thread::scope(|scope| {
            let stalled = scope.spawn(|| stalled(&proxy));
            let other = Proxy::start(kind, instance.address);
            assert_eq!(other.send(&delivery(of_length(500, "other")), &[]).status, 200, "{kind:?}");
            stalled.join().unwrap()
        });
        // nginx closes the connection without an answer.
        let expected = if kind == Kind::Nginx { "" } else { "HTTP/1.1 408 Request Timeout" };
        assert_eq!(answer, expected, "{kind:?}");
    });
}

/// Sends the beginning of a body and then nothing more. Returns the first line of the answer.
fn stalled(proxy: &Proxy) -> String {
    let mut stream = proxy.connect().unwrap();
    let signature = "0".repeat(64);
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: hooks.example.org\r\nx-healthsync-signature: sha256={signature}\r\n\
         content-length: 9\r\n\r\n{{\"id\""
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 1024];
    match stream.read(&mut answer) {
        Ok(length) => String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_owned(),
        // nginx does not announce the end of TLS.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => String::new(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_body_that_ends_early_reaches_the_receiver_incomplete_or_not_at_all() {
    with_each(|kind| {
        let recorder = Recorder::answering("200 OK\r\n");
        let proxy = Proxy::start(kind, recorder.address);
        let short = Bytes::from_static(b"{}");
        let answer = proxy.post(PATH, &short, &["--http1.1", "--header", "Content-Length: 3", "--max-time", "1"]);
        assert_ne!(answer.status, 200, "{kind:?}");
        assert!(recorder.requests().is_empty(), "{kind:?}");
    });
}
