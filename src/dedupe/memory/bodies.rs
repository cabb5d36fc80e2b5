//! The records of deliveries whose event can recur with the same bytes.

use std::time::Duration;

use lru::LruCache;

use super::super::DeliveryRecord;
use super::short_key::{FirstBytesState, ShortKey};

/// The records of a shard, from the most to the least recently used. At capacity, the least recently used one makes
/// room: the records are advisory.
pub(super) struct BodyRecords {
    records: LruCache<ShortKey, BodyRecord, FirstBytesState>,
    capacity: usize,
    /// The number of records that made room before they expired.
    pub(super) forgotten: u64,
}

/// Times are milliseconds since the store was created.
#[derive(Clone, Copy)]
struct BodyRecord {
    deliveries: u64,
    first: u64,
    last: u64,
    period_began: u64,
    in_period: u64,
}

impl BodyRecords {
    pub(super) fn new(capacity: usize) -> Self {
        // Unbounded, because a bounded cache allocates its whole capacity at once.
        BodyRecords { records: LruCache::unbounded_with_hasher(FirstBytesState::default()), capacity, forgotten: 0 }
    }

    pub(super) fn record(&mut self, body: ShortKey, period: u64, most: u64, now: u64) -> DeliveryRecord {
        let known = self.records.get(&body).copied();
        let mut record = known.filter(|record| now.saturating_sub(record.last) < period).unwrap_or(BodyRecord {
            deliveries: 0,
            first: now,
            last: now,
            period_began: now,
            in_period: 0,
        });
        if now.saturating_sub(record.period_began) >= period {
            (record.period_began, record.in_period) = (now, 0);
        }
        let before = DeliveryRecord {
            earlier: record.deliveries,
            since: Duration::from_millis(now.saturating_sub(record.first)),
            in_period: record.in_period,
            period: Duration::from_millis(now.saturating_sub(record.period_began)),
        };
        if record.in_period < most {
            record.deliveries = record.deliveries.saturating_add(1);
            record.in_period = record.in_period.saturating_add(1);
        }
        record.last = now;
        self.records.put(body, record);
        if self.records.len() > self.capacity
            && let Some((_, oldest)) = self.records.pop_lru()
        {
            self.forgotten += u64::from(now.saturating_sub(oldest.last) < period);
        }
        before
    }

    pub(super) fn record_failure(&mut self, body: ShortKey) {
        if let Some(record) = self.records.peek_mut(&body) {
            record.in_period = record.in_period.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_capacity_the_least_recently_used_record_makes_room() {
        let body = |n| [n; 16];
        let mut bodies = BodyRecords::new(2);
        let mut earlier = |n| bodies.record(body(n), 10, 9, 0).earlier;
        assert_eq!([1, 2, 1, 3, 1, 2, 3].map(&mut earlier), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(bodies.forgotten, 3);
    }
}
