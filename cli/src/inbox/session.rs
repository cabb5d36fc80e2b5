//! The open inbox of a config file.

use medhook::{Inbox, StoreError};

use super::options::InboxOptions;
use crate::failure::Failure;
use crate::receive::StoreAccess;

/// The inbox of a config file, and the file's endpoints.
pub(super) struct Session {
    pub(super) access: StoreAccess,
    pub(super) inbox: Inbox,
}

impl Session {
    pub(super) async fn open(options: &InboxOptions) -> Result<Self, Failure> {
        let access = StoreAccess::read(&options.config)?;
        let inbox = access.inbox().await?;
        Ok(Session { access, inbox })
    }

    /// Returns the names of the endpoints with an inbox.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.access.endpoints.iter().filter(|endpoint| endpoint.keep.is_some()).map(|endpoint| &*endpoint.name)
    }

    /// Checks that the config file has this endpoint with an inbox.
    pub(super) fn check_name(&self, name: &str) -> Result<(), Failure> {
        match self.names().any(|known| known == name) {
            true => Ok(()),
            false => Err(Failure::new(self.unknown(name))),
        }
    }

    /// Returns the failure for an endpoint whose inbox the config file does not have; it names those that have one.
    pub(super) fn unknown(&self, name: &str) -> String {
        let names: Vec<_> = self.names().collect();
        let name = name.escape_debug();
        match names.is_empty() {
            true => format!("no endpoint of the config file has an inbox; set `inbox = true` at {name}"),
            false => format!("the config file has no endpoint {name} with an inbox; it has: {}", names.join(", ")),
        }
    }
}

/// Returns the failure of a command whose store failed.
pub(super) fn failed(error: StoreError) -> Failure {
    Failure::new(error.to_string())
}
