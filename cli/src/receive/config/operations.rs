//! Reads `[operations]`: the address of health checks and metrics, and the operator's page.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::collections::HashSet;
use std::net::SocketAddr;

use super::listener::address;
use super::placed::Placed;
use crate::failure::Failure;
use crate::receive::keys::TableKeys;
use crate::receive::operations::{FEWEST_CHARACTERS, LONGEST_TOKEN, PageHosts, SHORTEST_TOKEN};
use crate::receive::secrets::{self, Named};
use crate::receive::tls::CertificateSource;

/// The separate address of health checks, metrics and the operator's page, where deliveries cannot delay them.
pub(in crate::receive) struct OperationsConfig {
    pub(in crate::receive) listen: Placed<SocketAddr>,
    pub(in crate::receive) tls: Option<CertificateSource>,
    /// Set if the page is served.
    pub(in crate::receive) page: Option<PageConfig>,
}

/// The options of the operator's page.
pub(in crate::receive) struct PageConfig {
    /// The place of the table in the config file.
    place: String,
    pub(in crate::receive) token: Named,
    pub(in crate::receive) hosts: PageHosts,
    /// Whether the page may be served over the network without TLS.
    allow_plaintext: bool,
}

impl OperationsConfig {
    /// Takes `[operations]` and `allow_plaintext_operations`.
    pub(super) fn take(keys: &mut TableKeys) -> Result<Option<Self>, Failure> {
        let allow_plaintext = keys.flag(ALLOW_PLAINTEXT)?;
        let only_with_token =
            "is set, but [operations] has no `token`, so there is no page; set it, or remove this key";
        let Some(table) = keys.table("operations", "a table, written as [operations]")? else {
            return if allow_plaintext { Err(keys.wrong(ALLOW_PLAINTEXT, only_with_token)) } else { Ok(None) };
        };
        let mut inner = TableKeys::within(format!("{}: `operations`", keys.place()), table);
        if inner.has(ALLOW_PLAINTEXT) {
            return Err(inner.wrong(ALLOW_PLAINTEXT, "belongs at the top of the file, before the first table"));
        }
        inner.all_known(&["listen", "token", "tls", "hosts"])?;
        let listen = inner.text("listen")?;
        let listen = Placed { place: format!("{}: `listen`", inner.place()), value: inner.needed("listen", listen)? };
        let listen = address(listen, "127.0.0.1:8788")?;
        let tls = CertificateSource::take(&mut inner)?;
        let token = secrets::one(&mut inner, "token").map_err(|failure| failure.advising(NEW_TOKEN))?;
        let hosts = inner.texts("hosts")?;
        let Some(token) = token else {
            if !hosts.is_empty() {
                return Err(inner.wrong("hosts", only_with_token));
            }
            return if allow_plaintext {
                Err(keys.wrong(ALLOW_PLAINTEXT, only_with_token))
            } else {
                Ok(Some(OperationsConfig { listen, tls, page: None }))
            };
        };
        check_token(&token).map_err(|problem| inner.wrong("token", problem))?;
        let hosts = PageHosts::new(hosts).map_err(|index| {
            let problem = "must be a host name without a scheme, a port or a dot at the end, such as \
                           \"medhook.example.org\"";
            inner.wrong(&format!("hosts[{index}]"), problem)
        })?;
        let page = PageConfig { place: inner.place().to_owned(), token, hosts, allow_plaintext };
        let config = OperationsConfig { listen, tls, page: Some(page) };
        config.check_address(config.listen.value)?;
        Ok(Some(config))
    }

    /// Fails if the token of the page would cross a network in clear. Called for `listen`, and for the address of a
    /// socket that systemd has passed instead.
    pub(in crate::receive) fn check_address(&self, address: SocketAddr) -> Result<(), Failure> {
        match &self.page {
            Some(page) if self.tls.is_none() && !page.allow_plaintext && !address.ip().to_canonical().is_loopback() => {
                Err(Failure::because(
                    format_args!("{}: `listen`", page.place),
                    format_args!(
                        "{address} is not a loopback address, so the token and the page would cross the network in \
                         clear; set `tls` in [operations], or listen on a loopback address and connect with `ssh -L`; \
                         if a TLS proxy is in front and its network is private, set \
                         `allow_plaintext_operations = true` at the top of the file"
                    ),
                ))
            }
            _ => Ok(()),
        }
    }

    /// Returns the token as a secret of the config file.
    pub(super) fn token(&self) -> Option<&Named> {
        self.page.as_ref().map(|page| &page.token)
    }
}

/// Checks that the token cannot be guessed, as far as its text shows that, and that it fits into the form.
pub(in crate::receive) fn check_token(token: &Named) -> Result<(), String> {
    let text = token.secret.expose_secret();
    if text.len() < SHORTEST_TOKEN {
        return Err(format!("must have at least {SHORTEST_TOKEN} characters; {NEW_TOKEN}"));
    }
    if text.len() > LONGEST_TOKEN {
        return Err(format!("must have at most {LONGEST_TOKEN} characters; {NEW_TOKEN}"));
    }
    if text.chars().collect::<HashSet<_>>().len() < FEWEST_CHARACTERS {
        return Err(format!(
            "must have at least {FEWEST_CHARACTERS} different characters, or it can be guessed; {NEW_TOKEN}"
        ));
    }
    Ok(())
}

/// Fails if the token is also one of the other secrets of the file, which other parties know.
pub(in crate::receive) fn token_is_unique<'n>(
    token: Option<&Named>,
    others: impl IntoIterator<Item = &'n Named>,
) -> Result<(), Failure> {
    let Some(token) = token else { return Ok(()) };
    match others.into_iter().find(|other| other.secret.is_same_as(&token.secret)) {
        Some(_) => Err(token.failure("the token must differ from every other secret in this file, which others know")),
        None => Ok(()),
    }
}

const ALLOW_PLAINTEXT: &str = "allow_plaintext_operations";

const NEW_TOKEN: &str = "`openssl rand -base64 24` makes one";

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "token of the page 1";

    /// Takes the config with a token in a file.
    fn taken(toml: &str) -> Result<Option<OperationsConfig>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), TOKEN).unwrap();
        let toml = toml.replace("TOKEN", &format!("{{ file = {:?} }}", file.path()));
        let mut keys = TableKeys::parse("medhook.toml", &toml).unwrap();
        OperationsConfig::take(&mut keys).map_err(|failure| failure.to_string())
    }

    #[test]
    fn there_is_a_page_only_with_a_token() {
        assert!(taken("").unwrap().is_none());
        assert!(taken("[operations]\nlisten = \"0.0.0.0:1\"").unwrap().unwrap().page.is_none());
        let page = taken("[operations]\nlisten = \"127.0.0.1:1\"\ntoken = TOKEN\nhosts = [\"a.example\"]").unwrap();
        assert_eq!(page.unwrap().token().unwrap().secret.expose_secret(), TOKEN);
    }

    #[test]
    fn the_page_is_not_served_over_a_network_in_clear() {
        let operations = |listen: &str| format!("[operations]\nlisten = \"{listen}\"\ntoken = TOKEN");
        for listen in ["0.0.0.0:1", "10.0.0.1:1", "[::]:1"] {
            let error = taken(&operations(listen)).err().unwrap();
            assert!(error.starts_with("medhook.toml: `operations`: `listen`: ") && error.contains("ssh -L"), "{error}");
            taken(&format!("allow_plaintext_operations = true\n{}", operations(listen))).unwrap();
        }
        for listen in ["127.0.0.1:1", "127.8.9.10:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            taken(&operations(listen)).unwrap();
        }
    }

    #[test]
    fn mistakes_name_their_key() {
        for (toml, problem) in [
            ("allow_plaintext_operations = true", "medhook.toml: `allow_plaintext_operations`: is set, but"),
            (
                "allow_plaintext_operations = true\n[operations]\nlisten = \"0.0.0.0:1\"",
                "medhook.toml: `allow_plaintext_operations`: is set, but",
            ),
            (
                "[operations]\nlisten = \"127.0.0.1:1\"\nhosts = [\"a\"]",
                "medhook.toml: `operations`: `hosts`: is set, but",
            ),
            (
                "[operations]\nlisten = \"127.0.0.1:1\"\ntoken = TOKEN\nhosts = [\"a\", \"b:1\"]",
                "medhook.toml: `operations`: `hosts[1]`: must be a host name",
            ),
            (
                "[operations]\nlisten = \"127.0.0.1:1\"\nallow_plaintext_operations = true",
                "medhook.toml: `operations`: `allow_plaintext_operations`: belongs at the top of the file",
            ),
            ("[operations]\ntoken = TOKEN", "medhook.toml: `operations`: `listen`: missing"),
            (
                "[operations]\nlisten = \"127.0.0.1:1\"\npassword = \"x\"",
                "medhook.toml: `operations`: unknown key `password`",
            ),
        ] {
            let error = taken(toml).err().unwrap();
            assert!(error.starts_with(problem), "{error}");
        }
    }

    #[test]
    fn a_token_that_can_be_guessed_or_is_too_long_is_an_error_that_says_how_to_make_one() {
        let checked = |token: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), token).unwrap();
            let toml = format!("[operations]\nlisten = \"127.0.0.1:1\"\ntoken = {{ file = {:?} }}", file.path());
            let taken = OperationsConfig::take(&mut TableKeys::parse("medhook.toml", &toml).unwrap());
            taken.map(|_| ()).map_err(|failure| failure.to_string())
        };
        let long = "a token of 32 characters, again ".repeat(32);
        assert_eq!(long.len(), LONGEST_TOKEN);
        for (token, problem) in [
            ("fifteen chars..", "must have at least 16 characters"),
            ("changemechangeme", "must have at least 8 different characters"),
            ("1234567712345677", "must have at least 8 different characters"),
            (&*format!("{}gain...", long.trim_end()), "must have at most 1024 characters"),
        ] {
            let error = checked(token).unwrap_err();
            assert!(error.contains("`token`: ") && error.contains(problem), "{error}");
            assert!(error.ends_with("; `openssl rand -base64 24` makes one") && !error.contains(token), "{error}");
        }
        for token in ["1234567812345678", "sixteen chars...", &*long.replace(' ', "-")] {
            assert_eq!(checked(token), Ok(()));
        }
    }
}
