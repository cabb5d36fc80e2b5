//! The operations of operators.

use super::*;

#[tokio::test]
async fn an_operation_whose_audit_entry_fails_changes_nothing() {
    let fixture = Fixture::new().await;
    let handled = fixture.stored(2).await;
    fixture.leased(6).await;
    fixture.inbox.finish(LeaseId::first(handled, token(6)), Ending::Done, false).await.unwrap();
    let id = fixture.stored(1).await;
    fixture.run("ALTER TABLE {ns}_inbox_audit ADD CHECK (reason <> 'why')").await;
    for error in [
        fixture.inbox.discard(id, audit("discard")).await.unwrap_err(),
        fixture.inbox.replay(id, audit("replay")).await.unwrap_err(),
        fixture.inbox.body(id, audit("body")).await.unwrap_err(),
        fixture.inbox.set_paused("fasten".into(), true, audit("pause")).await.unwrap_err(),
        fixture.inbox.set_hold(LeaseHold::All, audit("hold")).await.unwrap_err(),
        fixture.inbox.forget(key(2), [2; 32], audit("forget")).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("check constraint"), "{error}");
    }
    assert!(fixture.lease(5, false).await.leased.is_some());
    assert_eq!(fixture.numbers().await, [2, 2, 1]);
}

#[tokio::test]
async fn a_purge_skips_locked_rows_and_is_small() {
    let fixture = Fixture::new().await;
    fill(&fixture, 600, "2", "now() - interval '1 day'").await;
    let mut transaction = fixture.pool.begin().await.unwrap();
    let lock = format!("SELECT FROM {}_inbox ORDER BY id LIMIT 50 FOR UPDATE", fixture.ns);
    transaction.execute(AssertSqlSafe(lock)).await.unwrap();
    let keep = Keep { done: Duration::ZERO, dead: None, rows: Duration::MAX };
    let purge = || fixture.inbox.purge("fasten".into(), keep);
    assert_eq!(purge().await.unwrap(), PurgedRows { bodies: 500, rows: 0, more: true });
    assert_eq!(purge().await.unwrap(), PurgedRows { bodies: 50, rows: 0, more: false });
    transaction.rollback().await.unwrap();
    assert_eq!(purge().await.unwrap(), PurgedRows { bodies: 50, rows: 0, more: false });
}

#[tokio::test]
async fn many_large_bodies_are_not_read_at_once() {
    let fixture = Fixture::new().await;
    for number in 1..=12 {
        let large = NewEvent { sealed: Bytes::from(vec![1; 1024 * 1024]), ..event(number, number) };
        assert!(matches!(fixture.inbox.store_event(large).await.unwrap(), StoreResult::Stored { .. }));
    }
    let (mut after, mut pages) = (0, Vec::new());
    loop {
        let page = fixture.inbox.sealed_otherwise(*b"bbbb", after, 1000).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.id;
        pages.push(page.len());
    }
    assert_eq!(pages, [4, 4, 4]);
}

#[tokio::test]
async fn a_replay_that_the_database_rejects_is_an_error_and_not_a_conflict() {
    let fixture = Fixture::new().await;
    let id = fixture.stored(1).await;
    fixture.leased(5).await;
    fixture.inbox.finish(LeaseId::first(id, token(5)), Ending::Dead { reason: "x".into() }, true).await.unwrap();
    fixture.run("ALTER TABLE {ns}_inbox ADD CHECK (replays = 0)").await;
    let error = fixture.inbox.replay(id, audit("replay")).await.unwrap_err().to_string();
    assert!(error.starts_with("PostgreSQL: replay: ") && error.contains("check constraint"), "{error}");
    assert_eq!(fixture.entry(id).await.status, crate::dedupe::inbox::rules::Status::Dead);
}
