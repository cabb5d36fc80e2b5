//! The three charts, and the activity of an endpoint.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use super::super::observed::state::{History, Point};
use super::chart::{Axis, COLUMN, Chart, millis};
use crate::words::{grouped, number, span};

/// The height of a plot.
const HEIGHT: u64 = 100;

/// Returns the top of an axis: 2, 4, 10, 20, 40, 100, .. so that half of it is a whole number.
fn top(most: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for step in [2, 4, 10] {
            let top = unit.saturating_mul(step);
            if top >= most || top == u64::MAX {
                return top;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

/// Returns the height of a value in tenths, of which a value above 0 has at least 6.
fn height(value: u64, top: u64, height: u64) -> u64 {
    let tenths = u128::from(value).saturating_mul(u128::from(height) * 10) / u128::from(top.max(1));
    u64::try_from(tenths).unwrap_or(u64::MAX).clamp(if value > 0 { 6 } else { 0 }, height * 10)
}

fn tenths(value: u64) -> String {
    format!("{}.{}", value / 10, value % 10)
}

/// Returns bars that stand on those of earlier series, whose heights `below` has.
fn bars(axis: &Axis, top: u64, plot: u64, below: &mut [u64], value: impl Fn(&Point) -> u64) -> String {
    let mut path = String::new();
    for ((at, point), below) in axis.points.iter().enumerate().zip(below) {
        let high = height(value(point), top, plot).min((plot * 10).saturating_sub(*below));
        if high > 0 {
            *below = below.saturating_add(high);
            let from = (plot * 10).saturating_sub(*below);
            let (x, wide) = (axis.left(at).saturating_add(1), COLUMN - 2);
            // Writing to a string never fails.
            let _ = write!(path, "M{x} {}h{wide}v{high}h-{wide}z", tenths(from), high = tenths(high));
        }
    }
    path
}

/// Returns a line with gaps where there is no value. One value between gaps is a short line.
fn line(axis: &Axis, top: u64, value: impl Fn(&Point) -> Option<u64>) -> String {
    let (mut path, mut is_drawing) = (String::new(), false);
    for (at, point) in axis.points.iter().enumerate() {
        let Some(value) = value(point) else {
            is_drawing = false;
            continue;
        };
        let (x, y) = (axis.left(at), tenths((HEIGHT * 10).saturating_sub(height(value, top, HEIGHT))));
        let begin = if is_drawing { 'L' } else { 'M' };
        let _ = write!(path, "{begin}{x} {y}h{COLUMN}");
        is_drawing = true;
    }
    path
}

/// Returns the area below a line.
fn area(axis: &Axis, top: u64, value: impl Fn(&Point) -> Option<u64>) -> String {
    let mut path = String::new();
    for (at, point) in axis.points.iter().enumerate() {
        let high = value(point).map_or(0, |value| height(value, top, HEIGHT));
        if high > 0 {
            let from = tenths((HEIGHT * 10).saturating_sub(high));
            let _ = write!(path, "M{} {from}h{COLUMN}V{HEIGHT}h-{COLUMN}z", axis.left(at));
        }
    }
    path
}

fn all(point: &Point) -> u64 {
    [point.repeated, point.rejected, point.failed].into_iter().fold(point.accepted, u64::saturating_add)
}

type Series = (&'static str, fn(&Point) -> u64);

const RATES: [Series; 4] = [
    ("accepted", |point| point.accepted),
    ("repeated", |point| point.repeated),
    ("rejected", |point| point.rejected),
    ("failed", |point| point.failed),
];

fn counts(y: u64) -> [String; 3] {
    [grouped(y), grouped(y / 2), "0".to_owned()]
}

/// Returns the chart of deliveries by result.
pub(super) fn rate(axis: &Axis, covered: &str) -> Chart {
    let top = top(axis.points.iter().map(all).max().unwrap_or_default());
    let mut below = vec![0; axis.points.len()];
    let sum = |value: fn(&Point) -> u64| axis.points.iter().map(value).fold(0, u64::saturating_add);
    let parts: Vec<_> = RATES.iter().map(|(name, value)| format!("{} {name}", grouped(sum(*value)))).collect();
    let peak = match axis.peak(all) {
        Some((most, at)) => format!(" Most at {at}: {}.", grouped(most)),
        None => String::new(),
    };
    let text = |point: &Point| {
        let parts = RATES.iter().map(|(name, value)| format!("{} {name}", grouped(value(point))));
        parts.collect::<Vec<_>>().join(", ")
    };
    Chart {
        id: "rate",
        name: "Deliveries and failed attempts",
        unit: axis.unit(),
        summary: format!("In {covered}: {}.{peak}", parts.join(", ")),
        legend: RATES.map(|(name, value)| (name, name, grouped(sum(value)))).into(),
        y: counts(top),
        x: axis.x(),
        width: axis.width(),
        series: RATES.map(|(name, value)| (name, bars(axis, top, HEIGHT, &mut below, value))).into(),
        hits: axis.hits(text),
    }
}

/// Returns the chart of the time from a delivery to its answer.
pub(super) fn latency(axis: &Axis) -> Chart {
    let whole = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let median = |point: &Point| point.latency.map(|(median, _)| whole(median));
    let most = |point: &Point| point.latency.map(|(_, most)| whole(most));
    let top = top(axis.points.iter().filter_map(most).max().unwrap_or_default());
    let latest = axis.points.iter().rev().find_map(|point| point.latency);
    let shown = |duration: Option<Duration>| duration.map_or_else(|| "–".to_owned(), millis);
    let slowest = axis.peak(|point| most(point).unwrap_or_default());
    Chart {
        id: "latency",
        name: "Time to the answer",
        unit: "upper bounds".to_owned(),
        summary: match (latest, slowest) {
            (Some((median, most)), slowest) => {
                let slowest = slowest
                    .map(|(most, at)| format!(" Slowest at {at}: {}.", millis(Duration::from_millis(most))))
                    .unwrap_or_default();
                format!("Latest: half within {}, 95 % within {}.{slowest}", millis(median), millis(most))
            }
            (None, _) => "No delivery was answered.".to_owned(),
        },
        legend: vec![
            ("median", "half within", shown(latest.map(|(median, _)| median))),
            ("most", "95 % within", shown(latest.map(|(_, most)| most))),
        ],
        y: [millis(Duration::from_millis(top)), millis(Duration::from_millis(top / 2)), "0".to_owned()],
        x: axis.x(),
        width: axis.width(),
        series: vec![("median", line(axis, top, median)), ("most", line(axis, top, most))],
        hits: axis.hits(|point| match point.latency {
            Some((median, most)) => format!("half within {}, 95 % within {}", millis(median), millis(most)),
            None => "no delivery".to_owned(),
        }),
    }
}

/// Returns the chart of the events that wait, are handled, or are dead.
pub(super) fn backlog(axis: &Axis) -> Chart {
    let values = axis.points.iter().flat_map(|point| [point.backlog, point.dead]).flatten();
    let top = top(values.max().unwrap_or_default());
    let last = |value: fn(&Point) -> Option<u64>| axis.points.iter().rev().find_map(value);
    let (waiting, dead) = (last(|point| point.backlog), last(|point| point.dead));
    let shown = |number: Option<u64>| number.map_or_else(|| "–".to_owned(), grouped);
    let peak = axis.peak(|point| point.backlog.unwrap_or_default());
    let peak = peak.map(|(most, at)| format!(" Most at {at}: {}.", grouped(most))).unwrap_or_default();
    Chart {
        id: "backlog",
        name: "Backlog",
        unit: "events".to_owned(),
        summary: match waiting {
            Some(waiting) => {
                let waiting = number(waiting, "event waits or is handled", "events wait or are handled");
                format!("Now {waiting}, and {} dead.{peak}", shown(dead))
            }
            None => "The inbox was not counted, or no endpoint has one.".to_owned(),
        },
        legend: vec![("waiting", "waiting or processing", shown(waiting)), ("dead", "dead", shown(dead))],
        y: counts(top),
        x: axis.x(),
        width: axis.width(),
        series: vec![
            ("waiting fill", area(axis, top, |point| point.backlog)),
            ("waiting", line(axis, top, |point| point.backlog)),
            ("dead", line(axis, top, |point| point.dead)),
        ],
        hits: axis.hits(|point| match point.backlog {
            Some(waiting) => format!("{} waiting or processing, {} dead", grouped(waiting), shown(point.dead)),
            None => "not counted".to_owned(),
        }),
    }
}

/// The activity of an endpoint.
#[derive(Debug)]
pub(super) struct Spark {
    pub(super) width: usize,
    pub(super) good: String,
    pub(super) bad: String,
}

/// Returns the activity of an endpoint as bars and in words. No bars without deliveries.
pub(super) fn spark(history: &History, now: SystemTime) -> (Option<Spark>, String) {
    let axis = Axis::new(history, now);
    let sum = axis.points.iter().map(all).fold(0, u64::saturating_add);
    let points = u32::try_from(history.points.len()).unwrap_or(u32::MAX).max(1);
    let covered = span(history.step.saturating_mul(points));
    if sum == 0 {
        return (None, format!("no delivery in {covered}"));
    }
    let top = axis.points.iter().map(all).max().unwrap_or_default().max(4);
    let mut below = vec![0; axis.points.len()];
    let good = bars(&axis, top, 24, &mut below, |point| point.accepted.saturating_add(point.repeated));
    let bad = bars(&axis, top, 24, &mut below, |point| point.rejected.saturating_add(point.failed));
    // Attempts that failed are not deliveries, so there is no sum of all.
    let parts = RATES.iter().map(|(name, value)| (name, axis.points.iter().map(value).fold(0, u64::saturating_add)));
    let parts: Vec<_> =
        parts.filter(|(_, sum)| *sum > 0).map(|(name, sum)| format!("{} {name}", grouped(sum))).collect();
    let text = format!("{} in {covered}", parts.join(", "));
    (Some(Spark { width: axis.width(), good, bad }), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_an_axis_has_a_whole_half() {
        for (most, expected) in [(0, 2), (2, 2), (3, 4), (5, 10), (11, 20), (1_001, 2_000), (u64::MAX, u64::MAX)] {
            assert_eq!(top(most), expected, "{most}");
        }
    }

    #[test]
    fn heights_stay_in_the_plot_and_a_small_value_is_visible() {
        assert_eq!([height(0, 10, 100), height(1, 1_000_000, 100), height(5, 10, 100)], [0, 6, 500]);
        assert_eq!(height(u64::MAX, 2, 100), 1_000);
        assert_eq!(height(1, 0, 100), 1_000);
    }
}
