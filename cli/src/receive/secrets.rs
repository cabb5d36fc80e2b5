//! Reads the secrets that the config file names by environment variable or file. It never holds the secrets themselves.

use std::io::ErrorKind;
use std::path::Path;

use medhook::{Secret, Secrets};
use toml::Table;

use super::keys::TableKeys;
use crate::failure::Failure;
use crate::sources::{self, Validation};

/// Reads the secrets listed under a key, up to four. Secrets marked `optional` may be missing.
pub(super) fn listed(keys: &mut TableKeys, key: &str, validation: Validation) -> Result<Vec<Named>, Failure> {
    let tables =
        keys.tables(key, "a list of tables, such as [{ env = \"NAME\" }, { file = \"/run/secrets/name\" }]")?;
    let mut secrets = Vec::with_capacity(tables.len());
    for (index, table) in tables.into_iter().enumerate() {
        let place = format!("{}: `{key}[{index}]`", keys.place());
        secrets.extend(read(place, table, validation)?);
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
    let secret = read(format!("{}: `{key}`", keys.place()), table, Validation::Full)?;
    secret.map(Some).ok_or_else(|| keys.wrong(key, "cannot be optional; remove `optional`"))
}

/// The expected form of a secret's table, for messages.
const SUCH_AS: &str = "a table such as { env = \"NAME\" }";

/// A secret, and its place in the config file.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) place: String,
    pub(super) secret: Secret,
    /// The mistake that its text suggests, unless `literal` is set.
    pub(super) mistake: Option<&'static str>,
}

impl Named {
    /// Returns one line for the operator about text that looks like a mistake.
    pub(super) fn warning(&self) -> Option<String> {
        let (Named { place, secret, .. }, mistake) = (self, self.mistake?);
        let label = secret.label();
        Some(format!("{place}: secret {label} {mistake}, or set `literal = true` if the text is intended"))
    }
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
    /// The key that lists them.
    pub(super) key: &'static str,
    pub(super) secrets: Vec<Named>,
    /// Whether the secrets may be shared with other groups that allow it as well.
    pub(super) reuse: bool,
}

impl Group {
    fn check_distinct(&self, other: &Group) -> Result<(), Failure> {
        if self.reuse && other.reuse {
            return Ok(());
        }
        for Named { place, secret, .. } in &self.secrets {
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

fn read(place: String, table: Table, validation: Validation) -> Result<Option<Named>, Failure> {
    let keys = TableKeys::within(place, table);
    keys.all_known(KEYS)?;
    named(keys, validation)
}

/// The keys of a secret.
const KEYS: &[&str] = &["env", "file", "label", "literal", "optional"];

/// Reads the secret that a table with [`KEYS`] names. Returns `None` if it is optional and missing.
pub(super) fn named(mut keys: TableKeys, validation: Validation) -> Result<Option<Named>, Failure> {
    let (env, file) = (keys.text("env")?, keys.text("file")?);
    let (label, optional, literal) = (keys.text("label")?, keys.flag("optional")?, keys.flag("literal")?);
    let (key, secret, missing) = match (&env, &file) {
        (Some(variable), None) => ("env", from_env(variable, validation), unset(variable)),
        (None, Some(path)) => ("file", from_file(path, validation), "the file does not exist".to_owned()),
        _ => return Err(Failure::new(format!("{}: must have either `env` or `file`", keys.place()))),
    };
    let Some(mut secret) = secret.map_err(|problem| keys.wrong(key, problem))? else {
        return if optional { Ok(None) } else { Err(keys.wrong(key, missing)) };
    };
    if let Some(label) = label {
        secret = secret.labeled(&label).map_err(|error| keys.wrong("label", error))?;
    }
    let place = keys.place().to_owned();
    let mistake = secret.warning().filter(|_| !literal);
    // The receiver would log the same warning, without the place.
    if literal || mistake.is_some() {
        secret = secret.literal();
    }
    Ok(Some(Named { place, secret, mistake }))
}

fn from_env(variable: &str, validation: Validation) -> Result<Option<Secret>, String> {
    if variable.is_empty() || variable.contains(['=', '\0']) {
        return Err("must be the name of an environment variable".to_owned());
    }
    sources::from_env(variable, validation).map_err(|error| error.to_string())
}

fn from_file(path: &str, validation: Validation) -> Result<Option<Secret>, String> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(file) if file.is_dir() => Err("must be a file, but is a directory".to_owned()),
        Ok(_) => sources::from_file(Path::new(path), validation).map(Some).map_err(|error| error.to_string()),
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
