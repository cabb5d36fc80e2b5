//! A receiver with an inbox: stored deliveries are answered without the handler, and a route needs none.

use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::BodyExt;
use medhook::inbox::Filter;
use medhook::{Bodies, HealthSync, Inbox, MemoryStore, OnStoreError, Outcome, Reason, Receiver, Secret, SqliteStore};
use medhook_conformance::Answer;
use medhook_tests::route::Route;
use medhook_tests::sender::send;
use tempfile::TempDir;
use tower::ServiceExt;

use crate::endpoint::{SECRET, forged, genuine, genuine_of};
use crate::servers;

/// Opens an inbox in a folder, which lives as long as the returned guard.
async fn inbox() -> (Inbox, TempDir) {
    let folder = TempDir::new().expect("a folder");
    let store = SqliteStore::open(folder.path().join("inbox.db")).await.expect("a store");
    (store.inbox(Bodies::plaintext()).await.expect("an inbox"), folder)
}

fn builder(inbox: &Inbox) -> medhook::Builder {
    let healthsync = HealthSync::new(Secret::new(SECRET).expect("a secret"));
    Receiver::builder("healthsync", healthsync).inbox(inbox.clone())
}

async fn stored(inbox: &Inbox) -> usize {
    inbox.list(&Filter::new()).await.expect("a list").len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_delivery_is_answered_with_an_empty_200_and_not_handled() {
    for (name, start) in servers::ALL {
        let (inbox, _folder) = inbox().await;
        let (route, watched) = Route::watched(builder(&inbox).build().expect("a receiver"));
        let address: SocketAddr = start(Arc::new([route]));
        for (delivery, status, outcome, reason) in [
            (genuine(), 200, Outcome::Stored, Reason::Stored),
            (genuine(), 200, Outcome::Duplicate, Reason::Duplicate),
            (genuine_of("another"), 200, Outcome::Stored, Reason::Stored),
            (forged(), 401, Outcome::Rejected, Reason::SignatureMismatch),
        ] {
            let response = send(address, "/0".to_owned(), delivery).await.expect("a response");
            assert_eq!((response.status().as_u16(), response.body().len()), (status, 0), "{name}: {reason}");
            assert_eq!(response.headers().get("retry-after"), None, "{name}");
            let expected = Answer { status, outcome: Some(outcome), reason: Some(reason) };
            assert_eq!(watched.answers(), [expected], "{name}");
        }
        assert_eq!(watched.bodies(), [] as [medhook::Bytes; 0], "{name}");
        assert_eq!(stored(&inbox).await, 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_delivery_is_answered_with_the_ack_status() {
    for (name, start) in servers::ALL {
        let (inbox, _folder) = inbox().await;
        let receiver = builder(&inbox).ack_status(http::StatusCode::ACCEPTED).build().expect("a receiver");
        let (route, watched) = Route::watched(receiver);
        let address = start(Arc::new([route]));
        let response = send(address, "/0".to_owned(), genuine()).await.expect("a response");
        assert_eq!(response.status(), 202, "{name}");
        let expected = Answer { status: 202, outcome: Some(Outcome::Stored), reason: Some(Reason::Stored) };
        assert_eq!(watched.answers(), [expected], "{name}");
    }
}

fn request(delivery: medhook_tests::sender::Outgoing) -> http::Request<axum::body::Body> {
    let mut request = http::Request::post("/in?token=1");
    for (name, value) in delivery.headers {
        request = request.header(name, value);
    }
    request.body(delivery.body.into()).expect("a request")
}

#[tokio::test]
async fn post_to_inbox_of_axum_stores_without_a_handler() {
    let (inbox, _folder) = inbox().await;
    let route = medhook_axum::post_to_inbox(builder(&inbox).build().expect("a receiver")).expect("a route");
    let app: axum::Router = axum::Router::new().route("/in", route);
    for (delivery, status) in [(genuine(), 200), (forged(), 401)] {
        let response = app.clone().oneshot(request(delivery)).await.expect("a response");
        assert_eq!(response.status(), status);
        assert!(response.into_body().collect().await.expect("a body").to_bytes().is_empty());
    }
    let get = http::Request::get("/in").body(axum::body::Body::empty()).expect("a request");
    assert_eq!(app.oneshot(get).await.expect("a response").status(), 405);
    assert_eq!(stored(&inbox).await, 1);
}

#[actix_web::test]
async fn post_to_inbox_of_actix_stores_without_a_handler() {
    use actix_web::test::{TestRequest, call_service, init_service, read_body};

    let (inbox, _folder) = inbox().await;
    let route = medhook_actix::post_to_inbox(builder(&inbox).build().expect("a receiver")).expect("a route");
    let app = init_service(actix_web::App::new().route("/in", route)).await;
    for (delivery, status) in [(genuine(), 200), (forged(), 401)] {
        let mut request = TestRequest::post().uri("/in?token=1").set_payload(delivery.body);
        for (name, value) in delivery.headers {
            request = request.append_header((name, value));
        }
        let response = call_service(&app, request.to_request()).await;
        assert_eq!(response.status().as_u16(), status);
        assert!(read_body(response).await.is_empty());
    }
    assert_eq!(stored(&inbox).await, 1);
}

#[tokio::test]
async fn post_to_inbox_needs_a_receiver_that_stores_every_event() {
    let (inbox, _folder) = inbox().await;
    let healthsync = HealthSync::new(Secret::new(SECRET).expect("a secret"));
    let without = Receiver::builder("healthsync", healthsync).store(MemoryStore::new(1)).build().expect("a receiver");
    let unclaimed = builder(&inbox).on_store_error(OnStoreError::HandleUnclaimed).build().expect("a receiver");
    for (receiver, problem) in [
        (without, "receiver healthsync: `post_to_inbox` needs a receiver with an inbox"),
        (unclaimed, "receiver healthsync: with `HandleUnclaimed`, a handler runs"),
    ] {
        let of_axum = medhook_axum::post_to_inbox::<()>(receiver.clone()).expect_err("an error").to_string();
        let of_actix = medhook_actix::post_to_inbox(receiver).map(drop).expect_err("an error").to_string();
        assert!(of_axum.starts_with(problem), "{of_axum}");
        assert_eq!(of_axum, of_actix);
        assert!(of_axum.ends_with("use `post` with a handler"), "{of_axum}");
    }
}
