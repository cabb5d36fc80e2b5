//! Counts of events by kind, and the oldest event of a kind. Both read the indexes of unfinished and dead rows only.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row};

use super::statements::InboxStatements;
use crate::dedupe::inbox::rules::Status;
use crate::dedupe::inbox::store::{KindCount, KindCounts, OldestRow};

pub(super) async fn count_kinds(
    statements: &InboxStatements,
    most: u32,
    connection: &mut PgConnection,
) -> Result<KindCounts, sqlx::Error> {
    let query = sqlx::query(AssertSqlSafe(statements.count_kinds.clone())).bind(i64::from(most).saturating_add(1));
    let mut kinds = Vec::new();
    for row in query.fetch_all(connection).await? {
        let status: i16 = row.try_get(1)?;
        let Some(status) = Status::from_number(status.into()) else { continue };
        let count = u64::try_from(row.try_get::<i64, _>(3)?).unwrap_or_default();
        kinds.push(KindCount { endpoint: row.try_get(0)?, status, kind: row.try_get(2)?, count });
    }
    Ok(KindCounts::of(kinds, most))
}

pub(super) async fn oldest_of(
    statements: &InboxStatements,
    endpoint: &str,
    kinds: &[&'static str],
    connection: &mut PgConnection,
) -> Result<Vec<OldestRow>, sqlx::Error> {
    let mut oldest = Vec::new();
    for kind in kinds {
        let query = sqlx::query(AssertSqlSafe(statements.oldest_of.clone())).bind(endpoint).bind(*kind);
        for row in query.fetch_all(&mut *connection).await? {
            let age = Duration::from_millis(u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or_default());
            oldest.push(OldestRow { kind, id: row.try_get(0)?, age });
        }
    }
    Ok(oldest)
}
