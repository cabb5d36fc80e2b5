//! Tests every fixture unchanged, and with each of its values removed or of another type.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::Freshness;
use crate::testing::{self, Fixture, Sample, Signing, StoppedClock};
use crate::{Delivery, NoDedupe, RawJson, Reason, Receiver, Secret, SignatureScope};

const SECRET: &str = "a-secret-of-the-credentials-set";
/// 2026-01-01T00:00:00Z
const NOW: i64 = 1_767_225_600;

fn secret() -> Secret {
    Secret::new(SECRET).unwrap()
}

fn receiver(cair: Cair) -> Receiver {
    Receiver::builder("cair", cair).store(NoDedupe).clock(StoppedClock::at(NOW)).build().unwrap()
}

fn signed() -> Cair {
    Cair::hmac_sha256("X-API-KEY", secret())
}

/// A sample that the receiver of [`signed`] accepts.
fn sample(kind: &str) -> Sample {
    testing::cair(kind).secret(SECRET).signing(Signing::hmac_sha256("x-api-key"))
}

fn open(receiver: &Receiver, body: impl Into<Bytes>) -> Delivery {
    let request = sample("ai-phone-call").body(body).request("/");
    receiver.open(receiver.verify(request.headers(), request.body().clone()).unwrap()).unwrap()
}

fn decode(receiver: &Receiver, body: impl Into<Bytes>) -> Event {
    open(receiver, body).decode().unwrap()
}

fn fixtures() -> Vec<&'static Fixture> {
    testing::fixtures().iter().filter(|fixture| fixture.provider() == FACTS.name).collect()
}

/// The kind that a fixture is named after.
fn named(fixture: &Fixture) -> Kind {
    let name = fixture.path().trim_start_matches("cair/").split('.').next().unwrap();
    Kind::from_name(name).unwrap_or_else(|| panic!("no kind {name}"))
}

/// Returns the kind that an unpinned receiver infers.
fn inferred(kind: Kind) -> Kind {
    match kind {
        Kind::ClaimsRemitApproved | Kind::ClaimsRemitDenied => Kind::ClaimsRemitAll,
        other => other,
    }
}

fn body(path: &str) -> Bytes {
    fixtures().into_iter().find(|fixture| fixture.path() == format!("cair/{path}.json")).expect(path).body()
}

/// Returns the kind of the event's variant, and its payload as JSON.
fn parts(event: &Event) -> Option<(Kind, String)> {
    fn written(payload: &impl serde::Serialize) -> String {
        serde_json::to_string(payload).unwrap()
    }

    Some(match event {
        Event::ChartAnalysis(payload) => (Kind::ChartAnalysis, written(payload)),
        Event::ClaimsAiOptimizer(payload) => (Kind::ClaimsAiOptimizer, written(payload)),
        Event::ClaimStatusChange(payload) => (Kind::ClaimStatusChange, written(payload)),
        Event::ClaimsRemitAll(payload) => (Kind::ClaimsRemitAll, written(payload)),
        Event::ClaimsRemitApproved(payload) => (Kind::ClaimsRemitApproved, written(payload)),
        Event::ClaimsRemitDenied(payload) => (Kind::ClaimsRemitDenied, written(payload)),
        Event::X12Optimizer(payload) => (Kind::X12Optimizer, written(payload)),
        Event::AiPhoneCall(payload) => (Kind::AiPhoneCall, written(payload)),
        Event::Unknown(_) | Event::Undecodable(_) => return None,
    })
}

#[test]
fn every_kind_has_a_sample() {
    for kind in Kind::ALL {
        let body = sample(kind.as_str()).request("/").into_body();
        assert_eq!(parts(&decode(&receiver(signed()), body)).unwrap().0, inferred(*kind));
    }
}

#[test]
fn every_fixture_has_its_inferred_or_pinned_kind_and_survives_a_round_trip() {
    let unpinned = receiver(signed());
    for fixture in fixtures() {
        let kind = named(fixture);
        let pinned = receiver(signed().pin_kind(kind));
        for (receiver, expected) in [(&unpinned, inferred(kind)), (&pinned, kind)] {
            let delivery = open(receiver, fixture.body());
            assert_eq!(delivery.kind(), Some(expected.as_str()), "{}", fixture.path());
            assert_eq!((delivery.signature_scope(), delivery.id()), (SignatureScope::Body, None));
            let decoded = <Event as crate::Event>::from_delivery(&delivery);
            assert!(decoded.problem.is_none() && decoded.drifted.is_empty(), "{} {decoded:?}", fixture.path());
            let (variant, written) = parts(&decoded.event).unwrap();
            assert_eq!(variant, expected, "{}", fixture.path());
            assert_eq!(decode(receiver, written), decoded.event, "{}", fixture.path());
        }
    }
}

#[test]
fn a_chart_report_in_the_current_shape_is_decoded() {
    let Event::ChartAnalysis(chart) = decode(&receiver(signed()), body("PATIENT_CHART_ANALYSIS_COMPLETE")) else {
        panic!("another kind")
    };
    assert_eq!(chart.status, Some(AnalysisStatus::Complete));
    assert_eq!(chart.completed_events, [CompletedEvent::GenerateCodingReport]);
    assert_eq!(chart.report_id().unwrap(), &"6b1e9d70-2c4f-4a83-8e15-9f0a1b2c3d4e");
    assert_eq!(chart.id.as_ref().unwrap(), &"0f6d2c1e-7b3a-4f58-9c40-5d8e1a2b3c4d");
    assert_eq!(chart.claim_id().unwrap(), &"clm-20418");
    assert_eq!(chart.created_at(), None);
    let diagnoses: Vec<_> = chart.diagnoses().map(|code| code.code.as_ref().unwrap().expose().as_str()).collect();
    assert_eq!(diagnoses, ["J45.40", "Z79.52"]);
    let procedures: Vec<_> = chart.procedures().map(|code| code.code.as_ref().unwrap().expose().as_str()).collect();
    assert_eq!(procedures, ["94010", "99213"]);
    let discrepancies = chart.documentation_discrepancies().unwrap();
    assert_eq!(discrepancies.status, Some(ReportStatus::Pass));
    assert_eq!(discrepancies.report_summary.as_ref().unwrap(), &"One small contradiction about a cough");
    let finding = discrepancies.ros_hpi_discrepancy.as_ref().unwrap();
    assert_eq!(finding.label.as_ref().unwrap(), &"Systems asked about and the history");
    assert_eq!(finding.value.as_ref().unwrap(), &"Cough denied here, told there");
    assert_eq!(finding.severity, Some(Severity::Low));
    assert!(discrepancies.chief_complaint_hpi_discrepancy.is_some() && discrepancies.vitals_exam_discrepancy.is_some());
    let covered = chart.ncd_lcd().unwrap();
    for finding in [
        &covered.diagnoses_match_ncd_lcd,
        &covered.frequency_discrepancy,
        &covered.age_discrepancy,
        &covered.place_of_service_discrepancy,
    ] {
        assert!(finding.as_ref().unwrap().value.is_some());
    }
    assert_eq!(chart.suggestions().nth(1).unwrap(), &"Sign the addendum");
    let times = chart.time_based_requirements().unwrap();
    assert_eq!(times.total_time_documented.as_ref().unwrap().value.as_ref().unwrap(), &"27 minutes");
    assert_eq!(times.start_time.as_ref().unwrap().value.as_ref().unwrap(), &"09:40 by the clock");
    assert_eq!(chart.other_reports().count(), 0);
}

#[test]
fn the_three_shapes_of_a_chart_report_decode_alike() {
    let reports = json!({
        "coding_report": {
            "icd_10_codes": [{"icd_10_code": "J45.40", "severity": "Low"}],
            "cpt_codes": [{"cpt_code": "94010", "severity": "Low"}],
        },
        "documentation_discrepancy_report": {"report_summary": "a cough"},
        "ncd_lcd_analysis": {"status": "Pass"},
        "suggestions_for_fixing_issues_report": {"suggestions": ["sign it"]},
        "time_based_requirements_report": {"start_time": {"label": "began", "value": "09:40"}},
        "new_report": {"one": {"label": "l", "severity": "Low"}},
    });
    let mut today = reports.clone();
    today.as_object_mut().unwrap().extend([("id".to_owned(), "r".into()), ("claim_id".to_owned(), "c".into())]);
    let shapes = [
        json!({"id": "a", "status": "complete", "report": today}),
        json!({"report": {"report_id": "r", "claim_id": "c", "chart_report": reports}}),
        json!({"id": "r", "success": true, "analysis_result": {"claim_id": "c", "chart_report": reports}}),
    ];
    let [first, others @ ..] = shapes.map(|shape| match decode(&receiver(signed()), shape.to_string()) {
        Event::ChartAnalysis(chart) => chart,
        other => panic!("{other:?}"),
    });
    assert_eq!(first.report_id().unwrap(), &"r");
    assert_eq!(first.claim_id().unwrap(), &"c");
    assert_eq!((first.diagnoses().count(), first.procedures().count(), first.suggestions().count()), (1, 1, 1));
    for other in others {
        assert_eq!(other.report_id(), first.report_id());
        assert_eq!(other.claim_id(), first.claim_id());
        assert_eq!(other.coding(), first.coding());
        assert_eq!(other.documentation_discrepancies(), first.documentation_discrepancies());
        assert_eq!(other.ncd_lcd(), first.ncd_lcd());
        assert!(other.suggestions().eq(first.suggestions()));
        assert_eq!(other.time_based_requirements(), first.time_based_requirements());
        assert!(other.other_reports().eq(first.other_reports()));
    }
}

#[test]
fn a_chart_report_in_the_older_shapes_is_decoded() {
    let receiver = receiver(signed());
    let delivery = open(&receiver, body("PATIENT_CHART_ANALYSIS_COMPLETE.chart-report"));
    assert_eq!(delivery.occurred_at().and_then(Time::unix), Some(NOW), "no offset means UTC");
    let Event::ChartAnalysis(chart) = delivery.decode().unwrap() else { panic!("another kind") };
    assert_eq!(chart.report_id().unwrap(), &"e2c7b840-9d15-4f3e-b6a1-7c8d9e0f1a2b");
    assert_eq!(chart.created_at(), delivery.occurred_at());
    assert_eq!(chart.file_uri().unwrap(), &"93f1c0aa-6e2d-4d7b-8b54-1f2e3d4c5b6a");
    let severities: Vec<_> = chart.diagnoses().map(|code| code.severity.as_ref().unwrap().as_str()).collect();
    assert_eq!(severities, ["Low", "High"]);
    assert_eq!(chart.procedures().next().unwrap().code.as_ref().unwrap(), &"20610");
    assert_eq!(chart.ncd_lcd().unwrap().status.as_ref().unwrap().as_str(), "Fail");

    let delivery = open(&receiver, body("PATIENT_CHART_ANALYSIS_COMPLETE.api-answer"));
    assert_eq!(delivery.occurred_at().and_then(Time::unix), Some(NOW));
    let Event::ChartAnalysis(chart) = delivery.decode().unwrap() else { panic!("another kind") };
    assert_eq!(chart.report_id().unwrap(), &"b4a95f12-3d6c-4e70-91c8-2a3b4c5d6e7f");
    assert_eq!(chart.success, Some(true.into()));
    assert_eq!((chart.issues_for_review, chart.checks_passed), (Some(4102.into()), Some(8316.into())));
    let patient = chart.demographics.as_ref().unwrap();
    assert_eq!(patient.patient_name.as_ref().unwrap(), &"Quillon Averre");
    assert_eq!(patient.patient_birth_date.as_ref().unwrap().text(), "1961-07-19");
    assert_eq!(chart.diagnoses().next().unwrap().code.as_ref().unwrap(), &"I48.20");
    assert_eq!(chart.procedures().next().unwrap().code.as_ref().unwrap(), &"93000");
}

#[test]
fn undocumented_parts_of_a_chart_report_are_kept_with_their_findings() {
    let Event::ChartAnalysis(chart) = decode(&receiver(signed()), body("PATIENT_CHART_ANALYSIS_COMPLETE.partial"))
    else {
        panic!("another kind")
    };
    assert_eq!(chart.status.as_ref().unwrap().as_str(), "running");
    assert_eq!(chart.completed_events[1].as_str(), "CHECK_SIGNATURES");
    assert!(chart.ncd_lcd().is_none() && chart.claim_id().is_none());
    let others: Vec<_> = chart.other_reports().collect();
    let [("signature_report", report)] = others[..] else { panic!("{others:?}") };
    let findings = Finding::within(report);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings["provider_signature"].value.as_ref().unwrap(), &"Not yet");
    let times = chart.time_based_requirements().unwrap();
    let end = Finding::read(&times.rest.expose()["end_time"]).unwrap();
    assert_eq!(end.value.unwrap(), "10:07 by the clock");
    let codes: Vec<String> = chart.coding().unwrap().rest.expose()["hcpcs_codes"].decode().unwrap();
    assert_eq!(codes, ["G0442"]);
}

#[test]
fn claim_scrubber_output_is_decoded() {
    let receiver = receiver(signed());
    let Event::ClaimsAiOptimizer(newer) = decode(&receiver, body("CLAIMS_AI_OPTIMIZER")) else {
        panic!("another kind")
    };
    let output = newer.output.unwrap();
    assert_eq!(output.claim_id.as_ref().unwrap(), &"c81e4b6f-05d2-4973-b0ea-6d7c8b9a0f1e");
    assert_eq!(output.optimizer_run_id.as_ref().unwrap(), &"3f9a2d54-e817-4c06-95bd-8a7b6c5d4e3f");
    assert_eq!(output.claim_in_words(), None);
    assert!(output.ai_generated_encounter_description.unwrap().expose().starts_with("**Visit**\n\n"));

    let Event::ClaimsAiOptimizer(older) = decode(&receiver, body("CLAIMS_AI_OPTIMIZER.in-words")) else {
        panic!("another kind")
    };
    let output = older.output.unwrap();
    assert!(output.claim_in_words().unwrap().expose().starts_with("**Patient:**"));
    assert_eq!(output.edits[0].rationale.as_ref().unwrap(), &"The ECG and the visit are billed together");
    assert_eq!(output.rest.expose()["confidence"].as_bytes(), b"0.8125");
}

#[test]
fn claim_status_changes_are_decoded() {
    let receiver = receiver(signed());
    let change = |name: &str| {
        let delivery = open(&receiver, body(name));
        assert_eq!(delivery.occurred_at().and_then(Time::unix), Some(NOW));
        match delivery.decode().unwrap() {
            Event::ClaimStatusChange(change) => change,
            other => panic!("{other:?}"),
        }
    };
    let submitted = change("CLAIM_STATUS_CHANGE");
    assert_eq!(submitted.claim_fhir_id.unwrap(), "8d2f7a10-c3b4-4e69-a5f8-1b0c9d8e7f6a");
    assert_eq!(submitted.claim_lifecycle_id.unwrap(), "lc-77120");
    assert_eq!(submitted.organization_id.unwrap(), "org-3305");
    assert_eq!(submitted.new_status, Some(ClaimStatus::Submitted));
    assert_eq!(submitted.previous_status.unwrap().as_str(), "Ready_For_Clearinghouse");
    let rejected = change("CLAIM_STATUS_CHANGE.rejected");
    assert_eq!((rejected.new_status, rejected.previous_status), (Some(ClaimStatus::Rejected), None));
    assert_eq!(rejected.status_code_277.unwrap(), "A7:562");
    let failed = change("CLAIM_STATUS_CHANGE.not-submitted");
    assert_eq!(failed.new_status, Some(ClaimStatus::FailedToSubmit));
    assert_eq!(failed.submission_failure_errors[1], "Loop 2010AA has no address");
}

#[test]
fn only_the_pin_distinguishes_remittances_and_no_element_is_lost() {
    #[derive(serde::Deserialize)]
    struct Own {
        disposition: String,
        item: Vec<Value>,
    }

    for (kind, disposition) in [
        ("CLAIMS_REMIT_ALL", "Paid in part"),
        ("CLAIMS_REMIT_APPROVED", "Paid in full"),
        ("CLAIMS_REMIT_DENIED", "Not covered"),
    ] {
        let pinned = receiver(signed().pin_kind(Kind::from_name(kind).unwrap()));
        let event = decode(&pinned, body(kind));
        let (Event::ClaimsRemitAll(remittance)
        | Event::ClaimsRemitApproved(remittance)
        | Event::ClaimsRemitDenied(remittance)) = &event
        else {
            panic!("{event:?}")
        };
        assert_eq!(parts(&event).unwrap().0.as_str(), kind);
        assert_eq!(remittance.resource_type.as_ref().unwrap(), &"ClaimResponse");
        assert_eq!(remittance.status, Some(RemittanceStatus::Active));
        assert_eq!(remittance.outcome, Some(RemittanceOutcome::Complete));
        let own: Own = remittance.decode().unwrap();
        assert_eq!((own.disposition.as_str(), own.item.len()), (disposition, 1));
        let whole: Value = remittance.decode().unwrap();
        assert_eq!(whole, serde_json::from_slice::<Value>(&body(kind)).unwrap());
        assert!(matches!(decode(&receiver(signed()), body(kind)), Event::ClaimsRemitAll(_)));
    }
}

#[test]
fn the_two_webhooks_without_a_documented_name_are_decoded() {
    let receiver = receiver(signed());
    let Event::X12Optimizer(denied) = decode(&receiver, body("x12-optimizer")) else { panic!("another kind") };
    assert_eq!(denied.claim_id.unwrap(), "660417");
    assert_eq!(denied.patient_control_number.unwrap(), "PCN-90233");
    assert_eq!(denied.edits[1].difference.as_ref().unwrap(), &"The referring provider is missing");
    assert!(denied.ai_generated_claim.unwrap().decode::<String>().unwrap().starts_with("ST*837"));
    let Event::X12Optimizer(draft) = decode(&receiver, body("x12-optimizer.from-notes")) else {
        panic!("another kind")
    };
    assert!(draft.ai_generated_x12_837.unwrap().expose().starts_with("ISA*") && draft.edits.is_empty());
    assert_eq!(draft.ai_generated_encounter_summary.unwrap(), "An ECG for palpitations.");

    let Event::AiPhoneCall(over) = decode(&receiver, body("ai-phone-call")) else { panic!("another kind") };
    assert_eq!((over.call_id.unwrap().expose().as_str(), over.status), ("call-2b7f60", Some(CallStatus::Completed)));
    assert_eq!(over.results.unwrap().expose()["visits_left"].answer.as_ref().unwrap(), &"Eleven of twenty");
    let delivery = open(&receiver, body("ai-phone-call.failed"));
    assert_eq!(delivery.occurred_at(), None);
    let Event::AiPhoneCall(failed) = delivery.decode().unwrap() else { panic!("another kind") };
    assert_eq!(
        (failed.status, failed.error.unwrap().expose().as_str()),
        (Some(CallStatus::Failed), "Nobody picked up | tag-480")
    );
    let details = failed.error_details.unwrap();
    assert_eq!(details.original_error.unwrap(), "no answer after 90 s");
    assert_eq!(
        (details.internal_tag.unwrap().expose().as_str(), details.internal_id.unwrap().expose().as_str()),
        ("tag-480", "int-5527")
    );
    assert_eq!(details.timestamp.unwrap().unix(), Some(NOW));
    assert_eq!(details.webhook_body.unwrap().decode::<Value>().unwrap()["hops"][0], 3071);
    let Event::AiPhoneCall(running) = decode(&receiver, body("ai-phone-call.in-progress")) else {
        panic!("another kind")
    };
    assert_eq!((running.status, running.results), (Some(CallStatus::InProgress), None));
}

#[test]
fn the_first_matching_shape_determines_the_kind() {
    let receiver = receiver(signed());
    let kind_of = |body: &str| open(&receiver, body.to_owned()).kind().map(str::to_owned);
    let rows = [
        ("CLAIMS_REMIT_ALL", r#""resourceType": "ClaimResponse""#),
        ("CLAIM_STATUS_CHANGE", r#""claimLifecycleId": "c", "newStatus": "n""#),
        ("CLAIMS_AI_OPTIMIZER", r#""output": {"optimizer_run_id": 1}"#),
        ("PATIENT_CHART_ANALYSIS_COMPLETE", r#""report": {}"#),
        ("ai-phone-call", r#""callId": "c", "status": "s""#),
        ("x12-optimizer", r#""edits": []"#),
    ];
    for (at, (kind, members)) in rows.iter().enumerate() {
        assert_eq!(kind_of(&format!("{{{members}}}")).as_deref(), Some(*kind));
        // With the members of all rows below it, in order and in reverse.
        let mut members: Vec<_> = rows[at..].iter().map(|(_, members)| *members).collect();
        assert_eq!(kind_of(&format!("{{{}}}", members.join(","))).as_deref(), Some(*kind));
        members.reverse();
        assert_eq!(kind_of(&format!("{{{}}}", members.join(","))).as_deref(), Some(*kind));
    }
    for body in [
        r#"{"resourceType": "Claim"}"#,
        r#"{"resourceType": ["ClaimResponse"]}"#,
        r#"{"claimLifecycleId": "c"}"#,
        r#"{"claimLifecycleId": "c", "newStatus": null}"#,
        r#"{"claimLifecycleId": "c", "newStatus": ""}"#,
        r#"{"output": {}}"#,
        r#"{"output": "optimizer_run_id"}"#,
        r#"{"report": "a text"}"#,
        r#"{"report": null}"#,
        r#"{"callId": "c"}"#,
        r#"{"data": {"report": {}}}"#,
        "{}",
        "[]",
        "7",
        "",
        "{\"report\": {}",
        "{\"report\": {}} {}",
        "\u{feff}{\"report\": {}}",
    ] {
        assert_eq!(kind_of(body), None, "{body}");
    }
    assert_eq!(kind_of(r#"{"analysis_result": {}}"#).as_deref(), Some("PATIENT_CHART_ANALYSIS_COMPLETE"));
    assert_eq!(kind_of(r#"{"ai_generated_x12_837": 1}"#).as_deref(), Some("x12-optimizer"));
    assert_eq!(kind_of(r#"{"rep\u006frt": {}}"#).as_deref(), Some("PATIENT_CHART_ANALYSIS_COMPLETE"));
    assert_eq!(kind_of(r#"{"edits": [], "edits": []}"#).as_deref(), Some("x12-optimizer"));
}

#[test]
fn an_event_without_a_kind_contains_the_whole_body() {
    let receiver = receiver(signed());
    let undecodable = |body: &[u8]| match decode(&receiver, body.to_vec()) {
        Event::Undecodable(event) => event,
        other => panic!("{other:?}"),
    };
    let event = undecodable(br#"{"something": ["new"]}"#);
    assert_eq!(event.kind, None);
    assert_eq!(event.problem.to_string(), "the body matches no documented kind");
    assert_eq!(event.data.as_ref().map(RawJson::as_bytes), Some(br#"{"something": ["new"]}"#.as_slice()));
    for (body, problem) in [
        (b"[]".as_slice(), "the payload is not an object"),
        (b"{", "not JSON (line 1, column 1)"),
        (b"{\"report\": \"\xff\"}", "not UTF-8"),
        (b"", "not JSON (line 1, column 0)"),
    ] {
        let event = undecodable(body);
        assert_eq!((event.kind, event.data, event.problem.to_string().as_str()), (None, None, problem));
    }
}

#[test]
fn a_pinned_kind_takes_precedence_over_the_body() {
    for kind in Kind::ALL {
        let pinned = receiver(signed().pin_kind(*kind));
        for body in [body("CLAIM_STATUS_CHANGE"), body("ai-phone-call"), Bytes::from_static(b"{}")] {
            let delivery = open(&pinned, body.clone());
            assert_eq!(delivery.kind(), Some(kind.as_str()));
            assert_eq!(parts(&delivery.decode().unwrap()).unwrap().0, *kind);
        }
        for (body, problem) in [("[1]", "the payload is not an object"), ("no JSON", "not JSON (line 1, column 2)")] {
            let delivery = open(&pinned, body);
            assert_eq!(delivery.kind(), Some(kind.as_str()));
            let Event::Undecodable(event) = delivery.decode().unwrap() else { panic!("decoded") };
            assert_eq!(event.kind.as_ref().map(KindName::as_str), Some(kind.as_str()));
            assert_eq!((event.problem.to_string().as_str(), event.data), (problem, None));
        }
    }
    // The matching fields are decoded.
    let pinned = receiver(signed().pin_kind(Kind::ClaimStatusChange));
    let Event::ClaimStatusChange(change) = decode(&pinned, r#"{"timestamp": 5, "newStatus": {"new": 1}}"#) else {
        panic!("another kind")
    };
    assert_eq!(change, ClaimStatusChange { timestamp: Some(Time::from_unix(5)), ..Default::default() });
}

#[test]
fn a_body_nested_too_deeply_is_still_delivered() {
    let deep = |key: &str, levels: usize| {
        format!(r#"{{"report": {}{{}}{}}}"#, format!("{{\"{key}\": ").repeat(levels), "}".repeat(levels))
    };
    let receiver = receiver(signed());
    let event = decode(&receiver, deep("new", 50_000));
    assert!(matches!(event, Event::ChartAnalysis(_)), "{event:?}");
    let decoded = <Event as crate::Event>::from_delivery(&open(&receiver, deep("chart_report", 50_000)));
    assert!(matches!(decoded.event, Event::ChartAnalysis(_)), "decoded to the depth of the documented shapes");
    assert_eq!(decoded.drifted.len(), 1);
}

/// Returns the replacements for a value. `None` removes it.
fn replacements() -> [Option<Value>; 8] {
    [
        None,
        Some(Value::Null),
        Some(json!(7)),
        Some(json!("x")),
        Some(json!([])),
        Some(json!([1])),
        Some(json!({})),
        Some(json!({"x": 1})),
    ]
}

#[test]
fn a_removed_or_changed_value_costs_only_itself() {
    let unpinned = receiver(signed());
    let mut tried = 0;
    for fixture in fixtures() {
        let kind = named(fixture);
        let pinned = receiver(signed().pin_kind(kind));
        let original: Value = serde_json::from_slice(&fixture.body()).unwrap();
        let (_, whole) = parts(&decode(&pinned, original.to_string())).unwrap();
        let whole: Value = serde_json::from_str(&whole).unwrap();
        for path in paths(&original) {
            for replacement in replacements() {
                let mut changed = original.clone();
                put(&mut changed, &path, replacement.clone());
                let what = || format!("{} {path:?} {replacement:?}", fixture.path());
                let event = decode(&pinned, changed.to_string());
                let (variant, left) = parts(&event).unwrap_or_else(|| panic!("{} {event:?}", what()));
                assert_eq!(variant, kind, "{}", what());
                let left_of_it = serde_json::from_str(&left).unwrap();
                assert_eq!(without(left_of_it, &path, &whole), without(whole.clone(), &path, &whole), "{}", what());
                assert_eq!(decode(&pinned, left), event, "{}", what());
                let by_shape = decode(&unpinned, changed.to_string());
                match parts(&by_shape) {
                    Some((variant, _)) if variant == inferred(kind) => {}
                    _ => assert!(decides(kind, &path), "{} {by_shape:?}", what()),
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 2_000, "{tried}");
}

/// Returns whether the inferred kind depends on the value at this path.
fn decides(kind: Kind, path: &[Value]) -> bool {
    let keys: &[&[&str]] = match inferred(kind) {
        Kind::ClaimsRemitAll => &[&["resourceType"]],
        Kind::ClaimStatusChange => &[&["claimLifecycleId"], &["newStatus"]],
        Kind::ClaimsAiOptimizer => &[&["output"], &["output", "optimizer_run_id"]],
        Kind::ChartAnalysis => &[&["report"], &["analysis_result"]],
        Kind::AiPhoneCall => &[&["callId"], &["status"]],
        _ => &[&["edits"], &["ai_generated_x12_837"]],
    };
    keys.iter().any(|keys| keys.iter().eq(path))
}

/// Returns the paths to all values except the outermost.
fn paths(value: &Value) -> Vec<Vec<Value>> {
    let members: Vec<(Value, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(key, member)| (key.as_str().into(), member)).collect(),
        Value::Array(elements) => elements.iter().enumerate().map(|(at, element)| (at.into(), element)).collect(),
        _ => Vec::new(),
    };
    let mut all = Vec::new();
    for (step, member) in members {
        all.push(vec![step.clone()]);
        all.extend(paths(member).into_iter().map(|path| [vec![step.clone()], path].concat()));
    }
    all
}

/// Replaces the value at a path; `None` removes it.
fn put(value: &mut Value, path: &[Value], replacement: Option<Value>) {
    match (value, path) {
        (Value::Object(members), [Value::String(key)]) => match replacement {
            Some(replacement) => *members.get_mut(key).unwrap() = replacement,
            None => drop(members.remove(key)),
        },
        (Value::Array(elements), [Value::Number(at)]) => {
            let at = at.as_u64().unwrap() as usize;
            match replacement {
                Some(replacement) => elements[at] = replacement,
                None => drop(elements.remove(at)),
            }
        }
        (Value::Object(members), [Value::String(key), rest @ ..]) => {
            put(members.get_mut(key).unwrap(), rest, replacement);
        }
        (Value::Array(elements), [Value::Number(at), rest @ ..]) => {
            put(&mut elements[at.as_u64().unwrap() as usize], rest, replacement);
        }
        _ => panic!("no such path"),
    }
}

/// Returns a written payload without the value at a path of the body, and without empty values. `whole` shows whether a
/// list has already lost an element.
fn without(mut left: Value, path: &[Value], whole: &Value) -> Value {
    fn take(value: &mut Value, path: &[Value], whole: &Value) {
        match (value, path) {
            (Value::Object(members), [Value::String(key), rest @ ..]) => {
                // An alias is written under the first name.
                let key = if key == "report_id" { "id" } else { key };
                if rest.is_empty() {
                    members.remove(key);
                } else if let (Some(member), Some(whole)) = (members.get_mut(key), whole.get(key)) {
                    take(member, rest, whole);
                }
            }
            (Value::Array(elements), [Value::Number(at), rest @ ..]) => {
                let at = at.as_u64().unwrap() as usize;
                let is_whole = whole.as_array().is_some_and(|whole| whole.len() == elements.len());
                if rest.is_empty() && is_whole {
                    elements.remove(at);
                } else if let (Some(element), Some(whole)) = (elements.get_mut(at), whole.get(at)) {
                    take(element, rest, whole);
                }
            }
            // Codes are sent as strings and written as objects: there is nothing to remove below one.
            _ => {}
        }
    }

    fn prune(value: &mut Value) -> bool {
        match value {
            Value::Object(members) => {
                members.retain(|_, member| !prune(member));
                members.is_empty()
            }
            Value::Array(elements) => {
                elements.retain_mut(|element| !prune(element));
                elements.is_empty()
            }
            other => other.is_null(),
        }
    }

    take(&mut left, path, whole);
    prune(&mut left);
    left
}

#[test]
fn debug_output_shows_nothing_of_a_body() {
    for fixture in fixtures() {
        let pinned = receiver(signed().pin_kind(named(fixture)));
        let delivery = open(&pinned, fixture.body());
        let event: Event = delivery.decode().unwrap();
        let raw = decode(&receiver(signed()), format!(r#"{{"new": {}}}"#, str::from_utf8(&fixture.body()).unwrap()));
        let printed = format!("{event:?} {event:#?} {raw:?} {delivery:?} {:?}", delivery.occurred_at());
        let value: Value = serde_json::from_slice(&fixture.body()).unwrap();
        let mut looked_for = 0;
        for path in paths(&value) {
            let leaf = path.iter().try_fold(&value, |value, step| match step {
                Value::String(key) => value.get(key),
                step => value.get(step.as_u64()? as usize),
            });
            let text = match leaf.unwrap() {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => continue,
            };
            if text.len() > 3 && !DOCUMENTED.contains(&text.as_str()) {
                looked_for += 1;
                assert!(!printed.contains(&text), "{}: {text:?} in {printed}", fixture.path());
            }
        }
        assert!(looked_for > 0, "{}", fixture.path());
    }
}

/// Documented names, which `Debug` may show as variants or fields.
const DOCUMENTED: &[&str] =
    &["complete", "completed", "failed", "in_progress", "Pass", "Submitted", "Rejected", "active"];

#[test]
fn the_bare_secret_is_not_accepted_as_a_mac_nor_a_mac_as_the_secret() {
    let body = body("CLAIM_STATUS_CHANGE");
    let hex = "05252f884d6138725c14f8e82d5e9bf8d06b1b3772a601b4a76fbddabc223da5";
    for (text, reason) in [(SECRET, Reason::MalformedHeader), (hex, Reason::SignatureMismatch)] {
        let receiver = receiver(Cair::hmac_sha256("X-API-KEY", Secret::new(text).unwrap()));
        let rejection = receiver.verify(&[("x-api-key", text)], body.clone()).unwrap_err();
        assert_eq!(rejection.reason(), reason);
        // A MAC is not accepted as the secret.
        let bare = Receiver::builder("bare", Cair::shared_secret("X-API-KEY", Secret::new(text).unwrap()));
        let bare = bare.store(NoDedupe).build().unwrap();
        let signed = sample("CLAIM_STATUS_CHANGE").secret(text).body(body.clone()).request("/");
        assert_eq!(bare.verify(signed.headers(), body.clone()).unwrap_err().reason(), Reason::SignatureMismatch);
        assert_eq!(
            bare.verify(&[("x-api-key", text)], body.clone()).unwrap().signature_scope(),
            SignatureScope::SenderOnly
        );
    }
}

#[test]
fn a_mac_must_have_the_configured_encoding_and_prefix() {
    let signing = |encoding, prefix: &str| {
        Signing::of(crate::HmacSha256Body::new("x-cair".to_owned()).prefix(prefix.to_owned()).encoding(encoding))
    };
    let outcome = |cair: Cair, signing: Signing| {
        let receiver = receiver(cair);
        let request = sample("x12-optimizer").signing(signing).request("/");
        receiver.verify(request.headers(), request.body().clone()).map(|_| ()).map_err(|rejection| rejection.reason())
    };
    let cair = || Cair::hmac_sha256("X-Cair", secret());
    for encoding in [Encoding::Hex, Encoding::Base64] {
        assert_eq!(outcome(cair(), signing(encoding, "")), Ok(()));
        assert_eq!(outcome(cair().encoding(encoding), signing(encoding, "")), Ok(()));
        assert_eq!(outcome(cair().prefix("v0="), signing(encoding, "v0=")), Ok(()));
        assert_eq!(outcome(cair(), signing(encoding, "v0=")), Err(Reason::MalformedHeader));
        assert_eq!(outcome(cair().prefix("v0="), signing(encoding, "")), Err(Reason::MalformedHeader));
    }
    assert_eq!(outcome(cair().encoding(Encoding::Base64), signing(Encoding::Hex, "")), Err(Reason::MalformedHeader));
    assert_eq!(outcome(cair(), Signing::hmac_sha256("x-api-key")), Err(Reason::MissingHeader));
}

#[test]
fn the_age_is_checked_only_if_configured() {
    let freshness = Freshness::EventTime { max_age: Duration::from_secs(3600), max_skew: Duration::from_secs(60) };
    let build = |cair: Cair| {
        let builder = Receiver::builder("cair", cair).store(NoDedupe).clock(StoppedClock::at(NOW));
        builder.freshness(freshness).build().unwrap()
    };
    let outcome = |receiver: &Receiver, kind: &str, at: i64| {
        let request = sample(kind).at(at).request("/");
        let verified = receiver.verify(request.headers(), request.body().clone()).unwrap();
        receiver.open(verified).map(|_| ()).map_err(|rejection| rejection.reason())
    };
    for checking in [build(signed()), build(signed().pin_kind(Kind::ClaimStatusChange))] {
        assert_eq!(outcome(&checking, "CLAIM_STATUS_CHANGE", NOW - 3600), Ok(()));
        assert_eq!(outcome(&checking, "CLAIM_STATUS_CHANGE", NOW - 3601), Err(Reason::Stale));
        assert_eq!(outcome(&checking, "CLAIM_STATUS_CHANGE", NOW + 61), Err(Reason::InTheFuture));
    }
    let checking = build(signed());
    for kind in ["PATIENT_CHART_ANALYSIS_COMPLETE", "CLAIMS_REMIT_ALL", "CLAIMS_AI_OPTIMIZER", "ai-phone-call.failed"] {
        assert_eq!(outcome(&checking, kind, NOW), Err(Reason::TimeMissing), "{kind}");
        assert_eq!(outcome(&receiver(signed()), kind, NOW), Ok(()), "{kind}");
    }
    assert_eq!(outcome(&checking, "PATIENT_CHART_ANALYSIS_COMPLETE.chart-report", NOW), Ok(()));
    assert_eq!(outcome(&receiver(signed()), "CLAIM_STATUS_CHANGE", 0), Ok(()), "any age by default");
    // Without a kind: events of a new kind may lack the time.
    assert!(checking.open(checking.verify(&mac(b"{}")[..], Bytes::from_static(b"{}")).unwrap()).is_ok());
}

fn mac(body: &[u8]) -> Vec<(String, String)> {
    Signing::hmac_sha256("x-api-key").headers(SECRET, "", "", body).unwrap()
}

#[test]
fn equal_bytes_are_the_same_event_if_they_contain_its_own_id_or_time() {
    let receiver = receiver(signed());
    let key = |body: Bytes| open(&receiver, body).event_key();
    for kind in ["CLAIM_STATUS_CHANGE", "CLAIMS_AI_OPTIMIZER"] {
        assert_eq!(key(body(kind)), key(body(kind)), "{kind}");
        // The same ids with different bytes.
        assert_ne!(key(body(kind)), key([&body(kind)[..], b" "].concat().into()), "{kind}");
    }
    for kind in ["PATIENT_CHART_ANALYSIS_COMPLETE", "CLAIMS_REMIT_ALL", "ai-phone-call.failed", "x12-optimizer"] {
        assert_ne!(key(body(kind)), key(body(kind)), "{kind}");
    }
}

#[test]
fn every_configuration_error_is_one_clear_line() {
    let problem = |cair: Cair| Receiver::builder("cair", cair).store(NoDedupe).build().unwrap_err().to_string();
    for (cair, expected) in [
        (Cair::hmac_sha256("", secret()), "header name"),
        (Cair::shared_secret("", secret()), "header name"),
        (Cair::hmac_sha256("X API KEY", secret()), "header name"),
        (Cair::shared_secret("X-API-KEY:", secret()), "header name"),
        (Cair::shared_secret("x", secret()).encoding(Encoding::Hex), "encoding does not apply to a shared secret"),
        (Cair::shared_secret("x", secret()).prefix("sha256="), "prefix does not apply to a shared secret"),
        (Cair::hmac_sha256("x", secret()).prefix(" sha256="), "the prefix must be printable"),
        (Cair::hmac_sha256("x", secret()).prefix("sha256=\n"), "the prefix must be printable"),
    ] {
        let problem = problem(cair);
        assert!(problem.starts_with("receiver cair: ") && problem.contains(expected), "{problem}");
        assert!(!problem.contains('\n') && !problem.contains(SECRET), "{problem}");
    }
    assert_eq!(Kind::from_name("patient_chart_analysis_complete"), None);
    let printed = format!("{:?} {:?}", signed().pin_kind(Kind::ChartAnalysis), receiver(signed()));
    assert!(printed.contains("Secret(secret)") && !printed.contains(SECRET), "{printed}");
}
