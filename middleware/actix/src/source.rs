//! Where a request's receiver comes from.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{Error, FromRequest, HttpRequest};
use medhook::{Receiver, Rejection, RequestHead};

use crate::head::{RequestHeaders, target};

/// One receiver for all requests, or one for each of them.
#[derive(Clone)]
pub(crate) enum Source {
    One(Receiver),
    Select(Arc<Find>),
}

type Find = dyn Fn(&HttpRequest) -> LookUp + Send + Sync;

/// What its error says is nobody's to hear.
type LookUp = Pin<Box<dyn Future<Output = Result<Option<Receiver>, ()>>>>;

impl Source {
    pub(crate) fn select<K, F, R, E>(find: F) -> Self
    where
        K: FromRequest + 'static,
        F: Fn(K) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<Receiver>, E>> + 'static,
    {
        let find = Arc::new(find);
        Source::Select(Arc::new(move |request| {
            let (key, find) = (K::from_request(request, &mut Payload::None), find.clone());
            Box::pin(async move {
                match key.await.map_err(Into::<Error>::into) {
                    Ok(key) => find(key).await.map_err(drop),
                    Err(error) if error.as_response_error().status_code().is_client_error() => Ok(None),
                    Err(_) => Err(()),
                }
            })
        }))
    }

    /// The receiver of a request. All that the look-up had of it is dropped by then.
    pub(crate) async fn receiver(self, request: &HttpRequest) -> Result<Receiver, Rejection> {
        match self {
            Source::One(receiver) => Ok(receiver),
            Source::Select(find) => {
                let look_up = async { find(request).await };
                let headers = RequestHeaders(request.headers());
                Receiver::select(&RequestHead::new(request.method().as_str(), target(request), &headers), look_up).await
            }
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
