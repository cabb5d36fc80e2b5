//! The worker of an endpoint with an inbox: it forwards stored events to the application, and reports each attempt.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body_util::Full;
use jiff::Timestamp;
use medhook::{AttemptOutcome, AttemptReport, Bytes, ConfigError, Delivery, Handled, Worker};
use tower_service::Service;

use super::config::InboxConfig;
use super::endpoint::ServedEndpoint;
use super::forward::content_type;
use super::notes::HandlerNotes;
use super::report::{ReportedAttempt, ReportedOutcome};

impl ServedEndpoint {
    /// Builds the worker of this endpoint, which must have an inbox.
    pub(super) fn worker(self: &Arc<Self>, config: &InboxConfig) -> Result<Worker, ConfigError> {
        let mut builder = Worker::builder(&self.receiver)
            .retry(config.retry.clone())
            .workers(config.workers)
            .retain_done(config.retain_done);
        if let Some(time) = config.retain_dead {
            builder = builder.retain_dead(time);
        }
        let endpoint = self.clone();
        builder.on_attempt(move |report| endpoint.attempted(report)).service::<Full<Bytes>, _>(Attempts(self.clone()))
    }

    /// Sends a stored event to the application.
    async fn attempt(&self, request: &Request<Full<Bytes>>) -> Handled {
        let (Some(delivery), Some(application)) = (request.extensions().get::<Delivery>(), &self.application) else {
            // A worker passes the delivery, and an endpoint with an inbox has an application.
            return Handled::retry();
        };
        let notes = Arc::<HandlerNotes>::default();
        if let Some(token) = delivery.claim_token() {
            self.attempts.begin(token, notes.clone());
        }
        let content_type = content_type(request.headers());
        self.forward(application, delivery, content_type, &notes).await.into()
    }

    /// Writes the line of an attempt that has ended.
    fn attempted(&self, report: &AttemptReport<'_>) {
        let token = report.delivery.and_then(Delivery::claim_token);
        let notes = token.and_then(|token| self.attempts.end(token)).unwrap_or_default();
        let is_unfinished = match report.outcome {
            AttemptOutcome::Retry { reason, .. } => reason == "canceled",
            AttemptOutcome::Done | AttemptOutcome::Dead { .. } => false,
            _ => true,
        };
        if is_unfinished {
            self.attempts.count_unfinished();
        }
        if let Some(attempt) = ReportedAttempt::new(report, Timestamp::now()) {
            self.report(ReportedOutcome::Attempted(attempt), report.delivery, &notes);
        }
    }
}

/// The handler of a worker. A service gets the content type, which a closure does not.
#[derive(Clone)]
struct Attempts(Arc<ServedEndpoint>);

impl Service<Request<Full<Bytes>>> for Attempts {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let endpoint = self.0.clone();
        Box::pin(async move {
            let mut response = Response::new(());
            response.extensions_mut().insert(endpoint.attempt(&request).await);
            Ok(response)
        })
    }
}
