//! Deliveries of every kind at a steady rate: genuine, repeated, forged, stale and torn ones.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::super::events::{Event, PROVIDERS, head_of};
use super::super::mounted::secret;
use super::super::sender::{Retries, Sender};
use super::ledger::Ledger;
use crate::sender::now;

/// The number of deliveries that may be under way, retries included. While all are, no other event is sent.
const MOST: usize = 64;

/// The number of secrets that no receiver has.
const FORGED: u32 = 7;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    UntilAccepted,
    Once,
    KeptAlive,
    /// Sent again after it was accepted.
    Twice,
    /// Two copies at the same time.
    Copies,
    Forged,
    /// Signed an hour ago.
    Stale,
    /// The sender hangs up in the middle of the body.
    Torn,
    /// The sender hangs up before the answer, and sends the event again.
    Impatient,
}

/// The number of deliveries after which their kinds repeat.
const ROUND: usize = 16;

impl Kind {
    /// Returns the kind of the delivery with this number.
    fn of(number: usize) -> Self {
        match number % ROUND {
            0..5 => Kind::UntilAccepted,
            5..8 => Kind::Once,
            8..10 => Kind::KeptAlive,
            10 => Kind::Twice,
            11 => Kind::Copies,
            12 => Kind::Forged,
            13 => Kind::Stale,
            14 => Kind::Torn,
            _ => Kind::Impatient,
        }
    }
}

/// Sends until it is stopped.
pub(super) struct Traffic {
    stopped: Arc<AtomicBool>,
    sending: JoinHandle<Counts>,
}

/// The number of deliveries of each kind, and of those that were not accepted although they were genuine.
#[derive(Debug, Default)]
pub(super) struct Counts {
    kinds: BTreeMap<Kind, usize>,
    pub(super) not_accepted: usize,
    pub(super) wrong: Vec<String>,
}

impl Counts {
    pub(super) fn deliveries(&self) -> usize {
        self.kinds.values().sum()
    }
}

/// The result of one delivery.
struct Outcome {
    kind: Kind,
    is_accepted: bool,
    wrong: Option<String>,
}

impl Traffic {
    pub(super) fn start(name: String, sender: Sender, ledger: Arc<Mutex<Ledger>>, interval: Duration) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let sending = tokio::spawn({
            let stopped = stopped.clone();
            async move {
                let (kept_alive, room) = (sender.keeping_alive(), Arc::new(Semaphore::new(MOST)));
                let (mut counts, mut tasks) = (Counts::default(), JoinSet::new());
                let mut ticks = tokio::time::interval(interval);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let mut number = 0;
                while !stopped.load(Ordering::SeqCst) {
                    ticks.tick().await;
                    let permit = room.clone().acquire_owned().await.unwrap();
                    let kind = Kind::of(number);
                    // Each kind is sent by each provider in turn.
                    let provider = &PROVIDERS[(number + number / ROUND) % PROVIDERS.len()];
                    let sender = if kind == Kind::KeptAlive { &kept_alive } else { &sender };
                    let delivery = Delivery {
                        kind,
                        event: Event::of(provider, &format!("{name}-{number}")),
                        sender: sender.clone(),
                        ledger: ledger.clone(),
                    };
                    number += 1;
                    tasks.spawn(async move {
                        let outcome = delivery.send().await;
                        drop(permit);
                        outcome
                    });
                    while let Some(ended) = tasks.try_join_next() {
                        counts.add(ended.unwrap());
                    }
                }
                while let Some(ended) = tasks.join_next().await {
                    counts.add(ended.unwrap());
                }
                counts
            }
        });
        Traffic { stopped, sending }
    }

    /// Waits until every event that must be accepted is.
    pub(super) async fn stop(self) -> Counts {
        self.stopped.store(true, Ordering::SeqCst);
        self.sending.await.unwrap()
    }
}

impl Counts {
    fn add(&mut self, outcome: Outcome) {
        *self.kinds.entry(outcome.kind).or_default() += 1;
        self.not_accepted += usize::from(!outcome.is_accepted && !is_bad(outcome.kind));
        self.wrong.extend(outcome.wrong);
    }
}

fn is_bad(kind: Kind) -> bool {
    matches!(kind, Kind::Forged | Kind::Stale | Kind::Torn)
}

struct Delivery {
    kind: Kind,
    event: Event,
    sender: Sender,
    ledger: Arc<Mutex<Ledger>>,
}

impl Delivery {
    async fn send(self) -> Outcome {
        let Delivery { kind, event, sender, .. } = &self;
        if is_bad(*kind) {
            self.ledger.lock().unwrap().sent_badly(&event.body);
        }
        let mut wrong = None;
        let is_accepted = match kind {
            Kind::UntilAccepted | Kind::KeptAlive => self.deliver(Retries::UntilAccepted).await,
            Kind::Once => self.deliver(Retries::Never).await,
            Kind::Twice => {
                let accepted = self.deliver(Retries::UntilAccepted).await;
                sender.try_to_send(event).await;
                accepted
            }
            Kind::Copies => {
                let copies = [self.deliver(Retries::UntilAccepted), self.deliver(Retries::UntilAccepted)];
                futures_util::future::join_all(copies).await.into_iter().all(|accepted| accepted)
            }
            Kind::Impatient => {
                let head = event.head(&sender.secret(event.provider.name));
                self.hang_up_after(&head, event.body.len()).await;
                self.deliver(Retries::UntilAccepted).await
            }
            Kind::Forged => {
                let head = event.head(&secret(event.provider, FORGED));
                self.rejected(sender.ask(&head, &event.body).await, &mut wrong)
            }
            // Only Fasten signs the time of the delivery in a header.
            Kind::Stale => {
                let event = Event { provider: &PROVIDERS[3], ..event.clone() };
                let stale = Event::of(event.provider, &format!("{}-stale", event.id));
                self.ledger.lock().unwrap().sent_badly(&stale.body);
                let head = head_of(&stale.request_at(now() - 3_600, &sender.secret(stale.provider.name)));
                self.rejected(sender.ask(&head, &stale.body).await, &mut wrong)
            }
            Kind::Torn => {
                let head = event.head(&sender.secret(event.provider.name));
                self.hang_up_after(&head, event.body.len() / 2).await;
                false
            }
        };
        Outcome { kind: *kind, is_accepted, wrong }
    }

    /// Sends the event, and enters the result.
    async fn deliver(&self, retries: Retries) -> bool {
        let sent = self.sender.send(retries, self.event.clone()).await;
        self.ledger.lock().unwrap().sent(&self.event.body, sent.is_accepted());
        sent.is_accepted()
    }

    /// Notes an answer that is neither a rejection nor a failure.
    fn rejected(&self, answer: Option<u16>, wrong: &mut Option<String>) -> bool {
        if answer.is_some_and(|status| !(400..=599).contains(&status)) {
            *wrong = Some(format!("{:?} was answered {answer:?}", self.kind));
        }
        false
    }

    /// Sends the head and a part of the body, and closes the connection. The receiver may be away.
    async fn hang_up_after(&self, head: &str, bytes: usize) {
        let Some(address) = self.sender.next_address() else { return };
        let Ok(mut socket) = TcpStream::connect(address).await else { return };
        let rest = format!("host: test\r\ncontent-length: {}\r\n\r\n", self.event.body.len());
        let text = [head.as_bytes(), rest.as_bytes(), &self.event.body[..bytes]].concat();
        if socket.write_all(&text).await.is_ok() {
            // Otherwise the bytes could be discarded unread.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
