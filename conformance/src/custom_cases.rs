//! The shared cases that apply to an endpoint of a custom provider.

use std::collections::BTreeMap;

use medhook::testing::Signing;
use medhook::{
    Encoding, Freshness, SecretEncoding, SharedSecretForm, SignatureAlgorithm, SignatureLayout, SignatureSettings,
    TimestampPlace, TimestampUnit,
};

use crate::custom::CustomProvider;
use crate::endpoint::Endpoint;
use crate::error::CaseError;
use crate::list::{List, expand_custom};
use crate::written::{id_header, signs_event_time, timestamp_place};

/// Returns the shared cases that apply to the endpoint. Its secrets in the list are made up, as those of other lists.
pub(crate) fn list(endpoint: &Endpoint, custom: &CustomProvider) -> Result<List, CaseError> {
    let mut listed = Endpoint { body_limit: None, ..endpoint.clone() };
    let secrets = ListedSecrets::of(endpoint, &custom.signing);
    listed.secrets = secrets.entries();
    let mut sections = of_scheme(&custom.signing, secrets);
    sections.push(if custom.signing.signs_id() || custom.id_pointer.is_some() { "unique" } else { "recurring" });
    let mut text: BTreeMap<&str, toml::Value> = TEXT.iter().map(|(name, text)| (*name, (*text).into())).collect();
    text.insert("kind", custom.sample_kind().into());
    text.insert("another_secret", secrets.another().into());

    if let Some((key, pointer)) = top_level(custom.kind_pointer.as_deref()) {
        sections.push("kind");
        text.insert("kind_at", pointer.into());
        text.insert("escaped_kind_key", escaped(&key).into());
        text.insert("kind_key", key.into());
    }
    if custom.id_pointer.as_deref() == Some("/id") {
        sections.push("id");
    }
    let mut own = String::new();
    let is_signed = custom.signing.signs_time();
    match endpoint.freshness() {
        Freshness::AttemptTime { max_age, max_skew } if is_signed => {
            if (max_age.as_secs(), max_skew.as_secs()) == (300, 300) {
                sections.push("attempt-time");
            } else {
                own = limits("attempted", "attempt", max_age.as_secs(), max_skew.as_secs());
            }
            sections.push(ages(&custom.signing));
        }
        Freshness::EventTime { max_age, max_skew } => {
            let is_signed = signs_event_time(&custom.signing);
            let change = if is_signed { "attempt" } else { "event" };
            own = limits("happened", change, max_age.as_secs(), max_skew.as_secs());
            if is_signed {
                sections.push(ages(&custom.signing));
            }
        }
        _ => {}
    }
    let only_json =
        matches!(&custom.signing, Signing::Signature(settings) if settings.needs_json || settings.lacks_separator());
    expand_custom(listed, &sections, text, &own, custom.kind_pointer.is_some(), only_json)
}

/// Returns cases at the limits of the age.
fn limits(verb: &str, change: &str, max_age: u64, max_skew: u64) -> String {
    let (past, ahead) = (max_age.saturating_add(1), max_skew.saturating_add(1));
    format!(
        "\"{verb} as long ago as the maximum age\" = {{ change = {{ {change} = -{max_age} }} }}\n\
         \"{verb} longer ago than the maximum age\" = {{ change = {{ {change} = -{past} }}, reason = \"stale\" }}\n\
         \"{verb} further ahead than the clock skew\" = {{ change = {{ {change} = {ahead} }}, reason = \
         \"in_the_future\" }}\n"
    )
}

/// Returns the section with extreme ages of a signed time.
fn ages(signing: &Signing) -> &'static str {
    match signing {
        Signing::Signature(settings) => match (settings.unit, settings.lacks_separator()) {
            (TimestampUnit::Seconds, false) => "attempt-seconds",
            (TimestampUnit::Seconds, true) => "ten-digits",
            (TimestampUnit::Milliseconds, false) => "attempt-milliseconds",
            (TimestampUnit::Milliseconds, true) => "thirteen-digits",
            _ => "attempt-date",
        },
        _ => "attempt-seconds",
    }
}

/// Returns the sections that follow from the scheme alone.
fn of_scheme(signing: &Signing, secrets: ListedSecrets) -> Vec<&'static str> {
    let is_pair = secrets == ListedSecrets::KeyPair;
    let mut sections = Vec::new();
    match signing {
        Signing::StandardWebhooks(scheme) => {
            let most = if is_pair { "list-of-16" } else { "list-of-32" };
            let other = if scheme.prefix() == "webhook-" { "no-svix" } else { "no-webhook" };
            sections.extend(["signed", "standard-webhooks", "list", "list-twice", most, other]);
        }
        Signing::Signature(settings) => {
            sections.push("signed");
            sections.extend(of_layout(settings, is_pair));
            sections.extend(of_encoding(settings));
            if settings.secret_encoding == SecretEncoding::Text {
                sections.push("text-secret");
            }
            if settings.lacks_separator() {
                sections.push("no-separator");
            }
        }
        Signing::SharedSecret { form, .. } => {
            let is_verbatim = *form == SharedSecretForm::Verbatim;
            sections.extend(["shared-secret", if is_verbatim { "verbatim-secret" } else { "authorization" }]);
        }
        _ => {}
    }
    if let Some(place) = timestamp_place(signing) {
        let is_date = matches!(signing, Signing::Signature(settings) if settings.unit == TimestampUnit::Rfc3339);
        sections.extend(["timestamp", "signed-parts", if is_date { "timestamp-date" } else { "timestamp-integer" }]);
        sections.push(match place {
            TimestampPlace::Element(_) => "timestamp-element",
            _ => "timestamp-header",
        });
    }
    if id_header(signing).is_some() {
        sections.push("message-id");
        if matches!(signing, Signing::Signature(_)) {
            sections.push("id-header");
        }
    }
    sections
}

fn of_layout(settings: &SignatureSettings, is_pair: bool) -> Vec<&'static str> {
    let mut sections = Vec::new();
    let is_list = match &settings.layout {
        SignatureLayout::Elements { signature, .. } => {
            if !signature.is_empty() {
                sections.push("signature-element");
            }
            true
        }
        SignatureLayout::Value { prefix, separator } => {
            if !prefix.is_empty() {
                sections.push("prefix");
            }
            if *prefix != prefix.to_ascii_uppercase() {
                sections.push("lettered-prefix");
            }
            sections.push(if separator.is_some() { "list-twice" } else { "one-signature" });
            separator.is_some()
        }
        _ => false,
    };
    if is_list {
        sections.extend(["list", "other-entries"]);
        // Thirty-two signatures of 128 digits exceed the limit of a header.
        let is_digits = matches!(settings.encoding, Encoding::Hex | Encoding::Either);
        match settings.algorithm {
            _ if is_pair => sections.push("list-of-16"),
            SignatureAlgorithm::HmacSha512 if is_digits => {}
            _ => sections.push("list-of-32"),
        }
    }
    sections
}

fn of_encoding(settings: &SignatureSettings) -> Vec<&'static str> {
    let is_pair = settings.algorithm == SignatureAlgorithm::Ed25519;
    match settings.encoding {
        Encoding::Hex => vec!["hmac", "hexadecimal"],
        Encoding::Either if is_pair => vec!["either-encoding"],
        Encoding::Either => vec!["hmac", "either-encoding"],
        _ => vec!["base64-only"],
    }
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

/// The form of the secrets in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListedSecrets {
    /// Text that is also base64.
    Text,
    Hex,
    /// Private keys of Ed25519.
    KeyPair,
}

impl ListedSecrets {
    fn of(endpoint: &Endpoint, signing: &Signing) -> Self {
        let signs_with_pair = || endpoint.secret(None).is_some_and(|secret| secret.starts_with("whsk_"));
        match signing {
            Signing::StandardWebhooks(_) if signs_with_pair() => ListedSecrets::KeyPair,
            Signing::StandardWebhooks(scheme) if scheme.key_encoding() == SecretEncoding::Hex => ListedSecrets::Hex,
            Signing::Signature(settings) => match (settings.algorithm, settings.secret_encoding) {
                (SignatureAlgorithm::Ed25519, _) => ListedSecrets::KeyPair,
                (_, SecretEncoding::Hex) => ListedSecrets::Hex,
                _ => ListedSecrets::Text,
            },
            _ => ListedSecrets::Text,
        }
    }

    fn entries(self) -> BTreeMap<String, String> {
        let texts = match self {
            ListedSecrets::Text => [
                "bGlzdGVkLWN1cnJlbnQtc2VjcmV0LW9mLW5vYm9keQ",
                "6c9c5edee2c4b947333af4be40451ad8ffb41430f32414cca3be5ea860ec8ca0",
                "bGlzdGVkLW9sZGVyLXNlY3JldC1vZi1ub2JvZHktLQ",
            ],
            ListedSecrets::Hex => [
                "6c69737465642063757272656e74206b65792e2e2e2e2e2e2e2e2e2e2e2e2e2e",
                "6c6973746564206b6579206f66206469676974732e2e2e2e2e2e2e2e2e2e2e2e",
                "6c6973746564206f6c646572206b65792e2e2e2e2e2e2e2e2e2e2e2e2e2e2e2e",
            ],
            ListedSecrets::KeyPair => [
                "whsk_bGlzdGVkIGN1cnJlbnQgcHJpdmF0ZSBrZXkuLi4uLi4=",
                "whsk_bGlzdGVkIGRpZ2l0cyBwcml2YXRlIGtleS4uLi4uLi4=",
                "whsk_bGlzdGVkIG9sZCBwcml2YXRlIGtleS4uLi4uLi4uLi4=",
            ],
        };
        LABELS.iter().zip(texts).map(|(label, text)| ((*label).to_owned(), text.to_owned())).collect()
    }

    /// Returns another customer's secret.
    fn another(self) -> &'static str {
        match self {
            ListedSecrets::Text => "YW5vdGhlci1jdXN0b21lcnMtc2VjcmV0LW9mLWEtZmV3",
            ListedSecrets::Hex => "616e6f7468657220637573746f6d65722773206b65792e2e2e2e2e2e2e2e2e2e",
            ListedSecrets::KeyPair => "whsk_YW5vdGhlciBjdXN0b21lcidzIGtleS4uLi4uLi4uLi4=",
        }
    }
}

/// Returns a private key that the endpoint does not know, if its deliveries are signed with one.
pub(crate) fn foreign_key_pair(endpoint: &Endpoint) -> Option<&'static str> {
    let custom = endpoint.custom.as_ref()?;
    let secrets = ListedSecrets::of(endpoint, &custom.signing);
    (secrets == ListedSecrets::KeyPair).then(|| secrets.another())
}

const LABELS: [&str; 3] = ["current", "digits", "old"];

/// Values of the placeholders that are the same for all custom providers.
const TEXT: [(&str, &str); 6] = [
    ("field_at", "/sample"),
    ("no_json", "sample=true&id=1"),
    ("cut_json", r#"{"sample":true,"data":{"obj"#),
    ("second_json", r#"{"sample":false}"#),
    ("latin_1_json", "7b22 7479 7065 223a 2270 6163 6965 6e74 655f 61f1 6f22 7d"),
    ("another_kind", "another"),
];
