//! The operations of an operator: `replay`, `discard`, `set_paused`, `set_hold`, `body` and the audit entries.

use super::*;
use crate::dedupe::Forgotten;
use crate::dedupe::inbox::store::{CountOf, LeaseHold, Operated};

impl StoreFixture {
    async fn replay(&self, id: i64) -> Operated {
        self.inbox.replay(id, audit("replay", id)).await.unwrap()
    }

    async fn discard(&self, id: i64) -> Operated {
        self.inbox.discard(id, audit("discard", id)).await.unwrap()
    }

    async fn forget(&self, number: u8) -> Forgotten {
        self.inbox.forget(key(number), event(number).row_key, audit("forget", number)).await.unwrap()
    }

    async fn pause(&self, endpoint: &str, paused: bool) {
        self.inbox.set_paused(endpoint.to_owned(), paused, audit("pause", endpoint)).await.unwrap();
    }

    async fn hold(&self, hold: LeaseHold) {
        self.inbox.set_hold(hold, audit("hold", "")).await.unwrap();
        assert_eq!(self.inbox.counts(CountOf::All).await.unwrap().hold, hold);
    }
}

pub(crate) async fn a_dead_event_is_replayed_with_new_attempts(on: &StoreFixture) {
    let id = on.ended(event(1), dead(), false).await;
    for replays in 1..=2 {
        assert_eq!(on.replay(id).await, Operated::Done);
        let row = on.row(id).await;
        assert_eq!((row.status, row.attempts, row.replays), (Status::Waiting, 0, replays));
        assert!(row.due.is_some() && row.ended_at.is_none());
        let leased = on.leased(id, token(11)).await;
        assert_eq!((leased.attempts, leased.replays), (1, replays));
        assert_eq!(on.finish(id, token(11), dead()).await, Settled::Settled);
    }
}

pub(crate) async fn a_done_event_is_replayed_if_it_has_its_body(on: &StoreFixture) {
    let kept = on.ended(event(1), Ending::Done, true).await;
    let deleted = on.ended(event(2), Ending::Done, false).await;
    assert_eq!(on.replay(deleted).await, Operated::NoBody);
    assert_eq!(on.status(deleted).await, Status::Done);
    assert_eq!(on.replay(kept).await, Operated::Done);
    let leased = on.leased(kept, token(11)).await;
    assert_eq!((leased.attempts, leased.replays, leased.body.sealed), (1, 1, Some(event(1).sealed)));
}

pub(crate) async fn a_waiting_event_is_due_at_once_after_a_replay(on: &StoreFixture) {
    let id = on.ended(event(1), retry(LONG), false).await;
    on.nothing_to_lease().await;
    assert_eq!(on.replay(id).await, Operated::Done);
    let leased = on.leased(id, token(11)).await;
    assert_eq!((leased.attempts, leased.replays), (2, 0));
}

pub(crate) async fn a_leased_or_discarded_event_is_not_replayed(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    on.leased(id, token(11)).await;
    assert_eq!(on.replay(id).await, Operated::Processing);
    assert_eq!((on.row(id).await.status, on.row(id).await.attempts), (Status::Processing, 1));
    on.finish(id, token(11), dead()).await;
    assert_eq!(on.discard(id).await, Operated::Done);
    assert_eq!(on.replay(id).await, Operated::WrongStatus(Status::Discarded));
    for unknown in [id + 1, 0, -1, i64::MIN, i64::MAX] {
        assert_eq!(on.replay(unknown).await, Operated::NotFound);
    }
    on.nothing_to_lease().await;
}

pub(crate) async fn a_replay_conflicts_with_an_unfinished_row_of_the_event(on: &StoreFixture) {
    let short = NewEvent { retention: Retention::new(SHORT, SHORT), ..event(1) };
    let old = on.ended(short, dead(), false).await;
    expire().await;
    let new = on.stored(NewEvent { token: token(2), ..event(1) }).await;
    assert_eq!(on.replay(old).await, Operated::Conflict);
    on.leased(new, token(11)).await;
    assert_eq!(on.replay(old).await, Operated::Conflict);
    assert_eq!((on.row(old).await.status, on.row(old).await.replays), (Status::Dead, 0));
    on.finish(new, token(11), Ending::Done).await;
    assert_eq!(on.replay(old).await, Operated::Done);
    on.leased(old, token(12)).await;
}

pub(crate) async fn the_holder_before_a_replay_cannot_finish(on: &StoreFixture) {
    let id = on.ended(event(1), dead(), false).await;
    assert_eq!(on.replay(id).await, Operated::Done);
    for ending in [Ending::Done, retry(LONG), dead()] {
        assert_eq!(on.finish(id, token(200), ending).await, Settled::Lost);
    }
    assert_eq!(on.inbox.renew(id, token(200), LONG).await.unwrap(), Settled::Lost);
    on.leased(id, token(11)).await;
}

pub(crate) async fn a_lease_and_an_ending_that_arrive_after_a_replay_do_not_end_it(on: &StoreFixture) {
    for (number, first) in [(1, dead()), (2, Ending::Done)] {
        let id = on.stored(event(number)).await;
        let before = on.leased(id, token(11)).await.lease_id();
        assert_eq!(on.finish_of(before, first.clone(), true).await, Settled::Settled);
        assert_eq!(on.replay(id).await, Operated::Done);
        // The lease is granted once more, since the replay has reset its token.
        let late = on.leased_for(id, token(11), SHORT, false).await;
        assert_eq!((late.lease_id(), late.replays), (LeaseId { replays: 1, ..before }, 1));
        for ending in [first, dead(), Ending::Done, retry(LONG)] {
            assert_eq!(on.finish_of(before, ending, true).await, Settled::Lost);
        }
        assert_eq!(on.row(id).await.status, Status::Processing);
        // No worker has the event, so that another one leases it.
        expire().await;
        let leased = on.leased_for(id, token(12), LONG, true).await;
        assert_eq!(on.finish_of(leased.lease_id(), Ending::Done, false).await, Settled::Settled);
    }
}

pub(crate) async fn unfinished_events_without_a_worker_are_discarded_with_their_bodies(on: &StoreFixture) {
    let expired = on.stored(event(4)).await;
    on.leased_for(expired, token(11), SHORT, false).await;
    let given_up = on.ended(event(1), dead(), false).await;
    let retried = on.ended(event(2), retry(Duration::ZERO), false).await;
    expire().await;
    let (ended, leased) = (token(200), token(11));
    for (id, holder, reason) in
        [(given_up, ended, Some("given_up")), (retried, ended, Some("status_5xx")), (expired, leased, None)]
    {
        assert_eq!(on.discard(id).await, Operated::Done);
        let row = on.row(id).await;
        assert_eq!((row.status, row.reason.as_deref()), (Status::Discarded, reason));
        assert!(!row.has_body && row.ended_at.is_some() && row.due.is_none());
        assert!(on.body(id).await.is_none());
        assert_eq!(on.inbox.renew(id, holder, LONG).await.unwrap(), Settled::Lost);
        assert_eq!(on.finish(id, holder, Ending::Done).await, Settled::Lost);
        assert_eq!(on.finish(id, holder, retry(Duration::ZERO)).await, Settled::Lost);
    }
    on.nothing_to_lease().await;
    // It stays recorded as handled.
    let again = NewEvent { token: token(3), ..event(2) };
    assert_eq!(on.inbox.store_event(again).await.unwrap(), StoreResult::Duplicate);
}

pub(crate) async fn other_events_are_not_discarded(on: &StoreFixture) {
    let done = on.ended(event(1), Ending::Done, true).await;
    assert_eq!(on.discard(done).await, Operated::WrongStatus(Status::Done));
    assert!(on.row(done).await.has_body);
    let leased = on.stored(event(2)).await;
    on.leased_for(leased, token(11), LONG, false).await;
    assert_eq!(on.discard(leased).await, Operated::Processing);
    assert!(on.row(leased).await.has_body);
    let discarded = on.ended(event(3), dead(), false).await;
    assert_eq!(on.discard(discarded).await, Operated::Done);
    assert_eq!(on.discard(discarded).await, Operated::WrongStatus(Status::Discarded));
    for unknown in [discarded + 1, 0, -1, i64::MIN, i64::MAX] {
        assert_eq!(on.discard(unknown).await, Operated::NotFound);
    }
}

pub(crate) async fn a_forgotten_event_is_stored_again(on: &StoreFixture) {
    let old = on.ended(event(1), dead(), false).await;
    let again = NewEvent { token: token(3), ..event(1) };
    assert_eq!(on.inbox.store_event(again.clone()).await.unwrap(), StoreResult::Duplicate);
    assert_eq!(on.forget(1).await, Forgotten::Removed);
    assert_eq!(on.forget(1).await, Forgotten::NotFound, "forgotten before");
    assert_eq!(on.forget(2).await, Forgotten::NotFound, "not stored");
    let entries = on.inbox.audit_entries(0, 100).await.unwrap();
    assert_eq!(entries.into_iter().map(|(.., entry)| entry).collect::<Vec<_>>(), [audit("forget", 1)]);
    assert_eq!(on.status(old).await, Status::Dead);
    let new = on.stored(again).await;
    assert_ne!(new, old);
    assert_eq!(on.replay(old).await, Operated::Conflict);
    on.leased(new, token(11)).await;
    assert_eq!(on.finish(new, token(11), Ending::Done).await, Settled::Settled);
    assert_eq!(on.forget(1).await, Forgotten::Removed);
}

pub(crate) async fn an_unfinished_or_claimed_event_is_not_forgotten(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    assert_eq!(on.forget(1).await, Forgotten::Unfinished { id });
    on.leased(id, token(11)).await;
    assert_eq!(on.forget(1).await, Forgotten::Unfinished { id });
    assert_eq!(on.finish(id, token(11), dead()).await, Settled::Settled);
    assert_eq!(on.replay(id).await, Operated::Done);
    assert_eq!(on.forget(1).await, Forgotten::Unfinished { id });
    let again = NewEvent { token: token(3), ..event(1) };
    assert_eq!(on.inbox.store_event(again).await.unwrap(), StoreResult::Duplicate, "its record is still there");
    // The claim of an instance without an inbox.
    on.store.claim(key(2), token(12), LONG).await.unwrap();
    assert_eq!(on.forget(2).await, Forgotten::Claimed);
    on.store.commit(key(2), token(12), Retention::new(LONG, LONG)).await.unwrap();
    assert_eq!(on.forget(2).await, Forgotten::Removed);
    on.store.claim(key(3), token(13), SHORT).await.unwrap();
    expire().await;
    assert_eq!(on.forget(3).await, Forgotten::NotFound);
    let forgets =
        on.inbox.audit_entries(0, 100).await.unwrap().into_iter().filter(|(.., entry)| entry.action == "forget");
    assert_eq!(forgets.count(), 1, "only what was removed");
}

pub(crate) async fn a_paused_endpoint_leases_nothing_until_it_is_resumed(on: &StoreFixture) {
    let [suspect, waiting] = [on.stored(event(1)).await, on.stored(event(2)).await];
    on.leased_for(suspect, token(11), SHORT, false).await;
    expire().await;
    on.pause(ENDPOINT, true).await;
    on.pause(ENDPOINT, true).await;
    on.nothing_to_lease().await;
    assert_eq!(on.lease(token(12), LONG, false).await.next_due, None);
    // Others are not paused, and events are stored and finished as before.
    let other = on.stored(NewEvent { endpoint: "lab".to_owned(), ..event(3) }).await;
    let request = LeaseRequest { endpoint: "lab".to_owned(), token: token(13), lease: LONG, alone: false };
    assert_eq!(on.inbox.lease(request).await.unwrap().leased.unwrap().body.id, other);
    on.stored(event(4)).await;
    assert_eq!(on.inbox.renew(suspect, token(11), LONG).await.unwrap(), Settled::Settled);
    assert_eq!(on.finish(suspect, token(11), Ending::Done).await, Settled::Settled);
    on.pause("lab", false).await;
    on.nothing_to_lease().await;
    on.pause(ENDPOINT, false).await;
    on.leased(waiting, token(14)).await;
}

pub(crate) async fn a_hold_stops_the_leases_of_all_endpoints(on: &StoreFixture) {
    let [suspect, waiting] = [on.stored(event(1)).await, on.stored(event(2)).await];
    on.leased_for(suspect, token(11), SHORT, false).await;
    expire().await;
    let other = on.stored(NewEvent { endpoint: "lab".to_owned(), ..event(3) }).await;
    assert_eq!(on.inbox.counts(CountOf::All).await.unwrap().hold, LeaseHold::None);
    on.hold(LeaseHold::All).await;
    on.nothing_to_lease().await;
    assert_eq!(on.lease(token(12), LONG, false).await.next_due, None);
    let request = || LeaseRequest { endpoint: "lab".to_owned(), token: token(13), lease: LONG, alone: false };
    assert!(on.inbox.lease(request()).await.unwrap().leased.is_none());
    on.hold(LeaseHold::None).await;
    on.leased_for(suspect, token(14), LONG, true).await;
    on.leased(waiting, token(15)).await;
    assert_eq!(on.inbox.lease(request()).await.unwrap().leased.unwrap().body.id, other);
}

pub(crate) async fn a_hold_by_time_leases_later_events(on: &StoreFixture) {
    let [early, suspect] = [on.stored(event(1)).await, on.stored(event(2)).await];
    on.leased(early, token(11)).await;
    on.leased_for(suspect, token(12), SHORT, false).await;
    on.finish(early, token(11), retry(Duration::ZERO)).await;
    expire().await;
    let late = on.stored(event(3)).await;
    let since = on.row(late).await.stored_at;
    assert!(since > on.row(suspect).await.stored_at);
    on.hold(LeaseHold::StoredBefore(since)).await;
    on.leased(late, token(13)).await;
    on.nothing_to_lease().await;
    on.hold(LeaseHold::StoredBefore(since + 1)).await;
    assert_eq!(on.finish(late, token(13), retry(Duration::ZERO)).await, Settled::Settled);
    on.nothing_to_lease().await;
    on.hold(LeaseHold::StoredBefore(on.row(early).await.stored_at)).await;
    on.leased_for(suspect, token(14), LONG, true).await;
    for number in [15, 16] {
        assert!(on.lease(token(number), LONG, false).await.leased.is_some());
    }
    on.nothing_to_lease().await;
}

pub(crate) async fn a_body_is_returned_with_what_it_is_bound_to(on: &StoreFixture) {
    let id = on.stored(event(1)).await;
    let expected = SealedBody {
        id,
        endpoint: ENDPOINT.to_owned(),
        row_key: event(1).row_key,
        stored_by: token(1),
        sealed_key: event(1).sealed_key,
        sealed: Some(event(1).sealed),
    };
    assert!(on.body(id).await == Some(expected.clone()));
    assert!(on.leased(id, token(11)).await.body == expected);
    assert!(on.body(id).await == Some(expected));
    for unknown in [id + 1, 0, -1, i64::MIN, i64::MAX] {
        assert!(on.body(unknown).await.is_none());
    }
}

pub(crate) async fn every_operation_writes_its_audit_entry(on: &StoreFixture) {
    let id = on.ended(event(1), dead(), false).await;
    on.body(id).await;
    on.replay(id).await;
    on.discard(id).await;
    on.pause(ENDPOINT, true).await;
    on.inbox.set_paused(ENDPOINT.to_owned(), false, audit("resume", ENDPOINT)).await.unwrap();
    on.hold(LeaseHold::All).await;
    on.inbox.set_hold(LeaseHold::None, audit("release", "")).await.unwrap();
    on.inbox.write_audit(audit("rekey", "it's; \"é\" 🩺")).await.unwrap();
    let entries = on.inbox.audit_entries(0, 100).await.unwrap();
    let expected = [
        audit("body", id),
        audit("replay", id),
        audit("discard", id),
        audit("pause", ENDPOINT),
        audit("resume", ENDPOINT),
        audit("hold", ""),
        audit("release", ""),
        audit("rekey", "it's; \"é\" 🩺"),
    ];
    assert_eq!(entries.iter().map(|(.., entry)| entry.clone()).collect::<Vec<_>>(), expected);
    let stored_at = on.row(id).await.stored_at;
    assert!(entries.iter().all(|(_, at, _)| *at >= stored_at), "{entries:?}");
    assert!(entries.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1), "{entries:?}");
}

pub(crate) async fn audit_entries_are_returned_in_pages(on: &StoreFixture) {
    for number in 0..5 {
        on.inbox.write_audit(audit("rekey", number)).await.unwrap();
    }
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = on.inbox.audit_entries(after, 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some((last, ..)) = page.last() else { break };
        after = *last;
        seen.extend(page.into_iter().map(|(.., entry)| entry.subject));
    }
    assert_eq!(seen, ["0", "1", "2", "3", "4"]);
    assert!(on.inbox.audit_entries(i64::MAX, u32::MAX).await.unwrap().is_empty());
    assert_eq!(on.inbox.audit_entries(i64::MIN, u32::MAX).await.unwrap().len(), 5);
    assert!(on.inbox.audit_entries(0, 0).await.unwrap().is_empty());
}

pub(crate) async fn the_last_audit_entries_of_one_event_are_returned(on: &StoreFixture) {
    let [id, other] = [on.ended(event(1), dead(), false).await, on.stored(event(2)).await];
    on.body(id).await;
    on.replay(id).await;
    on.body(other).await;
    on.discard(id).await;
    // These entries are about other subjects: an endpoint whose name is a number, and the beginning of a key.
    on.inbox.set_paused(id.to_string(), true, audit("pause", id)).await.unwrap();
    on.inbox.write_audit(audit("forget", id)).await.unwrap();
    on.inbox.write_audit(audit("replay", format!("{id}0"))).await.unwrap();
    let all = [audit("body", id), audit("replay", id), audit("discard", id)];
    for (limit, from) in [(u32::MAX, 0), (3, 0), (2, 1), (1, 2), (0, 3)] {
        let entries = on.inbox.audit_of(id, limit).await.unwrap();
        assert_eq!(entries.iter().map(|(.., entry)| entry.clone()).collect::<Vec<_>>(), all[from..], "{limit}");
        assert!(entries.is_sorted_by(|one, next| one.0 < next.0), "{entries:?}");
    }
    assert_eq!(on.inbox.audit_of(other, 10).await.unwrap().len(), 1);
    for unknown in [-1, i64::MIN, i64::MAX] {
        assert!(on.inbox.audit_of(unknown, 10).await.unwrap().is_empty());
    }
}
