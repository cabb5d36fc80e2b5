//! What an endpoint does with a delivery, from the request to the answer.

use std::sync::{Arc, OnceLock};

use futures_util::TryStreamExt;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyDataStream, Full};
use hyper::body::Incoming;
use medhook::registry::Decoding;
use medhook::sign::Signer;
use medhook::{Admitted, Bytes, Delivery, Reason, Received, Receiver, Rejection, Reply, RequestHead, detached};

use super::budget::Budget;
use super::forward::{ForwardAnswer, ForwardUrl, Forwarder};
use super::printer::Printer;
use super::provider::Classify;
use super::report::{DeliveryReport, ReportedOutcome, Style};
use crate::server::empty;

/// A receiver at its path.
pub(super) struct ServedEndpoint {
    pub(super) path: String,
    pub(super) receiver: Receiver,
    pub(super) read: Classify,
    pub(super) application: Option<Application>,
    pub(super) output: Printer,
    pub(super) style: Style,
    /// Of lines about deliveries whose origin was not verified.
    pub(super) budget: Budget,
}

/// Who handles an endpoint's events.
pub(super) struct Application {
    pub(super) forwarder: Forwarder,
    pub(super) target: ForwardUrl,
    pub(super) signer: Option<Signer>,
}

/// What the handler found out, for the report.
#[derive(Debug, Default)]
struct Found {
    read: OnceLock<Decoding>,
    upstream: OnceLock<ForwardAnswer>,
    /// The line is written.
    told: OnceLock<()>,
}

impl ServedEndpoint {
    /// Answers a request. All up to the proof is done in the connection's own task: whoever hangs up there has lost
    /// nothing. From then on it is detached.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let pieces = BodyDataStream::new(body).map_ok(Bytes::from);
        let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let request = RequestHead::new(head.method.as_str(), target, &head.headers);
        let delivery = match self.receiver.receive(&request, pieces).await {
            Ok(Received::Delivery(delivery)) => delivery,
            Ok(Received::Reply(reply)) => return replied(*reply),
            Err(rejection) if rejection.is_verified() => return self.rejected(&rejection, None, &Found::default()),
            Err(rejection) => return self.unverified(&rejection),
        };
        let content_type = head.headers.get(header::CONTENT_TYPE).cloned();
        match self.receiver.admit(delivery.clone()) {
            Ok(admitted) => detached(self.handled(admitted, content_type), tokio::spawn)
                .await
                // The runtime is shutting down: not handled, as far as we know.
                .unwrap_or_else(|| empty(StatusCode::INTERNAL_SERVER_ERROR)),
            Err(rejection) => self.rejected(&rejection, Some(&delivery), &Found::default()),
        }
    }

    async fn handled(self: Arc<Self>, admitted: Admitted, content_type: Option<HeaderValue>) -> Response<Full<Bytes>> {
        let delivery = admitted.delivery().clone();
        let found = Found::default();
        let ran = admitted.run(self.handle(&delivery, content_type, &found), StatusCode::is_success).await;
        match ran {
            Ok(status) => {
                if found.told.get().is_none() {
                    self.mention(ReportedOutcome::Answered(status), Some(&delivery), &found);
                }
                empty(status)
            }
            Err(rejection) => self.rejected(&rejection, Some(&delivery), &found),
        }
    }

    /// The handler: the application is asked or, where there is none, the fact is told. Told is what was written.
    async fn handle(&self, delivery: &Delivery, content_type: Option<HeaderValue>, found: &Found) -> StatusCode {
        found.read.get_or_init(|| (self.read)(delivery));
        if let Some(Application { forwarder, target, signer }) = &self.application {
            let answer = forwarder.send(target, signer.as_ref(), delivery, content_type).await;
            found.upstream.get_or_init(|| answer);
            return answer.status();
        }
        let line = self.line(ReportedOutcome::Answered(StatusCode::OK), Some(delivery), found);
        if self.output.write(line).await {
            found.told.get_or_init(|| ());
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }

    /// Rejects what anyone can send: its lines have a budget.
    fn unverified(&self, rejection: &Rejection) -> Response<Full<Bytes>> {
        if self.budget.spend(rejection.reason()) {
            return self.rejected(rejection, None, &Found::default());
        }
        answer(rejection)
    }

    /// Reports the rejections that were only counted: those that are due, or at the end all.
    pub(super) fn report_counts(&self, counts: Vec<(Reason, u64)>) {
        for (reason, count) in counts {
            let line = self.line(ReportedOutcome::Counted(reason, count), None, &Found::default());
            if self.output.is_failing() || !self.output.mention(line) {
                self.budget.put_back(reason, count);
            }
        }
    }

    fn rejected(&self, rejection: &Rejection, delivery: Option<&Delivery>, found: &Found) -> Response<Full<Bytes>> {
        self.mention(ReportedOutcome::rejected(rejection), delivery, found);
        answer(rejection)
    }

    fn mention(&self, became: ReportedOutcome, delivery: Option<&Delivery>, found: &Found) {
        self.output.mention(self.line(became, delivery, found));
    }

    fn line(&self, became: ReportedOutcome, delivery: Option<&Delivery>, found: &Found) -> String {
        self.style.line(&DeliveryReport {
            endpoint: self.receiver.name(),
            path: &self.path,
            provider: self.receiver.provider(),
            became,
            delivery,
            read: found.read.get().copied(),
            upstream: found.upstream.get().copied(),
        })
    }
}

fn replied(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

/// The status of a rejection and the header that belongs to it. The reason is ours to know.
fn answer(rejection: &Rejection) -> Response<Full<Bytes>> {
    let mut response = empty(rejection.status());
    if let Some((name, value)) = rejection.header() {
        response.headers_mut().insert(name, value);
    }
    response
}
