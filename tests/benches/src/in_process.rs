//! Requests through whole apps without a socket: the layer, compared with a handler that does the same by hand.

use std::sync::Arc;
use std::time::Instant;

use actix_web::dev::Service as _;
use actix_web::test::{TestRequest, call_service, init_service};
use axum::body::Body;
use axum::http::StatusCode;
use medhook::{Fasten, MemoryStore, Receiver};
use tower::ServiceExt;

use crate::apps::{BY_HAND, Fresh, LAYER, actix_app, axum_app};
use crate::by_hand::ByHand;
use crate::report::{Figure, Report, Row, Target};
use crate::rounds::alternating;
use crate::signed::STANDARD_SECRET;
use crate::verify::secret;

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

/// Returns a receiver whose store has room for every event of a run.
pub fn remembering() -> Receiver {
    let fasten = Fasten::live(secret(STANDARD_SECRET));
    Receiver::builder("fasten", fasten).store(MemoryStore::new(4 << 20)).build().expect("a receiver")
}
