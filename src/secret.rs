//! Secrets: where they come from, what is wrong with them, and that they are never shown.

use std::env::VarError;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::ConfigError;

/// One secret, as text, with a label to tell it from others.
///
/// The label (the variable's or the file's name) is what logs and metrics show; the text is zeroized when dropped and
/// never printed. What the text means depends on the scheme: Standard Webhooks reads base64 with or without `whsec_`,
/// every other scheme takes the UTF-8 bytes as they are.
#[derive(Clone)]
pub struct Secret {
    label: Option<Arc<str>>,
    text: Zeroizing<String>,
}

/// The label of a secret that was given none.
const UNLABELED: &str = "secret";

impl Secret {
    /// Creates a secret from text. Its label is `secret`, unless [`labeled`](Secret::labeled) gives it another.
    ///
    /// # Errors
    /// Empty, longer than 4,096 bytes, or with whitespace around it (which is nearly always a copying mistake).
    pub fn new(text: impl Into<String>) -> Result<Self, ConfigError> {
        Secret { label: None, text: Zeroizing::new(text.into()) }.checked()
    }

    /// Creates a secret without checks, for tests that sign with text that no receiver accepts, such as a line break.
    #[cfg(feature = "testing")]
    pub(crate) fn unchecked(text: &str) -> Self {
        Secret { label: None, text: Zeroizing::new(text.to_owned()) }
    }

    /// Gives the secret a label: in logs and metrics it tells one secret from another, as during a rotation.
    ///
    /// # Errors
    /// A label that is empty, longer than 128 bytes, not printable ASCII, or that looks like a secret itself.
    pub fn labeled(mut self, label: &str) -> Result<Self, ConfigError> {
        if label.is_empty() || label.len() > 128 || !label.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(ConfigError::new("a secret's label must be 1 to 128 characters of printable ASCII"));
        }
        if label.starts_with("whsec_") {
            return Err(ConfigError::new(
                "a secret's label looks like a secret: give the secret itself to Secret::new",
            ));
        }
        self.label = Some(label.into());
        Ok(self)
    }

    /// Text from a named place: the name is the label, also in the message about a text that cannot be a secret.
    fn from_place(label: &str, text: impl Into<String>) -> Result<Self, ConfigError> {
        Secret { label: None, text: Zeroizing::new(text.into()) }.labeled(label)?.checked()
    }

    fn checked(self) -> Result<Self, ConfigError> {
        let wrong = |problem: &str| {
            Err(ConfigError::new(match &self.label {
                Some(label) => format!("secret {label}: {problem}"),
                None => format!("secret: {problem}"),
            }))
        };
        if self.text.is_empty() {
            return wrong("empty");
        }
        if self.text.trim().len() != self.text.len() {
            return wrong("whitespace at its beginning or end");
        }
        if self.text.len() > LONGEST {
            return wrong(&format!("longer than {LONGEST} bytes"));
        }
        Ok(self)
    }

    /// A secret from an environment variable.
    ///
    /// # Errors
    /// Unset, not UTF-8, or as with [`new`](Secret::new).
    pub fn from_env(variable: &str) -> Result<Self, ConfigError> {
        Self::from_env_if_set(variable)?
            .ok_or_else(|| ConfigError::new(format!("secret {variable}: the environment variable is not set")))
    }

    /// A secret from a file, such as a mounted one. Exactly one final newline, `\n` or `\r\n`, is dropped.
    ///
    /// # Errors
    /// Not readable, not UTF-8, or as with [`new`](Secret::new).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        Self::from_file_if_there(path)?
            .ok_or_else(|| ConfigError::new(format!("secret file {}: there is no such file", path.display())))
    }

    /// What logs and metrics call it.
    #[must_use]
    pub fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(UNLABELED)
    }

    /// Whether both are one secret, under whatever label, and whether or not one of them is written with `whsec_` in
    /// front or padding behind. What vouches for two things at once lets a delivery for one pass for the other.
    #[must_use]
    pub fn is_same_as(&self, other: &Secret) -> bool {
        bare(&self.text) == bare(&other.text)
    }

    /// Returns the secret's text.
    ///
    /// Use it where a secret must be passed on, such as a URL with a password in it that is configured like a secret. A
    /// search for `expose_secret` finds every such place. Do not log or store the result. To sign with a secret, use `sign::Signer` (feature `sign`) instead.
    ///
    /// ```
    /// let url = medhook::Secret::new("postgres://medhook:hunter2@localhost/medhook")?;
    /// assert_eq!(format!("{url:?}"), "Secret(secret)");
    /// assert!(url.expose_secret().starts_with("postgres://"));
    /// # Ok::<(), medhook::ConfigError>(())
    /// ```
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        &self.text
    }

    pub(crate) fn shared_label(&self) -> Arc<str> {
        self.label.clone().unwrap_or_else(|| UNLABELED.into())
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Creates a secret from an environment variable, if that is set.
    ///
    /// # Errors
    /// Not UTF-8, or as with [`from_env`](Secret::from_env).
    pub fn from_env_if_set(variable: &str) -> Result<Option<Self>, ConfigError> {
        match std::env::var(variable) {
            Ok(text) => Secret::from_place(variable, text).map(Some),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(ConfigError::new(format!("secret {variable}: not UTF-8"))),
        }
    }

    fn from_file_if_there(path: &Path) -> Result<Option<Self>, ConfigError> {
        let shown = path.display();
        let unreadable = |error| ConfigError::new(format!("secret file {shown}: cannot be read")).with_source(error);
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        // All the room at once: a string that grows would leave copies of the secret behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 8));
        file.take(LONGEST as u64 + 3).read_to_end(&mut bytes).map_err(unreadable)?;
        let Ok(text) = str::from_utf8(&bytes) else {
            return Err(ConfigError::new(format!("secret file {shown}: not UTF-8")));
        };
        let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        let label = path.file_name().and_then(|name| name.to_str()).unwrap_or("file");
        Secret::from_place(label, text).map(Some)
    }
}

fn bare(text: &str) -> &str {
    text.strip_prefix("whsec_").unwrap_or(text).trim_end_matches('=')
}

const LONGEST: usize = 4096;

/// Below this many bytes of key a secret could be guessed; a receiver warns of it.
pub(crate) const SHORT: usize = 16;

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.label())
    }
}

/// One to four secrets, any of which vouches for a delivery: the current one and those on their way in or out.
///
/// ```
/// use medhook::{Secret, Secrets};
///
/// let keys = Secrets::new(Secret::new("a-long-random-text-1")?.labeled("current")?)
///     .also(Secret::new("a-long-random-text-2")?.labeled("old")?)?;
/// assert_eq!(format!("{keys:?}"), "[Secret(current), Secret(old)]");
/// assert!(keys.also(Secret::new("a-long-random-text-1")?).is_err());
/// # Ok::<(), medhook::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// The most that can be current at once. Every one costs a MAC over each body.
    pub const MOST: usize = 4;

    /// Begins with one secret.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Secrets(vec![secret])
    }

    /// Begins with a secret from an environment variable, which must be set.
    ///
    /// # Errors
    /// As with [`Secret::from_env`].
    pub fn from_env(variable: &str) -> Result<Self, ConfigError> {
        Secret::from_env(variable).map(Secrets::new)
    }

    /// Begins with a secret from a file, which must be there.
    ///
    /// # Errors
    /// As with [`Secret::from_file`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Secret::from_file(path).map(Secrets::new)
    }

    /// Adds another secret.
    ///
    /// # Errors
    /// One that is there already, under whatever label, a label that is there already, or a fifth.
    pub fn also(mut self, mut secret: Secret) -> Result<Self, ConfigError> {
        if secret.label.is_none() {
            secret.label = Some(format!("{UNLABELED}-{}", self.0.len() + 1).into());
        }
        let label = secret.label();
        if self.0.len() >= Self::MOST {
            return Err(ConfigError::new(format!("secret {label}: more than {} secrets at once", Self::MOST)));
        }
        for known in &self.0 {
            if known.text == secret.text {
                return Err(ConfigError::new(format!("secret {label}: the same as {}", known.label())));
            }
            if known.label() == label {
                return Err(ConfigError::new(format!("secret {label}: two secrets with this label")));
            }
        }
        self.0.push(secret);
        Ok(self)
    }

    /// Adds a secret from an environment variable, if it is set: outside a rotation it need not be.
    ///
    /// # Errors
    /// Set but empty, or as with [`Secret::from_env`] and [`also`](Secrets::also).
    pub fn also_env(self, variable: &str) -> Result<Self, ConfigError> {
        match Secret::from_env_if_set(variable)? {
            Some(secret) => self.also(secret),
            None => Ok(self),
        }
    }

    /// Adds a secret from a file, if it is there: outside a rotation it need not be.
    ///
    /// # Errors
    /// There but empty, or as with [`Secret::from_file`] and [`also`](Secrets::also).
    pub fn also_file(self, path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        match Secret::from_file_if_there(path.as_ref())? {
            Some(secret) => self.also(secret),
            None => Ok(self),
        }
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Secret> {
        self.0.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl From<Secret> for Secrets {
    fn from(secret: Secret) -> Self {
        Secrets::new(secret)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<T: fmt::Debug>(result: Result<T, ConfigError>) -> String {
        result.expect_err("rejected").to_string()
    }

    #[test]
    fn every_mistake_is_named_and_none_shows_the_secret() {
        for (text, problem) in [
            ("", "empty"),
            (" hunter2hunter2", "whitespace"),
            ("hunter2hunter2\n", "whitespace"),
            (&"hunter2".repeat(1000), "longer than 4096"),
        ] {
            let message = message(Secret::from_place("KEY", text));
            assert!(message.contains("KEY") && message.contains(problem), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
            assert!(self::message(Secret::new(text)).starts_with("secret: "));
        }
    }

    #[test]
    fn a_file_loses_one_final_newline_and_no_more() {
        let folder = std::env::temp_dir().join(format!("medhook-secret-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let read = |content: &[u8]| {
            let path = folder.join("key");
            std::fs::write(&path, content).unwrap();
            Secret::from_file(&path)
        };
        assert_eq!(read(b"a secret of some length\n").unwrap().text(), "a secret of some length");
        assert_eq!(read(b"a secret of some length\r\n").unwrap().text(), "a secret of some length");
        assert_eq!(read(b"a secret of some length").unwrap().label(), "key");
        assert!(message(read(b"a secret of some length\n\n")).contains("whitespace"));
        assert!(message(read(b"\n")).contains("empty"));
        assert!(message(read(b"\xff")).contains("UTF-8"));
        assert!(message(read("s".repeat(5000).as_bytes())).contains("longer"));
        assert!(message(Secret::from_file(folder.join("none"))).contains("no such file"));
        let keys = Secrets::new(Secret::new("0123456789abcdef").unwrap());
        assert_eq!(keys.also_file(folder.join("none")).unwrap().len(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn one_secret_is_known_again_however_it_is_written() {
        let secret = |text: &str| Secret::new(text).unwrap();
        let one = secret("whsec_AAECAwQFBgcICQoLDA0ODw==");
        for same in ["whsec_AAECAwQFBgcICQoLDA0ODw==", "AAECAwQFBgcICQoLDA0ODw==", "AAECAwQFBgcICQoLDA0ODw"] {
            assert!(one.is_same_as(&secret(same).labeled("another").unwrap()), "{same}");
        }
        assert!(!one.is_same_as(&secret("AAECAwQFBgcICQoLDA0ODx")));
        assert_eq!(one.clone().labeled("another").unwrap().label(), "another");
        assert!(message(one.labeled("whsec_AAECAw")).contains("looks like a secret"));
    }

    #[test]
    fn at_most_four_and_no_two_alike() {
        let secret = |label: &str, text: &str| Secret::new(text).unwrap().labeled(label).unwrap();
        let mut keys = Secrets::new(secret("0", "secret-0"));
        assert!(message(keys.clone().also(secret("x", "secret-0"))).contains("the same as 0"));
        assert!(message(keys.clone().also(secret("0", "secret-x"))).contains("two secrets"));
        for n in ["1", "2", "3"] {
            keys = keys.also(secret(n, &format!("secret-{n}"))).unwrap();
        }
        assert!(message(keys.also(secret("4", "secret-4"))).contains("more than 4"));
    }

    #[test]
    fn secrets_without_a_label_are_numbered() {
        let mut keys = Secrets::new(Secret::new("text-1").unwrap());
        for text in ["text-2", "text-3"] {
            keys = keys.also(Secret::new(text).unwrap()).unwrap();
        }
        assert_eq!(format!("{keys:?}"), "[Secret(secret), Secret(secret-2), Secret(secret-3)]");
    }

    #[test]
    fn an_unset_second_variable_is_fine_and_an_unset_first_is_not() {
        let keys = Secrets::new(Secret::new("0123456789abcdef").unwrap());
        assert_eq!(keys.also_env("MEDHOOK_TEST_IS_NEVER_SET").unwrap().len(), 1);
        assert!(message(Secrets::from_env("MEDHOOK_TEST_IS_NEVER_SET")).contains("not set"));
        // PATH is set wherever tests run.
        assert_eq!(Secrets::from_env("PATH").unwrap().iter().next().unwrap().label(), "PATH");
    }
}
