//! A route that cannot be mounted without its layer.

use axum::handler::Handler;
use axum::routing::{self, MethodRouter};

use crate::{Receiver, VerifyLayer};

/// Returns a `POST` route behind a receiver: the handler gets only deliveries that the receiver accepts.
///
/// It is `axum::routing::post(handler).layer(VerifyLayer::new(receiver))` in one step. Without the layer, a handler
/// that extracts only the body, as [`Bytes`](crate::Bytes) or `Json`, would run for any caller; this route cannot be
/// built without it. For many tenants, pass [`VerifyLayer::per_tenant`] instead of a receiver. Handlers that are
/// chained to the route, as with `.get(..)`, are not behind the receiver.
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
    routing::post(handler).layer(verify.into())
}

impl From<Receiver> for VerifyLayer {
    fn from(receiver: Receiver) -> Self {
        VerifyLayer::new(receiver)
    }
}
