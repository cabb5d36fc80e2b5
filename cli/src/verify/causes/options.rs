//! The options of a custom provider, as causes name them: keys of the config file with their values.

use crate::verify::separators::is_name;
use medhook::{SecretEncoding, SignatureAlgorithm};

/// Returns a key of the config file with a text as its value.
pub(in crate::verify) fn option(key: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("`{key} = \"{value}\"`")
}

/// Returns the option for how a key is written in its secret.
pub(super) fn secret_encoding(encoding: SecretEncoding) -> String {
    let name = match encoding {
        SecretEncoding::Text => "text",
        SecretEncoding::Hex => "hex",
        _ => "base64",
    };
    option("secret_encoding", name)
}

/// Returns the option for a public key in this text.
pub(super) fn public_key_encoding(text: &str) -> String {
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    secret_encoding(if is_hex { SecretEncoding::Hex } else { SecretEncoding::Base64 })
}

/// Returns the scheme whose signatures cover the body alone.
pub(super) fn scheme_of_body(algorithm: SignatureAlgorithm) -> String {
    let name = match algorithm {
        SignatureAlgorithm::HmacSha512 => "hmac-sha512",
        SignatureAlgorithm::Ed25519 => "ed25519",
        _ => "hmac-sha256",
    };
    option("scheme", name)
}

/// Returns whether a part of a header can be shown as a prefix, such as `sha256=` or `v1,`.
pub(super) fn is_prefix(text: &str) -> bool {
    text.strip_suffix(['=', ':', ',', ' ']).is_some_and(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_written_as_in_the_config_file() {
        assert_eq!(option("signed", "{timestamp}\n{body}"), "`signed = \"{timestamp}\\n{body}\"`");
        assert_eq!(option("prefix", "\"\\"), "`prefix = \"\\\"\\\\\"`");
        assert_eq!(secret_encoding(SecretEncoding::Hex), "`secret_encoding = \"hex\"`");
    }

    #[test]
    fn only_short_names_and_prefixes_are_shown() {
        assert!(is_name("v1") && is_prefix("sha256=") && is_prefix("v1,"));
        for text in ["", "a secret", "canary-that-must-never-be-shown", "v1=a"] {
            assert!(!is_name(text), "{text}");
            assert!(!is_prefix(text) && !is_prefix(&format!("{text}=")), "{text}");
        }
    }
}
