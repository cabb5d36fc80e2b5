//! The mistakes of secrets, as two tables: texts that were copied or configured incorrectly, and keys that were derived
//! from the text in another way. A new mistake is one entry.

use medhook::Secret;

use crate::verify::encodings::{base64, base64url, hex, percent_decoded};

/// A mistake of a secret's text. The text of the cause continues the words "secret NAME".
pub(super) struct TextMistake {
    pub(super) code: &'static str,
    pub(super) text: &'static str,
    /// Returns the texts that the secret may have without the mistake.
    pub(super) undo: fn(&str) -> Vec<String>,
}

/// The mistakes of a secret's text. They apply to HMAC keys and to shared secrets.
pub(super) const TEXTS: &[TextMistake] = &[
    TextMistake {
        code: "secret_given_in_quotes",
        text: "was given with quotation marks around it, which are not part of it",
        undo: |text| trimmed(text, |c| "\"'`\u{201c}\u{201d}\u{2018}\u{2019}\u{ab}\u{bb}".contains(c)),
    },
    TextMistake {
        code: "secret_given_with_invisible_characters",
        text: "was given with invisible characters, such as a byte order mark or a zero-width space",
        undo: |text| vec![text.chars().filter(|c| !is_invisible(*c)).collect()],
    },
    TextMistake {
        code: "secret_given_as_assignment",
        text: "was given together with its name, as `NAME=value`; only the value is the secret",
        undo: assigned,
    },
    TextMistake {
        code: "secret_given_with_escapes",
        text: "was given with an escaped line break (a backslash and a letter) at its end",
        undo: |text| {
            let ends = ["\\r\\n", "\\n", "\\r"];
            ends.iter().find_map(|end| text.strip_suffix(end)).map(str::to_owned).into_iter().collect()
        },
    },
    TextMistake {
        code: "secret_given_with_other_lines",
        text: "was given with other lines; one of its lines is the secret",
        undo: |text| match text.contains(['\n', '\r']) {
            true => text.split(['\n', '\r']).map(|line| line.trim().to_owned()).take(16).collect(),
            false => Vec::new(),
        },
    },
    TextMistake {
        code: "secret_encoded_twice",
        text: "is encoded in base64 more often than expected",
        undo: |text| {
            let once = [text, bare(text)].into_iter().filter_map(text_in_base64);
            once.flat_map(|text| [text_in_base64(&text), Some(text)]).flatten().collect()
        },
    },
    TextMistake {
        code: "secret_percent_encoded",
        text: "was given percent-encoded, as in a URL",
        undo: |text| {
            let decoded = [percent_decoded(text.as_bytes(), false), percent_decoded(text.as_bytes(), true)];
            decoded.into_iter().flatten().filter_map(|bytes| String::from_utf8(bytes).ok()).collect()
        },
    },
    TextMistake {
        code: "secret_in_other_case",
        text: "has letters in a different case than that of the sender",
        undo: |text| vec![text.to_lowercase(), text.to_uppercase()],
    },
];

/// A way to derive a key that differs from the scheme's. The text of the cause continues the words "secret NAME".
struct KeyMistake {
    code: &'static str,
    text: &'static str,
    /// Whether it applies to Standard Webhooks, and whether to HMACs whose key is the secret's text.
    standard: bool,
    as_text: bool,
    /// Returns the keys that the mistake makes of the secret's text.
    derive: fn(&str) -> Vec<Vec<u8>>,
}

const KEYS: &[KeyMistake] = &[
    KeyMistake {
        code: "secret_read_as_text",
        text: "was used as text to sign, but must be decoded as base64",
        standard: true,
        as_text: false,
        derive: |text| vec![text.into()],
    },
    KeyMistake {
        code: "secret_read_as_text_without_whsec",
        text: "was used as text without `whsec_` to sign, but must be decoded as base64",
        standard: true,
        as_text: false,
        derive: |text| vec![bare(text).into()],
    },
    KeyMistake {
        code: "secret_read_as_base64",
        text: "was decoded as base64 to sign, but must be used as text; or it was given in base64 once more than expected",
        standard: false,
        as_text: true,
        derive: |text| base64(bare(text)).into_iter().collect(),
    },
    KeyMistake {
        code: "secret_read_without_whsec",
        text: "was used without `whsec_` to sign, but `whsec_` is part of it",
        standard: false,
        as_text: true,
        derive: |text| text.strip_prefix("whsec_").map(Into::into).into_iter().collect(),
    },
    KeyMistake {
        code: "secret_read_with_whsec",
        text: "was used with `whsec_` before it to sign, as text",
        standard: true,
        as_text: true,
        derive: |text| vec![["whsec_", text].concat().into()],
    },
    KeyMistake {
        code: "secret_read_as_base64url",
        text: "was decoded as base64url to sign",
        standard: true,
        as_text: true,
        derive: |text| base64url(bare(text)).into_iter().collect(),
    },
    KeyMistake {
        code: "secret_read_as_hex",
        text: "was decoded as hexadecimal to sign",
        standard: true,
        as_text: true,
        derive: |text| hex(bare(text)).into_iter().collect(),
    },
    KeyMistake {
        code: "secret_read_encoded_as_base64",
        text: "was encoded as base64 to sign",
        standard: true,
        as_text: true,
        derive: |text| vec![<base64ct::Base64 as base64ct::Encoding>::encode_string(text.as_bytes()).into()],
    },
    KeyMistake {
        code: "secret_read_with_line_break",
        text: "was used with a line break at its end to sign",
        standard: true,
        as_text: true,
        derive: |text| vec![[text, "\n"].concat().into()],
    },
    KeyMistake {
        code: "secret_read_with_crlf",
        text: "was used with a line break (CR LF) at its end to sign",
        standard: true,
        as_text: true,
        derive: |text| vec![[text, "\r\n"].concat().into()],
    },
    KeyMistake {
        code: "secret_read_with_space",
        text: "was used with a space before or after it to sign",
        standard: true,
        as_text: true,
        derive: |text| vec![[text, " "].concat().into(), [" ", text].concat().into()],
    },
    KeyMistake {
        code: "secret_read_with_quotes",
        text: "was used with quotation marks around it to sign",
        standard: true,
        as_text: true,
        derive: |text| vec![["\"", text, "\""].concat().into(), ["'", text, "'"].concat().into()],
    },
    KeyMistake {
        code: "secret_read_with_byte_order_mark",
        text: "was used with a byte order mark before it to sign",
        standard: true,
        as_text: true,
        derive: |text| vec![["\u{feff}", text].concat().into()],
    },
];

/// A key that may have signed.
pub(super) struct Key {
    /// The code and the text of the mistake, if there is one.
    pub(super) mistake: Option<(&'static str, String)>,
    pub(super) bytes: Vec<u8>,
}

/// Returns the keys that may have signed, the correct ones first.
pub(super) fn keys(secrets: &[Secret], standard: bool) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    let mut add = |mistake: Option<(&'static str, String)>, bytes: Vec<u8>| {
        if !keys.iter().any(|known| known.bytes == bytes) {
            keys.push(Key { mistake, bytes });
        }
    };
    for secret in secrets {
        correct(secret.expose_secret(), standard).into_iter().for_each(|key| add(None, key));
    }
    for secret in secrets {
        let (label, text) = (secret.label(), secret.expose_secret());
        for mistake in KEYS.iter().filter(|mistake| if standard { mistake.standard } else { mistake.as_text }) {
            for key in (mistake.derive)(text) {
                add(Some((mistake.code, format!("secret {label} {}", mistake.text))), key);
            }
        }
        for mistake in TEXTS {
            for key in (mistake.undo)(text).into_iter().filter_map(|text| correct(&text, standard)) {
                add(Some((mistake.code, format!("secret {label} {}", mistake.text))), key);
            }
        }
    }
    // A program whose secret is not set signs with one of these.
    for unset in ["", "undefined", "null", "None"] {
        let text = "the sender signed without a secret: its setting is empty or missing";
        add(Some(("signed_without_secret", text.to_owned())), unset.into());
    }
    keys
}

/// Returns the key that the scheme derives from a secret's text.
fn correct(text: &str, standard: bool) -> Option<Vec<u8>> {
    let key = if standard { base64(bare(text))? } else { text.into() };
    (!key.is_empty()).then_some(key)
}

fn bare(text: &str) -> &str {
    text.strip_prefix("whsec_").unwrap_or(text)
}

/// Returns whether the secret looks like a reference to a variable that was not replaced with its value.
pub(super) fn is_unexpanded(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-: ".contains(&byte))
    };
    let pairs = [("${", "}"), ("$(", ")"), ("${{", "}}"), ("{{", "}}"), ("%", "%")];
    let between = |(before, after)| text.strip_prefix(before)?.strip_suffix(after);
    pairs.into_iter().filter_map(between).any(is_name)
        || text.strip_prefix('$').is_some_and(|name| is_name(name) && !name.contains([' ', '.', '-', ':']))
}

fn text_in_base64(text: &str) -> Option<String> {
    let decoded = base64(text).or_else(|| base64url(text));
    decoded.and_then(|bytes| String::from_utf8(bytes).ok()).map(|text| text.trim().to_owned())
}

fn trimmed(text: &str, is_surplus: fn(char) -> bool) -> Vec<String> {
    vec![text.trim_matches(|c: char| c.is_whitespace() || is_surplus(c)).to_owned()]
}

/// Returns the value of `NAME=value`, `export NAME="value"` or `NAME: value`.
fn assigned(text: &str) -> Vec<String> {
    let text = text.strip_prefix("export ").unwrap_or(text);
    let value = text.split_once(['=', ':']).filter(|(name, _)| {
        let name = name.trim();
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    });
    value.map(|(_, value)| value.trim_matches([' ', '"', '\'', ';']).to_owned()).into_iter().collect()
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
        || (c.is_whitespace() && c != ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undone(code: &str, text: &str) -> Vec<String> {
        (TEXTS.iter().find(|mistake| mistake.code == code).unwrap().undo)(text)
    }

    #[test]
    fn every_mistake_of_a_text_is_undone() {
        for (code, text) in [
            ("secret_given_in_quotes", "\"the secret\""),
            ("secret_given_in_quotes", "\u{201c}the secret\u{201d}"),
            ("secret_given_with_invisible_characters", "\u{feff}the\u{200b} secret\u{0}"),
            ("secret_given_as_assignment", "NAME=the secret"),
            ("secret_given_as_assignment", "export NAME=\"the secret\""),
            ("secret_given_as_assignment", "name: the secret"),
            ("secret_given_with_escapes", "the secret\\n"),
            ("secret_given_with_other_lines", "other\r\nthe secret"),
            ("secret_encoded_twice", "dGhlIHNlY3JldA=="),
            ("secret_encoded_twice", "dGhlIHNlY3JldAo"),
            ("secret_encoded_twice", "ZEdobElITmxZM0psZEE9PQ=="),
            ("secret_percent_encoded", "the%20secret"),
            ("secret_percent_encoded", "%74he+secret"),
            ("secret_in_other_case", "THE SECRET"),
        ] {
            assert!(undone(code, text).contains(&"the secret".to_owned()), "{code}: {text}");
        }
    }

    #[test]
    fn references_to_variables_are_recognized() {
        for text in ["${NAME}", "$NAME", "$(cat secret)", "${{ secrets.NAME }}", "{{ .Values.x }}", "%NAME%", "${A:-b}"]
        {
            assert!(is_unexpanded(text), "{text}");
        }
        for text in ["", "$", "${}", "$1abc", "a$NAME", "whsec_abc", "%", "%%", "$a b", "pa$$word"] {
            assert!(!is_unexpanded(text), "{text}");
        }
    }

    #[test]
    fn the_correct_keys_come_first_and_no_key_occurs_twice() {
        let secret = |text: &str, label: &str| Secret::new(text).unwrap().labeled(label).unwrap();
        let secrets = [secret("whsec_AAECAwQF", "a"), secret("AAECAwQG", "b")];
        for standard in [true, false] {
            let keys = keys(&secrets, standard);
            assert_eq!(keys.iter().take_while(|key| key.mistake.is_none()).count(), 2);
            assert_eq!(keys.iter().filter(|key| key.mistake.is_none()).count(), 2);
            for (number, key) in keys.iter().enumerate() {
                assert!(!keys[..number].iter().any(|other| other.bytes == key.bytes));
            }
        }
    }
}
