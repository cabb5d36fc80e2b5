//! A route that cannot be mounted without its layer.

use axum::handler::Handler;
use axum::routing::{self, MethodRouter};

#[cfg(feature = "inbox")]
use crate::{ConfigError, http::StatusCode};
use crate::{Receiver, VerifyLayer};

/// Returns a `POST` route behind a receiver: the handler gets only deliveries that the receiver accepts. Requests with
/// other methods reach the receiver, too, which answers those of a [handshake](crate::Handshake), and all others with
/// 405.
///
/// It does what `axum::routing::post(handler).layer(VerifyLayer::new(receiver))` does in one step. Without the layer, a
/// handler that extracts only the body, as [`Bytes`](crate::Bytes) or `Json`, would run for any caller; this route
/// cannot be built without it. For many tenants, pass [`VerifyLayer::per_tenant`] instead of a receiver. Handlers that
/// are chained to the route, as with `.get(..)`, are not behind the receiver.
///
/// ```
/// use axum::{Router, body::Body, http::StatusCode};
/// use medhook_axum::{Bytes, HealthSync, MemoryStore, Receiver, Secret, post, testing};
/// # use tower::ServiceExt;
///
/// async fn on_event(body: Bytes) -> StatusCode {
///     if body.is_empty() { StatusCode::OK } else { StatusCode::ACCEPTED }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let secret = "a-secret-of-the-dashboard";
/// let receiver = Receiver::builder("healthsync", HealthSync::new(Secret::new(secret)?))
///     .store(MemoryStore::new(10_000))
///     .build()?;
/// let app: Router = Router::new().route("/webhooks", post(receiver, on_event));
///
/// let sample = testing::healthsync("document.uploaded").secret(secret);
/// let genuine = sample.request("/webhooks").map(Body::from);
/// assert_eq!(app.clone().oneshot(genuine).await?.status(), StatusCode::ACCEPTED);
///
/// let unsigned = axum::http::Request::post("/webhooks").body(Body::from("{}"))?;
/// assert_eq!(app.oneshot(unsigned).await?.status(), StatusCode::UNAUTHORIZED);
/// # Ok(())
/// # }
/// ```
pub fn post<H, T, S>(verify: impl Into<VerifyLayer>, handler: H) -> MethodRouter<S>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    // Requests with other methods pass through the layer, too, which answers handshakes. Without `any`, axum would add
    // `Allow: POST` to those answers. Without `post`, a second `.post(..)` would replace the handler unnoticed.
    routing::post(handler.clone()).merge(routing::any(handler)).layer(verify.into())
}

/// Returns a `POST` route that stores events in the inbox of a receiver, and has no handler: a worker handles the
/// events.
///
/// For many tenants, or with [`OnStoreError::HandleUnclaimed`](crate::OnStoreError::HandleUnclaimed), use [`post`].
///
/// ```
/// use axum::Router;
/// use medhook_axum::{ConfigError, Fasten, Inbox, Receiver, Secrets, post_to_inbox};
///
/// fn app(inbox: Inbox) -> Result<Router, ConfigError> {
///     let provider = Fasten::live(Secrets::from_env("FASTEN_SECRET")?);
///     let fasten = Receiver::builder("fasten", provider).inbox(inbox).build()?;
///     Ok(Router::new().route("/webhooks/fasten", post_to_inbox(fasten)?))
/// }
/// ```
///
/// # Errors
/// Returns an error if the receiver has no inbox, or handles events that cannot be stored.
#[cfg(feature = "inbox")]
pub fn post_to_inbox<S>(receiver: Receiver) -> Result<MethodRouter<S>, ConfigError>
where
    S: Clone + Send + Sync + 'static,
{
    receiver.needs_no_handler()?;
    Ok(post(receiver, async || StatusCode::INTERNAL_SERVER_ERROR))
}

impl From<Receiver> for VerifyLayer {
    fn from(receiver: Receiver) -> Self {
        VerifyLayer::new(receiver)
    }
}
