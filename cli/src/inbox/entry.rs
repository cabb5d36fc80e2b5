//! An event as a line of JSON, and as rows of a table. Texts from the store are escaped for a terminal.

use std::time::SystemTime;

use medhook::inbox::{Entry, Status};
use serde::Serialize;

use crate::output::{Screen, harmless};
use crate::words::{age, next, utc, why};

/// The fields of `list --json`. Scripts read these names.
#[derive(Debug, Serialize)]
pub(super) struct EntryLine<'e> {
    id: i64,
    endpoint: &'e str,
    kind: &'e str,
    status: &'static str,
    attempts: u32,
    replays: u32,
    stored_at: String,
    due: Option<String>,
    reason: Option<&'e str>,
    bytes: u64,
    event_key: Option<String>,
}

impl<'e> EntryLine<'e> {
    pub(super) fn new(entry: &'e Entry) -> Self {
        EntryLine {
            id: entry.id,
            endpoint: &entry.endpoint,
            kind: &entry.kind,
            status: entry.status.as_str(),
            attempts: entry.attempts,
            replays: entry.replays,
            stored_at: utc(entry.stored_at),
            due: entry.due.map(utc),
            reason: entry.reason.as_deref(),
            bytes: entry.size,
            event_key: entry.event_key.map(|key| key.to_hex()),
        }
    }
}

/// Returns a line of JSON.
pub(super) fn json_line(value: &impl Serialize) -> String {
    // Cannot fail: the values are structs of texts and numbers.
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    line
}

/// The columns of a list: id, status, age, attempts, endpoint and kind.
#[derive(Debug, Default)]
pub(super) struct Columns {
    widths: [usize; 5],
    screen: Screen,
}

const HEAD: [&str; 6] = ["ID", "STATUS", "AGE", "TRIES", "ENDPOINT", "KIND"];

/// Longer names are cut on a terminal, so that the row fits into 80 columns.
const WIDEST_ENDPOINT: usize = 20;

impl Columns {
    /// Creates columns that are wide enough for a page.
    pub(super) fn new(page: &[Entry], now: SystemTime, screen: Screen) -> Self {
        let mut columns = Columns { widths: [0; 5], screen };
        for cells in page.iter().map(|entry| cells(entry, now, screen)).chain([HEAD.map(str::to_owned)]) {
            for (width, cell) in columns.widths.iter_mut().zip(&cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        columns
    }

    pub(super) fn head(&self) -> String {
        self.row(&HEAD.map(str::to_owned), None)
    }

    /// Returns the row of an event, and below it the reason and the next attempt if there are any.
    pub(super) fn rows(&self, entry: &Entry, now: SystemTime) -> String {
        let mut rows = self.row(&cells(entry, now, self.screen), Some(entry.status));
        let notes: Vec<_> = [why(entry), next(entry, now)].into_iter().flatten().collect();
        if !notes.is_empty() {
            let [id, ..] = self.widths;
            let indent = " ".repeat(id.saturating_add(2));
            rows.push_str(&format!("{}\n", self.cut(format!("{indent}{}", notes.join("; ")))));
        }
        rows
    }

    fn row(&self, cells: &[String; 6], status: Option<Status>) -> String {
        let [id, state, age, tries, endpoint, kind] = cells;
        let [id_width, state_width, age_width, tries_width, endpoint_width] = self.widths;
        let row = self.cut(format!(
            "{id:>id_width$}  {state:<state_width$}  {age:<age_width$}  {tries:>tries_width$}  \
             {endpoint:<endpoint_width$}  {kind}"
        ));
        let painted = match status {
            Some(Status::Dead) => row.replacen("dead", &self.screen.red("dead"), 1),
            Some(Status::Done) => row.replacen("done", &self.screen.green("done"), 1),
            _ => row,
        };
        format!("{}\n", painted.trim_end())
    }

    /// Cuts a row that is wider than the terminal.
    fn cut(&self, row: String) -> String {
        match self.screen.width {
            Some(width) => shortened(row, usize::from(width.max(40))),
            None => row,
        }
    }
}

fn cells(entry: &Entry, now: SystemTime, screen: Screen) -> [String; 6] {
    let endpoint = harmless(entry.endpoint.as_bytes());
    [
        entry.id.to_string(),
        entry.status.as_str().to_owned(),
        age(entry.stored_at, now),
        entry.attempts.to_string(),
        if screen.width.is_some() { shortened(endpoint, WIDEST_ENDPOINT) } else { endpoint },
        harmless(entry.kind.as_bytes()),
    ]
}

fn shortened(text: String, most: usize) -> String {
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most.saturating_sub(2)).chain("..".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_row_is_cut_to_the_width_of_the_terminal() {
        assert_eq!(shortened("abcdef".to_owned(), 6), "abcdef");
        assert_eq!(shortened("äbcdefg".to_owned(), 6), "äbcd..");
        let on = |width| Columns { screen: Screen { width, color: false }, ..Columns::default() };
        assert_eq!(on(Some(80)).cut("x".repeat(100)).len(), 80);
        assert_eq!(on(None).cut("x".repeat(100)).len(), 100);
    }
}
