//! The results as Markdown and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// The rows of each part.
#[derive(Default)]
pub struct Report(Vec<(&'static str, Vec<Row>)>);

pub struct Row {
    pub bench: String,
    pub size: String,
    pub ours: Figure,
    pub other: Option<(&'static str, Figure)>,
    pub target: Target,
}

#[derive(Clone, Copy)]
pub enum Figure {
    Nanoseconds(f64),
    Bytes(f64),
}

#[derive(Clone, Copy)]
pub enum Target {
    /// Measured without a target.
    None,
    /// The maximum ratio of our figure to the other one.
    Ratio(f64),
    /// The maximum of our figure, in its unit.
    Most(f64),
}

impl Report {
    pub fn begin(&mut self, part: &'static str) {
        self.0.push((part, Vec::new()));
    }

    pub fn add(&mut self, row: Row) {
        eprintln!("{}", row.cells().join("  "));
        if let Some((_, rows)) = self.0.last_mut() {
            rows.push(row);
        }
    }

    /// Returns a section with a table for each part.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for (part, rows) in &self.0 {
            let _ = write!(text, "## {part}\n\n{}\n", table(rows));
        }
        text
    }

    pub fn json(&self) -> String {
        let rows: Vec<_> = self.0.iter().flat_map(|(part, rows)| rows.iter().map(move |row| row.json(part))).collect();
        serde_json::to_string_pretty(&rows).expect("plain values") + "\n"
    }
}

fn table(rows: &[Row]) -> String {
    let head = ["bench", "size", "medhook", "other", "other's", "ratio", "target", "met"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..8).map(width).collect();
    let mut table = String::new();
    for (line, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(table, "| {cell:width$} ");
        }
        table.push_str("|\n");
        if line == 0 {
            widths.iter().for_each(|width| _ = write!(table, "|{}", "-".repeat(width + 2)));
            table.push_str("|\n");
        }
    }
    table
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.other.as_ref().map(|(_, other)| self.ours.value() / other.value())
    }

    fn met(&self) -> Option<bool> {
        match self.target {
            Target::None => None,
            Target::Ratio(most) => self.ratio().map(|ratio| ratio <= most),
            Target::Most(most) => Some(self.ours.value() <= most),
        }
    }

    fn target(&self) -> Option<String> {
        match (self.target, self.ours) {
            (Target::None, _) => None,
            (Target::Ratio(most), _) => Some(format!("≤ {most}")),
            (Target::Most(most), Figure::Nanoseconds(_)) => Some(format!("≤ {}", Figure::Nanoseconds(most).text())),
            (Target::Most(most), Figure::Bytes(_)) => Some(format!("≤ {}", Figure::Bytes(most).text())),
        }
    }

    fn cells(&self) -> [String; 8] {
        let dash = || "–".to_owned();
        [
            self.bench.clone(),
            self.size.clone(),
            self.ours.text(),
            self.other.as_ref().map_or_else(dash, |(name, _)| (*name).to_owned()),
            self.other.as_ref().map_or_else(dash, |(_, figure)| figure.text()),
            self.ratio().map_or_else(dash, rounded),
            self.target().unwrap_or_else(dash),
            self.met().map_or_else(dash, |met| if met { "yes" } else { "**no**" }.to_owned()),
        ]
    }

    /// Times have the keys `ours_ns` and `other_ns`. Other figures have their unit as the key's suffix.
    fn json(&self, part: &str) -> Value {
        let mut row = json!({
            "part": part,
            "bench": self.bench,
            "size": self.size,
            "other": self.other.as_ref().map(|(name, _)| name),
            "ratio": self.ratio().map(|ratio| (ratio * 1000.0).round() / 1000.0),
            "target": self.target(),
            "met": self.met(),
        });
        let unit = self.ours.unit();
        let figure = |figure: Figure| json!((figure.value() * 10.0).round() / 10.0);
        row[format!("ours_{unit}")] = figure(self.ours);
        row[format!("other_{unit}")] = self.other.map_or(Value::Null, |(_, other)| figure(other));
        row
    }
}

impl Figure {
    pub fn value(self) -> f64 {
        let (Figure::Nanoseconds(value) | Figure::Bytes(value)) = self;
        value
    }

    fn unit(self) -> &'static str {
        match self {
            Figure::Nanoseconds(_) => "ns",
            Figure::Bytes(_) => "bytes",
        }
    }

    fn text(self) -> String {
        match self {
            Figure::Nanoseconds(ns) if ns < 10_000.0 => format!("{ns:.0} ns"),
            Figure::Nanoseconds(ns) if ns < 1e6 => format!("{:.1} µs", ns / 1e3),
            Figure::Nanoseconds(ns) => format!("{:.2} ms", ns / 1e6),
            Figure::Bytes(bytes) => format!("{bytes:.0} B"),
        }
    }
}

fn rounded(ratio: f64) -> String {
    format!("{ratio:.3}")
}
