//! Connections to applications, over TCP, TLS or a Unix socket, that know whether they were used before.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
#[cfg(unix)]
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Extensions, Uri};
use hyper_util::client::legacy::Error;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::Error as TlsError;
use tokio_rustls::rustls::pki_types::ServerName;
use tower_service::Service;

use crate::http_client::Stream;
use crate::tls_client;

/// Opens connections to one application. Proxy variables are ignored.
#[derive(Clone)]
pub(super) enum Connector {
    Tcp(HttpConnector),
    Tls(HttpConnector, TlsConnector, ServerName<'static>),
    #[cfg(unix)]
    Unix(PathBuf),
}

impl Connector {
    pub(super) fn tcp() -> Self {
        Connector::Tcp(resolving())
    }

    /// Opens connections over TLS, with a certificate for this name.
    pub(super) fn tls(tls: TlsConnector, name: ServerName<'static>) -> Self {
        Connector::Tls(resolving(), tls, name)
    }

    async fn open(self, uri: Uri) -> Result<Stream, BoxError> {
        match self {
            Connector::Tcp(mut tcp) => Ok(Box::new(tcp.call(uri).await?.into_inner())),
            Connector::Tls(mut tcp, tls, name) => {
                let stream = tcp.call(uri).await?.into_inner();
                let secured = tls.connect(name, stream).await;
                Ok(Box::new(
                    secured
                        .map_err(|error| ConnectFailure::Tls(tls_client::handshake_cause(&error, &[], UNTRUSTED)))?,
                ))
            }
            #[cfg(unix)]
            Connector::Unix(path) => match UnixStream::connect(path).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(ConnectFailure::Denied.into()),
                Err(error) => Err(error.into()),
            },
        }
    }
}

type BoxError = Box<dyn StdError + Send + Sync>;

/// A connector that resolves names and connects to one address after the other.
fn resolving() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    connector
}

/// The timeout for a connection, with the lookup of the name and the TLS handshake.
const CONNECT: Duration = Duration::from_secs(5);

/// The next step if no trusted authority has signed the certificate of an application.
const UNTRUSTED: &str = "no trusted authority has signed the certificate, which may be self-signed or lack its \
                         intermediate certificates; for a private authority, set `forward_ca` to its certificate";

impl Service<Uri> for Connector {
    type Response = TokioIo<TrackedStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Always ready, as `HttpConnector` is.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let opening = self.clone().open(uri);
        Box::pin(async move {
            let opened = timeout(CONNECT, opening).await;
            let stream = opened.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))?;
            Ok(TokioIo::new(TrackedStream { stream, traffic: Traffic::default() }))
        })
    }
}

/// A failure to connect that the operator must know about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ConnectFailure {
    /// TLS failed, with this cause.
    Tls(String),
    /// The system does not let this user open the socket.
    Denied,
}

impl ConnectFailure {
    /// Returns the failure that caused this error, if it is one.
    pub(super) fn of_error(error: &Error) -> Option<Self> {
        let sources = || std::iter::successors(error.source(), |error| (*error).source());
        if let Some(failure) = sources().find_map(|error| error.downcast_ref::<ConnectFailure>()) {
            return Some(failure.clone());
        }
        // A server of TLS 1.3 rejects a missing client certificate only after the handshake.
        let is_unused = Traffic::of_error(error).is_some_and(|traffic| traffic.is_unused());
        let io = sources().find_map(|error| error.downcast_ref::<io::Error>());
        let alert = io.and_then(|error| error.get_ref()?.downcast_ref::<TlsError>());
        match alert {
            Some(alert @ TlsError::AlertReceived(_)) if is_unused => {
                Some(ConnectFailure::Tls(format!("TLS failed: {}", tls_client::cause(alert, UNTRUSTED))))
            }
            _ => None,
        }
    }
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectFailure::Tls(cause) => f.write_str(cause),
            ConnectFailure::Denied => f.write_str(
                "this user may not open its socket; grant it write permission for the socket and search permission for \
                 the folders",
            ),
        }
    }
}

impl StdError for ConnectFailure {}

/// Returns whether connecting timed out.
pub(super) fn timed_out(error: &Error) -> bool {
    let mut sources = std::iter::successors(error.source(), |error| (*error).source());
    sources.any(|error| error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut))
}

/// The use of a connection so far. Part of the error or the response of each request on it.
#[derive(Debug, Clone, Default)]
pub(super) struct Traffic(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether an earlier request was answered.
    answered: AtomicBool,
    /// Whether bytes have arrived since the last ones were sent.
    receiving: AtomicBool,
}

impl Traffic {
    /// Returns the traffic of the connection on which a request failed, if there was one.
    pub(super) fn of_error(error: &Error) -> Option<Self> {
        let mut extras = Extensions::new();
        error.connect_info()?.get_extras(&mut extras);
        extras.remove()
    }

    /// Records that a request was answered.
    pub(super) fn answered(&self) {
        self.0.answered.store(true, Ordering::SeqCst);
    }

    /// Returns whether the connection was used before and was closed without a byte of an answer to its last request.
    pub(super) fn was_closed_idle(&self) -> bool {
        self.0.answered.load(Ordering::SeqCst) && !self.0.receiving.load(Ordering::SeqCst)
    }

    /// Returns whether no byte of an answer has arrived.
    fn is_unused(&self) -> bool {
        !self.0.answered.load(Ordering::SeqCst) && !self.0.receiving.load(Ordering::SeqCst)
    }
}

/// A connection that records its traffic; over TLS, that inside it.
pub(super) struct TrackedStream {
    stream: Stream,
    traffic: Traffic,
}

impl Connection for TrackedStream {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.traffic.clone())
    }
}

impl AsyncRead for TrackedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.traffic.0.receiving.store(true, Ordering::SeqCst);
        }
        read
    }
}

impl AsyncWrite for TrackedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Before the write: the answer may arrive before it returns.
        self.traffic.0.receiving.store(false, Ordering::SeqCst);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.traffic.0.receiving.store(false, Ordering::SeqCst);
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
