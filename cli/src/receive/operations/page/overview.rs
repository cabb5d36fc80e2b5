//! The overview: what matters most, health, endpoints, charts, and the latest problems.

use std::path::Path;

use askama::Template;

use super::super::observed::state::{EndpointState, Overview};
use super::charts::{Charts, charts};
use super::concerns::{Concern, concerns};
use super::plots::{Spark, spark};
use super::recents::RecentRow;
use super::shell::{Section, Shell};
use super::text::{Badge, Figure, Level, When, answered, link, shown};
use crate::words::{grouped, number, relative, span};

struct HealthPart {
    level: Level,
    name: &'static str,
    state: String,
    more: Option<String>,
}

struct CountsCells {
    waiting: Figure,
    processing: Figure,
    dead: Figure,
    oldest: Option<String>,
}

struct ApplicationCell {
    target: String,
    last_answer: Option<(String, When)>,
}

struct SecretCell {
    label: String,
    is_test: bool,
    last_used: Option<When>,
}

struct EndpointRow {
    name: String,
    deliveries: String,
    provider: String,
    path: String,
    spark: Option<Spark>,
    activity: String,
    badges: Vec<Badge>,
    has_inbox: bool,
    counts: Option<CountsCells>,
    application: Option<ApplicationCell>,
    last_genuine: Option<When>,
    expected: Option<String>,
    secrets: Vec<SecretCell>,
}

#[derive(Template)]
#[template(path = "overview.html")]
pub(super) struct OverviewView {
    shell: Shell,
    headline: Concern,
    status_key: String,
    others: Vec<Concern>,
    health: Vec<HealthPart>,
    endpoints: Vec<EndpointRow>,
    charts: Charts,
    problems: Vec<RecentRow>,
    started: When,
}

impl OverviewView {
    pub(super) fn new(config: &Path, overview: &Overview) -> Self {
        let now = overview.now;
        let all = concerns(config, overview);
        let status_key = all.iter().map(|concern| concern.key).collect::<Vec<_>>().join(" ");
        let mut all = all.into_iter().peekable();
        // A note alone is no reason for concern.
        let headline = all.next_if(|concern| concern.level > Level::Note).unwrap_or_else(|| well(overview));
        OverviewView {
            shell: Shell::of(Section::Overview, headline.text.clone(), "/".to_owned(), now).level(headline.level),
            status_key: if status_key.is_empty() { "well".to_owned() } else { status_key },
            others: all.collect(),
            headline,
            health: health(overview),
            endpoints: overview.endpoints.iter().map(|endpoint| EndpointRow::new(endpoint, overview)).collect(),
            charts: charts(&overview.history, now),
            problems: overview.problems.iter().take(10).map(|recent| RecentRow::new(recent, now)).collect(),
            started: When::new(overview.started, now),
        }
    }
}

/// Returns the sentence of a receiver without a problem.
fn well(overview: &Overview) -> Concern {
    let last = overview.endpoints.iter().filter_map(|endpoint| endpoint.last_genuine).max();
    let mut concern = Concern::new("well", Level::Good, "All well".to_owned());
    concern.at = Some(When::new(last.unwrap_or(overview.started), overview.now));
    concern.at_label = match last {
        Some(_) => "The last genuine delivery arrived",
        None => "No genuine delivery since the start",
    };
    concern
}

fn health(overview: &Overview) -> Vec<HealthPart> {
    let now = overview.now;
    let part = |level, name, state: String, more| HealthPart { level, name, state, more };
    let running = format!("started {}", relative(overview.started, now));
    let mut parts = vec![
        match overview.not_ready.map(str::trim) {
            None => part(Level::Good, "Receiver", "ready".to_owned(), Some(running)),
            Some(problem) => part(Level::Bad, "Receiver", format!("not ready: {}", shown(problem)), Some(running)),
        },
        match overview.is_store_up {
            true => part(Level::Good, "Store", "up".to_owned(), Some(shown(&overview.store))),
            false => part(Level::Bad, "Store", "unavailable".to_owned(), Some(shown(&overview.store))),
        },
    ];
    if let Some(inbox) = &overview.inbox {
        let bodies = format!("bodies {}", shown(&inbox.bodies));
        let sampled = inbox.sampled.map(|sampled| format!("counted {}", relative(sampled, now)));
        parts.push(match (inbox.is_failing, sampled) {
            (true, sampled) => part(Level::Bad, "Inbox", "could not be read".to_owned(), sampled),
            (false, Some(sampled)) => part(Level::Good, "Inbox", sampled, Some(bodies)),
            (false, None) => part(Level::Note, "Inbox", "not yet counted".to_owned(), Some(bodies)),
        });
    }
    parts.push(applications(overview));
    let level = if overview.connections >= overview.max_connections { Level::Warn } else { Level::Good };
    let used = format!("{} of {}", grouped(overview.connections as u64), grouped(overview.max_connections as u64));
    parts.push(part(level, "Connections", used, None));
    parts
}

fn applications(overview: &Overview) -> HealthPart {
    let all: Vec<_> = overview.endpoints.iter().filter_map(|endpoint| endpoint.application.as_ref()).collect();
    let away = all.iter().filter(|application| application.is_breaker_open).count() as u64;
    let failing =
        all.iter().filter(|application| application.is_failing && !application.is_breaker_open).count() as u64;
    let (level, state) = match (all.len(), away, failing) {
        (0, _, _) => (Level::Good, "standard output".to_owned()),
        (all, 0, 0) => (Level::Good, format!("{all} of {all} well")),
        (all, 0, failing) => (Level::Warn, format!("{failing} of {all} failing")),
        (all, away, _) => (Level::Bad, format!("{away} of {all} unreachable")),
    };
    HealthPart { level, name: "Applications", state, more: None }
}

impl EndpointRow {
    fn new(endpoint: &EndpointState, overview: &Overview) -> Self {
        let now = overview.now;
        let (spark, activity) = spark(&endpoint.history, now);
        let events = |status| link("/inbox", &[("endpoint", Some(&*endpoint.name)), ("status", Some(status))]);
        EndpointRow {
            name: shown(&endpoint.name),
            deliveries: link("/deliveries", &[("endpoint", Some(&endpoint.name))]),
            provider: shown(&endpoint.provider),
            path: shown(&endpoint.path),
            spark,
            activity,
            badges: badges(endpoint, overview),
            has_inbox: endpoint.has_inbox,
            counts: endpoint.inbox.as_ref().map(|counts| CountsCells {
                waiting: Figure::new(counts.waiting, "figure", events("waiting")),
                processing: Figure::new(counts.processing, "figure", events("processing")),
                dead: Figure::new(counts.dead, "figure bad", events("dead")),
                oldest: counts.oldest.map(span),
            }),
            application: endpoint.application.as_ref().map(|application| ApplicationCell {
                target: shown(&application.target),
                last_answer: application.last_answer.as_ref().map(|(time, answer)| {
                    let answer = answered(answer);
                    let answer = answer.strip_prefix("the application ").map(str::to_owned).unwrap_or(answer);
                    (answer, When::new(*time, now))
                }),
            }),
            last_genuine: endpoint.last_genuine.map(|time| When::new(time, now)),
            expected: endpoint.expect_every.map(|expected| format!("expected every {}", span(expected))),
            secrets: endpoint
                .secrets
                .iter()
                .take(16)
                .map(|secret| SecretCell {
                    label: shown(&secret.label),
                    is_test: secret.is_test,
                    last_used: secret.last_used.map(|time| When::new(time, now)),
                })
                .collect(),
        }
    }
}

fn badges(endpoint: &EndpointState, overview: &Overview) -> Vec<Badge> {
    let mut badges = Vec::new();
    if let Some(application) = &endpoint.application {
        if application.is_breaker_open {
            badges.push(Badge::new(Level::Bad, "unreachable"));
        } else if application.is_failing {
            badges.push(Badge::new(Level::Warn, "failing"));
        }
    }
    if let Some(counts) = &endpoint.inbox {
        if counts.dead > 0 {
            badges.push(Badge::new(Level::Bad, number(counts.dead, "dead", "dead")));
        }
        if counts.paused {
            badges.push(Badge::new(Level::Warn, "paused"));
        }
    }
    let since = overview.now.duration_since(endpoint.last_genuine.unwrap_or(overview.started)).unwrap_or_default();
    if endpoint.expect_every.is_some_and(|expected| since > expected) {
        badges.push(Badge::new(Level::Warn, "silent"));
    }
    if badges.is_empty() {
        badges.push(match endpoint.last_genuine.is_some() {
            true => Badge::new(Level::Good, "well"),
            false => Badge::new(Level::Note, "no delivery yet"),
        });
    }
    badges
}
