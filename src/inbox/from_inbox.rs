//! The token of a body that comes from an inbox.

use crate::verified::OpenedFromInbox;

/// Shows that a body was opened as an inbox had sealed it. Only [`record`](super::record) creates it.
pub(crate) struct FromInbox(());

impl OpenedFromInbox for FromInbox {}

impl FromInbox {
    pub(super) fn opened() -> Self {
        FromInbox(())
    }
}
