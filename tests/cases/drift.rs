//! Whatever becomes of a payload's fields, its event keeps its kind; and what was read is written and read again.

use medhook::testing::{Fixture, Signing, fixtures};
use medhook::{
    Azodha, Bytes, Cair, Delivery, Fasten, HealthSync, MediQuo, NoDedupe, Receiver, Secret, azodha, cair, fasten,
    healthsync, mediquo,
};
use proptest::prelude::*;
use proptest::sample::Index;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const SECRET: &str = "c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";

/// Delivers a body as the fixture's provider would, to an endpoint that is for its kind where it has to be told.
fn delivered(fixture: &Fixture, body: &Value) -> Delivery {
    let secret = Secret::new(SECRET).expect("a secret");
    let kind = kind_in_name(fixture);
    let (builder, signing) = match fixture.provider() {
        "azodha" => {
            (Receiver::builder("p", Azodha::hmac_sha256("x-s", secret).pin_kind(kind)), Signing::hmac_sha256("x-s"))
        }
        "cair" => {
            let kind = cair::Kind::from_name(kind).expect("a documented kind");
            (Receiver::builder("p", Cair::hmac_sha256("x-s", secret).pin_kind(kind)), Signing::hmac_sha256("x-s"))
        }
        "fasten" => (Receiver::builder("p", Fasten::any_mode(secret)), Signing::StandardWebhooks),
        "healthsync" => (Receiver::builder("p", HealthSync::new(secret)), Signing::healthsync()),
        "mediquo" => (Receiver::builder("p", MediQuo::new(secret)), Signing::mediquo()),
        other => panic!("no receiver for {other}"),
    };
    let receiver = builder.store(NoDedupe).freshness(medhook::Freshness::Unchecked).build().expect("a receiver");
    let body = Bytes::from(body.to_string());
    let headers = signing.headers(SECRET, "msg_1", "1", &body).expect("signed");
    receiver.open(receiver.verify(headers.as_slice(), body).expect("proven")).expect("opened")
}

/// The documented kind that a fixture's file is named after: the longest that its name begins with.
fn kind_in_name(fixture: &Fixture) -> &'static str {
    let name = fixture.path().split_once('/').map_or("", |(_, name)| name).trim_end_matches(".json");
    let of_provider: Vec<&'static str> = match fixture.provider() {
        "azodha" => azodha::Kind::ALL.iter().map(|kind| kind.as_str()).collect(),
        "cair" => cair::Kind::ALL.iter().map(|kind| kind.as_str()).collect(),
        "fasten" => fasten::Kind::ALL.iter().map(|kind| kind.as_str()).collect(),
        "healthsync" => healthsync::Kind::ALL.iter().map(|kind| kind.as_str()).collect(),
        "mediquo" => mediquo::Kind::ALL.iter().map(|kind| kind.as_str()).collect(),
        other => panic!("no kinds of {other}"),
    };
    let named = |kind: &&str| name == *kind || name.starts_with(&format!("{kind}."));
    of_provider.into_iter().filter(named).max_by_key(|kind| kind.len()).unwrap_or("")
}

/// A delivery's variant, and what its payload is when it is written.
macro_rules! variants {
    ($delivery:expr, $($provider:ident: $($Variant:ident)+;)+) => {{
        let delivery: &Delivery = $delivery;
        match delivery.provider() {
            $(stringify!($provider) => match delivery.decode::<$provider::Event>().expect("its provider") {
                $($provider::Event::$Variant(payload) => Some(($provider::Kind::$Variant.as_str(), again(&payload))),)+
                _ => None,
            },)+
            other => panic!("no events of {other}"),
        }
    }};
}

fn variant(delivery: &Delivery) -> Option<(&'static str, Value)> {
    variants!(delivery,
        azodha: AppointmentToCareTaskActivityLog InferenceToObservations InferenceToKeyFindings
            AssessmentResponseToWellbeingScore BookAppointment InferenceToCareTasks HealthRecordCounter Notification
            HealthProgramActivated UploadedFileAndTest SurveyAssessment OpenTele;
        cair: ChartAnalysis ClaimsAiOptimizer ClaimStatusChange ClaimsRemitAll ClaimsRemitApproved ClaimsRemitDenied
            X12Optimizer AiPhoneCall;
        fasten: EhiExportSuccess EhiExportFailed ConnectionSuccess AuthorizationRevoked RequestHealthSystem
            RequestSupport Test;
        healthsync: DocumentUploaded DocumentUpdated DocumentDeleted DocumentShared AnalysisCompleted AnalysisFailed
            UserUpdated FamilyMemberAdded FamilyMemberRemoved ShareCreated ShareAccessed ShareExpired ShareRevoked;
        mediquo: PatientConsultationCreated PatientConsultationCancelled PatientConsultationRescheduled
            PatientConsultationFinished PatientConsultationNoShow PatientMessageReceived
            PatientImmediateVideoCallAssigned PatientReportSent PrescriptionCreated PatientWaitingRoomPositionUpdate
            ProfessionalBlockCreated ProfessionalBlockUpdated ProfessionalBlockDeleted;
    )
}

/// What is written is read again as the same.
fn again<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(payload: &T) -> Value {
    let written = serde_json::to_string(payload).expect("written");
    assert_eq!(serde_json::from_str::<T>(&written).expect("read again"), *payload);
    serde_json::from_str(&written).expect("JSON")
}

/// Fixtures of documented kinds that are JSON objects, with their bodies.
fn documented() -> Vec<(&'static Fixture, Value)> {
    let of_a_kind = fixtures().iter().filter(|fixture| !kind_in_name(fixture).is_empty());
    of_a_kind.filter_map(|fixture| Some((fixture, serde_json::from_slice(&fixture.body()).ok()?))).collect()
}

#[test]
fn every_fixture_of_a_documented_kind_is_of_it_written_and_read_again() {
    let mut kinds = std::collections::BTreeSet::new();
    for (fixture, body) in documented() {
        let (kind, _) = variant(&delivered(fixture, &body)).unwrap_or_else(|| panic!("{}", fixture.path()));
        assert_eq!(kind, kind_in_name(fixture), "{}", fixture.path());
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), 12 + 8 + 7 + 13 + 13, "every documented kind has a fixture");
}

/// Keys at the top that say which event it is, or hold all of it.
const DECISIVE: &[&str] = &["type", "event", "eventName", "data", "payload"];

fn places(value: &Value, at: &str, into: &mut Vec<String>) {
    let mut child = |key: &str, value: &Value| {
        let place = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        places(value, &place, into);
        if !(at.is_empty() && DECISIVE.contains(&key)) {
            into.push(place);
        }
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| child(key, value)),
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(index, value)| child(&index.to_string(), value));
        }
        _ => {}
    }
}

fn change(body: &mut Value, place: &str, to: Option<Value>) {
    match to {
        Some(to) => body.pointer_mut(place).into_iter().for_each(|value| *value = to.clone()),
        None => {
            let (parent, key) = place.rsplit_once('/').expect("a place below the top");
            let key = key.replace("~1", "/").replace("~0", "~");
            match body.pointer_mut(parent) {
                Some(Value::Object(members)) => drop(members.remove(&key)),
                Some(Value::Array(elements)) => {
                    let index = key.parse().ok().filter(|index| *index < elements.len());
                    index.map(|index: usize| elements.remove(index));
                }
                _ => {}
            }
        }
    }
}

fn anything() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        any::<bool>().prop_map(|value| Some(json!(value))),
        any::<i64>().prop_map(|value| Some(json!(value))),
        any::<f64>().prop_map(|value| Some(json!(value))),
        "\\PC{0,12}".prop_map(|value| Some(json!(value))),
        prop::collection::vec("[a-z]{0,3}", 0..3).prop_map(|value| Some(json!(value))),
        prop::collection::btree_map("[a-z]{0,3}", any::<u8>(), 0..3).prop_map(|value| Some(json!(value))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn fields_that_are_gone_null_or_of_another_type_never_cost_the_event(
        fixture in any::<Index>(),
        changes in prop::collection::vec((any::<Index>(), anything()), 1..6),
    ) {
        let documented = documented();
        let (fixture, original) = fixture.get(&documented);
        let mut body = original.clone();
        for (place, to) in changes {
            let mut all = Vec::new();
            places(&body, "", &mut all);
            if !all.is_empty() {
                change(&mut body, &all[place.index(all.len())], to);
            }
        }
        let kind = variant(&delivered(fixture, &body)).map(|(kind, _)| kind);
        prop_assert_eq!(kind, Some(kind_in_name(fixture)), "{}", body);
    }
}
