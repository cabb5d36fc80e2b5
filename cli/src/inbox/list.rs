//! `medhook inbox list`.

use std::io::Write;
use std::time::SystemTime;

use medhook::inbox::Status;

use super::entry::{Columns, EntryLine, json_line};
use super::filter::{FilterOptions, StatusName};
use super::options::InboxOptions;
use super::pages::Pages;
use super::session::Session;
use super::stats::stopped;
use crate::commands::shell_word;
use crate::failure::Failure;
use crate::output::{Screen, print_error, print_text};
use crate::verdict::Verdict;
use crate::words::number;

/// List stored events, without their bodies.
///
/// Each row has the id, the status, the time since the event was stored, the attempts
/// since it was stored or replayed, the endpoint and the kind. Below it is the reason of
/// the last attempt, and when the next one is due.
///
/// With --json, each line has: id, endpoint, kind, status, attempts, replays, stored_at,
/// due, reason, bytes, event_key.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  medhook inbox list --status dead\n  \
        medhook inbox list --endpoint fasten --since 2h --json"
)]
pub(super) struct ListArgs {
    #[command(flatten)]
    options: InboxOptions,
    #[command(flatten)]
    filter: FilterOptions,
}

/// The number of events in a list without --limit.
const LIMIT: u64 = 100;

/// Runs the command.
pub(super) async fn run(args: &ListArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let session = Session::open(&args.options).await?;
    let (screen, limit) = (Screen::detect(), args.filter.limit.unwrap_or(LIMIT));
    let mut pages = Pages::new(args.filter.filter(), Some(limit));
    let (mut listed, mut dead) = (0_u64, 0_u64);
    loop {
        let page = pages.next(&session).await?;
        if page.is_empty() {
            break;
        }
        let mut text = String::new();
        let now = SystemTime::now();
        if args.options.json {
            page.iter().for_each(|entry| text.push_str(&json_line(&EntryLine::new(entry))));
        } else {
            let columns = Columns::new(&page, now, screen);
            if listed == 0 {
                text.push_str(&columns.head());
            }
            page.iter().for_each(|entry| text.push_str(&columns.rows(entry, now)));
        }
        print_text(out, &text)?;
        listed = listed.saturating_add(page.len() as u64);
        dead = dead.saturating_add(page.iter().filter(|entry| entry.status == Status::Dead).count() as u64);
    }
    if listed >= limit && pages.has_more(&session).await? {
        print_error(&format!("{} listed, and there are more; raise --limit", number(listed, "event", "events")));
    }
    if !args.options.json {
        print_text(out, &epilogue(args, &session, listed, dead))?;
        for line in stopped(&session, &args.options).await? {
            print_text(out, &format!("{line}\n"))?;
        }
    }
    Ok(Verdict::Success)
}

/// Returns what to do next, or that there are no such events.
fn epilogue(args: &ListArgs, session: &Session, listed: u64, dead: u64) -> String {
    if listed == 0 {
        let mut text = match args.filter.is_empty() {
            true => "the inbox has no events\n".to_owned(),
            false => "no events match\n".to_owned(),
        };
        if let Some(name) = args.filter.endpoint.as_deref().filter(|name| session.names().all(|known| known != *name)) {
            text.push_str(&format!("{}\n", session.unknown(name)));
        }
        return text;
    }
    if dead == 0 {
        return String::new();
    }
    let only_dead = args.filter.status == Some(StatusName::Dead);
    let endpoint = args.filter.endpoint.as_deref().filter(|_| only_dead);
    let selected = match endpoint {
        Some(name) => format!("--endpoint {} --status dead", shell_word(name)),
        None => "--status dead".to_owned(),
    };
    let command = |rest: &str| args.options.command(rest);
    format!(
        "\n{} dead. After the cause is removed:\n  one:  {}\n  all:  {}\n  look: {}\n",
        number(dead, "event is", "events are"),
        command("replay ID"),
        command(&format!("replay {selected} --dry-run")),
        command("show ID"),
    )
}
