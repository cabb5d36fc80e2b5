//! Step 3, the body: counted, hashed and collected as it arrives.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use crate::error::Reason;
use crate::generation::Generation;
use crate::headers::{Found, number};
use crate::rejection::Rejection;
use crate::scheme::Check;
use crate::unsigned::UnsignedValues;

/// A delivery whose head was accepted and whose body is being read. Returned by
/// [`Receiver::begin`](crate::Receiver::begin).
///
/// It collects the body itself, so the bytes that it returns are exactly the bytes that it hashed.
pub struct Intake<'a> {
    pub(super) generation: Arc<Generation>,
    pub(super) check: Check<'a>,
    pub(super) unsigned: Option<Box<UnsignedValues<'a>>>,
    /// The `Content-Length`.
    declared: Found<'a>,
    pub(super) body: Collected,
    pub(super) hashed: usize,
    pub(super) too_large: bool,
}

/// The collected body. Most bodies arrive in one piece, which is neither copied nor hashed before the end.
///
/// With a buffer for all bodies, `verify` takes 437 instructions (11 %) and one allocation more per delivery, and the
/// layers two allocations (`scripts/count`). http-body-util's `collect` cannot hash the body as it arrives.
pub(super) enum Collected {
    Whole(Bytes),
    Parts(Vec<u8>),
}

impl<'a> Intake<'a> {
    #[inline]
    pub(super) fn new(
        generation: Arc<Generation>,
        check: Check<'a>,
        unsigned: Option<Box<UnsignedValues<'a>>>,
        declared: Found<'a>,
    ) -> Self {
        Intake {
            generation,
            check,
            unsigned,
            declared,
            body: Collected::Whole(Bytes::new()),
            hashed: 0,
            too_large: false,
        }
    }

    /// Adds the next piece of the body.
    ///
    /// # Errors
    /// Returns [`Reason::TooLarge`] if the body exceeds the limit. Every later call then fails, too.
    pub fn push(&mut self, piece: Bytes) -> Result<(), Rejection> {
        let length = self.body.bytes().len().saturating_add(piece.len());
        self.too_large |= length > self.generation.endpoint.limits().body;
        if self.too_large {
            return Err(Reason::TooLarge.into());
        }
        self.body.push(piece, || {
            let declared = match self.declared {
                Found::Once(value) => number(value).and_then(|declared| usize::try_from(declared).ok()),
                Found::Absent | Found::Repeated => None,
            };
            declared.filter(|declared| *declared >= length).unwrap_or(self.generation.endpoint.limits().body)
        });
        if let Collected::Parts(_) = self.body {
            self.hash_some();
        }
        Ok(())
    }

    /// Reads the whole body from a stream. Yields to other tasks while it hashes a long body.
    ///
    /// Takes both by reference, since a value that is moved into a future takes its size twice.
    pub(super) async fn read<S, E>(&mut self, mut body: Pin<&mut S>) -> Result<(), Rejection>
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        while let Some(piece) = body.next().await {
            self.push(piece.map_err(|_| Reason::BodyIncomplete)?)?;
            // A stream of empty pieces that is always ready would starve the timeout.
            tokio::task::coop::consume_budget().await;
            while self.unhashed().len() > self.generation.hash_at_once {
                self.hash_some();
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Hashes the next part of the bytes that are not hashed yet.
    fn hash_some(&mut self) {
        let until = self.hashed.saturating_add(self.unhashed().len().min(self.generation.hash_at_once));
        self.check.push(&self.generation.scheme, self.body.bytes().get(self.hashed..until).unwrap_or_default());
        self.hashed = until;
    }

    fn unhashed(&self) -> &[u8] {
        self.body.bytes().get(self.hashed..).unwrap_or_default()
    }
}

impl Collected {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Collected::Whole(bytes) => bytes,
            Collected::Parts(bytes) => bytes,
        }
    }

    /// Adds a piece. `expected` returns the length of the whole body, or a limit of it.
    fn push(&mut self, piece: Bytes, expected: impl Fn() -> usize) {
        match self {
            Collected::Whole(bytes) if bytes.is_empty() => *bytes = piece,
            Collected::Whole(_) if piece.is_empty() => {}
            Collected::Whole(bytes) => {
                let mut parts = Vec::from(std::mem::take(bytes));
                extend(&mut parts, &piece, expected);
                *self = Collected::Parts(parts);
            }
            Collected::Parts(parts) => extend(parts, &piece, expected),
        }
    }

    pub(super) fn into_bytes(self) -> Bytes {
        match self {
            Collected::Whole(bytes) => bytes,
            Collected::Parts(mut parts) => {
                // If the length of a body was not declared, up to half of the capacity is unused.
                parts.shrink_to_fit();
                parts.into()
            }
        }
    }
}

/// Adds a piece to a buffer. Its capacity grows by doubling, so that a sender must send half of what the receiver
/// holds, but not above the expected length: a body may wait for long, and would take up to twice its length in a
/// `BytesMut`.
fn extend(parts: &mut Vec<u8>, piece: &[u8], expected: impl Fn() -> usize) {
    let length = parts.len().saturating_add(piece.len());
    if length > parts.capacity() {
        let capacity = parts.capacity().saturating_mul(2).min(expected()).max(length);
        parts.reserve_exact(capacity.saturating_sub(parts.len()));
    }
    parts.extend_from_slice(piece);
}

impl fmt::Debug for Intake<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("bytes", &self.body.bytes().len()).finish_non_exhaustive()
    }
}
