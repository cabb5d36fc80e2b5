//! The check that a delivery's receiver has the store that is to commit its claim.

use crate::StoreError;
use crate::claim_token::ClaimToken;
use crate::delivery::Delivery;
use crate::retention::Retention;
use crate::store_id::StoreId;

/// Returns the claim token and the retention of a delivery that a receiver with this store has admitted.
///
/// With another store, the record would be one that the receiver's claims do not see.
pub(super) fn own_delivery(
    store: StoreId,
    operation: &str,
    delivery: &Delivery,
) -> Result<(ClaimToken, Retention), StoreError> {
    let (Some(token), Some(retention)) = (delivery.claim_token(), delivery.retention()) else {
        return Err(StoreError::unavailable(format!("{operation}: the delivery was not admitted by a receiver")));
    };
    if delivery.store_id() == Some(store) {
        return Ok((token, retention));
    }
    Err(StoreError::unavailable(format!(
        "{operation}: the receiver of the delivery has another store, whose claims do not see this record; build \
         the receiver with a clone of this store (a store that wraps it must return its `store_id`)"
    )))
}
