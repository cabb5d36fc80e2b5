//! Receive webhooks from health-tech providers safely: an [axum](https://docs.rs/axum) layer and extractors over
//! [`medhook`](medhook_tower), which is re-exported at the root.
//!
//! # What reaches the handler
//! 1. `POST` requests only, with a body that is not encoded, not over the limit and complete,
//! 2. proven to come from the provider, and fresh,
//! 3. whose event nobody has handled or is handling.
//!
//! The handler takes the event as [`Webhook<E>`](Webhook), the [`Delivery`], or both in any order; `Bytes`, `Json<T>`
//! and the like still work after them. It runs to its end: a sender that hangs up does not stop it. A 2xx
//! answer remembers the event as handled; any other, or a panic, lets the sender's next attempt through. What counts
//! is the answer's status: a body that fails while it is streamed comes too late.
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
//! - axum's `DefaultBodyLimit` (2 MB) does not limit what this layer takes
//!   ([`Builder::body_limit`] does), but may still refuse the body to an extractor inside: prefer
//!   [`Delivery::body`].
//! - Layer the method router, as below, not the whole `Router`: unknown paths then stay 404.
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
//! `axum::serve` does not handle SIGTERM. Its graceful shutdown waits for open connections without a limit, but not for
//! handlers whose client disconnected. `Shutdown` (feature `shutdown`, on by default) bounds all of it by one deadline:
//!
//! ```no_run
//! # use std::time::Duration;
//! # use axum::Router;
//! # use medhook_axum::Receiver;
//! # use tokio::net::TcpListener;
//! # #[cfg(feature = "shutdown")]
//! # async fn serve(app: Router, fasten: Receiver, listener: TcpListener) -> Result<(), Box<dyn std::error::Error>> {
//! # use medhook_axum::Shutdown;
//! let shutdown = Shutdown::on_signals(Duration::from_secs(30))?.receivers([fasten]);
//! shutdown.serve(axum::serve(listener, app).with_graceful_shutdown(shutdown.draining())).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # A receiver for each tenant
//! [`VerifyLayer::per_tenant`] takes a tenant resolver, which finds the receiver of a request by a key that is extracted
//! from its head, before anything of the body is read. [`Receiver::resolve`] lists the responsibilities of the application.
//!
//! Extract the key with `Path`, which has the parameters of all nested routers; a `Uri` has lost what they matched.
//!
//! ```
//! use std::collections::HashMap;
//! use std::convert::Infallible;
//! use std::sync::Arc;
//!
//! use axum::{Router, body::Body, extract::Path, http::StatusCode, routing::post};
//! use medhook_axum::{Delivery, Fasten, MemoryStore, Receiver, Secret, VerifyLayer, testing};
//! use tower::ServiceExt;
//!
//! /// The tenants of this instance, whose receivers are built once.
//! struct Tenants(HashMap<String, Receiver>);
//!
//! impl Tenants {
//!     async fn receiver(&self, tenant: String) -> Result<Option<Receiver>, Infallible> {
//!         Ok(self.0.get(&tenant).cloned())
//!     }
//! }
//!
//! fn app(tenants: Tenants) -> Router {
//!     let tenants = Arc::new(tenants);
//!     let verify = VerifyLayer::per_tenant(move |Path(tenant): Path<String>| {
//!         let tenants = tenants.clone();
//!         async move { tenants.receiver(tenant).await }
//!     });
//!     // Behind the layer the tenant in the path is proven, as is all of the delivery: its secret vouched for it.
//!     let on_fasten = async |Path(_tenant): Path<String>, _: Delivery| StatusCode::ACCEPTED;
//!     Router::new().route("/webhooks/{tenant}/fasten", post(on_fasten).layer(verify))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (north, south) = ("whsec_dGhlIHNlY3JldCBvZiB0aGUgbm9ydGg=", "whsec_dGhlIHNlY3JldCBvZiB0aGUgc291dGg=");
//! let store = MemoryStore::new(100_000);
//! let mut tenants = HashMap::new();
//! for (tenant, secret) in [("north", north), ("south", south)] {
//!     let fasten = Fasten::live(Secret::new(secret)?.labeled(tenant)?);
//!     let receiver = Receiver::builder(format!("fasten-{tenant}"), fasten).store(store.clone()).build()?;
//!     tenants.insert(tenant.to_owned(), receiver);
//! }
//!
//! let app = app(Tenants(tenants));
//! for (path, secret, status) in [
//!     ("/webhooks/north/fasten", north, StatusCode::ACCEPTED),
//!     ("/webhooks/south/fasten", north, StatusCode::UNAUTHORIZED),
//!     ("/webhooks/west/fasten", north, StatusCode::UNAUTHORIZED),
//! ] {
//!     let delivery = testing::fasten("patient.ehi_export_success").secret(secret).request(path);
//!     assert_eq!(app.clone().oneshot(delivery.map(Body::from)).await?.status(), status, "{path}");
//! }
//! # Ok(())
//! # }
//! ```
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
//! let fasten = Fasten::live(Secret::new(secret)?);
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

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::future::Future;
use std::sync::Arc;

use axum_core::body::Body;
use axum_core::extract::FromRequestParts;
use axum_core::response::IntoResponse;
use tower_layer::Layer;

pub use medhook_tower::*;
#[doc(inline)]
pub use medhook_tower::{Delivery, Misplaced, Webhook};

/// Puts a [`Receiver`] in front of a handler: `post(handler).layer(VerifyLayer::new(receiver))`.
#[derive(Debug, Clone)]
pub struct VerifyLayer(medhook_tower::VerifyLayer<Body>);

impl VerifyLayer {
    /// A layer that lets in what the receiver does.
    #[must_use]
    pub fn new(receiver: Receiver) -> Self {
        VerifyLayer(medhook_tower::VerifyLayer::new(receiver))
    }

    /// Creates a layer for many tenants: every request is verified by its tenant's receiver, with the tenant's secret.
    ///
    /// The key is any extractor that does not read the body, or several as a tuple. `resolver` looks the receiver up by
    /// the key: `Ok(None)` for an unknown tenant, an error if the lookup failed. A key that cannot be extracted is an
    /// unknown tenant if the extractor blames the request (4xx), else a failed lookup. See
    /// [the manual](crate#a-receiver-for-each-tenant).
    #[must_use]
    pub fn per_tenant<K, F, R, E>(resolver: F) -> Self
    where
        K: FromRequestParts<()> + Send + 'static,
        F: Fn(K) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<Receiver>, E>> + Send + 'static,
    {
        let resolver = Arc::new(resolver);
        VerifyLayer(medhook_tower::VerifyLayer::per_tenant(move |head| {
            let (mut head, resolver) = (head.clone(), resolver.clone());
            async move {
                let key = K::from_request_parts(&mut head, &()).await;
                match key.map_err(|rejection| rejection.into_response().status()) {
                    Ok(key) => resolver(key).await.map_err(drop),
                    Err(status) if status.is_client_error() => Ok(None),
                    Err(_) => Err(()),
                }
            }
        }))
    }
}

impl<S> Layer<S> for VerifyLayer {
    type Service = Verify<S>;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(inner)
    }
}

/// The service that [`VerifyLayer`] makes.
pub type Verify<S> = medhook_tower::Verify<S, Body>;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use axum::extract::{Path, Request};
    use axum::http::StatusCode;
    use axum::routing::post;
    use axum::{Json, Router};
    use medhook_tower::testing;
    use tower::ServiceExt;

    use super::*;

    const SECRET: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";

    fn layer() -> VerifyLayer {
        let fasten = Fasten::live(Secret::new(SECRET).unwrap());
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

    const NORTH: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgbm9ydGg=";
    const SOUTH: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgc291dGg=";

    /// A layer for the tenants `north` and `south`; `lost` cannot be looked up.
    fn per_tenant<K>(tenant: fn(K) -> String) -> VerifyLayer
    where
        K: FromRequestParts<()> + Send + 'static,
    {
        let receiver = |name, secret| {
            let fasten = Fasten::live(Secret::new(secret).unwrap().labeled(name).unwrap());
            (name, Receiver::builder(name, fasten).store(NoDedupe).build().unwrap())
        };
        let tenants = Arc::new(HashMap::from([receiver("north", NORTH), receiver("south", SOUTH)]));
        VerifyLayer::per_tenant(move |key| {
            let (tenants, tenant) = (tenants.clone(), tenant(key));
            async move { if tenant == "lost" { Err("out of order") } else { Ok(tenants.get(&*tenant).cloned()) } }
        })
    }

    async fn reason(app: &Router, secret: &str, path: &str) -> (u16, Option<Reason>) {
        let request = testing::fasten("patient.ehi_export_success").secret(secret).request(path);
        let response = app.clone().oneshot(request.map(Body::from)).await.unwrap();
        (response.status().as_u16(), response.extensions().get().copied())
    }

    #[tokio::test]
    async fn each_tenant_has_its_own_receiver_wherever_its_path_is_matched() {
        async fn handler(Path(tenant): Path<String>, delivery: Delivery) -> StatusCode {
            if tenant == delivery.endpoint() { StatusCode::CREATED } else { StatusCode::CONFLICT }
        }
        let endpoint = || post(handler).layer(per_tenant(|Path(tenant)| tenant));
        let flat = Router::new().route("/webhooks/{tenant}/fasten", endpoint());
        let inside = Router::new().nest("/webhooks/{tenant}", Router::new().route("/fasten", endpoint()));
        let around = Router::new().route("/fasten", post(handler)).layer(per_tenant(|Path(tenant)| tenant));
        let around = Router::new().nest("/webhooks/{tenant}", around);
        for (app, name) in [(flat, "flat"), (inside, "inside"), (around, "around")] {
            for (secret, tenant, expected) in [
                (NORTH, "north", (201, None)),
                (SOUTH, "south", (201, None)),
                (SOUTH, "north", (401, Some(Reason::SignatureMismatch))),
                (NORTH, "west", (401, Some(Reason::UnknownTenant))),
                (NORTH, "nor%74h", (201, None)),
                (NORTH, "north%00", (401, Some(Reason::UnknownTenant))),
                (NORTH, "%ff", (401, Some(Reason::UnknownTenant))),
                (NORTH, "lost", (503, Some(Reason::TenantLookupFailed))),
            ] {
                let path = format!("/webhooks/{tenant}/fasten");
                assert_eq!(reason(&app, secret, &path).await, expected, "{name}: {path}");
            }
        }
    }

    #[tokio::test]
    async fn a_key_that_cannot_be_extracted_lets_nobody_in() {
        let layer = || per_tenant(|Path(n): Path<u32>| n.to_string());
        let app = Router::new().route("/{n}", post(async || ()).layer(layer()));
        assert_eq!(reason(&app, NORTH, "/north").await, (401, Some(Reason::UnknownTenant)));
        let no_such_parameter = Router::new().route("/", post(async || ()).layer(layer()));
        assert_eq!(reason(&no_such_parameter, NORTH, "/").await, (503, Some(Reason::TenantLookupFailed)));
    }

    #[tokio::test]
    async fn unknown_paths_stay_unknown() {
        let app: Router = Router::new().route("/webhooks", post(async || ()).layer(layer()));
        let response = app.oneshot(Request::post("/other").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
}
