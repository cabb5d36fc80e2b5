//! Reads the secrets that the config file names by environment variable or file. It never holds the secrets themselves.
//!
//! A [`SecretEntry`] is where a secret comes from, so that it can be read again while the receiver runs.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use medhook::{Secret, Secrets};
use toml::Table;

use super::keys::TableKeys;
use super::reload::FileContent;
use crate::failure::Failure;
use crate::sources::{self, Validation};

/// Takes the secrets listed under a key.
pub(super) fn listed(keys: &mut TableKeys, key: &str) -> Result<SecretList, Failure> {
    let tables =
        keys.tables(key, "a list of tables, such as [{ env = \"NAME\" }, { file = \"/run/secrets/name\" }]")?;
    let entries = tables.into_iter().enumerate().map(|(index, table)| {
        let place = format!("{}: `{key}[{index}]`", keys.place());
        entry(place, table)
    });
    Ok(SecretList { place: format!("{}: `{key}`", keys.place()), entries: entries.collect::<Result<_, _>>()? })
}

/// Reads the one secret under a key.
pub(super) fn one(keys: &mut TableKeys, key: &str) -> Result<Option<Named>, Failure> {
    let Some(table) = keys.table(key, SUCH_AS)? else {
        return Ok(None);
    };
    let entry = entry(format!("{}: `{key}`", keys.place()), table)?;
    let secret = entry.read(Validation::Full)?;
    secret.map(Some).ok_or_else(|| keys.wrong(key, "cannot be optional; remove `optional`"))
}

/// Takes the table of one secret. Returns `None` if the value is missing or a list.
pub(super) fn one_entry(keys: &mut TableKeys, key: &str) -> Result<Option<SecretEntry>, Failure> {
    if !keys.is_table(key) {
        return Ok(None);
    }
    let table = keys.table(key, SUCH_AS)?;
    table.map(|table| entry(format!("{}: `{key}`", keys.place()), table)).transpose()
}

/// The expected form of a secret's table, for messages.
const SUCH_AS: &str = "a table such as { env = \"NAME\" }";

/// The secrets listed under a key, up to four. Secrets marked `optional` may be missing.
#[derive(Debug, Clone)]
pub(super) struct SecretList {
    place: String,
    entries: Vec<SecretEntry>,
}

impl SecretList {
    /// Returns a list of one secret.
    pub(super) fn of(entry: SecretEntry) -> Self {
        SecretList { place: entry.place.clone(), entries: vec![entry] }
    }

    pub(super) fn entries(&self) -> &[SecretEntry] {
        &self.entries
    }

    /// Reads the secrets, each with `read`.
    pub(super) fn read(
        &self,
        read: impl FnMut(&SecretEntry) -> Result<Option<Named>, Failure>,
    ) -> Result<Vec<Named>, Failure> {
        let secrets: Vec<_> = self.entries.iter().map(read).filter_map(Result::transpose).collect::<Result<_, _>>()?;
        if secrets.len() > Secrets::MOST {
            let problem = format!("must list at most {} secrets", Secrets::MOST);
            return Err(Failure::because(&self.place, problem));
        }
        Ok(secrets)
    }

    /// Returns whether all secrets are declared to be intended as they are.
    pub(super) fn is_literal(&self) -> bool {
        self.entries.iter().all(|entry| entry.literal)
    }

    /// Returns the failure for a list of which no secret is set.
    pub(super) fn none_is_set(&self) -> Failure {
        Failure::because(&self.place, "must name at least one secret that is set")
    }
}

/// A secret, and its place in the config file.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) entry: SecretEntry,
    pub(super) secret: Secret,
    /// The mistake that its text suggests, unless `literal` is set.
    pub(super) mistake: Option<&'static str>,
}

impl Named {
    /// Returns the place and the file of a secret that is in a file.
    pub(super) fn in_file(&self) -> Option<(&str, &Path)> {
        self.entry.file().map(|file| (self.entry.place.as_str(), file))
    }

    /// Returns whether this secret, which replaces one of `current`, looks as if its file had not been written
    /// completely: it is too short to be safe, or the beginning of one that is in use. With `literal`, it never does.
    pub(super) fn is_cut_off(&self, current: &[Named]) -> bool {
        let text = self.secret.expose_secret();
        let mut current = current.iter().map(|named| named.secret.expose_secret());
        let is_in_use = current.clone().any(|one| one == text);
        !self.entry.literal && !is_in_use && (text.len() < SHORTEST || current.any(|one| one.starts_with(text)))
    }

    /// Returns one line for the operator if other users of the machine can access the file of this secret.
    pub(super) fn access_warning(&self) -> Option<String> {
        let is_open = self.entry.file().is_some_and(is_open_to_others);
        is_open.then(|| format!("{}: `file`: {OPEN_TO_OTHERS}", self.entry.place))
    }

    /// Returns the failure for a problem with this secret.
    pub(super) fn failure(&self, problem: &str) -> Failure {
        Failure::because(&self.entry.place, problem)
    }

    /// Returns the failure for a secret that is cut off.
    pub(super) fn cut_off(&self) -> Failure {
        let problem = "the secret is shorter than 16 bytes or the beginning of the one in use, so the file may not be \
                       written completely; write it in one step with `mv`, or set `literal = true` and restart";
        Failure::because(format_args!("{}: `file`", self.entry.place), problem)
    }

    /// Returns one line for the operator about text that looks like a mistake.
    pub(super) fn warning(&self) -> Option<String> {
        let (Named { entry, secret, .. }, mistake) = (self, self.mistake?);
        let (place, label) = (&entry.place, secret.label());
        Some(format!("{place}: secret {label} {mistake}, or set `literal = true` if the text is intended"))
    }
}

/// Returns one line for each file of these secrets that other users of the machine can access, at the first place that
/// names the file.
///
/// A warning and no error, because Kubernetes mounts secrets with mode 0644 by default, in a volume that only the users
/// of the container can reach.
pub(super) fn access_warnings<'n>(secrets: impl IntoIterator<Item = &'n Named>) -> Vec<String> {
    let mut files = HashSet::new();
    let first_places = secrets.into_iter().filter(|named| named.entry.file().is_some_and(|file| files.insert(file)));
    first_places.filter_map(Named::access_warning).collect()
}

/// The advice about a file that [`is_open_to_others`].
pub(super) const OPEN_TO_OTHERS: &str = "its mode lets other users access the file; restrict it with chmod o-rwx";

/// Returns whether users of the machine other than the owner and the group can access a file.
#[cfg(unix)]
pub(super) fn is_open_to_others(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o007 != 0)
}

#[cfg(not(unix))]
pub(super) fn is_open_to_others(_: &Path) -> bool {
    false
}

/// The receiver warns of shorter secrets, because they can be guessed.
const SHORTEST: usize = 16;

/// Combines the secrets of one header. Returns `None` if there are none.
pub(super) fn together(named: &[Named]) -> Option<Result<Secrets, Failure>> {
    let (first, others) = named.split_first()?;
    let all = others.iter().try_fold(Secrets::new(first.secret.clone()), |all, next| {
        all.also(next.secret.clone()).map_err(|error| Failure::because(&next.entry.place, error))
    });
    Some(all)
}

/// Fails if two groups share a secret, or if a group shares one with `signing`, the secrets that sign forwarded events.
/// A secret of `signing` may sign the events of several endpoints.
pub(super) fn no_secret_twice(groups: &[&Group], signing: &[&Group]) -> Result<(), Failure> {
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
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// The key that lists them.
    pub(super) key: &'static str,
    pub(super) list: SecretList,
    pub(super) secrets: Vec<Named>,
    /// Whether the secrets may be shared with other groups that allow it as well.
    pub(super) reuse: bool,
}

impl Group {
    fn check_distinct(&self, other: &Group) -> Result<(), Failure> {
        if self.reuse && other.reuse {
            return Ok(());
        }
        for Named { entry, secret, .. } in &self.secrets {
            if let Some(same) = other.secrets.iter().find(|same| same.secret.is_same_as(secret)) {
                return Err(Failure::new(format!(
                    "{}: the same secret as {}; use different secrets, or set `reuse_secret = true` at every \
                     endpoint that shares it",
                    entry.place, same.entry.place
                )));
            }
        }
        Ok(())
    }
}

fn entry(place: String, table: Table) -> Result<SecretEntry, Failure> {
    let mut keys = TableKeys::within(place, table);
    keys.all_known(KEYS)?;
    SecretEntry::take(&mut keys)
}

/// The keys of a secret.
const KEYS: &[&str] = &["env", "file", "label", "literal", "optional"];

/// The source of a secret: a table with [`KEYS`].
#[derive(Debug, Clone)]
pub(super) struct SecretEntry {
    place: String,
    source: SecretSource,
    label: Option<String>,
    optional: bool,
    literal: bool,
}

#[derive(Debug, Clone)]
enum SecretSource {
    Env(String),
    File(PathBuf),
}

impl SecretEntry {
    /// Takes the keys of a secret.
    pub(super) fn take(keys: &mut TableKeys) -> Result<Self, Failure> {
        let (env, file) = (keys.text("env")?, keys.text("file")?);
        let (label, optional, literal) = (keys.text("label")?, keys.flag("optional")?, keys.flag("literal")?);
        let source = match (env, file) {
            (Some(variable), None) => SecretSource::Env(variable),
            (None, Some(path)) => SecretSource::File(path.into()),
            _ => return Err(Failure::new(format!("{}: must have either `env` or `file`", keys.place()))),
        };
        Ok(SecretEntry { place: keys.place().to_owned(), source, label, optional, literal })
    }

    /// Returns the file, if the secret is in one.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.source {
            SecretSource::File(path) => Some(path),
            SecretSource::Env(_) => None,
        }
    }

    /// Returns the file, if it can be read again: a pipe can be read only once, at the start.
    pub(super) fn regular_file(&self) -> Option<PathBuf> {
        let is_pipe = |file: &Path| file.metadata().is_ok_and(|file| !file.is_file() && !file.is_dir());
        self.file().filter(|file| !is_pipe(file)).map(Path::to_owned)
    }

    /// Returns the name of the environment variable, if the secret is in one.
    pub(super) fn variable(&self) -> Option<&str> {
        match &self.source {
            SecretSource::Env(variable) => Some(variable),
            SecretSource::File(_) => None,
        }
    }

    /// Reads the secret. Returns `None` if it is optional and missing.
    pub(super) fn read(&self, validation: Validation) -> Result<Option<Named>, Failure> {
        match &self.source {
            SecretSource::Env(variable) => self.named(from_env(variable, validation)),
            SecretSource::File(path) => self.named(from_file(path, validation)),
        }
    }

    /// Creates the secret from the content of its file. Returns `None` if it is optional and missing.
    pub(super) fn of_content(&self, content: &FileContent) -> Result<Option<Named>, Failure> {
        match &self.source {
            SecretSource::File(path) => self.named(from_content(path, content)),
            SecretSource::Env(_) => self.read(Validation::Full),
        }
    }

    /// Returns whether `other` is the same entry of the config file.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.place == other.place
    }

    fn named(&self, secret: Result<Option<Secret>, String>) -> Result<Option<Named>, Failure> {
        let (key, missing) = match &self.source {
            SecretSource::Env(variable) => ("env", unset(variable)),
            SecretSource::File(_) => ("file", "the file does not exist".to_owned()),
        };
        let wrong =
            |key: &str, problem: &dyn std::fmt::Display| Failure::new(format!("{}: `{key}`: {problem}", self.place));
        let Some(mut secret) = secret.map_err(|problem| wrong(key, &problem))? else {
            return if self.optional { Ok(None) } else { Err(wrong(key, &missing)) };
        };
        if let Some(label) = &self.label {
            secret = secret.labeled(label).map_err(|error| wrong("label", &error))?;
        }
        let mistake = secret.warning().filter(|_| !self.literal);
        // The receiver would log the same warning, without the place.
        if self.literal || mistake.is_some() {
            secret = secret.literal();
        }
        Ok(Some(Named { entry: self.clone(), secret, mistake }))
    }
}

fn from_env(variable: &str, validation: Validation) -> Result<Option<Secret>, String> {
    if variable.is_empty() || variable.contains(['=', '\0']) {
        return Err("must be the name of an environment variable".to_owned());
    }
    sources::from_env(variable, validation).map_err(|error| error.to_string())
}

fn from_file(path: &Path, validation: Validation) -> Result<Option<Secret>, String> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(file) if file.is_dir() => Err("must be a file, but is a directory".to_owned()),
        Ok(_) => sources::from_file(path, validation).map(Some).map_err(|error| error.to_string()),
    }
}

/// Creates a secret from the content of its file, as [`from_file`] does.
fn from_content(path: &Path, content: &FileContent) -> Result<Option<Secret>, String> {
    match content {
        FileContent::Missing => Ok(None),
        FileContent::Unreadable(problem) => Err(problem.clone()),
        FileContent::Bytes(bytes) => sources::from_bytes(path, bytes).map(Some).map_err(|error| error.to_string()),
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
