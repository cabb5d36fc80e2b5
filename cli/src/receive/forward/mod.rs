//! Forwards events to the application, in a new request with the verified body. Of the sender's headers only the
//! content type is passed on.
//!
//! The status of the application becomes the answer at once. The body of its answer is read in the background up to a
//! limit, so that the connection can be reused, and discarded.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod address;
mod answer;
mod headers;
mod target;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::Error;
use medhook::sign::Signer;
use medhook::{Delivery, Handled};
use tokio::sync::Semaphore;

pub(super) use self::address::ForwardAddress;
pub(super) use self::answer::ForwardAnswer;
use self::answer::GiveUpCodes;
pub(super) use self::headers::content_type;
use self::headers::headers;
pub(super) use self::target::ForwardUrl;
use super::connector::{ConnectFailure, Traffic, timed_out};

/// Returns the status for the sender, its wait in seconds, and the result for an inbox, of an application's answer. For
/// `tests/properties`.
pub(crate) fn application_answer(status: StatusCode, headers: &HeaderMap) -> (StatusCode, Option<u32>, Handled) {
    let answer = ForwardAnswer::read(status, headers, &GiveUpCodes::default());
    (answer.status(), answer.retry_after(), answer.into())
}

/// Sends events to applications.
#[derive(Debug, Clone)]
pub(super) struct Forwarder {
    /// Permits for reading bodies of answers in the background.
    body_reads: Arc<Semaphore>,
}

impl Forwarder {
    pub(super) fn new() -> Self {
        Forwarder { body_reads: Arc::new(Semaphore::new(BODY_READS)) }
    }

    /// Sends an event and waits for the answer. The caller sets the timeout.
    pub(super) async fn send(
        &self,
        to: &ForwardUrl,
        signer: Option<&Signer>,
        delivery: &Delivery,
        content_type: Option<HeaderValue>,
    ) -> ForwardAnswer {
        // This cannot fail: every id and time that is signed is valid.
        let Ok(headers) = headers(delivery, content_type, signer) else {
            return ForwardAnswer::Failed;
        };
        let mut request = Request::new(Full::new(delivery.body().clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = to.uri().clone();
        *request.headers_mut() = headers;
        match to.send(request).await {
            Ok(response) => {
                if let Some(traffic) = response.extensions().get::<Traffic>() {
                    traffic.answered();
                }
                let (head, body) = response.into_parts();
                self.drop_body(body);
                ForwardAnswer::read(head.status, &head.headers, to.codes())
            }
            Err(error) => failed(to, &error),
        }
    }

    /// Reads the body of an answer in the background, so that its connection can be reused. The connection is closed
    /// instead if the body is too long or too slow, or if too many are being read.
    fn drop_body(&self, body: Incoming) {
        if body.is_end_stream() {
            return;
        }
        if let Ok(permit) = self.body_reads.clone().try_acquire_owned() {
            tokio::spawn(async move {
                let rest = Limited::new(body, LONGEST_ANSWER).collect();
                let _ = tokio::time::timeout(BODY_TIMEOUT, rest).await;
                drop(permit);
            });
        }
    }
}

/// Returns the kind of failure, and logs its cause if only the operator can remove it.
fn failed(to: &ForwardUrl, error: &Error) -> ForwardAnswer {
    let failure = ConnectFailure::of_error(error);
    if let Some(failure) = &failure {
        to.warn(failure);
    }
    match failure {
        Some(ConnectFailure::Tls(_)) => ForwardAnswer::TlsFailed,
        Some(ConnectFailure::Denied) => ForwardAnswer::NotReached,
        None if timed_out(error) => ForwardAnswer::TimedOut,
        None if error.is_connect() => ForwardAnswer::NotReached,
        None => ForwardAnswer::Failed,
    }
}

/// The most answers whose bodies are read at the same time.
const BODY_READS: usize = 64;

/// The limits for reading the body of an answer. The connection is closed when one is exceeded.
const LONGEST_ANSWER: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
