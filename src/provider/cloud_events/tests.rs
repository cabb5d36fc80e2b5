use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::{
    Clock, CloudEvents, Custom, Delivery, Freshness, IdFrom, MemoryStore, Reason, Receiver, Secret, SharedSecret,
};

const SECRET: &str = "0123456789abcdef";
/// 2026-11-28T07:00:00Z.
const TIME: i64 = 1_795_849_200;

#[derive(Debug)]
struct At(i64);

impl Clock for At {
    fn now(&self) -> std::time::SystemTime {
        std::time::UNIX_EPOCH + Duration::from_secs(self.0.try_into().unwrap())
    }
}

fn acme(mode: CloudEvents) -> Custom {
    let custom = Custom::new("acme", SharedSecret::new("x-key"), Secret::new(SECRET).unwrap());
    custom.cloud_events(mode).known_kinds([
        "com.particlehealth.api.v2.medicationfills",
        "photon:order:created",
        "ready",
    ])
}

fn receiver(custom: Custom) -> Receiver {
    Receiver::builder("in", custom).store(MemoryStore::new(10)).build().unwrap()
}

fn opened(receiver: &Receiver, headers: &[(&str, &str)], body: &str) -> Result<Delivery, Reason> {
    let headers = [&[("x-key", SECRET)], headers].concat();
    let verified = receiver.verify(headers.as_slice(), Bytes::from(body.to_owned())).unwrap();
    receiver.open(verified).map_err(|rejection| rejection.reason())
}

fn structured_event(body: &str) -> Delivery {
    opened(&receiver(acme(CloudEvents::Structured)), &[("content-type", "application/json")], body).unwrap()
}

fn data(delivery: &Delivery) -> Option<&str> {
    delivery.envelope().data.as_deref().map(|data| str::from_utf8(data).unwrap())
}

const PARTICLE: &str = r#"{"specversion":"1.0","id":"9c2d6a2e-5f3f-4c64-9a55-6a0d5f7e8b10","source":"api/notifications",
    "type":"com.particlehealth.api.v2.medicationfills","subject":"Medication Fills Data Available",
    "time":"2026-11-28T07:00:00Z","datacontenttype":"application/json","data":{"count":1}}"#;

#[test]
fn an_event_of_particle_has_the_attributes_of_its_body() {
    let delivery = structured_event(PARTICLE);
    assert_eq!(delivery.id(), Some(r#"["api/notifications","9c2d6a2e-5f3f-4c64-9a55-6a0d5f7e8b10"]"#));
    assert_eq!((delivery.id_from(), delivery.unsigned_id()), (IdFrom::Body, None));
    assert_eq!(delivery.kind_label(), "com.particlehealth.api.v2.medicationfills");
    assert_eq!(delivery.occurred_at().unwrap().unix(), Some(TIME));
    assert_eq!(data(&delivery), Some(r#"{"count":1}"#));
}

/// Photon's `specversion` is a number.
#[test]
fn an_event_of_photon_has_the_attributes_of_its_body() {
    let body = r#"{"id":"01HXMADEUP0000000000000000","type":"photon:order:created","specversion":1.0,
        "datacontenttype":"application/json","time":"2026-11-28T07:00:00.000Z","subject":"ord_madeup",
        "source":"org:org_madeup","data":{"id":"ord_madeup","patient":{"id":"pat_madeup"}}}"#;
    for body in [body.to_owned(), body.replace("1.0", "\"1.0\"")] {
        let delivery = structured_event(&body);
        assert_eq!(delivery.id(), Some(r#"["org:org_madeup","01HXMADEUP0000000000000000"]"#));
        assert_eq!(delivery.kind_label(), "photon:order:created");
        assert_eq!(delivery.occurred_at().unwrap().unix(), Some(TIME));
        assert_eq!(data(&delivery), Some(r#"{"id":"ord_madeup","patient":{"id":"pat_madeup"}}"#));
    }
}

#[test]
fn an_event_without_source_or_id_has_no_id() {
    for (from, to) in [
        (r#""source":"api/notifications","#, ""),
        (r#""source":"api/notifications","#, r#""source":"","#),
        (r#""source":"api/notifications","#, r#""source":null,"#),
        (r#""id":"9c2d6a2e-5f3f-4c64-9a55-6a0d5f7e8b10","#, ""),
        (r#""id":"9c2d6a2e-5f3f-4c64-9a55-6a0d5f7e8b10","#, r#""id":["1"],"#),
    ] {
        let delivery = structured_event(&PARTICLE.replace(from, to));
        assert_eq!((delivery.id(), delivery.id_from()), (None, IdFrom::Nothing), "{to}");
        assert_eq!(delivery.kind_label(), "com.particlehealth.api.v2.medicationfills");
    }
    let twice = structured_event(&PARTICLE.replace("{\"spec", "{\"id\":\"1\",\"spec"));
    assert_eq!((twice.id(), twice.kind(), data(&twice)), (None, None, None), "it is ambiguous");
}

#[test]
fn sources_and_ids_are_joined_unambiguously() {
    let id = |source, id| joined(Some(Cow::Borrowed(source)), Some(Cow::Borrowed(id))).unwrap();
    assert_eq!(&*id("/a", "1"), r#"["/a","1"]"#);
    let ids = [id("/a", "1"), id("/a1", ""), id("", "/a1"), id("1", "/a"), id(r#"/a","1"#, ""), id(r#"/a\"#, "1")];
    let different: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(different.len(), ids.len());
    assert_eq!(joined(None, Some("1".into())).or(joined(Some("/a".into()), None)), None);
}

/// Limits that the documentation names.
#[test]
fn batches_and_binary_payloads_are_delivered_as_they_are() {
    let batch = structured_event(&format!("[{PARTICLE}]"));
    assert_eq!((batch.id(), batch.kind(), batch.id_from()), (None, None, IdFrom::Nothing));
    assert!(batch.body().starts_with(b"["));
    let binary = structured_event(&PARTICLE.replace(r#""data":{"count":1}"#, r#""data_base64":"AAEC""#));
    assert_eq!((data(&binary), binary.id().is_some()), (None, true));
    let not_json = structured_event("ready");
    assert_eq!((not_json.id(), not_json.kind()), (None, None));
}

#[test]
fn the_age_of_an_event_in_structured_mode_can_be_checked() {
    let hour = Duration::from_secs(3600);
    let builder = |now| {
        Receiver::builder("in", acme(CloudEvents::Structured))
            .store(MemoryStore::new(10))
            .freshness(Freshness::EventTime { max_age: hour, max_skew: hour })
            .clock(At(now))
    };
    let reason = |now, body: &str| opened(&builder(now).build().unwrap(), &[], body).map(drop);
    assert_eq!(reason(TIME + 3600, PARTICLE), Ok(()));
    assert_eq!(reason(TIME + 3601, PARTICLE), Err(Reason::Stale));
    assert_eq!(reason(TIME, &PARTICLE.replace("\"time\"", "\"times\"")), Err(Reason::TimeMissing));
}

const BINARY: [(&str, &str); 4] =
    [("ce-id", "1234"), ("ce-source", "/my%20context"), ("ce-type", "ready"), ("ce-time", "2026-11-28T07:00:00Z")];

#[test]
fn an_event_in_binary_mode_has_an_unsigned_id_and_the_attributes_of_its_headers() {
    let receiver = receiver(acme(CloudEvents::BinaryUnsigned));
    let opened = |headers: &[(&str, &str)], body| opened(&receiver, headers, body).unwrap();
    let first = opened(&BINARY, "{}");
    assert_eq!((first.id(), first.unsigned_id()), (None, Some(r#"["/my context","1234"]"#)));
    assert_eq!((first.kind_label(), first.id_from()), ("ready", IdFrom::UnsignedHeader));
    assert_eq!(first.occurred_at().unwrap().unix(), Some(TIME));
    assert_eq!(data(&first), None, "the payload is the whole body");

    let with = |at: usize, header| {
        let mut headers = BINARY;
        headers[at] = header;
        headers
    };
    assert_eq!(opened(&with(1, ("ce-source", "\"/my context\"")), "{}").event_key(), first.event_key(), "quoted");
    assert_eq!(opened(&with(2, ("ce-type", "late")), "{}").event_key(), first.event_key(), "the kind is no id");
    assert_ne!(opened(&with(0, ("ce-id", "1235")), "{}").event_key(), first.event_key());
    assert_ne!(opened(&with(1, ("ce-source", "/other")), "{}").event_key(), first.event_key());
    assert_ne!(opened(&BINARY, "{ }").event_key(), first.event_key());
    for headers in [with(0, ("ce-ids", "1234")), with(1, ("ce-source", "/my context")), with(1, ("ce-source", "%"))] {
        let delivery = opened(&headers, "{}");
        assert_eq!((delivery.unsigned_id(), delivery.id_from()), (None, IdFrom::Nothing));
        assert_eq!(delivery.kind(), Some("ready"));
    }
    assert_eq!(opened(&with(3, ("x-time", "")), "{}").occurred_at(), None);
}

#[test]
fn a_pointer_is_used_instead_of_a_header_of_binary_mode() {
    let custom = acme(CloudEvents::BinaryUnsigned).id_pointer("/id").kind_pointer("/kind").time_pointer("/at");
    let receiver = receiver(custom);
    let body = r#"{"id": "evt-1", "kind": "late", "at": 1767225600}"#;
    let delivery = opened(&receiver, &BINARY, body).unwrap();
    assert_eq!((delivery.id(), delivery.unsigned_id()), (Some("evt-1"), None));
    assert_eq!((delivery.kind(), delivery.occurred_at().unwrap().unix()), (Some("late"), Some(1_767_225_600)));
}

/// Otherwise an attacker who repeats a captured delivery could make it fresh.
#[test]
fn an_unsigned_time_never_decides_about_the_age() {
    let hour = Duration::from_secs(3600);
    let builder = |custom| {
        Receiver::builder("in", custom)
            .store(MemoryStore::new(10))
            .freshness(Freshness::EventTime { max_age: hour, max_skew: hour })
            .clock(At(TIME))
    };
    let error = builder(acme(CloudEvents::BinaryUnsigned)).build().map(drop).unwrap_err().to_string();
    assert!(error.contains("Freshness::EventTime needs bodies that contain the event's time"), "{error}");

    let receiver = builder(acme(CloudEvents::BinaryUnsigned).time_pointer("/at")).build().unwrap();
    let reason = |body| opened(&receiver, &BINARY, body).map(drop);
    assert_eq!(reason(r#"{"at": "2026-11-28T07:00:00Z"}"#), Ok(()));
    assert_eq!(reason(r#"{"at": "2026-11-28T05:00:00Z"}"#), Err(Reason::Stale), "though ce-time is fresh");
    assert_eq!(reason("{}"), Err(Reason::TimeMissing), "though ce-time is fresh");
}

#[test]
fn values_of_headers_are_unquoted_and_then_percent_decoded_once() {
    let value = |text: &'static str| header_value(Found::Once(text.as_bytes()));
    for (text, expected) in [
        ("1234-1234", "1234-1234"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("%41", "A"),
        ("a%2520b", "a%20b"),
        ("a+b", "a+b"),
        ("%22a%22", "\"a\""),
        ("\"a b\"", "a b"),
        (r#""a \"b\" \\""#, r#"a "b" \"#),
        ("\"a%20b\"", "a b"),
        ("a\"b", "a\"b"),
    ] {
        assert_eq!(value(text).as_deref(), Ok(expected), "{text}");
    }
    for text in [
        "%", "%4", "%4g", "%+1", "a%", "%C0%A0", "%E2%82", "%ff", "%00", "%0a", "%7F", "%C2%85", "\"a", "\"a\"b", "\"",
        "\"a\\\"",
    ] {
        assert_eq!(value(text), Err(PointerFault::HeaderMalformed), "{text}");
    }
    assert_eq!(value("a b"), Err(PointerFault::HeaderNotVisibleAscii));
    assert_eq!(value("\"€\""), Err(PointerFault::HeaderNotVisibleAscii));
    assert_eq!((value(""), value("\"\"")), (Err(PointerFault::HeaderEmpty), Err(PointerFault::HeaderEmpty)));
}
