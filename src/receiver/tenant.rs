//! The tenant resolver: finds the receiver of a request, where each tenant has one of its own.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::timeout;

use super::Receiver;
use super::head::{RequestHead, not_encoded, one_of};
use crate::error::Reason;
use crate::headers::Headers;
use crate::observe;
use crate::provider::METHODS;
use crate::rejection::Rejection;

impl Receiver {
    /// Resolves the receiver of a request by the application's `lookup`. Frameworks' layers call it before
    /// [`receive`](Receiver::receive), before anything of the body is read.
    ///
    /// A method or an encoding that no receiver accepts is rejected without a lookup. `Ok(None)` means an unknown tenant,
    /// which is answered like a wrong signature. An error, a panic, or no answer within 5 s is answered 503.
    ///
    /// # Responsibilities of the application
    /// - The tenant that a request names is the client's choice until the signature is verified. It is not logged here,
    ///   and neither is the lookup's error, which could quote it. Do not trust it in a path, a file name or a query.
    /// - Any client can cause lookups. Limit how many run at once and what each costs. A cache of their results must be
    ///   bounded, or hold existing tenants only.
    /// - Build one [`Receiver`] for each tenant, keep it, and return clones: it counts the deliveries in flight, and only
    ///   [`drain`](Receiver::drain) of the same receiver waits for them. A receiver that is built for each request
    ///   limits nothing.
    /// - Receivers that share a store need different names, since the name is part of the event key; and different
    ///   secrets, since no signature covers the path: a delivery to one tenant would verify as another's.
    /// - An unknown tenant is rejected with the status and empty body of a wrong signature, but sooner: the body of a
    ///   known tenant is read before its signature is compared. A limit or a shutdown (413, 503) shows a known tenant,
    ///   too. If clients must not learn which tenants exist, put an unguessable token in the path instead of a name.
    ///
    /// Rejections are logged and counted under the endpoint `(unresolved)`.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use std::convert::Infallible;
    /// # use medhook::{HealthSync, MemoryStore, Secret};
    /// use medhook::{Reason, Receiver, RequestHead};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), medhook::ConfigError> {
    /// # let secret = Secret::new("a-secret-of-the-dashboard")?;
    /// # let receiver = Receiver::builder("clinic-7", HealthSync::new(secret)).store(MemoryStore::new(10)).build()?;
    /// let tenants = HashMap::from([("clinic-7", receiver)]);
    /// let lookup = async |tenant: &str| Ok::<_, Infallible>(tenants.get(tenant).cloned());
    /// let headers = http::HeaderMap::new();
    /// let head = RequestHead::new("POST", "/webhooks/healthsync", &headers);
    ///
    /// let known = Receiver::resolve(&head, lookup("clinic-7")).await;
    /// assert_eq!(known.unwrap().name(), "clinic-7");
    /// let unknown = Receiver::resolve(&head, lookup("clinic-8")).await;
    /// assert_eq!(unknown.unwrap_err().reason(), Reason::UnknownTenant);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Reason::Method`], [`Reason::ContentEncoding`], [`Reason::UnknownTenant`] or [`Reason::TenantLookupFailed`].
    ///
    /// # Panics
    /// Outside a tokio runtime with its timer enabled.
    pub async fn resolve<H, E>(
        head: &RequestHead<'_, H>,
        lookup: impl Future<Output = Result<Option<Receiver>, E>>,
    ) -> Result<Receiver, Rejection>
    where
        H: Headers + ?Sized,
    {
        let resolved = async {
            one_of(METHODS, head.method)?;
            not_encoded(head.headers)?;
            // The client is not verified yet: one that can make a lookup panic gets an answer like any other.
            let lookup = AssertUnwindSafe(lookup).catch_unwind();
            match timeout(LOOKUP_TIMEOUT, lookup).await {
                Ok(Ok(Ok(Some(receiver)))) => Ok(receiver),
                Ok(Ok(Ok(None))) => Err(Reason::UnknownTenant),
                Ok(Ok(Err(_)) | Err(_)) | Err(_) => Err(Reason::TenantLookupFailed),
            }
        };
        resolved.await.map_err(|reason| {
            observe::unresolved(reason);
            Rejection::new(reason).allowing(METHODS)
        })
    }
}

/// How long a lookup may take: as long as one operation of a store.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use http::{HeaderMap, HeaderValue, header};

    use super::*;
    use crate::{HealthSync, NoDedupe, Secret};

    fn receiver() -> Receiver {
        let healthsync = HealthSync::new(Secret::new("a-secret-of-the-dashboard").unwrap());
        Receiver::builder("tenant", healthsync).store(NoDedupe).build().unwrap()
    }

    async fn reason<E>(lookup: impl Future<Output = Result<Option<Receiver>, E>>) -> Option<Reason> {
        Receiver::resolve(&RequestHead::new("POST", "/", &HeaderMap::new()), lookup)
            .await
            .err()
            .map(|rejection| rejection.reason())
    }

    #[tokio::test]
    async fn the_receiver_that_the_lookup_finds_is_returned() {
        assert_eq!(reason(ready(Ok::<_, ()>(Some(receiver())))).await, None);
        assert_eq!(reason(ready(Ok::<_, ()>(None))).await, Some(Reason::UnknownTenant));
        assert_eq!(reason(ready(Err("out of order"))).await, Some(Reason::TenantLookupFailed));
    }

    #[tokio::test]
    async fn a_lookup_that_panics_has_failed() {
        let panics = async { if true { panic!("the lookup's own") } else { Ok::<_, ()>(None) } };
        assert_eq!(reason(panics).await, Some(Reason::TenantLookupFailed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_does_not_answer_in_time_has_failed() {
        let late = async {
            tokio::time::sleep(LOOKUP_TIMEOUT + Duration::from_millis(1)).await;
            Ok::<_, ()>(Some(receiver()))
        };
        assert_eq!(reason(late).await, Some(Reason::TenantLookupFailed));
        assert_eq!(reason(pending::<Result<_, ()>>()).await, Some(Reason::TenantLookupFailed));
    }

    #[tokio::test]
    async fn unsupported_requests_are_rejected_before_lookup() {
        let never = || async { if true { panic!("looked up") } else { Ok::<_, ()>(None) } };
        let mut headers = HeaderMap::new();
        let get = Receiver::resolve(&RequestHead::new("GET", "/", &headers), never()).await;
        assert_eq!(get.unwrap_err().reason(), Reason::Method);
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let encoded = Receiver::resolve(&RequestHead::new("POST", "/", &headers), never()).await;
        assert_eq!(encoded.unwrap_err().reason(), Reason::ContentEncoding);
    }
}
