//! The content of the operator's page, kept in memory or read from the inbox.
//!
//! - `state`: the values that the page renders
//! - `endpoint`: the observations at an endpoint, with `recent` and `history`
//! - `query`: what a viewer selects
//! - `inbox`: the inbox, sampled in the background

mod endpoint;
mod history;
mod inbox;
mod query;
mod recent;
pub(in crate::receive) mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use medhook::{Inbox, Receiver, StoreError};
use tokio::time::{Instant, MissedTickBehavior, interval};

pub(in crate::receive) use self::endpoint::{EndpointFacts, ObservedEndpoint};
use self::history::history;
use self::inbox::ObservedInbox;
pub(in crate::receive) use self::query::{EventsQuery, RecentQuery};
use self::recent::Recents;
use self::state::{EventState, EventsState, Overview, Recent};
use crate::receive::health::Health;
use crate::server::Connections;

/// The observations of this process since its start.
pub(in crate::receive) struct Observed {
    started: SystemTime,
    /// The time of the start on the clock of the series.
    begun: Instant,
    health: Arc<Health>,
    connections: Connections,
    max_connections: usize,
    /// The URL of the store, without a password.
    store: String,
    recents: Arc<Recents>,
    /// Set once the store is open and the endpoints are built.
    parts: OnceLock<Parts>,
}

struct Parts {
    inbox: Option<ObservedInbox>,
    endpoints: Vec<Arc<ObservedEndpoint>>,
}

/// The time between samples of the inbox, which read indexes only. It is shorter than a step of the history, so that no
/// step is without one.
const SAMPLE: Duration = Duration::from_secs(5);

/// The number of problems on the overview.
const PROBLEMS: usize = 10;

impl Observed {
    pub(in crate::receive) fn new(
        health: Arc<Health>,
        connections: Connections,
        max_connections: usize,
        store: String,
    ) -> Self {
        Observed {
            started: SystemTime::now(),
            begun: Instant::now(),
            health,
            connections,
            max_connections,
            store,
            recents: Arc::default(),
            parts: OnceLock::new(),
        }
    }

    /// Creates the observations at an endpoint.
    pub(in crate::receive) fn endpoint(&self, receiver: Receiver, facts: EndpointFacts) -> Arc<ObservedEndpoint> {
        Arc::new(ObservedEndpoint::new(receiver, facts, self.recents.clone(), self.begun))
    }

    /// Adds the endpoints, and the inbox with how its bodies are stored.
    pub(in crate::receive) fn serve(&self, endpoints: Vec<Arc<ObservedEndpoint>>, inbox: Option<(Inbox, String)>) {
        let inbox = inbox.map(|(inbox, bodies)| ObservedInbox::new(inbox, bodies));
        self.parts.get_or_init(|| Parts { inbox, endpoints });
    }

    /// Samples the inbox until the task is aborted.
    pub(in crate::receive) async fn sample(self: Arc<Self>) {
        let Some(Parts { inbox: Some(inbox), endpoints, .. }) = self.parts.get() else { return };
        let mut steps = interval(SAMPLE);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            steps.tick().await;
            if !inbox.sample().await {
                continue;
            }
            for endpoint in endpoints.iter().filter(|endpoint| endpoint.has_inbox()) {
                if let Some(counts) = inbox.counts(endpoint.name()) {
                    endpoint.series().sample(counts.waiting.saturating_add(counts.processing), counts.dead);
                }
            }
        }
    }

    /// Returns the state of the receiver. It does not query the store: it has the last sample of the inbox.
    pub(in crate::receive) fn overview(&self) -> Overview {
        let parts = self.parts.get();
        let endpoints = parts.map(|parts| &parts.endpoints[..]).unwrap_or_default();
        let inbox = parts.and_then(|parts| parts.inbox.as_ref());
        let with_inbox = endpoints.iter().filter(|endpoint| endpoint.has_inbox());
        let with_inbox = with_inbox.map(|endpoint| endpoint.name()).collect();
        let states = endpoints.iter().map(|endpoint| {
            let counts = inbox.filter(|_| endpoint.has_inbox()).and_then(|inbox| inbox.counts(endpoint.name()));
            endpoint.state(self.begun, counts)
        });
        Overview {
            now: SystemTime::now(),
            started: self.started,
            not_ready: self.health.problem().map(str::trim_end),
            store: self.store.clone(),
            is_store_up: self.health.is_store_up(),
            connections: self.connections.open(),
            max_connections: self.max_connections,
            inbox: inbox.map(|inbox| inbox.state(&with_inbox)),
            endpoints: states.collect(),
            history: history(self.begun, endpoints.iter().map(|endpoint| endpoint.series())),
            problems: self.recents.newest_problems(PROBLEMS),
        }
    }

    /// Returns the selected deliveries and attempts of this process, newest first.
    pub(in crate::receive) fn recent(&self, query: &RecentQuery) -> Vec<Recent> {
        self.recents.newest(|recent| query.selects(recent))
    }

    /// Reads a page of events, newest first. Returns `None` if no endpoint has an inbox.
    pub(in crate::receive) async fn events(&self, query: &EventsQuery) -> Result<Option<EventsState>, StoreError> {
        let Parts { inbox, endpoints } = self.parts()?;
        let Some(inbox) = inbox else { return Ok(None) };
        let read = async {
            let (page, next) = inbox.page(query).await?;
            let (kinds, is_complete) = inbox.kinds().await?;
            let (hold, paused) = inbox.stopped().await?;
            let with_inbox = endpoints.iter().filter(|endpoint| endpoint.has_inbox());
            let endpoints = with_inbox.map(|endpoint| endpoint.name().to_owned()).collect();
            let now = SystemTime::now();
            Ok(EventsState { now, hold, paused, endpoints, kinds, is_complete, page, next })
        };
        inbox.view(read).await.map(Some)
    }

    /// Reads an event. Returns `None` if there is none with this id.
    pub(in crate::receive) async fn event(&self, id: i64) -> Result<Option<EventState>, StoreError> {
        let Some(inbox) = &self.parts()?.inbox else { return Ok(None) };
        let read = async {
            let Some((entry, audit)) = inbox.event(id).await? else { return Ok(None) };
            let (hold, paused) = inbox.stopped().await?;
            let is_paused = paused.contains(&entry.endpoint);
            let attempts = self.attempts_of(id);
            Ok(Some(EventState { now: SystemTime::now(), entry, hold, is_paused, attempts, audit }))
        };
        inbox.view(read).await
    }

    /// Returns the attempts at an event that are still known, oldest first.
    fn attempts_of(&self, id: i64) -> Vec<Recent> {
        let of_event = |recent: &Recent| recent.attempt.as_ref().is_some_and(|attempt| attempt.id == id);
        let mut attempts = self.recents.newest(of_event);
        attempts.reverse();
        attempts
    }

    fn parts(&self) -> Result<&Parts, StoreError> {
        self.parts.get().ok_or_else(|| StoreError::unavailable("the receiver is starting"))
    }
}
