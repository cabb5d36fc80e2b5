//! The operations address: health checks, metrics, and the operator's page.
//!
//! - `access`: who may see the page: its token, sessions, and the checks of each request
//! - `observed`: what the page shows: recent deliveries, their history, and the state of endpoints and inbox
//! - `page`: the page as HTML
//! - `start`: starts to serve the address
//! - `views`: answers the requests for the page

mod access;
pub(in crate::receive) mod observed;
mod page;
mod start;
mod views;

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use medhook::Bytes;

pub(in crate::receive) use self::access::{Access, PageHosts, SHORTEST_TOKEN};
pub(in crate::receive) use self::start::{OPERATIONS, OperationsStart};
pub(in crate::receive) use self::views::Page;
use super::health::Health;
use super::metrics::Metrics;
use crate::server::empty;

/// The services of the operations address.
pub(in crate::receive) struct Operations {
    pub(in crate::receive) health: Arc<Health>,
    pub(in crate::receive) metrics: Arc<Metrics>,
    /// Served with a token only.
    pub(in crate::receive) page: Option<Page>,
}

impl Operations {
    /// Answers a request. Health checks and metrics need neither a session nor a certain host: probes and Prometheus
    /// have none.
    pub(in crate::receive) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (method, path) = (request.method(), request.uri().path());
        let answered = self.health.answer(method, path);
        if let Some(response) = answered.or_else(|| self.metrics.answer(method, path, &self.health)) {
            return response;
        }
        match &self.page {
            Some(page) => page.answer(request).await,
            None => empty(StatusCode::NOT_FOUND),
        }
    }
}
