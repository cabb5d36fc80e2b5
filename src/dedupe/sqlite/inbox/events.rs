//! The operations of receivers and workers: storing, leasing and finishing events.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::super::batches::{padded, padded_with_none};
use super::super::fault::Fault;
use super::super::rules::EventRow;
use super::row::{InboxRow, beginning, fixed};
use super::tables::sql;
use super::work::InboxTransaction;
use crate::claim_token::ClaimToken;
use crate::dedupe::Settled;
use crate::dedupe::inbox::rules::{self, Ending, LeaseRule, Status};
use crate::dedupe::inbox::store::{LeaseAnswer, LeaseId, LeaseRequest, Leased, NewEvent, StoreResult};
use crate::event_key::EventKey;

impl InboxTransaction<'_> {
    /// Stores events. `marks` are their records as claimed or handled, which the caller writes in the same transaction.
    pub(in super::super) async fn store_events(
        &mut self,
        events: &[&NewEvent],
        marks: &mut HashMap<EventKey, Option<EventRow>>,
    ) -> Result<Vec<StoreResult>, Fault> {
        let mut ids = self.stored_by(events).await?;
        let mut unfinished = self.unfinished(events).await?;
        let (mut new, mut results) = (Vec::new(), Vec::with_capacity(events.len()));
        for &event in events {
            let until = rules::after(self.now, event.retention.total);
            let mark = marks.entry(event.event_key).or_default();
            results.push(match mark {
                // Also if the same call is in this batch twice.
                _ if ids.contains_key(&event.token) => None,
                _ if unfinished.contains(&event.row_key) => Some(StoreResult::Duplicate),
                Some(mark) if mark.until > self.now && mark.handled => Some(StoreResult::Duplicate),
                // A claim that lasts longer than the retention was made before the clock was set back.
                Some(mark) if mark.until > self.now && mark.until <= until && mark.token != event.token => {
                    let retry_after = Duration::from_millis(mark.until.abs_diff(self.now));
                    Some(StoreResult::InFlight { retry_after })
                }
                _ => {
                    *mark = Some(EventRow { token: event.token, handled: true, until });
                    ids.insert(event.token, None);
                    unfinished.insert(event.row_key);
                    new.push((event, until));
                    None
                }
            });
        }
        if !new.is_empty() {
            ids.extend(self.insert(&new).await?);
            let bodies: Vec<_> =
                new.iter().map(|(event, _)| (ids.get(&event.token).copied().flatten(), event)).collect();
            let (sql, bodies) = padded_with_none(&self.tables.insert_body, &bodies)?;
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for body in bodies {
                query = query.bind(body.and_then(|(id, _)| *id)).bind(body.map(|(_, event)| &event.sealed[..]));
            }
            query.execute(&mut *self.connection).await?;
        }
        let results = events.iter().zip(results).map(|(event, result)| match (result, ids.get(&event.token)) {
            (Some(result), _) => Ok(result),
            (None, Some(Some(id))) => Ok(StoreResult::Stored { id: *id }),
            (None, _) => Err(Fault::new("the row of a stored event has no id")),
        });
        results.collect()
    }

    /// Returns the ids of rows that earlier calls with the same tokens have stored.
    async fn stored_by(&mut self, events: &[&NewEvent]) -> Result<HashMap<ClaimToken, Option<i64>>, Fault> {
        let (sql, events) = padded(&self.tables.stored_by, events)?;
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for event in events {
            query = query.bind(event.token.as_bytes().as_slice());
        }
        query.fetch_all(&mut *self.connection).await?.iter().map(id_and_token).collect()
    }

    /// Returns the keys of the unfinished rows of the events.
    async fn unfinished(&mut self, events: &[&NewEvent]) -> Result<HashSet<[u8; 32]>, Fault> {
        let (sql, events) = padded(&self.tables.unfinished, events)?;
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for event in events {
            query = query.bind(event.row_key.as_slice());
        }
        query.fetch_all(&mut *self.connection).await?.iter().map(|row| fixed(row.try_get(0)?)).collect()
    }

    /// Writes the rows of events, with the ends of their records, and returns their ids.
    async fn insert(&mut self, new: &[(&NewEvent, i64)]) -> Result<HashMap<ClaimToken, Option<i64>>, Fault> {
        let (sql, new) = padded_with_none(&self.tables.insert, new)?;
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for row in new {
            let (event, until) = row.copied().unzip();
            query = query.bind(event.map(|event| event.row_key.as_slice()));
            query = query.bind(event.map(|event| event.token.as_bytes().as_slice()));
            query = query.bind(event.map(|event| &*event.endpoint)).bind(event.map(|event| &*event.provider));
            query = query.bind(event.map(|event| &*event.kind)).bind(event.map(|event| &*event.secret));
            query = query.bind(event.map(|event| i64::try_from(event.size).unwrap_or(i64::MAX)));
            query = query.bind(self.now).bind(until).bind(event.map(|event| &event.sealed_key[..]));
            query = query.bind(event.map(|event| beginning(&event.sealed)));
        }
        query.fetch_all(&mut *self.connection).await?.iter().map(id_and_token).collect()
    }

    pub(super) async fn lease(&mut self, request: &LeaseRequest) -> Result<LeaseAnswer, Fault> {
        let leased = sqlx::query_as(sql(&self.tables.leased)).bind(&*request.endpoint);
        let leased = leased.bind(request.token.as_bytes().as_slice());
        let (repeated, held_before): (Option<i64>, Option<i64>) = leased.fetch_one(&mut *self.connection).await?;
        let since = held_before.unwrap_or(i64::MIN);
        let mut answer = LeaseAnswer::default();
        let next = match repeated {
            Some(id) => Some(id),
            None if since == i64::MAX => return Ok(answer),
            None if request.alone => self.next_suspect(request, since).await?,
            None => self.next_waiting(request, since).await?.filter(|(_, due)| *due <= self.now).map(|(id, _)| id),
        };
        if let Some(id) = next
            && let Some(mut row) = self.row(id).await?
        {
            let rule = rules::lease(&mut row.state, request.token, self.now, request.lease, request.alone);
            if rule == LeaseRule::Leased || rule == LeaseRule::Crashed {
                self.write(&row).await?;
            }
            match rule {
                LeaseRule::Leased => answer.leased = Some(Box::new(self.leased(&row, request.token).await?)),
                LeaseRule::Crashed => answer.crashed = Some(row.into_entry()),
                LeaseRule::NotDue | LeaseRule::Suspect => {}
            }
        }
        if since < i64::MAX {
            answer.suspects = self.next_suspect(request, since).await?.is_some();
            if answer.leased.is_none() {
                let next = self.next_waiting(request, since).await?;
                answer.next_due = next.map(|(_, due)| millis_between(self.now, due));
            }
        }
        Ok(answer)
    }

    async fn next_waiting(&mut self, request: &LeaseRequest, since: i64) -> Result<Option<(i64, i64)>, Fault> {
        let next = sqlx::query_as(sql(&self.tables.next_waiting)).bind(&*request.endpoint).bind(since);
        Ok(next.fetch_optional(&mut *self.connection).await?)
    }

    async fn next_suspect(&mut self, request: &LeaseRequest, since: i64) -> Result<Option<i64>, Fault> {
        let next = sqlx::query_scalar(sql(&self.tables.next_suspect)).bind(&*request.endpoint);
        Ok(next.bind(since).bind(self.now).fetch_optional(&mut *self.connection).await?)
    }

    async fn leased(&mut self, row: &InboxRow, token: ClaimToken) -> Result<Leased, Fault> {
        Ok(Leased {
            token,
            attempts: row.state.attempts,
            replays: row.state.replays,
            stored_at: row.entry.stored_at,
            provider: row.entry.provider.clone(),
            kind: row.entry.kind.clone(),
            body: self.sealed(&row.entry).await?,
        })
    }

    pub(super) async fn renew(&mut self, id: i64, token: ClaimToken, lease: Duration) -> Result<Settled, Fault> {
        let Some(mut row) = self.row(id).await? else { return Ok(Settled::Lost) };
        let settled = rules::renew(&mut row.state, token, self.now, lease);
        if settled == Settled::Settled {
            self.write(&row).await?;
        }
        Ok(settled)
    }

    pub(super) async fn finish(&mut self, lease: LeaseId, ending: &Ending, keep_body: bool) -> Result<Settled, Fault> {
        let Some(mut row) = self.row(lease.row).await? else { return Ok(Settled::Lost) };
        let before = row.state.clone();
        let settled = rules::finish_leased(&mut row.state, lease.token, lease.replays, self.now, ending);
        let done = settled == Settled::Settled && row.state.status == Status::Done;
        let delete = done && row.entry.has_body && !keep_body;
        if delete {
            row.entry.has_body = false;
            sqlx::query(sql(&self.tables.delete_body)).bind(lease.row).execute(&mut *self.connection).await?;
        }
        if delete || row.state != before {
            self.write(&row).await?;
        }
        Ok(settled)
    }
}

fn id_and_token(row: &SqliteRow) -> Result<(ClaimToken, Option<i64>), Fault> {
    Ok((ClaimToken::from_bytes(fixed(row.try_get(1)?)?), row.try_get(0)?))
}

/// Returns the time from `from` to `to`, or zero if that is in the past.
pub(super) fn millis_between(from: i64, to: i64) -> Duration {
    Duration::from_millis(u64::try_from(to.saturating_sub(from)).unwrap_or_default())
}
