//! Receive webhooks from health-tech providers safely: an [axum](https://docs.rs/axum) layer and extractors over
//! [`medhook`](medhook_tower), which is re-exported at the root.
//!
//! # What reaches the handler
//! 1. `POST` requests only, with a body that is not encoded, not over the limit and complete,
//! 2. proven to come from the provider, and fresh,
//! 3. whose event nobody has handled or is handling.
//!
//! The handler takes the event as [`Webhook<E>`](Webhook), the [`Delivery`], or both in any order; `Bytes`, `Json<T>`
//! and the like still work after them. It runs as a task of its own: a sender that hangs up does not stop it. A 2xx
//! answer remembers the event as handled; any other, or a panic, lets the sender's next attempt through. What counts
//! is the answer's status: a body that fails while it is streamed comes too late.
//!
//! # What a refusal looks like
//! A status, `Retry-After` with a 503, and an empty body. The [`Reason`] is in the response's extensions, as is the
//! [`Outcome`] of every delivery.
//!
//! # What another layer can break
//! - A layer outside that alters the body (decompression, say): the signature no longer fits.
//! - A time-out outside this layer answers while the handler goes on. Put it inside.
//! - axum's `DefaultBodyLimit` (2 MB) does not limit what this layer takes
//!   ([`Builder::body_limit`] does), but may still refuse the body to an extractor inside: prefer
//!   [`body`](medhook_tower::Delivery::body).
//! - Layer the method router, as below, not the whole `Router`: unknown paths then stay 404.
//!
//! # Example
//!
//! ```
//! use axum::{Router, body::Body, http::{Request, StatusCode}, routing::post};
//! use medhook_axum::{Delivery, Fasten, MemoryStore, Receiver, Secret, VerifyLayer, Webhook, fasten, testing};
//! use tower::ServiceExt;
//!
//! async fn on_fasten(Webhook(event): Webhook<fasten::Event>, delivery: Delivery) -> StatusCode {
//!     match event {
//!         fasten::Event::EhiExportSuccess(export) if export.urls().count() > 0 => StatusCode::ACCEPTED,
//!         // A documented kind whose payload has changed: keep it for a human.
//!         fasten::Event::Undecodable(_) if delivery.body().is_empty() => StatusCode::INTERNAL_SERVER_ERROR,
//!         _ => StatusCode::OK,
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secret = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
//! let fasten = Fasten::live(Secret::new("live", secret)?);
//! let fasten = Receiver::builder("fasten", fasten).store(MemoryStore::new(10_000)).build()?;
//! let app: Router = Router::new().route("/webhooks/fasten", post(on_fasten).layer(VerifyLayer::new(fasten)));
//!
//! let genuine = testing::fasten("patient.ehi_export_success").secret(secret).request("/webhooks/fasten");
//! let genuine = || genuine.clone().map(Body::from);
//! assert_eq!(app.clone().oneshot(genuine()).await?.status(), StatusCode::ACCEPTED);
//! assert_eq!(app.clone().oneshot(genuine()).await?.status(), StatusCode::OK, "a duplicate");
//! let forged = Request::post("/webhooks/fasten").body(Body::from("{}"))?;
//! assert_eq!(app.oneshot(forged).await?.status(), StatusCode::UNAUTHORIZED);
//! # Ok(())
//! # }
//! ```

use std::ops::Deref;

use axum_core::body::Body;
use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use medhook_tower::http::StatusCode;
use medhook_tower::http::request::Parts;

pub use medhook_tower::*;

/// Puts a [`Receiver`] in front of a handler: `post(handler).layer(VerifyLayer::new(receiver))`.
pub type VerifyLayer = medhook_tower::VerifyLayer<Body>;

/// The service that [`VerifyLayer`] makes.
pub type Verify<S> = medhook_tower::Verify<S, Body>;

/// Extracts the event as its provider's type.
///
/// Never fails behind a [`VerifyLayer`] of that provider: what cannot be read as documented is a value of the type,
/// too. Without the layer, or behind another provider's, it is a 500 that says so in the log.
#[derive(Debug, Clone)]
pub struct Webhook<E>(pub E);

impl<S: Sync, E: Event> FromRequestParts<S> for Webhook<E> {
    type Rejection = Misplaced;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Misplaced> {
        verified(parts)?.decode().map(Webhook).map_err(Misplaced::wrong_provider)
    }
}

/// Extracts the delivery. Everything of [`medhook_tower::Delivery`] is on it.
#[derive(Debug, Clone)]
pub struct Delivery(medhook_tower::Delivery);

impl Deref for Delivery {
    type Target = medhook_tower::Delivery;

    fn deref(&self) -> &medhook_tower::Delivery {
        &self.0
    }
}

impl From<medhook_tower::Delivery> for Delivery {
    fn from(delivery: medhook_tower::Delivery) -> Self {
        Delivery(delivery)
    }
}

impl<S: Sync> FromRequestParts<S> for Delivery {
    type Rejection = Misplaced;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Misplaced> {
        verified(parts).cloned().map(Delivery)
    }
}

fn verified(parts: &Parts) -> Result<&medhook_tower::Delivery, Misplaced> {
    parts.extensions.get().ok_or_else(Misplaced::no_layer)
}

/// An extractor on a route that no [`VerifyLayer`], or another provider's, is in front of. Answers 500, so that nothing
/// is taken for genuine.
#[derive(Debug)]
pub struct Misplaced(());

impl Misplaced {
    fn no_layer() -> Self {
        #[cfg(feature = "tracing")]
        tracing::error!("a handler extracts a webhook, but its route has no VerifyLayer");
        Misplaced(())
    }

    fn wrong_provider(error: WrongProvider) -> Self {
        #[cfg(feature = "tracing")]
        tracing::error!(%error, "a handler extracts another provider's webhook than its VerifyLayer lets in");
        let _ = error;
        Misplaced(())
    }
}

impl IntoResponse for Misplaced {
    fn into_response(self) -> Response {
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::Request;
    use axum::routing::post;
    use axum::{Json, Router};
    use medhook_tower::testing;
    use tower::ServiceExt;

    use super::*;

    const SECRET: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";

    fn layer() -> VerifyLayer {
        let fasten = Fasten::live(Secret::new("live", SECRET).unwrap());
        VerifyLayer::new(Receiver::builder("fasten", fasten).store(NoDedupe).build().unwrap())
    }

    async fn status(app: Router) -> StatusCode {
        let request = testing::fasten("patient.ehi_export_success").secret(SECRET).request("/");
        app.oneshot(request.map(Body::from)).await.unwrap().status()
    }

    #[tokio::test]
    async fn extractors_come_in_any_order_and_leave_the_body_for_others() {
        type Exported = Webhook<fasten::Event>;
        async fn one(_: Exported, delivery: Delivery, Json(body): Json<serde_json::Value>) -> StatusCode {
            if body["id"] == delivery.id().unwrap() { StatusCode::CREATED } else { StatusCode::CONFLICT }
        }
        async fn other(delivery: Delivery, Webhook(event): Exported, bytes: Bytes) -> StatusCode {
            let same = bytes == *delivery.body() && matches!(event, fasten::Event::EhiExportSuccess(_));
            if same { StatusCode::CREATED } else { StatusCode::CONFLICT }
        }
        assert_eq!(status(Router::new().route("/", post(one).layer(layer()))).await, StatusCode::CREATED);
        assert_eq!(status(Router::new().route("/", post(other).layer(layer()))).await, StatusCode::CREATED);
    }

    #[tokio::test]
    async fn an_extractor_without_its_layer_is_our_fault() {
        async fn typed(_: Webhook<fasten::Event>) {}
        async fn plain(_: Delivery) {}
        async fn other(_: Webhook<healthsync::Event>) {}
        assert_eq!(status(Router::new().route("/", post(typed))).await, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(status(Router::new().route("/", post(plain))).await, StatusCode::INTERNAL_SERVER_ERROR);
        let wrong = Router::new().route("/", post(other).layer(layer()));
        assert_eq!(status(wrong).await, StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[tokio::test]
    async fn unknown_paths_stay_unknown() {
        let app: Router = Router::new().route("/webhooks", post(async || ()).layer(layer()));
        let response = app.oneshot(Request::post("/other").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
}
