//! `medhook inbox show`.

use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use medhook::inbox::{Entry, Status};
use serde::Serialize;

use super::body;
use super::entry::{EntryLine, json_line};
use super::options::{AuditOptions, InboxOptions};
use super::session::{Session, failed};
use super::stats::stopped;
use crate::failure::Failure;
use crate::output::{Screen, harmless, print_error, print_text};
use crate::verdict::Verdict;
use crate::words::{advice, bytes, relative, steps, utc, why};

/// Show a stored event: its status, what happened to it, and what to do next.
///
/// The body is never shown. --body writes it to a new file that only you can read; this
/// is recorded in the audit table before the file is created, with the reason that
/// --because gives. The file contains health data: delete it when you are done.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  medhook inbox show 1234\n  \
        medhook inbox show 1234 --body /run/user/1000/1234.json --because \"ticket 4711\""
)]
pub(super) struct ShowArgs {
    /// Id of the event, from `medhook inbox list`
    #[arg(value_name = "ID")]
    id: i64,
    #[command(flatten)]
    options: InboxOptions,
    /// Write the body to this file, which must not exist; needs --because
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    #[command(flatten)]
    audit: AuditOptions,
}

/// The fields of `show --json`: those of a list, and these.
#[derive(Debug, Serialize)]
struct ShownLine<'e> {
    #[serde(flatten)]
    entry: EntryLine<'e>,
    provider: &'e str,
    secret: &'e str,
    ended_at: Option<String>,
    has_body: bool,
}

/// Runs the command.
pub(super) async fn run(args: &ShowArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    // Before anything is recorded.
    let viewer = match &args.body {
        None => None,
        Some(file) => {
            body::check(file)?;
            Some((file, args.audit.with_reason("viewing a body")?))
        }
    };
    let session = Session::open(&args.options).await?;
    let Some(entry) = session.inbox.show(args.id).await.map_err(failed)? else {
        print_error(&format!("event {} is not in the inbox; it never was, or was purged", args.id));
        return Ok(Verdict::Problem);
    };
    if args.options.json {
        print_text(out, &json_line(&shown_line(&entry)))?;
    } else {
        let stopped =
            if entry.status == Status::Waiting { stopped(&session, &args.options).await? } else { Vec::new() };
        print_text(out, &shown(&entry, SystemTime::now(), Screen::detect(), &args.options, stopped))?;
    }
    match viewer {
        None => Ok(Verdict::Success),
        Some((file, viewer)) => body::write(&session.inbox, &entry, file, &viewer).await,
    }
}

fn shown_line(entry: &Entry) -> ShownLine<'_> {
    ShownLine {
        entry: EntryLine::new(entry),
        provider: &entry.provider,
        secret: &entry.secret,
        ended_at: entry.ended_at.map(utc),
        has_body: entry.has_body,
    }
}

fn shown(entry: &Entry, now: SystemTime, screen: Screen, options: &InboxOptions, stopped: Vec<String>) -> String {
    let text = |text: &str| harmless(text.as_bytes());
    let status = match entry.status {
        Status::Dead => screen.red("dead"),
        Status::Done => screen.green("done"),
        other => other.as_str().to_owned(),
    };
    let key = entry.event_key.map_or_else(
        || "not readable; it is sealed under a key that is not in `inbox_key`".to_owned(),
        |key| key.to_hex(),
    );
    let body = match entry.has_body {
        true => format!("{}, stored", bytes(entry.size)),
        false => format!("{}, deleted", bytes(entry.size)),
    };
    let mut lines = vec![
        format!("event {}: {status}", entry.id),
        format!("  endpoint   {} (provider {})", text(&entry.endpoint), text(&entry.provider)),
        format!("  kind       {}", text(&entry.kind)),
        format!("  event key  {key}"),
        format!("  secret     {}", text(&entry.secret)),
        format!("  body       {body}"),
        format!("  attempts   {}{}", entry.attempts, replayed(entry.replays)),
        String::new(),
        happened(entry.stored_at, now, "stored"),
    ];
    let why = why(entry);
    if let Some(ended) = entry.ended_at {
        let reason = why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        lines.push(happened(ended, now, &format!("{}{reason}", entry.status.as_str())));
    } else if let Some(why) = why {
        lines.push(format!("  {:24}  {:16}  last attempt: {why}", "", ""));
    }
    if let Some(due) = entry.due {
        lines.push(happened(
            due,
            now,
            match entry.status {
                Status::Waiting if due <= now => "due",
                Status::Waiting => "next attempt",
                _ => "the lease ends",
            },
        ));
    }
    lines.extend(stopped.into_iter().map(|line| format!("  {line}")));
    let steps = steps(entry);
    if !steps.is_empty() {
        lines.push(String::new());
        lines.push(match advice(entry) {
            Some(advice) => format!("next: {advice}"),
            None => "next:".to_owned(),
        });
        let step = |(what, rest): &(&str, String)| format!("  {:8} {}", format!("{what}:"), options.command(rest));
        lines.extend(steps.iter().map(step));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn replayed(replays: u32) -> String {
    match replays {
        0 => String::new(),
        1 => " since the replay".to_owned(),
        more => format!(" since the last of {more} replays"),
    }
}

fn happened(time: SystemTime, now: SystemTime, what: &str) -> String {
    format!("  {:24}  {:16}  {what}", utc(time), relative(time, now))
}
