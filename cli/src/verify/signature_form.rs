//! Describes signatures and authorizations whose form is not accepted, without their values.

use medhook::testing::Signing;
use medhook::{Encoding, SharedSecretForm, SignatureAlgorithm, SignatureLayout, SignatureSettings};

use super::case::Case;
use super::encodings;

/// Returns what is wrong with the form of a signature or an authorization, if anything is.
pub(super) fn of(case: &Case<'_>, value: &str) -> Option<String> {
    match case.signing {
        Signing::Signature(settings) => of_header(settings, value),
        Signing::StandardWebhooks(_) => {
            let is_of_pair = |text: &str| text.starts_with("whpk_") || text.starts_with("whsk_");
            let mut pairs = case.secrets.iter().map(|secret| is_of_pair(secret.expose_secret()));
            let (has_pairs, has_shared) = (pairs.clone().any(|is_of_pair| is_of_pair), pairs.any(|is| !is));
            of_list(value, has_shared || !has_pairs, has_pairs)
        }
        Signing::SharedSecret { form, .. } => of_authorization(form, value),
        _ => None,
    }
}

fn of_authorization(form: &SharedSecretForm, value: &str) -> Option<String> {
    let name = auth_scheme(form)?;
    after_auth_scheme(name, value).is_none().then(|| format!("does not begin with `{name}` and a space"))
}

/// Returns the name of the authentication scheme, which precedes a shared secret of this form.
pub(super) fn auth_scheme(form: &SharedSecretForm) -> Option<&'static str> {
    match form {
        SharedSecretForm::Bearer => Some("Bearer"),
        SharedSecretForm::Basic { .. } => Some("Basic"),
        _ => None,
    }
}

/// Returns the text after the name of an authentication scheme, as receivers read it.
pub(super) fn after_auth_scheme<'v>(name: &str, value: &'v str) -> Option<&'v str> {
    let (given, rest) = value.split_at_checked(name.len())?;
    (given.eq_ignore_ascii_case(name) && rest.starts_with(' ')).then(|| rest.trim_ascii_start())
}

fn of_header(settings: &SignatureSettings, value: &str) -> Option<String> {
    let length = if settings.algorithm == SignatureAlgorithm::HmacSha256 { 32 } else { 64 };
    let of_text = |text: &str, after: &str| of_text(text, settings.encoding, length, after);
    match &settings.layout {
        SignatureLayout::Value { prefix, separator: None } => {
            let Some(text) = value.strip_prefix(prefix.as_str()) else { return Some(without(prefix, value)) };
            of_text(text, &if prefix.is_empty() { String::new() } else { format!(" after `{prefix}`") })
        }
        SignatureLayout::Value { prefix, separator: Some(separator) } => {
            let entries: Vec<_> = value.split(*separator).map(str::trim).take(MOST_SIGNATURES + 1).collect();
            let texts: Vec<_> = entries.iter().filter_map(|entry| entry.strip_prefix(prefix.as_str())).collect();
            let after = if prefix.is_empty() { String::new() } else { format!(" after `{prefix}`") };
            of_entries(&entries, &texts, &after, &of_text, || without(prefix, value))
        }
        SignatureLayout::Elements { timestamp, signature } => {
            let entries: Vec<_> = value.split(',').map(str::trim).take(MOST_SIGNATURES + 1).collect();
            let element =
                |entry: &&'_ str, name: &str| entry.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
            let texts: Vec<_> = match signature.is_empty() {
                true => {
                    let is_time = |entry: &&&str| timestamp.as_deref().is_some_and(|name| element(entry, name));
                    entries.iter().filter(|entry| !is_time(entry) && !entry.is_empty()).copied().collect()
                }
                false => {
                    let after = |entry: &&'_ str| entry.len().min(signature.len().saturating_add(1));
                    let own = entries.iter().filter(|entry| element(entry, signature));
                    own.filter_map(|entry| entry.get(after(entry)..)).collect()
                }
            };
            let after = if signature.is_empty() { String::new() } else { format!(" after `{signature}=`") };
            let none = || match signature.is_empty() {
                true => "has no element with a signature".to_owned(),
                false => format!("has no element that begins with `{signature}=`"),
            };
            of_entries(&entries, &texts, &after, &of_text, none)
        }
        _ => None,
    }
}

/// Returns what is wrong with a list, of which one signature must have the right form.
fn of_entries(
    entries: &[&str],
    texts: &[&str],
    after: &str,
    of_text: &dyn Fn(&str, &str) -> Option<String>,
    none: impl Fn() -> String,
) -> Option<String> {
    if entries.len() > MOST_SIGNATURES {
        return Some(format!("has more than {MOST_SIGNATURES} entries"));
    }
    let Some(first) = texts.first() else { return Some(none()) };
    if texts.iter().any(|text| of_text(text, after).is_none()) { None } else { of_text(first, after) }
}

fn without(prefix: &str, value: &str) -> String {
    let starts_alike = value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let is_encoded = ["%3d", "%3D", "%2c", "%2C", "%22"].iter().any(|digits| value.contains(digits));
    let difference = match (starts_alike, is_encoded) {
        (true, _) => ", which is written in a different case",
        (false, true) => ": it is percent-encoded",
        (false, false) => "",
    };
    format!("does not begin with `{prefix}`{difference}")
}

/// Returns what is wrong with the text of a signature of 32 or 64 bytes.
fn of_text(text: &str, encoding: Encoding, length: usize, after: &str) -> Option<String> {
    let is_long = length == 64;
    let hex_length = if is_long { 128 } else { 64 };
    let base64_lengths = if is_long { [86, 88] } else { [43, 44] };
    let (digits, unpadded, padded) = if is_long { (128, 86, 88) } else { (64, 43, 44) };
    let expected = match encoding {
        Encoding::Hex => format!("{digits} hexadecimal digits are"),
        Encoding::Base64 => format!("{unpadded} or {padded} characters of base64 are"),
        Encoding::Base64Url => format!("{unpadded} or {padded} characters of base64url are"),
        _ => format!("{digits} hexadecimal digits or {padded} characters of base64 are"),
    };
    let count = text.chars().count();
    let may_be_hex = matches!(encoding, Encoding::Hex | Encoding::Either) && count == hex_length;
    let may_be_base64 = encoding != Encoding::Hex && base64_lengths.contains(&count);
    if !may_be_hex && !may_be_base64 {
        let other_hash = other_hash(text, is_long);
        return Some(format!("has {}{after} where {expected} expected{other_hash}", characters(text)));
    }
    if may_be_hex {
        return (!is_hex(text)).then(|| format!("is not hexadecimal{after}"));
    }
    let (decoded, name) = match encoding {
        Encoding::Base64Url => (encodings::base64url(text), "base64url"),
        _ => (encodings::base64(text), "base64"),
    };
    let is_decoded = decoded.is_some_and(|bytes| bytes.len() == length);
    (!is_decoded).then(|| format!("is not {name} of {length} bytes{after}"))
}

/// Returns what is wrong with the signatures of Standard Webhooks, for shared keys, public keys, or both.
fn of_list(value: &str, has_shared: bool, has_pairs: bool) -> Option<String> {
    let entries: Vec<_> = value.split(' ').filter(|entry| !entry.is_empty()).take(MOST_SIGNATURES + 1).collect();
    let texts =
        |version: &str| -> Vec<&str> { entries.iter().filter_map(|entry| entry.strip_prefix(version)).collect() };
    let (shared, public) = (texts("v1,"), texts("v1a,"));
    let is_plausible = (has_shared && shared.iter().any(|text| text.len() == 44))
        || (has_pairs && public.iter().any(|text| text.len() == 88));
    let (version, own, other, length, hint) = match has_shared {
        true => (
            "v1,",
            &shared,
            &public,
            44,
            "; it has only signatures of version v1a, which need the public key of \
                                               the sender (`whpk_`)",
        ),
        false => (
            "v1a,",
            &public,
            &shared,
            88,
            "; it has only signatures of version v1, which need a shared key \
                                                 (`whsec_`)",
        ),
    };
    if !value.is_ascii() {
        Some("contains a character that is not ASCII".to_owned())
    } else if entries.len() > MOST_SIGNATURES {
        Some(format!("has more than {MOST_SIGNATURES} signatures"))
    } else if has_pairs && public.len() > MOST_ED25519 {
        Some(format!("has more than {MOST_ED25519} signatures of version v1a"))
    } else if is_plausible {
        None
    } else if let Some(text) = own.first() {
        let other_hash = other_hash(text, !has_shared);
        let has = characters(text);
        Some(format!("has {has} after `{version}` where {length} characters of base64 are expected{other_hash}"))
    } else {
        let hint = if other.is_empty() { "" } else { hint };
        Some(format!("has no signature that begins with `{version}`{hint}"))
    }
}

/// The most entries in one header.
const MOST_SIGNATURES: usize = 32;

/// The most signatures of version v1a.
const MOST_ED25519: usize = 16;

fn characters(text: &str) -> String {
    match text.chars().count() {
        1 => "1 character".to_owned(),
        count => format!("{count} characters"),
    }
}

/// Names the hash whose HMAC has as many hexadecimal digits or characters of base64, or says that some are missing.
fn other_hash(text: &str, is_long: bool) -> &'static str {
    let is_hex = is_hex(text);
    let is_base64 = text.ends_with('=') && encodings::base64(text).is_some();
    match text.len() {
        32 if is_hex => ", as many as MD5 has",
        40 if is_hex => ", as many as HMAC-SHA1 has",
        28 if is_base64 => ", as many as HMAC-SHA1 has",
        64 if is_hex && is_long => ", as many as HMAC-SHA256 has",
        44 if is_base64 && is_long => ", as many as HMAC-SHA256 has",
        96 if is_hex => ", as many as HMAC-SHA384 has",
        128 if is_hex && !is_long => ", as many as HMAC-SHA512 has",
        88 if is_base64 && !is_long => ", as many as HMAC-SHA512 and Ed25519 have",
        44 if !is_long => "",
        1..64 => ", so that it is too short: it may be truncated",
        _ if is_long && text.len() < 86 => ", so that it is too short: it may be truncated",
        _ => "",
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
