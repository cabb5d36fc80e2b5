//! The head of a request, as the receiver reads it.

/// The head of a request: method, target and headers.
#[derive(Debug)]
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

impl<H: ?Sized> Clone for RequestHead<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H: ?Sized> Copy for RequestHead<'_, H> {}
