//! The application behind the receiver: one handler for each endpoint, which counts its calls and does as it is told.

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

use super::patience::within;
use super::seen::Call;
use crate::failure::Failure;
use crate::read::DecodeOutcome;

/// A handler. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Handler {
    board: Arc<watch::Sender<Board>>,
}

/// What the handler is to do in a step, and what it has done.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// The step. A handler that an earlier one has left behind must not write here.
    step: u64,
    conduct: Conduct,
    /// How many calls have begun.
    pub(super) begun: usize,
    /// The calls that have ended.
    pub(super) calls: Vec<Call>,
}

/// What the handler is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Conduct {
    /// Answer 200.
    #[default]
    Succeed,
    /// Answer 500 once, then 200.
    FailOnce,
    /// Wait to be let go, then answer 200.
    Wait,
}

impl Handler {
    /// Begins a step: nothing has been called yet.
    pub(super) fn begin(&self, conduct: Conduct) {
        self.board.send_modify(|board| {
            *board = Board { step: board.step.saturating_add(1), conduct, ..Board::default() };
        });
    }

    /// Lets go what waits, and what comes.
    pub(super) fn let_go(&self) {
        self.board.send_modify(|board| board.conduct = Conduct::Succeed);
    }

    /// What has been done in this step, and every change of it.
    pub(super) fn watch(&self) -> watch::Receiver<Board> {
        self.board.subscribe()
    }

    /// Waits until so much has been done.
    pub(super) async fn wait_for(&self, what: &str, done: impl FnMut(&Board) -> bool) -> Result<(), Failure> {
        let mut board = self.watch();
        within(what, board.wait_for(done)).await?.map_err(|_| Failure::new("no handler"))?;
        Ok(())
    }

    /// The calls of this step that have ended.
    pub(super) fn calls(&self) -> Vec<Call> {
        self.board.borrow().calls.clone()
    }

    async fn handle(&self, delivery: &Delivery) -> StatusCode {
        let mut step = 0;
        self.board.send_modify(|board| {
            step = board.step;
            board.begun = board.begun.saturating_add(1);
        });
        // Its sender lives in `self`.
        let let_go = |board: &Board| board.step != step || board.conduct != Conduct::Wait;
        let _ = self.watch().wait_for(let_go).await;

        let call = Call {
            kind: delivery.kind().map(Into::into),
            read: DecodeOutcome::of(delivery),
            secret: delivery.secret_label().to_owned(),
        };
        let mut status = StatusCode::OK;
        self.board.send_modify(|board| {
            if board.step == step {
                board.calls.push(call);
                if board.conduct == Conduct::FailOnce {
                    board.conduct = Conduct::Succeed;
                    status = StatusCode::INTERNAL_SERVER_ERROR;
                }
            }
        });
        status
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
            let status = match request.extensions().get() {
                Some(delivery) => handler.handle(delivery).await,
                // Without its layer: never an open door.
                None => StatusCode::INTERNAL_SERVER_ERROR,
            };
            let mut response = Response::new(Full::default());
            *response.status_mut() = status;
            Ok(response)
        })
    }
}
