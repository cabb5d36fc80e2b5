//! Takes the secrets of an endpoint from its table, and reads them.

use medhook::Secrets;

use super::keys::TableKeys;
use super::secrets::{self, Group, SecretList};
use crate::failure::Failure;
use crate::sources::Validation;

/// Takes lists of secrets, and keeps a [`Group`] of each.
pub(super) struct TakeSecrets<'g> {
    pub(super) reuse: bool,
    pub(super) validation: Validation,
    pub(super) groups: &'g mut Vec<Group>,
}

impl TakeSecrets<'_> {
    /// Takes the list under a key. Returns `None` if the key is missing.
    pub(super) fn under(&mut self, keys: &mut TableKeys, key: &'static str) -> Result<Option<Secrets>, Failure> {
        if !keys.has(key) {
            return Ok(None);
        }
        self.read(key, secrets::listed(keys, key)?).map(Some)
    }

    /// Takes one secret, or a list of several.
    pub(super) fn one_or_several(
        &mut self,
        keys: &mut TableKeys,
        key: &'static str,
    ) -> Result<Option<Secrets>, Failure> {
        match secrets::one_entry(keys, key)? {
            Some(entry) => self.read(key, SecretList::of(entry)).map(Some),
            None => self.under(keys, key),
        }
    }

    fn read(&mut self, key: &'static str, list: SecretList) -> Result<Secrets, Failure> {
        let group = Group { key, secrets: list.read(|entry| entry.read(self.validation))?, reuse: self.reuse, list };
        let secrets = secrets::together(&group.secrets).ok_or_else(|| group.list.none_is_set())??;
        self.groups.push(group);
        Ok(secrets)
    }
}
