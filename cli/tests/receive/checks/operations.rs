//! The commands of `medhook inbox` while receivers run: dead events are replayed, and endpoints are paused.

use std::collections::BTreeSet;
use std::time::Duration;

use medhook_tests::program::Ran;

use super::application::Answer;
use super::events::{Event, PROVIDERS};
use super::fleet::{Fleet, usual};
use super::sender::Retries;
use super::settings::Settings;
use super::shared::database::{DEAD, Which, until};
use super::shared::figures::scaled;

on_both! {
    replay
    paused
}

impl Fleet {
    /// Runs a command of `medhook inbox`, and checks its exit code.
    pub(super) fn inbox(&self, code: i32, arguments: &[&str]) -> Ran {
        let ran = self.run(&[&["inbox", arguments[0], "--config", "medhook.toml"], &arguments[1..]].concat());
        assert_eq!(ran.code, Some(code), "{arguments:?}: {ran:?}");
        ran
    }
}

async fn replay(which: Which) {
    let events = scaled(1_000);
    let fleet = Fleet::start(which, usual(which), Settings { max_attempts: 2, ..Settings::default() }).await;
    fleet.application.answers(|_| Answer::Status(500));
    let all = (0..events).map(|number| Event::new("replay", number));
    let sent = fleet.sender.send_all(Retries::UntilAccepted, 16, all).await;
    let dead = async || fleet.tables.rows(DEAD).await == events as i64;
    until("all are dead", dead, async || fleet.state().await).await;
    let before: BTreeSet<_> = fleet.application.events().into_keys().collect();
    fleet.application.answers(|_| Answer::Record);
    fleet.inbox(1, &["stats", "--fail-on-dead"]);
    let listed = fleet.inbox(0, &["list", "--status", "dead", "--limit", "1000", "--json"]).stdout.lines().count();
    fleet.inbox(0, &["replay", "--status", "dead", "--dry-run"]);
    assert_eq!(fleet.tables.rows(DEAD).await, events as i64, "a dry run changes nothing");
    fleet.inbox(0, &["replay", "--status", "dead", "--reason", "status_500"]);
    fleet.until_recorded(events as usize).await;
    fleet.until_ended().await;
    fleet.inbox(0, &["stats", "--fail-on-dead"]);
    let replayed = fleet.application.events();
    let ids_are_kept = before == replayed.keys().cloned().collect();
    let as_replays = replayed.values().filter(|event| event.calls.last().is_some_and(|call| call.is_replay)).count();
    fleet
        .conclude(
            "replay",
            &sent,
            format!("{listed} listed as dead, {as_replays} recorded as replays, ids kept: {ids_are_kept}, "),
            |tally| {
                let all = events as usize;
                listed == all.min(1_000)
                    && ids_are_kept
                    && as_replays == all
                    && tally.done == all as i64
                    && tally.calls == 3 * all
                    && tally.again == 0
            },
        )
        .await;
}

/// Nothing reaches the application while its endpoints are paused, over a restart of all receivers.
async fn paused(which: Which) {
    let events = scaled(1_000);
    let mut fleet = Fleet::start(which, usual(which), Settings::default()).await;
    for provider in &PROVIDERS {
        fleet.inbox(0, &["pause", provider.name, "--because", "a check"]);
    }
    let event = |number| Event::new("paused", number);
    let mut sent = fleet.sender.send_all(Retries::Never, 16, (0..events / 2).map(event)).await;
    fleet.stop_all();
    for number in 0..fleet.processes.len() {
        fleet.restart(number);
    }
    sent.extend(fleet.sender.send_all(Retries::Never, 16, (events / 2..events).map(event)).await);
    // Workers poll several times meanwhile.
    tokio::time::sleep(Duration::from_millis(800)).await;
    let (calls, _) = fleet.application.calls();
    let stats = fleet.inbox(0, &["stats"]).stdout;
    for provider in &PROVIDERS {
        fleet.inbox(0, &["resume", provider.name]);
    }
    fleet
        .conclude("paused over a restart", &sent, format!("{calls} calls while paused, "), |tally| {
            calls == 0 && stats.contains("paused") && tally.all_are_accepted() && tally.attempts == tally.done
        })
        .await;
}
