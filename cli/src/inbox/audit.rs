//! `medhook inbox audit`.

use std::io::Write;

use medhook::inbox::{AuditEntry, Filter};
use serde::Serialize;

use super::entry::json_line;
use super::options::InboxOptions;
use super::session::{Session, failed};
use crate::failure::Failure;
use crate::output::{harmless, print_text};
use crate::verdict::Verdict;
use crate::words::utc;

/// List what operators did, in the order in which it was written.
///
/// To export it regularly, pass the last id as --after. With --json, each line has: id,
/// at, actor, action, subject, reason.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  medhook inbox audit\n  medhook inbox audit --after 1200 --json >> audit.jsonl"
)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    options: InboxOptions,
    /// Only entries with a greater id
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: i64,
    /// At most this many entries
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

#[derive(Serialize)]
struct AuditLine<'a> {
    id: i64,
    at: String,
    actor: &'a str,
    action: &'a str,
    subject: &'a str,
    reason: &'a str,
}

/// Runs the command.
pub(super) async fn run(args: &AuditArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let session = Session::open(&args.options).await?;
    let (mut after, mut left, mut is_first) = (args.after, args.limit.unwrap_or(u64::MAX), true);
    while left > 0 {
        let limit = u32::try_from(left).unwrap_or(u32::MAX).min(Filter::MOST);
        let page = session.inbox.audit(after, limit).await.map_err(failed)?;
        let Some(last) = page.last() else { break };
        after = last.id;
        left = left.saturating_sub(page.len() as u64);
        let text: String = match args.options.json {
            true => page.iter().map(|entry| json_line(&line(entry))).collect(),
            false => table(&page, is_first),
        };
        print_text(out, &text)?;
        is_first = false;
    }
    if is_first && !args.options.json {
        print_text(out, "the audit table has no such entries\n")?;
    }
    Ok(Verdict::Success)
}

fn line(entry: &AuditEntry) -> AuditLine<'_> {
    let AuditEntry { id, at, actor, action, subject, reason, .. } = entry;
    AuditLine { id: *id, at: utc(*at), actor, action, subject, reason }
}

fn table(page: &[AuditEntry], with_head: bool) -> String {
    let head = ["ID", "TIME", "ACTOR", "ACTION", "SUBJECT", "REASON"].map(str::to_owned);
    let cells = page.iter().map(|entry| {
        let AuditEntry { id, at, actor, action, subject, reason, .. } = entry;
        let [actor, action, subject, reason] = [actor, action, subject, reason].map(|text| harmless(text.as_bytes()));
        [id.to_string(), utc(*at), actor, action, subject, reason]
    });
    let rows: Vec<_> = with_head.then_some(head).into_iter().chain(cells).collect();
    let mut widths = [0; 6];
    for row in &rows {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = (*width).max(cell.chars().count()));
    }
    let [id_width, at_width, actor_width, action_width, subject_width, _] = widths;
    let mut text = String::new();
    for [id, at, actor, action, subject, reason] in &rows {
        let row = format!(
            "{id:>id_width$}  {at:<at_width$}  {actor:<actor_width$}  {action:<action_width$}  \
             {subject:<subject_width$}  {reason}"
        );
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}
