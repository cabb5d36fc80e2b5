//! The deliveries and events that a viewer selects.

use medhook::inbox::Status;

/// Selects recent deliveries.
#[derive(Debug, Default)]
pub(in crate::receive) struct RecentQuery {
    pub(in crate::receive) endpoint: Option<String>,
    /// `handled`, `stored`, `duplicate`, `ignored`, `in_flight`, `rejected`, `failed`, `done`, `retry`, `dead`.
    pub(in crate::receive) outcome: Option<String>,
}

/// Selects events of the inbox.
#[derive(Debug, Default)]
pub(in crate::receive) struct EventsQuery {
    pub(in crate::receive) endpoint: Option<String>,
    pub(in crate::receive) status: Option<Status>,
    pub(in crate::receive) kind: Option<String>,
    /// The newest events come first; this continues below the last one of a page.
    pub(in crate::receive) before: Option<i64>,
}
