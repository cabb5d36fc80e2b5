//! `finish`.

use super::*;

pub(crate) async fn a_done_event_has_no_body_and_is_not_leased_again(on: &StoreFixture) {
    let id = on.ended(event(1), Ending::Done, false).await;
    let row = on.row(id).await;
    assert_eq!((row.status, row.attempts, row.reason, row.due), (Status::Done, 1, None, None));
    assert!(!row.has_body && row.ended_at.is_some());
    assert!(on.body(id).await.is_none());
    on.nothing_to_lease().await;
}

pub(crate) async fn the_body_of_a_done_event_is_kept_if_so_chosen(on: &StoreFixture) {
    let id = on.ended(event(1), Ending::Done, true).await;
    assert!(on.row(id).await.has_body);
    assert_eq!(on.body(id).await.unwrap().sealed, Some(event(1).sealed));
    on.nothing_to_lease().await;
}

pub(crate) async fn a_repeated_end_deletes_a_body_that_was_kept(on: &StoreFixture) {
    // The application's transaction finishes the event and does not know whether bodies are kept. The worker does.
    for ending in [Ending::Done, retry(Duration::ZERO)] {
        let number = if ending == Ending::Done { 1 } else { 2 };
        let id = on.ended(event(number), Ending::Done, true).await;
        assert_eq!(on.finish_with(id, token(200), ending.clone(), true).await, Settled::Settled);
        assert!(on.row(id).await.has_body);
        assert_eq!(on.finish_with(id, token(201), ending.clone(), false).await, Settled::Lost);
        assert!(on.row(id).await.has_body);
        assert_eq!(on.finish_with(id, token(200), ending, false).await, Settled::Settled);
        assert!(!on.row(id).await.has_body);
    }
}

pub(crate) async fn a_done_event_stays_done(on: &StoreFixture) {
    let id = on.ended(event(1), Ending::Done, false).await;
    let ended_at = on.row(id).await.ended_at;
    for ending in [Ending::Done, retry(Duration::ZERO), dead()] {
        assert_eq!(on.finish(id, token(200), ending).await, Settled::Settled);
        let row = on.row(id).await;
        assert_eq!((row.status, row.reason, row.ended_at, row.attempts), (Status::Done, None, ended_at, 1));
    }
    on.nothing_to_lease().await;
}

pub(crate) async fn a_retried_event_waits_and_is_leased_again(on: &StoreFixture) {
    let id = on.ended(event(1), retry(Duration::ZERO), false).await;
    let row = on.row(id).await;
    assert_eq!((row.status, row.attempts, row.reason.as_deref()), (Status::Waiting, 1, Some("status_5xx")));
    assert!(row.has_body && row.due.is_some() && row.ended_at.is_none());
    assert_eq!(on.leased(id, token(11)).await.attempts, 2);
    on.finish(id, token(11), Ending::Done).await;
    let row = on.row(id).await;
    assert_eq!((row.status, row.attempts, row.reason), (Status::Done, 2, None));
}

pub(crate) async fn an_attempt_that_does_not_count_is_given_back(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    let given_back = || Ending::Retry { wait: Duration::ZERO, reason: "stopped", counted: false };
    for _ in 0..3 {
        assert_eq!(on.leased(id, token(11)).await.attempts, 1);
        assert_eq!(on.finish(id, token(11), given_back()).await, Settled::Settled);
        assert_eq!(on.finish(id, token(11), given_back()).await, Settled::Settled);
        let row = on.row(id).await;
        assert_eq!((row.status, row.attempts, row.reason.as_deref()), (Status::Waiting, 0, Some("stopped")));
    }
}

pub(crate) async fn a_repeated_retry_changes_nothing(on: &StoreFixture) {
    let id = on.ended(event(1), retry(LONG), false).await;
    let before = on.row(id).await;
    let other = Ending::Retry { wait: Duration::ZERO, reason: "other", counted: false };
    for ending in [retry(LONG), other] {
        assert_eq!(on.finish(id, token(200), ending).await, Settled::Settled);
    }
    let row = on.row(id).await;
    assert_eq!((row.due, row.attempts, row.reason), (before.due, 1, before.reason));
}

pub(crate) async fn a_dead_event_keeps_its_body_and_is_not_leased_again(on: &StoreFixture) {
    let id = on.ended(event(1), dead(), false).await;
    for _ in 0..2 {
        let row = on.row(id).await;
        assert_eq!((row.status, row.attempts, row.reason.as_deref()), (Status::Dead, 1, Some("given_up")));
        assert!(row.has_body && row.ended_at.is_some() && row.due.is_none());
        let other = Ending::Dead { reason: "other".to_owned() };
        assert_eq!(on.finish(id, token(200), other).await, Settled::Settled);
    }
    on.nothing_to_lease().await;
}

pub(crate) async fn another_ending_after_the_first_is_lost(on: &StoreFixture) {
    let waiting = on.ended(event(1), retry(LONG), false).await;
    for ending in [Ending::Done, dead()] {
        assert_eq!(on.finish(waiting, token(200), ending).await, Settled::Lost);
    }
    assert_eq!(on.status(waiting).await, Status::Waiting);
    assert!(on.row(waiting).await.has_body);
    let given_up = on.ended(event(2), dead(), false).await;
    for ending in [Ending::Done, retry(Duration::ZERO)] {
        assert_eq!(on.finish(given_up, token(200), ending).await, Settled::Lost);
    }
    assert_eq!(on.status(given_up).await, Status::Dead);
    assert!(on.row(given_up).await.has_body);
}

pub(crate) async fn an_expired_lease_can_still_be_finished(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    on.leased_for(id, token(11), SHORT, false).await;
    expire().await;
    assert_eq!(on.finish(id, token(11), Ending::Done).await, Settled::Settled);
    assert_eq!(on.status(id).await, Status::Done);
    on.nothing_to_lease().await;
}

pub(crate) async fn without_the_token_nothing_ends(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    let endings = || [Ending::Done, retry(Duration::ZERO), dead()];
    for ending in endings() {
        // Before the first lease, also with the token with which the event was stored.
        assert_eq!(on.finish(id, token(1), ending.clone()).await, Settled::Lost);
        assert_eq!(on.finish(id, token(11), ending.clone()).await, Settled::Lost);
        assert_eq!(on.finish(id + 1, token(11), ending).await, Settled::Lost);
    }
    assert_eq!(on.status(id).await, Status::Waiting);
    on.leased(id, token(11)).await;
    for ending in endings() {
        assert_eq!(on.finish(id, token(12), ending).await, Settled::Lost);
    }
    assert_eq!(on.status(id).await, Status::Processing);
    on.finish(id, token(11), Ending::Done).await;
    for ending in endings() {
        assert_eq!(on.finish(id, token(12), ending).await, Settled::Lost);
    }
    assert_eq!(on.status(id).await, Status::Done);
}

pub(crate) async fn a_repeated_ending_after_the_next_lease_is_lost(on: &StoreFixture) {
    let id = on.ended(event(1), retry(Duration::ZERO), false).await;
    on.leased(id, token(11)).await;
    let due = on.row(id).await.due;
    assert_eq!(on.finish(id, token(200), retry(Duration::ZERO)).await, Settled::Lost);
    let row = on.row(id).await;
    assert_eq!((row.status, row.due, row.attempts), (Status::Processing, due, 2));
}

pub(crate) async fn the_longest_wait_does_not_overflow(on: &StoreFixture) {
    let id = on.ended(event(1), retry(Duration::MAX), false).await;
    assert_eq!(on.status(id).await, Status::Waiting);
    let answer = on.lease(token(11), LONG, false).await;
    assert!(answer.leased.is_none() && answer.next_due.is_some_and(|due| due > LONG));
}
