//! The expected result of a case as it can be seen from outside, and the verdict of the actual one.

use crate::answer::{Lost, Sent};
use crate::case::Case;
use crate::change::{Change, State};
use medhook::{Outcome, Reason};

/// The result of playing one case.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The name of the case.
    pub name: String,
    /// The expected result, in words.
    pub expected: String,
    /// The actual result, or why the case was not played.
    pub happened: String,
    /// Whether the two agree.
    pub verdict: CaseVerdict,
    /// The reason for the case.
    pub why: String,
}

/// Whether a result is the expected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CaseVerdict {
    /// It is the expected one.
    Ok,
    /// A forged delivery was accepted, or a genuine one was rejected.
    Fault,
    /// The endpoint differs from medhook in something that only a sender who knows the secret can use.
    Remark,
    /// The answers do not show it.
    Unclear,
    /// The case was not played.
    Skipped,
}

impl CaseVerdict {
    /// Returns the word for it in a report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CaseVerdict::Ok => "ok",
            CaseVerdict::Fault => "NOT OK",
            CaseVerdict::Remark => "remark",
            CaseVerdict::Unclear => "unclear",
            CaseVerdict::Skipped => "skipped",
        }
    }
}

/// The expected result of a single delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// 4xx, and nothing is handled.
    Rejected,
    /// 2xx.
    Accepted,
    /// 2xx, and nothing is handled.
    Ignored,
    /// Any status but 2xx, so that the provider sends it again, and nothing is handled.
    Retried,
}

impl Wanted {
    pub(crate) fn of(case: &Case) -> Self {
        match case.expected.outcome {
            Outcome::Rejected if case.expected.reason == Some(Reason::SecretModeMismatch) => Wanted::Retried,
            Outcome::Rejected => Wanted::Rejected,
            Outcome::Ignored => Wanted::Ignored,
            _ => Wanted::Accepted,
        }
    }

    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Wanted::Rejected => "rejected with a 4xx",
            Wanted::Accepted => "accepted with a 2xx",
            Wanted::Ignored => "answered 2xx and not handled",
            Wanted::Retried => "not answered 2xx and not handled",
        }
    }
}

/// The visible result of a delivery.
pub(crate) struct CaseResult<'s> {
    pub(crate) answer: &'s Sent,
    /// The increase of the number of handled events, where it can be seen.
    pub(crate) handled: Option<u64>,
    /// The expected increase, where it is known.
    pub(crate) has_to: Option<u64>,
    /// Whether the genuine delivery that this one differs from was rejected.
    pub(crate) like_rejected: bool,
}

/// Compares a single delivery with what is wanted. `slight` is the result of [`is_slight`].
pub(crate) fn verdict_on(wanted: Wanted, seen: &CaseResult<'_>, slight: bool) -> (CaseVerdict, String) {
    let wrong = if slight { CaseVerdict::Remark } else { CaseVerdict::Fault };
    let answer = match seen.answer {
        Ok(answer) => answer,
        Err(lost @ Lost::NoConnection(_)) => return (CaseVerdict::Unclear, lost.to_string()),
        Err(lost) if matches!(wanted, Wanted::Rejected | Wanted::Retried) => {
            return (CaseVerdict::Unclear, lost.to_string());
        }
        Err(lost) => return (wrong, lost.to_string()),
    };
    let handled = seen.handled.unwrap_or(0);
    let happened = match seen.handled {
        Some(handled) => format!("{answer}, {}", times(handled)),
        None => answer.to_string(),
    };
    let accepted = answer.is_2xx();
    match wanted {
        Wanted::Rejected if accepted => (wrong, happened),
        // Rejected, but handled.
        Wanted::Rejected if handled > 0 => (CaseVerdict::Fault, happened),
        Wanted::Rejected if !(400..500).contains(&answer.status) => {
            (CaseVerdict::Unclear, format!("{happened}: may be a rejection or a failure"))
        }
        Wanted::Ignored | Wanted::Retried if handled > 0 => (wrong, happened),
        Wanted::Retried if accepted => (wrong, happened),
        Wanted::Rejected | Wanted::Retried if seen.like_rejected => (
            CaseVerdict::Unclear,
            format!("{happened}: but the genuine delivery that it differs from was rejected, too"),
        ),
        Wanted::Accepted | Wanted::Ignored if !accepted => (wrong, happened),
        Wanted::Accepted if seen.handled.zip(seen.has_to).is_some_and(|(handled, has_to)| handled != has_to) => {
            (wrong, happened)
        }
        _ => (CaseVerdict::Ok, happened),
    }
}

pub(crate) fn times(handled: u64) -> String {
    match handled {
        0 => "not handled".to_owned(),
        1 => "handled once".to_owned(),
        2 => "handled twice".to_owned(),
        more => format!("handled {more} times"),
    }
}

/// Returns whether only a sender that knows the secret could use a difference: how strictly a receiver parses the text
/// of such a sender, and how it treats deliveries that no provider sends.
pub(crate) fn is_slight(case: &Case, changes: &[Change]) -> bool {
    let last = changes.first();
    match (Wanted::of(case), case.expected.reason) {
        (Wanted::Ignored | Wanted::Retried, _) => true,
        (Wanted::Rejected, Some(reason)) => match reason {
            Reason::RepeatedHeader | Reason::ContentEncoding | Reason::Method | Reason::TimeMissing => true,
            // Only the sender can sign such a body.
            Reason::AmbiguousBody => true,
            Reason::MalformedHeader => match last {
                // It still contains the genuine signature.
                Some(Change::Header(_, template)) => template.contains('{'),
                Some(
                    Change::Timestamp(_)
                    | Change::MessageId(_)
                    | Change::Among(_)
                    | Change::Stretch(_)
                    | Change::Edit(..)
                    | Change::Trim(..)
                    | Change::And(..)
                    | Change::Lengthen(..),
                ) => true,
                _ => false,
            },
            _ => false,
        },
        _ => {
            case.expected.decodes.as_deref() == Some("undecodable")
                || changes.iter().any(|change| {
                    matches!(
                        change,
                        Change::Text(_)
                            | Change::Bytes(_)
                            | Change::Wrap(..)
                            | Change::Nest(..)
                            | Change::Long(..)
                            | Change::UpperCase(_)
                            | Change::Edit(..)
                            | Change::Trim(..)
                            | Change::Stretch(_)
                            | Change::Among(_)
                            | Change::MessageId(_)
                    )
                })
        }
    }
}

/// Returns whether the body is the same as in the case that it differs from, so that the same result is expected.
pub(crate) fn only_headers_differ(changes: &[Change]) -> bool {
    matches!(changes.first(), Some(Change::Header(..) | Change::And(..) | Change::Chunked(_)))
}

/// Returns why a case matters.
pub(crate) fn why(case: &Case) -> String {
    if let Some(why) = &case.why {
        return why.clone();
    }
    let why = match (case.state, Wanted::of(case), case.expected.reason) {
        (State::Handled, ..) => {
            "Providers retry an event until they receive a 2xx, also when its first answer was lost."
        }
        (State::InFlight, ..) => "An impatient sender sends copies at the same time; each of them would be handled.",
        (_, Wanted::Accepted, _) if case.expected.decodes.as_deref() == Some("unknown") => {
            "Providers add kinds without notice, and disable an endpoint that rejects them."
        }
        (_, Wanted::Accepted, _) => "It is genuine: an event without a 2xx is lost when the provider stops retrying.",
        (_, Wanted::Ignored, _) => "It is genuine, and of the other mode: a 4xx would get the endpoint disabled.",
        (_, Wanted::Retried, _) => {
            "It is genuine, and only the endpoint's own secrets can be swapped: a 2xx would lose the event."
        }
        (_, _, Some(Reason::SignatureMismatch)) => {
            "An attacker who knows the URL could send made-up health data, or alter real ones."
        }
        (_, _, Some(Reason::MissingHeader)) => "An attacker who knows the URL could send made-up health data.",
        (_, _, Some(Reason::Stale | Reason::InTheFuture)) => {
            "An attacker who captured a delivery could replay it at any time."
        }
        (_, _, Some(Reason::MalformedHeader | Reason::RepeatedHeader)) => {
            "A proxy may read a malformed header differently from the receiver."
        }
        (_, _, Some(Reason::ContentEncoding)) => {
            "Signatures cover the bytes on the wire, and decompressing an unverified body invites a zip bomb."
        }
        (_, _, Some(Reason::TimeMissing)) => "An event without its time never becomes stale.",
        _ => "A receiver that accepts less has a smaller attack surface.",
    };
    why.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Answer;

    fn verdict(wanted: Wanted, status: u16, handled: Option<u64>) -> CaseVerdict {
        let seen = CaseResult { answer: &Ok(Answer::of(status)), handled, has_to: None, like_rejected: false };
        verdict_on(wanted, &seen, false).0
    }

    #[test]
    fn forged_deliveries_have_to_be_rejected_and_a_5xx_is_no_rejection() {
        assert_eq!(verdict(Wanted::Rejected, 401, None), CaseVerdict::Ok);
        assert_eq!(verdict(Wanted::Rejected, 413, Some(0)), CaseVerdict::Ok);
        assert_eq!(verdict(Wanted::Rejected, 200, None), CaseVerdict::Fault);
        assert_eq!(verdict(Wanted::Rejected, 401, Some(1)), CaseVerdict::Fault);
        for status in [500, 503, 302] {
            assert_eq!(verdict(Wanted::Rejected, status, None), CaseVerdict::Unclear, "{status}");
            assert_eq!(verdict(Wanted::Rejected, status, Some(1)), CaseVerdict::Fault, "{status}");
        }
    }

    #[test]
    fn genuine_deliveries_have_to_be_accepted() {
        assert_eq!(verdict(Wanted::Accepted, 204, None), CaseVerdict::Ok);
        for status in [400, 401, 500, 302] {
            assert_eq!(verdict(Wanted::Accepted, status, None), CaseVerdict::Fault, "{status}");
        }
        assert_eq!(verdict(Wanted::Ignored, 200, Some(0)), CaseVerdict::Ok);
        assert_eq!(verdict(Wanted::Ignored, 200, Some(1)), CaseVerdict::Fault);
        assert_eq!(verdict(Wanted::Ignored, 401, None), CaseVerdict::Fault);
    }

    #[test]
    fn an_event_under_the_secret_of_the_other_mode_has_to_be_sent_again() {
        for status in [503, 500, 401] {
            assert_eq!(verdict(Wanted::Retried, status, None), CaseVerdict::Ok, "{status}");
            assert_eq!(verdict(Wanted::Retried, status, Some(0)), CaseVerdict::Ok, "{status}");
            assert_eq!(verdict(Wanted::Retried, status, Some(1)), CaseVerdict::Fault, "{status}");
        }
        assert_eq!(verdict(Wanted::Retried, 200, None), CaseVerdict::Fault);
        assert_eq!(verdict(Wanted::Retried, 200, Some(0)), CaseVerdict::Fault);
    }

    #[test]
    fn a_rejection_says_nothing_where_the_genuine_delivery_is_rejected_too() {
        let answer = Ok(Answer::of(401));
        let seen = CaseResult { answer: &answer, handled: None, has_to: None, like_rejected: true };
        assert_eq!(verdict_on(Wanted::Rejected, &seen, false).0, CaseVerdict::Unclear);
    }

    #[test]
    fn no_answer_is_a_fault_only_where_one_was_due() {
        let gone = Err(Lost::NoAnswer(String::new()));
        let seen = CaseResult { answer: &gone, handled: None, has_to: None, like_rejected: false };
        assert_eq!(verdict_on(Wanted::Accepted, &seen, false).0, CaseVerdict::Fault);
        assert_eq!(verdict_on(Wanted::Rejected, &seen, false).0, CaseVerdict::Unclear);
        let unreachable = Err(Lost::NoConnection(String::new()));
        let seen = CaseResult { answer: &unreachable, ..seen };
        assert_eq!(verdict_on(Wanted::Accepted, &seen, false).0, CaseVerdict::Unclear);
    }

    #[test]
    fn a_delivery_that_an_unsigned_header_keeps_from_the_handler_is_a_fault() {
        let answer = Ok(Answer::of(200));
        let seen = CaseResult { answer: &answer, handled: Some(0), has_to: Some(1), like_rejected: false };
        assert_eq!(verdict_on(Wanted::Accepted, &seen, false).0, CaseVerdict::Fault);
    }
}
