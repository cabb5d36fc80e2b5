//! Sends deliveries as raw bytes over a socket, which no HTTP client would send.

use std::net::SocketAddr;
use std::time::Duration;

use medhook::Bytes;
use medhook_conformance::{Case, Transfer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A response, or `None` if the connection was closed without one.
pub type Response = Option<http::Response<Vec<u8>>>;

/// A delivery to send, except for its path.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub method: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub transfer: Transfer,
}

impl From<&Case> for Outgoing {
    fn from(case: &Case) -> Self {
        Outgoing {
            method: case.method.clone(),
            headers: case.headers.clone(),
            body: case.body.clone(),
            transfer: case.transfer,
        }
    }
}

impl From<http::Request<Bytes>> for Outgoing {
    fn from(request: http::Request<Bytes>) -> Self {
        let text = |value: &http::HeaderValue| value.to_str().expect("a header of ours is text").to_owned();
        Outgoing {
            method: request.method().to_string(),
            headers: request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: request.body().clone(),
            transfer: Transfer::Whole,
        }
    }
}

/// Sends to a path and reads the response.
pub async fn send(to: SocketAddr, path: String, what: Outgoing) -> Response {
    let mut socket = begin(to, &path, &what).await;
    read(&mut socket).await
}

/// Sends to a path and does not read the response.
pub async fn begin(to: SocketAddr, path: &str, what: &Outgoing) -> TcpStream {
    let mut socket = TcpStream::connect(to).await.expect("the server listens");
    // A server that has responded may close before it has read everything.
    let _ = socket.write_all(&head(path, what)).await;
    let (half, rest) = what.body.split_at(what.body.len() / 2);
    match what.transfer {
        Transfer::Whole | Transfer::Declares(_) => drop(socket.write_all(&what.body).await),
        Transfer::Chunked(length) => {
            for chunk in what.body.chunks(length) {
                let framed = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
                let _ = socket.write_all(&framed).await;
            }
            let _ = socket.write_all(b"0\r\n\r\n").await;
        }
        Transfer::HangsUp => {
            let _ = socket.write_all(half).await;
            let _ = socket.shutdown().await;
        }
        Transfer::Stalls => drop(socket.write_all(half).await),
        other => panic!("no way to send {other:?} ({} bytes)", rest.len()),
    }
    socket
}

/// Returns the bytes of a request on a connection that stays open.
pub fn kept(path: &str, what: &Outgoing) -> Vec<u8> {
    let head = String::from_utf8(head(path, what)).expect("text").replace("connection: close\r\n", "");
    [head.as_bytes(), &what.body].concat()
}

fn head(path: &str, what: &Outgoing) -> Vec<u8> {
    let mut head = format!("{} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n", what.method).into_bytes();
    for (name, value) in &what.headers {
        head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    let length = match what.transfer {
        Transfer::Chunked(_) => "transfer-encoding: chunked".to_owned(),
        Transfer::Declares(length) => format!("content-length: {length}"),
        _ => format!("content-length: {}", what.body.len()),
    };
    head.extend_from_slice(length.as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
    head
}

/// Reads one response, to its declared length or the end of its connection.
pub async fn read(socket: &mut TcpStream) -> Response {
    let mut received = Vec::new();
    loop {
        if let Some((response, _)) = parse(&received) {
            return Some(response);
        }
        if !more(socket, &mut received).await {
            return None;
        }
    }
}

/// A connection on which any bytes and several requests can be sent.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    pub async fn open(to: SocketAddr) -> Connection {
        Connection { socket: TcpStream::connect(to).await.expect("the server listens"), received: Vec::new() }
    }

    /// Sends bytes, and returns whether the connection was still open.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).await.is_ok()
    }

    /// Closes the connection for writing.
    pub async fn finish(&mut self) {
        let _ = self.socket.shutdown().await;
    }

    /// Hangs up, with a reset that loses pending data or without.
    pub fn abandon(self, reset: bool) {
        if reset {
            self.socket.set_zero_linger().expect("a socket");
        }
    }

    /// Reads the next response, or returns `None` if the connection ends without one.
    pub async fn response(&mut self) -> Response {
        loop {
            if let Some((response, length)) = parse(&self.received) {
                self.received.drain(..length);
                return Some(response);
            }
            if !more(&mut self.socket, &mut self.received).await {
                return None;
            }
        }
    }

    /// Returns whether an interim response (100) asks for the body.
    pub async fn is_asked_to_continue(&mut self) -> bool {
        const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        while self.received.len() < CONTINUE.len() && more(&mut self.socket, &mut self.received).await {}
        let asked = self.received.starts_with(CONTINUE);
        if asked {
            self.received.drain(..CONTINUE.len());
        }
        asked
    }

    /// Waits at most this long for more of a response or for its end.
    pub async fn answers_within(&mut self, wait: Duration) -> bool {
        timeout(wait, self.socket.readable()).await.is_ok()
    }
}

/// Receives the next bytes, and returns false if the connection has ended.
async fn more(socket: &mut TcpStream, received: &mut Vec<u8>) -> bool {
    let mut piece = [0; 4096];
    match timeout(Duration::from_secs(240), socket.read(&mut piece)).await.expect("an answer in time") {
        Ok(0) | Err(_) => false,
        Ok(length) => {
            received.extend_from_slice(&piece[..length]);
            true
        }
    }
}

/// Returns a complete response and its length, if one has been received. Interim responses (100) are skipped.
fn parse(bytes: &[u8]) -> Option<(http::Response<Vec<u8>>, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..end - 4]).expect("a head in ASCII");
    let mut lines = text.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().expect("a status");
    if status == 100 {
        return parse(&bytes[end..]).map(|(response, length)| (response, end + length));
    }
    let mut response = http::Response::builder().status(status);
    let mut length = 0;
    for line in lines {
        let (name, value) = line.split_once(':').expect("a header");
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().expect("a length");
        }
        response = response.header(name, value.trim());
    }
    let body = bytes[end..].get(..length)?.to_vec();
    Some((response.body(body).expect("a response"), end + length))
}
