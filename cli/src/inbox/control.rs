//! `medhook inbox pause`, `resume`, `hold` and `release`.

use std::io::Write;
use std::time::SystemTime;

use serde::Serialize;

use super::entry::json_line;
use super::filter::Since;
use super::options::{AuditOptions, InboxOptions};
use super::session::{Session, failed};
use crate::failure::Failure;
use crate::output::print_text;
use crate::verdict::Verdict;
use crate::words::utc;

/// Pause an endpoint: its events are stored, and not handled until `resume`.
///
/// It applies to all receivers of the store at once, also after a restart. Events that
/// are being handled are finished.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = "Example:\n  medhook inbox pause fasten --because \"migration\"")]
pub(super) struct PauseArgs {
    /// Name of the endpoint
    endpoint: String,
    #[command(flatten)]
    options: InboxOptions,
    #[command(flatten)]
    audit: AuditOptions,
}

/// Resume a paused endpoint.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  medhook inbox resume fasten")]
pub(super) struct ResumeArgs {
    /// Name of the endpoint
    endpoint: String,
    #[command(flatten)]
    options: InboxOptions,
    #[command(flatten)]
    audit: AuditOptions,
}

/// Put the inbox on hold: events of all endpoints are stored, and none is handled until `release`.
///
/// Use it after a backup was restored, before the first receiver starts: the backup
/// contains events as unfinished that were handled after it was made.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Example:\n  medhook inbox hold --because \"restored the backup of 3:00\""
)]
pub(super) struct HoldArgs {
    #[command(flatten)]
    options: InboxOptions,
    #[command(flatten)]
    audit: AuditOptions,
}

/// End the hold, for all events or for those stored since a time.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  medhook inbox release --stored-since 2026-01-31T03:20:00Z\n  medhook inbox release"
)]
pub(super) struct ReleaseArgs {
    #[command(flatten)]
    options: InboxOptions,
    /// Release only the events stored since then: a time such as 2026-01-31T12:00:00Z, or a duration such as 2h
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    stored_since: Option<Since>,
    #[command(flatten)]
    audit: AuditOptions,
}

#[derive(Serialize)]
struct PausedLine<'a> {
    endpoint: &'a str,
    paused: bool,
}

#[derive(Serialize)]
struct HoldLine {
    hold: String,
}

/// Runs `pause`.
pub(super) async fn pause(args: &PauseArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let operator = args.audit.operator()?;
    let session = Session::open(&args.options).await?;
    session.check_name(&args.endpoint)?;
    session.inbox.pause(&args.endpoint, &operator).await.map_err(failed)?;
    let text = match args.options.json {
        true => json_line(&PausedLine { endpoint: &args.endpoint, paused: true }),
        false => {
            let resume = args.options.command(&format!("resume {}", args.endpoint));
            format!("{} is paused: its events wait until `{resume}`\n", args.endpoint)
        }
    };
    print_text(out, &text)?;
    Ok(Verdict::Success)
}

/// Runs `resume`. An endpoint that was removed from the config file can be resumed.
pub(super) async fn resume(args: &ResumeArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let operator = args.audit.operator()?;
    let session = Session::open(&args.options).await?;
    let counts = session.inbox.counts().await.map_err(failed)?;
    let was_paused = counts.endpoints.iter().any(|counts| counts.endpoint == args.endpoint && counts.paused);
    if !was_paused {
        session.check_name(&args.endpoint)?;
    }
    session.inbox.resume(&args.endpoint, &operator).await.map_err(failed)?;
    let text = match (args.options.json, was_paused) {
        (true, _) => json_line(&PausedLine { endpoint: &args.endpoint, paused: false }),
        (false, true) => format!("{} is resumed\n", args.endpoint),
        (false, false) => format!("{} was not paused\n", args.endpoint),
    };
    print_text(out, &text)?;
    Ok(Verdict::Success)
}

/// Runs `hold`.
pub(super) async fn hold(args: &HoldArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let operator = args.audit.operator()?;
    let session = Session::open(&args.options).await?;
    session.inbox.hold(&operator).await.map_err(failed)?;
    let text = match args.options.json {
        true => json_line(&HoldLine { hold: "all".to_owned() }),
        false => {
            let release = args.options.command("release");
            format!("on hold: events are stored, and none is handled until `{release}`\n")
        }
    };
    print_text(out, &text)?;
    Ok(Verdict::Success)
}

/// Runs `release`.
pub(super) async fn release(args: &ReleaseArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let operator = args.audit.operator()?;
    let session = Session::open(&args.options).await?;
    let since = args.stored_since.map(|since| since.time(SystemTime::now()));
    session.inbox.release(since, &operator).await.map_err(failed)?;
    let text = match (args.options.json, since) {
        (true, since) => json_line(&HoldLine { hold: since.map_or_else(|| "none".to_owned(), utc) }),
        (false, Some(since)) => {
            let release = args.options.command("release");
            format!("released: events stored since {}; earlier ones wait until\n`{release}`\n", utc(since))
        }
        (false, None) => "all events are released\n".to_owned(),
    };
    print_text(out, &text)?;
    Ok(Verdict::Success)
}
