//! `medhook inbox stats`.

use std::collections::BTreeMap;
use std::io::Write;

use medhook::inbox::{EndpointCounts, Hold};
use serde::Serialize;

use super::entry::json_line;
use super::options::InboxOptions;
use super::session::{Session, failed};
use crate::commands::shell_word;
use crate::failure::Failure;
use crate::output::{Screen, harmless, print_text};
use crate::verdict::Verdict;
use crate::words::{bytes, grouped, held, number, span, utc};

/// Count the waiting, processing and dead events of each endpoint.
///
/// OLDEST is the age of the oldest waiting or processing event. It reads indexes only,
/// so it can run often.
///
/// With --json, each line has: endpoint, waiting, processing, dead, oldest_seconds,
/// bytes, paused, hold (none, all, or a time: earlier events are held).
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:\n  medhook inbox stats\n  medhook inbox stats --fail-on-dead --json"
)]
pub(super) struct StatsArgs {
    #[command(flatten)]
    options: InboxOptions,
    /// Exit with 1 if there are dead events, for cron and monitoring
    #[arg(long)]
    fail_on_dead: bool,
}

#[derive(Serialize)]
struct StatsLine<'a> {
    endpoint: &'a str,
    waiting: u64,
    processing: u64,
    dead: u64,
    oldest_seconds: Option<u64>,
    bytes: u64,
    paused: bool,
    hold: &'a str,
}

/// Runs the command.
pub(super) async fn run(args: &StatsArgs, out: &mut dyn Write) -> Result<Verdict, Failure> {
    let session = Session::open(&args.options).await?;
    let counts = session.inbox.counts().await.map_err(failed)?;
    let mut endpoints: BTreeMap<&str, EndpointCounts> =
        session.names().map(|name| (name, EndpointCounts::default())).collect();
    endpoints.extend(counts.endpoints.iter().map(|counts| (&*counts.endpoint, counts.clone())));
    let dead: u64 = endpoints.values().map(|counts| counts.dead).fold(0, u64::saturating_add);
    let hold = shown_hold(counts.hold);
    let text = match args.options.json {
        true => endpoints.iter().map(|(endpoint, counts)| json_line(&line(endpoint, counts, &hold))).collect(),
        false => table(&endpoints, counts.hold, dead, &args.options, Screen::detect()),
    };
    print_text(out, &text)?;
    Ok(if args.fail_on_dead && dead > 0 { Verdict::Problem } else { Verdict::Success })
}

/// Returns why no events are handled: a hold, or paused endpoints.
pub(super) async fn stopped(session: &Session, options: &InboxOptions) -> Result<Vec<String>, Failure> {
    let counts = session.inbox.counts().await.map_err(failed)?;
    Ok(stops(counts.endpoints.iter(), counts.hold, options))
}

fn stops<'a>(endpoints: impl Iterator<Item = &'a EndpointCounts>, hold: Hold, options: &InboxOptions) -> Vec<String> {
    let hold = held(hold).map(|held| format!("{held} until `{}`", options.command("release")));
    let paused = endpoints.filter(|counts| counts.paused).map(|counts| {
        let name = harmless(counts.endpoint.as_bytes());
        format!("{name} is paused until `{}`", options.command(&format!("resume {}", shell_word(&name))))
    });
    hold.into_iter().chain(paused).collect()
}

fn shown_hold(hold: Hold) -> String {
    match hold {
        Hold::None => "none".to_owned(),
        Hold::StoredBefore(time) => utc(time),
        _ => "all".to_owned(),
    }
}

fn line<'a>(endpoint: &'a str, counts: &EndpointCounts, hold: &'a str) -> StatsLine<'a> {
    StatsLine {
        endpoint,
        waiting: counts.waiting,
        processing: counts.processing,
        dead: counts.dead,
        oldest_seconds: counts.oldest.map(|oldest| oldest.as_secs()),
        bytes: counts.bytes,
        paused: counts.paused,
        hold,
    }
}

fn table(
    endpoints: &BTreeMap<&str, EndpointCounts>,
    hold: Hold,
    dead: u64,
    options: &InboxOptions,
    screen: Screen,
) -> String {
    let widest = endpoints.keys().map(|name| name.chars().count()).chain([8]).max().unwrap_or_default();
    let mut text = format!(
        "{:<widest$}  {:>8}  {:>10}  {:>6}  {:<14}  {:>10}\n",
        "ENDPOINT", "WAITING", "PROCESSING", "DEAD", "OLDEST", "BYTES"
    );
    for (endpoint, counts) in endpoints {
        let (oldest, name) = (counts.oldest.map_or_else(|| "-".to_owned(), span), harmless(endpoint.as_bytes()));
        let dead = format!("{:>6}", grouped(counts.dead));
        let dead = if counts.dead > 0 { screen.red(&dead) } else { dead };
        let paused = if counts.paused { "  paused" } else { "" };
        text.push_str(&format!(
            "{name:<widest$}  {:>8}  {:>10}  {dead}  {oldest:<14}  {:>10}{paused}\n",
            grouped(counts.waiting),
            grouped(counts.processing),
            bytes(counts.bytes)
        ));
    }
    if endpoints.is_empty() {
        text = "no endpoint has an inbox, and the inbox has no events\n".to_owned();
    }
    let mut next = stops(endpoints.values(), hold, options);
    if dead > 0 {
        let list = options.command("list --status dead");
        next.push(format!("{} dead: `{list}`", number(dead, "event is", "events are")));
    }
    if !next.is_empty() {
        text.push_str(&format!("\n{}\n", next.join("\n")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_usual_numbers_fits_into_80_columns() {
        let mut counts = EndpointCounts::default();
        (counts.waiting, counts.processing, counts.dead, counts.bytes) = (123_456, 256, 99_999, 1 << 40);
        counts.oldest = Some(std::time::Duration::from_secs(86_400 * 30 + 7_200));
        counts.paused = true;
        counts.endpoint = "laboratory".to_owned();
        let options = InboxOptions { config: "medhook.toml".into(), json: false };
        let text = table(&BTreeMap::from([("laboratory", counts)]), Hold::All, 3, &options, Screen::default());
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("resume laboratory`") && text.contains("list --status dead`"), "{text}");
        assert!(text.contains("on hold: nothing is handled until `medhook inbox release`"), "{text}");
    }

    #[test]
    fn an_inbox_without_endpoints_says_so() {
        let options = InboxOptions { config: "medhook.toml".into(), json: false };
        let text = table(&BTreeMap::new(), Hold::None, 0, &options, Screen::default());
        assert_eq!(text, "no endpoint has an inbox, and the inbox has no events\n");
    }
}
