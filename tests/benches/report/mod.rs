//! What a benchmark says: a table for people, and with `--json FILE` the same rows for machines.

use std::fs::File;
use std::io::Write;

/// One comparison.
pub struct Row {
    pub bench: String,
    pub size: u64,
    pub ours_ns: f64,
    pub other: &'static str,
    pub other_ns: f64,
    /// What the ratio has to be at least.
    pub target: Option<f64>,
}

impl Row {
    /// How many times as fast as the other.
    fn ratio(&self) -> f64 {
        self.other_ns / self.ours_ns
    }

    fn met(&self) -> Option<bool> {
        self.target.map(|target| self.ratio() >= target)
    }
}

pub struct Report {
    json: Option<File>,
    rounds: usize,
    rows: Vec<Row>,
}

impl Report {
    /// `--json FILE`, `--rounds N`; what cargo adds is passed over.
    pub fn from_args() -> Self {
        let mut report = Report { json: None, rounds: 15, rows: Vec::new() };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--json" => {
                    let path = args.next().expect("--json FILE");
                    report.json = Some(File::create(&path).unwrap_or_else(|error| panic!("{path}: {error}")));
                }
                "--rounds" => report.rounds = args.next().and_then(|n| n.parse().ok()).expect("--rounds N"),
                "--bench" => {}
                other => panic!("unknown argument {other}; there are --json FILE and --rounds N"),
            }
        }
        report
    }

    pub fn rounds(&self) -> usize {
        self.rounds
    }

    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub fn end(mut self) {
        println!("{:<24} {:>4} {:>14}  {:<22} {:>8}  target", "bench", "size", "ns", "against", "ratio");
        for row in &self.rows {
            let against = format!("{} {:.0} ns", row.other, row.other_ns);
            let target = match (row.target, row.met()) {
                (Some(target), Some(met)) => format!(">= {target}: {}", if met { "met" } else { "MISSED" }),
                _ => String::new(),
            };
            let (bench, size) = (&row.bench, row.size);
            println!("{bench:<24} {size:>4} {:>14.0}  {against:<22} {:>7.2}x  {target}", row.ours_ns, row.ratio());
        }
        if let Some(file) = &mut self.json {
            for row in &self.rows {
                let line = serde_json::json!({
                    "bench": row.bench, "size": row.size, "ours_ns": row.ours_ns, "other": row.other,
                    "other_ns": row.other_ns, "ratio": row.ratio(), "target": row.target, "met": row.met(),
                });
                writeln!(file, "{line}").unwrap();
            }
        }
    }
}

pub fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
