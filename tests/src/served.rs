//! An HTTP server on a thread of its own, for tests of programs.

use std::convert::Infallible;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use medhook::Bytes;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;

/// The function that responds to requests.
pub type Answering = dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response<Full<Bytes>>> + Send + Sync;

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Starts a server on a free port of this machine.
    pub fn start(answering: Arc<Answering>) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let (sender, address) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
                sender.send(listener.local_addr().expect("an address")).expect("the receiver exists");
                loop {
                    let (stream, _) = tokio::select! {
                        accepted = listener.accept() => accepted.expect("a connection"),
                        _ = &mut stopped => break,
                    };
                    let answering = answering.clone();
                    let service = service_fn(move |request| {
                        let answer = answering(request);
                        async { Ok::<_, Infallible>(answer.await) }
                    });
                    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
                }
            });
        });
        let address = address.recv().expect("the server starts");
        Served { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Returns the URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the number that `/count` responds with.
    #[must_use]
    pub fn count(&self) -> usize {
        let mut stream = std::net::TcpStream::connect(self.address).expect("it listens");
        stream.write_all(b"GET /count HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").expect("it listens");
        let answer = std::io::read_to_string(stream).expect("it answers");
        answer.lines().last().and_then(|count| count.parse().ok()).expect("a number")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has failed the test already.
            let _ = thread.join();
        }
    }
}

/// Returns an address on which no server listens as long as the returned guard exists.
#[must_use]
pub fn unused_address() -> (SocketAddr, TcpSocket) {
    let held = TcpSocket::new_v4().expect("a socket");
    held.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    (held.local_addr().expect("an address"), held)
}

/// Returns a response without a body.
#[must_use]
pub fn status(code: u16) -> Response<Full<Bytes>> {
    text(code, "")
}

/// Returns a response with a body.
#[must_use]
pub fn text(code: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = http::StatusCode::from_u16(code).expect("a status");
    response
}
