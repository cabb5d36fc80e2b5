use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::Freshness;
use crate::testing::{self, Fixture, Signing, fixtures};
use crate::{
    Decoded, Dedupe, Delivery, Event as _, EventKey, MemoryStore, NoDedupe, Phi, RawJson, Reason, Receiver, Secret,
    SignatureScope,
};

const HEADER: &str = "x-azodha-signature";
const SECRET: &str = "Zeta-Quokka-Lantern-58";
const OLD_SECRET: &str = "Zeta-Quokka-Lantern-57";

fn secrets() -> Secrets {
    Secrets::new(Secret::new(SECRET).unwrap().labeled("current").unwrap())
        .also(Secret::new(OLD_SECRET).unwrap().labeled("old").unwrap())
        .unwrap()
}

fn hmac() -> Azodha {
    Azodha::hmac_sha256(HEADER, secrets())
}

fn receiver(azodha: Azodha) -> Receiver {
    Receiver::builder("azodha", azodha).store(NoDedupe).build().unwrap()
}

/// The kind that a fixture's file is named after.
fn kind_of(fixture: &Fixture) -> Kind {
    let file = fixture.path().strip_prefix("azodha/").unwrap();
    Kind::from_name(file.split('.').next().unwrap()).expect("named after a documented kind")
}

fn provider_fixtures() -> impl Iterator<Item = &'static Fixture> {
    fixtures().iter().filter(|fixture| fixture.provider() == FACTS.name)
}

fn fixture(file: &str) -> Bytes {
    let path = format!("azodha/{file}.json");
    provider_fixtures().find(|fixture| fixture.path() == path).expect("there is such a fixture").body()
}

/// Signs, verifies and opens a body.
fn deliver(receiver: &Receiver, body: impl Into<Bytes>) -> Delivery {
    let request = testing::azodha("OpenTele").signing(Signing::hmac_sha256(HEADER)).secret(SECRET).body(body);
    let request = request.request("/");
    receiver.open(receiver.verify(request.headers(), request.body().clone()).unwrap()).unwrap()
}

fn decode(receiver: &Receiver, body: impl Into<Bytes>) -> Decoded<Event> {
    Event::from_delivery(&deliver(receiver, body))
}

fn pinned(kind: Kind) -> Receiver {
    receiver(hmac().pin_kind(kind.as_str()))
}

/// Returns the documented kind that an event was decoded as.
fn variant(event: &Event) -> Option<Kind> {
    written(event).map(|(kind, _)| kind)
}

/// Returns an event's kind and payload as JSON, after asserting that the payload survives a round trip.
fn written(event: &Event) -> Option<(Kind, Value)> {
    fn again<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(payload: &T) -> Value {
        let json = serde_json::to_string(payload).unwrap();
        assert!(serde_json::from_str::<T>(&json).unwrap() == *payload, "the payload changed in the round trip");
        serde_json::from_str(&json).unwrap()
    }
    macro_rules! variants {
        ($($Variant:ident)*) => {
            match event {
                $(Event::$Variant(payload) => Some((Kind::$Variant, again(payload))),)*
                Event::Unknown(_) | Event::Undecodable(_) => None,
            }
        };
    }
    variants! {
        AppointmentToCareTaskActivityLog InferenceToObservations InferenceToKeyFindings
        AssessmentResponseToWellbeingScore BookAppointment InferenceToCareTasks HealthRecordCounter Notification
        HealthProgramActivated UploadedFileAndTest SurveyAssessment OpenTele
    }
}

macro_rules! payload {
    ($file:literal as $Variant:ident) => {
        match decode(&pinned(Kind::$Variant), fixture($file)).event {
            Event::$Variant(payload) => payload,
            other => panic!("{} is {other:?}", $file),
        }
    };
}

fn text(raw: &RawJson) -> &str {
    str::from_utf8(raw.as_bytes()).unwrap()
}

#[test]
fn every_kind_has_a_fixture_and_each_is_decoded_without_loss() {
    let kinds: Vec<_> = provider_fixtures().map(kind_of).collect();
    for kind in Kind::ALL {
        assert!(kinds.contains(kind), "{}", kind.as_str());
        assert_eq!(Kind::from_name(kind.as_str()), Some(*kind));
        fixture(kind.as_str());
    }
    for fixture in provider_fixtures() {
        let delivery = deliver(&pinned(kind_of(fixture)), fixture.body());
        assert_eq!(delivery.signature_scope(), SignatureScope::Body);
        assert_eq!(delivery.kind(), Some(kind_of(fixture).as_str()));
        assert_eq!(
            (delivery.id(), delivery.sent_at(), delivery.occurred_at(), delivery.mode()),
            (None, None, None, None)
        );
        let decoded = Event::from_delivery(&delivery);
        assert!(decoded.drifted.is_empty() && decoded.problem.is_none(), "{}: {decoded:?}", fixture.path());
        assert!(!fixture.body().ends_with(b"\n"), "{}", fixture.path());
        let mut document: Value = serde_json::from_slice(&fixture.body()).unwrap();
        if fixture.path() == "azodha/BookAppointment.numbers.json" {
            // Numeric ids and dates are written as strings.
            for field in ["id", "date", "patientId"] {
                document[field] = document[field].to_string().into();
            }
        }
        assert!(written(&decoded.event) == Some((kind_of(fixture), document)), "{}", fixture.path());
    }
}

#[test]
fn samples_are_signed_with_the_configured_scheme() {
    for kind in Kind::ALL {
        let sample = testing::azodha(kind.as_str()).secret(SECRET);
        for (azodha, signing) in [
            (hmac(), Signing::hmac_sha256(HEADER)),
            (Azodha::shared_secret(HEADER, secrets()), Signing::shared_secret(HEADER)),
        ] {
            let receiver = receiver(azodha.pin_kind(kind.as_str()));
            let request = sample.clone().signing(signing).at(7).id("none").request("/");
            let verified = receiver.verify(request.headers(), request.body().clone()).unwrap();
            let event: Event = receiver.open(verified).unwrap().decode().unwrap();
            assert_eq!(variant(&event), Some(*kind));
        }
    }
}

#[test]
fn kinds_without_documented_keys_are_raw_json() {
    let log = payload!("AppointmentToCareTaskActivityLog" as AppointmentToCareTaskActivityLog);
    assert_eq!(log.data.as_bytes(), fixture("AppointmentToCareTaskActivityLog"));
    let tele = payload!("OpenTele" as OpenTele);
    assert_eq!(tele.data.as_bytes(), fixture("OpenTele"));
}

#[test]
fn inferences_contain_their_prompts() {
    let observations = payload!("InferenceToObservations" as InferenceToObservations);
    assert_eq!(observations.file_id.unwrap(), "4711/9f0c2b7e-lab.pdf");
    assert_eq!(observations.mime_type.unwrap(), "application/pdf");
    assert_eq!(observations.event.unwrap(), "InferenceToObservations");
    assert_eq!(observations.use_case_name.unwrap(), "Lab Report Reading");
    assert_eq!(text(&observations.data.unwrap()), r#"{"language":"nl","sampleTakenBy":"Practice Zeewolde"}"#);
    assert_eq!(text(&observations.model.unwrap()), r#""example-model-large""#);
    let [first, second] = &observations.prompts[..] else { panic!("two prompts") };
    assert_eq!(first.prompt_id, Some("prm-31".into()));
    assert_eq!(first.text, Some("List every value of the report with its unit.".into()));
    assert!(text(first.expected_output_format.as_ref().unwrap()).starts_with('{'));
    assert_eq!((&second.prompt_id, &second.expected_output_format), (&Some("prm-32".into()), &None));

    let findings = payload!("InferenceToKeyFindings" as InferenceToKeyFindings);
    let patient = findings.data.unwrap();
    assert_eq!((patient.patient_id.unwrap(), patient.care_plan_id.unwrap()), ("pat-6621".into(), "plan-8803".into()));
    assert_eq!(text(&patient.rest.expose()["preferredLanguage"]), r#""Dutch""#);
    assert_eq!(findings.use_case_name.unwrap(), "Key Findings Generation");
    assert_eq!(findings.event.unwrap(), "InferenceToKeyFindings");
    assert!(findings.input_data.is_some() && findings.model.is_some() && findings.prompts.is_some());

    let tasks = payload!("InferenceToCareTasks" as InferenceToCareTasks);
    assert_eq!(tasks.use_case_name.unwrap(), "File Ingestion");
    assert!(tasks.input_data.is_some() && tasks.data.is_some() && tasks.model.is_some());
    // The shape of these prompts is undocumented, but a list can be decoded.
    let prompts: Vec<Prompt> = tasks.prompts.unwrap().decode().unwrap();
    assert_eq!(prompts[0].prompt_id, Some("prm-70".into()));
}

#[test]
fn scores_and_counts_are_decoded() {
    let score = payload!("AssessmentResponseToWellbeingScore" as AssessmentResponseToWellbeingScore);
    assert_eq!(score.event_name.unwrap(), "AssessmentResponseToWellbeingScore");
    assert_eq!(score.patient_id.unwrap(), "pat-6621");
    assert_eq!(score.event_entity, Some(EventEntity::SurveyResponse));
    assert_eq!(score.assessment_response_id.unwrap(), "answers-15209");

    let counter = payload!("HealthRecordCounter.organization-code" as HealthRecordCounter);
    assert_eq!(counter.count.map(Phi::into_exposed), Some(2187));
    assert_eq!(counter.event_name.unwrap(), "HealthRecordCounter");
    assert_eq!(counter.patient_id.unwrap(), "pat-6621");
    assert_eq!(counter.rest.expose().keys().collect::<Vec<_>>(), ["organizationCode"]);
    assert!(payload!("HealthRecordCounter" as HealthRecordCounter).rest.expose().is_empty());
}

#[test]
fn appointments_are_decoded_with_string_and_with_numeric_ids() {
    let booked = payload!("BookAppointment" as BookAppointment);
    for (field, value) in [
        (booked.id, "apt-7f31c2"),
        (booked.date, "2026-01-14"),
        (booked.start_time, "09:40"),
        (booked.end_time, "10:10"),
        (booked.location_type, "AT_PRACTICE"),
        (booked.status, "BOOKED"),
        (booked.patient_id, "pat-6621"),
        (booked.first_name, "Joris"),
        (booked.last_name, "Vandenhove"),
        (booked.email, "joris.vandenhove@example.org"),
        (booked.patient_mobile_number, "+31 6 5550 1188"),
    ] {
        assert_eq!(field.as_ref().map(|text| text.expose().as_str()), Some(value));
    }
    let rest: Vec<_> = booked.rest.expose().keys().map(String::as_str).collect();
    assert_eq!(rest, ["appointmentType", "attributes", "participants", "resources"]);
    let kind: AppointmentType = booked.rest.expose()["appointmentType"].decode().unwrap();
    assert_eq!(kind.name.unwrap(), "First visit");
    assert_eq!(kind.description.unwrap(), "Getting to know each other");
    assert_eq!(text(&kind.duration_in_minutes.unwrap()), "30");

    let numbers = decode(&pinned(Kind::BookAppointment), fixture("BookAppointment.numbers"));
    assert!(numbers.drifted.is_empty());
    let Event::BookAppointment(booked) = numbers.event else { panic!("an appointment") };
    assert_eq!((booked.id.unwrap(), booked.patient_id.unwrap()), ("8817203".into(), "66210457".into()));
    assert_eq!(booked.date.unwrap(), "1768348800");
}

#[test]
fn nested_data_is_decoded() {
    for file in ["Notification", "Notification.event-name"] {
        let Event::Notification(note) = decode(&pinned(Kind::Notification), fixture(file)).event else {
            panic!("a notification")
        };
        assert!(note.rest.expose().contains_key("context"));
        assert_eq!(note.rest.expose().contains_key("eventName"), file != "Notification");
        let data = note.data.unwrap();
        assert_eq!(data.patient_name.unwrap(), "Joris Vandenhove");
        let appointment = data.appointment.unwrap();
        assert_eq!(appointment.id.unwrap(), "apt-7f31c2");
        assert_eq!((appointment.date.unwrap(), appointment.time.unwrap()), ("2026-01-14".into(), "09:40".into()));
        assert_eq!(appointment.status.unwrap(), "CONFIRMED");
        assert!(text(&appointment.open_tele_room.unwrap()).contains("tele.example.org"));
        assert!(appointment.participants.is_some());
        let rest: Vec<_> = appointment.rest.expose().keys().map(String::as_str).collect();
        assert_eq!(rest, ["appointmentType", "attributes", "patient"]);
    }

    for (file, duration) in
        [("HealthProgramActivated", "84"), ("HealthProgramActivated.duration-text", r#""12 weeks""#)]
    {
        let event = decode(&pinned(Kind::HealthProgramActivated), fixture(file)).event;
        let Event::HealthProgramActivated(activated) = event else { panic!("a program") };
        let program = activated.data.unwrap();
        assert_eq!(text(&program.duration.unwrap()), duration);
        assert_eq!((program.patient_id.unwrap(), program.providers.len()), ("pat-6621".into(), 2));
        assert_eq!(program.patient_name.unwrap(), "Joris Vandenhove");
    }

    let data = payload!("UploadedFileAndTest" as UploadedFileAndTest).data.unwrap();
    assert!(data.patient.is_some() && data.providers.len() == 1);
    let file = data.file.unwrap();
    assert_eq!((file.id.unwrap(), file.name.unwrap()), ("file-33018".into(), "blood-panel-january.pdf".into()));
    assert_eq!(file.cloud_id.unwrap(), "bucket-7/objects/45c48cce2e2d7fbd");
    assert_eq!(file.rest.expose().keys().collect::<Vec<_>>(), ["archived", "clientDetails"]);

    let survey = payload!("SurveyAssessment" as SurveyAssessment);
    assert_eq!(survey.event_name.unwrap(), "SurveyAssessment");
    assert_eq!(survey.event_type, Some(EventType::Survey));
    assert_eq!(survey.event_sub_type, Some(EventSubType::AssessmentCompleted));
    assert_eq!(survey.user_type, Some(UserType::ServiceProvider));
    let data = survey.data.unwrap();
    assert!(data.patient.is_some());
    let assessment = data.assessment.unwrap();
    assert_eq!((assessment.id.unwrap(), assessment.name.unwrap()), ("asm-50917".into(), "Sleep and rest".into()));
    assert_eq!(assessment.status.unwrap(), "COMPLETED");
    assert!(assessment.assessment_questionnaire_object.is_some() && assessment.assessment_response_object.is_some());
    assert!(assessment.assigned_service_providers.is_some() && assessment.rest.expose().contains_key("completedBy"));
}

/// Collects the JSON pointers to everything in a value. No key in a fixture needs escapes.
fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(elements) => (0..).map(|index: usize| index.to_string()).zip(elements).collect(),
        _ => Vec::new(),
    };
    for (key, value) in members {
        let place = format!("{at}/{key}");
        places(value, &place, into);
        into.push(place);
    }
}

/// Returns the document with another value at a place, or without the value there.
fn with(document: &Value, place: &str, to: Option<&Value>) -> Value {
    let mut document = document.clone();
    if let Some(to) = to {
        *document.pointer_mut(place).unwrap() = to.clone();
        return document;
    }
    let (parent, last) = place.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(members) => drop(members.remove(last)),
        Value::Array(elements) => drop(elements.remove(last.parse().unwrap())),
        _ => unreachable!("the parent of a place is an object or an array"),
    }
    document
}

/// Removes members that are empty lists, because payloads omit them when written.
fn bare(mut value: Value) -> Value {
    if let Value::Object(members) = &mut value {
        members.retain(|_, member| *member != json!([]));
        members.values_mut().for_each(|member| *member = bare(member.take()));
    }
    value
}

#[test]
fn a_changed_field_costs_only_itself() {
    let instead = [
        Value::Null,
        json!(""),
        json!("Kumquat"),
        json!(907),
        json!(-1),
        json!(0.5),
        json!(true),
        json!([]),
        json!([[], "Kumquat", {}]),
        json!({}),
        json!({"Kumquat": {"id": [1]}}),
    ];
    let mut tried = 0;
    for fixture in provider_fixtures() {
        let receiver = pinned(kind_of(fixture));
        let document: Value = serde_json::from_slice(&fixture.body()).unwrap();
        let (_, as_read) = written(&decode(&receiver, fixture.body()).event).unwrap();
        let mut all = Vec::new();
        places(&document, "", &mut all);
        for place in &all {
            let without = bare(with(&as_read, place, None));
            for to in std::iter::once(None).chain(instead.iter().map(Some)) {
                let decoded = decode(&receiver, with(&document, place, to).to_string());
                let change = format!("{} with {to:?} at {place}: {:?}", fixture.path(), decoded.drifted);
                let Some((kind, payload)) = written(&decoded.event) else { panic!("{change}") };
                assert_eq!(kind, kind_of(fixture), "{change}");
                let payload = bare(payload);

                // A number in place of a string is read as its digits, an object in place of a list as a list of one.
                let digits = to.map(|to| to.to_string().into());
                let list = to.filter(|to| to.is_object()).map(|to| json!([to]));
                let kept = [to, digits.as_ref(), list.as_ref().or(to)]
                    .iter()
                    .any(|to| payload == bare(with(&as_read, place, *to)));
                let unharmed = payload == without
                    || payload.pointer(place).is_some_and(|_| bare(with(&payload, place, None)) == without);
                assert!(kept || unharmed, "{change} {payload}");

                // A lost value is drift, and a kept one is not.
                let nothing = to.is_none_or(|to| to.is_null() || *to == "" || *to == json!([]));
                assert!(nothing || kept == decoded.drifted.is_empty(), "{change}");
                tried += 1;
            }
        }
    }
    assert!(tried > 2_000, "only {tried} changes were tried");
}

#[test]
fn a_drifted_field_is_named_by_its_path() {
    for (file, from, to, path) in [
        ("HealthRecordCounter", "2187", r#""many""#, "count"),
        ("InferenceToObservations", r#""prm-32""#, "{}", "prompts[1].promptId"),
        ("Notification", r#""CONFIRMED""#, "[1]", "data.appointment.status"),
        ("UploadedFileAndTest", r#""file-33018""#, "true", "data.file.id"),
    ] {
        let body = String::from_utf8(fixture(file).to_vec()).unwrap().replacen(from, to, 1);
        let decoded = decode(&pinned(Kind::from_name(file).unwrap()), body);
        assert_eq!(decoded.drifted, [Box::<str>::from(path)], "{file}");
    }
}

fn leaves(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => members.values().for_each(|value| leaves(value, into)),
        Value::Array(elements) => elements.iter().for_each(|value| leaves(value, into)),
        Value::String(text) => drop(into.insert(text.clone())),
        Value::Number(number) => drop(into.insert(number.to_string())),
        _ => {}
    }
}

#[test]
fn debug_shows_nothing_of_a_body_but_documented_names() {
    let documented: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    for fixture in provider_fixtures() {
        let document: Value = serde_json::from_slice(&fixture.body()).unwrap();
        let mut sent = BTreeSet::new();
        leaves(&document, &mut sent);
        sent.retain(|text| text.len() > 3 && !documented.contains(text.as_str()));
        // Undocumented keys are text from the sender.
        for key in ["preferredLanguage", "organizationCode", "appointmentType", "clientDetails", "completedBy"] {
            sent.insert(key.to_owned());
        }
        // Also with an undocumented value in every enum, and as an event without a kind.
        let odd = fixture.body().iter().map(|byte| char::from(*byte)).collect::<String>();
        let odd = odd.replace("SURVEY", "Kumquat").replace("Survey_Response", "Kumquat");
        sent.insert("Kumquat".to_owned());
        for (receiver, body) in [
            (pinned(kind_of(fixture)), fixture.body()),
            (pinned(kind_of(fixture)), odd.clone().into()),
            (receiver(hmac()), fixture.body()),
            (receiver(hmac()), odd.replace(r#""event"#, r#""Event"#).into()),
        ] {
            let delivery = deliver(&receiver, body);
            let decoded = Event::from_delivery(&delivery);
            let shown = format!("{delivery:?} {decoded:?} {decoded:#?} {receiver:?}");
            for text in &sent {
                assert!(!shown.contains(text), "{}: {text} in {shown}", fixture.path());
            }
        }
    }
}

#[test]
fn the_kind_is_read_from_either_key() {
    let unpinned = receiver(hmac());
    for fixture in provider_fixtures() {
        let document: Value = serde_json::from_slice(&fixture.body()).unwrap();
        let named = document.get("event").or(document.get("eventName")).is_some();
        let decoded = decode(&unpinned, fixture.body());
        match (named, decoded.event) {
            (true, event) => assert_eq!(variant(&event), Some(kind_of(fixture)), "{}", fixture.path()),
            (false, Event::Undecodable(event)) => {
                // The event contains the whole body.
                assert_eq!(event.kind, None);
                assert_eq!(event.problem.to_string(), "the body names no kind and pin_kind is not set");
                assert_eq!(event.data.unwrap().as_bytes(), fixture.body());
                assert!(decoded.problem.is_some());
            }
            (false, event) => panic!("{} is {event:?}", fixture.path()),
        }
    }
}

#[test]
fn a_documented_name_takes_precedence_over_the_pin_and_the_pin_over_other_names() {
    use Kind::{BookAppointment, Notification, OpenTele};
    let (booked, noted) = (BookAppointment.as_str(), Notification.as_str());
    let conflict = Err("`eventName` and `event` name two kinds");
    let nameless = Err("the body names no kind and pin_kind is not set");
    for (body, pin, expected) in [
        // One name.
        (json!({"eventName": booked}), None, Ok(booked)),
        (json!({"event": booked}), None, Ok(booked)),
        (json!({"eventName": booked, "event": booked}), None, Ok(booked)),
        // A documented name in the body takes precedence over the pin.
        (json!({"eventName": booked}), Some(OpenTele), Ok(booked)),
        (json!({"event": booked}), Some(OpenTele), Ok(booked)),
        (json!({"event": booked}), Some(BookAppointment), Ok(booked)),
        // An undocumented name next to a documented one.
        (json!({"eventName": "JOINED", "event": booked}), None, Ok(booked)),
        (json!({"eventName": booked, "event": "JOINED"}), None, Ok(booked)),
        // Only an undocumented name: the pin if there is one, or else an undocumented kind.
        (json!({"event": "JOINED"}), Some(Notification), Ok(noted)),
        (json!({"eventName": "JOINED", "event": "LEFT"}), Some(Notification), Ok(noted)),
        (json!({"event": "JOINED"}), None, Ok("JOINED")),
        (json!({"eventName": "JOINED", "event": "LEFT"}), None, Ok("JOINED")),
        (json!({"eventName": "bookappointment"}), None, Ok("bookappointment")),
        // Two documented names.
        (json!({"eventName": booked, "event": noted}), None, conflict),
        (json!({"eventName": noted, "event": booked}), None, conflict),
        (json!({"eventName": booked, "event": noted}), Some(OpenTele), conflict),
        (json!({"eventName": booked, "event": noted}), Some(BookAppointment), Ok(booked)),
        (json!({"eventName": booked, "event": noted}), Some(Notification), Ok(noted)),
        // No name.
        (json!({}), None, nameless),
        (json!({}), Some(OpenTele), Ok("OpenTele")),
        (json!({"eventName": "", "event": null}), None, nameless),
        (json!({"eventName": {"name": booked}, "event": [booked]}), None, nameless),
        (json!({"eventName": {"name": booked}, "event": [booked]}), Some(OpenTele), Ok("OpenTele")),
        (json!({"eventName": null, "event": booked}), None, Ok(booked)),
        (json!({"data": {"eventName": booked}}), None, nameless),
        (json!({"event": 12}), None, Ok("12")),
    ] {
        let receiver = receiver(pin.map_or(hmac(), |pin| hmac().pin_kind(pin.as_str())));
        let delivery = deliver(&receiver, body.to_string());
        let decoded = Event::from_delivery(&delivery);
        assert_eq!(delivery.kind(), expected.ok(), "{body} {pin:?}");
        match (expected, decoded.event) {
            (Err(problem), Event::Undecodable(event)) => {
                assert_eq!((event.kind, event.problem.to_string()), (None, problem.to_owned()), "{body} {pin:?}");
                assert_eq!(event.data.unwrap().as_bytes(), body.to_string().as_bytes());
            }
            (Ok(name), Event::Unknown(event)) => {
                assert_eq!(Kind::from_name(name), None, "{body} {pin:?}");
                assert_eq!(event.data.as_bytes(), body.to_string().as_bytes());
            }
            (Ok(name), event) => assert_eq!(variant(&event), Kind::from_name(name), "{body} {pin:?}"),
            (_, event) => panic!("{body} {pin:?} is {event:?}"),
        }
    }
}

#[test]
fn a_name_that_the_pin_overrides_stays_in_the_payload() {
    let body = r#"{"event":"JOINED","data":{}}"#;
    let Event::Notification(note) = decode(&pinned(Kind::Notification), body).event else { panic!("a notification") };
    assert_eq!(text(&note.rest.expose()["event"]), r#""JOINED""#);
}

#[test]
fn a_verified_body_without_an_envelope_is_delivered() {
    let raw = |event: &Undecodable| event.data.as_ref().map(|data| text(data).to_owned());
    use crate::Undecodable;
    let twice = r#"{"event":"OpenTele","event":"Notification"}"#;
    for (body, pin, kind, data) in [
        (&b""[..], None, None, None),
        (b"kumquat", None, None, None),
        (b"kumquat", Some("BookAppointment"), None, None),
        (b"{\"event\":\"OpenTele\"", None, None, None),
        (b"{\"event\":\"OpenTele\"} x", None, None, None),
        (b"\xef\xbb\xbf{\"event\":\"OpenTele\"}", None, None, None),
        (b"{\"event\":\"OpenTele\",\"x\":\"\xff\"}", None, None, None),
        (b"[1]", None, None, Some("[1]")),
        (b"[1]", Some("BookAppointment"), Some("BookAppointment"), Some("[1]")),
        (twice.as_bytes(), None, None, Some(twice)),
        // The pin does not apply, even if one of the two names is the pinned kind.
        (twice.as_bytes(), Some("OpenTele"), None, Some(twice)),
    ] {
        let receiver = receiver(pin.map_or(hmac(), |pin| hmac().pin_kind(pin)));
        let decoded = decode(&receiver, body);
        let Event::Undecodable(event) = decoded.event else { panic!("{body:?} is {:?}", decoded.event) };
        assert_eq!(event.kind.as_ref().map(KindName::as_str), kind, "{body:?}");
        assert_eq!(raw(&event).as_deref(), data, "{body:?}");
    }
    // These payloads are undocumented, so any JSON is accepted.
    for body in ["[1]", "7", r#""text""#] {
        let Event::OpenTele(event) = decode(&pinned(Kind::OpenTele), body).event else { panic!("{body}") };
        assert_eq!(text(&event.data), body);
    }
    // At any depth.
    let deep_event = |body: String| decode(&receiver(hmac()), body).event;
    let deep = format!(r#"{{"event":"OpenTele","data":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    assert!(matches!(deep_event(deep), Event::OpenTele(_)));
}

/// Returns the label of the secret that verifies this header value and body, or the reason of the rejection.
fn outcome(receiver: &Receiver, value: &str, body: &Bytes) -> Result<String, Reason> {
    let headers = [(HEADER, value)];
    match receiver.verify(headers.as_slice(), body.clone()) {
        Ok(verified) => Ok(verified.secret_label().to_owned()),
        Err(rejection) => Err(rejection.reason()),
    }
}

fn signature(signing: &Signing, secret: &str, body: &[u8]) -> String {
    signing.headers(secret, "", "", body).unwrap().remove(0).1
}

#[test]
fn an_hmac_is_read_in_hex_and_base64_unless_configured() {
    let body = fixture("SurveyAssessment");
    let written = |encoding, prefix: &str| {
        let signing =
            Signing::of(crate::HmacSha256Body::new(HEADER.to_owned()).prefix(prefix.to_owned()).encoding(encoding));
        signature(&signing, SECRET, &body)
    };
    let (hex, base64) = (written(Encoding::Hex, ""), written(Encoding::Base64, ""));
    let unpadded = base64.trim_end_matches('=');
    let either = receiver(hmac());
    for value in [&hex, &hex.to_uppercase(), &base64, unpadded] {
        assert_eq!(outcome(&either, value, &body), Ok("current".to_owned()), "{value}");
    }
    assert_eq!(outcome(&receiver(hmac().encoding(Encoding::Hex)), &base64, &body), Err(Reason::MalformedHeader));
    assert_eq!(outcome(&receiver(hmac().encoding(Encoding::Base64)), &hex, &body), Err(Reason::MalformedHeader));
    let prefixed = receiver(hmac().prefix("sha256="));
    assert!(outcome(&prefixed, &written(Encoding::Hex, "sha256="), &body).is_ok());
    assert_eq!(outcome(&prefixed, &hex, &body), Err(Reason::MalformedHeader));
    assert_eq!(outcome(&either, &written(Encoding::Hex, "sha256="), &body), Err(Reason::MalformedHeader));

    let old = signature(&Signing::hmac_sha256(HEADER), OLD_SECRET, &body);
    assert_eq!(outcome(&either, &old, &body), Ok("old".to_owned()));
    let foreign = signature(&Signing::hmac_sha256(HEADER), "Zeta-Quokka-Lantern-56", &body);
    assert_eq!(outcome(&either, &foreign, &body), Err(Reason::SignatureMismatch));
    assert_eq!(outcome(&either, &hex, &fixture("OpenTele")), Err(Reason::SignatureMismatch));
    assert_eq!(either.verify([("x-other", &*hex)].as_slice(), body).unwrap_err().reason(), Reason::MissingHeader);
}

#[test]
fn an_hmac_and_the_bare_secret_are_never_interchangeable() {
    let body = fixture("SurveyAssessment");
    assert_eq!(outcome(&receiver(hmac()), SECRET, &body), Err(Reason::MalformedHeader));
    // A secret that has the form of an HMAC.
    let looks = "5f".repeat(32);
    let secret = || Secret::new(looks.as_str()).unwrap().labeled("looks").unwrap();
    let by_hmac = receiver(Azodha::hmac_sha256(HEADER, secret()));
    assert_eq!(outcome(&by_hmac, &looks, &body), Err(Reason::SignatureMismatch));
    let by_secret = receiver(Azodha::shared_secret(HEADER, secret()));
    assert!(outcome(&by_secret, &looks, &body).is_ok());
    let hmac = signature(&Signing::hmac_sha256(HEADER), &looks, &body);
    assert_eq!(outcome(&by_secret, &hmac, &body), Err(Reason::SignatureMismatch));
}

#[test]
fn a_shared_secret_authenticates_the_sender_only() {
    let receiver = receiver(Azodha::shared_secret("X-Azodha-Signature", secrets()));
    let body = fixture("SurveyAssessment");
    assert_eq!(outcome(&receiver, SECRET, &body), Ok("current".to_owned()));
    assert_eq!(outcome(&receiver, OLD_SECRET, &Bytes::new()), Ok("old".to_owned()));
    assert_eq!(outcome(&receiver, "Zeta-Quokka-Lantern-56", &body), Err(Reason::SignatureMismatch));
    let verified = receiver.verify([(HEADER, SECRET)].as_slice(), body).unwrap();
    assert_eq!(verified.signature_scope(), SignatureScope::SenderOnly);
}

#[test]
fn every_configuration_error_is_one_clear_line() {
    let short = || Secret::new("0123").unwrap().labeled("short").unwrap();
    for (azodha, message) in [
        (Azodha::hmac_sha256("", secrets()), r#""" is not a valid header name"#),
        (Azodha::shared_secret("", secrets()), r#""" is not a valid header name"#),
        (Azodha::hmac_sha256("x azodha", secrets()), r#""x".. is not a valid header name"#),
        (Azodha::shared_secret("x-azodhä", secrets()), r#""x-azodhä" is not a valid header name"#),
        (
            hmac().pin_kind("BookAppointments"),
            r#"provider azodha: pin_kind "BookAppointments" is not one of the 12 documented kinds"#,
        ),
        (hmac().pin_kind(""), r#"provider azodha: pin_kind "" is not one of the 12 documented kinds"#),
        (
            hmac().pin_kind("Book\nAppointment"),
            r#"provider azodha: pin_kind "Book\nAppointment" is not one of the 12 documented kinds"#,
        ),
        (
            hmac().pin_kind("OpenTel").pin_kind("OpenTele"),
            r#"provider azodha: pin_kind "OpenTel" is not one of the 12 documented kinds"#,
        ),
        (
            Azodha::shared_secret(HEADER, short()).encoding(Encoding::Hex).pin_kind("x"),
            "provider azodha: encoding does not apply to a shared secret",
        ),
        (
            Azodha::shared_secret(HEADER, short()).prefix("Bearer "),
            "provider azodha: prefix does not apply to a shared secret",
        ),
    ] {
        let error = Receiver::builder("in", azodha).store(NoDedupe).build().unwrap_err();
        assert_eq!(error.to_string(), format!("receiver in: {message}"));
    }
    let error = Receiver::builder("in", hmac()).build().unwrap_err().to_string();
    assert!(error.contains("no store") && !error.contains('\n'), "{error}");
    let short = Receiver::builder("in", Azodha::shared_secret(HEADER, short())).store(NoDedupe).build().unwrap();
    assert_eq!(short.warnings().len(), 1);
}

#[test]
fn any_age_is_accepted_and_event_time_freshness_is_a_configuration_error() {
    for now in [0, i64::from(u32::MAX)] {
        let builder = Receiver::builder("azodha", hmac()).store(NoDedupe).clock(testing::StoppedClock::at(now));
        deliver(&builder.build().unwrap(), fixture("SurveyAssessment"));
    }
    let window = Freshness::EventTime { max_age: Duration::from_secs(300), max_skew: Duration::from_secs(300) };
    let builder = Receiver::builder("azodha", hmac()).store(NoDedupe).freshness(window);
    let problem = "receiver azodha: Freshness::EventTime needs bodies that contain the event's time; these do not";
    assert_eq!(builder.build().unwrap_err().to_string(), problem);
}

#[test]
fn equal_bytes_are_the_same_event_at_one_endpoint_only_if_they_contain_the_events_own_id() {
    let keys = |name: &str, body: &'static str| {
        deliver(&Receiver::builder(name, hmac()).store(NoDedupe).build().unwrap(), body).event_key()
    };
    let uploaded = r#"{"event":"UploadedFileAndTest","data":{"file":{"id":7}}}"#;
    assert_eq!(keys("one", uploaded), keys("one", uploaded));
    assert_ne!(keys("one", uploaded), keys("two", uploaded));
    assert_ne!(keys("one", uploaded), keys("one", r#"{"event":"UploadedFileAndTest","data":{"file":{"id":7}} }"#));
    for recurring in [
        r#"{"event":"OpenTele","id":7}"#,
        r#"{"event":"BookAppointment","id":7}"#,
        r#"{"event":"UploadedFileAndTest"}"#,
        r#"{"event":"UploadedFileAndTest","data":{"file":{"id":null}}}"#,
        r#"{"event":"UploadedFileAndTest","data":{"file":{"id":""}}}"#,
        r#"{"event":"UploadedFileAndTest","data":{"file":{"id":{"id":7}}}}"#,
        r#"{"event":"UploadedFileAndTest","data":{"file":{"id":7,"id":7}}}"#,
        r#"{"event":"ANewKind","data":{"file":{"id":7}}}"#,
        r#"{"id":7}"#,
        "7",
        "",
    ] {
        assert_ne!(keys("one", recurring), keys("one", recurring), "{recurring}");
    }
}

#[tokio::test]
async fn a_count_that_changes_and_changes_back_is_handled_each_time() {
    let receiver = Receiver::builder("azodha", hmac()).store(MemoryStore::new(10)).build().unwrap();
    let mut counts = Vec::new();
    for count in [5, 6, 5] {
        let body = format!(r#"{{"eventName":"HealthRecordCounter","patientId":"p","count":{count}}}"#);
        let admitted = receiver.admit(deliver(&receiver, &*body.leak())).unwrap();
        let delivery = admitted.delivery().clone();
        admitted.run(async { counts.push(count) }, |()| true).await.unwrap();
        let repeats = delivery.possible_duplicate().map(|duplicate| duplicate.count);
        assert_eq!(repeats, (counts.len() == 3).then_some(1));
    }
    assert_eq!(counts, [5, 6, 5]);
}

/// Returns the natural key of an event of this kind.
fn natural(kind: Kind, body: &str) -> Option<String> {
    let envelope = Envelope { kind: Some(documented(kind)), ..Envelope::default() };
    natural_key(&envelope, &Bytes::from(body.to_owned()))
}

/// The kinds that have a natural key, each with its required parts.
const NATURAL: [(Kind, &[&str]); 3] = [
    (Kind::BookAppointment, &["/id", "/status", "/date", "/startTime"]),
    (Kind::UploadedFileAndTest, &["/data/file/id", "/data/patient", "/data/file", "/data"]),
    (
        Kind::SurveyAssessment,
        &["/data/assessment/id", "/data/assessment/status", "/data/patient", "/data/assessment", "/data"],
    ),
];

fn json(kind: Kind) -> Value {
    serde_json::from_slice(&fixture(kind.as_str())).unwrap()
}

/// A receiver that identifies events by their natural keys.
fn by_natural_key(kind: Kind) -> Receiver {
    let azodha = hmac().pin_kind(kind.as_str());
    Receiver::builder("azodha", azodha).store(NoDedupe).dedupe(Dedupe::by(natural_key)).build().unwrap()
}

/// Returns the pointers to every value except the outermost.
fn pointers(value: &Value) -> Vec<String> {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(key, member)| (key.clone(), member)).collect(),
        Value::Array(elements) => elements.iter().enumerate().map(|(n, element)| (n.to_string(), element)).collect(),
        _ => Vec::new(),
    };
    let deeper = |(key, member): (String, &Value)| {
        let below = pointers(member).into_iter().map(|pointer| format!("/{key}{pointer}")).collect();
        [vec![format!("/{key}")], below].concat()
    };
    members.into_iter().flat_map(deeper).collect()
}

#[test]
fn a_rescheduled_appointment_is_another_event() {
    let receiver = by_natural_key(Kind::BookAppointment);
    let key = |body: &Value| deliver(&receiver, body.to_string()).event_key();
    let booked = json(Kind::BookAppointment);
    for (field, moved) in [
        ("date", json!("2026-01-15")),
        ("startTime", json!("09:45")),
        ("endTime", json!("10:15")),
        ("endTime", json!(null)),
        ("locationType", json!("VIDEO")),
        ("status", json!("CANCELLED")),
        ("patientId", json!("pat-6622")),
        ("participants", json!([{"providerName": "Else Imhof", "role": "Physician"}])),
    ] {
        let mut altered = booked.clone();
        altered[field] = moved;
        assert_ne!(key(&booked), key(&altered), "{field}");
    }
}

#[test]
fn a_change_to_any_documented_field_changes_the_natural_key() {
    for kind in Kind::ALL {
        let receiver = by_natural_key(*kind);
        let key = |body: &Value| deliver(&receiver, body.to_string()).event_key();
        let sent = json(*kind);
        for pointer in pointers(&sent) {
            // The name of the kind, and metadata at an undocumented key.
            if ["/event", "/eventName", "/context"].contains(&pointer.as_str()) {
                continue;
            }
            for other in [json!("another"), json!(null), json!(0.5), json!({"another": [1]})] {
                let mut altered = sent.clone();
                *altered.pointer_mut(&pointer).unwrap() = other.clone();
                assert_ne!(key(&sent), key(&altered), "{} {pointer} {other}", kind.as_str());
            }
        }
    }
}

#[test]
fn a_natural_key_ignores_undocumented_keys() {
    for (kind, _) in NATURAL {
        let mut altered = json(kind);
        altered["undocumented"] = json!("2026-01-01T00:00:01Z");
        let sent = natural(kind, &json(kind).to_string());
        assert!(sent.is_some(), "{}", kind.as_str());
        assert_eq!(sent, natural(kind, &altered.to_string()), "{}", kind.as_str());
    }
}

#[test]
fn there_is_no_natural_key_without_a_required_part() {
    for (kind, required) in NATURAL {
        for pointer in required {
            for instead in [json!(""), json!(null), json!(true), json!([]), json!([{"id": "a"}])] {
                let mut altered = json(kind);
                *altered.pointer_mut(pointer).unwrap() = instead.clone();
                assert_eq!(natural(kind, &altered.to_string()), None, "{} {pointer} {instead}", kind.as_str());
            }
            let mut altered = json(kind);
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            altered.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
            assert_eq!(natural(kind, &altered.to_string()), None, "{} {pointer}", kind.as_str());
        }
    }
    for kind in Kind::ALL {
        let has_one = NATURAL.iter().any(|(natural, _)| natural == kind);
        assert_eq!(natural(*kind, &json(*kind).to_string()).is_some(), has_one, "{}", kind.as_str());
    }
    assert_eq!(natural_key(&Envelope::default(), &fixture("BookAppointment")), None);
    let unknown = Envelope { kind: Some(KindName::unknown("Kumquat".to_owned())), ..Envelope::default() };
    assert_eq!(natural_key(&unknown, &fixture("BookAppointment")), None);
}

#[test]
fn a_natural_key_uses_every_part_exactly_as_sent() {
    let booked = |more: &str| {
        let body = format!(r#"{{"id":7,"status":"BOOKED","date":1768348800,"startTime":"09:40"{more}}}"#);
        natural(Kind::BookAppointment, &body)
    };
    let expected =
        r#"["BookAppointment",[7,"BOOKED",1768348800,"09:40",null,null,null,null,null,null,null,null,null,null,null]]"#;
    assert_eq!(booked("").as_deref(), Some(expected));
    // The order of the members and whitespace between them do not matter.
    let spaced = r#"{ "startTime": "09:40", "date": 1768348800, "status": "BOOKED", "id": 7 }"#;
    assert_eq!(natural(Kind::BookAppointment, spaced).as_deref(), Some(expected));
    let keys: BTreeSet<_> = ["", r#""""#, "1", "1.0", r#""1""#, "1000000000000000000001", "1000000000000000000002"]
        .map(|value| booked(&if value.is_empty() { String::new() } else { format!(r#","endTime":{value}"#) }).unwrap())
        .into();
    assert_eq!(keys.len(), 7, "{keys:?}");
    // Duplicate names, and values that are not objects.
    for more in [r#","id":7"#, r#","endTime":1,"endTime":1"#] {
        assert_eq!(booked(more), None, "{more}");
    }
    for body in ["", "[7]", "{", "7"] {
        assert_eq!(natural(Kind::BookAppointment, body), None, "{body}");
    }
}

#[test]
fn a_natural_key_identifies_an_event() {
    let build = |dedupe| {
        let azodha = hmac().pin_kind("BookAppointment");
        Receiver::builder("azodha", azodha).store(MemoryStore::new(10)).dedupe(dedupe).build().unwrap()
    };
    let (by_key, by_bytes) = (build(Dedupe::by(natural_key)), build(Dedupe::by_bytes()));
    let key = |receiver: &Receiver, body: &'static str| -> EventKey { deliver(receiver, body).event_key() };
    let one = r#"{"id":1,"status":"BOOKED","date":"2026-01-14","startTime":"09:40"}"#;
    let again = r#"{"status":"BOOKED","id":1,"sent":2,"date":"2026-01-14","startTime":"09:40"}"#;
    let cancelled = r#"{"id":1,"status":"CANCELLED","date":"2026-01-14","startTime":"09:40"}"#;
    assert_eq!(key(&by_key, one), key(&by_key, again));
    assert_ne!(key(&by_bytes, one), key(&by_bytes, again));
    assert_ne!(key(&by_key, one), key(&by_key, cancelled));
    // Without a natural key, each delivery may be another event, since an appointment can be booked again.
    assert_ne!(key(&by_key, r#"{"id":1}"#), key(&by_key, r#"{"id":1}"#));
    assert_eq!(key(&by_bytes, r#"{"id":1}"#), key(&by_bytes, r#"{"id":1}"#));
}
