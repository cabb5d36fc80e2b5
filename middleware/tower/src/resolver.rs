//! The tenant resolver of the layer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::request::Parts;
use medhook::{Receiver, Rejection};

use crate::head::request_head;

/// One receiver for all requests, or the receiver of each request's tenant.
#[derive(Clone)]
pub(crate) enum ReceiverResolver {
    Fixed(Receiver),
    PerTenant(Arc<TenantResolver>),
}

type TenantResolver = dyn Fn(&Parts) -> TenantLookup + Send + Sync;

/// Owns its key, so it may outlive the head. The lookup's error is dropped, because it could quote the request.
type TenantLookup = Pin<Box<dyn Future<Output = Result<Option<Receiver>, ()>> + Send>>;

impl ReceiverResolver {
    pub(crate) fn per_tenant<F, R, E>(resolver: F) -> Self
    where
        F: Fn(&Parts) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<Receiver>, E>> + Send + 'static,
    {
        ReceiverResolver::PerTenant(Arc::new(move |head| {
            let lookup = resolver(head);
            Box::pin(async move { lookup.await.map_err(drop) })
        }))
    }

    /// Returns the receiver of a request.
    pub(crate) async fn resolve(self, head: &Parts) -> Result<Receiver, Rejection> {
        match self {
            ReceiverResolver::Fixed(receiver) => Ok(receiver),
            ReceiverResolver::PerTenant(resolver) => {
                Receiver::resolve(&request_head(head), async { resolver(head).await }).await
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
