//! Plays every order of steps on the record of one body: deliveries, failures, and time passing.

use std::time::Duration;

use medhook::{DedupeStore, EventKey, MemoryStore};
use tokio::time::{Instant, advance};

const PERIOD: Duration = Duration::from_secs(24 * 3600);
const MOST: u64 = 3;

#[derive(Debug, Clone, Copy)]
enum Step {
    Record,
    Failure,
    Pass(Duration),
}

const STEPS: [Step; 4] = [Step::Record, Step::Failure, Step::Pass(Duration::from_secs(12 * 3600)), Step::Pass(PERIOD)];

#[tokio::test(start_paused = true)]
async fn a_body_in_every_order_of_eight_steps() {
    for number in 0..STEPS.len().pow(8) {
        let sequence: [Step; 8] = std::array::from_fn(|at| STEPS[number / STEPS.len().pow(at as u32) % STEPS.len()]);
        play(&sequence).await;
    }
}

async fn play(sequence: &[Step]) {
    let store = MemoryStore::new(4);
    let body = EventKey::from_bytes([7; 32]);
    let mut expected: Option<Expected> = None;
    for step in sequence {
        match step {
            Step::Record => {
                let record = store.record_delivery(body, PERIOD, MOST).await.unwrap();
                let now = Instant::now();
                let new = Expected { deliveries: 0, first: now, last: now, began: now, in_period: 0 };
                let mut next = expected.filter(|known| known.last.elapsed() < PERIOD).unwrap_or(new);
                if next.began.elapsed() >= PERIOD {
                    (next.began, next.in_period) = (now, 0);
                }
                assert_eq!((record.earlier, record.since), (next.deliveries, next.first.elapsed()), "{sequence:?}");
                assert_eq!((record.in_period, record.period), (next.in_period, next.began.elapsed()), "{sequence:?}");
                let counts = u64::from(next.in_period < MOST);
                let (deliveries, in_period) = (next.deliveries + counts, next.in_period + counts);
                expected = Some(Expected { deliveries, in_period, last: now, ..next });
            }
            Step::Failure => {
                store.record_failure(body).await.unwrap();
                if let Some(known) = &mut expected {
                    known.in_period = known.in_period.saturating_sub(1);
                }
            }
            Step::Pass(time) => advance(*time).await,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Expected {
    deliveries: u64,
    first: Instant,
    last: Instant,
    began: Instant,
    in_period: u64,
}
