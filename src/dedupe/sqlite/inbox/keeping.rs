//! Deleting events that need not be kept, and replacing the key of those that are.

use super::super::fault::Fault;
use super::super::rules;
use super::row::{InboxRow, beginning, fixed, unsigned};
use super::tables::sql;
use super::work::InboxTransaction;
use crate::dedupe::inbox::rules::Status;
use crate::dedupe::inbox::store::{Keep, KeyRecord, PurgedRows, SealedBody};

impl InboxTransaction<'_> {
    /// Deletes bodies and then rows of an endpoint. Deleted bodies are overwritten, so their bytes are limited, too.
    pub(super) async fn purge(&mut self, endpoint: &str, keep: Keep) -> Result<PurgedRows, Fault> {
        let mut purged = PurgedRows::default();
        let bodies = [(Status::Done, Some(keep.done)), (Status::Dead, keep.dead)];
        let rows = [(Status::Done, Some(keep.rows)), (Status::Discarded, Some(keep.rows)), (Status::Dead, keep.dead)];
        let mut bytes = 0_u64;
        for (status, keep) in bodies {
            let Some(keep) = keep else { continue };
            let most = PURGED_AT_ONCE.saturating_sub(purged.bodies);
            let ended: Vec<(i64, i64)> = sqlx::query_as(sql(&self.tables.ended_bodies))
                .bind(endpoint)
                .bind(status.number())
                .bind(before(self.now, keep))
                .bind(i64::try_from(most).unwrap_or(i64::MAX))
                .fetch_all(&mut *self.connection)
                .await?;
            for (id, size) in ended {
                if bytes > PURGED_BYTES {
                    purged.more = true;
                    break;
                }
                bytes = bytes.saturating_add(unsigned(size));
                self.delete_body(id).await?;
                purged.bodies = purged.bodies.saturating_add(1);
            }
        }
        for (status, keep) in rows {
            let Some(keep) = keep else { continue };
            let most = PURGED_AT_ONCE.saturating_sub(purged.rows);
            let ended: Vec<i64> = sqlx::query_scalar(sql(&self.tables.ended_rows))
                .bind(endpoint)
                .bind(status.number())
                .bind(before(self.now, keep))
                .bind(self.now)
                .bind(i64::try_from(most).unwrap_or(i64::MAX))
                .fetch_all(&mut *self.connection)
                .await?;
            for id in ended {
                let delete = sqlx::query(sql(&self.tables.delete)).bind(id).bind(self.now);
                let deleted = delete.execute(&mut *self.connection).await?.rows_affected();
                purged.rows = purged.rows.saturating_add(deleted);
            }
        }
        purged.more |= purged.bodies >= PURGED_AT_ONCE || purged.rows >= PURGED_AT_ONCE;
        Ok(purged)
    }

    pub(super) async fn key_records(&mut self) -> Result<Vec<KeyRecord>, Fault> {
        let records: Vec<(Vec<u8>, Vec<u8>)> =
            sqlx::query_as(sql(&self.tables.keys)).fetch_all(&mut *self.connection).await?;
        let record =
            |(key_id, sealed): (Vec<u8>, Vec<u8>)| Ok(KeyRecord { key_id: fixed(&key_id)?, sealed: sealed.into() });
        records.into_iter().map(record).collect()
    }

    pub(super) async fn add_key_record(&mut self, record: &KeyRecord) -> Result<(), Fault> {
        let query = sqlx::query(sql(&self.tables.add_key)).bind(record.key_id.as_slice()).bind(&record.sealed[..]);
        query.execute(&mut *self.connection).await?;
        Ok(())
    }

    pub(super) async fn remove_key_record(&mut self, key_id: [u8; 4]) -> Result<bool, Fault> {
        let used = sqlx::query(sql(&self.tables.uses_key)).bind(begin(key_id));
        if used.fetch_optional(&mut *self.connection).await?.is_some() {
            return Ok(false);
        }
        let remove = sqlx::query(sql(&self.tables.remove_key)).bind(key_id.as_slice());
        remove.execute(&mut *self.connection).await?;
        Ok(true)
    }

    /// Returns fewer than `limit` rows if their bodies are long.
    pub(super) async fn sealed_otherwise(
        &mut self,
        key_id: [u8; 4],
        after: i64,
        limit: u32,
    ) -> Result<Vec<SealedBody>, Fault> {
        let query = sqlx::query(sql(&self.tables.sealed_otherwise)).bind(after).bind(begin(key_id));
        let rows = query.bind(limit.min(MOST_RESEALED)).fetch_all(&mut *self.connection).await?;
        let (mut found, mut bytes) = (Vec::new(), 0_u64);
        for row in &rows {
            if bytes > PURGED_BYTES {
                break;
            }
            let body = self.sealed(&InboxRow::read(row)?.entry).await?;
            bytes = bytes.saturating_add(body.sealed.as_ref().map_or(0, |sealed| sealed.len() as u64));
            found.push(body);
        }
        Ok(found)
    }

    pub(super) async fn reseal(&mut self, before: &SealedBody, after: &SealedBody) -> Result<bool, Fault> {
        let Some(row) = self.row(before.id).await? else { return Ok(false) };
        if self.sealed(&row.entry).await? != *before {
            return Ok(false);
        }
        let query = sqlx::query(sql(&self.tables.reseal_key)).bind(before.id).bind(&after.sealed_key[..]);
        let query = query.bind(after.sealed.as_deref().map(beginning));
        query.execute(&mut *self.connection).await?;
        if let Some(sealed) = &after.sealed {
            let query = sqlx::query(sql(&self.tables.reseal_body)).bind(before.id).bind(&sealed[..]);
            query.execute(&mut *self.connection).await?;
        }
        Ok(true)
    }
}

/// Returns the bytes with which everything begins that is sealed under a key.
fn begin([a, b, c, d]: [u8; 4]) -> Vec<u8> {
    vec![1, a, b, c, d]
}

/// Returns the time at which an event must have ended if it is no longer kept.
fn before(now: i64, keep: std::time::Duration) -> i64 {
    now.saturating_sub(rules::after(0, keep))
}

/// Small batches, so that other operations wait only briefly.
const PURGED_AT_ONCE: u64 = 25;
const PURGED_BYTES: u64 = 1 << 20;
const MOST_RESEALED: u32 = 1000;
