//! Where a provider's sources disagree, the handler sees one form.

use medhook::fasten::{ConnectionStatus, EhiExportSuccess, FailureReason};
use medhook::testing::fixtures;
use medhook::{Delivery, Mode, Phi, fasten, healthsync};

use super::fixtures::opened;

#[test]
fn links_are_read_from_either_field_in_any_form() {
    let urls = |variant: &str| -> Vec<String> { export(variant).urls().map(|url| url.expose().clone()).collect() };
    let plain = urls("");
    assert_eq!(plain.len(), 1);
    for variant in [".simulator", ".link-object", ".link-null", ".both-links", ".minimal", ".drifted"] {
        assert_eq!(urls(variant), plain, "{variant}");
    }
    let texts = urls(".links-as-text");
    assert_eq!((texts.len(), &texts[0]), (2, &plain[0]));
}

#[test]
fn an_empty_id_is_absent_and_a_number_is_read_as_text() {
    let empty = export(".empty-ids");
    assert_eq!((empty.org_connection_id, empty.task_id, empty.org_id), (None, None, None));
    assert_eq!(export(".numeric-ids").task_id, Some("660142".into()));
    assert_eq!(delivery("fasten/patient.ehi_export_success.numeric-ids").id(), Some("80417723"));
    assert_eq!(delivery("healthsync/document.uploaded.numeric-ids").id(), Some("5550117"));
    let document = document(".numeric-ids");
    assert_eq!((document.id, document.user_id), (Some("90221".into()), Some("417".into())));
}

#[test]
fn statistics_may_be_partial_or_missing() {
    let total = |variant: &str| export(variant).stats.and_then(|stats| stats.total_resources).map(Phi::into_exposed);
    assert_eq!(total(""), Some(412));
    assert_eq!(total(".simulator"), Some(57));
    assert_eq!(total(".minimal"), None);
    assert_eq!(total(".drifted"), None);
    let by_type = export("").stats.and_then(|stats| stats.total_by_resource_type).expect("documented");
    assert_eq!(by_type.expose().get("Observation"), Some(&366));
}

#[test]
fn a_request_id_is_read_with_a_hyphen_and_with_an_underscore() {
    assert_eq!(connection("").request_id, Some("c85f6311-4b17-4eae-b9d4-0e1f2a3b4c5d".into()));
    assert_eq!(connection(".request-id-hyphen").request_id, connection("").request_id);
}

#[test]
fn fields_that_tefca_omits_are_absent() {
    let tefca = connection(".tefca");
    assert_eq!((tefca.endpoint_id, tefca.portal_id, tefca.brand_id), (None, None, None));
    assert!(tefca.org_connection_id.is_some() && tefca.tefca_directory_id.is_some());
}

#[test]
fn unknown_values_of_open_lists_are_kept() {
    assert_eq!(failure(""), Some(FailureReason::SuppressedPleaseContact));
    assert_eq!(failure(".tefca"), Some(FailureReason::TefcaNoDocumentsFound));
    assert_eq!(failure(".minimal"), Some(FailureReason::TokenRefreshFailure));
    assert_eq!(failure(".unknown-reason"), Some(FailureReason::Other("rejected".into())));
    assert_eq!(connection("").connection_status, Some(ConnectionStatus::Authorized));
    assert_eq!(connection(".refreshing").connection_status, Some(ConnectionStatus::Refreshing));
}

#[test]
fn the_mode_is_read() {
    assert_eq!(delivery("fasten/patient.ehi_export_success").mode(), Some(&Mode::Live));
    assert_eq!(delivery("fasten/patient.ehi_export_success.test-mode").mode(), Some(&Mode::Test));
    assert_eq!(delivery("healthsync/document.uploaded").mode(), None);
}

#[test]
fn a_time_is_the_same_in_either_notation_and_keeps_its_own() {
    let (plain, offset) = (document("").uploaded_at.unwrap(), document(".offset").uploaded_at.unwrap());
    assert_eq!(plain.unix(), offset.unix());
    assert_eq!(offset.text(), "2026-01-01T05:30:00+05:30");
}

#[test]
fn drift_costs_only_the_field_that_drifted() {
    let drifted = document(".drifted");
    assert_eq!((drifted.id, drifted.user_id), (document("").id, document("").user_id));
    assert_eq!(drifted.filename, Some("20251231".into()), "a number for a text loses nothing");
    assert_eq!((drifted.file_size, drifted.category), (None, None));
    assert_eq!(export(".drifted").task_id, export("").task_id);
}

fn export(variant: &str) -> EhiExportSuccess {
    match fasten(&format!("patient.ehi_export_success{variant}")) {
        fasten::Event::EhiExportSuccess(export) => export,
        other => panic!("{other:?}"),
    }
}

fn failure(variant: &str) -> Option<FailureReason> {
    match fasten(&format!("patient.ehi_export_failed{variant}")) {
        fasten::Event::EhiExportFailed(failed) => failed.failure_reason,
        other => panic!("{other:?}"),
    }
}

fn connection(variant: &str) -> fasten::ConnectionSuccess {
    match fasten(&format!("patient.connection_success{variant}")) {
        fasten::Event::ConnectionSuccess(connection) => connection,
        other => panic!("{other:?}"),
    }
}

fn document(variant: &str) -> healthsync::Document {
    match delivery(&format!("healthsync/document.uploaded{variant}")).decode() {
        Ok(healthsync::Event::DocumentUploaded(uploaded)) => uploaded.object.expect("documented"),
        other => panic!("{other:?}"),
    }
}

fn fasten(name: &str) -> fasten::Event {
    delivery(&format!("fasten/{name}")).decode().expect("its provider")
}

fn delivery(name: &str) -> Delivery {
    let path = format!("{name}.json");
    let found = fixtures().iter().find(|fixture| fixture.path() == path);
    opened(found.unwrap_or_else(|| panic!("no {path}")))
}
