//! The events of the inbox.

use std::path::Path;

use askama::Template;
use medhook::inbox::{Entry, Hold, Status};

use super::super::observed::EventsQuery;
use super::super::observed::state::EventsState;
use super::shell::{Section, Shell};
use super::text::{Badge, Choice, Level, When, link, shown};
use crate::commands::{inbox_command, shell_word};
use crate::words::{grouped, held, next, reason};

/// A cause for which events are not handled, and the command that ends it.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) text: String,
    pub(super) command: String,
}

/// Returns why events are not handled: a hold, or paused endpoints.
pub(super) fn stops<'n>(config: &Path, hold: Hold, paused: impl Iterator<Item = &'n str>) -> Vec<Stop> {
    let hold =
        held(hold).map(|held| Stop { text: format!("The inbox is {held}"), command: inbox_command(config, "release") });
    let paused = paused.map(|name| {
        let name = shown(name);
        Stop {
            command: inbox_command(config, &format!("resume {}", shell_word(&name))),
            text: format!("{name} is paused"),
        }
    });
    hold.into_iter().chain(paused).collect()
}

struct KindRow {
    key: String,
    endpoint: String,
    kind: String,
    status: &'static str,
    badge: Badge,
    count: String,
    href: String,
}

struct EventRow {
    id: i64,
    badge: Badge,
    stored_at: When,
    endpoint: String,
    kind: String,
    reason: Option<(String, String)>,
    next: Option<String>,
    attempts: u32,
}

#[derive(Template)]
#[template(path = "inbox.html")]
pub(super) struct EventsView {
    shell: Shell,
    stops: Vec<Stop>,
    kinds: Vec<KindRow>,
    is_complete: bool,
    stats: String,
    commands: Vec<(&'static str, String)>,
    heading: String,
    endpoints: Vec<Choice>,
    statuses: Vec<Choice>,
    kind_value: String,
    kind_names: Vec<String>,
    is_filtered: bool,
    rows: Vec<EventRow>,
    none: &'static str,
    newest: Option<String>,
    next: Option<String>,
}

const STATUSES: [Status; 5] = [Status::Waiting, Status::Processing, Status::Dead, Status::Done, Status::Discarded];

/// The rows of each table.
const MOST: usize = 500;

impl EventsView {
    pub(super) fn new(config: &Path, query: &EventsQuery, state: &EventsState) -> Self {
        let (endpoint, status) = (query.endpoint.as_deref(), query.status.map(Status::as_str));
        let kind = query.kind.as_deref();
        let filter = [("endpoint", endpoint), ("status", status), ("kind", kind)];
        let at = |before: Option<i64>| {
            let before = before.map(|id| id.to_string());
            let [endpoint, status, kind] = filter;
            link("/inbox", &[endpoint, status, kind, ("before", before.as_deref())])
        };
        let is_filtered = filter.iter().any(|(_, value)| value.is_some());
        let mut kind_names: Vec<_> = state.kinds.iter().map(|kind| shown(&kind.kind)).collect();
        kind_names.sort_unstable();
        kind_names.dedup();
        kind_names.truncate(100);
        let older = if query.before.is_some() { ", older" } else { "" };
        EventsView {
            shell: Shell::of(Section::Inbox, "Inbox", at(query.before), state.now),
            stops: stops(config, state.hold, state.paused.iter().map(String::as_str)),
            kinds: state.kinds.iter().take(MOST).map(KindRow::new).collect(),
            is_complete: state.is_complete && state.kinds.len() <= MOST,
            stats: inbox_command(config, "stats"),
            commands: commands(config, query, state),
            heading: format!("{}{older}", heading(endpoint, status, kind)),
            endpoints: Choice::all(state.endpoints.iter().map(String::as_str), endpoint),
            statuses: Choice::all(STATUSES.into_iter().map(Status::as_str), status),
            kind_value: kind.map(shown).unwrap_or_default(),
            kind_names,
            is_filtered,
            rows: state.page.iter().take(MOST).map(|entry| EventRow::new(entry, state)).collect(),
            none: match (is_filtered, query.before) {
                (true, _) => "No events match.",
                (false, Some(_)) => "There are no older events.",
                (false, None) => "The inbox has no events.",
            },
            newest: query.before.map(|_| at(None)),
            next: state.next.map(|id| at(Some(id))),
        }
    }
}

impl KindRow {
    fn new(state: &super::super::observed::state::KindState) -> Self {
        let status = state.status.as_str();
        let filter = [("endpoint", Some(&*state.endpoint)), ("status", Some(status)), ("kind", Some(&*state.kind))];
        KindRow {
            key: format!("{} {} {status}", shown(&state.endpoint), shown(&state.kind)),
            endpoint: shown(&state.endpoint),
            kind: shown(&state.kind),
            status,
            badge: Badge::of(state.status),
            count: grouped(state.count),
            href: link("/inbox", &filter),
        }
    }
}

impl EventRow {
    fn new(entry: &Entry, state: &EventsState) -> Self {
        EventRow {
            id: entry.id,
            badge: Badge::of(entry.status),
            stored_at: When::new(entry.stored_at, state.now),
            endpoint: shown(&entry.endpoint),
            kind: shown(&entry.kind),
            reason: entry.reason.as_deref().map(|code| {
                let words = reason(code);
                (shown(code), words.unwrap_or_else(|| "the reason that the application gave".to_owned()))
            }),
            next: next(entry, state.now),
            attempts: entry.attempts,
        }
    }
}

fn heading(endpoint: Option<&str>, status: Option<&str>, kind: Option<&str>) -> String {
    let mut text = match status {
        Some(status) => format!("{} events", shown(status)),
        None if endpoint.is_none() && kind.is_none() => return "All events".to_owned(),
        None => "Events".to_owned(),
    };
    if let Some(kind) = kind {
        text.push_str(&format!(" of kind {}", shown(kind)));
    }
    if let Some(endpoint) = endpoint {
        text.push_str(&format!(" at {}", shown(endpoint)));
    }
    text
}

/// Returns the commands for dead events, if there are any.
fn commands(config: &Path, query: &EventsQuery, state: &EventsState) -> Vec<(&'static str, String)> {
    let is_dead = |status| status == Status::Dead;
    if !state.kinds.iter().any(|kind| is_dead(kind.status)) && !state.page.iter().any(|entry| is_dead(entry.status)) {
        return Vec::new();
    }
    // An endpoint of the list, so that a link to this page cannot put another text into a command.
    let known = query.endpoint.as_deref().filter(|name| state.endpoints.iter().any(|endpoint| endpoint == name));
    let selected = match known {
        Some(name) => format!("--endpoint {} --status dead", shell_word(&shown(name))),
        None => "--status dead".to_owned(),
    };
    vec![
        ("one", inbox_command(config, "replay ID")),
        ("all", inbox_command(config, &format!("replay {selected} --dry-run"))),
    ]
}
