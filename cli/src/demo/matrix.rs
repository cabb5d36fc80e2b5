//! The cases that are played at every endpoint, and the printed matrix: a row for each case, a column for each
//! provider.

use std::collections::HashSet;

use medhook::Reason;
use medhook_conformance::{CaseVerdict, Finding, Player};

use super::site::DemoSite;
use crate::failure::Failure;
use crate::output::{Screen, harmless};

/// The rows, in the order in which they are played. The last one leaves receivers that have shut down.
const ROWS: &[Row] = &[
    Row { title: "genuine, one of each kind", plays: Plays::EachKind },
    Row { title: "signed with older secret", plays: Plays::First(OLDER_SECRET) },
    Row { title: "the same delivery again", plays: Plays::First(&["the same delivery was handled"]) },
    Row { title: "20 copies at once", plays: Plays::First(&["the same delivery is being handled"]) },
    Row { title: "handler fails, then retry", plays: Plays::Failing },
    Row { title: "undocumented kind", plays: Plays::First(&["a kind that is not documented"]) },
    Row { title: "a field of another type", plays: Plays::First(DRIFTED) },
    Row { title: "not signed", plays: Plays::First(&["no signature", "no shared secret"]) },
    Row { title: "signed by another secret", plays: Plays::First(OTHER_SECRET) },
    Row { title: "body changed in transit", plays: Plays::First(&["the first bit of the body flipped in transit"]) },
    Row { title: "too old", plays: Plays::RejectedAs(Reason::Stale) },
    Row { title: "too far in the future", plays: Plays::RejectedAs(Reason::InTheFuture) },
    Row { title: "one byte over 1 MiB", plays: Plays::First(&["a body one byte over 1 MiB"]) },
    Row { title: "GET instead of POST", plays: Plays::First(&["GET"]) },
    Row { title: "while shutting down", plays: Plays::First(&["the receiver is shutting down"]) },
];

const OLDER_SECRET: &[&str] = &["signed with the older of two secrets", "the older of two shared secrets"];
const OTHER_SECRET: &[&str] = &["signed with another customer's secret", "another customer's shared secret"];
const DRIFTED: &[&str] = &[
    "a field of another type than documented",
    "a count that is not a number",
    "a status that is an object",
    "patient.ehi_export_success.drifted",
    "document.uploaded.drifted",
];

struct Row {
    title: &'static str,
    plays: Plays,
}

enum Plays {
    /// The first genuine delivery of each documented kind. Kinds that their bodies do not name are not among them: they
    /// need an endpoint of their own.
    EachKind,
    /// The first case of the provider's that has one of these names.
    First(&'static [&'static str]),
    /// The first case of the provider's that is rejected for this reason.
    RejectedAs(Reason),
    /// A delivery whose handler fails, and that comes again.
    Failing,
}

/// The results of all rows at all endpoints.
pub(super) struct Matrix {
    columns: Vec<Column>,
}

struct Column {
    provider: String,
    /// The results of one endpoint, one for each row.
    cells: Vec<Cell>,
}

/// The findings of one row, or why it could not be played. Empty if the provider has no such case.
type Cell = Result<Vec<Finding>, Failure>;

/// Plays every row at every endpoint. At the end the receivers have shut down.
pub(super) async fn play(sites: &[DemoSite]) -> Result<Matrix, Failure> {
    let mut columns = Vec::new();
    for site in sites {
        let (mut player, mut cells) = (site.player()?, Vec::new());
        for row in ROWS {
            cells.push(row.plays.at(site, &mut player).await);
        }
        columns.push(Column { provider: site.provider().to_owned(), cells });
    }
    Ok(Matrix { columns })
}

impl Plays {
    async fn at(&self, site: &DemoSite, player: &mut Player<'_, DemoSite>) -> Cell {
        let names: Vec<String> = match self {
            Plays::Failing => return Ok(vec![player.play_failing().await?]),
            Plays::First(names) => {
                let names: Vec<_> = names.iter().map(|name| format!("{}: {name}", site.provider())).collect();
                player
                    .cases()
                    .iter()
                    .map(|prepared| &prepared.case.name)
                    .find(|name| names.contains(name))
                    .into_iter()
                    .cloned()
                    .collect()
            }
            Plays::RejectedAs(reason) => {
                let mut playable = player.cases().iter().filter(|prepared| prepared.skipped.is_none());
                let found = playable.find(|prepared| prepared.case.expected.reason == Some(*reason));
                found.map(|prepared| prepared.case.name.clone()).into_iter().collect()
            }
            Plays::EachKind => {
                let mut kinds = HashSet::new();
                let genuine = player.cases().iter().filter(|prepared| {
                    let (case, expected) = (&prepared.case, &prepared.case.expected);
                    let documented = case.like.is_none() && expected.decodes.as_deref() == Some("kind");
                    documented && prepared.skipped.is_none() && kinds.insert(&expected.kind)
                });
                genuine.map(|prepared| prepared.case.name.clone()).collect()
            }
        };
        let mut findings = Vec::new();
        for name in names {
            findings.extend(player.play(&name).await?);
        }
        Ok(findings)
    }
}

/// Whether a row came out as expected at one endpoint; `None` where it does not apply.
fn verdict(cell: &Cell) -> Option<bool> {
    let findings = cell.as_ref().map_or(&[][..], Vec::as_slice);
    let mut played = findings.iter().filter(|finding| finding.verdict != CaseVerdict::Skipped).peekable();
    if cell.is_ok() && played.peek().is_none() {
        return None;
    }
    Some(cell.is_ok() && played.all(|finding| finding.verdict == CaseVerdict::Ok))
}

impl Matrix {
    pub(super) fn is_ok(&self) -> bool {
        self.count(Some(false)) == 0
    }

    fn count(&self, wanted: Option<bool>) -> usize {
        self.columns.iter().flat_map(|column| &column.cells).filter(|cell| verdict(cell) == wanted).count()
    }

    /// Returns the matrix, of at most 80 columns, and a line that counts.
    pub(super) fn table(&self, screen: Screen) -> String {
        let widths = self.columns.iter().map(|column| column.provider.len().max(6));
        let gaps = if widths.clone().map(|width| width + 2).sum::<usize>() + TITLE > 80 { 1 } else { 2 };
        let mut text = " ".repeat(TITLE);
        self.columns.iter().for_each(|column| text.push_str(&format!("{:gaps$}{:<6}", "", column.provider)));
        text.push('\n');
        for (number, row) in ROWS.iter().enumerate() {
            let (mut line, mut padding) = (format!("{:<TITLE$}", row.title), gaps);
            for (column, width) in self.columns.iter().zip(widths.clone()) {
                let (word, painted) = match column.cells.get(number).and_then(verdict) {
                    Some(true) => ("ok", screen.green("ok")),
                    Some(false) => ("NOT OK", screen.red("NOT OK")),
                    None => ("-", "-".to_owned()),
                };
                line.push_str(&" ".repeat(padding));
                line.push_str(&painted);
                padding = width - word.len() + gaps;
            }
            text.push_str(&line);
            text.push('\n');
        }
        let (ok, not_ok, none) = (self.count(Some(true)), self.count(Some(false)), self.count(None));
        text.push_str(&match not_ok {
            0 => screen.green(&format!("All {ok} came out as expected")),
            _ => screen.red(&format!("{not_ok} of {} did not come out as expected", ok + not_ok)),
        });
        let details = if not_ok == 0 { "Details: medhook demo --verbose" } else { "Details are above." };
        text.push_str(&format!("; {none} do not apply. {details}\n"));
        text
    }

    /// Returns the details: those of every case, or only of what is not as expected.
    pub(super) fn in_full(&self, everything: bool, screen: Screen) -> String {
        let mut text = String::new();
        for Column { provider, cells } in &self.columns {
            for (row, cell) in ROWS.iter().zip(cells) {
                let (ok, not_ok) = (|| screen.green("ok"), || screen.red("NOT OK"));
                match cell {
                    Err(failure) => {
                        text.push_str(&format!("{} {provider}: {}: {failure}\n", not_ok(), row.title));
                    }
                    Ok(findings) => {
                        for finding in findings.iter().filter(|finding| everything || is_wrong(finding)) {
                            let verdict = match finding.verdict {
                                CaseVerdict::Ok => ok(),
                                CaseVerdict::Skipped => "-".to_owned(),
                                _ => not_ok(),
                            };
                            text.push_str(&format!(
                                "{verdict} {provider}: {}\n  sent      {}\n  expected  {}\n  happened  {}\n",
                                row.title,
                                finding.name,
                                finding.expected,
                                harmless(finding.happened.as_bytes())
                            ));
                        }
                    }
                }
            }
        }
        text
    }
}

fn is_wrong(finding: &Finding) -> bool {
    !matches!(finding.verdict, CaseVerdict::Ok | CaseVerdict::Skipped)
}

/// The width of the titles.
const TITLE: usize = 26;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use medhook::{Builder, Freshness, MemoryStore, NoDedupe};
    use medhook_conformance::State;

    use super::super::TIME_LIMIT;
    use super::super::server::Server;
    use super::*;

    const PROVIDERS: [&str; 5] = ["azodha", "cair", "fasten", "healthsync", "mediquo"];

    async fn played(configure: impl Fn(Builder) -> Builder) -> Matrix {
        let server = Server::start(TIME_LIMIT, configure).await.unwrap();
        let matrix = play(server.sites()).await.unwrap();
        server.stop().await.unwrap();
        matrix
    }

    /// Returns the cells that are not ok, by row and provider, of receivers with this configuration.
    async fn not_ok(configure: impl Fn(Builder) -> Builder) -> Vec<(&'static str, String)> {
        let matrix = played(configure).await;
        let mut cells = Vec::new();
        for (number, row) in ROWS.iter().enumerate() {
            let wrong = matrix.columns.iter().filter(|column| verdict(&column.cells[number]) == Some(false));
            cells.extend(wrong.map(|column| (row.title, column.provider.clone())));
        }
        cells
    }

    fn at(titles: &[&'static str], providers: &[&str]) -> Vec<(&'static str, String)> {
        let of = |title: &&'static str| providers.iter().map(|provider| (*title, (*provider).to_owned())).collect();
        titles.iter().flat_map(|title| -> Vec<_> { of(title) }).collect()
    }

    fn store() -> MemoryStore {
        MemoryStore::new(10_000)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_row_is_as_expected_and_is_left_out_only_where_it_does_not_apply() {
        let matrix = played(|builder| builder.store(store())).await;
        assert_eq!(matrix.in_full(false, Screen::default()), "");
        let mut left_out = Vec::new();
        for Column { provider, cells } in &matrix.columns {
            let rows = ROWS.iter().zip(cells).filter(|(_, cell)| verdict(cell).is_none());
            left_out.extend(rows.map(|(row, _)| (row.title, provider.as_str())));
        }
        left_out.sort_unstable();
        assert_eq!(
            left_out,
            [
                ("body changed in transit", "mediquo"),
                ("too far in the future", "azodha"),
                ("too far in the future", "cair"),
                ("too far in the future", "mediquo"),
                ("too old", "azodha"),
                ("too old", "cair"),
                ("too old", "mediquo"),
                ("undocumented kind", "cair"),
            ]
        );
        let kinds = |column: &Column| (column.provider.clone(), column.cells[0].as_ref().unwrap().len());
        let counts: Vec<_> = matrix.columns.iter().map(kinds).collect();
        assert!(counts.iter().all(|(_, kinds)| *kinds >= 4), "{counts:?}");
    }

    /// The rows are a selection; the engine agrees with the list about every case that can be played here.
    #[tokio::test(flavor = "multi_thread")]
    async fn every_case_of_the_list_comes_out_as_listed() {
        let server = Server::start(TIME_LIMIT, |builder| builder.store(store())).await.unwrap();
        for site in server.sites() {
            let mut player = site.player().unwrap();
            let (mut played, mut wrong) = (0, Vec::new());
            let cases = player.cases().iter().map(|prepared| &prepared.case);
            let (last, first): (Vec<_>, Vec<_>) = cases.cloned().partition(|case| case.state == State::Draining);
            for case in first.into_iter().chain(last) {
                let finding = player.play(&case.name).await.unwrap().unwrap();
                played += usize::from(finding.verdict != CaseVerdict::Skipped);
                wrong.extend(Some(finding).filter(is_wrong));
            }
            assert!(wrong.is_empty() && played > 75, "{played} {wrong:#?}");
        }
        server.stop().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_field_of_another_type_is_left_out_at_every_provider() {
        let matrix = played(|builder| builder.store(store())).await;
        let row = ROWS.iter().position(|row| row.title == "a field of another type").unwrap();
        for Column { provider, cells } in &matrix.columns {
            let happened = &cells[row].as_ref().unwrap()[0].happened;
            assert!(happened.contains(" as its type without "), "{provider}: {happened}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_receiver_that_remembers_nothing_is_caught() {
        let wrong = not_ok(|builder| builder.store(NoDedupe)).await;
        assert_eq!(wrong, at(&["the same delivery again", "20 copies at once"], &PROVIDERS));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_receiver_that_checks_no_ages_is_caught() {
        let wrong = not_ok(|builder| builder.store(store()).freshness(Freshness::Unchecked)).await;
        assert_eq!(wrong, at(&["too old", "too far in the future"], &["fasten", "healthsync"]));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_receiver_with_another_limit_is_caught() {
        let limit = 2 * 1024 * 1024;
        let wrong = not_ok(|builder| builder.store(store()).body_limit(limit).body_timeout(Duration::from_secs(2)));
        assert_eq!(wrong.await, at(&["one byte over 1 MiB"], &PROVIDERS));
    }

    #[test]
    fn there_is_room_for_a_sixth_provider() {
        let column = |provider: &&str| Column { provider: (*provider).to_owned(), cells: Vec::new() };
        let columns = PROVIDERS.iter().chain(&["examplelab"]).map(column).collect();
        for line in (Matrix { columns }).table(Screen::default()).lines() {
            assert!(line.len() <= 80, "{line}");
        }
    }

    #[test]
    fn a_failure_is_not_ok_and_is_printed_in_full() {
        let finding = |verdict| Finding {
            name: "acme: GET".to_owned(),
            expected: "405 method, not handled".to_owned(),
            happened: "200 handled".to_owned(),
            verdict,
            why: String::new(),
        };
        let cells = |cell: Cell| Matrix { columns: vec![Column { provider: "acme".to_owned(), cells: vec![cell] }] };
        let screen = Screen { width: Some(80), color: true };

        let wrong = cells(Ok(vec![finding(CaseVerdict::Ok), finding(CaseVerdict::Fault)]));
        assert!(!wrong.is_ok() && wrong.table(screen).contains("\x1b[1;31mNOT OK\x1b[0m"));
        assert!(wrong.table(Screen::default()).contains("1 of 1 did not come out as expected; 0 do not apply."));
        let text = wrong.in_full(false, Screen::default());
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.ends_with("  expected  405 method, not handled\n  happened  200 handled\n"), "{text}");
        assert_eq!(wrong.in_full(true, Screen::default()).lines().count(), 8);

        // An unclear result, and a wait that did not end.
        assert!(!cells(Ok(vec![finding(CaseVerdict::Unclear)])).is_ok());
        let waited = cells(Err(Failure::new("waited 20 s for an answer")));
        assert!(!waited.is_ok() && waited.in_full(false, Screen::default()).contains("waited 20 s for an answer"));
        assert!(cells(Ok(vec![finding(CaseVerdict::Skipped)])).is_ok() && cells(Ok(Vec::new())).is_ok());
    }
}
