//! An HTTP/1.1 server that outlives its visitors: every wait has an end, and the number of connections, too.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use medhook::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_io_timeout::TimeoutStream;

/// What a visitor may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at once. What comes above it waits in the system's queue.
    pub(crate) connections: usize,
    /// How long a head may take to arrive, a connection may stay idle between two, and a client may leave an answer unread.
    pub(crate) head: Duration,
    /// How old a connection may grow: then it ends with its next answer.
    pub(crate) age: Duration,
    /// How long that next answer may take, until the connection is cut off.
    pub(crate) last_answer: Duration,
    /// Whether a client that has closed its sending side still gets its answer. Then one that has gone altogether is
    /// noticed only when the answer is written.
    pub(crate) half_close: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 512,
            head: Duration::from_secs(10),
            age: Duration::from_secs(600),
            last_answer: Duration::from_secs(60),
            half_close: false,
        }
    }
}

/// The longest head. Whatever a provider sends is a fraction of it.
const LONGEST_HEAD: usize = 16 * 1024;

/// Connections that outlive the accepting of new ones.
#[must_use = "connections go on until `finish`"]
#[derive(Debug)]
pub(crate) struct Connections(watch::Sender<()>);

impl Connections {
    /// Ends those that are idle, and waits for the answers of the others.
    pub(crate) async fn finish(self) {
        self.0.send_replace(());
        self.0.closed().await;
    }
}

/// Accepts connections and has their requests answered until `stop` comes true.
pub(crate) async fn accept<A, F>(
    listener: TcpListener,
    limits: Limits,
    answer: A,
    stop: impl Future<Output = ()>,
) -> Connections
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let (connections, _) = watch::channel(());
    let permits = Arc::new(Semaphore::new(limits.connections));
    let begin = |stream, permit: Option<OwnedSemaphorePermit>| {
        let (answer, finish) = (answer.clone(), connections.subscribe());
        tokio::spawn(async move {
            serve(stream, limits, answer, finish).await;
            drop(permit);
        });
    };
    let mut stop = pin!(stop);
    let mut pause = SHORTEST_PAUSE;
    // A client can cause failures as often as it likes.
    let (mut failures, mut logged) = (0_u64, None::<Instant>);
    loop {
        let accepted = async {
            // Nobody closes the semaphore.
            let permit = permits.clone().acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => {
                pause = SHORTEST_PAUSE;
                begin(stream, permit);
            }
            Err(error) if is_the_visitors(&error) => {}
            Err(error) => {
                // Such as too many open files: connections wait in the system's queue until some are closed.
                failures += 1;
                if logged.is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL) {
                    tracing::warn!(%error, failures, "cannot accept connections for the moment");
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
    // Connections that the system has accepted already would be reset when the listener is closed.
    while let Ok(permit) = permits.clone().try_acquire_owned()
        && let Some(Ok((stream, _))) = listener.accept().now_or_never()
    {
        begin(stream, Some(permit));
    }
    Connections(connections)
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

async fn serve<A, F>(stream: TcpStream, limits: Limits, answer: A, mut finish: watch::Receiver<()>)
where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Full<Bytes>>>,
{
    // Without it an answer waits for the acknowledgement of what went before; where it cannot be had, it waits.
    let _ = stream.set_nodelay(true);
    // A client that does not read its answers holds no connection for longer than one that does not send.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.head));
    let service = service_fn(|request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .max_header_size(LONGEST_HEAD)
            .half_close(limits.half_close)
            .serve_connection(TokioIo::new(Box::pin(stream)), service)
    );
    // How a connection ends is its visitor's business: answers that matter are noted where they are made.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = finish.changed() => {}
        () = sleep(limits.age) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(limits.last_answer, connection).await;
}

/// Whether only one connection came to nothing, and the next may well do.
fn is_the_visitors(error: &io::Error) -> bool {
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

/// How often failures to accept are logged while they go on.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
