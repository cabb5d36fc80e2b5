//! `lease` and `renew`.

use futures_util::future::join_all;

use super::*;
use crate::dedupe::inbox::rules::{CRASHED, MAX_CRASHES};

pub(crate) async fn the_event_that_is_due_first_is_leased_first(on: &StoreFixture) {
    let [first, second, third] = [on.stored(event(1)).await, on.stored(event(2)).await, on.stored(event(3)).await];
    on.leased(first, token(11)).await;
    // It is due later than the other two.
    on.finish(first, token(11), retry(SHORT)).await;
    expire().await;
    on.leased(second, token(12)).await;
    on.leased(third, token(13)).await;
    on.leased(first, token(14)).await;
}

pub(crate) async fn an_attempt_counts_when_it_is_leased(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    let leased = on.leased(id, token(11)).await;
    assert_eq!((leased.attempts, leased.replays, leased.kind), (1, 0, event(1).kind));
    let row = on.row(id).await;
    assert_eq!((row.status, row.attempts, row.stored_at), (Status::Processing, 1, leased.stored_at));
    assert!(row.due > Some(row.stored_at));
    assert_eq!((leased.body.endpoint.as_str(), leased.body.row_key), (ENDPOINT, event(1).row_key));
    assert_eq!((leased.body.stored_by, leased.body.sealed_key), (token(1), event(1).sealed_key));
    assert_eq!(leased.body.sealed, Some(event(1).sealed));
}

pub(crate) async fn a_leased_event_is_not_leased_again(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    on.leased(id, token(11)).await;
    for alone in [false, true] {
        let answer = on.lease(token(12), LONG, alone).await;
        assert!(answer.leased.is_none() && answer.crashed.is_none());
        assert_eq!((answer.suspects, answer.next_due), (false, None));
    }
}

pub(crate) async fn a_repeated_call_returns_the_same_lease(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    on.stored(event(2)).await;
    on.leased(id, token(11)).await;
    let due = on.row(id).await.due;
    assert_eq!(on.leased(id, token(11)).await.attempts, 1);
    assert_eq!(on.row(id).await.due, due);
    // Also of a lease that has expired, unless another worker has leased the event.
    on.inbox.renew(id, token(11), SHORT).await.unwrap();
    expire().await;
    assert_eq!(on.leased(id, token(11)).await.attempts, 1);
    // Also of a lease alone.
    on.leased_for(id, token(12), LONG, true).await;
    assert_eq!(on.leased_for(id, token(12), LONG, true).await.attempts, 1);
}

pub(crate) async fn a_repeated_call_returns_the_same_lease_while_paused(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    on.leased(id, token(11)).await;
    on.inbox.set_paused(ENDPOINT.to_owned(), true, audit("pause", ENDPOINT)).await.unwrap();
    on.leased(id, token(11)).await;
}

pub(crate) async fn events_of_other_endpoints_are_not_leased(on: &StoreFixture) {
    let other = on.stored(NewEvent { endpoint: "lab".to_owned(), ..event(1) }).await;
    let answer = on.lease(token(11), LONG, false).await;
    assert!(answer.leased.is_none() && answer.next_due.is_none());
    let request = || LeaseRequest { endpoint: "lab".to_owned(), token: token(12), lease: SHORT, alone: false };
    assert_eq!(on.inbox.lease(request()).await.unwrap().leased.unwrap().body.id, other);
    expire().await;
    for alone in [false, true] {
        let answer = on.lease(token(13), LONG, alone).await;
        assert!(answer.leased.is_none() && !answer.suspects);
    }
}

pub(crate) async fn an_event_is_not_leased_before_it_is_due(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    on.leased(id, token(11)).await;
    on.finish(id, token(11), retry(LONG)).await;
    let answer = on.lease(token(12), LONG, false).await;
    assert!(answer.leased.is_none() && !answer.suspects);
    assert!(answer.next_due.is_some_and(|due| !due.is_zero() && due <= LONG), "{:?}", answer.next_due);
    assert_eq!(on.row(id).await.attempts, 1);
}

pub(crate) async fn concurrent_workers_lease_different_events(on: &StoreFixture) {
    for number in 1..=4 {
        on.stored(event(number)).await;
    }
    let answers = join_all((11..=18).map(|number| on.lease(token(number), LONG, false))).await;
    let mut leased: Vec<_> = answers.iter().filter_map(|answer| answer.leased.as_ref()).map(|l| l.body.id).collect();
    // A store may skip rows that another transaction has locked.
    for number in 21..=24 {
        leased.extend(on.lease(token(number), LONG, false).await.leased.map(|leased| leased.body.id));
    }
    leased.sort_unstable();
    assert_eq!(leased, on.all().await);
    for id in leased {
        assert_eq!(on.row(id).await.attempts, 1);
    }
}

pub(crate) async fn an_event_whose_lease_expired_is_leased_only_alone(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    on.leased_for(id, token(11), SHORT, false).await;
    expire().await;
    let answer = on.lease(token(12), LONG, false).await;
    assert!(answer.leased.is_none() && answer.suspects);
    assert_eq!(on.status(id).await, Status::Processing);
    // Events that wait are leased as before.
    let other = on.stored(event(2)).await;
    let answer = on.lease(token(13), LONG, false).await;
    assert_eq!(answer.leased.unwrap().body.id, other);
    assert!(answer.suspects);
    on.leased_for(id, token(14), LONG, true).await;
    assert!(!on.lease(token(15), LONG, false).await.suspects);
}

pub(crate) async fn a_worker_that_is_alone_leases_only_suspects(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    let answer = on.lease(token(11), LONG, true).await;
    assert!(answer.leased.is_none() && answer.crashed.is_none() && !answer.suspects);
    assert_eq!(on.row(id).await.attempts, 0);
    on.leased(id, token(12)).await;
}

pub(crate) async fn a_lease_that_expired_not_alone_does_not_count(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    on.leased_for(id, token(11), SHORT, false).await;
    expire().await;
    // The attempt of the process that died with several events is given to this one.
    assert_eq!(on.leased_for(id, token(12), SHORT, true).await.attempts, 1);
    expire().await;
    assert_eq!(on.leased_for(id, token(13), LONG, true).await.attempts, 2);
}

pub(crate) async fn the_fifth_expired_lease_alone_makes_the_event_dead(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    on.leased_for(id, token(100), SHORT, false).await;
    expire().await;
    for number in 1..=5 {
        on.leased_for(id, token(100 + number), SHORT, true).await;
        expire().await;
    }
    assert_eq!(MAX_CRASHES, 5);
    let answer = on.lease(token(110), LONG, true).await;
    let crashed = answer.crashed.expect("it is dead");
    assert_eq!((crashed.id, crashed.status, crashed.reason.as_deref()), (id, Status::Dead, Some(CRASHED)));
    assert_eq!((crashed.attempts, crashed.due, crashed.ended_at.is_some()), (5, None, true));
    assert!(answer.leased.is_none() && !answer.suspects);
    let row = on.row(id).await;
    assert_eq!((row.status, row.reason.as_deref(), row.attempts), (Status::Dead, Some(CRASHED), 5));
    assert!(row.has_body && row.ended_at.is_some() && row.due.is_none());
    on.nothing_to_lease().await;
    // Its last holder comes too late.
    assert_eq!(on.finish(id, token(105), Ending::Done).await, Settled::Lost);
    assert_eq!(on.inbox.renew(id, token(105), LONG).await.unwrap(), Settled::Lost);
    assert_eq!(on.status(id).await, Status::Dead);
}

pub(crate) async fn an_ending_resets_the_count_of_expired_leases(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    for _ in 0..2 {
        on.leased_for(id, token(100), SHORT, false).await;
        expire().await;
        for number in 1..=4 {
            on.leased_for(id, token(100 + number), SHORT, true).await;
            expire().await;
        }
        on.leased_for(id, token(110), LONG, true).await;
        assert_eq!(on.finish(id, token(110), retry(Duration::ZERO)).await, Settled::Settled);
    }
    // Nor does it stay alone: the next expired lease does not count.
    on.leased_for(id, token(120), SHORT, false).await;
    let attempts = on.row(id).await.attempts;
    expire().await;
    assert_eq!(on.leased_for(id, token(121), LONG, true).await.attempts, attempts);
}

pub(crate) async fn of_concurrent_workers_one_leases_a_suspect(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    on.leased_for(id, token(11), SHORT, false).await;
    expire().await;
    let answers = join_all((12..=19).map(|number| on.lease(token(number), LONG, true))).await;
    assert_eq!(answers.iter().filter(|answer| answer.leased.is_some()).count(), 1);
    assert_eq!(on.row(id).await.attempts, 1);
}

pub(crate) async fn the_former_holder_cannot_renew_or_finish(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    on.leased_for(id, token(11), SHORT, false).await;
    expire().await;
    on.leased_for(id, token(12), LONG, true).await;
    let due = on.row(id).await.due;
    assert_eq!(on.inbox.renew(id, token(11), LONG * 2).await.unwrap(), Settled::Lost);
    for ending in [Ending::Done, retry(Duration::ZERO), dead()] {
        assert_eq!(on.finish(id, token(11), ending).await, Settled::Lost);
    }
    let row = on.row(id).await;
    assert_eq!((row.status, row.due, row.has_body), (Status::Processing, due, true));
    assert_eq!(on.finish(id, token(12), Ending::Done).await, Settled::Settled);
    assert_eq!(on.finish(id, token(11), Ending::Done).await, Settled::Lost);
}

pub(crate) async fn a_renewed_lease_does_not_expire(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    on.leased_for(id, token(11), SHORT, false).await;
    assert_eq!(on.inbox.renew(id, token(11), LONG).await.unwrap(), Settled::Settled);
    expire().await;
    assert!(!on.lease(token(12), LONG, true).await.suspects);
    on.nothing_to_lease().await;
    // An expired lease is renewed, too, if no other worker has leased the event. The latest call decides.
    assert_eq!(on.inbox.renew(id, token(11), SHORT).await.unwrap(), Settled::Settled);
    expire().await;
    assert!(on.lease(token(12), LONG, false).await.suspects);
    for _ in 0..2 {
        assert_eq!(on.inbox.renew(id, token(11), LONG).await.unwrap(), Settled::Settled);
    }
    on.nothing_to_lease().await;
    assert_eq!(on.row(id).await.attempts, 1);
}

pub(crate) async fn only_its_holder_renews_a_lease(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    // Neither the token with which the event was stored, nor one of a lease that has ended.
    assert_eq!(on.inbox.renew(id, token(1), LONG).await.unwrap(), Settled::Lost);
    on.leased(id, token(11)).await;
    let due = on.row(id).await.due;
    assert_eq!(on.inbox.renew(id, token(12), LONG * 2).await.unwrap(), Settled::Lost);
    assert_eq!(on.inbox.renew(id, token(1), LONG * 2).await.unwrap(), Settled::Lost);
    assert_eq!(on.row(id).await.due, due);
    assert_eq!(on.inbox.renew(id + 1, token(11), LONG).await.unwrap(), Settled::Lost);
    on.finish(id, token(11), retry(Duration::ZERO)).await;
    assert_eq!(on.inbox.renew(id, token(11), LONG).await.unwrap(), Settled::Lost);
    on.leased(id, token(13)).await;
}

pub(crate) async fn the_longest_lease_does_not_overflow(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    on.leased_for(id, token(11), Duration::MAX, false).await;
    assert_eq!(on.inbox.renew(id, token(11), Duration::MAX).await.unwrap(), Settled::Settled);
    on.nothing_to_lease().await;
    assert_eq!(on.finish(id, token(11), Ending::Done).await, Settled::Settled);
}
