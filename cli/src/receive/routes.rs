//! Routes requests to endpoints and health checks by their path.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use medhook::Bytes;

use super::endpoint::ServedEndpoint;
use super::health::{Health, Phase};
use super::stray::Strays;
use crate::server::empty;

/// The endpoints by path, and the health checks.
pub(super) struct ReceiveRoutes {
    /// Set once the store is open.
    pub(super) endpoints: OnceLock<HashMap<String, Arc<ServedEndpoint>>>,
    pub(super) health: Arc<Health>,
    pub(super) strays: Strays,
}

impl ReceiveRoutes {
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let mut response = match self.health.answer(request.method(), request.uri().path()) {
            Some(response) => response,
            None => self.answer_endpoint(request).await,
        };
        if self.health.is_in(Phase::Ending) {
            // The client must open a new connection for the next delivery, which a load balancer routes elsewhere.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn answer_endpoint(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let Some(endpoints) = self.endpoints.get() else {
            let mut response = empty(StatusCode::SERVICE_UNAVAILABLE);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            return response;
        };
        match endpoints.get(request.uri().path()) {
            Some(endpoint) => endpoint.clone().answer(request).await,
            None => {
                self.strays.unknown_path(request.uri().path(), endpoints.keys().map(String::as_str));
                empty(StatusCode::NOT_FOUND)
            }
        }
    }
}
