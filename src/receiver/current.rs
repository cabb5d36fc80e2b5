//! The provider and the secrets that deliveries are verified and opened with at a time.

use std::sync::Arc;

use crate::generation::Generation;
use crate::provider::Provider;

/// The provider and the secrets that deliveries are verified and opened with, replaced as a whole.
///
/// It is behind a `RwLock` that is held only while these pointers are copied or replaced. Reading it adds less than 1 %
/// to `verify` (`scripts/count`).
#[derive(Clone)]
pub(super) struct Current {
    pub(super) provider: Arc<dyn Provider>,
    pub(super) generation: Arc<Generation>,
}
