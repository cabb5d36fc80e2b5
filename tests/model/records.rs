//! Plays every order of steps on the record of one body: deliveries, their removal, and time passing.

use std::time::Duration;

use medhook::{DedupeStore, EventKey, MemoryStore};
use tokio::time::{Instant, advance};

const PERIOD: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Clone, Copy)]
enum Step {
    Record,
    Unrecord,
    Pass(Duration),
}

const STEPS: [Step; 4] = [Step::Record, Step::Unrecord, Step::Pass(Duration::from_secs(12 * 3600)), Step::Pass(PERIOD)];

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
    // The number of deliveries, and the time of the first one.
    let mut expected: Option<(u64, Instant)> = None;
    for step in sequence {
        match step {
            Step::Record => {
                let current = expected.filter(|(_, first)| first.elapsed() < PERIOD);
                let record = store.record_delivery(body, PERIOD).await.unwrap();
                let (earlier, first) = current.unwrap_or((0, Instant::now()));
                assert_eq!((record.earlier, record.since), (earlier, first.elapsed()), "{sequence:?}");
                expected = Some((earlier + 1, first));
            }
            Step::Unrecord => {
                store.unrecord_delivery(body).await.unwrap();
                expected = expected.map(|(count, first)| (count - 1, first)).filter(|(count, _)| *count > 0);
            }
            Step::Pass(time) => advance(*time).await,
        }
    }
}
