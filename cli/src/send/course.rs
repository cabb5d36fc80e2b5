//! Sends a delivery once or several times, and compares the answers with the expected ones.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use medhook::registry::RetrySchedule;
use medhook_conformance::Lost;

use super::delivery::Delivery;
use super::explain::{explain, is_unrelated};
use crate::clock::in_words;
use crate::failure::Failure;
use crate::http_client::{HttpAnswer, Target};
use crate::output::{harmless, print_text};
use crate::verdict::Verdict;

/// The number of deliveries to send, and the time limit of an answer.
pub(super) struct Plan {
    pub(super) times: u32,
    pub(super) at_once: usize,
    pub(super) new_events: bool,
    pub(super) limit: Duration,
    pub(super) show_answer: bool,
}

/// Sends the delivery `plan.times` times.
pub(super) async fn repeated(
    delivery: &Delivery,
    target: &Target,
    plan: &Plan,
    out: &mut dyn Write,
) -> Result<Verdict, Failure> {
    let same = delivery.event()?;
    let deliveries = stream::iter(0..plan.times).map(|_| {
        let same = &same;
        async move {
            let event = if plan.new_events { delivery.event()? } else { same.clone() };
            let request = delivery.attempt(&event, target, false)?;
            Ok::<_, Failure>(target.send(request, plan.limit).await)
        }
    });
    let (mut tally, mut explanations) = (Tally::default(), Explanations::default());
    let mut answers = std::pin::pin!(deliveries.buffer_unordered(plan.at_once));
    while let Some(answer) = answers.next().await {
        let answer = answer?;
        tally.count(&answer);
        print_text(out, &line(tally.all, &answer, plan.show_answer))?;
        print_text(out, &explanations.of(&answer, delivery, target))?;
    }
    let genuine = delivery.flaw.is_none();
    let copies = plan.times > 1 && !plan.new_events;
    let (verdict, text) =
        if genuine { tally.verdict_of_genuine(copies && plan.at_once > 1) } else { tally.verdict_of_flawed() };
    print_text(out, &format!("{text}\n"))?;
    if genuine && tally.answered_200 {
        print_text(out, &delivery.doubts(copies)?)?;
    }
    Ok(verdict)
}

/// Sends the delivery, and retries on the provider's schedule until the endpoint answers 2xx.
pub(super) async fn retried(
    delivery: &Delivery,
    target: &Target,
    plan: &Plan,
    retries: RetrySchedule,
    scale: f64,
    out: &mut dyn Write,
) -> Result<Verdict, Failure> {
    print_text(out, &format!("{}\n", retries.remark))?;
    let event = delivery.event()?;
    let mut waits = retries.waits.iter();
    let (mut tally, mut explanations) = (Tally::default(), Explanations::default());
    loop {
        let request = delivery.attempt(&event, target, tally.all > 0)?;
        let answer = target.send(request, plan.limit).await;
        tally.count(&answer);
        print_text(out, &line(tally.all, &answer, plan.show_answer))?;
        print_text(out, &explanations.of(&answer, delivery, target))?;
        if answer.is_ok_and(|answer| is_2xx(&answer)) {
            print_text(out, &format!("as expected: accepted at attempt {}\n", tally.all))?;
            if tally.answered_200 {
                print_text(out, &delivery.doubts(tally.all > 1)?)?;
            }
            return Ok(Verdict::Success);
        }
        let Some(wait) = waits.next() else { break };
        let scaled = wait.div_f64(scale);
        let (provider_waits, scaled_seconds) = (in_words(wait.as_secs()), scaled.as_secs_f64());
        print_text(out, &format!("next attempt in {scaled_seconds:.3} s (the provider waits {provider_waits})\n"))?;
        tokio::time::sleep(scaled).await;
    }
    if tally.unconnected == tally.all {
        print_text(out, &format!("{NO_CONNECTION}\n"))?;
        return Ok(Verdict::Inconclusive);
    }
    print_text(
        out,
        &format!("not as expected: none of {} attempts was accepted; the provider gives up now\n", tally.all),
    )?;
    Ok(Verdict::Problem)
}

/// Printed if no delivery was sent. Each line before has the reason.
const NO_CONNECTION: &str = "cannot tell: nothing was sent, since no connection could be opened";

/// The statuses that are already explained: each is explained once.
#[derive(Default)]
struct Explanations(BTreeSet<u16>);

impl Explanations {
    /// Returns a line about an answer that is not as expected.
    fn of(&mut self, answer: &Result<HttpAnswer, Lost>, delivery: &Delivery, target: &Target) -> String {
        let Ok(answer) = answer else { return String::new() };
        let expected = if delivery.flaw.is_some() { is_rejection(answer.status) } else { is_2xx(answer) };
        if expected || !self.0.insert(answer.status) {
            return String::new();
        }
        format!("   {}: {}\n", answer.status, explain(answer, target, &delivery.to_compare()))
    }
}

/// The answers so far.
#[derive(Debug, Default)]
struct Tally {
    all: u32,
    accepted: u32,
    rejected: u32,
    /// Answered with a 4xx that says nothing about the signature.
    unrelated: u32,
    answered_200: bool,
    /// Answered 503, as a copy is while the event is being handled.
    busy: u32,
    unconnected: u32,
}

impl Tally {
    fn count(&mut self, answer: &Result<HttpAnswer, Lost>) {
        let counted = match answer {
            Ok(answer) if is_2xx(answer) => Some(&mut self.accepted),
            Ok(answer) if is_rejection(answer.status) => Some(&mut self.rejected),
            Ok(answer) if is_unrelated(answer.status) => Some(&mut self.unrelated),
            Ok(answer) if answer.status == 503 => Some(&mut self.busy),
            Err(Lost::NoConnection(_)) => Some(&mut self.unconnected),
            _ => None,
        };
        if let Some(count) = counted {
            *count = count.saturating_add(1);
        }
        self.answered_200 |= answer.as_ref().is_ok_and(|answer| answer.status == 200);
        self.all = self.all.saturating_add(1);
    }

    fn verdict_of_genuine(&self, copies_at_once: bool) -> (Verdict, String) {
        let Tally { all, accepted, .. } = *self;
        let in_flight = if copies_at_once && accepted > 0 { self.busy } else { 0 };
        if accepted == all {
            (Verdict::Success, format!("as expected: {accepted} of {all} accepted"))
        } else if accepted.saturating_add(in_flight) == all {
            (
                Verdict::Success,
                format!("as expected: {accepted} of {all} accepted, the others answered 503 while a copy was handled"),
            )
        } else {
            self.unexpected(format!("{accepted} of {all} accepted; every genuine delivery must be answered 2xx"))
        }
    }

    fn verdict_of_flawed(&self) -> (Verdict, String) {
        let Tally { all, rejected, unrelated, .. } = *self;
        if rejected == all {
            (Verdict::Success, format!("as expected: {rejected} of {all} rejected"))
        } else if unrelated > 0 && rejected.saturating_add(unrelated) == all {
            let text = "cannot tell: the status does not show that the delivery was verified; send a genuine one first";
            (Verdict::Inconclusive, text.to_owned())
        } else {
            self.unexpected(format!("{rejected} of {all} rejected; every invalid delivery must be answered 4xx"))
        }
    }

    /// Returns a failure, or [`NO_CONNECTION`] if the endpoint was never reached.
    fn unexpected(&self, text: String) -> (Verdict, String) {
        if self.unconnected == self.all {
            (Verdict::Inconclusive, NO_CONNECTION.to_owned())
        } else {
            (Verdict::Problem, format!("not as expected: {text}"))
        }
    }
}

/// Returns whether a status shows that an invalid delivery was rejected.
fn is_rejection(status: u16) -> bool {
    (400..500).contains(&status) && !is_unrelated(status)
}

fn is_2xx(answer: &HttpAnswer) -> bool {
    (200..300).contains(&answer.status)
}

fn line(number: u32, answer: &Result<HttpAnswer, Lost>, show: bool) -> String {
    match answer {
        Ok(answer) => {
            let HttpAnswer { status, size, body, took, .. } = answer;
            let mut line = format!("{number}  {status}  {:.3} s  {size} bytes\n", took.as_secs_f64());
            if show && !body.is_empty() {
                let rest = if *size > body.len() as u64 { " .." } else { "" };
                line.push_str(&format!("   {}{rest}\n", harmless(body)));
            }
            line
        }
        Err(lost) => format!("{number}  {}\n", harmless(lost.to_string().as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(statuses: &[u16]) -> Tally {
        let mut tally = Tally::default();
        for &status in statuses {
            let (location, body) = (None, medhook::Bytes::new());
            let answer = HttpAnswer { status, location, retry_after: false, size: 0, body, took: Duration::ZERO };
            tally.count(&if status == 0 { Err(Lost::NoConnection(String::new())) } else { Ok(answer) });
        }
        tally
    }

    #[test]
    fn every_genuine_delivery_must_be_answered_2xx() {
        let verdict = |statuses: &[u16], at_once| tally(statuses).verdict_of_genuine(at_once).0;
        assert_eq!(verdict(&[200, 202], false), Verdict::Success);
        assert_eq!(verdict(&[200, 503], true), Verdict::Success);
        for (statuses, at_once) in [(&[200, 401][..], true), (&[503], true), (&[200, 503], false), (&[302], false)] {
            assert_eq!(verdict(statuses, at_once), Verdict::Problem, "{statuses:?}");
        }
        assert_eq!(verdict(&[0, 0], false), Verdict::Inconclusive);
        assert_eq!(verdict(&[0, 200], false), Verdict::Problem);
    }

    #[test]
    fn every_invalid_delivery_must_be_answered_4xx() {
        let verdict = |statuses: &[u16]| tally(statuses).verdict_of_flawed().0;
        assert_eq!(verdict(&[401, 400]), Verdict::Success);
        for statuses in [&[401, 200][..], &[500], &[302], &[503]] {
            assert_eq!(verdict(statuses), Verdict::Problem, "{statuses:?}");
        }
        assert_eq!(verdict(&[0]), Verdict::Inconclusive);
        for statuses in [&[404][..], &[401, 405], &[413]] {
            assert_eq!(verdict(statuses), Verdict::Inconclusive, "{statuses:?}: nothing was verified");
        }
    }
}
