//! Stored events that are useful for a limited time: measures their age, and warns about the one that waits too long.

use std::time::Duration;

use tokio::time::Instant;

use super::shared::Shared;
use crate::error::StoreError;
use crate::observe::inbox::{self as observe, Expiring};

/// The warnings about the events of a worker's endpoint.
///
/// There is a warning about the oldest event of a kind after half of its time, and another one at the end of it. There
/// is at most one about a kind in a minute.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    warned: Vec<Warned>,
}

#[derive(Debug)]
struct Warned {
    last: Expiring,
    at: Instant,
}

/// The time between two warnings about a kind.
const INTERVAL: Duration = Duration::from_secs(60);

impl Expiry {
    /// Measures the oldest unfinished event of each kind that is useful for a limited time.
    pub(super) async fn measure(&mut self, shared: &Shared) -> Result<(), StoreError> {
        let kinds = shared.receiver.settings().inbox.as_ref().map_or(&[][..], |inbox| inbox.useful_for);
        if kinds.is_empty() {
            return Ok(());
        }
        let (endpoint, names) = (shared.receiver.name().to_owned(), kinds.iter().map(|(kind, _)| *kind).collect());
        let oldest = shared.answer(|tables| tables.oldest_of(endpoint, names)).await?;
        let at = shared.receiver.endpoint();
        // The application may have installed its recorder after it built the receiver.
        observe::useful_for(at, kinds);
        for (kind, useful_for) in kinds {
            let row = oldest.iter().find(|row| row.kind == *kind);
            observe::oldest_useful(at, kind, row.map_or(Duration::ZERO, |row| row.age));
            if let Some(row) = row {
                let event = Expiring { kind, id: row.id, age: row.age, useful_for: *useful_for };
                if self.is_due(event) {
                    observe::expiring(at, event);
                }
            }
        }
        Ok(())
    }

    /// Returns whether to warn about the oldest event of its kind now.
    fn is_due(&mut self, event: Expiring) -> bool {
        if event.age < event.useful_for / 2 {
            return false;
        }
        let now = Instant::now();
        let Some(known) = self.warned.iter_mut().find(|known| known.last.kind == event.kind) else {
            self.warned.push(Warned { last: event, at: now });
            return true;
        };
        let is_known = known.last.id == event.id && known.last.is_past() == event.is_past();
        if is_known || now.saturating_duration_since(known.at) < INTERVAL {
            return false;
        }
        *known = Warned { last: event, at: now };
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn event(kind: &'static str, id: i64, age: Duration) -> Expiring {
        Expiring { kind, id, age, useful_for: 24 * HOUR }
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_is_warned_of_at_half_of_its_time_and_at_its_end() {
        let mut expiry = Expiry::default();
        for (age, due) in [(0, false), (11, false), (12, true), (13, false), (23, false), (24, true), (48, false)] {
            assert_eq!(expiry.is_due(event("export", 7, age * HOUR)), due, "{age} h");
            advance(HOUR).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_one_warning_in_a_minute_about_each_kind() {
        let mut expiry = Expiry::default();
        assert!(expiry.is_due(event("export", 1, 13 * HOUR)));
        assert!(expiry.is_due(event("other", 2, 13 * HOUR)));
        advance(INTERVAL / 2).await;
        assert!(!expiry.is_due(event("export", 3, 13 * HOUR)));
        advance(INTERVAL / 2).await;
        assert!(expiry.is_due(event("export", 3, 13 * HOUR)), "it was not warned of before");
        assert!(!expiry.is_due(event("export", 3, 13 * HOUR)));
    }
}
