//! The identity of a store.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// The identity of a store object within this process. Clones of a store have the same one.
///
/// A store that commits claims in transactions of the application compares its own with
/// [`Delivery::store_id`](crate::Delivery::store_id), so that it rejects a delivery whose receiver has another store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(NonZeroU64);

impl StoreId {
    /// Creates an identity that no other store of this process has.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a default value would not be a new identity each time")]
    pub fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let last = LAST.fetch_add(1, Ordering::Relaxed);
        StoreId(NonZeroU64::MIN.saturating_add(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_new_identity_differs() {
        let first = StoreId::new();
        assert_ne!(first, StoreId::new());
        assert_eq!(first, first.clone());
    }
}
