//! One event with its timeline.

use std::path::Path;

use askama::Template;
use medhook::inbox::{AuditEntry, Entry, Status};

use super::super::observed::state::{EventState, Recent};
use super::events::{Stop, stops};
use super::recents::{explained, level};
use super::shell::{Section, Shell};
use super::text::{Badge, Level, When, shown};
use crate::commands::inbox_command;
use crate::words::{advice, bytes, number, steps, why};

/// An entry of the timeline.
struct Step {
    key: String,
    level: Level,
    what: String,
    at: When,
    lines: Vec<String>,
}

#[derive(Template)]
#[template(path = "event.html")]
pub(super) struct EventView {
    shell: Shell,
    id: i64,
    badge: Badge,
    sentence: String,
    at: Option<When>,
    at_label: &'static str,
    stops: Vec<Stop>,
    advice: Option<String>,
    commands: Vec<(&'static str, String)>,
    facts: Vec<(&'static str, String)>,
    steps: Vec<Step>,
    left_out: Option<String>,
}

impl EventView {
    pub(super) fn new(config: &Path, state: &EventState) -> Self {
        let entry = &state.entry;
        let badge = Badge::of(entry.status);
        let shell = Shell::of(Section::Inbox, format!("Event {}", entry.id), format!("/inbox/{}", entry.id), state.now);
        let (at, at_label) = ending(entry);
        let reason = why(entry).map(|why| format!(": {}", shown(&why))).unwrap_or_default();
        let waits = entry.status == Status::Waiting;
        let paused = state.is_paused.then_some(&*entry.endpoint);
        EventView {
            shell: shell.below().level(badge.level),
            id: entry.id,
            sentence: match entry.status {
                Status::Waiting if reason.is_empty() => "waiting for its first attempt".to_owned(),
                Status::Waiting => format!("waiting after a failed attempt{reason}"),
                Status::Processing => "being handled".to_owned(),
                status => format!("{}{reason}", status.as_str()),
            },
            badge,
            at: at.map(|at| When::new(at, state.now)),
            at_label,
            stops: if waits { stops(config, state.hold, paused.into_iter()) } else { Vec::new() },
            advice: advice(entry).map(|advice| format!("Next: {advice}.")),
            commands: steps(entry).into_iter().map(|(name, rest)| (name, inbox_command(config, &rest))).collect(),
            facts: facts(entry),
            steps: timeline(state),
            left_out: left_out(state),
        }
    }
}

fn ending(entry: &Entry) -> (Option<std::time::SystemTime>, &'static str) {
    match entry.status {
        Status::Waiting => (entry.due, "next attempt"),
        Status::Processing => (entry.due, "the lease ends"),
        _ => (entry.ended_at, "ended"),
    }
}

fn facts(entry: &Entry) -> Vec<(&'static str, String)> {
    let key = entry.event_key.map_or_else(
        || "not readable: sealed under a key that is not in `inbox_key`".to_owned(),
        |key| format!("{key}…"),
    );
    let stored = if entry.has_body { "stored, not shown" } else { "deleted" };
    let replays = match entry.replays {
        0 => String::new(),
        1 => " since the replay".to_owned(),
        more => format!(" since the last of {more} replays"),
    };
    vec![
        ("Endpoint", shown(&entry.endpoint)),
        ("Provider", shown(&entry.provider)),
        ("Kind", shown(&entry.kind)),
        ("Event key", key),
        ("Secret", shown(&entry.secret)),
        ("Body", format!("{}, {stored}", bytes(entry.size))),
        ("Attempts", format!("{}{replays}", entry.attempts)),
    ]
}

/// Returns what is known of the event, oldest first, with what is due last.
fn timeline(state: &EventState) -> Vec<Step> {
    let (entry, now) = (&state.entry, state.now);
    let step = |key: String, level, what: String, time, lines| {
        (time, Step { key, level, what, at: When::new(time, now), lines })
    };
    let mut steps = vec![step("stored".to_owned(), Level::Good, "stored".to_owned(), entry.stored_at, Vec::new())];
    for (at, attempt) in state.attempts.iter().enumerate() {
        let (what, lines) = attempted(attempt);
        steps.push(step(format!("attempt {at}"), level(attempt.outcome), what, attempt.time, lines));
    }
    for act in &state.audit {
        let AuditEntry { id, at, actor, action, reason, .. } = act;
        let what = format!("{} by {}", shown(action), shown(actor));
        steps.push(step(format!("audit {id}"), Level::Note, what, *at, vec![format!("because: {}", shown(reason))]));
    }
    if let Some(ended) = entry.ended_at {
        let lines = why(entry).iter().map(|why| shown(why)).collect();
        let level = Badge::of(entry.status).level;
        steps.push(step("ended".to_owned(), level, entry.status.as_str().to_owned(), ended, lines));
    }
    // Entries of the same time stay in the order above, in which they happened.
    steps.sort_by_key(|(time, _)| *time);
    if let Some(due) = entry.due {
        let what = match entry.status {
            Status::Waiting if due <= now => "due",
            Status::Waiting => "next attempt",
            _ => "the lease ends",
        };
        steps.push(step("due".to_owned(), Level::Note, what.to_owned(), due, Vec::new()));
    }
    steps.into_iter().map(|(_, step)| step).collect()
}

fn attempted(recent: &Recent) -> (String, Vec<String>) {
    let (number, is_replay) = recent.attempt.as_ref().map_or((0, false), |attempt| (attempt.number, attempt.is_replay));
    let replay = if is_replay { " after a replay" } else { "" };
    let reason = recent.reason.as_deref().map(|reason| format!(": {}", shown(reason))).unwrap_or_default();
    let what = format!("attempt {number}{replay}: {}{reason}", recent.outcome);
    (what, explained(recent).into_iter().chain(recent.next_step.as_deref().map(shown)).collect())
}

/// Returns a note if attempts are missing in the timeline.
fn left_out(state: &EventState) -> Option<String> {
    let current = |recent: &&Recent| {
        recent.attempt.as_ref().is_some_and(|attempt| attempt.is_replay == (state.entry.replays > 0))
    };
    let known = state.attempts.iter().filter(current).count() as u64;
    let missing = u64::from(state.entry.attempts).saturating_sub(known);
    (missing > 0).then(|| {
        let missing = number(missing, "attempt is", "attempts are");
        format!("{missing} not listed: made by another receiver, or by this one before its start or long ago.")
    })
}
