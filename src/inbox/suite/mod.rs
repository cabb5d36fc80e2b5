//! The contract of [`InboxStore`] as tests, for each store.
//!
//! A store runs them with `inbox_suite!`, each with a new and empty inbox. They may run at the same time. Time passes
//! by tokio's `sleep`: under paused time at once. No test depends on an operation being fast: what must not expire
//! has a lease or a retention of an hour.

pub(crate) mod endings;
pub(crate) mod keeping;
pub(crate) mod leasing;
#[allow(clippy::print_stdout, reason = "the steps that broke a rule")]
pub(crate) mod modeling;
pub(crate) mod operating;
pub(crate) mod selecting;
pub(crate) mod storing;
pub(crate) mod unsigned;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::memory::MemoryInbox;
use crate::claim_token::ClaimToken;
use crate::dedupe::inbox::rules::{Ending, Status};
use crate::dedupe::inbox::store::{
    AuditRow, EntryRow, InboxStore, LeaseAnswer, LeaseId, LeaseRequest, Leased, NewEvent, RowFilter, SealedBody,
    StoreResult,
};
use crate::dedupe::{DedupeStore, Settled};
use crate::event_key::EventKey;
use crate::retention::Retention;

/// A lease, wait or retention that is to expire.
pub(crate) const SHORT: Duration = Duration::from_millis(50);
/// One that is not.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

pub(crate) const ENDPOINT: &str = "clinic";

/// A new inbox and the store of handled events in the same database.
pub(crate) struct StoreFixture {
    pub(crate) inbox: Arc<dyn InboxStore>,
    pub(crate) store: Arc<dyn DedupeStore>,
    /// Keeps alive, for example, the temporary folder of the inbox.
    pub(crate) _guard: Box<dyn Any + Send + Sync>,
}

/// Declares a test for each rule: `inbox_suite!(tokio::test, sqlite_fixture().await);`
macro_rules! inbox_suite {
    ($test:meta, $fixture:expr) => {
        $crate::inbox::suite::inbox_suite! { @tests $test, $fixture;
            storing::an_event_is_stored_with_its_body_and_its_mark
            storing::a_repeated_call_returns_the_same_id_and_changes_nothing
            storing::a_handled_event_is_a_duplicate
            storing::a_stored_event_is_a_duplicate_and_is_not_changed
            storing::an_unfinished_event_is_a_duplicate_after_its_mark_has_expired
            storing::a_finished_event_is_stored_again_after_its_mark_has_expired
            storing::an_event_that_another_instance_handles_is_in_flight
            storing::an_expired_claim_is_taken_over_and_its_commit_is_lost
            storing::a_claim_that_lasts_longer_than_the_retention_is_taken_over
            storing::equal_bodies_with_keys_of_their_own_are_two_rows
            storing::of_concurrent_calls_for_one_event_one_stores_it
            storing::concurrent_calls_with_one_token_store_one_row
            storing::the_longest_retention_does_not_overflow
            storing::empty_bodies_and_quotes_are_stored_as_they_are
            leasing::the_event_that_is_due_first_is_leased_first
            leasing::an_attempt_counts_when_it_is_leased
            leasing::a_leased_event_is_not_leased_again
            leasing::a_repeated_call_returns_the_same_lease
            leasing::a_repeated_call_returns_the_same_lease_while_paused
            leasing::events_of_other_endpoints_are_not_leased
            leasing::an_event_is_not_leased_before_it_is_due
            leasing::concurrent_workers_lease_different_events
            leasing::an_event_whose_lease_expired_is_leased_only_alone
            leasing::a_worker_that_is_alone_leases_only_suspects
            leasing::a_lease_that_expired_not_alone_does_not_count
            leasing::the_fifth_expired_lease_alone_makes_the_event_dead
            leasing::an_ending_resets_the_count_of_expired_leases
            leasing::of_concurrent_workers_one_leases_a_suspect
            leasing::the_former_holder_cannot_renew_or_finish
            leasing::a_renewed_lease_does_not_expire
            leasing::only_its_holder_renews_a_lease
            leasing::the_longest_lease_does_not_overflow
            endings::a_done_event_has_no_body_and_is_not_leased_again
            endings::the_body_of_a_done_event_is_kept_if_so_chosen
            endings::a_repeated_end_deletes_a_body_that_was_kept
            endings::a_done_event_stays_done
            endings::a_retried_event_waits_and_is_leased_again
            endings::an_attempt_that_does_not_count_is_given_back
            endings::a_repeated_retry_changes_nothing
            endings::a_dead_event_keeps_its_body_and_is_not_leased_again
            endings::another_ending_after_the_first_is_lost
            endings::an_expired_lease_can_still_be_finished
            endings::without_the_token_nothing_ends
            endings::a_repeated_ending_after_the_next_lease_is_lost
            endings::the_longest_wait_does_not_overflow
            operating::a_dead_event_is_replayed_with_new_attempts
            operating::a_done_event_is_replayed_if_it_has_its_body
            operating::a_waiting_event_is_due_at_once_after_a_replay
            operating::a_leased_or_discarded_event_is_not_replayed
            operating::a_replay_conflicts_with_an_unfinished_row_of_the_event
            operating::the_holder_before_a_replay_cannot_finish
            operating::a_lease_and_an_ending_that_arrive_after_a_replay_do_not_end_it
            operating::unfinished_events_without_a_worker_are_discarded_with_their_bodies
            operating::other_events_are_not_discarded
            operating::a_forgotten_event_is_stored_again
            operating::an_unfinished_or_claimed_event_is_not_forgotten
            operating::a_paused_endpoint_leases_nothing_until_it_is_resumed
            operating::a_hold_stops_the_leases_of_all_endpoints
            operating::a_hold_by_time_leases_later_events
            operating::a_body_is_returned_with_what_it_is_bound_to
            operating::every_operation_writes_its_audit_entry
            operating::audit_entries_are_returned_in_pages
            operating::the_last_audit_entries_of_one_event_are_returned
            selecting::each_filter_restricts_the_list
            selecting::a_list_is_paged_by_id
            selecting::the_newest_events_are_listed_first_if_so_chosen
            selecting::an_unusual_filter_selects_nothing
            selecting::events_are_counted_by_endpoint_and_status
            selecting::the_events_of_one_endpoint_are_counted_alone
            selecting::the_bytes_of_ended_events_do_not_count
            selecting::events_are_counted_by_kind_up_to_a_number_of_rows
            selecting::the_oldest_unfinished_event_of_a_kind_is_found
            keeping::bodies_are_deleted_before_rows
            keeping::a_row_is_kept_until_its_mark_expires
            keeping::waiting_and_leased_events_are_never_deleted
            keeping::dead_events_are_kept_unless_so_chosen
            keeping::only_one_endpoint_is_purged
            keeping::a_large_purge_takes_several_calls
            keeping::the_longest_times_keep_everything
            keeping::the_first_record_of_a_key_stays
            keeping::a_key_that_is_in_use_is_not_removed
            keeping::rows_sealed_under_another_key_are_found_in_pages
            keeping::a_row_is_resealed_only_if_it_has_not_changed
            keeping::truncating_the_log_keeps_the_events
            modeling::random_orders_of_steps_are_as_the_reference_says
            unsigned::attempts_have_the_id_and_the_kind_of_unsigned_headers
            unsigned::a_forged_id_does_not_suppress_a_genuine_event
            unsigned::forged_ids_are_stored_up_to_the_limit_and_retries_do_not_count
            unsigned::deliveries_of_one_id_at_once_count_once
            unsigned::attempts_have_the_attributes_of_binary_cloud_events
            unsigned::no_header_is_stored_without_an_option
        }
    };
    (@tests $test:meta, $fixture:expr; $($area:ident :: $rule:ident)*) => { $(
        #[$test]
        async fn $rule() {
            let fixture: $crate::inbox::suite::StoreFixture = $fixture;
            $crate::inbox::suite::$area::$rule(&fixture).await;
        }
    )* };
}
pub(crate) use inbox_suite;

mod memory {
    super::inbox_suite!(tokio::test(start_paused = true), super::in_memory());
}

fn in_memory() -> StoreFixture {
    let double = MemoryInbox::new();
    StoreFixture { inbox: double.clone(), store: double, _guard: Box::new(()) }
}

pub(crate) fn token(number: u8) -> ClaimToken {
    ClaimToken::from_bytes([number; 16])
}

pub(crate) fn key(number: u8) -> EventKey {
    EventKey::from_bytes([number; 32])
}

pub(crate) fn event(number: u8) -> NewEvent {
    NewEvent {
        event_key: key(number),
        row_key: [number ^ 0x80; 32],
        token: token(number),
        retention: Retention::new(LONG, LONG),
        endpoint: ENDPOINT.to_owned(),
        provider: "fasten".to_owned(),
        kind: "patient.updated".to_owned(),
        secret: "current".to_owned(),
        size: 10,
        sealed_key: sealed(1, &[b'k', number]),
        sealed: sealed(1, &[b'b', number]),
    }
}

/// Returns what looks sealed under the key with the id 0, 0, 0, `key`.
pub(crate) fn sealed(key: u8, text: &[u8]) -> Bytes {
    [&[1, 0, 0, 0, key], text].concat().into()
}

pub(crate) fn retry(wait: Duration) -> Ending {
    Ending::Retry { wait, reason: "status_5xx", counted: true }
}

pub(crate) fn dead() -> Ending {
    Ending::Dead { reason: "given_up".to_owned() }
}

pub(crate) fn audit(action: &str, subject: impl ToString) -> AuditRow {
    AuditRow {
        actor: "ops".to_owned(),
        action: action.to_owned(),
        subject: subject.to_string(),
        reason: "ticket 7".to_owned(),
    }
}

/// Waits until everything `SHORT` has expired.
pub(crate) async fn expire() {
    tokio::time::sleep(SHORT + Duration::from_millis(10)).await;
}

impl StoreFixture {
    /// Stores a new event and returns its id.
    pub(crate) async fn stored(&self, event: NewEvent) -> i64 {
        match self.inbox.store_event(event).await.unwrap() {
            StoreResult::Stored { id } => id,
            other => panic!("not stored: {other:?}"),
        }
    }

    pub(crate) async fn lease(&self, token: ClaimToken, lease: Duration, alone: bool) -> LeaseAnswer {
        let request = LeaseRequest { endpoint: ENDPOINT.to_owned(), token, lease, alone };
        self.inbox.lease(request).await.unwrap()
    }

    /// Leases an event, which must be this one.
    pub(crate) async fn leased(&self, id: i64, token: ClaimToken) -> Leased {
        self.leased_for(id, token, LONG, false).await
    }

    pub(crate) async fn leased_for(&self, id: i64, token: ClaimToken, lease: Duration, alone: bool) -> Leased {
        let answer = self.lease(token, lease, alone).await;
        let leased = *answer.leased.unwrap_or_else(|| panic!("event {id} not leased"));
        assert_eq!(leased.body.id, id);
        assert_eq!(leased.token, token);
        leased
    }

    /// Stores an event, leases it and ends it.
    pub(crate) async fn ended(&self, event: NewEvent, ending: Ending, keep_body: bool) -> i64 {
        let (holder, id) = (token(200), self.stored(event.clone()).await);
        let request = LeaseRequest { endpoint: event.endpoint, token: holder, lease: LONG, alone: false };
        let leased = self.inbox.lease(request).await.unwrap().leased.unwrap();
        assert_eq!(leased.body.id, id);
        assert_eq!(self.finish_with(id, holder, ending, keep_body).await, Settled::Settled);
        id
    }

    pub(crate) async fn finish(&self, id: i64, token: ClaimToken, ending: Ending) -> Settled {
        self.finish_with(id, token, ending, false).await
    }

    pub(crate) async fn finish_with(&self, id: i64, token: ClaimToken, ending: Ending, keep_body: bool) -> Settled {
        let replays = self.find(id).await.map_or(0, |row| row.replays);
        self.finish_of(LeaseId { row: id, token, replays }, ending, keep_body).await
    }

    pub(crate) async fn finish_of(&self, lease: LeaseId, ending: Ending, keep_body: bool) -> Settled {
        self.inbox.finish(lease, ending, keep_body).await.unwrap()
    }

    pub(crate) async fn find(&self, id: i64) -> Option<EntryRow> {
        let filter = RowFilter { id: Some(id), limit: 10, ..RowFilter::default() };
        let mut rows = self.inbox.list(filter).await.unwrap();
        assert!(rows.len() <= 1);
        rows.pop()
    }

    pub(crate) async fn row(&self, id: i64) -> EntryRow {
        self.find(id).await.unwrap_or_else(|| panic!("no row {id}"))
    }

    pub(crate) async fn status(&self, id: i64) -> Status {
        self.row(id).await.status
    }

    pub(crate) async fn body(&self, id: i64) -> Option<SealedBody> {
        self.inbox.body(id, audit("body", id)).await.unwrap()
    }

    pub(crate) async fn list(&self, filter: RowFilter) -> Vec<i64> {
        self.inbox.list(filter).await.unwrap().into_iter().map(|row| row.id).collect()
    }

    pub(crate) async fn all(&self) -> Vec<i64> {
        self.list(RowFilter { limit: 1000, ..RowFilter::default() }).await
    }

    /// Asserts that a worker gets nothing, alone or not.
    pub(crate) async fn nothing_to_lease(&self) {
        for alone in [false, true] {
            let answer = self.lease(token(250), LONG, alone).await;
            assert!(answer.leased.is_none(), "alone: {alone}, leased {:?}", answer.leased);
            assert!(answer.crashed.is_none());
        }
    }
}
