//! Reads the secrets of an endpoint again.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use medhook::Receiver;

use super::change::{Reload, Reloaded};
use super::watched::FileContent;
use crate::failure::Failure;
use crate::receive::config::token_is_unique;
use crate::receive::endpoint_secrets::EndpointSecrets;
use crate::receive::secrets::{Named, access_warnings, no_secret_twice};

/// The secrets that are in use, which must differ.
#[derive(Clone, Default)]
pub(in crate::receive) struct InUse(Arc<Mutex<SecretsInUse>>);

/// All secrets of the config file.
#[derive(Default)]
pub(in crate::receive) struct SecretsInUse {
    endpoints: Vec<EndpointSecrets>,
    /// The secrets that are read only at the start.
    pub(super) read_at_start: Vec<Named>,
    /// The token of the operator's page.
    pub(super) token: Option<Named>,
}

impl InUse {
    pub(super) fn lock(&self) -> MutexGuard<'_, SecretsInUse> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SecretsInUse {
    /// Returns all secrets that the token must differ from.
    pub(super) fn others(&self) -> impl Iterator<Item = &Named> {
        self.endpoints.iter().flat_map(EndpointSecrets::secrets).chain(&self.read_at_start)
    }
}

/// Replaces the secrets of an endpoint when their files change.
pub(in crate::receive) struct EndpointReload {
    receiver: Receiver,
    files: Vec<PathBuf>,
    in_use: InUse,
    /// The index in `in_use`.
    index: usize,
}

impl EndpointReload {
    /// Adds the secrets of an endpoint to those in use.
    pub(in crate::receive) fn new(receiver: Receiver, secrets: EndpointSecrets, in_use: &InUse) -> Self {
        let files = secrets.files();
        let mut all = in_use.lock();
        let index = all.endpoints.len();
        all.endpoints.push(secrets);
        EndpointReload { receiver, files, in_use: in_use.clone(), index }
    }

    fn try_apply(&self, contents: &[FileContent]) -> Result<Reloaded, Failure> {
        let mut all = self.in_use.lock();
        let Some(current) = all.endpoints.get(self.index) else { return Ok(Reloaded::Unchanged) };
        let content =
            |path: &std::path::Path| self.files.iter().zip(contents).find(|(file, _)| *file == path).map(|pair| pair.1);
        let new = current.of_contents(content)?;
        let (verifies_alike, signs_alike) = (current.verifies_alike(&new), current.signs_alike(&new));
        if verifies_alike && signs_alike {
            return Ok(Reloaded::Unchanged);
        }
        check_distinct(&all.endpoints, self.index, &new)?;
        token_is_unique(all.token.as_ref(), new.secrets())?;
        // Both are checked before either is replaced.
        let signer = new.new_signer()?;
        if !verifies_alike {
            new.replace_in(&self.receiver)?;
        }
        if let (Some(shared), Some(signer), false) = (&new.signer, signer, signs_alike) {
            let (endpoint, secret) = (self.receiver.name(), new.signing.iter().flat_map(|group| &group.secrets).next());
            let secret = secret.map(|named| named.secret.label());
            shared.replace(signer);
            tracing::info!(target: "medhook::secrets", endpoint, secret, "forward_secret replaced");
        }
        new.warnings()
            .chain(access_warnings(new.secrets()))
            .for_each(|warning| tracing::warn!(target: "medhook::secrets", "{warning}"));
        if let Some(current) = all.endpoints.get_mut(self.index) {
            *current = new;
        }
        Ok(Reloaded::Replaced)
    }
}

/// Fails if the new secrets of an endpoint and those of another one have one in common.
fn check_distinct(all: &[EndpointSecrets], index: usize, new: &EndpointSecrets) -> Result<(), Failure> {
    let others = all.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, secrets)| secrets);
    let all: Vec<_> = others.chain([new]).collect();
    let groups: Vec<_> = all.iter().flat_map(|secrets| &secrets.groups).collect();
    let signing: Vec<_> = all.iter().flat_map(|secrets| &secrets.signing).collect();
    no_secret_twice(&groups, &signing)
}

impl Reload for EndpointReload {
    fn files(&self) -> Vec<PathBuf> {
        self.files.clone()
    }

    fn apply(&mut self, contents: &[FileContent]) -> Result<Reloaded, String> {
        self.try_apply(contents).map_err(|failure| format!("{failure}; the secrets of this endpoint stay as they are"))
    }
}
