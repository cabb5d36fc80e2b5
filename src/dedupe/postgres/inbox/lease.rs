//! Leases: how a worker gets, keeps and ends one.

use std::time::Duration;

use bytes::Bytes;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use super::row::{Stored, optional_bytes};
use super::statements::{InboxStatements, RowStatements};
use crate::claim_token::ClaimToken;
use crate::dedupe::Settled;
use crate::dedupe::inbox::rules::{self, LeaseRule, RowState, Status};
use crate::dedupe::inbox::store::{LeaseAnswer, LeaseRequest, Leased};

/// Leases the next row.
///
/// The index on the tokens of leased rows is unique. If an earlier transaction with this token has not ended yet, this
/// one waits for it and fails, so that a token never has two rows.
pub(super) async fn lease(
    statements: &InboxStatements,
    request: &LeaseRequest,
    connection: &mut PgConnection,
) -> Result<LeaseAnswer, sqlx::Error> {
    let [waiting, suspects] = &statements.next;
    let statement = if request.alone { suspects } else { waiting };
    let query = sqlx::query(AssertSqlSafe(statement.clone())).bind(&request.endpoint);
    let row = query.bind(&request.token.as_bytes()[..]).fetch_one(&mut *connection).await?;
    let paused: bool = row.try_get("paused")?;
    let expired: i64 = if paused { 0 } else { row.try_get("suspects")? };
    let mut answer = LeaseAnswer { suspects: expired > 0, ..LeaseAnswer::default() };
    if row.try_get::<Option<i64>, _>("id")?.is_none() {
        let next: Option<f64> = row.try_get("next_due")?;
        answer.next_due = next.filter(|_| !paused).map(|next| {
            // A row that is due is locked by another transaction.
            Duration::try_from_secs_f64(next).unwrap_or_default().max(SHORTEST_WAIT)
        });
        return Ok(answer);
    }
    let mut stored = Stored::read(&row)?;
    let was_suspect = stored.state.status == Status::Processing && stored.state.token != Some(request.token);
    let rule = rules::lease(&mut stored.state, request.token, stored.now, request.lease, request.alone);
    let leased = rule == LeaseRule::Leased;
    let written = write(&statements.rows, &stored, leased, connection);
    match rule {
        LeaseRule::Leased => {
            let body = written.await?;
            answer.leased = Some(Box::new(Leased {
                token: request.token,
                attempts: stored.state.attempts,
                replays: stored.state.replays,
                stored_at: stored.entry.stored_at,
                provider: stored.entry.provider.clone(),
                kind: stored.entry.kind.clone(),
                body: stored.sealed_body(body),
            }));
        }
        LeaseRule::Crashed => {
            written.await?;
            answer.crashed = Some(stored.into_entry());
        }
        // The statement selects none of these.
        LeaseRule::NotDue | LeaseRule::Suspect => return Ok(answer),
    }
    answer.suspects = expired > i64::from(was_suspect);
    Ok(answer)
}

const SHORTEST_WAIT: Duration = Duration::from_millis(20);

pub(super) async fn renew(
    statements: &RowStatements,
    id: i64,
    token: ClaimToken,
    lease: Duration,
    connection: &mut PgConnection,
) -> Result<Settled, sqlx::Error> {
    let Some(mut stored) = lock(statements, id, connection).await? else {
        return Ok(Settled::Lost);
    };
    let settled = rules::renew(&mut stored.state, token, stored.now, lease);
    if settled == Settled::Settled {
        write(statements, &stored, false, connection).await?;
    }
    Ok(settled)
}

/// Ends an attempt by a rule, which is called with the row and the time.
pub(super) async fn finish(
    statements: &RowStatements,
    id: i64,
    rule: impl FnOnce(&mut RowState, i64) -> Settled,
    keep_body: bool,
    connection: &mut PgConnection,
) -> Result<Settled, sqlx::Error> {
    let Some(mut stored) = lock(statements, id, connection).await? else {
        return Ok(Settled::Lost);
    };
    let before = stored.state.clone();
    let settled = rule(&mut stored.state, stored.now);
    if settled == Settled::Lost {
        return Ok(settled);
    }
    let deleted = stored.state.status == Status::Done && !keep_body && stored.entry.has_body;
    if deleted {
        delete_body(statements, &mut stored, connection).await?;
    }
    if deleted || stored.state != before {
        write(statements, &stored, false, connection).await?;
    }
    Ok(settled)
}

/// Locks the row of an event, and reads its newest version.
pub(super) async fn lock(
    statements: &RowStatements,
    id: i64,
    connection: &mut PgConnection,
) -> Result<Option<Stored>, sqlx::Error> {
    let query = sqlx::query(AssertSqlSafe(statements.lock.clone())).bind(id);
    query.fetch_optional(connection).await?.as_ref().map(Stored::read).transpose()
}

pub(super) async fn delete_body(
    statements: &RowStatements,
    stored: &mut Stored,
    connection: &mut PgConnection,
) -> Result<(), sqlx::Error> {
    let query = sqlx::query(AssertSqlSafe(statements.delete_body.clone())).bind(stored.entry.id);
    query.execute(connection).await?;
    stored.entry.has_body = false;
    Ok(())
}

/// Writes a locked row back. Returns its body if it is wanted.
pub(super) async fn write(
    statements: &RowStatements,
    stored: &Stored,
    with_body: bool,
    connection: &mut PgConnection,
) -> Result<Option<Bytes>, sqlx::Error> {
    let RowState { status, due, token, attempts, crashes, alone, replays, reason, ended_at } = &stored.state;
    let query = sqlx::query(AssertSqlSafe(statements.write.clone()))
        .bind(stored.entry.id)
        .bind(status.number())
        .bind(time(*due))
        .bind(token.as_ref().map(|token| &token.as_bytes()[..]))
        .bind(count(*attempts))
        .bind(count(*crashes))
        .bind(*alone)
        .bind(count(*replays))
        .bind(reason)
        .bind(ended_at.map(time))
        .bind(stored.entry.has_body)
        .bind(with_body);
    optional_bytes(&query.fetch_one(connection).await?, "sealed")
}

fn count(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Limits a time in Unix milliseconds to those of the years 1 to 9999.
pub(super) fn time(time: i64) -> i64 {
    time.clamp(-62_135_596_800_000, 253_402_300_799_999)
}
