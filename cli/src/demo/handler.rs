//! The application behind the receiver: a handler that counts its calls and fails or waits on request.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use medhook::{Bytes, Delivery};
use tokio::sync::watch;
use tower_service::Service;

use crate::server::empty;

/// The handler of one endpoint. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Handler {
    board: Arc<watch::Sender<Board>>,
}

/// The instructions for the handler, and its calls so far.
#[derive(Debug, Default)]
struct Board {
    /// Whether the next call fails.
    fails: bool,
    /// The number of deliveries that must be in the handler or answered before a call ends.
    held_until: usize,
    /// The number of calls started plus deliveries answered since then.
    arrived: usize,
    handled: u64,
    last: Option<Delivery>,
}

impl Handler {
    /// Makes the next call fail.
    pub(super) fn fail_next(&self) {
        self.board.send_modify(|board| board.fails = true);
    }

    /// Lets no call end until this many deliveries are in the handler or answered.
    pub(super) fn hold_until(&self, deliveries: usize) {
        self.board.send_modify(|board| (board.held_until, board.arrived) = (deliveries, 0));
    }

    /// Notes that a delivery was answered.
    pub(super) fn answered(&self) {
        self.board.send_modify(|board| board.arrived += 1);
    }

    /// Returns how many deliveries were handled.
    pub(super) fn handled(&self) -> u64 {
        self.board.borrow().handled
    }

    /// Returns the delivery that was handled last.
    pub(super) fn last(&self) -> Option<Delivery> {
        self.board.borrow().last.clone()
    }

    async fn handle(&self, delivery: &Delivery) -> StatusCode {
        let mut fails = false;
        self.board.send_modify(|board| {
            fails = std::mem::take(&mut board.fails);
            board.arrived += 1;
        });
        if fails {
            return StatusCode::INTERNAL_SERVER_ERROR;
        }
        // The sender of the board lives in `self`.
        let _ = self.board.subscribe().wait_for(|board| board.arrived >= board.held_until).await;
        self.board.send_modify(|board| {
            board.handled += 1;
            board.last = Some(delivery.clone());
        });
        StatusCode::OK
    }
}

impl Service<Request<Full<Bytes>>> for Handler {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let handler = self.clone();
        Box::pin(async move {
            Ok(empty(match request.extensions().get() {
                Some(delivery) => handler.handle(delivery).await,
                // The route has no layer, so nothing verified the delivery.
                None => StatusCode::INTERNAL_SERVER_ERROR,
            }))
        })
    }
}
