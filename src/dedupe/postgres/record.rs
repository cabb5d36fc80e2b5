//! The records of deliveries whose event can recur with the same bytes.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::super::DeliveryRecord;
use super::PostgresStore;
use super::connection::{self, BoundStatement};
use super::work::seconds;
use crate::StoreError;
use crate::event_key::EventKey;

impl PostgresStore {
    pub(super) async fn record_body(
        &self,
        body: EventKey,
        period: Duration,
        most: u64,
    ) -> Result<DeliveryRecord, StoreError> {
        let statement = self.inner.statements.record.clone();
        let step = BoundStatement {
            key: Some((body, None)),
            seconds: Some(seconds(period)),
            most: Some(i64::try_from(most).unwrap_or(i64::MAX)),
            name: "record",
            statement,
        };
        let unavailable = |error| connection::unavailable("record", error);
        let row = self.row(step).await?.ok_or_else(|| unavailable(sqlx::Error::RowNotFound))?;
        record(&row).map_err(unavailable)
    }

    pub(super) async fn record_failed(&self, body: EventKey) -> Result<(), StoreError> {
        let statement = self.inner.statements.failure.clone();
        let step =
            BoundStatement { key: Some((body, None)), seconds: None, most: None, name: "record failure", statement };
        self.row(step).await.map(drop)
    }
}

fn record(row: &PgRow) -> Result<DeliveryRecord, sqlx::Error> {
    // A time may be negative if the server's clock was set back in between.
    let time = |at: usize| row.try_get(at).map(|time| Duration::try_from_secs_f64(time).unwrap_or_default());
    let number = |at: usize| row.try_get(at).map(|number: i64| u64::try_from(number).unwrap_or_default());
    let record = DeliveryRecord { earlier: number(0)?, since: time(1)?, in_period: number(2)?, period: time(3)? };
    Ok(if record.earlier == 0 { DeliveryRecord::default() } else { record })
}
