//! The tenant resolver of the middleware.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::{Error, FromRequest, HttpRequest};
use medhook::{Receiver, Rejection, RequestHead};

use crate::head::{RequestHeaders, target};

/// One receiver for all requests, or the receiver of each request's tenant.
#[derive(Clone)]
pub(crate) enum ReceiverResolver {
    Fixed(Receiver),
    PerTenant(Arc<TenantResolver>),
}

type TenantResolver = dyn Fn(&HttpRequest) -> TenantLookup + Send + Sync;

/// The lookup's error is dropped, because it could quote the request.
type TenantLookup = Pin<Box<dyn Future<Output = Result<Option<Receiver>, ()>>>>;

impl ReceiverResolver {
    pub(crate) fn per_tenant<K, F, R, E>(resolver: F) -> Self
    where
        K: FromRequest + 'static,
        F: Fn(K) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<Receiver>, E>> + 'static,
    {
        let resolver = Arc::new(resolver);
        ReceiverResolver::PerTenant(Arc::new(move |request| {
            let (key, resolver) = (K::from_request(request, &mut Payload::None), resolver.clone());
            Box::pin(async move {
                match key.await.map_err(Into::<Error>::into) {
                    Ok(key) => resolver(key).await.map_err(drop),
                    Err(error) if error.as_response_error().status_code().is_client_error() => Ok(None),
                    Err(_) => Err(()),
                }
            })
        }))
    }

    /// Returns the receiver of a request. All borrows of the request by the lookup have ended by then.
    pub(crate) async fn resolve(self, request: &HttpRequest) -> Result<Receiver, Rejection> {
        match self {
            ReceiverResolver::Fixed(receiver) => Ok(receiver),
            ReceiverResolver::PerTenant(resolver) => {
                let lookup = async { resolver(request).await };
                let headers = RequestHeaders(request.headers());
                Receiver::resolve(&RequestHead::new(request.method().as_str(), target(request), &headers), lookup).await
            }
        }
    }
}

impl fmt::Debug for ReceiverResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReceiverResolver::Fixed(receiver) => receiver.fmt(f),
            ReceiverResolver::PerTenant(_) => f.write_str("per_tenant(..)"),
        }
    }
}
