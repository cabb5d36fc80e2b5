//! The figures of the checks, and whether they are as promised.

use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

/// The divisor of all counts. Set by `scripts/inbox-check`.
const DIVISOR: &str = "MEDHOOK_INBOX_DIVISOR";

/// A file to which the lines are appended.
const FIGURES: &str = "MEDHOOK_INBOX_FIGURES";

/// Returns a tenth of a count, or the part that `scripts/inbox-check` sets.
pub fn scaled(full: u64) -> u64 {
    let divisor = std::env::var(DIVISOR).map_or(10, |divisor| divisor.parse().expect("a number"));
    (full / u64::max(divisor, 1)).max(1)
}

/// Returns a number of rounds that take seconds each: a tenth, or fewer where `scripts/inbox-check` does not run.
pub fn rounds(full: u64, short: u64) -> u64 {
    if times_matter() { scaled(full) } else { short }
}

/// Returns whether figures that depend on the speed of the machine are checked.
pub fn times_matter() -> bool {
    std::env::var_os(DIVISOR).is_some()
}

/// Prints a figure, and fails if it is not as promised.
pub fn report(check: &str, database: impl Display, figure: impl Display, holds: bool) {
    let verdict = if holds { "pass" } else { "FAIL" };
    let line = format!("{check} ({database}): {figure} ({verdict})");
    println!("{line}");
    if let Some(file) = std::env::var_os(FIGURES) {
        let mut file = std::fs::File::options().create(true).append(true).open(file).expect("a file for figures");
        let line = format!("{check} | {database} | {figure} | {verdict}\n");
        file.write_all(line.as_bytes()).expect("room for a line");
    }
    assert!(holds, "{line}");
}

/// Prints a figure that depends on the speed of the machine.
pub fn report_time(check: &str, database: impl Display, figure: impl Display, holds: bool) {
    if holds || times_matter() {
        report(check, database, figure, holds);
    } else {
        report(check, database, format!("{figure} (not checked: slower than promised)"), true);
    }
}

/// Returns the time below which `percent` of all are.
pub fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}
