//! Every provider, and the keys that only some providers have.

use std::time::{Duration, Instant};

use http::Request;
use medhook::testing::{self, Sample, Signing};
use medhook::{Bytes, Encoding};
use serde_json::Value;

use crate::program::{Folder, Instance, OTHER_SECRET, PATIENCE, SECRET};
use crate::sender::{Sender, now};

const PATH: &str = "/in";

/// Sends the requests to an endpoint with these keys. Returns the `outcome`, `reason` and `kind` of their lines, and
/// whether the event is unknown or undecodable.
async fn outcomes(keys: &str, requests: &[Request<Bytes>]) -> Vec<String> {
    let folder = Folder::new();
    let config = format!(
        "listen = \"127.0.0.1:0\"\ndrain_delay = \"0s\"\nstore = \"memory\"\n[[endpoint]]\npath = \"{PATH}\"\n\
         secrets = [{{ env = \"TEST_SECRET\" }}]\n{keys}\n"
    );
    let instance = Instance::start(&folder, &config, &["--json"]);
    let sender = Sender::new();
    let mut outcomes = Vec::new();
    for request in requests {
        let status = sender.send(instance.address, request).await.unwrap();
        let line: Value = serde_json::from_str(instance.lines(outcomes.len() + 1).last().unwrap()).unwrap();
        assert_eq!(line["status"], status, "{line}");
        let word = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
        let decoding = match (&line["unknown"], &line["undecodable"]) {
            (Value::Bool(true), _) => " unknown",
            (_, Value::Bool(true)) => " undecodable",
            _ => "",
        };
        outcomes.push(format!("{} {} {}{decoding}", word("outcome"), word("reason"), word("kind")));
    }
    outcomes
}

fn request(sample: Sample) -> Request<Bytes> {
    sample.secret(SECRET).at(now()).request(PATH)
}

fn hmac(prefix: &str, encoding: Encoding) -> Signing {
    Signing::of(medhook::HmacSha256Body::new("x-signature").prefix(prefix).encoding(encoding))
}

#[tokio::test(flavor = "multi_thread")]
async fn fasten_events_are_accepted_for_the_configured_mode() {
    let of = |mode: &str| {
        let body = format!(r#"{{"id":"{mode}","type":"webhook.test","api_mode":"{mode}","data":{{}}}}"#);
        testing::fasten("webhook.test").secret(SECRET).at(now()).body(body).request(PATH)
    };
    let requests = [of("live"), of("test")];
    let handled = "handled - webhook.test";
    let ignored = "ignored wrong_mode webhook.test";
    let mismatch = "rejected secret_mode_mismatch webhook.test";
    for (mode, expected) in [
        ("", [handled, ignored]),
        ("mode = \"live\"", [handled, ignored]),
        ("mode = \"test\"", [mismatch, handled]),
        ("mode = \"any\"", [handled, handled]),
    ] {
        assert_eq!(outcomes(&format!("provider = \"fasten\"\n{mode}"), &requests).await, expected, "{mode}");
    }
    let body = r#"{"id":"1","type":"webhook.test","api_mode":"test","data":{}}"#;
    let test = testing::fasten("webhook.test").secret(OTHER_SECRET).at(now()).body(body).request(PATH);
    let both = "provider = \"fasten\"\ntest_secrets = [{ env = \"TEST_OTHER_SECRET\" }]";
    assert_eq!(outcomes(both, &[of("live"), of("test"), test]).await, [handled, ignored, handled]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deviations_from_the_documentation_are_logged() {
    let folder = Folder::new();
    let config = format!(
        "listen = \"127.0.0.1:0\"\nstore = \"memory\"\n[[endpoint]]\npath = \"{PATH}\"\n\
         provider = \"healthsync\"\nsecrets = [{{ env = \"TEST_SECRET\" }}]\n"
    );
    let instance = Instance::start(&folder, &config, &[]);
    let sender = Sender::new();
    for (id, data) in [("1", "[1]"), ("2", r#"{"object":{"filename":[],"file_size":"large"}}"#)] {
        let body = format!(r#"{{"id":"{id}","type":"document.uploaded","created_at":{},"data":{data}}}"#, now());
        let delivery = testing::healthsync("document.uploaded").secret(SECRET).body(body).request(PATH);
        assert_eq!(sender.send(instance.address, &delivery).await.unwrap(), 200);
    }
    for message in ["a webhook event could not be decoded", "fields of a webhook event are not as documented"] {
        let began = Instant::now();
        while !instance.stderr().iter().any(|line| line.contains(message)) {
            assert!(began.elapsed() < PATIENCE, "{message}: {:?}", instance.stderr());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn swapped_secrets_of_fasten_lose_no_live_event_and_are_logged() {
    let folder = Folder::new();
    // The live secret and the test secret are swapped.
    let config = format!(
        "listen = \"127.0.0.1:0\"\nstore = \"memory\"\n[[endpoint]]\npath = \"{PATH}\"\nprovider = \"fasten\"\n\
         secrets = [{{ env = \"TEST_OTHER_SECRET\" }}]\ntest_secrets = [{{ env = \"TEST_SECRET\" }}]\n"
    );
    let instance = Instance::start(&folder, &config, &["--json"]);
    let sender = Sender::new();
    let of = |mode: &str, secret: &str| {
        let body = format!(r#"{{"id":"canary","type":"webhook.test","api_mode":{mode},"data":{{}}}}"#);
        testing::fasten("webhook.test").secret(secret).at(now()).body(body).request(PATH)
    };
    for mode in [r#""live""#, "null", r#""sandbox""#] {
        assert_eq!(sender.send(instance.address, &of(mode, SECRET)).await.unwrap(), 503, "{mode}");
    }
    assert_eq!(sender.send(instance.address, &of(r#""test""#, OTHER_SECRET)).await.unwrap(), 200);
    let lines = instance.lines(4);
    for line in &lines[..3] {
        assert!(line.contains(r#""outcome":"rejected","reason":"secret_mode_mismatch""#), "{line}");
    }
    assert!(lines[3].contains(r#""outcome":"ignored","reason":"wrong_mode""#), "{}", lines[3]);
    let warned = "the secret labeled \"TEST_SECRET\" is configured as a test secret but verified an event that is not a \
                  test event; configure it as the live secret";
    let began = Instant::now();
    while !instance.stderr().iter().any(|line| line.contains(warned)) {
        assert!(began.elapsed() < PATIENCE, "{:?}", instance.stderr());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let stderr = instance.stderr();
    let explained: Vec<_> = stderr.iter().filter(|line| line.contains(warned)).collect();
    assert_eq!(explained.len(), 1, "{stderr:?}");
    assert!(!stderr.join("\n").contains("canary"), "{stderr:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn azodha_and_cair_are_verified_with_the_configured_scheme() {
    let mut requests = vec![
        request(testing::azodha("BookAppointment").signing(hmac("", Encoding::Hex))),
        request(testing::azodha("BookAppointment").signing(hmac("v1=", Encoding::Base64))),
        request(testing::azodha("BookAppointment").signing(Signing::shared_secret("x-signature"))),
    ];
    let rejected = ["rejected signature_mismatch -", "rejected malformed_header -"];
    let head = |provider: &str, scheme: &str| {
        format!("provider = \"{provider}\"\nheader = \"X-Signature\"\nscheme = \"{scheme}\"\n")
    };
    for (provider, mac, secret) in
        [("azodha", "hmac-sha256", "shared-secret"), ("cair", "hmac-sha256", "shared-secret")]
    {
        if provider == "cair" {
            let sample = || testing::cair("PATIENT_CHART_ANALYSIS_COMPLETE");
            requests = vec![
                request(sample().signing(hmac("", Encoding::Hex))),
                request(sample().signing(hmac("v1=", Encoding::Base64))),
                request(sample().signing(Signing::shared_secret("x-signature"))),
            ];
        }
        for (keys, accepted) in [
            (head(provider, mac), 0),
            (format!("{}encoding = \"hex\"", head(provider, mac)), 0),
            (format!("{}prefix = \"v1=\"\nencoding = \"base64\"", head(provider, mac)), 1),
            (format!("{}prefix = \"v1=\"", head(provider, mac)), 1),
            (head(provider, secret), 2),
        ] {
            for number in 0..requests.len() {
                // One at a time, because later rejections for the same reason do not get their own lines.
                let outcome = outcomes(&keys, &requests[number..=number]).await.remove(0);
                if number == accepted {
                    assert!(outcome.starts_with("handled - "), "{keys}: {number} {outcome}");
                } else {
                    assert!(rejected.contains(&outcome.as_str()), "{keys}: {number} {outcome}");
                }
            }
        }
        // A different encoding than the configured one is rejected.
        let strict = format!("{}encoding = \"base64\"", head(provider, mac));
        assert_eq!(outcomes(&strict, &requests[..1]).await, [rejected[1]]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pin_kind_sets_the_kind_of_an_endpoint() {
    let cair =
        |event: &str| format!("provider = \"cair\"\nheader = \"x-signature\"\nscheme = \"hmac-sha256\"\n{event}");
    let remittance = [request(testing::cair("CLAIMS_REMIT_DENIED").signing(hmac("", Encoding::Hex)))];
    assert_eq!(outcomes(&cair(""), &remittance).await, ["handled - CLAIMS_REMIT_ALL"]);
    let pinned = cair("pin_kind = \"CLAIMS_REMIT_DENIED\"");
    assert_eq!(outcomes(&pinned, &remittance).await, ["handled - CLAIMS_REMIT_DENIED"]);

    let azodha =
        |event: &str| format!("provider = \"azodha\"\nheader = \"x-signature\"\nscheme = \"hmac-sha256\"\n{event}");
    let booked = [request(testing::azodha("BookAppointment").signing(hmac("", Encoding::Hex)))];
    assert_eq!(outcomes(&azodha("pin_kind = \"BookAppointment\""), &booked).await, ["handled - BookAppointment"]);
    assert_ne!(outcomes(&azodha(""), &booked).await, ["handled - BookAppointment"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secrets_of_mediquo_are_expected_in_the_configured_headers() {
    let sample =
        |header: &str| request(testing::mediquo("patient_message_received").signing(Signing::shared_secret(header)));
    let handled = "handled - patient_message_received";
    assert_eq!(outcomes("provider = \"mediquo\"", &[sample("x-webhook-signature")]).await, [handled]);
    let elsewhere = "provider = \"mediquo\"\nheader = \"x-own\"";
    assert_eq!(
        outcomes(elsewhere, &[sample("x-webhook-signature"), sample("x-own")]).await,
        ["rejected missing_header -", handled]
    );
    let two = "provider = \"mediquo\"\nalso_header = \"x-also\"\nalso_secrets = [{ env = \"TEST_OTHER_SECRET\" }]";
    let mut both = sample("x-webhook-signature");
    both.headers_mut().insert("x-also", OTHER_SECRET.parse().unwrap());
    assert_eq!(outcomes(two, &[sample("x-webhook-signature"), both]).await, ["rejected missing_header -", handled]);
}

#[tokio::test(flavor = "multi_thread")]
async fn max_age_limits_the_age_of_events() {
    let old = |seconds: i64| testing::healthsync("document.uploaded").secret(SECRET).at(now() - seconds).request(PATH);
    assert_eq!(outcomes("provider = \"healthsync\"", &[old(5400)]).await, ["handled - document.uploaded"]);
    let strict = "provider = \"healthsync\"\nmax_age = \"1h\"";
    assert_eq!(
        outcomes(strict, &[old(5400), old(1800)]).await,
        ["rejected stale document.uploaded", "handled - document.uploaded"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dedupe_selects_how_duplicates_are_recognized() {
    let keys = |dedupe: &str| {
        format!(
            "provider = \"azodha\"\nheader = \"x-signature\"\nscheme = \"hmac-sha256\"\npin_kind = \"BookAppointment\"\n{dedupe}"
        )
    };
    let sample = || testing::azodha("BookAppointment").signing(hmac("", Encoding::Hex)).secret(SECRET);
    let plain = sample().request(PATH);
    let other_bytes = sample().body([plain.body(), b" ".as_slice()].concat()).request(PATH);
    let requests = [plain.clone(), plain, other_bytes];
    let handled = "handled - BookAppointment";
    let again = "duplicate duplicate BookAppointment";
    for (dedupe, expected) in [
        ("", [handled, handled, handled]),
        ("dedupe = \"id\"", [handled, handled, handled]),
        ("dedupe = \"natural\"", [handled, again, again]),
        ("dedupe = \"bytes\"", [handled, again, handled]),
        ("dedupe = \"off\"", [handled, handled, handled]),
    ] {
        assert_eq!(outcomes(&keys(dedupe), &requests).await, expected, "{dedupe}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_recurs_is_handled_each_time_up_to_a_limit() {
    let keys =
        |more: &str| format!("provider = \"azodha\"\nheader = \"x-signature\"\nscheme = \"hmac-sha256\"\n{more}");
    let count = |count: u8| {
        let body = format!(r#"{{"eventName":"HealthRecordCounter","patientId":"p","count":{count}}}"#);
        testing::azodha("HealthRecordCounter").signing(hmac("", Encoding::Hex)).secret(SECRET).body(body).request(PATH)
    };
    let requests = [count(5), count(6), count(5), count(5)];
    let handled = "handled - HealthRecordCounter";
    let again = "duplicate duplicate HealthRecordCounter";
    let limited = "rejected repeat_limit HealthRecordCounter";
    for (more, expected) in [
        ("", [handled; 4]),
        ("dedupe = \"off\"", [handled; 4]),
        ("max_repeats = 1", [handled, handled, handled, limited]),
        ("max_repeats = 0", [handled, handled, limited, limited]),
        ("dedupe = \"bytes\"", [handled, handled, again, again]),
    ] {
        assert_eq!(outcomes(&keys(more), &requests).await, expected, "{more}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_appointment_is_handled_with_natural_keys() {
    let keys = "provider = \"azodha\"\nheader = \"x-signature\"\nscheme = \"hmac-sha256\"\npin_kind = \"BookAppointment\"\n\
                dedupe = \"natural\"";
    let sample = || testing::azodha("BookAppointment").signing(hmac("", Encoding::Hex)).secret(SECRET);
    let booked = sample().request(PATH);
    let text = String::from_utf8(booked.body().to_vec()).unwrap();
    let moved = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        sample().body(text.replace(from, to)).request(PATH)
    };
    let requests = [
        booked.clone(),
        moved("2026-01-14", "2026-01-15"),
        moved("09:40", "09:45"),
        moved("10:10", "10:15"),
        moved("AT_PRACTICE", "VIDEO"),
        moved("2026-01-14", "2026-01-15"),
    ];
    let handled = "handled - BookAppointment";
    let again = "duplicate duplicate BookAppointment";
    assert_eq!(outcomes(keys, &requests).await, [handled, handled, handled, handled, handled, again]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_provider_works_with_every_scheme() {
    let body = |id: &str, kind: &str| format!(r#"{{"id":"{id}","type":"{kind}","at":"2020-01-01T00:00:00Z"}}"#);
    let signed = |signing: Signing, body: String| {
        let headers = signing.headers(SECRET, "msg_1", &now().to_string(), body.as_bytes()).unwrap();
        let mut request = Request::post(PATH);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.body(Bytes::from(body)).unwrap()
    };
    let pointers = "provider = \"custom\"\nid_pointer = \"/id\"\nkind_pointer = \"/type\"\nknown_kinds = [\"known\"]\n";
    let expected = ["handled - known", "duplicate duplicate known", "handled - new unknown"];
    for (keys, signing) in [
        ("scheme = \"standard-webhooks\"", Signing::standard_webhooks()),
        ("scheme = \"hmac-sha256\"\nheader = \"x-signature\"\nprefix = \"v1=\"", hmac("v1=", Encoding::Hex)),
        ("scheme = \"shared-secret\"\nheader = \"x-signature\"", Signing::shared_secret("x-signature")),
    ] {
        let requests =
            [("1", "known"), ("1", "known"), ("2", "new")].map(|(id, kind)| signed(signing.clone(), body(id, kind)));
        assert_eq!(outcomes(&format!("{pointers}{keys}"), &requests).await, expected, "{keys}");
        let old = format!("{pointers}{keys}\ntime_pointer = \"/at\"\nmax_age = \"1d\"\nprovider_name = \"acme\"");
        assert_eq!(outcomes(&old, &requests[..1]).await, ["rejected stale known"], "{keys}");
    }
}
