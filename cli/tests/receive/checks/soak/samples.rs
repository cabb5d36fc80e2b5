//! Figures that must not grow, sampled regularly.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use super::super::shared::figures::report;

/// A file to which each sample is appended: seconds, series and value, separated by tabs.
const FILE: &str = "MEDHOOK_SOAK_SAMPLES";

/// With fewer samples in a quarter, a median says little.
const FEWEST: usize = 10;

/// The unit of a series, and by how much it may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Memory of a process that runs from the beginning to the end.
    Memory,
    /// Memory of a process that is replaced in each round, as a control.
    Control,
    /// A file, a table or the memory of a server.
    Size,
    Count,
    /// The write-ahead log of an SQLite file, which is written from its beginning again after 8 MiB, or later while a
    /// reader uses it.
    Log,
    /// Rows of a table. Some wait for the next purge.
    Rows,
    /// Includes pages of the program, which the system loads and drops as it likes.
    Resident,
    /// Grows with the run.
    Total,
}

impl Unit {
    /// Returns the highest median of the last quarter for this median of the second one.
    fn limit(self, before: u64) -> u64 {
        match self {
            Unit::Memory => before + (before / 20).max(1 << 20),
            Unit::Size => before + (before / 10).max(1 << 20),
            Unit::Log => before.max(16 << 20),
            Unit::Count => before + (before / 10).max(3),
            Unit::Rows => before + (before / 4).max(50),
            Unit::Control | Unit::Resident | Unit::Total => u64::MAX,
        }
    }

    fn show(self, value: u64) -> String {
        match self {
            Unit::Memory | Unit::Control | Unit::Size | Unit::Log | Unit::Resident => {
                format!("{:.1} MiB", value as f64 / f64::from(1 << 20))
            }
            Unit::Count | Unit::Rows | Unit::Total => value.to_string(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Samples {
    series: BTreeMap<String, (Unit, Vec<u64>)>,
}

impl Samples {
    pub(super) fn add(&mut self, side: &str, name: &str, unit: Unit, value: u64) {
        let series = self.series.entry(format!("{side}: {name}"));
        series.or_insert_with(|| (unit, Vec::new())).1.push(value);
    }

    /// Appends the last sample of each series to the file.
    pub(super) fn write(&self, at: Duration) {
        let Some(file) = std::env::var_os(FILE) else { return };
        let mut file = std::fs::File::options().create(true).append(true).open(file).expect("a file for samples");
        for (name, (_, values)) in &self.series {
            let value = values.last().copied().unwrap_or_default();
            file.write_all(format!("{}\t{name}\t{value}\n", at.as_secs()).as_bytes()).expect("room for a line");
        }
    }

    /// Reports each series, and fails if one has grown.
    pub(super) fn conclude(&self, duration: Duration) {
        let mut grown = Vec::new();
        for (name, (unit, values)) in &self.series {
            let quarters = quarters(values).map(|median| unit.show(median));
            println!("{name}: medians of the quarters {quarters:?}");
            if has_grown(*unit, values, self.most_of_control(name)) {
                grown.push(format!("{name}: {quarters:?}"));
            }
        }
        let (compared, all) =
            (self.series.values().filter(|(_, values)| are_enough(values)).count(), self.series.len());
        report(
            "soak, growth",
            "all stores",
            format!("{duration:?}: {compared} of {all} series compared, {} have grown: {grown:?}", grown.len()),
            grown.is_empty() && (compared == all || compared == 0),
        );
    }
}

impl Samples {
    /// Returns the most memory of the replaced receiver, for the series of the other one on the same store.
    fn most_of_control(&self, name: &str) -> u64 {
        let (side, _) = name.split_once(": ").unwrap_or((name, ""));
        let controls = self.series.iter().filter(|(other, (unit, _))| {
            *unit == Unit::Control && other.strip_prefix(side).is_some_and(|rest| rest.starts_with(": "))
        });
        controls.flat_map(|(_, (_, values))| values).max().copied().unwrap_or_default()
    }
}

fn are_enough(values: &[u64]) -> bool {
    values.len() >= 4 * FEWEST
}

/// Returns whether the median of the last quarter is above the limit for that of the second one. In the first quarter,
/// caches, pools and files get their size. A single large sample moves no median.
///
/// The allocator keeps the most memory that a process has needed, as in an outage with many senders that retry, and the
/// worst outage may be a late one. So a process has not grown if a fresh one has needed as much within minutes.
fn has_grown(unit: Unit, values: &[u64], control: u64) -> bool {
    let [_, second, _, last] = quarters(values);
    let most = if unit == Unit::Memory { second.max(control) } else { second };
    are_enough(values) && last > unit.limit(most)
}

fn quarters(values: &[u64]) -> [u64; 4] {
    std::array::from_fn(|quarter| {
        let mut part = values[values.len() * quarter / 4..values.len() * (quarter + 1) / 4].to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).copied().unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn steady_growth_is_found_and_noise_is_not() {
        let of = |value: &dyn Fn(u64) -> u64| (0..60).map(value).collect::<Vec<_>>();
        let leaking = of(&|minute| 20 * MIB + minute * MIB / 12);
        let noisy = of(&|minute| 20 * MIB + minute * 7 % 5 * MIB / 2);
        let warming = of(&|minute| 20 * MIB + minute.min(15) * MIB);
        let spiked = of(&|minute| if minute == 50 { 900 * MIB } else { 20 * MIB });
        assert!(has_grown(Unit::Memory, &leaking, 0) && has_grown(Unit::Size, &leaking, 0));
        for values in [&noisy, &warming, &spiked] {
            assert!(!has_grown(Unit::Memory, values, 0), "{values:?}");
        }
        assert!(
            has_grown(Unit::Count, &of(&|minute| 30 + minute / 5), 0),
            "a file that is not closed every five minutes"
        );
        assert!(!has_grown(Unit::Count, &of(&|minute| 30 + minute % 4), 0));
        assert!(!has_grown(Unit::Total, &of(&|minute| minute * 1_000), 0));
        // A fresh process needs as much within minutes, or not.
        let late = of(&|minute| if minute < 40 { 8 * MIB } else { 10 * MIB });
        assert!(!has_grown(Unit::Memory, &late, 10 * MIB) && has_grown(Unit::Memory, &late, 8 * MIB));
        assert!(has_grown(Unit::Size, &late, 10 * MIB) && !has_grown(Unit::Log, &late, 0));
        assert!(has_grown(Unit::Log, &of(&|minute| minute * MIB), 0));
        // The series is too short for a comparison.
        assert!(!has_grown(Unit::Memory, &leaking[..39], 0));
    }

    #[test]
    fn the_control_is_the_replaced_receiver_of_the_same_store() {
        let mut samples = Samples::default();
        for (side, value) in [("SQLite", 3), ("SQLite", 5), ("SQLite with an inbox", 9)] {
            samples.add(side, "replaced receiver", Unit::Control, value);
            samples.add(side, "receiver", Unit::Memory, 20);
        }
        assert_eq!(samples.most_of_control("SQLite: receiver"), 5);
        assert_eq!(samples.most_of_control("memory: receiver"), 0);
    }

    #[test]
    #[should_panic(expected = "soak, growth (all stores)")]
    fn a_series_that_grows_fails_the_run() {
        let mut samples = Samples::default();
        for minute in 0..60 {
            samples.add("SQLite", "resident", Unit::Memory, (20 + minute) * MIB);
        }
        samples.conclude(Duration::from_secs(3600));
    }
}
