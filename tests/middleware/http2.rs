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
