//! HTTP/2: a sender that speaks it, and attacks with its streams.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use hyper_util::rt::TokioExecutor;
use medhook::Bytes;
use medhook_conformance::Transfer;
use medhook_tests::route::Route;
use medhook_tests::sender::{Outgoing, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::endpoint::{Slow, genuine, genuine_of, receiver, until};
use crate::servers::{self, Routes, Start};

/// The servers that speak HTTP/2.
const ALL: &[(&str, Start)] = &[("hyper and tower", hyper), ("axum", servers::axum)];

/// hyper, without TLS and without HTTP/1.1.
pub fn hyper(routes: Routes) -> SocketAddr {
    servers::serve(routes, |socket, service| {
        let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(http2.serve_connection(socket, service));
    })
}

/// Sends to a path on a connection of its own, and reads the response.
pub async fn send(to: SocketAddr, path: String, what: Outgoing) -> Response {
    let mut client = connect(to).await;
    let (response, mut stream) = open(&mut client, &path, &what).await;
    let half = what.body.slice(..what.body.len() / 2);
    let sends = async {
        match what.transfer {
            Transfer::Whole => {
                push(&mut stream, what.body.clone()).await && stream.send_data(Bytes::new(), true).is_ok()
            }
            Transfer::Chunked(length) => {
                for at in (0..what.body.len()).step_by(length) {
                    if !push(&mut stream, what.body.slice(at..what.body.len().min(at + length))).await {
                        return false;
                    }
                }
                stream.send_data(Bytes::new(), true).is_ok()
            }
            Transfer::Declares(_) => push(&mut stream, what.body.clone()).await,
            Transfer::Stalls => push(&mut stream, half).await,
            other => panic!("no way to send {other:?}"),
        }
    };
    tokio::pin!(response);
    tokio::select! {
        answer = &mut response => read(answer).await,
        _ = sends => read(response.await).await,
    }
}

async fn connect(to: SocketAddr) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(to).await.expect("the server listens");
    let (client, connection) = h2::client::handshake(socket).await.expect("a server that speaks it");
    tokio::spawn(connection);
    client
}

async fn open(client: &mut SendRequest<Bytes>, path: &str, what: &Outgoing) -> (ResponseFuture, SendStream<Bytes>) {
    let mut request = http::Request::builder().method(what.method.as_str()).uri(format!("http://test{path}"));
    for (name, value) in &what.headers {
        request = request.header(name, http::HeaderValue::from_bytes(value.as_bytes()).expect("a header"));
    }
    let length = match what.transfer {
        Transfer::Chunked(_) => None,
        Transfer::Declares(length) => Some(length),
        _ => Some(what.body.len() as u64),
    };
    if let Some(length) = length {
        request = request.header("content-length", length);
    }
    poll_fn(|context| client.poll_ready(context)).await.expect("a place for a stream");
    client.send_request(request.body(()).expect("a request"), false).expect("a stream")
}

/// Sends a part of a body as fast as the server accepts it, and returns whether all of it was accepted.
async fn push(stream: &mut SendStream<Bytes>, mut rest: Bytes) -> bool {
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let Some(Ok(room)) = poll_fn(|context| stream.poll_capacity(context)).await else { return false };
        if stream.send_data(rest.split_to(room.min(rest.len())), false).is_err() {
            return false;
        }
    }
    true
}

async fn read(answer: Result<http::Response<h2::RecvStream>, h2::Error>) -> Response {
    let (head, mut stream) = answer.ok()?.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let Ok(piece) = piece else { break };
        body.extend_from_slice(&piece);
    }
    Some(http::Response::from_parts(head, body))
}

async fn status(to: SocketAddr, what: Outgoing) -> u16 {
    send(to, "/0".to_owned(), what).await.expect("a response").status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_reset_within_the_body_leaves_nothing_behind() {
    for (name, start) in ALL {
        let (route, watched) = Route::watched(receiver());
        let address = start(Arc::new([route]));
        let mut client = connect(address).await;
        for how in [Reason::CANCEL, Reason::NO_ERROR] {
            let (response, mut stream) = open(&mut client, "/0", &genuine()).await;
            assert!(push(&mut stream, genuine().body.slice(..10)).await, "{name}");
            stream.send_reset(how);
            assert!(response.await.is_err(), "{name}");
        }
        // The body is shorter than its declared length.
        let (response, mut stream) = open(&mut client, "/0", &genuine()).await;
        stream.send_data(genuine().body.slice(..10), true).expect("room for ten bytes");
        assert!(response.await.is_err(), "{name}: the stream is reset");

        assert_eq!(status(address, genuine()).await, 200, "{name}");
        assert_eq!(watched.bodies(), [genuine().body], "{name}: the event was never claimed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_stream_or_lost_connection_does_not_stop_the_handler() {
    for (name, start) in ALL {
        for connection_too in [false, true] {
            let slow = Slow::default();
            let address = start(slow.route());
            let mut client = connect(address).await;
            let (response, mut stream) = open(&mut client, "/0", &genuine()).await;
            assert!(push(&mut stream, genuine().body).await, "{name}");
            stream.send_data(Bytes::new(), true).expect("the end");
            until("the handler has begun", || slow.begun() == 1).await;
            if connection_too {
                drop((client, response, stream));
            } else {
                stream.send_reset(Reason::CANCEL);
            }
            assert_eq!(status(address, genuine()).await, 503, "{name}: still claimed");
            slow.let_go();
            until("the handler is done", || slow.done.load(Ordering::SeqCst) == 1).await;
            let mut last = 503;
            while last == 503 {
                last = status(address, genuine()).await;
            }
            assert_eq!((last, slow.begun()), (200, 1), "{name}: the retry is a duplicate");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_100_copies_on_one_connection_reaches_the_handler() {
    for (name, start) in ALL {
        let slow = Slow::default();
        let address = start(slow.route());
        let mut client = connect(address).await;
        let mut copies = Vec::new();
        for _ in 0..100 {
            let (response, mut stream) = open(&mut client, "/0", &genuine()).await;
            assert!(push(&mut stream, genuine().body).await, "{name}");
            stream.send_data(Bytes::new(), true).expect("the end");
            copies.push(tokio::spawn(async move { read(response.await).await.expect("an answer").status().as_u16() }));
        }
        until("all but one are answered", || copies.iter().filter(|copy| copy.is_finished()).count() == 99).await;
        slow.let_go();
        let mut answers = Vec::new();
        for copy in copies {
            answers.push(copy.await.expect("an answer"));
        }
        answers.sort_unstable();
        assert_eq!((answers[0], slow.begun()), (200, 1), "{name}");
        assert!(answers[1..].iter().all(|status| *status == 503), "{name}: {answers:?}");
    }
}

/// Opening and resetting a stream is nearly free for its sender. It must not cost the receiver a permit or block
/// other deliveries.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_reset_at_once_block_no_other_delivery() {
    for (name, start) in ALL {
        let (route, watched) = Route::watched(receiver());
        let address = start(Arc::new([route]));
        let mut client = connect(address).await;
        for _ in 0..5_000 {
            // Servers close such a connection after a while.
            if poll_fn(|context| client.poll_ready(context)).await.is_err() {
                break;
            }
            let request = http::Request::post("http://test/0").body(()).expect("a request");
            let Ok((_, mut stream)) = client.send_request(request, false) else { break };
            stream.send_reset(Reason::CANCEL);
        }
        assert_eq!(status(address, genuine_of("another")).await, 200, "{name}");
        assert_eq!(watched.bodies().len(), 1, "{name}");
    }
}

/// The preface of a client and its empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame of stream 1.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

/// A head in HPACK, with nothing indexed or compressed.
fn packed<'h>(head: impl IntoIterator<Item = (&'h str, &'h str)>) -> Vec<u8> {
    let mut packed = Vec::new();
    for (name, value) in head {
        packed.push(0);
        for text in [name, value] {
            match u8::try_from(text.len()).expect("a short text") {
                length @ ..127 => packed.push(length),
                length => packed.extend([127, length - 127]),
            }
            packed.extend(text.as_bytes());
        }
    }
    packed
}

/// The end of a stream.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// It was answered with a status that HPACK has an index for.
    Answered(u16),
    Reset,
    ConnectionClosed,
}

/// Sends a request of two frames on a connection of its own.
async fn frames(to: SocketAddr, head: &[u8], body: &[u8]) -> Ended {
    let mut socket = TcpStream::connect(to).await.expect("the server listens");
    let request = [PREFACE, &frame(HEADERS, END_HEADERS, head), &frame(DATA, END_STREAM, body)].concat();
    socket.write_all(&request).await.expect("a short request");
    loop {
        let mut begin = [0; 9];
        if socket.read_exact(&mut begin).await.is_err() {
            return Ended::ConnectionClosed;
        }
        let [one, two, three, kind, _, _, _, _, stream] = begin;
        let mut payload = vec![0; u32::from_be_bytes([0, one, two, three]) as usize];
        socket.read_exact(&mut payload).await.expect("a whole frame");
        match (kind, stream) {
            (GOAWAY, _) => return Ended::ConnectionClosed,
            (RST_STREAM, 1) => return Ended::Reset,
            (HEADERS, 1) => {
                const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
                // A size update of the table may precede the status.
                let first = payload.iter().find(|byte| **byte & 0xe0 != 0x20).expect("a status");
                let known = first.checked_sub(0x88).and_then(|index| INDEXED.get(usize::from(index)));
                return Ended::Answered(known.copied().unwrap_or_default());
            }
            _ => {}
        }
    }
}

/// Each head differs from that of a delivery that is handled in one line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_heads_reach_no_handler() {
    for (name, start) in ALL {
        let (route, watched) = Route::watched(receiver());
        let address = start(Arc::new([route]));
        let sent = genuine();
        let mut genuine = vec![(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", "/0")];
        genuine.extend(sent.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let with = |more| packed(genuine.iter().copied().chain([more]));
        let without = |line: &str| packed(genuine.iter().copied().filter(|(name, _)| *name != line));
        for (what, head) in [
            ("the method is missing", without(":method")),
            ("the path is missing", without(":path")),
            ("the scheme is missing", without(":scheme")),
            ("a pseudo header after the others", with((":path", "/0"))),
            ("a second path", packed([(":path", "/0")].into_iter().chain(genuine.iter().copied()))),
            ("an unknown pseudo header", packed([(":x", "1")].into_iter().chain(genuine.iter().copied()))),
            ("the pseudo header of an answer", packed([(":status", "200")].into_iter().chain(genuine.iter().copied()))),
            ("an upper-case name", with(("X-Other", "1"))),
            ("a space in a name", with(("x other", "1"))),
            ("a line break in a value", with(("x-other", "1\r\nx-another: 1"))),
            ("a NUL in a value", with(("x-other", "1\0"))),
            ("a header of the connection", with(("connection", "close"))),
            ("an upgrade", with(("upgrade", "h2c"))),
            ("an encoding of the transfer", with(("transfer-encoding", "chunked"))),
            ("a length that is no number", with(("content-length", "x"))),
            ("a length that the body does not have", with(("content-length", "1"))),
        ] {
            let ended = frames(address, &head, &sent.body).await;
            let is_rejected = matches!(ended, Ended::Reset | Ended::ConnectionClosed | Ended::Answered(400));
            assert!(is_rejected && watched.bodies().is_empty(), "{name}: {what}: {ended:?}");
        }
        let handled = frames(address, &packed(genuine.iter().copied()), &sent.body).await;
        assert_eq!((handled, watched.bodies().len()), (Ended::Answered(200), 1), "{name}");
    }
}

/// A head can be continued in any number of frames, of which each is only kept in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_never_ends_closes_only_its_own_connection() {
    const ENOUGH: usize = 64 << 20;
    for (name, start) in ALL {
        let (route, watched) = Route::watched(receiver());
        let address = start(Arc::new([route]));
        let head = [(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", "/0")];
        // One long value, many short ones, one that is empty, and frames of nothing.
        let many = packed([("x-other", "1")].repeat(1_000));
        for (what, begin, more) in [
            ("a long value", &b"\0\x01x\x7f\x80\x80\x80\x80\x08"[..], &[b'a'; 16_000][..]),
            ("many headers", b"", &many),
            ("frames of one byte", b"\0\x01x\x7f\x80\x80\x80\x80\x08", b"a"),
            ("empty frames", b"", b""),
        ] {
            let mut socket = TcpStream::connect(address).await.expect("the server listens");
            let begin = frame(HEADERS, 0, &[&packed(head), begin].concat());
            socket.write_all(&[PREFACE, &begin].concat()).await.expect("a short beginning");
            let frames = frame(CONTINUATION, 0, more).repeat(1_600_000_usize.div_ceil(more.len() + 9));
            let mut written = 0;
            // The writes fail once the server has closed the connection.
            while written < ENOUGH && socket.write_all(&frames).await.is_ok() {
                written += frames.len();
            }
            assert!(written < ENOUGH, "{name}: {what}: all of {written} bytes were read");
        }
        assert_eq!(status(address, genuine_of("another")).await, 200, "{name}");
        assert_eq!(watched.bodies().len(), 1, "{name}");
    }
}
