//! The sentences at the top of the overview, most important first.

use std::path::Path;
use std::time::{Duration, SystemTime};

use medhook::inbox::EndpointCounts;

use super::super::observed::state::{ApplicationState, EndpointState, InboxState, Overview};
use super::text::{Level, When, answered, link, shown};
use crate::commands::{inbox_command, shell_word};
use crate::words::{grouped, held, number, span};

/// A sentence about the state of the receiver, and what to do.
#[derive(Debug)]
pub(super) struct Concern {
    /// Identifies the concern while its numbers change.
    pub(super) key: &'static str,
    pub(super) level: Level,
    pub(super) text: String,
    pub(super) at: Option<When>,
    pub(super) at_label: &'static str,
    pub(super) step: Option<&'static str>,
    pub(super) command: Option<String>,
    pub(super) link: Option<(String, &'static str)>,
}

impl Concern {
    pub(super) fn new(key: &'static str, level: Level, text: String) -> Self {
        Concern { key, level, text, at: None, at_label: "since", step: None, command: None, link: None }
    }

    fn step(self, step: &'static str) -> Self {
        Concern { step: Some(step), ..self }
    }

    fn command(self, config: &Path, rest: &str) -> Self {
        Concern { command: Some(inbox_command(config, rest)), ..self }
    }

    fn link(self, href: String, label: &'static str) -> Self {
        Concern { link: Some((href, label)), ..self }
    }

    /// Links to the deliveries of an endpoint, or of all if there are several.
    fn deliveries(self, endpoints: &[&EndpointState]) -> Self {
        match endpoints {
            [endpoint] => self.link(link("/deliveries", &[("endpoint", Some(&endpoint.name))]), "Its deliveries"),
            _ => self.link("/deliveries".to_owned(), "Deliveries"),
        }
    }

    fn at(self, label: &'static str, time: Option<SystemTime>, now: SystemTime) -> Self {
        Concern { at: time.map(|time| When::new(time, now)), at_label: label, ..self }
    }
}

/// Events that wait longer are late. The alert of contrib/prometheus has the same bound.
const LATE: Duration = Duration::from_secs(15 * 60);

/// A secret can count as unused after this time.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// Returns all concerns.
pub(super) fn concerns(config: &Path, overview: &Overview) -> Vec<Concern> {
    let mut all: Vec<_> = [receiver(overview), store(overview), connections(overview)].into_iter().flatten().collect();
    all.extend(unreachable(overview));
    all.extend(dead(config, overview));
    if let Some(inbox) = &overview.inbox {
        all.extend(sample(inbox, overview.now));
        all.extend(
            held(inbox.hold).map(|held| {
                Concern::new("hold", Level::Warn, format!("The inbox is {held}")).command(config, "release")
            }),
        );
        all.extend(others(config, inbox));
    }
    all.extend(paused(config, overview));
    all.extend(late(config, overview));
    all.extend(rejecting(overview));
    all.extend(failing(overview));
    all.extend(silent(overview));
    all.extend(unused(overview));
    // Concerns of the same level stay in the order above, which is that of importance.
    all.sort_by_key(|concern| std::cmp::Reverse(concern.level));
    all
}

fn receiver(overview: &Overview) -> Option<Concern> {
    let problem = overview.not_ready?.trim();
    Some(match problem {
        "starting" => Concern::new("starting", Level::Warn, "The receiver is starting".to_owned()),
        "shutting down" => Concern::new("ending", Level::Warn, "The receiver is shutting down".to_owned()),
        _ => Concern::new("not_ready", Level::Bad, format!("Not ready: {}", shown(problem)))
            .step("Deliveries should go to another receiver until /readyz is 200 again."),
    })
}

fn store(overview: &Overview) -> Option<Concern> {
    (!overview.is_store_up).then(|| {
        let text = format!("The store is unavailable: {}", shown(&overview.store));
        Concern::new("store", Level::Bad, text).step("Check that it runs, has space, and can be reached from here.")
    })
}

fn connections(overview: &Overview) -> Option<Concern> {
    (overview.connections >= overview.max_connections && overview.max_connections > 0).then(|| {
        let text = format!("All {} connections are in use", grouped(overview.max_connections as u64));
        Concern::new("connections", Level::Warn, text).step("New ones wait. Raise max_connections if they are genuine.")
    })
}

/// Names the endpoints with a concern: at most three of them.
fn names<'e>(endpoints: impl Iterator<Item = &'e EndpointState>) -> String {
    let names: Vec<_> = endpoints.map(|endpoint| shown(&endpoint.name)).collect();
    let (first, more) = (names.iter().take(3).map(String::as_str).collect::<Vec<_>>(), names.len().saturating_sub(3));
    match more {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

fn with_application<'o>(
    overview: &'o Overview,
    is_meant: impl Fn(&ApplicationState) -> bool + 'o,
) -> Vec<&'o EndpointState> {
    let meant = move |endpoint: &&EndpointState| endpoint.application.as_ref().is_some_and(&is_meant);
    overview.endpoints.iter().filter(meant).collect()
}

fn unreachable(overview: &Overview) -> Option<Concern> {
    let away = with_application(overview, |application| application.is_breaker_open);
    let first = *away.first()?;
    let last_answer = first.application.as_ref().and_then(|application| application.last_answer.as_ref());
    let text = format!("{}: the application is unreachable", names(away.iter().copied()));
    Some(
        Concern::new("unreachable", Level::Bad, text)
            .at("last tried", last_answer.map(|(time, _)| *time), overview.now)
            .step("Start the application. Its events wait, and are then attempted by themselves."),
    )
}

fn counts(overview: &Overview) -> impl Iterator<Item = (&EndpointState, &EndpointCounts)> {
    overview.endpoints.iter().filter_map(|endpoint| endpoint.inbox.as_ref().map(|counts| (endpoint, counts)))
}

fn dead(config: &Path, overview: &Overview) -> Option<Concern> {
    let dead: Vec<_> = counts(overview).filter(|(_, counts)| counts.dead > 0).collect();
    let sum = dead.iter().map(|(_, counts)| counts.dead).fold(0, u64::saturating_add);
    (sum > 0).then(|| {
        let text = format!(
            "{} dead: {}",
            number(sum, "event is", "events are"),
            names(dead.iter().map(|(endpoint, _)| *endpoint))
        );
        Concern::new("dead", Level::Bad, text)
            .step(if sum == 1 { "Remove the cause, then replay it." } else { "Remove the cause, then replay them." })
            .command(config, "list --status dead")
            .link(link("/inbox", &[("status", Some("dead"))]), "Dead events")
    })
}

fn sample(inbox: &InboxState, now: SystemTime) -> Option<Concern> {
    let text = "The inbox could not be read, so its numbers are older";
    inbox.is_failing.then(|| Concern::new("sample", Level::Bad, text.to_owned()).at("read", inbox.sampled, now))
}

fn others(config: &Path, inbox: &InboxState) -> Option<Concern> {
    let left = |counts: &EndpointCounts| counts.waiting.saturating_add(counts.processing);
    let sum = inbox.others.iter().map(left).fold(0, u64::saturating_add);
    let first = inbox.others.iter().find(|counts| left(counts) > 0)?;
    let name = shown(&first.endpoint);
    let more = inbox.others.iter().filter(|counts| left(counts) > 0).count().saturating_sub(1);
    let and = if more > 0 { format!(" and {more} more") } else { String::new() };
    let text =
        format!("{} for {name}{and}, which this receiver does not have", number(sum, "event waits", "events wait"));
    Some(
        Concern::new("others", Level::Warn, text)
            .step("Give an endpoint that name again, or run the receiver that has it.")
            .command(config, "list --status waiting"),
    )
}

fn paused(config: &Path, overview: &Overview) -> Option<Concern> {
    let paused: Vec<_> = counts(overview).filter(|(_, counts)| counts.paused).map(|(endpoint, _)| endpoint).collect();
    let first = shown(&paused.first()?.name);
    let text = format!(
        "{} paused: events are stored, and not handled",
        match paused.len() {
            1 => format!("{first} is"),
            _ => format!("{} are", names(paused.iter().copied())),
        }
    );
    Some(Concern::new("paused", Level::Warn, text).command(config, &format!("resume {first}")))
}

/// Events that are late for no reason that another concern names.
fn late(config: &Path, overview: &Overview) -> Option<Concern> {
    let is_held = overview.inbox.as_ref().is_some_and(|inbox| held(inbox.hold).is_some());
    let is_explained = |endpoint: &EndpointState, counts: &EndpointCounts| {
        counts.paused || endpoint.application.as_ref().is_some_and(|application| application.is_breaker_open)
    };
    let late = counts(overview).filter(|(endpoint, counts)| !is_held && !is_explained(endpoint, counts));
    let (endpoint, oldest) =
        late.filter_map(|(endpoint, counts)| Some((endpoint, counts.oldest?))).max_by_key(|(_, oldest)| *oldest)?;
    (oldest >= LATE).then(|| {
        let name = shown(&endpoint.name);
        Concern::new("late", Level::Warn, format!("{name}: the oldest event waits {}", span(oldest)))
            .command(config, &format!("list --endpoint {} --status waiting", shell_word(&name)))
            .link(link("/inbox", &[("endpoint", Some(&endpoint.name)), ("status", Some("waiting"))]), "Waiting events")
    })
}

/// Endpoints all of whose latest deliveries were rejected.
fn rejecting(overview: &Overview) -> Option<Concern> {
    let recent = |endpoint: &EndpointState| {
        let points = endpoint.history.points.iter().rev();
        let within = u32::try_from(LATE.as_secs() / endpoint.history.step.as_secs().max(1)).unwrap_or(u32::MAX).max(1);
        points.take(usize::try_from(within).unwrap_or(usize::MAX)).fold((0_u64, 0_u64), |(rejected, other), point| {
            let good = point.accepted.saturating_add(point.repeated).saturating_add(point.failed);
            (rejected.saturating_add(point.rejected), other.saturating_add(good))
        })
    };
    let is_rejecting = |endpoint: &&EndpointState| matches!(recent(endpoint), (3.., 0));
    let rejecting: Vec<_> = overview.endpoints.iter().filter(is_rejecting).collect();
    let first = *rejecting.first()?;
    let sum = rejecting.iter().map(|endpoint| recent(endpoint).0).fold(0, u64::saturating_add);
    let text =
        format!("{}: all of the latest {} deliveries were rejected", names(rejecting.iter().copied()), grouped(sum));
    // If several endpoints reject, the link leads to the rejections of all.
    let endpoint = Some(&*first.name).filter(|_| rejecting.len() == 1);
    let filter = [("endpoint", endpoint), ("outcome", Some("rejected"))];
    Some(
        Concern::new("rejecting", Level::Bad, text)
            .step("Compare the secret, and what a proxy changes, with what the provider signs.")
            .link(link("/deliveries", &filter), "Rejected deliveries"),
    )
}

fn failing(overview: &Overview) -> Option<Concern> {
    let failing = with_application(overview, |application| application.is_failing && !application.is_breaker_open);
    let last = |endpoint: &EndpointState| {
        endpoint.application.as_ref().and_then(|application| application.last_answer.clone())
    };
    let answers: Vec<_> = failing.iter().map(|endpoint| last(endpoint).map(|(_, answer)| answered(&answer))).collect();
    let what = match answers.first()? {
        Some(first) if answers.iter().all(|answer| answer.as_ref() == Some(first)) => first,
        // The rows of the endpoints have the answer of each.
        _ => "the last event failed",
    };
    let time = failing.iter().filter_map(|endpoint| last(endpoint)).map(|(time, _)| time).max();
    let text = format!("{}: {what}", names(failing.iter().copied()));
    Some(Concern::new("failing", Level::Warn, text).at("", time, overview.now).deliveries(&failing))
}

/// Endpoints without a genuine delivery for longer than `expect_every`.
fn silent(overview: &Overview) -> Option<Concern> {
    let since = |endpoint: &EndpointState| endpoint.last_genuine.unwrap_or(overview.started);
    let is_silent = |endpoint: &&EndpointState| {
        endpoint
            .expect_every
            .is_some_and(|expected| overview.now.duration_since(since(endpoint)).unwrap_or_default() > expected)
    };
    let silent: Vec<_> = overview.endpoints.iter().filter(is_silent).collect();
    let first = *silent.first()?;
    let passed = span(overview.now.duration_since(since(first)).unwrap_or_default());
    let text = format!("{}: no genuine delivery for {passed}", names(silent.iter().copied()));
    Some(
        Concern::new("silent", Level::Warn, text)
            .step("Check at the provider that the endpoint is enabled, and its URL and secret are right.")
            .deliveries(&silent),
    )
}

/// A secret that is not needed, at an endpoint whose other secrets verify deliveries.
fn unused(overview: &Overview) -> Option<Concern> {
    if overview.now.duration_since(overview.started).unwrap_or_default() < LONG {
        return None;
    }
    let in_use = overview
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.secrets.iter().any(|secret| !secret.is_test && secret.last_used.is_some()));
    let unused: Vec<_> = in_use
        .flat_map(|endpoint| endpoint.secrets.iter().map(move |secret| (endpoint, secret)))
        .filter(|(_, secret)| !secret.is_test && secret.last_used.is_none())
        .collect();
    let (endpoint, secret) = unused.first()?;
    let more = unused.len().saturating_sub(1);
    let and = if more > 0 { format!(" and {more} more") } else { String::new() };
    let text = format!("{}: secret {}{and} has verified nothing", shown(&endpoint.name), shown(&secret.label));
    Some(
        Concern::new("unused", Level::Note, text)
            .at("since", Some(overview.started), overview.now)
            .step("Remove it if the rotation is over."),
    )
}
