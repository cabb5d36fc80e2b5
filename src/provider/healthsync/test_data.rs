//! The fixtures of this provider. A test compares this list with the folder.

use crate::provider::test_data::{TestData, test_data};

pub(super) const TEST_DATA: TestData = test_data! {
    "healthsync",
    marks: &["/id"],
    "analysis.completed"
    "analysis.failed"
    "document.deleted"
    "document.shared"
    "document.updated"
    "document.uploaded.drifted"
    "document.uploaded"
    "document.uploaded.latin-1"
    "document.uploaded.numeric-ids"
    "document.uploaded.offset"
    "document.uploaded.pretty"
    "document.uploaded.sparse"
    "family_member.added"
    "family_member.removed"
    "share.accessed"
    "share.created"
    "share.expired"
    "share.revoked"
    "test-event"
    "test-event.untyped"
    "undocumented"
    "user.updated"
};
