//! Tests of which deliveries are of the same event.

use medhook::testing::{self, Signing, StoppedClock};
use medhook::{Bytes, Cair, Delivery, Fasten, HealthSync, NoDedupe, Receiver, Secret};

const SECRET: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
const NOW: i64 = 1_767_225_600;

#[test]
fn a_retry_with_another_time_and_signature_is_the_same_event() {
    let first = fasten("one", |body| body, NOW);
    let retry = fasten("one", |body| body, NOW + 3_600);
    assert_ne!(first.body(), retry.body());
    assert_eq!(first.event_key(), retry.event_key());
}

#[test]
fn one_id_is_two_events_at_two_endpoints() {
    assert_ne!(fasten("one", |body| body, NOW).event_key(), fasten("other", |body| body, NOW).event_key());
    assert_ne!(healthsync("one", |body| body).event_key(), healthsync("other", |body| body).event_key());
}

#[test]
fn one_id_is_two_events_in_two_modes() {
    let live = fasten("one", |body| body, NOW);
    let test = fasten("one", |body| body.replace(r#""api_mode":"live""#, r#""api_mode":"test""#), NOW);
    assert_eq!(live.id(), test.id());
    assert_ne!(live.event_key(), test.event_key());
}

#[test]
fn another_id_alone_makes_another_event() {
    let one = healthsync("one", |body| body);
    let other = healthsync("one", |body| body.replacen("evt_", "evt_x", 1));
    assert_ne!(one.event_key(), other.event_key());
}

#[test]
fn the_message_id_stands_in_for_an_id_that_is_missing() {
    assert_eq!(fasten("one", |body| body, NOW).id(), Some("7d4b9f0e-52a1-4c36-9b8e-1f0a6c2d3e45"));
    let anonymous = |body: String| body.replacen(r#""id""#, r#""no_id""#, 1);
    assert_eq!(fasten("one", anonymous, NOW).id(), Some("msg_sample"));
}

#[test]
fn without_any_id_each_delivery_may_be_another_event() {
    let anonymous = |body: String| body.replacen(r#""id""#, r#""no_id""#, 1);
    let one = healthsync("one", anonymous);
    assert_eq!(one.id(), None);
    assert_ne!(one.event_key(), healthsync("one", anonymous).event_key());
}

#[test]
fn each_delivery_of_a_chart_may_be_another_event() {
    let one = cair("one", |body| body);
    let more = |body: String| body.replacen(r#""GENERATE_CODING_REPORT""#, r#""GENERATE_CODING_REPORT","OTHER""#, 1);
    assert_ne!(one.body(), cair("one", more).body());
    assert_ne!(one.event_key(), cair("one", more).event_key());
    // An analysis has no id or time of its own.
    assert_ne!(one.event_key(), cair("one", |body| body).event_key());
}

/// Returns a changed `ehi_export_success` delivery at an endpoint of this name.
fn fasten(endpoint: &str, change: impl Fn(String) -> String, now: i64) -> Delivery {
    let builder = Receiver::builder(endpoint, Fasten::any_mode(secret()));
    let receiver = builder.store(NoDedupe).clock(StoppedClock::at(now)).build().expect("a sound receiver");
    opened(&receiver, testing::fasten("patient.ehi_export_success").at(now), change)
}

/// Returns a changed delivery of an uploaded document at an endpoint of this name.
fn healthsync(endpoint: &str, change: impl Fn(String) -> String) -> Delivery {
    let builder = Receiver::builder(endpoint, HealthSync::new(secret()));
    let receiver = builder.store(NoDedupe).clock(StoppedClock::at(NOW)).build().expect("a sound receiver");
    opened(&receiver, testing::healthsync("document.uploaded").at(NOW), change)
}

/// Returns a changed delivery of an analyzed chart at an endpoint of this name.
fn cair(endpoint: &str, change: impl Fn(String) -> String) -> Delivery {
    let builder = Receiver::builder(endpoint, Cair::hmac_sha256("x-cair-signature", secret()));
    let receiver = builder.store(NoDedupe).clock(StoppedClock::at(NOW)).build().expect("a sound receiver");
    let sample = testing::cair("PATIENT_CHART_ANALYSIS_COMPLETE").signing(Signing::hmac_sha256("x-cair-signature"));
    opened(&receiver, sample.at(NOW), change)
}

fn opened(receiver: &Receiver, sample: testing::Sample, change: impl Fn(String) -> String) -> Delivery {
    let body = sample.clone().secret(SECRET).request("/").into_body();
    let body = change(String::from_utf8(body.to_vec()).expect("UTF-8"));
    let request = sample.secret(SECRET).body(Bytes::from(body)).request("/");
    let verified = receiver.verify(request.headers(), request.body().clone()).expect("verified");
    receiver.open(verified).expect("fresh")
}

fn secret() -> Secret {
    Secret::new(SECRET).expect("a sound secret")
}
