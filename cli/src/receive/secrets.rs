//! Reads the secrets that the config file names by environment variable or file. It never holds the secrets themselves.

use std::io::ErrorKind;

use medhook::{Secret, Secrets};
use toml::Table;

use super::keys::TableKeys;
use crate::failure::Failure;

/// Reads the secrets listed under a key, up to four. Secrets marked `optional` may be missing.
pub(super) fn listed(keys: &mut TableKeys, key: &str) -> Result<Vec<Named>, Failure> {
    let tables =
        keys.tables(key, "a list of tables, such as [{ env = \"NAME\" }, { file = \"/run/secrets/name\" }]")?;
    let mut secrets = Vec::with_capacity(tables.len());
    for (index, table) in tables.into_iter().enumerate() {
        let place = format!("{}: `{key}[{index}]`", keys.place());
        secrets.extend(read(place, table)?);
    }
    if secrets.len() > Secrets::MOST {
        return Err(keys.wrong(key, format_args!("must list at most {} secrets", Secrets::MOST)));
    }
    Ok(secrets)
}

/// Reads the one secret under a key.
pub(super) fn one(keys: &mut TableKeys, key: &str) -> Result<Option<Named>, Failure> {
    let Some(table) = keys.table(key, SUCH_AS)? else {
        return Ok(None);
    };
    let secret = read(format!("{}: `{key}`", keys.place()), table)?;
    secret.map(Some).ok_or_else(|| keys.wrong(key, "cannot be optional; remove `optional`"))
}

/// The expected form of a secret's table, for messages.
const SUCH_AS: &str = "a table such as { env = \"NAME\" }";

/// A secret, and its place in the config file.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) place: String,
    pub(super) secret: Secret,
}

/// Combines the secrets of one header. Returns `None` if there are none.
pub(super) fn together(named: &[Named]) -> Option<Result<Secrets, Failure>> {
    let (first, others) = named.split_first()?;
    let all = others.iter().try_fold(Secrets::new(first.secret.clone()), |all, next| {
        all.also(next.secret.clone()).map_err(|error| Failure::because(&next.place, error))
    });
    Some(all)
}

/// Fails if two groups share a secret, or if a group shares one with `signing`, the secrets that sign forwarded events.
/// A secret of `signing` may sign the events of several endpoints.
pub(super) fn no_secret_twice(groups: &[Group], signing: &[Group]) -> Result<(), Failure> {
    for (index, group) in groups.iter().enumerate() {
        for other in groups.iter().take(index) {
            group.check_distinct(other)?;
        }
        for other in signing {
            other.check_distinct(group)?;
        }
    }
    Ok(())
}

/// The secrets of one endpoint, scheme and mode.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) secrets: Vec<Named>,
    /// Whether the secrets may be shared with other groups that allow it as well.
    pub(super) reuse: bool,
}

impl Group {
    fn check_distinct(&self, other: &Group) -> Result<(), Failure> {
        if self.reuse && other.reuse {
            return Ok(());
        }
        for Named { place, secret } in &self.secrets {
            if let Some(same) = other.secrets.iter().find(|same| same.secret.is_same_as(secret)) {
                return Err(Failure::new(format!(
                    "{place}: the same secret as {}; use different secrets, or set `reuse_secret = true` at every \
                     endpoint that shares it",
                    same.place
                )));
            }
        }
        Ok(())
    }
}

fn read(place: String, table: Table) -> Result<Option<Named>, Failure> {
    let keys = TableKeys::within(place, table);
    keys.all_known(KEYS)?;
    named(keys)
}

/// The keys of a secret.
pub(super) const KEYS: &[&str] = &["env", "file", "label", "optional"];

/// Reads the secret that a table with [`KEYS`] names. Returns `None` if it is optional and missing.
pub(super) fn named(mut keys: TableKeys) -> Result<Option<Named>, Failure> {
    let (env, file) = (keys.text("env")?, keys.text("file")?);
    let (label, optional) = (keys.text("label")?, keys.flag("optional")?);
    let (key, secret, missing) = match (&env, &file) {
        (Some(variable), None) => ("env", from_env(variable), unset(variable)),
        (None, Some(path)) => ("file", from_file(path), "the file does not exist".to_owned()),
        _ => return Err(Failure::new(format!("{}: must have either `env` or `file`", keys.place()))),
    };
    let Some(mut secret) = secret.map_err(|problem| keys.wrong(key, problem))? else {
        return if optional { Ok(None) } else { Err(keys.wrong(key, missing)) };
    };
    if let Some(label) = label {
        secret = secret.labeled(&label).map_err(|error| keys.wrong("label", error))?;
    }
    Ok(Some(Named { place: keys.place().to_owned(), secret }))
}

fn from_env(variable: &str) -> Result<Option<Secret>, String> {
    if variable.is_empty() || variable.contains(['=', '\0']) {
        return Err("must be the name of an environment variable".to_owned());
    }
    Secret::from_env_if_set(variable).map_err(|error| error.to_string())
}

fn from_file(path: &str) -> Result<Option<Secret>, String> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(file) if file.is_dir() => Err("must be a file, but is a directory".to_owned()),
        Ok(_) => Secret::from_file(path).map(Some).map_err(|error| error.to_string()),
    }
}

/// Returns the message for a missing variable. It quotes the name only if the name looks like that of a variable,
/// because the config file may hold the secret itself by mistake.
fn unset(variable: &str) -> String {
    let is_usual = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if variable.len() <= 64 && variable.contains('_') && variable.bytes().all(is_usual) {
        format!("the environment variable {variable} is not set")
    } else {
        "the environment variable is not set (its name is not shown because it might be the secret)".to_owned()
    }
}
