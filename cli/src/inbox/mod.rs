//! `medhook inbox`: lists, replays and discards stored events, and operates the inbox of a config file.
//!
//! - `options`, `actor`: the options that the subcommands share, and the name that the audit entries get
//! - `session`: opens the inbox of a config file
//! - `filter`, `pages`: select events
//! - `list`, `show`, `body`, `stats`, `audit`: read, with `entry` for their output
//! - `replay`, `discard`: change events one by one, with `each` and `rate`
//! - `control`: pause, resume, hold and release
//! - `purge`, `rekey`: long operations, with `progress` and `interrupt`

mod actor;
mod audit;
mod body;
mod control;
mod discard;
mod each;
mod entry;
mod filter;
mod interrupt;
mod list;
mod options;
mod pages;
mod progress;
mod purge;
mod rate;
mod rekey;
mod replay;
mod session;
mod show;
mod stats;

use std::io::Write;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};

pub(crate) use self::actor::actor;
use crate::failure::Failure;
use crate::runtime::run_async;
use crate::verdict::Verdict;

/// Returns the time that `--since` names, for `tests/properties`.
pub(crate) fn since(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    filter::Since::parse(text).map(|since| since.time(now))
}

/// Returns the interval that `--rate` names, for `tests/properties`.
pub(crate) fn rate(text: &str) -> Result<Duration, String> {
    rate::Rate::parse(text).map(|rate| rate.0)
}

/// Operate the inbox: list stored events, replay or discard dead ones, pause endpoints.
///
/// It uses the store of a config file, whether receivers run or not. No command prints a
/// body: `show --body FILE` writes one to a file, and records that.
///
/// Every change is recorded in the audit table with its actor and reason.
///
/// The exit code is 0 if everything was done, 1 if something was not (the output says
/// what and why), and 2 if the command could not run.
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  \
        medhook inbox stats\n  \
        medhook inbox list --status dead\n  \
        medhook inbox replay --endpoint fasten --status dead --since 6h --dry-run"
)]
pub(crate) struct InboxCommand {
    /// Accepted before the subcommand as well, which gets their values from clap.
    #[command(flatten)]
    before: options::InboxOptions,
    #[command(subcommand)]
    action: InboxAction,
}

#[derive(Debug, Subcommand)]
enum InboxAction {
    List(list::ListArgs),
    Show(show::ShowArgs),
    Replay(replay::ReplayArgs),
    Discard(discard::DiscardArgs),
    Purge(purge::PurgeArgs),
    Pause(control::PauseArgs),
    Resume(control::ResumeArgs),
    Hold(control::HoldArgs),
    Release(control::ReleaseArgs),
    Stats(stats::StatsArgs),
    Rekey(rekey::RekeyArgs),
    Audit(audit::AuditArgs),
}

/// Runs the command.
pub(crate) fn run(command: &InboxCommand, out: &mut dyn Write) -> Result<Verdict, Failure> {
    match &command.action {
        InboxAction::List(args) => run_async(list::run(args, out)),
        InboxAction::Show(args) => run_async(show::run(args, out)),
        InboxAction::Replay(args) => run_async(replay::run(args, out)),
        InboxAction::Discard(args) => run_async(discard::run(args, out)),
        InboxAction::Purge(args) => run_async(purge::run(args, out)),
        InboxAction::Pause(args) => run_async(control::pause(args, out)),
        InboxAction::Resume(args) => run_async(control::resume(args, out)),
        InboxAction::Hold(args) => run_async(control::hold(args, out)),
        InboxAction::Release(args) => run_async(control::release(args, out)),
        InboxAction::Stats(args) => run_async(stats::run(args, out)),
        InboxAction::Rekey(args) => run_async(rekey::run(args, out)),
        InboxAction::Audit(args) => run_async(audit::run(args, out)),
    }
}
