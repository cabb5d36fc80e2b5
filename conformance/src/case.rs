//! One case: a delivery, and the expected result.

use std::fmt;

use bytes::Bytes;
use medhook::{Outcome, Reason};

use crate::answer::{Answer, Call};
use crate::change::{Change, State};

/// One delivery, ready to be sent, and the expected result.
#[derive(Clone)]
#[non_exhaustive]
pub struct Case {
    /// The name of the case, unique in the list.
    pub name: String,
    /// The name of the case's endpoint.
    pub endpoint: String,
    /// The name of the case that it differs from in one thing; that case is handled. `None` for a signed fixture.
    pub like: Option<String>,
    /// The one thing that differs.
    pub change: Option<Change>,
    /// The reason for the case, where the name does not state it.
    pub why: Option<String>,
    /// The method of the request.
    pub method: String,
    /// The headers of the request, without those of the transport.
    pub headers: Vec<(String, String)>,
    /// The body of the request.
    pub body: Bytes,
    /// The way in which the body is sent.
    pub transfer: Transfer,
    /// The state of the receiver while the delivery is sent.
    pub state: State,
    /// The status that the handler answers with.
    pub handler: u16,
    /// The expected result.
    pub expected: Expected,
}

impl fmt::Debug for Case {
    /// Writes neither headers, which can contain the endpoint's secret, nor the body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { name, endpoint, change, .. } = self;
        let mut case = f.debug_struct("Case");
        case.field("name", name).field("endpoint", endpoint).field("change", change).finish_non_exhaustive()
    }
}

/// The expected result of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expected {
    /// The outcome.
    pub outcome: Outcome,
    /// The reason, where there is one.
    pub reason: Option<Reason>,
    /// The status.
    pub status: u16,
    /// The kind that the handler is called with, where it is called and the body names one.
    pub kind: Option<String>,
    /// The result of decoding the event: as the variant of its kind (`kind`), as an unknown kind (`unknown`) or not
    /// at all (`undecodable`). `None` where the handler is not called.
    pub decodes: Option<String>,
}

impl Expected {
    /// Returns the expected answer, with outcome and reason.
    #[must_use]
    pub fn answer(&self) -> Answer {
        Answer { status: self.status, outcome: Some(self.outcome), reason: self.reason }
    }

    /// Returns whether the handler was called as expected; `None` stands for no call.
    #[must_use]
    pub fn matches_call(&self, call: Option<&Call>) -> bool {
        match (&self.decodes, call) {
            (None, None) => true,
            (Some(decodes), Some(call)) => self.kind == call.kind && *decodes == call.decodes,
            _ => false,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", self.answer())?;
        match (&self.decodes, self.outcome) {
            (Some(decodes), Outcome::Handled) => {
                let decodes = if decodes == "kind" { "its type" } else { decodes };
                write!(f, "handled once: {} as {decodes}", self.kind.as_deref().unwrap_or("no kind"))
            }
            _ => f.write_str("not handled"),
        }
    }
}

/// The way in which a body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Transfer {
    /// In one piece, with a `content-length`.
    #[default]
    Whole,
    /// In chunks of this many bytes, without a `content-length`.
    Chunked(usize),
    /// With a `content-length` of another number of bytes.
    Declares(u64),
    /// The first half is sent, then the connection is closed.
    HangsUp,
    /// The first half is sent, and the connection stays open.
    Stalls,
}
