//! Run with: `FASTEN_SECRET=.. cargo run -p example-own-store`
//!
//! A store of one's own: claims in memory, handled events in a journal. For one process; what it shows is what every
//! store has to keep to.

mod journal;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use medhook_axum::{DedupeStore, Fasten, Receiver, Secrets, VerifyLayer, Webhook, fasten};

use crate::journal::JournalStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = JournalStore::open("handled.journal")?;
    let app = app(Secrets::from_env("FASTEN_SECRET")?, store)?;
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:8787").await?, app).await?;
    Ok(())
}

fn app(secrets: Secrets, store: impl DedupeStore) -> Result<Router, medhook_axum::ConfigError> {
    let receiver = Receiver::builder("fasten", Fasten::live(secrets)).store(store).build()?;
    Ok(Router::new().route("/webhooks/fasten", post(on_fasten).layer(VerifyLayer::new(receiver))))
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
    async fn a_restart_does_not_forget_what_was_handled() {
        let path = std::env::temp_dir().join(format!("medhook-journal-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        for (id, status) in [
            ("1", StatusCode::ACCEPTED),
            ("1", StatusCode::OK), // a duplicate
            ("2", StatusCode::ACCEPTED),
        ] {
            // Each delivery meets a process that has just started.
            let secret = Secret::new("test", SECRET).unwrap();
            let app = app(secret.into(), JournalStore::open(&path).unwrap()).unwrap();
            let request = testing::fasten("patient.ehi_export_success").id(id).secret(SECRET);
            let response = app.oneshot(request.request("/webhooks/fasten").map(Body::from)).await.unwrap();
            assert_eq!(response.status(), status);
        }
        std::fs::remove_file(&path).unwrap();
    }
}
