//! Hundreds of events in an inbox under many kinds of failures at once.
//!
//! Three processes receive and work. The store rejects calls, hangs, is slow, and loses answers; calls arrive after
//! their callers have stopped waiting, and after later ones. Handlers fail, panic, take longer than a lease or run
//! forever, and give events up. Senders hang up, send concurrent copies, and retry. Processes die or are stopped, and
//! others take their place. Meanwhile the secrets of the endpoint and the keys of the inbox are rotated, operators
//! pause the endpoint and replay dead events, and ended events are purged. Time is paused and the random numbers of
//! the failures have a seed: `MEDHOOK_CHAOS_SEED=<seed>` plays that one alone. The waits of workers are random as well,
//! so a seed does not repeat a run exactly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::MutexGuard;
use std::sync::atomic::AtomicU8;

use super::*;
use crate::inbox::memory::CallTrouble;
use crate::inbox::{Keep, ring};
use crate::{Reason, Secrets};

const EVENTS: usize = 200;
const PROCESSES: usize = 3;

/// The time within which the first deliveries of all events arrive.
const SPREAD: u64 = 3600;

/// The keys of the inbox in each phase of a rotation, by the steps of the documentation: every process knows a key
/// before any seals under it, and all is sealed again before a key is removed.
const RINGS: [&[u8]; 6] = [&[1], &[1, 2], &[2, 1], &[2], &[2, 3], &[3, 2]];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Troubles {
    /// Those of senders and handlers.
    Few,
    All,
}

#[derive(Clone)]
struct Scene(Arc<SceneState>);

struct SceneState {
    chance: Mutex<Chance>,
    troubles: Troubles,
    store: Arc<MemoryInbox>,
    processes: Mutex<Vec<Process>>,
    fates: Mutex<BTreeMap<usize, Fate>>,
    broken: Arc<AtomicBool>,
    /// Whether every handler succeeds.
    calm: AtomicBool,
    /// The secret that the provider signs with.
    secret: AtomicU8,
    violations: Mutex<Vec<String>>,
    /// Held while processes are replaced: none with keys of before may start in a later phase of a rotation.
    replacing: tokio::sync::Mutex<()>,
}

struct Process {
    receiver: Receiver,
    working: JoinHandle<()>,
    ring: usize,
}

/// Ends the workers of a process.
type Dying = Arc<std::sync::OnceLock<tokio::task::AbortHandle>>;

/// The fate of an event.
#[derive(Debug, Clone, Default)]
struct Fate {
    attempts_to_send: u32,
    accepted: bool,
    /// The tokens under which a handler succeeded, and under which one is running.
    succeeded: Vec<[u8; 16]>,
    running: BTreeSet<[u8; 16]>,
    calls: u32,
}

/// Random numbers, the same for the same seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn seconds(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from * 1000 + self.below((to - from) * 1000))
    }
}

/// Returns the fault of a call while the store is broken.
fn fault(chance: &mut Chance) -> CallTrouble {
    match chance.below(12) {
        0..3 => CallTrouble::Rejects,
        3..5 => CallTrouble::ArrivesLater(chance.seconds(0, 90)),
        5 | 6 => CallTrouble::LosesTheAnswer,
        7 => CallTrouble::Hangs,
        8 => CallTrouble::IsSlow(chance.seconds(0, 8)),
        _ => CallTrouble::None,
    }
}

fn secret(number: u8) -> String {
    format!("secret number {number} of the endpoint")
}

fn operator() -> Operator {
    Operator::new("chaos", "chaos").unwrap()
}

impl Scene {
    async fn new(seed: u64, troubles: Troubles) -> Self {
        let store = MemoryInbox::new();
        let broken = Arc::<AtomicBool>::default();
        let (is_broken, mut chance) = (broken.clone(), Chance(!seed));
        store.trouble(move || if is_broken.load(Ordering::SeqCst) { fault(&mut chance) } else { CallTrouble::None });
        let scene = Scene(Arc::new(SceneState {
            chance: Mutex::new(Chance(seed)),
            troubles,
            store,
            processes: Mutex::default(),
            fates: Mutex::default(),
            broken,
            calm: AtomicBool::new(false),
            secret: AtomicU8::new(1),
            violations: Mutex::default(),
            replacing: tokio::sync::Mutex::default(),
        }));
        for _ in 0..PROCESSES {
            let process = scene.process(0).await;
            scene.processes().push(process);
        }
        scene
    }

    fn chance(&self) -> MutexGuard<'_, Chance> {
        self.0.chance.lock().unwrap()
    }

    fn processes(&self) -> MutexGuard<'_, Vec<Process>> {
        self.0.processes.lock().unwrap()
    }

    fn fate<T>(&self, number: usize, look: impl FnOnce(&mut Fate) -> T) -> T {
        look(self.0.fates.lock().unwrap().entry(number).or_default())
    }

    fn check(&self, holds: bool, violation: impl FnOnce() -> String) {
        if !holds {
            self.0.violations.lock().unwrap().push(violation());
        }
    }

    fn a_receiver(&self) -> Receiver {
        let number = self.chance().below(PROCESSES as u64) as usize;
        self.processes()[number].receiver.clone()
    }

    /// Starts a process, as soon as the store lets it.
    async fn process(&self, ring_number: usize) -> Process {
        let SceneState { store, secret, .. } = &*self.0;
        let inbox = loop {
            let bodies = Bodies::sealed(ring(RINGS[ring_number]));
            match timeout(LEASE, Inbox::open(store.clone(), store.clone(), store.id, bodies)).await {
                Ok(Ok(inbox)) => break inbox,
                Ok(Err(_)) | Err(_) => sleep(SECOND).await,
            }
        };
        let receiver = Receiver::builder("acme", acme(secret.load(Ordering::SeqCst)))
            .inbox(inbox)
            .clock(StoreClock(store.clone()))
            .lease(LEASE)
            .build()
            .unwrap();
        let scene = self.clone();
        let retry = Retry::exponential(5 * SECOND, 60 * SECOND).max_attempts(8);
        let worker = worker(&receiver).workers(4).retry(retry);
        let dying = Dying::default();
        let own = dying.clone();
        let worker = worker.handler(move |delivery: Delivery| scene.clone().handle(delivery, own.clone())).unwrap();
        let working = tokio::spawn(worker.run());
        dying.set(working.abort_handle()).unwrap();
        Process { receiver, working, ring: ring_number }
    }

    async fn handle(self, delivery: Delivery, process: Dying) -> Handled {
        let number = delivery.id().and_then(|id| id.parse::<usize>().ok()).unwrap();
        let token = *delivery.claim_token().unwrap().as_bytes();
        let others = self.fate(number, |fate| {
            fate.calls += 1;
            let others = fate.running.clone();
            fate.running.insert(token);
            others
        });
        let _running = Running { scene: self.clone(), number, token };
        let lapsed = self.0.store.lapsed();
        self.check(others.is_subset(&lapsed), || format!("two handlers of {number} run, and no lease has expired"));
        if self.0.calm.load(Ordering::SeqCst) {
            self.fate(number, |fate| fate.succeeded.push(token));
            return Handled::done();
        }
        let (takes, end) = {
            let mut chance = self.chance();
            let takes = match chance.below(200) {
                0 => Duration::from_secs(100_000),
                1..10 => chance.seconds(40, 55),
                10..40 => chance.seconds(1, 25),
                _ => Duration::from_millis(chance.below(500)),
            };
            (takes, chance.below(20))
        };
        sleep(takes).await;
        match end {
            // `resume_unwind` does not call the panic hook, so nothing is printed.
            0 | 1 => std::panic::resume_unwind(Box::new("the handler's own")),
            2..5 => Handled::retry(),
            5 => Handled::retry_after(20 * SECOND),
            6 => Handled::give_up("unwanted"),
            _ => {
                self.fate(number, |fate| fate.succeeded.push(token));
                if self.0.troubles == Troubles::All && self.chance().below(100) < 5 {
                    // The process dies before it records the result.
                    if let Some(workers) = process.get() {
                        workers.abort();
                    }
                    std::future::pending::<()>().await;
                }
                Handled::done()
            }
        }
    }

    async fn send_until_accepted(self, number: usize) {
        let begins = Duration::from_secs(self.chance().below(SPREAD));
        sleep(begins).await;
        loop {
            let tries = self.fate(number, |fate| fate.attempts_to_send);
            assert!(tries < 2_000, "event {number} is never accepted");
            let violations = self.0.violations.lock().unwrap().clone();
            assert_eq!(violations, [""; 0]);
            let copies = if self.chance().below(100) < 15 { 3 } else { 1 };
            let attempts: Vec<_> = (0..copies).map(|_| tokio::spawn(self.clone().attempt(number))).collect();
            let mut accepted = false;
            for attempt in attempts {
                accepted |= attempt.await.unwrap();
            }
            if accepted {
                break;
            }
            let wait = self.chance().seconds(1, 60);
            sleep(wait).await;
        }
        self.fate(number, |fate| fate.accepted = true);
        if self.chance().below(100) < 20 {
            let later = self.chance().seconds(0, 1800);
            sleep(later).await;
            self.attempt(number).await;
        }
    }

    /// Sends a delivery. Returns whether it was accepted.
    async fn attempt(self, number: usize) -> bool {
        let key = secret(self.0.secret.load(Ordering::SeqCst));
        let was_accepted = self.fate(number, |fate| {
            fate.attempts_to_send += 1;
            fate.accepted
        });
        let receiver = self.a_receiver();
        let body = Bytes::from(format!(r#"{{"id":"{number}"}}"#));
        let headers = [("x-key", key.as_str())];
        let Ok(verified) = receiver.verify(&headers, body) else {
            self.check(false, || format!("a genuine delivery of {number} was rejected"));
            return false;
        };
        let admitted = match receiver.admit(receiver.open(verified).unwrap()) {
            Ok(admitted) => admitted,
            Err(rejection) => {
                self.check(rejection.reason().status().is_server_error(), || format!("{}", rejection.reason()));
                return false;
            }
        };
        let stored = tokio::spawn(admitted.run(async {}, |()| true));
        let hangs_up = self.chance().below(100) < 10;
        let patience = if hangs_up { Duration::from_millis(20) } else { 60 * SECOND };
        let Ok(answer) = timeout(patience, stored).await else { return false };
        let reason = answer.unwrap().unwrap_err().reason();
        match reason {
            Reason::Stored => {
                self.check(!was_accepted, || format!("event {number} was accepted before and stored again"))
            }
            Reason::Duplicate => {
                // Another copy may have been stored meanwhile.
                let attempts = self.fate(number, |fate| fate.attempts_to_send);
                self.check(attempts > 1, || format!("event {number} is new and called a duplicate"));
            }
            _ => self.check(reason.status().is_server_error(), || format!("{reason} for a genuine delivery")),
        }
        reason.status().is_success()
    }

    async fn break_the_store(self) {
        loop {
            let (calm, broken) = {
                let mut chance = self.chance();
                (chance.seconds(5, 120), chance.seconds(1, 180))
            };
            sleep(calm).await;
            self.0.broken.store(true, Ordering::SeqCst);
            sleep(broken).await;
            self.0.broken.store(false, Ordering::SeqCst);
        }
    }

    /// Replaces a process by one with these keys, and returns once it has ended.
    async fn replace(&self, number: usize, ring: usize, dies: bool) {
        let next = self.process(ring).await;
        let old = std::mem::replace(&mut self.processes()[number], next);
        if dies {
            old.working.abort();
        }
        old.receiver.drain(10 * SECOND).await;
        let _ = old.working.await;
    }

    async fn kill_processes(self) {
        loop {
            let wait = self.chance().seconds(10, 90);
            sleep(wait).await;
            let _no_other = self.0.replacing.lock().await;
            let number = self.chance().below(PROCESSES as u64) as usize;
            let dies = self.chance().below(2) == 0;
            let ring = self.processes()[number].ring;
            self.replace(number, ring, dies).await;
        }
    }

    /// Rotates the secrets of the endpoint, and the keys of the inbox, by restarts of all processes.
    async fn rotate(self) {
        for phase in 1..RINGS.len() {
            sleep(Duration::from_secs(SPREAD) / 8).await;
            let _no_other = self.0.replacing.lock().await;
            for number in 0..PROCESSES {
                self.replace(number, phase, false).await;
            }
            if RINGS[phase][0] != RINGS[phase - 1][0] {
                let rekeyed =
                    |inbox: Inbox| async move { inbox.rekey(&operator()).await.is_ok_and(|done| done.left == 0) };
                self.until(rekeyed).await;
            }
            // Every process accepts the new secret before the provider signs with it.
            let next = self.0.secret.load(Ordering::SeqCst) + 1;
            for process in &*self.processes() {
                process.receiver.replace_secrets(acme(next)).unwrap();
            }
            self.0.secret.store(next, Ordering::SeqCst);
        }
    }

    /// Repeats an operation until it succeeds.
    async fn until<F: Future<Output = bool>>(&self, succeeds: impl Fn(Inbox) -> F) {
        loop {
            let receiver = self.a_receiver();
            if timeout(60 * SECOND, succeeds(receiver.inbox().unwrap().clone())).await == Ok(true) {
                break;
            }
            sleep(SECOND).await;
        }
    }

    async fn replay_dead(&self) {
        let dead = Filter::new().status(Status::Dead);
        let dead = &dead;
        self.until(|inbox| async move { inbox.replay_all(dead, None, &operator()).await.is_ok() }).await;
    }

    async fn resume(&self) {
        self.until(|inbox| async move { inbox.resume("acme", &operator()).await.is_ok() }).await;
    }

    async fn operate(self) {
        loop {
            let (wait, pause) = {
                let mut chance = self.chance();
                (chance.seconds(120, 600), chance.seconds(1, 120))
            };
            sleep(wait).await;
            self.replay_dead().await;
            self.until(|inbox| async move { inbox.pause("acme", &operator()).await.is_ok() }).await;
            sleep(pause).await;
            self.resume().await;
            self.until(|inbox| async move { inbox.purge("acme", Keep::default(), &operator()).await.is_ok() }).await;
        }
    }

    /// Sends all events, waits until each has ended, and replays those that are dead. Returns how many were dead.
    async fn run(&self) -> usize {
        let mut troubles = Vec::new();
        if self.0.troubles == Troubles::All {
            troubles.push(tokio::spawn(self.clone().break_the_store()));
            troubles.push(tokio::spawn(self.clone().kill_processes()));
            troubles.push(tokio::spawn(self.clone().operate()));
        }
        let rotation = tokio::spawn(self.clone().rotate());
        let senders: Vec<_> =
            (0..EVENTS).map(|number| tokio::spawn(self.clone().send_until_accepted(number))).collect();
        for sender in senders {
            sender.await.unwrap();
        }
        rotation.await.unwrap();
        troubles.iter().for_each(JoinHandle::abort);
        self.0.broken.store(false, Ordering::SeqCst);
        for number in 0..PROCESSES {
            let ring = self.processes()[number].ring;
            self.replace(number, ring, false).await;
        }
        self.resume().await;
        // Results are repeated for an hour, and late calls arrive within 90 s.
        sleep(HOUR + 20 * 60 * SECOND).await;
        let statuses = self.0.store.statuses();
        let ended = statuses.iter().filter(|status| matches!(status, Status::Done | Status::Dead)).count();
        assert_eq!(ended, statuses.len(), "an event has not ended: {statuses:?}");
        let dead = statuses.iter().filter(|status| **status == Status::Dead).count();
        self.0.calm.store(true, Ordering::SeqCst);
        self.replay_dead().await;
        sleep(10 * 60 * SECOND).await;
        assert!(self.0.store.statuses().iter().all(|status| *status == Status::Done), "a replayed event is done");
        assert_eq!(*self.0.violations.lock().unwrap(), [""; 0]);
        dead
    }

    /// Checks that every event was accepted and handled, and at most once under leases that held. Returns how many were
    /// handled again.
    fn nothing_was_lost(&self) -> usize {
        let lapsed = self.0.store.lapsed();
        let mut again = 0;
        for (number, fate) in &*self.0.fates.lock().unwrap() {
            assert!(fate.accepted && fate.running.is_empty(), "event {number}: {fate:?}");
            assert!(!fate.succeeded.is_empty(), "event {number} was never handled: {fate:?}");
            let held = fate.succeeded.iter().filter(|token| !lapsed.contains(*token)).count();
            assert!(held <= 1, "event {number} was handled {held} times under leases that held");
            again += usize::from(fate.succeeded.len() > 1);
        }
        again
    }
}

/// Returns the provider with this secret and the one before.
fn acme(number: u8) -> Custom {
    let secrets = Secrets::new(Secret::new(secret(number)).unwrap());
    let secrets = secrets.also(Secret::new(secret(number - 1)).unwrap()).unwrap();
    Custom::new("acme", SharedSecret::new("x-key"), secrets).id_pointer("/id")
}

struct Running {
    scene: Scene,
    number: usize,
    token: [u8; 16],
}

impl Drop for Running {
    fn drop(&mut self) {
        self.scene.fate(self.number, |fate| fate.running.remove(&self.token));
    }
}

fn seeds() -> Vec<u64> {
    let chosen = std::env::var("MEDHOOK_CHAOS_SEED").ok();
    chosen.map_or_else(|| (1..=3).collect(), |seed| vec![seed.parse().expect("MEDHOOK_CHAOS_SEED is a number")])
}

#[tokio::test(start_paused = true)]
#[allow(clippy::print_stdout, reason = "shown for a failed test only")]
async fn without_failures_of_store_or_processes_each_stored_event_is_handled_exactly_once() {
    for seed in seeds() {
        println!("seed {seed}");
        let scene = Scene::new(seed, Troubles::Few).await;
        let dead = scene.run().await;
        assert_eq!(scene.nothing_was_lost(), 0, "handled again");
        assert!(scene.0.store.lapsed().is_empty(), "no lease expires");
        assert!(dead > 0, "some are given up");
    }
}

#[tokio::test(start_paused = true)]
#[allow(clippy::print_stdout, reason = "shown for a failed test only")]
async fn under_any_failure_no_stored_event_is_lost_and_only_expired_leases_are_handled_again() {
    let (mut again, mut lapsed) = (0, 0);
    for seed in seeds() {
        println!("seed {seed}");
        let scene = Scene::new(seed, Troubles::All).await;
        scene.run().await;
        again += scene.nothing_was_lost();
        lapsed += scene.0.store.lapsed().len();
    }
    // Otherwise the failures would be too rare for the other checks to mean anything.
    assert!(again > 0 && lapsed > 20, "{again} handled again, {lapsed} leases expired");
}
