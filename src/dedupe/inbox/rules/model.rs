//! Explores every state that two processes with two workers each can bring two events into. The handler of one of the
//! events, the *poison*, always ends its process.
//!
//! A step is one call of a rule, the death of a process, or the expiry of a lease: also of one whose worker has
//! stalled, and goes on later. A process leases a suspect only while it handles nothing else, and then nothing else
//! until that has ended. Repeated and late calls are tried in every state. Processes are killed from outside, stall,
//! fail and drain at most as often as [`Disturbances`] says.

use std::collections::HashMap;
use std::time::Duration;

use super::*;

const POISON: usize = 0;
const PROCESSES: usize = 2;
const WORKERS: usize = 2;
/// Leases last one millisecond, and the clock stands still: a lease expires by its end being set to now.
const NOW: i64 = 0;
const LEASE: Duration = Duration::from_millis(1);
/// The token of a lease that no worker uses any more.
const GONE: ClaimToken = ClaimToken::from_bytes([0xff; 16]);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Disturbances {
    /// Processes killed from outside, and workers that stall for a lease while they are alone.
    kills: u8,
    /// Failures of the handler of the other event.
    failures: u8,
    /// Processes that stop in an orderly way and start again.
    drains: u8,
}

#[derive(Clone, Debug)]
struct State {
    rows: [RowState; 2],
    /// The number of times that each event was recorded as done.
    done: [u8; 2],
    workers: [[Option<Run>; WORKERS]; PROCESSES],
    left: Disturbances,
}

/// An event that a worker handles.
#[derive(Clone, Copy, Debug)]
struct Run {
    event: usize,
    alone: bool,
    /// Whether its worker knows of no expiry of its lease.
    leased: bool,
}

type Found = Result<(), String>;

struct Model {
    /// Whether processes handle suspects alone.
    gate: bool,
    known: HashMap<u64, usize>,
    /// The states from which a step leads to each state, without disturbances.
    before: Vec<Vec<usize>>,
    open: Vec<(usize, State)>,
    ended: Vec<usize>,
}

fn explore(gate: bool, disturbances: Disturbances) -> Result<usize, String> {
    let row = RowState::waiting(NOW);
    let first = State { rows: [row.clone(), row], done: [0; 2], workers: Default::default(), left: disturbances };
    let mut model = Model { gate, known: HashMap::new(), before: vec![], open: vec![], ended: vec![] };
    model.reached(None, first);
    while let Some((from, state)) = model.open.pop() {
        check(&state, disturbances)
            .and_then(|()| model.step(from, &state))
            .map_err(|rule| format!("{rule}: {state:?}"))?;
    }
    // Nothing is stuck: from each state, steps without a further disturbance lead to one in which both have ended.
    let mut ends = vec![false; model.before.len()];
    let mut from = model.ended;
    while let Some(state) = from.pop() {
        if !std::mem::replace(&mut ends[state], true) {
            from.extend(&model.before[state]);
        }
    }
    let stuck = ends.iter().filter(|ends| !**ends).count();
    if stuck > 0 { Err(format!("an event never ends from {stuck} states")) } else { Ok(ends.len()) }
}

/// Checks what must hold in every state.
fn check(state: &State, at_first: Disturbances) -> Found {
    for (event, row) in state.rows.iter().enumerate() {
        let holders = state.runs().filter(|(_, _, run)| run.event == event && run.leased).count();
        rule(holders <= 1, "two unexpired leases of one event")?;
        rule(state.done[event] <= 1, "an event was done twice")?;
        rule(event == POISON || row.status != Status::Dead, "an innocent event died")?;
        rule(row.crashes <= MAX_CRASHES, "more deaths than an event may cause")?;
        let most = 1 + u32::from(at_first.failures) + MAX_CRASHES * (1 + u32::from(at_first.drains));
        rule(row.attempts <= most, "more attempts than counted")?;

        // Late calls of former holders, of a lease, a renewal or an ending, change nothing.
        let mut late = row.clone();
        for ending in endings() {
            rule(finish(&mut late, ClaimToken::from_bytes([0xee; 16]), NOW, &ending) == Settled::Lost, "late ending")?;
            if row.status != Status::Processing {
                finish(&mut late, row.token.unwrap_or(GONE), NOW, &ending);
            }
        }
        rule(renew(&mut late, ClaimToken::from_bytes([0xee; 16]), NOW, LEASE) == Settled::Lost, "late renewal")?;
        if matches!(row.status, Status::Done | Status::Dead) {
            for alone in [false, true] {
                rule(lease(&mut late, token(0, 0), NOW, LEASE, alone) == LeaseRule::NotDue, "leased after its end")?;
            }
        }
        rule(late == *row, "a late call had an effect")?;
    }
    Ok(())
}

fn rule(holds: bool, rule: &str) -> Found {
    if holds { Ok(()) } else { Err(rule.to_owned()) }
}

fn endings() -> [Ending; 4] {
    let retry = |counted| Ending::Retry { wait: Duration::ZERO, reason: "", counted };
    [Ending::Done, retry(true), retry(false), Ending::Dead { reason: String::new() }]
}

fn token(process: usize, worker: usize) -> ClaimToken {
    ClaimToken::from_bytes([(process * WORKERS + worker) as u8; 16])
}

impl Model {
    fn reached(&mut self, from: Option<usize>, mut state: State) {
        state.forget_former_holders();
        let next = self.before.len();
        let index = *self.known.entry(state.packed()).or_insert(next);
        if index == next {
            self.before.push(vec![]);
            if state.rows.iter().all(|row| matches!(row.status, Status::Done | Status::Dead)) {
                self.ended.push(index);
            }
            self.open.push((index, state));
        }
        self.before[index].extend(from);
    }

    fn step(&mut self, from: usize, state: &State) -> Found {
        for process in 0..PROCESSES {
            for worker in 0..WORKERS {
                match state.workers[process][worker] {
                    None => self.lease(from, state, process, worker)?,
                    Some(run) => self.run(from, state, process, worker, run)?,
                }
            }
            let running = state.workers[process].iter().any(Option::is_some);
            if running && state.left.kills > 0 {
                let mut next = state.clone();
                next.left.kills -= 1;
                next.workers[process] = [None; WORKERS];
                self.reached(None, next);
            }
            if running && state.left.drains > 0 {
                let mut next = state.clone();
                next.left.drains -= 1;
                let given_back = &endings()[2];
                for worker in 0..WORKERS {
                    if let Some(run) = next.workers[process][worker].take() {
                        finish(&mut next.rows[run.event], token(process, worker), NOW, given_back);
                    }
                }
                self.reached(None, next);
            }
        }
        for (event, row) in state.rows.iter().enumerate() {
            if row.status != Status::Processing || row.due <= NOW {
                continue;
            }
            let stalled = state
                .runs()
                .any(|(process, worker, run)| run.event == event && row.token == Some(token(process, worker)));
            if stalled && row.alone && state.left.kills == 0 {
                continue;
            }
            let mut next = state.clone();
            next.left.kills -= u8::from(stalled && row.alone);
            next.rows[event].due = NOW;
            for run in next.workers.iter_mut().flatten().flatten().filter(|run| run.event == event) {
                run.leased = false;
            }
            self.reached((!stalled).then_some(from), next);
        }
        Ok(())
    }

    /// Lets a free worker lease each event, alone and not.
    fn lease(&mut self, from: usize, state: &State, process: usize, worker: usize) -> Found {
        let others = || state.workers[process].iter().flatten();
        for (event, row) in state.rows.iter().enumerate() {
            for alone in [false, true] {
                let allowed = if alone { others().count() == 0 } else { !others().any(|other| other.alone) };
                // A store selects them in the same way.
                let selected = !alone || row.status == Status::Processing;
                if !selected || (self.gate && !allowed) {
                    continue;
                }
                let mut next = state.clone();
                match lease(&mut next.rows[event], token(process, worker), NOW, LEASE, alone) {
                    LeaseRule::Leased => {
                        next.workers[process][worker] = Some(Run { event, alone, leased: true });
                        let before = next.rows[event].clone();
                        let again = lease(&mut next.rows[event], token(process, worker), NOW, LEASE, alone);
                        rule(again == LeaseRule::Leased && next.rows[event] == before, "a repeated lease differs")?;
                        self.reached(Some(from), next);
                    }
                    LeaseRule::Crashed => self.reached(Some(from), next),
                    LeaseRule::NotDue | LeaseRule::Suspect => {
                        rule(next.rows[event] == *row, "an event that was not leased has changed")?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Lets the handler of a worker end, and its lease be renewed.
    fn run(&mut self, from: usize, state: &State, process: usize, worker: usize, run: Run) -> Found {
        let token = token(process, worker);
        let mut next = state.clone();
        if renew(&mut next.rows[run.event], token, NOW, LEASE) == Settled::Settled {
            next.workers[process][worker] = Some(Run { leased: true, ..run });
            self.reached(Some(from), next);
        } else {
            rule(next.rows[run.event] == state.rows[run.event], "a renewal that was lost had an effect")?;
        }
        if run.event == POISON {
            let mut next = state.clone();
            next.workers[process] = [None; WORKERS];
            self.reached(Some(from), next);
            return Ok(());
        }
        let [done, failed, ..] = endings();
        self.finish(Some(from), state.clone(), process, worker, &done)?;
        if state.left.failures > 0 {
            let mut state = state.clone();
            state.left.failures -= 1;
            self.finish(None, state, process, worker, &failed)?;
        }
        Ok(())
    }

    fn finish(
        &mut self,
        from: Option<usize>,
        mut next: State,
        process: usize,
        worker: usize,
        ending: &Ending,
    ) -> Found {
        let Some(run) = next.workers[process][worker].take() else { return Ok(()) };
        let row = &mut next.rows[run.event];
        let before = row.clone();
        let settled = finish(row, token(process, worker), NOW, ending);
        if settled == Settled::Settled {
            next.done[run.event] += u8::from(*ending == Ending::Done);
        } else {
            rule(*row == before, "an ending that was lost had an effect")?;
        }
        let once = row.clone();
        rule(finish(row, token(process, worker), NOW, ending) == settled && *row == once, "a repeated ending differs")?;
        self.reached(from, next);
        Ok(())
    }
}

impl State {
    fn runs(&self) -> impl Iterator<Item = (usize, usize, Run)> + '_ {
        let workers = (0..PROCESSES).flat_map(|process| (0..WORKERS).map(move |worker| (process, worker)));
        workers.filter_map(|(process, worker)| Some((process, worker, self.workers[process][worker]?)))
    }

    /// Replaces tokens that no worker uses any more, since each lease has a new one.
    fn forget_former_holders(&mut self) {
        for event in 0..2 {
            let held = |(process, worker, run): (usize, usize, Run)| {
                run.event == event && self.rows[event].token == Some(token(process, worker))
            };
            if self.rows[event].token.is_some() && !self.runs().any(held) {
                self.rows[event].token = Some(GONE);
            }
        }
    }

    /// Returns the same number for states that differ only in the order of processes and workers.
    fn packed(&self) -> u64 {
        let mut processes = [0; PROCESSES].map(|_: u64| [0; WORKERS]);
        for (process, worker, run) in self.runs() {
            let holds = self.rows[run.event].token == Some(token(process, worker));
            processes[process][worker] = 1
                | (run.event as u64) << 1
                | u64::from(run.alone) << 2
                | u64::from(run.leased) << 3
                | u64::from(holds) << 4;
        }
        processes.iter_mut().for_each(|workers| workers.sort_unstable());
        processes.sort_unstable();
        let mut packed = 0;
        let mut add = |bits: u32, value: u64| {
            assert!(value < 1 << bits);
            packed = packed << bits | value;
        };
        processes.iter().flatten().for_each(|worker| add(5, *worker));
        for (row, done) in self.rows.iter().zip(self.done) {
            add(2, row.status as u64);
            add(1, u64::from(row.due > NOW));
            add(4, u64::from(row.attempts));
            add(3, u64::from(row.crashes));
            add(1, u64::from(row.alone));
            add(2, u64::from(done));
        }
        add(3, u64::from(self.left.kills));
        add(2, u64::from(self.left.failures));
        add(2, u64::from(self.left.drains));
        packed
    }
}

#[test]
fn every_rule_holds_in_every_state() {
    assert_eq!(explore(true, Disturbances { kills: 4, failures: 1, drains: 1 }), Ok(282_506));
}

#[test]
fn an_innocent_event_dies_if_suspects_are_not_alone() {
    let quiet = Disturbances { kills: 0, failures: 0, drains: 0 };
    explore(true, quiet).unwrap();
    assert!(explore(false, quiet).unwrap_err().starts_with("an innocent event died"));
}

#[test]
fn five_kills_of_a_lone_innocent_event_in_a_row_make_it_dead() {
    let killed = |kills| explore(true, Disturbances { kills, failures: 0, drains: 0 });
    killed(4).unwrap();
    assert!(killed(5).unwrap_err().starts_with("an innocent event died"));
}
