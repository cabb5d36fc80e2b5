//! Reads an endpoint.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use medhook::{Builder, DedupeStore, Inbox, Receiver};
use toml::Table;

use super::forward::{self, Forward};
use super::inbox::{InboxConfig, ONLY_WITH_INBOX};
use super::mistakes::noted;
use super::settings::Settings;
use crate::duration::in_units;
use crate::failure::Failure;
use crate::provider::CUSTOM;
use crate::receive::addresses::AllowedNetworks;
use crate::receive::custom::{check_keys_after, missing_scheme};
use crate::receive::endpoint_secrets::EndpointSecrets;
use crate::receive::keys::{TableKeys, cut, is_name};
use crate::receive::path;
use crate::receive::provider::{self, Classify};
use crate::sources::Validation;

/// The config of an endpoint, without the store.
pub(in crate::receive) struct EndpointConfig {
    pub(in crate::receive) place: String,
    pub(in crate::receive) path: String,
    pub(in crate::receive) name: String,
    pub(in crate::receive) builder: Builder,
    pub(in crate::receive) classify: Classify,
    pub(in crate::receive) forward: Option<Forward>,
    pub(in crate::receive) inbox: Option<InboxConfig>,
    /// Whether deliveries are rejected while the store is unavailable.
    pub(in crate::receive) needs_store: bool,
    /// The longest usual time without a genuine delivery.
    pub(in crate::receive) expect_every: Option<Duration>,
    pub(in crate::receive) max_in_flight: usize,
    /// The networks that deliveries are accepted from. `None`: all.
    pub(in crate::receive) allow_from: Option<AllowedNetworks>,
    pub(in crate::receive) secrets: EndpointSecrets,
}

/// An endpoint with its receiver.
pub(in crate::receive) struct Ready {
    pub(in crate::receive) path: String,
    pub(in crate::receive) receiver: Receiver,
    pub(in crate::receive) classify: Classify,
    pub(in crate::receive) forward: Option<Forward>,
    pub(in crate::receive) inbox: Option<InboxConfig>,
    pub(in crate::receive) expect_every: Option<Duration>,
    pub(in crate::receive) allow_from: Option<AllowedNetworks>,
    pub(in crate::receive) secrets: EndpointSecrets,
}

impl EndpointConfig {
    /// Returns how many connections to the application may be open at once.
    pub(in crate::receive) fn most_forwarded(&self) -> usize {
        // With an inbox, a request is forwarded only if its event could not be stored.
        let requests = if self.inbox.is_some() && self.needs_store { 0 } else { self.max_in_flight };
        let workers = self.inbox.as_ref().map_or(0, |inbox| inbox.workers);
        if self.forward.is_some() { requests.saturating_add(workers) } else { 0 }
    }

    /// Builds the receiver with its store, or with its inbox.
    pub(in crate::receive) fn ready(
        self,
        store: Arc<dyn DedupeStore>,
        inbox: Option<&Inbox>,
    ) -> Result<Ready, Failure> {
        let builder = match (&self.inbox, inbox) {
            (Some(config), Some(inbox)) => config.apply(self.builder, inbox.clone()),
            _ => self.builder.store(store),
        };
        let receiver = builder.build();
        let receiver = receiver.map_err(|error| Failure::because(&self.place, error))?;
        Ok(Ready {
            path: self.path,
            receiver,
            classify: self.classify,
            forward: self.forward,
            inbox: self.inbox,
            expect_every: self.expect_every,
            allow_from: self.allow_from,
            secrets: self.secrets,
        })
    }
}

/// Describes the endpoint for the operator.
impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "endpoint {} at {}, provider {}, ", self.receiver.name(), self.path, self.receiver.provider())?;
        match &self.forward {
            Some(forward) => write!(f, "forwards to {}", forward.target)?,
            None => f.write_str("writes events to standard output")?,
        }
        if self.inbox.is_some() {
            f.write_str(" from its inbox")?;
        }
        if let Some(networks) = &self.allow_from {
            write!(f, ", accepts deliveries from {networks}")?;
        }
        match self.expect_every {
            Some(every) => write!(f, ", expects a delivery every {}", in_units(every)),
            None => Ok(()),
        }
    }
}

/// Takes the path and the name of an endpoint.
pub(in crate::receive) fn identity(
    file: &str,
    number: usize,
    table: Table,
) -> Result<(TableKeys, String, String), Failure> {
    let mut keys = TableKeys::within(format!("{file}: endpoint {number}"), table);
    let path = keys.text("path")?;
    if let Some(path) = &path {
        keys.rename(format!("{file}: endpoint {number} ({})", cut(path).escape_debug()));
    }
    let others = [OF_ENDPOINT, ONLY_WITH_INBOX].into_iter().flatten().copied();
    let known: Vec<_> = ["path"].into_iter().chain(others).chain(provider::keys()).collect();
    keys.all_known(&known)?;
    check_keys_after(&keys, &known)?;
    let path = keys.needed("path", path)?;
    path::checked(&path).map_err(|problem| keys.wrong("path", problem))?;
    let name = name(&mut keys, &path)?;
    Ok((keys, path, name))
}

/// The keys of every endpoint, besides [`provider::keys`].
const OF_ENDPOINT: &[&str] = &[
    "path",
    "name",
    "provider",
    "secrets",
    "reuse_secret",
    "body_limit",
    "body_timeout",
    "retention",
    "lease",
    "handler_timeout",
    "max_in_flight",
    "max_repeats",
    "allow_from",
    "on_store_error",
    "expect_every",
    "forward",
    "forward_ca",
    "forward_secret",
    "forward_in_clear",
    "inbox",
];

/// The endpoints that have been read so far.
pub(super) struct Reading<'f> {
    pub(super) file: &'f str,
    pub(super) endpoints: Vec<EndpointConfig>,
}

impl Reading<'_> {
    /// Reads an endpoint. Returns its mistakes, of which there is at least one.
    pub(super) fn endpoint(&mut self, number: usize, table: Table) -> Result<(), Vec<Failure>> {
        let (mut keys, path, name) = identity(self.file, number, table).map_err(|failure| vec![failure])?;
        let mut found = Vec::new();
        let reuse = noted(keys.flag("reuse_secret"), &mut found).unwrap_or_default();
        let no_scheme = keys.text_of("provider").filter(|name| *name == CUSTOM).and_then(|_| missing_scheme(&keys));
        let provided = noted(provider::take(&mut keys, &name, reuse, Validation::Full), &mut found);
        // A missing secret hides it.
        let is_known = |problem: &Failure| found.iter().any(|known| known.to_string() == problem.to_string());
        found.extend(no_scheme.filter(|problem| !is_known(problem)));
        let settings = Settings::take(&mut keys, &mut found);
        let forward = noted(forward::take(&mut keys, reuse), &mut found);
        let (Some(provided), Some((forward, signing))) = (provided, forward) else {
            return Err(found);
        };
        let (provider, retries) = provided.source.retries();
        let inbox = noted(InboxConfig::take(&mut keys, forward.as_ref(), provider, retries), &mut found).flatten();
        // Not if something failed, since the keys that belong to it were not taken.
        if found.is_empty() {
            found.extend(keys.all_taken("does not apply to this `provider` and `scheme`; remove it").err());
        }
        if !found.is_empty() {
            return Err(found);
        }

        let place = keys.place().to_owned();
        let secrets = EndpointSecrets {
            place: place.clone(),
            source: provided.source.without_secrets(),
            groups: provided.groups,
            signing,
            signer: forward.as_ref().and_then(|forward| forward.signer.clone()),
        };
        self.endpoints.push(EndpointConfig {
            place,
            path,
            name,
            builder: settings.apply(provided.builder),
            classify: provided.classify,
            forward,
            inbox,
            needs_store: settings.needs_store(),
            expect_every: settings.expect_every,
            max_in_flight: settings.max_in_flight,
            allow_from: settings.allow_from,
            secrets,
        });
        Ok(())
    }
}

fn name(keys: &mut TableKeys, path: &str) -> Result<String, Failure> {
    if let Some(name) = keys.name("name")? {
        return Ok(name);
    }
    let made = Some(path::name(path)).filter(|name| is_name(name));
    made.ok_or_else(|| keys.wrong("name", "missing, and cannot be derived from this path; set it"))
}
