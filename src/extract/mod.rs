//! Extractors for web frameworks: [`Webhook`], and [`Delivery`](crate::Delivery) itself.
//!
//! They are here and not in the framework crates because only the crate of a type may implement another crate's trait
//! for it. The middleware that runs before them is in those crates.

#[cfg(feature = "actix-web-4")]
mod actix;
#[cfg(feature = "axum-core-05")]
mod axum;

use std::fmt;

use crate::WrongProvider;

/// Extracts the event as its provider's type.
///
/// Never fails behind the middleware (`VerifyLayer` in axum, `Verify` in actix-web) of that provider: an event that
/// cannot be read as documented is a value of the type, too. Without the middleware, or behind another provider's, the
/// answer is a 500 and the log names the mistake.
#[derive(Debug, Clone)]
pub struct Webhook<E>(pub E);

/// The rejection of an extractor on a route that lacks the middleware or has another provider's. Answers 500, so that
/// an unverified request is never taken for a genuine one.
#[derive(Debug)]
pub struct Misplaced(());

impl Misplaced {
    /// Logs that `middleware` is missing in front of the handler.
    fn no_middleware(middleware: &'static str) -> Self {
        #[cfg(feature = "tracing")]
        tracing::error!("a handler extracts a webhook, but its route has no {middleware}");
        let _ = middleware;
        Misplaced(())
    }

    /// Logs that `middleware` is of another provider than the event's type.
    fn wrong_provider(error: &WrongProvider, middleware: &'static str) -> Self {
        #[cfg(feature = "tracing")]
        tracing::error!(%error, "a handler extracts another provider's webhook than its {middleware} lets in");
        let _ = (error, middleware);
        Misplaced(())
    }
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a handler extracts a webhook that nothing in front of it verifies")
    }
}

impl std::error::Error for Misplaced {}
