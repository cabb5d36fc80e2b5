//! The code for webhook-verify in docs/migrating.md. `tests/src/guides.rs` checks that the guide has these lines.

use axum::http::HeaderMap;
use medhook::testing;

const SECRET: &str = "whsec_c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";

// The guide:
use webhook_verify::{Provider, Secret, VerifyOptions, verify};

fn is_genuine(head: &HeaderMap, body: &[u8]) -> bool {
    let (scheme, secret) = (Provider::StandardWebhooks, Secret::new(SECRET));
    verify(scheme, head, body, &secret, VerifyOptions::default()).is_ok()
}
// The end.

#[test]
fn a_signed_sample_is_genuine_and_an_altered_one_is_not() {
    let sample = testing::fasten("patient.ehi_export_success").secret(SECRET).request("/");
    assert!(is_genuine(sample.headers(), sample.body()));
    assert!(!is_genuine(sample.headers(), b"{}"));
}
