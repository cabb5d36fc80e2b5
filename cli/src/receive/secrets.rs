//! Secrets as a config file names them: by environment variable or by file, never by their text.

use std::io::ErrorKind;

use medhook::{Secret, Secrets};
use toml::Table;

use super::keys::TableKeys;
use crate::failure::Failure;

/// Reads the secrets listed under a key: one to four, of which those marked `optional` need not be there.
pub(super) fn listed(keys: &mut TableKeys, key: &str) -> Result<Vec<Named>, Failure> {
    let tables =
        keys.tables(key, "a list of tables, such as [{ env = \"NAME\" }, { file = \"/run/secrets/name\" }]")?;
    let mut secrets = Vec::with_capacity(tables.len());
    for (index, table) in tables.into_iter().enumerate() {
        let place = format!("{}: `{key}[{index}]`", keys.place());
        secrets.extend(read(place, table)?);
    }
    if secrets.len() > Secrets::MOST {
        return Err(keys.wrong(key, format_args!("more than {} secrets at once", Secrets::MOST)));
    }
    Ok(secrets)
}

/// Reads the one secret under a key.
pub(super) fn one(keys: &mut TableKeys, key: &str) -> Result<Option<Named>, Failure> {
    let Some(table) = keys.table(key, SUCH_AS)? else {
        return Ok(None);
    };
    let secret = read(format!("{}: `{key}`", keys.place()), table)?;
    secret.map(Some).ok_or_else(|| keys.wrong(key, "cannot be optional"))
}

/// How a secret's place is written.
const SUCH_AS: &str = "a table such as { env = \"NAME\" }";

/// A secret, and where it is named.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) place: String,
    pub(super) secret: Secret,
}

/// All of them together, for one header.
pub(super) fn together(named: &[Named]) -> Option<Result<Secrets, Failure>> {
    let (first, others) = named.split_first()?;
    let all = others.iter().try_fold(Secrets::new(first.secret.clone()), |all, next| {
        all.also(next.secret.clone()).map_err(|error| Failure::because(&next.place, error))
    });
    Some(all)
}

/// Refuses a secret that vouches for two things: two of the groups, or one of them and what we sign ourselves. One of
/// `ours` may sign for several endpoints.
pub(super) fn no_secret_twice(groups: &[Group], ours: &[Group]) -> Result<(), Failure> {
    for (index, group) in groups.iter().enumerate() {
        for other in groups.iter().take(index) {
            group.apart_from(other)?;
        }
        for other in ours {
            other.apart_from(group)?;
        }
    }
    Ok(())
}

/// Secrets of one endpoint, scheme and mode.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) secrets: Vec<Named>,
    /// Whether it may be shared with others that may.
    pub(super) reuse: bool,
}

impl Group {
    fn apart_from(&self, other: &Group) -> Result<(), Failure> {
        if self.reuse && other.reuse {
            return Ok(());
        }
        for Named { place, secret } in &self.secrets {
            if let Some(same) = other.secrets.iter().find(|same| same.secret.is_same_as(secret)) {
                return Err(Failure::new(format!(
                    "{place}: the same secret as {}; where that is meant, every endpoint with it says \
                     `reuse_secret = true`",
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

/// Reads the secret that a table with [`KEYS`] names; `None` if it is optional and not there.
pub(super) fn named(mut keys: TableKeys) -> Result<Option<Named>, Failure> {
    let (env, file) = (keys.text("env")?, keys.text("file")?);
    let (label, optional) = (keys.text("label")?, keys.flag("optional")?);
    let (key, secret, missing) = match (&env, &file) {
        (Some(variable), None) => ("env", from_env(variable), unset(variable)),
        (None, Some(path)) => ("file", from_file(path), "there is no such file".to_owned()),
        _ => return Err(Failure::new(format!("{}: needs either `env` or `file`", keys.place()))),
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
        return Err("no name of an environment variable".to_owned());
    }
    Secret::from_env_if_set(variable).map_err(|error| error.to_string())
}

fn from_file(path: &str) -> Result<Option<Secret>, String> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(file) if file.is_dir() => Err("a folder, not a file".to_owned()),
        Ok(_) => Secret::from_file(path).map(Some).map_err(|error| error.to_string()),
    }
}

/// The variable is named only if it looks like one: someone may have put the secret itself there.
fn unset(variable: &str) -> String {
    let usual = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if variable.len() <= 64 && variable.contains('_') && variable.bytes().all(usual) {
        format!("the environment variable {variable} is not set")
    } else {
        "there is no environment variable of this name (it is not the secret itself, is it?)".to_owned()
    }
}
