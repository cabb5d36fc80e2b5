//! The writer thread: runs all queued operations in one transaction and answers them after its COMMIT.
//!
//! With one COMMIT per operation, a claim takes 299 µs; 64 callers that share COMMITs need 31 µs per claim
//! (docs/benchmarks.md).

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::FutureExt;
use sqlx::SqliteConnection;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::super::DeliveryRecord;
use super::batches::MOST;
#[cfg(feature = "inbox")]
use super::connect::truncate_log;
use super::connect::{BEGIN, COMMIT, Connected, Database, ROLLBACK, run};
use super::fault::Fault;
#[cfg(feature = "inbox")]
use super::inbox::work::{BATCH_BYTES, InboxStep, InboxTransaction};
use super::rules::{self, BodyOperation, EventRow, Operation, OperationResult};
use crate::claim_token::ClaimToken;
#[cfg(feature = "inbox")]
use crate::dedupe::inbox::store::{AuditRow, NewEvent};
use crate::event_key::EventKey;
use crate::{Clock, ConfigError, StoreError};

/// A queued operation, with a channel for its result.
pub(super) struct Op {
    pub(super) step: Step,
    pub(super) reply: oneshot::Sender<Result<OperationResult, StoreError>>,
    /// Held until the operation is answered.
    #[cfg(feature = "inbox")]
    pub(super) _bytes: Option<tokio::sync::OwnedSemaphorePermit>,
}

pub(super) enum Step {
    OfEvent(EventKey, ClaimToken, Operation),
    OfBody(EventKey, BodyOperation),
    Forget(EventKey),
    /// Forgets an event of an inbox, and writes the audit entry. The bytes are the key of its rows.
    #[cfg(feature = "inbox")]
    ForgetStored(EventKey, [u8; 32], AuditRow),
    #[cfg(feature = "inbox")]
    StoreEvent(Box<NewEvent>),
    #[cfg(feature = "inbox")]
    Inbox(InboxStep),
}

/// Opens the database in a new thread, which ends when the last sender of its queue is dropped. The thread has a
/// runtime of its own, since a store can outlive the caller's runtime and be used from several.
pub(super) async fn start(database: Arc<Database>, clock: Arc<dyn Clock>) -> Result<mpsc::Sender<Op>, ConfigError> {
    let (queue, ops) = mpsc::channel(QUEUE_CAPACITY);
    let (opened, answer) = oneshot::channel();
    let failed = |error| ConfigError::new("SQLite store: cannot start its thread").with_source(error);
    let thread = move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(opened.send(Err(failed(error)))),
        };
        runtime.block_on(async move {
            match database.open().await {
                Ok(connected) => {
                    let _ = opened.send(Ok(()));
                    Writer::new(database, clock, ops, connected).run().await;
                }
                Err(fault) => drop(opened.send(Err(fault.into_config_error(database.path())))),
            }
        });
    };
    std::thread::Builder::new().name("medhook-sqlite".into()).spawn(thread).map_err(failed)?;
    answer
        .await
        .unwrap_or_else(|_| Err(ConfigError::new("SQLite store: its thread ended while the store was opened")))?;
    Ok(queue)
}

struct Writer {
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
    ops: mpsc::Receiver<Op>,
    /// `None` after an error, until the next operation.
    connected: Option<Connected>,
    /// The time of the next purge of expired events.
    purge: Instant,
    /// The time at which an idle store checks its files.
    check: Instant,
    /// Whether the last purge left expired events.
    more_to_purge: bool,
    /// Whether the write-ahead log is truncated after the next transaction.
    #[cfg(feature = "inbox")]
    truncate_log: bool,
    /// The fault of the last attempt to truncate it.
    #[cfg(feature = "inbox")]
    not_truncated: Option<Fault>,
}

impl Writer {
    fn new(database: Arc<Database>, clock: Arc<dyn Clock>, ops: mpsc::Receiver<Op>, connected: Connected) -> Self {
        let connected = Some(connected);
        let (purge, check) = (Instant::now(), after(CHECK_INTERVAL));
        Writer {
            database,
            clock,
            ops,
            connected,
            purge,
            check,
            more_to_purge: false,
            #[cfg(feature = "inbox")]
            truncate_log: false,
            #[cfg(feature = "inbox")]
            not_truncated: None,
        }
    }

    async fn run(mut self) {
        let mut batch = Vec::with_capacity(MOST);
        loop {
            // Queued operations take precedence over the purge.
            let waiting = timeout_at(self.purge.min(self.check), self.ops.recv_many(&mut batch, MOST)).await;
            if let Ok(0) = waiting {
                break;
            }
            let work = async {
                if waiting.is_ok() {
                    self.answer_all(&mut batch).await;
                } else if self.check <= Instant::now() {
                    self.check_files().await;
                } else {
                    // An error that persists is reported to the next operation.
                    let _ = self.transact(&[], PURGED_AT_ONCE).await;
                }
            };
            // The clock is the application's and may panic. A panic closes the connection but does not end the thread.
            let _ = AssertUnwindSafe(work).catch_unwind().await;
            batch.clear();
        }
        if let Some(connected) = self.connected.take() {
            self.database.close(connected).await;
        }
    }

    /// Notices a lost file before the next operation does, since a crash until then would lose the events in it.
    async fn check_files(&mut self) {
        self.check = after(CHECK_INTERVAL);
        if let Some(connected) = self.connected.take() {
            self.connected = match self.database.leave(connected).await {
                Ok(connected) => Some(connected),
                // It was logged.
                Err((_, connected)) => connected,
            };
        }
    }

    /// Answers all operations, with a limit to the bytes of bodies in one transaction.
    async fn answer_all(&mut self, ops: &mut Vec<Op>) {
        #[cfg(feature = "inbox")]
        while ops.len() > fitting(ops) {
            let rest = ops.split_off(fitting(ops));
            let mut batch = std::mem::replace(ops, rest);
            self.answer(&mut batch).await;
        }
        self.answer(ops).await;
    }

    async fn answer(&mut self, batch: &mut Vec<Op>) {
        // Operations whose callers have stopped waiting are not run.
        batch.retain(|op| !op.reply.is_closed());
        if batch.is_empty() {
            return;
        }
        #[cfg(feature = "inbox")]
        if batch.iter().any(|op| matches!(op.step, Step::Inbox(InboxStep::TruncateLog))) {
            self.truncate_log = true;
        }
        // An event leaves one row, so the purge keeps up with new events. Each deleted row costs as much as a claim:
        // one page of the table.
        match self.transact(batch, batch.len()).await {
            Ok(answers) => self.succeed(batch.drain(..), answers),
            // The row of one event may be damaged, or the disk may have space for some of the operations.
            Err(fault) if batch.len() > 1 && !fault.is_of_database() => self.answer_one_by_one(batch).await,
            Err(fault) => batch.drain(..).for_each(|op| op.fail(&fault)),
        }
    }

    async fn answer_one_by_one(&mut self, batch: &mut Vec<Op>) {
        let (mut in_a_row, mut last) = (0_u32, None::<Fault>);
        for op in batch.drain(..) {
            if let Some(fault) = last.as_ref().filter(|_| in_a_row >= MOST_FAILURES) {
                op.fail(fault);
                continue;
            }
            match self.transact(std::slice::from_ref(&op), 0).await {
                Ok(answers) => {
                    in_a_row = 0;
                    self.succeed([op], answers);
                }
                Err(fault) => {
                    in_a_row += 1;
                    op.fail(&fault);
                    last = Some(fault);
                }
            }
        }
    }

    fn succeed(&mut self, ops: impl IntoIterator<Item = Op>, answers: Vec<OperationResult>) {
        #[cfg(feature = "inbox")]
        let not_truncated = self.not_truncated.take();
        for (op, answer) in ops.into_iter().zip(answers) {
            #[cfg(feature = "inbox")]
            if let (Step::Inbox(InboxStep::TruncateLog), Some(fault)) = (&op.step, &not_truncated) {
                op.fail(fault);
                continue;
            }
            op.answer(Ok(answer));
        }
    }

    /// Runs all operations in one transaction, and purges up to `purge` expired events if a purge is due.
    async fn transact(&mut self, ops: &[Op], purge: usize) -> Result<Vec<OperationResult>, Fault> {
        let due = std::mem::take(&mut self.more_to_purge) || self.purge <= Instant::now();
        let purge = if due { purge } else { 0 };
        if purge > 0 {
            // Postponed first: if the purge fails, the next transaction runs without it.
            self.purge = after(PURGE_INTERVAL);
        }
        let mut connected = self.connect().await?;
        if let Err(fault) = run(&mut connected.connection, BEGIN).await {
            if fault.is_busy() {
                self.connected = Some(connected);
            } else {
                self.disconnect(connected).await;
            }
            return Err(fault);
        }
        let checked = self.database.check_companions();
        let intact = checked.is_ok();
        self.check = after(CHECK_INTERVAL);
        let worked = match checked {
            Ok(()) => self.work(&mut connected.connection, ops, purge).await,
            Err(fault) => Err(fault),
        };
        let usable = worked.is_ok() || run(&mut connected.connection, ROLLBACK).await.is_ok();
        // The transaction is committed. A log that cannot be truncated fails none of its operations.
        #[cfg(feature = "inbox")]
        let usable = match worked {
            Ok(_) if std::mem::take(&mut self.truncate_log) => {
                self.not_truncated = truncate_log(&mut connected.connection).await.err();
                self.not_truncated.is_none()
            }
            _ => usable,
        };
        if !intact {
            return match self.database.leave(connected).await {
                Ok(connected) => {
                    self.connected = Some(connected);
                    worked
                }
                Err((fault, connected)) => {
                    self.connected = connected;
                    Err(fault)
                }
            };
        }
        if usable && !self.database.has_new_log() {
            self.connected = Some(connected);
        } else {
            self.disconnect(connected).await;
        }
        worked
    }

    /// Closes a connection, unless it has the only copy of events.
    async fn disconnect(&mut self, connected: Connected) {
        match self.database.leave(connected).await {
            Ok(connected) => self.database.close(connected).await,
            Err((_, connected)) => self.connected = connected,
        }
    }

    async fn connect(&mut self) -> Result<Connected, Fault> {
        match self.connected.take() {
            Some(connected) if self.database.is(&connected) => return Ok(connected),
            // The file was removed or replaced: writes to the open file would be lost at the next start.
            Some(connected) => self.database.close(connected).await,
            None => {}
        }
        self.database.connect().await
    }

    async fn work(
        &mut self,
        connection: &mut SqliteConnection,
        ops: &[Op],
        purge: usize,
    ) -> Result<Vec<OperationResult>, Fault> {
        // Read after BEGIN, which may wait for a lock.
        let now = millis(&*self.clock);
        let tables = self.database.tables();
        let answers = if ops.is_empty() { Vec::new() } else { steps(connection, &self.database, ops, now).await? };
        if purge > 0 && tables.purge(connection, now.saturating_sub(KEPT_AFTER_EXPIRY), purge).await? {
            self.more_to_purge = true;
            self.purge = after(BETWEEN_PURGES);
        }
        run(connection, COMMIT).await?;
        Ok(answers)
    }
}

async fn steps(
    connection: &mut SqliteConnection,
    database: &Database,
    ops: &[Op],
    now: i64,
) -> Result<Vec<OperationResult>, Fault> {
    let tables = database.tables();
    let keys = ops.iter().filter_map(|op| match &op.step {
        Step::OfEvent(key, ..) | Step::Forget(key) => Some(*key),
        Step::OfBody(..) => None,
        #[cfg(feature = "inbox")]
        Step::ForgetStored(key, ..) => Some(*key),
        #[cfg(feature = "inbox")]
        Step::StoreEvent(event) => Some(event.event_key),
        #[cfg(feature = "inbox")]
        Step::Inbox(_) => None,
    });
    let keys: Vec<EventKey> = keys.collect();
    let before = if keys.is_empty() { Vec::new() } else { tables.read(connection, &keys).await? };
    let before: HashMap<EventKey, EventRow> = before.into_iter().collect();
    let mut rows: HashMap<EventKey, Option<EventRow>> =
        keys.iter().map(|key| (*key, before.get(key).copied())).collect();
    #[cfg(feature = "inbox")]
    let mut stored = None;
    let mut answers = Vec::with_capacity(ops.len());
    for op in ops {
        answers.push(match &op.step {
            &Step::OfEvent(key, token, operation) => operation.apply(rows.entry(key).or_default(), token, now),
            &Step::OfBody(body, BodyOperation::Record(period, most)) => {
                let (until, most) = (rules::after(now, period), i64::try_from(most).unwrap_or(i64::MAX));
                let counted = tables.record(connection, body, now, until, most).await?;
                let [(earlier, since), (in_period, period)] = counted.map(|(earlier, first)| {
                    (u64::try_from(earlier).unwrap_or_default(), Duration::from_millis(now.abs_diff(first)))
                });
                OperationResult::Recorded(DeliveryRecord { earlier, since, in_period, period })
            }
            &Step::OfBody(body, BodyOperation::Failure) => {
                tables.record_failure(connection, body).await?;
                OperationResult::Failed
            }
            &Step::Forget(key) => OperationResult::Forgotten(rules::forget(rows.entry(key).or_default(), now)),
            #[cfg(feature = "inbox")]
            Step::ForgetStored(key, row_key, audit) => {
                let mark = rows.entry(*key).or_default();
                let forgotten = InboxTransaction::new(connection, database, now).forget(mark, row_key, audit).await?;
                OperationResult::Inbox(Box::new(forgotten))
            }
            #[cfg(feature = "inbox")]
            Step::StoreEvent(_) => {
                if stored.is_none() {
                    // With the first one also the others, by a few statements: operations of a batch are concurrent.
                    let events: Vec<&NewEvent> = ops.iter().filter_map(|op| op.step.new_event()).collect();
                    stored = Some(
                        InboxTransaction::new(connection, database, now)
                            .store_events(&events, &mut rows)
                            .await?
                            .into_iter(),
                    );
                }
                let result = stored.as_mut().and_then(Iterator::next);
                OperationResult::Inbox(Box::new(result.ok_or_else(|| Fault::new("an event was not stored"))?))
            }
            #[cfg(feature = "inbox")]
            Step::Inbox(step) => {
                OperationResult::Inbox(step.run(&mut InboxTransaction::new(connection, database, now)).await?)
            }
        });
    }
    let changed = |(key, row): (EventKey, Option<EventRow>)| (row != before.get(&key).copied()).then_some((key, row));
    let (mut written, mut deleted) = (Vec::new(), Vec::new());
    for (key, row) in rows.into_iter().filter_map(changed) {
        match row {
            Some(row) => written.push((key, row)),
            None => deleted.push(key),
        }
    }
    if !written.is_empty() {
        tables.write(connection, &written).await?;
    }
    if !deleted.is_empty() {
        tables.delete(connection, &deleted).await?;
    }
    Ok(answers)
}

impl Op {
    fn answer(self, answer: Result<OperationResult, StoreError>) {
        // The caller may have stopped waiting. The same operation with the same token can be repeated.
        let _ = self.reply.send(answer);
    }

    fn fail(self, fault: &Fault) {
        let error = fault.to_store_error();
        #[cfg(feature = "inbox")]
        let error = match &self.step {
            Step::StoreEvent(_) | Step::Inbox(_) if fault.is_full() => StoreError::full_with(error.to_string()),
            _ => error,
        };
        self.answer(Err(error));
    }
}

#[cfg(feature = "inbox")]
impl Step {
    fn new_event(&self) -> Option<&NewEvent> {
        match self {
            Step::StoreEvent(event) => Some(event),
            _ => None,
        }
    }

    /// Returns the bytes of the bodies that the step has or will return.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Step::StoreEvent(event) => event.sealed.len() as u64,
            Step::Inbox(step) => step.bytes(),
            _ => 0,
        }
    }
}

/// Returns the number of operations that one transaction runs, at least one.
#[cfg(feature = "inbox")]
pub(super) fn fitting(ops: &[Op]) -> usize {
    let mut bytes = 0_u64;
    let fits = |op: &&Op| {
        bytes = bytes.saturating_add(op.step.bytes());
        bytes <= BATCH_BYTES
    };
    ops.iter().take_while(fits).count().max(1)
}

pub(super) fn millis(clock: &dyn Clock) -> i64 {
    let now = clock.now();
    match now.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, i64::saturating_neg),
    }
}

fn after(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or(now)
}

/// The capacity of the queue. Callers of further operations wait.
const QUEUE_CAPACITY: usize = 1024;
/// After this many consecutive failures, the cause is not a single event.
const MOST_FAILURES: u32 = 3;
/// The time between two checks of the files while the store is idle.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
const PURGE_INTERVAL: Duration = Duration::from_secs(60);
/// Small batches, so that an operation that arrives during a purge waits only briefly.
const PURGED_AT_ONCE: usize = 100;
const BETWEEN_PURGES: Duration = Duration::from_millis(20);
/// The time for which an expired row is kept, in milliseconds: a clock that is ahead for a short time does not delete
/// events, and an expired claim still fences the holder of an earlier one.
const KEPT_AFTER_EXPIRY: i64 = 3_600_000;

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::time::advance;

    use super::*;
    use crate::SystemClock;
    use crate::dedupe::namespace::Namespace;
    use crate::dedupe::sqlite::tables::Tables;

    type Reply = oneshot::Receiver<Result<OperationResult, StoreError>>;

    /// If operations were retried one by one, they would wait for the lock one after the other, longer than the store
    /// timeout of a receiver.
    #[tokio::test]
    async fn a_locked_database_fails_the_whole_batch_at_once() {
        let folder = TempDir::new().unwrap();
        let (mut writer, mut other) = writer(&folder).await;
        run(&mut other, BEGIN).await.unwrap();
        let (mut batch, mut replies): (Vec<_>, Vec<_>) = (0..8).map(claim).unzip();
        let first = replies.remove(0);
        let unlocked = async {
            let answer = first.await.unwrap();
            run(&mut other, ROLLBACK).await.unwrap();
            answer
        };
        let ((), first) = tokio::join!(writer.answer(&mut batch), unlocked);
        let mut answers = vec![first];
        for reply in replies {
            answers.push(reply.await.unwrap());
        }
        for answer in answers {
            assert!(answer.is_err_and(|error| error.to_string().contains("locked by another connection")));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn expired_events_are_purged_in_batches_and_once_per_minute() {
        let folder = TempDir::new().unwrap();
        let (mut writer, mut other) = writer(&folder).await;
        let mut n = 0;
        let mut claim_one = async |writer: &mut Writer| {
            n += 1;
            let (op, reply) = claim(n);
            writer.answer(&mut vec![op]).await;
            assert!(reply.await.unwrap().is_ok());
        };

        insert_expired(&mut other, 3).await;
        // The last purge finds that nothing is left.
        for left in [2, 1, 0, 0] {
            claim_one(&mut writer).await;
            assert_eq!(count_expired(&mut other).await, left);
        }
        assert_eq!(writer.purge, after(PURGE_INTERVAL), "no purge before that");

        insert_expired(&mut other, 1).await;
        for _ in 0..3 {
            advance(PURGE_INTERVAL / 4).await;
            claim_one(&mut writer).await;
            assert_eq!(count_expired(&mut other).await, 1);
        }
        advance(PURGE_INTERVAL / 4).await;
        claim_one(&mut writer).await;
        assert_eq!(count_expired(&mut other).await, 0);
    }

    #[tokio::test]
    async fn operations_reuse_the_connection() {
        let folder = TempDir::new().unwrap();
        let (mut writer, _other) = writer(&folder).await;
        run(&mut writer.connected.as_mut().unwrap().connection, "CREATE TEMP TABLE mark (of_it)").await.unwrap();
        let (op, reply) = claim(1);
        writer.answer(&mut vec![op]).await;
        assert!(reply.await.unwrap().is_ok());
        run(&mut writer.connected.as_mut().unwrap().connection, "SELECT of_it FROM mark").await.unwrap();
    }

    /// Returns a writer without a thread and with a short busy timeout, and another connection to its file.
    async fn writer(folder: &TempDir) -> (Writer, SqliteConnection) {
        let database = Database::file(&folder.path().join("medhook.db"), Tables::new(&Namespace::default()), true);
        let database = Arc::new(database.unwrap().with_busy_timeout(Duration::from_millis(500)));
        let other = database.open().await.unwrap().connection;
        let connected = database.open().await.unwrap();
        let (_queue, ops) = mpsc::channel(1);
        (Writer::new(database, Arc::new(SystemClock), ops, connected), other)
    }

    fn claim(n: u8) -> (Op, Reply) {
        let (reply, answer) = oneshot::channel();
        let (key, token) = (EventKey::from_bytes([n; 32]), ClaimToken::from_bytes([n; 16]));
        let step = Step::OfEvent(key, token, Operation::Claim(Duration::from_secs(3600)));
        let op = Op {
            step,
            reply,
            #[cfg(feature = "inbox")]
            _bytes: None,
        };
        (op, answer)
    }

    async fn insert_expired(connection: &mut SqliteConnection, events: usize) {
        for _ in 0..events {
            let sql = "INSERT INTO medhook_events VALUES (randomblob(32), randomblob(16), 1, 0)";
            run(connection, sql).await.unwrap();
        }
    }

    async fn count_expired(connection: &mut SqliteConnection) -> i64 {
        let sql = "SELECT count(*) FROM medhook_events WHERE until = 0";
        sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
    }
}
