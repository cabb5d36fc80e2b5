//! The rows of the tables.

use bytes::Bytes;
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::claim_token::ClaimToken;
use crate::dedupe::inbox::rules::{RowState, Status};
use crate::dedupe::inbox::store::{EntryRow, SealedBody};

/// Returns the expression of a time in Unix milliseconds.
pub(super) fn ms(time: &str) -> String {
    format!("round(extract(epoch FROM {time}) * 1000)::bigint")
}

/// Returns the columns of a row `i`, with their times in Unix milliseconds, and the server's time as `now`.
pub(super) fn columns() -> String {
    let now = "date_trunc('milliseconds', clock_timestamp())";
    let [due, stored_at, ended_at, now] = ["i.due", "i.stored_at", "i.ended_at", now].map(ms);
    format!(
        "i.id, i.row_key, i.stored_by, i.endpoint, i.provider, i.kind, i.secret, i.status, {due} AS due, i.token, \
         i.attempts, i.crashes, i.alone, i.replays, i.reason, {stored_at} AS stored_at, {ended_at} AS ended_at, \
         i.size, i.has_body, i.sealed_key, {now} AS now"
    )
}

/// A row, as it is in the table.
pub(super) struct Stored {
    pub(super) state: RowState,
    pub(super) entry: EntryRow,
    pub(super) now: i64,
}

impl Stored {
    pub(super) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let count = |name: &str| row.try_get::<i32, _>(name).map(|count| u32::try_from(count).unwrap_or_default());
        let status: i16 = row.try_get("status")?;
        let status = Status::from_number(status.into()).ok_or_else(|| invalid("status"))?;
        let token: Option<Vec<u8>> = row.try_get("token")?;
        let state = RowState {
            status,
            due: row.try_get("due")?,
            token: token.map(|token| fixed("token", &token).map(ClaimToken::from_bytes)).transpose()?,
            attempts: count("attempts")?,
            crashes: count("crashes")?,
            alone: row.try_get("alone")?,
            replays: count("replays")?,
            reason: row.try_get("reason")?,
            ended_at: row.try_get("ended_at")?,
        };
        let entry = EntryRow {
            id: row.try_get("id")?,
            endpoint: row.try_get("endpoint")?,
            provider: row.try_get("provider")?,
            kind: row.try_get("kind")?,
            secret: row.try_get("secret")?,
            status,
            attempts: state.attempts,
            replays: state.replays,
            stored_at: row.try_get("stored_at")?,
            due: matches!(status, Status::Waiting | Status::Processing).then_some(state.due),
            ended_at: state.ended_at,
            reason: state.reason.clone(),
            size: u64::try_from(row.try_get::<i64, _>("size")?).unwrap_or_default(),
            has_body: row.try_get("has_body")?,
            row_key: fixed("row_key", row.try_get("row_key")?)?,
            stored_by: ClaimToken::from_bytes(fixed("stored_by", row.try_get("stored_by")?)?),
            sealed_key: bytes(row, "sealed_key")?,
        };
        Ok(Stored { state, entry, now: row.try_get("now")? })
    }

    /// Returns the entry with what the rules have changed.
    pub(super) fn into_entry(self) -> EntryRow {
        let RowState { status, due, attempts, replays, reason, ended_at, .. } = self.state;
        let due = matches!(status, Status::Waiting | Status::Processing).then_some(due);
        EntryRow { status, due, attempts, replays, reason, ended_at, ..self.entry }
    }

    pub(super) fn sealed_body(&self, sealed: Option<Bytes>) -> SealedBody {
        let EntryRow { id, endpoint, row_key, stored_by, sealed_key, .. } = self.entry.clone();
        SealedBody { id, endpoint, row_key, stored_by, sealed_key, sealed }
    }
}

/// Returns what is sealed of a row, from its columns and that of its body.
pub(super) fn sealed_body(row: &PgRow) -> Result<SealedBody, sqlx::Error> {
    Ok(SealedBody {
        id: row.try_get("id")?,
        endpoint: row.try_get("endpoint")?,
        row_key: fixed("row_key", row.try_get("row_key")?)?,
        stored_by: ClaimToken::from_bytes(fixed("stored_by", row.try_get("stored_by")?)?),
        sealed_key: bytes(row, "sealed_key")?,
        sealed: optional_bytes(row, "sealed")?,
    })
}

fn bytes(row: &PgRow, name: &str) -> Result<Bytes, sqlx::Error> {
    row.try_get::<Vec<u8>, _>(name).map(Bytes::from)
}

pub(super) fn optional_bytes(row: &PgRow, name: &str) -> Result<Option<Bytes>, sqlx::Error> {
    row.try_get::<Option<Vec<u8>>, _>(name).map(|bytes| bytes.map(Bytes::from))
}

pub(super) fn fixed<const N: usize>(column: &'static str, bytes: &[u8]) -> Result<[u8; N], sqlx::Error> {
    bytes.try_into().map_err(|_| invalid(column))
}

/// Returns the error of a value that this code does not write.
fn invalid(column: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(format!("invalid value in the column {column} of the inbox").into())
}
