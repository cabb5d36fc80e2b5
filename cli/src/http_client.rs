//! The HTTP/1.1 client of all commands that send: each request has a connection of its own, as with providers.
//!
//! It uses hyper's connection without a client on top: a client pools its connections, and `check` and `demo` also
//! write bytes that no client sends, such as an endless body, to a [`Target::connect`] stream.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use medhook::Bytes;
use medhook_conformance::Lost;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::io::InspectReader;

use crate::failure::Failure;
use crate::lost;
use crate::tls_client::TrustedRoots;

/// A URL that requests are sent to.
#[derive(Clone)]
pub(crate) struct Target {
    host: String,
    port: u16,
    authority: HeaderValue,
    path: String,
    shown: String,
    tls: Option<TlsConnector>,
}

impl Target {
    /// Parses a URL with `http://` or `https://`. For the latter, reads the certificates that this machine trusts.
    pub(crate) fn parse(url: &str) -> Result<Self, Failure> {
        let uri: Uri = url.parse().map_err(|error| Failure::because("not a URL", error))?;
        let (tls, usual) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err(Failure::new("the URL must start with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| Failure::new("a URL without a host"))?;
        if authority.as_str().contains('@') {
            return Err(Failure::new("no user or password in a URL: providers send none"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(Failure::new("a URL without a host"));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        // The query may contain a secret.
        let query = if uri.query().is_some() { "?.." } else { "" };
        let shown = format!("{}://{authority}{}{query}", if tls { "https" } else { "http" }, uri.path());
        let value = HeaderValue::try_from(authority.as_str());
        Ok(Target {
            host,
            port: authority.port_u16().unwrap_or(usual),
            authority: value.map_err(|_| Failure::new("a URL with a host that is no name"))?,
            path,
            shown,
            tls: if tls { Some(TrustedRoots::of_system()?.connector()?) } else { None },
        })
    }

    /// Returns path and query, for the request line.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Returns the value of the `Host` header.
    pub(crate) fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Returns whether the URL is on this machine: a loopback address or `localhost`. Other names may resolve to any
    /// address.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Opens a connection, within `limit`.
    pub(crate) async fn connect(&self, limit: Duration) -> Result<OpenedStream, Lost> {
        let deadline = Instant::now().checked_add(limit);
        let stream = in_time(deadline, self.tcp()).await.unwrap_or_else(|| Err(lost::not_in_time(limit, false)))?;
        // Sends small requests at once.
        let _ = stream.set_nodelay(true);
        let first = FirstBytes::default();
        let stream = InspectReader::new(stream, first.recorder());
        let Some(tls) = &self.tls else {
            return Ok(OpenedStream { stream: Box::new(stream), first, tls: false });
        };
        let name = ServerName::try_from(self.host.clone()).map_err(|error| Lost::NoConnection(error.to_string()))?;
        let secured = in_time(deadline, tls.connect(name, stream)).await;
        let secured = secured.ok_or_else(|| lost::not_in_time(limit, true))?;
        let stream = secured.map_err(|error| lost::untrusted(&error, &first.get()))?;
        let first = FirstBytes::default();
        Ok(OpenedStream { stream: Box::new(InspectReader::new(stream, first.recorder())), first, tls: true })
    }

    async fn tcp(&self) -> Result<TcpStream, Lost> {
        let addresses = lookup_host((self.host.as_str(), self.port)).await;
        let mut failed = None;
        for address in addresses.map_err(|error| lost::unresolved(&self.host, &error))? {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                // Only this error shows that the host was reached.
                Err(error) if failed.is_none() || error.kind() == ErrorKind::ConnectionRefused => failed = Some(error),
                Err(_) => {}
            }
        }
        let error = failed.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into());
        Err(lost::unconnected(&error))
    }

    /// Opens a connection for one request, within `limit`.
    pub(crate) async fn open(&self, limit: Duration) -> Result<HttpConnection, Lost> {
        let OpenedStream { stream, first, tls } = self.connect(limit).await?;
        let opened = handshake(TokioIo::new(stream)).await;
        let (requests, connection) = opened.map_err(|error| Lost::NoConnection(lost::causes(&error)))?;
        let authority = self.authority.clone();
        Ok(HttpConnection { authority, requests, connection: Box::pin(connection), first, tls })
    }

    /// Opens a connection and makes an exchange over it, for at most `limit` in all.
    pub(crate) async fn exchange<F>(
        &self,
        limit: Duration,
        exchange: impl FnOnce(HttpConnection) -> F,
    ) -> Result<HttpAnswer, Lost>
    where
        F: Future<Output = Result<HttpAnswer, Lost>>,
    {
        let deadline = Instant::now().checked_add(limit);
        let connection = self.open(limit).await?;
        in_time(deadline, exchange(connection)).await.unwrap_or(Err(Lost::TimedOut(limit)))
    }

    /// Sends a request and waits for the answer, for at most `limit` in all.
    pub(crate) async fn send(&self, request: Request<Bytes>, limit: Duration) -> Result<HttpAnswer, Lost> {
        self.exchange(limit, |connection| connection.send(request)).await
    }

    /// Returns where an answer of this URL redirects to, without what may be secret: path and query.
    pub(crate) fn redirect(&self, location: &HeaderValue) -> Option<String> {
        let location: Uri = location.to_str().ok()?.parse().ok()?;
        let own_path = self.path.split('?').next().unwrap_or_default();
        let path = match location.path() {
            same if same == own_path => "the same path",
            slash if slash.strip_suffix('/') == Some(own_path) => "the same path with a slash at its end",
            slash if own_path.strip_suffix('/') == Some(slash) => "the same path without the slash at its end",
            _ => "another path",
        };
        match (location.scheme_str(), location.host()) {
            (Some(scheme), Some(host)) => {
                let port = location.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
                Some(format!("{scheme}://{host}{port}, {path}"))
            }
            (None, None) if location.path().starts_with('/') => Some(path.to_owned()),
            _ => None,
        }
    }
}

/// The URL, without its query.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Both directions of a connection.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub(crate) type Stream = Box<dyn Duplex>;

/// An open connection, with what is needed to explain its end.
pub(crate) struct OpenedStream {
    pub(crate) stream: Stream,
    first: FirstBytes,
    tls: bool,
}

/// The first bytes that came from the endpoint: over TCP until a TLS handshake is complete, then inside TLS.
#[derive(Clone, Default)]
struct FirstBytes(Arc<Mutex<Vec<u8>>>);

impl FirstBytes {
    fn recorder(&self) -> impl FnMut(&[u8]) + Send + use<> {
        let this = self.clone();
        move |bytes| {
            let mut first = this.0.lock().unwrap_or_else(PoisonError::into_inner);
            let room = FIRST.saturating_sub(first.len());
            first.extend(bytes.iter().take(room));
        }
    }

    fn get(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The number of bytes that distinguish HTTP from TLS.
const FIRST: usize = 8;

/// Waits for `work` until `deadline`, or without end if there is none.
async fn in_time<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline.into(), work).await.ok(),
        None => Some(work.await),
    }
}

type Body = BoxBody<Bytes, Infallible>;

/// An open connection, for one request.
pub(crate) struct HttpConnection {
    authority: HeaderValue,
    requests: SendRequest<Body>,
    connection: Pin<Box<Connection<TokioIo<Stream>, Body>>>,
    first: FirstBytes,
    tls: bool,
}

impl HttpConnection {
    /// Sends a request with a `content-length`.
    pub(crate) async fn send(self, request: Request<Bytes>) -> Result<HttpAnswer, Lost> {
        self.send_body(request.map(|body| Full::new(body).boxed())).await
    }

    /// Sends a request in chunks of this many bytes, without a `content-length`.
    pub(crate) async fn send_chunked(self, request: Request<Bytes>, length: usize) -> Result<HttpAnswer, Lost> {
        let pieces = |body: Bytes| {
            let pieces: Vec<_> = body.chunks(length.max(1)).map(|piece| body.slice_ref(piece)).collect();
            StreamBody::new(stream::iter(pieces.into_iter().map(|piece| Ok(Frame::data(piece))))).boxed()
        };
        self.send_body(request.map(pieces)).await
    }

    /// Sends a request that announces a body, without the body.
    pub(crate) async fn announce(self, mut request: Request<Bytes>) -> Result<HttpAnswer, Lost> {
        let length = HeaderValue::from(request.body().len());
        request.headers_mut().insert(header::CONTENT_LENGTH, length);
        self.send_body(request.map(|_| StreamBody::new(stream::pending()).boxed())).await
    }

    async fn send_body(self, mut request: Request<Body>) -> Result<HttpAnswer, Lost> {
        let HttpConnection { authority, mut requests, connection, first, tls } = self;
        request.headers_mut().insert(header::HOST, authority);
        let begun = Instant::now();
        let answered = async move {
            let response = requests.send_request(request).await?;
            let status = response.status().as_u16();
            let mut location = response.headers().get(header::LOCATION).cloned();
            if let Some(location) = &mut location {
                location.set_sensitive(true);
            }
            let retry_after = response.headers().contains_key(header::RETRY_AFTER);
            let mut body = response.into_body();
            let (mut size, mut kept) = (0_u64, Vec::new());
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame?.into_data() else { continue };
                size = size.saturating_add(data.len() as u64);
                let room = KEPT.saturating_sub(kept.len()).min(data.len());
                kept.extend_from_slice(data.get(..room).unwrap_or_default());
                if size > LONGEST_ANSWER {
                    break;
                }
            }
            Ok(HttpAnswer { status, location, retry_after, size, body: kept.into(), took: begun.elapsed() })
        };
        let mut answered = pin!(answered);
        let answer = tokio::select! {
            answer = answered.as_mut() => answer,
            // The answer may have come before the connection ended.
            _ = connection => answered.await,
        };
        answer.map_err(|error: hyper::Error| lost::unanswered(&error, &first.get(), tls))
    }
}

/// The longest part of an answer's body that is kept.
const KEPT: usize = 16 * 1024;

/// The longest body that is read of an answer, so that an endless one cannot block.
const LONGEST_ANSWER: u64 = 16 * 1024 * 1024;

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    /// The URL of a redirect. It may contain secrets.
    pub(crate) location: Option<HeaderValue>,
    /// Whether it has a `Retry-After`.
    pub(crate) retry_after: bool,
    /// The number of bytes of its body that were read.
    pub(crate) size: u64,
    /// The beginning of its body.
    pub(crate) body: Bytes,
    pub(crate) took: Duration,
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Failure::new(lost.to_string())
    }
}

/// Reads an answer's first line, `HTTP/1.1 413 Payload Too Large`, and no more of it.
pub(crate) async fn status_of(stream: &mut (impl AsyncRead + Unpin)) -> Result<u16, Lost> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") && line.len() < 256 {
        let byte = stream.read_u8().await.map_err(|error| Lost::NoAnswer(error.to_string()))?;
        line.push(byte);
    }
    let status = str::from_utf8(&line).ok().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    status.ok_or_else(|| Lost::NoAnswer("what came is not HTTP".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_displayed_url_hides_its_query() {
        let target = Target::parse("http://127.0.0.1:8080/in?token=canary").unwrap();
        assert_eq!(target.to_string(), "http://127.0.0.1:8080/in?..");
        assert_eq!((target.path(), target.port), ("/in?token=canary", 8080));
        assert_eq!(Target::parse("http://example.org").unwrap().path(), "/");
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let is_loopback = |url: &str| Target::parse(url).unwrap().is_loopback();
        for url in ["http://127.0.0.1/", "http://[::1]:80/", "http://LocalHost/", "http://127.9.9.9/"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["http://localhost.example.org/", "http://10.0.0.1/", "http://127.0.0.1.example.org/"] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn an_invalid_url_is_one_line() {
        for url in ["", "127.0.0.1:80", "ftp://a/", "http://", "http://user:canary@a/", "http:///x", "/x"] {
            let failure = Target::parse(url).err().expect(url).to_string();
            assert!(!failure.contains("canary") && failure.lines().count() == 1, "{failure}");
        }
    }
}
