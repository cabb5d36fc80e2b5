//! Run with: `MEDHOOK_INBOX_KEY=.. FASTEN_SECRET=whsec_.. cargo run -p example-inbox-axum-sqlite`
//!
//! Receives events from Fasten Connect with axum and stores them, sealed, in SQLite before it answers. A worker then
//! runs the handler, as often as it takes. `openssl rand -base64 32` makes a key. Keep it: without it, the stored
//! events cannot be opened.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::handler::Handler;
use axum::http::StatusCode;
use medhook_axum::{
    Bodies, ConfigError, Delivery, Fasten, Keyring, Receiver, Secrets, Shutdown, SqliteStore, Webhook, Worker, fasten,
    post_to_inbox,
};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init(); // a line for each delivery and each attempt; no health data
    let store = SqliteStore::open("medhook.db").await?;
    let fasten = receiver(Secrets::from_env("FASTEN_SECRET")?, Keyring::from_env("MEDHOOK_INBOX_KEY")?, store).await?;
    let worker = tokio::spawn(worker(&fasten)?.run());

    let shutdown = Shutdown::on_signals(Duration::from_secs(30))?.receivers([fasten.clone()]);
    let listener = TcpListener::bind("127.0.0.1:8787").await?;
    let server = axum::serve(listener, app(fasten)?).with_graceful_shutdown(shutdown.draining());
    shutdown.serve(server).await?;
    worker.await?; // ends with its receiver; events that it has not finished stay in the inbox
    Ok(())
}

async fn receiver(secrets: Secrets, keyring: Keyring, store: SqliteStore) -> Result<Receiver, ConfigError> {
    let inbox = store.inbox(Bodies::sealed(keyring)).await?;
    Receiver::builder("fasten", Fasten::live(secrets)).inbox(inbox).build()
}

/// The worker of the endpoint. It calls the handler without a network, so the handler needs no route.
fn worker(receiver: &Receiver) -> Result<Worker, ConfigError> {
    Worker::builder(receiver).service::<Body, _>(on_fasten.with_state(()))
}

fn app(receiver: Receiver) -> Result<Router, ConfigError> {
    Ok(Router::new().route("/webhooks/fasten", post_to_inbox(receiver)?))
}

/// Handles an event. 2xx: done; any other status, and a panic: attempted again after 5 s, then after ever longer times.
async fn on_fasten(Webhook(event): Webhook<fasten::Event>, delivery: Delivery) -> StatusCode {
    match event {
        fasten::Event::EhiExportSuccess(export) => {
            println!("attempt {}: {} files to fetch", delivery.attempt(), export.urls().count());
            StatusCode::OK
        }
        // A documented kind with an undocumented payload: store the bytes for review.
        fasten::Event::Undecodable(_) => {
            println!("an event of {} bytes does not decode", delivery.body().len());
            StatusCode::OK
        }
        _ => StatusCode::OK,
    }
}

#[cfg(test)]
mod tests {
    use medhook_axum::inbox::{Filter, Status};
    use medhook_axum::{Secret, testing};
    use tower::ServiceExt;

    use super::*;

    const SECRET: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

    async fn start(folder: &std::path::Path) -> Receiver {
        let store = SqliteStore::open(folder.join("medhook.db")).await.unwrap();
        let keyring = Keyring::new(Secret::new(KEY).unwrap()).unwrap();
        receiver(Secret::new(SECRET).unwrap().into(), keyring, store).await.unwrap()
    }

    async fn statuses(receiver: &Receiver) -> Vec<(Status, u32)> {
        let entries = receiver.inbox().unwrap().list(&Filter::new()).await.unwrap();
        entries.iter().map(|entry| (entry.status, entry.attempts)).collect()
    }

    #[tokio::test]
    async fn an_event_that_was_stored_is_handled_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        // No worker runs when the event arrives, as if the handler were broken.
        let before = start(folder.path()).await;
        let app = app(before.clone()).unwrap();
        for _ in 0..2 {
            let request = testing::fasten("patient.ehi_export_success").id("1").secret(SECRET);
            let response = app.clone().oneshot(request.request("/webhooks/fasten").map(Body::from)).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }
        assert_eq!(statuses(&before).await, [(Status::Waiting, 0)], "one row; the second delivery is a duplicate");
        drop((before, app));

        let after = start(folder.path()).await;
        let worker = tokio::spawn(worker(&after).unwrap().run());
        let done = async {
            while statuses(&after).await != [(Status::Done, 1)] {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), done).await.expect("the event is handled");
        after.drain(Duration::from_secs(10)).await;
        worker.await.unwrap();
    }
}
