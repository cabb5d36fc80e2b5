//! Compares the answers to the sender with what the application recorded, and with the rows of the inbox.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::events::Sent;
use super::fleet::Fleet;
use super::shared::database::{DEAD, DONE};
use super::shared::figures::{percentile, report, times_matter};

#[derive(Debug)]
pub(super) struct Tally {
    pub(super) sent: usize,
    pub(super) accepted: usize,
    /// The answers that were not 2xx.
    pub(super) failed: BTreeMap<String, usize>,
    /// Accepted events that the application did not record. With dead events, these are included.
    pub(super) lost: usize,
    /// Events that the application recorded under two ids.
    pub(super) twice: usize,
    pub(super) recorded: usize,
    pub(super) calls: usize,
    /// Calls for an event that was recorded before.
    pub(super) again: usize,
    pub(super) rows: i64,
    pub(super) done: i64,
    pub(super) dead: i64,
    /// The sum of the attempts of all rows.
    pub(super) attempts: i64,
    /// Events whose `medhook-attempt` did not rise with each call.
    pub(super) misnumbered: usize,
    answered: [Duration; 2],
    delay: [Duration; 2],
    /// The longest time from an answer until the application had recorded the event.
    pub(super) longest: Duration,
}

impl Tally {
    /// Returns whether every delivery was accepted. On a slow machine, the store may not have answered in time.
    pub(super) fn all_are_accepted(&self) -> bool {
        let in_time = times_matter() || self.failed.keys().all(|answer| answer == "503");
        in_time && (self.accepted == self.sent || !times_matter())
    }
}

impl Fleet {
    /// Waits until all events have ended, and compares.
    pub(super) async fn tally(&self, sent: &[Sent]) -> Tally {
        self.until_ended().await;
        let events = self.application.events();
        let mut by_body: BTreeMap<&[u8], Vec<_>> = BTreeMap::new();
        for event in events.values().filter(|event| event.at.is_some()) {
            by_body.entry(&event.body).or_default().push(event);
        }
        let accepted: Vec<_> = sent.iter().filter(|sent| sent.is_accepted()).collect();
        let lost = accepted.iter().filter(|sent| !by_body.contains_key(&sent.event.body[..])).count();
        let mut answered: Vec<_> = accepted.iter().map(|sent| sent.took).collect();
        let mut delay: Vec<_> = accepted
            .iter()
            .filter_map(|sent| Some((sent.at, by_body.get(&sent.event.body[..])?.first()?.at?)))
            .map(|(accepted, recorded)| recorded.saturating_duration_since(accepted))
            .collect();
        let misnumbered = events.values().filter(|event| {
            let numbers: Vec<_> = event.calls.iter().filter(|call| !call.is_replay).map(|call| call.attempt).collect();
            !numbers.is_sorted()
        });
        let attempts = self.tables.number("SELECT CAST(coalesce(sum(attempts), 0) AS bigint) FROM medhook_inbox").await;
        Tally {
            sent: sent.len(),
            accepted: accepted.len(),
            failed: failed(sent),
            lost,
            twice: by_body.values().filter(|events| events.len() > 1).count(),
            recorded: by_body.len(),
            calls: events.values().map(|event| event.calls.len()).sum(),
            again: events.values().map(|event| event.again).sum(),
            rows: self.tables.rows("true").await,
            done: self.tables.rows(DONE).await,
            dead: self.tables.rows(DEAD).await,
            attempts,
            misnumbered: misnumbered.count(),
            answered: [50, 99].map(|percent| percentile(&mut answered, percent)),
            delay: [50, 99].map(|percent| percentile(&mut delay, percent)),
            longest: delay.iter().max().copied().unwrap_or_default(),
        }
    }

    /// Tallies, looks for marks, and reports.
    pub(super) async fn conclude(
        &self,
        check: &str,
        sent: &[Sent],
        note: impl fmt::Display,
        holds: impl FnOnce(&Tally) -> bool,
    ) {
        let tally = self.tally(sent).await;
        let (bytes, marks) = self.silent().await;
        let mistakes = self.application.mistakes();
        let processes = self.processes.len();
        let figure = format!("{processes} processes: {note}{tally}, {marks} marks in {} KiB written", bytes / 1024);
        // The application has recorded none of the dead events.
        let is_sound = tally.lost as i64 == tally.dead
            && tally.twice == 0
            && tally.rows == tally.done + tally.dead
            && tally.rows == tally.recorded as i64 + tally.dead;
        assert!(mistakes.is_empty(), "{check}: {} mistakes, such as {:?}", mistakes.len(), mistakes.first());
        let holds = is_sound && marks == 0 && holds(&tally);
        report(check, &self.tables.database, figure, holds);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { sent, accepted, failed, lost, twice, recorded, calls, again, rows, done, dead, attempts, .. } =
            self;
        let ([[answer, slowest], [delay, late]], longest) = ([self.answered, self.delay], self.longest);
        write!(
            f,
            "{accepted} of {sent} accepted (other answers: {failed:?}), {recorded} recorded, {twice} of them twice, {lost} not; \
             {rows} rows, {done} done, {dead} dead; {attempts} attempts, {calls} calls, {again} after recording; \
             answered p50 {answer:.1?} p99 {slowest:.1?}, recorded later by p50 {delay:.1?} p99 {late:.1?} most {longest:.1?}"
        )
    }
}

fn failed(sent: &[Sent]) -> BTreeMap<String, usize> {
    let mut failed = BTreeMap::new();
    for sent in sent {
        for answer in &sent.answers[..sent.answers.len() - usize::from(sent.is_accepted())] {
            *failed.entry(answer.map_or("none".to_owned(), |status| status.to_string())).or_insert(0) += 1;
        }
    }
    failed
}
