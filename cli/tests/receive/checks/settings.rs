//! The config file of the receivers.

use super::events::PROVIDERS;
use super::mounted::{APPLICATION, OLD_KEY};

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) inbox: bool,
    /// The names of the keys of the inbox; in clear without one.
    pub(super) keys: Vec<&'static str>,
    pub(super) max_attempts: u32,
    pub(super) workers: usize,
    /// The store has a quarter of it to answer.
    pub(super) lease: &'static str,
    pub(super) handler_timeout: &'static str,
    pub(super) drain_delay: &'static str,
    /// More keys of each endpoint.
    pub(super) more: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            inbox: true,
            keys: vec![OLD_KEY],
            // Unlimited.
            max_attempts: 0,
            workers: 8,
            lease: "30s",
            handler_timeout: "20s",
            drain_delay: "0s",
            more: "",
        }
    }
}

impl Settings {
    /// Returns the text of the file. `application` is the URL of the application.
    pub(super) fn toml(&self, application: &str) -> String {
        let Settings { inbox, keys, max_attempts, workers, lease, handler_timeout, drain_delay, more } = self;
        let keys: Vec<_> = keys.iter().map(|key| format!("{{ file = \"secrets/{key}\" }}")).collect();
        let bodies = match (inbox, keys.is_empty()) {
            (false, _) => String::new(),
            (true, true) => "allow_plaintext_bodies = true\n".to_owned(),
            (true, false) => format!("inbox_key = [{}]\n", keys.join(", ")),
        };
        let attempts = if *max_attempts == 0 { String::new() } else { format!(", max_attempts = {max_attempts}") };
        let inbox = match inbox {
            true => format!(
                "inbox = true\nworkers = {workers}\nlease = \"{lease}\"\n\
                 retry = {{ initial_backoff = \"50ms\", max_backoff = \"1s\"{attempts} }}\n"
            ),
            false => "inbox = false\n".to_owned(),
        };
        let mut text = format!(
            "listen = \"127.0.0.1:0\"\ndrain_delay = \"{drain_delay}\"\nshutdown_timeout = \"10s\"\n{bodies}\
             store = {{ env = \"CHECK_STORE\" }}\n[operations]\nlisten = \"127.0.0.1:0\"\n"
        );
        for provider in &PROVIDERS {
            let (name, keys) = (provider.name, provider.keys);
            text.push_str(&format!(
                "[[endpoint]]\npath = \"/{name}\"\nprovider = \"{name}\"\n{keys}\
                 secrets = [{{ file = \"secrets/{name}\" }}, {{ file = \"secrets/{name}-1\", optional = true }}]\n\
                 handler_timeout = \"{handler_timeout}\"\nforward = \"{application}/{name}\"\n\
                 forward_secret = {{ file = \"secrets/{APPLICATION}\" }}\n{inbox}{more}"
            ));
        }
        text
    }
}
