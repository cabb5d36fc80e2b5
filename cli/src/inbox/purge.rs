//! `medhook inbox purge`.

use std::io::Write;
use std::time::{Duration, SystemTime};

use medhook::inbox::{Entry, Filter, Keep, Purged, Status};
use serde::Serialize;

use super::entry::json_line;
use super::interrupt::Interrupt;
use super::options::{AuditOptions, InboxOptions};
use super::pages::Pages;
use super::progress::Progress;
use super::session::{Session, failed};
use crate::failure::Failure;
use crate::output::{print_error, print_text};
use crate::verdict::Verdict;
use crate::words::{grouped, number};

/// Delete what no endpoint has to keep: bodies and rows of done, dead and discarded events.
///
/// The receivers do this every minute. It follows `retain_done` and `retain_dead` of each
/// endpoint in the config file, and deletes rows of events that ended more than 7 days
/// ago. Dead events are deleted only if `retain_dead` is set. Waiting events never are.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = "Examples:\n  medhook inbox purge --dry-run\n  medhook inbox purge")]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    options: InboxOptions,
    /// Print how much would be deleted, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    audit: AuditOptions,
}

/// The receivers keep rows for this time.
const KEEP_ROWS: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Serialize)]
struct PurgedLine<'a> {
    endpoint: &'a str,
    bodies: u64,
    events: u64,
    dry_run: bool,
}

/// Runs the command.
pub(super) async fn run(args: &PurgeArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let operator = if args.dry_run { None } else { Some(args.audit.operator()?) };
    let session = Session::open(&args.options).await?;
    let (mut interrupt, mut progress) = (Interrupt::listen()?, Progress::new());
    for endpoint in &session.access.endpoints {
        let Some(keep) = endpoint.keep else { continue };
        let (name, keep) = (&endpoint.name, Keep { rows: KEEP_ROWS, ..keep });
        let mut so_far = Purged::default();
        let purging = async {
            let Some(operator) = &operator else {
                so_far = purgeable(&session, name, keep, &mut progress).await?;
                return Ok(());
            };
            let purged = session.inbox.purge_with(name, keep, operator, |purged| {
                so_far = purged;
                progress.update(|| format!("{name}: {} purged", rows(purged)));
            });
            purged.await.map(drop).map_err(failed)
        };
        let ended = interrupt.unless(purging).await;
        progress.end();
        let ended = match ended {
            Some(Ok(())) => Ok(true),
            Some(Err(failure)) => Err(failure),
            None => Ok(false),
        };
        print_text(out, &report(args, name, so_far))?;
        match ended {
            Ok(true) => {}
            Ok(false) => {
                print_error("stopped; run the same command again to continue");
                return Ok(Verdict::Problem);
            }
            Err(failure) => return Err(Failure::because("purging failed; run the same command again", failure)),
        }
    }
    if session.names().next().is_none() && !args.options.json {
        print_text(out, "no endpoint of the config file has an inbox; nothing was purged\n")?;
    }
    if !args.dry_run {
        others(&session).await?;
    }
    Ok(Verdict::Success)
}

/// Reports endpoints that have events but are not in the config file.
async fn others(session: &Session) -> Result<(), Failure> {
    for counts in session.inbox.counts().await.map_err(failed)?.endpoints {
        if session.names().all(|known| known != counts.endpoint) {
            let name = counts.endpoint.escape_debug();
            print_error(&format!("{name} is not in the config file, so its events were kept"));
        }
    }
    Ok(())
}

fn rows(Purged { bodies, events, .. }: Purged) -> String {
    format!("{}, {}", number(bodies, "body", "bodies"), number(events, "event", "events"))
}

fn report(args: &PurgeArgs, endpoint: &str, purged: Purged) -> String {
    let Purged { bodies, events, .. } = purged;
    if args.options.json {
        return json_line(&PurgedLine { endpoint, bodies, events, dry_run: args.dry_run });
    }
    match args.dry_run {
        true => format!("{endpoint}: up to {} would be deleted; nothing was changed\n", rows(purged)),
        false => format!("{endpoint}: {} deleted\n", rows(purged)),
    }
}

/// Counts what a purge would delete, at most: rows stay while the record of their event as handled is kept.
async fn purgeable(session: &Session, name: &str, keep: Keep, progress: &mut Progress) -> Result<Purged, Failure> {
    let (mut purged, now) = (Purged::default(), SystemTime::now());
    for status in [Status::Done, Status::Dead, Status::Discarded] {
        let mut pages = Pages::new(Filter::new().endpoint(name).status(status), None);
        loop {
            let page = pages.next(session).await?;
            if page.is_empty() {
                break;
            }
            for entry in &page {
                let (body, row) = deletes(entry, keep, now);
                purged.bodies = purged.bodies.saturating_add(u64::from(body));
                purged.events = purged.events.saturating_add(u64::from(row));
            }
            progress.update(|| format!("{name}: {} found", grouped(purged.events.saturating_add(purged.bodies))));
        }
    }
    Ok(purged)
}

/// Returns whether a purge deletes the body and the row of an event.
fn deletes(entry: &Entry, keep: Keep, now: SystemTime) -> (bool, bool) {
    let Some(ended) = entry.ended_at else { return (false, false) };
    let ended_before = |time: Duration| now.duration_since(ended).is_ok_and(|passed| passed >= time);
    match entry.status {
        Status::Dead => {
            let is_over = keep.dead.is_some_and(ended_before);
            (is_over && entry.has_body, is_over)
        }
        Status::Done => {
            let body = entry.has_body && ended_before(keep.done);
            (body, (body || !entry.has_body) && ended_before(keep.rows))
        }
        _ => (entry.has_body, ended_before(keep.rows)),
    }
}
