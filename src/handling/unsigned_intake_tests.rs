//! Receivers with an inbox, whose events only an unsigned id identifies, on a double of the inbox's store that fails.
//! The tests of the inbox's contract cover the rest.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::*;
use crate::inbox::memory::{self, MemoryInbox};
use crate::inbox::sealing::Bodies;
use crate::{Bytes, Custom, Inbox, OnStoreError, Receiver, RequestHead, Secret, SharedSecret};

const LEASE: Duration = Duration::from_secs(30);
const SECRET: &str = "0123456789abcdef";

async fn receiver(policy: OnStoreError, retention: Duration) -> (Receiver, Arc<MemoryInbox>) {
    let (inbox, double): (Inbox, _) = memory::inbox(Bodies::plaintext()).await;
    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new(SECRET).unwrap());
    let builder = Receiver::builder("acme", custom.unsigned_id_header("x-trace-id")).inbox(inbox).lease(LEASE);
    (builder.max_repeats(0).on_store_error(policy).retention(retention).build().unwrap(), double)
}

async fn deliver(receiver: &Receiver, id: &str) -> Result<u16, Reason> {
    let mut headers = http::HeaderMap::new();
    headers.insert("x-key", SECRET.parse().unwrap());
    headers.insert("x-trace-id", id.parse().unwrap());
    let body = futures_util::stream::iter([Ok::<_, ()>(Bytes::from_static(b"{}"))]);
    let received = receiver.receive(&RequestHead::new("POST", "/", &headers), body).await.unwrap();
    let crate::Received::Delivery(delivery) = received else { panic!("no handshake") };
    let ran = receiver.admit(delivery).unwrap().run(async { 200 }, |status| *status == 200).await;
    ran.map_err(|rejection| rejection.reason())
}

const DAYS: Duration = Duration::from_secs(7 * 24 * 3600);

#[tokio::test(start_paused = true)]
async fn an_event_that_is_not_stored_gives_its_place_and_its_claim_back() {
    for operation in ["claim", "record_delivery", "store_event"] {
        let (receiver, double) = receiver(OnStoreError::Reject, DAYS).await;
        for _ in 0..5 {
            double.fail(operation, 1);
            assert_eq!(deliver(&receiver, "t-1").await, Err(Reason::StoreUnavailable), "{operation}");
            sleep(Duration::from_secs(1)).await;
            assert!(double.marks().is_empty(), "{operation}");
        }
        assert_eq!(deliver(&receiver, "t-1").await, Err(Reason::Stored), "{operation}");
        assert_eq!(deliver(&receiver, "t-1").await, Err(Reason::Duplicate), "{operation}");
        assert_eq!(deliver(&receiver, "t-2").await, Err(Reason::RepeatLimit), "{operation}");
        assert_eq!((double.rows().len(), double.marks().len()), (1, 1), "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_storing_was_not_answered_is_a_duplicate() {
    let (receiver, double) = receiver(OnStoreError::Reject, DAYS).await;
    double.lose_answers("store_event", 1);
    assert_eq!(deliver(&receiver, "t-1").await, Err(Reason::StoreUnavailable));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(deliver(&receiver, "t-1").await, Err(Reason::Duplicate));
    assert_eq!(double.rows().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn with_handle_unclaimed_the_handler_runs_if_the_event_is_not_stored() {
    for operation in ["claim", "record_delivery", "store_event"] {
        let (receiver, double) = receiver(OnStoreError::HandleUnclaimed, DAYS).await;
        double.fail(operation, 1);
        assert_eq!(deliver(&receiver, "t-1").await, Ok(200), "{operation}");
        sleep(Duration::from_secs(1)).await;
        assert_eq!(deliver(&receiver, "t-1").await, Err(Reason::Duplicate), "{operation}");
        let next = if operation == "store_event" { Reason::RepeatLimit } else { Reason::Stored };
        assert_eq!(deliver(&receiver, "t-2").await, Err(next), "{operation}: whether the first one was recorded");
    }
}

/// Its record as handled has expired, so it can be claimed.
#[tokio::test(start_paused = true)]
async fn a_retry_of_an_event_that_is_unfinished_after_its_retention_gives_its_place_back() {
    let retention = Duration::from_secs(3 * 24 * 3600);
    let (receiver, double) = receiver(OnStoreError::Reject, retention).await;
    assert_eq!(deliver(&receiver, "t-1").await, Err(Reason::Stored));
    sleep(retention + Duration::from_secs(1)).await;
    for _ in 0..5 {
        assert_eq!(deliver(&receiver, "t-1").await, Err(Reason::Duplicate));
    }
    assert_eq!((double.rows().len(), double.calls("record_failure")), (1, 5));
    assert_eq!(deliver(&receiver, "t-2").await, Err(Reason::Stored));
}
