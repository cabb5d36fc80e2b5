//! The store and the inbox of a config file, for commands that operate them. No secret of an endpoint is read.

use std::path::Path;

use medhook::Inbox;
use medhook::inbox::Keep;

use super::config::{BodiesConfig, Placed, endpoints, identity, keep, open, store, top};
use super::store::{Opened, StoreConfig};
use crate::failure::Failure;

/// The store of a config file, and what its endpoints keep in its inbox.
pub(crate) struct StoreAccess {
    file: String,
    store: Placed<StoreConfig>,
    bodies: Option<BodiesConfig>,
    pub(crate) endpoints: Vec<EndpointAccess>,
}

/// An endpoint of a config file.
pub(crate) struct EndpointAccess {
    pub(crate) name: String,
    /// The name of the provider as it is part of the event keys.
    pub(crate) provider: String,
    /// The time for which ended events are kept. `None` if the endpoint has no inbox.
    pub(crate) keep: Option<Keep>,
}

impl StoreAccess {
    /// Reads a config file.
    pub(crate) fn read(config: &Path) -> Result<Self, Failure> {
        let (file, content) = open(config)?;
        let mut keys = top(&file, content)?;
        let (store, _) = store(&mut keys, None)?;
        let bodies = BodiesConfig::take(&mut keys)?;
        let endpoints = endpoints(&mut keys)?.map(|(number, table)| {
            let (mut keys, _, name) = identity(&file, number, table)?;
            let (keep, provider) = (keep(&mut keys)?, keys.text("provider")?);
            let provider = match provider.as_deref() {
                Some("custom") => keys.name("provider_name")?.unwrap_or_else(|| name.clone()),
                _ => keys.needed("provider", provider)?,
            };
            Ok(EndpointAccess { name, provider, keep })
        });
        let endpoints = endpoints.collect::<Result<_, Failure>>()?;
        Ok(StoreAccess { file, store, bodies, endpoints })
    }

    /// Returns whether the config file has an inbox.
    pub(crate) fn has_inbox(&self) -> bool {
        self.bodies.is_some()
    }

    /// Returns whether the config file has keys of an inbox.
    pub(crate) fn is_sealed(&self) -> bool {
        self.bodies.as_ref().is_some_and(BodiesConfig::has_keys)
    }

    /// Opens the inbox, also if it is not empty and no endpoint uses it any more.
    pub(crate) async fn inbox(&self) -> Result<Inbox, Failure> {
        let no_inbox = || {
            let problem = "has neither `inbox_key` nor `allow_plaintext_bodies`, so it has no inbox";
            Failure::because(&self.file, problem)
        };
        let opened = self.open(Some(self.bodies.as_ref().ok_or_else(no_inbox)?)).await?;
        opened.inbox.ok_or_else(|| self.store.wrong("this store has no inbox; only SQLite and PostgreSQL have one"))
    }

    /// Opens the store, with its inbox if the config file has a key for it.
    pub(crate) async fn store(&self) -> Result<Opened, Failure> {
        self.open(self.bodies.as_ref()).await
    }

    async fn open(&self, bodies: Option<&BodiesConfig>) -> Result<Opened, Failure> {
        let keys = bodies.map(BodiesConfig::bodies).transpose()?;
        self.store.value.open_existing(keys).await.map_err(|problem| self.store.cannot_open(bodies, problem))
    }
}
