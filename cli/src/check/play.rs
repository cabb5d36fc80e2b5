//! The cases, one after another, and what no list can say.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use medhook::Outcome;
use medhook_conformance::{Case, Change, Outside, State};
use tokio::io::AsyncWriteExt;

use super::judge::{CaseResult, Finding, Judgement, Wanted, is_slight, judge, only_headers_differ, times, why};
use super::site::Site;
use crate::clock::now;
use crate::failure::Failure;
use crate::http_client::{HttpAnswer, Lost, status_of};
use crate::random;

/// Plays everything, and tells of each finding as it is made.
pub(super) async fn all(
    site: &Site,
    cases: Vec<Outside>,
    found: &mut dyn FnMut(Finding) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut play = Play { site, made_at: now()?, cases, known: HashMap::new() };
    let mut is_first = true;
    for number in 0..play.cases.len() {
        play.keep_fresh()?;
        let Some(outside) = play.cases.get(number).cloned() else { break };
        let finding = play.case(&outside).await?;
        let refused = finding.judgement != Judgement::Ok && finding.judgement != Judgement::Skipped;
        let ends_it = is_first && refused;
        is_first &= finding.judgement == Judgement::Skipped;
        found(finding)?;
        if ends_it {
            // Every rejection after this one would look like a virtue.
            return found(Finding {
                name: "everything else".to_owned(),
                expected: "",
                happened:
                    "not played: the plainest genuine delivery did not pass, so nothing else would mean anything. \
                           Is it this secret, this provider, this URL? medhook verify tells more of a recorded delivery"
                        .to_owned(),
                judgement: Judgement::Skipped,
                why: String::new(),
            });
        }
    }
    found(play.failing().await?)?;
    found(play.endless().await?)
}

struct Play<'p> {
    site: &'p Site,
    made_at: i64,
    cases: Vec<Outside>,
    /// Of the genuine cases so far: whether each was accepted, and how often it was handled.
    known: HashMap<String, (bool, Option<u64>)>,
}

impl Play<'_> {
    /// Makes the cases anew when the time in them is getting old: an endpoint may be slow.
    fn keep_fresh(&mut self) -> Result<(), Failure> {
        let now = now()?;
        if now.abs_diff(self.made_at) > FRESH {
            self.cases = self.site.cases()?;
            self.made_at = now;
        }
        Ok(())
    }

    async fn case(&mut self, outside: &Outside) -> Result<Finding, Failure> {
        let case = &outside.case;
        let changes: Vec<Change> = self.changes(case).into_iter().cloned().collect();
        let too_long = Wanted::of(case) == Wanted::Accepted && case.body.len() as u64 > self.site.body_limit;
        let skipped = outside.skipped.or(too_long.then_some("longer than the endpoint's limit"));
        let wanted = Wanted::of(case);
        let finding = |judgement, happened| Finding {
            name: case.name.clone(),
            expected: expected(case),
            happened,
            judgement,
            why: why(case),
        };
        if let Some(reason) = skipped {
            return Ok(finding(Judgement::Skipped, reason.to_owned()));
        }
        let before = self.site.counted().await?;
        let (judgement, happened) = match case.state {
            State::Handled => self.again(case, before).await?,
            State::InFlight => self.at_once(case, before).await?,
            _ => {
                let answer = self.site.deliver(case).await?;
                let handled = self.risen(before).await?;
                let like = case.like.as_deref().and_then(|like| self.known.get(like));
                let has_to = match like {
                    Some((true, handled)) if only_headers_differ(&changes) => *handled,
                    // The first one of all has to be handled.
                    _ if self.known.is_empty() && before.is_some() => Some(1),
                    _ => None,
                };
                let like_refused = like.is_some_and(|(accepted, _)| !accepted);
                let seen = CaseResult { answer: &answer, handled, has_to, like_refused };
                if wanted == Wanted::Accepted {
                    self.known.insert(case.name.clone(), (is_2xx(&answer), handled));
                }
                judge(wanted, &seen, is_slight(case, &changes))
            }
        };
        Ok(finding(judgement, happened))
    }

    /// What was changed about a case, the last change first.
    fn changes<'c>(&'c self, case: &'c Case) -> Vec<&'c Change> {
        let mut changes = Vec::new();
        let mut case = Some(case);
        while let Some(this) = case {
            changes.extend(&this.change);
            let like = this.like.as_deref();
            case = like.and_then(|like| self.cases.iter().map(|outside| &outside.case).find(|case| case.name == like));
        }
        changes
    }

    async fn risen(&self, before: Option<u64>) -> Result<Option<u64>, Failure> {
        let after = self.site.counted().await?;
        Ok(before.zip(after).map(|(before, after)| after.saturating_sub(before)))
    }

    /// The same delivery twice, one after the other.
    async fn again(&self, case: &Case, before: Option<u64>) -> Result<(Judgement, String), Failure> {
        let first = self.site.deliver(case).await?;
        let second = self.settled(case).await?;
        let handled = self.risen(before).await?;
        let happened = format!("{}, then {}{}", shown(&first), shown(&second), of(handled));
        let judgement = match (&first, &second) {
            (Err(Lost::NoConnection(_)), _) | (_, Err(Lost::NoConnection(_))) => Judgement::Unclear,
            _ if !is_2xx(&first) || !is_2xx(&second) || handled.is_some_and(|handled| handled != 1) => Judgement::Fault,
            _ => Judgement::Ok,
        };
        Ok((judgement, happened))
    }

    /// Copies of one delivery, on connections that are all open before the first is sent. A copy may be told to come
    /// back while another is handled, and then has to be accepted.
    async fn at_once(&self, case: &Case, before: Option<u64>) -> Result<(Judgement, String), Failure> {
        let connections = join_all((0..self.site.copies).map(|_| self.site.target.open()));
        let connections = tokio::time::timeout(self.site.patience, connections).await.unwrap_or_default();
        let mut sent = Vec::new();
        for connection in connections {
            match connection {
                Ok(connection) => sent.push(connection.send(self.site.request(case)?)),
                Err(lost) => return Ok((Judgement::Unclear, lost.to_string())),
            }
        }
        let answers = tokio::time::timeout(self.site.patience, join_all(sent)).await;
        let Ok(answers) = answers else {
            return Ok((Judgement::Fault, Lost::TimedOut(self.site.patience).to_string()));
        };
        let last = self.settled(case).await?;
        let handled = self.risen(before).await?;
        let accepted = answers.iter().filter(|answer| is_2xx(answer)).count();
        let happened = format!("{accepted} of {} accepted, then {}{}", answers.len(), shown(&last), of(handled));
        let judgement = match () {
            () if answers.is_empty() => Judgement::Unclear,
            () if accepted == 0 || !is_2xx(&last) || handled.is_some_and(|handled| handled != 1) => Judgement::Fault,
            () => Judgement::Ok,
        };
        Ok((judgement, happened))
    }

    /// Sends a case until it is not told to come back, for a while.
    async fn settled(&self, case: &Case) -> Result<Result<HttpAnswer, Lost>, Failure> {
        for _ in 0..20 {
            let answer = self.site.deliver(case).await?;
            if !answer.as_ref().is_ok_and(|answer| answer.status == 503) {
                return Ok(answer);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        self.site.deliver(case).await
    }

    /// An event whose handling fails, and that comes again.
    async fn failing(&self) -> Result<Finding, Failure> {
        let finding = |judgement, happened| Finding {
            name: format!("{}: handling fails, and the delivery comes again", self.site.provider.name),
            expected: "no 2xx for what failed, then a 2xx and handled once",
            happened,
            judgement,
            why: "An event that is remembered before it is handled is lost when handling it fails.".to_owned(),
        };
        let Some(fail_next) = &self.site.fail_next else {
            let needs = "needs --count-url and --fail-next-url: no handler fails at a sender's wish".to_owned();
            return Ok(finding(Judgement::Skipped, needs));
        };
        let Some(case) = self.genuine(&format!("{}failing", self.site.mark))? else {
            return Ok(finding(Judgement::Skipped, "there is no genuine case".to_owned()));
        };
        let before = self.site.counted().await?;
        self.site.fail_next(fail_next).await?;
        let first = self.site.deliver(&case).await?;
        let failed = self.risen(before).await?;
        let second = self.settled(&case).await?;
        let handled = self.risen(before).await?;
        let happened = format!("{}{}, then {}{}", shown(&first), of(failed), shown(&second), of(handled));
        let judgement = match (is_2xx(&first), failed, handled) {
            // What has to fail was handled: the hook does not do what it has to.
            (_, Some(1..), _) => Judgement::Unclear,
            (false, _, Some(1)) if is_2xx(&second) => Judgement::Ok,
            _ => Judgement::Fault,
        };
        Ok(finding(judgement, happened))
    }

    /// A forged delivery, whose body goes on until somebody stops it.
    async fn endless(&self) -> Result<Finding, Failure> {
        let limit = self.site.body_limit;
        let finding = |judgement, happened| Finding {
            name: format!("{}: a forged delivery with a body over the limit, and no end", self.site.provider.name),
            expected: "refused with a 4xx, or hung up on, before its end",
            happened,
            judgement,
            why: "Anybody could fill the endpoint's memory, without knowing any secret.".to_owned(),
        };
        let Some(case) = self.genuine(&format!("{}endless", self.site.mark))? else {
            return Ok(finding(Judgement::Skipped, "there is no genuine case".to_owned()));
        };
        let foreign = random::secret()?;
        let (id, at) = (format!("{}endless", self.site.mark), now()?.to_string());
        let signed =
            self.site.endpoint.signing().and_then(|signing| Ok(signing.headers(&foreign, &id, &at, &case.body)?));
        let mut case = case;
        case.headers = signed.map_err(|error| Failure::new(error.to_string()))?;
        let request = self.site.request(&case)?;
        let mut wire = format!("POST {} HTTP/1.1\r\n", self.site.target.path()).into_bytes();
        wire.extend_from_slice(b"host: ");
        wire.extend_from_slice(self.site.target.authority().as_bytes());
        for (name, value) in request.headers() {
            wire.extend_from_slice(format!("\r\n{name}: ").as_bytes());
            wire.extend_from_slice(value.as_bytes());
        }
        wire.extend_from_slice(b"\r\ntransfer-encoding: chunked\r\n\r\n");

        let stream = match tokio::time::timeout(self.site.patience, self.site.target.connect()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(lost)) => return Ok(finding(Judgement::Unclear, lost.to_string())),
            Err(_) => return Ok(finding(Judgement::Unclear, Lost::TimedOut(self.site.patience).to_string())),
        };
        let (mut reads, mut writes) = tokio::io::split(stream);
        let over = limit.saturating_add(64 * 1024);
        let sending = async {
            let piece = [format!("{PIECE:x}\r\n").as_bytes(), &[b' '; PIECE], b"\r\n"].concat();
            writes.write_all(&wire).await?;
            let mut sent = 0_u64;
            while sent < over {
                writes.write_all(&piece).await?;
                sent = sent.saturating_add(PIECE as u64);
            }
            writes.flush().await?;
            // It does not end here: whoever waits for the end waits in vain.
            std::future::pending::<std::io::Result<()>>().await
        };
        let answered = async {
            tokio::select! {
                status = status_of(&mut reads) => status,
                // Who is hung up on while sending may still have been answered.
                Err(_) = sending => status_of(&mut reads).await,
            }
        };
        Ok(match tokio::time::timeout(self.site.patience.clamp(LEAST, MOST), answered).await {
            Ok(Ok(408)) | Err(_) => finding(Judgement::Fault, format!("{over} bytes were taken, and more waited for")),
            Ok(Ok(status)) if (400..500).contains(&status) => finding(Judgement::Ok, status.to_string()),
            Ok(Ok(status)) if (200..300).contains(&status) => finding(Judgement::Fault, status.to_string()),
            Ok(Ok(status)) => finding(Judgement::Unclear, status.to_string()),
            Ok(Err(_)) => finding(Judgement::Ok, "hung up on".to_owned()),
        })
    }

    /// A genuine delivery of an event that nobody has seen.
    fn genuine(&self, mark: &str) -> Result<Option<Case>, Failure> {
        let plain = self.cases.iter().find(|outside| {
            outside.skipped.is_none()
                && outside.case.like.is_none()
                && outside.case.expected.outcome == Outcome::Handled
        });
        let Some(outside) = plain else {
            return Ok(None);
        };
        let at = now()?;
        let mut case = outside.case.clone();
        case.body = self.site.endpoint.renewed(&case.body, mark, at);
        let endpoint = &self.site.endpoint;
        let secret = endpoint.secrets.values().next().map_or("", String::as_str);
        let signed =
            endpoint.signing().and_then(|signing| Ok(signing.headers(secret, mark, &at.to_string(), &case.body)?));
        case.headers = signed.map_err(|error| Failure::new(error.to_string()))?;
        case.headers.extend(endpoint.also());
        Ok(Some(case))
    }
}

/// For how many seconds the times in the cases may stand: what is at a limit is 10 s clear of it.
const FRESH: u64 = 5;

const PIECE: usize = 16 * 1024;

/// How long it is watched whether a body is stopped.
const LEAST: Duration = Duration::from_secs(5);
const MOST: Duration = Duration::from_secs(10);

fn expected(case: &Case) -> &'static str {
    match case.state {
        State::Handled => "accepted with a 2xx both times, and handled once",
        State::InFlight => "accepted with a 2xx once handled, and handled once",
        _ => Wanted::of(case).in_words(),
    }
}

fn is_2xx(answer: &Result<HttpAnswer, Lost>) -> bool {
    answer.as_ref().is_ok_and(|answer| (200..300).contains(&answer.status))
}

fn shown(answer: &Result<HttpAnswer, Lost>) -> String {
    match answer {
        Ok(answer) => answer.status.to_string(),
        Err(lost) => lost.to_string(),
    }
}

fn of(handled: Option<u64>) -> String {
    handled.map(|handled| format!(" ({})", times(handled))).unwrap_or_default()
}
