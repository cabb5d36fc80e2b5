//! SIGKILL at random, while the application fails in every way.

use std::time::Duration;

use super::application::{Answer, Call, Recorded};
use super::events::{PROVIDERS, Sent};
use super::fleet::{Fleet, full};
use super::sender::Retries;
use super::settings::Settings;
use super::shared::database::Which;
use super::shared::figures::scaled;

on_both! {
    killed
}

/// Returns a number that depends on an id only.
pub(super) fn number_of(id: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// Half of the events fail in their first calls, in all ways that do not end an event.
pub(super) fn unreliable(call: &Call) -> Answer {
    match (number_of(&call.id) % 12, call.before) {
        (0, 0..2) => Answer::Status(500),
        (1, 0) => Answer::Status(404),
        (2, 0) => Answer::RetryAfter(1),
        (3, 0) => Answer::RecordAndHangUp,
        (4, 0) => Answer::Status(302),
        (5, _) => Answer::RecordAfter(Duration::from_millis(100)),
        _ => Answer::Record,
    }
}

async fn killed(which: Which) {
    let (events, kills) = (scaled(3_000), scaled(50));
    // An event whose receiver was killed is taken over after the lease.
    let settings = Settings { lease: "2s", ..Settings::default() };
    let mut fleet = Fleet::start(which, full(which), settings).await;
    fleet.application.answers(unreliable);
    // Without retries, events that were not accepted are lost. Those that were accepted must not be.
    let never_again = fleet.sender.load(Retries::Never, "once");
    let load = fleet.sender.load(Retries::UntilAccepted, "kill");
    for kill in 1..=kills {
        fleet.until_sent((kill * events / (kills + 1)) as usize).await;
        let seed = kill.wrapping_mul(6_364_136_223_846_793_005) >> 33;
        tokio::time::sleep(Duration::from_millis(seed % 30)).await;
        let number = seed as usize % fleet.processes.len();
        fleet.kill(number);
    }
    fleet.until_sent(events as usize).await;
    let mut sent = load.stop().await;
    let all_in_the_end = sent.iter().all(Sent::is_accepted);
    sent.extend(never_again.stop().await);
    // Each kill can cause one more call for each attempt that the receiver had begun, and so can each call that the
    // application leaves unanswered.
    let begun = kills as usize * fleet.settings.workers * PROVIDERS.len();
    let unanswered = fleet.application.events().values().filter(|event| hangs_up(event)).count();
    fleet
        .conclude("kills", &sent, format!("{kills} kills, "), |tally| {
            all_in_the_end && tally.dead == 0 && tally.again <= begun + 2 * unanswered
        })
        .await;
}

fn hangs_up(event: &Recorded) -> bool {
    event.calls.iter().any(|call| matches!(unreliable(call), Answer::RecordAndHangUp))
}
