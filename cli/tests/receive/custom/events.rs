//! Ids and kinds in unsigned headers, and CloudEvents.

use medhook::testing::Signing;
use medhook::{HmacSha256Body, SchemeConfig};

use super::{Running, config, signed};
use crate::program::{Folder, SECRET, ends};
use crate::sender::Sender;

const SCHEME: &str = "scheme = \"hmac-sha256\"\nheader = \"x-sig\"\nknown_kinds = [\"ready\"]\n";

/// Sends deliveries with these headers and bodies, and returns their outcomes.
async fn outcomes(keys: &str, deliveries: &[(&[(&'static str, &str)], &str)]) -> Vec<String> {
    let (running, sender) = (Running::with(&format!("{SCHEME}{keys}")), Sender::new());
    let signing = Signing::from(&SchemeConfig::from(HmacSha256Body::new("x-sig")));
    for (headers, body) in deliveries {
        let mut request = signed(&signing, SECRET, body);
        for (name, value) in *headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        sender.send(running.instance.address, &request).await.unwrap();
    }
    (1..=deliveries.len()).map(|number| running.outcome(number)).collect()
}

const HANDLED: &str = "handled - ready";
const AGAIN: &str = "duplicate duplicate ready";

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_id_counts_together_with_the_body() {
    let keys = "unsigned_id_header = \"X-Trace\"\nunsigned_kind_header = \"X-Kind\"";
    let one: &[_] = &[("x-trace", "1"), ("x-kind", "ready")];
    let other: &[_] = &[("x-trace", "2"), ("x-kind", "ready")];
    let deliveries = [(one, "{}"), (one, "{}"), (other, "{}"), (one, "[]")];
    assert_eq!(outcomes(keys, &deliveries).await, [HANDLED, AGAIN, HANDLED, HANDLED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn max_repeats_limits_unsigned_ids_also_where_bytes_are_compared() {
    let trace = "unsigned_id_header = \"X-Trace\"\nunsigned_kind_header = \"X-Kind\"\n";
    let [one, two, three] = ["1", "2", "3"].map(|id| [("x-trace", id), ("x-kind", "ready")]);
    let deliveries = [(&one[..], "{}"), (&one, "{}"), (&two, "{}"), (&three, "{}")];
    let limited = [HANDLED, AGAIN, HANDLED, "rejected repeat_limit ready"];
    for dedupe in ["", "dedupe = \"bytes\"\n"] {
        assert_eq!(outcomes(&format!("{trace}{dedupe}max_repeats = 1"), &deliveries).await, limited, "{dedupe}");
    }
    let [one, two, three] = ["1", "2", "3"].map(|id| [("ce-source", "lab"), ("ce-id", id), ("ce-type", "ready")]);
    let deliveries = [(&one[..], "{}"), (&one, "{}"), (&two, "{}"), (&three, "{}")];
    let keys = "cloud_events = \"binary-unsigned\"\ndedupe = \"bytes\"\nmax_repeats = 1";
    assert_eq!(outcomes(keys, &deliveries).await, limited);
}

#[test]
fn max_repeats_is_rejected_where_it_has_no_effect() {
    let trace = "unsigned_id_header = \"X-Trace\"\n";
    for keys in [
        "dedupe = \"bytes\"",
        "cloud_events = \"structured\"\ndedupe = \"bytes\"",
        "unsigned_kind_header = \"X-Kind\"\ndedupe = \"bytes\"",
        &format!("{trace}dedupe = \"off\""),
    ] {
        let output = ends(&Folder::new(), &config(&format!("{SCHEME}{keys}\nmax_repeats = 1")), &["--check"]);
        assert_eq!(output.status.code(), Some(2), "{keys}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("`max_repeats`: has no effect with this `dedupe`; remove it"), "{keys}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cloud_events_have_their_attributes_in_the_body_or_in_unsigned_headers() {
    let body = |id: &str, data: u8| {
        format!(r#"{{"specversion":"1.0","source":"lab","id":"{id}","type":"ready","data":{data}}}"#)
    };
    let (one, same_id, other) = (body("1", 1), body("1", 2), body("2", 1));
    let deliveries = [&one, &same_id, &other].map(|body| (&[][..], body.as_str()));
    assert_eq!(outcomes("cloud_events = \"structured\"", &deliveries).await, [HANDLED, AGAIN, HANDLED]);
    let one: &[_] = &[("ce-source", "lab"), ("ce-id", "1"), ("ce-type", "ready")];
    let deliveries = [(one, "{}"), (one, "{}"), (one, "[]")];
    assert_eq!(outcomes("cloud_events = \"binary-unsigned\"", &deliveries).await, [HANDLED, AGAIN, HANDLED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn max_age_limits_the_time_of_a_structured_cloud_event() {
    let event = |id: &str, time: &str| format!(r#"{{"source":"lab","id":"{id}","type":"ready","time":"{time}"}}"#);
    let (old, new) = (event("1", "2020-01-01T00:00:00Z"), event("2", &jiff::Timestamp::now().to_string()));
    let deliveries = [&old, &new].map(|body| (&[][..], body.as_str()));
    let keys = "cloud_events = \"structured\"\nmax_age = \"1d\"";
    assert_eq!(outcomes(keys, &deliveries).await, ["rejected stale ready", HANDLED]);
}
