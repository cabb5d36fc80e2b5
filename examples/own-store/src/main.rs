//! Run with: `FASTEN_SECRET=.. cargo run -p example-own-store`
//!
//! A custom store for one process: claims in memory, handled events in a journal. It shows the rules that every store
//! must follow.

mod journal;

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use medhook_axum::{ConfigError, DedupeStore, Fasten, Receiver, Secrets, Shutdown, Webhook, fasten, post};

use crate::journal::JournalStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = JournalStore::open("handled.journal")?;
    let receiver = receiver(Secrets::from_env("FASTEN_SECRET")?, store)?;
    let shutdown = Shutdown::on_signals(Duration::from_secs(30))?.receivers([receiver.clone()]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8787").await?;
    let server = axum::serve(listener, app(receiver)).with_graceful_shutdown(shutdown.draining());
    shutdown.serve(server).await?;
    Ok(())
}

fn receiver(secrets: Secrets, store: impl DedupeStore) -> Result<Receiver, ConfigError> {
    Receiver::builder("fasten", Fasten::live(secrets)).store(store).build()
}

fn app(receiver: Receiver) -> Router {
    Router::new().route("/webhooks/fasten", post(receiver, on_fasten))
}

async fn on_fasten(Webhook(event): Webhook<fasten::Event>) -> StatusCode {
    match event {
        fasten::Event::EhiExportSuccess(export) if export.urls().count() > 0 => StatusCode::ACCEPTED,
        _ => StatusCode::OK,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use medhook_axum::{Secret, testing};
    use tower::ServiceExt;

    use super::*;

    const SECRET: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";

    #[tokio::test]
    async fn handled_events_are_remembered_after_a_restart() {
        let path = std::env::temp_dir().join(format!("medhook-journal-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        for (id, status) in [
            ("1", StatusCode::ACCEPTED),
            ("1", StatusCode::OK), // a duplicate
            ("2", StatusCode::ACCEPTED),
        ] {
            // Each delivery arrives after a restart.
            let secret = Secret::new(SECRET).unwrap();
            let app = app(receiver(secret.into(), JournalStore::open(&path).unwrap()).unwrap());
            let request = testing::fasten("patient.ehi_export_success").id(id).secret(SECRET);
            let response = app.oneshot(request.request("/webhooks/fasten").map(Body::from)).await.unwrap();
            assert_eq!(response.status(), status);
        }
        std::fs::remove_file(&path).unwrap();
    }
}
