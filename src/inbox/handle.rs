//! The handle of an inbox, and how it is opened.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::keyring::{INBOX, KeyId, Keyring, shown};
use super::sealing::{Bodies, DigestKey, Sealer, Unsealable, key_id};
use crate::dedupe::DedupeStore;
use crate::dedupe::inbox::store::{InboxStore, KeyRecord};
use crate::error::{ConfigError, StoreError};
use crate::store_id::StoreId;

/// The inbox of a store: receivers store verified events in it before they acknowledge them, and workers lease them
/// from it. Cheap to clone.
#[derive(Clone)]
pub struct Inbox {
    pub(crate) tables: Arc<dyn InboxStore>,
    /// The store itself, for the records of deliveries whose event can recur.
    pub(crate) store: Arc<dyn DedupeStore>,
    pub(crate) store_id: StoreId,
    pub(crate) sealer: Arc<Sealer>,
    /// Wakes a worker of this process when an event was stored.
    pub(crate) stored: Arc<Notify>,
    /// A permit for each byte of the sealed bodies that are being stored.
    room: Arc<Semaphore>,
    /// The time at which the last operation of a worker of this process failed; `None` if it succeeded.
    worker_failed: Arc<Mutex<Option<Instant>>>,
}

impl Inbox {
    /// Opens the inbox of a store: checks its keys against the records of keys, and adds the record of a new key.
    pub(crate) async fn open(
        tables: Arc<dyn InboxStore>,
        store: Arc<dyn DedupeStore>,
        store_id: StoreId,
        bodies: Bodies,
    ) -> Result<Self, ConfigError> {
        let sealer = match bodies.0 {
            Some(keys) => {
                let digests = digests(&*tables, &keys).await?;
                if bodies.1 {
                    warn_of_plaintext();
                }
                Sealer::new(keys, digests, bodies.1)
            }
            None => {
                let records = read_records(&*tables).await?;
                if !records.is_empty() {
                    return Err(ConfigError::new(format!(
                        "the inbox is sealed, and unreadable without its keys (ids: {}); pass them with \
                         Bodies::sealed, or as `inbox_key` of `medhook receive`",
                        ids(&records)
                    )));
                }
                Sealer::in_clear()
            }
        };
        Ok(Inbox {
            tables,
            store,
            store_id,
            sealer: Arc::new(sealer),
            stored: Arc::default(),
            room: Arc::new(Semaphore::new(SEALED_BYTES)),
            worker_failed: Arc::default(),
        })
    }

    /// Returns the time since the last operation of this process's workers on the store failed. Returns `None` if it
    /// succeeded, or if there was none. Workers look for events at least every second unless the application is
    /// unreachable, so health checks can use it without a query of their own.
    #[must_use]
    pub fn worker_failed_since(&self) -> Option<Duration> {
        self.worker_failed.lock().unwrap_or_else(PoisonError::into_inner).map(|failed| failed.elapsed())
    }

    /// Waits for room to seal and store a body. Until it is stored, it is in memory twice, so without a limit the peak
    /// would depend on how many deliveries are at this step at once.
    pub(crate) async fn room_to_store(&self, body: usize) -> Result<OwnedSemaphorePermit, StoreError> {
        let bytes = u32::try_from(body.clamp(1, SEALED_BYTES)).unwrap_or(u32::MAX);
        let room = self.room.clone().acquire_many_owned(bytes).await;
        room.map_err(|_closed| StoreError::unavailable("inbox: it is closed"))
    }

    pub(crate) fn record_of_worker(&self, succeeded: bool) {
        *self.worker_failed.lock().unwrap_or_else(PoisonError::into_inner) = (!succeeded).then(Instant::now);
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("sealer", &self.sealer).finish_non_exhaustive()
    }
}

/// The bytes of the sealed bodies that are being stored, besides a single longer one: as many as may wait for SQLite's
/// writer, or 32 of 1 MiB for the connections to PostgreSQL.
const SEALED_BYTES: usize = 32 << 20;

/// Returns the key of the inbox's digests, which is sealed in a record for each key. Adds the records that are missing.
///
/// Several instances can open a new inbox at the same time, possibly with different rings. The first one to add the
/// record [`INBOX`] decides the key of the digests; the records of the ring's keys are copies.
async fn digests(tables: &dyn InboxStore, keys: &Keyring) -> Result<DigestKey, ConfigError> {
    let mut records = read_records(tables).await?;
    if records.is_empty() {
        let first = DigestKey::random().and_then(|digests| digests.seal(keys.first())).map_err(unreadable)?;
        add_record(tables, INBOX, first).await?;
        records = read_records(tables).await?;
    }
    let mut found = None;
    for record in &records {
        let problem = match DigestKey::open(keys, &record.sealed) {
            Ok(digests) if found.as_ref().is_none_or(|found| *found == digests) => {
                found = Some(digests);
                continue;
            }
            Err(Unsealable::UnknownKey(_)) if keys.get(record.key_id).is_none() => continue,
            Err(Unsealable::Unsupported) => "was written by a later version of medhook, or is damaged",
            _ => "is damaged; restore the table of the inbox's keys from a backup",
        };
        let id = shown(record.key_id);
        return Err(ConfigError::new(format!("the inbox's record of key {id} {problem}")));
    }
    let Some(digests) = found else {
        return Err(ConfigError::new(format!(
            "the inbox is sealed with other keys (ids: {}) than the configured ones: {keys:?}; add the key that \
             sealed it",
            ids(&records)
        )));
    };
    for key in keys.iter().filter(|key| records.iter().all(|record| record.key_id != key.id)) {
        let sealed = digests.seal(key).map_err(unreadable)?;
        add_record(tables, key.id, sealed).await?;
    }
    Ok(digests)
}

fn warn_of_plaintext() {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        "the inbox accepts events in clear; seal them with `Inbox::rekey` (`medhook inbox rekey`), then remove \
         `accept_plaintext` (`allow_plaintext_bodies`)"
    );
}

async fn read_records(tables: &dyn InboxStore) -> Result<Vec<KeyRecord>, ConfigError> {
    let records = tables.key_records().await.map_err(unreadable)?;
    if records.len() > MOST_RECORDS {
        return Err(ConfigError::new(format!("the inbox has more than {MOST_RECORDS} records of keys")));
    }
    Ok(records)
}

/// More than any inbox has: one for each key of the ring, and for each older key that something is sealed under.
const MOST_RECORDS: usize = 100;

async fn add_record(tables: &dyn InboxStore, key_id: KeyId, sealed: Vec<u8>) -> Result<(), ConfigError> {
    tables.add_key_record(KeyRecord { key_id, sealed: sealed.into() }).await.map_err(unreadable)
}

fn unreadable(error: StoreError) -> ConfigError {
    ConfigError::new("the inbox cannot be opened").with_source(error)
}

/// Lists the ids of the keys that records are sealed under.
fn ids(records: &[KeyRecord]) -> String {
    let mut ids: Vec<_> = records.iter().filter_map(|record| key_id(&record.sealed).ok()).map(shown).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_key::EventKey;
    use crate::inbox::keyring::tests::ring;
    use crate::inbox::memory::MemoryInbox;
    use crate::inbox::operations::tests::store;

    async fn open(double: &Arc<MemoryInbox>, bodies: Bodies) -> Result<Inbox, ConfigError> {
        Inbox::open(double.clone(), double.clone(), double.id, bodies).await
    }

    async fn sealed(double: &Arc<MemoryInbox>, keys: &[u8]) -> Result<Inbox, ConfigError> {
        open(double, Bodies::sealed(ring(keys))).await
    }

    async fn record_ids(double: &Arc<MemoryInbox>) -> Vec<KeyId> {
        double.key_records().await.unwrap().iter().map(|record| record.key_id).collect()
    }

    fn row_key(inbox: &Inbox) -> [u8; 32] {
        inbox.sealer.row_key(&EventKey::from_bytes([7; 32]))
    }

    const ID_0: KeyId = [0xf4, 0x6b, 0x95, 0x39];
    const ID_1: KeyId = [0x3d, 0x37, 0x7b, 0x37];

    #[tokio::test]
    async fn digests_stay_the_same_over_restarts_and_rotations() {
        let double = MemoryInbox::new();
        let first = row_key(&sealed(&double, &[0]).await.unwrap());
        assert_eq!(record_ids(&double).await, [INBOX, ID_0]);
        assert_ne!(first, [7; 32]);
        for keys in [&[0][..], &[1, 0], &[0, 1], &[1]] {
            assert_eq!(row_key(&sealed(&double, keys).await.unwrap()), first, "{keys:?}");
        }
        assert_eq!(record_ids(&double).await, [INBOX, ID_0, ID_1]);
        // Another inbox with the same key has other digests.
        assert_ne!(row_key(&sealed(&MemoryInbox::new(), &[0]).await.unwrap()), first);
    }

    #[tokio::test]
    async fn an_inbox_does_not_open_without_one_of_its_keys() {
        let double = MemoryInbox::new();
        sealed(&double, &[0]).await.unwrap();
        let error = sealed(&double, &[1]).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "the inbox is sealed with other keys (ids: f46b9539) than the configured ones: [key-1 (3d377b37)]; add the \
             key that sealed it"
        );
        let error = open(&double, Bodies::plaintext()).await.unwrap_err().to_string();
        assert!(error.starts_with("the inbox is sealed, and unreadable without its keys (ids: f46b9539)"), "{error}");
        assert_eq!(record_ids(&double).await, [INBOX, ID_0]);
    }

    #[tokio::test]
    async fn a_damaged_record_and_one_of_another_inbox_are_errors() {
        let (double, other) = (MemoryInbox::new(), MemoryInbox::new());
        sealed(&double, &[0]).await.unwrap();
        sealed(&other, &[0]).await.unwrap();
        let record = double.key_records().await.unwrap().pop().unwrap();
        let foreign = other.key_records().await.unwrap().pop().unwrap();
        let mut changed = record.sealed.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        let mut unknown = record.sealed.to_vec();
        unknown[1] ^= 1;
        let mut later = record.sealed.to_vec();
        later[0] = 2;
        for (sealed_record, problem) in [
            (changed, "record of key f46b9539 is damaged"),
            (unknown, "record of key f46b9539 is damaged"),
            (later, "record of key f46b9539 was written by a later version of medhook, or is damaged"),
            (vec![], "record of key f46b9539 is damaged"),
            (foreign.sealed.to_vec(), "record of key f46b9539 is damaged"),
        ] {
            assert!(double.remove_key_record(ID_0).await.unwrap());
            double.add_key_record(KeyRecord { key_id: ID_0, sealed: sealed_record.into() }).await.unwrap();
            let error = sealed(&double, &[0]).await.unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        assert!(double.remove_key_record(ID_0).await.unwrap());
        sealed(&double, &[0]).await.unwrap();
    }

    #[tokio::test]
    async fn an_inbox_has_at_most_a_hundred_records_of_keys() {
        let double = MemoryInbox::new();
        sealed(&double, &[0]).await.unwrap();
        let mut records = double.key_records().await.unwrap();
        let own = records[1].sealed.clone();
        for number in 2..=100 {
            let (key_id, mut sealed) = ([0xff, 0, 0, number], own.to_vec());
            sealed[1..5].copy_from_slice(&key_id);
            records.push(KeyRecord { key_id, sealed: sealed.into() });
        }
        double.set_key_records(records[..100].to_vec());
        self::sealed(&double, &[0]).await.unwrap();
        double.set_key_records(records);
        let error = self::sealed(&double, &[0]).await.unwrap_err().to_string();
        assert_eq!(error, "the inbox has more than 100 records of keys");
    }

    /// Two instances with the rings 0 and 1, 0 open a new inbox at the same time. The second one has read that there
    /// are no records before the first one adds its own.
    #[tokio::test]
    async fn the_first_of_two_instances_decides_the_digests() {
        let double = MemoryInbox::new();
        double.hang("add_key_record");
        let second = tokio::spawn({
            let double = double.clone();
            async move { sealed(&double, &[1, 0]).await }
        });
        while double.calls("add_key_record") == 0 {
            tokio::task::yield_now().await;
        }
        let first = MemoryInbox::new();
        let first_key = row_key(&sealed(&first, &[0]).await.unwrap());
        double.set_key_records(first.key_records().await.unwrap());
        MemoryInbox::release(&double);
        let second = second.await.unwrap().unwrap();
        assert_eq!(row_key(&second), first_key);
        assert_eq!(row_key(&sealed(&double, &[0]).await.unwrap()), first_key);
        assert_eq!(row_key(&sealed(&double, &[1]).await.unwrap()), first_key);
    }

    /// Otherwise a client with write access to the tables, but without the keys, could forge an event.
    #[tokio::test]
    async fn events_in_clear_are_opened_with_keys_only_if_the_inbox_accepts_them() {
        let double = MemoryInbox::new();
        let in_clear = open(&double, Bodies::plaintext()).await.unwrap();
        let id = store(&in_clear, 7, b"old").await;
        assert_eq!(record_ids(&double).await, <[KeyId; 0]>::default());
        let event_key = async |inbox: Inbox| inbox.show(id).await.unwrap().unwrap().event_key;
        let accepting = open(&double, Bodies::sealed(ring(&[0])).accept_plaintext()).await.unwrap();
        assert_eq!(event_key(accepting).await, Some(EventKey::from_bytes([7; 32])));
        assert_eq!(event_key(sealed(&double, &[0]).await.unwrap()).await, None);
    }

    #[tokio::test]
    async fn a_store_that_fails_is_an_error_with_its_cause() {
        for operation in ["key_records", "add_key_record"] {
            let double = MemoryInbox::new();
            double.fail(operation, 1);
            let error = format!("{:?}", sealed(&double, &[0]).await.unwrap_err());
            assert!(error.starts_with("the inbox cannot be opened: ") && error.contains(operation), "{error}");
            sealed(&double, &[0]).await.unwrap();
        }
    }
}
