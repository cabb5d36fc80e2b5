#![cfg(feature = "testing")]

use std::collections::BTreeSet;
use std::mem::discriminant;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::Freshness;
use crate::testing::{self, Fixture, Signing, StoppedClock, fixtures};
use crate::{
    CloudEvents, Custom, Dedupe, Delivery, Event as _, HmacSha256Body, MemoryStore, NoDedupe, Phi, Reason, Receiver,
    Secret, SharedSecret, SignatureScope,
};

const TEXT: &str = "agreed-upon-with-the-support-team";
const NOW: i64 = 1_767_225_600;

fn secret(label: &str, text: &str) -> Secret {
    Secret::new(text).unwrap().labeled(label).unwrap()
}

fn receiver() -> Receiver {
    Receiver::builder("mediquo", MediQuo::new(secret("current", TEXT))).store(NoDedupe).build().unwrap()
}

fn natural() -> Receiver {
    let builder = Receiver::builder("mediquo", MediQuo::new(secret("current", TEXT))).store(NoDedupe);
    builder.dedupe(Dedupe::by(natural_key)).build().unwrap()
}

fn delivered(receiver: &Receiver, body: impl Into<Bytes>) -> Delivery {
    receiver.open(receiver.verify(&[("x-webhook-signature", TEXT)], body.into()).unwrap()).unwrap()
}

fn provider_fixtures() -> impl Iterator<Item = (&'static str, &'static Fixture)> {
    fixtures().iter().filter(|fixture| fixture.provider() == FACTS.name).map(|fixture| {
        let name = fixture.path().strip_prefix("mediquo/").unwrap();
        (name.split('.').next().unwrap(), fixture)
    })
}

/// Returns the event of a fixture, by its name without `mediquo/` and `.json`.
fn event(name: &str) -> Event {
    let path = format!("mediquo/{name}.json");
    let (_, fixture) = provider_fixtures().find(|(_, fixture)| fixture.path() == path).unwrap();
    delivered(&receiver(), fixture.body()).decode().unwrap()
}

fn value(fixture: &Fixture) -> Value {
    serde_json::from_slice(&fixture.body()).unwrap()
}

/// Returns the payload of the named fixture's event, which must have the variant.
macro_rules! decoded {
    ($Variant:ident, $name:literal) => {
        match event($name) {
            Event::$Variant(payload) => payload,
            other => panic!("{}: {other:?}", $name),
        }
    };
}

/// Evaluates an expression with the payload of any documented kind.
macro_rules! with_payload {
    ($event:expr, $payload:ident => $do:expr) => {
        match $event {
            Event::PatientConsultationCreated($payload)
            | Event::PatientConsultationCancelled($payload)
            | Event::PatientConsultationRescheduled($payload)
            | Event::PatientConsultationFinished($payload) => $do,
            Event::PatientConsultationNoShow($payload) => $do,
            Event::PatientMessageReceived($payload) => $do,
            Event::PatientImmediateVideoCallAssigned($payload) => $do,
            Event::PatientReportSent($payload) => $do,
            Event::PrescriptionCreated($payload) => $do,
            Event::PatientWaitingRoomPositionUpdate($payload) => $do,
            Event::ProfessionalBlockCreated($payload)
            | Event::ProfessionalBlockUpdated($payload)
            | Event::ProfessionalBlockDeleted($payload) => $do,
            other => panic!("{other:?}"),
        }
    };
}

fn written(event: &Event) -> Value {
    with_payload!(event, payload => serde_json::to_value(payload).unwrap())
}

#[test]
fn every_kind_has_a_fixture_and_every_fixture_verifies_and_decodes_without_drift() {
    let receiver = receiver();
    let mut kinds = BTreeSet::new();
    for (kind, fixture) in provider_fixtures() {
        let delivery = delivered(&receiver, fixture.body());
        assert_eq!(delivery.kind(), Some(kind), "{}", fixture.path());
        assert_eq!(delivery.kind_label(), kind);
        assert_eq!(delivery.signature_scope(), SignatureScope::SenderOnly);
        assert_eq!(delivery.id(), None);
        assert_eq!(delivery.occurred_at().unwrap().unix(), Some(NOW), "{}", fixture.path());
        let decoded = Event::from_delivery(&delivery);
        assert!(decoded.problem.is_none() && decoded.drifted.is_empty(), "{}: {decoded:?}", fixture.path());
        with_payload!(decoded.event, _payload => ());
        kinds.insert(Kind::from_name(kind).unwrap().as_str());
    }
    assert_eq!(kinds, Kind::ALL.iter().map(|kind| kind.as_str()).collect());
}

#[test]
fn consultations_are_decoded_in_every_shape() {
    let created = decoded!(PatientConsultationCreated, "patient_consultation_created");
    let consultation = created.consultation.unwrap();
    assert_eq!(consultation.id.unwrap(), "0d5b7c1e-3a42-4f0b-8f66-2c9e51ab7701");
    assert_eq!(consultation.consultation_type, Some(ConsultationType::Appointment));
    assert_eq!(consultation.channel, Some(Channel::Video));
    assert_eq!(consultation.service_type, Some(ServiceType::Scheduled));
    assert_eq!(consultation.consultation_url.unwrap(), "https://room.example.org/s/Kx81vQ");
    assert_eq!(consultation.scheduled_start_date.unwrap().unix(), Some(1_767_605_400));
    assert_eq!(consultation.start_date, None);
    assert_eq!(consultation.speciality.unwrap().id.unwrap(), "14");
    let patient = created.patient.unwrap();
    assert_eq!(patient.code.unwrap(), "clinic-patient-00421");
    assert_eq!(patient.allergies[0].id.as_ref().unwrap(), &"5120");
    assert_eq!(patient.allergies[0].description, None);
    assert_eq!(patient.allergies[1].description.as_ref().unwrap(), &"Urticaria a los diez minutos");
    assert_eq!(patient.diseases[0].name.as_ref().unwrap(), &"Asma");
    assert_eq!(patient.medications[0].posology.as_ref().unwrap(), &"dos inhalaciones si hay ahogo");
    assert_eq!(created.professional.unwrap().name.unwrap(), "Dra. Nuria Vidal");
    assert!(created.reports.is_empty() && created.prescriptions.is_empty() && created.derivation.is_none());
    let before = created.preconsultation.unwrap();
    assert_eq!(before.reason.unwrap(), "Tos seca desde hace una semana, peor de noche");
    assert_eq!(before.documents[0].file_name.as_ref().unwrap(), &"radiografia.pdf");

    let phone = decoded!(PatientConsultationCreated, "patient_consultation_created.before_may");
    assert_eq!(phone.preconsultation, None);
    let phone = phone.consultation.unwrap();
    assert_eq!((phone.channel, phone.consultation_url), (Some(Channel::Phone), None));

    let cancelled = decoded!(PatientConsultationCancelled, "patient_consultation_cancelled");
    assert_eq!(cancelled.preconsultation, None);
    assert_eq!(cancelled.consultation.unwrap().service_type, Some(ServiceType::Immediate));

    let rescheduled = decoded!(PatientConsultationRescheduled, "patient_consultation_rescheduled");
    let rescheduled = rescheduled.consultation.unwrap();
    assert_eq!(rescheduled.previous_scheduled_start_date.unwrap().unix(), Some(1_767_605_400));
    assert_eq!(rescheduled.previous_scheduled_end_date.unwrap().unix(), Some(1_767_606_600));
    assert_eq!(rescheduled.scheduled_start_date.unwrap().unix(), Some(1_767_801_600));

    let finished = decoded!(PatientConsultationFinished, "patient_consultation_finished");
    assert_eq!(finished.reports[0].report_type, Some(ReportType::Soap));
    let content = finished.reports[0].content.as_ref().unwrap();
    assert_eq!(content.assessment.as_ref().unwrap(), &"J45.9 Asma, no especificada");
    assert!(content.rest.expose().is_empty());
    assert_eq!(finished.prescriptions[0].active_substances, ["budesonida", "formoterol"]);
    assert_eq!(finished.derivation.unwrap().description.unwrap(), "Neumología, preferente");

    let chat = decoded!(PatientConsultationFinished, "patient_consultation_finished.chat");
    assert_eq!(chat.preconsultation, Some(PreConsultation::default()));
    let chat = chat.consultation.unwrap();
    assert_eq!((chat.consultation_type, chat.channel), (Some(ConsultationType::Chat), Some(Channel::Chat)));
    assert_eq!((chat.service_type, chat.scheduled_start_date), (None, None));

    let one = decoded!(PatientConsultationFinished, "patient_consultation_finished.one_report");
    assert_eq!(one.reports, finished.reports);

    let sdk = decoded!(PatientConsultationFinished, "patient_consultation_finished.sdk");
    assert_eq!(sdk.reports.len(), 2);
    assert_eq!(sdk.reports[1].content.as_ref().unwrap().assessment.as_ref().unwrap(), &"Buena evolución");
    let patient = sdk.patient.unwrap();
    assert_eq!(patient.medications[0].id.as_ref().unwrap(), &"med_7410");
    assert_eq!(sdk.consultation.unwrap().end_date.unwrap().unix(), Some(NOW));
    assert_eq!(sdk.professional.unwrap().avatar.unwrap(), "https://media.example.org/avatars/p7Qw2LmX9a.png");

    let missed = decoded!(PatientConsultationNoShow, "patient_consultation_no_show");
    assert_eq!(missed.preconsultation.unwrap().documents.len(), 1);
    assert_eq!(missed.patient.unwrap().diseases.len(), 1);
    let missed = decoded!(PatientConsultationNoShow, "patient_consultation_no_show.before_may");
    assert_eq!(missed.preconsultation, None);
    assert_eq!(missed.consultation.unwrap().created_at.unwrap().text(), "2025-12-20T08:15:00+00:00");
}

#[test]
fn all_other_kinds_are_decoded_in_every_shape() {
    let message = decoded!(PatientMessageReceived, "patient_message_received");
    assert_eq!(message.message.unwrap().is_read, Some(Phi::new(false)));
    assert_eq!(message.professional.unwrap().id.unwrap(), "p7Qw2LmX9a");
    let older = decoded!(PatientMessageReceived, "patient_message_received.before_may");
    assert_eq!(older.message, None);
    assert_eq!(older.patient.as_ref().unwrap().code.as_ref().unwrap(), &"clinic-patient-00421");
    assert_eq!(older, decoded!(PatientMessageReceived, "patient_message_sent"));

    let call = decoded!(PatientImmediateVideoCallAssigned, "patient_immediate_video_call_assigned");
    let room = call.consultation.unwrap();
    assert_eq!(room.id.unwrap(), "5f2e8a70-6d1c-4b93-9a0e-c84b7d3f1162");
    assert_eq!(room.url.unwrap(), "https://room.example.org/now/5f2e8a70?signature=9be1c7");
    assert_eq!(room.speciality.unwrap().name.unwrap(), "Medicina familiar");
    assert!(call.patient.is_some() && call.professional.is_some());

    let report = decoded!(PatientReportSent, "patient_report_sent");
    assert_eq!(report.report_type, Some(ReportType::Soap));
    assert_eq!(report.content.as_ref().unwrap().plan.as_ref().unwrap(), &"Ajustar inhalador y revisar en dos semanas.");
    assert_eq!(report, decoded!(PatientReportSent, "patient_report_sent.fraction"));
    let nulls = decoded!(PatientReportSent, "patient_report_sent.nulls");
    assert_eq!(nulls.patient, Some(PatientCode::default()));
    let content = nulls.content.unwrap();
    assert!(content.subjective.is_some());
    assert_eq!((content.objective, content.assessment, content.plan), (None, None, None));

    let other = decoded!(PatientReportSent, "patient_report_sent.other_type");
    assert_eq!(other.report_type.unwrap().as_str(), "nutrition");
    let content = other.content.unwrap();
    assert_eq!(content.plan.unwrap(), "Cinco comidas al día.");
    assert_eq!(content.rest.expose().keys().collect::<Vec<_>>(), ["meals", "weight_goal"]);
    assert_eq!(
        content.rest.expose()["meals"].decode::<Value>().unwrap(),
        json!([{"slot": "desayuno", "kcal": 4150.5}])
    );

    let issued = decoded!(PrescriptionCreated, "prescription_created").prescription.unwrap();
    assert_eq!(issued.short_code.unwrap(), "RX4K9T");
    assert_eq!(issued.active_substances, ["budesonida", "formoterol"]);
    assert_eq!(issued.prescribed_at.unwrap().unix(), Some(NOW));
    assert_eq!(issued.pdf_url.unwrap(), "https://files.example.org/rx/93a4d7f8.pdf");
    assert_eq!(issued.consultation_type, Some(ConsultationType::Appointment));
    assert_eq!(issued.consultation_id.unwrap(), "0d5b7c1e-3a42-4f0b-8f66-2c9e51ab7701");
    let nulls = decoded!(PrescriptionCreated, "prescription_created.nulls");
    assert_eq!(nulls.professional.unwrap().avatar, None);
    assert_eq!(nulls.prescription.unwrap().pdf_url, None);

    let moved = decoded!(PatientWaitingRoomPositionUpdate, "patient_waiting_room_position_update");
    let room = moved.consultation.unwrap();
    assert_eq!(room.position, Some(Phi::new(3)));
    assert_eq!(room.speciality.unwrap().id.unwrap(), "spec_general");
    assert_eq!(room.url.unwrap(), "https://room.example.org/consultation?token=h2Vd0sQe");
    let nulls = decoded!(PatientWaitingRoomPositionUpdate, "patient_waiting_room_position_update.nulls");
    assert_eq!(nulls.consultation.unwrap().speciality, Some(Speciality::default()));

    let block = decoded!(ProfessionalBlockCreated, "professional_block_created");
    assert_eq!(block.name.unwrap(), "Congreso");
    assert_eq!(block.starts_at.unwrap().unix(), Some(1_770_019_200));
    let professional = block.professional.unwrap();
    assert_eq!(professional.hash.unwrap(), "p7Qw2LmX9a");
    assert_eq!(professional.speciality.unwrap(), "Medicina familiar");
    let block = decoded!(ProfessionalBlockUpdated, "professional_block_updated");
    assert_eq!(block.finishes_at.unwrap().text(), "2026-02-04T20:00:00+00:00");
    let block = decoded!(ProfessionalBlockDeleted, "professional_block_deleted");
    assert_eq!(block.professional.unwrap().speciality, None);
}

#[test]
fn an_alias_of_a_kind_is_kept_as_sent() {
    let request = testing::mediquo("patient_message_sent").secret(TEXT).at(NOW + 7).request("/");
    let receiver = receiver();
    let delivery = receiver.open(receiver.verify(request.headers(), request.body().clone()).unwrap()).unwrap();
    assert_eq!((delivery.kind(), delivery.kind_label()), (Some("patient_message_sent"), "patient_message_sent"));
    assert_eq!(delivery.occurred_at().unwrap().unix(), Some(NOW + 7));
    assert!(matches!(delivery.decode().unwrap(), Event::PatientMessageReceived(_)));
    assert_eq!(Kind::documented("patient_message"), None);
}

#[test]
fn payloads_survive_a_round_trip() {
    for (_, fixture) in provider_fixtures() {
        let event = delivered(&receiver(), fixture.body()).decode::<Event>().unwrap();
        let mut payload = value(fixture)["payload"].take();
        if payload["reports"].is_object() {
            payload["reports"] = json!([payload["reports"]]);
        }
        assert_eq!(comparable(written(&event)), comparable(payload), "{}", fixture.path());

        with_payload!(&event, payload => {
            let text = serde_json::to_string(payload).unwrap();
            let again = serde_json::from_str(&text).unwrap();
            assert_eq!(*payload, again, "{}", fixture.path());
        });
    }
}

/// Removes absent values, and converts numbers to strings.
fn comparable(value: Value) -> Value {
    let absent = |value: &Value| *value == Value::Null || *value == json!("") || *value == json!([]);
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(key, member)| (key, comparable(member)));
            Value::Object(members.filter(|(_, member)| !absent(member)).collect())
        }
        Value::Array(elements) => {
            Value::Array(elements.into_iter().map(comparable).filter(|element| !absent(element)).collect())
        }
        Value::Number(number) => Value::String(number.to_string()),
        other => other,
    }
}

#[test]
fn a_changed_field_costs_only_itself() {
    let receiver = receiver();
    let mut alterations = 0;
    for (_, fixture) in provider_fixtures() {
        let original = value(fixture);
        let unaltered: Event = delivered(&receiver, fixture.body()).decode().unwrap();
        for path in paths(&original["payload"]) {
            let mut bodies = vec![original.clone()];
            remove(&mut bodies[0]["payload"], &path);
            for odd in [json!(null), json!(""), json!(7), json!(-7.5), json!(true), json!("odd"), json!([7]), json!({})]
            {
                let mut body = original.clone();
                *at(&mut body["payload"], &path).unwrap() = odd;
                bodies.push(body);
            }
            for body in bodies {
                let event: Event = delivered(&receiver, body.to_string()).decode().unwrap();
                assert_eq!(discriminant(&event), discriminant(&unaltered), "{path:?} of {body}");
                let (mut altered, mut expected) = (written(&event), written(&unaltered));
                let elements = siblings(&expected, &path);
                remove(&mut expected, &path);
                // An unreadable element is omitted, a readable one is kept.
                if elements.is_none() || siblings(&altered, &path) == elements {
                    remove(&mut altered, &path);
                }
                assert_eq!(comparable(altered), comparable(expected), "{path:?} of {body}");
                alterations += 1;
            }
        }
    }
    assert!(alterations > 5_000, "{alterations}");
}

/// Returns the paths to all values except the outermost.
fn paths(value: &Value) -> Vec<Vec<String>> {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(key, member)| (key.clone(), member)).collect(),
        Value::Array(elements) => elements.iter().enumerate().map(|(n, element)| (n.to_string(), element)).collect(),
        _ => Vec::new(),
    };
    let deeper = |(key, member): (String, &Value)| {
        let mut found = vec![vec![key.clone()]];
        found.extend(paths(member).into_iter().map(|path| [vec![key.clone()], path].concat()));
        found
    };
    members.into_iter().flat_map(deeper).collect()
}

/// Returns the value at a path. A single object counts as a list of one.
fn at<'v>(value: &'v mut Value, path: &[String]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |value, key| match value {
        Value::Array(elements) => match key.parse::<usize>() {
            Ok(index) => elements.get_mut(index),
            Err(_) => elements.get_mut(0)?.get_mut(key),
        },
        value => value.get_mut(key),
    })
}

fn remove(value: &mut Value, path: &[String]) {
    let (last, way) = path.split_last().unwrap();
    match at(value, way) {
        Some(Value::Array(elements)) => match last.parse::<usize>() {
            Ok(index) if index < elements.len() => drop(elements.remove(index)),
            Ok(_) => {}
            Err(_) => drop(elements[0].as_object_mut().unwrap().remove(last)),
        },
        Some(Value::Object(members)) => drop(members.remove(last)),
        _ => {}
    }
}

/// Returns the length of the list that contains the last element of the path, if it is in a list.
fn siblings(value: &Value, path: &[String]) -> Option<usize> {
    let (last, way) = path.split_last().unwrap();
    last.parse::<usize>().ok()?;
    at(&mut value.clone(), way).map_or(Some(0), |list| list.as_array().map(Vec::len))
}

#[test]
fn a_malformed_envelope_is_delivered() {
    let receiver = receiver();
    let report = |change: &dyn Fn(&mut Value)| {
        let mut body = value(provider_fixtures().find(|(kind, _)| *kind == "patient_report_sent").unwrap().1);
        change(&mut body);
        delivered(&receiver, body.to_string())
    };
    for occurred_on in [json!(null), json!(""), json!({"a": 1}), json!([]), json!(true)] {
        let delivery = report(&|body| body["occurred_on"] = occurred_on.clone());
        assert_eq!(delivery.occurred_at(), None, "{occurred_on}");
        assert!(matches!(delivery.decode().unwrap(), Event::PatientReportSent(_)));
    }
    for (occurred_on, unix) in [(json!("1767225600"), Some(NOW)), (json!(-1.5), Some(-2)), (json!("soon"), None)] {
        let delivery = report(&|body| body["occurred_on"] = occurred_on.clone());
        assert_eq!(delivery.occurred_at().unwrap().unix(), unix, "{occurred_on}");
    }
    for payload in [json!(null), json!(7), json!("text"), json!([])] {
        let delivery = report(&|body| body["payload"] = payload.clone());
        assert!(matches!(delivery.decode().unwrap(), Event::Undecodable(_)), "{payload}");
    }
    for kind in [json!(null), json!(""), json!({}), json!([])] {
        let delivery = report(&|body| body["type"] = kind.clone());
        assert_eq!((delivery.kind(), delivery.kind_label()), (None, "unknown"));
        assert!(matches!(delivery.decode().unwrap(), Event::Undecodable(_)), "{kind}");
    }
    let delivery = report(&|body| body["type"] = json!("patient_left"));
    assert_eq!((delivery.kind(), delivery.kind_label()), (Some("patient_left"), "unknown"));
    assert!(matches!(delivery.decode().unwrap(), Event::Unknown(_)));
    for body in ["", "[]", "null", "{", "{}", "\u{feff}{}", r#"{"type":"prescription_created","type":"x"}"#] {
        assert!(matches!(delivered(&receiver, body).decode().unwrap(), Event::Undecodable(_)), "{body}");
    }
}

#[test]
fn debug_output_shows_nothing_of_a_payload() {
    let documented = ["appointment", "chat", "video", "phone", "scheduled", "immediate", "soap"];
    for (kind, fixture) in provider_fixtures() {
        let delivery = delivered(&receiver(), fixture.body());
        let event: Event = delivery.decode().unwrap();
        let printed = format!("{event:?} {event:#?} {delivery:?} {:?}", delivery.envelope());
        for leaf in leaves(&value(fixture)) {
            let may_show = leaf == kind || documented.contains(&&*leaf);
            assert!(may_show || leaf.len() <= 3 || !printed.contains(&leaf), "{leaf} in {printed}");
        }
    }
}

fn leaves(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members.values().flat_map(leaves).collect(),
        Value::Array(elements) => elements.iter().flat_map(leaves).collect(),
        Value::String(text) => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Bool(_) | Value::Null => Vec::new(),
    }
}

#[test]
fn every_header_needs_any_one_of_its_secrets() {
    let secrets = Secrets::new(secret("new", TEXT)).also(secret("old", "the-one-before")).unwrap();
    let mediquo = MediQuo::new(secrets).also_header("x-tenant", secret("tenant", "acme")).header("X-Key");
    assert_eq!(
        format!("{mediquo:?}"),
        r#"MediQuo { header: "X-Key", secrets: [Secret(new), Secret(old)], others: [("x-tenant", [Secret(tenant)])] }"#
    );
    let receiver = Receiver::builder("mediquo", mediquo).store(NoDedupe).build().unwrap();
    let warnings = receiver.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[1].contains("secret tenant"), "{warnings:?}");

    let verify = |headers: &[(&str, &str)]| {
        let verified = receiver.verify(headers, Bytes::from_static(b"{}"));
        verified.map(|verified| verified.secret_label().to_owned()).map_err(|rejection| rejection.reason())
    };
    assert_eq!(verify(&[("x-key", TEXT), ("x-tenant", "acme")]).unwrap(), "new");
    assert_eq!(verify(&[("x-key", "the-one-before"), ("x-tenant", "acme")]).unwrap(), "old");
    for (headers, reason) in [
        (&[("x-key", TEXT)][..], Reason::MissingHeader),
        (&[("x-tenant", "acme")], Reason::MissingHeader),
        (&[("x-webhook-signature", TEXT), ("x-tenant", "acme")], Reason::MissingHeader),
        (&[("x-key", TEXT), ("x-tenant", "acme "), ("x-tenant", "acme")], Reason::RepeatedHeader),
        (&[("x-key", TEXT), ("x-tenant", "")], Reason::MalformedHeader),
        (&[("x-key", TEXT), ("x-tenant", "Acme")], Reason::SignatureMismatch),
        (&[("x-key", "acme"), ("x-tenant", TEXT)], Reason::SignatureMismatch),
    ] {
        assert_eq!(verify(headers), Err(reason), "{headers:?}");
    }
}

#[test]
fn every_configuration_error_is_one_clear_line() {
    let error = |mediquo: MediQuo| {
        let error = Receiver::builder("mediquo", mediquo).store(NoDedupe).build().unwrap_err().to_string();
        assert!(!error.contains('\n') && !error.contains(TEXT), "{error}");
        error
    };
    let new = || MediQuo::new(secret("current", TEXT));
    assert_eq!(error(new().header("")), "receiver mediquo: \"\" is not a valid header name");
    assert_eq!(error(new().header("x key\n")), "receiver mediquo: \"x\".. is not a valid header name");
    assert_eq!(
        error(new().also_header("x/key", secret("b", "b"))),
        "receiver mediquo: \"x/key\" is not a valid header name"
    );
    assert_eq!(
        error(new().also_header("X-Webhook-Signature", secret("b", "b"))),
        "receiver mediquo: header x-webhook-signature is configured twice"
    );
    let attempt = Receiver::builder("mediquo", new()).store(NoDedupe).freshness(Freshness::STANDARD_WEBHOOKS);
    assert!(
        attempt
            .build()
            .unwrap_err()
            .to_string()
            .contains("Freshness::AttemptTime needs a scheme that signs a timestamp")
    );
}

#[test]
fn the_unsigned_time_is_checked_only_if_configured() {
    let sent = |at: i64, receiver: &Receiver| {
        let request = testing::mediquo("prescription_created").secret(TEXT).at(at).request("/");
        let verified = receiver.verify(request.headers(), request.body().clone()).unwrap();
        receiver.open(verified).map(|_| ()).map_err(|rejection| rejection.reason())
    };
    assert_eq!(sent(0, &receiver()), Ok(()));
    let builder = Receiver::builder("mediquo", MediQuo::new(secret("current", TEXT))).store(NoDedupe);
    let hint = Freshness::EventTime { max_age: Duration::from_secs(86_400), max_skew: Duration::from_secs(300) };
    let receiver = builder.clock(StoppedClock::at(NOW)).freshness(hint).retention(Duration::from_secs(2 * 86_400));
    let receiver = receiver.build().unwrap();
    assert_eq!(sent(NOW - 86_400, &receiver), Ok(()));
    assert_eq!(sent(NOW - 86_401, &receiver), Err(Reason::Stale));
    assert_eq!(sent(NOW + 301, &receiver), Err(Reason::InTheFuture));
}

/// Returns the natural key of the named fixture's event after a change.
fn natural_key_of(name: &str, change: impl Fn(&mut Value)) -> Option<String> {
    let path = format!("mediquo/{name}.json");
    let (_, fixture) = provider_fixtures().find(|(_, fixture)| fixture.path() == path).unwrap();
    let mut body = value(fixture);
    change(&mut body);
    let delivery = delivered(&receiver(), body.to_string());
    natural_key(delivery.envelope(), delivery.body())
}

#[test]
fn every_kind_but_a_report_has_a_natural_key() {
    for (kind, fixture) in provider_fixtures() {
        let name = fixture.path().strip_prefix("mediquo/").unwrap().strip_suffix(".json").unwrap();
        let without = kind == "patient_report_sent" || name == "patient_waiting_room_position_update.nulls";
        assert_eq!(natural_key_of(name, |_| {}).is_none(), without, "{name}");
    }
    let message = r#"["patient_message_received",[1767225600,"p7Qw2LmX9a","clinic-patient-00421"]]"#;
    assert_eq!(natural_key_of("patient_message_received", |_| {}).as_deref(), Some(message));
    assert_eq!(natural_key_of("patient_message_sent", |_| {}).as_deref(), Some(message));
    let room = r#"["patient_waiting_room_position_update",[1767225600,[{"id":"spec_general"},3,true],"clinic-patient-00421"]]"#;
    assert_eq!(natural_key_of("patient_waiting_room_position_update", |_| {}).as_deref(), Some(room));
}

#[test]
fn a_natural_key_contains_the_time_exactly_as_sent() {
    for name in ["patient_message_received", "prescription_created", "professional_block_updated"] {
        let body = natural_key_of(name, |_| {}).unwrap();
        assert!(body.contains(",[1767225600,"), "{body}");
    }
    let receiver = natural();
    let (_, fixture) = provider_fixtures().find(|(kind, _)| *kind == "patient_message_received").unwrap();
    let text = String::from_utf8(fixture.body().to_vec()).unwrap();
    let times =
        ["1767225600", "1767225600.0", "1767225600.5", "1767225600.25", "1.7672256e9", "\"1767225600\"", "\"soon\""];
    let mut keys = BTreeSet::new();
    for time in times {
        let body = text.replace("1767225600", time);
        let key = delivered(&receiver, body.clone()).event_key().to_string();
        let spaced = delivered(&receiver, body.replace("{\"type", "{ \"type")).event_key().to_string();
        assert_eq!(key, spaced, "{time} has a natural key");
        assert!(keys.insert(key), "{time} differs from the others");
    }
}

/// Returns whether a field is not part of the key: it differs between attempts, or names an object that has an id.
fn is_left_out(pointer: &str) -> bool {
    let volatile = ["/url", "/consultation_url", "/pdf_url", "/avatar", "/is_read"];
    let named = ["/payload/professional/name", "/payload/consultation/speciality/name"];
    volatile.iter().any(|field| pointer.ends_with(field)) || named.contains(&pointer)
}

#[test]
fn a_change_to_any_documented_field_changes_the_natural_key_unless_it_is_volatile() {
    let (by_body, by_key) = (receiver(), natural());
    let mut left_out = BTreeSet::new();
    for (kind, fixture) in provider_fixtures() {
        let sent = value(fixture);
        let key = |receiver: &Receiver, body: &Value| delivered(receiver, body.to_string()).event_key();
        for path in paths(&sent) {
            let pointer = format!("/{}", path.join("/"));
            if pointer == "/type" || sent.pointer(&pointer).is_none_or(|old| old.is_object() || old.is_array()) {
                continue;
            }
            let mut altered = sent.clone();
            *altered.pointer_mut(&pointer).unwrap() = json!("https://example.org/another");
            assert_ne!(key(&by_body, &sent), key(&by_body, &altered), "{kind} {pointer}");
            let block = kind.starts_with("professional_block");
            let had_one = pointer.ends_with("/avatar") || !sent.pointer(&pointer).unwrap().is_null();
            let stays = had_one && is_left_out(&pointer) && !block;
            assert_eq!(key(&by_key, &sent) == key(&by_key, &altered), stays, "{} {pointer}", fixture.path());
            if stays {
                left_out.insert(pointer);
            }
        }
    }
    assert_eq!(
        left_out.iter().map(String::as_str).collect::<Vec<_>>(),
        [
            "/payload/consultation/consultation_url",
            "/payload/consultation/speciality/name",
            "/payload/consultation/url",
            "/payload/message/is_read",
            "/payload/preconsultation/documents/0/url",
            "/payload/prescription/pdf_url",
            "/payload/professional/avatar",
            "/payload/professional/name",
        ]
    );
}

#[test]
fn a_link_that_appears_changes_the_natural_key() {
    for (name, pointer) in [
        ("patient_consultation_created", "/payload/consultation/consultation_url"),
        ("patient_consultation_created", "/payload/preconsultation/documents/0/url"),
        ("patient_immediate_video_call_assigned", "/payload/consultation/url"),
        ("patient_waiting_room_position_update", "/payload/consultation/url"),
        ("prescription_created", "/payload/prescription/pdf_url"),
    ] {
        let without = natural_key_of(name, |body| *body.pointer_mut(pointer).unwrap() = json!(null));
        assert!(without.is_some() && without != natural_key_of(name, |_| {}), "{name} {pointer}");
    }
}

#[test]
fn a_speciality_is_its_id_or_else_its_name() {
    for name in [
        "patient_consultation_created",
        "patient_consultation_no_show",
        "patient_immediate_video_call_assigned",
        "patient_waiting_room_position_update",
    ] {
        let key = |speciality: Value| {
            natural_key_of(name, |body| body["payload"]["consultation"]["speciality"] = speciality.clone())
        };
        let known = key(json!({"id": "spec_general", "name": "Urgencias de tarde"}));
        assert_eq!(known, key(json!({"id": "spec_general", "name": "Urgencias"})), "{name}");
        let mut keys = vec![known, key(json!({"id": "spec_heart", "name": "Urgencias de tarde"}))];
        keys.extend(["Urgencias de tarde", "spec_general"].map(|text| key(json!({"id": null, "name": text}))));
        let absent = [key(json!({"id": null, "name": ""})), key(json!({})), key(json!(null))];
        if name.contains("waiting_room") {
            assert_eq!(absent, [None, None, None]);
        } else {
            assert!(absent[0].is_some() && absent[1..] == [absent[0].clone(), absent[0].clone()], "{name}");
            keys.extend(absent[..1].to_vec());
        }
        let distinct: BTreeSet<_> = keys.iter().flatten().collect();
        assert_eq!(distinct.len(), keys.len(), "{name}");
    }
}

#[test]
fn there_is_no_natural_key_without_a_required_part() {
    for (name, pointers) in [
        ("patient_consultation_created", &["/payload/consultation/id"][..]),
        ("patient_consultation_cancelled", &["/payload/consultation/id"]),
        ("patient_consultation_finished", &["/payload/consultation/id"]),
        ("patient_consultation_no_show", &["/payload/consultation/id"]),
        (
            "patient_consultation_rescheduled",
            &["/payload/consultation/id", "/payload/consultation/scheduled_start_date"],
        ),
        ("patient_immediate_video_call_assigned", &["/payload/consultation/id"]),
        ("patient_message_received", &["/payload/professional/id", "/payload/patient/code"]),
        ("prescription_created", &["/payload/prescription/id"]),
        (
            "patient_waiting_room_position_update",
            &["/payload/consultation/position", "/payload/patient/code", "/payload/consultation/speciality"],
        ),
        ("professional_block_created", &["/payload/id"]),
        ("professional_block_updated", &["/payload/id"]),
        ("professional_block_deleted", &["/payload/id"]),
    ] {
        for pointer in pointers.iter().chain(&["/occurred_on", "/payload"]) {
            for instead in [json!(null), json!(""), json!(true), json!([])] {
                let key = natural_key_of(name, |body| *body.pointer_mut(pointer).unwrap() = instead.clone());
                assert_eq!(key, None, "{name} {pointer} {instead}");
            }
        }
    }
}

#[tokio::test]
async fn two_messages_in_one_second_are_two_events_unless_configured_otherwise() {
    let body = testing::mediquo("patient_message_received").secret(TEXT).at(NOW).request("/").into_body();
    let twice = async |dedupe: Dedupe| {
        let builder = Receiver::builder("mediquo", MediQuo::new(secret("current", TEXT)));
        let receiver = builder.store(MemoryStore::new(10)).dedupe(dedupe).build().unwrap();
        let mut last = Ok(());
        for _ in 0..2 {
            let admitted = receiver.admit(delivered(&receiver, body.clone())).unwrap();
            last = admitted.run(async {}, |()| true).await.map_err(|rejection| rejection.reason());
        }
        last
    };
    assert_eq!(twice(Dedupe::by_id()).await, Ok(()));
    assert_eq!(twice(Dedupe::by_bytes()).await, Err(Reason::Duplicate));
    assert_eq!(twice(Dedupe::by(natural_key)).await, Err(Reason::Duplicate));
    assert_eq!(twice(Dedupe::off()).await, Ok(()));
}

#[test]
fn equal_bytes_are_the_same_event_if_they_contain_its_own_id_and_time() {
    let keys = |kind: &str| {
        let body = testing::mediquo(kind).secret(TEXT).at(NOW).request("/").into_body();
        [(); 2].map(|()| delivered(&receiver(), body.clone()).event_key())
    };
    for kind in Kind::ALL.iter().map(|kind| kind.as_str()) {
        let [one, other] = keys(kind);
        let recurs = matches!(FACTS.equal_bytes(Some(kind)), crate::registry::EqualBytes::MayRecur(_));
        assert_eq!(one != other, recurs, "{kind}");
    }
}

#[test]
fn a_custom_provider_with_this_name_decodes_the_same_events() {
    let scheme = HmacSha256Body::new("x-mac");
    let custom = Custom::new(FACTS.name, scheme, secret("key", TEXT)).kind_pointer("/type").data_pointer("/payload");
    let receiver = Receiver::builder("mediquo", custom).store(NoDedupe).build().unwrap();
    let signing =
        Signing::of(HmacSha256Body::new("x-mac".to_owned()).prefix(String::new()).encoding(crate::Encoding::Hex));
    for (_, fixture) in provider_fixtures() {
        let headers = signing.headers(TEXT, "", "", &fixture.body()).unwrap();
        let delivery = receiver.open(receiver.verify(&headers, fixture.body()).unwrap()).unwrap();
        let expected: Event = delivered(&self::receiver(), fixture.body()).decode().unwrap();
        assert_eq!(delivery.decode::<Event>().unwrap(), expected);
        assert_eq!(delivery.signature_scope(), SignatureScope::Body);
    }
}

#[test]
fn an_event_of_a_custom_provider_with_this_name_has_the_error_of_its_json() {
    let custom = || Custom::new(FACTS.name, SharedSecret::new("x-webhook-signature"), secret("key", TEXT));
    let pointers = custom().kind_pointer("/type").data_pointer("/payload");
    for custom in [pointers, custom().cloud_events(CloudEvents::Structured)] {
        let receiver = Receiver::builder("mediquo", custom).store(NoDedupe).build().unwrap();
        for (body, expected) in [("{}", "the body names no kind"), ("{", "not JSON (line 1, column 1)")] {
            let Event::Undecodable(event) = delivered(&receiver, body).decode().unwrap() else { panic!("{body}") };
            assert_eq!(event.problem.to_string(), expected, "{body}");
        }
    }
}
