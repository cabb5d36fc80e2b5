//! A route that cannot be mounted without its middleware.

#[cfg(feature = "inbox")]
use actix_web::HttpResponse;
use actix_web::{FromRequest, Handler, Responder, Route, web};

#[cfg(feature = "inbox")]
use crate::ConfigError;
use crate::{Receiver, Verify};

/// Returns a route behind a receiver: the handler gets only deliveries that the receiver accepts.
///
/// It does the same as a resource that is wrapped in [`Verify`], in one step. Without the middleware, a handler that
/// extracts only the body, as `web::Bytes` or `web::Json`, would run for any caller; this route cannot be built without
/// it. For many tenants, pass [`Verify::per_tenant`] instead of a receiver. The receiver answers methods other than
/// `POST` with 405, or as a [handshake](crate::Handshake), so the route has no guard for the method. Other routes of
/// the same resource are not behind the receiver, and must be registered before it, since actix-web takes the first one
/// whose guards match.
///
/// ```
/// use actix_web::test::{TestRequest, call_service, init_service};
/// use actix_web::{App, HttpResponse, web};
/// use medhook_actix::{HealthSync, MemoryStore, Receiver, Secret, post, testing};
///
/// async fn on_event(body: web::Bytes) -> HttpResponse {
///     match body.len() {
///         0 => HttpResponse::Ok().finish(),
///         _ => HttpResponse::Accepted().finish(),
///     }
/// }
///
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let secret = "a-secret-of-the-dashboard";
/// let receiver = Receiver::builder("healthsync", HealthSync::new(Secret::new(secret)?))
///     .store(MemoryStore::new(10_000))
///     .build()?;
/// // For `HttpServer::new`. All workers share the receiver, which is built outside.
/// let app = move || App::new().route("/webhooks", post(receiver.clone(), on_event));
///
/// let app = init_service(app()).await;
/// let sample = testing::healthsync("document.uploaded").secret(secret);
/// let genuine = sample.actix_request("/webhooks").to_request();
/// assert_eq!(call_service(&app, genuine).await.status(), 202);
///
/// let unsigned = TestRequest::post().uri("/webhooks").set_payload("{}").to_request();
/// assert_eq!(call_service(&app, unsigned).await.status(), 401);
/// # Ok(())
/// # }
/// ```
pub fn post<F, Args>(verify: impl Into<Verify>, handler: F) -> Route
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::route().to(handler).wrap(verify.into())
}

/// Returns a route that stores events in the inbox of a receiver, and has no handler: a worker handles the events.
///
/// For many tenants, or with [`OnStoreError::HandleUnclaimed`](crate::OnStoreError::HandleUnclaimed), use [`post`]. The
/// receiver can be checked once, outside of the closure for `HttpServer::new`, by a call that is not used:
///
/// ```
/// use actix_web::{App, HttpServer};
/// use medhook_actix::{Fasten, Inbox, Receiver, Secrets, post_to_inbox};
///
/// async fn serve(inbox: Inbox) -> Result<(), Box<dyn std::error::Error>> {
///     let provider = Fasten::live(Secrets::from_env("FASTEN_SECRET")?);
///     let fasten = Receiver::builder("fasten", provider).inbox(inbox).build()?;
///     post_to_inbox(fasten.clone())?;
///     let app = move || {
///         let route = post_to_inbox(fasten.clone()).expect("checked above");
///         App::new().route("/webhooks/fasten", route)
///     };
///     HttpServer::new(app).bind("127.0.0.1:8080")?.run().await?;
///     Ok(())
/// }
/// ```
///
/// # Errors
/// Returns an error if the receiver has no inbox, or handles events that cannot be stored.
#[cfg(feature = "inbox")]
pub fn post_to_inbox(receiver: Receiver) -> Result<Route, ConfigError> {
    receiver.needs_no_handler()?;
    Ok(post(receiver, async || HttpResponse::InternalServerError().finish()))
}

impl From<Receiver> for Verify {
    fn from(receiver: Receiver) -> Self {
        Verify::new(receiver)
    }
}
