//! Extractors for actix-web 4.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

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
    type Future = Extracting<E>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        Extracting(match verified(request, "Webhook") {
            Ok(delivery) if is_long(&delivery) => {
                Either::Right(Box::pin(async { extracted(decode_long(delivery).await) }))
            }
            Ok(delivery) => Either::Left(ready(extracted(delivery.decode()))),
            Err(error) => Either::Left(ready(Err(error))),
        })
    }
}

/// The future of [`Webhook`]: the event of a short body is decoded at once.
#[allow(missing_debug_implementations, unreachable_pub, reason = "an associated type of a trait of actix-web")]
pub struct Extracting<E>(Either<Ready<Extracted<E>>, InPool<E>>);

type Extracted<E> = Result<Webhook<E>, Misplaced>;

type InPool<E> = Pin<Box<dyn Future<Output = Extracted<E>>>>;

impl<E> Future for Extracting<E> {
    type Output = Extracted<E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
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

#[cfg(test)]
mod tests {
    use std::thread;

    use actix_web::test::TestRequest;

    use super::super::tests::{InThread, deliveries};
    use super::*;

    #[tokio::test]
    async fn events_in_long_bodies_are_decoded_outside_of_the_task() {
        for (delivery, stays) in deliveries() {
            let request = TestRequest::default().to_http_request();
            request.extensions_mut().insert(delivery);
            let Webhook(event) = Webhook::<InThread>::extract(&request).await.unwrap();
            assert_eq!(event.0 == thread::current().id(), stays);
        }
    }
}
