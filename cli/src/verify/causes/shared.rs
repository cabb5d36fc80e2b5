//! The mistakes of a shared secret: of the header, of its value, and of the given secret, in combinations of two.

use medhook::sign::mac;
use medhook::testing::Signing;
use medhook::{SharedSecretForm, SignatureAlgorithm};
use medhook_conformance::Endpoint;

use super::authorization;
use super::cause::{Cause, add};
use super::held::{Held, ValueMistake};
use super::options::scheme_of_body;
use super::secrets::TEXTS;
use super::tags;
use crate::verify::case::Case;
use crate::verify::encodings::{base64, base64url, hex, percent_decoded};

/// The result of the comparison.
#[derive(Default)]
pub(super) struct Comparison {
    pub(super) causes: Vec<Cause>,
    /// Whether each required header holds one of its secrets; `None` if one of them is missing or empty.
    pub(super) is_valid: Option<bool>,
    /// The number of comparisons.
    pub(super) tried: usize,
}

const VALUES: &[ValueMistake] = &[
    ValueMistake {
        code: "secret_in_quotes",
        text: "quotation marks or spaces surround {secret}",
        undo: |value| vec![value.trim_matches(['"', '\'', ' ']).to_owned()],
    },
    ValueMistake {
        code: "secret_joined",
        text: "{secret} is joined with other text by a comma or a semicolon, as proxies join a repeated header",
        undo: |value| match value.contains([',', ';']) {
            true => value.split([',', ';']).map(|part| part.trim().to_owned()).take(16).collect(),
            false => Vec::new(),
        },
    },
    ValueMistake {
        code: "secret_after_word",
        text: "a word precedes {secret}",
        undo: |value| {
            let after = [value.rsplit_once(' '), value.split_once('='), value.split_once(':')];
            after.into_iter().flatten().map(|(_, after)| after.trim().to_owned()).collect()
        },
    },
    ValueMistake {
        code: "secret_in_hex",
        text: "{secret} is encoded in hexadecimal",
        undo: |value| hex(value).and_then(|bytes| String::from_utf8(bytes).ok()).into_iter().collect(),
    },
    ValueMistake {
        code: "secret_in_base64",
        text: "{secret} is encoded as base64",
        undo: |value| in_base64(value).map(|text| text.trim().to_owned()).into_iter().collect(),
    },
    ValueMistake {
        code: "secret_in_base64url",
        text: "{secret} is encoded as base64url",
        undo: |value| base64url(value).and_then(|bytes| String::from_utf8(bytes).ok()).into_iter().collect(),
    },
    ValueMistake {
        code: "secret_after_user_name",
        text: "{secret} is the password of HTTP basic authentication",
        undo: |value| {
            let text = value.strip_prefix("Basic ").and_then(in_base64);
            text.iter().filter_map(|text| text.split_once(':')).map(|(_, password)| password.to_owned()).collect()
        },
    },
    ValueMistake {
        code: "secret_in_percent_encoding",
        text: "{secret} is percent-encoded",
        undo: |value| {
            let decoded = percent_decoded(value.as_bytes(), false);
            decoded.and_then(|bytes| String::from_utf8(bytes).ok()).into_iter().collect()
        },
    },
];

/// A header, with the label and the text of a secret that it may hold.
struct Expected<'c> {
    header: &'c str,
    label: &'c str,
    secret: &'c str,
    form: &'c SharedSecretForm,
}

impl Expected<'_> {
    /// Returns whether a receiver accepts the value of the header.
    fn is_held_in(&self, value: &[u8]) -> bool {
        let held = str::from_utf8(value).map(|value| authorization::held(self.form, value)).unwrap_or_default();
        held.iter().any(|(mistake, text)| mistake.is_none() && text == self.secret)
    }
}

/// Compares every header with every given secret.
pub(super) fn compare(case: &Case<'_>) -> Comparison {
    let header = case.signature_header();
    let form = match case.signing {
        Signing::SharedSecret { form, .. } => form,
        _ => &SharedSecretForm::Verbatim,
    };
    let first = case.secrets.iter().map(|secret| (header.as_str(), secret.label(), secret.expose_secret(), form));
    let second = case.endpoint.also_header.iter().flat_map(|header| {
        let secrets = case.endpoint.also_secrets.iter();
        let form = &SharedSecretForm::Verbatim;
        secrets.map(move |(label, secret)| (header.as_str(), label.as_str(), secret.as_str(), form))
    });
    let expected: Vec<_> =
        first.chain(second).map(|(header, label, secret, form)| Expected { header, label, secret, form }).collect();
    let holds = |header: &str| {
        let values: Vec<_> = case.head.values(header).filter(|value| !value.is_empty()).collect();
        let fits =
            |secret: &Expected<'_>| secret.header == header && values.iter().any(|value| secret.is_held_in(value));
        (!values.is_empty()).then(|| expected.iter().any(fits))
    };
    let required = case.required_headers();
    let held: Option<Vec<_>> = required.iter().map(|header| holds(header)).collect();
    let mut outcome = Comparison { is_valid: held.map(|held| held.iter().all(|held| *held)), ..Comparison::default() };
    for expected in &expected {
        if holds(expected.header) != Some(true) {
            outcome.compare_headers(case, expected);
        }
    }
    let wrong: Vec<_> = required.iter().filter(|header| holds(header) == Some(false)).collect();
    if let ([header], true) = (wrong.as_slice(), required.len() > 1) {
        let text = format!("the header {header} holds none of its secrets; the other required header is correct");
        add(&mut outcome.causes, Cause::possible("one_header_differs", text));
    }
    outcome
}

impl Comparison {
    fn compare_headers(&mut self, case: &Case<'_>, expected: &Expected<'_>) {
        let Expected { label, secret, form, .. } = *expected;
        let mut texts = vec![(None, secret.to_owned())];
        for mistake in TEXTS {
            texts.extend((mistake.undo)(secret).into_iter().map(|text| (Some(mistake), text)));
        }
        let (mut best, mut cut): (Option<Vec<Cause>>, _) = (None, None);
        for (name, value) in &case.head.headers {
            let Ok(value) = str::from_utf8(value) else { continue };
            let mut values: Vec<Held> = authorization::held(form, value);
            let own = values.iter().find(|(mistake, _)| mistake.is_none()).map(|(_, text)| text.clone());
            let value = own.as_deref().unwrap_or(value);
            for mistake in VALUES {
                values.extend((mistake.undo)(value).into_iter().map(|value| (Some(mistake), value)));
            }
            for (value_mistake, value) in &values {
                for (text_mistake, text) in texts.iter().filter(|(_, text)| !text.is_empty()) {
                    self.tried = self.tried.saturating_add(1);
                    if value != text {
                        continue;
                    }
                    let mut causes = Vec::new();
                    if name != expected.header {
                        let text =
                            format!("secret {label} is in the header {name}, but is expected in {}", expected.header);
                        causes.push(Cause::fitting("secret_in_other_header", text));
                    }
                    causes.extend(value_mistake.map(|mistake| {
                        let text = mistake.text.replace("{secret}", &format!("secret {label}"));
                        let fix = authorization::form_to_set(case, mistake.code, name);
                        Cause::fitting(mistake.code, format!("in the header {name}, {text}{fix}"))
                    }));
                    causes.extend(text_mistake.map(|mistake| {
                        let fix = authorization::token_alone(form, mistake.code);
                        Cause::fitting(mistake.code, format!("secret {label} {}{fix}", mistake.text))
                    }));
                    if best.as_ref().is_none_or(|best| causes.len() < best.len()) {
                        best = Some(causes);
                    }
                }
            }
            if best.is_none() && value.eq_ignore_ascii_case(secret) {
                let text = format!("the header {name} holds secret {label} with letters in a different case");
                best = Some(vec![Cause::fitting("secret_in_other_case", text)]);
            }
            let is_cut = secret.len() > 8 && value.len() > 8 && value != secret;
            if is_cut && (secret.starts_with(value) || value.starts_with(secret)) {
                let text = format!("the header {name} and secret {label} begin alike, but one of them is truncated");
                cut = Some(Cause::possible("secret_cut_off", text));
            }
        }
        let found = best.unwrap_or_else(|| cut.into_iter().collect());
        found.into_iter().for_each(|cause| add(&mut self.causes, cause));
        let signed = mac(secret.as_bytes(), &[case.body]);
        if let Some(tag) = tags::all(case).into_iter().find(|tag| tag.bytes == signed) {
            let text = format!(
                "the header {} holds an HMAC of the body under secret {label}: the sender signs, but the endpoint \
                 expects the secret itself{}",
                tag.header,
                hmac_to_set(case.endpoint)
            );
            add(&mut self.causes, Cause::fitting("hmac_instead_of_secret", text));
        }
    }
}

/// Returns what to set if a custom provider signs instead of sending its secret.
pub(in crate::verify) fn hmac_to_set(endpoint: &Endpoint) -> String {
    let scheme = || format!(": set {}", scheme_of_body(SignatureAlgorithm::HmacSha256));
    endpoint.custom.as_ref().map_or_else(String::new, |_| scheme())
}

fn in_base64(value: &str) -> Option<String> {
    base64(value).and_then(|bytes| String::from_utf8(bytes).ok())
}
