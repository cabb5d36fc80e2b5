//! `fixtures/shared.toml` and `fixtures/<provider>/cases.toml`: deliveries, and the expected result of each.

mod change;
mod list;
mod outside;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

pub use self::change::Change;
pub use self::outside::{Outside, cases_outside};

use self::change::Draft;
use self::list::{Fields, List, Origin, Row};
use super::sign::Signing;
use crate::provider::{azodha, cair, fasten, healthsync, mediquo};
use crate::receiver::Builder;
use crate::{
    Azodha, Cair, ConfigError, Encoding, Fasten, Freshness, HealthSync, MediQuo, Outcome, Reason, Receiver, Secret,
    Secrets,
};

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

/// What a case's receiver is made of, and what its sender has to know.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Endpoint {
    /// The provider's name. Not read: the folder of the file says it.
    #[serde(skip)]
    pub provider: String,
    /// Its secrets, by label. The first in the order of labels signs, unless a case says otherwise.
    pub secrets: BTreeMap<String, String>,
    /// Fasten: secrets of the test mode, beside those of the live mode or alone.
    #[serde(default)]
    pub test_secrets: BTreeMap<String, String>,
    /// Where it is for each endpoint to say: how its provider proves a delivery.
    #[serde(default)]
    pub scheme: Option<Scheme>,
    /// Where it is for each endpoint to say: the header with the proof. MediQuo: another than its usual one.
    #[serde(default)]
    pub header: Option<String>,
    /// Text before an HMAC.
    #[serde(default)]
    pub prefix: Option<String>,
    /// How an HMAC is written, if not either way.
    #[serde(default)]
    pub encoding: Option<Written>,
    /// The kind that is pinned.
    #[serde(default)]
    pub pin_kind: Option<String>,
    /// MediQuo: a second header that must hold one of `also_secrets`, of which the first is sent.
    #[serde(default)]
    pub also_header: Option<String>,
    /// MediQuo: the second header's secrets, by label.
    #[serde(default)]
    pub also_secrets: BTreeMap<String, String>,
    /// How old an event may be, and how far ahead, in seconds, if not as its provider has it.
    #[serde(default)]
    pub event_age: Option<(u64, u64)>,
    /// The longest body, in bytes.
    #[serde(default)]
    pub body_limit: Option<usize>,
    /// How long a body may take, in milliseconds.
    #[serde(default)]
    pub body_timeout_ms: Option<u64>,
}

/// How a delivery is proven, where the provider does not say it once for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Scheme {
    /// HMAC-SHA256 over the body.
    HmacSha256,
    /// The secret itself.
    SharedSecret,
}

/// How an HMAC is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Written {
    /// In hexadecimal digits.
    Hex,
    /// In base64.
    Base64,
}

impl From<Written> for Encoding {
    fn from(written: Written) -> Self {
        match written {
            Written::Hex => Encoding::Hex,
            Written::Base64 => Encoding::Base64,
        }
    }
}

impl Endpoint {
    /// An endpoint of this provider's, as it is unless told otherwise, still without secrets.
    #[must_use]
    pub fn new(provider: &str) -> Self {
        Endpoint {
            provider: provider.to_owned(),
            secrets: BTreeMap::new(),
            test_secrets: BTreeMap::new(),
            scheme: None,
            header: None,
            prefix: None,
            encoding: None,
            pin_kind: None,
            also_header: None,
            also_secrets: BTreeMap::new(),
            event_age: None,
            body_limit: None,
            body_timeout_ms: None,
        }
    }

    /// A receiver, up to its store and clock.
    ///
    /// # Errors
    /// A secret or a provider that the list should not hold.
    pub fn builder(&self, name: &str) -> Result<Builder, ConfigError> {
        let mut builder = self.plain_builder(name)?;
        if let Some((max_age, max_skew)) = self.event_age {
            let (max_age, max_skew) = (Duration::from_secs(max_age), Duration::from_secs(max_skew));
            builder = builder.freshness(Freshness::EventTime { max_age, max_skew });
        }
        if let Some(bytes) = self.body_limit {
            builder = builder.body_limit(bytes);
        }
        if let Some(millis) = self.body_timeout_ms {
            builder = builder.body_timeout(Duration::from_millis(millis));
        }
        Ok(builder)
    }

    /// A new provider is added here, to `signing` and to `time_at`.
    fn plain_builder(&self, name: &str) -> Result<Builder, ConfigError> {
        let secrets = || secrets(&self.secrets);
        Ok(match self.provider.as_str() {
            azodha::NAME => {
                let header = self.needed("header", self.header.as_deref())?;
                let mut azodha = match self.needed("scheme", self.scheme)? {
                    Scheme::HmacSha256 => Azodha::hmac_sha256(header, secrets()?),
                    Scheme::SharedSecret => Azodha::shared_secret(header, secrets()?),
                };
                if let Some(prefix) = &self.prefix {
                    azodha = azodha.prefix(prefix);
                }
                if let Some(written) = self.encoding {
                    azodha = azodha.encoding(written.into());
                }
                if let Some(kind) = &self.pin_kind {
                    azodha = azodha.pin_kind(kind);
                }
                Receiver::builder(name, azodha)
            }
            cair::NAME => {
                let header = self.needed("header", self.header.as_deref())?;
                let mut cair = match self.needed("scheme", self.scheme)? {
                    Scheme::HmacSha256 => Cair::hmac_sha256(header, secrets()?),
                    Scheme::SharedSecret => Cair::shared_secret(header, secrets()?),
                };
                if let Some(prefix) = &self.prefix {
                    cair = cair.prefix(prefix);
                }
                if let Some(written) = self.encoding {
                    cair = cair.encoding(written.into());
                }
                if let Some(kind) = &self.pin_kind {
                    cair = cair.pin_kind(self.needed("pin_kind", cair::Kind::from_name(kind))?);
                }
                Receiver::builder(name, cair)
            }
            fasten::NAME => {
                let fasten = match (self.secrets.is_empty(), self.test_secrets.is_empty()) {
                    (false, false) => Fasten::live(secrets()?).and_test(self::secrets(&self.test_secrets)?),
                    (true, false) => Fasten::test(self::secrets(&self.test_secrets)?),
                    (_, true) => Fasten::live(secrets()?),
                };
                Receiver::builder(name, fasten)
            }
            healthsync::NAME => Receiver::builder(name, HealthSync::new(secrets()?)),
            mediquo::NAME => {
                let mut mediquo = MediQuo::new(secrets()?);
                if let Some(header) = &self.header {
                    mediquo = mediquo.header(header);
                }
                if let Some(also) = &self.also_header {
                    mediquo = mediquo.also_header(also, self::secrets(&self.also_secrets)?);
                }
                Receiver::builder(name, mediquo)
            }
            other => return Err(no_provider(other)),
        })
    }

    /// How deliveries to it are signed: in hex where either will do.
    ///
    /// # Errors
    /// What is for each endpoint to say is not said; no such provider.
    pub fn signing(&self) -> Result<Signing, ConfigError> {
        match self.provider.as_str() {
            azodha::NAME | cair::NAME => self.chosen_signing(),
            fasten::NAME => Ok(Signing::StandardWebhooks),
            healthsync::NAME => Ok(Signing::healthsync()),
            mediquo::NAME => Ok(self.header.as_ref().map_or_else(Signing::mediquo, Signing::shared_secret)),
            other => Err(no_provider(other)),
        }
    }

    /// Where the bodies of its provider say when they were sent or made, if any does, as a JSON pointer.
    #[must_use]
    pub fn time_at(&self) -> Option<&'static str> {
        match self.provider.as_str() {
            cair::NAME => Some(cair::TIME_AT),
            fasten::NAME => Some("/date"),
            healthsync::NAME => Some("/created_at"),
            mediquo::NAME => Some("/occurred_on"),
            _ => None,
        }
    }

    /// A body of its provider's as that of another event: made or sent at this Unix time in seconds, if it tells one,
    /// and [`marked`](super::marked).
    #[must_use]
    pub fn renewed(&self, body: &Bytes, mark: &str, unix: i64) -> Bytes {
        let body = self.time_at().map_or_else(|| body.clone(), |pointer| change::dated(body, pointer, unix));
        super::marked(&self.provider, &body, mark)
    }

    /// As `scheme`, `header`, `prefix` and `encoding` say.
    fn chosen_signing(&self) -> Result<Signing, ConfigError> {
        let header = self.needed("header", self.header.clone())?;
        Ok(match self.needed("scheme", self.scheme)? {
            Scheme::HmacSha256 => Signing::HmacSha256Body {
                header,
                prefix: self.prefix.clone().unwrap_or_default(),
                encoding: self.encoding.unwrap_or(Written::Hex).into(),
            },
            Scheme::SharedSecret => Signing::SharedSecret { header },
        })
    }

    fn needed<T>(&self, what: &str, value: Option<T>) -> Result<T, ConfigError> {
        value.ok_or_else(|| ConfigError::new(format!("an endpoint of {} needs its `{what}`", self.provider)))
    }

    /// The second header, with its first secret.
    #[must_use]
    pub fn also(&self) -> Option<(String, String)> {
        let (_, secret) = self.also_secrets.iter().next()?;
        Some((self.also_header.clone()?, secret.clone()))
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

fn no_provider(name: &str) -> ConfigError {
    ConfigError::new(format!("no provider {name:?} is known to the list"))
}

/// Without its secrets.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("provider", &self.provider).finish_non_exhaustive()
    }
}

fn secrets(list: &BTreeMap<String, String>) -> Result<Secrets, ConfigError> {
    let mut list =
        list.iter().map(|(label, secret)| Secret::new(secret.as_str()).and_then(|secret| secret.labeled(label)));
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
    /// The case, handled itself, from which it differs in one thing; `None` for one that stands for itself.
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
    /// The kind that the handler gets, where it is called and the body says one.
    pub kind: Option<String>,
    /// Whether the event decodes as the variant of its kind (`kind`), as one for an unknown kind (`unknown`), or not
    /// (`undecodable`); `None` where the handler is not called.
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

/// An error in the list of cases. Names the file and the row.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CaseError(String);

fn load(now: Option<i64>) -> Result<Cases, CaseError> {
    let now = now.map_or_else(list::now, Ok)?;
    let mut all = Cases { now, endpoints: BTreeMap::new(), cases: Vec::new() };
    for List { endpoints, rows, .. } in list::all()? {
        let made = make_all(&rows, &endpoints, now)?;
        all.cases.extend(made.into_iter().map(|(_, case)| case));
        all.endpoints.extend(endpoints);
    }
    Ok(all)
}

/// A fixture, and the changes to it, first change first.
#[derive(Clone)]
struct Recipe<'l> {
    endpoint: &'l str,
    body: &'l str,
    secret: Option<&'l str>,
    changes: Vec<&'l Change>,
}

/// Makes the cases of one provider, in the order of their rows. A row may be like a later one.
fn make_all<'l>(
    rows: &'l [Row],
    endpoints: &BTreeMap<String, Endpoint>,
    now: i64,
) -> Result<Vec<(Recipe<'l>, Case)>, CaseError> {
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    for (n, row) in rows.iter().enumerate() {
        if by_name.insert(&row.name, n).is_some() {
            return Err(CaseError(format!("{}: two cases have this name", row.place)));
        }
    }
    let mut made: BTreeMap<usize, (Recipe<'l>, Case)> = BTreeMap::new();
    loop {
        let before = made.len();
        for (n, row) in rows.iter().enumerate() {
            if made.contains_key(&n) {
                continue;
            }
            let base = match &row.origin {
                Origin::Fixture { .. } => None,
                Origin::Like { name, .. } => match by_name.get(name.as_str()).and_then(|base| made.get(base)) {
                    Some(base) => Some(base),
                    None => continue,
                },
            };
            let case = make(row, base, endpoints, now);
            made.insert(n, case.map_err(|problem| CaseError(format!("{}: {problem}", row.place)))?);
        }
        if made.len() == before {
            break;
        }
    }
    match rows.iter().enumerate().find(|(n, _)| !made.contains_key(n)) {
        Some((_, row)) => Err(CaseError(format!("{}: `like` leads to no fixture", row.place))),
        None => Ok(made.into_values().collect()),
    }
}

fn make<'l>(
    row: &'l Row,
    base: Option<&(Recipe<'l>, Case)>,
    endpoints: &BTreeMap<String, Endpoint>,
    now: i64,
) -> Result<(Recipe<'l>, Case), String> {
    let (recipe, like, change) = match (&row.origin, base) {
        (Origin::Fixture { path, endpoint, secret }, _) => {
            (Recipe { endpoint, body: path, secret: secret.as_deref(), changes: Vec::new() }, None, None)
        }
        (Origin::Like { name, change }, Some((recipe, base))) => {
            if base.expected.outcome != Outcome::Handled {
                return Err("`like` names a case that is not handled itself".to_owned());
            }
            let mut recipe = recipe.clone();
            recipe.changes.push(change);
            (recipe, Some(name.clone()), Some(change.clone()))
        }
        (Origin::Like { .. }, None) => return Err("`like` names no case".to_owned()),
    };
    let expected = expected(&row.fields, base.map(|(_, base)| &base.expected))?;
    let endpoint = endpoints.get(recipe.endpoint).ok_or("there is no such endpoint")?;

    let mut draft = Draft::new(endpoint, recipe.body, recipe.secret, now)?;
    for change in &recipe.changes {
        draft.before_signing(change)?;
    }
    let (headers, body) = draft.sign()?;
    let mut case = Case {
        name: row.name.clone(),
        endpoint: recipe.endpoint.to_owned(),
        like,
        change,
        why: row.fields.why.clone(),
        method: "POST".to_owned(),
        headers,
        body,
        transfer: Transfer::Whole,
        state: State::Usual,
        handler: 200,
        expected,
    };
    for change in &recipe.changes {
        change.after_signing(&mut case)?;
    }
    Ok((recipe, case))
}

fn expected(fields: &Fields, base: Option<&Expected>) -> Result<Expected, String> {
    let reason = match &fields.reason {
        Some(name) => Some(*Reason::ALL.iter().find(|reason| reason.as_str() == name).ok_or("no such reason")?),
        None => None,
    };
    let (outcome, status) = match (reason, fields.status) {
        (Some(reason), None) => (reason.outcome(), reason.status().as_u16()),
        (Some(_), Some(_)) => return Err("the reason tells the status".to_owned()),
        (None, None) => (Outcome::Handled, 200),
        (None, Some(status)) if (200..300).contains(&status) => (Outcome::Handled, status),
        (None, Some(status)) => (Outcome::Failed, status),
    };
    if base.is_none() && (outcome, status) != (Outcome::Handled, 200) {
        return Err("a fixture is handled; a rejection is `like` a case that is".to_owned());
    }
    let reaches_handler = matches!(outcome, Outcome::Handled | Outcome::Failed);
    let (kind, decodes) = match (&fields.kind, fields.decodes.as_deref(), base) {
        (None, None, _) if !reaches_handler => (None, None),
        (None, None, Some(base)) => (base.kind.clone(), base.decodes.clone()),
        (None, None, None) => return Err("the file name says no documented kind: `kind` or `decodes`".to_owned()),
        (kind, decodes @ (None | Some("unknown" | "undecodable")), _) if reaches_handler => {
            (kind.clone(), Some(decodes.unwrap_or("kind").to_owned()))
        }
        _ => return Err("`kind` and `decodes` say what the handler gets, if it is called".to_owned()),
    };
    Ok(Expected { outcome, reason, status, kind, decodes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_is_not_sound_is_one_clear_line() {
        let problem = |provider: &str, rest: &str| {
            let mut endpoint: Endpoint =
                toml::from_str(&format!("secrets = {{ current = \"text\" }}\n{rest}")).unwrap();
            provider.clone_into(&mut endpoint.provider);
            endpoint.builder("name").unwrap_err().to_string()
        };
        assert_eq!(problem("unlisted", ""), "no provider \"unlisted\" is known to the list");
        assert_eq!(problem("azodha", ""), "an endpoint of azodha needs its `header`");
        assert_eq!(problem("azodha", "header = \"x\""), "an endpoint of azodha needs its `scheme`");
    }
}
