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
use crate::peers::{self, PEERS};
use crate::report::{Figure, Report, Row, Target};
use crate::rounds::alternating;
use crate::setting::CAPACITY;
use crate::signed::STANDARD_SECRET;
use crate::verify::secret;

pub fn run(report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut fresh = Fresh::default();

    let app = axum_app(&remembering()).merge(peers::app());
    let axum = alternating(SUBJECTS.len(), ROUNDS, |subject| {
        let requests: Vec<_> = (0..OF_A_ROUND).map(|_| fresh.request(SUBJECTS[subject].1)).collect();
        let began = Instant::now();
        runtime.block_on(async {
            for request in requests {
                let response = app.clone().oneshot(request.map(Body::from)).await.expect("an answer");
                assert_eq!(response.status(), StatusCode::OK);
            }
        });
        [each(began)]
    });
    rows(report, "axum, in process", &axum);

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
    rows(report, "actix-web, in process", &actix);
}

const ROUNDS: usize = 101;
const OF_A_ROUND: u32 = 128;

fn each(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e9 / f64::from(OF_A_ROUND)
}

/// The layer, the work by hand and, for axum, other crates' layers, and their paths.
pub const SUBJECTS: [(&str, &str); 4] = [("medhook", LAYER), ("by hand", BY_HAND), PEERS[0], PEERS[1]];

fn rows(report: &mut Report, bench: &str, figures: &[[f64; 1]]) {
    for ((name, _), figure) in SUBJECTS.into_iter().zip(figures).skip(1) {
        report.add(Row {
            bench: bench.to_owned(),
            size: "1 KiB".to_owned(),
            ours: Figure::Nanoseconds(figures[0][0]),
            other: Some((name, Figure::Nanoseconds(figure[0]))),
            target: Target::None,
        });
    }
}

/// Returns a receiver whose store has room for every event of a run, as the others have.
pub fn remembering() -> Receiver {
    let fasten = Fasten::live(secret(STANDARD_SECRET));
    Receiver::builder("fasten", fasten).store(MemoryStore::new(CAPACITY.get())).build().expect("a receiver")
}
