//! The mistakes that a secret's text shows.

/// Returns whether a character cannot be seen where secrets are copied: control characters, and the characters that
/// text editors, office programs and web pages add without showing them.
pub(super) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Soft hyphen, Arabic letter mark, zero width and direction marks, line and paragraph separators.
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            // Word joiner, invisible operators, isolates, byte order mark.
            | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Describes an invisible character in a secret.
pub(super) fn invisible(c: char) -> String {
    let (what, remedy) = match c {
        '\n' | '\r' => ("line break", "a secret is one line; give each secret a variable or file of its own"),
        '\u{feff}' => ("byte order mark", "save the file as UTF-8 without it, or copy the secret again"),
        c if c.is_control() => ("control character", "remove it, or copy the secret again"),
        _ => ("character that is invisible", "remove it, or copy the secret again"),
    };
    format!("contains a {what} (U+{:04X}); {remedy}", u32::from(c))
}

/// Returns the mistake that a secret's text suggests, and what to do.
pub(crate) fn suspicious(text: &str) -> Option<&'static str> {
    if is_quoted(text) {
        Some("is in quotation marks; remove them")
    } else if is_assignment(text) {
        Some("begins with a name and `=`; keep only the text after the `=`")
    } else if is_authorization(text) {
        Some(
            "begins with `Bearer` or `Basic`, which is not part of the secret: remove it, and choose the form `bearer` or \
             `basic`",
        )
    } else if is_template(text) {
        Some("holds an unexpanded variable, such as `${NAME}`; insert its value")
    } else if is_placeholder(text) {
        Some("looks like a placeholder; replace it with the provider's secret")
    } else {
        None
    }
}

fn is_quoted(text: &str) -> bool {
    let pairs = [('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”'), ('„', '“'), ('‘', '’')];
    pairs.iter().any(|(open, close)| text.strip_prefix(*open).is_some_and(|rest| rest.ends_with(*close)))
}

/// Returns whether the text is `NAME=value`, as in a file of environment variables. Padding of base64 is no value.
fn is_assignment(text: &str) -> bool {
    let text = text.strip_prefix("export ").unwrap_or(text);
    text.split_once('=')
        .is_some_and(|(name, value)| name.len() > 1 && is_name(name) && value.bytes().any(|b| b != b'='))
}

/// Returns whether the text is the value of a header `Authorization`.
fn is_authorization(text: &str) -> bool {
    let begins = |word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    begins("Bearer ") || begins("Basic ")
}

fn is_name(text: &str) -> bool {
    !text.starts_with(|first: char| first.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Returns whether the text contains `${..}` or `{{..}}`, or is `$NAME`, `$(..)` or `%NAME%`.
fn is_template(text: &str) -> bool {
    let encloses = |open, close| text.split_once(open).is_some_and(|(_, rest): (_, &str)| rest.contains(close));
    let within = |open, close| text.strip_prefix(open).and_then(|rest: &str| rest.strip_suffix(close));
    encloses("${", "}")
        || encloses("{{", "}}")
        || within("$(", ")").is_some()
        || within("%", "%").is_some_and(is_name)
        || text.strip_prefix('$').is_some_and(is_name)
}

/// Returns whether the text stands for a secret, as in documentation and in dashboards that mask secrets.
fn is_placeholder(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "changeme",
        "changethis",
        "replaceme",
        "replacethis",
        "secret",
        "mysecret",
        "yoursecret",
        "yoursecrethere",
        "yourwebhooksecret",
        "webhooksecret",
        "password",
        "placeholder",
        "example",
        "todo",
        "tbd",
        "none",
        "null",
        "undefined",
    ];
    let bare = text.strip_prefix("whsec_").unwrap_or(text);
    let letters: String = bare.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    (!text.is_empty() && bare.chars().all(|c| matches!(c, '.' | '…' | '*' | '•' | '●' | '-' | '_' | 'x' | 'X')))
        || text.contains(['…', '•', '●'])
        || (text.starts_with('<') && text.ends_with('>'))
        || WORDS.contains(&&*letters)
}

#[cfg(test)]
mod tests {
    use crate::Secret;

    #[test]
    fn text_that_looks_like_a_mistake_is_a_warning_that_literal_silences() {
        for (begins, texts) in [
            ("is in quotation marks", &["\"hunter2\"", "'hunter2'", "`hunter2`", "“hunter2”"][..]),
            ("begins with a name", &["SECRET=hunter2", "export SECRET=hunter2", "a_secret=whsec_hunter2=="]),
            (
                "holds an unexpanded",
                &["${HUNTER2}", "a-${HUNTER2}-b", "$HUNTER2", "{{ hunter2 }}", "$(cat hunter2)", "%HUNTER2%"],
            ),
            ("begins with `Bearer` or `Basic`", &["Bearer hunter2", "bearer hunter2", "Basic aHVudGVyMg=="]),
            (
                "looks like a placeholder",
                &[
                    "changeme",
                    "CHANGE-ME",
                    "whsec_..",
                    "whsec_...",
                    "whsec_xxxxxxxx",
                    "<hunter2>",
                    "your_secret_here",
                    "whsec_hun•••",
                ],
            ),
        ] {
            for text in texts {
                let secret = Secret::new(*text).unwrap();
                assert!(secret.warning().is_some_and(|warning| warning.starts_with(begins)), "{text}");
                assert!(!secret.warning().unwrap().to_ascii_lowercase().contains("hunter2"));
                assert_eq!(secret.literal().warning(), None, "{text}");
            }
        }
        for text in [
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "MDEyMzQ1Njc4OWFiY2RlZg==",
            "whsec_MDEyMzQ1Njc4OWFiY2RlZg==",
            "0123456789abcdef0123456789abcdef",
            "a long random text",
            "Bearerhunter2",
            "basically",
            "$2b$12$abcdefghijklmnopqrstuv",
            "$2024",
            "$",
            "%%",
            "k=hunter2",
            "<hunter2",
            "hunter2>",
            "p{ss}w$rd",
            "x-it's-90%",
            "\"half",
            "contraseña",
            "postgres://medhook:hunter2@localhost/medhook?sslmode=require",
        ] {
            assert_eq!(Secret::new(text).unwrap().warning(), None, "{text}");
        }
        // Its error says that it is empty.
        assert_eq!(super::suspicious(""), None);
    }
}
