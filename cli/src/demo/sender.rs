//! The sending side: deliveries over HTTP/1.1, each on a connection of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, header};
use medhook::Bytes;
use tokio::io::AsyncWriteExt;

use super::notes::{NUMBER, Notes};
use super::patience::within;
use super::seen::DemoAnswer;
use super::server::Server;
use crate::failure::Failure;
use crate::http_client::{self, HttpConnection, Stream, Target};

/// Sends to one server.
pub(super) struct Sender {
    target: Target,
    notes: Arc<Notes>,
    number: AtomicU64,
}

impl Sender {
    pub(super) fn to(server: &Server) -> Result<Self, Failure> {
        let target = Target::parse(&format!("http://{}", server.address()))?;
        Ok(Sender { target, notes: server.notes().clone(), number: AtomicU64::new(0) })
    }

    /// Sends a request and waits for the answer.
    pub(super) async fn send(&self, request: &Request<Bytes>) -> Result<DemoAnswer, Failure> {
        self.open().await?.send(request).await
    }

    /// As [`send`](Sender::send), and again as long as another delivery of the event is being handled: what every
    /// provider does that retries, only sooner.
    pub(super) async fn send_until_settled(&self, request: &Request<Bytes>) -> Result<DemoAnswer, Failure> {
        let settled = async {
            loop {
                let answer = self.send(request).await?;
                if !answer.is_in_flight() {
                    return Ok(answer);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within("an event to be settled", settled).await?
    }

    /// Opens a connection.
    pub(super) async fn open(&self) -> Result<SenderConnection<'_>, Failure> {
        let line = within("a connection", self.target.open()).await?.map_err(Failure::from)?;
        Ok(SenderConnection { sender: self, line })
    }

    /// Sends a whole request, whose answer nobody will read: [`Unanswered::hang_up`] follows.
    pub(super) async fn send_and_leave(&self, request: &Request<Bytes>) -> Result<Unanswered<'_>, Failure> {
        let (number, request) = self.numbered(request);
        let mut wire = head_of(&request, request.body().len());
        wire.extend_from_slice(request.body());
        let mut stream = self.connect().await?;
        written(&mut stream, &wire).await?;
        Ok(Unanswered { sender: self, number, stream })
    }

    /// Announces a body of this length, sends nothing of it, and waits for the answer.
    pub(super) async fn announce(&self, request: &Request<Bytes>, length: usize) -> Result<DemoAnswer, Failure> {
        let (number, request) = self.numbered(request);
        let mut stream = self.connect().await?;
        written(&mut stream, &head_of(&request, length)).await?;
        let status = within("an answer", http_client::status_of(&mut stream)).await?.map_err(Failure::from)?;
        Ok(self.noted(number, status))
    }

    async fn connect(&self) -> Result<Stream, Failure> {
        within("a connection", self.target.connect()).await?.map_err(Failure::from)
    }

    fn numbered(&self, request: &Request<Bytes>) -> (u64, Request<Bytes>) {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let mut request = request.clone();
        request.headers_mut().insert(NUMBER, number.into());
        request.headers_mut().insert(header::HOST, self.target.authority().clone());
        (number, request)
    }

    /// The server has made its note before its answer goes out.
    fn noted(&self, number: u64, status: u16) -> DemoAnswer {
        DemoAnswer { status: Some(status), became: self.notes.of(number) }
    }
}

/// An open connection, for one delivery.
pub(super) struct SenderConnection<'s> {
    sender: &'s Sender,
    line: HttpConnection,
}

impl SenderConnection<'_> {
    pub(super) async fn send(self, request: &Request<Bytes>) -> Result<DemoAnswer, Failure> {
        let (number, request) = self.sender.numbered(request);
        let answer = within("an answer", self.line.send(request)).await?.map_err(Failure::from)?;
        Ok(self.sender.noted(number, answer.status))
    }
}

/// A delivery whose sender still holds the line.
pub(super) struct Unanswered<'s> {
    sender: &'s Sender,
    number: u64,
    stream: Stream,
}

impl Unanswered<'_> {
    /// Closes the connection, and waits until the server has noticed.
    pub(super) async fn hang_up(self) -> Result<DemoAnswer, Failure> {
        drop(self.stream);
        self.sender.notes.hung_up(self.number).await?;
        Ok(DemoAnswer::hung_up())
    }
}

/// A request's head as it stands on the wire.
fn head_of(request: &Request<Bytes>, length: usize) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(format!("content-length: {length}\r\n\r\n").as_bytes());
    head
}

async fn written(stream: &mut Stream, wire: &[u8]) -> Result<(), Failure> {
    let written = within("a request to be sent", stream.write_all(wire)).await?;
    written.map_err(|error| Failure::because("cannot send a request", error))
}
