//! `list`, `counts`, `count_kinds` and `oldest_of`.

use super::*;
use crate::counts::EndpointCounts;
use crate::dedupe::inbox::store::{CountOf, KindCounts, LeaseHold, OldestRow};

pub(crate) async fn each_filter_restricts_the_list(on: &StoreFixture) {
    let done = on.ended(event(1), Ending::Done, false).await;
    let retried = on.ended(NewEvent { kind: "patient.created".to_owned(), ..event(2) }, retry(LONG), false).await;
    let given_up = on.ended(event(3), dead(), false).await;
    let discarded = on.ended(event(4), dead(), false).await;
    on.inbox.discard(discarded, audit("discard", discarded)).await.unwrap();
    let other = on.stored(NewEvent { endpoint: "lab".to_owned(), ..event(5) }).await;
    expire().await;
    let leased = on.stored(event(6)).await;
    on.leased(leased, token(11)).await;

    let all = || RowFilter { limit: 100, ..RowFilter::default() };
    assert_eq!(on.list(all()).await, [done, retried, given_up, discarded, other, leased]);
    let endpoint = |endpoint: &str| RowFilter { endpoint: Some(endpoint.to_owned()), ..all() };
    assert_eq!(on.list(endpoint("lab")).await, [other]);
    assert_eq!(on.list(endpoint(ENDPOINT)).await, [done, retried, given_up, discarded, leased]);
    for (status, expected) in [
        (Status::Waiting, &[retried, other][..]),
        (Status::Processing, &[leased]),
        (Status::Done, &[done]),
        (Status::Dead, &[given_up]),
        (Status::Discarded, &[discarded]),
    ] {
        assert_eq!(on.list(RowFilter { status: Some(status), ..all() }).await, expected, "{status:?}");
    }
    let kind = |kind: &str| RowFilter { kind: Some(kind.to_owned()), ..all() };
    assert_eq!(on.list(kind("patient.created")).await, [retried]);
    let reason = |reason: &str| RowFilter { reason: Some(reason.to_owned()), ..all() };
    assert_eq!(on.list(reason("given_up")).await, [given_up, discarded]);
    assert_eq!(on.list(reason("status_5xx")).await, [retried]);
    let since = on.row(leased).await.stored_at;
    assert_eq!(on.list(RowFilter { stored_since: Some(since), ..all() }).await, [leased]);
    assert!(on.list(RowFilter { stored_since: Some(since + 1), ..all() }).await.is_empty());
    assert_eq!(on.list(RowFilter { id: Some(given_up), ..all() }).await, [given_up]);
    // All at once.
    let filter = RowFilter {
        id: Some(given_up),
        status: Some(Status::Dead),
        stored_since: Some(0),
        kind: Some(event(3).kind),
        reason: Some("given_up".to_owned()),
        after: Some(given_up - 1),
        ..endpoint(ENDPOINT)
    };
    assert_eq!(on.list(filter.clone()).await, [given_up]);
    assert!(on.list(RowFilter { status: Some(Status::Done), ..filter.clone() }).await.is_empty());
    assert!(on.list(RowFilter { after: Some(given_up), ..filter }).await.is_empty());
}

pub(crate) async fn a_list_is_paged_by_id(on: &StoreFixture) {
    let mut stored = Vec::new();
    for number in 1..=7 {
        stored.push(on.stored(event(number)).await);
    }
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = on.list(RowFilter { after: Some(after), limit: 3, ..RowFilter::default() }).await;
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 3);
        after = *last;
        seen.extend(page);
    }
    assert_eq!(seen, stored);
    assert!(on.list(RowFilter::default()).await.is_empty(), "a limit of 0");
    assert_eq!(on.list(RowFilter { limit: u32::MAX, after: Some(i64::MIN), ..RowFilter::default() }).await, stored);
}

pub(crate) async fn an_unusual_filter_selects_nothing(on: &StoreFixture) {
    on.stored(event(1)).await;
    let all = || RowFilter { limit: 100, ..RowFilter::default() };
    let text = || Some("' OR 1=1 --".to_owned());
    for filter in [
        RowFilter { id: Some(i64::MIN), ..all() },
        RowFilter { id: Some(i64::MAX), ..all() },
        RowFilter { after: Some(i64::MAX), ..all() },
        RowFilter { stored_since: Some(i64::MAX), ..all() },
        RowFilter { endpoint: text(), ..all() },
        RowFilter { kind: text(), ..all() },
        RowFilter { reason: text(), ..all() },
        RowFilter { kind: Some(String::new()), ..all() },
        RowFilter { kind: Some("patient%".to_owned()), ..all() },
        RowFilter { kind: Some("PATIENT.UPDATED".to_owned()), ..all() },
    ] {
        assert!(on.list(filter.clone()).await.is_empty(), "{filter:?}");
    }
    assert_eq!(on.list(RowFilter { stored_since: Some(i64::MIN), ..all() }).await.len(), 1);
}

async fn counts(on: &StoreFixture, endpoint: &str) -> EndpointCounts {
    let counts = on.inbox.counts(CountOf::All).await.unwrap();
    let mut found = counts.endpoints.into_iter().filter(|counts| counts.endpoint == endpoint);
    let first = found.next().unwrap_or(EndpointCounts { endpoint: endpoint.to_owned(), ..EndpointCounts::default() });
    assert!(found.next().is_none(), "{endpoint} twice");
    first
}

pub(crate) async fn events_are_counted_by_endpoint_and_status(on: &StoreFixture) {
    assert_eq!(counts(on, ENDPOINT).await, EndpointCounts { endpoint: ENDPOINT.to_owned(), ..Default::default() });
    let sized = |number: u8, size: u64| NewEvent { size, ..event(number) };
    on.ended(sized(1, 1), Ending::Done, false).await;
    on.ended(sized(2, 20), dead(), false).await;
    on.ended(sized(3, 20), dead(), false).await;
    let discarded = on.ended(sized(4, 1000), dead(), false).await;
    on.inbox.discard(discarded, audit("discard", discarded)).await.unwrap();
    on.leased(on.stored(sized(5, 300)).await, token(11)).await;
    expire().await;
    for number in 6..=8 {
        on.stored(sized(number, 4000)).await;
    }
    on.stored(NewEvent { endpoint: "lab".to_owned(), ..sized(9, 50_000) }).await;
    on.inbox.set_paused("lab".to_owned(), true, audit("pause", "lab")).await.unwrap();

    let clinic = counts(on, ENDPOINT).await;
    assert_eq!((clinic.waiting, clinic.processing, clinic.dead, clinic.bytes), (3, 1, 2, 12_340));
    assert_eq!(clinic.unfinished_bytes, 12_300);
    assert!(!clinic.paused);
    let lab = counts(on, "lab").await;
    assert_eq!((lab.waiting, lab.processing, lab.dead, lab.bytes), (1, 0, 0, 50_000));
    assert!(lab.paused);
    // The leased event is the oldest.
    assert!(clinic.oldest > Some(SHORT) && lab.oldest.is_some() && clinic.oldest > lab.oldest);
    on.inbox.set_paused("lab".to_owned(), false, audit("resume", "lab")).await.unwrap();
    assert!(!counts(on, "lab").await.paused);
}

/// Neither the quota nor the worker of an endpoint reads the rows of others.
pub(crate) async fn the_events_of_one_endpoint_are_counted_alone(on: &StoreFixture) {
    on.ended(event(1), dead(), false).await;
    on.stored(event(2)).await;
    on.stored(NewEvent { endpoint: "lab".to_owned(), ..event(3) }).await;
    on.inbox.set_paused("lab".to_owned(), true, audit("pause", "lab")).await.unwrap();
    on.inbox.set_hold(LeaseHold::All, audit("hold", "")).await.unwrap();
    let of = async |of: CountOf| {
        let counts = on.inbox.counts(of).await.unwrap();
        assert_eq!(counts.hold, LeaseHold::All);
        let counts = counts.endpoints.into_iter();
        counts
            .map(|of| (of.endpoint, of.waiting, of.dead, of.bytes, of.unfinished_bytes, of.paused))
            .collect::<Vec<_>>()
    };
    let clinic = ENDPOINT.to_owned();
    assert_eq!(of(CountOf::Endpoint(clinic.clone())).await, [(clinic.clone(), 1, 1, 20, 10, false)]);
    assert_eq!(of(CountOf::Unfinished(clinic.clone())).await, [(clinic, 1, 0, 10, 10, false)]);
    assert_eq!(of(CountOf::Endpoint("lab".to_owned())).await, [("lab".to_owned(), 1, 0, 10, 10, true)]);
    assert_eq!(of(CountOf::Unfinished("other".to_owned())).await, []);
}

pub(crate) async fn the_bytes_of_ended_events_do_not_count(on: &StoreFixture) {
    let kept = on.ended(event(1), Ending::Done, true).await;
    let clinic = counts(on, ENDPOINT).await;
    assert_eq!((clinic.waiting, clinic.processing, clinic.dead, clinic.bytes, clinic.oldest), (0, 0, 0, 0, None));
    on.inbox.replay(kept, audit("replay", kept)).await.unwrap();
    assert_eq!((counts(on, ENDPOINT).await.waiting, counts(on, ENDPOINT).await.unfinished_bytes), (1, 10));
    on.leased(kept, token(11)).await;
    on.finish(kept, token(11), dead()).await;
    let clinic = counts(on, ENDPOINT).await;
    assert_eq!((clinic.dead, clinic.bytes, clinic.unfinished_bytes, clinic.oldest), (1, 10, 0, None));
}

pub(crate) async fn the_newest_events_are_listed_first_if_so_chosen(on: &StoreFixture) {
    let mut stored = Vec::new();
    for number in 1..=7 {
        let endpoint = if number == 4 { "lab" } else { ENDPOINT }.to_owned();
        stored.push(on.stored(NewEvent { endpoint, ..event(number) }).await);
    }
    stored.reverse();
    let newest = |after, limit| RowFilter { after, limit, newest_first: true, ..RowFilter::default() };
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = on.list(newest(after, 3)).await;
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 3);
        after = Some(*last);
        seen.extend(page);
    }
    assert_eq!(seen, stored);
    let lab = RowFilter { endpoint: Some("lab".to_owned()), status: Some(Status::Waiting), ..newest(None, 10) };
    assert_eq!(on.list(lab).await, [stored[3]]);
    assert!(on.list(newest(Some(i64::MIN), 10)).await.is_empty());
    assert_eq!(on.list(newest(Some(i64::MAX), u32::MAX)).await, stored);
}

fn shown(counts: &KindCounts) -> Vec<String> {
    let kinds = counts.kinds.iter();
    kinds.map(|of| format!("{} {} {} {}", of.endpoint, of.status.as_str(), of.kind, of.count)).collect()
}

pub(crate) async fn events_are_counted_by_kind_up_to_a_number_of_rows(on: &StoreFixture) {
    let none = on.inbox.count_kinds(10).await.unwrap();
    assert_eq!((shown(&none), none.is_complete), (vec![], true));
    let created = |number| NewEvent { kind: "patient.created".to_owned(), ..event(number) };
    on.ended(event(1), Ending::Done, true).await;
    on.ended(event(2), dead(), false).await;
    on.ended(created(3), dead(), false).await;
    let discarded = on.ended(event(4), dead(), false).await;
    on.inbox.discard(discarded, audit("discard", discarded)).await.unwrap();
    on.leased(on.stored(created(5)).await, token(11)).await;
    for number in 6..=8 {
        on.stored(event(number)).await;
    }
    on.stored(created(9)).await;
    on.stored(NewEvent { endpoint: "lab".to_owned(), ..event(10) }).await;
    let expected = [
        "clinic waiting patient.created 1",
        "clinic waiting patient.updated 3",
        "clinic processing patient.created 1",
        "clinic dead patient.created 1",
        "clinic dead patient.updated 1",
        "lab waiting patient.updated 1",
    ];
    for most in [u32::MAX, 5] {
        let counts = on.inbox.count_kinds(most).await.unwrap();
        assert_eq!((shown(&counts), counts.is_complete), (expected.map(str::to_owned).to_vec(), true), "{most}");
    }
    for most in [4, 1, 0] {
        let counts = on.inbox.count_kinds(most).await.unwrap();
        assert!(!counts.is_complete, "{most}");
        for status in [Status::Waiting, Status::Processing, Status::Dead] {
            let all = counts.kinds.iter().filter(|kind| kind.status == status).map(|kind| kind.count).sum::<u64>();
            assert!(all <= u64::from(most) + 1, "{most}: {counts:?}");
        }
    }
}

pub(crate) async fn the_oldest_unfinished_event_of_a_kind_is_found(on: &StoreFixture) {
    let oldest = async |endpoint: &str, kinds: &[&'static str]| -> Vec<OldestRow> {
        on.inbox.oldest_of(endpoint.to_owned(), kinds.to_vec()).await.unwrap()
    };
    let (updated, created) = ("patient.updated", "patient.created");
    assert!(oldest(ENDPOINT, &[updated, created]).await.is_empty());
    // Neither done nor dead events.
    on.ended(event(1), Ending::Done, true).await;
    on.ended(event(2), dead(), false).await;
    assert!(oldest(ENDPOINT, &[updated]).await.is_empty());
    let [first, second] = [on.stored(event(3)).await, on.stored(event(4)).await];
    expire().await;
    let other = on.stored(NewEvent { kind: created.to_owned(), ..event(5) }).await;
    let lab = on.stored(NewEvent { endpoint: "lab".to_owned(), ..event(6) }).await;
    let found = oldest(ENDPOINT, &[updated, created]).await;
    assert_eq!(found.iter().map(|row| (row.kind, row.id)).collect::<Vec<_>>(), [(updated, first), (created, other)]);
    assert!(found[0].age >= SHORT && found[0].age < LONG && found[1].age <= found[0].age, "{found:?}");
    assert_eq!(oldest("lab", &[updated]).await[0].id, lab);
    // A processing event counts, and the next one once it is done.
    on.leased(first, token(11)).await;
    assert_eq!(oldest(ENDPOINT, &[updated]).await[0].id, first);
    on.finish(first, token(11), Ending::Done).await;
    assert_eq!(oldest(ENDPOINT, &[updated]).await[0].id, second);
    assert!(oldest(ENDPOINT, &[]).await.is_empty());
}
