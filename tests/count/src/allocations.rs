//! Counts the allocations of a row, for `medhook-count`: `medhook-count-allocations ROW SIDE`.
//!
//! Prints allocations and bytes of all deliveries of the longer length, less those of the shorter one. A reallocation
//! counts as an allocation of its new size.

use std::process::ExitCode;

use allocation_counter::measure;
use medhook_count::{LENGTHS, warmed_up};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let subject = match &arguments[..] {
        [row, side] => warmed_up(row, side == "by-hand"),
        _ => None,
    };
    let Some(mut subject) = subject else {
        eprintln!("medhook-count-allocations: no such row; scripts/count runs this program");
        return ExitCode::from(2);
    };
    let [shorter, longer] = LENGTHS.map(|deliveries| {
        (0..deliveries).fold((0, 0), |(allocations, bytes), _| {
            subject.prepare();
            let counted = measure(|| subject.deliver());
            (allocations + counted.count_total, bytes + counted.bytes_total)
        })
    });
    println!("{} {}", longer.0 - shorter.0, longer.1 - shorter.1);
    ExitCode::SUCCESS
}
