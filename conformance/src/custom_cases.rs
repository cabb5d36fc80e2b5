//! The shared cases that apply to an endpoint of a custom provider.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use medhook::testing::Signing;
use medhook::{Encoding, Freshness};

use crate::custom::CustomProvider;
use crate::endpoint::Endpoint;
use crate::error::CaseError;
use crate::list::{List, expand_custom};

/// Returns the shared cases that apply to the endpoint. Its secrets in the list are made up, as those of other lists.
pub(crate) fn list(endpoint: &Endpoint, custom: &CustomProvider) -> Result<List, CaseError> {
    let mut listed = Endpoint { body_limit: None, ..endpoint.clone() };
    listed.secrets = SECRETS.iter().map(|(label, secret)| ((*label).to_owned(), (*secret).to_owned())).collect();
    let signs_id = custom.signing.signs_id();
    let mut sections = vec![if signs_id || custom.id_pointer.is_some() { "unique" } else { "recurring" }];
    let mut text: BTreeMap<&str, toml::Value> = TEXT.iter().map(|(name, text)| (*name, (*text).into())).collect();
    text.insert("kind", custom.sample_kind().into());
    let mut own = String::new();

    match &custom.signing {
        Signing::StandardWebhooks(_) => {
            sections.extend(["signed", "standard-webhooks"]);
            text.insert("made_up", format!("v1,{}=", "A".repeat(43)).into());
            text.insert("half_a_signature", 25.into());
        }
        Signing::Signature(settings) => {
            let (prefix, encoding) = (settings.prefix(), &settings.encoding);
            let made_up = match encoding {
                Encoding::Base64 => format!("{}=", "A".repeat(43)),
                _ => "0".repeat(64),
            };
            sections.push("signed");
            if *encoding != Encoding::Base64 {
                sections.push("hmac");
            }
            if prefix == "sha256=" {
                sections.push("prefix");
            }
            let half = prefix.len().saturating_add(made_up.len() / 2);
            text.insert("half_a_signature", i64::try_from(half).unwrap_or(i64::MAX).into());
            text.insert("made_up", format!("{prefix}{made_up}").into());
        }
        _ => sections.push("shared-secret"),
    }
    if let Some((key, pointer)) = top_level(custom.kind_pointer.as_deref()) {
        sections.push("kind");
        text.insert("kind_at", pointer.into());
        text.insert("escaped_kind_key", escaped(&key).into());
        text.insert("kind_key", key.into());
    }
    if custom.id_pointer.as_deref() == Some("/id") {
        sections.push("id");
    }
    match endpoint.freshness() {
        Freshness::AttemptTime { .. } => sections.push("attempt-time"),
        Freshness::EventTime { max_age, max_skew } => {
            let (past, ahead) = (max_age.as_secs().saturating_add(1), max_skew.as_secs().saturating_add(1));
            let _ = write!(
                own,
                "\"happened longer ago than the maximum age\" = {{ change = {{ event = -{past} }}, reason = \"stale\" }}\n\
                 \"happened further ahead than the clock skew\" = {{ change = {{ event = {ahead} }}, reason = \
                 \"in_the_future\" }}\n"
            );
        }
        _ => {}
    }
    expand_custom(listed, &sections, text, &own, custom.kind_pointer.is_some())
}

/// Returns a key and its pointer, if the pointer leads to a key of the body itself that is written as it is.
fn top_level(pointer: Option<&str>) -> Option<(String, String)> {
    let key = pointer?.strip_prefix('/')?;
    let is_plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    is_plain.then(|| (key.to_owned(), format!("/{key}")))
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("\\u{byte:04x}")).collect()
}

/// The secrets of the list, in a form that every scheme takes.
const SECRETS: [(&str, &str); 3] = [
    ("current", "bGlzdGVkLWN1cnJlbnQtc2VjcmV0LW9mLW5vYm9keQ"),
    ("digits", "6c9c5edee2c4b947333af4be40451ad8ffb41430f32414cca3be5ea860ec8ca0"),
    ("old", "bGlzdGVkLW9sZGVyLXNlY3JldC1vZi1ub2JvZHktLQ"),
];

/// Values of the placeholders that are the same for all custom providers.
const TEXT: [(&str, &str); 7] = [
    ("another_secret", "YW5vdGhlci1jdXN0b21lcnMtc2VjcmV0LW9mLWEtZmV3"),
    ("field_at", "/sample"),
    ("no_json", "sample=true&id=1"),
    ("cut_json", r#"{"sample":true,"data":{"obj"#),
    ("second_json", r#"{"sample":false}"#),
    ("latin_1_json", "7b22 7479 7065 223a 2270 6163 6965 6e74 655f 61f1 6f22 7d"),
    ("another_kind", "another"),
];
