//! Output: in a pipe a line for each case, on a terminal only those that are not ok, or JSON.

use std::io::{IsTerminal, Write};

use serde_json::json;

use medhook_conformance::{CaseVerdict, Finding};

use crate::output::{Screen, harmless};
use crate::sender::Sender;
use crate::verdict::Verdict;

/// The findings so far.
pub(super) struct CheckReport {
    json: bool,
    strict: bool,
    screen: Screen,
    /// The number of cases, where progress is shown.
    of: Option<usize>,
    counts: [usize; 5],
}

const VERDICTS: [CaseVerdict; 5] =
    [CaseVerdict::Ok, CaseVerdict::Fault, CaseVerdict::Remark, CaseVerdict::Unclear, CaseVerdict::Skipped];

impl CheckReport {
    pub(super) fn new(json: bool, strict: bool, screen: Screen, cases: usize) -> Self {
        let on_terminal = screen.width.is_some() && !json;
        let of = (on_terminal && std::io::stderr().is_terminal()).then_some(cases);
        CheckReport { json, strict, screen, of, counts: [0; 5] }
    }

    pub(super) fn begun(&self, sender: &Sender, mark: &str) -> String {
        if self.json {
            return String::new();
        }
        format!("to {}, as {}: every id that is sent begins with {mark}\n\n", sender.target, sender.endpoint.provider)
    }

    /// Returns the text for a finding, which may be empty.
    pub(super) fn found(&mut self, finding: Finding) -> String {
        for (count, verdict) in self.counts.iter_mut().zip(VERDICTS) {
            if verdict == finding.verdict {
                *count += 1;
            }
        }
        let Finding { name, expected, happened, verdict, why } = finding;
        let happened = harmless(happened.as_bytes());
        if self.json {
            let line = json!({
                "case": name,
                "result": in_json(verdict),
                "expected": expected,
                "happened": happened,
                "why": why,
            });
            return format!("{line}\n");
        }
        self.progress();
        let word = format!("{:<8}", verdict.as_str());
        match verdict {
            CaseVerdict::Ok if self.screen.width.is_some() => String::new(),
            CaseVerdict::Ok | CaseVerdict::Skipped => format!("{word} {name}: {happened}\n"),
            _ => {
                let word = if verdict == CaseVerdict::Fault { self.screen.red(&word) } else { word };
                format!("{word} {name}: {happened}\n         expected: {expected}. {why}\n")
            }
        }
    }

    pub(super) fn ended(&self) -> String {
        let [ok, faults, remarks, unclear, skipped] = self.counts;
        if self.json {
            let verdict = match self.verdict() {
                Verdict::Success => "as_expected",
                Verdict::Problem => "not_as_expected",
                Verdict::Inconclusive => "cannot_tell",
            };
            let line = json!({
                "verdict": verdict,
                "ok": ok,
                "not_ok": faults,
                "remarks": remarks,
                "unclear": unclear,
                "skipped": skipped,
            });
            return format!("{line}\n");
        }
        if self.of.is_some() {
            clear_line();
        }
        let counts = format!("{ok} ok, {faults} not ok, {remarks} remarks, {unclear} unclear, {skipped} skipped");
        match self.verdict() {
            Verdict::Success => {
                let text = "No forged delivery was accepted, and no genuine one rejected.";
                format!("\n{} {counts}\n", self.screen.green(text))
            }
            Verdict::Problem => format!("\n{} {counts}\n", self.screen.red("Not as expected.")),
            Verdict::Inconclusive => format!("\nSome results are unclear. {counts}\n"),
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        let [_, faults, remarks, unclear, _] = self.counts;
        if faults > 0 || (self.strict && remarks > 0) {
            Verdict::Problem
        } else if unclear > 0 {
            Verdict::Inconclusive
        } else {
            Verdict::Success
        }
    }

    fn progress(&self) {
        if let Some(of) = self.of {
            let done: usize = self.counts.iter().sum();
            // Progress that cannot be written does not matter. A line of the report overwrites it.
            let _ = write!(std::io::stderr(), "\r\x1b[K{done} of {of}\r");
        }
    }
}

fn clear_line() {
    let _ = write!(std::io::stderr(), "\r\x1b[K");
}

/// Returns the value in JSON.
fn in_json(verdict: CaseVerdict) -> &'static str {
    match verdict {
        CaseVerdict::Fault => "not_ok",
        other => other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_terminal_cases_that_are_ok_are_not_printed() {
        let finding = |verdict| Finding {
            name: "the-case".to_owned(),
            expected: "accepted with a 2xx".to_owned(),
            happened: "the reason".to_owned(),
            verdict,
            why: String::new(),
        };
        for (width, omitted) in [(Some(80), &[CaseVerdict::Ok][..]), (None, &[])] {
            let mut report = CheckReport::new(false, false, Screen { width, color: false }, 5);
            for verdict in VERDICTS {
                let text = report.found(finding(verdict));
                assert_eq!(text.contains("the-case: the reason\n"), !omitted.contains(&verdict), "{text:?}");
            }
        }
    }
}
