//! Packets that reach the server late: after later ones with the same token, on other connections.
//!
//! A proxy keeps the packet of one operation until the test delivers it. The claim of the handled delivery is released
//! meanwhile, and the next delivery must be handled, not rejected as in flight.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use medhook::{DedupeStore, EventKey, PostgresStore, Reason, RedisStore};
use medhook_tests::servers::Server;
use sqlx::{Connection, Executor, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::away::Endpoint;
use crate::suite::{HOUR, soon};

/// A renewal follows after a third of it. Tests without a renewal have a lease of an hour, in which a release is
/// retried.
const SHORT: Duration = Duration::from_secs(15);

/// A store behind a proxy, a store of another process, and a view of the server.
struct Scene<S> {
    endpoint: Endpoint,
    other: Endpoint,
    delaying: Delaying,
    server: S,
}

/// A server that tells whether it has a claim, expired or not.
trait Claims {
    async fn has_claims(&self) -> bool;
}

struct Postgres(Server);

impl Claims for Postgres {
    async fn has_claims(&self) -> bool {
        let mut direct = PgConnection::connect(&self.0.url()).await.unwrap();
        !direct
            .fetch_all("SELECT FROM medhook_events WHERE token IS NOT NULL AND NOT handled")
            .await
            .unwrap()
            .is_empty()
    }
}

async fn postgres(lease: Duration) -> Scene<Postgres> {
    let server = Server::postgres(&[]);
    let delaying = Delaying::to(&server).await;
    let connect = async |url: &str| PostgresStore::builder().step_timeout(HOUR).connect(url).await.unwrap();
    let (store, other) = (connect(&delaying.url(&server)).await, connect(&server.url()).await);
    Scene::new(lease, store, other, delaying, Postgres(server))
}

struct Redis(Server);

impl Claims for Redis {
    async fn has_claims(&self) -> bool {
        let client = redis::Client::open(self.0.url()).unwrap();
        let mut direct = client.get_multiplexed_async_connection().await.unwrap();
        let keys: Vec<String> = redis::cmd("KEYS").arg("medhook:*").query_async(&mut direct).await.unwrap();
        for key in keys.iter().filter(|key| key.len() == "medhook:".len() + 64) {
            let value: Option<Vec<u8>> = redis::cmd("GET").arg(key).query_async(&mut direct).await.unwrap();
            if value.is_some_and(|value| value.starts_with(b"c")) {
                return true;
            }
        }
        false
    }
}

async fn redis(lease: Duration) -> Scene<Redis> {
    let server = Server::redis(&[]);
    let delaying = Delaying::to(&server).await;
    let connect = async |url: &str| RedisStore::builder().step_timeout(HOUR).connect(url).await.unwrap();
    let (store, other) = (connect(&delaying.url(&server)).await, connect(&server.url()).await);
    Scene::new(lease, store, other, delaying, Redis(server))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_renewal_does_not_undo_a_release_in_postgres() {
    a_late_renewal_does_not_undo_a_release(postgres(SHORT).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_renewal_does_not_undo_a_release_in_redis() {
    a_late_renewal_does_not_undo_a_release(redis(SHORT).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_first_packet_of_a_claim_does_not_claim_again_in_postgres() {
    a_late_first_packet_of_a_claim_does_not_claim_again(postgres(HOUR).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_first_packet_of_a_claim_does_not_claim_again_in_redis() {
    a_late_first_packet_of_a_claim_does_not_claim_again(redis(HOUR).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_claim_that_arrives_after_its_release_does_not_claim_in_postgres() {
    an_abandoned_claim_that_arrives_after_its_release_does_not_claim(postgres(HOUR).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_claim_that_arrives_after_its_release_does_not_claim_in_redis() {
    an_abandoned_claim_that_arrives_after_its_release_does_not_claim(redis(HOUR).await).await;
}

/// The handler fails while a renewal of its claim is under way.
async fn a_late_renewal_does_not_undo_a_release(scene: Scene<impl Claims>) {
    for (id, claimed_meanwhile) in [(1, false), (2, true)] {
        let key = scene.endpoint.delivery(id).event_key();
        let mut held = None;
        let fails = async || {
            let mut renewal = scene.delaying.hold(key, Then::Keep);
            renewal.is_held().await;
            held = Some(renewal);
            false
        };
        scene.handle(&scene.endpoint, id, fails).await;
        scene.released().await;
        if claimed_meanwhile {
            scene.handle(&scene.other, id, async || false).await;
            scene.released().await;
        }
        held.expect("the handler ran").deliver().await;
        scene.is_handled_at_once(id).await;
    }
}

/// The connection breaks while the packet of a claim is under way, and the claim is sent again on another connection.
async fn a_late_first_packet_of_a_claim_does_not_claim_again(scene: Scene<impl Claims>) {
    for (mut id, claimed_meanwhile) in [(1, false), (1_000, true)] {
        let held = loop {
            let held = scene.delaying.hold(scene.endpoint.delivery(id).event_key(), Then::Cut);
            let admitted = scene.endpoint.receiver().admit(scene.endpoint.delivery(id)).unwrap();
            match admitted.run(async { false }, |ok| *ok).await {
                Ok(_) => break held,
                // The second attempt was too slow. The claim that is held is released later.
                Err(rejection) => assert_eq!(rejection.reason(), Reason::StoreUnavailable),
            }
            scene.released().await;
            id += 1;
        };
        scene.released().await;
        if claimed_meanwhile {
            scene.handle(&scene.other, id, async || false).await;
            scene.released().await;
        }
        held.deliver().await;
        scene.is_handled_at_once(id).await;
    }
}

/// The receiver stops waiting for a claim and releases it, in case that the server has made it.
async fn an_abandoned_claim_that_arrives_after_its_release_does_not_claim(scene: Scene<impl Claims>) {
    let delivery = scene.endpoint.delivery(1);
    let mut claim = scene.delaying.hold(delivery.event_key(), Then::Keep);
    let run = scene.endpoint.receiver().admit(delivery.clone()).unwrap().run(async { true }, |ok| *ok);
    assert_eq!(run.await.unwrap_err().reason(), Reason::StoreUnavailable);
    claim.is_held().await;
    // All permits are free once the release was answered.
    assert_eq!(scene.endpoint.receiver().drain(HOUR).await, 0);
    claim.deliver().await;
    scene.is_handled_at_once(1).await;
}

impl<S: Claims> Scene<S> {
    fn new(lease: Duration, store: impl DedupeStore, other: impl DedupeStore, delaying: Delaying, server: S) -> Self {
        let endpoint = |store| Endpoint::with_lease(store, lease);
        Scene {
            endpoint: endpoint(Arc::new(store) as Arc<dyn DedupeStore>),
            other: endpoint(Arc::new(other)),
            delaying,
            server,
        }
    }

    /// Waits until the server has no claim. The release may be retried in the background.
    async fn released(&self) {
        soon(async || !self.server.has_claims().await).await;
    }

    /// Delivers an event to the other process. It must not be in flight.
    async fn is_handled_at_once(&self, id: usize) {
        self.handle(&self.other, id, async || true).await;
    }

    /// Delivers an event with a handler. If the store was too slow, does it again once the claim is released.
    async fn handle(&self, endpoint: &Endpoint, id: usize, mut handler: impl AsyncFnMut() -> bool) {
        loop {
            let admitted = endpoint.receiver().admit(endpoint.delivery(id)).unwrap();
            match admitted.run(handler(), |ok| *ok).await {
                Ok(_) => return,
                Err(rejection) => assert_eq!(rejection.reason(), Reason::StoreUnavailable, "event {id}"),
            }
            self.released().await;
        }
    }
}

/// A proxy between a store and its server, which can keep a packet.
struct Delaying {
    port: u16,
    hold: Arc<Mutex<Option<Hold>>>,
}

/// Names the packet to keep: the next one with the key of this event.
struct Hold {
    markers: [Vec<u8>; 2],
    then: Then,
    held: oneshot::Sender<()>,
    deliver: oneshot::Receiver<()>,
    answered: oneshot::Sender<()>,
}

/// Whether the client's side of the connection whose packet is kept stays open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Keep,
    Cut,
}

/// A packet that is kept, or will be.
struct Held {
    held: oneshot::Receiver<()>,
    deliver: oneshot::Sender<()>,
    answered: oneshot::Receiver<()>,
}

impl Held {
    async fn is_held(&mut self) {
        (&mut self.held).await.unwrap();
    }

    /// Delivers the packet, and waits until the server has answered it.
    async fn deliver(self) {
        self.deliver.send(()).unwrap();
        self.answered.await.unwrap();
    }
}

impl Delaying {
    async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, to) = (listener.local_addr().unwrap().port(), server.port());
        let hold = Arc::<Mutex<Option<Hold>>>::default();
        let shared = hold.clone();
        tokio::spawn(async move {
            while let Ok((here, _)) = listener.accept().await {
                let there = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                tokio::spawn(pass(here, there, shared.clone()));
            }
        });
        Delaying { port, hold }
    }

    fn url(&self, server: &Server) -> String {
        server.url().replace(&format!(":{}/", server.port()), &format!(":{}/", self.port))
    }

    /// Keeps the next packet that contains the key of an event. PostgreSQL gets it as bytes, Redis in hexadecimal.
    fn hold(&self, key: EventKey, then: Then) -> Held {
        let hex: String = key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let ((held, is_held), (deliver, is_delivered), (answered, is_answered)) =
            (oneshot::channel(), oneshot::channel(), oneshot::channel());
        let markers = [key.as_bytes().to_vec(), hex.into_bytes()];
        *self.hold.lock().unwrap() = Some(Hold { markers, then, held, deliver: is_delivered, answered });
        Held { held: is_held, deliver, answered: is_answered }
    }
}

async fn pass(mut here: TcpStream, mut there: TcpStream, hold: Arc<Mutex<Option<Hold>>>) {
    let (mut sent, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = here.read(&mut sent) => {
                let Ok(length @ 1..) = read else { return };
                let packet = &sent[..length];
                let contains = |marker: &Vec<u8>| packet.windows(marker.len()).any(|part| part == marker);
                let held = hold.lock().unwrap().take_if(|hold| hold.markers.iter().any(contains));
                match held {
                    None => there.write_all(packet).await.unwrap(),
                    Some(Hold { then, held, deliver, answered, .. }) => {
                        if then == Then::Cut {
                            here.shutdown().await.unwrap();
                        }
                        let _ = held.send(());
                        // The test may not need the packet.
                        if deliver.await.is_err() {
                            return;
                        }
                        there.write_all(packet).await.unwrap();
                        let length = there.read(&mut answer).await.unwrap();
                        assert!(length > 0, "the server answered");
                        let _ = answered.send(());
                        // The store may have closed the connection meanwhile.
                        if here.write_all(&answer[..length]).await.is_err() {
                            return;
                        }
                    }
                }
            }
            read = there.read(&mut answer) => {
                let Ok(length @ 1..) = read else { return };
                if here.write_all(&answer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
