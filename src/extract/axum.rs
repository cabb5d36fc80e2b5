//! Extractors for axum 0.8, whose traits are in axum-core 0.5.

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use super::{Misplaced, Webhook};
use crate::{Delivery, Event};

/// The name of the middleware in log messages.
const MIDDLEWARE: &str = "VerifyLayer";

impl<S: Sync> FromRequestParts<S> for Delivery {
    type Rejection = Misplaced;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Misplaced> {
        verified(parts, "Delivery").cloned()
    }
}

impl<S: Sync, E: Event> FromRequestParts<S> for Webhook<E> {
    type Rejection = Misplaced;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Misplaced> {
        let event = verified(parts, "Webhook")?.decode();
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
