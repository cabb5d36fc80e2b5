//! The secrets of an endpoint, which can be read again while it receives deliveries.

use std::path::{Path, PathBuf};

use medhook::sign::Signer;
use medhook::{Receiver, StandardWebhooks};

use super::custom::TOKEN;
use super::provider::Source;
use super::reload::FileContent;
use super::secrets::{Group, Named, SecretEntry, together};
use super::shared_signer::SharedSigner;
use crate::failure::Failure;

/// The secrets of an endpoint: those that verify its deliveries, and the one that signs its forwarded events.
#[derive(Clone)]
pub(super) struct EndpointSecrets {
    /// The place of the endpoint in the config file.
    pub(super) place: String,
    pub(super) source: Source,
    pub(super) groups: Vec<Group>,
    pub(super) signing: Option<Group>,
    pub(super) signer: Option<SharedSigner>,
}

impl EndpointSecrets {
    /// Returns the files that can be read again, each once.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = self.entries().filter_map(SecretEntry::regular_file).collect();
        files.sort();
        files.dedup();
        files
    }

    /// Returns the names of the environment variables.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.entries().filter_map(SecretEntry::variable)
    }

    /// Returns all secrets that are in use.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Named> {
        self.groups.iter().chain(&self.signing).flat_map(|group| &group.secrets)
    }

    fn entries(&self) -> impl Iterator<Item = &SecretEntry> {
        self.groups.iter().chain(&self.signing).flat_map(|group| group.list.entries())
    }

    /// Returns the secrets with these contents of their files. Those without a content stay.
    pub(super) fn of_contents<'c>(&self, content: impl Fn(&Path) -> Option<&'c FileContent>) -> Result<Self, Failure> {
        let mut new = self.clone();
        for group in new.groups.iter_mut().chain(&mut new.signing) {
            let current = &std::mem::take(&mut group.secrets);
            group.secrets = group.list.read(|entry| match entry.file().and_then(&content) {
                Some(content) => entry.of_content(content),
                None => Ok(current.iter().find(|named| named.entry.is(entry)).cloned()),
            })?;
            if group.secrets.is_empty() {
                return Err(group.list.none_is_set());
            }
            if let Some(cut) = group.secrets.iter().find(|named| named.is_cut_off(current)) {
                return Err(cut.cut_off());
            }
        }
        Ok(new)
    }

    /// Returns whether `other` has the same secrets that verify deliveries, with the same labels.
    pub(super) fn verifies_alike(&self, other: &Self) -> bool {
        self.groups.len() == other.groups.len()
            && self.groups.iter().zip(&other.groups).all(|pair| alike(pair.0, pair.1))
    }

    /// Returns whether `other` signs forwarded events with the same secret.
    pub(super) fn signs_alike(&self, other: &Self) -> bool {
        match (&self.signing, &other.signing) {
            (Some(one), Some(other)) => alike(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// Returns the signer of forwarded events, if there is one.
    pub(super) fn new_signer(&self) -> Result<Option<Signer>, Failure> {
        let Some(Named { secret, .. }) = self.signing.iter().find_map(|group| group.secrets.first()) else {
            return Ok(None);
        };
        let signer = Signer::new(StandardWebhooks::new(), secret);
        signer.map(Some).map_err(|error| Failure::because(format_args!("{}: `forward_secret`", self.place), error))
    }

    /// Replaces the secrets of the endpoint's receiver.
    pub(super) fn replace_in(&self, receiver: &Receiver) -> Result<(), Failure> {
        let replaced = match &self.source {
            Source::Known(facts, options) => {
                let mut options = options.clone();
                for group in &self.groups {
                    let secrets = together(&group.secrets).transpose()?;
                    match group.key {
                        "secrets" => options.secrets = secrets,
                        "test_secrets" => options.test_secrets = secrets,
                        _ => options.also_secrets = secrets,
                    }
                }
                receiver.replace_configured_secrets(facts, &options)
            }
            Source::Custom(options) => {
                let (tokens, mut others) = self.groups.iter().partition::<Vec<_>, _>(|group| group.key == TOKEN);
                let group = others.pop().ok_or_else(|| Failure::new(self.place.clone()))?;
                let secrets = together(&group.secrets).ok_or_else(|| group.list.none_is_set())??;
                let token = tokens.first().and_then(|group| together(&group.secrets)).transpose()?;
                receiver.replace_secrets(options.provider(secrets, token.as_ref()))
            }
        };
        replaced.map(drop).map_err(|error| Failure::because(&self.place, error))
    }

    /// Returns the warning about a secret that is compared with the whole header `Authorization`, unless the secrets
    /// are declared to be intended as they are.
    pub(super) fn authorization_warning(&self) -> Option<String> {
        let Source::Custom(options) = &self.source else { return None };
        let group = self.groups.iter().find(|group| group.key == "secrets")?;
        (options.compares_authorization() && !group.list.is_literal()).then(|| {
            format!(
                "{}: `header`: the secret is compared with all of `Authorization`; set `form = \"bearer\"` or `\"basic\"` if \
                 the sender sends one; then the secret is the token or password alone; otherwise set `literal = true` \
                 beside the secret",
                self.place
            )
        })
    }

    /// Returns one line for each secret whose text looks like a mistake.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        self.groups.iter().chain(&self.signing).flat_map(|group| &group.secrets).filter_map(Named::warning)
    }
}

fn alike(one: &Group, other: &Group) -> bool {
    let is_same = |one: &Named, other: &Named| {
        one.secret.label() == other.secret.label() && one.secret.expose_secret() == other.secret.expose_secret()
    };
    one.secrets.len() == other.secrets.len()
        && one.secrets.iter().zip(&other.secrets).all(|(one, other)| is_same(one, other))
}
