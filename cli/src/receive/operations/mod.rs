//! The operations address: health checks, metrics, and the operator's page.
//!
//! - `access`: who may see the page: its token, sessions, and the checks of each request
//! - `in_memory`: the page without a receiver, for `tests/properties`
//! - `observed`: what the page shows: recent deliveries, their history, and the state of endpoints and inbox
//! - `page`: the page as HTML
//! - `start`: starts to serve the address
//! - `views`: answers the requests for the page

mod access;
mod in_memory;
pub(in crate::receive) mod observed;
mod page;
mod start;
mod views;

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use medhook::Bytes;

pub(in crate::receive) use self::access::{Access, FEWEST_CHARACTERS, LONGEST_TOKEN, PageHosts, SHORTEST_TOKEN};
use self::access::{Caching, protected, strict};
pub use self::in_memory::PageServer;
pub(in crate::receive) use self::start::{OPERATIONS, OperationsStart};
pub(in crate::receive) use self::views::Page;
use super::budget::Budget;
use super::health::Health;
use super::metrics::Metrics;
use crate::malformed::Malformed;
use crate::server::empty;

/// The services of the operations address.
pub(in crate::receive) struct Operations {
    pub(in crate::receive) health: Arc<Health>,
    pub(in crate::receive) metrics: Arc<Metrics>,
    /// Served with a token only.
    pub(in crate::receive) page: Option<Page>,
    /// Requests that the server rejected itself.
    malformed: Budget<Malformed>,
}

impl Operations {
    pub(in crate::receive) fn new(health: Arc<Health>, metrics: Arc<Metrics>, page: Option<Page>) -> Self {
        Operations { health, metrics, page, malformed: Budget::default() }
    }

    /// Answers a request. Health checks and metrics need neither a session nor a certain host: probes and Prometheus
    /// have none.
    pub(in crate::receive) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (uri, headers) = (request.uri(), request.headers());
        let is_strict = self.page.as_ref().is_some_and(|page| page.is_strict(uri, headers));
        let response = self.answer_of(request).await;
        if is_strict { strict(response) } else { response }
    }

    async fn answer_of(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (method, path) = (request.method(), request.uri().path());
        if let Some(response) = self.health.answer(method, path) {
            return protected(response, Caching::Never);
        }
        if let Some(response) = self.metrics.answer(method, path, &self.health).await {
            return protected(response, Caching::Never);
        }
        match &self.page {
            Some(page) => page.answer(request).await,
            None => protected(empty(StatusCode::NOT_FOUND), Caching::Never),
        }
    }

    /// Counts a request that the server answered itself.
    pub(super) fn malformed(&self, malformed: Malformed) {
        if self.malformed.spend(&malformed) {
            log_malformed(malformed, 1);
        }
    }

    /// Logs what was counted and is due, or all of it at the end of the process.
    pub(in crate::receive) fn log_counts(&self, is_end: bool) {
        let malformed = if is_end { self.malformed.rest() } else { self.malformed.due() };
        malformed.into_iter().for_each(|(malformed, count)| log_malformed(malformed, count));
        if let Some(page) = &self.page {
            page.log_counts(is_end);
        }
    }
}

fn log_malformed(malformed: Malformed, count: u64) {
    let (status, cause) = (malformed.status(), malformed.cause());
    tracing::warn!(count, status, "malformed requests to the operations address rejected; {cause}");
}
