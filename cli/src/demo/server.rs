//! The receiving side: an HTTP server with an endpoint for each provider.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use medhook::{Builder, Bytes, Receiver, Secret, Secrets};
use medhook_tower::{Verify, VerifyLayer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower_layer::Layer;
use tower_service::Service;

use super::handler::Handler;
use super::notes::{NUMBER, Notes};
use super::patience::{PATIENCE, within};
use super::providers::DemoProvider;
use super::seen::CURRENT;
use crate::failure::Failure;
use crate::random;
use crate::server::{Limits, accept, empty};

/// A running server.
pub(super) struct Server {
    address: SocketAddr,
    endpoints: Vec<DemoEndpoint>,
    notes: Arc<Notes>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

/// One provider's endpoint.
pub(super) struct DemoEndpoint {
    pub(super) provider: &'static DemoProvider,
    pub(super) keys: DemoSecrets,
    pub(super) receiver: Receiver,
    pub(super) handler: Handler,
}

impl Server {
    /// Starts on a free port of this machine. `fit_out` gives each receiver its store, and whatever else is not the
    /// provider's to say.
    pub(super) async fn start(
        providers: &'static [DemoProvider],
        fit_out: impl Fn(Builder) -> Builder,
    ) -> Result<Self, Failure> {
        let endpoints: Vec<_> =
            providers.iter().map(|provider| DemoEndpoint::new(provider, &fit_out)).collect::<Result<_, _>>()?;
        let notes = Arc::new(Notes::default());
        let routes = Arc::new(DemoRoutes::new(&endpoints, notes.clone()));

        let cannot = |error| Failure::because("cannot listen on a port of 127.0.0.1", error);
        let listener = within("a free port", TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).await?.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(async move {
            let answer = move |request| {
                let routes = routes.clone();
                async move { routes.answer(request).await }
            };
            // A server that nobody can stop any more stops, too.
            let stop = async move { drop(stopped.await) };
            accept(listener, Limits::default(), answer, stop).await.finish().await;
        });
        Ok(Server { address, endpoints, notes, stop, running })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn endpoints(&self) -> &[DemoEndpoint] {
        &self.endpoints
    }

    pub(super) fn notes(&self) -> &Arc<Notes> {
        &self.notes
    }

    /// Takes no more connections, and waits for those there are.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        for endpoint in &self.endpoints {
            endpoint.receiver.drain(PATIENCE).await;
        }
        // If it is gone already, the next line says so.
        let _ = self.stop.send(());
        let ended = within("the server to stop", self.running).await?;
        ended.map_err(|error| Failure::because("the server did not stop", error))
    }
}

impl DemoEndpoint {
    fn new(provider: &'static DemoProvider, fit_out: impl Fn(Builder) -> Builder) -> Result<Self, Failure> {
        let keys = DemoSecrets::random()?;
        let cannot = |error| Failure::because(format_args!("cannot set up the endpoint of {}", provider.name), error);
        let secrets = keys.secrets().map_err(cannot)?;
        // No handler outlives the step that it belongs to by much.
        let builder = fit_out((provider.receiver)(provider.name, secrets)).handler_timeout(PATIENCE);
        let receiver = builder.build().map_err(cannot)?;
        Ok(DemoEndpoint { provider, keys, receiver, handler: Handler::default() })
    }
}

/// The secrets of one endpoint, and one that it does not have. Never printed, and gone at the end.
pub(super) struct DemoSecrets {
    pub(super) current: String,
    /// The one that a rotation would bring.
    pub(super) next: String,
    pub(super) foreign: String,
}

/// The label of the second secret.
pub(super) const NEXT: &str = "next";

impl DemoSecrets {
    fn random() -> Result<Self, Failure> {
        Ok(DemoSecrets { current: random::secret()?, next: random::secret()?, foreign: random::secret()? })
    }

    fn secrets(&self) -> Result<Secrets, medhook::ConfigError> {
        Secrets::new(Secret::new(self.current.as_str())?.labeled(CURRENT)?)
            .also(Secret::new(self.next.as_str())?.labeled(NEXT)?)
    }
}

/// Which endpoint is where.
struct DemoRoutes {
    endpoints: HashMap<String, Verify<Handler>>,
    notes: Arc<Notes>,
}

impl DemoRoutes {
    fn new(endpoints: &[DemoEndpoint], notes: Arc<Notes>) -> Self {
        let endpoints = endpoints.iter().map(|endpoint| {
            let layer = VerifyLayer::new(endpoint.receiver.clone());
            (endpoint.provider.path(), layer.layer(endpoint.handler.clone()))
        });
        DemoRoutes { endpoints: endpoints.collect(), notes }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Some(endpoint) = self.endpoints.get(request.uri().path()) else {
            return empty(StatusCode::NOT_FOUND);
        };
        let number = request.headers().get(NUMBER).and_then(|number| number.to_str().ok()?.parse().ok());
        // hyper drops this future when the sender hangs up, and with it the note.
        let note = number.map(|number| self.notes.begin(number));
        let Ok(response) = endpoint.clone().call(request).await;
        if let Some(note) = note {
            note.answered(&response);
        }
        response
    }
}
