//! Receive webhooks from health-tech providers safely: a [tower](https://docs.rs/tower) layer over [`medhook`], which is
//! re-exported at the root.
//!
//! # What reaches the inner service
//! 1. `POST` requests only, with a body that is not encoded, not over the limit and complete,
//! 2. proven to come from the provider, and fresh,
//! 3. whose event nobody has handled or is handling.
//!
//! They arrive with their body intact and the [`Delivery`] in their extensions, and run [`detached`]: a sender that
//! hangs up stops no handler. A 2xx response remembers the event as handled; any other, an error or a panic lets
//! the sender's next attempt through. What counts is the response's status: a body that fails while it is streamed
//! comes too late.
//!
//! # What a rejection looks like
//! A status, and an empty body; `Retry-After` with a 503, `Allow: POST` with a 405, `Accept-Encoding: identity` with a
//! 415. 200 is a duplicate or a test event under a live secret, 401 whatever is not proven or not fresh, 400, 408 and 413 a body
//! that broke off, came too slowly or is too large, 503 our own trouble, after which the sender is to try again;
//! [`Reason`] has them all. The reason is in the response's extensions, as is the [`Outcome`] of every delivery: for you,
//! not for the sender.
//!
//! # What another layer can break
//! - A layer outside that alters the body (decompression, say): the signature no longer fits.
//! - A time-out outside this layer answers while the handler goes on. Put it inside.
//! - A body limit outside answers in this layer's place (413), or cuts the body off (400).
//!
//! # What a proxy can break
//! - One that decompresses the body, or writes it anew, breaks the signature ([`Reason::SignatureMismatch`]); one that
//!   compresses it, too ([`Reason::ContentEncoding`]).
//! - One that drops or renames the signature's headers ([`Reason::MissingHeader`]), or sends one twice
//!   ([`Reason::RepeatedHeader`]).
//! - One with a smaller limit for bodies or heads answers in our place, and nothing is seen here.
//! - One with a shorter time-out hangs up on the sender while the handler goes on; the sender's next attempt is
//!   [`Reason::InFlight`] or [`Reason::Duplicate`].
//! - One that tries again by itself makes duplicates, which are dropped.
//!
//! # Shutting down
//! A server that stops waits for connections, not for handlers whose sender hung up, and nothing bounds how long it
//! waits. `Shutdown` (feature `shutdown`, on by default) drains the receivers on SIGTERM and SIGINT and bounds the server by
//! one deadline; its accept loop ends on `Shutdown::draining`.
//!
//! # A receiver for each tenant
//! [`VerifyLayer::per_tenant`] takes a tenant resolver, which finds the receiver of a request by a key from its head,
//! before anything of the body is read. [`Receiver::resolve`] lists the responsibilities of the application.
//!
//! ```
//! use std::collections::HashMap;
//! use std::convert::Infallible;
//! use std::sync::Arc;
//!
//! use medhook_tower::http::request::Parts;
//! use medhook_tower::{ConfigError, HealthSync, MemoryStore, Receiver, Secret, VerifyLayer};
//!
//! /// The tenants of this instance, whose receivers are built once.
//! struct Tenants(HashMap<String, Receiver>);
//!
//! impl Tenants {
//!     fn new(secrets: &[(&str, &str)]) -> Result<Self, ConfigError> {
//!         let store = MemoryStore::new(100_000);
//!         let receiver = |&(tenant, secret): &(&str, &str)| {
//!             let healthsync = HealthSync::new(Secret::new(secret)?.labeled(tenant)?);
//!             let receiver = Receiver::builder(format!("healthsync-{tenant}"), healthsync).store(store.clone()).build()?;
//!             Ok((tenant.to_owned(), receiver))
//!         };
//!         secrets.iter().map(receiver).collect::<Result<_, _>>().map(Tenants)
//!     }
//!
//!     async fn receiver(&self, tenant: Option<String>) -> Result<Option<Receiver>, Infallible> {
//!         Ok(tenant.and_then(|tenant| self.0.get(&tenant).cloned()))
//!     }
//! }
//!
//! /// `/webhooks/{tenant}/healthsync`
//! fn tenant(head: &Parts) -> Option<String> {
//!     let tenant = head.uri.path().strip_prefix("/webhooks/")?.strip_suffix("/healthsync")?;
//!     Some(tenant.to_owned())
//! }
//!
//! let tenants = Arc::new(Tenants::new(&[("north", "a-secret-of-the-north"), ("south", "a-secret-of-the-south")])?);
//! let layer: VerifyLayer = VerifyLayer::per_tenant(move |head| {
//!     let (tenants, tenant) = (tenants.clone(), tenant(head));
//!     async move { tenants.receiver(tenant).await }
//! });
//! # Ok::<(), ConfigError>(())
//! ```
//!
//! # Example
//!
//! ```
//! use std::convert::Infallible;
//!
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use medhook_tower::{Bytes, Delivery, HealthSync, MemoryStore, Receiver, Secret, VerifyLayer, healthsync};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! async fn on_event(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     let delivery = request.extensions().get::<Delivery>().expect("behind the layer");
//!     let status = match delivery.decode() {
//!         Ok(healthsync::Event::DocumentUploaded(_)) => StatusCode::ACCEPTED,
//!         Ok(_) => StatusCode::OK,
//!         Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
//!     };
//!     Ok(Response::builder().status(status).body(Full::default()).expect("a status is a response"))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secret = Secret::new("a-secret-of-the-dashboard")?;
//! let receiver = Receiver::builder("healthsync", HealthSync::new(secret)).store(MemoryStore::new(10_000)).build()?;
//! let service = ServiceBuilder::new().layer(VerifyLayer::new(receiver)).service(service_fn(on_event));
//!
//! let genuine = medhook_tower::testing::healthsync("document.uploaded").secret("a-secret-of-the-dashboard").request("/");
//! let genuine = || genuine.clone().map(Full::new);
//! assert_eq!(service.clone().oneshot(genuine()).await?.status(), StatusCode::ACCEPTED);
//! assert_eq!(service.clone().oneshot(genuine()).await?.status(), StatusCode::OK, "a duplicate");
//! let forged = Request::post("/").body(Full::<Bytes>::from("{}"))?;
//! assert_eq!(service.oneshot(forged).await?.status(), StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```

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

/// Puts a [`Receiver`] in front of a service.
///
/// `B` is the body that the inner service takes: anything made from [`Bytes`].
pub struct VerifyLayer<B = Full<Bytes>> {
    resolver: ReceiverResolver,
    inner_body: PhantomData<fn() -> B>,
}

impl<B> VerifyLayer<B> {
    /// A layer that lets in what the receiver does.
    #[must_use]
    pub fn new(receiver: Receiver) -> Self {
        Self::of(ReceiverResolver::Fixed(receiver))
    }

    /// Creates a layer for many tenants: every request is verified by its tenant's receiver, with the tenant's secret.
    ///
    /// `resolver` makes a key from the head, and returns a future that owns the key and looks the receiver up: `Ok(None)`
    /// for an unknown tenant, an error if the lookup failed. See [the manual](crate#a-receiver-for-each-tenant).
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

/// A service that only genuine, fresh and new deliveries reach. Made by [`VerifyLayer`].
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

    /// Always ready: a body that has proved nothing yet must not hold a place of the inner service.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let resolver = self.resolver.clone();
        let inner = self.inner.clone();
        Box::pin(async move {
            match verified(resolver, request).await {
                Ok(Step::Admitted(admitted, request)) => handled(admitted, inner, request).await,
                Ok(Step::Reply(reply)) => Ok(replied(*reply)),
                Err(rejection) => Ok(rejected(&rejection)),
            }
        })
    }
}

/// The step that follows verification.
#[allow(clippy::large_enum_variant, reason = "the usual variant is the large one; a box would cost each delivery")]
enum Step<B> {
    Admitted(Admitted, Request<B>),
    Reply(Box<Reply>),
}

/// Runs every step before the handler in the connection's own task: a client that hangs up here has lost nothing.
async fn verified<ReqBody, B>(resolver: ReceiverResolver, request: Request<ReqBody>) -> Result<Step<B>, Rejection>
where
    ReqBody: Body,
    B: From<Bytes>,
{
    let (mut head, body) = request.into_parts();
    let receiver = resolver.resolve(&head).await?;
    let pieces = BodyDataStream::new(body).map_ok(|mut piece| piece.copy_to_bytes(piece.remaining()));
    let delivery = match receiver.receive(&request_head(&head), pieces).await? {
        Received::Delivery(delivery) => delivery,
        Received::Reply(reply) => return Ok(Step::Reply(reply)),
    };
    let body = B::from(delivery.body().clone());
    let admitted = receiver.admit(delivery)?;
    head.extensions.insert(admitted.delivery().clone());
    Ok(Step::Admitted(admitted, Request::from_parts(head, body)))
}

/// The handler, which goes on if nobody waits for it any more.
///
/// It moves everything into the handler before anything waits: the connection's task would carry it all twice.
fn handled<S, B, ResBody>(
    admitted: Admitted,
    mut inner: S,
    request: Request<B>,
) -> impl Future<Output = Result<Response<ResBody>, S::Error>>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    B: Send + 'static,
    ResBody: From<Bytes> + Send + 'static,
{
    let handler = async move {
        poll_fn(|context| inner.poll_ready(context)).await?;
        inner.call(request).await
    };
    let succeeded = |answer: &Result<Response<ResBody>, S::Error>| {
        answer.as_ref().is_ok_and(|response| response.status().is_success())
    };
    let answer = detached(admitted.run(handler, succeeded), tokio::spawn);
    async move {
        match answer.await {
            Some(Ok(answer)) => answer.map(|mut response| {
                let outcome = if response.status().is_success() { Outcome::Handled } else { Outcome::Failed };
                response.extensions_mut().insert(outcome);
                response
            }),
            Some(Err(rejection)) => Ok(rejected(&rejection)),
            // The runtime is shutting down, or a destructor of the handler panicked: not handled, as far as we know.
            None => Ok(rejected(&Reason::HandlerPanicked.into())),
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
