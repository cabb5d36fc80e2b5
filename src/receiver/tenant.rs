//! The tenant resolver: finds the receiver of a request if each tenant has its own.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use http::header;
use tokio::time::timeout;

use super::Receiver;
use super::head::{not_encoded, one_of};
use crate::error::Reason;
use crate::headers::{HeadFault, Headers};
use crate::observe;
use crate::provider::METHODS;
use crate::rejection::Rejection;
use crate::request_head::RequestHead;

impl Receiver {
    /// Resolves the receiver of a request with the application's `lookup`. The middleware crates call it before
    /// [`receive`](Receiver::receive), so before any of the body is read.
    ///
    /// A method or an encoding that no receiver accepts is rejected without a lookup. `Ok(None)` means an unknown
    /// tenant and is answered like a wrong signature, or like a wrong method if the method is that of a
    /// [handshake](crate::Handshake). An error, a panic, or a timeout after 5 s is answered with 503.
    ///
    /// # Responsibilities of the application
    /// - Do not trust the tenant's name in a path, a file name or a query: the client chooses it, and it is unverified
    ///   until the signature is verified. Neither the name nor the lookup's error, which could quote it, is logged
    ///   here.
    /// - Limit how many lookups run concurrently and the cost of each: any client can cause them. A cache of their
    ///   results must be bounded, or contain existing tenants only.
    /// - Build one [`Receiver`] per tenant, keep it, and return clones. A receiver counts its deliveries in flight, and
    ///   only [`drain`](Receiver::drain) of the same receiver waits for them. A receiver built per request limits
    ///   nothing.
    /// - Give receivers that share a store different names, since the name is part of the event key. Give all tenants
    ///   different secrets, since no signature covers the path: otherwise a delivery to one tenant verifies at another.
    /// - An unknown tenant is rejected with the status and empty body of a wrong signature, but sooner, since the body
    ///   of a known tenant is read before its signature is compared. A limit or a shutdown (413, 503) also reveals a
    ///   known tenant. If clients must not learn which tenants exist, use an unguessable token in the path instead of a
    ///   name.
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
    /// # let receiver = Receiver::builder("clinic-7", HealthSync::new(secret));
    /// # let receiver = receiver.store(MemoryStore::new(10)).build()?;
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
    /// Returns [`Reason::Method`], [`Reason::ContentEncoding`], [`Reason::UnknownTenant`] or
    /// [`Reason::TenantLookupFailed`].
    ///
    /// # Panics
    /// Panics outside a tokio runtime with its timer enabled.
    pub async fn resolve<H, E>(
        head: &RequestHead<'_, H>,
        lookup: impl Future<Output = Result<Option<Receiver>, E>>,
    ) -> Result<Receiver, Rejection>
    where
        H: Headers + ?Sized,
    {
        let resolved = async {
            one_of(EVERY_METHOD, head.method)?;
            not_encoded(head.headers.find(&header::CONTENT_ENCODING))?;
            // The request is not verified yet, and it must not be able to cause a panic of the connection's task.
            let lookup = AssertUnwindSafe(lookup).catch_unwind();
            match timeout(LOOKUP_TIMEOUT, lookup).await {
                Ok(Ok(Ok(Some(receiver)))) => Ok(receiver),
                // The same answer as that of a known tenant without such a handshake.
                Ok(Ok(Ok(None))) if one_of(METHODS, head.method).is_err() => Err(Reason::Method.into()),
                Ok(Ok(Ok(None))) => Err(Reason::UnknownTenant.into()),
                Ok(Ok(Err(_)) | Err(_)) | Err(_) => Err(HeadFault::from(Reason::TenantLookupFailed)),
            }
        };
        resolved.await.map_err(|fault| {
            let rejection = Rejection::from(fault).allowing(METHODS);
            observe::unresolved(&rejection);
            rejection
        })
    }
}

/// The methods of deliveries and of all handshakes. The receiver checks which of them it has.
const EVERY_METHOD: &[&str] = &["GET", "HEAD", "POST"];

/// The timeout of a lookup, the same as of a store operation.
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
    async fn resolve_returns_the_receiver_that_the_lookup_found() {
        assert_eq!(reason(ready(Ok::<_, ()>(Some(receiver())))).await, None);
        assert_eq!(reason(ready(Ok::<_, ()>(None))).await, Some(Reason::UnknownTenant));
        assert_eq!(reason(ready(Err("unavailable"))).await, Some(Reason::TenantLookupFailed));
    }

    /// Otherwise the handshakes of tenants' receivers would never be answered.
    #[tokio::test]
    async fn the_methods_of_handshakes_reach_the_receiver_of_a_known_tenant() {
        let headers = HeaderMap::new();
        for method in ["GET", "HEAD"] {
            let head = RequestHead::new(method, "/", &headers);
            let known = Receiver::resolve(&head, ready(Ok::<_, ()>(Some(receiver())))).await;
            assert_eq!(known.unwrap().name(), "tenant", "{method}");
            let unknown = Receiver::resolve(&head, ready(Ok::<_, ()>(None))).await;
            assert_eq!(unknown.unwrap_err().reason(), Reason::Method, "{method}");
        }
    }

    #[tokio::test]
    async fn a_lookup_that_panics_is_answered_with_503() {
        let panics = async { if true { panic!("the lookup panics") } else { Ok::<_, ()>(None) } };
        assert_eq!(reason(panics).await, Some(Reason::TenantLookupFailed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_times_out_is_answered_with_503() {
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
        let put = Receiver::resolve(&RequestHead::new("PUT", "/", &headers), never()).await;
        assert_eq!(put.unwrap_err().reason(), Reason::Method);
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let encoded = Receiver::resolve(&RequestHead::new("POST", "/", &headers), never()).await;
        assert_eq!(encoded.unwrap_err().reason(), Reason::ContentEncoding);
    }
}
