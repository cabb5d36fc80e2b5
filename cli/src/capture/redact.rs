//! Replaces the values of headers that may be secrets.

use base64ct::{Base64, Base64Unpadded, Encoding as _};
use http::{HeaderMap, Method};
use medhook::SharedSecretForm;
use medhook::registry::UnsignedHeader;
use medhook::sign::mac;
use medhook::testing::Signing;
use medhook_conformance::Endpoint;

use crate::recording::{Compared, Form, RecordedHead, Redacted};

/// Decides which values are recorded. By default, without an endpoint, it knows no secrets.
#[derive(Default)]
pub(super) struct Redaction {
    /// The label and the text of each secret.
    secrets: Vec<(String, String)>,
    /// The header of the endpoint's signature.
    signature: Option<String>,
    /// Other headers of the signature, with a timestamp or an id.
    signed: Vec<String>,
    /// Headers that hold a shared secret.
    shared: Vec<String>,
    /// A header that holds a secret in another form than its text, such as `authorization`, and its value with each
    /// secret.
    presented: Option<(String, Vec<(String, String)>)>,
    /// Headers without secrets that the provider documents.
    unsigned: &'static [UnsignedHeader],
}

/// Headers that hold no secret at any provider, except those with `signature` in their names.
const KEPT: [&str; 16] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "host",
    "svix-id",
    "svix-timestamp",
    "transfer-encoding",
    "user-agent",
    "via",
    "webhook-id",
    "webhook-timestamp",
];

impl Redaction {
    pub(super) fn for_endpoint(endpoint: &Endpoint, signing: &Signing) -> Self {
        let secrets = endpoint.secrets.iter().chain(&endpoint.test_secrets).chain(&endpoint.also_secrets);
        let secrets = secrets.map(|(label, text)| (label.clone(), text.clone())).collect();
        let unsigned = endpoint.known().map_or(&[][..], |facts| facts.unsigned_headers);
        let mut redaction = Redaction { secrets, unsigned, ..Redaction::default() };
        match signing {
            Signing::StandardWebhooks(_) | Signing::Signature(_) => {
                let signature = signing.header().to_ascii_lowercase();
                let names = signing.header_names().into_iter().map(|name| name.to_ascii_lowercase());
                redaction.signed = names.filter(|name| *name != signature).collect();
                redaction.signature = Some(signature);
            }
            Signing::SharedSecret { header, form } => {
                let header = header.to_ascii_lowercase();
                redaction.shared.push(header.clone());
                if *form != SharedSecretForm::Verbatim {
                    let value = |text: &str| Some(signing.headers(text, "", "", b"").ok()?.into_iter().next()?.1);
                    let values = redaction.secrets.iter();
                    let values = values.filter_map(|(label, text)| Some((label.clone(), value(text)?)));
                    redaction.presented = Some((header, values.collect()));
                }
            }
            _ => {}
        }
        redaction.shared.extend(endpoint.also_header.as_ref().map(|name| name.to_ascii_lowercase()));
        redaction
    }

    /// Returns the head to record.
    pub(super) fn head(&self, at: i64, method: &Method, headers: &HeaderMap, body: &[u8]) -> RecordedHead {
        let mut head = RecordedHead { at, method: method.as_str().to_owned(), ..RecordedHead::default() };
        for (name, value) in headers {
            let (name, value) = (name.as_str(), value.as_bytes());
            match self.redacted(name, value).map(|compared| self.compared_as_signature(name, value, body, compared)) {
                Some(compared) => {
                    head.redacted.push(Redacted { name: name.to_owned(), bytes: value.len(), compared });
                }
                None => head.headers.push((name.to_owned(), value.to_vec())),
            }
        }
        head
    }

    /// Compares an unknown value in the place of a shared secret with the HMACs of the body.
    fn compared_as_signature(&self, name: &str, value: &[u8], body: &[u8], compared: Compared) -> Compared {
        let is_shared = self.shared.iter().any(|shared| shared == name);
        if compared != Compared::Differs || !is_shared || !holds_mac(value) {
            return compared;
        }
        let signs = |(_, secret): &&(String, String)| {
            let signature = mac(secret.as_bytes(), &[body]);
            let hex = base16ct::lower::encode_string(&signature);
            let base64 = Base64Unpadded::encode_string(&signature);
            let text = value.trim_ascii_end().strip_suffix(b"=").unwrap_or(value);
            value.to_ascii_lowercase().ends_with(hex.as_bytes()) || text.ends_with(base64.as_bytes())
        };
        self.secrets.iter().find(signs).map_or(compared, |(label, _)| Compared::Signs(label.clone()))
    }

    /// Returns the result of the comparison with all secrets if the value must not be recorded.
    fn redacted(&self, name: &str, value: &[u8]) -> Option<Compared> {
        let presented = self.presented.as_ref().filter(|(header, _)| header == name).map(|(_, values)| values);
        let expected = presented.unwrap_or(&self.secrets);
        if let Some((label, _)) = expected.iter().find(|(_, expected)| expected.as_bytes() == value) {
            return Some(Compared::Matches(label.clone()));
        }
        if let Some((label, _)) = self.secrets.iter().find(|(_, secret)| secret.as_bytes() == value) {
            return Some(Compared::Resembles(Form::Other, label.clone()));
        }
        let resembling = |(label, secret): &(String, String)| Some((form(value, secret)?, label.clone()));
        if let Some((form, label)) = self.secrets.iter().find_map(resembling) {
            return Some(Compared::Resembles(form, label));
        }
        let is_kept = match &self.signature {
            _ if self.shared.iter().any(|shared| shared == name) => false,
            _ if self.signed.iter().any(|signed| signed == name) => true,
            _ if KEPT.contains(&name) || self.unsigned.iter().any(|header| header.name == name) => true,
            Some(signature) => (signature == name || name.contains("signature")) && holds_mac(value),
            // The secret is unknown, and the header may hold it.
            None => self.secrets.is_empty() && name.contains("signature") && is_unmistakable(value),
        };
        match (is_kept, self.secrets.is_empty()) {
            (true, _) => None,
            (false, true) => Some(Compared::No),
            (false, false) => Some(Compared::Differs),
        }
    }
}

/// Returns whether a value holds text of the length of a signature of 32 or 64 bytes: hexadecimal, base64, or, of 32
/// bytes, base64 of the former.
fn holds_mac(value: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    value.split(|byte| !is_digit(byte)).any(|part| match part.len() {
        43 | 86 => true,
        64 | 128 => part.iter().all(u8::is_ascii_hexdigit),
        _ => false,
    })
}

/// Returns whether a value consists of signatures with the prefix of their scheme. A secret is not written like this.
fn is_unmistakable(value: &[u8]) -> bool {
    let is_mac = |part: &str| {
        let known = [("v1,", false), ("v1a,", true), ("sha256=", false), ("sha512=", true)];
        let found = known.iter().find_map(|(prefix, is_long)| Some((part.strip_prefix(prefix)?, *is_long)));
        let Some((digits, is_long)) = found else { return false };
        let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
        let lengths = if is_long { [86, 88, 128] } else { [43, 44, 64] };
        lengths.contains(&digits.len()) && digits.bytes().all(is_digit)
    };
    str::from_utf8(value).is_ok_and(|text| text.split(' ').all(is_mac))
}

/// The shortest value that is taken for a part of a secret. A shorter one may be a coincidence.
const SHORTEST: usize = 8;

/// The length of a part of a secret that no value may contain.
const COMMON: usize = 12;

/// Returns the form in which a value holds a secret or a part of it.
fn form(value: &[u8], secret: &str) -> Option<Form> {
    if !resembles(value, secret) {
        return None;
    }
    let Ok(text) = str::from_utf8(value) else { return Some(Form::Other) };
    let before = text.strip_suffix(secret);
    let decoded = Base64::decode_vec(text).or_else(|_| Base64Unpadded::decode_vec(text));
    Some(if text.trim_matches(['"', '\'', ' ']) == secret {
        Form::InQuotes
    } else if before.is_some_and(|before| before.ends_with([' ', '=', ':'])) {
        Form::AfterWord
    } else if text.eq_ignore_ascii_case(secret) {
        Form::InOtherCase
    } else if decoded.is_ok_and(|decoded| decoded == secret.as_bytes()) {
        Form::InBase64
    } else if secret.starts_with(text) {
        Form::CutOff
    } else {
        Form::Other
    })
}

/// Returns whether a value contains a secret in some form, or is a part of one.
fn resembles(value: &[u8], secret: &str) -> bool {
    let bare = secret.strip_prefix("whsec_").unwrap_or(secret);
    let base64 = |text: &str| Base64Unpadded::encode_string(text.as_bytes());
    let hex = || bare.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let forms = [secret.to_owned(), bare.to_owned(), base64(bare), base64(secret), hex()]
        .map(|form| form.trim_end_matches('=').to_ascii_lowercase());
    let has_form = |text: &str| {
        let text = text.to_ascii_lowercase();
        let inner = text.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        forms.iter().filter(|form| form.len() >= SHORTEST).any(|form| {
            let mut parts = form.as_bytes().windows(form.len().min(COMMON));
            let contains = |part: &[u8]| text.as_bytes().windows(part.len()).any(|window| window == part);
            parts.any(contains) || (inner.len() >= SHORTEST && form.contains(inner))
        })
    };
    let text = String::from_utf8_lossy(value);
    // Such as the user name and the password of `Basic`.
    let last = text.rsplit([' ', '"']).find(|word| !word.is_empty()).unwrap_or_default();
    let decoded = Base64::decode_vec(last).or_else(|_| Base64Unpadded::decode_vec(last)).unwrap_or_default();
    has_form(&text) || has_form(&String::from_utf8_lossy(&decoded))
}

#[cfg(test)]
mod tests {
    use medhook::{SharedSecret, StandardWebhooks, TimestampedHmac};

    use super::*;

    const SECRET: &str = "canary-0123456789abcdef";

    fn redaction(signing: &Signing) -> Redaction {
        let mut endpoint = Endpoint::new("cair");
        endpoint.secrets.insert("CAIR".to_owned(), SECRET.to_owned());
        Redaction::for_endpoint(&endpoint, signing)
    }

    fn matches() -> Option<Compared> {
        Some(Compared::Matches("CAIR".to_owned()))
    }

    #[test]
    fn without_an_endpoint_only_unmistakable_signatures_are_recorded() {
        let redaction = Redaction::default();
        let redacted = |name: &str, value: &str| redaction.redacted(name, value.as_bytes());
        let mac = "a".repeat(64);
        assert_eq!(redacted("x-healthsync-signature", &format!("sha256={mac}")), None);
        let standard = format!("v1,{}=", "a".repeat(43));
        assert_eq!(redacted("webhook-signature", &format!("{standard} {standard}")), None);
        let long = "a".repeat(128);
        assert_eq!(redacted("x-signature", &format!("sha512={long}")), None);
        assert_eq!(redacted("webhook-signature", &format!("v1a,{}==", "a".repeat(86))), None);
        assert_eq!(redacted("webhook-signature", &format!("v1a,{}=", "a".repeat(43))), Some(Compared::No));
        assert_eq!(redacted("webhook-id", "msg_1"), None);
        for (name, value) in [
            ("x-webhook-signature", mac.as_str()),
            ("x-webhook-signature", "sha256=secret"),
            ("x-key", &format!("sha256={mac}")),
            ("authorization", "Bearer a"),
            ("cookie", "a=b"),
            ("x-api-key", ""),
        ] {
            assert_eq!(redacted(name, value), Some(Compared::No), "{name}");
        }
    }

    #[test]
    fn a_signature_is_recorded_unless_it_holds_the_secret() {
        let redaction = redaction(&Signing::hmac_sha256("X-API-KEY"));
        let redacted = |name: &str, value: &str| redaction.redacted(name, value.as_bytes());
        let mac = "a".repeat(64);
        for name in ["x-api-key", "x-hub-signature-256"] {
            assert_eq!(redacted(name, &mac), None, "{name}");
            assert_eq!(redacted(name, SECRET), matches(), "{name}");
        }
        for value in [
            format!("sha256={mac}"),
            format!("t=1,v1={}", mac.to_uppercase()),
            format!("v1,{}=", "a".repeat(43)),
            format!("\"{}-_\"", "a".repeat(41)),
            format!("{}==", "a".repeat(86)),
            "a".repeat(128),
        ] {
            assert_eq!(redacted("x-api-key", &value), None, "{value}");
        }
        // Perhaps a secret that the recorder does not know: that of a shared secret instead of an HMAC.
        for value in ["another-secret", &format!("whsec_{}", "a".repeat(32)), &format!("whsec_{}", "a".repeat(43)), ""]
        {
            assert_eq!(redacted("x-api-key", value), Some(Compared::Differs), "{value}");
            assert_eq!(redacted("x-signature-key", value), Some(Compared::Differs), "{value}");
        }
        assert_eq!(redacted("x-other-key", &mac), Some(Compared::Differs));
        assert_eq!(redacted("user-agent", SECRET), matches());
    }

    #[test]
    fn timestamps_and_ids_of_the_scheme_are_recorded_and_no_others() {
        let scheme = TimestampedHmac::headers("X-Mac", "X-Time").id_header("X-Id").signed("{id}.{timestamp}.{body}");
        let redaction = redaction(&Signing::of(scheme));
        let redacted = |name: &str, value: &str| redaction.redacted(name, value.as_bytes());
        for (name, value) in [("x-time", "1767225600"), ("x-id", "msg_1")] {
            assert_eq!(redacted(name, value), None, "{name}");
            assert_eq!(redacted(name, SECRET), matches(), "{name}");
        }
        assert_eq!(redacted("x-mac", &"a".repeat(64)), None);
        assert_eq!(redacted("x-other", "1767225600"), Some(Compared::Differs));
        let prefixed = super::tests::redaction(&Signing::of(StandardWebhooks::new().header_prefix("acme-")));
        assert_eq!(prefixed.redacted("acme-timestamp", b"1767225600"), None);
        assert_eq!(prefixed.redacted("other-timestamp", b"1767225600"), Some(Compared::Differs));
    }

    #[test]
    fn authorization_is_never_recorded_and_is_compared_in_its_form() {
        let basic = format!("Basic {}", Base64::encode_string(format!("acme:{SECRET}").as_bytes()));
        let bearer = format!("Bearer {SECRET}");
        for (scheme, genuine, other) in
            [(SharedSecret::bearer(), &bearer, &basic), (SharedSecret::basic("acme"), &basic, &bearer)]
        {
            let redaction = redaction(&Signing::of(scheme));
            let redacted = |value: &str| redaction.redacted("authorization", value.as_bytes());
            assert_eq!(redacted(genuine), matches());
            assert!(matches!(redacted(other), Some(Compared::Resembles(..))), "{other}");
            assert!(matches!(redacted(SECRET), Some(Compared::Resembles(..))));
            assert_eq!(redacted("Bearer another"), Some(Compared::Differs));
        }
    }

    #[test]
    fn other_forms_of_a_secret_are_recognized() {
        let redaction = redaction(&Signing::shared_secret("x-key"));
        let redacted = |value: &str| redaction.redacted("x-key", value.as_bytes());
        assert_eq!(redacted(SECRET), matches());
        for (value, form) in [
            (&*format!("\"{SECRET}\""), Form::InQuotes),
            (&format!("Bearer {SECRET}"), Form::AfterWord),
            (&SECRET.to_uppercase(), Form::InOtherCase),
            (&Base64::encode_string(SECRET.as_bytes()), Form::InBase64),
            (&format!("Basic {}", Base64::encode_string(format!("user:{SECRET}").as_bytes())), Form::Other),
            (&SECRET.bytes().map(|byte| format!("{byte:02X}")).collect::<String>(), Form::Other),
            ("canary-0123", Form::CutOff),
            ("6789abcdef", Form::Other),
            ("v1=anary-0123456-and-more", Form::Other),
        ] {
            assert_eq!(redacted(value), Some(Compared::Resembles(form, "CAIR".to_owned())), "{value}");
        }
        for value in ["", "canary", "another secret", "a-signature-of-64"] {
            assert_eq!(redacted(value), Some(Compared::Differs), "{value}");
        }
        // A header named like a signature holds the shared secret.
        let mediquo = redaction_of("x-webhook-signature");
        assert_eq!(mediquo.redacted("x-webhook-signature", &[b'a'; 64]), Some(Compared::Differs));
        assert_eq!(mediquo.redacted("x-signature", &[b'a'; 64]), Some(Compared::Differs));
    }

    #[test]
    fn a_signature_in_place_of_a_shared_secret_is_recognized_and_not_recorded() {
        let redaction = redaction_of("x-key");
        let signature = mac(SECRET.as_bytes(), &[b"body"]);
        let (hex, base64) = (base16ct::lower::encode_string(&signature), Base64::encode_string(&signature));
        let signs = Compared::Signs("CAIR".to_owned());
        for (value, body, compared) in [
            (hex.clone(), "body", &signs),
            (hex.to_uppercase(), "body", &signs),
            (format!("sha256={hex}"), "body", &signs),
            (base64.clone(), "body", &signs),
            (base64.trim_end_matches('=').to_owned(), "body", &signs),
            (hex, "another body", &Compared::Differs),
            (base64, "another body", &Compared::Differs),
        ] {
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static("x-key"), value.parse().unwrap())]);
            let head = redaction.head(0, &Method::POST, &headers, body.as_bytes());
            assert_eq!((head.headers.len(), &head.redacted[0].compared), (0, compared), "{value}");
        }
    }

    fn redaction_of(header: &str) -> Redaction {
        redaction(&Signing::shared_secret(header))
    }
}
