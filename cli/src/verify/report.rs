//! Writes the steps and the causes, as text and as JSON.

use serde_json::json;

use super::case::Case;
use super::causes::{Cause, Causes};
use super::steps::{StepResult, Steps};
use crate::failure::Failure;
use crate::verdict::Verdict;

/// The result of the command.
pub(super) struct Report {
    pub(super) steps: Steps,
    causes: Causes,
    is_shared_secret: bool,
    /// Remarks on the input.
    pub(super) notes: Vec<String>,
}

impl Report {
    /// Verifies a delivery, and finds the causes if it is not accepted.
    pub(super) fn of(case: &Case<'_>) -> Result<Self, Failure> {
        Ok(Report::explaining(case, Steps::run(case)?))
    }

    fn explaining(case: &Case<'_>, mut steps: Steps) -> Self {
        let causes = if steps.all_passed() {
            Causes { is_valid: Some(true), ..Causes::default() }
        } else {
            Causes::find(case, &steps)
        };
        steps.add_signature(causes.is_valid);
        Report::new(case, steps, causes)
    }

    pub(super) fn new(case: &Case<'_>, steps: Steps, causes: Causes) -> Self {
        Report { steps, causes, is_shared_secret: case.is_shared_secret(), notes: Vec::new() }
    }

    /// Adds secrets that no receiver starts with: as possible causes, or as notes if another secret verified the
    /// delivery.
    pub(super) fn add_unusable(&mut self, unusable: Vec<Cause>) {
        if self.is_verified() {
            self.notes.extend(unusable.into_iter().map(|cause| cause.text));
        } else {
            self.causes.list.extend(unusable);
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        match (self.is_verified(), self.steps.head.has_passed(), self.steps.verify.result) {
            (true, ..) => Verdict::Success,
            // The capture did not record the value that would have to be verified.
            (false, true, StepResult::Unchecked) => Verdict::Inconclusive,
            _ => Verdict::Problem,
        }
    }

    pub(super) fn is_verified(&self) -> bool {
        self.steps.all_passed()
    }

    pub(super) fn as_text(&self, body: Option<String>) -> String {
        let mut text = String::new();
        for step in self.steps.all() {
            let result = match step.result {
                StepResult::Failed => "FAILED",
                result => result.as_str(),
            };
            let reason = step.reason.map(|reason| format!("{reason}: ")).unwrap_or_default();
            text.push_str(&format!("{:<9} {result:<10} {reason}{}\n", step.name, step.detail));
        }
        text.push_str("claim     unchecked  only the receiver knows whether the event was handled before\n");
        if self.is_verified() {
            text.push_str("\nverified\n");
        } else {
            text.push_str("\nnot verified\n");
            self.push_causes(&mut text);
        }
        for note in &self.notes {
            text.push_str(&format!("note: {note}\n"));
        }
        if let Some(body) = body {
            text.push_str(&format!("\n{body}\n"));
        }
        text
    }

    fn push_causes(&self, text: &mut String) {
        let Causes { list, is_valid, tried } = &self.causes;
        match is_valid {
            Some(true) if self.is_shared_secret => text.push_str("the shared secret itself is correct\n"),
            Some(true) => text.push_str("the signature itself is valid\n"),
            _ => {}
        }
        for Cause { text: cause, fits, .. } in list {
            let how_sure = if *fits { "cause" } else { "possible cause" };
            text.push_str(&format!("{how_sure}: {cause}\n"));
        }
        let (tries, fits) = match self.is_shared_secret {
            true => ("comparisons", "fits"),
            false => ("combinations of secret, signature and body", "makes the signature valid"),
        };
        let is_explained = *is_valid != Some(false) || list.iter().any(|cause| cause.fits);
        text.push_str(&match (is_explained, list.is_empty(), self.is_shared_secret) {
            (false, true, true) => format!(
                "no known cause matches: the sender uses another secret, or changed it in a way that was not tried \
                 ({tried} comparisons); compare the secret with the one in the provider's portal\n"
            ),
            (false, true, false) => format!(
                "{tried} {tries} were tried\n\
                 no known cause matches: the secret, the body or what was signed differs in a way that was not tried; \
                 compare the secret with the one in the provider's portal, then record the body's bytes before any \
                 program parses them\n"
            ),
            (false, false, _) if *tried > 0 => {
                format!("none of the {tried} {tries} that were tried {fits}; start with the possible causes above\n")
            }
            (true, _, false) if *is_valid != Some(true) && *tried > 0 => format!("{tried} {tries} were tried\n"),
            _ => String::new(),
        });
    }

    pub(super) fn as_json(&self, body: Option<String>) -> String {
        let steps: Vec<_> = self
            .steps
            .all()
            .iter()
            .map(|step| {
                json!({
                    "step": step.name,
                    "result": step.result.as_str(),
                    "reason": step.reason.map(medhook::Reason::as_str),
                    "detail": step.detail,
                })
            })
            .collect();
        let causes: Vec<_> = self
            .causes
            .list
            .iter()
            .map(|Cause { code, text, fits }| json!({ "code": code, "text": text, "fits": fits }))
            .collect();
        let mut report = json!({
            "verified": self.is_verified(),
            "signature": match self.causes.is_valid {
                Some(true) => "valid",
                Some(false) => "invalid",
                None => "unchecked",
            },
            "steps": steps,
            "causes": causes,
            "tried": self.causes.tried,
        });
        if let Some(members) = report.as_object_mut() {
            if !self.notes.is_empty() {
                members.insert("notes".to_owned(), self.notes.as_slice().into());
            }
            members.extend(body.map(|body| ("body".to_owned(), body.into())));
        }
        format!("{report}\n")
    }
}
