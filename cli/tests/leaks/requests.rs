//! Marked requests, genuine and not.

use std::io::{Read, Write};
use std::net::SocketAddr;

use http::Request;
use medhook::Bytes;
use medhook::testing::{self, Sample, Signing};
use serde_json::Value;

use crate::page_client::connect;
use crate::sender::now;
use crate::stage::{HEALTHSYNC, MEDIQUO, fasten};
use crate::written::{KIND, MARK, NUMBER};

/// Marks values in places where decoders do not expect them, and members that no documentation has.
fn marked(body: &[u8], id: &str, kind: Option<&str>) -> String {
    let mut body: Value = serde_json::from_slice(body).unwrap();
    let number: Value = NUMBER.parse::<u64>().unwrap().into();
    mark_values(&mut body, &number);
    body["id"] = id.into();
    if let Some(kind) = kind {
        body["type"] = kind.into();
    }
    body[format!("{MARK} as a key")] = number.clone();
    body["nested"] = serde_json::json!({ format!("{MARK}"): [[MARK, number, { "a": format!("\"{MARK}\"\u{0}\n") }]] });
    body.to_string()
}

/// Replaces every text and number below the top level.
fn mark_values(value: &mut Value, number: &Value) {
    let members: Vec<_> = match value {
        Value::Object(members) => members.values_mut().collect(),
        Value::Array(elements) => elements.iter_mut().collect(),
        _ => return,
    };
    for member in members {
        mark_values(member, number);
        if let Value::Object(members) = member {
            for inner in members.values_mut() {
                match inner {
                    Value::String(text) => *text = format!("{MARK}{text}"),
                    Value::Number(_) => *inner = number.clone(),
                    _ => {}
                }
            }
        }
    }
}

fn healthsync() -> Sample {
    testing::healthsync("document.uploaded").id(MARK).at(now()).secret(HEALTHSYNC)
}

fn mediquo() -> Sample {
    let sample = testing::mediquo("prescription_created").signing(Signing::shared_secret("x-webhook-signature"));
    sample.secret(MEDIQUO)
}

/// Returns a genuine delivery, signed with this secret.
pub(crate) fn genuine(number: usize, kind: Option<&str>, secret: &str) -> Request<Bytes> {
    let body = marked(healthsync().request("/").body(), &format!("{MARK}id{number}"), kind);
    with_marks(healthsync().secret(secret).body(body).request("/healthsync"))
}

/// Adds a query, and headers whose names or values are marked.
fn with_marks(mut request: Request<Bytes>) -> Request<Bytes> {
    let uri = format!("{}?token={MARK}", request.uri());
    *request.uri_mut() = uri.parse().unwrap();
    for name in ["authorization", "cookie", "user-agent", "x-request-id", "traceparent", "x-forwarded-for", "referer"] {
        request.headers_mut().insert(name, format!("{MARK} of {name}").parse().unwrap());
    }
    request.headers_mut().insert(http::HeaderName::from_static("x-c4n4ry"), MARK.parse().unwrap());
    request
}

/// Returns a request as it is sent.
pub(crate) fn text(request: &Request<Bytes>) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.1\r\nhost: {MARK}.example\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    let rest = format!("content-length: {}\r\nconnection: close\r\n\r\n", request.body().len());
    [&text, rest.as_bytes(), request.body()].concat()
}

/// Returns the headers as `medhook verify` reads them.
pub(crate) fn headers(request: &Request<Bytes>) -> String {
    let line =
        |(name, value): (&http::HeaderName, &http::HeaderValue)| format!("{name}: {}\n", value.to_str().unwrap());
    request.headers().iter().map(line).collect()
}

/// Sends a request, and returns the whole answer. The receiver may close the connection early.
pub(crate) fn answer(to: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = connect(to);
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// Returns every way in which a delivery can end, and requests that are none, each with the expected status.
pub(crate) fn all() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = genuine(1, None, HEALTHSYNC);
    let mut unsigned = genuine(2, None, HEALTHSYNC);
    unsigned.headers_mut().remove("x-healthsync-signature");
    let mut altered = good.clone();
    *altered.body_mut() = format!("{}{MARK}", String::from_utf8_lossy(good.body())).into();
    let stale = healthsync().at(now() - 30 * 86_400);
    let stale = stale.clone().body(marked(stale.request("/").body(), &format!("{MARK}old"), None));
    let no_json = healthsync().body(format!("{MARK} is not JSON"));
    let mut encoded = good.clone();
    encoded.headers_mut().insert("content-encoding", MARK.parse().unwrap());
    let direct = mediquo().body(marked(mediquo().request("/").body(), MARK, None));
    let wrong = mediquo().secret("c4n4ry-is-wrong-0123456789").request("/mediquo");
    let standard = testing::fasten("patient.ehi_export_success").at(now()).secret(fasten());
    let body = marked(standard.request("/").body(), MARK, None);
    let standard = |secret: &str| standard.clone().secret(secret).body(body.clone()).id(MARK).request("/fasten");
    let line = |start: &str| format!("{start}\r\nhost: {MARK}\r\nx-{MARK}: {MARK}\r\nconnection: close\r\n\r\n");
    let long = format!("POST /healthsync HTTP/1.1\r\nhost: a\r\n{MARK}: {}\r\n\r\n", MARK.repeat(100_000));
    vec![
        ("a genuine delivery", text(&good), "200"),
        ("a duplicate", text(&good), "200"),
        ("an undocumented kind", text(&genuine(3, Some(&format!("{KIND}.{KIND}")), HEALTHSYNC)), "200"),
        ("a forged delivery", text(&genuine(4, None, "c4n4ry-forged-0123456789abcdef")), "401"),
        ("an unsigned delivery", text(&unsigned), "401"),
        ("an altered delivery", text(&altered), "401"),
        ("a stale delivery", text(&with_marks(stale.request("/healthsync"))), "401"),
        ("no JSON", text(&with_marks(no_json.request("/healthsync"))), ""),
        ("an unknown encoding", text(&encoded), "415"),
        ("a shared secret", text(&with_marks(direct.request("/mediquo"))), "200"),
        ("a wrong shared secret", text(&with_marks(wrong)), "401"),
        ("Standard Webhooks", text(&with_marks(standard(&fasten()))), "200"),
        ("a wrong secret of Standard Webhooks", text(&with_marks(standard("whsec_YzRuNHJ5YzRuNHJ5YzRuNHJ5"))), "401"),
        ("another method", line(&format!("PUT /healthsync?{MARK} HTTP/1.1")).into(), "405"),
        ("an unknown method", line(&format!("{} /healthsync HTTP/1.1", MARK.to_uppercase())).into(), "405"),
        ("an unknown path", line(&format!("POST /healthsync/{MARK}?{MARK} HTTP/1.1")).into(), "404"),
        ("no request", line(MARK).into(), "400"),
        ("another version", line(&format!("POST /{MARK} HTTP/9.{MARK}")).into(), ""),
        ("long headers", long.into(), ""),
        (
            "a long body",
            format!("POST /healthsync?{MARK} HTTP/1.1\r\nhost: a\r\ncontent-length: 999999999\r\n\r\n{MARK}").into(),
            "",
        ),
        (
            "a chunk without a length",
            format!("POST /healthsync HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{MARK}\r\n{MARK}")
                .into(),
            "",
        ),
    ]
}
