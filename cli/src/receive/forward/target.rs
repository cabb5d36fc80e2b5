//! An application with the connections to it.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use medhook::Bytes;
use tokio::time::Instant;
use tokio_rustls::rustls::pki_types::ServerName;

use super::address::ForwardAddress;
use super::answer::GiveUpCodes;
use crate::failure::Failure;
use crate::receive::connector::{ConnectFailure, Connector, Traffic};
use crate::tls_client::TrustedRoots;

/// The application that gets the events of an endpoint. Clones share its connections.
#[derive(Clone)]
pub(in crate::receive) struct ForwardUrl(Arc<Target>);

struct Target {
    address: ForwardAddress,
    client: Client<Connector, Full<Bytes>>,
    /// Opens a connection for each request.
    unpooled: Client<Connector, Full<Bytes>>,
    warned: Mutex<Warned>,
    codes: GiveUpCodes,
}

/// The failures to connect since the last line about one.
#[derive(Default)]
struct Warned {
    at: Option<Instant>,
    count: u64,
}

impl ForwardUrl {
    /// Creates the client of an application. `roots` are needed for TLS.
    pub(in crate::receive) fn new(address: ForwardAddress, roots: Option<TrustedRoots>) -> Result<Self, Failure> {
        let connector = connector(&address, roots)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MOST_IDLE)
            .build(connector.clone());
        let unpooled = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(ForwardUrl(Arc::new(Target {
            address,
            client,
            unpooled,
            warned: Mutex::default(),
            codes: GiveUpCodes::default(),
        })))
    }

    pub(super) fn uri(&self) -> &Uri {
        self.0.address.uri()
    }

    /// Returns the codes with which this application gave events up, so that it cannot use up those of another one.
    pub(super) fn codes(&self) -> &GiveUpCodes {
        &self.0.codes
    }

    /// Sends a request.
    ///
    /// An application may close an idle connection just when the event is sent over it. Whether it has received the
    /// event is then unknown, so HTTP clients do not repeat a POST. This client repeats it once, on a new connection:
    /// events are delivered at least once and have a key, and the sender's retry, if there is one, would only repeat
    /// it later. It does so only if the connection has answered before, no byte of this answer arrived, and the
    /// connection was closed at once. In any other case, the application may have failed because of this event.
    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        let sent = Instant::now();
        let answered = self.0.client.request(request.clone()).await;
        if let Err(error) = &answered
            && sent.elapsed() < CLOSING
            && Traffic::of_error(error).is_some_and(|traffic| traffic.was_closed_idle())
        {
            return self.0.unpooled.request(request).await;
        }
        answered
    }

    /// Logs a failure to connect, at most once a minute.
    pub(super) fn warn(&self, failure: &ConnectFailure) {
        let mut warned = self.0.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.count = warned.count.saturating_add(1);
        if warned.at.is_none_or(|at| at.elapsed() >= INTERVAL) {
            let count = std::mem::take(&mut warned.count);
            warned.at = Some(Instant::now());
            drop(warned);
            tracing::warn!(forward = %self, count, "cannot connect to the application: {failure}");
        }
    }

    /// Returns a warning if other users of this machine could listen at the socket instead of the application.
    pub(in crate::receive) fn warning(&self) -> Option<String> {
        let folder = self.0.address.socket()?.parent()?;
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        writable_by_others(folder).then(|| {
            "every user of this machine can create files in the folder of the socket, and so listen there instead of \
             the application; use a folder that only the application can write to"
                .to_owned()
        })
    }
}

fn connector(address: &ForwardAddress, roots: Option<TrustedRoots>) -> Result<Connector, Failure> {
    #[cfg(unix)]
    if let Some(socket) = address.socket() {
        return Ok(Connector::Unix(socket.to_owned()));
    }
    let Some(roots) = roots else {
        return Ok(Connector::tcp());
    };
    let name = ServerName::try_from(address.host().to_owned());
    let name = name.map_err(|_| Failure::new("has a host that no certificate can name; use a DNS name"))?;
    Ok(Connector::tls(roots.connector()?, name))
}

#[cfg(unix)]
fn writable_by_others(folder: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(folder).is_ok_and(|folder| folder.permissions().mode() & 0o002 != 0)
}

#[cfg(not(unix))]
fn writable_by_others(_: &Path) -> bool {
    false
}

/// The most idle connections to an application.
const MOST_IDLE: usize = 64;

/// Shorter than the idle timeouts of common servers: 2 s in gunicorn, 5 s in Node.js, uvicorn, Apache and actix-web,
/// 20 s and more in Puma and Tomcat.
const IDLE: Duration = Duration::from_millis(1500);

/// If a reused connection is closed later than this after the event was sent, the application has probably worked on
/// the event.
const CLOSING: Duration = Duration::from_secs(1);

/// The time between two lines about failures to connect.
const INTERVAL: Duration = Duration::from_secs(60);

/// Writes the URL without its query, which may hold a password.
impl fmt::Display for ForwardUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.address.fmt(f)
    }
}
