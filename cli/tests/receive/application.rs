//! The application that events are forwarded to: a server that answers as the test says, and records its requests.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use medhook::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// A running application.
#[derive(Clone)]
pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    ledger: Arc<Mutex<Ledger>>,
}

#[derive(Default)]
struct Ledger {
    calls: Vec<Call>,
    connections: usize,
}

/// A request to the application.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) request: Request<Bytes>,
    pub(crate) began: Instant,
    /// The status of the answer, once there is one.
    pub(crate) status: Option<u16>,
}

impl Application {
    /// Starts an application. `answer` gets the request, and the number of earlier requests for its event.
    pub(crate) async fn start<F>(answer: impl Fn(Request<Bytes>, usize) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        Application::start_at("127.0.0.1:0".parse().unwrap(), answer).await
    }

    /// Starts an application at this address.
    pub(crate) async fn start_at<F>(
        address: SocketAddr,
        answer: impl Fn(Request<Bytes>, usize) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let application = Application { address, ledger: Arc::default() };
        let serving = application.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().serve(stream, answer.clone()));
            }
        });
        application
    }

    /// Starts an application that speaks TLS.
    pub(crate) async fn with_tls(config: Arc<ServerConfig>, status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let application = Application { address: listener.local_addr().unwrap(), ledger: Arc::default() };
        let (serving, tls) = (application.clone(), TlsAcceptor::from(config));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (serving, tls) = (serving.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls.accept(stream).into_fallible().await {
                        Ok(stream) => serving.serve(stream, move |_, _| async move { with_status(status) }).await,
                        // With unread bytes, closing the connection would reset it, and the alert could be lost.
                        Err((_, mut stream)) => {
                            let _ = stream.shutdown().await;
                            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                        }
                    }
                });
            }
        });
        application
    }

    /// Starts an application at a Unix socket. It has no address.
    pub(crate) async fn at_socket(path: PathBuf, status: u16) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let application = Application { address: SocketAddr::from(([0, 0, 0, 0], 0)), ledger: Arc::default() };
        let serving = application.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().serve(stream, move |_, _| async move { with_status(status) }));
            }
        });
        application
    }

    /// Answers the requests of a connection.
    async fn serve<F>(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        answer: impl Fn(Request<Bytes>, usize) -> F + Clone + Send + Sync + 'static,
    ) where
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        self.ledger.lock().unwrap().connections += 1;
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let (application, answer) = (self.clone(), answer.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let request = Request::from_parts(head, body);
                let (call, before) = application.called(&request);
                // Runs to completion even if the receiver disconnects.
                let answered = tokio::spawn(async move {
                    let response = answer(request, before).await;
                    let status = response.status().as_u16();
                    application.ledger.lock().unwrap().calls[call].status = Some(status);
                    response
                });
                Ok::<_, Infallible>(answered.await.unwrap())
            }
        });
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    /// Starts an application that always answers with this status.
    pub(crate) async fn answering(status: u16) -> Self {
        Application::start(move |_, _| async move { with_status(status) }).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/app?tenant=1", self.address)
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.ledger.lock().unwrap().calls.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.ledger.lock().unwrap().connections
    }

    fn called(&self, request: &Request<Bytes>) -> (usize, usize) {
        let mut ledger = self.ledger.lock().unwrap();
        let event = event(request);
        let before = ledger.calls.iter().filter(|call| self::event(&call.request) == event).count();
        ledger.calls.push(Call { request: request.clone(), began: Instant::now(), status: None });
        (ledger.calls.len() - 1, before)
    }
}

/// Returns the event id of a request.
pub(crate) fn event(request: &Request<Bytes>) -> &str {
    request.headers().get("medhook-event-id").map_or("", |id| id.to_str().unwrap())
}

pub(crate) fn with_status(status: u16) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::default()).unwrap()
}
