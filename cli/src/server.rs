//! An HTTP/1.1 server for untrusted clients: every wait has a timeout, and the number of connections is limited.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use medhook::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use crate::malformed::{Begun, Malformed};
use crate::peer::{AddressLimit, PeerAddress};

/// A bound socket, and what happens to its connections before their first request.
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    /// Set if connections begin with a TLS handshake.
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) per_address: Option<AddressLimit>,
    /// Whether another process keeps the socket open, so that connections in its queue wait for the next receiver.
    pub(crate) is_shared: bool,
}

impl From<TcpListener> for Listener {
    fn from(socket: TcpListener) -> Self {
        Listener { socket, tls: None, per_address: None, is_shared: false }
    }
}

/// The limits of connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Maximum number of open connections. More of them wait in the system's queue.
    pub(crate) connections: usize,
    /// Timeout for receiving a request head, for an idle connection, and for a client that does not read an answer.
    pub(crate) head: Duration,
    /// Maximum age of a connection, which then closes after its next answer. An answer is never cut off: it has the
    /// timeouts of the service.
    pub(crate) age: Duration,
    /// Whether a client that has closed its sending side still gets its answer. If so, a client that has disconnected
    /// is noticed only when the answer is written.
    pub(crate) half_close: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connections: 512, head: Duration::from_secs(10), age: Duration::from_secs(600), half_close: false }
    }
}

/// The longest accepted request head, several times the size of any provider's.
const LONGEST_HEAD: usize = 16 * 1024;

/// The open connections of a server. They go on after it has stopped accepting new ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections(watch::Sender<()>);

impl Connections {
    /// Returns the number of open connections.
    pub(crate) fn open(&self) -> usize {
        self.0.receiver_count()
    }

    /// Closes idle connections. The others are closed after their next answer, and new ones without a request after
    /// [`FIRST_REQUEST`].
    pub(crate) fn close_idle(&self) {
        self.0.send_replace(());
    }

    /// Waits until no connection is open.
    pub(crate) async fn none_open(&self) {
        self.0.closed().await;
    }

    /// Closes idle connections, and waits for the answers on the others.
    pub(crate) async fn finish(self) {
        self.0.send_replace(());
        self.0.closed().await;
    }
}

/// Accepts connections and answers their requests with `answer`, until `stop` resolves. Each request has the
/// [`PeerAddress`] of its client as an extension. Malformed requests are answered by the server, and passed to
/// `malformed`.
pub(crate) async fn accept<A, M, F>(
    listener: impl Into<Listener>,
    limits: Limits,
    connections: Connections,
    answer: A,
    malformed: M,
    stop: impl Future<Output = ()>,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    M: Fn(Malformed) + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let Listener { socket: listener, tls, per_address, is_shared } = listener.into();
    let permits = Arc::new(Semaphore::new(limits.connections));
    let begin = |stream, peer: SocketAddr, permit: Option<OwnedSemaphorePermit>| {
        let peer = PeerAddress::new(peer.ip());
        let of_address = match &per_address {
            Some(limit) => match limit.enter(peer) {
                Some(permit) => Some(permit),
                // Dropping the stream closes the connection.
                None => return,
            },
            None => None,
        };
        let (answer, malformed, finish) = (answer.clone(), malformed.clone(), connections.0.subscribe());
        let answer = move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            answer(request)
        };
        let tls = tls.clone();
        tokio::spawn(async move {
            if let Some(found) = serve(stream, tls, limits, answer, finish).await {
                malformed(found);
            }
            drop((permit, of_address));
        });
    };
    let mut stop = pin!(stop);
    let mut pause = SHORTEST_PAUSE;
    // Logged at most once per LOG_INTERVAL, because clients can cause any number of failures.
    let (mut failures, mut logged) = (0_u64, None::<Instant>);
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let permit = permits.clone().acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = SHORTEST_PAUSE;
                begin(stream, peer, permit);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // For example, too many open files: new connections wait in the system's queue until some are closed.
                failures += 1;
                if logged.is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL) {
                    tracing::warn!(%error, failures, "accepting connections failed; will retry");
                    (logged, failures) = (Some(Instant::now()), 0);
                }
                tokio::select! {
                    () = sleep(pause) => {}
                    () = &mut stop => break,
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
    // Closing the listener would reset the connections in the system's queue.
    while !is_shared
        && let Ok(permit) = permits.clone().try_acquire_owned()
        && let Some(Ok((stream, peer))) = listener.accept().now_or_never()
    {
        begin(stream, peer, Some(permit));
    }
}

/// Returns the answer to a request whose method the path does not support. `allow` lists those that it does.
pub(crate) fn method_not_allowed(allow: &'static str) -> Response<Full<Bytes>> {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// Returns an answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Serves a connection. Returns why the server rejected its last request, if that was malformed.
async fn serve<A, F>(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    answer: A,
    finish: watch::Receiver<()>,
) -> Option<Malformed>
where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Full<Bytes>>>,
{
    // Avoids Nagle's delay. If that fails, answers are only slower.
    let _ = stream.set_nodelay(true);
    // A client that does not read its answers is disconnected as soon as one that does not send.
    let (stream, begin) = Begun::new(stream);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.head));
    let stream = Box::pin(stream);
    let begun = || begin.get().copied().flatten();
    let Some(tls) = tls else {
        return serve_http(stream, begun, limits, answer, finish).await;
    };
    // On the heap, so that connections without TLS need no memory for it. A handshake that takes too long is not
    // logged, as a connection without a request is not.
    let handshake = timeout(limits.head, Box::pin(tls.accept(stream)));
    let mut closing = finish.clone();
    let closing_soon = async {
        let _ = closing.changed().await;
        sleep(FIRST_REQUEST).await;
    };
    let secured = tokio::select! {
        secured = handshake => secured.ok()?,
        () = closing_soon => return None,
    };
    match secured {
        Ok(stream) => {
            let (stream, begin) = Begun::new(stream);
            let begun = || begin.get().copied().flatten().filter(|begun| *begun != Malformed::Tls);
            serve_http(stream, begun, limits, answer, finish).await
        }
        Err(error) => Malformed::of_handshake(&error, begun()),
    }
}

/// Serves the requests of a connection. `begun` returns what its first bytes look like.
pub(crate) async fn serve_http<S, A, F>(
    stream: S,
    begun: impl Fn() -> Option<Malformed>,
    limits: Limits,
    answer: A,
    mut finish: watch::Receiver<()>,
) -> Option<Malformed>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Full<Bytes>>>,
{
    let (answering, mut progress) = watch::channel(false);
    let service = service_fn(|request| {
        answering.send_replace(true);
        let finished = Finished(answering.clone());
        let answered = answer(request);
        async move {
            let answered = answered.await;
            drop(finished);
            Ok::<_, Infallible>(answered)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .max_header_size(LONGEST_HEAD)
            .half_close(limits.half_close)
            .serve_connection(TokioIo::new(stream), service)
    );
    // Other errors of a connection are ignored: `answer` reports deliveries.
    let malformed = |ended: hyper::Result<()>| Malformed::of(&ended.err()?, begun());
    tokio::select! {
        ended = connection.as_mut() => return malformed(ended),
        _ = finish.changed() => {}
        () = sleep(limits.age) => {}
    }
    // The first request may be on its way, but hyper would close a connection without one at once.
    if !progress.has_changed().unwrap_or(true) {
        tokio::select! {
            ended = connection.as_mut() => return malformed(ended),
            _ = timeout(FIRST_REQUEST, progress.changed()) => {}
        }
    }
    connection.as_mut().graceful_shutdown();
    // The connection ends after its answer. Only the time outside of the answer is limited: that for the rest of a
    // request head, and that for sending the answer.
    let idle = async {
        while progress.wait_for(|answering| !answering).await.is_ok()
            && timeout(limits.head, progress.wait_for(|answering| *answering)).await.is_ok()
        {}
    };
    tokio::select! {
        ended = connection => malformed(ended),
        () = idle => None,
    }
}

/// The time in which a new connection may still send its first request when idle connections are closed.
pub(crate) const FIRST_REQUEST: Duration = Duration::from_millis(300);

/// Reports the end of an answer when it is dropped.
struct Finished(watch::Sender<bool>);

impl Drop for Finished {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

/// Returns whether the error concerns a single connection, so that the next one can be accepted at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
    )
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The minimum time between two log lines about failures to accept.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const AGE: Duration = Duration::from_secs(600);

    /// Starts a server whose answers take some time. Returns a connection to it.
    async fn connected(takes: Duration) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = move |_| async move {
            sleep(takes).await;
            empty(StatusCode::NO_CONTENT)
        };
        let limits = Limits { age: AGE, ..Limits::default() };
        tokio::spawn(accept(listener, limits, Connections::default(), answer, |_| (), std::future::pending()));
        TcpStream::connect(address).await.unwrap()
    }

    async fn all(mut stream: TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_reaches_its_age_finishes_its_answer() {
        let takes = AGE * 3;
        let mut stream = connected(takes).await;
        let began = Instant::now();
        stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        let answer = all(stream).await;
        assert!(answer.starts_with("HTTP/1.1 204 "), "{answer:?} after {:?}", began.elapsed());
        assert!(began.elapsed() >= takes && began.elapsed() < takes + AGE, "closed after it: {:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_reaches_its_age_without_a_request_is_closed() {
        // A head that never ends, begun just before.
        let mut stream = connected(Duration::ZERO).await;
        let began = Instant::now();
        while began.elapsed() < AGE - Duration::from_secs(1) {
            stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            let mut answer = [0; 1024];
            assert!(stream.read(&mut answer).await.unwrap() > 0);
            sleep(Duration::from_secs(5)).await;
        }
        stream.write_all(b"POST / HTTP/1.1\r\n").await.unwrap();
        all(stream).await;
        assert!(began.elapsed() <= AGE + Duration::from_secs(20), "{:?}", began.elapsed());
    }
}
