//! The command to run next: `medhook verify` with the options of this command.

use crate::commands::shell_word;

/// Options of `capture` that `verify` does not have, and whether a value follows.
const OWN: [(&str, bool); 4] = [("--listen", true), ("--out", true), ("--max", true), ("--yes-phi", false)];

/// Returns the arguments that `verify` takes as well, quoted for a shell. They name secrets and contain none.
pub(super) fn options_of_verify(arguments: impl Iterator<Item = String>) -> String {
    let mut options = String::new();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let is_own = |(name, _): &&(&str, bool)| {
            argument.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        };
        match OWN.iter().find(is_own) {
            Some((name, true)) if argument == *name => drop(arguments.next()),
            Some(_) => {}
            None => {
                options.push_str(&shell_word(&argument));
                options.push(' ');
            }
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_verify_are_kept_and_quoted() {
        let options = |text: &str| options_of_verify(text.split(' ').map(str::to_owned));
        assert_eq!(
            options(
                "cair --listen 127.0.0.1:0 --scheme hmac-sha256 --out=a --max 3 --header X --yes-phi --secret-env A"
            ),
            "cair --scheme hmac-sha256 --header X --secret-env A "
        );
        assert_eq!(options("--prefix it's --out --secret-file"), "--prefix 'it'\\''s' ");
    }
}
