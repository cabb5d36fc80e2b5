use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::{
    Cair, Clock, Custom, Envelope, Fasten, Freshness, HealthSync, HmacSha256Body, KindName, MemoryStore, Mode,
    NoDedupe, Secret, SecretEncoding, Secrets, SharedSecret, SignatureScope, StandardWebhooks, cair,
};

const HOUR: Duration = Duration::from_secs(3600);

fn secret() -> Secret {
    Secret::new("MDEyMzQ1Njc4OWFiY2RlZg==").unwrap().labeled("key").unwrap()
}

fn custom() -> Custom {
    Custom::new("acme", SharedSecret::new("x-key"), secret()).id_pointer("/id").kind_pointer("/kind")
}

fn builder(provider: impl Provider) -> Builder {
    Receiver::builder("in", provider).store(MemoryStore::new(10))
}

fn problem(builder: Builder) -> String {
    let message = builder.build().map(drop).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message}");
    message
}

#[test]
fn each_configuration_error_is_one_line_and_shows_no_secret() {
    let seconds = Duration::from_secs;
    let hmac = Custom::new("acme", HmacSha256Body::new("x-sig"), secret());
    let event = Freshness::EventTime { max_age: HOUR, max_skew: HOUR };
    for (builder, words) in [
        (Receiver::builder("", custom()).store(NoDedupe), "receiver name"),
        (Receiver::builder("In", custom()).store(NoDedupe), "receiver name"),
        (Receiver::builder("a/b", custom()).store(NoDedupe), "receiver name"),
        (Receiver::builder("x".repeat(65), custom()).store(NoDedupe), "receiver name"),
        (builder(Custom::new("Acme", SharedSecret::new("x-key"), secret())), "provider name"),
        (Receiver::builder("in", custom()), "no store"),
        (builder(custom()).freshness(Freshness::STANDARD_WEBHOOKS), "needs a scheme that signs a timestamp"),
        (builder(hmac).freshness(event), "needs bodies that contain the event's time"),
        (builder(custom().id_pointer("id")), "must start with `/`"),
        (builder(custom().known_kinds([&*"k".repeat(257).leak()])), "at most 256 bytes, but one has 257"),
        (builder(Custom::new("acme", SharedSecret::new("x key"), secret())), "is not a valid header name"),
        (builder(Fasten::live(Secret::new("no base64!").unwrap().labeled("key").unwrap())), "secret key: not base64"),
        (builder(Fasten::live(secret()).and_test(secret())), "the same as key"),
        // Shorter than the retry horizon, and shorter than the freshness window.
        (builder(Fasten::live(secret())).retention(24 * HOUR), "retried or replayed for 90000 s"),
        (builder(HealthSync::new(secret())).retention(2 * HOUR), "retried or replayed for 7502 s"),
        (builder(custom()).body_limit(0), "body_limit must be greater than 0"),
        (builder(custom()).max_in_flight(0), "max_in_flight must be greater than 0"),
        (builder(custom()).body_timeout(seconds(0)), "body_timeout must be greater than 0"),
        (builder(custom()).handler_timeout(seconds(0)), "handler_timeout must be greater than 0"),
        (builder(custom()).lease(Duration::from_millis(99)), "lease must be between"),
        (builder(custom()).lease(HOUR + seconds(1)), "lease must be between"),
        (builder(custom()).expect_every(seconds(0)), "expect_every must be at least 1 min"),
        (builder(custom()).expect_every(Duration::from_millis(59_999)), "expect_every must be at least 1 min"),
        (
            builder(HealthSync::new(secret()))
                .freshness(Freshness::EventTime { max_age: 367 * 24 * HOUR, max_skew: HOUR }),
            "longer than a year",
        ),
    ] {
        let problem = problem(builder);
        assert!(problem.contains(words), "{problem:?} instead of {words:?}");
        assert!(!problem.contains("MDEy"), "{problem}");
    }
}

#[test]
fn options_at_their_limits_are_accepted() {
    for builder in [
        Receiver::builder("x".repeat(64), custom()).store(NoDedupe),
        Receiver::builder("0.clinic_7-z", custom()).store(NoDedupe),
        builder(Fasten::live(secret())).retention(25 * HOUR),
        builder(HealthSync::new(secret())).retention(Duration::from_secs(7_502)),
        builder(custom().known_kinds([&*"k".repeat(256).leak()])),
        builder(custom()).lease(Duration::from_millis(100)),
        builder(custom()).lease(HOUR),
        builder(custom()).expect_every(Duration::from_secs(60)),
        builder(custom()).expect_every(Duration::MAX),
    ] {
        assert!(builder.build().is_ok());
    }
}

#[test]
fn retention_is_longer_than_retries_and_replays_are_accepted() {
    let retention = |builder: Builder| {
        let retention = builder.build().unwrap().0.handling.settings().retention;
        (retention.replay.as_secs(), retention.total)
    };
    assert_eq!(retention(builder(Fasten::live(secret()))), (602, 72 * HOUR));
    assert_eq!(retention(builder(HealthSync::new(secret()))), (7_502, 24 * HOUR));
    let signs_time = Custom::new("acme", StandardWebhooks::new(), secret());
    assert_eq!(retention(builder(signs_time)), (602, 72 * HOUR));
    assert_eq!(retention(builder(custom())), (24 * 3600, 24 * HOUR), "accepted at any age, so none is forgotten early");
    let long = Freshness::EventTime { max_age: 48 * HOUR, max_skew: HOUR };
    let grown = builder(HealthSync::new(secret())).freshness(long);
    let all = Duration::from_secs(49 * 3600 + 2);
    assert_eq!(retention(grown), (all.as_secs(), all), "a longer window extends the retention");
}

#[test]
fn debug_identifies_the_receiver_and_shows_no_secret() {
    let builder = builder(custom());
    let built = format!("{builder:?}");
    let receiver = builder.build().unwrap();
    assert_eq!((receiver.name(), receiver.provider()), ("in", "acme"));
    let receiver = format!("{receiver:?}");
    for (shown, begins) in [(&built, "Builder { name: \"in\", "), (&receiver, "Receiver { name: \"in\", ")] {
        assert!(shown.starts_with(begins) && shown.contains("\"acme\""), "{shown}");
        assert!(!shown.contains("MDEy"), "{shown}");
    }
    assert!(receiver.contains("freshness: Unchecked, store: MemoryStore"), "{receiver}");
    let dedupe = [Dedupe::by_id(), Dedupe::by_bytes(), Dedupe::off(), Dedupe::by(|_, _| None)];
    assert_eq!(format!("{dedupe:?}"), "[Dedupe::by_id(), Dedupe::by_bytes(), Dedupe::off(), Dedupe::by(..)]");
}

#[test]
fn a_short_secret_causes_a_warning_with_its_label() {
    let short = Custom::new(
        "acme",
        SharedSecret::new("x-key"),
        Secret::new("0123456789abcde").unwrap().labeled("brief").unwrap(),
    );
    let receiver = builder(short).build().unwrap();
    assert_eq!(receiver.warnings(), ["receiver in: secret brief is shorter than 16 bytes and can be guessed"]);
    assert!(builder(custom()).build().unwrap().warnings().is_empty());
}

#[test]
fn a_secret_that_looks_like_a_mistake_causes_a_warning_that_literal_silences() {
    let quoted = || Secret::new("'hunter2hunter2'").unwrap().labeled("KEY").unwrap();
    let warnings = |custom| builder(custom).build().unwrap().warnings().to_vec();
    let warning =
        "receiver in: secret KEY is in quotation marks; remove them, or call Secret::literal if the text is intended";
    assert_eq!(warnings(Custom::new("acme", HmacSha256Body::new("x-mac"), quoted())), [warning]);
    assert_eq!(warnings(Custom::new("acme", HmacSha256Body::new("x-mac"), quoted().literal())), [""; 0]);
    let further = SharedSecret::new("x-key").also_header("x-other", quoted());
    assert_eq!(warnings(Custom::new("acme", further, Secret::new("a long random text").unwrap())), [warning]);

    let hex = || Secret::new("whsec_000102030405060708090a0b0c0d0e0f").unwrap().labeled("HEX").unwrap();
    let [warning] = &*warnings(Custom::new("acme", StandardWebhooks::new(), hex())) else { panic!("one warning") };
    assert!(warning.starts_with("receiver in: secret HEX is `whsec_` and hexadecimal digits"), "{warning}");
    assert_eq!(warnings(Custom::new("acme", StandardWebhooks::new(), hex().literal())), [""; 0]);
    assert_eq!(warnings(Custom::new("acme", HmacSha256Body::new("x-mac"), hex())), [""; 0]);
    let decoded = StandardWebhooks::new().secret_encoding(SecretEncoding::Hex);
    assert_eq!(warnings(Custom::new("acme", decoded, hex())), [""; 0]);
}

#[test]
fn a_max_age_below_the_retry_horizon_causes_a_warning() {
    let warnings = |max_age| {
        let freshness = Freshness::EventTime { max_age: Duration::from_secs(max_age), max_skew: HOUR };
        builder(HealthSync::new(secret())).freshness(freshness).build().unwrap().warnings().to_vec()
    };
    assert_eq!(warnings(5_780), [""; 0]);
    let warning = "receiver in: max_age of 5779 s is shorter than the provider's retry horizon of 5780 s; late \
                   retries will be rejected and their events lost";
    assert_eq!(warnings(5_779), [warning]);
    assert!(builder(HealthSync::new(secret())).build().unwrap().warnings().is_empty());
}

#[test]
fn event_time_is_rejected_for_a_pinned_kind_without_one() {
    let freshness = Freshness::EventTime { max_age: HOUR, max_skew: HOUR };
    let cair = |kind| builder(Cair::hmac_sha256("x-sig", secret()).pin_kind(kind)).freshness(freshness);
    assert!(problem(cair(cair::Kind::AiPhoneCall)).contains("Freshness::EventTime needs bodies"));
    assert!(cair(cair::Kind::ClaimStatusChange).build().is_ok());
}

fn delivery(receiver: &Receiver, body: &'static str) -> Delivery {
    let headers = [("x-key", "MDEyMzQ1Njc4OWFiY2RlZg==")];
    receiver.open(receiver.verify(&headers, Bytes::from(body)).unwrap()).unwrap()
}

fn event_key(receiver: &Receiver, body: &'static str) -> crate::EventKey {
    delivery(receiver, body).event_key()
}

async fn outcome(receiver: &Receiver, body: &'static str) -> Result<u16, Reason> {
    let admitted = receiver.admit(delivery(receiver, body)).map_err(|rejection| rejection.reason())?;
    admitted.run(async { 200 }, |_| true).await.map_err(|rejection| rejection.reason())
}

#[tokio::test]
async fn the_dedupe_rule_decides_which_deliveries_are_duplicates() {
    let (one, same, other) = (r#"{"id": 1, "kind": "a"}"#, r#"{"kind": "b", "id": 1}"#, r#"{"id": 2, "kind": "a"}"#);

    let by_id = builder(custom()).build().unwrap();
    assert_eq!(outcome(&by_id, one).await, Ok(200));
    assert_eq!(outcome(&by_id, same).await, Err(Reason::Duplicate));
    assert_eq!(outcome(&by_id, other).await, Ok(200));

    assert!(Receiver::builder("in", custom()).dedupe(Dedupe::off()).build().is_ok(), "no store is needed");
    let off = builder(custom()).dedupe(Dedupe::off()).build().unwrap();
    assert_eq!(outcome(&off, one).await, Ok(200));
    assert_eq!(outcome(&off, one).await, Ok(200));
    assert_ne!(event_key(&off, one), event_key(&off, one), "an application may deduplicate by this key");

    for (dedupe, without_id) in
        [(Dedupe::by_id(), Ok(200)), (Dedupe::by(|_, _| None), Ok(200)), (Dedupe::by_bytes(), Err(Reason::Duplicate))]
    {
        let receiver = builder(custom()).dedupe(dedupe).build().unwrap();
        for body in [r#"{"kind": "a"}"#, "not JSON"] {
            assert_eq!(outcome(&receiver, body).await, Ok(200));
            assert_eq!(outcome(&receiver, body).await, without_id, "{body}");
        }
        assert_eq!(outcome(&receiver, one).await, Ok(200));
        assert_eq!(outcome(&receiver, one).await, Err(Reason::Duplicate), "it has an id");
    }

    let own = |envelope: &Envelope, _: &Bytes| {
        envelope.kind.as_ref().filter(|kind| kind.as_str() == "a").map(|kind| kind.as_str().to_owned())
    };
    let by_kind = builder(custom()).dedupe(Dedupe::by(own)).build().unwrap();
    assert_eq!(outcome(&by_kind, one).await, Ok(200));
    assert_eq!(outcome(&by_kind, other).await, Err(Reason::Duplicate));
    assert_eq!(outcome(&by_kind, same).await, Ok(200), "deduplicated by id if the rule returns no text");
    assert_eq!(outcome(&by_kind, same).await, Err(Reason::Duplicate));
}

#[tokio::test]
async fn hashing_a_long_body_yields_to_other_tasks() {
    let receiver = builder(custom()).build().unwrap();
    let turns = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = turns.clone();
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    });
    // A longer one is parsed in another thread, and other tasks run then, too.
    let body = [Ok::<_, std::convert::Infallible>(Bytes::from(vec![b' '; LONGEST_INLINE]))];
    let headers = [("x-key", "MDEyMzQ1Njc4OWFiY2RlZg==")];
    let received = receiver.receive(&RequestHead::new("POST", "/", &headers), futures_util::stream::iter(body)).await;
    assert!(matches!(received, Ok(Received::Delivery(_))));
    assert!(turns.load(std::sync::atomic::Ordering::SeqCst) >= 3, "the body is hashed in four parts");
    other.abort();
}

#[test]
fn a_delivery_that_another_receiver_verified_is_rejected() {
    let (one, other) = (builder(custom()).build().unwrap(), builder(custom()).build().unwrap());
    let headers = [("x-key", "MDEyMzQ1Njc4OWFiY2RlZg==")];
    let verified = || one.verify(&headers, Bytes::from_static(b"{}")).unwrap();
    assert_eq!(other.open(verified()).unwrap_err().reason(), Reason::SignatureMismatch);
    let delivery = one.open(verified()).unwrap();
    assert_eq!(other.admit(delivery.clone()).unwrap_err().reason(), Reason::SignatureMismatch);
    assert!(one.clone().admit(delivery).is_ok());
}

#[test]
fn encoded_bodies_are_rejected() {
    let receiver = builder(custom()).build().unwrap();
    let begun = |headers: &[(&str, &str)]| {
        let key = [("x-key", "MDEyMzQ1Njc4OWFiY2RlZg==")];
        receiver
            .begin(&RequestHead::new("POST", "/", [&key, headers].concat().as_slice()))
            .map(drop)
            .map_err(|rejection| rejection.reason())
    };
    assert_eq!(begun(&[]), Ok(()));
    for plain in ["identity", "Identity", ""] {
        assert_eq!(begun(&[("content-encoding", plain)]), Ok(()), "{plain:?}");
        let twice = [("content-encoding", plain), ("content-encoding", plain)];
        assert_eq!(begun(&twice), Err(Reason::ContentEncoding), "{plain:?} twice");
    }
    for packed in ["gzip", "identity, gzip", "identity "] {
        assert_eq!(begun(&[("content-encoding", packed)]), Err(Reason::ContentEncoding), "{packed:?}");
    }
}

#[test]
fn a_content_length_over_the_limit_is_rejected_before_the_body_is_read() {
    let receiver = builder(custom()).body_limit(10).build().unwrap();
    let begun = |length: &str| {
        let headers = [("x-key", "MDEyMzQ1Njc4OWFiY2RlZg=="), ("content-length", length)];
        receiver.begin(&RequestHead::new("POST", "/", &headers)).map(drop).map_err(|rejection| rejection.reason())
    };
    // A malformed length is the server's concern; the bytes are counted in any case.
    for length in ["0", "9", "10", "0010", "", "-1", "+11", "1e9", "11 "] {
        assert_eq!(begun(length), Ok(()), "{length:?}");
    }
    for length in ["11", "0011", "70368744177664", "99999999999999999999999999"] {
        assert_eq!(begun(length), Err(Reason::TooLarge), "{length:?}");
    }
}

#[test]
fn a_secret_is_accepted_for_its_own_mode_only() {
    let test = || Secret::new("ZmVkY2JhOTg3NjU0MzIxMA==").unwrap();
    let receiver = builder(Fasten::live(secret()).and_test(test())).build().unwrap();
    let checked = |secret, mode: Option<&str>| {
        envelope::check_mode(receiver.generation().mode(secret), mode.map(Mode::from).as_ref())
    };
    for mode in [Some("live"), Some("rehearsal"), None] {
        assert_eq!(checked(0, mode), Ok(()), "{mode:?}");
        // The configuration must be wrong: the provider signs live events with the live secret only.
        assert_eq!(checked(1, mode), Err(Reason::SecretModeMismatch), "{mode:?}");
    }
    assert_eq!(checked(0, Some("test")), Err(Reason::WrongMode));
    assert_eq!(checked(1, Some("test")), Ok(()));

    let live = Secrets::new(secret()).also(Secret::new("YWFhYWFhYWFhYWFhYWFhYQ==").unwrap()).unwrap();
    let receiver = builder(Fasten::live(live).and_test(test())).build().unwrap();
    let generation = receiver.generation();
    let modes = [0, 1, 2].map(|secret| generation.mode(secret).cloned());
    assert_eq!(modes, [Some(Mode::Live), Some(Mode::Live), Some(Mode::Test)]);
}

#[test]
fn a_body_in_pieces_is_collected_completely() {
    let receiver = builder(custom()).build().unwrap();
    let headers = [("x-key", "MDEyMzQ1Njc4OWFiY2RlZg==")];
    for pieces in [&["", "{}"][..], &["{", "}"], &["{", "", "}"], &["", "", "{", "", "", "}", ""]] {
        let mut intake = receiver.begin(&RequestHead::new("POST", "/", &headers)).unwrap();
        pieces.iter().for_each(|piece| intake.push(Bytes::from_static(piece.as_bytes())).unwrap());
        let verified = intake.finish().unwrap();
        assert_eq!((&**verified.body(), verified.secret_label()), (&b"{}"[..], "key"), "{pieces:?}");
    }
}

#[test]
fn a_body_in_one_piece_is_not_copied() {
    let receiver = builder(custom()).build().unwrap();
    let headers = [("x-key", "MDEyMzQ1Njc4OWFiY2RlZg==")];
    let body = Bytes::from_static(b"{}");
    for pieces in [[Bytes::new(), body.clone()], [body.clone(), Bytes::new()]] {
        let mut intake = receiver.begin(&RequestHead::new("POST", "/", &headers)).unwrap();
        pieces.into_iter().for_each(|piece| intake.push(piece).unwrap());
        assert_eq!(format!("{intake:?}"), "Intake { bytes: 2, .. }");
        assert_eq!(intake.finish().unwrap().body().as_ptr(), body.as_ptr());
    }
}

#[test]
fn a_body_as_long_as_the_limit_is_accepted() {
    let receiver = builder(custom()).body_limit(10).build().unwrap();
    let headers = [("x-key", "MDEyMzQ1Njc4OWFiY2RlZg==")];
    let verified =
        |body: &'static str| receiver.verify(&headers, Bytes::from(body)).map(|verified| verified.into_body());
    assert_eq!(verified("{        }").unwrap(), "{        }");
    assert_eq!(verified("{         }").unwrap_err().reason(), Reason::TooLarge);
}

#[test]
fn a_body_that_exceeded_the_limit_stays_rejected() {
    let receiver = builder(custom()).body_limit(10).build().unwrap();
    let headers = [("x-key", "MDEyMzQ1Njc4OWFiY2RlZg==")];
    let mut intake = receiver.begin(&RequestHead::new("POST", "/", &headers)).unwrap();
    intake.push(Bytes::from_static(b"{}")).unwrap();
    assert_eq!(intake.push(Bytes::from_static(b"          ")).unwrap_err().reason(), Reason::TooLarge);
    assert_eq!(intake.push(Bytes::from_static(b" ")).unwrap_err().reason(), Reason::TooLarge);
    assert_eq!(intake.finish().unwrap_err().reason(), Reason::TooLarge);
}

#[test]
fn a_verified_body_has_scope_id_time_and_secret_of_its_signature() {
    let verifying = Secret::new("ZmVkY2JhOTg3NjU0MzIxMA==").unwrap().labeled("verifying").unwrap();
    let fasten = Fasten::live(secret()).and_test(verifying);
    let receiver = builder(fasten).clock(At(1_700_000_000)).build().unwrap();
    // The same delivery as in the tests of the schemes.
    let headers = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", "1700000000"),
        ("webhook-signature", "v1,wTdLt8XCJKOQ0jtBkmOY3r3d59vrapVH4YnSlhoh0uE="),
    ];
    let verified = receiver.verify(&headers, Bytes::from_static(b"{}")).unwrap();
    assert_eq!((verified.signature_scope(), &verified.body()[..]), (SignatureScope::BodyAndTime, &b"{}"[..]));
    assert_eq!((verified.message_id(), verified.attempted_at()), (Some("msg_1"), Some(1_700_000_000)));
    assert_eq!((verified.secret_label(), verified.secret_index()), ("verifying", 1));
    assert_eq!(
        format!("{verified:?}"),
        r#"Verified { signature_scope: BodyAndTime, secret: "verifying", body_len: 2, .. }"#
    );
    assert_eq!(verified.into_body(), "{}");
}

/// A clock that always returns the same time.
#[derive(Debug)]
struct At(u64);

impl Clock for At {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0)
    }
}

#[test]
fn every_event_of_a_custom_provider_needs_the_configured_time() {
    let freshness = Freshness::EventTime { max_age: HOUR, max_skew: HOUR };
    let receiver = builder(custom().time_pointer("/at")).freshness(freshness).clock(At(1_700_000_000)).build().unwrap();
    let headers = [("x-key", "MDEyMzQ1Njc4OWFiY2RlZg==")];
    let opened = |body: &'static str| {
        let opened = receiver.open(receiver.verify(&headers, Bytes::from(body)).unwrap());
        opened.map(drop).map_err(|rejection| rejection.reason())
    };
    assert_eq!(opened(r#"{"at": 1699996400}"#), Ok(()));
    assert_eq!(opened(r#"{"at": 1699996399}"#), Err(Reason::Stale));
    assert_eq!(opened(r#"{"at": 1700003600}"#), Ok(()));
    assert_eq!(opened(r#"{"at": 1700003601}"#), Err(Reason::InTheFuture));
    assert_eq!(opened("{}"), Err(Reason::TimeMissing));
}

#[test]
fn only_documented_kinds_of_a_provider_need_a_time() {
    let receiver = builder(HealthSync::new(secret())).build().unwrap();
    let fresh = |kind| receiver.0.freshness_rule.check_event(&Envelope { kind, ..Envelope::default() }, || 0);
    assert_eq!(fresh(Some(KindName::documented("document.uploaded"))), Err(Reason::TimeMissing));
    assert_eq!(fresh(Some(KindName::unknown("ping".to_owned()))), Ok(fresh::Age::Unknown));
    assert_eq!(fresh(None), Ok(fresh::Age::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_body_of_endless_empty_pieces_times_out() {
    let receiver = builder(custom()).body_timeout(Duration::from_millis(50)).build().unwrap();
    let pieces = futures_util::stream::repeat_with(|| Ok::<_, std::convert::Infallible>(Bytes::new()));
    // Paused time advances by itself only when every task is idle, and this one never is.
    let mover = tokio::spawn(async {
        loop {
            tokio::time::advance(Duration::from_millis(1)).await;
        }
    });
    let headers = [("x-key", "MDEyMzQ1Njc4OWFiY2RlZg==")];
    let rejection = receiver.receive(&RequestHead::new("POST", "/", &headers), pieces).await.unwrap_err();
    assert_eq!(rejection.reason(), Reason::BodyTimeout);
    mover.abort();
}

/// Verifies and opens a correctly signed Fasten delivery of this mode.
#[cfg(feature = "testing")]
fn opened(receiver: &Receiver, secret: &str, mode: &str) -> Result<(), Rejection> {
    let body = format!(r#"{{"id":"1","type":"webhook.test","api_mode":{mode},"data":{{}}}}"#);
    let request = crate::testing::fasten("webhook.test").secret(secret).body(body).request("/");
    receiver.open(receiver.verify(request.headers(), request.body().clone())?).map(drop)
}

#[cfg(feature = "testing")]
#[test]
fn an_event_that_is_not_a_test_event_is_answered_with_503_under_a_test_secret() {
    const LIVE: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
    const TEST: &str = "ZmVkY2JhOTg3NjU0MzIxMA==";
    let of = |label: &str, text: &str| Secret::new(text).unwrap().labeled(label).unwrap();
    let alone = builder(Fasten::test(of("test", TEST))).build().unwrap();
    let both = builder(Fasten::live(of("live", LIVE)).and_test(of("test", TEST))).build().unwrap();
    for mode in [r#""live""#, "null", r#""""#, r#""rehearsal""#, r#""TEST""#, "{}"] {
        for receiver in [&alone, &both] {
            let rejection = opened(receiver, TEST, mode).unwrap_err();
            assert_eq!(rejection.reason(), Reason::SecretModeMismatch, "{mode}");
            assert_eq!(rejection.reason().as_str(), "secret_mode_mismatch");
            assert_eq!(rejection.reason().outcome(), crate::Outcome::Rejected);
            assert_eq!((rejection.status().as_u16(), rejection.kind_label()), (503, "webhook.test"), "{mode}");
            assert_eq!(rejection.header().unwrap().0, http::header::RETRY_AFTER, "{mode}");
        }
        assert!(opened(&both, LIVE, mode).is_ok(), "{mode}");
    }
    for receiver in [&alone, &both] {
        assert!(opened(receiver, TEST, r#""test""#).is_ok());
    }
    // A test event under the live secret may come from the provider's simulator and is ignored.
    let ignored = opened(&both, LIVE, r#""test""#).unwrap_err();
    assert_eq!((ignored.reason(), ignored.status().as_u16()), (Reason::WrongMode, 200));
    let any = builder(Fasten::any_mode(of("any", TEST))).build().unwrap();
    for mode in [r#""live""#, r#""test""#, "null", r#""rehearsal""#] {
        assert!(opened(&any, TEST, mode).is_ok(), "{mode}");
    }
}
