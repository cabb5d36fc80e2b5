//! Receive webhooks from health-tech providers safely: an [actix-web](https://docs.rs/actix-web) middleware and
//! extractors over [`medhook`], which is re-exported at the root.
//!
//! # What reaches the handler
//! 1. `POST` requests only, with a body that is not encoded, not over the limit and complete,
//! 2. proven to come from the provider, and fresh,
//! 3. whose event nobody has handled or is handling.
//!
//! The handler takes the event as [`Webhook<E>`](Webhook), the [`Delivery`], or both in any order; `web::Bytes`,
//! `web::Json<T>` and the like still work beside them. It runs to its end: a sender that hangs up does not
//! stop it. A 2xx answer remembers the event as handled; any other, an error or a panic lets the sender's next attempt
//! through. What counts is the answer's status: a body that fails while it is streamed comes too late. An error counts by
//! its `status_code()`: where you write `error_response()`, write both alike.
//!
//! # What a rejection looks like
//! A status, and an empty body; `Retry-After` with a 503, `Allow: POST` with a 405, `Accept-Encoding: identity` with a
//! 415. 200 is a duplicate or a test event under a live secret, 401 whatever is not proven or not fresh, 400, 408 and 413 a body
//! that broke off, came too slowly or is too large, 503 our own trouble, after which the sender is to try again;
//! [`Reason`] has them all. The reason is in the response's extensions, as is the [`Outcome`] of every delivery: for you,
//! not for the sender.
//!
//! If the body was not read to its end, actix-web closes the connection.
//!
//! A handler that panics, takes too long or is canceled takes its request down with it, and actix-web's services make
//! no response without one. The middlewares outside then see an `Err`, whose `error_response()` is the response
//! described here and the one that is sent; those that look at responses alone (`Logger`) do not see it. An `Err` of a
//! middleware inside is passed on as it is.
//!
//! # What else can break it
//! - A middleware outside that alters the body (decompression, say): the signature no longer fits. The outermost is the
//!   one that was wrapped last.
//! - A time-out outside this middleware answers while the handler goes on. Put it inside.
//! - actix-web's `PayloadConfig` (256 KiB) and `JsonConfig` (2 MiB) do not limit what this middleware takes
//!   ([`Builder::body_limit`] does), but may still refuse the body to an extractor inside: prefer
//!   [`Delivery::body`].
//! - `HttpServer::new` calls its closure once for each worker. Build stores and receivers outside it, or each worker
//!   remembers for itself alone.
//! - Wrap the resource, as below, or a scope, not the whole `App`: unknown paths then stay 404.
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
//! actix-web stops by itself on SIGTERM and SIGINT, and its workers drop the handlers whose sender hung up. `Shutdown`
//! (feature `shutdown`, on by default) waits for them, under one deadline for everything. Leave the signals to it, and stop
//! the server when the receivers are drained; until then it answers new deliveries 503.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use actix_web::{App, HttpServer};
//! # #[cfg(feature = "shutdown")]
//! # async fn serve(fasten: medhook_actix::Receiver) -> Result<(), Box<dyn std::error::Error>> {
//! # use medhook_actix::Shutdown;
//! # let app = || App::new();
//! let shutdown = Shutdown::on_signals(Duration::from_secs(30))?.receivers([fasten]);
//! let server = HttpServer::new(app).bind("127.0.0.1:8080")?.disable_signals().run();
//! let (handle, drained) = (server.handle(), shutdown.drained());
//! actix_web::rt::spawn(async move {
//!     drained.await;
//!     handle.stop(true).await;
//! });
//! shutdown.serve(server).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # A receiver for each tenant
//! [`Verify::per_tenant`] takes a tenant resolver, which finds the receiver of a request by a key that is extracted from
//! its head, before anything of the body is read. [`Receiver::resolve`] lists the responsibilities of the application.
//!
//! Wrap the resource or the scope whose path has the tenant: further out there is no `Path` yet.
//!
//! ```
//! use std::collections::HashMap;
//! use std::convert::Infallible;
//! use std::sync::Arc;
//!
//! use actix_web::http::StatusCode;
//! use actix_web::test::{call_service, init_service};
//! use actix_web::{App, HttpResponse, web};
//! use medhook_actix::{Delivery, Fasten, MemoryStore, Receiver, Secret, Verify, testing};
//!
//! /// The tenants of this instance, whose receivers are built once.
//! struct Tenants(HashMap<String, Receiver>);
//!
//! impl Tenants {
//!     async fn receiver(&self, tenant: &str) -> Result<Option<Receiver>, Infallible> {
//!         Ok(self.0.get(tenant).cloned())
//!     }
//! }
//!
//! // Behind the middleware the tenant in the path is proven, as is all of the delivery: its secret vouched for it.
//! async fn on_fasten(_tenant: web::Path<String>, _: Delivery) -> HttpResponse {
//!     HttpResponse::Accepted().finish()
//! }
//!
//! # #[actix_web::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (north, south) = ("whsec_dGhlIHNlY3JldCBvZiB0aGUgbm9ydGg=", "whsec_dGhlIHNlY3JldCBvZiB0aGUgc291dGg=");
//! let store = MemoryStore::new(100_000);
//! let mut tenants = HashMap::new();
//! for (tenant, secret) in [("north", north), ("south", south)] {
//!     let fasten = Fasten::live(Secret::new(secret)?.labeled(tenant)?);
//!     let receiver = Receiver::builder(format!("fasten-{tenant}"), fasten).store(store.clone()).build()?;
//!     tenants.insert(tenant.to_owned(), receiver);
//! }
//! let tenants = Arc::new(Tenants(tenants));
//! let verify = Verify::per_tenant(move |tenant: web::Path<String>| {
//!     let tenants = tenants.clone();
//!     async move { tenants.receiver(&tenant).await }
//! });
//! // For `HttpServer::new`: what is built outside is shared by all workers.
//! let app = move || {
//!     let endpoint = web::resource("/webhooks/{tenant}/fasten").wrap(verify.clone());
//!     App::new().service(endpoint.route(web::post().to(on_fasten)))
//! };
//!
//! let app = init_service(app()).await;
//! for (path, secret, status) in [
//!     ("/webhooks/north/fasten", north, StatusCode::ACCEPTED),
//!     ("/webhooks/south/fasten", north, StatusCode::UNAUTHORIZED),
//!     ("/webhooks/west/fasten", north, StatusCode::UNAUTHORIZED),
//! ] {
//!     let request = testing::fasten("patient.ehi_export_success").secret(secret).actix_request(path);
//!     assert_eq!(call_service(&app, request.to_request()).await.status(), status, "{path}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Example
//!
//! ```
//! use actix_web::http::StatusCode;
//! use actix_web::test::{TestRequest, call_service, init_service};
//! use actix_web::{App, HttpResponse, web};
//! use medhook_actix::{Delivery, Fasten, MemoryStore, Receiver, Secret, Verify, Webhook, fasten, testing};
//!
//! async fn on_fasten(Webhook(event): Webhook<fasten::Event>, delivery: Delivery) -> HttpResponse {
//!     match event {
//!         fasten::Event::EhiExportSuccess(export) if export.urls().count() > 0 => HttpResponse::Accepted(),
//!         // A documented kind whose payload has changed: keep it for a human.
//!         fasten::Event::Undecodable(_) if delivery.body().is_empty() => HttpResponse::InternalServerError(),
//!         _ => HttpResponse::Ok(),
//!     }
//!     .finish()
//! }
//!
//! # #[actix_web::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secret = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
//! let fasten = Fasten::live(Secret::new(secret)?);
//! let fasten = Receiver::builder("fasten", fasten).store(MemoryStore::new(10_000)).build()?;
//! // For `HttpServer::new`: what is built outside is shared by all workers.
//! let app = move || {
//!     let endpoint = web::resource("/webhooks/fasten").wrap(Verify::new(fasten.clone()));
//!     App::new().service(endpoint.route(web::post().to(on_fasten)))
//! };
//!
//! let app = init_service(app()).await;
//! let export = testing::fasten("patient.ehi_export_success").secret(secret);
//! let genuine = || export.actix_request("/webhooks/fasten").to_request();
//! assert_eq!(call_service(&app, genuine()).await.status(), StatusCode::ACCEPTED);
//! assert_eq!(call_service(&app, genuine()).await.status(), StatusCode::OK, "a duplicate");
//! let forged = TestRequest::post().uri("/webhooks/fasten").set_payload("{}").to_request();
//! assert_eq!(call_service(&app, forged).await.status(), StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod head;
mod resolver;

use std::cell::Cell;
use std::fmt;
use std::future::{Future, Ready, poll_fn, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::http::StatusCode;
use actix_web::{Error, FromRequest, HttpMessage, HttpResponse, ResponseError, rt};
use tokio::sync::Mutex;

pub use medhook::*;
#[doc(inline)]
pub use medhook::{Delivery, Misplaced, Webhook};

use head::{RequestHeaders, target};
use resolver::ReceiverResolver;

/// Puts a [`Receiver`] in front of handlers: `web::resource(path).wrap(Verify::new(receiver))`, or the same of a scope
/// or an `App`.
#[derive(Debug, Clone)]
pub struct Verify {
    resolver: ReceiverResolver,
}

impl Verify {
    /// A middleware that lets in what the receiver does.
    #[must_use]
    pub fn new(receiver: Receiver) -> Self {
        Verify { resolver: ReceiverResolver::Fixed(receiver) }
    }

    /// Creates a middleware for many tenants: every request is verified by its tenant's receiver, with the tenant's
    /// secret.
    ///
    /// The key is any extractor, or several as a tuple; those that read the body find it empty. `resolver` looks the
    /// receiver up by the key: `Ok(None)` for an unknown tenant, an error if the lookup failed. A key that cannot be
    /// extracted is an unknown tenant if the extractor blames the request (4xx), else a failed lookup. See
    /// [the manual](crate#a-receiver-for-each-tenant).
    #[must_use]
    pub fn per_tenant<K, F, R, E>(resolver: F) -> Self
    where
        K: FromRequest + 'static,
        F: Fn(K) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<Receiver>, E>> + 'static,
    {
        Verify { resolver: ReceiverResolver::per_tenant(resolver) }
    }
}

impl<S, B> Transform<S, ServiceRequest> for Verify
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = VerifyService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, Self::InitError>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(VerifyService { inner: Rc::new(Mutex::new(service)), resolver: self.resolver.clone() }))
    }
}

/// A service that only genuine, fresh and new deliveries reach. Made by [`Verify`].
#[derive(Debug)]
pub struct VerifyService<S> {
    // Handlers wait for it side by side, and a service need only wake the task that asked last whether it is ready. So
    // one at a time asks.
    inner: Rc<Mutex<S>>,
    resolver: ReceiverResolver,
}

impl<S, B> Service<ServiceRequest> for VerifyService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>>>>;

    /// Always ready: a body that has proved nothing yet must not hold a place of the inner service.
    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        let resolver = self.resolver.clone();
        let inner = self.inner.clone();
        Box::pin(async move {
            let mut body = request.take_payload();
            match verified(resolver, &mut request, &mut body).await {
                Ok(Step::Admitted(admitted)) => handled(admitted, inner, request).await,
                Ok(Step::Reply(reply)) => Ok(replied(request, *reply, body)),
                Err(rejection) => Ok(rejected(request, &rejection, body)),
            }
        })
    }
}

/// The step that follows verification.
enum Step {
    Admitted(Admitted),
    Reply(Box<Reply>),
}

/// Runs every step before the handler in the connection's own task: a client that hangs up here has lost nothing.
async fn verified(
    resolver: ReceiverResolver,
    request: &mut ServiceRequest,
    body: &mut Payload,
) -> Result<Step, Rejection> {
    let receiver = resolver.resolve(request.request()).await?;
    let headers = RequestHeaders(request.headers());
    let head = RequestHead::new(request.method().as_str(), target(request.request()), &headers);
    let delivery = match receiver.receive(&head, body).await? {
        Received::Delivery(delivery) => delivery,
        Received::Reply(reply) => return Ok(Step::Reply(reply)),
    };
    request.set_payload(Payload::from(delivery.body().clone()));
    let admitted = receiver.admit(delivery)?;
    request.extensions_mut().insert(admitted.delivery().clone());
    Ok(Step::Admitted(admitted))
}

/// The handler, which goes on if nobody waits for it any more.
///
/// It moves everything into the handler before anything waits: the connection's task would carry it all twice.
fn handled<S, B>(
    admitted: Admitted,
    inner: Rc<Mutex<S>>,
    request: ServiceRequest,
) -> impl Future<Output = Result<ServiceResponse<EitherBody<B>>, Error>>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    // The answer to a handler that does not run needs the request, and actix-web panics if there are two of it while
    // one is routed. So it waits here until the inner service takes it.
    let waiting = Rc::new(Cell::new(Some(request)));
    let taken = waiting.clone();
    let handler = async move {
        let inner = inner.lock().await;
        poll_fn(|context| inner.poll_ready(context)).await?;
        // Nobody else takes it before this.
        let request = taken.take().ok_or(Rejected(Reason::HandlerPanicked.into()))?;
        let answer = inner.call(request);
        drop(inner);
        answer.await
    };
    // An error is answered, too; what counts is what the sender gets.
    let succeeded = |answer: &Result<ServiceResponse<B>, Error>| match answer {
        Ok(response) => response.status().is_success(),
        Err(error) => error.as_response_error().status_code().is_success(),
    };
    let answer = detached(admitted.run(handler, succeeded), rt::spawn);
    async move {
        let rejection = match answer.await {
            Some(Ok(answer)) => {
                return answer.map(|mut response| {
                    let outcome = if response.status().is_success() { Outcome::Handled } else { Outcome::Failed };
                    response.response_mut().extensions_mut().insert(outcome);
                    response.map_into_left_body()
                });
            }
            Some(Err(rejection)) => rejection,
            // The runtime is shutting down, or a destructor of the handler panicked: not handled, as far as we know.
            None => Reason::HandlerPanicked.into(),
        };
        match waiting.take() {
            Some(request) => Ok(rejected(request, &rejection, Payload::None)),
            None => Err(Rejected(rejection).into()),
        }
    }
}

/// Keeps what is unread of the body until it is answered: if it were dropped before, actix-web would read the rest of one
/// in chunks for as long as its sender likes; so it closes the connection.
fn rejected<B>(request: ServiceRequest, rejection: &Rejection, unread: Payload) -> ServiceResponse<EitherBody<B>> {
    let mut response = response(rejection);
    response.extensions_mut().insert(unread);
    request.into_response(response).map_into_right_body()
}

/// Answers a handshake. Keeps what is unread of the body, as above.
fn replied<B>(request: ServiceRequest, reply: Reply, unread: Payload) -> ServiceResponse<EitherBody<B>> {
    let mut response = HttpResponse::build(status(reply.status));
    for (name, value) in &reply.headers {
        response.append_header((name.as_str(), value.as_bytes()));
    }
    response.extensions_mut().insert(unread);
    request.into_response(response.body(reply.body)).map_into_right_body()
}

/// The answer to a refused delivery. actix-web's statuses and headers are those of an older `http` than ours.
fn response(rejection: &Rejection) -> HttpResponse {
    let mut response = HttpResponse::build(status(rejection.status()));
    if let Some((name, value)) = rejection.header() {
        response.insert_header((name.as_str(), value.as_bytes()));
    }
    response.extensions_mut().insert(rejection.reason());
    response.extensions_mut().insert(rejection.reason().outcome());
    response.finish()
}

fn status(status: http::StatusCode) -> StatusCode {
    StatusCode::from_u16(status.as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A rejection that has no request to answer any more.
#[derive(Debug)]
struct Rejected(Rejection);

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for Rejected {
    fn status_code(&self) -> StatusCode {
        self.error_response().status()
    }

    fn error_response(&self) -> HttpResponse {
        response(&self.0)
    }
}

#[cfg(test)]
mod tests;
