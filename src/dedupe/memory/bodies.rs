//! The records of deliveries whose event can recur with the same bytes.

use std::time::Duration;

use lru::LruCache;

use super::super::DeliveryRecord;
use super::first_bytes::FirstBytesState;
use crate::event_key::EventKey;

/// The records of a shard, from the most to the least recently used. At capacity, the least recently used one makes
/// room: the records are advisory.
pub(super) struct Bodies {
    records: LruCache<EventKey, BodyRecord, FirstBytesState>,
    capacity: usize,
}

#[derive(Clone, Copy)]
struct BodyRecord {
    deliveries: u64,
    /// The time of the first delivery, in milliseconds since the store was created.
    first: u64,
}

impl Bodies {
    pub(super) fn new(capacity: usize) -> Self {
        // Unbounded, because a bounded cache allocates its whole capacity at once.
        Bodies { records: LruCache::unbounded_with_hasher(FirstBytesState::default()), capacity }
    }

    pub(super) fn record(&mut self, body: EventKey, period: u64, now: u64) -> DeliveryRecord {
        if let Some(record) = self.records.get_mut(&body)
            && now.saturating_sub(record.first) < period
        {
            let earlier = record.deliveries;
            record.deliveries = earlier.saturating_add(1);
            return DeliveryRecord { earlier, since: Duration::from_millis(now.saturating_sub(record.first)) };
        }
        self.records.put(body, BodyRecord { deliveries: 1, first: now });
        if self.records.len() > self.capacity {
            self.records.pop_lru();
        }
        DeliveryRecord::default()
    }

    pub(super) fn unrecord(&mut self, body: EventKey) {
        if let Some(record) = self.records.peek_mut(&body) {
            record.deliveries = record.deliveries.saturating_sub(1);
            if record.deliveries == 0 {
                self.records.pop(&body);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_capacity_the_least_recently_used_record_makes_room() {
        let body = |n| EventKey::from_bytes([n; 32]);
        let mut bodies = Bodies::new(2);
        let mut earlier = |n| bodies.record(body(n), 10, 0).earlier;
        assert_eq!([1, 2, 1, 3, 1, 2, 3].map(&mut earlier), [0, 0, 1, 0, 2, 0, 0]);
    }
}
