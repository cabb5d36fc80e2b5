//! Extractors for actix-web 4.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError};

use super::{Misplaced, Webhook};
use crate::{Delivery, Event};

/// The name of the middleware in log messages.
const MIDDLEWARE: &str = "Verify";

impl FromRequest for Delivery {
    type Error = Misplaced;
    type Future = Ready<Result<Self, Misplaced>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(verified(request, "Delivery"))
    }
}

impl<E: Event> FromRequest for Webhook<E> {
    type Error = Misplaced;
    type Future = Ready<Result<Self, Misplaced>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let event = verified(request, "Webhook")
            .and_then(|delivery| delivery.decode().map_err(|error| Misplaced::wrong_provider(&error, MIDDLEWARE)));
        ready(event.map(Webhook))
    }
}

fn verified(request: &HttpRequest, extractor: &'static str) -> Result<Delivery, Misplaced> {
    request.extensions().get().cloned().ok_or_else(|| Misplaced::no_middleware(extractor, MIDDLEWARE))
}

impl ResponseError for Misplaced {
    fn error_response(&self) -> HttpResponse {
        HttpResponse::InternalServerError().finish()
    }
}
