//! Reads secrets from environment variables and files: validated, or, for `medhook verify`, as they are.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use medhook::Secret;

use crate::failure::Failure;
use crate::output::print_error;

/// Whether a secret that no receiver accepts is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Validation {
    Full,
    /// Any text is accepted, since `verify` searches for mistakes in it.
    None,
}

/// Reads the secret in an environment variable. Returns `None` if the variable is not set.
pub(crate) fn from_env(variable: &str, validation: Validation) -> Result<Option<Secret>, Failure> {
    let checked = || Secret::from_env_if_set(variable).map_err(|error| Failure::new(error.to_string()));
    match (validation, std::env::var(variable)) {
        (Validation::None, Ok(text)) => unchecked(variable, &text).map(Some),
        _ => checked(),
    }
}

/// Reads the secret in a file. One trailing line break is removed.
pub(crate) fn from_file(path: &Path, validation: Validation) -> Result<Secret, Failure> {
    if validation == Validation::Full {
        return Secret::from_file(path).map_err(|error| Failure::new(error.to_string()));
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
    read.map_err(|error| Failure::because(format_args!("secret file {}: cannot be read", path.display()), error))?;
    unchecked(label(path), line(path, &bytes)?)
}

/// Creates a secret from the content of a file, as [`from_file`] does with [`Validation::Full`].
pub(crate) fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Secret, Failure> {
    let secret = unchecked(label(path), line(path, bytes)?)?;
    secret.validated().map_err(|error| Failure::new(error.to_string()))
}

/// Returns the text in a file. One trailing line break is removed.
fn line<'b>(path: &Path, bytes: &'b [u8]) -> Result<&'b str, Failure> {
    let text = str::from_utf8(bytes)
        .map_err(|_| Failure::new(format!("secret file {}: not UTF-8; save it as UTF-8", path.display())))?;
    Ok(text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line)))
}

fn label(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or("file")
}

/// Longer than every secret that a receiver accepts.
const LONGEST: u64 = 64 * 1024;

fn unchecked(label: &str, text: &str) -> Result<Secret, Failure> {
    Secret::unchecked(text).labeled(label).map_err(|error| Failure::new(error.to_string()))
}

/// Reads secrets from the environment and from files. `option` is the beginning of the options' names, for messages.
///
/// No message quotes the name of a variable or file that does not exist: it may be the secret, passed by mistake.
pub(crate) fn read(
    option: &str,
    variables: &[String],
    files: &[PathBuf],
    validation: Validation,
) -> Result<Vec<Secret>, Failure> {
    const NOT_SHOWN: &str = "(its name is not shown because it might be the secret)";
    let from_env = variables.iter().map(|variable| {
        let option = format!("--{option}secret-env");
        let secret = from_env(variable, validation).map_err(|error| Failure::because(&option, error))?;
        let not_set = || Failure::new(format!("{option}: the environment variable is not set {NOT_SHOWN}"));
        secret.map(|secret| (option.clone(), secret)).ok_or_else(not_set)
    });
    let from_files = files.iter().map(|path| {
        let option = format!("--{option}secret-file");
        if !path.exists() {
            return Err(Failure::new(format!("{option}: the file is not found {NOT_SHOWN}")));
        }
        let secret = from_file(path, validation).map_err(|error| Failure::because(&option, error))?;
        Ok((option, secret))
    });
    let secrets = from_env.chain(from_files).collect::<Result<Vec<_>, _>>()?;
    for (option, secret) in &secrets {
        if let Some(mistake) = secret.warning() {
            print_error(&format!("{option}: secret {} {mistake}, unless the text is intended", secret.label()));
        }
    }
    Ok(secrets.into_iter().map(|(_, secret)| secret).collect())
}

/// Returns the label and the text of a secret, as [`Endpoint`] stores them.
pub(crate) fn entry(secret: &Secret) -> (String, String) {
    (secret.label().to_owned(), secret.expose_secret().to_owned())
}
