//! What both sides saw of a step, and whether it is what had to be seen.

use std::fmt;

use medhook::{Outcome, Reason};

use crate::failure::Failure;
use crate::read::DecodeOutcome;

/// One line of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) provider: &'static str,
    /// What was sent.
    pub(super) sent: String,
    pub(super) expected: Observation,
    /// What happened, or why that cannot be told.
    pub(super) happened: Result<Observation, Failure>,
}

impl Row {
    pub(super) fn is_ok(&self) -> bool {
        self.happened.as_ref().is_ok_and(|happened| *happened == self.expected)
    }
}

/// The answers that the sender got, in order, and the calls of the handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Observation {
    pub(super) answers: Vec<DemoAnswer>,
    pub(super) calls: Vec<Call>,
}

/// In short; with `#`, every call in full.
impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; ", counted(&self.answers))?;
        match self.calls.len() {
            0 => return f.write_str("not called"),
            1 => f.write_str("called once")?,
            2 => f.write_str("called twice")?,
            times => write!(f, "called {times} times")?,
        }
        if f.alternate() {
            let calls: Vec<_> = self.calls.iter().map(|call| format!("{call:#}")).collect();
            return write!(f, " ({})", counted(&calls));
        }
        let remarks: Vec<_> = self.calls.iter().map(Call::to_string).filter(|remark| !remark.is_empty()).collect();
        if remarks.is_empty() { Ok(()) } else { write!(f, " ({})", counted(&remarks)) }
    }
}

/// What became of one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DemoAnswer {
    /// What the sender got; `None` if it did not wait for it.
    pub(super) status: Option<u16>,
    /// What the receiver says about it. It says so on our side only: a sender learns no more than the status.
    pub(super) became: Option<OutcomeAndReason>,
}

impl DemoAnswer {
    /// The handler's own.
    pub(super) const fn of(status: u16, outcome: Outcome) -> Self {
        DemoAnswer { status: Some(status), became: Some(OutcomeAndReason { outcome, reason: None }) }
    }

    /// The receiver's own.
    pub(super) const fn because(status: u16, reason: Reason) -> Self {
        let became = OutcomeAndReason { outcome: reason.outcome(), reason: Some(reason) };
        DemoAnswer { status: Some(status), became: Some(became) }
    }

    /// None: the sender was gone.
    pub(super) const fn hung_up() -> Self {
        DemoAnswer { status: None, became: None }
    }

    pub(super) fn is_in_flight(self) -> bool {
        self.became.is_some_and(|became| became.reason == Some(Reason::InFlight))
    }
}

impl fmt::Display for DemoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, self.became) {
            (Some(status), Some(became)) => write!(f, "{status} {became}"),
            (Some(status), None) => write!(f, "{status}"),
            (None, Some(became)) => write!(f, "no answer, {became}"),
            (None, None) => f.write_str("hung up"),
        }
    }
}

/// A delivery's outcome, and its reason where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OutcomeAndReason {
    pub(super) outcome: Outcome,
    pub(super) reason: Option<Reason>,
}

impl fmt::Display for OutcomeAndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Some(reason) => reason.fmt(f),
            None => self.outcome.fmt(f),
        }
    }
}

/// One call of the handler that ran to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// The event's kind, as sent.
    pub(super) kind: Option<String>,
    pub(super) read: DecodeOutcome,
    /// The label of the secret that vouched for it.
    pub(super) secret: String,
}

/// The label of the secret that signs unless a step says otherwise.
pub(super) const CURRENT: &str = "current";

/// What is worth a remark, maybe nothing; with `#`, all of it.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let read = match &self.read {
            DecodeOutcome::AsDocumented if !f.alternate() => String::new(),
            read => read.to_string(),
        };
        if f.alternate() {
            let kind = self.kind.as_deref().unwrap_or("no kind");
            write!(f, "{kind} {read}, secret {}", self.secret)
        } else if self.secret == CURRENT {
            f.write_str(&read)
        } else {
            let comma = if read.is_empty() { "" } else { ", " };
            write!(f, "{read}{comma}secret {}", self.secret)
        }
    }
}

/// A list, with neighbours that read the same counted together.
fn counted(items: &[impl fmt::Display]) -> String {
    let texts: Vec<_> = items.iter().map(ToString::to_string).collect();
    let groups: Vec<_> = texts
        .chunk_by(PartialEq::eq)
        .filter_map(|group| match group {
            [] => None,
            [one] => Some(one.clone()),
            [one, ..] => Some(format!("{} x {one}", group.len())),
        })
        .collect();
    groups.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call { kind: Some("a.kind".to_owned()), read: DecodeOutcome::AsDocumented, secret: CURRENT.to_owned() }
    }

    fn only(answer: DemoAnswer) -> Observation {
        Observation { answers: vec![answer], calls: Vec::new() }
    }

    fn handled() -> Observation {
        Observation { calls: vec![call()], ..only(DemoAnswer::of(200, Outcome::Handled)) }
    }

    fn row(happened: Result<Observation, Failure>) -> Row {
        Row { provider: "provider", sent: "a delivery".to_owned(), expected: handled(), happened }
    }

    #[test]
    fn what_was_expected_is_ok() {
        assert!(row(Ok(handled())).is_ok());
    }

    #[test]
    fn any_one_difference_is_not_ok() {
        let with_answer = |answer| Observation { answers: vec![answer], ..handled() };
        let with_call = |call| Observation { calls: vec![call], ..handled() };
        let silent = DemoAnswer { became: None, ..DemoAnswer::of(200, Outcome::Handled) };
        let differences = [
            ("a wrong status", with_answer(DemoAnswer::of(202, Outcome::Handled))),
            ("a wrong outcome", with_answer(DemoAnswer::of(200, Outcome::Failed))),
            ("a reason where there is none", with_answer(DemoAnswer::because(200, Reason::Duplicate))),
            ("no word from the receiver", with_answer(silent)),
            ("no answer", with_answer(DemoAnswer::hung_up())),
            (
                "an answer too many",
                Observation { answers: vec![DemoAnswer::of(200, Outcome::Handled); 2], ..handled() },
            ),
            ("not called", Observation { calls: vec![], ..handled() }),
            ("called twice", Observation { calls: vec![call(), call()], ..handled() }),
            ("another kind", with_call(Call { kind: None, ..call() })),
            ("read as something else", with_call(Call { read: DecodeOutcome::Unknown, ..call() })),
            ("another secret", with_call(Call { secret: "next".to_owned(), ..call() })),
        ];
        for (what, happened) in differences {
            assert!(!row(Ok(happened)).is_ok(), "{what}");
        }
        assert!(!row(Err(Failure::new("waited in vain"))).is_ok());
    }

    #[test]
    fn a_wrong_reason_is_not_ok() {
        let stale = only(DemoAnswer::because(401, Reason::Stale));
        let forged = only(DemoAnswer::because(401, Reason::SignatureMismatch));
        assert!(Row { expected: stale.clone(), ..row(Ok(stale.clone())) }.is_ok());
        assert!(!Row { expected: stale, ..row(Ok(forged)) }.is_ok());
    }

    #[test]
    fn it_reads_well() {
        let mut answers = vec![DemoAnswer::because(503, Reason::InFlight); 49];
        answers.push(DemoAnswer::of(200, Outcome::Handled));
        let seen = Observation { answers, calls: vec![call()] };
        assert_eq!(seen.to_string(), "49 x 503 in_flight, 200 handled; called once");
        assert_eq!(format!("{:#}", handled()), "200 handled; called once (a.kind as documented, secret current)");
        let next =
            Call { secret: "next".to_owned(), read: DecodeOutcome::Without(vec!["data.a".to_owned()]), ..call() };
        let seen = Observation { answers: vec![DemoAnswer::hung_up()], calls: vec![call(), next] };
        assert_eq!(seen.to_string(), "hung up; called twice (without data.a, secret next)");
        assert_eq!(only(DemoAnswer::because(401, Reason::Stale)).to_string(), "401 stale; not called");
    }
}
