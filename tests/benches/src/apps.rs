//! Whole apps: the layer, and a handler that does the same work by hand. `tests/count` compiles this file, too.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use medhook::{Receiver, fasten};

use crate::by_hand::ByHand;
use crate::signed;

pub const LAYER: &str = "/layer";
pub const BY_HAND: &str = "/by-hand";

pub fn axum_app(receiver: &Receiver) -> Router {
    async fn layered(medhook_axum::Webhook(event): medhook_axum::Webhook<fasten::Event>) -> StatusCode {
        match event {
            fasten::Event::EhiExportSuccess(_) => StatusCode::OK,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
    async fn by_hand(State(by_hand): State<Arc<ByHand>>, headers: HeaderMap, body: Bytes) -> StatusCode {
        let status = by_hand.receive(|name| headers.get(name)?.to_str().ok(), &body, async |_| 200).await;
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
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
        let status = by_hand.receive(|name| request.headers().get(name)?.to_str().ok(), &body, async |_| 200).await;
        let status = actix_web::http::StatusCode::from_u16(status);
        HttpResponse::new(status.unwrap_or(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR))
    }
    let endpoint = web::resource(LAYER).wrap(medhook_actix::Verify::new(receiver.clone()));
    app.service(endpoint.route(web::post().to(layered)));
    app.service(web::resource(BY_HAND).app_data(web::Data::from(by_hand.clone())).route(web::post().to(handler)));
}

/// Makes deliveries of new events. Holds the number of the last one.
#[derive(Default)]
pub struct Fresh(pub u64);

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
