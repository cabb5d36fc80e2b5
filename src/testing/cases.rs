//! `fixtures/cases.toml`: one list of deliveries and what must become of each.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use super::fixtures::{fixtures, rfc3339, with_text};
use super::sign::Signing;
use crate::provider::{fasten, healthsync};
use crate::receiver::Builder;
use crate::{ConfigError, Custom, Fasten, HealthSync, Outcome, Reason, Receiver, Secret, Secrets};

/// Every case, at the list's own time.
///
/// # Errors
/// The list does not make sense; a test of this project's sees to it that it does.
pub fn cases() -> Result<Cases, CaseError> {
    load(None)
}

/// Every case, as if it were sent now, at this Unix time in seconds.
///
/// # Errors
/// As with [`cases`].
pub fn cases_at(now: i64) -> Result<Cases, CaseError> {
    load(Some(now))
}

/// The list.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Cases {
    /// The receivers' clock, in Unix seconds.
    pub now: i64,
    /// The receivers that cases are for, by name.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// The cases.
    pub cases: Vec<Case>,
}

/// What a case's receiver is made of.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Endpoint {
    /// The provider's name.
    pub provider: String,
    /// Its secrets, by label. The first in the order of labels signs, unless a case says otherwise.
    pub secrets: BTreeMap<String, String>,
    /// Fasten: secrets of the test mode, beside those of the live mode.
    #[serde(default)]
    pub test_secrets: BTreeMap<String, String>,
    /// The longest body, in bytes.
    #[serde(default)]
    pub body_limit: Option<usize>,
    /// How long a body may take, in milliseconds.
    #[serde(default)]
    pub body_timeout_ms: Option<u64>,
}

impl Endpoint {
    /// A receiver, up to its store and clock.
    ///
    /// # Errors
    /// A secret or a provider that the list should not hold.
    pub fn builder(&self, name: &str) -> Result<Builder, ConfigError> {
        let secrets = secrets(&self.secrets)?;
        let mut builder = match self.provider.as_str() {
            fasten::NAME if self.test_secrets.is_empty() => Receiver::builder(name, Fasten::live(secrets)),
            fasten::NAME => {
                let test = self::secrets(&self.test_secrets)?;
                Receiver::builder(name, Fasten::live(secrets).and_test(test))
            }
            healthsync::NAME => Receiver::builder(name, HealthSync::new(secrets)),
            other => {
                let scheme = crate::SharedSecret::new("x-secret");
                Receiver::builder(name, Custom::new(other, scheme, secrets).id("/id").kind("/type"))
            }
        };
        if let Some(bytes) = self.body_limit {
            builder = builder.body_limit(bytes);
        }
        if let Some(millis) = self.body_timeout_ms {
            builder = builder.body_timeout(Duration::from_millis(millis));
        }
        Ok(builder)
    }

    fn signing(&self) -> Signing {
        match self.provider.as_str() {
            fasten::NAME => Signing::StandardWebhooks,
            healthsync::NAME => Signing::healthsync(),
            _ => Signing::SharedSecret { header: "x-secret".to_owned() },
        }
    }

    /// Where the body says when it was sent or made.
    fn time_at(&self) -> &'static str {
        match self.provider.as_str() {
            fasten::NAME => "/date",
            healthsync::NAME => "/created_at",
            _ => "",
        }
    }

    fn secret(&self, label: Option<&str>) -> Option<&str> {
        let mut all = self.secrets.iter().chain(&self.test_secrets);
        match label {
            Some(label) => all.find(|(known, _)| *known == label),
            None => all.next(),
        }
        .map(|(_, secret)| secret.as_str())
    }
}

fn secrets(list: &BTreeMap<String, String>) -> Result<Secrets, ConfigError> {
    let mut list = list.iter().map(|(label, secret)| Secret::new(label, secret.as_str()));
    let first = list.next().ok_or_else(|| ConfigError::new("no secrets"))??;
    list.try_fold(Secrets::new(first), |secrets, secret| secrets.also(secret?))
}

/// One delivery, ready to be sent, and what must become of it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Case {
    /// Its name, unique in the list.
    pub name: String,
    /// The name of its endpoint.
    pub endpoint: String,
    /// The case it differs from in one thing; `None` for one that stands for itself.
    pub like: Option<String>,
    /// That one thing.
    pub change: Option<Change>,
    /// Why it matters, where the name does not say it.
    pub why: Option<String>,
    /// The request's method.
    pub method: String,
    /// Its headers, without those of the transport.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Bytes,
    /// How the body is sent.
    pub transfer: Transfer,
    /// What else is the matter while it is sent.
    pub state: State,
    /// The status that the handler answers with.
    pub handler: u16,
    /// What must become of it.
    pub expected: Expected,
}

/// What must become of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expected {
    /// The outcome.
    pub outcome: Outcome,
    /// The reason, where there is one.
    pub reason: Option<Reason>,
    /// The status.
    pub status: u16,
    /// The kind that the handler gets, where it is called.
    pub kind: Option<String>,
    /// Whether the event decodes as the variant of its kind (`kind`), as one for an unknown kind (`unknown`), or not
    /// (`undecodable`).
    pub decodes: Option<String>,
}

/// How a body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Transfer {
    /// With its length.
    #[default]
    Whole,
    /// In chunks of this many bytes, without its length.
    Chunked(usize),
    /// With a length that is not its own.
    Declares(u64),
    /// Half of it, and then the connection is closed.
    HangsUp,
    /// Half of it, and then nothing.
    Stalls,
}

/// What else is the matter while a case is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// Nothing.
    #[default]
    Usual,
    /// The same delivery was handled before.
    Handled,
    /// The same delivery is being handled.
    InFlight,
    /// The store does not answer.
    StoreDown,
    /// The store is full.
    StoreFull,
    /// As many handlers run as may.
    Busy,
    /// The receiver is shutting down.
    Draining,
}

/// The one thing in which a case differs from another. *Before* signing means that the sender, who knows the secret,
/// did it; *after*, that someone on the way did.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// Signed with the endpoint's secret of this label.
    Secret(String),
    /// Signed with this secret, which the endpoint does not have.
    ForeignSecret(String),
    /// Before signing: another fixture.
    Body(String),
    /// Before signing: this text instead of the body.
    Text(String),
    /// Before signing: these bytes, in hexadecimal, instead of the body.
    Bytes(String),
    /// Before signing: the first text replaced by the second, once.
    Replace(String, String),
    /// Before signing: spaces after the body, up to this many bytes.
    Pad(usize),
    /// Signed with this message id.
    MessageId(String),
    /// Signed with this text for a timestamp.
    Timestamp(String),
    /// Attempted this many seconds from now.
    Attempt(i64),
    /// Happened this many seconds from now.
    Event(i64),
    /// After signing: one bit of the body flipped, counted from its first.
    Flip(usize),
    /// After signing: text appended to the body.
    Append(String),
    /// After signing: without this header.
    Without(String),
    /// After signing: a header's value replaced, or the header added. `{name}` stands for a genuine header's value.
    Header(String, String),
    /// After signing: another line of a header, whether or not there is one.
    And(String, String),
    /// Another method.
    Method(String),
    /// In chunks of this many bytes.
    Chunked(usize),
    /// With this for the length.
    Declares(u64),
    /// Half of the body, and then the connection is closed.
    HangsUp(bool),
    /// Half of the body, and then nothing.
    Stalls(bool),
    /// Something else is the matter.
    State(State),
    /// The handler answers with this status.
    Handler(u16),
}

/// A list of cases that does not make sense.
#[derive(Debug, thiserror::Error)]
#[error("fixtures/cases.toml: {0}")]
pub struct CaseError(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    now: i64,
    endpoint: BTreeMap<String, Endpoint>,
    case: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    endpoint: Option<String>,
    body: Option<String>,
    like: Option<String>,
    change: Option<Change>,
    why: Option<String>,
    outcome: String,
    reason: Option<String>,
    status: Option<u16>,
    kind: Option<String>,
    decodes: Option<String>,
}

fn load(now: Option<i64>) -> Result<Cases, CaseError> {
    let list: List = toml::from_str(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/cases.toml")))
        .map_err(|error| CaseError(error.to_string()))?;
    let now = now.unwrap_or(list.now);
    let mut cases: Vec<Case> = Vec::with_capacity(list.case.len());
    for row in &list.case {
        let fails = |problem: &str| CaseError(format!("{}: {problem}", row.name));
        if cases.iter().any(|known| known.name == row.name) {
            return Err(fails("two cases have this name"));
        }
        let base = match (&row.like, &row.endpoint, &row.body, &row.change) {
            (None, Some(endpoint), Some(body), None) => Base { endpoint, body },
            (Some(like), None, None, Some(_)) => list
                .case
                .iter()
                .find(|known| known.name == *like)
                .and_then(|known| Some(Base { endpoint: known.endpoint.as_ref()?, body: known.body.as_ref()? }))
                .ok_or_else(|| fails("`like` names no case that stands for itself"))?,
            _ => {
                return Err(fails("a case has `endpoint` and `body`, or `like` and `change`"));
            }
        };
        let endpoint = list.endpoint.get(base.endpoint).ok_or_else(|| fails("there is no such endpoint"))?;
        let expected = expected(row).map_err(|problem| fails(&problem))?;
        let draft = Draft::of(endpoint, base.body, now).map_err(|problem| fails(&problem))?;
        cases.push(draft.case(row, base.endpoint, expected).map_err(|problem| fails(&problem))?);
    }
    Ok(Cases { now, endpoints: list.endpoint, cases })
}

struct Base<'l> {
    endpoint: &'l str,
    body: &'l str,
}

fn expected(row: &Row) -> Result<Expected, String> {
    let outcomes =
        [Outcome::Handled, Outcome::Duplicate, Outcome::Ignored, Outcome::InFlight, Outcome::Refused, Outcome::Failed];
    let outcome = outcomes.into_iter().find(|outcome| outcome.as_str() == row.outcome).ok_or("no such outcome")?;
    let reason = match &row.reason {
        Some(name) => Some(*Reason::ALL.iter().find(|reason| reason.as_str() == name).ok_or("no such reason")?),
        None => None,
    };
    if reason.is_some_and(|reason| reason.outcome() != outcome) {
        return Err("the reason belongs to another outcome".to_owned());
    }
    let status = match (reason, row.status, outcome) {
        (Some(reason), None, _) => reason.status().as_u16(),
        (None, None, Outcome::Handled) => 200,
        (None, Some(status), Outcome::Failed) => status,
        _ => return Err("a reason tells the status; without one a failure needs it".to_owned()),
    };
    Ok(Expected { outcome, reason, status, kind: row.kind.clone(), decodes: row.decodes.clone() })
}

/// A delivery being made.
struct Draft<'l> {
    endpoint: &'l Endpoint,
    now: i64,
    body: Bytes,
    secret: String,
    message_id: String,
    timestamp: String,
}

impl<'l> Draft<'l> {
    fn of(endpoint: &'l Endpoint, body: &str, now: i64) -> Result<Self, String> {
        Ok(Draft {
            endpoint,
            now,
            body: with_text(&body_of(body)?, endpoint.time_at(), &rfc3339(now)),
            secret: endpoint.secret(None).ok_or("its endpoint has no secret")?.to_owned(),
            message_id: "msg_2b1f4c8e".to_owned(),
            timestamp: now.to_string(),
        })
    }

    fn case(mut self, row: &Row, endpoint: &str, expected: Expected) -> Result<Case, String> {
        if let Some(change) = &row.change {
            self.before_signing(change)?;
        }
        let signed = self.endpoint.signing().headers(&self.secret, &self.message_id, &self.timestamp, &self.body);
        let headers = signed.map_err(|error| error.to_string())?;
        let mut case = Case {
            name: row.name.clone(),
            endpoint: endpoint.to_owned(),
            like: row.like.clone(),
            change: row.change.clone(),
            why: row.why.clone(),
            method: "POST".to_owned(),
            headers,
            body: self.body,
            transfer: Transfer::Whole,
            state: State::Usual,
            handler: 200,
            expected,
        };
        if let Some(change) = &row.change {
            after_signing(&mut case, change)?;
        }
        Ok(case)
    }

    fn before_signing(&mut self, change: &Change) -> Result<(), String> {
        match change {
            Change::Secret(label) => {
                self.secret = self.endpoint.secret(Some(label)).ok_or("its endpoint has no such secret")?.to_owned();
            }
            Change::ForeignSecret(secret) => self.secret.clone_from(secret),
            Change::Body(path) => {
                self.body = with_text(&body_of(path)?, self.endpoint.time_at(), &rfc3339(self.now));
            }
            Change::Text(text) => self.body = text.clone().into(),
            Change::Bytes(hex) => self.body = bytes_of(hex).ok_or("no hexadecimal digits")?.into(),
            Change::Replace(from, to) => {
                let text = str::from_utf8(&self.body).map_err(|_| "not UTF-8")?;
                if !text.contains(from.as_str()) {
                    return Err("nothing to replace".to_owned());
                }
                self.body = text.replacen(from, to, 1).into();
            }
            Change::Pad(length) => {
                let mut body = self.body.to_vec();
                if body.len() > *length {
                    return Err("longer already".to_owned());
                }
                body.resize(*length, b' ');
                self.body = body.into();
            }
            Change::MessageId(id) => self.message_id.clone_from(id),
            Change::Timestamp(text) => self.timestamp.clone_from(text),
            Change::Attempt(offset) => self.timestamp = self.now.saturating_add(*offset).to_string(),
            Change::Event(offset) => {
                let time = rfc3339(self.now.saturating_add(*offset));
                self.body = with_text(&self.body, self.endpoint.time_at(), &time);
            }
            _ => {}
        }
        Ok(())
    }
}

fn after_signing(case: &mut Case, change: &Change) -> Result<(), String> {
    match change {
        Change::Flip(bit) => {
            let mut body = case.body.to_vec();
            let byte = body.get_mut(bit / 8).ok_or("no such bit")?;
            *byte ^= 1 << (bit % 8);
            case.body = body.into();
        }
        Change::Append(text) => case.body = [&case.body, text.as_bytes()].concat().into(),
        Change::Without(name) => {
            let before = case.headers.len();
            case.headers.retain(|(known, _)| known != name);
            if case.headers.len() == before {
                return Err("no such header".to_owned());
            }
        }
        Change::Header(name, template) => {
            let value = filled(template, &case.headers);
            match case.headers.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = value,
                None => case.headers.push((name.clone(), value)),
            }
        }
        Change::And(name, template) => {
            let value = filled(template, &case.headers);
            case.headers.push((name.clone(), value));
        }
        Change::Method(method) => case.method.clone_from(method),
        Change::Chunked(length) => case.transfer = Transfer::Chunked(*length),
        Change::Declares(length) => case.transfer = Transfer::Declares(*length),
        Change::HangsUp(_) => case.transfer = Transfer::HangsUp,
        Change::Stalls(_) => case.transfer = Transfer::Stalls,
        Change::State(state) => case.state = *state,
        Change::Handler(status) => case.handler = *status,
        _ => {}
    }
    Ok(())
}

fn filled(template: &str, headers: &[(String, String)]) -> String {
    headers.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

fn body_of(path: &str) -> Result<Bytes, String> {
    let found = fixtures().iter().find(|fixture| fixture.path() == path);
    found.map(super::Fixture::body).ok_or_else(|| format!("no fixture {path}"))
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.split_whitespace().collect::<String>();
    let mut bytes = vec![0; digits.len() / 2];
    base16ct::lower::decode(&digits, &mut bytes).ok()?;
    Some(bytes)
}
