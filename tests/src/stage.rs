//! A stage for each case: its receiver, its handler, and the other conditions under which it is played.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use medhook::testing::StoppedClock;
use medhook::{
    Bytes, ClaimToken, Claimed, DedupeStore, Delivery, DeliveryRecord, EventKey, MemoryStore, Outcome, Receiver,
    Retention, Settled, StoreError, StoreFuture,
};
use medhook_conformance::{Answer, Call, Case, Cases, State};
use tokio::sync::{Notify, Semaphore};

/// One case, ready to be played any number of times.
#[derive(Debug)]
pub struct Stage {
    /// The case.
    pub case: Case,
    /// Its receiver.
    pub receiver: Receiver,
    /// The case's handler.
    pub handler: Handler,
    /// The responses, as an outer layer saw them.
    pub answers: Mutex<Vec<Answer>>,
}

impl Stage {
    /// Returns stages for every case.
    pub fn all(cases: &Cases) -> Vec<Stage> {
        cases.cases.iter().map(|case| Stage::new(cases, case)).collect()
    }

    fn new(cases: &Cases, case: &Case) -> Stage {
        let endpoint = &cases.endpoints[&case.endpoint];
        let builder = endpoint.builder(&case.endpoint).expect("the list's endpoints are sound");
        let builder = builder.clock(StoppedClock::at(cases.now));
        // Hundreds of cases are played at once: no body may be late unless its case says so.
        let builder = match endpoint.body_timeout_ms {
            None => builder.body_timeout(Duration::from_secs(600)),
            Some(_) => builder,
        };
        let builder = match case.state {
            State::StoreDown => builder.store(Broken { full: false }),
            State::StoreFull => builder.store(Broken { full: true }),
            _ => builder.store(MemoryStore::new(100)),
        };
        let builder = if case.state == State::Busy { builder.max_in_flight(1) } else { builder };
        Stage {
            case: case.clone(),
            receiver: builder.build().expect("the list's endpoints are sound"),
            handler: Handler::new(case.handler),
            answers: Mutex::default(),
        }
    }

    /// Records a response.
    pub fn note(&self, answer: Answer) {
        self.answers.lock().unwrap().push(answer);
    }

    /// Plays the case with `send`, which delivers it once, and returns an error if the result differs from the
    /// expected one.
    pub async fn play<T: Send + 'static>(
        &self,
        send: impl Fn() -> futures_util::future::BoxFuture<'static, T>,
    ) -> Result<T, String> {
        let mut first = None;
        match self.case.state {
            State::Handled => {
                send().await;
            }
            State::Repeated => {
                for _ in 0..=MAX_REPEATS {
                    send().await;
                }
            }
            State::InFlight | State::Busy => {
                self.handler.hold();
                first = Some(tokio::spawn(send()));
                let begun = tokio::time::timeout(Duration::from_secs(60), self.handler.until_begun());
                begun.await.map_err(|_| "the first delivery never reached the handler")?;
            }
            State::Draining => drop(self.receiver.drain(Duration::ZERO).await),
            _ => {}
        }
        let before = (self.answers.lock().unwrap().len(), self.handler.calls());
        let expected = &self.case.expected;
        let reaches_the_handler = matches!(expected.outcome, Outcome::Handled | Outcome::Failed);
        let sent = match &first {
            // The handler holds the first delivery, and has to get this one as well.
            Some(_) if reaches_the_handler => {
                let sent = tokio::spawn(send());
                let begun = tokio::time::timeout(Duration::from_secs(60), self.handler.until_begun());
                begun.await.map_err(|_| "the delivery did not reach the handler")?;
                self.handler.let_go();
                sent.await.map_err(|error| error.to_string())?
            }
            _ => send().await,
        };
        let answer = self.next_answer(before.0).await?;
        let calls = self.handler.calls() - before.1;
        if let Some(first) = first {
            self.handler.let_go();
            first.await.map_err(|error| error.to_string())?;
        }

        let wanted = expected.answer();
        if answer != wanted {
            return Err(format!("{answer:?} instead of {wanted:?}"));
        }
        if calls != usize::from(reaches_the_handler) {
            return Err(format!("{calls} calls of the handler"));
        }
        if reaches_the_handler {
            self.handler.last().is_as_wanted(&self.case)?;
        }
        Ok(sent)
    }

    /// Returns the response after the first `known` ones. A connection may end before its response is recorded.
    async fn next_answer(&self, known: usize) -> Result<Answer, String> {
        for _ in 0..12_000 {
            if let Some(answer) = self.answers.lock().unwrap().get(known) {
                return Ok(*answer);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Err("no answer".to_owned())
    }
}

/// The default of `Builder::max_repeats`.
const MAX_REPEATS: u32 = 20;

/// The handler of a case, and the calls that it received.
#[derive(Debug)]
pub struct Handler {
    status: u16,
    seen: Mutex<Vec<Seen>>,
    begun: Notify,
    gate: Semaphore,
    calls: AtomicUsize,
}

#[derive(Debug, Clone)]
struct Seen {
    call: Call,
    body: Bytes,
    verified: Bytes,
}

impl Handler {
    fn new(status: u16) -> Self {
        Handler {
            status,
            seen: Mutex::default(),
            begun: Notify::new(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            calls: AtomicUsize::new(0),
        }
    }

    /// Handles a delivery whose body reached the handler as `body`.
    pub async fn handle(&self, delivery: &Delivery, body: Bytes) -> u16 {
        self.seen.lock().unwrap().push(Seen { call: Call::of(delivery), body, verified: delivery.body().clone() });
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.begun.notify_one();
        let _go = self.gate.acquire().await;
        self.status
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().cloned().expect("it was called")
    }

    fn hold(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    fn let_go(&self) {
        self.gate.add_permits(1_000);
    }

    async fn until_begun(&self) {
        self.begun.notified().await;
    }
}

impl Seen {
    fn is_as_wanted(&self, case: &Case) -> Result<(), String> {
        if self.body != case.body || self.verified != case.body {
            return Err("the handler saw another body".to_owned());
        }
        if case.expected.matches_call(Some(&self.call)) { Ok(()) } else { Err(format!("called with {}", self.call)) }
    }
}

/// A store that is unavailable or full.
#[derive(Debug)]
pub struct Broken {
    /// Whether the store is full; otherwise it is unavailable.
    pub full: bool,
}

impl Broken {
    fn answer<T: Send + 'static>(&self) -> StoreFuture<'_, T> {
        let error = if self.full { StoreError::full() } else { StoreError::unavailable("out of order") };
        Box::pin(std::future::ready(Err(error)))
    }
}

impl DedupeStore for Broken {
    fn claim(&self, _: EventKey, _: ClaimToken, _: Duration) -> StoreFuture<'_, Claimed> {
        self.answer()
    }
    fn renew(&self, _: EventKey, _: ClaimToken, _: Duration) -> StoreFuture<'_, Settled> {
        self.answer()
    }
    fn commit(&self, _: EventKey, _: ClaimToken, _: Retention) -> StoreFuture<'_, Settled> {
        self.answer()
    }
    fn release(&self, _: EventKey, _: ClaimToken) -> StoreFuture<'_, Settled> {
        self.answer()
    }
    fn record_delivery(&self, _: EventKey, _: Duration, _: u64) -> StoreFuture<'_, DeliveryRecord> {
        self.answer()
    }
    fn record_failure(&self, _: EventKey) -> StoreFuture<'_, ()> {
        self.answer()
    }
}
