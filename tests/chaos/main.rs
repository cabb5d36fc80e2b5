//! Thousands of events under many kinds of failures at once, checked against the promises in [`promises`].
//!
//! Several receivers share a store that rejects steps, hangs, is slow and loses answers. Steps reach it even if their
//! callers have stopped waiting, and after later steps of the same claim. Handlers fail, panic, and
//! take longer than a lease or run forever. Processes die while they handle. Senders hang up, send concurrent copies,
//! and retry. Clocks are set back and forward. Time is paused and the random numbers have a seed, so a run can be
//! repeated: `MEDHOOK_CHAOS_SEED=<seed>` plays that one alone.

mod handler;
mod promises;
mod recurring;
mod sender;
mod store;
mod world;

use world::{Trouble, World};

const EVENTS: u64 = 1_000;
const ALL_TROUBLE: Trouble = Trouble { store: true, clocks: true, crashes: true };
const SENDERS_AND_HANDLERS: Trouble = Trouble { store: false, clocks: false, crashes: false };

#[test]
fn without_failures_of_store_or_processes_each_event_is_handled_exactly_once() {
    let mut late = 0;
    for seed in seeds() {
        let world = play(seed, SENDERS_AND_HANDLERS);
        promises::nothing_was_lost(&world);
        promises::each_was_handled_once(&world);
        late += world.store().ledger().late();
    }
    assert!(late > 0 || chosen_seed().is_some(), "no handler ended while a renewal was under way");
}

#[test]
fn under_any_failure_no_event_is_lost_and_only_expired_claims_are_handled_again() {
    let (mut again, mut late) = (0, 0);
    for seed in seeds() {
        let world = play(seed, ALL_TROUBLE);
        promises::nothing_was_lost(&world);
        again += promises::again_only_after_a_claim_expired(&world);
        late += world.store().ledger().late();
    }
    assert!(late > 0 || chosen_seed().is_some(), "no step was late");
    // Without an event that is handled again, the failures would be too rare for the other checks to mean anything.
    assert!(again > 0 || chosen_seed().is_some(), "no claim ever expired");
}

#[test]
fn an_event_that_recurs_is_handled_each_time_up_to_the_limit_and_blocks_no_other() {
    for seed in seeds() {
        let (handled, limited) = block_on(recurring::play(seed, false));
        assert!(handled > 100 && limited > 10, "{handled} handled, {limited} beyond the limit");
    }
}

#[test]
fn an_event_that_recurs_is_never_answered_2xx_without_being_handled_whatever_the_store_does() {
    for seed in seeds() {
        let (handled, _) = block_on(recurring::play(seed, true));
        assert!(handled > 100, "{handled} handled");
    }
}

fn seeds() -> Vec<u64> {
    chosen_seed().map_or_else(|| (1..=4).collect(), |seed| vec![seed])
}

fn chosen_seed() -> Option<u64> {
    std::env::var("MEDHOOK_CHAOS_SEED").ok().map(|seed| seed.parse().expect("MEDHOOK_CHAOS_SEED is a number"))
}

fn play(seed: u64, trouble: Trouble) -> World {
    println!("seed {seed}");
    block_on(async {
        let world = World::new(seed, trouble);
        world.run(EVENTS).await;
        world
    })
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(work)
}
