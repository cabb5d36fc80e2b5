//! Runs the steps of a receiver, and records the result of each.

use medhook::testing::{Signing, StoppedClock};
use medhook::{Delivery, Freshness, Mode, NoDedupe, Reason, Receiver, RequestHead, SignatureScope};
use medhook_conformance::Endpoint;

use super::case::Case;
use super::problems::{self, AMBIGUOUS};
use crate::clock::in_words;
use crate::failure::Failure;
use crate::read::DecodeOutcome;

/// A step and its result.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) result: StepResult,
    pub(super) reason: Option<Reason>,
    pub(super) detail: String,
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepResult {
    Passed,
    Failed,
    /// The step was not run, because an earlier one failed.
    Unchecked,
}

impl StepResult {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            StepResult::Passed => "passed",
            StepResult::Failed => "failed",
            StepResult::Unchecked => "unchecked",
        }
    }
}

/// The steps, in order, without the claim.
pub(super) struct Steps {
    pub(super) head: Step,
    pub(super) verify: Step,
    pub(super) envelope: Step,
    pub(super) fresh: Step,
    /// The label of the secret that verified the delivery.
    pub(super) secret: Option<String>,
}

impl Steps {
    /// Verifies a delivery as a receiver would at the time of arrival. A delivery that is too old still goes through
    /// all other steps, so that old recordings can be examined.
    pub(super) fn run(case: &Case<'_>) -> Result<Self, Failure> {
        let Case { endpoint, signing, head, body, at, .. } = *case;
        let strict = built(endpoint, at, None)?;
        let ageless = built(endpoint, at, Some(Freshness::Unchecked))?;
        let method = head.method.as_deref().unwrap_or("POST");
        let headers = head.headers.as_slice();

        let began = ageless.begin(&RequestHead::new(method, "/", headers)).map(drop);
        let mut steps = Steps {
            head: match began {
                // The head holds the shared secret, but comparing it is reported as the step `verify`.
                Err(rejection) if rejection.reason() != Reason::SignatureMismatch => {
                    failed("head", rejection.reason(), in_head(case, rejection.reason()))
                }
                _ => passed("head", "every required header is present once and well formed"),
            },
            verify: unchecked("verify"),
            envelope: unchecked("envelope"),
            fresh: unchecked("fresh"),
            secret: None,
        };
        if !steps.head.has_passed() {
            return Ok(steps);
        }
        // If the scheme signs a time, the age is known even if the signature is invalid.
        let signed_at = case.signed_unix();

        let head_only = matches!(signing, Signing::SharedSecret { .. });
        let verified = match ageless.verify(headers, body.clone()) {
            Ok(verified) => verified,
            Err(rejection) => {
                let detail = match rejection.reason() {
                    Reason::TooLarge => "the body is longer than body_limit, by default 1 MiB".to_owned(),
                    Reason::AmbiguousBody => AMBIGUOUS.to_owned(),
                    _ if head_only => match case.required_headers().as_slice() {
                        [header] => format!("the header {header} holds none of the given secrets"),
                        headers => format!("not each of the headers {} holds one of its secrets", headers.join(", ")),
                    },
                    _ => "none of the given secrets makes this signature".to_owned(),
                };
                steps.verify = failed("verify", rejection.reason(), detail);
                return Ok(steps);
            }
        };
        let covers = match verified.signature_scope() {
            SignatureScope::Body if case.signs_event_time() => "the body and the time of the event",
            SignatureScope::BodyAndTime => "the body and the time of the attempt",
            SignatureScope::Body => "the body",
            _ => "the sender, not the body",
        };
        steps.verify = passed("verify", format!("secret {} verifies {covers}", verified.secret_label()));
        steps.secret = Some(verified.secret_label().to_owned());

        let delivery = match ageless.open(verified) {
            Ok(delivery) => delivery,
            Err(rejection) => {
                let detail = match rejection.reason() {
                    Reason::SecretModeMismatch => "the secret was given as a test secret, but this is not a test event",
                    _ => "the secret was given as a live secret, but this is a test event",
                };
                steps.envelope = failed("envelope", rejection.reason(), detail.to_owned());
                return Ok(steps);
            }
        };
        steps.envelope = passed("envelope", envelope(endpoint, &delivery));
        let time = signed_at.or_else(|| delivery.occurred_at().and_then(medhook::Time::unix));
        let opened = strict.verify(headers, body.clone()).and_then(|verified| strict.open(verified));
        let shown = |reason| match (reason, case.time(), case.unread_time()) {
            (Reason::TimeMissing, _, Some((name, form))) => form.describe(&name),
            (_, Some((name, form, _)), _) => {
                let other_unit = form.in_other_unit(case.unit().unwrap_or_default(), &name);
                other_unit.map_or_else(|| age(time, at), |(_, text)| text)
            }
            _ => age(time, at),
        };
        steps.fresh = match opened {
            Ok(_) if endpoint.freshness() == Freshness::Unchecked => {
                let which = if endpoint.custom.is_some() { "at this endpoint" } else { "by default for this provider" };
                passed("fresh", format!("not checked {which}"))
            }
            Ok(_) => passed("fresh", age(time, at)),
            Err(rejection) => failed("fresh", rejection.reason(), shown(rejection.reason())),
        };
        Ok(steps)
    }

    pub(super) fn all(&self) -> [&Step; 4] {
        [&self.head, &self.verify, &self.envelope, &self.fresh]
    }

    pub(super) fn all_passed(&self) -> bool {
        self.all().iter().all(|step| step.has_passed())
    }

    /// Adds the state of the signature, if the search found it after an earlier step or another check failed.
    pub(super) fn add_signature(&mut self, is_valid: Option<bool>) {
        let text = match is_valid {
            _ if self.verify.has_passed() || self.verify.reason == Some(Reason::SignatureMismatch) => return,
            Some(true) => "; the signature itself is valid",
            Some(false) => "; the signature is invalid as well",
            None => return,
        };
        self.verify.detail.push_str(text);
    }
}

impl Step {
    pub(super) fn has_passed(&self) -> bool {
        self.result == StepResult::Passed
    }
}

fn built(endpoint: &Endpoint, at: i64, freshness: Option<Freshness>) -> Result<Receiver, Failure> {
    let builder = endpoint.builder("verify").map_err(|error| Failure::new(error.to_string()))?;
    let builder = builder.clock(StoppedClock::at(at)).store(NoDedupe);
    let builder = match freshness {
        Some(freshness) => builder.freshness(freshness),
        None => builder,
    };
    builder.build().map_err(|error| Failure::new(error.to_string()))
}

fn in_head(case: &Case<'_>, reason: Reason) -> String {
    let texts: Vec<_> = problems::of_head(case, reason).into_iter().map(|problem| problem.text).collect();
    if texts.is_empty() { "the head is rejected".to_owned() } else { texts.join("; ") }
}

/// Describes the envelope, without values that only the sender chose.
fn envelope(endpoint: &Endpoint, delivery: &Delivery) -> String {
    let kind = match DecodeOutcome::of(delivery) {
        _ if endpoint.custom.is_some() => match delivery.kind() {
            None => "no kind".to_owned(),
            Some(kind) if delivery.kind_label() == kind => format!("kind {kind}"),
            Some(_) => "a kind".to_owned(),
        },
        DecodeOutcome::Undecodable if delivery.kind().is_none() => "no readable kind".to_owned(),
        DecodeOutcome::Undecodable => format!("kind {}, which does not decode", delivery.kind_label()),
        DecodeOutcome::Unknown => "an undocumented kind".to_owned(),
        DecodeOutcome::AsDocumented => format!("kind {}", delivery.kind_label()),
        DecodeOutcome::Without(paths) => {
            format!("kind {}, not as documented at {}", delivery.kind_label(), paths.join(", "))
        }
    };
    let id = if delivery.id().is_some() { "an id" } else { "no id" };
    let mode = match delivery.mode() {
        Some(Mode::Live) => ", live",
        Some(Mode::Test) => ", test",
        Some(_) => ", undocumented mode",
        None => "",
    };
    format!("{kind}, {id}{mode}")
}

fn age(time: Option<i64>, at: i64) -> String {
    match time {
        Some(time) if time <= at => format!("{} old", in_words(at.abs_diff(time))),
        Some(time) => format!("{} ahead", in_words(time.abs_diff(at))),
        None => "no readable timestamp".to_owned(),
    }
}

fn passed(name: &'static str, detail: impl Into<String>) -> Step {
    Step { name, result: StepResult::Passed, reason: None, detail: detail.into() }
}

fn failed(name: &'static str, reason: Reason, detail: impl Into<String>) -> Step {
    Step { name, result: StepResult::Failed, reason: Some(reason), detail: detail.into() }
}

fn unchecked(name: &'static str) -> Step {
    Step { name, result: StepResult::Unchecked, reason: None, detail: "an earlier step failed".to_owned() }
}
