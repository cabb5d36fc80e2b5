//! Extractors: one type in all crates, and the same response where they are misplaced.

use std::convert::identity;
use std::fmt;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Extension, Router};
use medhook::{Delivery, Webhook, fasten, healthsync, testing};
use tower::ServiceExt;
use tracing::Level;
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::{Context, Layer};

use crate::endpoint::{SECRET, receiver};

/// Compiles only if the framework crates re-export the core's types.
const _: [fn(medhook_tower::Delivery) -> Delivery; 3] =
    [identity::<Delivery>, identity::<medhook_axum::Delivery>, identity::<medhook_actix::Delivery>];
const _: [fn(medhook_axum::Webhook<()>) -> Webhook<()>; 2] =
    [identity::<Webhook<()>>, identity::<medhook_actix::Webhook<()>>];

fn sample() -> testing::Sample {
    testing::healthsync("document.uploaded").secret(SECRET)
}

async fn status(app: Router) -> StatusCode {
    app.oneshot(sample().request("/").map(Body::from)).await.expect("an answer").status()
}

#[tokio::test]
async fn a_delivery_can_be_taken_as_an_extension() {
    async fn handler(Extension(delivery): Extension<medhook_axum::Delivery>) -> StatusCode {
        if delivery.kind() == Some("document.uploaded") { StatusCode::ACCEPTED } else { StatusCode::CONFLICT }
    }
    let layer = medhook_axum::VerifyLayer::new(receiver());
    assert_eq!(status(Router::new().route("/", post(handler).layer(layer))).await, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_misplaced_extractor_of_axum_answers_500_and_logs_the_mistake() {
    let (lines, _guard) = captured();
    let missing = |extractor| {
        format!(
            "ERROR a handler extracts `{extractor}`, but its route has no `VerifyLayer`, so every request is answered \
             500; add `.layer(VerifyLayer::new(receiver))` to the route"
        )
    };
    let other = "ERROR the handler extracts events of another provider than its VerifyLayer verifies \
                 (the delivery is from provider healthsync, but the handler expects events of provider fasten)";
    let layer = || medhook_axum::VerifyLayer::new(receiver());
    for (handler, line) in [
        (post(async |_: Delivery| ()), missing("Delivery")),
        (post(async |_: Webhook<healthsync::Event>| ()), missing("Webhook")),
        (post(async |_: Webhook<fasten::Event>| ()).layer(layer()), other.to_owned()),
    ] {
        assert_eq!(status(Router::new().route("/", handler)).await, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(lines.taken(), [line]);
    }
}

#[actix_web::test]
async fn a_misplaced_extractor_of_actix_web_answers_500_and_logs_the_mistake() {
    use actix_web::body::to_bytes;
    use actix_web::test::{call_service, init_service};
    use actix_web::{App, HttpResponse, web};

    async fn plain(_: Delivery) -> HttpResponse {
        HttpResponse::Ok().finish()
    }
    async fn typed(_: Webhook<healthsync::Event>) -> HttpResponse {
        HttpResponse::Ok().finish()
    }
    async fn other(_: Webhook<fasten::Event>) -> HttpResponse {
        HttpResponse::Ok().finish()
    }
    let (lines, _guard) = captured();
    let verify = medhook_actix::Verify::new(receiver());
    let app = App::new()
        .route("/plain", web::post().to(plain))
        .route("/typed", web::post().to(typed))
        .service(web::resource("/other").wrap(verify).route(web::post().to(other)));
    let app = init_service(app).await;
    let missing = |extractor| {
        format!(
            "ERROR a handler extracts `{extractor}`, but its route has no `Verify`, so every request is answered 500; \
             add `.wrap(Verify::new(receiver))` to the route"
        )
    };
    let other = "ERROR the handler extracts events of another provider than its Verify verifies \
                 (the delivery is from provider healthsync, but the handler expects events of provider fasten)";
    for (path, line) in [("/plain", missing("Delivery")), ("/typed", missing("Webhook")), ("/other", other.to_owned())]
    {
        let response = call_service(&app, sample().actix_request(path).to_request()).await;
        assert_eq!(response.status().as_u16(), 500);
        assert!(to_bytes(response.into_body()).await.is_ok_and(|body| body.is_empty()));
        assert_eq!(lines.taken(), [line]);
    }
}

/// The logged errors: level, message and, in parentheses, the error.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no panic"))
    }
}

fn captured() -> (Lines, DefaultGuard) {
    let lines = Lines::default();
    (lines.clone(), medhook_tests::captured(lines))
}

#[derive(Default)]
struct Fields {
    message: String,
    error: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "error" => self.error = format!(" ({value:?})"),
            _ => {}
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == Level::ERROR {
            let mut fields = Fields::default();
            event.record(&mut fields);
            let line = format!("ERROR {}{}", fields.message, fields.error);
            self.0.lock().expect("no panic").push(line);
        }
    }
}
