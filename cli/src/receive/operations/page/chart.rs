//! A chart as SVG, and its axis of time.
//!
//! The plots stretch with the page, so they contain no text: the templates write the labels of the axes beside them.

use std::time::{Duration, SystemTime};

use super::super::observed::state::{History, Point};
use super::text::clock;
use crate::words::span;

/// A chart, ready for the template.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) unit: String,
    /// A description of the chart in words.
    pub(super) summary: String,
    /// The class, the name and the sum or last value of each series.
    pub(super) legend: Vec<(&'static str, &'static str, String)>,
    /// The labels of the vertical axis, from the top.
    pub(super) y: [String; 3],
    pub(super) x: [String; 3],
    pub(super) width: usize,
    pub(super) series: Vec<(&'static str, String)>,
    /// The columns with their values: left edge, width, text.
    pub(super) hits: Vec<(usize, usize, String)>,
}

/// The width of a column in the coordinates of a plot.
pub(super) const COLUMN: usize = 8;

/// A plot has at least this many columns, so that one point does not fill it.
const FEWEST: usize = 30;

/// The columns of a plot. More points are merged.
const MOST: usize = 120;

/// The points of a history on a time axis that ends now.
pub(super) struct Axis {
    pub(super) points: Vec<Point>,
    step: Duration,
    now: SystemTime,
    /// The empty columns before the first point.
    empty: usize,
}

impl Axis {
    pub(super) fn new(history: &History, now: SystemTime) -> Self {
        let merged = history.points.len().div_ceil(MOST).max(1);
        let points: Vec<_> = history.points.rchunks(merged).rev().map(merge).collect();
        let step = history.step.saturating_mul(u32::try_from(merged).unwrap_or(u32::MAX));
        let empty = FEWEST.saturating_sub(points.len());
        Axis { points, step, now, empty }
    }

    pub(super) fn width(&self) -> usize {
        self.points.len().saturating_add(self.empty).saturating_mul(COLUMN)
    }

    /// Returns the left edge of the column of a point.
    pub(super) fn left(&self, at: usize) -> usize {
        at.saturating_add(self.empty).saturating_mul(COLUMN)
    }

    pub(super) fn covered(&self, columns: usize) -> Duration {
        self.step.saturating_mul(u32::try_from(columns).unwrap_or(u32::MAX))
    }

    /// Returns the time at which a number of columns before the end began.
    fn time(&self, columns: usize) -> SystemTime {
        self.now.checked_sub(self.covered(columns)).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    fn format(&self) -> &'static str {
        match self.covered(self.points.len().saturating_add(self.empty)).as_secs() {
            0..3_600 if self.step.as_secs() < 60 => "%H:%M:%S",
            0..86_400 => "%H:%M",
            _ => "%b %-d %H:%M",
        }
    }

    /// Returns when a point began.
    pub(super) fn start(&self, at: usize) -> String {
        clock(self.time(self.points.len().saturating_sub(at)), self.format())
    }

    fn labels(&self) -> [String; 3] {
        let all = self.points.len().saturating_add(self.empty);
        [clock(self.time(all), self.format()), clock(self.time(all / 2), self.format()), "now (UTC)".to_owned()]
    }
}

fn merge(points: &[Point]) -> Point {
    let sum = |number: fn(&Point) -> u64| points.iter().map(number).fold(0, u64::saturating_add);
    let last = |number: fn(&Point) -> Option<u64>| points.iter().rev().find_map(number);
    Point {
        accepted: sum(|point| point.accepted),
        repeated: sum(|point| point.repeated),
        rejected: sum(|point| point.rejected),
        failed: sum(|point| point.failed),
        // Medians cannot be merged; the slowest is the one to look at.
        latency: points.iter().filter_map(|point| point.latency).max(),
        backlog: last(|point| point.backlog),
        dead: last(|point| point.dead),
    }
}

/// Formats a duration of an answer.
pub(super) fn millis(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "under 1 ms".to_owned(),
        1..1_000 => format!("{millis} ms"),
        1_000..10_000 if !millis.is_multiple_of(1_000) => format!("{:.1} s", duration.as_secs_f64()),
        _ => format!("{} s", duration.as_secs()),
    }
}

impl Axis {
    /// Describes the axis of a chart: its step, its labels, and a column with a text for each point.
    pub(super) fn unit(&self) -> String {
        match self.step.as_secs() {
            60 => "per minute".to_owned(),
            3_600 => "per hour".to_owned(),
            _ => format!("per {}", span(self.step)),
        }
    }

    pub(super) fn x(&self) -> [String; 3] {
        self.labels()
    }

    pub(super) fn hits(&self, text: impl Fn(&Point) -> String) -> Vec<(usize, usize, String)> {
        let hit = |(at, point)| (self.left(at), COLUMN, format!("{}: {}", self.start(at), text(point)));
        self.points.iter().enumerate().map(hit).collect()
    }

    /// Returns the start of the point with the greatest value, unless all are 0.
    pub(super) fn peak(&self, value: impl Fn(&Point) -> u64) -> Option<(u64, String)> {
        let (at, most) = self.points.iter().map(value).enumerate().max_by_key(|(_, value)| *value)?;
        (most > 0).then(|| (most, self.start(at)))
    }
}
