//! `medhook inbox discard`.

use std::io::Write;

use medhook::inbox::{Discarded, Status};

use super::each::{Changes, Outcome};
use super::filter::{FilterOptions, StatusName};
use super::options::{AuditOptions, InboxOptions};
use super::rate::Rate;
use super::replay::{check_selection, count, report_dry_run, select};
use super::session::{Session, failed};
use crate::failure::Failure;
use crate::verdict::Verdict;

/// Discard waiting or dead events: they are not handled any more, and their bodies are deleted.
///
/// Events whose lease has expired can be discarded as well, such as those of a restored backup
/// that were being handled when it was made. A discarded event cannot be restored. --because is
/// required, and with filters --status too.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  medhook inbox discard 1234 --because \"ticket 4711: handled by hand\"\n  \
        medhook inbox discard --endpoint fasten --status dead --reason status_410 --because \"ticket 4712\" --dry-run"
)]
pub(super) struct DiscardArgs {
    /// Ids of events, from `medhook inbox list`
    #[arg(value_name = "ID")]
    ids: Vec<i64>,
    #[command(flatten)]
    options: InboxOptions,
    #[command(flatten)]
    filter: FilterOptions,
    /// Print how many events would be discarded, and change nothing; for filters
    #[arg(long, conflicts_with = "ids")]
    dry_run: bool,
    /// Discard at most so many events per second or minute, such as 10/s or 30/m
    #[arg(long, value_name = "N/s", value_parser = Rate::parse)]
    rate: Option<Rate>,
    #[command(flatten)]
    audit: AuditOptions,
}

/// Runs the command.
pub(super) async fn run(args: &DiscardArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    check_selection(&args.ids, &args.filter, "discard")?;
    match args.filter.status {
        Some(StatusName::Waiting | StatusName::Dead) => {}
        None if !args.ids.is_empty() => {}
        None => return Err(Failure::new("discarding by filters needs --status dead or --status waiting")),
        Some(status) => {
            let status = Status::from(status).as_str();
            return Err(Failure::new(format!("--status {status}: such events cannot be discarded")));
        }
    }
    let operator = match args.dry_run {
        true => None,
        false => Some(args.audit.with_reason("discarding")?),
    };
    let session = Session::open(&args.options).await?;
    let Some(operator) = operator else {
        // Clap rejects --dry-run with ids.
        let counted = count(&session, &args.filter).await?;
        report_dry_run(&counted, "discarded", args.options.json, out)?;
        return Ok(Verdict::Success);
    };
    let (selected, total) = select(&session, &args.ids, &args.filter).await?;
    let plan = Changes {
        session: &session,
        json: args.options.json,
        rate: args.rate,
        total: Some(total),
        verb: "discarded",
        became: ["; its body is deleted", "; their bodies are deleted"],
    };
    let discard = async |id| Ok(outcome(session.inbox.discard(id, &operator).await.map_err(failed)?));
    plan.run(selected, discard, out).await
}

fn outcome(discarded: Discarded) -> Outcome {
    match discarded {
        Discarded::Discarded => Outcome::done("discarded"),
        Discarded::NotFound => Outcome::not_done("not_found", "not in the inbox; it never was, or was purged"),
        Discarded::Processing => Outcome::not_done("processing", "a worker is handling it; wait for the result"),
        Discarded::Ended => Outcome::not_done("ended", "it is done, or was discarded before"),
        _ => Outcome::not_done("unknown", "for a reason that this medhook does not know"),
    }
}
