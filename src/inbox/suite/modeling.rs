//! Orders of steps of deliveries, workers, operators and key rotations on one event, compared with a reference.
//!
//! [`Reference`] says what each step must answer and which rows must be left. It shares no code with the stores. In
//! memory, every order of steps is played, as far as it leads to new states; the other stores play random ones. Steps
//! also arrive late: a lease, a renewal or an ending of a worker that has ended before, and a body that is sealed again
//! after its row has changed.
//!
//! The clock stands still. A lease expires by a renewal that ends now, in the place of its holder.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::dedupe::Claimed;
use crate::dedupe::Forgotten;
use crate::dedupe::inbox::rules::MAX_CRASHES;
use crate::dedupe::inbox::store::{Keep, KeyRecord, Operated};

/// The keys of the inbox: bodies are stored under the old one, and sealed again under the new one.
const OLD: u8 = 1;
const NEW: u8 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Done,
    Retry,
    Dead,
}

impl Ends {
    fn ending(self) -> Ending {
        match self {
            Ends::Done => Ending::Done,
            Ends::Retry => retry(Duration::ZERO),
            Ends::Dead => dead(),
        }
    }
}

/// A step of the delivery, the worker or the instance without an inbox with this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Store(u8),
    Lease {
        worker: u8,
        alone: bool,
    },
    Renew(u8),
    /// The lease of the worker expires.
    Expire(u8),
    Finish(u8, Ends),
    /// The ending of a lease that the worker had before the last replay.
    FinishBefore(u8, Ends),
    Replay,
    Discard,
    Forget,
    Pause,
    Resume,
    Purge,
    /// Reads what is sealed under another key than the new one.
    ReadToReseal,
    /// Seals again what was read before.
    Reseal,
    RemoveOldKey,
    /// An instance without an inbox claims, commits and releases the event.
    Claim,
    Commit,
    Release,
    /// The event is remembered no longer, and every claim and lease has expired.
    RetentionEnds,
}

/// The steps that need no other time than now, and no row but those of the event.
const STEPS: [Step; 32] = {
    use Ends::*;
    use Step::*;
    [
        Store(1),
        Store(2),
        Lease { worker: 1, alone: false },
        Lease { worker: 1, alone: true },
        Lease { worker: 2, alone: false },
        Lease { worker: 2, alone: true },
        Renew(1),
        Renew(2),
        Expire(1),
        Expire(2),
        Finish(1, Done),
        Finish(1, Retry),
        Finish(1, Dead),
        Finish(2, Done),
        Finish(2, Retry),
        Finish(2, Dead),
        FinishBefore(1, Done),
        FinishBefore(1, Retry),
        FinishBefore(1, Dead),
        FinishBefore(2, Done),
        FinishBefore(2, Retry),
        FinishBefore(2, Dead),
        Replay,
        Discard,
        Forget,
        Pause,
        Resume,
        ReadToReseal,
        Reseal,
        Claim,
        Commit,
        Release,
    ]
};

/// Tokens of one run, and its endpoint.
#[derive(Debug, Clone)]
struct Run {
    number: u8,
    /// Whether each claim has a token of its own. A server never grants a claim to a token whose claim has ended.
    has_new_tokens: bool,
}

impl Run {
    fn token(&self, role: u8, number: u8) -> ClaimToken {
        let mut bytes = [0; 16];
        (bytes[0], bytes[1], bytes[2]) = (self.number, role, number);
        ClaimToken::from_bytes(bytes)
    }

    fn worker(&self, number: u8) -> ClaimToken {
        self.token(b'w', number)
    }

    fn delivery(&self, number: u8) -> ClaimToken {
        self.token(b'd', number)
    }

    fn claimer(&self, number: u8) -> ClaimToken {
        self.token(b'c', number)
    }

    fn endpoint(&self) -> String {
        format!("clinic-{}", self.number)
    }

    fn event(&self, delivery: u8) -> NewEvent {
        NewEvent { endpoint: self.endpoint(), token: self.delivery(delivery), ..event(self.number) }
    }

    fn sealed(&self, key: u8) -> Bytes {
        sealed(key, &[b'b', self.number])
    }

    fn sealed_key(&self, key: u8) -> Bytes {
        sealed(key, &[b'k', self.number])
    }
}

/// The state that a row must have.
#[derive(Debug, Clone)]
struct Row {
    stored_by: ClaimToken,
    status: Status,
    holder: Option<ClaimToken>,
    has_expired: bool,
    alone: bool,
    crashes: u32,
    has_body: bool,
    key: u8,
    /// Whether the record of the event lasted longer when the row was stored. Until then the row is kept.
    is_kept: bool,
    is_replay: bool,
    /// Whether a worker has recorded it as done since it was stored or replayed.
    succeeded: bool,
}

impl Row {
    fn is_unfinished(&self) -> bool {
        matches!(self.status, Status::Waiting | Status::Processing)
    }
}

/// The record of a handled or claimed event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marked {
    Handled { by: ClaimToken },
    Claimed { by: ClaimToken },
}

/// The expected rows and answers.
#[derive(Debug, Clone, Default)]
struct Reference {
    rows: BTreeMap<i64, Row>,
    mark: Option<Marked>,
    is_paused: bool,
    /// Bodies that were read to be sealed again.
    read: Vec<SealedBody>,
    has_old_key: bool,
    /// The number of claims that have ended.
    claims: u8,
}

impl Reference {
    fn last(&self) -> i64 {
        self.rows.keys().last().copied().unwrap_or(-1)
    }

    fn unfinished(&self) -> Option<i64> {
        self.rows.iter().find(|(_, row)| row.is_unfinished()).map(|(id, _)| *id)
    }

    fn held_by(&mut self, id: i64, token: ClaimToken) -> Option<&mut Row> {
        self.rows.get_mut(&id).filter(|row| row.status == Status::Processing && row.holder == Some(token))
    }

    /// Runs a step on an inbox and here, and compares the answers and then the rows.
    async fn step(&mut self, run: &Run, on: &StoreFixture, step: Step) {
        let id = self.unfinished().unwrap_or(self.last());
        match step {
            Step::Store(delivery) => self.store(run, on, delivery).await,
            Step::Lease { worker, alone } => self.lease(run, on, run.worker(worker), alone).await,
            Step::Renew(worker) | Step::Expire(worker) => {
                let expires = matches!(step, Step::Expire(_));
                let lease = if expires { Duration::ZERO } else { LONG };
                let held = self.held_by(id, run.worker(worker));
                let expected = if held.is_some() { Settled::Settled } else { Settled::Lost };
                held.into_iter().for_each(|row| row.has_expired = expires);
                assert_eq!(on.inbox.renew(id, run.worker(worker), lease).await.unwrap(), expected);
            }
            Step::Finish(worker, ends) => {
                let expected = self.finish(id, run.worker(worker), ends);
                assert_eq!(on.finish(id, run.worker(worker), ends.ending()).await, expected);
            }
            Step::FinishBefore(worker, ends) => {
                let replays = on.find(id).await.map_or(0, |row| row.replays);
                assert_eq!(replays > 0, self.rows.get(&id).is_some_and(|row| row.is_replay));
                // A lease of the same token may hold the row again, because its first call arrived after the replay.
                if let Some(replays) = replays.checked_sub(1) {
                    let before = LeaseId { row: id, token: run.worker(worker), replays };
                    assert_eq!(on.finish_of(before, ends.ending(), false).await, Settled::Lost);
                }
            }
            Step::Replay => {
                let dead = self.rows.iter().find(|(_, row)| row.status == Status::Dead);
                let id = dead.map_or(id, |(id, _)| *id);
                let expected = self.replay(id);
                assert_eq!(on.inbox.replay(id, audit("replay", id)).await.unwrap(), expected);
            }
            Step::Discard => {
                let expected = self.discard(id);
                assert_eq!(on.inbox.discard(id, audit("discard", id)).await.unwrap(), expected);
            }
            Step::Forget => {
                let expected = match (self.unfinished(), self.mark) {
                    (Some(id), _) => Forgotten::Unfinished { id },
                    (None, Some(Marked::Handled { .. })) => Forgotten::Removed,
                    (None, Some(Marked::Claimed { .. })) => Forgotten::Claimed,
                    (None, None) => Forgotten::NotFound,
                };
                if expected == Forgotten::Removed {
                    self.mark = None;
                }
                let of = run.event(1);
                let answer = on.inbox.forget(of.event_key, of.row_key, audit("forget", 1)).await.unwrap();
                assert_eq!(answer, expected);
            }
            Step::Pause | Step::Resume => {
                self.is_paused = step == Step::Pause;
                on.inbox.set_paused(run.endpoint(), self.is_paused, audit("pause", 1)).await.unwrap();
            }
            Step::Purge => {
                on.inbox.purge(run.endpoint(), Keep::default()).await.unwrap();
                self.purge();
            }
            Step::ReadToReseal => {
                let read = on.inbox.sealed_otherwise([0, 0, 0, NEW], 0, 100).await.unwrap();
                self.read = read.into_iter().filter(|body| body.endpoint == run.endpoint()).collect();
                let expected: Vec<_> = self.rows.iter().filter(|(_, row)| row.key == OLD).map(|(id, _)| *id).collect();
                assert_eq!(self.read.iter().map(|body| body.id).collect::<Vec<_>>(), expected);
            }
            Step::Reseal => self.reseal(run, on).await,
            Step::RemoveOldKey => {
                let expected = self.rows.values().all(|row| row.key == NEW);
                assert_eq!(on.inbox.remove_key_record([0, 0, 0, OLD]).await.unwrap(), expected);
                self.has_old_key &= !expected;
                let known = on.inbox.key_records().await.unwrap();
                assert_eq!(!known.is_empty(), self.has_old_key);
            }
            Step::Claim | Step::Commit | Step::Release => self.claim(run, on, step).await,
            Step::RetentionEnds => {}
        }
        self.compare(run, on).await;
    }

    async fn store(&mut self, run: &Run, on: &StoreFixture, delivery: u8) {
        let event = run.event(delivery);
        let (earlier, last) = (self.rows.iter().find(|(_, row)| row.stored_by == event.token), self.last());
        let answer = on.inbox.store_event(event.clone()).await.unwrap();
        match (earlier, self.unfinished(), self.mark) {
            (Some((id, _)), ..) => assert_eq!(answer, StoreResult::Stored { id: *id }),
            // An answer `Duplicate` to a new event would lose it.
            (None, Some(_), _) | (None, None, Some(Marked::Handled { .. })) => {
                assert_eq!(answer, StoreResult::Duplicate);
            }
            (None, None, Some(Marked::Claimed { .. })) => {
                assert!(matches!(answer, StoreResult::InFlight { .. }), "{answer:?}");
            }
            (None, None, None) => {
                let StoreResult::Stored { id } = answer else { panic!("a new event is stored: {answer:?}") };
                assert!(id > last, "ids rise");
                self.mark = Some(Marked::Handled { by: event.token });
                let row = Row {
                    stored_by: event.token,
                    status: Status::Waiting,
                    holder: None,
                    has_expired: false,
                    alone: false,
                    crashes: 0,
                    has_body: true,
                    key: OLD,
                    is_kept: true,
                    is_replay: false,
                    succeeded: false,
                };
                self.rows.insert(id, row);
            }
        }
    }

    async fn lease(&mut self, run: &Run, on: &StoreFixture, token: ClaimToken, alone: bool) {
        let request = LeaseRequest { endpoint: run.endpoint(), token, lease: LONG, alone };
        let answer = on.inbox.lease(request).await.unwrap();
        let mut crashed = None;
        let repeated = self.rows.iter().find(|(_, row)| row.status == Status::Processing && row.holder == Some(token));
        let expected = repeated.map(|(id, _)| *id).or_else(|| {
            if self.is_paused {
                return None;
            }
            let (id, row) = self.rows.iter_mut().find(|(_, row)| match alone {
                false => row.status == Status::Waiting,
                true => row.status == Status::Processing && row.has_expired,
            })?;
            row.crashes += u32::from(row.status == Status::Processing && row.alone);
            if row.crashes >= MAX_CRASHES {
                (row.status, crashed) = (Status::Dead, Some(*id));
                return None;
            }
            (row.status, row.holder, row.has_expired, row.alone) = (Status::Processing, Some(token), false, alone);
            Some(*id)
        });
        assert_eq!(answer.leased.as_ref().map(|leased| leased.body.id), expected, "the leased event");
        assert_eq!(answer.crashed.as_ref().map(|row| row.id), crashed, "the event that is dead");
        if let Some(leased) = answer.leased {
            let row = &self.rows[&leased.body.id];
            assert_eq!(leased.body.sealed, Some(run.sealed(row.key)), "a leased event has its body");
            assert_eq!((leased.body.stored_by, leased.token), (row.stored_by, token));
        }
        let suspects = self.rows.values().any(|row| row.status == Status::Processing && row.has_expired);
        assert!(self.is_paused || answer.suspects == suspects, "suspects: {}", answer.suspects);
    }

    fn finish(&mut self, id: i64, token: ClaimToken, ends: Ends) -> Settled {
        let Some(row) = self.rows.get_mut(&id).filter(|row| row.holder == Some(token)) else { return Settled::Lost };
        if row.status != Status::Processing {
            let is_repeated = match row.status {
                // The application may have recorded it in a transaction of its own.
                Status::Done => true,
                Status::Waiting => ends == Ends::Retry,
                Status::Dead => ends == Ends::Dead,
                _ => false,
            };
            return if is_repeated { Settled::Settled } else { Settled::Lost };
        }
        (row.crashes, row.alone) = (0, false);
        row.status = match ends {
            Ends::Done => Status::Done,
            Ends::Retry => Status::Waiting,
            Ends::Dead => Status::Dead,
        };
        if ends == Ends::Done {
            (row.has_body, row.succeeded) = (false, true);
        }
        Settled::Settled
    }

    fn replay(&mut self, id: i64) -> Operated {
        let unfinished = self.unfinished();
        let Some(row) = self.rows.get_mut(&id) else { return Operated::NotFound };
        match row.status {
            Status::Processing => return Operated::Processing,
            Status::Discarded => return Operated::WrongStatus(Status::Discarded),
            _ if !row.has_body => return Operated::NoBody,
            _ if unfinished.is_some_and(|other| other != id) => return Operated::Conflict,
            Status::Waiting => {}
            Status::Done | Status::Dead => {
                (row.status, row.holder, row.alone, row.crashes) = (Status::Waiting, None, false, 0);
                (row.succeeded, row.is_replay) = (false, true);
            }
        }
        Operated::Done
    }

    fn discard(&mut self, id: i64) -> Operated {
        let Some(row) = self.rows.get_mut(&id) else { return Operated::NotFound };
        match row.status {
            Status::Processing if !row.has_expired => return Operated::Processing,
            Status::Done | Status::Discarded => return Operated::WrongStatus(row.status),
            _ => (row.status, row.has_body) = (Status::Discarded, false),
        }
        Operated::Done
    }

    fn purge(&mut self) {
        self.rows.retain(|_, row| row.is_kept || !matches!(row.status, Status::Done | Status::Discarded));
    }

    /// Seals again what was read before, which is done only if nothing of it has changed.
    async fn reseal(&mut self, run: &Run, on: &StoreFixture) {
        for before in std::mem::take(&mut self.read) {
            let sealed = before.sealed.as_ref().map(|_| run.sealed(NEW));
            let after = SealedBody { sealed_key: run.sealed_key(NEW), sealed, ..before.clone() };
            let row = self.rows.get_mut(&before.id);
            let row = row.filter(|row| row.key == OLD && row.has_body == before.sealed.is_some());
            assert_eq!(on.inbox.reseal(before, after).await.unwrap(), row.is_some());
            row.into_iter().for_each(|row| row.key = NEW);
        }
    }

    async fn claim(&mut self, run: &Run, on: &StoreFixture, step: Step) {
        let (key, token) = (run.event(1).event_key, run.claimer(self.claims));
        let claimed = self.mark == Some(Marked::Claimed { by: token });
        let lost = matches!(self.mark, Some(Marked::Handled { by } | Marked::Claimed { by }) if by != token);
        let settled = if lost { Settled::Lost } else { Settled::Settled };
        if run.has_new_tokens && step != Step::Claim && (claimed || lost) {
            self.claims += 1;
        }
        match step {
            Step::Claim => {
                let answer = on.store.claim(key, token, LONG).await.unwrap();
                match self.mark {
                    Some(Marked::Handled { .. }) => assert_eq!(answer, Claimed::AlreadyHandled),
                    _ => {
                        assert_eq!(answer, Claimed::Acquired);
                        self.mark = Some(Marked::Claimed { by: token });
                    }
                }
            }
            // A commit or a release without a claim is none of a receiver.
            _ if !claimed && !lost => {}
            Step::Commit => {
                assert_eq!(on.store.commit(key, token, Retention::new(LONG, LONG)).await.unwrap(), settled);
                if claimed {
                    self.mark = Some(Marked::Handled { by: token });
                }
            }
            _ => {
                assert_eq!(on.store.release(key, token).await.unwrap(), settled);
                if claimed {
                    self.mark = None;
                }
            }
        }
    }

    /// Compares the rows and their bodies, and checks what must hold whatever happened.
    async fn compare(&self, run: &Run, on: &StoreFixture) {
        let filter = RowFilter { endpoint: Some(run.endpoint()), limit: 100, ..RowFilter::default() };
        let rows = on.inbox.list(filter).await.unwrap();
        let found: Vec<_> = rows.iter().map(|row| (row.id, row.status, row.has_body)).collect();
        let expected: Vec<_> = self.rows.iter().map(|(id, row)| (*id, row.status, row.has_body)).collect();
        assert_eq!(found, expected, "rows with status and body");
        for (id, row) in &self.rows {
            assert_eq!(row.status == Status::Done, row.succeeded, "event {id} is done only by its holder");
            let is_kept = row.is_unfinished() || row.status == Status::Dead;
            assert!(row.has_body || !is_kept, "event {id} has lost its body");
        }
        assert!(self.rows.values().filter(|row| row.is_unfinished()).count() <= 1, "an event is unfinished twice");
    }
}

/// Plays random orders of 40 steps, each on an event and an endpoint of its own.
pub(crate) async fn random_orders_of_steps_are_as_the_reference_says(on: &StoreFixture) {
    // The same orders in every run.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for number in 1..=20 {
        let (run, mut reference, mut steps) =
            (Run { number, has_new_tokens: true }, Reference::default(), vec![Step::Store(1)]);
        steps.extend(
            std::iter::repeat_with(|| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                STEPS[(random % STEPS.len() as u64) as usize]
            })
            .take(40),
        );
        let mut played = Printed(Vec::new());
        for step in steps {
            played.0.push(step);
            reference.step(&run, on, step).await;
        }
    }
}

/// Printed if a rule is broken.
struct Printed(Vec<Step>);

impl Drop for Printed {
    #[allow(clippy::print_stdout, reason = "shown for a failed test only")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the steps: {:?}", self.0);
        }
    }
}

/// Plays every order of this many steps that leads to a new state. Returns the number of states.
async fn explore(depth: usize) -> usize {
    let run = Run { number: 1, has_new_tokens: false };
    let first = MemoryInbox::new();
    first.set_key_records(vec![KeyRecord { key_id: [0, 0, 0, OLD], sealed: Bytes::from_static(b"key") }]);
    let mut open = vec![(first.snapshot(), Reference { has_old_key: true, ..Reference::default() }, Vec::new())];
    let mut known = BTreeSet::new();
    for _ in 0..depth {
        for (tables, reference, path) in std::mem::take(&mut open) {
            for step in STEPS.into_iter().chain([Step::Purge, Step::RemoveOldKey, Step::RetentionEnds]) {
                let double = MemoryInbox::of(tables.clone());
                let on = StoreFixture { inbox: double.clone(), store: double.clone(), _guard: Box::new(()) };
                let mut next = reference.clone();
                let mut played = Printed([path.as_slice(), &[step]].concat());
                if step == Step::RetentionEnds {
                    double.set_clock_by((LONG * 2).as_millis() as i64);
                    next.mark = None;
                    for row in next.rows.values_mut() {
                        row.is_kept = false;
                        row.has_expired |= row.status == Status::Processing;
                    }
                }
                next.step(&run, &on, step).await;
                let state = (format!("{next:?}"), double.rows().values().map(|row| row.state.attempts).max());
                if known.insert(state) {
                    open.push((double.snapshot(), next, std::mem::take(&mut played.0)));
                }
            }
        }
    }
    known.len()
}

#[tokio::test(start_paused = true)]
async fn every_order_of_steps_is_as_the_reference_says() {
    assert_eq!(explore(9).await, 6_876);
}
