//! Extractors for axum 0.8, whose traits are in axum-core 0.5.

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use super::{Misplaced, Webhook, decode_long, is_long};
use crate::{Delivery, Event};

/// The name of the middleware in log messages.
const MIDDLEWARE: &str = "VerifyLayer";

impl<S: Sync> FromRequestParts<S> for Delivery {
    type Rejection = Misplaced;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Misplaced> {
        verified(parts, "Delivery").cloned()
    }
}

impl<S: Sync, E: Event + Send + 'static> FromRequestParts<S> for Webhook<E> {
    type Rejection = Misplaced;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Misplaced> {
        let delivery = verified(parts, "Webhook")?;
        let event = match is_long(delivery) {
            true => decode_long(delivery.clone()).await,
            false => delivery.decode(),
        };
        event.map(Webhook).map_err(|error| Misplaced::wrong_provider(&error, MIDDLEWARE))
    }
}

fn verified<'p>(parts: &'p Parts, extractor: &'static str) -> Result<&'p Delivery, Misplaced> {
    parts.extensions.get().ok_or_else(|| Misplaced::no_middleware(extractor, MIDDLEWARE))
}

impl IntoResponse for Misplaced {
    fn into_response(self) -> Response {
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::tests::{InThread, deliveries};
    use super::*;

    #[tokio::test]
    async fn events_in_long_bodies_are_decoded_outside_of_the_task() {
        for (delivery, stays) in deliveries() {
            let (mut parts, ()) = http::Request::new(()).into_parts();
            parts.extensions.insert(delivery);
            let Webhook(event) = Webhook::<InThread>::from_request_parts(&mut parts, &()).await.unwrap();
            assert_eq!(event.0 == thread::current().id(), stays);
        }
    }
}
