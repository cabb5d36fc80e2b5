//! Events whose id or kind is in an unsigned header: each attempt reads what the receiver read.

use http::HeaderMap;

use super::*;
use crate::inbox::handle::Inbox;
use crate::inbox::keyring::tests::ring;
use crate::inbox::sealing::Bodies;
use crate::store_id::StoreId;
use crate::{CloudEvents, Custom, Delivery, IdFrom, Reason, Receiver, Secret, SharedSecret};

const SECRET: &str = "0123456789abcdef";

fn custom() -> Custom {
    Custom::new("acme", SharedSecret::new("x-key"), Secret::new(SECRET).unwrap()).known_kinds(["ready", "late"])
}

async fn receiver(on: &StoreFixture, custom: Custom) -> Receiver {
    limited(on, custom, 20).await
}

async fn limited(on: &StoreFixture, custom: Custom, max_repeats: u32) -> Receiver {
    let bodies = Bodies::sealed(ring(&[0]));
    let inbox = Inbox::open(on.inbox.clone(), on.store.clone(), StoreId::new(), bodies).await.unwrap();
    Receiver::builder(ENDPOINT, custom).inbox(inbox).lease(LONG).max_repeats(max_repeats).build().unwrap()
}

/// Receives a request with these headers, and returns its delivery and the result of storing it.
async fn arrived(receiver: &Receiver, headers: &[(&'static str, &str)], body: &str) -> (Delivery, Reason) {
    let mut all = HeaderMap::new();
    all.insert("x-key", SECRET.parse().unwrap());
    for (name, value) in headers {
        all.append(*name, value.parse().unwrap());
    }
    let body = futures_util::stream::iter([Ok::<_, ()>(Bytes::from(body.to_owned()))]);
    let received = receiver.receive(&crate::RequestHead::new("POST", "/", &all), body).await.unwrap();
    let crate::Received::Delivery(delivery) = received else { panic!("no handshake") };
    let stored = receiver.admit(delivery.clone()).unwrap().run(async { 200 }, |_| true).await;
    (delivery, stored.unwrap_err().reason())
}

/// Leases the next event twice, and asserts that both attempts are as the delivery that arrived.
async fn attempts_are_as(on: &StoreFixture, receiver: &Receiver, arrived: &Delivery, number: u8) {
    for attempt in 1..=2 {
        let holder = token(number * 10 + attempt);
        let leased = *on.lease(holder, LONG, false).await.leased.expect("an event is due");
        assert_eq!(leased.kind, arrived.kind_label());
        let (opened, _) = receiver.open_stored(&leased).unwrap();
        assert_eq!((opened.kind(), opened.kind_label()), (arrived.kind(), arrived.kind_label()));
        assert_eq!((opened.id(), opened.unsigned_id()), (arrived.id(), arrived.unsigned_id()));
        assert_eq!((opened.event_key(), opened.id_from()), (arrived.event_key(), arrived.id_from()));
        assert_eq!(opened.occurred_at().map(|time| time.unix()), arrived.occurred_at().map(|time| time.unix()));
        let ending = if attempt == 1 { retry(Duration::ZERO) } else { Ending::Done };
        assert_eq!(on.finish(leased.body.id, holder, ending).await, Settled::Settled);
    }
}

pub(crate) async fn attempts_have_the_id_and_the_kind_of_unsigned_headers(on: &StoreFixture) {
    let receiver = receiver(on, custom().unsigned_id_header("x-trace-id").unsigned_kind_header("x-event")).await;
    let both = [("x-trace-id", "t-1"), ("x-event", "ready")];
    let (first, reason) = arrived(&receiver, &both, "{}").await;
    assert_eq!((first.unsigned_id(), first.kind(), reason), (Some("t-1"), Some("ready"), Reason::Stored));
    attempts_are_as(on, &receiver, &first, 1).await;
    assert_eq!(arrived(&receiver, &both, "{}").await.1, Reason::Duplicate);

    // Neither is used: the one occurs twice, and the other is too long.
    let long = "k".repeat(257);
    let unusable = [("x-trace-id", "t-1"), ("x-trace-id", "t-1"), ("x-event", &*long)];
    let (without, reason) = arrived(&receiver, &unusable, "{}").await;
    assert_eq!((without.unsigned_id(), without.kind(), reason), (None, None, Reason::Stored));
    assert_eq!(without.id_from(), IdFrom::Nothing);
    attempts_are_as(on, &receiver, &without, 2).await;
}

pub(crate) async fn a_forged_id_does_not_suppress_a_genuine_event(on: &StoreFixture) {
    let receiver = receiver(on, custom().unsigned_id_header("x-trace-id")).await;
    let outcome = async |id, body| arrived(&receiver, &[("x-trace-id", id)], body).await.1;
    assert_eq!(outcome("t-1", "{}").await, Reason::Stored);
    assert_eq!(outcome("t-2", "{}").await, Reason::Stored, "a replay with the id of a later event");
    assert_eq!(outcome("t-2", "{\"n\":2}").await, Reason::Stored, "the later event");
    assert_eq!(outcome("t-2", "{\"n\":2}").await, Reason::Duplicate, "its retry");
}

pub(crate) async fn forged_ids_are_stored_up_to_the_limit_and_retries_do_not_count(on: &StoreFixture) {
    let receiver = limited(on, custom().unsigned_id_header("x-trace-id"), 2).await;
    let reason = async |id: u32, body| arrived(&receiver, &[("x-trace-id", &*format!("t-{id}"))], body).await.1;
    for id in 0..20 {
        let expected = if id < 3 { Reason::Stored } else { Reason::RepeatLimit };
        assert_eq!(reason(id, "{}").await, expected, "{id}");
    }
    for _ in 0..10 {
        for id in 0..3 {
            assert_eq!(reason(id, "{}").await, Reason::Duplicate, "{id}");
        }
    }
    assert_eq!(reason(19, "{\"n\":2}").await, Reason::Stored, "another event with the id of a rejected delivery");
    for earlier in 0..3 {
        let leased = *on.lease(token(earlier + 1), LONG, false).await.leased.expect("an event is due");
        let (opened, _) = receiver.open_stored(&leased).unwrap();
        let count = opened.possible_duplicate().map_or(0, |duplicate| duplicate.count);
        assert_eq!((opened.unsigned_id(), count), (Some(&*format!("t-{earlier}")), u64::from(earlier)));
        assert_eq!(on.finish(leased.body.id, token(earlier + 1), Ending::Done).await, Settled::Settled);
        assert_eq!(reason(earlier.into(), "{}").await, Reason::Duplicate, "it was handled");
    }
    assert_eq!(reason(20, "{}").await, Reason::RepeatLimit);
}

pub(crate) async fn deliveries_of_one_id_at_once_count_once(on: &StoreFixture) {
    let receiver = limited(on, custom().unsigned_id_header("x-trace-id"), 1).await;
    let all = (0..8).map(|_| arrived(&receiver, &[("x-trace-id", "t-1")], "{}"));
    let reasons: Vec<_> = futures_util::future::join_all(all).await.into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons.iter().filter(|reason| **reason == Reason::Stored).count(), 1, "{reasons:?}");
    assert!(!reasons.contains(&Reason::RepeatLimit), "{reasons:?}");
    let reason = async |id| arrived(&receiver, &[("x-trace-id", id)], "{}").await.1;
    assert_eq!(reason("t-2").await, Reason::Stored);
    assert_eq!(reason("t-3").await, Reason::RepeatLimit);
    assert_eq!(on.all().await.len(), 2);
}

pub(crate) async fn attempts_have_the_attributes_of_binary_cloud_events(on: &StoreFixture) {
    let receiver = receiver(on, custom().cloud_events(CloudEvents::BinaryUnsigned)).await;
    let headers = [
        ("ce-id", "1"),
        ("ce-source", "\"/my context\""),
        ("ce-type", "late"),
        ("ce-time", "2026-11-28T07:00:00Z"),
        ("ce-subject", "canary"),
    ];
    let (first, reason) = arrived(&receiver, &headers, "{}").await;
    assert_eq!((first.unsigned_id(), first.kind()), (Some(r#"["/my context","1"]"#), Some("late")));
    assert_eq!((first.occurred_at().unwrap().unix(), reason), (Some(1_795_849_200), Reason::Stored));
    attempts_are_as(on, &receiver, &first, 1).await;
}

/// The stored form of other providers' events does not change, and headers that no option reads are not stored.
pub(crate) async fn no_header_is_stored_without_an_option(on: &StoreFixture) {
    let receiver = receiver(on, custom().id_pointer("/id")).await;
    let (first, reason) = arrived(&receiver, &[("ce-id", "1"), ("x-event", "ready")], r#"{"id":"1"}"#).await;
    assert_eq!((first.id_from(), reason), (IdFrom::Body, Reason::Stored));
    let leased = *on.lease(token(9), LONG, false).await.leased.expect("an event is due");
    let (opened, head) = receiver.open_stored(&leased).unwrap();
    assert!(head.unsigned.is_none());
    assert!(!serde_json::to_string(&head).unwrap().contains("unsigned"));
    assert_eq!(opened.kind(), None);
}
