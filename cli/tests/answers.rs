//! `medhook send` and `check` explain an endpoint that cannot be reached, does not answer in HTTP, or answers
//! unexpectedly. Each cause is produced on real sockets.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a failed assumption of a test should end the test"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use medhook_tests::program::{Ran, run};
use medhook_tests::served::unused_address;
use rcgen::{CertificateParams, KeyPair};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, Stream, crypto};

/// Valid base64, which Standard Webhooks requires.
const SECRET: &str = "Y2FuYXJ5LXRoYXQtbXVzdC1uZXZlci1iZS1zaG93bg";

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A server that runs `answer` with each connection, on a thread that ends with the process.
fn serve(answer: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || listener.incoming().for_each(|stream| answer(stream.expect("a connection"))));
    address
}

/// Reads until a pause of the client, so that closing the connection does not reset it.
fn read_all(stream: &mut TcpStream) {
    let mut buffer = [0; 16 * 1024];
    let mut seen = Vec::new();
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..length]);
        let Some(end) = seen.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&seen[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if seen.len() >= end + 4 + length.unwrap_or(0) {
            break;
        }
    }
}

/// A server that reads a whole request and answers these bytes.
fn answering(bytes: impl Into<Vec<u8>>) -> SocketAddr {
    let bytes = bytes.into();
    serve(move |mut stream| {
        read_all(&mut stream);
        let _ = stream.write_all(&bytes);
    })
}

struct Certificate {
    config: Arc<ServerConfig>,
    pem: String,
}

fn certificate(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([name.to_owned()]).expect("a certificate");
    change(&mut params);
    let cert = params.self_signed(&key).expect("a certificate");
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a certificate");
    let config =
        config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], private).expect("a certificate");
    Certificate { config: Arc::new(config), pem: cert.pem() }
}

/// A server that speaks TLS, answers 200, and answers anything but TLS with an alert, as rustls does.
fn tls(certificate: &Certificate) -> SocketAddr {
    tls_answering(certificate, OK)
}

fn tls_answering(certificate: &Certificate, bytes: &'static [u8]) -> SocketAddr {
    let config = certificate.config.clone();
    serve(move |mut stream| {
        let mut tls = ServerConnection::new(config.clone()).expect("a connection");
        let mut byte = [0; 1];
        let mut secured = Stream::new(&mut tls, &mut stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match secured.read(&mut byte) {
                Ok(1..) => head.push(byte[0]),
                _ => {
                    // Sends the alert.
                    let _ = secured.conn.write_tls(secured.sock);
                    let _ = secured.sock.shutdown(std::net::Shutdown::Write);
                    let _ = std::io::copy(secured.sock, &mut std::io::sink());
                    return;
                }
            }
        }
        let _ = secured.write_all(bytes);
        let _ = secured.flush();
        let _ = secured.sock.shutdown(std::net::Shutdown::Write);
        let _ = std::io::copy(secured.sock, &mut std::io::sink());
    })
}

fn send_trusting(pem: &str, url: &str, more: &[&str]) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    let trusted = folder.path().join("trusted.pem");
    std::fs::write(&trusted, pem).expect("a file");
    let arguments =
        [&["send", "fasten", "patient.ehi_export_success", "--to", url, "--secret-env", "CANARY"], more].concat();
    let secrets = [("CANARY", SECRET), ("SSL_CERT_FILE", trusted.to_str().expect("a path"))];
    run(env!("CARGO_BIN_EXE_medhook"), &arguments, &secrets)
}

fn send(url: &str, more: &[&str]) -> Ran {
    send_trusting(&certificate("localhost", |_| {}).pem, url, more)
}

#[track_caller]
fn assert_says(ran: &Ran, code: i32, texts: &[&str]) {
    assert_eq!(ran.code, Some(code), "{}{}", ran.stdout, ran.stderr);
    for text in texts {
        assert!(ran.stdout.contains(text), "{text:?} in {}", ran.stdout);
    }
    // No other error is called like that of a closed port.
    let refused = texts.iter().any(|text| text.contains("connection refused"));
    assert!(refused || !ran.stdout.contains("refused"), "{}", ran.stdout);
}

const NOTHING_SENT: &str = "\ncannot tell: nothing was sent, since no connection could be opened\n";

#[test]
fn an_endpoint_that_cannot_be_reached_is_explained_by_the_kind_of_error() {
    let (unused, _held) = unused_address();
    let refused = "\n1  no connection: connection refused; check that the endpoint is running and listens at this";
    assert_says(&send(&format!("http://{unused}/"), &[]), 2, &[refused, NOTHING_SENT]);
    assert_says(&send(&format!("https://{unused}/"), &[]), 2, &[refused, NOTHING_SENT]);
    let unresolved = "no connection: the name endpoint.invalid cannot be resolved (";
    assert_says(&send("http://endpoint.invalid/", &[]), 2, &[unresolved, "check its spelling, and DNS", NOTHING_SENT]);
}

#[test]
fn a_certificate_that_is_not_accepted_is_explained() {
    let trusted = certificate("localhost", |_| {});
    let url = |at: SocketAddr| format!("https://localhost:{}/", at.port());
    assert_says(&send_trusting(&trusted.pem, &url(tls(&trusted)), &[]), 0, &["\n1  200  "]);

    let issuer =
        "no connection: TLS handshake failed: no authority that this machine trusts has signed the certificate";
    let named = certificate("localhost", |params| params.distinguished_name.push(rcgen::DnType::CommonName, "other"));
    for untrusted in [&trusted, &named] {
        assert_says(&send(&url(tls(untrusted)), &[]), 2, &[issuer, "SSL_CERT_FILE", NOTHING_SENT]);
    }
    let expired = certificate("localhost", |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let text = "TLS handshake failed: the certificate has expired by this machine's clock";
    assert_says(&send_trusting(&expired.pem, &url(tls(&expired)), &[]), 2, &[text, NOTHING_SENT]);
    let early = certificate("localhost", |params| params.not_before = rcgen::date_time_ymd(4000, 1, 1));
    let text = "TLS handshake failed: the certificate is not valid yet by this machine's clock";
    assert_says(&send_trusting(&early.pem, &url(tls(&early)), &[]), 2, &[text, NOTHING_SENT]);
    // `openssl req -x509` marks a certificate so by default.
    let unconstrained = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = certificate("localhost", |params| params.is_ca = unconstrained);
    let text = "TLS handshake failed: the certificate is that of an authority, not of a server; create it with";
    assert_says(&send_trusting(&authority.pem, &url(tls(&authority)), &[]), 2, &[text, "CA:FALSE", NOTHING_SENT]);
    let other = certificate("other.example", |_| {});
    let text = "TLS handshake failed: the certificate is for another host name";
    assert_says(&send_trusting(&other.pem, &url(tls(&other)), &[]), 2, &[text, NOTHING_SENT]);
}

#[test]
fn http_and_https_that_are_mixed_up_are_explained() {
    let plain = answering(OK);
    let http_server = serve(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    });
    let ssh = serve(|mut stream| {
        let _ = stream.write_all(b"SSH-2.0-server\r\n");
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let closing = serve(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
    });
    let https = |at: SocketAddr| format!("https://localhost:{}/", at.port());
    assert_says(
        &send(&https(http_server), &[]),
        2,
        &["answered the TLS handshake in plain HTTP; use http://", NOTHING_SENT],
    );
    assert_says(&send(&https(ssh), &[]), 2, &["the port does not speak TLS", NOTHING_SENT]);
    assert_says(&send(&https(closing), &[]), 2, &["closed during the TLS handshake; the port may not speak TLS"]);
    // It waits for the end of a line, as servers do that read a line at a time.
    let silent = "no connection: no TLS handshake within 1 s; the port may not speak TLS";
    assert_says(&send(&https(plain), &["--timeout", "1"]), 2, &[silent, NOTHING_SENT]);

    let at = tls(&certificate("localhost", |_| {}));
    let text = "no answer: the port answered in TLS; use https://";
    assert_says(&send(&format!("http://{at}/"), &[]), 1, &[text, "not as expected: 0 of 1 accepted"]);
    for body in [
        "<center>The plain HTTP request was sent to HTTPS port</center>",
        "Client sent an HTTP request to an HTTPS server.\n",
        "Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />",
    ] {
        let at = answering(format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        assert_says(&send(&format!("http://{at}/"), &[]), 1, &["\n   400: the port expects TLS; use https://\n"]);
    }
}

#[test]
fn a_connection_without_an_answer_is_explained() {
    let closed = answering("");
    let text =
        "no answer: the connection was closed before an answer; the endpoint failed, or its port expects https://";
    assert_says(&send(&format!("http://{closed}/"), &[]), 1, &[text]);
    let cut = answering("HTTP/1.1 200 OK\r\ncontent-le");
    assert_says(
        &send(&format!("http://{cut}/"), &[]),
        1,
        &["no answer: the connection was closed within the answer\n"],
    );
    let short = answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort");
    assert_says(
        &send(&format!("http://{short}/"), &[]),
        1,
        &["no answer: the connection was closed within the answer\n"],
    );
    let malformed = answering("HTTP/1.1 200 OK\r\na\x7fb: 1\r\ncontent-length: 0\r\n\r\n");
    assert_says(&send(&format!("http://{malformed}/"), &[]), 1, &["no answer: invalid HTTP header parsed\n"]);
    // Closing a socket with unread bytes resets the connection.
    let reset = serve(|mut stream| drop(stream.read(&mut [0; 1])));
    assert_says(&send(&format!("http://{reset}/"), &[]), 1, &["no answer: the connection was reset before an answer"]);
    let trusted = certificate("localhost", |_| {});
    for (bytes, when) in [(&b""[..], "before"), (b"HTTP/1.1 200", "within")] {
        let url = format!("https://localhost:{}/", tls_answering(&trusted, bytes).port());
        let text = format!("no answer: the connection was closed {when} ");
        assert_says(&send_trusting(&trusted.pem, &url, &[]), 1, &[&text]);
    }
    let other = answering("220 mail.example ESMTP\r\n");
    assert_says(&send(&format!("http://{other}/"), &[]), 1, &["no answer: what the port answered is not HTTP/1.1\n"]);
    let silent = serve(|mut stream| drop(std::io::copy(&mut stream, &mut std::io::sink())));
    assert_says(&send(&format!("http://{silent}/"), &["--timeout", "1"]), 1, &["no answer within 1 s\n"]);
}

#[test]
fn a_redirect_is_explained_without_its_path_and_query() {
    let explained = |location: &str, to: &str| {
        let at = answering(format!("HTTP/1.1 308 Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"));
        let ran = send(&format!("http://{at}/webhooks?token=canary"), &["--repeat", "2"]);
        let text =
            format!("\n   308: a redirect{to}; providers do not follow redirects; use the URL at which the endpoint");
        assert_says(&ran, 1, &[&text, "not as expected: 0 of 2 accepted"]);
        assert!(!ran.stdout.contains("canary"), "{}", ran.stdout);
        assert_eq!(ran.stdout.matches("308: ").count(), 1, "{}", ran.stdout);
    };
    explained("https://example.org/webhooks?token=canary", " to https://example.org, the same path");
    explained("https://example.org:8443/login/canary", " to https://example.org:8443, another path");
    explained("https://canary@example.org/webhooks/", " to https://example.org, the same path with a slash at its end");
    explained("/webhooks/?canary", " to the same path with a slash at its end");
    explained("/canary", " to another path");
    explained("ñcanary", "");
    explained("canary", "");
}

#[test]
fn an_unexpected_status_is_explained_once() {
    let explained = |status: u16, head: &str, body: &str, text: &str| {
        let length = body.len();
        let at = answering(format!("HTTP/1.1 {status} Status\r\n{head}content-length: {length}\r\n\r\n{body}"));
        let ran = send(&format!("http://{at}/"), &[]);
        assert_says(&ran, 1, &[&format!("\n   {status}: "), text]);
    };
    explained(400, "", "", "medhook answers it only to an incomplete body (body_incomplete); otherwise");
    explained(401, "", "", "with the endpoint's: the endpoint must read the headers that begin with `webhook-`\n");
    explained(401, "", "login", "this answer has a body, unlike a rejection by medhook");
    explained(403, "", "", "`medhook receive` with `allow_from`");
    explained(404, "", "", "usually there is no route for this path or host; check --to\n");
    explained(405, "", "", "the route does not accept POST");
    explained(413, "", "", "exceeds the limit of the receiver (too_large) or of a proxy");
    explained(415, "", "", "medhook answers it only to an encoded body, which `send` does not send");
    explained(429, "", "", "medhook does not answer with this status");
    explained(500, "", "", "the handler failed or panicked (handler_panicked)");
    explained(502, "", "", "got no answer from the application");
    explained(
        503,
        "retry-after: 5\r\n",
        "",
        "the endpoint's log has the reason; `medhook capture` answers every delivery so\n",
    );
    explained(503, "", "<html>", "not from medhook, whose 503 has a retry-after");
    explained(504, "", "", "(handler_timeout)");
}

#[test]
fn an_invalid_delivery_that_was_not_verified_is_not_called_rejected() {
    for status in [404, 405, 413, 415, 429] {
        let at = answering(format!("HTTP/1.1 {status} Status\r\ncontent-length: 0\r\n\r\n"));
        let ran = send(&format!("http://{at}/"), &["--tamper"]);
        let text = "\ncannot tell: the status does not show that the delivery was verified; send a genuine one first\n";
        assert_says(&ran, 2, &[&format!("\n   {status}: "), text]);
        assert!(!ran.stdout.contains("as expected"), "{}", ran.stdout);
    }
    let at = answering(OK);
    let text = "\n   200: the endpoint accepted an invalid delivery; with medhook, its route may lack the layer that verifies\n";
    assert_says(&send(&format!("http://{at}/"), &["--unsigned"]), 1, &[text]);
}

#[test]
fn a_200_that_may_not_mean_handled_is_noted_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let body = folder.path().join("body.json");
    std::fs::write(&body, r#"{"id": "evt-1", "api_mode": "live"}"#).unwrap();
    let body = body.to_str().unwrap();
    let at = format!("http://{}/", answering(OK));
    let note = |arguments: &[&str]| {
        let arguments = [&["send"], arguments, &["--to", &at, "--secret-env", "CANARY"]].concat();
        let ran = run(env!("CARGO_BIN_EXE_medhook"), &arguments, &[("CANARY", SECRET)]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let note = ran.stdout.lines().find(|line| line.starts_with("note: "));
        note.unwrap_or_default().strip_prefix("note: 200 does not show that the event was handled: ").map(str::to_owned)
    };
    let live = &["fasten", "patient.ehi_export_success"][..];
    assert_eq!(note(live), None);
    assert_eq!(note(&[live, &["--mode", "live"]].concat()), None);
    assert_eq!(note(&[live, &["--repeat", "2", "--new-events"]].concat()), None);
    assert_eq!(note(&["mediquo", "patient_message_received"]), None);
    for (more, text) in [
        (&["--id", "evt-1"][..], "the event of this --id may have been sent before (duplicate)"),
        (&["--repeat", "2"], "copies of an event are answered 200 without being handled again (duplicate)"),
        (&["--mode", "test"], "a test event that a live secret verifies is dropped (wrong_mode)"),
    ] {
        assert_eq!(note(&[live, more].concat()), Some(format!("{text}; see the endpoint's log")));
    }
    for provider in ["fasten", "mediquo"] {
        let text = "the event in this file may have been sent before (duplicate); see the endpoint's log";
        assert_eq!(note(&[provider, "--body", body]), Some(text.to_owned()));
    }
}

#[test]
fn check_says_why_no_connection_could_be_opened() {
    let trusted = certificate("localhost", |_| {});
    let (unused, _held) = unused_address();
    for (url, text) in [
        (format!("http://{unused}/"), "no connection: connection refused; check that"),
        (
            format!("https://localhost:{}/", tls(&trusted).port()),
            "TLS handshake failed: no authority that this machine",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let pem = folder.path().join("trusted.pem");
        std::fs::write(&pem, certificate("localhost", |_| {}).pem).unwrap();
        let secrets = [("CANARY", SECRET), ("SSL_CERT_FILE", pem.to_str().unwrap())];
        let ran = run(env!("CARGO_BIN_EXE_medhook"), &["check", &url, "fasten", "--secret-env", "CANARY"], &secrets);
        assert_says(&ran, 2, &[text]);
    }
}
