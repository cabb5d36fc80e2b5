//! Finishing an event in a transaction of the application.

use super::super::connection::error_in;
use super::{PostgresStore, lease};
use crate::claim_token::ClaimToken;
use crate::dedupe::Settled;
use crate::dedupe::inbox::rules::{self, Ending, RowState};
use crate::dedupe::own_delivery::own_delivery;
use crate::{Delivery, StoreError};

impl PostgresStore {
    /// Finishes the event of a delivery from the [inbox](PostgresStore#inbox) in a transaction of the application, so
    /// that the effects of the handler and the end of the event are committed together or not at all: they take effect
    /// once, even if the lease expires and another worker handles the event, too. The requirements are those of
    /// [`commit_in`](PostgresStore::commit_in), which does the same for a delivery from an inbox.
    ///
    /// Once the transaction is committed, the event is done whatever the handler answers. Its body is deleted by the
    /// worker when the handler has answered, or by a later purge if the process ends before that.
    ///
    /// The transaction locks the event's row until it ends. Call it last: until the transaction ends, the worker cannot
    /// renew the lease. No other worker leases the locked row.
    ///
    /// In `REPEATABLE READ` and `SERIALIZABLE`, it fails with a serialization failure if the worker has renewed the
    /// lease since the transaction's first statement. Use `READ COMMITTED`, the default, for handlers that take longer
    /// than a third of the lease.
    ///
    /// # Errors
    /// Returns a [lost](StoreError::is_lost) error if the lease expired and another worker has leased the event, or if
    /// it was given back; otherwise the database's error. In both cases drop the transaction.
    ///
    /// Returns an error without changing anything if the delivery is not from an inbox, if it is from that of another
    /// store, or if the transaction is on a database with another name.
    #[cfg_attr(docsrs, doc(cfg(all(feature = "inbox", feature = "sqlx-09"))))]
    pub async fn finish_in(
        &self,
        transaction: &mut sqlx::Transaction<'_, sqlx::Postgres>,
        delivery: &Delivery,
    ) -> Result<(), StoreError> {
        let (token, _) = own_delivery(self.inner.id, "PostgreSQL: finish_in", delivery)?;
        let Some(row) = delivery.inbox_row() else {
            let message = "PostgreSQL: finish_in: the delivery is not from an inbox; use `commit_in`";
            return Err(StoreError::unavailable(message));
        };
        self.finish_row(transaction, "finish_in", row, token).await
    }

    pub(in super::super) async fn finish_row(
        &self,
        transaction: &mut sqlx::PgTransaction<'_>,
        operation: &'static str,
        row: i64,
        token: ClaimToken,
    ) -> Result<(), StoreError> {
        let statements = &self.inner.inbox.statements.rows_in;
        // In a transaction that its caller holds open, this call cannot arrive late.
        let finish = |row: &mut RowState, now| rules::finish(row, token, now, &Ending::Done);
        match lease::finish(statements, row, finish, true, transaction).await {
            Ok(Settled::Settled) => Ok(()),
            Ok(Settled::Lost) => Err(StoreError::lost()),
            Err(error) => Err(error_in(operation, error)),
        }
    }
}
