//! Values of the application whose destructors may panic while a claim is held.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::delivery::Delivery;
use crate::observe::{self, caught, discard};

/// Owns a value of the application, and logs a panic of its destructor instead of passing it on. Otherwise the claim
/// would not be settled, and its event would be blocked until the lease expires.
pub(super) struct Guarded<'a, T> {
    value: Option<T>,
    delivery: &'a Delivery,
}

impl<'a, T> Guarded<'a, T> {
    #[inline]
    pub(super) fn new(value: T, delivery: &'a Delivery) -> Self {
        Guarded { value: Some(value), delivery }
    }

    /// Consumes the value with a function of the application. Returns `None` if that panics.
    #[inline]
    pub(super) fn consume<R>(mut self, consume: impl FnOnce(T) -> R) -> Option<R> {
        let value = self.value.take()?;
        caught(|| consume(value))
    }
}

impl<T: Future + Unpin> Future for Guarded<'_, T> {
    type Output = T::Output;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T::Output> {
        match &mut self.value {
            Some(future) => Pin::new(future).poll(context),
            None => Poll::Pending,
        }
    }
}

impl<T> Unpin for Guarded<'_, T> {}

impl<T> Drop for Guarded<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(value) = self.value.take()
            && !discard(value)
        {
            observe::destructor_panicked(self.delivery.subject());
        }
    }
}
