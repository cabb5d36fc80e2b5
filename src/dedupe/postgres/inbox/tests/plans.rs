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
    let counts = fixture.inbox.counts().await.unwrap();
    let [endpoint] = &counts.endpoints[..] else { panic!("{counts:?}") };
    assert_eq!((endpoint.waiting, endpoint.processing, endpoint.dead, endpoint.bytes), (300, 0, 100, 400));
    assert!(endpoint.oldest.unwrap() >= HOUR * 47 && !endpoint.paused);
}
