//! Changes of events one by one: at a rate, until a signal, and with a count of what was not done.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::entry::json_line;
use super::interrupt::Interrupt;
use super::pages::Pages;
use super::progress::Progress;
use super::rate::Rate;
use super::session::Session;
use crate::failure::Failure;
use crate::output::{print_error, print_text};
use crate::verdict::Verdict;
use crate::words::{grouped, number};

/// The events to change.
pub(super) enum Selected {
    Ids(Vec<i64>),
    Pages(Box<Pages>),
}

/// The result of one change: its name for scripts, and if it was not done, why in words.
pub(super) struct Outcome {
    pub(super) name: &'static str,
    pub(super) problem: Option<&'static str>,
}

impl Outcome {
    pub(super) fn done(name: &'static str) -> Self {
        Outcome { name, problem: None }
    }

    pub(super) fn not_done(name: &'static str, problem: &'static str) -> Self {
        Outcome { name, problem: Some(problem) }
    }
}

/// Changes of one kind, and the words in which they are reported.
pub(super) struct Changes<'a> {
    pub(super) session: &'a Session,
    pub(super) json: bool,
    pub(super) rate: Option<Rate>,
    /// The number of selected events, if it is known.
    pub(super) total: Option<u64>,
    /// `replayed`, for example.
    pub(super) verb: &'static str,
    /// The state of one changed event, and of several, for the last line.
    pub(super) became: [&'static str; 2],
}

#[derive(Serialize)]
struct ChangedLine {
    id: i64,
    result: &'static str,
}

/// The number of changes so far.
#[derive(Default)]
struct Tally {
    done: u64,
    problems: BTreeMap<&'static str, (u64, Vec<i64>)>,
}

/// The number of ids that one line names.
const MOST_IDS: usize = 20;

impl Changes<'_> {
    /// Changes each of the events.
    pub(super) async fn run(
        &self,
        selected: Selected,
        change: impl AsyncFn(i64) -> Result<Outcome, Failure>,
        out: &mut dyn Write,
    ) -> Result<Verdict, Failure> {
        let (mut interrupt, mut progress) = (Interrupt::listen()?, Progress::new());
        let (mut tally, mut due) = (Tally::default(), Instant::now());
        let (mut ids, mut pages) = match selected {
            Selected::Ids(ids) => (ids, None),
            Selected::Pages(pages) => (Vec::new(), Some(pages)),
        };
        let ended = async {
            loop {
                for id in std::mem::take(&mut ids) {
                    if interrupt.is_set() || interrupt.unless(sleep_until(due)).await.is_none() {
                        return Ok(false);
                    }
                    if let Some(Rate(interval)) = self.rate {
                        due = Instant::now().checked_add(interval).unwrap_or(due);
                    }
                    let outcome = change(id).await?;
                    if self.json {
                        print_text(out, &json_line(&ChangedLine { id, result: outcome.name }))?;
                    }
                    tally.add(id, &outcome);
                    progress.update(|| self.progress(tally.done));
                }
                let Some(pages) = &mut pages else { return Ok(true) };
                let page = pages.next(self.session).await?;
                if page.is_empty() {
                    return Ok(true);
                }
                ids = page.into_iter().filter(|entry| entry.has_body).map(|entry| entry.id).collect();
            }
        };
        let ended: Result<bool, Failure> = ended.await;
        progress.end();
        self.report(&tally, ended, out)
    }

    fn progress(&self, done: u64) -> String {
        let of = self.total.map(|total| format!(" of {}", grouped(total))).unwrap_or_default();
        format!("{}{of} {}", grouped(done), self.verb)
    }

    fn report(&self, tally: &Tally, ended: Result<bool, Failure>, out: &mut dyn Write) -> Result<Verdict, Failure> {
        let done = number(tally.done, "event", "events");
        for (problem, (count, ids)) in &tally.problems {
            let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
            let more = if *count > MOST_IDS as u64 { ", .." } else { "" };
            print_error(&format!("{} not {}: {problem}: {}{more}", grouped(*count), self.verb, ids.join(", ")));
        }
        match ended {
            Err(failure) => {
                let and = format!("{done} {}, then it failed; run the same command again to continue", self.verb);
                Err(Failure::because(and, failure))
            }
            Ok(false) => {
                print_error(&format!(
                    "stopped: {} {}; run the same command again to continue",
                    self.progress(tally.done),
                    "before the signal"
                ));
                Ok(Verdict::Problem)
            }
            Ok(true) => {
                if !self.json {
                    let [one, several] = self.became;
                    let became = match tally.done {
                        0 => "",
                        1 => one,
                        _ => several,
                    };
                    print_text(out, &format!("{done} {}{became}\n", self.verb))?;
                }
                Ok(if tally.problems.is_empty() { Verdict::Success } else { Verdict::Problem })
            }
        }
    }
}

impl Tally {
    fn add(&mut self, id: i64, outcome: &Outcome) {
        match outcome.problem {
            None => self.done = self.done.saturating_add(1),
            Some(problem) => {
                let (count, ids) = self.problems.entry(problem).or_default();
                *count = count.saturating_add(1);
                if ids.len() < MOST_IDS {
                    ids.push(id);
                }
            }
        }
    }
}
