//! A [tower](https://docs.rs/tower) layer that receives webhooks from health-tech providers safely.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use medhook_tower::{Bytes, Delivery, HealthSync, MemoryStore, Receiver, Secret};
//! use medhook_tower::{VerifyLayer, healthsync, testing};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! type Body = Full<Bytes>;
//!
//! async fn on_event(request: Request<Body>) -> Result<Response<Body>, Infallible> {
//!     let delivery = request.extensions().get::<Delivery>();
//!     let status = match delivery.map(|delivery| delivery.decode()) {
//!         Some(Ok(healthsync::Event::DocumentUploaded(_))) => StatusCode::ACCEPTED,
//!         Some(Ok(_)) => StatusCode::OK,
//!         // The layer is missing, or its receiver is for another provider.
//!         Some(Err(_)) | None => StatusCode::INTERNAL_SERVER_ERROR,
//!     };
//!     let mut response = Response::new(Body::default());
//!     *response.status_mut() = status;
//!     Ok(response)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secret = "a-secret-of-the-dashboard";
//! let receiver = Receiver::builder("healthsync", HealthSync::new(Secret::new(secret)?))
//!     .store(MemoryStore::new(10_000))
//!     .build()?;
//! let layer = VerifyLayer::new(receiver);
//! let service = ServiceBuilder::new().layer(layer).service(service_fn(on_event));
//!
//! let sample = testing::healthsync("document.uploaded").secret(secret);
//! let genuine = sample.request("/").map(Full::new);
//! assert_eq!(service.clone().oneshot(genuine).await?.status(), StatusCode::ACCEPTED);
//!
//! let forged = sample.request("/").map(|_| Body::from("{}"));
//! assert_eq!(service.oneshot(forged).await?.status(), StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```
//!
//! All items of [`medhook`], such as providers, stores and [`Receiver`], are re-exported here.
//!
//! # Verification
//!
//! A request reaches the inner service only if all of these conditions hold:
//!
//! 1. It is a `POST` whose body is complete, has no content encoding, and is within the body limit.
//! 2. Its signature is valid and, for providers whose age is checked, its time is within the freshness window.
//! 3. Its event has not been handled, and no other delivery of it is being handled.
//!
//! The inner service receives the request with its body, and finds the [`Delivery`] in the request's extensions.
//! Without the layer nothing is verified, and an inner service that reads only the body handles requests of **any
//! caller**: answer 500 if there is no `Delivery`, as above, and read [`Delivery::body`].
//!
//! A 2xx from the inner service commits the event. Any other status, an error or a panic releases it, so the provider's
//! retry will be handled. Only the status counts: an error in a streamed response body cannot release the event. The
//! inner service runs [`detached`]: it runs to completion even if the client disconnects.
//!
//! # Rejections
//!
//! A rejection has an empty body. A 503 also has `Retry-After`, a 405 `Allow`, and a 415 `Accept-Encoding: identity`.
//!
//! | status | meaning |
//! |---|---|
//! | 200 | a duplicate, or a test event that a live secret verified; with an inbox also a stored event, or another 2xx (`ack_status`) |
//! | 400, 408, 413 | the body was incomplete, too slow or too large |
//! | 401 | the signature is missing or invalid, the time is missing or outside the freshness window, or the tenant is unknown |
//! | 405, 415 | the method is not `POST`, or the body is encoded |
//! | 500, 504 | the handler panicked or timed out |
//! | 503 | the event is being handled, the receiver is overloaded or shutting down, the store is unavailable or full, the tenant lookup failed, or a test secret verified an event that is not a test event; the provider should retry |
//!
//! The [`Reason`] and the [`Outcome`] are in the extensions of the response, so that outer layers can log them. They
//! are not sent to the client.
//!
//! # Guides
//!
//! - [`guide::tenants`]: one receiver for each tenant, with [`VerifyLayer::per_tenant`]
//! - [`guide::inbox`]: storing events before they are handled
//! - [`guide::schemes`] and [`guide::handshakes`]: providers that are not built in
//! - [`guide::rotation`]: replacing secrets without a restart
//! - [`guide::proxies`]: reverse proxies and load balancers
//! - [`guide::layers`]: the order of layers
//! - [`guide::shutdown`]: the deadline, and readiness probes
//! - [`guide::silence`]: noticing that deliveries stopped, and what to do after an outage
//! - [`guide::logs`]: the log lines, and how to install a subscriber

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod head;
mod resolver;

use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use futures_util::TryStreamExt;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyDataStream, Full};
use tower_layer::Layer;
use tower_service::Service;

pub use medhook::*;

use head::request_head;
use resolver::ReceiverResolver;

/// A layer that puts a [`Receiver`] in front of a service.
///
/// `B` is the request body type of the inner service, which must implement `From<Bytes>`.
pub struct VerifyLayer<B = Full<Bytes>> {
    resolver: ReceiverResolver,
    inner_body: PhantomData<fn() -> B>,
}

impl<B> VerifyLayer<B> {
    /// Creates a layer that passes on the deliveries that `receiver` accepts.
    #[must_use]
    pub fn new(receiver: Receiver) -> Self {
        Self::of(ReceiverResolver::Fixed(receiver))
    }

    /// Creates a layer for many tenants: every request is verified by the receiver of its tenant, with the tenant's
    /// secret.
    ///
    /// `resolver` takes a key from the request head, and returns a future that owns the key and looks the receiver up:
    /// `Ok(None)` for an unknown tenant, an error if the lookup failed. See
    /// [`guide::tenants`].
    ///
    /// ```
    /// use std::{collections::HashMap, convert::Infallible, sync::Arc};
    ///
    /// use medhook_tower::{Receiver, VerifyLayer, http::request::Parts};
    ///
    /// /// Returns the tenant of `/webhooks/{tenant}/healthsync`.
    /// fn tenant(head: &Parts) -> Option<String> {
    ///     let tenant = head.uri.path().strip_prefix("/webhooks/")?;
    ///     Some(tenant.strip_suffix("/healthsync")?.to_owned())
    /// }
    ///
    /// fn layer(receivers: HashMap<String, Receiver>) -> VerifyLayer {
    ///     let receivers = Arc::new(receivers);
    ///     VerifyLayer::per_tenant(move |head| {
    ///         let receiver = tenant(head).and_then(|tenant| receivers.get(&tenant).cloned());
    ///         async move { Ok::<_, Infallible>(receiver) }
    ///     })
    /// }
    /// ```
    #[must_use]
    pub fn per_tenant<F, R, E>(resolver: F) -> Self
    where
        F: Fn(&Parts) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<Receiver>, E>> + Send + 'static,
    {
        Self::of(ReceiverResolver::per_tenant(resolver))
    }

    fn of(resolver: ReceiverResolver) -> Self {
        VerifyLayer { resolver, inner_body: PhantomData }
    }
}

impl<B> Clone for VerifyLayer<B> {
    fn clone(&self) -> Self {
        Self::of(self.resolver.clone())
    }
}

impl<B> fmt::Debug for VerifyLayer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyLayer").field("receiver", &self.resolver).finish()
    }
}

impl<S, B> Layer<S> for VerifyLayer<B> {
    type Service = Verify<S, B>;

    fn layer(&self, inner: S) -> Self::Service {
        Verify { inner, resolver: self.resolver.clone(), inner_body: PhantomData }
    }
}

/// A service that passes on only verified, fresh and new deliveries. Created by [`VerifyLayer`].
pub struct Verify<S, B = Full<Bytes>> {
    inner: S,
    resolver: ReceiverResolver,
    inner_body: PhantomData<fn() -> B>,
}

impl<S: Clone, B> Clone for Verify<S, B> {
    fn clone(&self) -> Self {
        Verify { inner: self.inner.clone(), resolver: self.resolver.clone(), inner_body: PhantomData }
    }
}

impl<S: fmt::Debug, B> fmt::Debug for Verify<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verify").field("inner", &self.inner).field("receiver", &self.resolver).finish()
    }
}

impl<S, B, ReqBody, ResBody> Service<Request<ReqBody>> for Verify<S, B>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    B: From<Bytes> + Send + 'static,
    ReqBody: Body + Send + 'static,
    ReqBody::Data: Send,
    ReqBody::Error: Send,
    ResBody: From<Bytes> + Send + 'static,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    /// Always ready: an unverified request must not occupy the capacity of the inner service.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let resolver = self.resolver.clone();
        let inner = self.inner.clone();
        let (head, body) = request.into_parts();
        Box::pin(async move {
            let admitted = match verified(resolver, &head, body).await {
                Ok(Step::Admitted(admitted)) => admitted,
                Ok(Step::Reply(reply)) => return Ok(replied(*reply)),
                Err(rejection) => return Ok(rejected(&rejection)),
            };
            handled(admitted, inner, head).await
        })
    }
}

/// The step that follows verification.
enum Step {
    Admitted(Admitted),
    Reply(Box<Reply>),
}

/// Runs every step before the handler, in the connection's task: if the client disconnects here, nothing is lost.
async fn verified<ReqBody: Body>(resolver: ReceiverResolver, head: &Parts, body: ReqBody) -> Result<Step, Rejection> {
    let receiver = resolver.resolve(head).await?;
    let pieces = BodyDataStream::new(body).map_ok(|mut piece| piece.copy_to_bytes(piece.remaining()));
    match receiver.receive(&request_head(head), pieces).await? {
        Received::Delivery(delivery) => receiver.admit(delivery).map(Step::Admitted),
        Received::Reply(reply) => Ok(Step::Reply(reply)),
    }
}

/// Runs the handler to completion, even if the client disconnects.
///
/// Everything is moved into the handler before the first `await`. Otherwise the future of the connection's task would
/// hold it twice.
fn handled<S, B, ResBody>(
    admitted: Admitted,
    mut inner: S,
    mut head: Parts,
) -> impl Future<Output = Result<Response<ResBody>, S::Error>>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    B: From<Bytes> + Send + 'static,
    ResBody: From<Bytes> + Send + 'static,
{
    let body = B::from(admitted.delivery().body().clone());
    head.extensions.insert(admitted.delivery().clone());
    let handler = async move {
        poll_fn(|context| inner.poll_ready(context)).await?;
        inner.call(Request::from_parts(head, body)).await
    };
    let answered = |answer: &Result<Response<ResBody>, S::Error>| match answer {
        Ok(response) => Answered::Status(response.status()),
        Err(_) => Answered::Failed,
    };
    let answer = detached(admitted.run(handler, answered), tokio::spawn);
    async move {
        match answer.await {
            Some(Ok(answer)) => answer.map(|mut response| {
                let outcome = Answered::Status(response.status()).outcome();
                response.extensions_mut().insert(outcome);
                response
            }),
            Some(Err(rejection)) => Ok(rejected(&rejection)),
            // The runtime is shutting down: whether the handler succeeded is unknown.
            None => Ok(rejected(&Reason::HandlerCanceled.into())),
        }
    }
}

fn replied<ResBody: From<Bytes>>(reply: Reply) -> Response<ResBody> {
    let mut response = Response::new(reply.body.into());
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

fn rejected<ResBody: From<Bytes>>(rejection: &Rejection) -> Response<ResBody> {
    let mut response = Response::new(Bytes::new().into());
    *response.status_mut() = rejection.status();
    if let Some((name, value)) = rejection.header() {
        response.headers_mut().insert(name, value);
    }
    response.extensions_mut().insert(rejection.reason());
    response.extensions_mut().insert(rejection.reason().outcome());
    response
}

#[cfg(test)]
mod tests;
