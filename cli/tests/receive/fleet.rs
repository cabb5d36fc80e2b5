//! Several receivers that share a store, with senders that retry, handlers that fail and receivers that are killed: no
//! event is lost, and an event is only handled twice if its receiver was killed or lost its claim.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use medhook::Bytes;
use tokio::sync::{Semaphore, watch};

use crate::application::{Application, Call, event, with_status};
use crate::program::{Folder, Instance, medhook};
use crate::sender::{ENDPOINT, Sender, delivery};

#[tokio::test(flavor = "multi_thread")]
async fn three_receivers_on_one_sqlite_file_lose_nothing_and_handle_nothing_twice() {
    let folder = Folder::new();
    let store = format!("sqlite:{}", folder.path().join("events.db").display());
    // Short enough to expire while senders retry, long enough for a machine that is busy with other tests.
    let lease = "15s";
    let plan = Plan { store, lease, instances: 3, events: events(), deliveries: 4, kills: 5, seed: 20_260_101 };
    let tally = plan.play(async || {}).await;
    tally.is_sound(&plan);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_receiver_with_a_memory_store_loses_nothing_and_handles_nothing_twice() {
    let store = "memory".to_owned();
    let plan = Plan { store, lease: "300s", instances: 1, events: 200, deliveries: 5, kills: 0, seed: 20_260_102 };
    let tally = plan.play(async || {}).await;
    tally.is_sound(&plan);
    assert_eq!(tally.twice, 0);
}

/// The lease is longer than the restart, so nothing may be handled twice. It is also longer than the test, so no event
/// may stay claimed.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn ten_receivers_on_one_postgres_that_is_restarted_handle_each_event_once() {
    ten_receivers_on(medhook_tests::servers::Server::postgres(&[]), 20_260_103).await;
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread")]
async fn ten_receivers_on_one_redis_that_is_restarted_handle_each_event_once() {
    ten_receivers_on(medhook_tests::servers::Server::redis(&[]), 20_260_104).await;
}

#[cfg(any(feature = "postgres", feature = "redis"))]
async fn ten_receivers_on(mut server: medhook_tests::servers::Server, seed: u64) {
    let store = server.url();
    let plan = Plan { store, lease: "300s", instances: 10, events: events(), deliveries: 5, kills: 0, seed };
    let tally = plan
        .play(async || {
            server.stop();
            // Long enough for deliveries to arrive meanwhile.
            tokio::time::sleep(Duration::from_millis(500)).await;
            server.start();
        })
        .await;
    tally.is_sound(&plan);
    assert_eq!(tally.twice, 0, "{tally:?}");
}

/// Returns the number of events of the longer runs.
fn events() -> usize {
    medhook_tests::counts::full_or(2_000, 500)
}

/// The parameters of a run.
pub(crate) struct Plan {
    /// The store that all instances share.
    pub(crate) store: String,
    pub(crate) lease: &'static str,
    pub(crate) instances: usize,
    pub(crate) events: usize,
    /// The number of times that each event is sent, each time until it is answered 2xx.
    pub(crate) deliveries: usize,
    /// The number of times that an instance is killed (SIGKILL) and started again, until two thirds of the events are
    /// handled.
    pub(crate) kills: usize,
    pub(crate) seed: u64,
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Events that the application handled, and how many of them twice.
    pub(crate) handled: usize,
    pub(crate) twice: usize,
    /// Events handled twice whose claim an instance logged as lost, because it was stopped for longer than a lease.
    pub(crate) twice_by_loss: usize,
    /// Events handled twice for neither of the valid reasons: their claim was lost, or the instance that handled them
    /// first was killed before it answered.
    pub(crate) twice_for_no_reason: Vec<String>,
    /// Calls that the application answered 500.
    pub(crate) failed: usize,
    /// Answers that were not 2xx, and attempts without an answer.
    pub(crate) not_2xx: usize,
    pub(crate) not_answered: usize,
}

impl Tally {
    /// Asserts that no event was lost, and none was handled twice without a valid reason.
    pub(crate) fn is_sound(&self, plan: &Plan) {
        assert_eq!(self.handled, plan.events, "lost: {self:?}");
        assert_eq!(self.twice_for_no_reason, [""; 0], "{self:?}");
        assert!(self.twice_by_loss <= plan.events / 50, "{self:?}");
        // The handler fails for every tenth event at first, and again after a kill.
        assert!(self.failed >= plan.events / 10, "{self:?}");
        assert!(self.not_2xx > 0 && (plan.kills == 0 || self.not_answered > 0), "no failures occurred: {self:?}");
    }
}

impl Plan {
    /// Runs the plan. `midway`, which may restart a server, is awaited once two thirds of the events are handled.
    pub(crate) async fn play(&self, midway: impl AsyncFnOnce()) -> Tally {
        let (handled, handled_so_far) = watch::channel(0);
        let application = Application::start(handler(self.seed, handled)).await;
        let folders: Vec<_> = (0..self.instances).map(|_| Folder::new()).collect();
        let mut fleet: Vec<_> =
            folders.iter().enumerate().map(|(at, folder)| self.start(at, folder, &application)).collect();
        let addresses = Arc::new(Mutex::new(fleet.iter().map(|instance| instance.address).collect::<Vec<_>>()));

        let sendings = Sendings { addresses: addresses.clone(), log: Arc::default(), seed: self.seed };
        let order = self.order();
        let permits = Arc::new(Semaphore::new(CONCURRENT));
        let sending = tokio::spawn({
            let sendings = sendings.clone();
            async move {
                let mut all = Vec::new();
                for (number, event) in order.into_iter().enumerate() {
                    let permit = permits.clone().acquire_owned().await.unwrap();
                    let sendings = sendings.clone();
                    all.push(tokio::spawn(async move {
                        sendings.send_until_2xx(number, event).await;
                        drop(permit);
                    }));
                }
                for one in all {
                    one.await.unwrap();
                }
            }
        });

        let reached = async |count: usize| {
            let mut handled = handled_so_far.clone();
            handled.wait_for(|handled| *handled >= count).await.unwrap();
        };
        let mut lost_claims = HashSet::new();
        let mut killed = HashSet::new();
        let mut names: Vec<_> = (0..self.instances).collect();
        let mut random = Random::new(self.seed ^ 2);
        for kill in 0..self.kills {
            reached(self.events * 2 * (kill + 1) / (3 * (self.kills + 1))).await;
            let at = random.below(self.instances);
            fleet[at].signal("-KILL");
            assert!(!fleet[at].ended().success());
            lost_claims.extend(self::lost_claims(&fleet[at]));
            killed.insert(format!("/{}", names[at]));
            names[at] = self.instances + kill;
            fleet[at] = self.start(names[at], &folders[at], &application);
            addresses.lock().unwrap()[at] = fleet[at].address;
        }
        reached(self.events * 2 / 3).await;
        midway().await;
        tokio::time::timeout(LONGEST, sending).await.expect("all are answered 2xx in the end").unwrap();
        for instance in &mut fleet {
            assert_eq!(instance.terminate().code(), Some(0), "{:?}", instance.stderr());
            lost_claims.extend(self::lost_claims(instance));
        }
        tally(&application.calls(), &sendings.log.lock().unwrap(), &killed, &lost_claims)
    }

    /// Returns the order in which events are sent. The deliveries of every other event follow one another, and those of
    /// all other events are shuffled.
    fn order(&self) -> Vec<usize> {
        let mut blocks: Vec<Vec<usize>> = Vec::new();
        for event in 0..self.events {
            match event % 2 {
                0 => blocks.push(vec![event; self.deliveries]),
                _ => blocks.extend(vec![vec![event]; self.deliveries]),
            }
        }
        let mut random = Random::new(self.seed);
        for at in (1..blocks.len()).rev() {
            blocks.swap(at, random.below(at + 1));
        }
        blocks.concat()
    }

    /// Starts an instance. The path of its forwarded events identifies it to the application, and changes when a killed
    /// instance is started again.
    fn start(&self, name: usize, folder: &Folder, application: &Application) -> Instance {
        let Plan { store, lease, .. } = self;
        let forward = format!("http://{}/{name}", application.address);
        let config = format!(
            "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"{store}\"\n{ENDPOINT}lease = \"{lease}\"\nforward = \"{forward}\"\n"
        );
        folder.file("medhook.toml", &config);
        let mut command = medhook(folder, &["--json"]);
        command.stdout(std::process::Stdio::null());
        Instance::run(command)
    }
}

/// The number of concurrent senders.
const CONCURRENT: usize = 48;

const LONGEST: Duration = Duration::from_secs(600);

/// Returns a handler that takes some milliseconds, and fails for every tenth event the first time.
fn handler(
    seed: u64,
    handled: watch::Sender<usize>,
) -> impl Fn(Request<Bytes>, usize) -> BoxFuture<'static, Response<Full<Bytes>>> + Clone {
    move |request, before| {
        let handled = handled.clone();
        Box::pin(async move {
            let number: u64 = event(&request).trim_start_matches("evt-").parse().unwrap();
            let mut random = Random::new(seed ^ (number << 8) ^ before as u64);
            tokio::time::sleep(Duration::from_millis(random.below(20) as u64)).await;
            if number.is_multiple_of(10) && before == 0 {
                return with_status(500);
            }
            handled.send_modify(|handled| *handled += 1);
            with_status(200)
        })
    }
}

#[derive(Clone)]
struct Sendings {
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    log: Arc<Mutex<Vec<Sent>>>,
    seed: u64,
}

/// An attempt to send.
struct Sent {
    event: usize,
    /// The time and the status of the answer; `None` if there was none.
    answered: Option<(Instant, u16)>,
}

impl Sendings {
    async fn send_until_2xx(&self, number: usize, event: usize) {
        let mut random = Random::new(self.seed ^ ((number as u64) << 20) ^ 1);
        let sender = Sender::new();
        loop {
            let to = {
                let addresses = self.addresses.lock().unwrap();
                addresses[random.below(addresses.len())]
            };
            let answer = sender.send(to, &delivery(&format!("evt-{event}"))).await.ok();
            let answered = answer.map(|status| (Instant::now(), status));
            self.log.lock().unwrap().push(Sent { event, answered });
            if answer.is_some_and(|status| (200..300).contains(&status)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20 + random.below(80) as u64)).await;
        }
    }
}

/// Returns the keys of the events whose claims an instance logged as lost.
fn lost_claims(instance: &Instance) -> Vec<String> {
    let lines = instance.stderr();
    let lost = lines.iter().filter(|line| line.contains("lost the claim of a webhook event"));
    lost.map(|line| line.split("event_key=").nth(1).unwrap().split(' ').next().unwrap().to_owned()).collect()
}

fn tally(calls: &[Call], sent: &[Sent], killed: &HashSet<String>, lost_claims: &HashSet<String>) -> Tally {
    let mut successes: HashMap<&str, Vec<&Call>> = HashMap::new();
    for call in calls.iter().filter(|call| call.status == Some(200)) {
        successes.entry(event(&call.request)).or_default().push(call);
    }
    let mut twice_by_loss = 0;
    let twice_for_no_reason = successes.iter().filter(|(name, calls)| {
        let [first, again] = calls[..] else {
            return calls.len() > 2;
        };
        let number: usize = name.trim_start_matches("evt-").parse().unwrap();
        let known_as_handled = sent
            .iter()
            .filter(|sent| sent.event == number)
            .any(|sent| sent.answered.is_some_and(|(at, status)| (200..300).contains(&status) && at < again.began));
        // A killed instance has a different path after its restart.
        let (by, then_by) = (first.request.uri().path(), again.request.uri().path());
        if killed.contains(by) && by != then_by && !known_as_handled {
            return false;
        }
        // The log shows the first digits of the key.
        let key = first.request.headers()["medhook-event-key"].to_str().unwrap();
        let lost = lost_claims.iter().any(|lost| key.starts_with(lost));
        twice_by_loss += usize::from(lost);
        !lost
    });
    let twice_for_no_reason = twice_for_no_reason.map(|(name, _)| (*name).to_owned()).collect();
    Tally {
        handled: successes.len(),
        twice: successes.values().filter(|calls| calls.len() > 1).count(),
        twice_by_loss,
        twice_for_no_reason,
        failed: calls.iter().filter(|call| call.status == Some(500)).count(),
        not_2xx: sent.iter().filter(|sent| sent.answered.is_some_and(|(_, status)| status >= 300)).count(),
        not_answered: sent.iter().filter(|sent| sent.answered.is_none()).count(),
    }
}

/// A xorshift generator, which returns the same numbers in every run.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}
