//! Reads the store: a URL, or a table that names its variable or file.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use super::inbox::BodiesConfig;
use super::listener::placed;
use super::placed::Placed;
use crate::failure::Failure;
use crate::receive::keys::TableKeys;
use crate::receive::secrets::{Named, SecretEntry};
use crate::receive::store::{CannotOpen, StoreConfig, Url};
use crate::sources::Validation;

impl Placed<StoreConfig> {
    /// Returns the failure for a store that cannot be opened, at the key that is wrong.
    pub(in crate::receive) fn cannot_open(&self, bodies: Option<&BodiesConfig>, problem: CannotOpen) -> Failure {
        match (&problem, bodies) {
            (CannotOpen::Inbox(problem), Some(bodies)) => bodies.wrong(problem),
            _ => self.wrong(problem),
        }
    }
}

/// Reads the store: a URL, or a table that holds the URL or names its variable or file. `--store` replaces all of it.
///
/// Returns the secret with the URL, too, if the table names one.
pub(in crate::receive) fn take(
    keys: &mut TableKeys,
    instead: Option<String>,
) -> Result<(Placed<StoreConfig>, Option<Named>), Failure> {
    let (is_table, argument) = (keys.is_table("store"), instead.is_some());
    let table = if is_table { keys.table("store", STORE_SUCH_AS)? } else { None };
    if let Some(table) = table.filter(|_| !argument) {
        return store_in(TableKeys::within(format!("{}: `store`", keys.place()), table));
    }
    let store = placed(keys, "store", instead, "sqlite:medhook.db")?;
    let url = Url::parse(&store.value).map_err(|problem| store.wrong(problem))?;
    if argument && url.has_password() {
        return Err(store.wrong(
            "a password in an argument is visible in the process list; instead set \
             `store = { env = \"MEDHOOK_STORE\" }` or `store = { file = \"/run/secrets/store\" }` in the config file",
        ));
    }
    Ok((Placed { place: store.place, value: StoreConfig::new(url) }, None))
}

/// Reads the table of a store. A URL can hold a password, so the table can name its variable or file, as for a secret.
fn store_in(mut keys: TableKeys) -> Result<(Placed<StoreConfig>, Option<Named>), Failure> {
    keys.all_known(&[OF_STORE, &["env", "file", "literal", "optional"]].concat())?;
    let place = keys.place().to_owned();
    let wrong = |problem: String| Failure::because(&place, problem);
    let number = keys.count("max_connections")?;
    let url = keys.text("url")?;
    if [url.is_some(), keys.has("env"), keys.has("file")].into_iter().filter(|is_set| *is_set).count() != 1 {
        return Err(wrong("must have exactly one of `url`, `env` and `file`".to_owned()));
    }
    if url.is_none() && keys.has("optional") {
        return Err(wrong("cannot be optional; remove `optional`".to_owned()));
    }
    let (url, named) = match url {
        Some(url) => {
            keys.all_taken("cannot be used together with `url`; remove it")?;
            (url, None)
        }
        None => match SecretEntry::take(&mut keys)?.read(Validation::Full)? {
            Some(named) => (named.secret.expose_secret().to_owned(), Some(named)),
            None => return Err(wrong("cannot be optional; remove `optional`".to_owned())),
        },
    };
    let url = Url::parse(&url).map_err(|problem| {
        let mistake = named.as_ref().and_then(|named| named.mistake);
        wrong(mistake.map_or_else(|| problem.clone(), |mistake| format!("{problem}; the text {mistake}")))
    });
    let mut store = StoreConfig::new(url?);
    if let Some(number) = number {
        store = store.max_connections(number).map_err(|problem| wrong(format!("`max_connections`: {problem}")))?;
    }
    Ok((Placed { place, value: store }, named))
}

/// The expected form of a store's table, for messages.
const STORE_SUCH_AS: &str = "a table such as { url = \"sqlite:medhook.db\" }";

/// The keys of a store's table, besides those of a secret.
const OF_STORE: &[&str] = &["url", "max_connections"];
