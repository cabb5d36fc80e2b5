//! A store behind an unreliable connection, and a ledger that checks its answers.
//!
//! A step that was sent reaches the store even if its caller has stopped waiting, and may arrive after later ones.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use medhook::{
    ClaimToken, Claimed, DedupeStore, DeliveryRecord, EventKey, Retention, Settled, StoreError, StoreFuture,
};
use medhook_tests::ledger::Ledger;
use medhook_tests::remote::RemoteStore;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::world::Chance;

#[derive(Clone)]
pub struct Failing(Arc<FailingState>);

struct FailingState {
    store: RemoteStore,
    ledger: Mutex<Ledger>,
    chance: Mutex<Chance>,
    broken: Mutex<Broken>,
    failed: Mutex<BTreeSet<[u8; 16]>>,
    /// The steps that were sent.
    sent: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failing")
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Broken {
    No,
    /// Some steps succeed.
    InPart,
    /// No step succeeds.
    Down,
}

#[derive(Clone, Copy)]
enum Fault {
    None,
    Rejects,
    LosesTheAnswer,
    /// Loses the answer before the step has reached the store.
    ArrivesLater(Duration),
    Hangs,
    HangsAfterwards,
    IsSlow(Duration),
}

impl Failing {
    pub fn new(seed: u64) -> Self {
        Failing(Arc::new(FailingState {
            store: RemoteStore::new(100_000),
            ledger: Mutex::default(),
            chance: Mutex::new(Chance(!seed)),
            broken: Mutex::new(Broken::No),
            failed: Mutex::default(),
            sent: Mutex::default(),
        }))
    }

    pub fn break_down(&self) {
        let half = self.0.chance.lock().unwrap().in_a_hundred(50);
        *self.0.broken.lock().unwrap() = if half { Broken::InPart } else { Broken::Down };
    }

    pub fn mend(&self) {
        *self.0.broken.lock().unwrap() = Broken::No;
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap()
    }

    /// Records that this claim's process will die.
    pub fn excuse(&self, token: [u8; 16]) {
        self.0.failed.lock().unwrap().insert(token);
    }

    /// Returns whether any step for this claim failed or its process died.
    pub fn has_failed(&self, token: [u8; 16]) -> bool {
        self.0.failed.lock().unwrap().contains(&token)
    }

    fn fault(&self) -> Fault {
        let broken = *self.0.broken.lock().unwrap();
        let mut chance = self.0.chance.lock().unwrap();
        match chance.below(10) {
            // The delay is within the timeout of a step, so this is no failure of the store.
            0 if broken == Broken::No => Fault::IsSlow(chance.seconds(0, 4)),
            _ if broken == Broken::No => Fault::None,
            even if broken == Broken::Down => {
                if even % 2 == 0 {
                    Fault::Rejects
                } else {
                    Fault::Hangs
                }
            }
            0..3 => Fault::Rejects,
            3 => Fault::ArrivesLater(chance.seconds(0, 90)),
            4 | 5 => Fault::LosesTheAnswer,
            6 => Fault::Hangs,
            7 => Fault::HangsAfterwards,
            8 => Fault::IsSlow(chance.seconds(0, 8)),
            _ => Fault::None,
        }
    }

    /// Fails if an answer has broken a rule of the ledger. A receiver takes the panic for a failure of the store.
    pub fn check(&self) {
        assert!(!self.0.ledger.is_poisoned(), "an answer broke a rule");
    }

    /// Returns once all steps have arrived, and fails if one has broken a rule of the ledger.
    pub async fn all_arrived(&self) {
        loop {
            let Some(sent) = self.0.sent.lock().unwrap().pop() else { return };
            sent.await.expect("an answer broke a rule");
        }
    }

    fn through<T: Send + 'static>(
        &self,
        token: Option<ClaimToken>,
        step: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> StoreFuture<'static, T> {
        let this = self.clone();
        Box::pin(async move {
            let broken = *this.0.broken.lock().unwrap() != Broken::No;
            let fault = this.fault();
            if broken
                && !matches!(fault, Fault::None)
                && let Some(token) = token
            {
                this.0.failed.lock().unwrap().insert(*token.as_bytes());
            }
            let send = |by: Duration| {
                let (answer, answered) = oneshot::channel();
                let arrives = async move {
                    sleep(by).await;
                    // The caller may have stopped waiting.
                    let _ = answer.send(step.await);
                };
                this.0.sent.lock().unwrap().push(tokio::spawn(arrives));
                async { answered.await.expect("an answer broke a rule") }
            };
            match fault {
                Fault::None => send(Duration::ZERO).await,
                Fault::IsSlow(by) => send(by).await,
                Fault::Rejects => Err(StoreError::unavailable("out of order")),
                Fault::LosesTheAnswer => {
                    send(Duration::ZERO).await.and_then(|_| Err(StoreError::unavailable("the answer got lost")))
                }
                Fault::ArrivesLater(by) => {
                    drop(send(by));
                    Err(StoreError::unavailable("the connection broke"))
                }
                Fault::Hangs => std::future::pending().await,
                Fault::HangsAfterwards => {
                    send(Duration::ZERO).await?;
                    std::future::pending().await
                }
            }
        })
    }
}

impl DedupeStore for Failing {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        let this = self.clone();
        self.through(Some(token), async move {
            let answer = this.0.store.claim(key, token, lease).await?;
            this.ledger().claim(key, token, lease, answer);
            Ok(answer)
        })
    }

    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        let this = self.clone();
        self.through(Some(token), async move {
            let answer = this.0.store.renew(key, token, lease).await?;
            this.ledger().renew(key, token, lease, answer);
            Ok(answer)
        })
    }

    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled> {
        let this = self.clone();
        self.through(Some(token), async move {
            let answer = this.0.store.commit(key, token, retention).await?;
            this.ledger().commit(key, token, retention, answer);
            Ok(answer)
        })
    }

    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
        let this = self.clone();
        self.through(Some(token), async move {
            let answer = this.0.store.release(key, token).await?;
            this.ledger().release(key, token, answer);
            Ok(answer)
        })
    }

    fn record_delivery(&self, body: EventKey, period: Duration, most: u64) -> StoreFuture<'_, DeliveryRecord> {
        let this = self.clone();
        self.through(None, async move { this.0.store.record_delivery(body, period, most).await })
    }

    fn record_failure(&self, body: EventKey) -> StoreFuture<'_, ()> {
        let this = self.clone();
        self.through(None, async move { this.0.store.record_failure(body).await })
    }
}
