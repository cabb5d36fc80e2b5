//! Extractors for actix-web 4.

use std::future::{Ready, ready};
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError};
use futures_util::future::Either;

use super::{Misplaced, Webhook, decode_long, is_long};
use crate::{Delivery, Event, WrongProvider};

/// The name of the middleware in log messages.
const MIDDLEWARE: &str = "Verify";

impl FromRequest for Delivery {
    type Error = Misplaced;
    type Future = Ready<Result<Self, Misplaced>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(verified(request, "Delivery"))
    }
}

impl<E: Event + Send + 'static> FromRequest for Webhook<E> {
    type Error = Misplaced;
    type Future = Either<Ready<Result<Self, Misplaced>>, Pin<Box<dyn Future<Output = Result<Self, Misplaced>>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        match verified(request, "Webhook") {
            Ok(delivery) if is_long(&delivery) => {
                Either::Right(Box::pin(async { extracted(decode_long(delivery).await) }))
            }
            Ok(delivery) => Either::Left(ready(extracted(delivery.decode()))),
            Err(error) => Either::Left(ready(Err(error))),
        }
    }
}

fn extracted<E>(event: Result<E, WrongProvider>) -> Result<Webhook<E>, Misplaced> {
    event.map(Webhook).map_err(|error| Misplaced::wrong_provider(&error, MIDDLEWARE))
}

fn verified(request: &HttpRequest, extractor: &'static str) -> Result<Delivery, Misplaced> {
    request.extensions().get().cloned().ok_or_else(|| Misplaced::no_middleware(extractor, MIDDLEWARE))
}

impl ResponseError for Misplaced {
    fn error_response(&self) -> HttpResponse {
        HttpResponse::InternalServerError().finish()
    }
}
