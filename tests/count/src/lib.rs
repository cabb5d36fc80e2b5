//! The work that is counted: deliveries of one kind, through medhook and by hand.
//!
//! The provider is Fasten with one secret: its scheme, Standard Webhooks, has all that a scheme can have (a signed id, a
//! signed timestamp, a list of signatures), its events have ids, and `tests/benches` has the same work by hand for it.
//! Every delivery is another event of about 1 KiB. Bodies and signatures are made before counting starts.

#[allow(dead_code, reason = "shared with the benchmarks, which use more of it")]
#[path = "../../benches/src/apps.rs"]
mod apps;
#[allow(dead_code, reason = "shared with the benchmarks, which use more of it")]
#[path = "../../benches/src/by_hand.rs"]
mod by_hand;
mod rows;
mod setting;
#[allow(dead_code, reason = "shared with the benchmarks, which use more of it")]
#[path = "../../benches/src/signed.rs"]
mod signed;

use std::hint::black_box;

pub use rows::{CONTROL, MAC, MAC_COMPRESSIONS, ROWS};

/// Deliveries of one row.
pub trait Subject {
    /// Makes the next delivery ready, of a new event.
    fn prepare(&mut self);

    /// Handles it.
    fn deliver(&mut self);
}

/// How many deliveries are counted. The difference between both lengths is what counts, so that what happens once
/// does not.
pub const LENGTHS: [u64; 2] = [500, 1000];

/// Deliveries before the first that is counted: caches and pools are full by then.
const WARM_UP: u64 = 200;

/// Returns the subject of a row after its warm-up, if there is such a row.
pub fn warmed_up(row: &str, by_hand: bool) -> Option<Box<dyn Subject>> {
    let mut subject = rows::subject(row, by_hand)?;
    fill_holes();
    for _ in 0..WARM_UP {
        subject.prepare();
        subject.deliver();
    }
    Some(subject)
}

/// Takes the free memory between what a subject has allocated, for good. Where it lies goes by the order of hash tables,
/// which is random, and `malloc` executes more instructions where it can use it.
fn fill_holes() {
    for _ in 0..2000 {
        black_box(Vec::leak(vec![0_u8; 1040]));
    }
}

/// The function in which callgrind counts.
#[inline(never)]
pub fn counted(subject: &mut dyn Subject) {
    subject.deliver();
    // Without this the call above would be a jump, and callgrind would not see this function end.
    black_box(subject);
}

/// The function after which callgrind writes what it has counted.
#[inline(never)]
pub fn length_ended() {
    black_box(());
}

/// Work of a known size: callgrind counts this function by itself, too.
#[inline(never)]
pub fn added_work() {
    for turn in 0..100 {
        black_box(turn);
    }
}
