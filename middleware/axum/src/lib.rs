//! An [axum](https://docs.rs/axum) layer and extractors that receive webhooks from health-tech providers safely.
//!
//! ```
//! use axum::{Router, body::Body, http::StatusCode};
//! use medhook_axum::{Delivery, Fasten, MemoryStore, Receiver, Secret};
//! use medhook_axum::{Webhook, fasten, post, testing};
//! # use tower::ServiceExt;
//! # async fn keep(_: &medhook_axum::Bytes) -> StatusCode { StatusCode::OK }
//!
//! async fn on_fasten(
//!     Webhook(event): Webhook<fasten::Event>,
//!     delivery: Delivery,
//! ) -> StatusCode {
//!     match event {
//!         fasten::Event::EhiExportSuccess(_) => StatusCode::ACCEPTED,
//!         // The payload is not as documented.
//!         fasten::Event::Undecodable(_) => keep(delivery.body()).await,
//!         _ => StatusCode::OK,
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secret = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
//! let fasten = Receiver::builder("fasten", Fasten::live(Secret::new(secret)?))
//!     .store(MemoryStore::new(10_000))
//!     .build()?;
//! let app: Router = Router::new().route("/webhooks/fasten", post(fasten, on_fasten));
//!
//! let sample = testing::fasten("patient.ehi_export_success").secret(secret);
//! let genuine = sample.request("/webhooks/fasten").map(Body::from);
//! assert_eq!(app.clone().oneshot(genuine).await?.status(), StatusCode::ACCEPTED);
//!
//! let forged = sample.request("/webhooks/fasten").map(|_| Body::from("{}"));
//! assert_eq!(app.oneshot(forged).await?.status(), StatusCode::UNAUTHORIZED);
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
//! extractors such as `Bytes` and `Json<T>` also work, as the last argument.
//!
//! [`post`] mounts a handler behind its receiver, and [`VerifyLayer`] puts a receiver in front of whole routers. A
//! route without the layer is not verified: a handler that extracts `Webhook` or `Delivery` is then answered 500, but
//! one that extracts only `Bytes` or `Json<T>` runs for **any caller**. Prefer [`post`], which cannot be used without
//! a receiver, or extract the [`Delivery`] and read [`Delivery::body`].
//!
//! A 2xx from the handler commits the event. Any other status, or a panic, releases it, so the provider's retry will
//! be handled. Only the status counts: an error in a streamed response body cannot release the event. The
//! handler runs to completion even if the client disconnects.
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
//! On SIGTERM, new deliveries are answered 503, and running handlers have 30 s to finish:
//!
//! ```no_run
//! # use std::time::Duration;
//! # use axum::Router;
//! # use medhook_axum::Receiver;
//! # use tokio::net::TcpListener;
//! # #[cfg(feature = "shutdown")]
//! # async fn serve(
//! #     app: Router,
//! #     fasten: Receiver,
//! #     listener: TcpListener,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! # use medhook_axum::Shutdown;
//! let shutdown = Shutdown::on_signals(Duration::from_secs(30))?.receivers([fasten]);
//! let server = axum::serve(listener, app);
//! shutdown.serve(server.with_graceful_shutdown(shutdown.draining())).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Guides
//!
//! - [`guide::tenants`]: one receiver for each tenant, with [`VerifyLayer::per_tenant`]
//! - [`guide::inbox`]: storing events before they are handled
//! - [`guide::schemes`] and [`guide::handshakes`]: providers that are not built in
//! - [`guide::rotation`]: replacing secrets without a restart
//! - [`guide::proxies`]: reverse proxies and load balancers
//! - [`guide::layers`]: the order of layers, and the body limits of axum's extractors
//! - [`guide::shutdown`]: the deadline, and readiness probes
//! - [`guide::silence`]: noticing that deliveries stopped, and what to do after an outage
//! - [`guide::logs`]: the log lines, and how to install a subscriber

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod route;

use std::future::Future;
use std::sync::Arc;

use axum_core::body::Body;
use axum_core::extract::FromRequestParts;
use axum_core::response::IntoResponse;
use tower_layer::Layer;

pub use self::route::post;
#[cfg(feature = "inbox")]
pub use self::route::post_to_inbox;
pub use medhook_tower::*;
#[doc(inline)]
pub use medhook_tower::{Delivery, Misplaced, Webhook};

/// A layer that puts a [`Receiver`] in front of a handler: `post(handler).layer(VerifyLayer::new(receiver))`.
#[derive(Debug, Clone)]
pub struct VerifyLayer(medhook_tower::VerifyLayer<Body>);

impl VerifyLayer {
    /// Creates a layer that passes on the deliveries that `receiver` accepts.
    #[must_use]
    pub fn new(receiver: Receiver) -> Self {
        VerifyLayer(medhook_tower::VerifyLayer::new(receiver))
    }

    /// Creates a layer for many tenants: every request is verified by the receiver of its tenant, with the tenant's
    /// secret.
    ///
    /// The key is any extractor that does not read the body, or several as a tuple. `resolver` looks the receiver up
    /// by the key and returns `Ok(None)` for an unknown tenant, or an error if the lookup failed. If the key cannot
    /// be extracted, a rejection of the extractor with a 4xx counts as an unknown tenant, and any other as a failed
    /// lookup.
    ///
    /// Extract the key with `Path`, which has the parameters of all nested routers. A `Uri` lacks the prefixes that
    /// they matched. See [`guide::tenants`].
    ///
    /// ```
    /// use std::{collections::HashMap, convert::Infallible, sync::Arc};
    ///
    /// use axum::{Router, body::Body, extract::Path, http::StatusCode, routing::post};
    /// use medhook_axum::{Delivery, Fasten, MemoryStore, Receiver, Secret, VerifyLayer};
    /// # use medhook_axum::testing;
    /// # use tower::ServiceExt;
    ///
    /// fn app(receivers: HashMap<String, Receiver>) -> Router {
    ///     let receivers = Arc::new(receivers);
    ///     let verify = VerifyLayer::per_tenant(move |Path(tenant): Path<String>| {
    ///         let receivers = receivers.clone();
    ///         async move { Ok::<_, Infallible>(receivers.get(&tenant).cloned()) }
    ///     });
    ///     // Inside the layer the tenant is verified: its secret verified the delivery.
    ///     let on_fasten = async |Path(_): Path<String>, _: Delivery| StatusCode::ACCEPTED;
    ///     Router::new().route("/webhooks/{tenant}/fasten", post(on_fasten).layer(verify))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let secret = "whsec_dGhlIHNlY3JldCBvZiB0aGUgbm9ydGg=";
    /// let north = Receiver::builder("fasten-north", Fasten::live(Secret::new(secret)?))
    ///     .store(MemoryStore::new(100_000))
    ///     .build()?;
    /// let app = app(HashMap::from([("north".to_owned(), north)]));
    ///
    /// let sample = testing::fasten("patient.ehi_export_success").secret(secret);
    /// let expected = [("/webhooks/north/fasten", 202), ("/webhooks/west/fasten", 401)];
    /// for (path, status) in expected {
    ///     let request = sample.request(path).map(Body::from);
    ///     assert_eq!(app.clone().oneshot(request).await?.status(), status, "{path}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
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

/// The service that [`VerifyLayer`] creates.
pub type Verify<S> = medhook_tower::Verify<S, Body>;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use axum::extract::{Path, Request, State};
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
    async fn an_extractor_without_its_layer_is_answered_500() {
        async fn typed(_: Webhook<fasten::Event>) {}
        async fn plain(_: Delivery) {}
        async fn other(_: Webhook<healthsync::Event>) {}
        assert_eq!(status(Router::new().route("/", post(typed))).await, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(status(Router::new().route("/", post(plain))).await, StatusCode::INTERNAL_SERVER_ERROR);
        let wrong = Router::new().route("/", post(other).layer(layer()));
        assert_eq!(status(wrong).await, StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[tokio::test]
    async fn a_posted_handler_that_reads_only_the_body_is_verified() {
        async fn handler(_: State<()>, _: Bytes) -> StatusCode {
            StatusCode::ACCEPTED
        }
        let fasten = Fasten::live(Secret::new(SECRET).unwrap());
        let receiver = Receiver::builder("fasten", fasten).store(NoDedupe).build().unwrap();
        let app = Router::new().route("/", super::post(receiver, handler)).with_state(());
        assert_eq!(status(app.clone()).await, StatusCode::ACCEPTED);
        for (method, expected) in [("POST", 401), ("GET", 405)] {
            let request = Request::builder().method(method).uri("/").body(Body::from("{}")).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), expected, "{method}");
        }
        let tenants = per_tenant(|Path(tenant)| tenant);
        let app = Router::new().route("/{tenant}", super::post(tenants, handler)).with_state(());
        assert_eq!(reason(&app, NORTH, "/north").await, (202, None));
        assert_eq!(reason(&app, NORTH, "/south").await, (401, Some(Reason::SignatureMismatch)));
    }

    const NORTH: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgbm9ydGg=";
    const SOUTH: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgc291dGg=";

    /// A layer for the tenants `north` and `south`; the lookup of `lost` fails.
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
            async move { if tenant == "lost" { Err("lookup failed") } else { Ok(tenants.get(&*tenant).cloned()) } }
        })
    }

    async fn reason(app: &Router, secret: &str, path: &str) -> (u16, Option<Reason>) {
        let request = testing::fasten("patient.ehi_export_success").secret(secret).request(path);
        let response = app.clone().oneshot(request.map(Body::from)).await.unwrap();
        (response.status().as_u16(), response.extensions().get().copied())
    }

    #[tokio::test]
    async fn each_tenant_has_its_own_receiver_in_flat_and_nested_routers() {
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
    async fn a_key_that_cannot_be_extracted_is_rejected() {
        let layer = || per_tenant(|Path(n): Path<u32>| n.to_string());
        let app = Router::new().route("/{n}", post(async || ()).layer(layer()));
        assert_eq!(reason(&app, NORTH, "/north").await, (401, Some(Reason::UnknownTenant)));
        let no_such_parameter = Router::new().route("/", post(async || ()).layer(layer()));
        assert_eq!(reason(&no_such_parameter, NORTH, "/").await, (503, Some(Reason::TenantLookupFailed)));
    }

    #[tokio::test]
    async fn unknown_paths_are_answered_404() {
        let app: Router = Router::new().route("/webhooks", post(async || ()).layer(layer()));
        let response = app.oneshot(Request::post("/other").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
}
