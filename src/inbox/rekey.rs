//! Sealing everything under the first key of the ring.

use super::entry::Rekeyed;
use super::handle::Inbox;
use super::keyring::{INBOX, KeyId, shown};
use super::operator::Operator;
use super::sealing::{Binding, SealedPart, Unsealable, key_id};
use crate::dedupe::inbox::store::SealedBody;
use crate::error::StoreError;

/// Bodies can be long, so few are in memory at once.
const PAGE: u32 = 8;

/// Events that another instance stored or changed meanwhile are visited again, this often.
const PASSES: usize = 3;

const MOST_IDS: usize = 100;

impl Inbox {
    /// Seals all events under the first key of the ring, and then forgets the keys that are not on the ring and that
    /// nothing is sealed under. Events that cannot be opened are left as they are, and reported. It can run while
    /// receivers and workers do, and can be repeated.
    ///
    /// Events in clear are sealed if the inbox [accepts](super::Bodies::accept_plaintext) them.
    ///
    /// # Errors
    /// Returns an error if the inbox has no keys, or if the store fails. Calling this again continues.
    pub async fn rekey(&self, operator: &Operator) -> Result<Rekeyed, StoreError> {
        self.rekey_with(operator, |_| {}).await
    }

    /// Does the same as [`rekey`](Inbox::rekey), and calls `progress` with the number of events that have been sealed
    /// so far. If the future is dropped, these stay sealed.
    ///
    /// # Errors
    /// Returns the errors of [`rekey`](Inbox::rekey).
    pub async fn rekey_with(
        &self,
        operator: &Operator,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<Rekeyed, StoreError> {
        let keys = self.sealer.keys().ok_or_else(no_keys)?;
        let first = keys.first().id;
        self.tables.write_audit(operator.audit_row("rekey", shown(first))).await?;
        let mut rekeyed = Rekeyed::default();
        for _ in 0..PASSES {
            let sealed = self.pass(first, &mut rekeyed, &mut progress).await?;
            rekeyed.sealed = rekeyed.sealed.saturating_add(sealed);
            if sealed == 0 && rekeyed.left == 0 {
                break;
            }
        }
        for record in self.tables.key_records().await? {
            let is_forgotten = match key_id(&record.sealed) {
                Ok(id) if keys.get(id).is_none() => self.tables.remove_key_record(record.key_id).await?,
                _ => false,
            };
            if is_forgotten && record.key_id != INBOX {
                rekeyed.forgotten_keys.push(shown(record.key_id));
            }
        }
        Ok(rekeyed)
    }

    /// Returns how many events are not sealed under the first key of the ring, including those that cannot be opened.
    /// Calls `progress` with the number so far. Reads their bodies.
    ///
    /// # Errors
    /// Returns an error if the inbox has no keys, or if the store fails.
    pub async fn count_to_rekey(&self, mut progress: impl FnMut(u64) + Send) -> Result<u64, StoreError> {
        let first = self.sealer.keys().ok_or_else(no_keys)?.first().id;
        let (mut after, mut count) = (i64::MIN, 0_u64);
        loop {
            let page = self.tables.sealed_otherwise(first, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(count) };
            after = last.id;
            count = count.saturating_add(page.len() as u64);
            progress(count);
        }
    }

    /// Visits every event that is sealed otherwise once, and returns how many are sealed under the key now.
    async fn pass(
        &self,
        key: KeyId,
        rekeyed: &mut Rekeyed,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<u64, StoreError> {
        let (mut after, mut sealed) = (i64::MIN, 0_u64);
        (rekeyed.left, rekeyed.unreadable) = (0, 0);
        rekeyed.unreadable_ids.clear();
        loop {
            let page = self.tables.sealed_otherwise(key, after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(sealed) };
            after = last.id;
            for before in page {
                let id = before.id;
                match self.resealed(&before)? {
                    Ok(after) => {
                        let is_sealed = self.tables.reseal(before, after).await?;
                        let count = if is_sealed { &mut sealed } else { &mut rekeyed.left };
                        *count = count.saturating_add(1);
                        progress(rekeyed.sealed.saturating_add(sealed));
                    }
                    Err(_) => {
                        rekeyed.unreadable = rekeyed.unreadable.saturating_add(1);
                        if rekeyed.unreadable_ids.len() < MOST_IDS {
                            rekeyed.unreadable_ids.push(id);
                        }
                    }
                }
            }
        }
    }

    fn resealed(&self, before: &SealedBody) -> Result<Result<SealedBody, Unsealable>, StoreError> {
        let to = Binding { endpoint: &before.endpoint, row_key: &before.row_key, stored_by: &before.stored_by };
        let reseal = |part, sealed: &[u8]| match self.sealer.open(part, to, sealed) {
            Ok(text) => self.sealer.seal(part, to, &[&text]).map(|sealed| Ok(sealed.into())),
            Err(unsealable) => Ok(Err(unsealable)),
        };
        let sealed_key = match reseal(SealedPart::EventKey, &before.sealed_key)? {
            Ok(sealed_key) => sealed_key,
            Err(unsealable) => return Ok(Err(unsealable)),
        };
        let sealed = match &before.sealed {
            None => None,
            Some(body) => match reseal(SealedPart::Body, body)? {
                Ok(sealed) => Some(sealed),
                Err(unsealable) => return Ok(Err(unsealable)),
            },
        };
        Ok(Ok(SealedBody { sealed_key, sealed, ..before.clone() }))
    }
}

fn no_keys() -> StoreError {
    StoreError::unavailable("inbox: it has no keys; open it with Bodies::sealed")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::dedupe::inbox::store::InboxStore as _;
    use crate::inbox::keyring::tests::ring;
    use crate::inbox::memory::MemoryInbox;
    use crate::inbox::operations::tests::{operator, store};
    use crate::inbox::sealing::Bodies;

    async fn open(double: &Arc<MemoryInbox>, bodies: Bodies) -> Inbox {
        Inbox::open(double.clone(), double.clone(), double.id, bodies).await.unwrap()
    }

    async fn sealed(double: &Arc<MemoryInbox>, keys: &[u8]) -> Inbox {
        open(double, Bodies::sealed(ring(keys))).await
    }

    async fn body(inbox: &Inbox, id: i64) -> Bytes {
        inbox.body(id, &operator()).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn all_events_are_sealed_under_the_first_key_and_the_old_one_is_forgotten() {
        let double = MemoryInbox::new();
        let old = sealed(&double, &[1]).await;
        for event in 1..=20 {
            store(&old, event, b"old").await;
        }
        double.set_body(20, None);
        let both = sealed(&double, &[0, 1]).await;
        store(&both, 21, b"new").await;
        let before = double.bodies()[&21].clone();
        let rekeyed = both.rekey(&operator()).await.unwrap();
        assert_eq!(rekeyed, Rekeyed { sealed: 20, ..Rekeyed::default() });
        assert_eq!(before, double.bodies()[&21], "sealed under the first key before");
        assert_eq!(double.audit().last().map(|entry| &*entry.action), Some("rekey"));
        assert_eq!(body(&both, 1).await, "old");

        let new = sealed(&double, &[0]).await;
        for id in 1..20 {
            assert_eq!(body(&new, id).await, "old");
        }
        assert!(new.show(20).await.unwrap().unwrap().event_key.is_some(), "its key is sealed again, too");
        let rekeyed = new.rekey(&operator()).await.unwrap();
        assert_eq!(rekeyed.sealed, 0);
        assert_eq!(rekeyed.forgotten_keys, ["3d377b37"]);
        // The record that decided the digests was sealed under the old key, too.
        let records = double.key_records().await.unwrap();
        assert_eq!(records.iter().map(|record| record.key_id).collect::<Vec<_>>(), [ring(&[0]).first().id]);
        sealed(&double, &[0]).await;
        assert!(Inbox::open(double.clone(), double.clone(), double.id, Bodies::sealed(ring(&[1]))).await.is_err());
    }

    #[tokio::test]
    async fn a_key_with_events_is_not_forgotten() {
        let double = MemoryInbox::new();
        let id = store(&sealed(&double, &[1]).await, 1, b"old").await;
        sealed(&double, &[0, 1]).await;
        let new = sealed(&double, &[0]).await;
        let rekeyed = new.rekey(&operator()).await.unwrap();
        assert_eq!((rekeyed.sealed, rekeyed.unreadable, &*rekeyed.unreadable_ids), (0, 1, &[id][..]));
        assert!(!rekeyed.forgotten_keys.contains(&"3d377b37".to_owned()), "{rekeyed:?}");
        assert_eq!(body(&sealed(&double, &[0, 1]).await, id).await, "old");
    }

    #[tokio::test]
    async fn events_that_do_not_open_are_reported_and_left_as_they_are() {
        let double = MemoryInbox::new();
        let old = sealed(&double, &[1]).await;
        for event in 1..=120 {
            store(&old, event, b"old").await;
        }
        let both = sealed(&double, &[0, 1]).await;
        let damaged = Bytes::from_static(b"\x01damaged");
        (1..=110).for_each(|id| double.set_body(id, Some(damaged.clone())));
        let rekeyed = both.rekey(&operator()).await.unwrap();
        assert_eq!((rekeyed.sealed, rekeyed.unreadable, rekeyed.left), (10, 110, 0));
        assert_eq!(rekeyed.unreadable_ids, (1..=100).collect::<Vec<_>>());
        assert!((1..=110).all(|id| double.bodies()[&id] == damaged));
        assert_eq!(body(&sealed(&double, &[0]).await, 111).await, "old");
    }

    #[tokio::test]
    async fn an_event_whose_body_is_deleted_meanwhile_does_not_get_it_back() {
        let double = MemoryInbox::new();
        let id = store(&sealed(&double, &[1]).await, 1, b"old").await;
        let both = sealed(&double, &[0, 1]).await;
        double.hang("reseal");
        let rekeying = tokio::spawn(async move { both.rekey(&operator()).await });
        while double.calls("reseal") == 0 {
            tokio::task::yield_now().await;
        }
        double.set_body(id, None);
        double.release();
        let rekeyed = rekeying.await.unwrap().unwrap();
        assert_eq!(rekeyed, Rekeyed { sealed: 1, ..Rekeyed::default() }, "its key, in the next pass");
        assert!(double.bodies().is_empty());
    }

    /// For example by an instance that does not have the new key yet.
    #[tokio::test]
    async fn an_event_that_is_sealed_under_the_old_key_meanwhile_is_sealed_again() {
        let double = MemoryInbox::new();
        let old = sealed(&double, &[1]).await;
        for event in 1..=2 {
            store(&old, event, b"old").await;
        }
        let before = double.bodies().get(&1).cloned();
        let both = sealed(&double, &[0, 1]).await;
        let (changed, mut calls) = (double.clone(), 0);
        let progress = move |_| {
            calls += 1;
            if calls == 2 {
                changed.set_body(1, before.clone());
            }
        };
        assert_eq!(both.rekey_with(&operator(), progress).await.unwrap(), Rekeyed { sealed: 3, ..Rekeyed::default() });
        assert_eq!(body(&sealed(&double, &[0]).await, 1).await, "old");
    }

    #[tokio::test]
    async fn events_in_clear_are_sealed_if_the_inbox_accepts_them() {
        let double = MemoryInbox::new();
        let id = store(&open(&double, Bodies::plaintext()).await, 1, b"in clear").await;
        let strict = sealed(&double, &[0]).await.rekey(&operator()).await.unwrap();
        assert_eq!((strict.sealed, strict.unreadable), (0, 1));
        let accepting = open(&double, Bodies::sealed(ring(&[0])).accept_plaintext()).await;
        assert_eq!(accepting.rekey(&operator()).await.unwrap(), Rekeyed { sealed: 1, ..Rekeyed::default() });
        assert!(!double.bodies()[&id].windows(8).any(|bytes| bytes == b"in clear"));
        assert_eq!(body(&sealed(&double, &[0]).await, id).await, "in clear");
    }

    #[tokio::test]
    async fn an_inbox_in_clear_has_no_key_to_seal_under() {
        let double = MemoryInbox::new();
        let in_clear = open(&double, Bodies::plaintext()).await;
        let error = in_clear.rekey(&operator()).await.unwrap_err().to_string();
        assert_eq!(error, "inbox: it has no keys; open it with Bodies::sealed");
        assert!(double.audit().is_empty());
    }
}
