//! Run with: `FASTEN_SECRET=whsec_.. cargo run -p example-axum-fasten-sqlite`
//!
//! Receives events from Fasten Connect with axum. The SQLite store remembers handled events over a restart. On SIGTERM
//! and SIGINT, running handlers finish.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use medhook_axum::{ConfigError, Delivery, Fasten, Receiver, Secrets, Shutdown, SqliteStore, Webhook, fasten, post};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init(); // one line per delivery: endpoint, kind, outcome, reason; no health data
    let store = SqliteStore::open("medhook.db").await?; // clone it for every endpoint
    let keys = Secrets::from_env("FASTEN_SECRET")?.also_env("FASTEN_SECRET_OLD")?;
    let fasten = receiver(keys, store)?;

    let shutdown = Shutdown::on_signals(Duration::from_secs(30))?.receivers([fasten.clone()]);
    let listener = TcpListener::bind("127.0.0.1:8787").await?;
    let server = axum::serve(listener, app(fasten)).with_graceful_shutdown(shutdown.draining());
    let canceled = shutdown.serve(server).await?;
    println!("stopped; {canceled} handlers were canceled");
    Ok(())
}

fn receiver(keys: Secrets, store: SqliteStore) -> Result<Receiver, ConfigError> {
    Receiver::builder("fasten", Fasten::live(keys)).store(store).build()
}

fn app(fasten: Receiver) -> Router {
    Router::new().route("/webhooks/fasten", post(fasten, on_fasten))
}

async fn on_fasten(Webhook(event): Webhook<fasten::Event>, delivery: Delivery) -> StatusCode {
    match event {
        fasten::Event::EhiExportSuccess(export) => {
            println!("{} files to fetch", export.urls().count());
            StatusCode::ACCEPTED
        }
        // A documented kind with an undocumented payload: store the bytes for review.
        fasten::Event::Undecodable(_) => {
            println!("an event of {} bytes does not decode", delivery.body().len());
            StatusCode::ACCEPTED
        }
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
    async fn an_export_is_handled_once_even_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        for (id, status) in [
            ("1", StatusCode::ACCEPTED),
            ("1", StatusCode::OK), // a duplicate
            ("2", StatusCode::ACCEPTED),
        ] {
            // Each delivery arrives after a restart.
            let store = SqliteStore::open(folder.path().join("medhook.db")).await.unwrap();
            let app = app(receiver(Secret::new(SECRET).unwrap().into(), store).unwrap());
            let request = testing::fasten("patient.ehi_export_success").id(id).secret(SECRET);
            let response = app.oneshot(request.request("/webhooks/fasten").map(Body::from)).await.unwrap();
            assert_eq!(response.status(), status);
        }
    }
}
