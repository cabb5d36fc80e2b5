//! The stores that have an inbox.

use std::sync::Arc;

use super::{Bodies, Counts, Inbox};
#[cfg(feature = "postgres")]
use crate::PostgresStore;
#[cfg(feature = "sqlite")]
use crate::SqliteStore;
use crate::{ConfigError, StoreError};

#[cfg(feature = "sqlite")]
impl SqliteStore {
    /// Opens the inbox of this store. Creates its tables unless
    /// [`create_tables`](crate::SqliteBuilder::create_tables) is false; [`inbox_ddl`](Self::inbox_ddl) returns the
    /// statements for a migration of your own.
    ///
    /// # Errors
    /// Returns an error if the tables are missing or of a newer version, if a key is missing or wrong, or if bodies are
    /// to be stored [in clear](Bodies::plaintext) in a file or a directory that other users can access.
    #[cfg_attr(docsrs, doc(cfg(all(feature = "inbox", feature = "sqlite"))))]
    pub async fn inbox(&self, bodies: Bodies) -> Result<Inbox, ConfigError> {
        let (tables, id) = self.inbox_tables(bodies.are_in_clear()).await?;
        Inbox::open(tables, Arc::new(self.clone()), id, bodies).await
    }

    /// Returns the number of events of each endpoint in the inbox of this store, which need not be open, without its
    /// keys. Returns `None` if the store has no inbox.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    #[cfg_attr(docsrs, doc(cfg(all(feature = "inbox", feature = "sqlite"))))]
    pub async fn inbox_counts(&self) -> Result<Option<Counts>, StoreError> {
        Ok(self.counts_if_any().await?.map(Counts::from))
    }
}

#[cfg(feature = "postgres")]
impl PostgresStore {
    /// Opens the inbox of this store: receivers with it store verified events before they acknowledge them, and
    /// workers handle them afterwards. See [Inbox](PostgresStore#inbox).
    ///
    /// Creates the tables of the inbox if they do not exist, unless
    /// [`create_tables`](crate::PostgresBuilder::create_tables) is false. Any number of instances can do so at once.
    ///
    /// # Errors
    /// Returns an error if the server is unavailable, the tables cannot be created, lack a privilege or have another
    /// version, or the keys do not fit the inbox.
    #[cfg_attr(docsrs, doc(cfg(feature = "inbox")))]
    pub async fn inbox(&self, bodies: Bodies) -> Result<Inbox, ConfigError> {
        let (tables, id) = self.inbox_tables().await?;
        Inbox::open(tables, Arc::new(self.clone()), id, bodies).await
    }

    /// Returns the number of events of each endpoint in the inbox of this store, which need not be open, without its
    /// keys. Returns `None` if the store has no inbox.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    #[cfg_attr(docsrs, doc(cfg(all(feature = "inbox", feature = "postgres"))))]
    pub async fn inbox_counts(&self) -> Result<Option<Counts>, StoreError> {
        Ok(self.counts_if_any().await?.map(Counts::from))
    }
}
