//! Apps with the layers of other crates, each with what it leaves to its users: a set of the ids seen, and decoding.
//!
//! Both verify signature and freshness. Neither limits the body by a setting of its own, claims events, or knows the
//! provider's kinds.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::error_handling::HandleError;
use axum::extract::{FromRef, State};
use axum::handler::Handler;
use axum::http::{Request, StatusCode};
use axum::routing::post;
use axum::{BoxError, Router};
use axum_standardwebhooks::{SharedWebhook, StandardWebhook};
use bytes::Bytes;
use moka::future::Cache;
use tower::Layer;
use tower::util::MapRequest;
use webhook_verify::tower::VerifyLayer;
use webhook_verify::{Provider, Secret};

use crate::by_hand::{Export, decode};
use crate::setting::CAPACITY;
use crate::signed::STANDARD_SECRET;

pub const WEBHOOK_VERIFY: &str = "/webhook-verify";
pub const STANDARD_WEBHOOKS: &str = "/axum-standardwebhooks";

/// The names of the layers, and their paths.
pub const PEERS: [(&str, &str); 2] =
    [("webhook-verify, moka", WEBHOOK_VERIFY), ("axum-standardwebhooks, moka (no SHA-NI)", STANDARD_WEBHOOKS)];

pub fn app() -> Router {
    async fn verified(State(ids): State<Arc<Ids>>, body: Bytes) -> StatusCode {
        ids.handle(&body).await
    }
    async fn extracted(State(ids): State<Arc<Ids>>, StandardWebhook(body): StandardWebhook<Bytes>) -> StatusCode {
        ids.handle(&body).await
    }
    // With the body of axum, this layer is not `Sync`, and `Router::layer` asks for that. Its errors are those of a
    // connection.
    let layer = VerifyLayer::<Bytes>::new(Provider::StandardWebhooks, Secret::new(STANDARD_SECRET));
    let handler =
        MapRequest::new(verified.with_state(Arc::<Ids>::default()), |request: Request<Bytes>| request.map(Body::from));
    let verified = HandleError::new(layer.layer(handler), async |_: BoxError| StatusCode::BAD_REQUEST);
    let webhook = axum_standardwebhooks::Webhook::new(STANDARD_SECRET).expect("a secret");
    Router::new()
        .route_service(WEBHOOK_VERIFY, verified)
        .route(STANDARD_WEBHOOKS, post(extracted))
        .with_state(Peers { webhook: SharedWebhook::new(webhook), ids: Arc::default() })
}

#[derive(Clone, FromRef)]
struct Peers {
    webhook: SharedWebhook,
    ids: Arc<Ids>,
}

/// The ids of events that are being handled or were handled, as their users keep them: in moka's cache.
struct Ids(Cache<String, ()>);

impl Default for Ids {
    fn default() -> Self {
        let capacity = CAPACITY.get() as u64;
        Ids(Cache::builder().max_capacity(capacity).time_to_live(Duration::from_secs(72 * 3600)).build())
    }
}

impl Ids {
    async fn handle(&self, body: &[u8]) -> StatusCode {
        let Ok((id, export)) = decode(body) else { return StatusCode::BAD_REQUEST };
        if !self.0.entry_by_ref(&id).or_insert(()).await.is_fresh() {
            return StatusCode::OK;
        }
        let status = handle_export(export).await;
        // After a failure, the provider's retry must be new.
        if !status.is_success() {
            self.0.invalidate(&id).await;
        }
        status
    }
}

async fn handle_export(_: Export) -> StatusCode {
    StatusCode::OK
}
