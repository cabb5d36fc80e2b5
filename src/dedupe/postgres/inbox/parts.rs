//! The parts of a store that its inbox needs.

use std::sync::Arc;

use super::super::location::Location;
use super::super::session::Sessions;
use super::statements::InboxStatements;

/// The parts of a store that its inbox needs.
pub(in super::super) struct InboxParts {
    pub(super) statements: Arc<InboxStatements>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) location: Location,
    pub(super) create_tables: bool,
}

impl InboxParts {
    pub(in super::super) fn new(sessions: Arc<Sessions>, location: Location, create_tables: bool) -> Self {
        let statements = Arc::new(InboxStatements::new(&location));
        InboxParts { statements, sessions, location, create_tables }
    }
}
