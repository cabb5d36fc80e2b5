//! Requests that reach no endpoint leave lines on standard error.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::program::{Folder, Instance};
use crate::sender::ENDPOINT;

/// Sends these bytes over a connection of their own, and returns the first line of the answer.
fn sent(instance: &Instance, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(instance.address).unwrap();
    stream.write_all(bytes).unwrap();
    // Fails if the receiver has closed the connection.
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    // A reset after the answer is an error.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn unknown_paths_and_malformed_requests_leave_limited_lines_without_what_was_sent() {
    let folder = Folder::new();
    let config = format!("listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n{ENDPOINT}");
    let mut instance = Instance::start(&folder, &config, &[]);
    let post = |path: &str| format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").into_bytes();
    let many = format!("POST / HTTP/1.1\r\n{}\r\n", "canary: a\r\n".repeat(101)).into_bytes();
    let long = format!("POST / HTTP/1.1\r\ncanary: {}\r\n\r\n", "a".repeat(20_000)).into_bytes();
    for (bytes, status) in [
        (post("/canary"), "404"),
        (post("/healthsync/"), "404"),
        (post("/HealthSync"), "404"),
        (post("/canary/healthsync"), "404"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03canary".to_vec(), "400"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nPOST /healthsync HTTP/1.1\r\n\r\n".to_vec(), "400"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0ccanary".to_vec(), "400"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), ""),
        (b"canary\r\n\r\n".to_vec(), "400"),
        (b"POST /healthsync HTTP/1.1\r\nhost: a\r\ncontent-length: canary\r\n\r\n".to_vec(), "400"),
        (many, "431"),
        (long, "431"),
    ] {
        for _ in 0..20 {
            let answer = sent(&instance, &bytes);
            assert_eq!(answer.split(' ').nth(1).unwrap_or_default(), status, "{answer:?} to {bytes:?}");
        }
    }
    assert_eq!(instance.terminate().code(), Some(0));
    let lines = instance.stderr();
    let log = lines.join("\n");
    let unknown_path = "requests for unknown paths answered 404; ";
    let differs = |by: &str| format!("{unknown_path}they differ from the path of an endpoint only by {by}");
    for (message, fields) in [
        (format!("{unknown_path}compare the URL at the provider with the `path` keys of the config file"), ""),
        (differs("a trailing slash"), " path=\"/healthsync\""),
        (differs("letter case"), " path=\"/healthsync\""),
        (differs("an added prefix, which a proxy may have to remove"), " path=\"/healthsync\""),
        ("malformed requests rejected; a client begins TLS, but this port speaks plain HTTP".to_owned(), " status=400"),
        ("malformed requests rejected; a proxy sends the PROXY protocol".to_owned(), " status=400"),
        ("malformed requests rejected; a client sends HTTP/2".to_owned(), ""),
        ("malformed requests rejected; invalid HTTP/1.1".to_owned(), " status=400"),
        ("malformed requests rejected; the head is longer than 16 KiB or has more".to_owned(), " status=431"),
    ] {
        let about: Vec<_> = lines.iter().filter(|line| line.contains(&message)).collect();
        assert!((2..=6).contains(&about.len()), "the first one and the number of others: {message}: {log}");
        let count = |line: &str| {
            let (_, count) = line.split_once(" count=").unwrap();
            count.split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        let counts: Vec<_> = about.iter().map(|line| count(line)).collect();
        assert_eq!((counts[0], counts.iter().sum::<u64>() % 20), (1, 0), "{message}: {log}");
        assert!(about.iter().all(|line| line.contains(" WARN ") && line.ends_with(fields)), "{message}: {log}");
    }
    assert!(!log.contains("canary"), "{log}");
    assert!(instance.stdout().is_empty(), "no delivery");
}
