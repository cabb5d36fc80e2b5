//! The head of a request, as the receiver reads it.

use std::fmt;

/// The head of a request: method, target and headers.
pub struct RequestHead<'a, H: ?Sized> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) headers: &'a H,
}

impl<'a, H: ?Sized> RequestHead<'a, H> {
    /// Creates a head. The target is the path and the query as received in the request line.
    pub fn new(method: &'a str, target: &'a str, headers: &'a H) -> Self {
        RequestHead { method, target, headers }
    }
}

impl<H: ?Sized> fmt::Debug for RequestHead<'_, H> {
    /// Writes nothing of the request: targets and headers can contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead").finish_non_exhaustive()
    }
}

impl<H: ?Sized> Clone for RequestHead<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H: ?Sized> Copy for RequestHead<'_, H> {}
