//! Handles the deliveries of an endpoint, from the request to the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures_util::TryStreamExt;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyDataStream, Full};
use hyper::body::Incoming;
use medhook::{
    Admitted, Bytes, Delivery, Outcome, Reason, Received, Receiver, Rejection, Reply, RequestHead, detached,
};

use super::addresses::{ADDRESS_NOT_ALLOWED, AllowedNetworks};
use super::budget::Budget;
use super::forward::{ForwardAnswer, ForwardUrl, Forwarder, content_type};
use super::health::StoreHealth;
use super::notes::{HandlerNotes, RunningAttempts};
use super::operations::observed::ObservedEndpoint;
use super::printer::Printer;
use super::provider::Classify;
use super::report::{DeliveryReport, RejectionCause, ReportedOutcome, Style};
use super::shared_signer::SharedSigner;
use crate::server::empty;

/// An endpoint that receives deliveries.
pub(super) struct ServedEndpoint {
    pub(super) path: String,
    pub(super) receiver: Receiver,
    pub(super) classify: Classify,
    pub(super) application: Option<Application>,
    pub(super) output: Printer,
    pub(super) style: Style,
    /// The networks that deliveries are accepted from. `None`: all.
    pub(super) allow_from: Option<AllowedNetworks>,
    /// Limits the lines about unverified deliveries.
    pub(super) budget: Budget<RejectionCause>,
    pub(super) attempts: RunningAttempts,
    /// Records whether events could be stored. Set if the endpoint has an inbox, whose store is not watched otherwise.
    pub(super) storing: Option<StoreHealth>,
    /// The number of deliveries that a shutdown has canceled, if the endpoint has an inbox.
    pub(super) canceled: AtomicUsize,
    /// Records what the operator's page shows, if there is one.
    pub(super) observed: Option<Arc<ObservedEndpoint>>,
}

/// The application that handles the events of an endpoint.
pub(super) struct Application {
    pub(super) forwarder: Forwarder,
    pub(super) target: ForwardUrl,
    pub(super) signer: Option<SharedSigner>,
}

impl ServedEndpoint {
    /// Answers a request. Verification runs in the task of the connection, and stops if the client disconnects. A
    /// verified delivery is handled in a detached task.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let began = self.observed.is_some().then(Instant::now);
        let (head, body) = request.into_parts();
        if let Some(networks) = &self.allow_from
            && !networks.allow(head.extensions.get())
        {
            return self.address_rejected(networks);
        }
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
        let content_type = content_type(&head.headers);
        match self.receiver.admit(delivery.clone()) {
            Ok(admitted) => detached(self.timed(began, admitted, content_type), tokio::spawn)
                .await
                // The runtime is shutting down, so the delivery may not have been handled.
                .unwrap_or_else(|| empty(StatusCode::INTERNAL_SERVER_ERROR)),
            Err(rejection) => self.rejected(&rejection, Some(&delivery), &HandlerNotes::default()),
        }
    }

    /// Handles a delivery, and records the time since it began to arrive.
    async fn timed(
        self: Arc<Self>,
        began: Option<Instant>,
        admitted: Admitted,
        content_type: Option<HeaderValue>,
    ) -> Response<Full<Bytes>> {
        let response = self.handled(admitted, content_type).await;
        if let (Some(observed), Some(began)) = (&self.observed, began) {
            observed.answered_within(began.elapsed());
        }
        response
    }

    async fn handled(&self, admitted: Admitted, content_type: Option<HeaderValue>) -> Response<Full<Bytes>> {
        let delivery = admitted.delivery().clone();
        let notes = HandlerNotes::default();
        let ran = admitted.run(self.handle(&delivery, content_type, &notes), |status| *status).await;
        self.record_storing(&ran);
        match ran {
            Ok(status) => {
                let answered = ReportedOutcome::Answered(status);
                match notes.reported.get() {
                    None => self.report(answered, Some(&delivery), &notes),
                    Some(()) => self.observe(&self.facts(answered, Some(&delivery), &notes)),
                }
                let mut response = empty(status);
                if let Some(seconds) = notes.upstream.get().and_then(ForwardAnswer::retry_after) {
                    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
                }
                response
            }
            Err(rejection) => {
                if rejection.reason() == Reason::HandlerCanceled && self.storing.is_some() {
                    self.canceled.fetch_add(1, Ordering::SeqCst);
                }
                self.rejected(&rejection, Some(&delivery), &notes)
            }
        }
    }

    /// Records whether the store worked. A handler of an endpoint with an inbox only runs if it did not.
    fn record_storing(&self, ran: &Result<StatusCode, Rejection>) {
        let Some(storing) = &self.storing else { return };
        match ran.as_ref().map_err(Rejection::reason) {
            Ok(_) | Err(Reason::StoreUnavailable | Reason::StoreFull) => storing.record(false),
            Err(Reason::Stored | Reason::Duplicate | Reason::InFlight | Reason::RepeatLimit) => storing.record(true),
            Err(_) => {}
        }
    }

    /// The handler: forwards the event, or writes its line if there is no application. Returns the status of the
    /// answer.
    async fn handle(&self, delivery: &Delivery, content_type: Option<HeaderValue>, notes: &HandlerNotes) -> StatusCode {
        if let Some(application) = &self.application {
            return self.forward(application, delivery, content_type, notes).await.status();
        }
        notes.decoding.get_or_init(|| (self.classify)(delivery));
        let line = self.style.line(&self.facts(ReportedOutcome::Answered(StatusCode::OK), Some(delivery), notes));
        if self.output.write(line).await {
            notes.reported.get_or_init(|| ());
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }

    /// Sends an event to the application.
    pub(super) async fn forward(
        &self,
        Application { forwarder, target, signer }: &Application,
        delivery: &Delivery,
        content_type: Option<HeaderValue>,
        notes: &HandlerNotes,
    ) -> ForwardAnswer {
        notes.decoding.get_or_init(|| (self.classify)(delivery));
        let signer = signer.as_ref().map(SharedSigner::current);
        let answer = forwarder.send(target, signer.as_ref(), delivery, content_type).await;
        notes.upstream.get_or_init(|| answer).clone()
    }

    /// Rejects an unverified delivery, and reports it within the budget.
    fn unverified(&self, rejection: &Rejection) -> Response<Full<Bytes>> {
        if self.budget.spend(&RejectionCause::of(rejection)) {
            return self.rejected(rejection, None, &HandlerNotes::default());
        }
        self.count_unreported();
        answer(rejection)
    }

    /// Counts a rejection that is reported together with others later.
    fn count_unreported(&self) {
        if let Some(observed) = &self.observed {
            observed.rejected();
        }
    }

    /// Rejects a request from an address that is not in `allow_from`, before its body is read. Logs, reports and counts
    /// it as the library does with other unverified deliveries.
    fn address_rejected(&self, networks: &AllowedNetworks) -> Response<Full<Bytes>> {
        let (endpoint, provider) = (self.receiver.name(), self.receiver.provider());
        let labels = [
            ("endpoint", endpoint.to_owned()),
            ("provider", provider.to_owned()),
            ("kind", String::new()),
            ("outcome", Outcome::Rejected.as_str().to_owned()),
            ("reason", ADDRESS_NOT_ALLOWED.to_owned()),
        ];
        metrics::counter!("medhook_deliveries_total", &labels).increment(1);
        let cause = RejectionCause::address();
        if self.budget.spend(&cause) {
            networks.log(endpoint, provider, 1);
            let rejected = ReportedOutcome::Rejected { cause, status: StatusCode::FORBIDDEN, kind: None, secret: None };
            self.report(rejected, None, &HandlerNotes::default());
        } else {
            self.count_unreported();
        }
        empty(StatusCode::FORBIDDEN)
    }

    /// Reports rejections that were only counted.
    pub(super) fn report_counts(&self, counts: Vec<(RejectionCause, u64)>) {
        for (cause, count) in counts {
            if let Some(networks) = self.allow_from.as_ref().filter(|_| cause == RejectionCause::address()) {
                networks.log(self.receiver.name(), self.receiver.provider(), count);
            }
            let notes = HandlerNotes::default();
            let report = self.facts(ReportedOutcome::Counted(cause.clone(), count), None, &notes);
            if self.output.is_failing() || !self.output.try_write(self.style.line(&report)) {
                self.budget.put_back(&cause, count);
            } else {
                self.observe(&report);
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

    pub(super) fn report(&self, result: ReportedOutcome, delivery: Option<&Delivery>, notes: &HandlerNotes) {
        let report = self.facts(result, delivery, notes);
        self.observe(&report);
        self.output.try_write(self.style.line(&report));
    }

    /// Records what the operator's page shows.
    fn observe(&self, report: &DeliveryReport<'_>) {
        if let Some(observed) = &self.observed {
            observed.reported(report);
        }
    }

    fn facts<'r>(
        &'r self,
        result: ReportedOutcome,
        delivery: Option<&'r Delivery>,
        notes: &HandlerNotes,
    ) -> DeliveryReport<'r> {
        DeliveryReport {
            time: jiff::Timestamp::now(),
            endpoint: self.receiver.name(),
            path: &self.path,
            provider: self.receiver.provider(),
            result,
            delivery,
            decoding: notes.decoding.get().copied(),
            upstream: notes.upstream.get().cloned(),
        }
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
