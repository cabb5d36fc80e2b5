//! Deleted bodies are erased from all files.

use futures_util::future::join_all;

use super::*;
use crate::dedupe::inbox::rules::Ending;
use crate::dedupe::inbox::store::{CountOf, Keep, LeaseId, Operated};

/// Returns a body that consists of a marker of the event, repeated.
fn marked(n: u16, length: usize) -> Bytes {
    marker(n).repeat(length / 32 + 1)[..length].to_vec().into()
}

fn marker(n: u16) -> Vec<u8> {
    format!("<marker of the event {n:05}.....>").into_bytes()
}

/// Returns the events of which half a marker is in one of the files.
fn left(place: &Place, events: impl Iterator<Item = u16>) -> Vec<u16> {
    let content = ["", "-wal", "-shm"]
        .map(|ending| std::fs::read(format!("{}{ending}", place.path().display())).unwrap_or_default());
    let number = |n: u16| format!("event {n:05}..").into_bytes();
    let found: std::collections::HashSet<Vec<u8>> = content
        .iter()
        .flat_map(|content| content.windows(13).filter(|piece| piece.starts_with(b"event ")).map(<[u8]>::to_vec))
        .collect();
    events.filter(|n| found.contains(&number(*n))).collect()
}

async fn finish(place: &Place, n: u16) -> i64 {
    let id = place.lease(n, false).await.unwrap();
    place.inbox.finish(LeaseId::first(id, token(n)), Ending::Done, false).await.unwrap();
    id
}

#[tokio::test]
async fn nothing_of_a_deleted_body_is_left_in_the_files() {
    let place = Place::new().await;
    for (n, length) in (1..).zip([1 << 20, 1 << 20, 1 << 20, 100, 5_000, 1 << 20]) {
        place.store(event_with(n, marked(n, length))).await;
    }
    assert_eq!(left(&place, 1..7), [1, 2, 3, 4, 5, 6]);

    finish(&place, 1).await;
    assert_eq!(place.inbox.discard(2, audit("discard")).await.unwrap(), Operated::Done);
    let id = place.lease(3, false).await.unwrap();
    place.inbox.finish(LeaseId::first(id, token(3)), Ending::Done, true).await.unwrap();
    place.clock.advance(HOUR);
    let keep = Keep { done: HOUR, dead: None, rows: HOUR };
    assert_eq!(place.inbox.purge("acme".into(), keep).await.unwrap().bodies, 1);
    finish(&place, 4).await;
    finish(&place, 5).await;
    place.inbox.truncate_log().await.unwrap();
    assert_eq!(left(&place, 1..7), [6]);
}

/// SQLite moves short rows to other pages when their neighbors are deleted, and leaves copies behind.
#[tokio::test]
async fn nothing_of_many_short_bodies_is_left() {
    let mut random = 7_u64;
    let mut next = |most: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % most
    };
    for _ in 0..10 {
        let place = Place::new().await;
        let (mut kept, mut last) = (Vec::new(), 0);
        for _ in 0..8 {
            let new: Vec<u16> = (last + 1..=last + 20 + u16::try_from(next(130)).unwrap()).collect();
            last = *new.last().unwrap();
            let bodies: Vec<_> = new.iter().map(|n| event_with(*n, marked(*n, 32 + next(868)))).collect();
            let ids = join_all(bodies.into_iter().map(|event| place.store(event))).await;
            kept.extend(new.into_iter().zip(ids));
            let deleted: Vec<(u16, i64)> =
                (0..kept.len() * (30 + next(65)) / 100).map(|_| kept.swap_remove(next(kept.len()))).collect();
            join_all(deleted.iter().map(|(_, id)| place.inbox.discard(*id, audit("discard")))).await;
        }
        place.inbox.truncate_log().await.unwrap();
        kept.sort_unstable();
        let kept: Vec<u16> = kept.into_iter().map(|(n, _)| n).collect();
        assert_eq!(left(&place, 1..last + 1), kept);
    }
}

#[tokio::test]
async fn truncating_does_not_wait_for_a_reader() {
    let place = Place::new().await;
    let mut reader = place.other().await;
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM medhook_events").execute(&mut reader).await.unwrap();
    place.store(event(1)).await;
    let began = std::time::Instant::now();
    place.inbox.truncate_log().await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(1_900), "the busy timeout");
    let log = || std::fs::metadata(format!("{}-wal", place.path().display())).unwrap().len();
    assert_ne!(log(), 0);
    sqlx::raw_sql("ROLLBACK").execute(&mut reader).await.unwrap();
    place.inbox.truncate_log().await.unwrap();
    assert_eq!(log(), 0);
}

/// A connection that is opened again overwrites what it deletes, too.
#[tokio::test]
async fn a_new_connection_overwrites_what_it_deletes() {
    let place = Place::new().await;
    place.store(event_with(1, marked(1, 1 << 20))).await;
    place.store.ask(Step::Inbox(InboxStep::Pragma("PRAGMA secure_delete = OFF".into()))).await.unwrap();
    // Moving the file away and back makes the store connect again.
    let away = place.folder.path().join("away.db");
    std::fs::rename(place.path(), &away).unwrap();
    assert!(place.inbox.counts(CountOf::All).await.is_err());
    std::fs::rename(&away, place.path()).unwrap();
    finish(&place, 1).await;
    place.inbox.truncate_log().await.unwrap();
    assert!(left(&place, 1..2).is_empty());
}
