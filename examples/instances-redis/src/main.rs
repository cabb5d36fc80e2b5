//! Run with: `HEALTHSYNC_SECRET=.. REDIS_URL=redis://127.0.0.1/ cargo run -p example-instances-redis -- 127.0.0.1:8787`
//!
//! Start any number of instances, each at its own address, behind a load balancer. They share a Redis server, so that
//! each event is handled by one instance, even if its deliveries reach several.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use medhook_axum::{
    ConfigError, DedupeStore, HealthSync, Receiver, RedisStore, Secrets, Shutdown, Webhook, healthsync, post,
};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8787".to_owned());
    // Fails if the server may evict keys, because evicted events would be handled again.
    let store = RedisStore::connect(&std::env::var("REDIS_URL")?).await?;
    let receiver = receiver(Secrets::from_env("HEALTHSYNC_SECRET")?, store)?;
    // New deliveries are still handled for 5 s, until the load balancer has noticed the shutdown. Handlers that take
    // longer than 20 s are canceled, and another instance handles their events on the next attempt.
    let shutdown = Shutdown::on_signals(Duration::from_secs(20))?
        .drain_delay(Duration::from_secs(5))
        .receivers([receiver.clone()]);
    let ready = shutdown.clone();
    let app = app(receiver).route("/readyz", get(async move || readiness(&ready)));
    let server = axum::serve(TcpListener::bind(address).await?, app).with_graceful_shutdown(shutdown.draining());
    shutdown.serve(server).await?;
    Ok(())
}

/// Builds the receiver. Its name is part of the keys in the store, and must be the same in all instances.
fn receiver(secrets: Secrets, store: impl DedupeStore) -> Result<Receiver, ConfigError> {
    Receiver::builder("healthsync", HealthSync::new(secrets)).store(store).build()
}

fn app(receiver: Receiver) -> Router {
    Router::new().route("/webhooks/healthsync", post(receiver, on_healthsync))
}

async fn on_healthsync(Webhook(event): Webhook<healthsync::Event>) -> StatusCode {
    match event {
        healthsync::Event::DocumentUploaded(_) => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    }
}

/// Answers the readiness check, which the load balancer sends every second or two.
fn readiness(shutdown: &Shutdown) -> StatusCode {
    if shutdown.is_requested() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use medhook_axum::{Secret, testing};
    use tower::ServiceExt;

    use super::*;

    const SECRET: &str = "a-secret-of-the-dashboard";

    /// Starts an instance with its own connections to the server that `scripts/test` starts.
    async fn instance(namespace: &str) -> Router {
        let url = std::env::var("MEDHOOK_TEST_REDIS").expect("MEDHOOK_TEST_REDIS is not set; run scripts/test");
        let store = RedisStore::builder().namespace(namespace).connect(&url).await.unwrap();
        app(receiver(Secret::new(SECRET).unwrap().into(), store).unwrap())
    }

    #[tokio::test]
    async fn only_one_instance_handles_an_event() {
        let namespace = format!("example_{}", std::process::id());
        let mut handled = 0;
        for _ in 0..3 {
            let request = testing::healthsync("document.uploaded").secret(SECRET).request("/webhooks/healthsync");
            let status = instance(&namespace).await.oneshot(request.map(Body::from)).await.unwrap().status();
            assert!(status.is_success(), "{status}");
            handled += usize::from(status == StatusCode::ACCEPTED);
        }
        assert_eq!(handled, 1);
    }
}
