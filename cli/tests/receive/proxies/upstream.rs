//! A server behind a proxy that records the bytes of each request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::program::PATIENCE;

/// A request as a proxy sent it.
#[derive(Clone)]
pub(super) struct Recorded {
    /// The request line.
    pub(super) line: String,
    /// The lines of the header section. The names of HTTP/2 are lowercase, so names are compared without their case.
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Recorded {
    /// Returns the values of the header's lines, in their order.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        lines.map(|(_, value)| value.as_str()).collect()
    }
}

/// Records each complete request, and gives the same answer to all of them.
pub(super) struct Recorder {
    pub(super) address: SocketAddr,
    requests: Arc<Mutex<Vec<Recorded>>>,
    head: Arc<Mutex<&'static str>>,
}

impl Recorder {
    /// Starts to answer with this status line and these header lines, each with its line break.
    pub(super) fn answering(head: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&requests);
        let head = Arc::new(Mutex::new(head));
        let current = Arc::clone(&head);
        // It ends with the process of the test.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, sink) = (stream.unwrap(), Arc::clone(&sink));
                let head = *current.lock().unwrap();
                thread::spawn(move || {
                    let _ = answer(stream, head, &sink);
                });
            }
        });
        Recorder { address, requests, head }
    }

    /// Answers the next requests with these lines.
    pub(super) fn answer(&self, head: &'static str) {
        *self.head.lock().unwrap() = head;
    }

    pub(super) fn requests(&self) -> Vec<Recorded> {
        self.requests.lock().unwrap().clone()
    }
}

/// Reads one request, and answers it. Fails if the proxy closes the connection before the request is complete.
fn answer(mut stream: TcpStream, head: &str, sink: &Mutex<Vec<Recorded>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let line = text(&mut reader)?;
    let mut headers = Vec::new();
    loop {
        let line = text(&mut reader)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut recorded = Recorded { line, headers, body: Vec::new() };
    if !recorded.values("expect").is_empty() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if recorded.values("transfer-encoding") == ["chunked"] {
        loop {
            let size = text(&mut reader)?;
            let size = u64::from_str_radix(&size, 16).map_err(std::io::Error::other)?;
            exactly(&mut reader, size, &mut recorded.body)?;
            text(&mut reader)?;
            if size == 0 {
                break;
            }
        }
    } else if let [length] = recorded.values("content-length")[..] {
        let length = length.parse().map_err(std::io::Error::other)?;
        exactly(&mut reader, length, &mut recorded.body)?;
    }
    sink.lock().unwrap().push(recorded);
    stream.write_all(format!("HTTP/1.1 {head}content-length: 0\r\nconnection: close\r\n\r\n").as_bytes())
}

/// Reads a line, without its break.
fn text(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn exactly(reader: &mut impl BufRead, length: u64, to: &mut Vec<u8>) -> std::io::Result<()> {
    if reader.take(length).read_to_end(to)? as u64 == length {
        return Ok(());
    }
    Err(std::io::ErrorKind::UnexpectedEof.into())
}
