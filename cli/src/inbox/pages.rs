//! Lists of any length, page by page.

use medhook::inbox::{Entry, Filter};

use super::session::{Session, failed};
use crate::failure::Failure;

/// The events that a filter selects, in the order of their ids.
pub(super) struct Pages {
    filter: Filter,
    left: u64,
    is_last: bool,
}

impl Pages {
    /// Creates the pages of up to `limit` events.
    pub(super) fn new(filter: Filter, limit: Option<u64>) -> Self {
        Pages { filter, left: limit.unwrap_or(u64::MAX), is_last: false }
    }

    /// Returns the next page, which is empty after the last one.
    pub(super) async fn next(&mut self, session: &Session) -> Result<Vec<Entry>, Failure> {
        if self.is_last || self.left == 0 {
            return Ok(Vec::new());
        }
        let limit = u32::try_from(self.left).unwrap_or(u32::MAX).min(Filter::MOST);
        let page = session.inbox.list(&self.filter.clone().limit(limit)).await.map_err(failed)?;
        self.left = self.left.saturating_sub(page.len() as u64);
        match page.last() {
            Some(last) => self.filter = self.filter.clone().after(last.id),
            None => self.is_last = true,
        }
        Ok(page)
    }

    /// Returns whether the filter selects more events than the limit.
    pub(super) async fn has_more(&mut self, session: &Session) -> Result<bool, Failure> {
        if self.is_last {
            return Ok(false);
        }
        let next = session.inbox.list(&self.filter.clone().limit(1)).await.map_err(failed)?;
        Ok(!next.is_empty())
    }
}
