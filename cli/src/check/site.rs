//! The endpoint, as it can be seen from outside.

use std::time::Duration;

use http::Request;
use medhook::Bytes;
use medhook_conformance::{Answer, Case, Sent, Site};

use crate::failure::Failure;
use crate::http_client::Target;
use crate::sender::Sender;

/// An endpoint that is checked, and the URLs that its operator names.
pub(super) struct CheckedSite {
    pub(super) sender: Sender,
    pub(super) count: Option<Target>,
    pub(super) fail_next: Option<Target>,
}

impl Site for CheckedSite {
    type Error = Failure;

    async fn deliver(&self, case: &Case) -> Result<Sent, Failure> {
        Ok(self.sender.deliver(case).await?.map(|answer| Answer::of(answer.status)))
    }

    async fn deliver_copies(&self, case: &Case, copies: usize) -> Result<Vec<Sent>, Failure> {
        let answers = self.sender.deliver_copies(case, copies).await?;
        Ok(answers.into_iter().map(|answer| answer.map(|answer| Answer::of(answer.status))).collect())
    }

    async fn deliver_endless(&self, case: &Case, bytes: u64) -> Result<Sent, Failure> {
        Ok(self.sender.deliver_endless(case, bytes).await?.map(Answer::of))
    }

    async fn handled(&self) -> Result<Option<u64>, Failure> {
        let Some(count) = &self.count else {
            return Ok(None);
        };
        let cannot = |problem: String| Failure::new(format!("cannot read the number of handled events: {problem}"));
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = count.path().parse().map_err(|_| cannot("not a path".to_owned()))?;
        let answer = count.send(request, COUNTING).await.map_err(|lost| cannot(lost.to_string()))?;
        if answer.status != 200 {
            return Err(cannot(format!("the answer is {}", answer.status)));
        }
        let number = str::from_utf8(&answer.body).ok().and_then(|text| text.trim().parse().ok());
        number.map(Some).ok_or_else(|| cannot("the answer is no number".to_owned()))
    }

    async fn fail_next(&self) -> Result<Result<(), &'static str>, Failure> {
        let Some(at) = &self.fail_next else {
            return Ok(Err("needs --count-url and --fail-next-url to make a handler fail"));
        };
        let cannot = |problem: String| Failure::new(format!("cannot make the next event fail: {problem}"));
        let request = Request::post(at.path()).body(Bytes::new()).map_err(|error| cannot(error.to_string()))?;
        let answer = at.send(request, COUNTING).await.map_err(|lost| cannot(lost.to_string()))?;
        if (200..300).contains(&answer.status) {
            Ok(Ok(()))
        } else {
            Err(cannot(format!("the answer is {}", answer.status)))
        }
    }
}

/// The time limit for what belongs to the check, and not to the endpoint.
const COUNTING: Duration = Duration::from_secs(30);
