//! Keys and secrets are rotated under load from a sender that never retries: every delivery is accepted.

use std::time::{Duration, Instant};

use super::events::{Event, PROVIDERS};
use super::fleet::{Fleet, usual};
use super::mounted::{NEW_KEY, OLD_KEY, files, secrets};
use super::sender::Retries;
use super::settings::Settings;
use super::shared::database::{Which, until};
use super::shared::figures::{report_time, times_matter};

on_both! {
    keys_rotated
    secrets_rotated
}

/// The steps of docs/inbox-operations.md, as rolling restarts.
async fn keys_rotated(which: Which) {
    let settings = Settings { drain_delay: "100ms", ..Settings::default() };
    let mut fleet = Fleet::start(which, usual(which), settings).await;
    let load = fleet.sender.load(Retries::Never, "keys");
    fleet.settings.keys = vec![OLD_KEY, NEW_KEY];
    fleet.roll().await;
    // From here on events wait under both keys, so that there is something to seal again.
    fleet.application.down().await;
    let waiting = fleet.sender.sent();
    fleet.until_sent(waiting + 20).await;
    fleet.settings.keys = vec![NEW_KEY, OLD_KEY];
    fleet.roll().await;
    let rekeyed = fleet.inbox(0, &["rekey", "--json"]).stdout;
    fleet.application.up().await;
    fleet.settings.keys = vec![NEW_KEY];
    fleet.roll().await;
    let forgotten = fleet.inbox(0, &["rekey", "--json"]).stdout;
    let sent = load.stop().await;
    let began = Instant::now();
    fleet.until_ended().await;
    // Otherwise an event waits for the end of the lease of a receiver that has stopped.
    report_time(
        "receivers that stop give back what they have leased",
        &fleet.tables.database,
        format!("all events ended {:.1?} after the last one was sent", began.elapsed()),
        began.elapsed() < Duration::from_secs(20),
    );
    let sealed = number_in(&rekeyed, "\"sealed\":");
    let forgets = forgotten.contains("\"forgotten_keys\":[\"");
    let unreadable = fleet.processes.iter().filter(|process| process.log().contains("unknown_key")).count();
    let note = format!("{sealed} sealed again, {unreadable} receivers met an unknown key, ");
    fleet
        .conclude("keys rotated", &sent, note, |tally| {
            tally.all_are_accepted() && tally.dead == 0 && unreadable == 0 && sealed > 0 && forgets
        })
        .await;
}

fn number_in(text: &str, before: &str) -> u64 {
    let digits = text.split(before).nth(1).unwrap_or_default();
    digits.split(|other: char| !other.is_ascii_digit()).next().unwrap_or_default().parse().unwrap_or_default()
}

/// The provider signs with the new secret before the old one is removed. All files are swapped at once.
async fn secrets_rotated(which: Which) {
    let mut fleet = Fleet::start(which, usual(which), Settings::default()).await;
    let load = fleet.sender.load(Retries::Never, "secrets");
    fleet.until_sent(20).await;
    let mut took = Vec::new();
    for (change, accepted) in [(1, &[2, 1][..]), (2, &[2])] {
        let began = Instant::now();
        fleet.mounted.swap(&files(accepted));
        // Without SIGHUP, the files are polled every 10 s.
        if change == 1 || !times_matter() {
            fleet.signal("HUP");
        }
        fleet.until_replaced(change).await;
        took.push(began.elapsed());
        fleet.sender.sign_with(secrets(2));
        let sent = fleet.sender.sent();
        fleet.until_sent(sent + 40).await;
    }
    let sent = load.stop().await;
    // The old secret is not accepted anymore.
    fleet.sender.sign_with(secrets(1));
    for number in 0..fleet.processes.len() {
        assert_eq!(fleet.sender.try_to_send(&Event::new("old", number as u64)).await, Some(401));
    }
    fleet
        .conclude("secrets rotated", &sent, format!("replaced after {took:.1?}, "), |tally| {
            let is_rejected = tally.failed.keys().any(|answer| answer != "503");
            tally.all_are_accepted() && !is_rejected && tally.dead == 0
        })
        .await;
}

impl Fleet {
    /// Waits until each receiver has replaced the secrets of all endpoints this many times.
    async fn until_replaced(&self, times: usize) {
        let is_line = |line: &&str| line.contains("medhook::secrets") && line.contains("INFO");
        let replaced = async || {
            let lines = |log: String| log.lines().filter(is_line).count();
            self.processes.iter().all(|process| lines(process.log()) >= times * PROVIDERS.len())
        };
        until("the secrets are replaced", replaced, async || self.state().await).await;
    }
}
