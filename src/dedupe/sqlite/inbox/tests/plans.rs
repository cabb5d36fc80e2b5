//! The plans of the statements, with many rows.

use super::*;
use crate::dedupe::inbox::store::{CountOf, LeaseHold};

/// The statements that read each row or each control, which are few or are read by an operator only.
const SCANS: [&str; 6] = ["version", "controls", "keys", "audits", "sealed_otherwise", "uses_key"];
/// The statements that count, and read a whole partial index.
const COUNTS: [&str; 6] =
    ["count_waiting", "count_processing", "count_dead", "kinds_waiting", "kinds_processing", "kinds_dead"];
/// The statements that sort their result: a row for each kind.
const SORTS: [&str; 3] = ["kinds_waiting", "kinds_processing", "kinds_dead"];
/// The statements that read no table beside an index.
const INDEX_ONLY: [&str; 8] = [
    "next_waiting",
    "next_suspect",
    "ended_rows",
    "oldest_waiting",
    "oldest_processing",
    "count_waiting_of",
    "count_processing_of",
    "count_dead_of",
];

/// Adds rows of which half are due before `now` milliseconds since 1970, and half later. Every other one is leased.
async fn add_rows(place: &Place, rows: u32, now: i64) {
    place
        .run(&format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
             INSERT INTO medhook_inbox (row_key, stored_by, endpoint, provider, kind, secret, size, stored_at,
                mark_until, status, due, attempts, crashes, alone, replays, sealed_key)
             SELECT randomblob(32), randomblob(16), 'acme', 'custom', 'unknown', 'secret-1', 100, {now} - 1000000 + n,
                {now}, n % 2, {now} + 2 * (n - {rows} / 2) - 1, 0, 0, 0, 0, x'00' FROM n"
        ))
        .await;
}

#[tokio::test]
async fn statements_use_indexes() {
    let place = Place::new().await;
    let mut other = place.other().await;
    for (name, sql) in place.store.database.tables().inbox.all() {
        let plan: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(&mut other).await.unwrap();
        let plan: Vec<String> = plan.into_iter().map(|(.., step)| step).collect();
        let not_tables = |step: &String| {
            !step.starts_with("SCAN pragma_page_size")
                && step != "SCAN CONSTANT ROW"
                && !step.ends_with("-ROW VALUES CLAUSE")
        };
        let plan = plan.into_iter().filter(not_tables).collect::<Vec<_>>().join("; ");
        assert!(SORTS.contains(&name) || !plan.contains("TEMP B-TREE"), "{name}: {plan}");
        assert!(SCANS.contains(&name) || COUNTS.contains(&name) || !plan.contains("SCAN "), "{name}: {plan}");
        let index_only = COUNTS.contains(&name) || INDEX_ONLY.contains(&name);
        assert!(!index_only || plan.contains("USING COVERING INDEX"), "{name}: {plan}");
    }
}

/// Counts the instructions of SQLite's virtual machine by its progress handler, so that no time is measured.
#[tokio::test]
async fn leasing_reads_a_few_rows_of_many() {
    let place = Place::new().await;
    let now = place.clock.0.load(Ordering::SeqCst);
    add_rows(&place, 40_000, now).await;
    let mut other = place.other().await;
    let tables = &place.store.database.tables().inbox;
    for (statement, after) in [(&tables.next_waiting, i64::MIN), (&tables.next_suspect, i64::MIN)] {
        let steps = std::sync::Arc::new(AtomicI64::new(0));
        let counted = steps.clone();
        other.lock_handle().await.unwrap().set_progress_handler(1, move || {
            counted.fetch_add(1, Ordering::Relaxed);
            true
        });
        let query = sqlx::query(super::super::tables::sql(statement)).bind("acme").bind(after).bind(now);
        query.fetch_optional(&mut other).await.unwrap();
        other.lock_handle().await.unwrap().remove_progress_handler();
        let steps = steps.load(Ordering::Relaxed);
        assert!((1..500).contains(&steps), "{steps} {statement}");
    }
    assert_eq!(place.lease(1, false).await, Some(2));
    let counts = place.inbox.counts(CountOf::All).await.unwrap();
    assert_eq!(counts.hold, LeaseHold::None);
    assert_eq!((counts.endpoints[0].waiting, counts.endpoints[0].processing), (19_999, 20_001));
}
