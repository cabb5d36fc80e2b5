//! The handlers of workers: closures and tower services.

use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Uri};
use tower_service::Service;

use super::handled::Handled;
use crate::delivery::Delivery;
use crate::inbox::record::StoredHead;

/// The handler of a worker.
pub(super) trait Handler: Send + Sync {
    /// Begins an attempt. Called within the task of the attempt, so that a panic ends only that.
    fn attempt(&self, delivery: Delivery, head: StoredHead) -> Pin<Box<dyn Future<Output = Handled> + Send>>;
}

/// A closure.
pub(super) struct Closure<F>(pub(super) F);

impl<F, T> Handler for Closure<F>
where
    F: Fn(Delivery) -> T + Send + Sync,
    T: Future<Output: Into<Handled>> + Send + 'static,
{
    fn attempt(&self, delivery: Delivery, _: StoredHead) -> Pin<Box<dyn Future<Output = Handled> + Send>> {
        let handling = (self.0)(delivery);
        Box::pin(async move { handling.await.into() })
    }
}

/// A tower service. Each attempt calls a clone of it.
pub(super) struct Cloned<S, B> {
    service: Mutex<S>,
    body: PhantomData<fn(B)>,
}

impl<S, B> Cloned<S, B> {
    pub(super) fn new(service: S) -> Self {
        Cloned { service: Mutex::new(service), body: PhantomData }
    }
}

impl<S, B> Handler for Cloned<S, B>
where
    S: Service<Request<B>, Response: Into<Handled>, Future: Send> + Clone + Send + 'static,
    B: From<Bytes> + Send + 'static,
{
    fn attempt(&self, delivery: Delivery, head: StoredHead) -> Pin<Box<dyn Future<Output = Handled> + Send>> {
        let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            if poll_fn(|context| service.poll_ready(context)).await.is_err() {
                return Handled::retry();
            }
            let called = service.call(request(delivery, head));
            called.await.map_or_else(|_| Handled::retry(), Into::into)
        })
    }
}

/// Makes the request of an attempt: POST to the stored path, with the body and its content type, and the delivery in
/// the extensions. No other header of the provider's request is in it.
fn request<B: From<Bytes>>(delivery: Delivery, head: StoredHead) -> Request<B> {
    let mut request = Request::new(B::from(delivery.body().clone()));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = Uri::try_from(head.path).unwrap_or_else(|_| Uri::from_static("/"));
    if let Some(value) = head.content_type.and_then(|text| HeaderValue::try_from(text).ok()) {
        request.headers_mut().insert(CONTENT_TYPE, value);
    }
    request.extensions_mut().insert(delivery);
    request
}
