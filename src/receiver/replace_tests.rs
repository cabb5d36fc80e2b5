use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::registry::{OptionName, ProviderOptions, SchemeChoice};
use crate::scheme::SchemeConfig;
use crate::{
    Custom, Encoding, Fasten, HealthSync, HmacSha256Body, MediQuo, MemoryStore, NoDedupe, Secret, Secrets,
    SharedSecret, registry,
};

const OLD: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
const NEW: &str = "ZmVkY2JhOTg3NjU0MzIxMA==";

fn secret(label: &str, text: &str) -> Secret {
    Secret::new(text).unwrap().labeled(label).unwrap()
}

fn old() -> Secret {
    secret("2025", OLD)
}

fn new() -> Secret {
    secret("2026", NEW)
}

fn custom(secrets: impl Into<Secrets>) -> Custom {
    Custom::new("acme", SharedSecret::new("x-key"), secrets).id_pointer("/id")
}

fn receiver() -> Receiver {
    Receiver::builder("in", custom(old())).store(MemoryStore::new(10)).build().unwrap()
}

/// Receives an event with this secret and id.
fn deliver(receiver: &Receiver, secret: &str, id: &str) -> Result<Delivery, Reason> {
    let body = Bytes::from(format!(r#"{{"id":"{id}"}}"#));
    let headers = [("x-key", secret)];
    let verified = receiver.verify(&headers, body).map_err(|rejection| rejection.reason())?;
    Ok(receiver.open(verified).unwrap())
}

async fn handled(receiver: &Receiver, delivery: Delivery) -> Result<(), Reason> {
    let admitted = receiver.admit(delivery).map_err(|rejection| rejection.reason())?;
    admitted.run(async {}, |()| true).await.map_err(|rejection| rejection.reason())
}

#[test]
fn all_clones_accept_the_new_secrets_at_once_and_the_old_ones_no_longer() {
    let receiver = receiver();
    let clone = receiver.clone();
    let labels = |receiver: &Receiver| {
        [OLD, NEW].map(|secret| deliver(receiver, secret, "1").map(|delivery| delivery.secret_label().to_owned()))
    };
    let is = |label: &str| Ok(label.to_owned());
    assert_eq!(labels(&clone), [is("2025"), Err(Reason::SignatureMismatch)]);
    let both = Secrets::new(new()).also(old()).unwrap();
    assert_eq!(receiver.replace_secrets(custom(both)).unwrap(), [""; 0]);
    assert_eq!(labels(&clone), [is("2025"), is("2026")]);
    receiver.replace_secrets(custom(new())).unwrap();
    assert_eq!(labels(&clone), [Err(Reason::SignatureMismatch), is("2026")]);
    assert!(clone.0.endpoint.name().as_ref() == "in" && format!("{clone:?}").contains("Secret(2026)"), "{clone:?}");
}

#[tokio::test]
async fn a_delivery_is_verified_with_the_secrets_with_which_it_began_and_then_handled() {
    for config in [SchemeConfig::from(HmacSha256Body::new("x-sig")), SharedSecret::new("x-key").into()] {
        let custom = |secret| Custom::new("acme", config.clone(), secret).id_pointer("/id");
        let receiver = Receiver::builder("in", custom(old())).store(MemoryStore::new(10)).build().unwrap();
        let body = br#"{"id":"1"}"#;
        let tag = crate::sign::mac(OLD.as_bytes(), &[body]);
        let signature: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
        let headers = [("x-key", OLD), ("x-sig", &signature)];
        for in_pieces in [false, true] {
            receiver.replace_secrets(custom(old())).unwrap();
            let mut intake = receiver.begin(&RequestHead::new("POST", "/", &headers)).unwrap();
            let (first, rest) = body.split_at(if in_pieces { 4 } else { body.len() });
            intake.push(Bytes::from_static(first)).unwrap();
            receiver.replace_secrets(custom(new())).unwrap();
            intake.push(Bytes::from_static(rest)).unwrap();
            let verified = intake.finish().unwrap();
            receiver.replace_secrets(custom(secret("2027", "0123456789abcdef"))).unwrap();
            assert_eq!(verified.secret_label(), "2025");
            let delivery = receiver.open(verified).unwrap();
            assert_eq!(delivery.secret_label(), "2025");
            let expected = if in_pieces { Err(Reason::Duplicate) } else { Ok(()) };
            assert_eq!(handled(&receiver, delivery).await, expected);
        }
    }
}

#[tokio::test]
async fn an_event_that_was_handled_under_an_old_secret_is_a_duplicate_under_a_new_one() {
    let receiver = receiver();
    let before = deliver(&receiver, OLD, "1").unwrap();
    let event_key = before.event_key();
    assert_eq!(handled(&receiver, before).await, Ok(()));
    receiver.replace_secrets(custom(new())).unwrap();
    let again = deliver(&receiver, NEW, "1").unwrap();
    assert_eq!(again.event_key(), event_key);
    assert_eq!(handled(&receiver, again).await, Err(Reason::Duplicate));
    assert_eq!(handled(&receiver, deliver(&receiver, NEW, "2").unwrap()).await, Ok(()));
}

#[tokio::test]
async fn permits_and_the_drain_are_shared_by_all_secrets() {
    let builder = Receiver::builder("in", custom(old())).store(NoDedupe).max_in_flight(1);
    let receiver = builder.build().unwrap();
    let admitted = receiver.admit(deliver(&receiver, OLD, "1").unwrap()).unwrap();
    receiver.replace_secrets(custom(new())).unwrap();
    let busy = receiver.admit(deliver(&receiver, NEW, "2").unwrap());
    assert_eq!(busy.map(drop).unwrap_err().reason(), Reason::TooBusy);
    let running = tokio::spawn(admitted.run(std::future::pending::<()>(), |()| true));
    tokio::task::yield_now().await;
    assert_eq!(receiver.drain(Duration::ZERO).await, 1);
    assert_eq!(running.await.unwrap().unwrap_err().reason(), Reason::HandlerCanceled);
    assert_eq!(deliver(&receiver, NEW, "3").unwrap_err(), Reason::Draining);
    assert!(receiver.replace_secrets(custom(old())).is_ok());
    assert_eq!(deliver(&receiver, OLD, "3").unwrap_err(), Reason::Draining);
}

#[tokio::test(start_paused = true)]
async fn silence_is_counted_over_a_replacement() {
    const HOUR: Duration = Duration::from_secs(3600);
    let builder = Receiver::builder("in", custom(old())).store(NoDedupe).expect_every(HOUR);
    let receiver = builder.build().unwrap();
    let is_reported = || receiver.0.endpoint.silence().unwrap().is_reported();
    tokio::time::sleep(HOUR / 2).await;
    receiver.replace_secrets(custom(new())).unwrap();
    tokio::time::sleep(HOUR / 2 + Duration::from_secs(1)).await;
    assert!(is_reported());
    assert_eq!(handled(&receiver, deliver(&receiver, NEW, "1").unwrap()).await, Ok(()));
    assert!(!is_reported());
}

#[test]
fn replaced_secrets_are_dropped_after_the_last_check_with_them() {
    let receiver = receiver();
    let generation = || Arc::downgrade(&receiver.generation());
    let is_dropped = |generation: &Weak<Generation>| generation.upgrade().is_none();
    let first = generation();
    let headers = [("x-key", OLD)];
    let verified = receiver.verify(&headers, Bytes::from_static(b"{}")).unwrap();
    receiver.replace_secrets(custom(new())).unwrap();
    assert!(!is_dropped(&first) && !is_dropped(&generation()));
    let delivery = receiver.open(verified).unwrap();
    assert!(is_dropped(&first), "the delivery keeps the label only");
    assert_eq!(delivery.secret_label(), "2025");
}

#[test]
fn a_replacement_that_is_rejected_keeps_the_current_secrets() {
    let receiver = receiver();
    let hmac = |header| Custom::new("acme", HmacSha256Body::new(header), new());
    let other = custom(new()).kind_pointer("/kind");
    let also = || SharedSecret::new("x-key").also_header("x-2", secret("other", "0123456789abcdef"));
    for (result, problem) in [
        (receiver.replace_secrets(HealthSync::new(new())), "provider acme with those of provider healthsync"),
        (receiver.replace_secrets(hmac("x-key")), "the scheme or its headers differ"),
        (receiver.replace_secrets(Custom::new("acme", SharedSecret::new("x-2"), new())), "the scheme or its headers"),
        (receiver.replace_secrets(Custom::new("acme", also(), new())), "the scheme or its headers differ"),
        (receiver.replace_secrets(other), "an option of the provider differs"),
        (receiver.replace_secrets(custom(new()).known_kinds(["a"])), "an option of the provider differs"),
        (receiver.replace_secrets(custom(new()).time_pointer("/at")), "an option of the provider differs"),
    ] {
        let problem_is = result.unwrap_err().to_string();
        assert!(problem_is.starts_with("receiver in: ") && problem_is.contains(problem), "{problem_is}");
        assert!(deliver(&receiver, OLD, "1").is_ok() && deliver(&receiver, NEW, "1").is_err(), "{problem}");
    }

    let fasten = Receiver::builder("in", Fasten::live(old())).store(NoDedupe).build().unwrap();
    let undecodable = fasten.replace_secrets(Fasten::live(secret("2026", "no base64!"))).unwrap_err().to_string();
    assert!(undecodable.starts_with("receiver in: secret 2026: not base64"), "{undecodable}");
    let twice = fasten.replace_secrets(Fasten::live(old()).and_test(old())).unwrap_err().to_string();
    assert_eq!(twice, "receiver in: secret 2025: the same as 2025");
    assert_eq!(fasten.generation().usage(0).map(|usage| &**usage.label()), Some("2025"));
}

#[test]
fn any_option_of_a_provider_but_its_secrets_must_stay() {
    let mut tried = 0;
    for facts in registry::PROVIDERS {
        let mut options = ProviderOptions::new(old());
        if facts.takes(OptionName::Scheme) {
            options.scheme = Some(SchemeChoice::HmacSha256);
            options.header = Some("x-sig".to_owned());
        }
        let receiver = Receiver::configured("in", facts, &options).unwrap().store(NoDedupe).build().unwrap();
        for option in OptionName::ALL.iter().filter(|option| facts.takes(**option)) {
            let mut changed = options.clone();
            match option {
                OptionName::Secrets | OptionName::TestSecrets | OptionName::AlsoSecrets | OptionName::Mode => continue,
                OptionName::Scheme => changed.scheme = Some(SchemeChoice::SharedSecret),
                OptionName::Header => changed.header = Some("x-other".to_owned()),
                OptionName::Prefix => changed.prefix = Some("sha256=".to_owned()),
                OptionName::Encoding => changed.encoding = Some(Encoding::Hex),
                OptionName::PinKind => changed.pin_kind = Some(facts.kinds[0].name.to_owned()),
                OptionName::AlsoHeader => {
                    changed.also_header = Some("x-also".to_owned());
                    changed.also_secrets = Some(new().into());
                }
            }
            let error = receiver.replace_configured_secrets(facts, &changed).unwrap_err().to_string();
            assert!(error.contains("only secrets can be replaced"), "{} {option}: {error}", facts.name);
            tried += 1;
        }
        let same = ProviderOptions { secrets: Some(new().into()), ..options };
        assert!(receiver.replace_configured_secrets(facts, &same).is_ok(), "{}", facts.name);
    }
    assert!(tried > 8, "{tried}");
}

#[test]
fn the_secrets_of_further_headers_and_of_the_test_mode_are_replaced_with_the_others() {
    let mediquo = |also: &str| MediQuo::new(old()).also_header("x-2", secret("also", also));
    let receiver = Receiver::builder("in", mediquo("0123456789abcdef")).store(NoDedupe).build().unwrap();
    let accepts = |also: &str| {
        let headers = [("x-webhook-signature", OLD), ("x-2", also)];
        receiver.verify(&headers, Bytes::from_static(b"{}")).is_ok()
    };
    assert!(accepts("0123456789abcdef") && !accepts("fedcba9876543210"));
    receiver.replace_secrets(mediquo("fedcba9876543210")).unwrap();
    assert!(!accepts("0123456789abcdef") && accepts("fedcba9876543210"));

    let fasten = Receiver::builder("in", Fasten::live(old())).store(NoDedupe).build().unwrap();
    fasten.replace_secrets(Fasten::live(old()).and_test(new())).unwrap();
    let generation = fasten.generation();
    let modes = [0, 1, 2].map(|secret| generation.mode(secret).map(|mode| mode.as_str()));
    assert_eq!(modes, [Some("live"), Some("test"), None]);
}

#[test]
fn configured_secrets_are_replaced_by_the_options_of_the_configuration() {
    let facts = crate::registry::provider("azodha").unwrap();
    let options = |secret: Secret| {
        let mut options = ProviderOptions::new(secret);
        options.scheme = Some(crate::registry::SchemeChoice::SharedSecret);
        options.header = Some("x-key".to_owned());
        options
    };
    let builder = Receiver::configured("in", facts, &options(old())).unwrap();
    let receiver = builder.store(NoDedupe).build().unwrap();
    receiver.replace_configured_secrets(facts, &options(new())).unwrap();
    let verified = |secret| receiver.verify(&[("x-key", secret)], Bytes::from_static(b"{}")).map(drop);
    assert!(verified(OLD).is_err() && verified(NEW).is_ok());
    let pinned = ProviderOptions { pin_kind: Some("HealthProgramActivated".to_owned()), ..options(old()) };
    let error = receiver.replace_configured_secrets(facts, &pinned).unwrap_err().to_string();
    assert!(error.contains("an option of the provider differs"), "{error}");
    let missing = ProviderOptions { header: None, ..options(old()) };
    let error = receiver.replace_configured_secrets(facts, &missing).unwrap_err().to_string();
    assert_eq!(error, "receiver in: `header` is required for azodha");
    assert!(verified(NEW).is_ok());
}

#[test]
fn new_secrets_get_the_warnings_of_a_build() {
    let receiver = receiver();
    let short = secret("short", "0123456789");
    let mistaken = secret("mistaken", "\"0123456789abcdef\"");
    let both = Secrets::new(short).also(mistaken).unwrap();
    let warnings = receiver.replace_secrets(custom(both.clone())).unwrap();
    let built = Receiver::builder("in", custom(both)).store(NoDedupe).build().unwrap();
    assert_eq!(warnings, built.warnings());
    assert!(warnings.len() == 2 && warnings[0].contains("short") && warnings[1].contains("mistaken"), "{warnings:?}");
    assert_eq!(receiver.warnings(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn genuine_deliveries_are_verified_during_many_replacements() {
    let receiver = Receiver::builder("in", custom(old())).store(NoDedupe).build().unwrap();
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let senders = [OLD, OLD, NEW].map(|secret| {
        let (receiver, is_over) = (receiver.clone(), is_over.clone());
        receiver.replace_secrets(custom(Secrets::new(old()).also(new()).unwrap())).unwrap();
        tokio::task::spawn_blocking(move || {
            let mut count = 0_u32;
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                assert!(deliver(&receiver, secret, "1").is_ok());
                count += 1;
            }
            count
        })
    });
    for n in 0..2_000 {
        let (first, second) = if n % 2 == 0 { (new(), old()) } else { (old(), new()) };
        receiver.replace_secrets(custom(Secrets::new(first).also(second).unwrap())).unwrap();
    }
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    for sender in senders {
        assert!(sender.await.unwrap() > 0);
    }
}

/// Returns the labels of the current secrets with the Unix times of their last uses.
fn uses(receiver: &Receiver) -> Vec<(String, Option<u64>)> {
    let unix = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let secrets = receiver.activity().secrets.into_iter();
    secrets.map(|secret| (secret.label, secret.last_used.map(unix))).collect()
}

#[derive(Debug, Clone, Default)]
struct SetClock(Arc<std::sync::atomic::AtomicU64>);

impl crate::Clock for SetClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0.load(std::sync::atomic::Ordering::Relaxed))
    }
}

#[tokio::test]
async fn a_secret_keeps_the_time_of_its_last_use_with_its_label() {
    let clock = SetClock::default();
    let at = |seconds| clock.0.store(seconds, std::sync::atomic::Ordering::Relaxed);
    let builder = Receiver::builder("in", custom(old())).store(MemoryStore::new(10)).clock(clock.clone());
    let receiver = builder.build().unwrap();
    let is = |label: &str, used| (label.to_owned(), used);
    assert_eq!((uses(&receiver), receiver.activity().last_genuine), (vec![is("2025", None)], None));
    at(100);
    let delivery = deliver(&receiver, OLD, "1").unwrap();
    assert_eq!(uses(&receiver), [is("2025", None)], "not before the handler has finished");
    handled(&receiver, delivery).await.unwrap();
    assert_eq!(uses(&receiver.clone()), [is("2025", Some(100))]);
    assert_eq!(receiver.activity().last_genuine, Some(UNIX_EPOCH + Duration::from_secs(100)));

    let began = deliver(&receiver, OLD, "2").unwrap();
    receiver.replace_secrets(custom(Secrets::new(new()).also(old()).unwrap())).unwrap();
    assert_eq!(uses(&receiver), [is("2026", None), is("2025", Some(100))]);
    // A delivery that began before the replacement.
    at(200);
    handled(&receiver, began).await.unwrap();
    assert_eq!(uses(&receiver), [is("2026", None), is("2025", Some(200))]);
    let late = deliver(&receiver, OLD, "3").unwrap();
    at(300);
    handled(&receiver, deliver(&receiver, NEW, "4").unwrap()).await.unwrap();
    receiver.replace_secrets(custom(new())).unwrap();
    assert_eq!(uses(&receiver), [is("2026", Some(300))], "a removed secret is missing");
    at(400);
    handled(&receiver, late).await.unwrap();
    assert_eq!(uses(&receiver), [is("2026", Some(300))], "also if it was used after that");
    receiver.replace_secrets(custom(old())).unwrap();
    assert_eq!(uses(&receiver), [is("2025", None)]);
    assert_eq!(receiver.activity().last_genuine, Some(UNIX_EPOCH + Duration::from_secs(400)));
}

#[test]
fn the_secrets_of_the_test_mode_are_marked() {
    let fasten = Fasten::live(old()).and_test(new());
    let receiver = Receiver::builder("in", fasten).store(NoDedupe).build().unwrap();
    let secrets = receiver.activity().secrets.into_iter();
    let marks: Vec<_> = secrets.map(|secret| (secret.label, secret.is_test)).collect();
    assert_eq!(marks, [("2025".to_owned(), false), ("2026".to_owned(), true)]);
}
