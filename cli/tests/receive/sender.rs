//! Sends signed deliveries over HTTP, as a provider does.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use medhook::Bytes;
use medhook::testing;

use crate::program::{PATIENCE, SECRET};

#[derive(Clone)]
pub(crate) struct Sender(Client<HttpConnector, Full<Bytes>>);

impl Sender {
    pub(crate) fn new() -> Self {
        Sender(Client::builder(TokioExecutor::new()).build_http())
    }

    /// Sends the request, and returns the status of an answer that may have a body.
    pub(crate) async fn status(&self, to: SocketAddr, request: &Request<Bytes>) -> u16 {
        let mut request = request.clone();
        *request.uri_mut() = format!("http://{to}{}", request.uri()).parse().unwrap();
        let answered = self.0.request(request.map(Full::new));
        tokio::time::timeout(PATIENCE, answered).await.expect("an answer").unwrap().status().as_u16()
    }

    /// Sends the request, and returns the answer without its body.
    pub(crate) async fn answer(&self, to: SocketAddr, request: &Request<Bytes>) -> Response<()> {
        let mut request = request.clone();
        *request.uri_mut() = format!("http://{to}{}", request.uri()).parse().unwrap();
        let answered = self.0.request(request.map(Full::new));
        tokio::time::timeout(PATIENCE, answered).await.expect("an answer").unwrap().map(drop)
    }

    /// Sends the request, and returns the status of an answer without a body, or the error.
    pub(crate) async fn send(&self, to: SocketAddr, request: &Request<Bytes>) -> Result<u16, String> {
        let mut request = request.clone();
        let uri = format!("http://{to}{}", request.uri());
        *request.uri_mut() = uri.parse().unwrap();
        let answered = async {
            let response = self.0.request(request.map(Full::new)).await.map_err(|error| error.to_string())?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
            assert!(body.is_empty(), "an answer has no body: {body:?}");
            Ok(status)
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("an answer")
    }
}

pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// Returns a genuine delivery of HealthSync with this event id, for `/healthsync`.
pub(crate) fn delivery(id: &str) -> Request<Bytes> {
    testing::healthsync("document.uploaded").secret(SECRET).at(now()).id(id).request("/healthsync")
}

/// The config of its endpoint, to which tests append keys.
pub(crate) const ENDPOINT: &str = "[[endpoint]]\npath = \"/healthsync\"\nprovider = \"healthsync\"\n\
                            secrets = [{ env = \"TEST_SECRET\" }]\n";
