//! The fixtures of this provider. A test compares this list with the folder.

use crate::provider::test_data::{TestData, test_data};

pub(super) const TEST_DATA: TestData = test_data! {
    "fasten",
    marks: &["/id"],
    "patient.authorization_revoked"
    "patient.authorization_revoked.minimal"
    "patient.connection_success"
    "patient.connection_success.refreshing"
    "patient.connection_success.request-id-hyphen"
    "patient.connection_success.tefca"
    "patient.ehi_export_failed"
    "patient.ehi_export_failed.minimal"
    "patient.ehi_export_failed.tefca"
    "patient.ehi_export_failed.unknown-reason"
    "patient.ehi_export_success.both-links"
    "patient.ehi_export_success.drifted"
    "patient.ehi_export_success.empty-ids"
    "patient.ehi_export_success"
    "patient.ehi_export_success.link-null"
    "patient.ehi_export_success.link-object"
    "patient.ehi_export_success.links-as-text"
    "patient.ehi_export_success.minimal"
    "patient.ehi_export_success.numeric-ids"
    "patient.ehi_export_success.pretty"
    "patient.ehi_export_success.simulator"
    "patient.ehi_export_success.test-mode"
    "patient.request_health_system"
    "patient.request_health_system.minimal"
    "patient.request_support"
    "patient.request_support.latin-1"
    "patient.request_support.minimal"
    "undocumented.event-type"
    "undocumented"
    "webhook.test.empty"
    "webhook.test"
};
