//! Where a request's receiver comes from.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::request::Parts;
use medhook::{Receiver, Rejection};

use crate::head::request_head;

/// One receiver for all requests, or one for each of them.
#[derive(Clone)]
pub(crate) enum Source {
    One(Receiver),
    Select(Arc<Find>),
}

type Find = dyn Fn(&Parts) -> LookUp + Send + Sync;

/// It owns what it looks up, so it may outlive the head; what its error says is nobody's to hear.
type LookUp = Pin<Box<dyn Future<Output = Result<Option<Receiver>, ()>> + Send>>;

impl Source {
    pub(crate) fn select<F, R, E>(find: F) -> Self
    where
        F: Fn(&Parts) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<Receiver>, E>> + Send + 'static,
    {
        Source::Select(Arc::new(move |head| {
            let look_up = find(head);
            Box::pin(async move { look_up.await.map_err(drop) })
        }))
    }

    /// The receiver of a request.
    pub(crate) async fn receiver(self, head: &Parts) -> Result<Receiver, Rejection> {
        match self {
            Source::One(receiver) => Ok(receiver),
            Source::Select(find) => Receiver::select(&request_head(head), async { find(head).await }).await,
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::One(receiver) => receiver.fmt(f),
            Source::Select(_) => f.write_str("select(..)"),
        }
    }
}
