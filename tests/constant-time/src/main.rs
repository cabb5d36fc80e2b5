//! Counts the instructions of verification, and of all other comparisons with a secret, and checks that they do not
//! depend on the secret. The comparisons of the library are those of `medhook::testing::Comparison`; those of the
//! operator's page are compiled from the files of the program.
//!
//! Run by `scripts/constant-time`. The program starts itself again under valgrind's callgrind, which counts the
//! instructions of [`measured`] for each attempt; no clock is read. Within a group all counts must be equal. In the
//! control group, which compares with an early exit, they must differ; otherwise the method would detect nothing.
//!
//! Valgrind emulates a processor without SHA instructions, so the portable SHA-256 is counted. A count cannot show
//! instructions whose duration depends on their operands; the comparison has none of them.

mod attempts;
mod callgrind;
mod failure;
mod handshakes;
#[path = "../../../cli/src/random.rs"]
#[allow(dead_code, reason = "the page needs only `bytes`")]
mod random;
mod receive;
mod sealed;

use std::process::ExitCode;

use attempts::{Attempt, Group, groups};

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => evaluate(),
        Some("attempt-all") => {
            for attempt in groups().iter().flat_map(|group| &group.attempts) {
                // The first run of a process also binds symbols and registers log lines.
                (attempt.run)();
                measured(attempt);
            }
            ExitCode::SUCCESS
        }
        Some(other) => {
            eprintln!("constant-time: unknown argument {other:?}; this program takes none");
            ExitCode::from(2)
        }
    }
}

/// The counted function: verifies a delivery, or makes another comparison with a secret.
#[inline(never)]
fn measured(attempt: &Attempt) {
    let accepted = (attempt.run)();
    assert_eq!(accepted, attempt.accepted, "{}", attempt.name);
}

fn evaluate() -> ExitCode {
    let groups = groups();
    let attempts: usize = groups.iter().map(|group| group.attempts.len()).sum();
    let counts = match callgrind::counts("attempt-all", "medhook_constant_time::measured") {
        Ok(counts) if counts.len() == attempts => counts,
        Ok(counts) => return failed(&format!("{} counts for {attempts} attempts", counts.len())),
        Err(problem) => return failed(&problem),
    };
    let mut counts = counts.into_iter();
    let mut sound = true;
    for group in &groups {
        let counts: Vec<(&str, u64)> = group.attempts.iter().map(|attempt| attempt.name).zip(&mut counts).collect();
        sound &= verdict(group, &counts);
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn verdict(group: &Group, counts: &[(&str, u64)]) -> bool {
    let same = counts.iter().all(|(_, count)| *count == counts[0].1);
    let as_expected = same != group.control;
    println!("{} {}", if as_expected { "ok  " } else { "FAIL" }, group.name);
    if same {
        println!("     {} instructions in each of {}", counts[0].1, counts.len());
    } else {
        counts.iter().for_each(|(name, count)| println!("     {count} instructions: {name}"));
    }
    as_expected
}

fn failed(problem: &str) -> ExitCode {
    eprintln!("constant-time: {problem}");
    ExitCode::from(2)
}
