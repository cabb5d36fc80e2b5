//! `medhook verify`: the built program reads a recording in every common form.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a failed assumption should end the test; clippy itself only exempts items marked as tests"
)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use medhook::testing::{Signing, fixtures};
use medhook_tests::program::{Ran, run};
use serde_json::json;

const SECRET: &str = "canary-that-must-never-be-shown";
const NOW: &str = "2026-01-01T00:00:10Z";

/// A signed delivery of Cair, as text.
struct Delivery {
    signature: String,
    body: String,
}

impl Delivery {
    fn new() -> Self {
        let is_wanted = |path: &str| path == "cair/CLAIM_STATUS_CHANGE.json";
        let body = fixtures().iter().find(|fixture| is_wanted(fixture.path())).expect("a fixture").body();
        let mut signed = Signing::hmac_sha256("x-signature").headers(SECRET, "", "", &body).unwrap();
        let (_, signature) = signed.remove(0);
        Delivery { signature, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    fn verify(&self, headers: &[u8], more: &[&str]) -> Ran {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (headers, body) = (write("headers", headers), write("body", self.body.as_bytes()));
        let mut arguments = vec!["verify", "cair", "--scheme", "hmac-sha256", "--header", "X-Signature"];
        arguments.extend(["--secret-env", "CANARY", "--headers", &headers]);
        if more != ["without a body"] {
            arguments.extend(["--body", &body]);
            arguments.extend(more);
        }
        run(env!("CARGO_BIN_EXE_medhook"), &arguments, &[("CANARY", SECRET)])
    }
}

fn is_verified(ran: &Ran) -> bool {
    ran.code == Some(0) && ran.stdout.contains("\nverified\n")
}

#[test]
fn a_delivery_is_verified_from_every_form_of_its_headers() {
    let delivery = Delivery::new();
    let signature = &delivery.signature;
    let har = json!({"log": {"entries": [
        {"request": {"method": "GET", "headers": []}},
        {"request": {"method": "POST", "headers": [{"name": "X-Signature", "value": signature}]}},
    ]}});
    let utf_16 = format!("\u{feff}Host: a\r\nX-Signature: {signature}\r\n");
    for headers in [
        format!("POST /in HTTP/1.1\r\nHost: a\r\nX-Signature: {signature}\r\n\r\n").into_bytes(),
        format!("* Trying\n> POST /in HTTP/2\n> host: a\n> x-signature: {signature}\n>\n< HTTP/2 401\n< a: b\n").into(),
        format!("-H 'Host: a' \\\n-H 'X-Signature: {signature}'\n").into(),
        format!("curl https://a/in -X POST \\\n  -H 'X-Signature: {signature}' --data-binary @body.json\n").into(),
        har.to_string().into(),
        json!({"host": "a", "x-signature": [signature]}).to_string().into(),
        json!([["host", "a"], ["x-signature", signature]]).to_string().into(),
        json!({"Records": [{"headers": {"x-signature": signature}}]}).to_string().into(),
        format!("\u{feff}x-signature: {signature}").into(),
        utf_16.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        utf_16.encode_utf16().flat_map(u16::to_be_bytes).collect(),
    ] {
        let ran = delivery.verify(&headers, &[]);
        assert!(is_verified(&ran), "{}: {ran:?}", String::from_utf8_lossy(&headers));
        assert!(!ran.stdout.contains("note: "), "{ran:?}");
    }
}

#[test]
fn the_body_is_read_from_the_file_of_headers_with_a_note() {
    let Delivery { signature, body } = &Delivery::new();
    let post_data = json!({"mimeType": "application/json", "text": body});
    let request =
        json!({"method": "POST", "headers": [{"name": "X-Signature", "value": signature}], "postData": post_data});
    for headers in [
        json!({"log": {"entries": [{"request": request}]}}).to_string(),
        json!({"headers": {"X-Signature": signature}, "body": body, "isBase64Encoded": false}).to_string(),
        format!("curl https://a -H 'X-Signature: {signature}' --data-raw '{}'", body.replace('\'', r"'\''")),
    ] {
        let ran = Delivery::new().verify(headers.as_bytes(), &["without a body"]);
        assert!(is_verified(&ran), "{headers}: {ran:?}");
        assert!(ran.stdout.contains("note: the body is taken from the --headers file"), "{ran:?}");
        // A given body takes precedence.
        let ran = Delivery::new().verify(headers.replace(body.get(..9).unwrap(), "").as_bytes(), &["--json"]);
        let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((&report["verified"], report.get("notes")), (&true.into(), None), "{headers}");
    }
    let headers = format!("X-Signature: {signature}");
    let ran = Delivery::new().verify(headers.as_bytes(), &["without a body"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), "medhook: no body given; pass --body FILE\n"));
}

#[test]
fn headers_or_body_are_read_from_standard_input() {
    let delivery = Delivery::new();
    let folder = tempfile::tempdir().unwrap();
    let head = format!("x-signature: {}\n", delivery.signature);
    for (name, other) in [("--headers", "--body"), ("--body", "--headers")] {
        let contents = [("--headers", &head), ("--body", &delivery.body)];
        let content = |option| contents.iter().find(|(known, _)| *known == option).unwrap().1.as_bytes();
        let path: &Path = &folder.path().join("other");
        std::fs::write(path, content(other)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_medhook"))
            .args(["verify", "cair", "--scheme", "hmac-sha256", "--header", "X-Signature", "--secret-env", "CANARY"])
            .args([name, "-", other])
            .arg(path)
            .env("CANARY", SECRET)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(content(name)).unwrap();
        assert!(child.wait().unwrap().success(), "{name}");
    }
    let arguments = ["verify", "fasten", "--headers", "-", "--body", "-", "--secret-env", "CANARY"];
    let ran = run(env!("CARGO_BIN_EXE_medhook"), &arguments, &[("CANARY", SECRET)]);
    assert!(ran.stderr.contains("--headers and --body cannot both be standard input"), "{ran:?}");
}

#[test]
fn the_time_of_arrival_may_have_any_form_with_a_zone() {
    let delivery = Delivery::new();
    let head = format!("x-signature: {}", delivery.signature);
    for at in ["1767225610", "1767225610000", NOW, "Thu, 01 Jan 2026 00:00:10 GMT", "01/Jan/2026:01:00:10 +0100"] {
        let ran = delivery.verify(head.as_bytes(), &["--at", at]);
        assert!(is_verified(&ran), "{at}: {ran:?}");
    }
    let ran = delivery.verify(head.as_bytes(), &["--at", "2026-01-01 00:00:10"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("has no time zone; write 2026-01-01T00:00:10Z if it is UTC (1767225610"), "{ran:?}");
}
