//! Reads the durable inbox: its keys, and the options of an endpoint that has one.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use medhook::inbox::Keep;
use medhook::{Bodies, Builder, Inbox, Keyring, Retry};

use super::forward::Forward;
use crate::failure::Failure;
use crate::receive::keys::TableKeys;
use crate::receive::secrets::{self, Named};
use crate::sources::Validation;

/// The form in which bodies are stored: sealed with the keys of `inbox_key`, or in clear.
#[derive(Debug)]
pub(in crate::receive) struct BodiesConfig {
    /// The file and the key that is set.
    place: String,
    keys: Vec<Named>,
    plaintext: bool,
}

impl BodiesConfig {
    /// Takes `inbox_key` and `allow_plaintext_bodies`. Returns `None` if neither is set.
    pub(in crate::receive) fn take(keys: &mut TableKeys) -> Result<Option<Self>, Failure> {
        let named = match keys.is_table("inbox_key") {
            true => secrets::one(keys, "inbox_key").map(|key| key.into_iter().collect()),
            false => {
                secrets::listed(keys, "inbox_key").and_then(|list| list.read(|entry| entry.read(Validation::Full)))
            }
        };
        let named: Vec<_> = named.map_err(|failure| failure.advising(NEW_KEY))?;
        let plaintext = keys.flag("allow_plaintext_bodies")?;
        let key = if named.is_empty() { "allow_plaintext_bodies" } else { "inbox_key" };
        let place = format!("{}: `{key}`", keys.place());
        Ok((plaintext || !named.is_empty()).then_some(BodiesConfig { place, keys: named, plaintext }))
    }

    pub(in crate::receive) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Returns the keys for the library, or the mistake in one of them.
    pub(in crate::receive) fn bodies(&self) -> Result<Bodies, Failure> {
        let Some(keys) = secrets::together(&self.keys) else {
            return Ok(Bodies::plaintext());
        };
        let keyring = Keyring::new(keys?).map_err(|error| Failure::because(&self.place, error))?;
        let bodies = Bodies::sealed(keyring);
        Ok(if self.plaintext { bodies.accept_plaintext() } else { bodies })
    }

    /// Returns the keys as secrets of the config file.
    pub(super) fn secrets(&self) -> &[Named] {
        &self.keys
    }

    /// Returns a failure at the key that says how bodies are kept.
    pub(super) fn wrong(&self, problem: impl fmt::Display) -> Failure {
        Failure::because(&self.place, problem)
    }

    /// Returns one line for each key whose text looks like a mistake, and one if bodies are in clear.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        let in_clear = self.keys.is_empty().then(|| {
            format!(
                "{}: stored bodies, which contain health data, are in clear in the store and in its backups; set \
                 `inbox_key` to seal them",
                self.place
            )
        });
        self.keys.iter().filter_map(Named::warning).chain(in_clear)
    }
}

const NEW_KEY: &str = "a new inbox needs a key from `openssl rand -base64 32`, an existing one the key that sealed it";

/// Describes how bodies are kept, for the operator.
impl fmt::Display for BodiesConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.keys.is_empty(), self.plaintext) {
            (false, false) => "sealed",
            (false, true) => "sealed, and those in clear are accepted",
            (true, _) => "in clear",
        })
    }
}

/// The options of an endpoint with an inbox.
#[derive(Debug, Clone)]
pub(in crate::receive) struct InboxConfig {
    ack_status: Option<StatusCode>,
    max_bytes: Option<u64>,
    pub(in crate::receive) retry: Retry,
    pub(in crate::receive) workers: usize,
    pub(in crate::receive) retain_done: Duration,
    pub(in crate::receive) retain_dead: Option<Duration>,
}

/// The keys that an endpoint may have only with `inbox = true`.
pub(super) const ONLY_WITH_INBOX: &[&str] =
    &["ack_status", "retry", "workers", "retain_done", "retain_dead", "max_bytes"];

/// Each is a task.
const MOST_WORKERS: usize = 10_000;
const WORKERS: usize = 16;

impl InboxConfig {
    /// Takes the options of an endpoint. `retries_are_documented` is whether its provider is documented to retry.
    pub(super) fn take(
        keys: &mut TableKeys,
        forward: Option<&Forward>,
        provider: &str,
        retries_are_documented: bool,
    ) -> Result<Option<Self>, Failure> {
        let is_set = keys.has("inbox");
        if !keys.flag("inbox")? {
            if let Some(key) = ONLY_WITH_INBOX.iter().find(|key| keys.has(key)) {
                return Err(keys.wrong(key, "requires `inbox = true`; set it, or remove this key"));
            }
            if !is_set && forward.is_some() && !retries_are_documented {
                return Err(keys.wrong("inbox", missing(provider)));
            }
            return Ok(None);
        }
        if forward.is_none() {
            return Err(keys.wrong("inbox", "requires `forward`, where the stored events are sent; set it"));
        }
        let ack_status = keys.count("ack_status")?;
        let ack_status = ack_status.map(|number| {
            let status = u16::try_from(number).ok().and_then(|number| StatusCode::from_u16(number).ok());
            status.filter(StatusCode::is_success).ok_or_else(|| keys.wrong("ack_status", "must be a 2xx status"))
        });
        let workers = keys.count("workers")?.unwrap_or(WORKERS);
        if workers > MOST_WORKERS {
            return Err(keys.wrong("workers", format_args!("must be at most {MOST_WORKERS}")));
        }
        Ok(Some(InboxConfig {
            ack_status: ack_status.transpose()?,
            max_bytes: keys.count("max_bytes")?.map(|bytes| bytes as u64),
            retry: retry(keys)?,
            workers,
            retain_done: keys.delay("retain_done")?.unwrap_or_default(),
            retain_dead: keys.duration("retain_dead")?,
        }))
    }

    /// Adds the inbox and its options to the builder of a receiver.
    pub(in crate::receive) fn apply(&self, mut builder: Builder, inbox: Inbox) -> Builder {
        builder = builder.inbox(inbox);
        if let Some(status) = self.ack_status {
            builder = builder.ack_status(status);
        }
        if let Some(bytes) = self.max_bytes {
            builder = builder.max_inbox_bytes(bytes);
        }
        builder
    }
}

/// Returns the message for an endpoint that must choose.
fn missing(provider: &str) -> String {
    format!(
        "missing; no retries are documented for {provider}, so without an inbox an event is lost if the application \
         does not handle it at once; set `inbox = true` to store events first, or `inbox = false` to accept the loss"
    )
}

fn retry(keys: &mut TableKeys) -> Result<Retry, Failure> {
    let such_as = "a table such as { initial_backoff = \"5s\", max_backoff = \"10m\", max_age = \"72h\" }";
    let Some(table) = keys.table("retry", such_as)? else {
        return Ok(Retry::default());
    };
    retry_in(TableKeys::within(format!("{}: `retry`", keys.place()), table))
}

fn retry_in(mut keys: TableKeys) -> Result<Retry, Failure> {
    keys.all_known(&["initial_backoff", "max_backoff", "max_age", "max_attempts"])?;
    let initial = keys.duration("initial_backoff")?.unwrap_or(INITIAL_BACKOFF);
    let max = keys.duration("max_backoff")?.unwrap_or(MAX_BACKOFF.max(initial));
    if max < initial {
        return Err(keys.wrong("max_backoff", "must not be shorter than `initial_backoff`"));
    }
    let mut retry = Retry::exponential(initial, max);
    if let Some(age) = keys.duration("max_age")? {
        retry = retry.max_age(age);
    }
    if let Some(attempts) = keys.number("max_attempts")? {
        retry = retry.max_attempts(attempts);
    }
    Ok(retry)
}

/// The defaults of [`Retry`].
const INITIAL_BACKOFF: Duration = Duration::from_secs(5);
const MAX_BACKOFF: Duration = Duration::from_secs(600);

/// Takes how long an endpoint keeps ended events, for commands that only operate its inbox. Returns `None` if it has
/// none.
pub(in crate::receive) fn keep(keys: &mut TableKeys) -> Result<Option<Keep>, Failure> {
    let has_inbox = keys.flag("inbox")?;
    let keep = Keep {
        done: keys.delay("retain_done")?.unwrap_or_default(),
        dead: keys.duration("retain_dead")?,
        ..Keep::default()
    };
    Ok(has_inbox.then_some(keep))
}
