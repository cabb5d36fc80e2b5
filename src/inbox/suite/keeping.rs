//! `purge`, and the keys under which rows are sealed.

use super::*;
use crate::dedupe::inbox::store::{Keep, KeyRecord};

const NOTHING: Keep = Keep { done: Duration::ZERO, dead: Some(Duration::ZERO), rows: Duration::ZERO };

impl StoreFixture {
    /// Purges until there is no more, and returns the deleted bodies and rows.
    async fn purge(&self, endpoint: &str, keep: Keep) -> (u64, u64) {
        let (mut bodies, mut rows) = (0, 0);
        for _ in 0..1000 {
            let purged = self.inbox.purge(endpoint.to_owned(), keep).await.unwrap();
            bodies += purged.bodies;
            rows += purged.rows;
            if !purged.more {
                return (bodies, rows);
            }
        }
        panic!("a purge without an end")
    }
}

fn short_mark(number: u8) -> NewEvent {
    NewEvent { retention: Retention::new(SHORT, SHORT), ..event(number) }
}

pub(crate) async fn bodies_are_deleted_before_rows(on: &StoreFixture) {
    let done = on.ended(event(1), Ending::Done, true).await;
    let keep = Keep { rows: LONG, ..NOTHING };
    assert_eq!(on.purge(ENDPOINT, Keep { done: LONG, ..keep }).await, (0, 0));
    assert!(on.row(done).await.has_body);
    assert_eq!(on.purge(ENDPOINT, keep).await, (1, 0));
    let row = on.row(done).await;
    assert_eq!((row.status, row.has_body), (Status::Done, false));
    assert!(on.body(done).await.is_none());
    assert_eq!(on.purge(ENDPOINT, keep).await, (0, 0));
    // A row whose body is to be kept is kept, too.
    let kept = on.ended(short_mark(2), Ending::Done, true).await;
    expire().await;
    assert_eq!(on.purge(ENDPOINT, Keep { done: LONG, ..NOTHING }).await, (0, 0));
    assert!(on.row(kept).await.has_body);
    assert_eq!(on.purge(ENDPOINT, NOTHING).await, (1, 1));
    assert_eq!(on.all().await, [done]);
}

pub(crate) async fn a_row_is_kept_until_its_mark_expires(on: &StoreFixture) {
    let marked = [
        on.ended(event(1), Ending::Done, false).await,
        on.ended(event(2), dead(), false).await,
        on.ended(event(3), dead(), false).await,
    ];
    on.inbox.discard(marked[2], audit("discard", marked[2])).await.unwrap();
    let expired = [
        on.ended(short_mark(4), Ending::Done, false).await,
        on.ended(short_mark(5), dead(), false).await,
        on.ended(short_mark(6), dead(), false).await,
    ];
    on.inbox.discard(expired[2], audit("discard", expired[2])).await.unwrap();
    expire().await;
    assert_eq!(on.purge(ENDPOINT, Keep { rows: LONG, dead: None, ..NOTHING }).await, (0, 0));
    assert_eq!(on.purge(ENDPOINT, NOTHING).await.1, 3);
    assert_eq!(on.all().await, marked);
    let again = NewEvent { token: token(11), ..event(1) };
    assert_eq!(on.inbox.store_event(again).await.unwrap(), StoreResult::Duplicate);
}

pub(crate) async fn waiting_and_leased_events_are_never_deleted(on: &StoreFixture) {
    let leased = on.stored(short_mark(1)).await;
    on.leased_for(leased, token(11), SHORT, false).await;
    let retried = on.ended(short_mark(2), retry(LONG), false).await;
    let replayed = on.ended(short_mark(3), dead(), false).await;
    on.inbox.replay(replayed, audit("replay", replayed)).await.unwrap();
    let waiting = on.stored(short_mark(4)).await;
    expire().await;
    assert_eq!(on.purge(ENDPOINT, NOTHING).await, (0, 0));
    assert_eq!(on.all().await, [leased, retried, replayed, waiting]);
    for id in on.all().await {
        assert!(on.row(id).await.has_body);
    }
}

pub(crate) async fn dead_events_are_kept_unless_so_chosen(on: &StoreFixture) {
    let id = on.ended(short_mark(1), dead(), false).await;
    expire().await;
    assert_eq!(on.purge(ENDPOINT, Keep { dead: None, ..NOTHING }).await, (0, 0));
    assert_eq!(on.purge(ENDPOINT, Keep { dead: Some(LONG), ..NOTHING }).await, (0, 0));
    assert!(on.row(id).await.has_body);
    assert_eq!(on.purge(ENDPOINT, Keep { done: LONG, rows: LONG, ..NOTHING }).await, (1, 1));
    assert!(on.all().await.is_empty());
    // Not before its mark has expired.
    let marked = on.ended(event(2), dead(), false).await;
    on.purge(ENDPOINT, NOTHING).await;
    assert_eq!(on.status(marked).await, Status::Dead);
}

pub(crate) async fn only_one_endpoint_is_purged(on: &StoreFixture) {
    on.ended(short_mark(1), Ending::Done, false).await;
    let other = on.ended(NewEvent { endpoint: "lab".to_owned(), ..short_mark(2) }, Ending::Done, true).await;
    expire().await;
    assert_eq!(on.purge(ENDPOINT, NOTHING).await, (0, 1));
    assert_eq!(on.purge("an endpoint without events", NOTHING).await, (0, 0));
    assert!(on.row(other).await.has_body);
    assert_eq!(on.all().await, [other]);
}

pub(crate) async fn a_large_purge_takes_several_calls(on: &StoreFixture) {
    for number in 0..=u8::MAX {
        on.ended(short_mark(number), Ending::Done, true).await;
    }
    expire().await;
    assert_eq!(on.purge(ENDPOINT, NOTHING).await, (256, 256));
    assert!(on.all().await.is_empty());
}

pub(crate) async fn the_longest_times_keep_everything(on: &StoreFixture) {
    on.ended(short_mark(1), Ending::Done, true).await;
    on.ended(short_mark(2), dead(), false).await;
    on.ended(short_mark(3), Ending::Done, false).await;
    expire().await;
    let keep = Keep { done: Duration::MAX, dead: Some(Duration::MAX), rows: Duration::MAX };
    assert_eq!(on.purge(ENDPOINT, keep).await, (0, 0));
    assert_eq!(on.all().await.len(), 3);
}

fn record(key: u8, text: &[u8]) -> KeyRecord {
    KeyRecord { key_id: [0, 0, 0, key], sealed: sealed(key, text) }
}

pub(crate) async fn the_first_record_of_a_key_stays(on: &StoreFixture) {
    assert!(on.inbox.key_records().await.unwrap().is_empty());
    on.inbox.add_key_record(record(1, b"first")).await.unwrap();
    on.inbox.add_key_record(record(1, b"second")).await.unwrap();
    on.inbox.add_key_record(record(2, b"other")).await.unwrap();
    let mut records = on.inbox.key_records().await.unwrap();
    records.sort_by_key(|record| record.key_id);
    assert_eq!(records, [record(1, b"first"), record(2, b"other")]);
    let [one, two] = [record(3, b"one"), record(3, b"two")];
    let adding = [on.inbox.add_key_record(one.clone()), on.inbox.add_key_record(two.clone())];
    futures_util::future::try_join_all(adding).await.unwrap();
    let records = on.inbox.key_records().await.unwrap();
    let third: Vec<_> = records.iter().filter(|record| record.key_id == one.key_id).collect();
    assert!(third == [&one] || third == [&two]);
}

pub(crate) async fn a_key_that_is_in_use_is_not_removed(on: &StoreFixture) {
    for key in 1..=4 {
        on.inbox.add_key_record(record(key, b"")).await.unwrap();
    }
    let id = on.stored(NewEvent { sealed_key: sealed(1, b"k"), sealed: sealed(2, b"b"), ..event(1) }).await;
    on.stored(NewEvent { sealed_key: b"\0clear".as_slice().into(), sealed: Bytes::new(), ..event(2) }).await;
    let ids = async || {
        let records = on.inbox.key_records().await.unwrap();
        let mut ids: Vec<_> = records.into_iter().map(|record| record.key_id[3]).collect();
        ids.sort_unstable();
        ids
    };
    for key in [1, 2] {
        assert!(!on.inbox.remove_key_record([0, 0, 0, key]).await.unwrap());
    }
    assert!(on.inbox.remove_key_record([0, 0, 0, 4]).await.unwrap());
    assert_eq!(ids().await, [1, 2, 3]);
    on.leased(id, token(11)).await;
    on.finish(id, token(11), Ending::Done).await;
    assert!(on.inbox.remove_key_record([0, 0, 0, 2]).await.unwrap());
    assert!(!on.inbox.remove_key_record([0, 0, 0, 1]).await.unwrap());
    assert_eq!(ids().await, [1, 3]);
}

pub(crate) async fn rows_sealed_under_another_key_are_found_in_pages(on: &StoreFixture) {
    let new = |number: u8, key: u8, body: u8| NewEvent {
        sealed_key: sealed(key, b"k"),
        sealed: sealed(body, b"b"),
        ..event(number)
    };
    on.stored(new(1, 1, 1)).await;
    let body = on.stored(new(2, 1, 2)).await;
    let key = on.stored(new(3, 2, 1)).await;
    let clear = b"\0clear";
    let in_clear = NewEvent { sealed_key: clear.as_slice().into(), sealed: clear.as_slice().into(), ..event(4) };
    let in_clear = on.stored(in_clear).await;
    let empty = on.stored(NewEvent { sealed_key: Bytes::new(), sealed: Bytes::new(), ..event(5) }).await;
    let other_body = on.stored(new(6, 1, 2)).await;
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = on.inbox.sealed_otherwise([0, 0, 0, 1], after, 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = last.id;
        seen.extend(page);
    }
    assert_eq!(seen.iter().map(|row| row.id).collect::<Vec<_>>(), [body, key, in_clear, empty, other_body]);
    assert!(Some(seen[0].clone()) == on.body(body).await);
    // Only the event keys of discarded events are left.
    for id in on.all().await {
        on.inbox.discard(id, audit("discard", id)).await.unwrap();
    }
    let left = on.inbox.sealed_otherwise([0, 0, 0, 1], 0, 100).await.unwrap();
    assert_eq!(left.iter().map(|row| row.id).collect::<Vec<_>>(), [key, in_clear, empty]);
    assert!(left.iter().all(|row| row.sealed.is_none()));
    assert!(on.inbox.sealed_otherwise([0, 0, 0, 1], i64::MAX, u32::MAX).await.unwrap().is_empty());
}

pub(crate) async fn a_row_is_resealed_only_if_it_has_not_changed(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    let before = on.body(id).await.unwrap();
    let under =
        |key: u8| SealedBody { sealed_key: sealed(key, b"k"), sealed: Some(sealed(key, b"b")), ..before.clone() };
    for stale in [
        SealedBody { sealed: Some(sealed(1, b"stale")), ..before.clone() },
        SealedBody { sealed_key: sealed(1, b"stale"), ..before.clone() },
        SealedBody { sealed: None, ..before.clone() },
        SealedBody { id: id + 1, ..before.clone() },
    ] {
        let after = SealedBody { id: stale.id, ..under(2) };
        assert!(!on.inbox.reseal(stale, after).await.unwrap());
    }
    assert!(on.body(id).await == Some(before.clone()));
    assert!(on.inbox.reseal(before.clone(), under(2)).await.unwrap());
    assert!(on.body(id).await == Some(under(2)));
    assert!(!on.inbox.reseal(before.clone(), under(3)).await.unwrap());
    // While the event is leased, too; its lease does not change.
    on.leased(id, token(11)).await;
    assert!(on.inbox.reseal(under(2), under(3)).await.unwrap());
    assert_eq!(on.row(id).await.attempts, 1);
    // A body that was deleted meanwhile is not written back.
    on.finish(id, token(11), Ending::Done).await;
    assert!(!on.inbox.reseal(under(3), under(4)).await.unwrap());
    assert!(!on.row(id).await.has_body);
    let row = SealedBody { sealed: None, ..under(3) };
    assert!(on.inbox.reseal(row, SealedBody { sealed: None, ..under(4) }).await.unwrap());
    let row = on.row(id).await;
    assert_eq!((row.sealed_key, row.has_body), (sealed(4, b"k"), false));
}

pub(crate) async fn truncating_the_log_keeps_the_events(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    on.inbox.truncate_log().await.unwrap();
    on.leased(id, token(11)).await;
}
