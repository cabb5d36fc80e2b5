use hashbrown::HashTable;

use crate::EventKey;

/// A map that knows in which order its entries were put, in as little memory as that takes: entries lie side by side,
/// and what refers to them is four bytes long.
pub(super) struct Recent<V> {
    /// By the hash of the key, where its entry is.
    places: HashTable<u32>,
    entries: Vec<Option<Entry<V>>>,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    most: u32,
}

struct Entry<V> {
    key: EventKey,
    value: V,
    newer: u32,
    older: u32,
}

/// Refers to no entry.
const NONE: u32 = u32::MAX;

impl<V> Recent<V> {
    /// For up to so many entries; more are not taken.
    pub(super) fn new(most: usize) -> Self {
        let most = u32::try_from(most).unwrap_or(NONE).min(NONE.saturating_sub(1));
        Recent { places: HashTable::new(), entries: Vec::new(), free: Vec::new(), newest: NONE, oldest: NONE, most }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.most as usize
    }

    pub(super) fn get(&self, key: &EventKey) -> Option<&V> {
        self.entry(self.find(key)?).map(|entry| &entry.value)
    }

    /// The entry put longest ago.
    pub(super) fn oldest(&self) -> Option<(EventKey, &V)> {
        self.entry(self.oldest).map(|entry| (entry.key, &entry.value))
    }

    /// Puts an entry in front of all others, in place of the one that was there. Says whether there was room.
    pub(super) fn put(&mut self, key: EventKey, value: V) -> bool {
        let at = match self.find(&key) {
            Some(at) => {
                self.unlink(at);
                at
            }
            None => match self.place(key) {
                Some(at) => at,
                None => return false,
            },
        };
        let entry = Entry { key, value, newer: NONE, older: NONE };
        if let Some(place) = self.entries.get_mut(at as usize) {
            *place = Some(entry);
        }
        self.link(at);
        true
    }

    pub(super) fn promote(&mut self, key: &EventKey) {
        if let Some(at) = self.find(key) {
            self.unlink(at);
            self.link(at);
        }
    }

    pub(super) fn remove(&mut self, key: &EventKey) {
        let entries = &self.entries;
        if let Ok(place) = self.places.find_entry(hash(key), |at| is(entries, *at, key)) {
            let (at, _) = place.remove();
            self.unlink(at);
            if let Some(place) = self.entries.get_mut(at as usize) {
                *place = None;
            }
            self.free.push(at);
        }
    }

    fn find(&self, key: &EventKey) -> Option<u32> {
        self.places.find(hash(key), |at| is(&self.entries, *at, key)).copied()
    }

    /// A place for a key that has none.
    fn place(&mut self, key: EventKey) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                let at = u32::try_from(self.entries.len()).ok()?;
                self.grow();
                self.entries.push(None);
                at
            }
        };
        let entries = &self.entries;
        let hash_of = |at: &u32| entry(entries, *at).map_or(0, |entry| hash(&entry.key));
        self.places.insert_unique(hash(&key), at, hash_of);
        Some(at)
    }

    /// Twice as much room, but none for more than there may ever be.
    fn grow(&mut self) {
        let len = self.entries.len();
        if len == self.entries.capacity() {
            let left = (self.most as usize).saturating_sub(len);
            self.entries.reserve_exact(len.max(SMALLEST).min(left));
        }
    }

    fn entry(&self, at: u32) -> Option<&Entry<V>> {
        entry(&self.entries, at)
    }

    fn entry_mut(&mut self, at: u32) -> Option<&mut Entry<V>> {
        self.entries.get_mut(at as usize)?.as_mut()
    }

    fn link(&mut self, at: u32) {
        let older = std::mem::replace(&mut self.newest, at);
        if let Some(entry) = self.entry_mut(at) {
            (entry.newer, entry.older) = (NONE, older);
        }
        match self.entry_mut(older) {
            Some(older) => older.newer = at,
            None => self.oldest = at,
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some((newer, older)) = self.entry(at).map(|entry| (entry.newer, entry.older)) else { return };
        match self.entry_mut(newer) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        match self.entry_mut(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
    }
}

const SMALLEST: usize = 16;

fn entry<V>(entries: &[Option<Entry<V>>], at: u32) -> Option<&Entry<V>> {
    entries.get(at as usize)?.as_ref()
}

fn is<V>(entries: &[Option<Entry<V>>], at: u32, key: &EventKey) -> bool {
    entry(entries, at).is_some_and(|entry| entry.key == *key)
}

/// Keys are digests already: their first bytes are as good as any hash, and nobody without a secret can choose them.
fn hash(key: &EventKey) -> u64 {
    key.as_bytes().first_chunk().copied().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedupe::EventKeys;

    fn key(n: u64) -> EventKey {
        EventKeys::new("test", "test").of_id("", &n.to_string())
    }

    /// From the newest to the oldest, walked in both directions.
    fn order(recent: &Recent<u64>) -> Vec<u64> {
        let walk = |from: u32, next: fn(&Entry<u64>) -> u32| {
            let first = recent.entry(from);
            std::iter::successors(first, |entry| recent.entry(next(entry))).map(|entry| entry.value).collect::<Vec<_>>()
        };
        let mut backwards = walk(recent.oldest, |entry| entry.newer);
        backwards.reverse();
        let forwards = walk(recent.newest, |entry| entry.older);
        assert_eq!(forwards, backwards);
        assert_eq!(forwards.len(), recent.len());
        forwards
    }

    #[test]
    fn it_does_what_a_plain_list_does() {
        const MOST: usize = 40;
        let (mut recent, mut list) = (Recent::new(MOST), Vec::<u64>::new());
        let mut random = 1_u64;
        for _ in 0..5_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (n, what) = ((random >> 33) % 60, (random >> 60) % 4);
            let known = list.contains(&n);
            if what == 0 || what == 3 {
                list.retain(|other| *other != n);
            }
            match what {
                0 => recent.remove(&key(n)),
                1 if known => {
                    recent.promote(&key(n));
                    list.retain(|other| *other != n);
                    list.insert(0, n);
                }
                1 => recent.promote(&key(n)),
                2 => assert_eq!(recent.get(&key(n)).copied(), known.then_some(n)),
                _ => {
                    let room = list.len() < MOST;
                    assert_eq!(recent.put(key(n), n), room);
                    if room {
                        list.insert(0, n);
                    }
                }
            }
            assert_eq!(order(&recent), list);
            assert_eq!(recent.oldest().map(|(_, value)| *value), list.last().copied());
        }
        assert!(recent.entries.len() <= MOST && recent.entries.capacity() == MOST);
    }
}
