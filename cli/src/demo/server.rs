//! The receiving side: an HTTP server with an endpoint for each provider.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use medhook::{Builder, Bytes, Outcome, Reason};
use medhook_conformance::{Endpoint, cases};
use medhook_tower::{Verify, VerifyLayer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_layer::Layer;
use tower_service::Service;

use super::handler::Handler;
use super::site::DemoSite;
use crate::failure::Failure;
use crate::http_client::Target;
use crate::random;
use crate::sender::Sender;
use crate::server::{Connections, Limits, accept, empty};

/// A running server.
pub(super) struct Server {
    sites: Vec<DemoSite>,
    limit: Duration,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Server {
    /// Starts on a free loopback port, with the endpoint that the list of cases has for each provider, but with random
    /// secrets. `configure` sets the store of each receiver, and its other options. `limit` is the time limit of a
    /// wait.
    pub(super) async fn start(limit: Duration, configure: impl Fn(Builder) -> Builder) -> Result<Self, Failure> {
        let cannot = |error| Failure::because("cannot listen on a port of 127.0.0.1", error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;

        let (mut sites, mut routes) = (Vec::new(), HashMap::new());
        for (name, listed) in cases()?.endpoints.iter().filter(|(name, listed)| **name == listed.provider) {
            let endpoint = with_random_secrets(listed)?;
            let cannot = |error: &dyn std::fmt::Display| {
                Failure::because(format_args!("cannot set up the endpoint of {name}"), error)
            };
            let builder = configure(endpoint.builder(name).map_err(|error| cannot(&error))?);
            // Handlers end soon after the wait for their case.
            let receiver = builder.handler_timeout(limit).build().map_err(|error| cannot(&error))?;
            let handler = Handler::default();
            let target = Target::parse(&format!("http://{address}/webhooks/{name}"))?;
            let layer = VerifyLayer::new(receiver.clone()).layer(handler.clone());
            routes.insert(target.path().to_owned(), (layer, handler.clone()));
            let sender = Sender { target, endpoint, limit };
            sites.push(DemoSite { sender, receiver, handler, mark: format!("demo-{}-", random::mark()?) });
        }

        let routes = Arc::new(routes);
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(async move {
            let answer = move |request| {
                let routes = routes.clone();
                async move { answer(&routes, request).await }
            };
            // The server also stops when the sender is dropped.
            let stop = async move { drop(stopped.await) };
            let connections = Connections::default();
            accept(listener, Limits::default(), connections.clone(), answer, |_| (), stop).await;
            connections.finish().await;
        });
        Ok(Server { sites, limit, stop, running })
    }

    pub(super) fn sites(&self) -> &[DemoSite] {
        &self.sites
    }

    /// Returns the endpoint of a provider.
    pub(super) fn site(&self, provider: &str) -> Result<&DemoSite, Failure> {
        let site = self.sites.iter().find(|site| site.provider() == provider);
        site.ok_or_else(|| Failure::new(format!("the list of cases has no endpoint of {provider}")))
    }

    /// Stops accepting connections, and waits until the open ones are closed.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        for site in &self.sites {
            site.receiver.drain(self.limit).await;
        }
        // If the server has ended already, the next line reports it.
        let _ = self.stop.send(());
        let ended = timeout(self.limit, self.running).await;
        let ended =
            ended.map_err(|_| Failure::new(format!("waited {} s for the server to stop", self.limit.as_secs())))?;
        ended.map_err(|error| Failure::because("the server did not stop", error))
    }
}

fn with_random_secrets(listed: &Endpoint) -> Result<Endpoint, Failure> {
    let mut endpoint = listed.clone();
    let all = endpoint.secrets.values_mut().chain(endpoint.test_secrets.values_mut());
    for secret in all.chain(endpoint.also_secrets.values_mut()) {
        *secret = random::secret()?;
    }
    Ok(endpoint)
}

/// Answers with the receiver's status, and a body that names the reason or the outcome: the demo shows both sides. A
/// receiver itself answers without a body, and its sender learns no more than the status.
async fn answer(
    routes: &HashMap<String, (Verify<Handler>, Handler)>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let Some((endpoint, handler)) = routes.get(request.uri().path()) else {
        return empty(StatusCode::NOT_FOUND);
    };
    let Ok(mut response) = endpoint.clone().call(request).await;
    handler.answered();
    let reason = response.extensions().get::<Reason>().map(|reason| reason.as_str());
    let outcome = response.extensions().get::<Outcome>().map(|outcome| outcome.as_str());
    *response.body_mut() = Full::new(Bytes::from_static(reason.or(outcome).unwrap_or_default().as_bytes()));
    response
}
