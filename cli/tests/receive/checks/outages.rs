//! The application is away, or fails in every way, and comes back.

use std::time::{Duration, Instant};

use super::application::{Answer, Call};
use super::events::{Event, PROVIDERS};
use super::fleet::{Fleet, usual};
use super::kills::{number_of, unreliable};
use super::sender::Retries;
use super::settings::Settings;
use super::shared::database::Which;
use super::shared::figures::{report, report_time, rounds, scaled};

on_both! {
    application_away
    application_fails
    mediquo_in_an_outage
}

/// The duration of an outage: shorter where the speed of the machine must not matter.
fn outage() -> Duration {
    Duration::from_secs(rounds(60, 1))
}

async fn application_away(which: Which) {
    let events = scaled(5_000);
    // An event in an outage has used none of its attempts.
    let settings = Settings { max_attempts: 2, ..Settings::default() };
    let fleet = Fleet::start(which, usual(which), settings).await;
    let event = |number| Event::new("away", number);
    let part = events / 4;
    let mut sent = fleet.sender.send_all(Retries::Never, 8, (0..part).map(event)).await;
    fleet.application.down().await;
    let began = Instant::now();
    sent.extend(fleet.sender.send_all(Retries::Never, 8, (part..3 * part).map(event)).await);
    tokio::time::sleep(outage().saturating_sub(began.elapsed())).await;
    let before = fleet.application.recorded();
    fleet.application.up().await;
    let back = Instant::now();
    sent.extend(fleet.sender.send_all(Retries::Never, 8, (3 * part..events).map(event)).await);
    let accepted = sent.iter().filter(|sent| sent.is_accepted()).count();
    fleet.until_recorded(accepted).await;
    let drained = back.elapsed();
    let recorded = fleet.application.events().into_values().filter_map(|event| event.at);
    let first = recorded.filter(|at| *at > back).min().map_or(drained, |at| at - back);
    fleet
        .conclude(
            "application away",
            &sent,
            format!(
                "away for {:?} with {} events, first recorded {first:.1?} and all {drained:.1?} after it was back, ",
                outage(),
                accepted - before,
            ),
            |tally| tally.all_are_accepted() && tally.dead == 0 && tally.again == 0,
        )
        .await;
    // The limit is the longest pause of the breaker.
    report_time(
        "application back",
        &fleet.tables.database,
        format!("first event recorded after {first:.1?}"),
        first <= Duration::from_secs(31),
    );
}

async fn application_fails(which: Which) {
    let events = scaled(3_000);
    let fleet = Fleet::start(which, usual(which), Settings { max_attempts: 4, ..Settings::default() }).await;
    let answer = |call: &Call| match unreliable(call) {
        // The application does not want one in eleven.
        Answer::Record if call.before == 0 && number_of(&call.id).is_multiple_of(11) => Answer::GiveUp,
        answer => answer,
    };
    fleet.application.answers(answer);
    let all = (0..events).map(|number| Event::new("fails", number));
    let sent = fleet.sender.send_all(Retries::Never, 16, all).await;
    let tally = fleet.tally(&sent).await;
    let calls = fleet.application.events();
    let unwanted = calls.values().filter(|event| event.at.is_none()).count();
    let listed = fleet.inbox(0, &["list", "--reason", "unwanted", "--limit", "1000", "--json"]).stdout.lines().count();
    let early = calls.values().filter(|event| {
        let is_early = |pair: &[Call]| {
            matches!(answer(&pair[0]), Answer::RetryAfter(_)) && pair[1].at - pair[0].at < Duration::from_millis(990)
        };
        event.calls.windows(2).any(is_early)
    });
    let (early, tries) = (early.count(), tally.calls as f64 / events as f64);
    fleet
        .conclude(
            "application fails",
            &sent,
            format!(
                "{tries:.2} calls per event, {early} earlier than `Retry-After`, {unwanted} given up by the application \
                 and {listed} listed with its reason, "
            ),
            |tally| {
                tally.all_are_accepted()
                    && (tally.dead as usize, listed) == (unwanted, unwanted.min(1_000))
                    // An event whose reused connection was closed is sent once more in the same attempt.
                    && (tally.calls - tally.again..=tally.calls).contains(&(tally.attempts as usize))
                    && tally.misnumbered == 0
                    && early == 0
            },
        )
        .await;
}

/// MediQuo documents no retries: what arrives while the application is away is lost without an inbox.
async fn mediquo_in_an_outage(which: Which) {
    let event = |name: &str| Event::of(&PROVIDERS[0], name);
    let fleet = Fleet::start(which, usual(which), Settings::default()).await;
    let mut sent = vec![fleet.sender.send(Retries::Never, event("before")).await];
    fleet.until_recorded(1).await;
    fleet.application.down().await;
    let away = outage();
    tokio::time::sleep(away / 2).await;
    sent.push(fleet.sender.send(Retries::Never, event("during")).await);
    tokio::time::sleep(away / 2).await;
    fleet.application.up().await;
    let back = Instant::now();
    fleet.until_recorded(2).await;
    let after = back.elapsed();
    fleet
        .conclude(
            "MediQuo's event in an outage",
            &sent,
            format!("{away:?} away, recorded {after:.1?} after it was back, "),
            |tally| tally.accepted == 2 && tally.recorded == 2,
        )
        .await;
    let without = Fleet::stopped(which, Settings { inbox: false, ..Settings::default() }).await.with(1);
    let lost = without.sender.send(Retries::Never, event("during")).await;
    without.application.up().await;
    report(
        "MediQuo's event in an outage, without an inbox as a control",
        &without.tables.database,
        format!("answered {:?}, {} recorded", lost.answers, without.application.recorded()),
        lost.answers == [Some(502)] && without.application.recorded() == 0,
    );
}
