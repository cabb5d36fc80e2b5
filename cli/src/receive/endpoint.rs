//! Handles the deliveries of an endpoint, from the request to the answer.

use std::sync::{Arc, OnceLock};

use futures_util::TryStreamExt;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyDataStream, Full};
use hyper::body::Incoming;
use medhook::registry::Decoding;
use medhook::sign::Signer;
use medhook::{Admitted, Bytes, Delivery, Received, Receiver, Rejection, Reply, RequestHead, detached};

use super::budget::Budget;
use super::forward::{ForwardAnswer, ForwardUrl, Forwarder};
use super::printer::Printer;
use super::provider::Classify;
use super::report::{DeliveryReport, RejectionCause, ReportedOutcome, Style};
use crate::server::empty;

/// An endpoint that receives deliveries.
pub(super) struct ServedEndpoint {
    pub(super) path: String,
    pub(super) receiver: Receiver,
    pub(super) classify: Classify,
    pub(super) application: Option<Application>,
    pub(super) output: Printer,
    pub(super) style: Style,
    /// Limits the lines about unverified deliveries.
    pub(super) budget: Budget<RejectionCause>,
}

/// The application that handles the events of an endpoint.
pub(super) struct Application {
    pub(super) forwarder: Forwarder,
    pub(super) target: ForwardUrl,
    pub(super) signer: Option<Signer>,
}

/// The results of the handler, for the report.
#[derive(Debug, Default)]
struct HandlerNotes {
    decoding: OnceLock<Decoding>,
    upstream: OnceLock<ForwardAnswer>,
    /// Set once the line has been written.
    reported: OnceLock<()>,
}

impl ServedEndpoint {
    /// Answers a request. Verification runs in the task of the connection, and stops if the client disconnects. A
    /// verified delivery is handled in a detached task.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let pieces = BodyDataStream::new(body).map_ok(Bytes::from);
        let target = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let request = RequestHead::new(head.method.as_str(), target, &head.headers);
        let delivery = match self.receiver.receive(&request, pieces).await {
            Ok(Received::Delivery(delivery)) => delivery,
            Ok(Received::Reply(reply)) => return replied(*reply),
            Err(rejection) if rejection.is_verified() => {
                return self.rejected(&rejection, None, &HandlerNotes::default());
            }
            Err(rejection) => return self.unverified(&rejection),
        };
        let content_type = head.headers.get(header::CONTENT_TYPE).cloned();
        match self.receiver.admit(delivery.clone()) {
            Ok(admitted) => detached(self.handled(admitted, content_type), tokio::spawn)
                .await
                // The runtime is shutting down, so the delivery may not have been handled.
                .unwrap_or_else(|| empty(StatusCode::INTERNAL_SERVER_ERROR)),
            Err(rejection) => self.rejected(&rejection, Some(&delivery), &HandlerNotes::default()),
        }
    }

    async fn handled(self: Arc<Self>, admitted: Admitted, content_type: Option<HeaderValue>) -> Response<Full<Bytes>> {
        let delivery = admitted.delivery().clone();
        let notes = HandlerNotes::default();
        let ran = admitted.run(self.handle(&delivery, content_type, &notes), |status| *status).await;
        match ran {
            Ok(status) => {
                if notes.reported.get().is_none() {
                    self.report(ReportedOutcome::Answered(status), Some(&delivery), &notes);
                }
                empty(status)
            }
            Err(rejection) => self.rejected(&rejection, Some(&delivery), &notes),
        }
    }

    /// The handler: forwards the event, or writes its line if there is no application. Returns the status of the
    /// answer.
    async fn handle(&self, delivery: &Delivery, content_type: Option<HeaderValue>, notes: &HandlerNotes) -> StatusCode {
        notes.decoding.get_or_init(|| (self.classify)(delivery));
        if let Some(Application { forwarder, target, signer }) = &self.application {
            let answer = forwarder.send(target, signer.as_ref(), delivery, content_type).await;
            notes.upstream.get_or_init(|| answer);
            return answer.status();
        }
        let line = self.line(ReportedOutcome::Answered(StatusCode::OK), Some(delivery), notes);
        if self.output.write(line).await {
            notes.reported.get_or_init(|| ());
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }

    /// Rejects an unverified delivery, and reports it within the budget.
    fn unverified(&self, rejection: &Rejection) -> Response<Full<Bytes>> {
        if self.budget.spend(&RejectionCause::of(rejection)) {
            return self.rejected(rejection, None, &HandlerNotes::default());
        }
        answer(rejection)
    }

    /// Reports rejections that were only counted.
    pub(super) fn report_counts(&self, counts: Vec<(RejectionCause, u64)>) {
        for (cause, count) in counts {
            let line = self.line(ReportedOutcome::Counted(cause.clone(), count), None, &HandlerNotes::default());
            if self.output.is_failing() || !self.output.try_write(line) {
                self.budget.put_back(&cause, count);
            }
        }
    }

    fn rejected(
        &self,
        rejection: &Rejection,
        delivery: Option<&Delivery>,
        notes: &HandlerNotes,
    ) -> Response<Full<Bytes>> {
        self.report(ReportedOutcome::rejected(rejection), delivery, notes);
        answer(rejection)
    }

    fn report(&self, result: ReportedOutcome, delivery: Option<&Delivery>, notes: &HandlerNotes) {
        self.output.try_write(self.line(result, delivery, notes));
    }

    fn line(&self, result: ReportedOutcome, delivery: Option<&Delivery>, notes: &HandlerNotes) -> String {
        self.style.line(&DeliveryReport {
            time: jiff::Timestamp::now(),
            endpoint: self.receiver.name(),
            path: &self.path,
            provider: self.receiver.provider(),
            result,
            delivery,
            decoding: notes.decoding.get().copied(),
            upstream: notes.upstream.get().copied(),
        })
    }
}

fn replied(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

/// Answers a rejection with its status and its header, without the reason.
fn answer(rejection: &Rejection) -> Response<Full<Bytes>> {
    let mut response = empty(rejection.status());
    if let Some((name, value)) = rejection.header() {
        response.headers_mut().insert(name, value);
    }
    response
}
