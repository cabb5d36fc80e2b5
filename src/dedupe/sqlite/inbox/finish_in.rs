//! Finishing an event in a transaction of the application.

use super::super::SqliteStore;
use super::super::fault::Fault;
use super::super::writer;
use super::tables::sql;
use crate::claim_token::ClaimToken;
use crate::dedupe::own_delivery::own_delivery;
use crate::{Delivery, StoreError};

impl SqliteStore {
    /// Finishes the event of a delivery from the [inbox](Self::inbox) in a transaction of the application, so that the
    /// effects of the handler and the end of the event are committed together or not at all: they take effect once,
    /// even if the lease expires and another worker handles the event, too. The requirements are those of
    /// [`commit_in`](Self::commit_in), which does the same for a delivery from an inbox.
    ///
    /// Once the transaction is committed, the event is done, also if the handler then fails. Its body is deleted by the
    /// worker when the handler has answered, or by a later purge if the process ends before that: only the store's own
    /// connection overwrites what it deletes.
    ///
    /// # Errors
    /// Returns a [lost](StoreError::is_lost) error if the lease expired and another worker has leased the event, or if
    /// it was given back; otherwise the database's error.
    ///
    /// Returns an error without changing anything if the delivery is not from an inbox, if it is from that of another
    /// store, or if the transaction is on another file.
    pub async fn finish_in(
        &self,
        transaction: &mut sqlx::SqliteTransaction<'_>,
        delivery: &Delivery,
    ) -> Result<(), StoreError> {
        let (token, _) = own_delivery(self.id, "SQLite store: finish_in", delivery)?;
        let Some(row) = delivery.inbox_row() else {
            let message = "SQLite store: finish_in: the delivery is not from an inbox; use `commit_in`";
            return Err(StoreError::unavailable(message));
        };
        self.check(transaction, "finish_in").await?;
        self.finish_row(transaction, row, token).await
    }

    pub(in super::super) async fn finish_row(
        &self,
        transaction: &mut sqlx::SqliteTransaction<'_>,
        row: i64,
        token: ClaimToken,
    ) -> Result<(), StoreError> {
        let query = sqlx::query(sql(&self.database.tables().inbox.finish_in)).bind(row);
        let query = query.bind(token.as_bytes().as_slice()).bind(writer::millis(&*self.clock));
        match query.execute(&mut **transaction).await {
            Ok(finished) if finished.rows_affected() > 0 => Ok(()),
            Ok(_) => Err(StoreError::lost()),
            Err(error) => Err(Fault::from(error).to_store_error()),
        }
    }
}
