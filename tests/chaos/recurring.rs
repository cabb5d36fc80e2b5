//! Events that recur with the same bytes, from a sender that never retries.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use medhook::{Bytes, Custom, OnStoreError, Reason, Receiver, Secret, SharedSecret};
use tokio::time::sleep;

use crate::store::Failing;
use crate::world::Chance;

const KEY: &str = "0123456789abcdef";
const BODIES: u64 = 40;
const DELIVERIES: u64 = 1_200;
/// Less than the deliveries of a body on average, so that the limit is reached.
const MAX_REPEATS: u32 = 20;
/// Everything happens within a day of the first delivery, so that no period ends.
const SPREAD: u64 = 20 * 3600;

/// The state of a body.
#[derive(Debug, Default, Clone)]
pub struct Body {
    /// Handlers that succeeded.
    handled: u64,
    /// Deliveries without an answer yet.
    under_way: u64,
    /// Deliveries whose handler failed.
    failed: u64,
    limited: u64,
}

#[derive(Debug, Clone)]
struct Scene {
    receivers: Vec<Receiver>,
    store: Failing,
    chance: Arc<Mutex<Chance>>,
    bodies: Arc<Mutex<BTreeMap<u64, Body>>>,
    store_fails: bool,
}

/// Sends deliveries, each once, and checks every answer. Returns how many were handled, and how many were rejected
/// because their body was repeated too often.
pub async fn play(seed: u64, store_fails: bool) -> (u64, u64) {
    let store = Failing::new(seed);
    let receiver = |policy| {
        let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new(KEY).expect("a secret"));
        let builder = Receiver::builder("chaos", custom).store(store.clone()).on_store_error(policy);
        builder.max_repeats(MAX_REPEATS).build().expect("a receiver")
    };
    let receivers = vec![receiver(OnStoreError::Reject), receiver(OnStoreError::HandleUnclaimed)];
    let chance = Arc::new(Mutex::new(Chance(seed)));
    let scene = Scene { receivers, store, chance, bodies: Arc::default(), store_fails };
    let trouble = tokio::spawn(scene.clone().trouble());
    let sent: Vec<_> = (0..DELIVERIES).map(|_| tokio::spawn(scene.clone().send())).collect();
    for sent in sent {
        sent.await.expect("a promise was broken");
    }
    trouble.abort();
    let bodies: Vec<Body> = scene.bodies.lock().unwrap().values().cloned().collect();
    for body in &bodies {
        // Without the store, `handle-unclaimed` handles deliveries that are not counted.
        assert!(store_fails || body.handled <= u64::from(MAX_REPEATS) + 1, "{body:?}");
    }
    (bodies.iter().map(|body| body.handled).sum(), bodies.iter().map(|body| body.limited).sum())
}

impl Scene {
    async fn trouble(self) {
        if !self.store_fails {
            return;
        }
        loop {
            let (calm, broken) = {
                let mut chance = self.chance.lock().unwrap();
                (chance.seconds(60, 1200), chance.seconds(1, 180))
            };
            sleep(calm).await;
            self.store.break_down();
            sleep(broken).await;
            self.store.mend();
        }
    }

    async fn send(self) {
        let (begins, number, receiver, takes, fate) = {
            let mut chance = self.chance.lock().unwrap();
            let begins = Duration::from_secs(chance.below(SPREAD));
            let receiver = chance.below(2) as usize;
            (begins, chance.below(BODIES), receiver, chance.seconds(0, 120), chance.below(10))
        };
        sleep(begins).await;
        let receiver = &self.receivers[receiver];
        let body = Bytes::from(format!(r#"{{"count":{number}}}"#));
        let verified = receiver.verify(&[("x-key", KEY)], body).expect("it is genuine");
        let admitted = receiver.admit(receiver.open(verified).expect("it is genuine")).expect("a permit is free");
        let delivery = admitted.delivery().clone();
        let before = self.body(number, |body| {
            body.under_way += 1;
            body.clone()
        });
        let handler = async {
            if !self.store_fails {
                let earlier = delivery.possible_duplicate().map_or(0, |duplicate| duplicate.count);
                let least = before.handled + before.failed;
                let most = self.body(number, |now| now.handled + now.under_way + now.failed);
                assert!((least..most).contains(&earlier), "{earlier} earlier deliveries of {before:?}");
            }
            sleep(takes).await;
            match fate {
                // `resume_unwind` does not call the panic hook, so nothing is printed.
                0 => std::panic::resume_unwind(Box::new("the handler's own")),
                1 | 2 => 500,
                _ => {
                    self.body(number, |body| body.handled += 1);
                    200
                }
            }
        };
        let answer = admitted.run(handler, |status| *status == 200).await;
        let handled = answer.as_ref().is_ok_and(|status| *status == 200);
        let limited = answer.as_ref().is_err_and(|rejection| rejection.reason() == Reason::RepeatLimit);
        match answer.map_err(|rejection| rejection.reason()) {
            Ok(status) => assert_eq!(status == 200, fate > 2, "the answer is the handler's"),
            Err(Reason::HandlerPanicked) => assert_eq!(fate, 0),
            Err(Reason::StoreUnavailable) => assert!(self.store_fails),
            Err(Reason::RepeatLimit) => {
                // One that has failed since may have counted.
                let counted = self.body(number, |now| now.handled + now.under_way + now.failed - before.failed);
                assert!(self.store_fails || counted > u64::from(MAX_REPEATS), "{counted} deliveries");
                self.body(number, |body| body.limited += 1);
            }
            Err(reason) => panic!("{reason} for an event that may be new"),
        }
        self.body(number, |body| {
            body.under_way -= 1;
            body.failed += u64::from(!handled && !limited);
        });
    }

    fn body<T>(&self, number: u64, look: impl FnOnce(&mut Body) -> T) -> T {
        look(self.bodies.lock().unwrap().entry(number).or_default())
    }
}
