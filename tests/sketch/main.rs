//! The code in a user's application, compiled and run.

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::post;
use medhook_axum::{
    Bytes, Custom, Delivery, Fasten, HealthSync, HmacSha256Body, MemoryStore, Receiver, Secret, Secrets, VerifyLayer,
    Webhook, fasten, healthsync, testing,
};
use tower::ServiceExt;

const SECRET: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";

async fn enqueue(links: Vec<fasten::DownloadLink>) -> StatusCode {
    if links.is_empty() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::ACCEPTED }
}

async fn keep_for_a_human(body: &Bytes) -> StatusCode {
    if body.is_empty() { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::NON_AUTHORITATIVE_INFORMATION }
}

async fn on_fasten(Webhook(event): Webhook<fasten::Event>, delivery: Delivery) -> StatusCode {
    match event {
        fasten::Event::EhiExportSuccess(export) => enqueue(export.download_links).await,
        fasten::Event::Undecodable(_) => keep_for_a_human(delivery.body()).await, // documented kind, payload drifted
        _ => StatusCode::OK,
    }
}

#[tokio::test]
async fn the_example_application_runs_in_axum() {
    // In a program of one's own: Secrets::from_env("FASTEN_SECRET")?.also_env("FASTEN_SECRET_OLD")?
    let keys = Secrets::new(Secret::new(SECRET).unwrap().labeled("current").unwrap())
        .also_env("MEDHOOK_IS_NEVER_SET")
        .unwrap();
    let store = MemoryStore::new(10_000); // Clone; one for all endpoints
    let fasten = Receiver::builder("fasten", Fasten::live(keys)).store(store.clone()).build().unwrap();
    // Unknown paths stay 404.
    let app = Router::new().route("/webhooks/fasten", post(on_fasten).layer(VerifyLayer::new(fasten.clone())));

    let export = testing::fasten("patient.ehi_export_success").secret(SECRET).request("/webhooks/fasten");
    let drifted = testing::fasten("patient.ehi_export_success")
        .secret(SECRET)
        .body(r#"{"id":"2","type":"patient.ehi_export_success","data":"gone"}"#)
        .request("/webhooks/fasten");
    for (request, status) in [
        (export.clone(), StatusCode::ACCEPTED),
        (export, StatusCode::OK), // a duplicate
        (drifted, StatusCode::NON_AUTHORITATIVE_INFORMATION),
    ] {
        assert_eq!(app.clone().oneshot(request.map(Body::from)).await.unwrap().status(), status);
    }
    assert_eq!(fasten.drain(std::time::Duration::from_secs(10)).await, 0);
}

#[tokio::test]
async fn a_handler_is_tested_without_a_layer() {
    let secret = Secret::new(SECRET).unwrap();
    let receiver = Receiver::builder("fasten", Fasten::live(secret)).store(MemoryStore::new(10)).build().unwrap();
    let request = testing::fasten("patient.ehi_export_success").secret(SECRET).request("/");
    let delivery = receiver.open(receiver.verify(request.headers(), request.body().clone()).unwrap()).unwrap();

    let mut export = fasten::EhiExportSuccess::default();
    export.download_links.push(fasten::DownloadLink::default());
    let status = on_fasten(Webhook(fasten::Event::EhiExportSuccess(export)), delivery).await;
    assert_eq!(status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_custom_provider_and_healthsync_share_an_app() {
    async fn on_acme(delivery: Delivery) -> StatusCode {
        if delivery.kind() == Some("order.paid") { StatusCode::ACCEPTED } else { StatusCode::OK }
    }
    async fn on_healthsync(Webhook(event): Webhook<healthsync::Event>) -> StatusCode {
        match event {
            healthsync::Event::DocumentUploaded(uploaded) if uploaded.object.is_some() => StatusCode::ACCEPTED,
            _ => StatusCode::OK,
        }
    }
    let keys = || Secret::new("a long random text").unwrap();
    let store = MemoryStore::new(10_000);
    let scheme = HmacSha256Body::new("x-acme-sig").prefix("sha256=");
    let acme = Custom::new("acme", scheme.clone(), keys()).id_pointer("/id").kind_pointer("/type");
    let acme = Receiver::builder("acme", acme).store(store.clone()).build().unwrap();
    let healthsync = Receiver::builder("healthsync", HealthSync::new(keys())).store(store).build().unwrap();
    let app = Router::new()
        .route("/acme", post(on_acme).layer(VerifyLayer::new(acme)))
        .route("/healthsync", post(on_healthsync).layer(VerifyLayer::new(healthsync)));

    let uploaded = testing::healthsync("document.uploaded").secret("a long random text").request("/healthsync");
    let paid = testing::custom(scheme, r#"{"id": 7, "type": "order.paid"}"#);
    let paid = paid.secret("a long random text").request("/acme");
    for request in [uploaded, paid] {
        let response = app.clone().oneshot(request.map(Body::from)).await.unwrap();
        assert_eq!(response.status(), StatusCode::ACCEPTED);
    }
}

#[actix_web::test]
async fn the_example_application_runs_in_actix_web() {
    use actix_web::http::StatusCode;
    use actix_web::{App, HttpResponse, Responder, test, web};
    use medhook_actix::{Azodha, Cair, MediQuo, Verify, Webhook, azodha, cair, mediquo};

    async fn on_mediquo(Webhook(event): Webhook<mediquo::Event>) -> impl Responder {
        match event {
            mediquo::Event::PatientReportSent(_) => HttpResponse::Accepted(),
            _ => HttpResponse::Ok(),
        }
    }
    async fn on_chart(Webhook(event): Webhook<cair::Event>) -> impl Responder {
        if let cair::Event::ChartAnalysis(_) = event { HttpResponse::Accepted() } else { HttpResponse::Ok() }
    }
    async fn on_booking(Webhook(event): Webhook<azodha::Event>) -> impl Responder {
        if let azodha::Event::BookAppointment(_) = event { HttpResponse::Accepted() } else { HttpResponse::Ok() }
    }

    let keys = || Secret::new("a long random text").unwrap();
    let store = MemoryStore::new(10_000);
    let cair = Cair::hmac_sha256("x-cair", keys()).pin_kind(cair::Kind::ChartAnalysis);
    let azodha = Azodha::shared_secret("x-azodha", keys()).pin_kind("BookAppointment");
    let mediquo = Receiver::builder("mediquo", MediQuo::new(keys())).store(store.clone()).build().unwrap();
    let cair = Receiver::builder("cair", cair).store(store.clone()).build().unwrap();
    let azodha = Receiver::builder("azodha", azodha).store(store).build().unwrap();

    let app = App::new()
        .service(web::scope("/mediquo").wrap(Verify::new(mediquo.clone())).route("/in", web::post().to(on_mediquo)))
        .service(web::resource("/cair").wrap(Verify::new(cair)).route(web::post().to(on_chart)))
        .service(web::resource("/azodha").wrap(Verify::new(azodha)).route(web::post().to(on_booking)));
    let app = test::init_service(app).await;

    let cair = testing::Signing::hmac_sha256("x-cair");
    let azodha = testing::Signing::shared_secret("x-azodha");
    for sample in [
        testing::mediquo("patient_report_sent").secret("a long random text").actix_request("/mediquo/in"),
        testing::cair("PATIENT_CHART_ANALYSIS_COMPLETE")
            .signing(cair)
            .secret("a long random text")
            .actix_request("/cair"),
        testing::azodha("BookAppointment").signing(azodha).secret("a long random text").actix_request("/azodha"),
    ] {
        assert_eq!(test::call_service(&app, sample.to_request()).await.status(), StatusCode::ACCEPTED);
    }
}
