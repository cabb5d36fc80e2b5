//! Requests that no HTTP client would send, byte by byte. The layer's rejections are the same in all frameworks; the
//! servers' own are listed separately and never reach a handler.

use std::net::SocketAddr;
use std::time::Duration;

use medhook::testing::{self, StoppedClock};
use medhook::{Fasten, NoDedupe, Outcome, Reason, Receiver, Secret};
use medhook_conformance::Answer;
use medhook_tests::route::Route;
use medhook_tests::sender::Connection;

use crate::servers;

const SECRET: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
const NOW: i64 = 1_767_225_600;

/// A genuine delivery with one change to its bytes.
struct Row {
    name: &'static str,
    /// The last lines of the head, after the genuine ones.
    head: Vec<u8>,
    /// Returns the bytes after the head.
    rest: fn(&[u8]) -> Vec<u8>,
    /// The results in hyper, axum and actix-web.
    expected: [Seen; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// The handler received the body as it was sent.
    Handled,
    /// The layer rejected the request.
    Rejected(Reason),
    /// The server itself responded with this status.
    Server(u16),
}

use Seen::{Handled, Rejected, Server};

fn rows() -> Vec<Row> {
    let body = genuine().body().len();
    let sized = |more: &str| format!("content-length: {body}\r\n{more}").into_bytes();
    let chunked = || b"transfer-encoding: chunked\r\n".to_vec();
    let text = |head: &str| head.as_bytes().to_vec();
    let row = |name, head: Vec<u8>, rest, expected| Row { name, head, rest, expected };

    let handled = [Handled; 3];
    let rejected = |reason| [Rejected(reason); 3];
    let bad = [Server(400); 3];
    let too_many = [Server(431); 3];
    let incomplete = rejected(Reason::BodyIncomplete);
    vec![
        row("a length", sized(""), whole, handled),
        row("no length and no chunks: no body", text(""), whole, rejected(Reason::SignatureMismatch)),
        row(
            "a length twice, agreeing",
            sized(&format!("content-length: {body}\r\n")),
            whole,
            [Handled, Handled, Server(400)],
        ),
        row("a length twice, differing", sized("content-length: 1\r\n"), whole, bad),
        row("a list of lengths", text(&format!("content-length: {body}, {body}\r\n")), whole, bad),
        row("a length with a plus", text(&format!("content-length: +{body}\r\n")), whole, bad),
        row("a length below zero", text(&format!("content-length: -{body}\r\n")), whole, bad),
        row("a length of 2^64", text("content-length: 18446744073709551616\r\n"), whole, bad),
        // hyper reserves the two largest lengths for itself.
        row(
            "a length of 2^64 - 1",
            text("content-length: 18446744073709551615\r\n"),
            whole,
            [Server(431), Server(431), Rejected(Reason::TooLarge)],
        ),
        row("chunks", chunked(), in_chunks, handled),
        row("chunks with extensions", chunked(), |body| framed("%;a=b\r\n", body, "\r\n0;c\r\n\r\n"), handled),
        row("chunks and trailers", chunked(), |body| framed("%\r\n", body, "\r\n0\r\nwebhook-id: b\r\n\r\n"), handled),
        // hyper ignores the length, as RFC 9112 allows; actix-web rejects the request.
        row("chunks and a length", sized("transfer-encoding: chunked\r\n"), in_chunks, [Handled, Handled, Server(400)]),
        row("chunks twice", [chunked(), chunked()].concat(), in_chunks, [Handled, Handled, Server(400)]),
        row(
            "another coding before chunks",
            text("transfer-encoding: gzip, chunked\r\n"),
            in_chunks,
            [Handled, Handled, Server(400)],
        ),
        row("another coding after chunks", text("transfer-encoding: chunked, gzip\r\n"), in_chunks, bad),
        row("a chunk's size that is no number", chunked(), |_| b"zz\r\n".to_vec(), incomplete),
        row("a chunk's size of 2^64", chunked(), |_| b"10000000000000000\r\n{".to_vec(), incomplete),
        row("a chunk longer than its size", chunked(), |body| framed("1\r\n", body, "\r\n0\r\n\r\n"), incomplete),
        // actix-web skips an extension of any length, within the body timeout.
        row(
            "a chunk's extension of 1 MiB",
            chunked(),
            |body| framed(&format!("%;{}\r\n", "a".repeat(1 << 20)), body, "\r\n0\r\n\r\n"),
            [Rejected(Reason::BodyIncomplete), Rejected(Reason::BodyIncomplete), Handled],
        ),
        row(
            "trailers of 1 MiB",
            chunked(),
            |body| framed("%\r\n", body, &format!("\r\n0\r\na: {}\r\n\r\n", "a".repeat(1 << 20))),
            [Rejected(Reason::BodyIncomplete), Rejected(Reason::BodyIncomplete), Handled],
        ),
        row("a space before a colon", sized("webhook-id : b\r\n"), whole, bad),
        row("a header folded over two lines", sized("x: a\r\n b\r\n"), whole, bad),
        row("a NUL in a header", sized("x: a\0b\r\n"), whole, bad),
        row("a line that ends in a line feed alone", sized("x: a\ny: b\r\n"), whole, handled),
        row("a header that is no text", [sized("x: "), b"\xff\xfe\r\n".to_vec()].concat(), whole, handled),
        row("a header of 64 KiB", sized(&format!("x: {}\r\n", "a".repeat(64 << 10))), whole, handled),
        row("a header of 1 MiB", sized(&format!("x: {}\r\n", "a".repeat(1 << 20))), whole, too_many),
        row("80 more headers", sized(&numbered(80)), whole, handled),
        row("200 more headers", sized(&numbered(200)), whole, too_many),
        // actix-web takes all bytes that follow as the body.
        row(
            "an upgrade",
            sized("connection: upgrade\r\nupgrade: websocket\r\n"),
            whole,
            [Handled, Handled, Rejected(Reason::BodyTimeout)],
        ),
        row("an expectation", sized("expect: 100-continue\r\n"), whole, handled),
        row("an expectation of something else", sized("expect: a miracle\r\n"), whole, handled),
    ]
}

fn genuine() -> http::Request<medhook::Bytes> {
    testing::fasten("patient.ehi_export_success").secret(SECRET).at(NOW).request("/")
}

fn whole(body: &[u8]) -> Vec<u8> {
    body.to_vec()
}

fn in_chunks(body: &[u8]) -> Vec<u8> {
    framed("%\r\n", body, "\r\n0\r\n\r\n")
}

/// Returns `before`, the body and `after`, with the body's length in place of the `%` in `before`.
fn framed(before: &str, body: &[u8], after: &str) -> Vec<u8> {
    [before.replace('%', &format!("{:x}", body.len())).as_bytes(), body, after.as_bytes()].concat()
}

fn numbered(count: usize) -> String {
    (0..count).map(|n| format!("x{n}: a\r\n")).collect()
}

async fn play_all(server: usize) {
    let rows = rows();
    let receiver = |row: &Row| {
        let fasten = Fasten::live(Secret::new(SECRET).expect("a secret"));
        let builder = Receiver::builder("framing", fasten).store(NoDedupe).clock(StoppedClock::at(NOW));
        let waits = row.expected[server] == Rejected(Reason::BodyTimeout);
        let builder = builder.body_timeout(Duration::from_millis(if waits { 500 } else { 60_000 }));
        builder.build().expect("a receiver")
    };
    let (routes, watched): (Vec<_>, Vec<_>) = rows.iter().map(|row| Route::watched(receiver(row))).unzip();
    let (_, start) = servers::ALL[server];
    let address = start(routes.into());
    let plays = rows.iter().enumerate().map(|(n, row)| async move { (row, played(address, n, row).await) });
    let mut wrong = Vec::new();
    for ((row, status), watched) in futures_util::future::join_all(plays).await.into_iter().zip(watched) {
        let (bodies, answers) = (watched.bodies(), watched.answers());
        let unchanged = bodies.iter().all(|body| body == genuine().body());
        let seen = match (&answers[..], bodies.len()) {
            ([], 0) => Server(status),
            ([Answer { reason: Some(reason), .. }], 0) if reason.status() == status => Rejected(*reason),
            ([Answer { outcome: Some(Outcome::Handled), .. }], 1) if unchanged && status == 200 => Handled,
            other => panic!("{}: {status}, {other:?}", row.name),
        };
        if seen != row.expected[server] {
            wrong.push(format!("{}: {seen:?}", row.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// Returns the status of the response.
async fn played(address: SocketAddr, n: usize, row: &Row) -> u16 {
    let request = genuine();
    let mut bytes = format!("POST /{n} HTTP/1.1\r\nhost: test\r\n").into_bytes();
    for (name, value) in request.headers() {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend([&row.head, b"\r\n".as_slice(), &(row.rest)(request.body())].concat());
    let mut connection = Connection::open(address).await;
    connection.send(&bytes).await;
    let response = connection.response().await;
    response.unwrap_or_else(|| panic!("no answer: {}", row.name)).status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_hyper_and_tower() {
    play_all(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_axum() {
    play_all(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_actix_web() {
    play_all(2).await;
}
