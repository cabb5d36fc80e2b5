//! `medhook inbox rekey`.

use std::io::Write;

use serde::Serialize;

use super::entry::json_line;
use super::interrupt::Interrupt;
use super::options::{AuditOptions, InboxOptions};
use super::progress::Progress;
use super::session::{Session, failed};
use crate::failure::Failure;
use crate::output::{print_error, print_text};
use crate::verdict::Verdict;
use crate::words::{grouped, number};

/// Seal all stored events under the first key of `inbox_key`.
///
/// This is a step of replacing the key. Give all receivers both keys first. The command can
/// run while they run, and can be repeated. When it has nothing left to seal, remove the old
/// key, and run it once more, so that the inbox forgets that key.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = "Examples:\n  medhook inbox rekey --dry-run\n  medhook inbox rekey")]
pub(super) struct RekeyArgs {
    #[command(flatten)]
    options: InboxOptions,
    /// Print how many events are not sealed under the first key, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    audit: AuditOptions,
}

#[derive(Serialize)]
struct RekeyedLine<'a> {
    sealed: u64,
    left: u64,
    unreadable: u64,
    unreadable_ids: &'a [i64],
    forgotten_keys: &'a [String],
}

#[derive(Serialize)]
struct ToRekeyLine {
    dry_run: bool,
    events: u64,
}

/// Runs the command.
pub(super) async fn run(args: &RekeyArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let operator = args.audit.operator()?;
    let session = Session::open(&args.options).await?;
    let (mut interrupt, mut progress) = (Interrupt::listen()?, Progress::new());
    let counting = session.inbox.count_to_rekey(|count| progress.update(|| format!("{} found", grouped(count))));
    let Some(total) = interrupt.unless(counting).await else {
        progress.end();
        print_error("stopped; nothing was changed");
        return Ok(Verdict::Problem);
    };
    let total = total.map_err(|error| match session.access.is_sealed() {
        true => failed(error),
        false => Failure::new("the inbox is in clear; set `inbox_key` to seal it"),
    })?;
    if args.dry_run {
        progress.end();
        let text = match args.options.json {
            true => json_line(&ToRekeyLine { dry_run: true, events: total }),
            false => {
                let events = number(total, "event is", "events are");
                format!("{events} not sealed under the first key; nothing was changed\n")
            }
        };
        print_text(out, &text)?;
        return Ok(Verdict::Success);
    }
    let mut sealed = 0;
    let rekeying = session.inbox.rekey_with(&operator, |done| {
        sealed = done;
        progress.update(|| format!("{} of {} sealed", grouped(done), grouped(total)));
    });
    let rekeyed = interrupt.unless(rekeying).await;
    progress.end();
    let rekeyed = match rekeyed {
        Some(Ok(rekeyed)) => rekeyed,
        Some(Err(error)) => {
            let events = number(sealed, "event", "events");
            return Err(Failure::because(format!("{events} sealed, then it failed; run it again to continue"), error));
        }
        None => {
            print_error(&format!(
                "stopped: {} of {} sealed; run it again to continue",
                grouped(sealed),
                grouped(total)
            ));
            return Ok(Verdict::Problem);
        }
    };
    if args.options.json {
        print_text(
            out,
            &json_line(&RekeyedLine {
                sealed: rekeyed.sealed,
                left: rekeyed.left,
                unreadable: rekeyed.unreadable,
                unreadable_ids: &rekeyed.unreadable_ids,
                forgotten_keys: &rekeyed.forgotten_keys,
            }),
        )?;
    } else {
        print_text(out, &format!("{} sealed under the first key\n", number(rekeyed.sealed, "event", "events")))?;
        for key in &rekeyed.forgotten_keys {
            print_text(out, &format!("key {key} is forgotten: nothing is sealed under it\n"))?;
        }
    }
    if rekeyed.left > 0 {
        print_error(&format!(
            "{} stored or changed meanwhile; run it again",
            number(rekeyed.left, "event was", "events were")
        ));
    }
    if rekeyed.unreadable > 0 {
        let ids: Vec<_> = rekeyed.unreadable_ids.iter().take(20).map(ToString::to_string).collect();
        let more = if rekeyed.unreadable > 20 { ", .." } else { "" };
        print_error(&format!(
            "{} not readable, and left unchanged: sealed under a key that is not in `inbox_key`, in clear, or \
             damaged: {}{more}",
            number(rekeyed.unreadable, "event is", "events are"),
            ids.join(", ")
        ));
    }
    let is_complete = rekeyed.left == 0 && rekeyed.unreadable == 0;
    Ok(if is_complete { Verdict::Success } else { Verdict::Problem })
}
