//! The schedule of a run.

use std::time::Duration;

/// The duration in seconds.
const SECONDS: &str = "MEDHOOK_SOAK_SECONDS";

/// Deliveries in a second, on all stores together.
const RATE: &str = "MEDHOOK_SOAK_RATE";

/// The samples of a run: 15 in each quarter.
const SAMPLES: u32 = 60;

/// The longest round. Each round has every disturbance of every side.
const ROUND: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disturbance {
    /// A receiver is killed (SIGKILL) and started again.
    Kill,
    /// A receiver is stopped (SIGTERM) while no delivery is sent to it, and another one is started.
    Replace,
    /// The server is restarted, or the file is locked.
    StoreAway,
    ApplicationAway,
    /// The provider gets a new secret, and the old one is removed.
    RotateSecrets,
    /// An operator replays and discards dead events.
    Operate,
}

const DISTURBANCES: [Disturbance; 6] = [
    Disturbance::Kill,
    Disturbance::Replace,
    Disturbance::StoreAway,
    Disturbance::ApplicationAway,
    Disturbance::RotateSecrets,
    Disturbance::Operate,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// A disturbance of the side with this number.
    Disturb(Disturbance, usize),
    Sample,
}

#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) duration: Duration,
    /// The time between two deliveries to a side, of seven.
    pub(super) interval: Duration,
    /// The time for which a store or an application is away.
    pub(super) outage: Duration,
}

impl Plan {
    pub(super) fn from_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<f64>().expect("a number"));
        let duration = Duration::from_secs_f64(number(SECONDS).unwrap_or(10.0));
        let rate = number(RATE).unwrap_or(14.0);
        // Outages are long in a long run, so that several retries and probes of the application fail.
        let outage = (duration / 100).clamp(Duration::from_secs(1), Duration::from_secs(8));
        Plan { duration, interval: Duration::from_secs_f64(7.0 / rate), outage }
    }

    fn rounds(&self) -> u32 {
        (self.duration.as_secs() / ROUND.as_secs()).max(1) as u32
    }

    /// Returns the actions in their order, and when each is due. A late action delays the following ones, but none is
    /// left out.
    pub(super) fn actions(&self, sides: usize) -> Vec<(Duration, Action)> {
        let round = self.duration / self.rounds();
        let steps = (DISTURBANCES.len() * sides) as u32;
        let of_round = |number: u32| {
            let disturbances = DISTURBANCES
                .iter()
                .flat_map(move |disturbance| (0..sides).map(move |side| Action::Disturb(*disturbance, side)));
            let due = move |step: u32| round * number + round / steps * step;
            (0..).zip(disturbances).map(move |(step, action)| (due(step), action))
        };
        let samples = (1..=SAMPLES).map(|number| (self.duration / SAMPLES * number, Action::Sample));
        let mut actions: Vec<_> = (0..self.rounds()).flat_map(of_round).chain(samples).collect();
        // A short run has no time for as many samples.
        if self.duration < ROUND {
            let mut number = 0;
            actions.retain(|(_, action)| {
                *action != Action::Sample || {
                    number += 1;
                    number % 15 == 0
                }
            });
        }
        actions.sort_by_key(|(due, _)| *due);
        actions
    }
}

#[test]
fn a_run_has_each_disturbance_of_each_side_in_every_round() {
    let hour = Plan { duration: Duration::from_secs(3600), interval: Duration::ZERO, outage: Duration::ZERO };
    let actions = hour.actions(7);
    for disturbance in DISTURBANCES {
        for side in 0..7 {
            let times: Vec<_> =
                actions.iter().filter(|(_, action)| *action == Action::Disturb(disturbance, side)).collect();
            assert_eq!(times.len(), 12, "{disturbance:?} {side}");
            assert!(times.windows(2).all(|pair| pair[1].0 - pair[0].0 == ROUND), "{disturbance:?} {side}");
        }
    }
    assert_eq!(actions.iter().filter(|(_, action)| *action == Action::Sample).count(), 60);
    assert!(actions.is_sorted_by_key(|(due, _)| *due) && actions.iter().all(|(due, _)| *due <= hour.duration));
    let seconds = Plan { duration: Duration::from_secs(20), ..hour };
    assert_eq!(seconds.actions(7).len(), DISTURBANCES.len() * 7 + 4);
}
