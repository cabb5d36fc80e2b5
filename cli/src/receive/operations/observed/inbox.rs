//! The inbox as the operator's page shows it. Its numbers are sampled in the background, so that viewers cause no
//! queries; lists and single events are read when they are viewed, with limits.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use medhook::inbox::{AuditEntry, Counts, EndpointCounts, Entry, Filter, Hold, KindCounts};
use medhook::{Inbox, StoreError};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::query::EventsQuery;
use super::state::{InboxState, KindState};

/// The inbox, and what was read from it.
pub(super) struct ObservedInbox {
    inbox: Inbox,
    /// The form in which bodies are stored, in words.
    bodies: String,
    sample: Mutex<Sample>,
    /// Limits the views whose queries run.
    views: Semaphore,
    kinds: tokio::sync::Mutex<Option<(Instant, KindCounts)>>,
}

/// The last numbers that were read.
#[derive(Default)]
struct Sample {
    read: Option<ReadCounts>,
    is_failing: bool,
}

struct ReadCounts {
    time: SystemTime,
    hold: Hold,
    /// By the name of the endpoint. A receiver may have a thousand of them.
    endpoints: BTreeMap<String, EndpointCounts>,
}

/// The maximum time of the queries of a view, with the time that they wait for those of others.
const QUERY: Duration = Duration::from_secs(5);
/// The maximum number of views whose queries run at a time.
const MOST_VIEWS: usize = 2;
/// The number of events on a page.
const PAGE: u32 = 50;
/// The time for which the numbers of kinds are kept, since reading them takes longer.
const KINDS: Duration = Duration::from_secs(15);
/// The number of operators' acts that are shown with an event.
const MOST_ACTS: u32 = 100;

impl ObservedInbox {
    pub(super) fn new(inbox: Inbox, bodies: String) -> Self {
        ObservedInbox {
            inbox,
            bodies,
            sample: Mutex::default(),
            views: Semaphore::new(MOST_VIEWS),
            kinds: tokio::sync::Mutex::default(),
        }
    }

    /// Reads the numbers. Returns whether that succeeded.
    pub(super) async fn sample(&self) -> bool {
        let counts = timeout(QUERY, self.inbox.counts()).await.ok().and_then(Result::ok);
        let mut sample = self.last_sample();
        sample.is_failing = counts.is_none();
        let Some(Counts { hold, endpoints, .. }) = counts else { return false };
        let endpoints = endpoints.into_iter().map(|counts| (counts.endpoint.clone(), counts)).collect();
        sample.read = Some(ReadCounts { time: SystemTime::now(), hold, endpoints });
        true
    }

    /// Returns the last numbers of an endpoint: zeros if it has no events. Returns `None` before the first sample.
    pub(super) fn counts(&self, endpoint: &str) -> Option<EndpointCounts> {
        let sample = self.last_sample();
        let read = sample.read.as_ref()?;
        Some(read.endpoints.get(endpoint).cloned().unwrap_or_default())
    }

    /// Returns the state of the inbox. `known` are the endpoints of this receiver that have an inbox.
    pub(super) fn state(&self, known: &HashSet<&str>) -> InboxState {
        let sample = self.last_sample();
        let read = sample.read.as_ref();
        let others = read.iter().flat_map(|read| read.endpoints.values());
        let others = others.filter(|counts| !known.contains(&*counts.endpoint) && has_events(counts));
        InboxState {
            sampled: read.map(|read| read.time),
            is_failing: sample.is_failing,
            hold: read.map_or(Hold::None, |read| read.hold),
            bodies: self.bodies.clone(),
            others: others.cloned().collect(),
        }
    }

    fn last_sample(&self) -> MutexGuard<'_, Sample> {
        self.sample.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a page of events, newest first. Returns the id to continue from if there are more.
    pub(super) async fn page(&self, query: &EventsQuery) -> Result<(Vec<Entry>, Option<i64>), StoreError> {
        let mut filter = Filter::new().newest_first().limit(PAGE.saturating_add(1));
        if let Some(endpoint) = &query.endpoint {
            filter = filter.endpoint(endpoint.as_str());
        }
        if let Some(status) = query.status {
            filter = filter.status(status);
        }
        if let Some(kind) = &query.kind {
            filter = filter.kind(kind.as_str());
        }
        if let Some(before) = query.before {
            filter = filter.after(before);
        }
        let mut page = self.inbox.list(&filter).await?;
        let has_more = page.len() > PAGE as usize;
        page.truncate(PAGE as usize);
        let next = page.last().filter(|_| has_more).map(|last| last.id);
        Ok((page, next))
    }

    /// Returns the numbers of kinds, at most [`KINDS`] old, and whether they count all events.
    pub(super) async fn kinds(&self) -> Result<(Vec<KindState>, bool), StoreError> {
        let mut kept = self.kinds.lock().await;
        let counts = match kept.take_if(|(read, _)| read.elapsed() < KINDS) {
            Some(counts) => counts,
            None => (Instant::now(), self.inbox.count_kinds().await?),
        };
        let kinds = counts.1.kinds.iter().map(|counts| KindState {
            endpoint: counts.endpoint.clone(),
            status: counts.status,
            kind: counts.kind.clone(),
            count: counts.count,
        });
        let kinds = (kinds.collect(), counts.1.is_complete);
        *kept = Some(counts);
        Ok(kinds)
    }

    /// Reads an event, and what operators did with it.
    pub(super) async fn event(&self, id: i64) -> Result<Option<(Entry, Vec<AuditEntry>)>, StoreError> {
        let Some(entry) = self.inbox.show(id).await? else { return Ok(None) };
        let acts = self.inbox.audit_of(id, MOST_ACTS).await?;
        Ok(Some((entry, acts)))
    }

    /// Returns the hold and the paused endpoints. They are read, since an operator may just have changed them.
    pub(super) async fn stopped(&self) -> Result<(Hold, Vec<String>), StoreError> {
        let counts = self.inbox.counts().await?;
        let paused = counts.endpoints.into_iter().filter(|counts| counts.paused).map(|counts| counts.endpoint);
        Ok((counts.hold, paused.collect()))
    }

    /// Runs the queries of a view within the limits.
    pub(super) async fn view<T>(&self, queries: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let limited = async {
            // The semaphore is never closed.
            let _permit = self.views.acquire().await.ok();
            queries.await
        };
        timeout(QUERY, limited)
            .await
            .unwrap_or_else(|_| Err(StoreError::unavailable("the store did not answer in time")))
    }
}

fn has_events(counts: &EndpointCounts) -> bool {
    counts.waiting > 0 || counts.processing > 0 || counts.dead > 0
}
