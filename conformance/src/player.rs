//! Plays cases: sends their deliveries in order, and compares the results with the expected ones.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use medhook::{Clock, Outcome, Reason, SystemClock};

use crate::answer::{Answer, Lost, Sent};
use crate::case::Case;
use crate::change::{Change, State};
use crate::custom_cases::foreign_key_pair;
use crate::endpoint::Endpoint;
use crate::error::CaseError;
use crate::outside::{Prepared, cases_inside, cases_outside};
use crate::site::Site;
use crate::verdict::{
    CaseResult, CaseVerdict, Finding, Wanted, is_slight, only_headers_differ, times, verdict_on, why,
};

/// The endpoint that cases are played for, and the settings of the run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Plan {
    /// The endpoint's settings.
    pub endpoint: Endpoint,
    /// The prefix of every id. It must be new for each run, and must not contain a dot.
    pub mark: String,
    /// The endpoint's limit for bodies, in bytes.
    pub body_limit: u64,
    /// The number of copies that are sent at once.
    pub copies: usize,
    /// Whether the receiver runs in this process, so that outcomes and calls are seen and have to be exactly as listed.
    inside: bool,
}

impl Plan {
    /// Creates a plan for an endpoint of which only the answers are seen, and perhaps the number of handled events.
    #[must_use]
    pub fn outside(endpoint: Endpoint, mark: String) -> Self {
        Plan { endpoint, mark, body_limit: 1024 * 1024, copies: 20, inside: false }
    }

    /// Creates a plan for an endpoint with a receiver of medhook in this process, of which everything is seen.
    #[must_use]
    pub fn inside(endpoint: Endpoint, mark: String) -> Self {
        Plan { inside: true, ..Plan::outside(endpoint, mark) }
    }

    fn cases(&self, now: i64) -> Result<Vec<Prepared>, CaseError> {
        let prepare = if self.inside { cases_inside } else { cases_outside };
        prepare(&self.endpoint, &self.mark, now)
    }
}

/// Plays the cases of one endpoint.
#[derive(Debug)]
pub struct Player<'s, S> {
    site: &'s S,
    plan: Plan,
    made_at: i64,
    cases: Vec<Prepared>,
    /// The genuine cases so far: whether each was accepted, and how often it was handled.
    known: HashMap<String, (bool, Option<u64>)>,
}

impl<'s, S: Site> Player<'s, S> {
    /// Prepares the cases.
    ///
    /// # Errors
    /// Returns the errors of [`cases_outside`].
    pub fn new(site: &'s S, plan: Plan) -> Result<Self, CaseError> {
        let made_at = now();
        let cases = plan.cases(made_at)?;
        Ok(Player { site, plan, made_at, cases, known: HashMap::new() })
    }

    /// Returns every case, including those that cannot be played.
    #[must_use]
    pub fn cases(&self) -> &[Prepared] {
        &self.cases
    }

    /// Plays everything that can be played from outside, and passes on each finding as it is made. Ends after the first
    /// case if that is genuine and does not pass.
    ///
    /// # Errors
    /// Returns the errors of the site and of `found`.
    pub async fn play_all(&mut self, found: &mut dyn FnMut(Finding) -> Result<(), S::Error>) -> Result<(), S::Error> {
        let names: Vec<_> = self.cases.iter().map(|prepared| prepared.case.name.clone()).collect();
        let mut is_first = true;
        for name in names {
            let Some(finding) = self.play(&name).await? else { break };
            let failed = finding.verdict != CaseVerdict::Ok && finding.verdict != CaseVerdict::Skipped;
            let ends_it = is_first && failed;
            is_first &= finding.verdict == CaseVerdict::Skipped;
            found(finding)?;
            if ends_it {
                // An endpoint that rejects everything would pass every case of a forged delivery.
                return found(Finding {
                    name: "everything else".to_owned(),
                    expected: String::new(),
                    happened: "not played, because the simplest genuine delivery failed; check the secret, the \
                               provider and the URL; `medhook verify` explains a recorded delivery"
                        .to_owned(),
                    verdict: CaseVerdict::Skipped,
                    why: String::new(),
                });
            }
        }
        found(self.play_failing().await?)?;
        found(self.play_endless().await?)
    }

    /// Plays the case of this name; returns `None` if there is none.
    ///
    /// # Errors
    /// Returns the errors of the site.
    pub async fn play(&mut self, name: &str) -> Result<Option<Finding>, S::Error> {
        self.keep_fresh()?;
        let Some(prepared) = self.cases.iter().find(|prepared| prepared.case.name == name).cloned() else {
            return Ok(None);
        };
        let case = &prepared.case;
        let (verdict, happened) = match prepared.skipped.or(self.too_long(case)) {
            Some(reason) => (CaseVerdict::Skipped, reason.to_owned()),
            None => {
                let before = self.site.handled().await?;
                match case.state {
                    State::Handled => self.again(case, before).await?,
                    State::InFlight => self.at_once(case, before).await?,
                    _ => self.once(case, before).await?,
                }
            }
        };
        Ok(Some(Finding { name: case.name.clone(), expected: self.expected(case), happened, verdict, why: why(case) }))
    }

    /// Makes the cases again when the times in them are older than [`FRESH`]: an endpoint may be slow.
    fn keep_fresh(&mut self) -> Result<(), CaseError> {
        let now = now();
        if now.abs_diff(self.made_at) > FRESH {
            self.cases = self.plan.cases(now)?;
            self.made_at = now;
        }
        Ok(())
    }

    fn too_long(&self, case: &Case) -> Option<&'static str> {
        let too_long = Wanted::of(case) == Wanted::Accepted && case.body.len() as u64 > self.plan.body_limit;
        too_long.then_some("longer than the endpoint's limit")
    }

    fn expected(&self, case: &Case) -> String {
        match case.state {
            State::Handled => format!("accepted with a 2xx both times, and handled {}", self.times(case, 2)),
            State::InFlight => {
                format!("accepted with a 2xx once handled, and handled {}", self.times(case, self.plan.copies + 1))
            }
            _ if self.plan.inside => case.expected.to_string(),
            _ => Wanted::of(case).in_words().to_owned(),
        }
    }

    /// Returns how often copies of a delivery have to be handled: each of them, if its event can recur.
    fn times(&self, case: &Case, copies: usize) -> String {
        match of_copies(case, copies) {
            1 => "once".to_owned(),
            all => format!("{all} times, since each may be another event"),
        }
    }

    /// Plays a single delivery.
    async fn once(&mut self, case: &Case, before: Option<u64>) -> Result<(CaseVerdict, String), S::Error> {
        if case.state == State::Draining {
            self.site.drain().await?;
        }
        let sent = self.site.deliver(case).await?;
        let handled = self.risen(before).await?;
        if self.plan.inside {
            return Ok(self.exact_verdict(case, &sent, handled));
        }
        let changes = self.changes(case);
        let like = case.like.as_deref().and_then(|like| self.known.get(like));
        let has_to = match like {
            Some((true, handled)) if only_headers_differ(&changes) => *handled,
            // The first one of all has to be handled.
            _ if self.known.is_empty() && before.is_some() => Some(1),
            _ => None,
        };
        let like_rejected = like.is_some_and(|(accepted, _)| !accepted);
        let wanted = Wanted::of(case);
        let seen = CaseResult { answer: &sent, handled, has_to, like_rejected };
        let verdict = verdict_on(wanted, &seen, is_slight(case, &changes));
        if wanted == Wanted::Accepted {
            self.known.insert(case.name.clone(), (is_2xx(&sent), handled));
        }
        Ok(verdict)
    }

    /// Compares everything that is seen from inside with the list.
    fn exact_verdict(&self, case: &Case, sent: &Sent, handled: Option<u64>) -> (CaseVerdict, String) {
        let call = if handled == Some(1) { self.site.last_call() } else { None };
        let as_listed = sent.as_ref().is_ok_and(|answer| *answer == case.expected.answer())
            && handled == Some(u64::from(case.expected.outcome == Outcome::Handled))
            && case.expected.matches_call(call.as_ref());
        let called = call.map(|call| format!(": {call}")).unwrap_or_default();
        let happened = format!("{}, {}{called}", shown(sent), times(handled.unwrap_or(0)));
        (if as_listed { CaseVerdict::Ok } else { CaseVerdict::Fault }, happened)
    }

    /// Returns the changes that make the case, the last one first.
    fn changes(&self, case: &Case) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut case = Some(case);
        while let Some(this) = case {
            changes.extend(this.change.clone());
            let like = this.like.as_deref();
            let named = |like| self.cases.iter().map(|prepared| &prepared.case).find(|case| case.name == like);
            case = like.and_then(named);
        }
        changes
    }

    async fn risen(&self, before: Option<u64>) -> Result<Option<u64>, S::Error> {
        let after = self.site.handled().await?;
        Ok(before.zip(after).map(|(before, after)| after.saturating_sub(before)))
    }

    /// Plays the same delivery twice, one after the other.
    async fn again(&self, case: &Case, before: Option<u64>) -> Result<(CaseVerdict, String), S::Error> {
        let first = self.site.deliver(case).await?;
        let second = self.settled(case).await?;
        let handled = self.risen(before).await?;
        let happened = format!("{}, then {}{}", shown(&first), shown(&second), of(handled));
        let verdict = match (&first, &second) {
            (Err(Lost::NoConnection(_)), _) | (_, Err(Lost::NoConnection(_))) => CaseVerdict::Unclear,
            _ if !is_2xx(&first) || !is_2xx(&second) => CaseVerdict::Fault,
            _ if self.plan.inside && !(is(&first, HANDLED) && is(&second, case.expected.answer())) => {
                CaseVerdict::Fault
            }
            _ => verdict_on_times(case, handled, 2),
        };
        Ok((verdict, happened))
    }

    /// Plays copies of one delivery at once. While one copy is handled, others may be answered 503, and a later one
    /// then has to be accepted. From inside all of them have to overlap: one is handled, and every other is answered
    /// 503.
    async fn at_once(&self, case: &Case, before: Option<u64>) -> Result<(CaseVerdict, String), S::Error> {
        let answers = self.site.deliver_copies(case, self.plan.copies).await?;
        for sent in &answers {
            match sent {
                Err(lost @ Lost::NoConnection(_)) => return Ok((CaseVerdict::Unclear, lost.to_string())),
                Err(lost @ Lost::TimedOut(_)) => return Ok((CaseVerdict::Fault, lost.to_string())),
                _ => {}
            }
        }
        let last = self.settled(case).await?;
        let handled = self.risen(before).await?;
        let accepted = answers.iter().filter(|sent| is_2xx(sent)).count();
        let happened = format!("{accepted} of {} accepted, then {}{}", answers.len(), shown(&last), of(handled));
        let in_flight = answers.iter().filter(|sent| is(sent, case.expected.answer())).count();
        let overlap = match case.expected.outcome {
            Outcome::Handled => accepted == answers.len() && is(&last, HANDLED),
            _ => accepted == 1 && in_flight + 1 == answers.len() && is(&last, DUPLICATE),
        };
        let verdict = match () {
            () if answers.is_empty() => CaseVerdict::Unclear,
            () if accepted == 0 || !is_2xx(&last) => CaseVerdict::Fault,
            () if self.plan.inside && !overlap => CaseVerdict::Fault,
            () => verdict_on_times(case, handled, answers.len() + 1),
        };
        Ok((verdict, happened))
    }

    /// Sends a case again, up to 20 times, until it is not answered 503.
    async fn settled(&self, case: &Case) -> Result<Sent, S::Error> {
        for _ in 0..20 {
            let sent = self.site.deliver(case).await?;
            if !sent.as_ref().is_ok_and(|answer| answer.status == 503) {
                return Ok(sent);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        self.site.deliver(case).await
    }

    /// Plays an event whose handling fails, and that comes again.
    ///
    /// # Errors
    /// Returns the errors of the site.
    pub async fn play_failing(&self) -> Result<Finding, S::Error> {
        let finding = |verdict, happened| Finding {
            name: format!("{}: handling fails, and the delivery comes again", self.plan.endpoint.provider),
            expected: "no 2xx for what failed, then a 2xx and handled once".to_owned(),
            happened,
            verdict,
            why: "An event that is remembered before it is handled is lost when handling it fails.".to_owned(),
        };
        let Some(case) = self.genuine(&format!("{}failing", self.plan.mark))? else {
            return Ok(finding(CaseVerdict::Skipped, "there is no genuine case".to_owned()));
        };
        let before = self.site.handled().await?;
        if let Err(reason) = self.site.fail_next().await? {
            return Ok(finding(CaseVerdict::Skipped, reason.to_owned()));
        }
        let first = self.site.deliver(&case).await?;
        let failed = self.risen(before).await?;
        let second = self.settled(&case).await?;
        let handled = self.risen(before).await?;
        let happened = format!("{}{}, then {}{}", shown(&first), of(failed), shown(&second), of(handled));
        let verdict = match (is_2xx(&first), failed, handled) {
            // The event was handled: the hook did not make its handling fail.
            (_, Some(1..), _) => CaseVerdict::Unclear,
            _ if self.plan.inside && !(is(&first, FAILED) && is(&second, HANDLED)) => CaseVerdict::Fault,
            (false, _, Some(1)) if is_2xx(&second) => CaseVerdict::Ok,
            _ => CaseVerdict::Fault,
        };
        Ok(finding(verdict, happened))
    }

    /// Plays a forged delivery whose body does not end.
    ///
    /// # Errors
    /// Returns the errors of the site.
    pub async fn play_endless(&self) -> Result<Finding, S::Error> {
        let finding = |verdict, happened| Finding {
            name: format!("{}: a forged delivery with a body over the limit, and no end", self.plan.endpoint.provider),
            expected: "rejected with a 4xx, or disconnected, before its end".to_owned(),
            happened,
            verdict,
            why: "An attacker who knows no secret could exhaust the endpoint's memory.".to_owned(),
        };
        let mark = format!("{}endless", self.plan.mark);
        let Some(mut case) = self.genuine(&mark)? else {
            return Ok(finding(CaseVerdict::Skipped, "there is no genuine case".to_owned()));
        };
        let foreign = foreign_key_pair(&self.plan.endpoint).unwrap_or(FOREIGN);
        case.headers = signed(&self.plan.endpoint, foreign, &mark, now(), &case)?;
        let over = self.plan.body_limit.saturating_add(64 * 1024);
        Ok(match self.site.deliver_endless(&case, over).await? {
            Err(lost @ Lost::NoConnection(_)) => finding(CaseVerdict::Unclear, lost.to_string()),
            Ok(Answer { status: 408, .. }) | Err(Lost::TimedOut(_)) => {
                finding(CaseVerdict::Fault, format!("{over} bytes were read, and more awaited"))
            }
            Ok(Answer { status, .. }) if (400..500).contains(&status) => finding(CaseVerdict::Ok, status.to_string()),
            Ok(Answer { status, .. }) if (200..300).contains(&status) => {
                finding(CaseVerdict::Fault, status.to_string())
            }
            Ok(Answer { status, .. }) => finding(CaseVerdict::Unclear, status.to_string()),
            Err(Lost::NoAnswer(_)) => finding(CaseVerdict::Ok, "disconnected".to_owned()),
        })
    }

    /// Returns a genuine delivery of a new event: the plainest that can be played, whose id begins with `mark`.
    ///
    /// # Errors
    /// Returns an error if the endpoint's settings do not allow signing.
    pub fn genuine(&self, mark: &str) -> Result<Option<Case>, CaseError> {
        let plain = self.cases.iter().find(|prepared| {
            prepared.skipped.is_none()
                && prepared.case.like.is_none()
                && prepared.case.expected.outcome == Outcome::Handled
        });
        let Some(prepared) = plain else {
            return Ok(None);
        };
        let (at, endpoint) = (now(), &self.plan.endpoint);
        let mut case = prepared.case.clone();
        case.body = endpoint.renewed(&case.body, mark, at);
        let secret = endpoint.secrets.values().next().map_or("", String::as_str);
        case.headers = signed(endpoint, secret, mark, at, &case)?;
        case.headers.extend(endpoint.also());
        Ok(Some(case))
    }
}

fn signed(
    endpoint: &Endpoint,
    secret: &str,
    id: &str,
    at: i64,
    case: &Case,
) -> Result<Vec<(String, String)>, CaseError> {
    let signing = endpoint.signing().map_err(|error| CaseError(error.to_string()))?;
    let id = signing.message_id(id).split_off("msg_".len());
    signing.headers(secret, &id, &signing.timestamp_text(at), &case.body).map_err(|error| CaseError(error.to_string()))
}

/// The age, in seconds, at which cases are made again. Times at a limit are 10 s away from it.
const FRESH: u64 = 5;

/// A secret that no endpoint has, in a form that every scheme of shared secrets takes.
const FOREIGN: &str = "5f0c2a9e7b413d86c1f4a7d2908e6b35fa1d7c4e20b98653e7a0d14c8f29b376";

const HANDLED: Answer = Answer { status: 200, outcome: Some(Outcome::Handled), reason: None };
const FAILED: Answer = Answer { status: 500, outcome: Some(Outcome::Failed), reason: None };
const DUPLICATE: Answer = Answer { status: 200, outcome: Some(Outcome::Duplicate), reason: Some(Reason::Duplicate) };

/// Returns how often copies of a delivery have to be handled.
fn of_copies(case: &Case, copies: usize) -> u64 {
    if case.expected.outcome == Outcome::Handled { copies as u64 } else { 1 }
}

/// Checks how often copies of a delivery were handled. Too few may mean a lost event, or a choice of the endpoint: it
/// is a remark.
fn verdict_on_times(case: &Case, handled: Option<u64>, copies: usize) -> CaseVerdict {
    let wanted = of_copies(case, copies);
    match handled {
        None => CaseVerdict::Ok,
        Some(handled) if handled == wanted => CaseVerdict::Ok,
        Some(handled) if (1..wanted).contains(&handled) => CaseVerdict::Remark,
        Some(_) => CaseVerdict::Fault,
    }
}

/// Returns the current time in Unix seconds.
fn now() -> i64 {
    let since = SystemClock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn is(sent: &Sent, wanted: Answer) -> bool {
    sent.as_ref().is_ok_and(|answer| *answer == wanted)
}

fn is_2xx(sent: &Sent) -> bool {
    sent.as_ref().is_ok_and(Answer::is_2xx)
}

fn shown(sent: &Sent) -> String {
    match sent {
        Ok(answer) => answer.to_string(),
        Err(lost) => lost.to_string(),
    }
}

fn of(handled: Option<u64>) -> String {
    handled.map(|handled| format!(" ({})", times(handled))).unwrap_or_default()
}
