//! The endpoint, as far as it can be seen from outside.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request};
use medhook::Bytes;
use medhook_conformance::{Case, Endpoint, Outside, Transfer, cases_outside};

use crate::clock::now;
use crate::endpoint::{Provider, unsigned_headers};
use crate::failure::Failure;
use crate::http_client::{HttpAnswer, Lost, Target};

/// An endpoint that is checked, and what its operator gives to look at it.
pub(super) struct Site {
    pub(super) target: Target,
    pub(super) provider: Provider,
    pub(super) endpoint: Endpoint,
    pub(super) patience: Duration,
    pub(super) count: Option<Target>,
    pub(super) fail_next: Option<Target>,
    pub(super) body_limit: u64,
    pub(super) copies: u16,
    /// What all ids begin with.
    pub(super) mark: String,
}

impl Site {
    /// Every case, as if it were sent now.
    pub(super) fn cases(&self) -> Result<Vec<Outside>, Failure> {
        let cases = cases_outside(&self.endpoint, &self.mark, now()?);
        cases.map_err(|error| Failure::new(error.to_string()))
    }

    /// A case as a request, with the headers that the provider sends beside its proof.
    pub(super) fn request(&self, case: &Case) -> Result<Request<Bytes>, Failure> {
        let mut headers = case.headers.clone();
        for (name, value) in unsigned_headers(self.provider, &case.body)? {
            if !headers.iter().any(|(known, _)| *known == name) {
                headers.push((name, value));
            }
        }
        let unsendable = |_| Failure::new("it cannot be sent");
        let mut request = Request::new(case.body.clone());
        *request.method_mut() = case.method.parse::<Method>().map_err(|_| Failure::new("it cannot be sent"))?;
        *request.uri_mut() = self.target.path().parse().map_err(|_| Failure::new("it cannot be sent"))?;
        for (name, value) in headers {
            let name = name.parse::<HeaderName>().map_err(|_| Failure::new("it cannot be sent"))?;
            request.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).map_err(unsendable)?);
        }
        Ok(request)
    }

    /// Sends a case once.
    pub(super) async fn deliver(&self, case: &Case) -> Result<Result<HttpAnswer, Lost>, Failure> {
        let request = self.request(case)?;
        let sent = async {
            let connection = self.target.open().await?;
            match case.transfer {
                Transfer::Chunked(length) => connection.send_chunked(request, length).await,
                _ => connection.send(request).await,
            }
        };
        let answer = tokio::time::timeout(self.patience, sent).await;
        Ok(answer.unwrap_or(Err(Lost::TimedOut(self.patience))))
    }

    /// How many events were handled so far, if that can be asked for.
    pub(super) async fn counted(&self) -> Result<Option<u64>, Failure> {
        let Some(count) = &self.count else {
            return Ok(None);
        };
        let cannot = |problem: String| Failure::new(format!("the number of handled events cannot be read: {problem}"));
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = count.path().parse().map_err(|_| cannot("not a path".to_owned()))?;
        let answer = count.send(request, COUNTING).await.map_err(|lost| cannot(lost.to_string()))?;
        if answer.status != 200 {
            return Err(cannot(format!("it is answered {}", answer.status)));
        }
        let number = str::from_utf8(&answer.body).ok().and_then(|text| text.trim().parse().ok());
        number.map(Some).ok_or_else(|| cannot("what is answered is no number".to_owned()))
    }

    /// Makes the handling of the next event fail.
    pub(super) async fn fail_next(&self, at: &Target) -> Result<(), Failure> {
        let cannot = |problem: String| Failure::new(format!("the next event cannot be made to fail: {problem}"));
        let request = Request::post(at.path()).body(Bytes::new()).map_err(|error| cannot(error.to_string()))?;
        let answer = at.send(request, COUNTING).await.map_err(|lost| cannot(lost.to_string()))?;
        if (200..300).contains(&answer.status) {
            Ok(())
        } else {
            Err(cannot(format!("it is answered {}", answer.status)))
        }
    }
}

/// How long what belongs to the check, and not to the endpoint, may take.
const COUNTING: Duration = Duration::from_secs(30);
