//! The row of an event and its body: reading and writing them.

use bytes::Bytes;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::super::fault::Fault;
use super::tables::sql;
use super::work::InboxTransaction;
use crate::claim_token::ClaimToken;
use crate::dedupe::inbox::rules::{RowState, Status};
use crate::dedupe::inbox::store::{EntryRow, SealedBody};

/// A row: what lists show of it, and the state that the rules change.
pub(super) struct InboxRow {
    pub(super) entry: EntryRow,
    pub(super) state: RowState,
}

impl InboxRow {
    pub(super) fn read(row: &SqliteRow) -> Result<Self, Fault> {
        let status = Status::from_number(row.try_get(5)?).ok_or_else(damaged)?;
        let (attempts, replays) = (number(row.try_get(6)?), number(row.try_get(7)?));
        let (due, ended_at): (i64, Option<i64>) = (row.try_get(9)?, row.try_get(10)?);
        let reason: Option<String> = row.try_get(11)?;
        let token: Option<&[u8]> = row.try_get(17)?;
        let state = RowState {
            status,
            due,
            token: token.map(|token| fixed(token).map(ClaimToken::from_bytes)).transpose()?,
            attempts,
            crashes: number(row.try_get(18)?),
            alone: row.try_get(19)?,
            replays,
            reason: reason.clone(),
            ended_at,
        };
        let entry = EntryRow {
            id: row.try_get(0)?,
            endpoint: row.try_get(1)?,
            provider: row.try_get(2)?,
            kind: row.try_get(3)?,
            secret: row.try_get(4)?,
            status,
            attempts,
            replays,
            stored_at: row.try_get(8)?,
            due: matches!(status, Status::Waiting | Status::Processing).then_some(due),
            ended_at,
            reason,
            size: unsigned(row.try_get(12)?),
            has_body: row.try_get(13)?,
            row_key: fixed(row.try_get(14)?)?,
            stored_by: ClaimToken::from_bytes(fixed(row.try_get(15)?)?),
            sealed_key: row.try_get::<Vec<u8>, _>(16)?.into(),
        };
        Ok(InboxRow { entry, state })
    }

    /// Returns the row for a list, with its changed state.
    pub(super) fn into_entry(self) -> EntryRow {
        let InboxRow { entry, state } = self;
        EntryRow {
            status: state.status,
            attempts: state.attempts,
            replays: state.replays,
            due: state.ended_at.is_none().then_some(state.due),
            ended_at: state.ended_at,
            reason: state.reason,
            ..entry
        }
    }
}

impl InboxTransaction<'_> {
    pub(super) async fn row(&mut self, id: i64) -> Result<Option<InboxRow>, Fault> {
        let row = sqlx::query(sql(&self.tables.get)).bind(id).fetch_optional(&mut *self.connection).await?;
        row.as_ref().map(InboxRow::read).transpose()
    }

    /// Writes the state of a row, and whether it has a body.
    pub(super) async fn write(&mut self, InboxRow { entry, state }: &InboxRow) -> Result<(), Fault> {
        let query = sqlx::query(sql(&self.tables.update)).bind(entry.id).bind(state.status.number()).bind(state.due);
        let query = query.bind(state.token.as_ref().map(|token| token.as_bytes().as_slice()));
        let query = query.bind(state.attempts).bind(state.crashes).bind(state.alone).bind(state.replays);
        query
            .bind(state.reason.as_deref())
            .bind(state.ended_at)
            .bind(entry.has_body)
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }

    /// Returns what is sealed of a row, with the body if there is one.
    pub(super) async fn sealed(&mut self, entry: &EntryRow) -> Result<SealedBody, Fault> {
        let body = sqlx::query_scalar(sql(&self.tables.body)).bind(entry.id);
        let body: Option<Vec<u8>> = body.fetch_optional(&mut *self.connection).await?;
        Ok(SealedBody {
            id: entry.id,
            endpoint: entry.endpoint.clone(),
            row_key: entry.row_key,
            stored_by: entry.stored_by,
            sealed_key: entry.sealed_key.clone(),
            sealed: body.map(Bytes::from),
        })
    }

    pub(super) async fn delete_body(&mut self, id: i64) -> Result<(), Fault> {
        for statement in [&self.tables.delete_body, &self.tables.without_body] {
            sqlx::query(sql(statement)).bind(id).execute(&mut *self.connection).await?;
        }
        Ok(())
    }
}

/// Returns the beginning of something sealed, with the id of its key.
pub(super) fn beginning(sealed: &[u8]) -> &[u8] {
    sealed.get(..5).unwrap_or(sealed)
}

/// Returns bytes of a fixed length, which the tables check.
pub(super) fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.try_into().map_err(|_| damaged())
}

fn damaged() -> Fault {
    Fault::new("the row of an event in the inbox is damaged")
}

fn number(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}
