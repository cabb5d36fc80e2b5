//! Signed deliveries with the headers that a provider and a proxy add. `tests/count` compiles this file, too.

use base64ct::{Base64, Encoding as _};
use bytes::Bytes;
use hmac::{Hmac, KeyInit};
use http::{HeaderMap, HeaderName, HeaderValue};
use medhook::testing::Signing;
use sha2::{Sha256, Sha512};

use crate::setting::now;

pub type HmacSha256 = Hmac<Sha256>;

pub const STANDARD_SECRET: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";
pub const OTHER_STANDARD_SECRET: &str = "whsec_YW5vdGhlciBvbmUsIG9mIDI0IGJ5dGVzIQ==";
pub const TEXT_SECRET: &str = "a secret of some thirty-two bytes";

pub fn standard_key() -> HmacSha256 {
    let encoded = STANDARD_SECRET.strip_prefix("whsec_").expect("a prefix");
    HmacSha256::new_from_slice(&Base64::decode_vec(encoded).expect("base64")).expect("a key")
}

pub fn text_key() -> HmacSha256 {
    HmacSha256::new_from_slice(TEXT_SECRET.as_bytes()).expect("a key")
}

pub fn text_key_of_sha512() -> Hmac<Sha512> {
    Hmac::new_from_slice(TEXT_SECRET.as_bytes()).expect("a key")
}

/// Returns a body with static lifetime, so that passing it costs no more than a move. Cloning a `Bytes` for each call
/// would add two atomic operations to every subject that takes bodies by value.
pub fn lasting(body: impl Into<Vec<u8>>) -> Bytes {
    Bytes::from_static(Vec::leak(body.into()))
}

pub fn standard(id: &str, body: &[u8]) -> HeaderMap {
    signed(&Signing::standard_webhooks(), STANDARD_SECRET, id, body)
}

pub fn hmac(body: &[u8]) -> HeaderMap {
    signed(&signing(), TEXT_SECRET, "", body)
}

/// Returns headers that a scheme without a signed id signs.
pub fn by(signing: &Signing, secret: &str, body: &[u8]) -> HeaderMap {
    signed(signing, secret, "", body)
}

pub const HMAC_HEADER: &str = "x-hub-signature-256";
pub const HMAC_PREFIX: &str = "sha256=";

pub fn signing() -> Signing {
    Signing::of(medhook::HmacSha256Body::new(HMAC_HEADER).prefix(HMAC_PREFIX).encoding(medhook::Encoding::Hex))
}

fn signed(signing: &Signing, secret: &str, id: &str, body: &[u8]) -> HeaderMap {
    let length = body.len().to_string();
    let usual = [
        ("host", "hooks.example.org"),
        ("user-agent", "Provider-Webhooks/1.0 (sender-0)"),
        ("accept", "*/*"),
        ("accept-encoding", "gzip"),
        ("content-type", "application/json"),
        ("content-length", &length),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
    ];
    let signature = signing.headers(secret, id, &now().to_string(), body).expect("a secret of its scheme");
    let usual = usual.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let named = |(name, value): (String, String)| {
        (HeaderName::try_from(name).expect("a name"), HeaderValue::try_from(value).expect("a value"))
    };
    usual.into_iter().chain(signature).map(named).collect()
}

/// Returns a Fasten export of about this size: more download links make it longer.
pub fn fasten(id: &str, size: usize) -> String {
    let link = r#"{"url":"https://api.connect.fastenhealth.com/v1/bridge/fhir/ehi-export/5e9a1c70b2d84f63a7c0d1e2f3a4b5c6/download/2025-12-31-export.jsonl","export_type":"jsonl","content_type":"application/fhir+ndjson"}"#;
    let with = |links: usize| {
        format!(
            r#"{{"api_mode":"live","type":"patient.ehi_export_success","date":"2026-01-01T00:00:00Z","id":"{id}","data":{{"download_links":[{}],"org_connection_id":"3c6e0b8a-9d21-4f57-8e34-a1b2c3d4e5f6","task_id":"5e9a1c70b2d84f63a7c0d1e2f3a4b5c6","org_id":"b7c8d9e0-1a2b-4c3d-9e4f-5a6b7c8d9e0f","stats":{{"total_resources":412,"total_by_resource_type":{{"Condition":18,"Observation":366,"Patient":1}}}}}}}}"#,
            vec![link; links].join(",")
        )
    };
    with(repeats(size, with(1).len(), with(2).len()))
}

/// Returns a chart report from Cair of about this size: its texts are repeated.
pub fn chart_report(size: usize) -> String {
    let finding = |label: &str| {
        let value = "Wheezing at night is told of in one place and denied in another; the plan follows the first. ";
        serde_json::json!({"label": label, "value": value.repeat(3), "severity": "Medium"})
    };
    let with = |suggestions: usize| {
        serde_json::json!({
            "id": "0f6d2c1e-7b3a-4f58-9c40-5d8e1a2b3c4d",
            "status": "complete",
            "completed_events": ["GENERATE_CODING_REPORT"],
            "report": {
                "id": "6b1e9d70-2c4f-4a83-8e15-9f0a1b2c3d4e",
                "claim_id": "clm-20418",
                "coding_report": {
                    "icd_10_codes": (["J45.40", "Z79.52", "M17.11", "E66.01"].repeat(6)),
                    "cpt_codes": (["94010", "99213"].repeat(4)),
                },
                "documentation_discrepancy_report": {
                    "chief_complaint_hpi_discrepancy": finding("Reason for the visit and its history"),
                    "ros_hpi_discrepancy": finding("Systems asked about and the history"),
                    "vitals_exam_discrepancy": finding("Vital signs and what was seen"),
                    "report_summary": "One small contradiction about a cough",
                    "status": "Pass",
                },
                "ncd_lcd_analysis": {
                    "diagnoses_match_ncd_lcd": finding("Diagnoses among those covered"),
                    "frequency_discrepancy": finding("How often"),
                    "age_discrepancy": finding("Of an age for it"),
                    "place_of_service_discrepancy": finding("In a fitting place"),
                    "report_summary": "Covered as billed",
                    "status": "Pass",
                },
                "suggestions_for_fixing_issues_report": {
                    "suggestions": vec!["Say in both places whether there was a cough, and since when; the two disagree, and a \"payer\" will ask which of them the plan of care follows"; suggestions],
                },
                "time_based_requirements_report": {
                    "total_time_documented": finding("Minutes in all"),
                    "start_time": finding("Began"),
                },
            },
        })
        .to_string()
    };
    with(repeats(size, with(1).len(), with(2).len()))
}

/// Returns how often an item must be repeated for a body of about this size, given the sizes with one and two items.
fn repeats(size: usize, once: usize, twice: usize) -> usize {
    let each = twice - once;
    1 + (size.saturating_sub(once) + each / 2) / each
}
