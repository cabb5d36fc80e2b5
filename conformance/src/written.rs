//! The forms in which schemes write signatures and timestamps in headers.

use base64ct::{Base64, Encoding as _};
use medhook::testing::Signing;
use medhook::{
    Ed25519Body, Encoding, HmacSha256Body, SecretEncoding, SharedSecretForm, SignatureLayout, TimestampPlace,
};

/// Returns the template of what a scheme signs, if it signs a timestamp.
pub(crate) fn template(signing: &Signing) -> Option<&str> {
    match signing {
        Signing::StandardWebhooks(_) => Some("{id}.{timestamp}.{body}"),
        Signing::Signature(settings) if settings.timestamp.is_some() => Some(&settings.signed),
        _ => None,
    }
}

/// Returns the character between the entries of the header with signatures, if it can have several.
pub(crate) fn separator(signing: &Signing) -> Option<char> {
    match signing {
        Signing::StandardWebhooks(_) => Some(' '),
        Signing::Signature(settings) => match &settings.layout {
            SignatureLayout::Value { separator, .. } => *separator,
            _ => Some(','),
        },
        _ => None,
    }
}

/// Returns the header with the signed id.
pub(crate) fn id_header(signing: &Signing) -> Option<String> {
    match signing {
        Signing::StandardWebhooks(scheme) => scheme.header_names().into_iter().next(),
        Signing::Signature(settings) => settings.id_header.as_ref().map(|name| name.to_ascii_lowercase()),
        _ => None,
    }
}

/// Returns the place of the signed timestamp.
pub(crate) fn timestamp_place(signing: &Signing) -> Option<TimestampPlace> {
    match signing {
        Signing::StandardWebhooks(scheme) => scheme.header_names().into_iter().nth(1).map(TimestampPlace::Header),
        Signing::Signature(settings) => settings.timestamp.clone().map(|place| match place {
            TimestampPlace::Header(name) => TimestampPlace::Header(name.to_ascii_lowercase()),
            other => other,
        }),
        _ => None,
    }
}

/// Returns whether the signed time is that of the event.
pub(crate) fn signs_event_time(signing: &Signing) -> bool {
    match signing {
        Signing::StandardWebhooks(scheme) => scheme.is_event_time(),
        Signing::Signature(settings) => settings.timestamp.is_some() && settings.is_event_time,
        _ => false,
    }
}

/// Splits the value of the header with one genuine signature, or with the shared secret, before that.
pub(crate) fn split<'v>(signing: &Signing, value: &'v str) -> (&'v str, &'v str) {
    let at = match signing {
        Signing::StandardWebhooks(_) => value.find(',').map_or(0, |at| at.saturating_add(1)),
        Signing::Signature(settings) => match &settings.layout {
            SignatureLayout::Value { prefix, .. } => prefix.len(),
            SignatureLayout::Elements { signature, .. } => {
                let last = value.rfind(',').map_or(0, |at| at.saturating_add(1));
                let name = if signature.is_empty() { 0 } else { signature.len().saturating_add(1) };
                last.saturating_add(name)
            }
            _ => 0,
        },
        Signing::SharedSecret { form: SharedSecretForm::Verbatim, .. } => 0,
        _ => value.find(' ').map_or(0, |at| at.saturating_add(1)),
    };
    value.split_at_checked(at).unwrap_or(("", value))
}

/// Returns the text before a signature within its entry, such as `v1,` or `v1=`.
pub(crate) fn entry<'b>(signing: &Signing, before: &'b str) -> &'b str {
    match (signing, before.rfind(',')) {
        (Signing::Signature(settings), Some(at)) if matches!(settings.layout, SignatureLayout::Elements { .. }) => {
            before.get(at.saturating_add(1)..).unwrap_or_default()
        }
        _ => before,
    }
}

/// Returns a made-up signature of the same form.
pub(crate) fn filler(signature: &str) -> String {
    let padding = signature.bytes().rev().take_while(|byte| *byte == b'=').count();
    let filler = if padding > 0 { "A" } else { "0" };
    format!("{}{}", filler.repeat(signature.len().saturating_sub(padding)), "=".repeat(padding))
}

/// Returns the signature of a template in place of the scheme's own, without a prefix.
pub(crate) fn signed_as(
    signing: &Signing,
    secret: &str,
    template: &str,
    (id, timestamp): (&str, &str),
    body: &[u8],
) -> Result<String, String> {
    let (before, after, encoded) = match (template.split_once("{body}"), template.split_once("{body_base64}")) {
        (Some((before, after)), _) => (before, after, None),
        (None, Some((before, after))) => (before, after, Some(Base64::encode_string(body))),
        (None, None) => return Err("a template without a body".to_owned()),
    };
    let part = |text: &str| text.replace("{timestamp}", timestamp).replace("{id}", id);
    let body = encoded.as_ref().map_or(body, |encoded| encoded.as_bytes());
    let message = [part(before).as_bytes(), body, part(after).as_bytes()].concat();

    let is_private = secret.starts_with("whsk_");
    let (plain, secret) = match signing {
        Signing::StandardWebhooks(_) if is_private => {
            (Signing::of(Ed25519Body::new("x-signature").encoding(Encoding::Base64)), secret)
        }
        Signing::StandardWebhooks(scheme) => {
            let text = match scheme.key_encoding() {
                SecretEncoding::Text => secret,
                _ => secret.strip_prefix("whsec_").unwrap_or(secret),
            };
            let hmac = HmacSha256Body::new("x-signature").encoding(Encoding::Base64);
            (Signing::of(hmac.secret_encoding(scheme.key_encoding())), text)
        }
        Signing::Signature(settings) => {
            let mut plain = settings.clone();
            plain.layout = SignatureLayout::Value { prefix: String::new(), separator: None };
            (plain.timestamp, plain.id_header, plain.signed) = (None, None, "{body}".to_owned());
            (Signing::Signature(plain), secret)
        }
        _ => return Err("the scheme signs nothing".to_owned()),
    };
    let headers = plain.headers(secret, "", "", &message).map_err(|error| error.to_string())?;
    headers.into_iter().next().map(|(_, signature)| signature).ok_or_else(|| "no signature".to_owned())
}
