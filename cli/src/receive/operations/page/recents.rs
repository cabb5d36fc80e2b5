//! Deliveries and attempts as rows.

use std::time::SystemTime;

use super::super::observed::state::Recent;
use super::text::{Badge, Level, When, answered, link, shown};
use crate::words::{grouped, reason, utc};

/// The row of a delivery or an attempt.
#[derive(Debug)]
pub(super) struct RecentRow {
    /// Identifies the row while the page is refreshed.
    pub(super) key: String,
    pub(super) at: When,
    pub(super) endpoint: String,
    pub(super) endpoint_href: String,
    pub(super) badge: Badge,
    pub(super) status: Option<u16>,
    pub(super) like_this: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) explained: Option<String>,
    pub(super) next_step: Option<String>,
    pub(super) due: Option<When>,
    /// Whether there is nothing to say about it.
    pub(super) is_plain: bool,
    pub(super) kind: Option<String>,
    pub(super) attempt: Option<(i64, String)>,
    pub(super) event_key: Option<String>,
    pub(super) secret: Option<String>,
    /// Whether nothing is known about its event.
    pub(super) is_unknown: bool,
}

impl RecentRow {
    pub(super) fn new(recent: &Recent, now: SystemTime) -> Self {
        let id = recent.attempt.as_ref().map_or(0, |attempt| attempt.id);
        let explained = explained(recent);
        let reason = recent.reason.as_deref().filter(|reason| *reason != recent.outcome).map(shown);
        RecentRow {
            key: format!("{} {} {} {id}", utc(recent.time), shown(&recent.endpoint), recent.outcome),
            at: When::new(recent.time, now),
            endpoint: shown(&recent.endpoint),
            endpoint_href: link("/deliveries", &[("endpoint", Some(&recent.endpoint))]),
            badge: Badge::new(level(recent.outcome), recent.outcome),
            status: recent.status,
            like_this: (recent.count > 1).then(|| format!("{} like this", grouped(recent.count))),
            is_plain: reason.is_none() && explained.is_none() && recent.next_step.is_none(),
            reason,
            explained,
            next_step: recent.next_step.as_deref().map(shown),
            // The row of the next attempt says when it was.
            due: recent
                .attempt
                .as_ref()
                .and_then(|attempt| attempt.due)
                .filter(|due| *due > now)
                .map(|due| When::new(due, now)),
            kind: recent.kind.as_deref().map(shown),
            attempt: recent.attempt.as_ref().map(|attempt| {
                let replay = if attempt.is_replay { " after a replay" } else { "" };
                (attempt.id, format!("attempt {}{replay}", attempt.number))
            }),
            event_key: recent.event_key.map(|key| key.to_string()),
            secret: recent.secret.as_deref().map(shown),
            is_unknown: recent.kind.is_none() && recent.attempt.is_none() && recent.event_key.is_none(),
        }
    }
}

/// Returns what happened, besides the reason.
pub(super) fn explained(recent: &Recent) -> Option<String> {
    if let Some((header, detail)) = &recent.header {
        return Some(format!("header {}: {detail}", shown(header)));
    }
    // The text of a reason includes what the application answered.
    let words = recent.attempt.as_ref().and(recent.reason.as_deref()).and_then(reason);
    let failed = |upstream: &&str| !upstream.starts_with('2');
    words.or_else(|| recent.upstream.as_deref().filter(failed).map(answered))
}

/// Returns how much an outcome matters.
pub(super) fn level(outcome: &str) -> Level {
    match outcome {
        "failed" | "dead" => Level::Bad,
        "rejected" | "retry" => Level::Warn,
        "in_flight" | "ignored" | "duplicate" => Level::Note,
        _ => Level::Good,
    }
}

/// The outcomes to filter by.
pub(super) const OUTCOMES: [&str; 10] =
    ["handled", "stored", "duplicate", "ignored", "in_flight", "rejected", "failed", "done", "retry", "dead"];
