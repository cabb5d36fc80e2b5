//! The receiver of a request, where each tenant has one of its own.

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
    /// Finds the receiver of a request by a look-up of the application's. Frameworks' layers call it before
    /// [`receive`](Receiver::receive), with nothing of the body read.
    ///
    /// A method or an encoding that no receiver would take is refused without a look-up. `Ok(None)` is a tenant that
    /// there is not, and answered like a wrong signature. An error, a panic, or no answer within 5 s is answered 503.
    ///
    /// # What the application must see to
    /// - Whose tenant a request says it is for is a stranger's choice until the proof. It is logged nowhere here, so the
    ///   look-up's error is dropped, too. Do not trust it in a path, a file name or a query.
    /// - Anyone can have look-ups made. How many run at once, and what each costs, is yours to limit; whatever keeps
    ///   their results must be bounded, or keep only tenants that there are.
    /// - Build one [`Receiver`] for each tenant, keep it, and give out clones: it holds how many deliveries are being
    ///   handled, and only [`drain`](Receiver::drain) of that same one waits for them. A receiver built for each request
    ///   limits nothing.
    /// - Receivers that share a store need different names, for events are remembered by the name; and different
    ///   secrets, for no signature covers the path: what one tenant was sent would pass as another's.
    /// - A tenant that there is not is refused with a wrong signature's status and empty body, but sooner: the body of a
    ///   known tenant is read before its signature is judged. A limit or a shut-down (413, 503) is a known tenant's,
    ///   too. If nobody may learn which tenants there are, have an unguessable token in the path instead of a name.
    ///
    /// Rejections are logged and counted under the endpoint `(unselected)`.
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
    /// let find = async |tenant: &str| Ok::<_, Infallible>(tenants.get(tenant).cloned());
    /// let headers = http::HeaderMap::new();
    /// let head = RequestHead::new("POST", "/webhooks/healthsync", &headers);
    ///
    /// let known = Receiver::select(&head, find("clinic-7")).await;
    /// assert_eq!(known.unwrap().name(), "clinic-7");
    /// let unknown = Receiver::select(&head, find("clinic-8")).await;
    /// assert_eq!(unknown.unwrap_err().reason(), Reason::UnknownTenant);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Reason::Method`], [`Reason::ContentEncoding`], [`Reason::UnknownTenant`] or [`Reason::LookupFailed`].
    ///
    /// # Panics
    /// Outside a tokio runtime with its timer enabled.
    pub async fn select<H, E>(
        head: &RequestHead<'_, H>,
        look_up: impl Future<Output = Result<Option<Receiver>, E>>,
    ) -> Result<Receiver, Rejection>
    where
        H: Headers + ?Sized,
    {
        let selected = async {
            one_of(METHODS, head.method)?;
            not_encoded(head.headers)?;
            // Nobody has proved anything yet: whoever can make a look-up panic is to get an answer like any other.
            let look_up = AssertUnwindSafe(look_up).catch_unwind();
            match timeout(LONGEST_LOOK_UP, look_up).await {
                Ok(Ok(Ok(Some(receiver)))) => Ok(receiver),
                Ok(Ok(Ok(None))) => Err(Reason::UnknownTenant),
                Ok(Ok(Err(_)) | Err(_)) | Err(_) => Err(Reason::LookupFailed),
            }
        };
        selected.await.map_err(|reason| {
            observe::unselected(reason);
            Rejection::new(reason).allowing(METHODS)
        })
    }
}

/// How long a look-up may take: as long as one step of a store.
const LONGEST_LOOK_UP: Duration = Duration::from_secs(5);

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

    async fn reason<E>(look_up: impl Future<Output = Result<Option<Receiver>, E>>) -> Option<Reason> {
        Receiver::select(&RequestHead::new("POST", "/", &HeaderMap::new()), look_up)
            .await
            .err()
            .map(|rejection| rejection.reason())
    }

    #[tokio::test]
    async fn what_the_look_up_finds_is_selected() {
        assert_eq!(reason(ready(Ok::<_, ()>(Some(receiver())))).await, None);
        assert_eq!(reason(ready(Ok::<_, ()>(None))).await, Some(Reason::UnknownTenant));
        assert_eq!(reason(ready(Err("out of order"))).await, Some(Reason::LookupFailed));
    }

    #[tokio::test]
    async fn a_look_up_that_panics_has_failed() {
        let panics = async { if true { panic!("the look-up's own") } else { Ok::<_, ()>(None) } };
        assert_eq!(reason(panics).await, Some(Reason::LookupFailed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_up_that_does_not_answer_in_time_has_failed() {
        let late = async {
            tokio::time::sleep(LONGEST_LOOK_UP + Duration::from_millis(1)).await;
            Ok::<_, ()>(Some(receiver()))
        };
        assert_eq!(reason(late).await, Some(Reason::LookupFailed));
        assert_eq!(reason(pending::<Result<_, ()>>()).await, Some(Reason::LookupFailed));
    }

    #[tokio::test]
    async fn unsupported_requests_are_rejected_before_lookup() {
        let never = || async { if true { panic!("looked up") } else { Ok::<_, ()>(None) } };
        let mut headers = HeaderMap::new();
        let get = Receiver::select(&RequestHead::new("GET", "/", &headers), never()).await;
        assert_eq!(get.unwrap_err().reason(), Reason::Method);
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let encoded = Receiver::select(&RequestHead::new("POST", "/", &headers), never()).await;
        assert_eq!(encoded.unwrap_err().reason(), Reason::ContentEncoding);
    }
}
