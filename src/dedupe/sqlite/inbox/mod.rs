//! The inbox of a SQLite store. Its operations run on the store's writer thread, in the same transactions as those on
//! claims.
//!
//! | module | content |
//! |---|---|
//! | `tables` | the tables and all statements |
//! | `work` | the operations as steps of the writer thread |
//! | `row` | reading and writing a row and its body |
//! | `events` | storing, leasing and finishing events |
//! | `operators` | lists, replays, pauses and counts |
//! | `keeping` | purging, and replacing the keys of what is kept |
//! | `finish_in` | finishing an event in a transaction of the application |
//! | `access` | the check that no other user can read bodies in clear |

mod access;
mod events;
#[cfg(feature = "sqlx-09")]
mod finish_in;
mod keeping;
mod operators;
mod row;
pub(super) mod tables;
#[cfg(test)]
mod tests;
pub(super) mod work;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::operators::{HOLD_ALL, held_before};
use self::work::InboxStep;
use super::SqliteStore;
use super::connect::{BETWEEN, PATIENCE};
use super::writer::Step;
use crate::claim_token::ClaimToken;
use crate::dedupe::inbox::rules::Ending;
use crate::dedupe::inbox::store::{
    AuditRow, CountOf, EntryRow, InboxCounts, InboxStore, Keep, KeyRecord, KindCounts, LeaseAnswer, LeaseHold, LeaseId,
    LeaseRequest, NewEvent, OldestRow, Operated, PurgedRows, RowFilter, SealedBody, StoreResult,
};
use crate::dedupe::namespace::Namespace;
use crate::dedupe::{Forgotten, Settled, StoreFuture};
use crate::event_key::EventKey;
use crate::store_id::StoreId;
use crate::{ConfigError, StoreError};

impl SqliteStore {
    /// Creates or checks the tables of the inbox. With `in_clear`, checks that other users cannot access the files.
    pub(crate) async fn inbox_tables(&self, in_clear: bool) -> Result<(Arc<dyn InboxStore>, StoreId), ConfigError> {
        let path = self.database.path();
        if in_clear {
            access::check(path).map_err(|fault| fault.into_config_error(path))?;
        }
        self.database.open_inbox();
        let tables = SqliteInbox(self.clone());
        let opened: Result<(), StoreError> = tables.ask_patiently(InboxStep::Open).await;
        opened.map_err(|error| {
            let error = error.to_string();
            let cause = error.strip_prefix("SQLite store: ").unwrap_or(&error);
            ConfigError::new(format!("SQLite store {}: cannot open the inbox: {cause}", path.display()))
        })?;
        Ok((Arc::new(tables), self.id))
    }

    /// Counts the events of an inbox that need not be open. Returns `None` if there are no tables of one.
    pub(crate) async fn counts_if_any(&self) -> Result<Option<InboxCounts>, StoreError> {
        SqliteInbox(self.clone()).ask_patiently(InboxStep::CountsIfAny).await
    }

    /// Returns the statements that create the tables of an inbox, for the migrations of the application.
    ///
    /// # Errors
    /// Returns an error if the namespace is invalid.
    ///
    /// # Statements
    /// Those of the namespace `medhook`:
    ///
    /// ```sql
    #[doc = include_str!("../tables_inbox.sql")]
    /// ```
    pub fn inbox_ddl(namespace: &str) -> Result<String, ConfigError> {
        Ok(tables::ddl(&Namespace::new(namespace)?))
    }
}

/// The tables of an inbox that is open.
pub(super) struct SqliteInbox(pub(super) SqliteStore);

impl SqliteInbox {
    async fn ask<T: 'static>(&self, step: InboxStep) -> Result<T, StoreError> {
        self.0.ask(Step::Inbox(step)).await?.of_inbox()
    }

    /// Runs a step of an operator, or of opening the inbox.
    async fn ask_patiently<T: 'static>(&self, step: InboxStep) -> Result<T, StoreError> {
        self.patiently(|| Step::Inbox(step.clone())).await
    }

    /// Repeats a step while the file is busy. SQLite's lock is not fair, so one process beside busy ones may get it
    /// late.
    async fn patiently<T: 'static>(&self, step: impl Fn() -> Step) -> Result<T, StoreError> {
        let began = Instant::now();
        loop {
            match self.0.ask(step()).await {
                Err(error) if error.is_busy() && began.elapsed() < PATIENCE => sleep(BETWEEN).await,
                result => return result?.of_inbox(),
            }
        }
    }
}

impl fmt::Debug for SqliteInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteInbox").finish_non_exhaustive()
    }
}

impl InboxStore for SqliteInbox {
    fn store_event(&self, event: NewEvent) -> StoreFuture<'_, StoreResult> {
        Box::pin(async move { self.0.ask(Step::StoreEvent(Box::new(event))).await?.of_inbox() })
    }

    fn lease(&self, request: LeaseRequest) -> StoreFuture<'_, LeaseAnswer> {
        Box::pin(self.ask(InboxStep::Lease(request)))
    }

    fn renew(&self, id: i64, token: ClaimToken, lease: Duration) -> StoreFuture<'_, Settled> {
        Box::pin(self.ask(InboxStep::Renew(id, token, lease)))
    }

    fn finish(&self, lease: LeaseId, ending: Ending, keep_body: bool) -> StoreFuture<'_, Settled> {
        Box::pin(self.ask(InboxStep::Finish(lease, ending, keep_body)))
    }

    fn list(&self, filter: RowFilter) -> StoreFuture<'_, Vec<EntryRow>> {
        Box::pin(self.ask_patiently(InboxStep::List(filter)))
    }

    fn body(&self, id: i64, audit: AuditRow) -> StoreFuture<'_, Option<SealedBody>> {
        Box::pin(self.ask_patiently(InboxStep::Body(id, audit)))
    }

    fn replay(&self, id: i64, audit: AuditRow) -> StoreFuture<'_, Operated> {
        Box::pin(self.ask_patiently(InboxStep::Replay(id, audit)))
    }

    fn discard(&self, id: i64, audit: AuditRow) -> StoreFuture<'_, Operated> {
        Box::pin(self.ask_patiently(InboxStep::Discard(id, audit)))
    }

    fn forget(&self, event: EventKey, row_key: [u8; 32], audit: AuditRow) -> StoreFuture<'_, Forgotten> {
        Box::pin(async move { self.patiently(|| Step::ForgetStored(event, row_key, audit.clone())).await })
    }

    fn set_paused(&self, endpoint: String, paused: bool, audit: AuditRow) -> StoreFuture<'_, ()> {
        Box::pin(self.ask_patiently(InboxStep::Hold(endpoint, paused.then_some(HOLD_ALL), audit)))
    }

    fn set_hold(&self, hold: LeaseHold, audit: AuditRow) -> StoreFuture<'_, ()> {
        Box::pin(self.ask_patiently(InboxStep::Hold(String::new(), held_before(hold), audit)))
    }

    fn counts(&self, of: CountOf) -> StoreFuture<'_, InboxCounts> {
        Box::pin(self.ask_patiently(InboxStep::Counts(of)))
    }

    fn count_kinds(&self, most: u32) -> StoreFuture<'_, KindCounts> {
        Box::pin(self.ask_patiently(InboxStep::CountKinds(most)))
    }

    fn oldest_of(&self, endpoint: String, kinds: Vec<&'static str>) -> StoreFuture<'_, Vec<OldestRow>> {
        Box::pin(self.ask_patiently(InboxStep::OldestOf(endpoint, kinds)))
    }

    fn purge(&self, endpoint: String, keep: Keep) -> StoreFuture<'_, PurgedRows> {
        Box::pin(self.ask_patiently(InboxStep::Purge(endpoint, keep)))
    }

    fn truncate_log(&self) -> StoreFuture<'_, ()> {
        Box::pin(self.ask(InboxStep::TruncateLog))
    }

    fn key_records(&self) -> StoreFuture<'_, Vec<KeyRecord>> {
        Box::pin(self.ask_patiently(InboxStep::KeyRecords))
    }

    fn add_key_record(&self, record: KeyRecord) -> StoreFuture<'_, ()> {
        Box::pin(self.ask_patiently(InboxStep::AddKeyRecord(record)))
    }

    fn remove_key_record(&self, key_id: [u8; 4]) -> StoreFuture<'_, bool> {
        Box::pin(self.ask_patiently(InboxStep::RemoveKeyRecord(key_id)))
    }

    fn sealed_otherwise(&self, key_id: [u8; 4], after: i64, limit: u32) -> StoreFuture<'_, Vec<SealedBody>> {
        Box::pin(self.ask_patiently(InboxStep::SealedOtherwise(key_id, after, limit)))
    }

    fn reseal(&self, before: SealedBody, after: SealedBody) -> StoreFuture<'_, bool> {
        Box::pin(self.ask_patiently(InboxStep::Reseal(Box::new([before, after]))))
    }

    fn write_audit(&self, audit: AuditRow) -> StoreFuture<'_, ()> {
        Box::pin(self.ask_patiently(InboxStep::Audit(audit)))
    }

    fn audit_entries(&self, after: i64, limit: u32) -> StoreFuture<'_, Vec<(i64, i64, AuditRow)>> {
        Box::pin(self.ask_patiently(InboxStep::AuditEntries(after, limit)))
    }

    fn audit_of(&self, id: i64, limit: u32) -> StoreFuture<'_, Vec<(i64, i64, AuditRow)>> {
        Box::pin(self.ask_patiently(InboxStep::AuditOf(id, limit)))
    }
}
