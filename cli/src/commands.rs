//! Commands for the operator, as a shell needs them.

use std::path::Path;

use crate::output::harmless;

/// The config file that commands use without `--config`.
pub(crate) const DEFAULT_CONFIG: &str = "medhook.toml";

/// Returns a command of `medhook inbox` with a config file.
pub(crate) fn inbox_command(config: &Path, rest: &str) -> String {
    if config == Path::new(DEFAULT_CONFIG) {
        return format!("medhook inbox {rest}");
    }
    format!("medhook inbox {rest} --config {}", shell_word(&config.display().to_string()))
}

/// Quotes a text for a POSIX shell if necessary. Control characters are escaped, since the command may be pasted.
pub(crate) fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", harmless(text.as_bytes()).replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_if_a_shell_would_change_them() {
        for (text, word) in [
            ("/etc/medhook/a-b.toml", "/etc/medhook/a-b.toml"),
            ("a b", "'a b'"),
            ("", "''"),
            ("$(id)", "'$(id)'"),
            ("it's", r"'it'\''s'"),
            ("a;b", "'a;b'"),
        ] {
            assert_eq!(shell_word(text), word);
        }
        assert!(!shell_word("a\nb\x1b[2J").contains(['\n', '\x1b']));
    }
}
