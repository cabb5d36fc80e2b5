//! The simulated world: random numbers, clocks, receivers, one store, and the state of every event.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use medhook::{Clock, EventKey, Fasten, Receiver, Secret};
use tokio::time::{Instant, sleep};

use crate::sender;
use crate::store::Failing;

pub const SECRET: &str = "c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
const BEGAN: i64 = 1_767_225_600;

/// The kinds of failures besides those of senders and handlers.
#[derive(Debug, Clone, Copy)]
pub struct Trouble {
    pub store: bool,
    pub clocks: bool,
    pub crashes: bool,
}

#[derive(Clone)]
pub struct World(Arc<WorldState>);

struct WorldState {
    chance: Mutex<Chance>,
    trouble: Trouble,
    store: Failing,
    clocks: Vec<ShownTime>,
    receivers: Vec<Receiver>,
    events: Mutex<BTreeMap<u64, Event>>,
    began: Instant,
}

/// The state of an event.
#[derive(Debug, Default, Clone)]
pub struct Event {
    pub key: Option<EventKey>,
    /// The tokens under which a handler succeeded.
    pub handled_by: Vec<[u8; 16]>,
    /// The tokens under which a handler is running.
    pub running: BTreeSet<[u8; 16]>,
    pub accepted: bool,
}

impl World {
    pub fn new(seed: u64, trouble: Trouble) -> Self {
        let began = Instant::now();
        let store = Failing::new(seed);
        let clocks: Vec<ShownTime> = std::iter::repeat_with(|| ShownTime::new(began)).take(3).collect();
        let receiver = |clock: &ShownTime| {
            let fasten = Fasten::live(Secret::new(SECRET).expect("a secret"));
            let builder = Receiver::builder("chaos", fasten).store(store.clone()).clock(clock.clone());
            builder.max_in_flight(64).build().expect("a receiver")
        };
        let receivers = clocks.iter().map(receiver).collect();
        let (chance, events) = (Mutex::new(Chance(seed)), Mutex::default());
        World(Arc::new(WorldState { chance, trouble, store, clocks, receivers, events, began }))
    }

    /// Sends this many events until each is accepted, then waits for all background work.
    pub async fn run(&self, events: u64) {
        let troubles = [tokio::spawn(self.clone().trouble_the_store()), tokio::spawn(self.clone().set_the_clocks())];
        let senders: Vec<_> =
            (0..events).map(|number| tokio::spawn(sender::send_until_accepted(self.clone(), number))).collect();
        for sender in senders {
            sender.await.expect("a promise was broken");
        }
        troubles.iter().for_each(tokio::task::JoinHandle::abort);
        self.store().mend();
        // A failed settle is retried for up to an hour, and a handler may run for ten minutes.
        sleep(Duration::from_secs(2 * 3600)).await;
        for receiver in &self.0.receivers {
            assert_eq!(receiver.drain(Duration::ZERO).await, 0, "no handler runs forever");
        }
        self.store().all_arrived().await;
    }

    pub fn chance(&self) -> MutexGuard<'_, Chance> {
        self.0.chance.lock().unwrap()
    }

    pub fn trouble(&self) -> Trouble {
        self.0.trouble
    }

    pub fn store(&self) -> &Failing {
        &self.0.store
    }

    /// Returns a random receiver, and by how much its clock is off.
    pub fn a_receiver(&self) -> (Receiver, i64) {
        let index = self.chance().below(self.0.receivers.len() as u64) as usize;
        (self.0.receivers[index].clone(), self.0.clocks[index].off_by.load(Ordering::SeqCst))
    }

    /// Returns the time that senders use, in Unix seconds.
    pub fn true_time(&self) -> i64 {
        BEGAN + self.0.began.elapsed().as_secs() as i64
    }

    /// Reads or changes the state of an event.
    pub fn event<T>(&self, number: u64, look: impl FnOnce(&mut Event) -> T) -> T {
        look(self.0.events.lock().unwrap().entry(number).or_default())
    }

    pub fn events(&self) -> Vec<(u64, Event)> {
        self.0.events.lock().unwrap().iter().map(|(number, event)| (*number, event.clone())).collect()
    }

    async fn trouble_the_store(self) {
        if !self.0.trouble.store {
            return;
        }
        loop {
            let calm = self.chance().seconds(5, 240);
            let broken = self.chance().seconds(1, 180);
            sleep(calm).await;
            self.0.store.break_down();
            sleep(broken).await;
            self.0.store.mend();
        }
    }

    async fn set_the_clocks(self) {
        if !self.0.trouble.clocks {
            return;
        }
        loop {
            let wait = self.chance().seconds(30, 900);
            sleep(wait).await;
            for clock in &self.0.clocks {
                let how = self.chance().below(4);
                let off_by = match how {
                    0 => self.chance().below(100_000) as i64 - 50_000,
                    1 => self.chance().below(500) as i64 - 250,
                    _ => 0,
                };
                clock.off_by.store(off_by, Ordering::SeqCst);
            }
        }
    }
}

/// A clock that follows paused time, and can be set.
#[derive(Debug, Clone)]
struct ShownTime {
    began: Instant,
    off_by: Arc<AtomicI64>,
}

impl ShownTime {
    fn new(began: Instant) -> Self {
        ShownTime { began, off_by: Arc::default() }
    }
}

impl Clock for ShownTime {
    fn now(&self) -> SystemTime {
        let shown = BEGAN + self.began.elapsed().as_secs() as i64 + self.off_by.load(Ordering::SeqCst);
        UNIX_EPOCH + Duration::from_secs(shown as u64)
    }
}

/// Random numbers, the same for the same seed (SplitMix64).
#[derive(Debug)]
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// Returns true with this probability in percent.
    pub fn in_a_hundred(&mut self, times: u64) -> bool {
        self.below(100) < times
    }

    pub fn seconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from * 1000 + self.below((to - from) * 1000))
    }
}
