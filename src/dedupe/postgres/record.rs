//! The records of deliveries whose event can recur with the same bytes.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::super::DeliveryRecord;
use super::connection::{self, BoundStatement};
use super::{PostgresStore, seconds};
use crate::StoreError;
use crate::event_key::EventKey;

impl PostgresStore {
    pub(super) async fn record_body(&self, body: EventKey, period: Duration) -> Result<DeliveryRecord, StoreError> {
        let statement = self.inner.statements.record.clone();
        let step =
            BoundStatement { key: Some((body, None)), seconds: Some(seconds(period)), name: "record", statement };
        let unavailable = |error| connection::unavailable("record", error);
        let row = self.row(step).await?.ok_or_else(|| unavailable(sqlx::Error::RowNotFound))?;
        record(&row).map_err(unavailable)
    }

    pub(super) async fn unrecord_body(&self, body: EventKey) -> Result<(), StoreError> {
        let statement = self.inner.statements.unrecord.clone();
        let step = BoundStatement { key: Some((body, None)), seconds: None, name: "unrecord", statement };
        self.row(step).await.map(drop)
    }
}

fn record(row: &PgRow) -> Result<DeliveryRecord, sqlx::Error> {
    let earlier: i64 = row.try_get(0)?;
    let since: f64 = row.try_get(1)?;
    if earlier <= 0 {
        return Ok(DeliveryRecord::default());
    }
    // The server's clock may have been set back in between.
    let since = Duration::try_from_secs_f64(since).unwrap_or_default();
    Ok(DeliveryRecord { earlier: earlier.unsigned_abs(), since })
}
