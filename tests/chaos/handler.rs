//! An application whose handler succeeds most of the time.

use std::time::Duration;

use medhook::Delivery;
use tokio::time::sleep;

use crate::world::World;

/// Handles a delivery, and records in the world when the handler succeeded.
pub async fn handle(world: World, number: u64, delivery: Delivery) -> u16 {
    let token = *delivery.claim_token().expect("let in").as_bytes();
    let _running = Running::begin(&world, number, &delivery, token);
    let takes = {
        let mut chance = world.chance();
        match chance.below(200) {
            0 => Duration::from_secs(100_000),
            1..20 => chance.seconds(40, 300),
            20..60 => chance.seconds(1, 25),
            _ => Duration::from_millis(chance.below(500)),
        }
    };
    sleep(takes).await;
    let fate = world.chance().below(10);
    match fate {
        // `resume_unwind` does not call the panic hook, so nothing is printed.
        0 => std::panic::resume_unwind(Box::new("the handler's own")),
        1 | 2 => 500,
        _ => {
            world.event(number, |event| event.handled_by.push(token));
            200
        }
    }
}

/// A running handler of an event. Two may run at once only if the claim of one of them has expired.
struct Running {
    world: World,
    number: u64,
    token: [u8; 16],
}

impl Running {
    fn begin(world: &World, number: u64, delivery: &Delivery, token: [u8; 16]) -> Self {
        let others = world.event(number, |event| {
            event.key = Some(delivery.event_key());
            let others = event.running.clone();
            assert!(event.running.insert(token), "no token is used twice");
            others
        });
        let lapsed = world.store().ledger().lapsed(delivery.event_key());
        assert!(others.is_subset(&lapsed), "two handlers run at once, and the claim of neither has expired");
        Running { world: world.clone(), number, token }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.world.event(self.number, |event| event.running.remove(&self.token));
    }
}
