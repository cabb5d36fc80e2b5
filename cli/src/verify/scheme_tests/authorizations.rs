//! Bearer tokens and Basic authentication.

use medhook::SharedSecret;

use super::Recorded;

const KEY: &str = "a-made-up-token-of-some-length";

const NAME: &str = "authorization";

fn encoded(text: &str) -> String {
    <base64ct::Base64 as base64ct::Encoding>::encode_string(text.as_bytes())
}

#[test]
fn genuine_authorizations_have_no_cause() {
    for scheme in [SharedSecret::bearer(), SharedSecret::basic("acme"), SharedSecret::new("x-key")] {
        Recorded::genuine(scheme, KEY).is_verified().signature("valid");
    }
    let lower = Recorded::genuine(SharedSecret::bearer(), KEY).changed(NAME, |value| value.replace("Bearer", "bearer"));
    lower.is_verified();
}

#[test]
fn every_mistake_of_a_bearer_token_is_found() {
    let with = |value: &str| Recorded::genuine(SharedSecret::bearer(), KEY).header(NAME, value);
    let bare = with(KEY).is_explained_by(&["wrong_authentication_scheme"]);
    bare.step("head", "failed", Some("malformed_header")).says("does not begin with `Bearer` and a space");
    with(&format!("Token {KEY}")).is_explained_by(&["wrong_authentication_scheme"]);
    with(&format!("Bearer \"{KEY}\"")).is_explained_by(&["secret_in_quotes"]);
    with(&format!("Bearer {}", encoded(KEY))).is_explained_by(&["secret_in_base64"]);
    let mut elsewhere = Recorded::genuine(SharedSecret::bearer(), KEY);
    elsewhere.headers[0].0 = "x-authorization".to_owned();
    elsewhere.is_explained_by(&["secret_in_other_header"]);
    let given = Recorded::genuine(SharedSecret::bearer(), KEY).given(&format!("Bearer {KEY}"));
    given.is_explained_by(&["secret_given_after_word"]).says("; with `form = \"bearer\"`, give the token alone");
    assert_eq!(with("Bearer another-made-up-token").report().codes(true), [""; 0]);
    // The bytes of this token in base64 have both characters that differ in base64url.
    let token = "key>>>???~~~";
    let url = "a2V5Pj4-Pz8_fn5-";
    let recorded = Recorded::genuine(SharedSecret::bearer(), token).header(NAME, &format!("Bearer {url}"));
    recorded.is_explained_by(&["secret_in_base64url"]);
}

#[test]
fn every_mistake_of_basic_authentication_is_found() {
    let with = |value: &str| Recorded::genuine(SharedSecret::basic("acme"), "pass-word-1").header(NAME, value);
    for (code, value) in [
        ("other_user_name", format!("Basic {}", encoded("test:pass-word-1"))),
        ("user_name_missing", format!("Basic {}", encoded(":pass-word-1"))),
        ("user_name_missing", format!("Basic {}", encoded("pass-word-1"))),
        ("user_name_and_password_swapped", format!("Basic {}", encoded("pass-word-1:acme"))),
        ("basic_not_encoded", "Basic acme:pass-word-1".to_owned()),
        ("basic_in_other_encoding", format!("Basic {}", encoded("acme:pass-word-1").trim_end_matches('='))),
        ("wrong_authentication_scheme", "Bearer pass-word-1".to_owned()),
        ("wrong_authentication_scheme", encoded("acme:pass-word-1")),
    ] {
        let report = with(&value).report();
        assert_eq!(report.codes(true)[0], code, "{value}: {}", report.0);
        assert_eq!(report.codes(true).iter().filter(|known| **known != "malformed_authorization").count(), 1);
    }
    assert_eq!(with(&format!("Basic {}", encoded("acme:pass-word-2"))).report().codes(true), [""; 0]);
    assert_eq!(with(&format!("Basic {}", encoded("test:pass-word-2"))).report().codes(true), [""; 0]);
}

#[test]
fn an_authorization_where_the_secret_alone_is_expected_names_the_form() {
    let key = || Recorded::genuine(SharedSecret::new(NAME), KEY);
    key()
        .header(NAME, &format!("Bearer {KEY}"))
        .is_explained_by(&["secret_after_word"])
        .says(": set `form = \"bearer\"` instead of `header`");
    let basic = key().header(NAME, &format!("Basic {}", encoded(&format!("acme:{KEY}"))));
    basic.is_explained_by(&["secret_after_user_name"]).says(": set `form = \"basic\"` and `username`");
    let token = Recorded::genuine(SharedSecret::new("x-key"), KEY).header("x-key", &format!("Token {KEY}"));
    assert!(!token.is_explained_by(&["secret_after_word"]).0.to_string().contains("set `form"));
}
