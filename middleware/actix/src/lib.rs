//! An [actix-web](https://docs.rs/actix-web) middleware and extractors that receive webhooks from health-tech providers
//! safely.
//!
//! ```
//! use actix_web::test::{call_service, init_service};
//! use actix_web::{App, HttpResponse};
//! use medhook_actix::{Delivery, Fasten, MemoryStore, Receiver, Secret};
//! use medhook_actix::{Webhook, fasten, post, testing};
//! # async fn keep(_: &medhook_actix::Bytes) -> HttpResponse { HttpResponse::Ok().into() }
//!
//! async fn on_fasten(
//!     Webhook(event): Webhook<fasten::Event>,
//!     delivery: Delivery,
//! ) -> HttpResponse {
//!     match event {
//!         fasten::Event::EhiExportSuccess(_) => HttpResponse::Accepted().finish(),
//!         // The payload is not as documented.
//!         fasten::Event::Undecodable(_) => keep(delivery.body()).await,
//!         _ => HttpResponse::Ok().finish(),
//!     }
//! }
//!
//! # #[actix_web::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secret = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
//! let fasten = Receiver::builder("fasten", Fasten::live(Secret::new(secret)?))
//!     .store(MemoryStore::new(10_000))
//!     .build()?;
//! // For `HttpServer::new`. All workers share the receiver, which is built outside.
//! let app = move || App::new().route("/webhooks/fasten", post(fasten.clone(), on_fasten));
//!
//! let app = init_service(app()).await;
//! let sample = testing::fasten("patient.ehi_export_success").secret(secret);
//! let genuine = sample.actix_request("/webhooks/fasten").to_request();
//! assert_eq!(call_service(&app, genuine).await.status(), 202);
//!
//! let forged = sample.actix_request("/webhooks/fasten").set_payload("{}").to_request();
//! assert_eq!(call_service(&app, forged).await.status(), 401);
//! # Ok(())
//! # }
//! ```
//!
//! All items of [`medhook`], such as providers, stores and [`Receiver`], are re-exported here.
//!
//! # Verification
//!
//! A request reaches the handler only if all of these conditions hold:
//!
//! 1. It is a `POST` whose body is complete, has no content encoding, and is within the body limit.
//! 2. Its signature is valid and, for providers whose age is checked, its time is within the freshness window.
//! 3. Its event has not been handled, and no other delivery of it is being handled.
//!
//! The handler extracts the event as [`Webhook<E>`](Webhook), the [`Delivery`], or both in any order. Body
//! extractors such as `web::Bytes` and `web::Json<T>` also work beside them.
//!
//! [`post`] mounts a handler behind its receiver, and [`Verify`] wraps whole resources, scopes or an `App`. A route
//! without the middleware is not verified: a handler that extracts `Webhook` or `Delivery` is then answered 500, but
//! one that extracts only `web::Bytes` or `web::Json<T>` runs for **any caller**. Prefer [`post`], which cannot be used
//! without a receiver, or extract the [`Delivery`] and read [`Delivery::body`].
//!
//! A 2xx from the handler commits the event. Any other status, an error or a panic releases it, so the provider's
//! retry will be handled. Only the status counts: an error in a streamed response body cannot release the event.
//! For a returned error, the status is its `status_code()`; a custom `error_response()` must return the same status.
//! The handler runs to completion even if the client disconnects.
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
//! # Graceful shutdown
//!
//! On SIGTERM, new deliveries are answered 503, and running handlers have 30 s to finish. `disable_signals` leaves the
//! signals to `Shutdown`; the server stops after the receivers are drained:
//!
//! ```no_run
//! # use std::time::Duration;
//! # use actix_web::{App, HttpServer};
//! # #[cfg(feature = "shutdown")]
//! # async fn serve(
//! #     fasten: medhook_actix::Receiver,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
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
//! # Guides
//!
//! - [`guide::tenants`]: one receiver for each tenant, with [`Verify::per_tenant`]
//! - [`guide::inbox`]: storing events before they are handled
//! - [`guide::schemes`] and [`guide::handshakes`]: providers that are not built in
//! - [`guide::rotation`]: replacing secrets without a restart
//! - [`guide::proxies`]: reverse proxies and load balancers
//! - [`guide::layers`]: other middlewares, and the limits of actix-web's extractors
//! - [`guide::shutdown`]: the deadline, and readiness probes
//! - [`guide::silence`]: noticing that deliveries stopped, and what to do after an outage
//! - [`guide::logs`]: the log lines, and how to install a subscriber

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod head;
mod resolver;
mod route;

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

pub use self::route::post;
#[cfg(feature = "inbox")]
pub use self::route::post_to_inbox;
pub use medhook::*;
#[doc(inline)]
pub use medhook::{Delivery, Misplaced, Webhook};

use head::{RequestHeaders, target};
use resolver::ReceiverResolver;

/// A middleware that puts a [`Receiver`] in front of handlers: `web::resource(path).wrap(Verify::new(receiver))`. A
/// scope or an `App` can be wrapped as well.
#[derive(Debug, Clone)]
pub struct Verify {
    resolver: ReceiverResolver,
}

impl Verify {
    /// Creates a middleware that passes on the deliveries that `receiver` accepts.
    #[must_use]
    pub fn new(receiver: Receiver) -> Self {
        Verify { resolver: ReceiverResolver::Fixed(receiver) }
    }

    /// Creates a middleware for many tenants: every request is verified by the receiver of its tenant, with the
    /// tenant's secret.
    ///
    /// The key is any extractor, or several as a tuple; extractors that read the body find it empty. `resolver` looks
    /// the receiver up by the key and returns `Ok(None)` for an unknown tenant, or an error if the lookup failed. If
    /// the key cannot be extracted, an error of the extractor with a 4xx counts as an unknown tenant, and any other
    /// as a failed lookup.
    ///
    /// Wrap the resource or the scope whose path has the tenant: further out there is no `Path` yet. See
    /// [`guide::tenants`].
    ///
    /// ```
    /// use std::{collections::HashMap, convert::Infallible, sync::Arc};
    ///
    /// use actix_web::{App, HttpResponse, web};
    /// use medhook_actix::{Delivery, Fasten, MemoryStore, Receiver, Secret, Verify};
    /// # use actix_web::test::{call_service, init_service};
    /// # use medhook_actix::testing;
    ///
    /// // Inside the middleware the tenant is verified: its secret verified the delivery.
    /// async fn on_fasten(_tenant: web::Path<String>, _: Delivery) -> HttpResponse {
    ///     HttpResponse::Accepted().finish()
    /// }
    ///
    /// fn verify(receivers: HashMap<String, Receiver>) -> Verify {
    ///     let receivers = Arc::new(receivers);
    ///     Verify::per_tenant(move |tenant: web::Path<String>| {
    ///         let receivers = receivers.clone();
    ///         async move { Ok::<_, Infallible>(receivers.get(&*tenant).cloned()) }
    ///     })
    /// }
    ///
    /// # #[actix_web::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let secret = "whsec_dGhlIHNlY3JldCBvZiB0aGUgbm9ydGg=";
    /// let north = Receiver::builder("fasten-north", Fasten::live(Secret::new(secret)?))
    ///     .store(MemoryStore::new(100_000))
    ///     .build()?;
    /// let verify = verify(HashMap::from([("north".to_owned(), north)]));
    /// // For `HttpServer::new`. All workers share the receivers, which are built outside.
    /// let app = move || {
    ///     let endpoint = web::resource("/webhooks/{tenant}/fasten").wrap(verify.clone());
    ///     App::new().service(endpoint.route(web::post().to(on_fasten)))
    /// };
    ///
    /// let app = init_service(app()).await;
    /// let sample = testing::fasten("patient.ehi_export_success").secret(secret);
    /// let expected = [("/webhooks/north/fasten", 202), ("/webhooks/west/fasten", 401)];
    /// for (path, status) in expected {
    ///     let request = sample.actix_request(path).to_request();
    ///     assert_eq!(call_service(&app, request).await.status(), status, "{path}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
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

/// A service that passes on only verified, fresh and new deliveries. Created by [`Verify`].
#[derive(Debug)]
pub struct VerifyService<S> {
    // Several handlers can wait for the inner service, and a service only has to wake the task that polled it last. The
    // mutex lets one task poll at a time.
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

    /// Always ready: an unverified request must not occupy the capacity of the inner service.
    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        let resolver = self.resolver.clone();
        let inner = self.inner.clone();
        Box::pin(async move {
            let mut body = request.take_payload();
            let admitted = match verified(resolver, &request, &mut body).await {
                Ok(Step::Admitted(admitted)) => admitted,
                Ok(Step::Reply(reply)) => return Ok(replied(request, *reply, body)),
                Err(rejection) => return Ok(rejected(request, &rejection, body)),
            };
            request.set_payload(with_body(body, admitted.delivery().body().clone()));
            request.extensions_mut().insert(admitted.delivery().clone());
            handled(admitted, inner, request).await
        })
    }
}

/// The step that follows verification.
enum Step {
    Admitted(Admitted),
    Reply(Box<Reply>),
}

/// Runs every step before the handler, in the connection's task: if the client disconnects here, nothing is lost.
async fn verified(resolver: ReceiverResolver, request: &ServiceRequest, body: &mut Payload) -> Result<Step, Rejection> {
    let receiver = resolver.resolve(request.request()).await?;
    let headers = RequestHeaders(request.headers());
    let head = RequestHead::new(request.method().as_str(), target(request.request()), &headers);
    match receiver.receive(&head, body).await? {
        Received::Delivery(delivery) => receiver.admit(delivery).map(Step::Admitted),
        Received::Reply(reply) => Ok(Step::Reply(reply)),
    }
}

/// Returns a payload with the verified body. That of HTTP/1, which is at its end, takes the body back. A new one
/// takes two allocations.
fn with_body(read: Payload, body: Bytes) -> Payload {
    match read {
        Payload::H1 { mut payload } => {
            payload.unread_data(body);
            Payload::H1 { payload }
        }
        _ => Payload::from(body),
    }
}

/// Runs the handler to completion, even if the client disconnects.
///
/// Everything is moved into the handler before the first `await`. Otherwise the future of the connection's task would
/// hold it twice.
fn handled<S, B>(
    admitted: Admitted,
    inner: Rc<Mutex<S>>,
    request: ServiceRequest,
) -> impl Future<Output = Result<ServiceResponse<EitherBody<B>>, Error>>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    // A rejection before the handler starts needs the request, but actix-web panics if a clone of the request exists
    // while it is routed. So the request stays here until the inner service is ready.
    let waiting = Rc::new(Cell::new(Some(request)));
    let taken = waiting.clone();
    let handler = async move {
        let inner = inner.lock().await;
        poll_fn(|context| inner.poll_ready(context)).await?;
        // Only this handler takes the request, so it is still there.
        let request = taken.take().ok_or(Rejected(Reason::HandlerPanicked.into()))?;
        let answer = inner.call(request);
        drop(inner);
        answer.await
    };
    // An error has a response as well. The status that the client gets decides, which `status_code` may not return.
    let answered = |answer: &Result<ServiceResponse<B>, Error>| match answer {
        Ok(response) => self::answered(response.status()),
        Err(error) => self::answered(error.error_response().status()),
    };
    let answer = detached(admitted.run(handler, answered), rt::spawn);
    async move {
        let rejection = match answer.await {
            Some(Ok(answer)) => {
                return answer.map(|mut response| {
                    let outcome = self::answered(response.status()).outcome();
                    response.response_mut().extensions_mut().insert(outcome);
                    response.map_into_left_body()
                });
            }
            Some(Err(rejection)) => rejection,
            // The runtime is shutting down: whether the handler succeeded is unknown.
            None => Reason::HandlerCanceled.into(),
        };
        match waiting.take() {
            Some(request) => Ok(rejected(request, &rejection, Payload::None)),
            None => Err(Rejected(rejection).into()),
        }
    }
}

/// Creates the response of a rejection, which owns the unread body.
///
/// If the body were dropped before the response is sent, actix-web would read the rest of a chunked body, which a
/// client can send without end. This way actix-web closes the connection.
fn rejected<B>(request: ServiceRequest, rejection: &Rejection, unread: Payload) -> ServiceResponse<EitherBody<B>> {
    let mut response = response(rejection);
    response.extensions_mut().insert(unread);
    request.into_response(response).map_into_right_body()
}

/// Creates the response of a handshake, which owns the unread body like a rejection.
fn replied<B>(request: ServiceRequest, reply: Reply, unread: Payload) -> ServiceResponse<EitherBody<B>> {
    let mut response = HttpResponse::build(status(reply.status));
    for (name, value) in &reply.headers {
        response.append_header((name.as_str(), value.as_bytes()));
    }
    response.extensions_mut().insert(unread);
    request.into_response(response.body(reply.body)).map_into_right_body()
}

/// Converts a rejection to a response. actix-web uses another version of `http` than the core.
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

fn answered(status: StatusCode) -> Answered {
    http::StatusCode::from_u16(status.as_u16()).map_or(Answered::Failed, Answered::Status)
}

/// A rejection whose request was dropped, so that only an error can be returned.
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
