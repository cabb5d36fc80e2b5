//! The operations for operators.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::{Instant, sleep, sleep_until};

use super::entry::{AuditEntry, Counts, Discarded, Entry, Purged, Replayed, to_millis};
use super::handle::Inbox;
use super::operator::{Filter, Operator};
use super::record::StoredRecord;
use super::sealing::{Binding, SealedPart, Unsealable};
use crate::dedupe::Forgotten;
use crate::dedupe::inbox::rules::Status;
use crate::dedupe::inbox::store::{self, CountOf, EntryRow, Keep, KindCounts, LeaseHold, SealedBody};
use crate::error::StoreError;
use crate::event_key::EventKey;

/// # Operations
///
/// These methods are for operators: they list events, and change them one by one. Each change writes an audit entry in
/// its transaction. All are safe while receivers and workers of any number of instances run.
impl Inbox {
    /// Returns the events that a filter selects, in the order of their ids, as many as its [limit](Filter::limit). To
    /// continue, pass the id of the last one to [`Filter::after`]. [`Filter::newest_first`] reverses the order.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Entry>, StoreError> {
        let rows = self.tables.list(filter.0.clone()).await?;
        Ok(rows.into_iter().map(|row| self.entry(row)).collect())
    }

    /// Returns an event, or `None` if there is none with this id.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn show(&self, id: i64) -> Result<Option<Entry>, StoreError> {
        let filter = store::RowFilter { id: Some(id), limit: 1, ..store::RowFilter::default() };
        Ok(self.tables.list(filter).await?.pop().map(|row| self.entry(row)))
    }

    /// Returns the body of an event, which is **health data**: do not log it, and do not keep it. Viewing it is written
    /// into the audit table. Returns `None` if there is no event with this id, or its body was deleted.
    ///
    /// # Errors
    /// Returns an error if the store fails, or if the body cannot be opened. The message says why.
    pub async fn body(&self, id: i64, operator: &Operator) -> Result<Option<Bytes>, StoreError> {
        let Some(stored) = self.tables.body(id, operator.audit_row("body", id)).await? else { return Ok(None) };
        match self.opened_body(&stored) {
            None => Ok(None),
            Some(Ok(body)) => Ok(Some(body)),
            Some(Err(unsealable)) => {
                Err(StoreError::unavailable(format!("inbox: event {id} cannot be opened: {unsealable}")))
            }
        }
    }

    /// Makes an event due now: a dead or done one with new attempts, a waiting one without waiting longer.
    ///
    /// # Errors
    /// Returns an error if the store fails. The event may be due then; replaying it again is safe.
    pub async fn replay(&self, id: i64, operator: &Operator) -> Result<Replayed, StoreError> {
        self.tables.replay(id, operator.audit_row("replay", id)).await.map(Replayed::from)
    }

    /// Replays all events that a filter selects, in the order of its list, and returns how many are due now.
    /// [`count`](Inbox::count) returns before how many there are. Without a status, the filter selects dead events.
    /// Events without a body, processing and discarded ones are passed over.
    ///
    /// `rate` limits the replays per second, so that the application is not overloaded after an outage. If the future
    /// is dropped, the remaining events stay as they are.
    ///
    /// # Errors
    /// Returns an error if the rate is not greater than 0, or if the store fails. Events before the failure are
    /// replayed; calling this again continues if the filter selects dead events.
    pub async fn replay_all(&self, filter: &Filter, rate: Option<f64>, operator: &Operator) -> Result<u64, StoreError> {
        let mut pace = Pace::new(rate)?;
        let (mut pages, mut replayed) = (Pages::new(filter), 0_u64);
        while let Some(page) = pages.next(self).await? {
            for id in page {
                pace.wait().await;
                if self.replay(id, operator).await? == Replayed::Due {
                    replayed = replayed.saturating_add(1);
                }
            }
        }
        Ok(replayed)
    }

    /// Returns how many events [`replay_all`](Inbox::replay_all) would replay.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn count(&self, filter: &Filter) -> Result<u64, StoreError> {
        let (mut pages, mut count) = (Pages::new(filter), 0_u64);
        while let Some(page) = pages.next(self).await? {
            count = count.saturating_add(page.len() as u64);
        }
        Ok(count)
    }

    /// Discards a waiting or dead event, or one whose lease has expired: it will not be handled, and its body is
    /// deleted.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn discard(&self, id: i64, operator: &Operator) -> Result<Discarded, StoreError> {
        self.tables.discard(id, operator.audit_row("discard", id)).await.map(Discarded::from)
    }

    /// Forgets that an event was handled, so that the provider's next delivery of it is stored and handled again. It
    /// changes nothing while the event is claimed or has an unfinished row, which can be
    /// [replayed](Inbox::replay).
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn forget(&self, event: &EventKey, operator: &Operator) -> Result<Forgotten, StoreError> {
        let (row_key, audit) = (self.sealer.row_key(event), operator.audit_row("forget", event));
        self.tables.forget(*event, row_key, audit).await
    }

    /// Pauses an endpoint: its events are stored, but workers of all instances lease no more of them until it is
    /// [resumed](Inbox::resume), also after a restart. Events that are being handled are finished.
    ///
    /// # Errors
    /// Returns an error if the name of the endpoint is empty, or if the store fails.
    pub async fn pause(&self, endpoint: &str, operator: &Operator) -> Result<(), StoreError> {
        check_name(endpoint)?;
        self.tables.set_paused(endpoint.to_owned(), true, operator.audit_row("pause", endpoint)).await
    }

    /// Resumes a paused endpoint.
    ///
    /// # Errors
    /// Returns an error if the name of the endpoint is empty, or if the store fails.
    pub async fn resume(&self, endpoint: &str, operator: &Operator) -> Result<(), StoreError> {
        check_name(endpoint)?;
        self.tables.set_paused(endpoint.to_owned(), false, operator.audit_row("resume", endpoint)).await
    }

    /// Puts the inbox on hold: workers of all instances lease no more events, of any endpoint, until
    /// [`release`](Inbox::release). Use it before instances start on a database that was restored from a backup, since
    /// events that were finished after the backup would be handled again.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn hold(&self, operator: &Operator) -> Result<(), StoreError> {
        self.tables.set_hold(LeaseHold::All, operator.audit_row("hold", "")).await
    }

    /// Ends the hold for the events stored at or after a time, or for all events.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn release(&self, stored_since: Option<SystemTime>, operator: &Operator) -> Result<(), StoreError> {
        let hold = stored_since.map_or(LeaseHold::None, |time| LeaseHold::StoredBefore(to_millis(time)));
        self.tables.set_hold(hold, operator.audit_row("release", "")).await
    }

    /// Returns the number of events of each endpoint. It reads indexes only, so that it can be called often.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        self.tables.counts(CountOf::All).await.map(Counts::from)
    }

    /// Returns the number of waiting, processing and dead events by endpoint, status and kind. It reads indexes only,
    /// and at most 100,000 events of each status, so its work is bounded whatever the backlog;
    /// [`is_complete`](KindCounts::is_complete) says whether these are all. [`counts`](Inbox::counts) returns the
    /// complete numbers without kinds.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn count_kinds(&self) -> Result<KindCounts, StoreError> {
        self.tables.count_kinds(MOST_COUNTED).await
    }

    /// Deletes the bodies and events that an endpoint no longer has to keep, in small batches. A worker does this with
    /// its own settings. Waiting and processing events are never deleted, and no event before the record by which its
    /// duplicates are recognized. The audit entry is written before the first batch.
    ///
    /// # Errors
    /// Returns an error if the store fails. The batches before the failure stay deleted.
    pub async fn purge(&self, endpoint: &str, keep: Keep, operator: &Operator) -> Result<Purged, StoreError> {
        self.purge_with(endpoint, keep, operator, |_| {}).await
    }

    /// Does the same as [`purge`](Inbox::purge), and calls `progress` with what has been deleted so far after each
    /// batch. If the future is dropped, the batches before stay deleted.
    ///
    /// # Errors
    /// Returns the errors of [`purge`](Inbox::purge).
    pub async fn purge_with(
        &self,
        endpoint: &str,
        keep: Keep,
        operator: &Operator,
        progress: impl FnMut(Purged) + Send,
    ) -> Result<Purged, StoreError> {
        self.tables.write_audit(operator.audit_row("purge", endpoint)).await?;
        self.purge_unaudited(endpoint, keep, progress).await
    }

    /// Purges by the settings of a worker.
    pub(crate) async fn purge_unaudited(
        &self,
        endpoint: &str,
        keep: Keep,
        mut progress: impl FnMut(Purged) + Send,
    ) -> Result<Purged, StoreError> {
        let mut purged = Purged::default();
        loop {
            let began = Instant::now();
            let batch = self.tables.purge(endpoint.to_owned(), keep).await?;
            purged.bodies = purged.bodies.saturating_add(batch.bodies);
            purged.events = purged.events.saturating_add(batch.rows);
            progress(purged);
            let advanced = batch.bodies > 0 || batch.rows > 0;
            if !batch.more || !advanced {
                break;
            }
            // Half of the time is left to other operations, which wait for a batch.
            sleep(began.elapsed()).await;
        }
        if purged != Purged::default() {
            self.tables.truncate_log().await?;
        }
        Ok(purged)
    }

    /// Returns up to `limit` (at most 1,000) audit entries with an id greater than `after`, to export them. They are
    /// never purged.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn audit(&self, after: i64, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        let entries = self.tables.audit_entries(after, limit.clamp(1, Filter::MOST)).await?;
        Ok(entries.into_iter().map(AuditEntry::from).collect())
    }

    /// Returns the last audit entries of an event, the oldest of them first: its replays, its discard, and the views of
    /// its body. Returns up to `limit` (at most 1,000), by an index, however many entries there are.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub async fn audit_of(&self, id: i64, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        let entries = self.tables.audit_of(id, limit.clamp(1, Filter::MOST)).await?;
        Ok(entries.into_iter().map(AuditEntry::from).collect())
    }

    pub(crate) fn entry(&self, row: EntryRow) -> Entry {
        let to = Binding { endpoint: &row.endpoint, row_key: &row.row_key, stored_by: &row.stored_by };
        let opened = self.sealer.open(SealedPart::EventKey, to, &row.sealed_key);
        let event_key = opened.ok().and_then(|key| key[..].try_into().ok()).map(EventKey::from_bytes);
        Entry::new(row, event_key)
    }

    fn opened_body(&self, stored: &SealedBody) -> Option<Result<Bytes, Unsealable>> {
        let to = Binding { endpoint: &stored.endpoint, row_key: &stored.row_key, stored_by: &stored.stored_by };
        let opened = StoredRecord::open(&self.sealer, to, stored.sealed.clone()?);
        Some(opened.map(|(record, _)| record.body))
    }
}

/// The maximum number of events of each status that `count_kinds` counts.
const MOST_COUNTED: u32 = 100_000;

/// Checks the name of an endpoint. In the tables, the empty name is that of the hold.
fn check_name(endpoint: &str) -> Result<(), StoreError> {
    if endpoint.is_empty() {
        return Err(StoreError::unavailable("inbox: the name of the endpoint is empty; use `hold` for all endpoints"));
    }
    Ok(())
}

/// The ids of the events that can be replayed, page by page.
struct Pages {
    filter: store::RowFilter,
    is_last: bool,
}

impl Pages {
    fn new(filter: &Filter) -> Self {
        let status = filter.0.status.unwrap_or(Status::Dead);
        let filter = store::RowFilter { status: Some(status), limit: Filter::MOST, ..filter.0.clone() };
        Pages { filter, is_last: matches!(status, Status::Processing | Status::Discarded) }
    }

    async fn next(&mut self, inbox: &Inbox) -> Result<Option<Vec<i64>>, StoreError> {
        if self.is_last {
            return Ok(None);
        }
        let rows = inbox.tables.list(self.filter.clone()).await?;
        match rows.last() {
            Some(last) => self.filter.after = Some(last.id),
            None => self.is_last = true,
        }
        Ok(Some(rows.into_iter().filter(|row| row.has_body).map(|row| row.id).collect()))
    }
}

/// The pace of replays.
struct Pace {
    interval: Duration,
    next: Instant,
}

impl Pace {
    fn new(rate: Option<f64>) -> Result<Self, StoreError> {
        let interval = match rate {
            None => Duration::ZERO,
            Some(rate) => Duration::try_from_secs_f64(rate.recip()).ok().filter(|_| rate > 0.0).ok_or_else(|| {
                StoreError::unavailable("inbox: the rate of replays must be greater than 0 per second")
            })?,
        };
        Ok(Pace { interval, next: Instant::now() })
    }

    async fn wait(&mut self) {
        sleep_until(self.next).await;
        // A slow store is caught up with, but not by a burst.
        let earliest = Instant::now().checked_sub(Duration::from_millis(100)).unwrap_or(self.next);
        self.next = self.next.max(earliest).checked_add(self.interval).unwrap_or(self.next);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::claim_token::ClaimToken;
    use crate::dedupe::inbox::rules::Ending;
    use crate::dedupe::inbox::store::{LeaseRequest, NewEvent, StoreResult};
    use crate::inbox::keyring::tests::ring;
    use crate::inbox::memory::{self, MemoryInbox};
    use crate::inbox::record::StoredHead;
    use crate::inbox::sealing::Bodies;
    use crate::retention::Retention;

    /// Stores an event of the endpoint `fasten` whose key consists of these bytes, and returns its id.
    pub(in crate::inbox) async fn store(inbox: &Inbox, event: u8, body: &'static [u8]) -> i64 {
        let event_key = EventKey::from_bytes([event; 32]);
        let token = ClaimToken::from_bytes([event; 16]);
        let row_key = inbox.sealer.row_key(&event_key);
        let to = Binding { endpoint: "fasten", row_key: &row_key, stored_by: &token };
        let head = StoredHead {
            event_key: [event; 32],
            recurring_body: None,
            id_from: "body".to_owned(),
            signature_scope: "body".to_owned(),
            message_id: None,
            attempted_at: None,
            event_time: None,
            secret: "secret".to_owned(),
            path: "/".to_owned(),
            content_type: None,
            possible_duplicate: None,
            unsigned: None,
        };
        let record = StoredRecord { head, body: Bytes::from_static(body) };
        let event = NewEvent {
            event_key,
            row_key,
            token,
            retention: Retention::new(Duration::ZERO, Duration::from_secs(60)),
            endpoint: "fasten".to_owned(),
            provider: "fasten".to_owned(),
            kind: "patient.ehi_export_success".to_owned(),
            secret: "secret".to_owned(),
            size: body.len() as u64,
            sealed_key: inbox.sealer.seal(SealedPart::EventKey, to, &[event_key.as_bytes()]).unwrap().into(),
            sealed: record.seal(&inbox.sealer, to).unwrap().into(),
        };
        match inbox.tables.store_event(event).await.unwrap() {
            StoreResult::Stored { id } => id,
            other => panic!("{other:?}"),
        }
    }

    /// Handles the next event.
    async fn finish(inbox: &Inbox, ending: Ending, keep_body: bool) -> i64 {
        static LEASES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let lease = LEASES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let token = ClaimToken::from_bytes((u128::from(lease) | 1 << 127).to_be_bytes());
        let request =
            LeaseRequest { endpoint: "fasten".to_owned(), token, lease: Duration::from_secs(60), alone: false };
        let leased = inbox.tables.lease(request).await.unwrap().leased.expect("an event is due");
        let id = leased.body.id;
        inbox.tables.finish(leased.lease_id(), ending, keep_body).await.unwrap();
        id
    }

    fn dead() -> Ending {
        Ending::Dead { reason: "timed_out".to_owned() }
    }

    pub(in crate::inbox) fn operator() -> Operator {
        Operator::new("jdoe", "ticket 4711").unwrap()
    }

    async fn sealed() -> (Inbox, Arc<MemoryInbox>) {
        memory::inbox(Bodies::sealed(ring(&[0]))).await
    }

    fn audited(double: &MemoryInbox) -> Vec<String> {
        double.audit().iter().map(|entry| format!("{} {}", entry.action, entry.subject)).collect()
    }

    #[tokio::test]
    async fn an_entry_shows_the_event_key_and_no_body() {
        let (inbox, _double) = sealed().await;
        let id = store(&inbox, 7, b"Jane Doe").await;
        let entry = inbox.show(id).await.unwrap().unwrap();
        assert_eq!(entry.event_key, Some(EventKey::from_bytes([7; 32])));
        assert_eq!((entry.status, entry.size, entry.has_body), (Status::Waiting, 8, true));
        let shown = format!("{entry:?}");
        assert!(shown.contains("EventKey(0707070707070707)") && !shown.contains("Jane"), "{shown}");
        assert!(inbox.show(id + 1).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_list_is_continued_after_its_last_event() {
        let (inbox, _double) = sealed().await;
        for event in 1..=5 {
            store(&inbox, event, b"x").await;
        }
        let filter = Filter::new().endpoint("fasten").limit(2);
        let (mut seen, mut after) = (Vec::new(), 0);
        loop {
            let page = inbox.list(&filter.clone().after(after)).await.unwrap();
            assert!(page.len() <= 2);
            let Some(last) = page.last() else { break };
            after = last.id;
            seen.extend(page.iter().map(|entry| entry.id));
        }
        assert_eq!(seen, [1, 2, 3, 4, 5]);
        assert!(inbox.list(&Filter::new().endpoint("cair")).await.unwrap().is_empty());
        assert!(inbox.list(&Filter::new().status(Status::Dead)).await.unwrap().is_empty());
        for (kind, events) in [("patient.ehi_export_success", 5), ("unknown", 0)] {
            assert_eq!(inbox.list(&Filter::new().kind(kind)).await.unwrap().len(), events);
        }
    }

    #[tokio::test]
    async fn viewing_a_body_is_audited() {
        let (inbox, double) = sealed().await;
        let id = store(&inbox, 7, b"Jane Doe").await;
        assert!(!double.bodies()[&id].windows(8).any(|bytes| bytes == b"Jane Doe"));
        assert_eq!(inbox.body(id, &operator()).await.unwrap().unwrap(), "Jane Doe");
        assert_eq!(audited(&double), [format!("body {id}")]);
        assert!(inbox.body(id + 1, &operator()).await.unwrap().is_none());
        let entries = inbox.audit(0, 10).await.unwrap();
        assert_eq!((&*entries[0].actor, &*entries[0].reason), ("jdoe", "ticket 4711"));
        assert_eq!(inbox.audit_of(id, 10).await.unwrap(), entries[..1]);
    }

    #[tokio::test]
    async fn a_body_that_does_not_open_is_an_error_with_its_cause() {
        let (inbox, double) = sealed().await;
        let (one, other) = (store(&inbox, 1, b"Jane Doe").await, store(&inbox, 2, b"John Doe").await);
        double.set_body(one, double.bodies().get(&other).cloned());
        let error = inbox.body(one, &operator()).await.unwrap_err().to_string();
        assert_eq!(
            error,
            format!("inbox: event {one} cannot be opened: it was changed or truncated, or belongs to another event")
        );
        assert_eq!(inbox.body(other, &operator()).await.unwrap().unwrap(), "John Doe");
    }

    #[tokio::test]
    async fn each_result_of_a_replay_is_reported() {
        let (inbox, double) = sealed().await;
        let replayed = async |id| inbox.replay(id, &operator()).await.unwrap();
        let id = store(&inbox, 1, b"x").await;
        assert_eq!(replayed(id).await, Replayed::Due);
        finish(&inbox, dead(), false).await;
        assert_eq!(replayed(id).await, Replayed::Due);
        finish(&inbox, Ending::Done, true).await;
        assert_eq!(replayed(id).await, Replayed::Due);
        assert_eq!(double.row(id).state.replays, 2);
        finish(&inbox, Ending::Done, false).await;
        assert_eq!(replayed(id).await, Replayed::BodyDeleted);
        assert_eq!(replayed(id + 1).await, Replayed::NotFound);
        let id = store(&inbox, 2, b"x").await;
        assert_eq!(inbox.discard(id, &operator()).await.unwrap(), Discarded::Discarded);
        assert_eq!(inbox.discard(id, &operator()).await.unwrap(), Discarded::Ended);
        assert_eq!(replayed(id).await, Replayed::Discarded);
        assert_eq!(inbox.discard(id + 1, &operator()).await.unwrap(), Discarded::NotFound);
        assert!(!double.bodies().contains_key(&id));
    }

    /// More events than two pages of 1,000 have.
    const MANY: u64 = 2001;

    /// Makes so many dead events.
    async fn make_dead(inbox: &Inbox, double: &MemoryInbox, all: u64) {
        let first = store(inbox, 1, b"x").await;
        finish(inbox, dead(), false).await;
        let first = double.row(first).event;
        for number in 1..all {
            let unique = (u128::from(number)).to_be_bytes();
            let key = [unique; 2].concat().try_into().unwrap();
            let event = NewEvent {
                event_key: EventKey::from_bytes(key),
                row_key: key,
                token: ClaimToken::from_bytes(unique),
                ..first.clone()
            };
            inbox.tables.store_event(event).await.unwrap();
            finish(inbox, dead(), false).await;
        }
    }

    #[tokio::test]
    async fn all_dead_events_are_counted_and_replayed_page_by_page() {
        let (inbox, double) = sealed().await;
        let all = MANY;
        make_dead(&inbox, &double, all).await;
        let filter = Filter::new().endpoint("fasten").limit(1);
        assert_eq!(inbox.count(&filter).await.unwrap(), all);
        assert_eq!(inbox.replay_all(&filter, None, &operator()).await.unwrap(), all);
        assert!(double.statuses().iter().all(|status| *status == Status::Waiting));
        assert_eq!(audited(&double).len() as u64, all);
        // They are no longer dead.
        assert_eq!(inbox.count(&filter).await.unwrap(), 0);
        assert_eq!(inbox.replay_all(&filter, None, &operator()).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn events_without_a_body_and_processing_ones_are_not_replayed() {
        let (inbox, double) = sealed().await;
        let kept = store(&inbox, 1, b"x").await;
        finish(&inbox, Ending::Done, true).await;
        store(&inbox, 2, b"x").await;
        finish(&inbox, Ending::Done, false).await;
        let done = Filter::new().status(Status::Done);
        assert_eq!(inbox.count(&done).await.unwrap(), 1);
        assert_eq!(inbox.count(&Filter::new()).await.unwrap(), 0, "without a status: dead ones");
        assert_eq!(inbox.replay_all(&done, None, &operator()).await.unwrap(), 1);
        assert_eq!(audited(&double), [format!("replay {kept}")]);
        for status in [Status::Processing, Status::Discarded] {
            assert_eq!(inbox.count(&Filter::new().status(status)).await.unwrap(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_limits_replays_and_dropping_the_future_stops_them() {
        let (inbox, double) = sealed().await;
        for event in 1..=20 {
            store(&inbox, event, b"x").await;
            finish(&inbox, dead(), false).await;
        }
        let waiting = || double.statuses().iter().filter(|status| **status == Status::Waiting).count();
        let begun = Instant::now();
        let (filter, operator) = (Filter::new(), operator());
        let all = inbox.replay_all(&filter, Some(2.0), &operator);
        assert!(tokio::time::timeout(Duration::from_millis(4_900), all).await.is_err());
        assert_eq!(waiting(), 10);
        assert_eq!(inbox.replay_all(&filter, Some(2.0), &operator).await.unwrap(), 10);
        assert_eq!((waiting(), begun.elapsed().as_millis() / 100), (20, 49 + 45));
    }

    #[tokio::test]
    async fn a_rate_that_is_no_rate_is_an_error() {
        let (inbox, double) = sealed().await;
        for rate in [0.0, -0.0, -1.0, f64::NAN, f64::NEG_INFINITY, f64::MIN_POSITIVE / 4.0] {
            let error = inbox.replay_all(&Filter::new(), Some(rate), &operator()).await.unwrap_err();
            assert!(error.to_string().contains("rate of replays must be"), "{rate}: {error}");
        }
        assert_eq!(double.calls("list"), 0);
        assert_eq!(inbox.replay_all(&Filter::new(), Some(f64::INFINITY), &operator()).await.unwrap(), 0);
    }

    /// The row of the hold has the empty name.
    #[tokio::test]
    async fn an_empty_name_neither_begins_nor_ends_a_hold() {
        let (inbox, _) = memory::inbox(Bodies::plaintext()).await;
        inbox.hold(&operator()).await.unwrap();
        for result in [inbox.pause("", &operator()).await, inbox.resume("", &operator()).await] {
            assert!(result.unwrap_err().to_string().contains("the name of the endpoint is empty"));
        }
        assert_eq!(inbox.audit(0, 10).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn pause_and_hold_are_audited_and_counted() {
        let (inbox, double) = sealed().await;
        let id = store(&inbox, 1, b"xy").await;
        inbox.pause("fasten", &operator()).await.unwrap();
        inbox.hold(&operator()).await.unwrap();
        let counts = inbox.counts().await.unwrap();
        assert_eq!(counts.hold, crate::inbox::Hold::All);
        let fasten = &counts.endpoints[0];
        assert_eq!((fasten.waiting, fasten.bytes, fasten.paused), (1, 2, true));
        inbox.resume("fasten", &operator()).await.unwrap();
        let since = inbox.show(id).await.unwrap().unwrap().stored_at;
        inbox.release(Some(since), &operator()).await.unwrap();
        let counts = inbox.counts().await.unwrap();
        assert_eq!(counts.hold, crate::inbox::Hold::StoredBefore(since));
        inbox.release(None, &operator()).await.unwrap();
        assert_eq!(inbox.counts().await.unwrap().hold, crate::inbox::Hold::None);
        assert_eq!(audited(&double), ["pause fasten", "hold ", "resume fasten", "release ", "release "]);
    }

    #[tokio::test]
    async fn purging_goes_on_until_nothing_is_left_and_truncates_the_log_once() {
        let (inbox, double) = sealed().await;
        let all = MANY;
        make_dead(&inbox, &double, all).await;
        let keep = Keep { dead: Some(Duration::from_secs(3600)), ..Keep::default() };
        assert_eq!(inbox.purge("fasten", Keep::default(), &operator()).await.unwrap(), Purged::default());
        assert_eq!(inbox.purge("fasten", keep, &operator()).await.unwrap(), Purged::default());
        assert_eq!(double.calls("truncate_log"), 0);
        double.set_clock_by(3_700_000);
        assert_eq!(inbox.purge("cair", keep, &operator()).await.unwrap(), Purged::default());
        let purged = inbox.purge("fasten", keep, &operator()).await.unwrap();
        assert_eq!((purged.bodies, purged.events, double.rows().len()), (all, all, 0));
        assert_eq!(double.calls("truncate_log"), 1);
        assert_eq!(audited(&double), ["purge fasten", "purge fasten", "purge cair", "purge fasten"]);
        inbox.purge_unaudited("fasten", keep, |_| {}).await.unwrap();
        assert_eq!(audited(&double).len(), 4);
    }

    #[tokio::test]
    async fn purging_goes_on_after_a_batch_of_bodies_only_and_one_of_events_only() {
        let (inbox, double) = sealed().await;
        let all = 250;
        make_dead(&inbox, &double, all).await;
        inbox.replay_all(&Filter::new(), None, &operator()).await.unwrap();
        for _ in 0..all {
            finish(&inbox, Ending::Done, true).await;
        }
        double.set_clock_by(3_700_000);
        let keep = Keep { rows: Duration::from_secs(7200), ..Keep::default() };
        let bodies = inbox.purge("fasten", keep, &operator()).await.unwrap();
        assert_eq!((bodies, double.bodies().len()), (Purged { bodies: all, events: 0 }, 0));
        let events = inbox.purge("fasten", Keep::default(), &operator()).await.unwrap();
        assert_eq!((events, double.rows().len()), (Purged { bodies: 0, events: all }, 0));
    }
}
