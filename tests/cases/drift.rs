//! An event keeps its kind whatever happens to the fields of its payload, and a decoded event survives a round trip.

use medhook::registry::{AnyEvent, Decoding, OptionName, PROVIDERS};
use medhook::testing::{Fixture, fixtures};
use medhook::{Bytes, Delivery, NoDedupe, Receiver, Secret};
use medhook_tests::providers::{facts, kind_in_name, options, signing};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

const SECRET: &str = "c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";

/// Delivers a body as the fixture's provider would, to an endpoint with a pinned kind if the provider needs one.
fn delivered(fixture: &Fixture, body: &Value) -> Delivery {
    let facts = facts(fixture.provider());
    let mut options = options(facts, Secret::new(SECRET).expect("a secret"));
    options.pin_kind = kind_in_name(fixture).filter(|_| facts.takes(OptionName::PinKind)).map(str::to_owned);
    let builder = Receiver::configured("p", facts, &options).expect("options that fit");
    let receiver = builder.store(NoDedupe).freshness(medhook::Freshness::Unchecked).build().expect("a receiver");
    let body = Bytes::from(body.to_string());
    let headers = signing(facts, &options).headers(SECRET, "msg_1", "1", &body).expect("signed");
    receiver.open(receiver.verify(headers.as_slice(), body).expect("verified")).expect("opened")
}

/// Returns the event and its kind's name, if the delivery decodes as the variant of its kind.
fn variant(delivery: &Delivery) -> Option<(&'static str, AnyEvent)> {
    let event = facts(delivery.provider()).decode(delivery).expect("its own provider");
    let kind = facts(delivery.provider()).kind(delivery.kind()?)?;
    (event.decoding == Decoding::Documented).then_some((kind.name, event))
}

/// Returns the fixtures of documented kinds that are JSON objects, with their bodies.
fn documented() -> Vec<(&'static Fixture, Value)> {
    let of_a_kind = fixtures().iter().filter(|fixture| kind_in_name(fixture).is_some());
    of_a_kind.filter_map(|fixture| Some((fixture, serde_json::from_slice(&fixture.body()).ok()?))).collect()
}

#[test]
fn every_fixture_of_a_documented_kind_survives_a_round_trip() {
    let mut kinds = std::collections::BTreeSet::new();
    for (fixture, body) in documented() {
        let (kind, event) = variant(&delivered(fixture, &body)).unwrap_or_else(|| panic!("{}", fixture.path()));
        assert_eq!(Some(kind), kind_in_name(fixture), "{}", fixture.path());
        assert_eq!(event.is_read_again_as_written(), Some(true), "{}", fixture.path());
        kinds.insert((fixture.provider(), kind));
    }
    let documented: usize = PROVIDERS.iter().map(|facts| facts.kinds.len()).sum();
    assert_eq!(kinds.len(), documented, "every documented kind has a fixture");
}

/// Top-level keys that decide the kind or contain the whole event.
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
    fn missing_null_or_mistyped_fields_never_cost_the_event(
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
        prop_assert_eq!(kind, kind_in_name(fixture), "{}", body);
    }
}
