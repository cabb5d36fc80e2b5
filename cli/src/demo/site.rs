//! One provider's endpoint, as cases are played at it.

use medhook::{Outcome, Reason, Receiver};
use medhook_conformance::{Answer, Call, Case, Plan, Player, Sent, Site};

use super::handler::Handler;
use crate::failure::Failure;
use crate::http_client::HttpAnswer;
use crate::sender::Sender;

/// An endpoint of the demo, and a sender to it.
pub(super) struct DemoSite {
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    pub(super) handler: Handler,
    /// The prefix of every id.
    pub(super) mark: String,
}

impl DemoSite {
    pub(super) fn provider(&self) -> &str {
        &self.sender.endpoint.provider
    }

    pub(super) fn player(&self) -> Result<Player<'_, DemoSite>, Failure> {
        Ok(Player::new(self, Plan::inside(self.sender.endpoint.clone(), self.mark.clone()))?)
    }
}

impl Site for DemoSite {
    type Error = Failure;

    async fn deliver(&self, case: &Case) -> Result<Sent, Failure> {
        let is_announced = case.expected.reason == Some(Reason::TooLarge);
        let sent = if is_announced { self.sender.announce(case).await? } else { self.sender.deliver(case).await? };
        Ok(sent.map(answer_of))
    }

    /// Delivers copies of a case. The handler keeps each copy until every copy has reached it or was answered, so all
    /// of them overlap.
    async fn deliver_copies(&self, case: &Case, copies: usize) -> Result<Vec<Sent>, Failure> {
        self.handler.hold_until(copies);
        let sent = self.sender.deliver_copies(case, copies).await;
        self.handler.hold_until(0);
        Ok(sent?.into_iter().map(|sent| sent.map(answer_of)).collect())
    }

    async fn deliver_endless(&self, case: &Case, bytes: u64) -> Result<Sent, Failure> {
        Ok(self.sender.deliver_endless(case, bytes).await?.map(Answer::of))
    }

    async fn handled(&self) -> Result<Option<u64>, Failure> {
        Ok(Some(self.handler.handled()))
    }

    fn last_call(&self) -> Option<Call> {
        Some(Call::of(&self.handler.last()?))
    }

    async fn fail_next(&self) -> Result<Result<(), &'static str>, Failure> {
        self.handler.fail_next();
        Ok(Ok(()))
    }

    async fn drain(&self) -> Result<(), Failure> {
        match self.receiver.drain(self.sender.limit).await {
            0 => Ok(()),
            left => Err(Failure::new(format!("{left} handlers did not end"))),
        }
    }
}

/// Reads what the demo's server adds to an answer.
fn answer_of(answer: HttpAnswer) -> Answer {
    let named = |name: &str| answer.body == name.as_bytes();
    let reason = Reason::ALL.iter().copied().find(|reason| named(reason.as_str()));
    let outcome = [Outcome::Handled, Outcome::Failed].into_iter().find(|outcome| named(outcome.as_str()));
    Answer { status: answer.status, outcome: reason.map(Reason::outcome).or(outcome), reason }
}
