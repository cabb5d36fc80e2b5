//! `medhook inbox replay`.

use std::io::Write;
use std::time::SystemTime;

use medhook::inbox::{Replayed, Status};
use serde::Serialize;

use super::each::{Changes, Outcome, Selected};
use super::entry::json_line;
use super::filter::{FilterOptions, StatusName};
use super::options::{AuditOptions, InboxOptions};
use super::pages::Pages;
use super::progress::Progress;
use super::rate::Rate;
use super::session::{Session, failed};
use super::stats::stopped;
use crate::failure::Failure;
use crate::output::{print_error, print_text};
use crate::verdict::Verdict;
use crate::words::{age, grouped, number};

/// Make events due again: those with these ids, or all that the filters select.
///
/// With filters, dead events are replayed unless --status says otherwise. A replayed
/// event has new attempts and the same webhook-id, and the application gets
/// `medhook-replay`. A done event can be replayed while its body is kept (`retain_done`).
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  medhook inbox replay 1234 1240 --because \"ticket 4711\"\n  \
        medhook inbox replay --endpoint fasten --status dead --since 6h --dry-run\n  \
        medhook inbox replay --endpoint fasten --status dead --since 6h --rate 10/s"
)]
pub(super) struct ReplayArgs {
    /// Ids of events, from `medhook inbox list`
    #[arg(value_name = "ID")]
    ids: Vec<i64>,
    #[command(flatten)]
    options: InboxOptions,
    #[command(flatten)]
    filter: FilterOptions,
    /// Print how many events would be replayed, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Replay at most so many events per second or minute, such as 10/s or 30/m
    #[arg(long, value_name = "N/s", value_parser = Rate::parse)]
    rate: Option<Rate>,
    #[command(flatten)]
    audit: AuditOptions,
}

/// Runs the command.
pub(super) async fn run(args: &ReplayArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    check_selection(&args.ids, &args.filter, "replay")?;
    if let Some(status @ (StatusName::Processing | StatusName::Discarded)) = args.filter.status {
        let status = Status::from(status).as_str();
        return Err(Failure::new(format!("--status {status}: such events cannot be replayed")));
    }
    let operator = args.audit.operator()?;
    let session = Session::open(&args.options).await?;
    if args.dry_run {
        return dry_run(args, &session, out).await;
    }
    let (selected, total) = select(&session, &args.ids, &args.filter).await?;
    let plan = Changes {
        session: &session,
        json: args.options.json,
        rate: args.rate,
        total: Some(total),
        verb: "replayed",
        became: ["; it is due now", "; they are due now"],
    };
    let replay = async |id| Ok(outcome(session.inbox.replay(id, &operator).await.map_err(failed)?));
    let verdict = plan.run(selected, replay, out).await?;
    for line in stopped(&session, &args.options).await? {
        print_error(&format!("not handled yet: {line}"));
    }
    Ok(verdict)
}

fn outcome(replayed: Replayed) -> Outcome {
    match replayed {
        Replayed::Due => Outcome::done("due"),
        Replayed::NotFound => Outcome::not_done("not_found", "not in the inbox; it never was, or was purged"),
        Replayed::Processing => Outcome::not_done("processing", "a worker is handling it; wait for the result"),
        Replayed::BodyDeleted => Outcome::not_done("body_deleted", "it is done, and its body was deleted"),
        Replayed::Discarded => Outcome::not_done("discarded", "it was discarded, and its body was deleted"),
        Replayed::StoredAgain => {
            Outcome::not_done("stored_again", "it was stored a second time, and that one is unfinished")
        }
        _ => Outcome::not_done("unknown", "for a reason that this medhook does not know"),
    }
}

/// Checks that events are named by ids, or selected by filters.
pub(super) fn check_selection(ids: &[i64], filter: &FilterOptions, verb: &str) -> Result<(), Failure> {
    match (ids.is_empty(), filter.is_empty()) {
        (true, true) => Err(Failure::new(format!(
            "name the events to {verb} by their ids, or select them, for example with --endpoint NAME --status dead"
        ))),
        (false, false) => Err(Failure::new(format!("{verb} either these ids or what filters select, not both"))),
        _ => Ok(()),
    }
}

/// Returns the pages that filters select. Without a status, they select dead events.
fn pages(filter: &FilterOptions) -> Pages {
    let status = filter.status.unwrap_or(StatusName::Dead);
    Pages::new(filter.filter().status(status.into()), filter.limit)
}

/// Returns the events to change, and their number.
pub(super) async fn select(session: &Session, ids: &[i64], filter: &FilterOptions) -> Result<(Selected, u64), Failure> {
    if ids.is_empty() {
        let counted = count(session, filter).await?;
        return Ok((Selected::Pages(Box::new(pages(filter))), counted.with_body));
    }
    let ids = unique(ids);
    let total = ids.len() as u64;
    Ok((Selected::Ids(ids), total))
}

/// Returns the ids in their order, each once.
fn unique(ids: &[i64]) -> Vec<i64> {
    let mut seen = std::collections::HashSet::new();
    ids.iter().copied().filter(|id| seen.insert(*id)).collect()
}

/// The events that filters select.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) with_body: u64,
    pub(super) without_body: u64,
    pub(super) oldest: Option<SystemTime>,
}

/// Counts the events that filters select.
pub(super) async fn count(session: &Session, filter: &FilterOptions) -> Result<Counted, Failure> {
    let (mut pages, mut counted, mut progress) = (pages(filter), Counted::default(), Progress::new());
    loop {
        let page = pages.next(session).await?;
        if page.is_empty() {
            return Ok(counted);
        }
        for entry in page {
            if entry.has_body {
                counted.with_body = counted.with_body.saturating_add(1);
                counted.oldest = Some(counted.oldest.map_or(entry.stored_at, |oldest| oldest.min(entry.stored_at)));
            } else {
                counted.without_body = counted.without_body.saturating_add(1);
            }
        }
        progress.update(|| format!("{} counted", grouped(counted.with_body)));
    }
}

#[derive(Serialize)]
struct DryRunLine {
    dry_run: bool,
    events: u64,
}

async fn dry_run(args: &ReplayArgs, session: &Session, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let mut counted = Counted::default();
    let mut problems = Vec::new();
    if args.ids.is_empty() {
        counted = count(session, &args.filter).await?;
    }
    for id in unique(&args.ids) {
        match session.inbox.show(id).await.map_err(failed)? {
            None => problems.push(format!("event {id} is not in the inbox")),
            Some(entry) if matches!(entry.status, Status::Processing | Status::Discarded) => {
                problems.push(format!("event {id} is {}", entry.status.as_str()));
            }
            Some(entry) if !entry.has_body => problems.push(format!("the body of event {id} was deleted")),
            Some(entry) => {
                counted.with_body = counted.with_body.saturating_add(1);
                counted.oldest = Some(counted.oldest.map_or(entry.stored_at, |oldest| oldest.min(entry.stored_at)));
            }
        }
    }
    report_dry_run(&counted, "replayed", args.options.json, out)?;
    if !args.options.json && counted.without_body > 0 {
        let without = number(counted.without_body, "event has", "events have");
        print_text(out, &format!("{without} no body any more, and cannot be replayed\n"))?;
    }
    for problem in &problems {
        print_error(&format!("{problem}, so it would not be replayed"));
    }
    Ok(if problems.is_empty() { Verdict::Success } else { Verdict::Problem })
}

/// Prints how many events a command would change.
pub(super) fn report_dry_run(counted: &Counted, verb: &str, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if json {
        return print_text(out, &json_line(&DryRunLine { dry_run: true, events: counted.with_body }));
    }
    let oldest = counted.oldest.map(|oldest| format!(", the oldest stored {} ago", age(oldest, SystemTime::now())));
    let events = number(counted.with_body, "event", "events");
    print_text(out, &format!("{events} would be {verb}{}; nothing was changed\n", oldest.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_named_or_selected() {
        let none = FilterOptions::default();
        let dead = FilterOptions { status: Some(StatusName::Dead), ..FilterOptions::default() };
        let error =
            |ids: &[i64], filter: &FilterOptions| check_selection(ids, filter, "replay").err().map(|e| e.to_string());
        assert!(error(&[], &none).unwrap().contains("by their ids, or select them"));
        assert!(error(&[1], &dead).unwrap().contains("not both"));
        assert_eq!((error(&[1], &none), error(&[], &dead)), (None, None));
        assert_eq!(unique(&[3, 1, 3, 2, 1]), [3, 1, 2]);
    }
}
