//! The charts of a history: stacked bars of rates, lines of latency, and the backlog; and their numbers.

use std::time::{Duration, SystemTime};

use super::super::observed::state::{History, Point};
use super::chart::{Axis, Chart, millis};
use super::plots::{backlog, latency, rate};
use crate::words::{grouped, span};

/// A row of the table of numbers.
#[derive(Debug)]
pub(super) struct NumbersRow {
    pub(super) at: String,
    pub(super) cells: [String; 8],
}

/// All charts.
#[derive(Debug)]
pub(super) struct Charts {
    pub(super) covered: String,
    pub(super) all: [Chart; 3],
    pub(super) rows: Vec<NumbersRow>,
}

/// Returns the charts of a history.
pub(super) fn charts(history: &History, now: SystemTime) -> Charts {
    let axis = Axis::new(history, now);
    let covered = span(axis.covered(axis.points.len().max(1)));
    let cell = |number: Option<u64>| number.map_or_else(|| "–".to_owned(), grouped);
    let duration = |latency: Option<Duration>| latency.map_or_else(|| "–".to_owned(), millis);
    let row = |(at, point): (usize, &Point)| NumbersRow {
        at: axis.start(at),
        cells: [
            grouped(point.accepted),
            grouped(point.repeated),
            grouped(point.rejected),
            grouped(point.failed),
            duration(point.latency.map(|(median, _)| median)),
            duration(point.latency.map(|(_, most)| most)),
            cell(point.backlog),
            cell(point.dead),
        ],
    };
    let rows = axis.points.iter().enumerate().rev().map(row).collect();
    Charts { all: [rate(&axis, &covered), latency(&axis), backlog(&axis)], covered, rows }
}
