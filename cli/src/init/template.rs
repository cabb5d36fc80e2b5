//! The text of the config file.

use std::fmt::Write;
use std::path::Path;

use super::comments::{FILL_IN, commented};
use super::given::{GivenValues, is_custom, title};
use super::options::write_options;
use crate::commands::shell_word;
use crate::failure::Failure;
use crate::provider::NamedProvider;

/// The variable of the secret that signs forwarded events.
const FORWARD_SECRET: &str = "FORWARD_SECRET";

/// A config file, and the commands that use it.
pub(super) struct Template {
    text: String,
    next: String,
}

impl Template {
    pub(super) fn new(providers: &[NamedProvider], values: &GivenValues, file: &Path) -> Result<Self, Failure> {
        let needs_inbox = providers.iter().any(|provider| !retries(*provider));
        let mut text = TOP.to_owned();
        if needs_inbox {
            text.push_str(INBOX_KEY);
        } else {
            text.push_str(&INBOX_KEY.replace("inbox_key =", "# inbox_key ="));
        }
        text.push_str(OPERATIONS);
        providers.iter().for_each(|provider| endpoint(&mut text, *provider, values));
        let file = quoted(file)?;
        let mut next = String::new();
        if needs_inbox {
            next.push_str(
                "  (umask 077; openssl rand -base64 32 > inbox.key)  # keep a copy: it opens stored bodies\n",
            );
        }
        let _ = writeln!(next, "  # fill in the lines marked {FILL_IN} in {file}");
        for provider in providers {
            let (variable, name) = (variable(*provider), provider.name());
            let scheme = values.scheme(*provider);
            let (title, of) = match (is_custom(*provider), scheme) {
                (true, Some("standard-webhooks")) => ("your provider", "--scheme standard-webhooks"),
                (true, _) => ("your provider", "--scheme hmac-sha256"),
                (false, _) => (title(*provider), name),
            };
            let _ = match (is_custom(*provider), scheme) {
                (true, Some("ed25519")) => writeln!(next, "  export {variable}=..  # the public key of your provider"),
                _ => writeln!(next, "  export {variable}=..  # from {title}; to try it: $(medhook secret new {of})"),
            };
        }
        let _ =
            writeln!(next, "  export {FORWARD_SECRET}=$(openssl rand -base64 32)  # give it to your application, too");
        let _ = writeln!(next, "  medhook receive --check --config {file}");
        let _ = writeln!(next, "  medhook receive --config {file}");
        for provider in providers {
            let name = provider.name();
            let _ = match (is_custom(*provider), values.scheme(*provider)) {
                // The endpoint has only the public key, which cannot sign.
                (true, Some("ed25519")) => writeln!(
                    next,
                    "  # to try it, make a key pair (docs/receive.md), and sign with its private key:\n  \
                     medhook send custom --scheme ed25519 --header {} --secret-env PRIVATE_KEY \\\n    \
                     --to http://127.0.0.1:8787/webhooks/{name}",
                    values.header(*provider).unwrap_or("X-Signature")
                ),
                _ => writeln!(
                    next,
                    "  medhook send --config {file} --endpoint {name}  # in a second terminal, with the same variables"
                ),
            };
        }
        Ok(Template { text, next })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the commands that the operator needs next, a line for each.
    pub(super) fn next_commands(&self) -> &str {
        &self.next
    }
}

/// Returns whether retries of the provider are documented.
fn retries(provider: NamedProvider) -> bool {
    matches!(provider, NamedProvider::Known(facts) if facts.retries.is_some())
}

fn variable(provider: NamedProvider) -> String {
    format!("{}_SECRET", provider.name().to_uppercase())
}

/// Returns a path for a shell.
fn quoted(path: &Path) -> Result<String, Failure> {
    let Some(path) = path.to_str() else {
        return Err(Failure::new("--out: must be valid UTF-8"));
    };
    Ok(shell_word(path))
}

fn endpoint(text: &mut String, provider: NamedProvider, values: &GivenValues) {
    let (name, title) = (provider.name(), title(provider));
    let _ =
        write!(text, "\n# {title}: enter https://YOUR-HOST/webhooks/{name} as the URL in its portal.\n[[endpoint]]\n");
    let _ = writeln!(text, "path     = \"/webhooks/{name}\"");
    let _ = writeln!(text, "name     = {name:?} # part of the keys in the store: keep it when the URL changes");
    let _ = writeln!(text, "provider = {name:?}");
    if is_custom(provider) {
        commented(
            text,
            "Every sender that medhook does not know is described by the lines below. The settings of many:",
        );
        let _ = writeln!(text, "# {GUIDE}");
    }
    commented(
        text,
        "The secret of this endpoint at the provider. A file, { file = \"..\" }, can be replaced without a restart. While you rotate \
         secrets, list both.",
    );
    let _ = writeln!(text, "secrets  = [{{ env = \"{}\" }}]", variable(provider));
    write_options(text, provider, values);
    inbox(text, provider);
    commented(
        text,
        "Your application, which handles the events: http:// on this machine, https:// elsewhere, or a Unix socket such \
         as \"unix:/run/app.sock:/webhooks\".",
    );
    let _ = writeln!(text, "forward  = \"http://127.0.0.1:3000/webhooks/{name}\" # {FILL_IN}: your URL");
    commented(text, "Signs forwarded events as a Standard Webhook, so that the application accepts no others:");
    let _ = writeln!(text, "forward_secret = {{ env = {FORWARD_SECRET:?} }}");
}

fn inbox(text: &mut String, provider: NamedProvider) {
    let NamedProvider::Known(facts) = provider else {
        commented(
            text,
            "Stores each event before it is acknowledged, and forwards it until the application has handled it. Set it to \
             false only if the sender retries for as long as the application can be away.",
        );
        text.push_str("inbox    = true\n");
        return;
    };
    match &facts.retries {
        None => {
            commented(
                text,
                &format!(
                    "{} documents no retries, so an event that the application cannot handle at once would be lost. The \
                     inbox stores it before it is acknowledged, and forwards it until it is handled.",
                    facts.title
                ),
            );
            text.push_str("inbox    = true\n");
        }
        Some(schedule) => {
            let waits = facts.answer_timeout.map(|timeout| {
                format!(" It waits {} s for an answer, so set it if the application can be slower.", timeout.as_secs())
            });
            commented(
                text,
                &format!(
                    "{}{}. With an inbox, each event is stored before it is acknowledged, and forwarded until it is \
                     handled.{}",
                    facts.title,
                    documented(facts.name, schedule.remark),
                    waits.unwrap_or_default()
                ),
            );
            text.push_str("# inbox    = true # needs inbox_key\n");
        }
    }
}

/// Returns the remark on a schedule without the provider's name and without what is guessed.
fn documented<'r>(name: &str, remark: &'r str) -> &'r str {
    let remark = remark.strip_prefix(name).unwrap_or(remark);
    remark.split_once(';').map_or(remark, |(documented, _)| documented)
}

const GUIDE: &str = "https://github.com/medhook/medhook/blob/main/src/guide/schemes.md";

const TOP: &str = "\
# Config file of `medhook receive`; docs/receive.md describes every key.
# Lines marked FILL IN need a value of yours. Relative paths start at the working directory.

# A TLS proxy on this machine passes deliveries to this address. Without a proxy, listen on a public address
# with tls = { cert = \"..\", key = \"..\" }.
listen = \"127.0.0.1:8787\"

# Records which events were handled. PostgreSQL: { env = \"MEDHOOK_STORE\" } with a postgres:// URL.
store = \"sqlite:medhook.db\"
";

const INBOX_KEY: &str = "
# Seals the bodies of stored events, which are health data. Keep a copy: without this key they cannot be read.
#   (umask 077; openssl rand -base64 32 > inbox.key)
inbox_key = { file = \"inbox.key\" }
";

const OPERATIONS: &str = "
# Health checks and metrics; do not expose this address.
[operations]
listen = \"127.0.0.1:8788\"
# A page about the state of the receiver, without bodies, at this address:
#   (umask 077; openssl rand -base64 24 > page-token)
# token = { file = \"page-token\" }
";

#[cfg(test)]
mod tests {
    use medhook::registry::PROVIDERS;

    use super::*;

    #[test]
    fn every_option_of_every_provider_is_named() {
        for facts in PROVIDERS {
            let provider = NamedProvider::Known(facts);
            let template = Template::new(&[provider], &GivenValues::default(), Path::new("medhook.toml")).unwrap();
            for option in facts.required_options.iter().chain(facts.optional_options) {
                assert!(template.text().contains(&format!("{option} ")), "{}: {option}", facts.name);
            }
            assert!(template.text().parse::<toml::Table>().is_ok(), "{}", template.text());
        }
    }

    #[test]
    fn comments_are_short_lines() {
        let names = NamedProvider::names();
        let providers: Vec<_> = names.iter().filter_map(|name| NamedProvider::of(name)).collect();
        let template = Template::new(&providers, &GivenValues::default(), Path::new("a file.toml")).unwrap();
        for line in template.text().lines() {
            assert!(line.len() <= 120, "{line}");
        }
        assert!(template.next_commands().contains("--config 'a file.toml'"), "{}", template.next_commands());
    }
}
