//! Counts the instructions of verifying, and says whether they tell anything about a secret.
//!
//! Run by `scripts/constant-time`. It starts itself again under valgrind's callgrind, which counts what is executed in
//! [`measured`] for each attempt by itself; no clock is read. Within a group all counts must be the same. A group of
//! controls, which compare as nobody should, must not be: were it, the counting would see nothing.
//!
//! Valgrind shows programs a processor without SHA instructions, so that it is the portable SHA-256 that is counted.
//! A count cannot see what a processor takes longer for; there is no such instruction among those for comparing.

mod attempts;
mod callgrind;

use std::process::ExitCode;

use attempts::{Attempt, Group, groups};

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => judge(),
        Some("attempt-all") => {
            for group in groups() {
                group.attempts.iter().for_each(measured);
            }
            ExitCode::SUCCESS
        }
        Some(other) => {
            eprintln!("constant-time: {other:?} is not understood; there is nothing to set");
            ExitCode::from(2)
        }
    }
}

/// What callgrind counts: one delivery, verified.
#[inline(never)]
fn measured(attempt: &Attempt) {
    let came_out = (attempt.run)();
    assert_eq!(came_out, attempt.accepted, "{}", attempt.name);
}

fn judge() -> ExitCode {
    let groups = groups();
    let attempts: usize = groups.iter().map(|group| group.attempts.len()).sum();
    let counts = match callgrind::counts("attempt-all", "medhook_constant_time::measured") {
        Ok(counts) if counts.len() == attempts => counts,
        Ok(counts) => return cannot(&format!("{} counts for {attempts} attempts", counts.len())),
        Err(problem) => return cannot(&problem),
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
    let as_it_must = same != group.control;
    println!("{} {}", if as_it_must { "ok  " } else { "FAIL" }, group.name);
    if same {
        println!("     {} instructions in each of {}", counts[0].1, counts.len());
    } else {
        counts.iter().for_each(|(name, count)| println!("     {count} instructions: {name}"));
    }
    as_it_must
}

fn cannot(problem: &str) -> ExitCode {
    eprintln!("constant-time: {problem}");
    ExitCode::from(2)
}
