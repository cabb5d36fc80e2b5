//! Requests through whole apps without a socket: the layer against a handler that does the same by hand.

use std::sync::Arc;
use std::time::Instant;

use actix_web::dev::Service as _;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{HttpRequest, HttpResponse, web};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use medhook::{Fasten, MemoryStore, Receiver, fasten};
use tower::ServiceExt;

use crate::by_hand::ByHand;
use crate::report::{Figure, Report, Row, Target};
use crate::rounds::alternating;
use crate::signed::{self, STANDARD_SECRET};
use crate::verify::secret;

pub const LAYER: &str = "/layer";
pub const BY_HAND: &str = "/by-hand";

pub fn run(report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut fresh = Fresh::default();

    let app = axum_app(&remembering());
    let axum = alternating(2, ROUNDS, |subject| {
        let requests: Vec<_> = (0..OF_A_ROUND).map(|_| fresh.request([LAYER, BY_HAND][subject])).collect();
        let began = Instant::now();
        runtime.block_on(async {
            for request in requests {
                let response = app.clone().oneshot(request.map(Body::from)).await.expect("an answer");
                assert_eq!(response.status(), StatusCode::OK);
            }
        });
        [each(began)]
    });
    row(report, "axum, in process", &axum);

    let actix = actix_web::rt::System::new().block_on(async {
        let receiver = remembering();
        let by_hand = Arc::new(ByHand::standard_webhooks());
        let app = init_service(actix_web::App::new().configure(|app| actix_app(app, &receiver, &by_hand))).await;
        let mut taken = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS * 2 {
            let subject = (round + round / 2) % 2;
            let requests: Vec<_> = (0..OF_A_ROUND)
                .map(|_| {
                    let sent = fresh.request([LAYER, BY_HAND][subject]);
                    let request = TestRequest::post().uri(sent.uri().path()).set_payload(sent.body().clone());
                    let headers = sent.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
                    headers.fold(request, TestRequest::insert_header).to_request()
                })
                .collect();
            let began = Instant::now();
            for request in requests {
                let response = call_service(&app, request).await;
                assert_eq!(response.status().as_u16(), 200);
            }
            taken[subject].push(each(began));
        }
        let _ = app.poll_ready(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        taken.map(|figures| [crate::rounds::median(figures)])
    });
    row(report, "actix-web, in process", &actix);
}

const ROUNDS: usize = 101;
const OF_A_ROUND: u32 = 128;

fn each(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e9 / f64::from(OF_A_ROUND)
}

fn row(report: &mut Report, bench: &str, figures: &[[f64; 1]]) {
    report.add(Row {
        bench: bench.to_owned(),
        size: "1 KiB".to_owned(),
        ours: Figure::Nanoseconds(figures[0][0]),
        other: Some(("by hand", Figure::Nanoseconds(figures[1][0]))),
        target: Target::None,
    });
}

/// A receiver with room for all that is ever sent here.
pub fn remembering() -> Receiver {
    let fasten = Fasten::live(secret(STANDARD_SECRET));
    Receiver::builder("fasten", fasten).store(MemoryStore::new(4 << 20)).build().expect("a receiver")
}

pub fn axum_app(receiver: &Receiver) -> Router {
    async fn layered(medhook_axum::Webhook(event): medhook_axum::Webhook<fasten::Event>) -> StatusCode {
        match event {
            fasten::Event::EhiExportSuccess(_) => StatusCode::OK,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
    async fn by_hand(State(by_hand): State<Arc<ByHand>>, headers: HeaderMap, body: Bytes) -> StatusCode {
        match by_hand.receive(|name| headers.get(name)?.to_str().ok(), &body) {
            Ok(_) => StatusCode::OK,
            Err(_) => StatusCode::UNAUTHORIZED,
        }
    }
    Router::new()
        .route(LAYER, post(layered).layer(medhook_axum::VerifyLayer::new(receiver.clone())))
        .route(BY_HAND, post(by_hand))
        .with_state(Arc::new(ByHand::standard_webhooks()))
}

pub fn actix_app(app: &mut web::ServiceConfig, receiver: &Receiver, by_hand: &Arc<ByHand>) {
    async fn layered(medhook_actix::Webhook(event): medhook_actix::Webhook<fasten::Event>) -> HttpResponse {
        match event {
            fasten::Event::EhiExportSuccess(_) => HttpResponse::Ok(),
            _ => HttpResponse::UnprocessableEntity(),
        }
        .finish()
    }
    async fn handler(by_hand: web::Data<ByHand>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
        match by_hand.receive(|name| request.headers().get(name)?.to_str().ok(), &body) {
            Ok(_) => HttpResponse::Ok(),
            Err(_) => HttpResponse::Unauthorized(),
        }
        .finish()
    }
    let endpoint = web::resource(LAYER).wrap(medhook_actix::Verify::new(receiver.clone()));
    app.service(endpoint.route(web::post().to(layered)));
    app.service(web::resource(BY_HAND).app_data(web::Data::from(by_hand.clone())).route(web::post().to(handler)));
}

/// Deliveries that nobody has seen.
#[derive(Default)]
pub struct Fresh(u64);

impl Fresh {
    pub fn request(&mut self, path: &str) -> Request<Bytes> {
        self.0 += 1;
        let id = format!("7d4b9f0e-52a1-4c36-9b8e-{:012x}", self.0);
        let body = Bytes::from(signed::fasten(&id, 1024));
        let mut request = Request::post(path);
        if let Some(headers) = request.headers_mut() {
            *headers = signed::standard(&format!("msg_{}", self.0), &body);
        }
        request.body(body).expect("a request")
    }
}
