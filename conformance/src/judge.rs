//! What has to become of a case, and the judgement of what did.

use crate::answer::{Lost, Sent};
use crate::case::Case;
use crate::change::{Change, State};
use medhook::{Outcome, Reason};

/// The result of playing one case.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The name of the case.
    pub name: String,
    /// What has to become of it.
    pub expected: String,
    /// What became of it, or why it was not played.
    pub happened: String,
    /// Whether the two agree.
    pub judgement: Judgement,
    /// Why it matters.
    pub why: String,
}

/// Whether what happened is what has to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Judgement {
    /// It is.
    Ok,
    /// A forged delivery was accepted, or a genuine one was rejected.
    Fault,
    /// The endpoint differs from medhook in something that only a sender who knows the secret can use.
    Remark,
    /// The answers do not say.
    Unclear,
    /// The case was not played.
    Skipped,
}

impl Judgement {
    /// Returns the word for it in a report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Judgement::Ok => "ok",
            Judgement::Fault => "NOT OK",
            Judgement::Remark => "remark",
            Judgement::Unclear => "unclear",
            Judgement::Skipped => "skipped",
        }
    }
}

/// What has to become of a single delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// 4xx, and nothing is handled.
    Refused,
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
            Outcome::Rejected => Wanted::Refused,
            Outcome::Ignored => Wanted::Ignored,
            _ => Wanted::Accepted,
        }
    }

    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Wanted::Refused => "refused with a 4xx",
            Wanted::Accepted => "accepted with a 2xx",
            Wanted::Ignored => "answered 2xx and not handled",
            Wanted::Retried => "not answered 2xx and not handled",
        }
    }
}

/// What is known of a delivery after it was sent.
pub(crate) struct CaseResult<'s> {
    pub(crate) answer: &'s Sent,
    /// By how much the number of handled events rose, where it can be asked for.
    pub(crate) handled: Option<u64>,
    /// By how much it has to have risen, where that is known.
    pub(crate) has_to: Option<u64>,
    /// Whether the genuine delivery that this one is like was refused.
    pub(crate) like_refused: bool,
}

/// Judges a single delivery. `slight` is for what [`is_slight`] says.
pub(crate) fn judge(wanted: Wanted, seen: &CaseResult<'_>, slight: bool) -> (Judgement, String) {
    let wrong = if slight { Judgement::Remark } else { Judgement::Fault };
    let answer = match seen.answer {
        Ok(answer) => answer,
        Err(lost @ Lost::NoConnection(_)) => return (Judgement::Unclear, lost.to_string()),
        Err(lost) if matches!(wanted, Wanted::Refused | Wanted::Retried) => {
            return (Judgement::Unclear, lost.to_string());
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
        Wanted::Refused if accepted => (wrong, happened),
        // Refused, and handled all the same.
        Wanted::Refused if handled > 0 => (Judgement::Fault, happened),
        Wanted::Refused if !(400..500).contains(&answer.status) => {
            (Judgement::Unclear, format!("{happened}: whether it was refused, or broke something, cannot be seen"))
        }
        Wanted::Ignored | Wanted::Retried if handled > 0 => (wrong, happened),
        Wanted::Retried if accepted => (wrong, happened),
        Wanted::Refused | Wanted::Retried if seen.like_refused => {
            (Judgement::Unclear, format!("{happened}: but the genuine one that it is like was refused, too"))
        }
        Wanted::Accepted | Wanted::Ignored if !accepted => (wrong, happened),
        Wanted::Accepted if seen.handled.zip(seen.has_to).is_some_and(|(handled, has_to)| handled != has_to) => {
            (wrong, happened)
        }
        _ => (Judgement::Ok, happened),
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

/// Whether it guards against nobody who does not know the secret: how strictly what only the sender can write is read,
/// and what becomes of deliveries that no provider sends.
pub(crate) fn is_slight(case: &Case, changes: &[Change]) -> bool {
    let last = changes.first();
    match (Wanted::of(case), case.expected.reason) {
        (Wanted::Ignored | Wanted::Retried, _) => true,
        (Wanted::Refused, Some(reason)) => match reason {
            Reason::RepeatedHeader | Reason::ContentEncoding | Reason::Method | Reason::TimeMissing => true,
            Reason::MalformedHeader => match last {
                // The genuine proof is still in it.
                Some(Change::Header(_, template)) => template.contains('{'),
                Some(
                    Change::Timestamp(_)
                    | Change::MessageId(_)
                    | Change::Among(_)
                    | Change::Stretch(_)
                    | Change::Edit(..)
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
                            | Change::Stretch(_)
                            | Change::Among(_)
                            | Change::MessageId(_)
                    )
                })
        }
    }
}

/// Whether the body is that of the case it is like, so that the same has to become of it.
pub(crate) fn only_headers_differ(changes: &[Change]) -> bool {
    matches!(changes.first(), Some(Change::Header(..) | Change::And(..) | Change::Chunked(_)))
}

/// Why it matters.
pub(crate) fn why(case: &Case) -> String {
    if let Some(why) = &case.why {
        return why.clone();
    }
    let why = match (case.state, Wanted::of(case), case.expected.reason) {
        (State::Handled, ..) => {
            "Providers send an event again whenever they missed the answer, for as long as it is no 2xx."
        }
        (State::InFlight, ..) => "Copies come at once whenever a sender is impatient: each would be handled.",
        (_, Wanted::Accepted, _) if case.expected.decodes.as_deref() == Some("unknown") => {
            "Providers add kinds without notice, and switch an endpoint off that refuses them."
        }
        (_, Wanted::Accepted, _) => "It is genuine: what is not answered 2xx is lost when the provider gives up.",
        (_, Wanted::Ignored, _) => "It is genuine, and of the other mode: a 4xx would get the endpoint switched off.",
        (_, Wanted::Retried, _) => {
            "It is genuine, and only the endpoint's own secrets can be swapped: what is answered 2xx is lost."
        }
        (_, _, Some(Reason::SignatureMismatch)) => {
            "Anybody who knows the URL could send made-up patients' data, or alter real ones."
        }
        (_, _, Some(Reason::MissingHeader)) => "Anybody who knows the URL could send made-up patients' data.",
        (_, _, Some(Reason::Stale | Reason::InTheFuture)) => {
            "Who once saw a delivery could send it again whenever it suits."
        }
        (_, _, Some(Reason::MalformedHeader | Reason::RepeatedHeader)) => {
            "What is not written as it has to be may be read differently by a proxy before it."
        }
        (_, _, Some(Reason::ContentEncoding)) => {
            "Signatures cover what is on the wire, and what has to be unpacked may never end."
        }
        (_, _, Some(Reason::TimeMissing)) => "Without its time an event stays fresh for ever.",
        _ => "Receivers that take less have less to guard.",
    };
    why.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Answer;

    fn judged(wanted: Wanted, status: u16, handled: Option<u64>) -> Judgement {
        let seen = CaseResult { answer: &Ok(Answer::of(status)), handled, has_to: None, like_refused: false };
        judge(wanted, &seen, false).0
    }

    #[test]
    fn what_is_forged_has_to_be_refused_and_a_breakdown_is_no_refusal() {
        assert_eq!(judged(Wanted::Refused, 401, None), Judgement::Ok);
        assert_eq!(judged(Wanted::Refused, 413, Some(0)), Judgement::Ok);
        assert_eq!(judged(Wanted::Refused, 200, None), Judgement::Fault);
        assert_eq!(judged(Wanted::Refused, 401, Some(1)), Judgement::Fault);
        for status in [500, 503, 302] {
            assert_eq!(judged(Wanted::Refused, status, None), Judgement::Unclear, "{status}");
            assert_eq!(judged(Wanted::Refused, status, Some(1)), Judgement::Fault, "{status}");
        }
    }

    #[test]
    fn what_is_genuine_has_to_be_accepted() {
        assert_eq!(judged(Wanted::Accepted, 204, None), Judgement::Ok);
        for status in [400, 401, 500, 302] {
            assert_eq!(judged(Wanted::Accepted, status, None), Judgement::Fault, "{status}");
        }
        assert_eq!(judged(Wanted::Ignored, 200, Some(0)), Judgement::Ok);
        assert_eq!(judged(Wanted::Ignored, 200, Some(1)), Judgement::Fault);
        assert_eq!(judged(Wanted::Ignored, 401, None), Judgement::Fault);
    }

    #[test]
    fn an_event_under_the_secret_of_the_other_mode_has_to_be_sent_again() {
        for status in [503, 500, 401] {
            assert_eq!(judged(Wanted::Retried, status, None), Judgement::Ok, "{status}");
            assert_eq!(judged(Wanted::Retried, status, Some(0)), Judgement::Ok, "{status}");
            assert_eq!(judged(Wanted::Retried, status, Some(1)), Judgement::Fault, "{status}");
        }
        assert_eq!(judged(Wanted::Retried, 200, None), Judgement::Fault);
        assert_eq!(judged(Wanted::Retried, 200, Some(0)), Judgement::Fault);
    }

    #[test]
    fn a_refusal_says_nothing_where_what_is_genuine_is_refused_too() {
        let answer = Ok(Answer::of(401));
        let seen = CaseResult { answer: &answer, handled: None, has_to: None, like_refused: true };
        assert_eq!(judge(Wanted::Refused, &seen, false).0, Judgement::Unclear);
    }

    #[test]
    fn no_answer_is_a_fault_only_where_one_was_due() {
        let gone = Err(Lost::NoAnswer(String::new()));
        let seen = CaseResult { answer: &gone, handled: None, has_to: None, like_refused: false };
        assert_eq!(judge(Wanted::Accepted, &seen, false).0, Judgement::Fault);
        assert_eq!(judge(Wanted::Refused, &seen, false).0, Judgement::Unclear);
        let nobody = Err(Lost::NoConnection(String::new()));
        let seen = CaseResult { answer: &nobody, ..seen };
        assert_eq!(judge(Wanted::Accepted, &seen, false).0, Judgement::Unclear);
    }

    #[test]
    fn what_is_handled_differently_for_an_unsigned_header_is_a_fault() {
        let answer = Ok(Answer::of(200));
        let seen = CaseResult { answer: &answer, handled: Some(0), has_to: Some(1), like_refused: false };
        assert_eq!(judge(Wanted::Accepted, &seen, false).0, Judgement::Fault);
    }
}
