//! The work that is counted: deliveries of one kind, through medhook and by hand.
//!
//! The provider is Fasten with one secret, except in the rows of other families of schemes. Its scheme, Standard
//! Webhooks, signs an id and a timestamp and allows a list of signatures; its events have ids; and `tests/benches` has
//! the same work by hand for it. Every delivery is another event of about 1 KiB. Bodies and signatures are made outside
//! of the count.

#[allow(dead_code, reason = "shared with the benchmarks, which use more of it")]
#[path = "../../benches/src/apps.rs"]
mod apps;
#[allow(dead_code, reason = "shared with the benchmarks, which use more of it")]
#[path = "../../benches/src/by_hand.rs"]
mod by_hand;
mod families;
mod rows;
mod setting;
#[allow(dead_code, reason = "shared with the benchmarks, which use more of it")]
#[path = "../../benches/src/signed.rs"]
mod signed;

use std::hint::black_box;

pub use rows::{CONTROL, MAC, MAC_COMPRESSIONS, ROWS};

/// A source and a receiver of deliveries.
pub trait Subject {
    /// Makes a delivery of a new event.
    fn prepare(&mut self);

    /// Handles it.
    fn deliver(&mut self);
}

/// The numbers of deliveries that are counted. Counts are the difference between both, so that costs per run cancel
/// out.
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

/// Occupies the free blocks that construction has left in the heap. Where they are depends on the random order of hash
/// tables, and `malloc` and `free` execute more instructions where they split or merge such a block.
fn fill_holes() {
    for _ in 0..2000 {
        black_box(Vec::leak(vec![0_u8; 1040]));
    }
}

/// Handles a delivery. Callgrind counts what is executed in this function.
#[inline(never)]
pub fn counted(subject: &mut dyn Subject) {
    subject.deliver();
    // Without this the call above would be a jump, and callgrind would not see this function end.
    black_box(subject);
}

/// Marks the end of a length. Callgrind writes its counts after this function.
#[inline(never)]
pub fn length_ended() {
    black_box(());
}

/// Adds work to a delivery. Callgrind counts this function by itself, too, so that its size is known.
#[inline(never)]
pub fn added_work() {
    for turn in 0..100 {
        black_box(turn);
    }
}
