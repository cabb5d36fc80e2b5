//! Extractors for web frameworks: [`Webhook`], and [`Delivery`](crate::Delivery) itself.
//!
//! They are in this crate because of the orphan rule. The middleware that must run before them is in the framework
//! crates.

#[cfg(feature = "actix-web-4")]
mod actix;
#[cfg(feature = "axum-core-05")]
mod axum;

use std::fmt;
#[cfg(feature = "tracing")]
use std::sync::{Arc, LazyLock};

use crate::in_pool::{LONGEST_INLINE, in_pool};
#[cfg(feature = "tracing")]
use crate::isolated::isolated;
use crate::notice::Notice;
#[cfg(feature = "tracing")]
use crate::once_per_minute::{Line, OncePerMinute};
use crate::{Delivery, Event, WrongProvider};

/// Extracts the event as its provider's type.
///
/// Never fails behind the middleware (`VerifyLayer` in axum, `Verify` in actix-web) of that provider: an event that
/// cannot be decoded is also a value of the type. Without the middleware, or behind that of another provider, the
/// response is a 500 and the log names the mistake.
#[derive(Debug, Clone)]
pub struct Webhook<E>(pub E);

/// Returns whether the event of a delivery takes long to decode.
fn is_long(delivery: &Delivery) -> bool {
    delivery.body().len() > LONGEST_INLINE
}

/// Decodes an event outside of the task of its request.
async fn decode_long<E: Event + Send + 'static>(delivery: Delivery) -> Result<E, WrongProvider> {
    in_pool(move || delivery.decode()).await
}

/// The rejection of an extractor on a route that lacks the middleware or has that of another provider. It responds with
/// 500, so that an unverified request never reaches the handler.
pub struct Misplaced(());

impl Misplaced {
    /// Logs that the route of the handler lacks `middleware`. Any client can cause this, so the lines are limited.
    #[cold]
    fn no_middleware(extractor: &'static str, middleware: &'static str) -> Self {
        static NOTICE: Notice = Notice::new();
        NOTICE.write(format_args!("{}", Missing { extractor, middleware }));
        #[cfg(feature = "tracing")]
        {
            static LIMIT: LazyLock<Arc<OncePerMinute<Missing>>> = LazyLock::new(Arc::default);
            isolated(|| LIMIT.count(Missing { extractor, middleware }));
        }
        Misplaced(())
    }

    /// Logs that `middleware` belongs to another provider than the event's type.
    fn wrong_provider(error: &WrongProvider, middleware: &'static str) -> Self {
        static NOTICE: Notice = Notice::new();
        NOTICE.write(format_args!(
            "the handler extracts events of another provider than its {middleware} verifies ({error})"
        ));
        #[cfg(feature = "tracing")]
        isolated(|| {
            tracing::error!(%error, "the handler extracts events of another provider than its {middleware} verifies");
        });
        Misplaced(())
    }
}

/// An extractor on a route that lacks the middleware.
#[derive(Clone, Copy, PartialEq)]
struct Missing {
    extractor: &'static str,
    middleware: &'static str,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Missing { extractor, middleware } = self;
        let method = if *middleware == "Verify" { "wrap" } else { "layer" };
        write!(
            f,
            "a handler extracts `{extractor}`, but its route has no `{middleware}`, so every request is answered 500; \
             add `.{method}({middleware}::new(receiver))` to the route"
        )
    }
}

#[cfg(feature = "tracing")]
impl Line for Missing {
    fn write(&self, count: u64) {
        let Missing { extractor, middleware } = self;
        tracing::error!(extractor, middleware, count, "{self}");
    }
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no middleware on the route of this handler verifies webhooks of this provider")
    }
}

crate::error::debug_as_message!(Misplaced);

impl std::error::Error for Misplaced {}

#[cfg(test)]
mod tests {
    use std::thread::{self, ThreadId};

    use super::*;
    use crate::{Bytes, Custom, Decoded, NoDedupe, Receiver, Secret, SharedSecret};

    /// An event that contains the thread in which it was decoded.
    pub(super) struct InThread(pub(super) ThreadId);

    impl Event for InThread {
        const PROVIDER: &'static str = "acme";

        fn from_body(_: Option<&str>, _: &Bytes) -> Decoded<Self> {
            Decoded::new(InThread(thread::current().id()))
        }
    }

    /// Returns deliveries, and whether their events are decoded in the task.
    pub(super) fn deliveries() -> [(Delivery, bool); 2] {
        let key = "0123456789abcdef";
        let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new(key).unwrap());
        let receiver = Receiver::builder("in", custom).store(NoDedupe).build().unwrap();
        [(LONGEST_INLINE, true), (LONGEST_INLINE + 1, false)].map(|(length, stays)| {
            let headers = [("x-key", key)];
            let verified = receiver.verify(&headers, vec![b' '; length].into()).unwrap();
            (receiver.open(verified).unwrap(), stays)
        })
    }
}
