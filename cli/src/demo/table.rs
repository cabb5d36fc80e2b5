//! The table: plain and wide in a pipe, fitted to the window on a terminal.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::seen::Row;
use crate::output::Screen;

pub(super) fn of(rows: &[Row], screen: Screen) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(["#", "provider", "sent", "expected", "happened", ""]);
    if let Some(width) = screen.width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        // Numbers, names and verdicts stay whole; what is wrapped are the sentences between them.
        let whole = ColumnConstraint::ContentWidth;
        let wrapped = ColumnConstraint::LowerBoundary(Width::Fixed(12));
        table.set_constraints([whole, whole, wrapped, wrapped, wrapped, whole]);
    }
    for (number, row) in (1..).zip(rows) {
        table.add_row(cells(number, row));
    }
    let mut text = table.to_string();
    text.push('\n');
    // Painted last: an escape code has no width, which the table does not know.
    text.replace(NOT_OK, &screen.red(NOT_OK))
}

const NOT_OK: &str = "NOT OK";

fn cells(number: usize, row: &Row) -> [String; 6] {
    let Row { provider, sent, expected, happened } = row;
    let (expected, happened, ok) = match happened {
        Ok(happened) if row.is_ok() => (expected.to_string(), happened.to_string(), "ok"),
        Ok(happened) => (format!("{expected:#}"), format!("{happened:#}"), NOT_OK),
        Err(failure) => (expected.to_string(), failure.to_string(), NOT_OK),
    };
    [number.to_string(), (*provider).to_owned(), sent.clone(), expected, happened, ok.to_owned()]
}

#[cfg(test)]
mod tests {
    use medhook::Reason;

    use super::super::seen::{DemoAnswer, Observation};
    use super::*;
    use crate::failure::Failure;

    fn rows() -> [Row; 3] {
        let only = |answer| Observation { answers: vec![answer], calls: Vec::new() };
        let expected = only(DemoAnswer::because(401, Reason::Stale));
        let row =
            |happened| Row { provider: "acme", sent: "301 s old".to_owned(), expected: expected.clone(), happened };
        let wrong = only(DemoAnswer::because(200, Reason::Duplicate));
        [row(Ok(expected.clone())), row(Ok(wrong)), row(Err(Failure::new("waited 20 s for an answer")))]
    }

    #[test]
    fn a_line_for_each_row_in_a_pipe() {
        let table = of(&rows(), Screen::default());
        let lines: Vec<_> = table.lines().map(str::trim_end).collect();
        assert_eq!(lines.len(), 5);
        assert!(
            lines[2].starts_with("| 1 | acme     | 301 s old | 401 stale; not called")
                && lines[2].ends_with("| ok     |")
        );
        assert!(lines[3].contains("200 duplicate; not called") && lines[3].ends_with("| NOT OK |"));
        assert!(lines[4].contains("waited 20 s for an answer") && lines[4].ends_with("| NOT OK |"));
        assert!(!table.contains('\x1b'));
    }

    #[test]
    fn fits_a_narrow_window() {
        let table = of(&rows(), Screen { width: Some(80), colour: true });
        assert!(table.contains("\x1b[1;31mNOT OK\x1b[0m"));
        for line in table.replace("\x1b[1;31m", "").replace("\x1b[0m", "").lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
