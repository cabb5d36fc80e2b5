//! The plans of the statements.

use super::*;

/// Returns the plans of a statement for these parameters and for any, and executes it.
async fn plan(fixture: &Fixture, statement: &str, types: &str, values: &str) -> String {
    let mut connection = fixture.pool.acquire().await.unwrap();
    let (prepare, execute) = if types.is_empty() {
        // While another test has a transaction open, a vacuum marks no page as visible to all, and the planner prefers
        // bitmaps.
        (String::from("SET enable_bitmapscan = off"), statement.to_owned())
    } else {
        (format!("PREPARE p ({types}) AS {statement}"), format!("EXECUTE p ({values})"))
    };
    connection.execute(AssertSqlSafe(prepare)).await.unwrap();
    let mut all = String::new();
    for mode in ["force_custom_plan", "force_generic_plan"] {
        let explain =
            format!("SET plan_cache_mode = {mode}; BEGIN; EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) {execute}; ROLLBACK");
        let lines = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *connection).await.unwrap();
        for line in lines {
            all.push_str(&line.get::<String, _>(0));
            all.push('\n');
        }
    }
    // It has a prepared statement.
    connection.close().await.unwrap();
    all
}

/// Returns the number of pages in a line such as `Buffers: shared hit=14 read=1 dirtied=1`.
fn pages(line: &str) -> u32 {
    let numbers = line.split_whitespace().filter_map(|word| word.strip_prefix("hit=").or(word.strip_prefix("read=")));
    numbers.map(|number| number.parse::<u32>().unwrap()).sum()
}

#[tokio::test]
async fn leases_stay_fast_with_many_rows() {
    let fixture = Fixture::new().await;
    let statements = &fixture.store.inner.inbox.statements;
    for due in ["now() + interval '1 hour'", "now() - interval '1 hour'"] {
        fill(&fixture, 100_000, "0", due).await;
        // Without statistics of these rows, and with them.
        for analyze in ["", "ANALYZE {ns}_inbox"] {
            fixture.run(analyze).await;
            for (which, statement) in statements.next.iter().enumerate() {
                let plan = plan(&fixture, statement, "text, bytea", "'fasten', '\\x01'").await;
                assert!(
                    !plan.contains(&format!("Seq Scan on {}_inbox i", fixture.ns)),
                    "{which} {due} {analyze}:\n{plan}"
                );
                assert!(plan.contains(&format!("using {}_inbox_waiting", fixture.ns)), "{plan}");
                // A few pages of the 4,000 and more that the rows have.
                let lines: Vec<_> = plan.lines().collect();
                let tops = lines.windows(2).filter(|pair| pair[0].contains("(cost=") && !pair[0].starts_with(' '));
                let pages: Vec<_> = tops.map(|pair| pages(pair[1])).collect();
                assert!(matches!(pages[..], [1..100, 1..100]), "{which} {due} {analyze} {pages:?}:\n{plan}");
            }
        }
    }
}

#[tokio::test]
async fn counts_read_indexes_only() {
    let fixture = Fixture::new().await;
    fill(&fixture, 50_000, "2", "now()").await;
    fill(&fixture, 300, "0", "now()").await;
    fill(&fixture, 100, "3", "now()").await;
    fixture.run("VACUUM ANALYZE {ns}_inbox").await;
    let statement = fixture.store.inner.inbox.statements.counts.clone();
    let plan = plan(&fixture, &statement, "", "").await;
    assert!(!plan.contains(&format!("Seq Scan on {}_inbox i", fixture.ns)), "{plan}");
    for index in ["waiting", "processing", "dead"] {
        assert!(plan.contains(&format!("Index Only Scan using {}_inbox_{index}", fixture.ns)), "{index}\n{plan}");
    }
    let statements = &fixture.store.inner.inbox.statements;
    for (statement, indexes) in [
        (&statements.counts_of, &["waiting", "processing", "dead"][..]),
        (&statements.unfinished_of, &["waiting", "processing"]),
    ] {
        let plan = self::plan(&fixture, &statement.replace("$1", "'other'"), "", "").await;
        let scanned: Vec<_> = ["waiting", "processing", "dead", "ended"]
            .into_iter()
            .filter(|index| plan.contains(&format!("Index Only Scan using {}_inbox_{index}", fixture.ns)))
            .collect();
        assert_eq!(scanned, indexes, "{plan}");
        // For these parameters and for any.
        assert_eq!(plan.matches("Index Cond: (endpoint = 'other'::text)").count(), 2 * indexes.len(), "{plan}");
    }
    let counts = fixture.inbox.counts(CountOf::All).await.unwrap();
    let [endpoint] = &counts.endpoints[..] else { panic!("{counts:?}") };
    assert_eq!((endpoint.waiting, endpoint.processing, endpoint.dead, endpoint.bytes), (300, 0, 100, 400));
    assert!(endpoint.oldest.unwrap() >= HOUR * 47 && !endpoint.paused);
}

#[tokio::test]
async fn kinds_are_counted_and_the_oldest_is_found_in_indexes_only() {
    let fixture = Fixture::new().await;
    fill(&fixture, 50_000, "2", "now()").await;
    fill(&fixture, 300, "0", "now()").await;
    fill(&fixture, 100, "3", "now()").await;
    fill(&fixture, 150, "1", "now()").await;
    fixture.run("VACUUM ANALYZE {ns}_inbox").await;
    let statements = fixture.store.inner.inbox.statements.clone();
    let counted = statements.count_kinds.replace("$1", "201");
    let plan_of_counts = plan(&fixture, &counted, "", "").await;
    let oldest = statements.oldest_of.replace("$1", "'fasten'").replace("$2", "'k'");
    let plan_of_oldest = plan(&fixture, &oldest, "", "").await;
    for (plan, indexes) in
        [(plan_of_counts, &["waiting", "processing", "dead"][..]), (plan_of_oldest, &["waiting", "processing"])]
    {
        assert!(!plan.contains(&format!("Seq Scan on {}_inbox i", fixture.ns)), "{plan}");
        for index in indexes {
            assert!(plan.contains(&format!("Index Only Scan using {}_inbox_{index}", fixture.ns)), "{index}\n{plan}");
        }
    }
    let counts = fixture.inbox.count_kinds(200).await.unwrap();
    assert!(!counts.is_complete);
    assert_eq!(counts.kinds.iter().map(|kind| kind.count).collect::<Vec<_>>(), [201, 150, 100]);
    let [oldest] = &fixture.inbox.oldest_of("fasten".into(), vec!["k"]).await.unwrap()[..] else { panic!("one kind") };
    assert!(oldest.age >= HOUR * 47, "{oldest:?}");
}

#[tokio::test]
async fn the_audit_entries_of_an_event_are_found_among_many() {
    let fixture = Fixture::new().await;
    let insert = "INSERT INTO {ns}_inbox_audit (at, actor, action, subject, reason)
        SELECT now(), 'ann', 'replay', (n % 50000)::text, 'why' FROM generate_series(1, 100000) AS n";
    fixture.run(insert).await;
    for analyze in ["", "VACUUM ANALYZE {ns}_inbox_audit"] {
        fixture.run(analyze).await;
        let statement = operations::audit_of_event(&fixture.store.inner.inbox.statements.ns);
        let plan = plan(&fixture, &statement, "text, bigint", "'7', 100").await;
        let (index, table) = (format!("{}_inbox_audit_event", fixture.ns), format!("{}_inbox_audit", fixture.ns));
        assert!(plan.contains(&index) && !plan.contains(&format!("Seq Scan on {table}")), "{analyze}\n{plan}");
    }
    assert_eq!(fixture.inbox.audit_of(7, 100).await.unwrap().len(), 2);
}
