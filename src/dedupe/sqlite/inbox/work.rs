//! The operations as steps of the writer thread.

use std::time::Duration;

use sqlx::SqliteConnection;

use super::super::connect::{Database, SECURE_DELETE};
use super::super::fault::Fault;
use super::super::rules::InboxAnswer;
use super::tables::InboxTables;
use crate::claim_token::ClaimToken;
use crate::dedupe::inbox::rules::Ending;
use crate::dedupe::inbox::store::{AuditRow, CountOf, Keep, KeyRecord, LeaseId, LeaseRequest, RowFilter, SealedBody};

/// An operation on the inbox.
#[derive(Clone)]
pub(in super::super) enum InboxStep {
    /// Creates and checks the tables. From then on, the connection overwrites what it deletes.
    Open,
    Lease(LeaseRequest),
    Renew(i64, ClaimToken, Duration),
    Finish(LeaseId, Ending, bool),
    List(RowFilter),
    Body(i64, AuditRow),
    Replay(i64, AuditRow),
    Discard(i64, AuditRow),
    Hold(String, Option<i64>, AuditRow),
    Counts(CountOf),
    CountKinds(u32),
    OldestOf(String, Vec<&'static str>),
    /// Counts events if there are tables of an inbox, which need not be open.
    CountsIfAny,
    Purge(String, Keep),
    /// Does nothing in the transaction: the log is truncated after it.
    TruncateLog,
    KeyRecords,
    AddKeyRecord(KeyRecord),
    RemoveKeyRecord([u8; 4]),
    SealedOtherwise([u8; 4], i64, u32),
    Reseal(Box<[SealedBody; 2]>),
    Audit(AuditRow),
    AuditEntries(i64, u32),
    AuditOf(i64, u32),
    /// Changes the store's own connection.
    #[cfg(test)]
    Pragma(String),
}

/// A transaction of the writer thread.
pub(in super::super) struct InboxTransaction<'a> {
    pub(super) connection: &'a mut SqliteConnection,
    pub(super) tables: &'a InboxTables,
    pub(super) now: i64,
    create: bool,
}

impl<'a> InboxTransaction<'a> {
    pub(in super::super) fn new(connection: &'a mut SqliteConnection, database: &'a Database, now: i64) -> Self {
        InboxTransaction { connection, tables: &database.tables().inbox, now, create: database.creates_tables() }
    }
}

impl InboxStep {
    /// Returns the bytes of the bodies that the step has or will return, which limit the queue and the batches. Of a
    /// body that is yet to be read, this is an estimate.
    pub(in super::super) fn bytes(&self) -> u64 {
        match self {
            InboxStep::Reseal(bodies) => {
                bodies.iter().filter_map(|body| body.sealed.as_ref()).map(|sealed| sealed.len() as u64).sum()
            }
            InboxStep::Lease(_) | InboxStep::Body(..) => UNREAD_BODY,
            InboxStep::SealedOtherwise(..) => BATCH_BYTES,
            _ => 0,
        }
    }

    pub(in super::super) async fn run(&self, work: &mut InboxTransaction<'_>) -> Result<InboxAnswer, Fault> {
        Ok(match self {
            InboxStep::Open => {
                sqlx::query(SECURE_DELETE).execute(&mut *work.connection).await?;
                Box::new(work.tables.prepare(&mut *work.connection, work.create).await?)
            }
            InboxStep::Lease(request) => Box::new(work.lease(request).await?),
            InboxStep::Renew(id, token, lease) => Box::new(work.renew(*id, *token, *lease).await?),
            InboxStep::Finish(lease, ending, keep_body) => Box::new(work.finish(*lease, ending, *keep_body).await?),
            InboxStep::List(filter) => Box::new(work.list(filter).await?),
            InboxStep::Body(id, audit) => Box::new(work.read_body(*id, audit).await?),
            InboxStep::Replay(id, audit) => Box::new(work.replay(*id, audit).await?),
            InboxStep::Discard(id, audit) => Box::new(work.discard(*id, audit).await?),
            InboxStep::Hold(endpoint, before, audit) => Box::new(work.hold(endpoint, *before, audit).await?),
            InboxStep::Counts(of) => Box::new(work.counts(of).await?),
            InboxStep::CountKinds(most) => Box::new(work.count_kinds(*most).await?),
            InboxStep::OldestOf(endpoint, kinds) => Box::new(work.oldest_of(endpoint, kinds).await?),
            InboxStep::CountsIfAny => Box::new(work.counts_if_any().await?),
            InboxStep::Purge(endpoint, keep) => Box::new(work.purge(endpoint, *keep).await?),
            InboxStep::TruncateLog => Box::new(()),
            InboxStep::KeyRecords => Box::new(work.key_records().await?),
            InboxStep::AddKeyRecord(record) => Box::new(work.add_key_record(record).await?),
            InboxStep::RemoveKeyRecord(key_id) => Box::new(work.remove_key_record(*key_id).await?),
            InboxStep::SealedOtherwise(key_id, after, limit) => {
                Box::new(work.sealed_otherwise(*key_id, *after, *limit).await?)
            }
            InboxStep::Reseal(bodies) => {
                let [before, after] = &**bodies;
                Box::new(work.reseal(before, after).await?)
            }
            InboxStep::Audit(audit) => Box::new(work.audit(audit).await?),
            InboxStep::AuditEntries(after, limit) => Box::new(work.audit_entries(*after, *limit).await?),
            InboxStep::AuditOf(id, limit) => Box::new(work.audit_of(*id, *limit).await?),
            #[cfg(test)]
            InboxStep::Pragma(sql) => {
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql.clone())).execute(&mut *work.connection).await?;
                Box::new(())
            }
        })
    }
}

/// The bodies of one transaction, besides a single longer one.
pub(in super::super) const BATCH_BYTES: u64 = 4 << 20;
/// The bodies of all operations that are queued.
pub(in super::super) const QUEUE_BYTES: u32 = 32 << 20;
const UNREAD_BODY: u64 = 256 << 10;
