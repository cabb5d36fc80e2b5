//! Run with: `cargo test -p example-handler-tests`
//!
//! Tests handlers in two ways: by calling them directly with an event, and by sending signed requests through the
//! layer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use medhook_axum::{Delivery, Fasten, MemoryStore, Receiver, Secrets, Shutdown, Webhook, fasten, post};
use tokio::sync::mpsc::Sender;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (downloads, mut queue) = tokio::sync::mpsc::channel::<String>(100);
    tokio::spawn(async move {
        while let Some(link) = queue.recv().await {
            println!("fetching a link of {} characters", link.len());
        }
    });
    let keys = Secrets::from_env("FASTEN_SECRET")?;
    let receiver = Receiver::builder("fasten", Fasten::live(keys)).store(MemoryStore::new(100_000)).build()?;
    let shutdown = Shutdown::on_signals(Duration::from_secs(30))?.receivers([receiver.clone()]);
    let app = app(receiver, downloads);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8787").await?;
    let server = axum::serve(listener, app).with_graceful_shutdown(shutdown.draining());
    shutdown.serve(server).await?;
    Ok(())
}

fn app(receiver: Receiver, downloads: Sender<String>) -> Router {
    let route = post(receiver, on_fasten);
    Router::new().route("/webhooks/fasten", route).with_state(Arc::new(downloads))
}

async fn on_fasten(
    State(downloads): State<Arc<Sender<String>>>,
    Webhook(event): Webhook<fasten::Event>,
    delivery: Delivery,
) -> StatusCode {
    match event {
        fasten::Event::EhiExportSuccess(export) => {
            for link in export.urls() {
                // If the queue is full, the answer is 503 and Fasten retries later.
                if downloads.try_send(link.expose().to_owned()).is_err() {
                    return StatusCode::SERVICE_UNAVAILABLE;
                }
            }
            StatusCode::ACCEPTED
        }
        // A genuine event without a readable kind: answer 500 so that Fasten retries.
        fasten::Event::Undecodable(_) if delivery.kind().is_none() => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::OK,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use medhook_axum::testing::{self, StoppedClock};
    use medhook_axum::{Bytes, Secret};
    use tower::ServiceExt;

    use super::*;

    const SECRET: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
    const NOW: i64 = 1_767_225_600;

    /// Builds a receiver with a stopped clock, so that the tests do not depend on the current time.
    fn receiver() -> Receiver {
        let fasten = Fasten::live(Secret::new(SECRET).unwrap());
        Receiver::builder("fasten", fasten).store(MemoryStore::new(10)).clock(StoppedClock::at(NOW)).build().unwrap()
    }

    async fn status(app: &Router, request: Request<Bytes>) -> StatusCode {
        app.clone().oneshot(request.map(Body::from)).await.unwrap().status()
    }

    #[tokio::test]
    async fn every_link_is_queued_once() {
        let (downloads, mut queue) = tokio::sync::mpsc::channel(10);
        let app = app(receiver(), downloads);
        let export =
            || testing::fasten("patient.ehi_export_success").secret(SECRET).at(NOW).request("/webhooks/fasten");
        assert_eq!(status(&app, export()).await, StatusCode::ACCEPTED);
        let queued = queue.len();
        assert!(queued > 0);
        assert_eq!(status(&app, export()).await, StatusCode::OK, "a duplicate");
        assert_eq!(queue.len(), queued);
        assert!(queue.recv().await.unwrap().starts_with("https://"));
    }

    #[tokio::test]
    async fn an_event_is_handled_on_retry_after_the_queue_was_full() {
        let (downloads, mut queue) = tokio::sync::mpsc::channel(10);
        for _ in 0..10 {
            downloads.try_send(String::new()).unwrap();
        }
        let app = app(receiver(), downloads);
        let export =
            || testing::fasten("patient.ehi_export_success").secret(SECRET).at(NOW).request("/webhooks/fasten");
        assert_eq!(status(&app, export()).await, StatusCode::SERVICE_UNAVAILABLE);
        while queue.try_recv().is_ok() {}
        assert_eq!(status(&app, export()).await, StatusCode::ACCEPTED);
    }

    #[tokio::test]
    async fn altered_and_stale_deliveries_do_not_reach_the_handler() {
        let (downloads, queue) = tokio::sync::mpsc::channel(10);
        let app = app(receiver(), downloads);
        let genuine = || testing::fasten("patient.ehi_export_success").secret(SECRET);
        let altered = genuine().at(NOW).request("/webhooks/fasten").map(|_| Bytes::from_static(b"{}"));
        let stale = genuine().at(NOW - 301).request("/webhooks/fasten");
        for rejected in [altered, stale] {
            assert_eq!(status(&app, rejected).await, StatusCode::UNAUTHORIZED);
        }
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn the_handler_can_be_called_directly() {
        let (downloads, _queue) = tokio::sync::mpsc::channel(10);
        let receiver = receiver();
        let sample = testing::fasten("patient.ehi_export_failed").secret(SECRET).at(NOW).request("/");
        let verified = receiver.verify(sample.headers(), sample.body().clone()).unwrap();
        let delivery = receiver.open(verified).unwrap();

        let failed = fasten::Event::EhiExportFailed(fasten::EhiExportFailed::default());
        let status = on_fasten(State(Arc::new(downloads)), Webhook(failed), delivery).await;
        assert_eq!(status, StatusCode::OK);
    }
}
