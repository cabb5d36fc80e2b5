//! The counts of all rows, the file that they are stored in, and the comparison of both.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use medhook_count::ROWS;
use serde::Deserialize;

/// Counts per delivery.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Instructions outside of `sha2`.
    pub instructions: f64,
    /// Runs of SHA-256's compression function beyond those of the MAC.
    pub compressions: f64,
    pub allocations: f64,
    pub bytes: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub medhook: Counts,
    pub by_hand: Counts,
}

/// The compiler, the C library and the processor, on which counts depend besides the code.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    pub rustc: String,
    pub glibc: String,
    pub cpu: String,
}

impl Machine {
    pub fn this() -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Machine {
            rustc: first_line("rustc", "--version"),
            glibc: first_line("getconf", "GNU_LIBC_VERSION"),
            cpu: cpu.map_or(UNKNOWN, |(_, name)| name.trim()).to_owned(),
        }
    }
}

const UNKNOWN: &str = "unknown";

fn first_line(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or(UNKNOWN).to_owned()
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub machine: Machine,
    pub rows: BTreeMap<String, Row>,
}

/// A count may be above the stored one by this much.
const TOLERANCE: f64 = 0.01;

/// Smaller differences are noise between runs of the same code and are not shown.
const AGREEMENT: f64 = 0.001;

/// A column's name, its value, how many decimals are stored, and whether the gate compares it.
type Column = (&'static str, fn(&Counts) -> f64, usize, bool);

const COLUMNS: [Column; 4] = [
    ("instructions", |counts| counts.instructions, 1, true),
    ("compressions", |counts| counts.compressions, 2, true),
    ("allocations", |counts| counts.allocations, 2, true),
    ("bytes", |counts| counts.bytes, 1, false),
];

/// The result of a comparison with the stored table.
#[derive(Debug, Default, PartialEq)]
pub struct Comparison {
    /// A line for each count that differs from the stored one.
    pub differences: Vec<String>,
    /// The lines of the counts that fail the gate.
    pub failures: Vec<String>,
}

impl Comparison {
    /// Compares the counts of one side. Only medhook's own, `ours`, can fail the gate.
    fn compare(&mut self, name: &str, now: &Counts, before: &Counts, ours: bool) {
        for (column, value, decimals, gate) in COLUMNS {
            let (now, before) = (value(now), value(before));
            // The stored count is rounded.
            let rounding = 0.5 * 0.1_f64.powi(i32::try_from(decimals).unwrap_or(0)) + f64::EPSILON;
            let percent =
                if before > 0.0 { format!(", {:+.2} %", (now / before - 1.0) * 100.0) } else { String::new() };
            let line = format!("{name}: {now:.decimals$} {column}, stored {before:.decimals$}{percent}");
            if (now - before).abs() > rounding.max(before * AGREEMENT) {
                self.differences.push(line.clone());
            }
            if ours && gate && now - before > rounding.max(before * TOLERANCE) {
                self.failures.push(line);
            }
        }
    }

    fn missing(&mut self, line: String) {
        self.differences.push(line.clone());
        self.failures.push(line);
    }
}

impl Table {
    pub fn read(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// Formats the table as it is stored.
    pub fn stored(&self) -> String {
        let Machine { rustc, glibc, cpu } = &self.machine;
        let mut text = "# Counts per delivery, written by `scripts/count --store`.\n\n[machine]\n".to_owned();
        for (key, value) in [("rustc", rustc), ("glibc", glibc), ("cpu", cpu)] {
            let _ = writeln!(text, "{key} = {value:?}");
        }
        for (name, row) in self.in_order() {
            let _ = writeln!(text, "\n[rows.{name:?}]");
            for (side, counts) in [("medhook", row.medhook), ("by_hand", row.by_hand)] {
                let Counts { instructions, compressions, allocations, bytes } = counts;
                let _ = writeln!(
                    text,
                    "{side} = {{ instructions = {instructions:.1}, compressions = {compressions:.2}, \
                     allocations = {allocations:.2}, bytes = {bytes:.1} }}"
                );
            }
        }
        text
    }

    /// Formats the table as it is printed.
    pub fn printed(&self) -> String {
        let mut text = String::from(
            "| per delivery              | instructions | by hand | beyond | compressions | by hand | allocations | by hand |  bytes | by hand |\n\
             |---------------------------|-------------:|--------:|-------:|-------------:|--------:|------------:|--------:|-------:|--------:|\n",
        );
        for (name, Row { medhook, by_hand }) in self.in_order() {
            let _ = writeln!(
                text,
                "| {name:25} | {:12.0} | {:7.0} | {:+6.0} | {:12.0} | {:7.0} | {:11.2} | {:7.2} | {:6.0} | {:7.0} |",
                medhook.instructions,
                by_hand.instructions,
                medhook.instructions - by_hand.instructions,
                medhook.compressions,
                by_hand.compressions,
                medhook.allocations,
                by_hand.allocations,
                medhook.bytes,
                by_hand.bytes,
            );
        }
        text
    }

    /// Compares with a stored table.
    pub fn compare(&self, stored: &Table) -> Comparison {
        let mut found = Comparison::default();
        for (name, now) in self.in_order() {
            let Some(before) = stored.rows.get(name) else {
                found.missing(format!("{name}: not in the stored table"));
                continue;
            };
            found.compare(name, &now.medhook, &before.medhook, true);
            found.compare(&format!("{name}, by hand"), &now.by_hand, &before.by_hand, false);
        }
        for name in stored.rows.keys().filter(|name| !self.rows.contains_key(*name)) {
            found.missing(format!("{name}: stored, but no longer counted"));
        }
        found
    }

    fn in_order(&self) -> impl Iterator<Item = (&str, Row)> {
        ROWS.iter().filter_map(|name| Some((*name, *self.rows.get(*name)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(instructions: f64, compressions: f64, allocations: f64, bytes: f64) -> Table {
        let machine = Machine { rustc: "rustc 1.95.0".into(), glibc: "glibc 2.36".into(), cpu: "a \"CPU\"".into() };
        let by_hand = Counts { instructions: 900.0, compressions: 0.0, allocations: 41.0, bytes: 5000.0 };
        let medhook = Counts { instructions, compressions, allocations, bytes };
        Table { machine, rows: BTreeMap::from([("axum".to_owned(), Row { medhook, by_hand })]) }
    }

    fn failures(now: &Table) -> usize {
        now.compare(&table(1000.0, 0.0, 45.0, 7000.0)).failures.len()
    }

    #[test]
    fn a_table_is_read_as_it_was_stored() {
        let stored = table(1000.0, 2.0, 45.0, 7000.0);
        assert_eq!(Table::read(&stored.stored()).unwrap(), stored);
        assert_eq!(stored.compare(&stored), Comparison::default());
    }

    #[test]
    fn one_percent_more_passes_and_anything_above_fails() {
        assert_eq!(failures(&table(1010.0, 0.0, 45.0, 7000.0)), 0);
        assert_eq!(failures(&table(1010.1, 0.0, 45.0, 7000.0)), 1);
        assert_eq!(failures(&table(500.0, 0.0, 30.0, 7000.0)), 0, "less is no failure");
    }

    #[test]
    fn one_more_compression_or_allocation_fails() {
        assert_eq!(failures(&table(1000.0, 1.0, 45.0, 7000.0)), 1);
        assert_eq!(failures(&table(1000.0, 0.0, 46.0, 7000.0)), 1);
        assert_eq!(failures(&table(2000.0, 1.0, 46.0, 7000.0)), 3);
    }

    #[test]
    fn bytes_and_the_work_by_hand_are_shown_only() {
        let mut now = table(1000.0, 0.0, 45.0, 9000.0);
        now.rows.get_mut("axum").unwrap().by_hand.instructions = 2000.0;
        let found = now.compare(&table(1000.0, 0.0, 45.0, 7000.0));
        assert_eq!(found.failures, [] as [&str; 0]);
        let expected = [
            "axum: 9000.0 bytes, stored 7000.0, +28.57 %",
            "axum, by hand: 2000.0 instructions, stored 900.0, +122.22 %",
        ];
        assert_eq!(found.differences, expected);
    }

    #[test]
    fn a_row_that_is_not_in_both_tables_fails() {
        let one = table(1000.0, 0.0, 45.0, 7000.0);
        let none = Table { rows: BTreeMap::new(), ..one.clone() };
        assert_eq!(one.compare(&none).failures, ["axum: not in the stored table"]);
        assert_eq!(none.compare(&one).failures, ["axum: stored, but no longer counted"]);
    }
}
