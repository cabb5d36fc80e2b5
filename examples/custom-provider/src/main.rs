//! Run with: `LAB_SECRET=.. cargo run -p example-custom-provider`
//!
//! A sixth provider: a laboratory that signs its bodies with HMAC-SHA256 and says id, kind and time in them.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use medhook_axum::{
    ConfigError, Custom, Delivery, Encoding, Freshness, HmacSha256Body, MemoryStore, Receiver, Secrets, Shutdown,
    VerifyLayer,
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

fn receiver(secrets: Secrets) -> Result<Receiver, ConfigError> {
    let scheme = HmacSha256Body::new("x-lab-signature").prefix("sha256=").encoding(Encoding::Hex);
    let laboratory = Custom::new("laboratory", scheme, secrets)
        // The same over all attempts at one event, and never the same for two.
        .id_pointer("/id")
        .kind_pointer("/type")
        .time_pointer("/created_at")
        // Logs and metrics show these by name, and all others as `unknown`.
        .known_kinds(["result.ready", "result.corrected"]);
    Receiver::builder("laboratory", laboratory)
        // The laboratory tries again for an hour, and the time is signed: what is older is a copy.
        .freshness(Freshness::EventTime { max_age: Duration::from_secs(2 * 3600), max_skew: Duration::from_secs(300) })
        .store(MemoryStore::new(100_000))
        .build()
}

fn app(receiver: Receiver) -> Router {
    Router::new().route("/webhooks/laboratory", post(on_result).layer(VerifyLayer::new(receiver)))
}

#[derive(Deserialize)]
struct LabResult {
    values: Vec<f64>,
}

/// `Webhook<E>` is for providers with a type of their own; a `Custom` one's body is read with `Delivery::json`.
async fn on_result(delivery: Delivery) -> StatusCode {
    match (delivery.kind(), delivery.json::<LabResult>()) {
        (Some("result.ready" | "result.corrected"), Ok(result)) => {
            println!("{} values", result.values.len());
            StatusCode::ACCEPTED
        }
        // Do not print the error: it may quote the body. 5xx has the laboratory try again, after we had a look.
        (Some("result.ready" | "result.corrected"), Err(_)) => StatusCode::INTERNAL_SERVER_ERROR,
        // A kind that is new: nothing to do, and nothing to try again for.
        _ => StatusCode::OK,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use medhook_axum::Secret;
    use medhook_axum::testing::Signing;
    use tower::ServiceExt;

    use super::*;

    const SECRET: &str = "a long random text of the laboratory's";

    fn signed(secret: &str, body: &str) -> Request<Body> {
        let header = "x-lab-signature".to_owned();
        let signing = Signing::HmacSha256Body { header, prefix: "sha256=".to_owned(), encoding: Encoding::Hex };
        let headers = signing.headers(secret, "", "", body.as_bytes()).unwrap();
        let request = headers.iter().fold(Request::post("/webhooks/laboratory"), |request, (name, value)| {
            request.header(name.as_str(), value.as_str())
        });
        request.body(Body::from(body.to_owned())).unwrap()
    }

    #[tokio::test]
    async fn a_result_is_handled_once_while_it_is_fresh() {
        let app = app(receiver(Secret::new(SECRET).unwrap().into()).unwrap());
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let body =
            |id: u32, at: u64| format!(r#"{{"id":"{id}","type":"result.ready","created_at":{at},"values":[4.1,5.9]}}"#);
        for (request, status) in [
            (signed(SECRET, &body(1, now)), StatusCode::ACCEPTED),
            (signed(SECRET, &body(1, now)), StatusCode::OK), // a duplicate
            (signed(SECRET, &body(2, now - 3 * 3600)), StatusCode::UNAUTHORIZED), // stale
            (signed("somebody else's", &body(3, now)), StatusCode::UNAUTHORIZED),
            (signed(SECRET, r#"{"id":"4","type":"result.ready","created_at":0}"#), StatusCode::UNAUTHORIZED),
        ] {
            assert_eq!(app.clone().oneshot(request).await.unwrap().status(), status);
        }
    }
}
