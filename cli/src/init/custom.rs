//! The lines for the scheme of a custom provider and its options: those that must be set, and, as comments, those that
//! can be.

use std::fmt::Write;

use super::comments::{FILL_IN, commented};

/// The schemes of custom providers, and their meanings.
const SCHEMES: [(&str, &str); 6] = [
    ("standard-webhooks", "the signature of Standard Webhooks, in its own headers"),
    ("hmac-sha256", "a header has the HMAC-SHA256 of the body"),
    ("hmac-sha512", "a header has the HMAC-SHA512 of the body"),
    ("timestamped-hmac", "a header has the HMAC of a timestamp and the body"),
    ("ed25519", "a header has the Ed25519 signature of the body; the secret is the provider's public key"),
    ("shared-secret", "a header has the secret itself, so the body is not signed; prefer a signature"),
];

/// The names of the schemes.
pub(super) const NAMES: [&str; 6] =
    ["standard-webhooks", "hmac-sha256", "hmac-sha512", "timestamped-hmac", "ed25519", "shared-secret"];

/// Returns the meaning of a scheme.
pub(super) fn meaning(scheme: &str) -> &'static str {
    SCHEMES.iter().find(|(name, _)| *name == scheme).map_or("", |(_, meaning)| meaning)
}

/// Returns whether deliveries of a scheme have a header that the operator names.
pub(super) fn has_header(scheme: Option<&str>) -> bool {
    scheme != Some("standard-webhooks")
}

/// Writes the lines for a preset, which has all settings.
pub(super) fn write_preset(text: &mut String, preset: &str) {
    let _ = writeln!(text, "scheme   = \"timestamped-hmac\"\npreset   = {preset:?}");
}

/// Writes the options of a scheme, or of all if it is not chosen.
pub(super) fn write_scheme_options(text: &mut String, scheme: Option<&str>) {
    let is = |names: &[&str]| scheme.is_none_or(|scheme| names.contains(&scheme));
    if is(&["standard-webhooks"]) {
        text.push_str("# header_prefix = \"svix-\" # standard-webhooks: the beginning of the names of its headers\n");
    }
    if is(&["timestamped-hmac"]) {
        let fill_in = if scheme.is_some() { format!("{FILL_IN}: ") } else { "timestamped-hmac: ".to_owned() };
        let _ = writeln!(text, "# timestamp_header = \"..\" # {fill_in}the header of the timestamp, or instead of it:");
        commented(text, "the elements of a header such as \"t=1732780800,v1=3f4c..\"");
        text.push_str(
            "# timestamp_element = \"t\"\n# signature_element = \"v1\"\n\
             # timestamp_unit = \"seconds\" # or \"milliseconds\" or \"rfc-3339\"\n\
             # signed   = \"{timestamp}.{body}\" # what is signed\n\
             # hash     = \"sha-256\" # or \"sha-512\"\n",
        );
    }
    if is(&["standard-webhooks", "timestamped-hmac"]) {
        text.push_str(
            "# timestamp_of = \"attempt\" # or \"event\", with max_age, if retries have the time of the event\n",
        );
    }
    if is(&["hmac-sha256", "hmac-sha512", "ed25519", "timestamped-hmac"]) {
        text.push_str(
            "# prefix   = \"sha256=\" # the text before a signature, if there is one\n\
             # separator = \",\" # between several signatures in the header, while the provider replaces its key\n\
             # encoding = \"either\" # of a signature: hex or base64; or only \"hex\", \"base64\" or \"base64url\"\n",
        );
    }
    if is(&["standard-webhooks", "hmac-sha256", "hmac-sha512", "ed25519", "timestamped-hmac"]) {
        let default = match scheme {
            Some("standard-webhooks" | "ed25519") => "base64",
            _ => "text",
        };
        let _ = writeln!(text, "# secret_encoding = {default:?} # of the key in the secret");
    }
    if is(&["shared-secret"]) {
        text.push_str(
            "# form     = \"bearer\" # shared-secret in the header Authorization, without `header`; or \"basic\" with\n\
             # username = \"acme\"\n",
        );
    }
}
