//! Sends cases to an endpoint, each on a connection of its own.

use std::time::Duration;

use futures_util::future::join_all;
use http::{HeaderName, HeaderValue, Method, Request};
use medhook::sign::Signer;
use medhook::testing::Signing;
use medhook::{Bytes, Secret};
use medhook_conformance::{Case, Endpoint, Lost, Transfer};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::endpoint::unsigned_headers;
use crate::failure::Failure;
use crate::http_client::{HttpAnswer, HttpConnection, Target, status_of};
use crate::key_kind::is_public_key;

/// Returns the signer of an endpoint with this secret. `has_config` is whether the secret is that of a receiver's
/// config file, which has the sender's public key if there is a pair of keys.
pub(crate) fn signer(signing: &Signing, secret: &Secret, has_config: bool) -> Result<Signer, Failure> {
    Signer::new(signing, secret).map_err(|error| {
        let hint = "; the config file of a receiver has only the public key, so also pass the private key with \
                    --secret-env or --secret-file";
        let is_public = has_config && is_public_key(signing, secret);
        Failure::new(format!("{error}{}", if is_public { hint } else { "" }))
    })
}

/// The endpoint that cases are sent to.
pub(crate) struct Sender {
    pub(crate) target: Target,
    pub(crate) endpoint: Endpoint,
    /// The time limit for an answer.
    pub(crate) limit: Duration,
}

impl Sender {
    /// Returns a case as a request, with the headers that the provider sends beside its signature.
    pub(crate) fn request(&self, case: &Case) -> Result<Request<Bytes>, Failure> {
        let mut headers = case.headers.clone();
        for (name, value) in unsigned_headers(&self.endpoint, &case.body)? {
            if !headers.iter().any(|(known, _)| *known == name) {
                headers.push((name, value));
            }
        }
        let unsendable = || Failure::new("it cannot be sent");
        let mut request = Request::new(case.body.clone());
        *request.method_mut() = case.method.parse::<Method>().map_err(|_| unsendable())?;
        *request.uri_mut() = self.target.path().parse().map_err(|_| unsendable())?;
        for (name, value) in headers {
            let name = name.parse::<HeaderName>().map_err(|_| unsendable())?;
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| unsendable())?;
            request.headers_mut().append(name, value);
        }
        Ok(request)
    }

    /// Sends a case once.
    pub(crate) async fn deliver(&self, case: &Case) -> Result<Result<HttpAnswer, Lost>, Failure> {
        let request = self.request(case)?;
        Ok(self.target.exchange(self.limit, |connection| send(connection, request, case.transfer)).await)
    }

    /// Announces the body of a case, sends nothing of it, and waits for the answer. A server that answers before it has
    /// read a body may close the connection so that a client that is still sending never reads the answer.
    pub(crate) async fn announce(&self, case: &Case) -> Result<Result<HttpAnswer, Lost>, Failure> {
        let request = self.request(case)?;
        Ok(self.target.exchange(self.limit, |connection| connection.announce(request)).await)
    }

    /// Sends copies of a case, once the connections for all of them are open.
    pub(crate) async fn deliver_copies(
        &self,
        case: &Case,
        copies: usize,
    ) -> Result<Vec<Result<HttpAnswer, Lost>>, Failure> {
        let connections = join_all((0..copies).map(|_| self.target.open(self.limit))).await;
        let mut sent = Vec::new();
        for connection in connections {
            match connection {
                Ok(connection) => {
                    let request = self.request(case)?;
                    sent.push(async {
                        let answer = timeout(self.limit, send(connection, request, case.transfer)).await;
                        answer.unwrap_or(Err(Lost::TimedOut(self.limit)))
                    });
                }
                Err(lost) => return Ok(vec![Err(lost)]),
            }
        }
        Ok(join_all(sent).await)
    }

    /// Sends more than this many bytes of a body that never ends.
    pub(crate) async fn deliver_endless(&self, case: &Case, bytes: u64) -> Result<Result<u16, Lost>, Failure> {
        let request = self.request(case)?;
        let mut wire = format!("POST {} HTTP/1.1\r\n", self.target.path()).into_bytes();
        wire.extend_from_slice(b"host: ");
        wire.extend_from_slice(self.target.authority().as_bytes());
        for (name, value) in request.headers() {
            wire.extend_from_slice(format!("\r\n{name}: ").as_bytes());
            wire.extend_from_slice(value.as_bytes());
        }
        wire.extend_from_slice(b"\r\ntransfer-encoding: chunked\r\n\r\n");

        let stream = match self.target.connect(self.limit).await {
            Ok(opened) => opened.stream,
            Err(lost) => return Ok(Err(lost)),
        };
        let (mut reads, mut writes) = tokio::io::split(stream);
        let sending = async {
            let piece = [format!("{PIECE:x}\r\n").as_bytes(), &[b' '; PIECE], b"\r\n"].concat();
            writes.write_all(&wire).await?;
            let mut sent = 0_u64;
            while sent < bytes {
                writes.write_all(&piece).await?;
                sent += PIECE as u64;
            }
            writes.flush().await?;
            // The body does not end here: an endpoint that waits for its end waits in vain.
            std::future::pending::<std::io::Result<()>>().await
        };
        let answered = async {
            tokio::select! {
                status = status_of(&mut reads) => status,
                // An endpoint that stops reading may still have answered.
                Err(_) = sending => status_of(&mut reads).await,
            }
        };
        let limit = self.limit.clamp(LEAST, MOST);
        Ok(timeout(limit, answered).await.unwrap_or(Err(Lost::TimedOut(limit))))
    }
}

async fn send(connection: HttpConnection, request: Request<Bytes>, transfer: Transfer) -> Result<HttpAnswer, Lost> {
    match transfer {
        Transfer::Chunked(length) => connection.send_chunked(request, length).await,
        _ => connection.send(request).await,
    }
}

const PIECE: usize = 16 * 1024;

/// The shortest and the longest time for which an endless body is sent before it counts as accepted.
const LEAST: Duration = Duration::from_secs(5);
const MOST: Duration = Duration::from_secs(10);
