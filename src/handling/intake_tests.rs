//! Receivers with an inbox, on a double of its store. Time is paused, as in the other tests of this folder.

use std::future::{Future, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::Poll;
use std::time::Duration;

use futures_util::stream;
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, advance};

use super::{Handling, Permits};
use crate::claim_token::ClaimToken;
use crate::dedupe::inbox::store::{InboxStore, LeaseId, LeaseRequest, Leased};
use crate::dedupe::{Claimed, DedupeStore};
use crate::in_pool::LONGEST_INLINE;
use crate::inbox::memory::{self, BEGIN, MemoryInbox};
use crate::inbox::sealing::{Bodies, Unsealable};
use crate::{
    Bytes, Custom, Dedupe, Delivery, IdFrom, Inbox, MemoryStore, OnStoreError, Outcome, Reason, Received, Receiver,
    Rejection, RequestHead, Secret, Secrets, SharedSecret, SignatureScope, StandardWebhooks,
};

const LEASE: Duration = Duration::from_secs(30);
const SECRET: &str = "0123456789abcdef";

async fn inbox() -> (Inbox, Arc<MemoryInbox>) {
    memory::inbox(Bodies::plaintext()).await
}

fn custom(secrets: impl Into<Secrets>) -> Custom {
    Custom::new("acme", SharedSecret::new("x-key"), secrets).id_pointer("/id")
}

fn builder(inbox: &Inbox) -> crate::Builder {
    Receiver::builder("acme", custom(Secret::new(SECRET).unwrap())).inbox(inbox.clone()).lease(LEASE)
}

fn receiver(inbox: &Inbox) -> Receiver {
    builder(inbox).build().unwrap()
}

async fn received(receiver: &Receiver, target: &str, headers: &HeaderMap, body: &str) -> Delivery {
    let body = stream::once(ready(Ok::<_, ()>(Bytes::from(body.to_owned()))));
    match receiver.receive(&RequestHead::new("POST", target, headers), body).await.unwrap() {
        Received::Delivery(delivery) => delivery,
        Received::Reply(_) => panic!("no handshake"),
    }
}

fn headers(content_type: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("x-key", SECRET.parse().unwrap());
    headers.insert("content-type", content_type.parse().unwrap());
    headers
}

/// Delivers a body to a handler that answers with 200 and must not run unless it is expected to.
async fn deliver(receiver: &Receiver, body: &str) -> Result<u16, Rejection> {
    let delivery = received(receiver, "/webhooks/acme?token=1", &headers("application/json"), body).await;
    receiver.admit(delivery)?.run(async { 200 }, |status| *status == 200).await
}

async fn reason(receiver: &Receiver, body: &str) -> Result<u16, Reason> {
    deliver(receiver, body).await.map_err(|rejection| rejection.reason())
}

fn event(id: u32) -> String {
    format!(r#"{{"id":"{id}"}}"#)
}

async fn lease(double: &MemoryInbox) -> Leased {
    let token = ClaimToken::from_bytes([9; 16]);
    let request = LeaseRequest { endpoint: "acme".to_owned(), token, lease: LEASE, alone: false };
    *double.lease(request).await.unwrap().leased.expect("an event is due")
}

#[tokio::test(start_paused = true)]
async fn an_event_is_stored_and_marked_instead_of_handled() {
    let (inbox, double) = inbox().await;
    let receiver = receiver(&inbox);
    let delivery = received(&receiver, "/", &headers("text/plain"), &event(1)).await;
    let calls = AtomicUsize::new(0);
    let handler = async { calls.fetch_add(1, Ordering::SeqCst) };
    let rejection = receiver.admit(delivery.clone()).unwrap().run(handler, |_| true).await.unwrap_err();
    assert_eq!((rejection.reason(), rejection.reason().outcome()), (Reason::Stored, Outcome::Stored));
    assert_eq!((rejection.status(), rejection.header()), (StatusCode::OK, None));
    assert_eq!((rejection.to_string(), calls.into_inner()), ("delivery stored".to_owned(), 0));
    let rows = double.rows();
    let row = rows.values().next().unwrap();
    assert_eq!((rows.len(), double.bodies().len()), (1, 1));
    assert_eq!(
        (row.event.event_key, &*row.event.endpoint, &*row.event.provider),
        (delivery.event_key(), "acme", "acme")
    );
    assert_eq!((&*row.event.kind, row.event.size), ("unknown", event(1).len() as u64));
    assert!(double.marks().contains_key(&delivery.event_key()));
}

#[tokio::test(start_paused = true)]
async fn a_stored_event_is_opened_as_the_delivery_that_arrived() {
    let (inbox, double) = inbox().await;
    let receiver = receiver(&inbox);
    let headers = headers("application/json; charset=utf-8");
    let arrived = received(&receiver, "/webhooks/acme?token=1", &headers, &event(1)).await;
    let stored = receiver.admit(arrived.clone()).unwrap().run(async { 200 }, |_| true).await;
    assert_eq!(stored.unwrap_err().reason(), Reason::Stored);

    let leased = lease(&double).await;
    let (delivery, head) = receiver.open_stored(&leased).unwrap();
    assert_eq!(
        (&*head.path, head.content_type.as_deref()),
        ("/webhooks/acme", Some("application/json; charset=utf-8"))
    );
    assert_eq!((delivery.body(), delivery.id(), delivery.kind()), (arrived.body(), arrived.id(), arrived.kind()));
    assert_eq!((delivery.event_key(), delivery.id_from()), (arrived.event_key(), IdFrom::Body));
    assert_eq!(
        (delivery.secret_label(), delivery.signature_scope()),
        (arrived.secret_label(), SignatureScope::SenderOnly)
    );
    assert_eq!((delivery.claim_token(), delivery.store_id()), (Some(leased.token), Some(double.id)));
    assert_eq!(
        (delivery.retention(), delivery.possible_duplicate()),
        (receiver.admit(arrived.clone()).unwrap().delivery().retention(), None)
    );
    assert_eq!((delivery.attempt(), delivery.is_replay(), delivery.inbox_row()), (1, false, Some(leased.body.id)));
    assert_eq!(delivery.stored_at().unwrap().unix(), Some(BEGIN / 1_000));
    assert_eq!((arrived.attempt(), arrived.is_replay(), arrived.stored_at()), (1, false, None));
    assert_eq!(arrived.inbox_row(), None);
    let second = Leased { attempts: 2, replays: 1, ..leased };
    let (delivery, _) = receiver.open_stored(&second).unwrap();
    assert_eq!((delivery.attempt(), delivery.is_replay()), (2, true));
}

/// A stored event can be older than the freshness allows, and its secret may have been removed.
#[tokio::test(start_paused = true)]
async fn neither_the_age_nor_the_secret_of_a_stored_event_is_checked_again() {
    let (inbox, double) = inbox().await;
    let label = |secret: &str, label| Secrets::from(Secret::new(secret).unwrap().labeled(label).unwrap());
    let custom = |secrets| Custom::new("acme", StandardWebhooks::new(), secrets).id_pointer("/none");
    let (old, new) = ("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB");
    let now = 1_767_225_600;
    let receiver = |secrets, at| {
        let builder = Receiver::builder("acme", custom(secrets)).inbox(inbox.clone());
        builder.clock(crate::testing::StoppedClock::at(at)).build().unwrap()
    };
    let signer = crate::sign::Signer::new(StandardWebhooks::new(), &Secret::new(old).unwrap()).unwrap();
    let headers = signer.sign("msg_1", now, b"{}").unwrap();
    let first = receiver(label(old, "2025"), now);
    let delivery = received(&first, "/", &headers, "{}").await;
    let stored = first.admit(delivery.clone()).unwrap().run(async { 200 }, |_| true).await;
    assert_eq!(stored.unwrap_err().reason(), Reason::Stored);

    let later = receiver(label(new, "2026"), now + 72 * 3600);
    let (opened, _) = later.open_stored(&lease(&double).await).unwrap();
    assert_eq!((opened.secret_label(), opened.id()), ("2025", Some("msg_1")));
    assert_eq!(opened.sent_at().unwrap().unix(), Some(now));
    assert_eq!((opened.event_key(), opened.id_from()), (delivery.event_key(), IdFrom::Header));
    assert_eq!(opened.signature_scope(), SignatureScope::BodyAndTime);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_opened_is_reported_as_damaged_or_of_a_later_version() {
    let (inbox, double) = inbox().await;
    let receiver = receiver(&inbox);
    assert_eq!(reason(&receiver, &event(1)).await, Err(Reason::Stored));
    let leased = lease(&double).await;
    let with = |sealed: Option<&[u8]>| {
        let body = crate::dedupe::inbox::store::SealedBody {
            sealed: sealed.map(Bytes::copy_from_slice),
            ..leased.body.clone()
        };
        let leased = Leased { body, kind: leased.kind.clone(), provider: leased.provider.clone(), ..leased };
        receiver.open_stored(&leased).err()
    };
    assert_eq!(with(leased.body.sealed.as_deref()), None);
    assert_eq!(with(None), Some(Unsealable::Damaged), "its body was deleted");
    let mut later = leased.body.sealed.clone().unwrap().to_vec();
    let version = later.windows(2).position(|bytes| bytes == [1, 0]).unwrap();
    later[version] = 2;
    assert_eq!(with(Some(&later)), Some(Unsealable::Unsupported));
    let other = Leased { provider: "other".to_owned(), ..leased };
    assert_eq!(receiver.open_stored(&other).err(), Some(Unsealable::OtherProvider));
}

#[tokio::test(start_paused = true)]
async fn targets_and_content_types_that_are_not_plain_are_not_stored() {
    let (inbox, _double) = inbox().await;
    let receiver = receiver(&inbox);
    let long = format!("/{}", "a".repeat(2_047));
    let too_long = format!("{long}a");
    for (target, path) in [
        ("/a/b?c=/d", "/a/b"),
        ("/a#b", "/a"),
        ("", "/"),
        ("*", "/"),
        ("a/b", "/"),
        ("?/a", "/"),
        ("https://example.org/a?b", "/a"),
        ("https://example.org", "/"),
        ("https://example.org?/a", "/"),
        ("/a?b=https://example.org/c", "/a"),
        ("/a/https://example.org/c", "/a/https://example.org/c"),
        ("/a b", "/"),
        ("/\u{e4}", "/"),
        ("/a\r\nx: y", "/"),
        (&long, &*long),
        (&too_long, "/"),
    ] {
        let delivery = received(&receiver, target, &headers("text/plain"), &event(1)).await;
        assert_eq!(delivery.request_part().unwrap().path, path, "{target}");
    }
    let longest = "a".repeat(256);
    for (content_type, stored) in [
        ("application/json; charset=utf-8", true),
        (&longest, true),
        (&format!("{longest}a"), false),
        ("", false),
        ("a\tb", false),
    ] {
        let delivery = received(&receiver, "/", &headers(content_type), &event(1)).await;
        let expected = stored.then_some(content_type);
        assert_eq!(delivery.request_part().unwrap().content_type.as_deref(), expected, "{content_type}");
    }
    let mut repeated = headers("text/plain");
    repeated.append("content-type", "text/html".parse().unwrap());
    let delivery = received(&receiver, "/", &repeated, &event(1)).await;
    assert_eq!(delivery.request_part().unwrap().content_type, None);
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_a_stored_event_is_a_duplicate() {
    let (inbox, double) = inbox().await;
    let receiver = receiver(&inbox);
    assert_eq!(reason(&receiver, &event(1)).await, Err(Reason::Stored));
    assert_eq!(reason(&receiver, &event(1)).await, Err(Reason::Duplicate));
    assert_eq!(reason(&receiver, &event(2)).await, Err(Reason::Stored));
    assert_eq!(double.rows().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_an_instance_without_an_inbox_handles_is_in_flight() {
    let (inbox, double) = inbox().await;
    let receiver = receiver(&inbox);
    let key = received(&receiver, "/", &headers("text/plain"), &event(1)).await.event_key();
    let claimed = double.claim(key, ClaimToken::from_bytes([1; 16]), LEASE).await.unwrap();
    assert_eq!(claimed, Claimed::Acquired);
    let rejection = deliver(&receiver, &event(1)).await.unwrap_err();
    assert_eq!((rejection.reason(), rejection.status()), (Reason::InFlight, StatusCode::SERVICE_UNAVAILABLE));
    assert!(double.rows().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_not_stored_is_never_acknowledged() {
    let (inbox, double) = inbox().await;
    let receiver = receiver(&inbox);
    double.fail("store_event", 1);
    assert_eq!(reason(&receiver, &event(1)).await, Err(Reason::StoreUnavailable));
    assert!(double.rows().is_empty());

    double.lose_answers("store_event", 1);
    assert_eq!(reason(&receiver, &event(1)).await, Err(Reason::StoreUnavailable));
    assert_eq!(reason(&receiver, &event(1)).await, Err(Reason::Duplicate), "it was stored");
    assert_eq!(double.rows().len(), 1);

    double.hang("store_event");
    let began = Instant::now();
    assert_eq!(reason(&receiver, &event(2)).await, Err(Reason::StoreUnavailable));
    assert_eq!(began.elapsed(), Duration::from_secs(5), "store_timeout");
}

#[tokio::test(start_paused = true)]
async fn with_handle_unclaimed_the_handler_runs_if_the_event_is_not_stored() {
    let (inbox, double) = inbox().await;
    let receiver = builder(&inbox).on_store_error(OnStoreError::HandleUnclaimed).build().unwrap();
    assert_eq!(reason(&receiver, &event(1)).await, Err(Reason::Stored));
    double.fail("store_event", 1);
    assert_eq!(reason(&receiver, &event(2)).await, Ok(200));
    double.fail("record_delivery", 1);
    assert_eq!(reason(&receiver, "{}").await, Ok(200), "of a kind that can recur");
    double.fail("store_event", 1);
    assert_eq!(reason(&receiver, "{}").await, Ok(200), "of a kind that can recur");
    assert_eq!(double.rows().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn equal_bodies_that_can_recur_are_two_events() {
    let (inbox, double) = inbox().await;
    let receiver = receiver(&inbox);
    assert_eq!(reason(&receiver, "{}").await, Err(Reason::Stored));
    advance(Duration::from_secs(60)).await;
    assert_eq!(reason(&receiver, "{}").await, Err(Reason::Stored));
    assert_eq!(double.rows().len(), 2);
    let (first, _) = receiver.open_stored(&lease(&double).await).unwrap();
    assert_eq!((first.possible_duplicate(), first.id_from()), (None, IdFrom::Nothing));
    double
        .finish(
            LeaseId::first(first.inbox_row().unwrap(), first.claim_token().unwrap()),
            crate::dedupe::inbox::rules::Ending::Done,
            false,
        )
        .await
        .unwrap();
    let (second, _) = receiver.open_stored(&lease(&double).await).unwrap();
    assert_eq!(second.possible_duplicate().unwrap().count, 1);
    assert_ne!(second.event_key(), first.event_key());
    assert!(first.recurring_body().is_some());
    assert_eq!(second.recurring_body(), first.recurring_body());
}

#[tokio::test(start_paused = true)]
async fn bodies_that_can_recur_are_stored_up_to_the_limit_of_repeats() {
    let (inbox, double) = inbox().await;
    let receiver = builder(&inbox).max_repeats(1).build().unwrap();
    for _ in 0..10 {
        double.fail("store_event", 1);
        assert_eq!(reason(&receiver, "{}").await, Err(Reason::StoreUnavailable), "does not use up the limit");
    }
    double.fail("record_delivery", 1);
    assert_eq!(reason(&receiver, "{}").await, Err(Reason::StoreUnavailable));
    assert_eq!(reason(&receiver, "{}").await, Err(Reason::Stored));
    assert_eq!(reason(&receiver, "{}").await, Err(Reason::Stored));
    assert_eq!(reason(&receiver, "{}").await, Err(Reason::RepeatLimit));
    assert_eq!(double.rows().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_deduplication_each_delivery_is_an_event() {
    let (inbox, double) = inbox().await;
    let receiver = builder(&inbox).dedupe(Dedupe::off()).build().unwrap();
    assert_eq!(reason(&receiver, &event(1)).await, Err(Reason::Stored));
    assert_eq!(reason(&receiver, &event(1)).await, Err(Reason::Stored));
    assert_eq!(double.rows().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn events_beyond_max_inbox_bytes_are_rejected_until_there_is_room() {
    let (inbox, double) = inbox().await;
    // A small body takes more than its bytes.
    let size = event(1).len() as u64 + 4096;
    let receiver = builder(&inbox).max_inbox_bytes(3 * size - 1).build().unwrap();
    for (id, expected) in [(1, Reason::Stored), (1, Reason::Duplicate), (2, Reason::Stored), (3, Reason::StoreFull)] {
        assert_eq!(reason(&receiver, &event(id)).await, Err(expected), "{id}");
    }
    let rejection = deliver(&receiver, &event(3)).await.unwrap_err();
    assert_eq!(rejection.status(), StatusCode::SERVICE_UNAVAILABLE);
    let source = std::error::Error::source(&rejection).unwrap().to_string();
    assert!(source.contains(&format!("the {} bytes that max_inbox_bytes allows", 3 * size - 1)), "{source}");

    // By the store's count, too.
    advance(Duration::from_secs(15)).await;
    assert_eq!(reason(&receiver, &event(3)).await, Err(Reason::StoreFull));

    let leased = lease(&double).await;
    double.finish(leased.lease_id(), crate::dedupe::inbox::rules::Ending::Done, false).await.unwrap();
    advance(Duration::from_secs(1)).await;
    assert_eq!(reason(&receiver, &event(3)).await, Err(Reason::Stored));
}

/// A count of all endpoints by each of many would take time that grows with the square of their number.
#[tokio::test(start_paused = true)]
async fn the_limit_of_an_endpoint_counts_its_unfinished_events_only() {
    let (inbox, double) = inbox().await;
    let receiver = receiver(&inbox);
    assert_eq!(reason(&receiver, &event(1)).await, Err(Reason::Stored));
    assert_eq!((double.calls("unfinished_of"), double.calls("counts_of"), double.calls("counts")), (1, 0, 0));
}

/// Dead events are kept until an operator decides about them.
#[tokio::test(start_paused = true)]
async fn dead_events_do_not_fill_an_endpoint() {
    let (inbox, double) = inbox().await;
    let one = event(1).len() as u64 + super::intake::BESIDE_BODY;
    let receiver = builder(&inbox).max_inbox_bytes(one).build().unwrap();
    assert_eq!(reason(&receiver, &event(1)).await, Err(Reason::Stored));
    assert_eq!(reason(&receiver, &event(2)).await, Err(Reason::StoreFull));
    let leased = lease(&double).await;
    let dead = crate::dedupe::inbox::rules::Ending::Dead { reason: "given_up".to_owned() };
    double.finish(leased.lease_id(), dead, false).await.unwrap();
    advance(Duration::from_secs(1)).await;
    assert_eq!(reason(&receiver, &event(2)).await, Err(Reason::Stored));
}

#[tokio::test(start_paused = true)]
async fn a_count_that_hangs_is_part_of_the_store_timeout() {
    let (inbox, double) = inbox().await;
    let receiver = receiver(&inbox);
    double.hang("unfinished_of");
    let began = Instant::now();
    assert_eq!(reason(&receiver, &event(1)).await, Err(Reason::StoreUnavailable));
    assert_eq!(began.elapsed(), Duration::from_secs(5), "store_timeout");
}

#[tokio::test(start_paused = true)]
async fn ack_status_is_the_status_of_stored_deliveries_only() {
    let (inbox, _double) = inbox().await;
    let receiver = builder(&inbox).ack_status(StatusCode::ACCEPTED).build().unwrap();
    assert_eq!(deliver(&receiver, &event(1)).await.unwrap_err().status(), StatusCode::ACCEPTED);
    assert_eq!(deliver(&receiver, &event(1)).await.unwrap_err().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_stored_event_wakes_a_worker() {
    let (inbox, _double) = inbox().await;
    let receiver = receiver(&inbox);
    let mut woken = std::pin::pin!(inbox.stored.notified());
    woken.as_mut().enable();
    assert_eq!(reason(&receiver, &event(1)).await, Err(Reason::Stored));
    tokio::time::timeout(Duration::ZERO, woken).await.expect("woken");
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_events_that_are_being_stored_and_cancels_none() {
    let (inbox, double) = inbox().await;
    let receiver = receiver(&inbox);
    double.hang("store_event");
    let storing = {
        let receiver = receiver.clone();
        tokio::spawn(async move { reason(&receiver, &event(1)).await })
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    let release = {
        let double = double.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            MemoryInbox::release(&double);
        })
    };
    assert_eq!(receiver.drain(Duration::from_secs(1)).await, 0);
    release.await.unwrap();
    assert_eq!(storing.await.unwrap(), Err(Reason::Stored));
    assert_eq!(double.rows().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_attempts_and_cancels_them_at_the_deadline() {
    let (inbox, _double) = inbox().await;
    let receiver = receiver(&inbox);
    let (first, second) = (receiver.attempts(2).unwrap(), receiver.attempts(1).unwrap());
    let (short, long) = (first.acquire().unwrap(), second.acquire().unwrap());
    assert_eq!(second.acquire().err(), Some(Reason::TooBusy));
    let began = Instant::now();
    let short = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(short);
    });
    let long = tokio::spawn(async move { long.canceled().await });
    let draining = async {
        first.draining().await;
        assert_eq!(first.acquire().err(), Some(Reason::Draining));
    };
    let (canceled, ()) = tokio::join!(receiver.drain(Duration::from_secs(10)), draining);
    assert_eq!((canceled, began.elapsed()), (1, Duration::from_secs(10)));
    short.await.unwrap();
    long.await.unwrap();
    let late = receiver.attempts(1).unwrap();
    late.draining().await;
    assert_eq!(late.acquire().err(), Some(Reason::Draining));
}

#[tokio::test(start_paused = true)]
async fn the_permits_of_a_worker_that_is_gone_are_forgotten() {
    let (inbox, _double) = inbox().await;
    let settings = receiver(&inbox).settings().clone();
    let permits = Arc::new(Permits::new(1).unwrap());
    let handling = Handling { settings, permits, attempts: Mutex::default() };
    let running = handling.attempts(1).unwrap();
    for _ in 0..3 {
        drop(handling.attempts(1).unwrap());
    }
    let last = handling.attempts(1).unwrap();
    let known: Vec<_> = handling.attempts.lock().unwrap().iter().map(Weak::as_ptr).collect();
    assert_eq!(known, [&running, &last].map(Arc::as_ptr));
}

/// Polls a future many times, without waiting for the pool of threads.
async fn polled<F: Future>(mut work: Pin<&mut F>) -> Option<F::Output> {
    for _ in 0..100 {
        if let Poll::Ready(output) = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[test]
fn long_bodies_are_sealed_outside_of_the_task_and_others_in_it() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (inbox, double) = inbox().await;
        let receiver = receiver(&inbox);
        // The only thread of the pool waits.
        let (free, waits) = std::sync::mpsc::channel::<()>();
        let waiting = tokio::task::spawn_blocking(move || waits.recv());
        let stored = |id, padding| {
            let body = Bytes::from(format!("{}{}", event(id), " ".repeat(padding)));
            let delivery = receiver.open(receiver.verify(&headers("text/plain"), body).unwrap()).unwrap();
            let work = receiver.admit(delivery).unwrap().run(async { 200 }, |status| *status == 200);
            async { work.await.map_err(|rejection| rejection.reason()) }
        };
        let longest = LONGEST_INLINE - event(1).len();
        assert_eq!(polled(pin!(stored(1, longest))).await, Some(Err(Reason::Stored)));
        let mut long = pin!(stored(2, longest + 1));
        assert_eq!(polled(long.as_mut()).await, None);
        free.send(()).unwrap();
        assert_eq!(long.await, Err(Reason::Stored));
        assert_eq!((waiting.await.unwrap(), double.rows().len()), (Ok(()), 2));
    });
}

#[tokio::test]
async fn options_of_an_inbox_that_do_not_fit_are_errors() {
    let (inbox, _double) = inbox().await;
    let other = || Receiver::builder("acme", custom(Secret::new(SECRET).unwrap())).store(MemoryStore::new(1));
    for (builder, problem) in [
        (builder(&inbox).store(MemoryStore::new(1)), "`store` and `inbox` are both set"),
        (builder(&inbox).ack_status(StatusCode::FOUND), "ack_status must be a 2xx status, not 302"),
        (builder(&inbox).ack_status(StatusCode::CONTINUE), "ack_status must be a 2xx status, not 100"),
        (builder(&inbox).max_inbox_bytes(0), "max_inbox_bytes must be greater than 0"),
        (other().ack_status(StatusCode::ACCEPTED), "ack_status is set, but `inbox` is not"),
        (other().max_inbox_bytes(1), "max_inbox_bytes is set, but `inbox` is not"),
    ] {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.starts_with(&format!("receiver acme: {problem}")), "{error}");
    }
    assert!(receiver(&inbox).inbox().is_some());
    assert!(other().build().unwrap().inbox().is_none());
    for status in [StatusCode::OK, StatusCode::ACCEPTED, StatusCode::NO_CONTENT] {
        assert!(builder(&inbox).ack_status(status).build().is_ok());
    }
    let most = |builder: crate::Builder| builder.build().unwrap().settings().inbox.as_ref().unwrap().quota.most();
    assert_eq!((most(builder(&inbox)), most(builder(&inbox).max_inbox_bytes(1))), (1 << 30, 1));
}

#[tokio::test]
async fn a_receiver_needs_no_handler_only_if_it_stores_every_event() {
    let (inbox, _double) = inbox().await;
    assert!(receiver(&inbox).needs_no_handler().is_ok());
    let unclaimed = builder(&inbox).on_store_error(OnStoreError::HandleUnclaimed).build().unwrap();
    let error = unclaimed.needs_no_handler().unwrap_err().to_string();
    assert!(error.starts_with("receiver acme: with `HandleUnclaimed`") && error.contains("use `post`"), "{error}");
    let without = Receiver::builder("acme", custom(Secret::new(SECRET).unwrap())).store(MemoryStore::new(1));
    let error = without.build().unwrap().needs_no_handler().unwrap_err().to_string();
    assert!(error.contains("needs a receiver with an inbox"), "{error}");
}

#[tokio::test]
async fn a_provider_that_may_expect_a_result_is_warned_of() {
    let (inbox, _double) = inbox().await;
    let azodha = || crate::Azodha::shared_secret("x-key", Secret::new(SECRET).unwrap());
    let warned = Receiver::builder("in", azodha()).inbox(inbox.clone()).build().unwrap();
    assert!(
        warned.warnings().iter().any(|warning| warning.contains("InferenceToObservations, InferenceToKeyFindings")
            && warning.contains("may expect a result in the answer")),
        "{:?}",
        warned.warnings()
    );
    let without = Receiver::builder("in", azodha()).store(MemoryStore::new(1)).build().unwrap();
    let healthsync = crate::HealthSync::new(Secret::new(SECRET).unwrap());
    let other = Receiver::builder("in", healthsync).inbox(inbox).build().unwrap();
    assert_eq!((without.warnings(), other.warnings()), (&[][..], &[][..]));
}
