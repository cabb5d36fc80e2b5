//! What is sent to each endpoint, and what has to become of it.
//!
//! A delivery that must be refused differs from a genuine one in exactly one thing. No step depends on how long
//! anything takes: where two things have to happen at once, one waits for the other.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream::FuturesUnordered;
use http::{Method, Request, header};
use medhook::{Bytes, Outcome, Reason};

use super::draft::Draft;
use super::handler::{Conduct, Handler};
use super::patience::{PATIENCE, within};
use super::providers::DemoProvider;
use super::seen::{CURRENT, Call, DemoAnswer, Observation, Row};
use super::sender::Sender;
use super::server::{DemoEndpoint, NEXT, Server};
use crate::failure::Failure;
use crate::read::DecodeOutcome;

/// Plays every step at every endpoint. At the end the endpoints take nothing more.
pub(super) async fn play(server: &Server) -> Result<Vec<Row>, Failure> {
    let sender = Sender::to(server)?;
    let mut rows = Vec::new();
    for endpoint in server.endpoints() {
        let stage = EndpointUnderTest { endpoint, sender: &sender, events: AtomicUsize::new(0) };
        rows.append(&mut stage.play().await);
    }
    Ok(rows)
}

/// How many copies of a delivery are sent at once.
const COPIES: usize = 50;

/// The longest body that a receiver takes unless it is told otherwise.
const BODY_LIMIT: usize = 1024 * 1024;

/// How much too far ahead a time is set: this many seconds may pass until it is judged.
const MARGIN: i64 = 60;

/// One endpoint, and someone to send to it.
struct EndpointUnderTest<'s> {
    endpoint: &'s DemoEndpoint,
    sender: &'s Sender,
    events: AtomicUsize,
}

impl EndpointUnderTest<'_> {
    async fn play(&self) -> Vec<Row> {
        let mut rows = Rows { provider: self.provider().name, rows: Vec::new() };
        self.play_genuine(&mut rows).await;
        self.play_not_genuine(&mut rows).await;
        self.play_odd(&mut rows).await;
        self.play_trouble(&mut rows).await;
        rows.rows
    }

    /// What is handled, and once.
    async fn play_genuine(&self, rows: &mut Rows) {
        let provider = self.provider();
        let mut kinds = (provider.kinds)();
        let documented = kinds.len();
        kinds.retain(|kind| provider.has_sample(kind));
        let sent = format!("each documented kind ({} of {documented}), once", kinds.len());
        let calls = kinds.iter().map(|kind| call_of(kind)).collect();
        let expected = Observation { answers: vec![HANDLED; kinds.len()], calls };
        rows.add(sent, expected, self.each(&kinds)).await;

        let next = Call { secret: NEXT.to_owned(), ..call_of(provider.kind) };
        let expected = Observation { calls: vec![next], ..self.handled() };
        let step = self.one(self.draft().secret(&self.endpoint.keys.next));
        rows.add("signed with the second secret", expected, step).await;

        let expected = Observation { answers: vec![HANDLED, DUPLICATE], ..self.handled() };
        rows.add("a delivery, twice", expected, self.twice(Conduct::Succeed)).await;

        let refused = COPIES.saturating_sub(1);
        let answers = [vec![IN_FLIGHT; refused], vec![HANDLED], vec![DUPLICATE; refused]].concat();
        let sent = format!("{COPIES} copies at once, the refused ones again");
        rows.add(sent, Observation { answers, ..self.handled() }, self.at_once()).await;
    }

    /// What must not reach the handler.
    async fn play_not_genuine(&self, rows: &mut Rows) {
        let provider = self.provider();
        rows.add("not signed", refused(401, Reason::MissingHeader), self.altered(unsigned)).await;

        let step = self.one(self.draft().secret(&self.endpoint.keys.foreign));
        rows.add("signed with a secret we do not have", refused(401, Reason::SignatureMismatch), step).await;

        if provider.proves_body {
            let step = self.altered(one_bit_flipped);
            rows.add("one bit of the body flipped on the way", refused(401, Reason::SignatureMismatch), step).await;
        }
        if let Some(ages) = provider.ages {
            let old = ages.past.saturating_add(1);
            let step = self.one(self.draft().dated(old.saturating_neg()));
            rows.add(format!("{old} s old"), refused(401, Reason::Stale), step).await;

            let ahead = ages.future.saturating_add(MARGIN);
            let step = self.one(self.draft().dated(ahead));
            rows.add(format!("dated {ahead} s ahead"), refused(401, Reason::InTheFuture), step).await;
        }
        if let Some(modes) = provider.modes {
            // Genuine all the same: a 4xx would only make the provider switch the endpoint off.
            let step = self.one(self.draft().edited(modes.test));
            rows.add("a test event, signed with the live secret", refused(200, Reason::WrongMode), step).await;
        }
        rows.add("GET instead of POST", refused(405, Reason::Method), self.altered(with_get)).await;

        let sent = "1 byte over 1 MiB announced, none sent";
        rows.add(sent, refused(413, Reason::TooLarge), self.too_large()).await;
    }

    /// Genuine, but not as documented: handed over all the same.
    async fn play_odd(&self, rows: &mut Rows) {
        let provider = self.provider();
        if let Some(unknown) = provider.unknown {
            let kind = unknown.to.trim_matches('"');
            let step = self.one(self.draft().edited(unknown));
            rows.add("a kind that is not documented", handled_as(DecodeOutcome::Unknown, kind), step).await;
        }
        if let Some(drifted) = provider.drifted {
            let read = DecodeOutcome::Without(vec![drifted.path.to_owned()]);
            let step = self.one(self.draft().edited(drifted.edit));
            rows.add("a field of another type than documented", handled_as(read, provider.kind), step).await;
        }
        if let Some(undecodable) = provider.undecodable {
            let step = self.one(self.draft().edited(undecodable));
            rows.add("a payload that is no object", handled_as(DecodeOutcome::Undecodable, provider.kind), step).await;
        }
    }

    /// What goes wrong on either side. After it, the endpoint takes nothing more.
    async fn play_trouble(&self, rows: &mut Rows) {
        let calls = vec![call_of(self.provider().kind); 2];
        let expected = Observation { answers: vec![DemoAnswer::of(500, Outcome::Failed), HANDLED], calls };
        rows.add("a delivery whose handler fails, and its retry", expected, self.twice(Conduct::FailOnce)).await;

        let expected = Observation { answers: vec![DemoAnswer::hung_up(), DUPLICATE], ..self.handled() };
        rows.add("a hang-up while the handler runs, and a retry", expected, self.hangs_up()).await;

        let step = self.while_draining();
        rows.add("a delivery during shut-down", refused(503, Reason::Draining), step).await;
    }

    fn provider(&self) -> &'static DemoProvider {
        self.endpoint.provider
    }

    fn handler(&self) -> &Handler {
        &self.endpoint.handler
    }

    /// A genuine delivery of an event that is not known yet.
    fn draft(&self) -> Draft<'_> {
        let event = self.events.fetch_add(1, Ordering::Relaxed);
        Draft::new(self.provider(), &self.endpoint.keys.current, event)
    }

    /// Handled once, as documented.
    fn handled(&self) -> Observation {
        handled_as(DecodeOutcome::AsDocumented, self.provider().kind)
    }

    /// What the handler was called with since the step began, with the answers to it.
    fn seen(&self, answers: Vec<DemoAnswer>) -> Observation {
        Observation { answers, calls: self.handler().calls() }
    }

    async fn one(&self, draft: Draft<'_>) -> Result<Observation, Failure> {
        self.handler().begin(Conduct::Succeed);
        let answer = self.sender.send(&draft.request()?).await?;
        Ok(self.seen(vec![answer]))
    }

    /// A genuine delivery that someone changes on the way.
    async fn altered(&self, alter: fn(&mut Request<Bytes>)) -> Result<Observation, Failure> {
        self.handler().begin(Conduct::Succeed);
        let mut request = self.draft().request()?;
        alter(&mut request);
        let answer = self.sender.send(&request).await?;
        Ok(self.seen(vec![answer]))
    }

    /// The first kind that does not come out as documented is named.
    async fn each(&self, kinds: &[&str]) -> Result<Observation, Failure> {
        let mut all = Observation { answers: Vec::new(), calls: Vec::new() };
        for kind in kinds {
            let seen = self.one(self.draft().kind(kind)).await.map_err(|failure| Failure::because(kind, failure))?;
            if seen.answers != [HANDLED] || seen.calls != [call_of(kind)] {
                return Err(Failure::because(kind, format_args!("{seen:#}")));
            }
            all.answers.extend(seen.answers);
            all.calls.extend(seen.calls);
        }
        Ok(all)
    }

    async fn twice(&self, conduct: Conduct) -> Result<Observation, Failure> {
        self.handler().begin(conduct);
        let request = self.draft().request()?;
        let answers = vec![self.sender.send(&request).await?, self.sender.send(&request).await?];
        Ok(self.seen(answers))
    }

    /// No handler may end before every copy is either in a handler or refused: so all of them really overlap, and the
    /// refused ones are refused because one is in flight.
    async fn at_once(&self) -> Result<Observation, Failure> {
        self.handler().begin(Conduct::Wait);
        let request = self.draft().request()?;
        let lines = try_join_all((0..COPIES).map(|_| self.sender.open())).await?;
        let mut under_way: FuturesUnordered<_> = lines.into_iter().map(|line| line.send(&request)).collect();
        let mut answers = Vec::new();

        let all_there = async {
            let mut board = self.handler().watch();
            while board.borrow_and_update().begun.saturating_add(answers.len()) < COPIES {
                tokio::select! {
                    Some(answer) = under_way.next() => answers.push(answer?),
                    changed = board.changed() => changed.map_err(|_| Failure::new("no handler"))?,
                }
            }
            Ok::<_, Failure>(())
        };
        within("all copies to arrive", all_there).await??;
        self.handler().let_go();
        while let Some(answer) = under_way.next().await {
            answers.push(answer?);
        }

        let refused = answers.iter().filter(|answer| answer.is_in_flight()).count();
        let again = (0..refused).map(|_| self.sender.send_until_settled(&request));
        answers.append(&mut try_join_all(again).await?);
        Ok(self.seen(answers))
    }

    /// The handler is let go only after the server has noticed that its sender is gone.
    async fn hangs_up(&self) -> Result<Observation, Failure> {
        self.handler().begin(Conduct::Wait);
        let request = self.draft().request()?;
        let unanswered = self.sender.send_and_leave(&request).await?;
        self.handler().wait_for("the handler to begin", |board| board.begun > 0).await?;
        let hung_up = unanswered.hang_up().await?;
        self.handler().let_go();
        self.handler().wait_for("the handler to end", |board| !board.calls.is_empty()).await?;
        // The claim is settled a moment after the handler's end.
        let again = self.sender.send_until_settled(&request).await?;
        Ok(self.seen(vec![hung_up, again]))
    }

    async fn too_large(&self) -> Result<Observation, Failure> {
        self.handler().begin(Conduct::Succeed);
        let request = self.draft().request()?;
        let answer = self.sender.announce(&request, BODY_LIMIT.saturating_add(1)).await?;
        Ok(self.seen(vec![answer]))
    }

    async fn while_draining(&self) -> Result<Observation, Failure> {
        let given_up = self.endpoint.receiver.drain(PATIENCE).await;
        if given_up > 0 {
            return Err(Failure::new(format!("{given_up} handlers did not end")));
        }
        self.one(self.draft()).await
    }
}

/// The rows of one provider.
struct Rows {
    provider: &'static str,
    rows: Vec<Row>,
}

impl Rows {
    async fn add(
        &mut self,
        sent: impl Into<String>,
        expected: Observation,
        step: impl Future<Output = Result<Observation, Failure>>,
    ) {
        let happened = step.await;
        self.rows.push(Row { provider: self.provider, sent: sent.into(), expected, happened });
    }
}

const HANDLED: DemoAnswer = DemoAnswer::of(200, Outcome::Handled);

const DUPLICATE: DemoAnswer = DemoAnswer::because(200, Reason::Duplicate);
const IN_FLIGHT: DemoAnswer = DemoAnswer::because(503, Reason::InFlight);

/// Not handed over.
fn refused(status: u16, reason: Reason) -> Observation {
    Observation { answers: vec![DemoAnswer::because(status, reason)], calls: Vec::new() }
}

/// Handed over once.
fn handled_as(read: DecodeOutcome, kind: &str) -> Observation {
    Observation { answers: vec![HANDLED], calls: vec![Call { read, ..call_of(kind) }] }
}

fn call_of(kind: &str) -> Call {
    Call { kind: Some(kind.to_owned()), read: DecodeOutcome::AsDocumented, secret: CURRENT.to_owned() }
}

fn unsigned(request: &mut Request<Bytes>) {
    let content_type = request.headers_mut().remove(header::CONTENT_TYPE);
    request.headers_mut().clear();
    if let Some(content_type) = content_type {
        request.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
}

fn one_bit_flipped(request: &mut Request<Bytes>) {
    let mut body = request.body().to_vec();
    let middle = body.len() / 2;
    if let Some(byte) = body.get_mut(middle) {
        *byte ^= 1;
    }
    *request.body_mut() = body.into();
}

fn with_get(request: &mut Request<Bytes>) {
    *request.method_mut() = Method::GET;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use medhook::{Freshness, MemoryStore, NoDedupe};

    use super::super::providers::PROVIDERS;
    use medhook::Builder;

    use super::*;

    /// What was sent in the rows that are not ok, at receivers of this make.
    async fn not_ok(fit_out: impl Fn(Builder) -> Builder) -> Vec<(&'static str, String)> {
        let server = Server::start(PROVIDERS, fit_out).await.unwrap();
        let rows = play(&server).await.unwrap();
        server.stop().await.unwrap();
        rows.into_iter().filter(|row| !row.is_ok()).map(|row| (row.provider, row.sent)).collect()
    }

    fn store() -> MemoryStore {
        MemoryStore::new(10_000)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_comes_out_as_expected() {
        assert_eq!(not_ok(|builder| builder.store(store())).await, []);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_receiver_that_remembers_nothing_is_caught() {
        let faults = not_ok(|builder| builder.store(NoDedupe)).await;
        for provider in PROVIDERS {
            let sent: Vec<_> = faults.iter().filter(|fault| fault.0 == provider.name).map(|fault| &*fault.1).collect();
            assert_eq!(
                sent,
                [
                    "a delivery, twice",
                    "50 copies at once, the refused ones again",
                    "a hang-up while the handler runs, and a retry",
                ]
            );
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_receiver_that_looks_at_no_times_is_caught() {
        let faults = not_ok(|builder| builder.store(store()).freshness(Freshness::Unchecked)).await;
        assert_eq!(
            faults,
            [
                ("fasten", "301 s old".to_owned()),
                ("fasten", "dated 360 s ahead".to_owned()),
                ("healthsync", "7201 s old".to_owned()),
                ("healthsync", "dated 360 s ahead".to_owned()),
            ]
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_receiver_with_another_limit_is_caught() {
        let faults =
            not_ok(|builder| builder.store(store()).body_limit(2 * BODY_LIMIT).body_timeout(Duration::from_secs(2)));
        let faults = faults.await;
        assert_eq!(faults.len(), PROVIDERS.len(), "{faults:?}");
        assert!(faults.iter().all(|(_, sent)| sent.starts_with("1 byte over 1 MiB")), "{faults:?}");
    }
}
