//! A real store behind an unreliable connection, and a ledger that checks its answers.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use medhook::{
    ClaimToken, Claimed, DedupeStore, DeliveryRecord, EventKey, MemoryStore, Retention, Settled, StoreError,
    StoreFuture,
};
use medhook_tests::ledger::Ledger;
use tokio::time::sleep;

use crate::world::Chance;

#[derive(Clone)]
pub struct Failing(Arc<FailingState>);

struct FailingState {
    store: MemoryStore,
    ledger: Mutex<Ledger>,
    chance: Mutex<Chance>,
    broken: Mutex<Broken>,
    failed: Mutex<BTreeSet<[u8; 16]>>,
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
    Hangs,
    HangsAfterwards,
    IsSlow(Duration),
}

impl Failing {
    pub fn new(seed: u64) -> Self {
        Failing(Arc::new(FailingState {
            store: MemoryStore::new(100_000),
            ledger: Mutex::default(),
            chance: Mutex::new(Chance(!seed)),
            broken: Mutex::new(Broken::No),
            failed: Mutex::default(),
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
            _ if broken == Broken::No => Fault::None,
            even if broken == Broken::Down => {
                if even % 2 == 0 {
                    Fault::Rejects
                } else {
                    Fault::Hangs
                }
            }
            0..4 => Fault::Rejects,
            4 | 5 => Fault::LosesTheAnswer,
            6 => Fault::Hangs,
            7 => Fault::HangsAfterwards,
            8 => Fault::IsSlow(chance.seconds(0, 8)),
            _ => Fault::None,
        }
    }

    async fn through<T>(
        &self,
        token: ClaimToken,
        step: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let fault = self.fault();
        if !matches!(fault, Fault::None) {
            self.0.failed.lock().unwrap().insert(*token.as_bytes());
        }
        self.broken(fault, step).await
    }

    async fn broken<T>(
        &self,
        fault: Fault,
        step: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match fault {
            Fault::None => step.await,
            Fault::Rejects => Err(StoreError::unavailable("out of order")),
            Fault::LosesTheAnswer => step.await.and_then(|_| Err(StoreError::unavailable("the answer got lost"))),
            Fault::Hangs => std::future::pending().await,
            Fault::HangsAfterwards => {
                step.await?;
                std::future::pending().await
            }
            Fault::IsSlow(by) => {
                sleep(by).await;
                step.await
            }
        }
    }
}

impl DedupeStore for Failing {
    fn claim(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Claimed> {
        Box::pin(self.through(token, async move {
            let answer = self.0.store.claim(key, token, lease).await?;
            self.ledger().claim(key, token, lease, answer);
            Ok(answer)
        }))
    }

    fn renew(&self, key: EventKey, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        Box::pin(self.through(token, async move {
            let answer = self.0.store.renew(key, token, lease).await?;
            self.ledger().renew(key, token, lease, answer);
            Ok(answer)
        }))
    }

    fn commit(&self, key: EventKey, token: ClaimToken, retention: Retention) -> StoreFuture<'_, Settled> {
        Box::pin(self.through(token, async move {
            let answer = self.0.store.commit(key, token, retention).await?;
            self.ledger().commit(key, token, retention, answer);
            Ok(answer)
        }))
    }

    fn release(&self, key: EventKey, token: ClaimToken) -> StoreFuture<'_, Settled> {
        Box::pin(self.through(token, async move {
            let answer = self.0.store.release(key, token).await?;
            self.ledger().release(key, token, answer);
            Ok(answer)
        }))
    }

    fn record_delivery(&self, body: EventKey, period: Duration) -> StoreFuture<'_, DeliveryRecord> {
        Box::pin(self.broken(self.fault(), self.0.store.record_delivery(body, period)))
    }

    fn unrecord_delivery(&self, body: EventKey) -> StoreFuture<'_, ()> {
        Box::pin(self.broken(self.fault(), self.0.store.unrecord_delivery(body)))
    }
}
