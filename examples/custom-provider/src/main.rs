//! Run with: `LAB_SECRET=.. cargo run -p example-custom-provider`
//!
//! A custom provider: a laboratory that signs its bodies with HMAC-SHA256. The bodies have an id, a kind and a time.
//! The application defines the type of its events.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use medhook_axum::{
    Bytes, ConfigError, Custom, Decoded, Encoding, Event, Freshness, HmacSha256Body, MemoryStore, Problem, Receiver,
    Secrets, Shutdown, Webhook, post,
};
use serde::Deserialize;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let receiver = receiver(Secrets::from_env("LAB_SECRET")?)?;
    let shutdown = Shutdown::on_signals(Duration::from_secs(30))?.receivers([receiver.clone()]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8787").await?;
    let server = axum::serve(listener, app(receiver)).with_graceful_shutdown(shutdown.draining());
    shutdown.serve(server).await?;
    Ok(())
}

/// The laboratory's signature scheme.
fn scheme() -> HmacSha256Body {
    HmacSha256Body::new("x-lab-signature").prefix("sha256=").encoding(Encoding::Hex)
}

fn receiver(secrets: Secrets) -> Result<Receiver, ConfigError> {
    let laboratory = Custom::new(LabEvent::PROVIDER, scheme(), secrets)
        // The id is unique to an event, and the same over all attempts to deliver it.
        .id_pointer("/id")
        .kind_pointer("/type")
        .time_pointer("/created_at")
        // Logs and metrics show these kinds by name, and all others as `unknown`.
        .known_kinds(["result.ready", "result.corrected"]);
    Receiver::builder("laboratory", laboratory)
        // The laboratory retries for an hour and signs the time, so older deliveries are replays.
        .freshness(Freshness::EventTime { max_age: Duration::from_secs(2 * 3600), max_skew: Duration::from_secs(300) })
        .store(MemoryStore::new(100_000))
        .build()
}

fn app(receiver: Receiver) -> Router {
    Router::new().route("/webhooks/laboratory", post(receiver, on_result))
}

/// The laboratory's events.
enum LabEvent {
    Ready(LabResult),
    Corrected(LabResult),
    /// An unknown kind, which the laboratory has added.
    Unknown,
    /// A known kind whose payload does not decode.
    Undecodable(Problem),
}

#[derive(Deserialize)]
struct LabResult {
    values: Vec<f64>,
}

impl Event for LabEvent {
    const PROVIDER: &'static str = "laboratory";

    fn from_body(kind: Option<&str>, body: &Bytes) -> Decoded<Self> {
        match kind {
            Some("result.ready") => Decoded::from_json(body, LabEvent::Ready, LabEvent::Undecodable),
            Some("result.corrected") => Decoded::from_json(body, LabEvent::Corrected, LabEvent::Undecodable),
            _ => Decoded::new(LabEvent::Unknown),
        }
    }
}

async fn on_result(Webhook(event): Webhook<LabEvent>) -> StatusCode {
    match event {
        LabEvent::Ready(result) => {
            println!("{} values", result.values.len());
            StatusCode::ACCEPTED
        }
        LabEvent::Corrected(result) => {
            println!("{} corrected values", result.values.len());
            StatusCode::ACCEPTED
        }
        // A retry would not help.
        LabEvent::Unknown => StatusCode::OK,
        // A problem does not quote the body. After a 5xx the laboratory retries, perhaps once `LabResult` is fixed.
        LabEvent::Undecodable(problem) => {
            eprintln!("decoding a result failed: {problem}");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use medhook_axum::{Secret, testing};
    use tower::ServiceExt;

    use super::*;

    const SECRET: &str = "a long random text from the laboratory";

    fn signed(secret: &str, body: String) -> Request<Body> {
        testing::custom(scheme(), body).secret(secret).request("/webhooks/laboratory").map(Body::from)
    }

    #[tokio::test]
    async fn a_result_is_handled_once_while_it_is_fresh() {
        let app = app(receiver(Secret::new(SECRET).unwrap().into()).unwrap());
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let body = |id: u32, kind: &str, at: u64, values: &str| {
            format!(r#"{{"id":"{id}","type":"{kind}","created_at":{at},"values":{values}}}"#)
        };
        let ready = |id, at| body(id, "result.ready", at, "[4.1,5.9]");
        for (request, status) in [
            (signed(SECRET, ready(1, now)), StatusCode::ACCEPTED),
            (signed(SECRET, ready(1, now)), StatusCode::OK), // a duplicate
            (signed(SECRET, ready(2, now - 3 * 3600)), StatusCode::UNAUTHORIZED), // stale
            (signed("another secret", ready(3, now)), StatusCode::UNAUTHORIZED),
            (signed(SECRET, body(4, "result.corrected", now, "[4.2]")), StatusCode::ACCEPTED),
            (signed(SECRET, body(5, "result.ready", now, "4.1")), StatusCode::INTERNAL_SERVER_ERROR),
            (signed(SECRET, body(6, "result.discarded", now, "[]")), StatusCode::OK),
        ] {
            assert_eq!(app.clone().oneshot(request).await.unwrap().status(), status);
        }
    }
}
