//! The log lines of failed handlers, in every framework.

use std::fmt;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use medhook::testing;
use tower::{Layer as _, ServiceExt, service_fn};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer};

use crate::endpoint::{SECRET, receiver};

/// The lines at `WARN`: outcome, status and error.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<[String; 3]>>>);

struct Fields([String; 3]);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let place = ["outcome", "status", "error"].iter().position(|name| *name == field.name());
        if let Some(place) = place.and_then(|place| self.0.get_mut(place)) {
            *place = format!("{value:?}").trim_matches('"').to_owned();
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == tracing::Level::WARN {
            let mut fields = Fields(Default::default());
            event.record(&mut fields);
            self.0.lock().expect("no panic").push(fields.0);
        }
    }
}

fn sample() -> testing::Sample {
    testing::healthsync("document.uploaded").secret(SECRET)
}

#[actix_web::test]
async fn a_failed_handler_is_logged_with_its_status_in_every_framework() {
    let warnings = Warnings::default();
    let _guard = medhook_tests::captured(warnings.clone());
    let taken = || std::mem::take(&mut *warnings.0.lock().expect("no panic"));
    let failed = |status: &str, error: &str| vec![["failed", status, error].map(str::to_owned)];
    let request = || sample().request("/").map(Body::from);

    let handler = post(async || StatusCode::BAD_GATEWAY).layer(medhook_axum::VerifyLayer::new(receiver()));
    let response = axum::Router::new().route("/", handler).oneshot(request()).await.expect("an answer");
    assert_eq!((response.status().as_u16(), taken()), (502, failed("502", "")), "axum");

    let inner = service_fn(async |_: axum::http::Request<Body>| Err::<Response, _>("canary of the inner service"));
    let service = medhook_tower::VerifyLayer::<Body>::new(receiver()).layer(inner);
    assert!(service.oneshot(request()).await.is_err());
    assert_eq!(taken(), failed("", "the handler failed without a status"), "tower");

    use actix_web::test::{init_service, try_call_service};
    use actix_web::{App, HttpResponse, error, web};
    let response = async || HttpResponse::BadGateway().finish();
    let error = async || Err::<HttpResponse, _>(error::ErrorServiceUnavailable("canary"));
    let verify = || medhook_actix::Verify::new(receiver());
    let app = App::new()
        .service(web::resource("/response").wrap(verify()).route(web::post().to(response)))
        .service(web::resource("/error").wrap(verify()).route(web::post().to(error)));
    let app = init_service(app).await;
    for (path, status) in [("/response", "502"), ("/error", "503")] {
        let _ = try_call_service(&app, sample().actix_request(path).to_request()).await;
        assert_eq!(taken(), failed(status, ""), "actix-web {path}");
    }
}
