//! Secrets: their sources, their validation, and the protection of their text.

mod mistakes;

use std::env::VarError;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

pub(crate) use self::mistakes::suspicious;
use self::mistakes::{invisible, is_invisible};
use crate::ConfigError;

/// A secret as text, with a label that identifies it.
///
/// Logs and metrics show the label (by default the name of the environment variable or file). The text is zeroized when
/// dropped and never printed. The scheme decodes it: Standard Webhooks reads base64 with or without the prefix
/// `whsec_`; every other scheme uses the UTF-8 bytes unchanged.
///
/// Text that no provider issues is an error: an invisible character, a line break, or whitespace at an end. Text that
/// looks like a mistake but may be a secret is a [`warning`](Secret::warning), which a receiver logs when it is built:
/// quotation marks, an unexpanded `${NAME}`, a leading `NAME=`, a leading `Bearer` or `Basic`, a placeholder.
/// [`literal`](Secret::literal) silences it.
#[derive(Clone)]
pub struct Secret {
    label: Option<Arc<str>>,
    text: Zeroizing<String>,
    form: Form,
}

/// The checks of a secret's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Checked,
    /// The text is intended as it is: no warnings.
    Literal,
    /// No errors either.
    #[cfg(feature = "testing")]
    Unchecked,
}

/// The default label.
const UNLABELED: &str = "secret";

impl Secret {
    /// Creates a secret from text. Its label is `secret`, unless [`labeled`](Secret::labeled) gives it another.
    ///
    /// # Errors
    /// Returns an error if the text is empty, is longer than 4,096 bytes, has leading or trailing whitespace, or
    /// contains a control character or an invisible one, such as a byte order mark. These are copying mistakes.
    pub fn new(text: impl Into<String>) -> Result<Self, ConfigError> {
        Secret::of(text.into()).checked()
    }

    /// Creates a secret without validation, for tests and tools that sign with text that receivers reject, such as a
    /// line break.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn unchecked(text: &str) -> Self {
        Secret { form: Form::Unchecked, ..Secret::of(text.to_owned()) }
    }

    /// Validates a secret that was created without validation, as [`new`](Secret::new) does.
    ///
    /// # Errors
    /// Returns the errors of [`new`](Secret::new), with the label.
    #[cfg(feature = "testing")]
    pub fn validated(self) -> Result<Self, ConfigError> {
        Secret { form: Form::Checked, ..self }.checked()
    }

    fn of(text: String) -> Self {
        Secret { label: None, text: Zeroizing::new(text), form: Form::Checked }
    }

    /// Declares that the text is intended as it is, and silences [`warning`](Secret::warning).
    ///
    /// ```
    /// let secret = medhook::Secret::new("\"a long random text\"")?;
    /// assert!(secret.warning().is_some());
    /// assert!(secret.literal().warning().is_none());
    /// # Ok::<(), medhook::ConfigError>(())
    /// ```
    #[must_use]
    pub fn literal(mut self) -> Self {
        self.form = Form::Literal;
        self
    }

    /// Returns the mistake that the text suggests, and what to do, for a warning to the operator. A provider's secret
    /// may be any text, so this is not an error; [`literal`](Secret::literal) silences it. The result never contains
    /// the text.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        if self.is_literal() { None } else { suspicious(&self.text) }
    }

    /// Returns whether no warnings are wanted.
    pub(crate) fn is_literal(&self) -> bool {
        self.form == Form::Literal
    }

    /// Returns whether the text is a public key, and not declared to be intended as it is.
    pub(crate) fn is_public_key(&self) -> bool {
        self.form == Form::Checked && self.text.starts_with("whpk_")
    }

    /// Returns whether the text is checked for forms that no secret of the scheme can have.
    pub(crate) fn is_checked(&self) -> bool {
        matches!(self.form, Form::Checked | Form::Literal)
    }

    /// Sets the label, which identifies the secret in logs and metrics, for example during a rotation.
    ///
    /// # Errors
    /// Returns an error if the label is empty, is longer than 128 bytes, is not printable ASCII, or looks like a
    /// secret.
    pub fn labeled(mut self, label: &str) -> Result<Self, ConfigError> {
        if label.is_empty() || label.len() > 128 || !label.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(ConfigError::new("a secret's label must be 1 to 128 characters of printable ASCII"));
        }
        if label.starts_with("whsec_") {
            return Err(ConfigError::new(
                "a secret's label looks like a secret; choose another label and pass the secret to Secret::new",
            ));
        }
        self.label = Some(label.into());
        Ok(self)
    }

    /// Creates a secret whose label is the name of its source. Error messages also contain the label.
    fn from_source(label: &str, text: impl Into<String>) -> Result<Self, ConfigError> {
        Secret::of(text.into()).labeled(label)?.checked()
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
            return wrong("leading or trailing whitespace; remove it");
        }
        if self.text.len() > LONGEST {
            return wrong(&format!("longer than {LONGEST} bytes"));
        }
        if self.text.starts_with("-----BEGIN") {
            return wrong("a PEM file; use the base64 between its first and last line, in one line");
        }
        match self.text.chars().find(|c| is_invisible(*c)) {
            Some(c) => wrong(&invisible(c)),
            None => Ok(self),
        }
    }

    /// Creates a secret from an environment variable. Its label is the name of the variable.
    ///
    /// # Errors
    /// Returns an error if the variable is not set or is not UTF-8, and for the same reasons as [`new`](Secret::new).
    pub fn from_env(variable: &str) -> Result<Self, ConfigError> {
        Self::from_env_if_set(variable)?
            .ok_or_else(|| ConfigError::new(format!("secret {variable}: the environment variable is not set")))
    }

    /// Creates a secret from a file, such as a mounted one. Its label is the name of the file. One final newline, `\n`
    /// or `\r\n`, is removed.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is not UTF-8, and for the same reasons as [`new`](Secret::new).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        Self::from_file_if_present(path)?
            .ok_or_else(|| ConfigError::new(format!("secret file {}: no such file", path.display())))
    }

    /// Returns the label that logs and metrics show.
    #[must_use]
    pub fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(UNLABELED)
    }

    /// Returns whether two secrets are the same, ignoring their labels, the prefix `whsec_` and base64 padding. Two
    /// endpoints or modes with the same secret accept each other's deliveries.
    #[must_use]
    pub fn is_same_as(&self, other: &Secret) -> bool {
        bare(&self.text) == bare(&other.text)
    }

    /// Returns the secret's text.
    ///
    /// Use it to pass a secret to other code, such as a URL with a password that is configured like a secret. A search
    /// for `expose_secret` finds every such place. Do not log or store the result. To sign with a secret, use
    /// `sign::Signer` (feature `sign`) instead.
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

    /// Creates a secret from an environment variable. Returns `None` if the variable is not set.
    ///
    /// # Errors
    /// Returns an error if the variable is not UTF-8, and for the same reasons as [`new`](Secret::new).
    pub fn from_env_if_set(variable: &str) -> Result<Option<Self>, ConfigError> {
        match std::env::var(variable) {
            Ok(text) => Secret::from_source(variable, text).map(Some),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => {
                Err(ConfigError::new(format!("secret {variable}: not UTF-8; copy the secret again")))
            }
        }
    }

    fn from_file_if_present(path: &Path) -> Result<Option<Self>, ConfigError> {
        let shown = path.display();
        let unreadable = |error| ConfigError::new(format!("secret file {shown}: cannot be read")).with_source(error);
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        // The full capacity at once: a growing buffer would leave copies of the secret in memory.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 8));
        file.take(LONGEST as u64 + 3).read_to_end(&mut bytes).map_err(unreadable)?;
        let Ok(text) = str::from_utf8(&bytes) else {
            return Err(ConfigError::new(format!("secret file {shown}: not UTF-8; save it as UTF-8")));
        };
        let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        let label = path.file_name().and_then(|name| name.to_str()).unwrap_or("file");
        Secret::from_source(label, text).map(Some)
    }
}

fn bare(text: &str) -> &str {
    text.strip_prefix("whsec_").unwrap_or(text).trim_end_matches('=')
}

const LONGEST: usize = 4096;

/// The minimum length of a key in bytes. Receivers warn about shorter keys, because they could be guessed.
pub(crate) const SHORT: usize = 16;

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.label())
    }
}

/// One to four secrets, any of which can verify a delivery. Several secrets allow a rotation without downtime.
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
    /// The maximum number of secrets. Each one costs a MAC over every body.
    pub const MOST: usize = 4;

    /// Creates a set of one secret.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Secrets(vec![secret])
    }

    /// Creates a set of one secret from an environment variable, which must be set.
    ///
    /// # Errors
    /// Returns the errors of [`Secret::from_env`].
    pub fn from_env(variable: &str) -> Result<Self, ConfigError> {
        Secret::from_env(variable).map(Secrets::new)
    }

    /// Creates a set of one secret from a file, which must exist.
    ///
    /// # Errors
    /// Returns the errors of [`Secret::from_file`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Secret::from_file(path).map(Secrets::new)
    }

    /// Adds another secret.
    ///
    /// # Errors
    /// Returns an error if the set already contains the secret (under any label), the label, or four secrets.
    pub fn also(mut self, mut secret: Secret) -> Result<Self, ConfigError> {
        if secret.label.is_none() {
            secret.label = Some(format!("{UNLABELED}-{}", self.0.len() + 1).into());
        }
        let label = secret.label();
        if self.0.len() >= Self::MOST {
            return Err(ConfigError::new(format!("secret {label}: more than {} secrets", Self::MOST)));
        }
        for known in &self.0 {
            if known.text == secret.text {
                return Err(ConfigError::new(format!("secret {label}: the same as {}", known.label())));
            }
            if known.label() == label {
                return Err(ConfigError::new(format!("secret {label}: another secret has the same label")));
            }
        }
        self.0.push(secret);
        Ok(self)
    }

    /// Adds a secret from an environment variable, if it is set. Outside a rotation it can be unset.
    ///
    /// # Errors
    /// Returns the errors of [`Secret::from_env_if_set`] and [`also`](Secrets::also), for example if the variable is
    /// set but empty.
    pub fn also_env(self, variable: &str) -> Result<Self, ConfigError> {
        match Secret::from_env_if_set(variable)? {
            Some(secret) => self.also(secret),
            None => Ok(self),
        }
    }

    /// Adds a secret from a file, if it exists. Outside a rotation it can be missing.
    ///
    /// # Errors
    /// Returns the errors of [`Secret::from_file`] and [`also`](Secrets::also), for example if the file is empty. A
    /// missing file is no error.
    pub fn also_file(self, path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        match Secret::from_file_if_present(path.as_ref())? {
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
    fn errors_name_the_problem_but_never_show_the_secret() {
        for (text, problem) in [
            ("", "empty"),
            (" hunter2hunter2", "whitespace"),
            ("hunter2hunter2\n", "whitespace"),
            (&"hunter2".repeat(1000), "longer than 4096"),
        ] {
            let message = message(Secret::from_source("KEY", text));
            assert!(message.contains("KEY") && message.contains(problem), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
            assert!(self::message(Secret::new(text)).starts_with("secret: "));
        }
    }

    #[test]
    fn invisible_characters_are_rejected_wherever_they_are() {
        let invisible =
            "\u{feff}\u{200b}\u{200c}\u{200d}\u{2060}\u{ad}\u{200e}\u{202e}\u{2069}\u{61c}\0\t\u{1b}\u{7f}\u{85}";
        for c in invisible.chars() {
            for text in [format!("{c}hunter2hunter2"), format!("hunter2{c}hunter2"), format!("hunter2hunter2{c}")] {
                let message = message(Secret::from_source("KEY", text.clone()));
                assert!(message.starts_with("secret KEY: ") && message.contains("; "), "{message}");
                assert!(!message.contains("hunter2") && !message.contains(c), "{message:?}");
                assert!(Secret::new(text).map(Secret::literal).is_err());
            }
        }
        let two = message(Secret::from_source("KEY", "hunter2\nhunter3"));
        let remedy = "a secret is one line; give each secret a variable or file of its own";
        assert_eq!(two, format!("secret KEY: contains a line break (U+000A); {remedy}"));
        let pem = message(Secret::from_source("KEY", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"));
        assert_eq!(pem, "secret KEY: a PEM file; use the base64 between its first and last line, in one line");
        let marked = message(Secret::from_source("KEY", "\u{feff}hunter2"));
        assert!(
            marked.starts_with("secret KEY: contains a byte order mark (U+FEFF); save the file as UTF-8"),
            "{marked}"
        );
    }

    #[test]
    fn exactly_one_final_newline_of_a_file_is_removed() {
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
    fn equal_secrets_are_recognized_with_and_without_prefix_and_padding() {
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
    fn a_label_is_short_and_printable() {
        let labeled = |label: &str| Secret::new("a long random text").unwrap().labeled(label);
        let longest = "l".repeat(128);
        for label in ["2026", "the key of 2026~", &longest] {
            assert_eq!(labeled(label).unwrap().label(), label);
        }
        for label in ["", &*format!("{longest}l"), "a\nb", "\u{e4}", "a\u{7f}"] {
            let problem = "a secret's label must be 1 to 128 characters of printable ASCII";
            assert_eq!(message(labeled(label)), problem, "{label:?}");
        }
    }

    #[test]
    #[cfg(feature = "testing")]
    fn a_validated_secret_is_checked_like_any_other() {
        let public = Secret::unchecked("whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=");
        assert!(!public.is_public_key() && !public.is_checked());
        let public = public.validated().unwrap();
        assert!(public.is_public_key() && public.is_checked());
        assert_eq!(message(Secret::unchecked("hunter2\n").validated()), message(Secret::new("hunter2\n")));
    }

    /// Otherwise an old secret whose file cannot be read would silently no longer be accepted.
    #[test]
    fn only_a_file_that_does_not_exist_is_missing() {
        let keys = Secrets::new(Secret::new("0123456789abcdef").unwrap());
        // No file can have such a name.
        let error = message(keys.also_file("a\0b"));
        assert!(error.starts_with("secret file a") && error.contains("b: cannot be read"), "{error:?}");
    }

    #[test]
    fn a_fifth_secret_and_duplicates_are_rejected() {
        let secret = |label: &str, text: &str| Secret::new(text).unwrap().labeled(label).unwrap();
        let mut keys = Secrets::new(secret("0", "secret-0"));
        assert!(message(keys.clone().also(secret("x", "secret-0"))).contains("the same as 0"));
        assert!(message(keys.clone().also(secret("0", "secret-x"))).contains("the same label"));
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
    fn only_the_first_variable_must_be_set() {
        let keys = Secrets::new(Secret::new("0123456789abcdef").unwrap());
        assert_eq!(keys.also_env("MEDHOOK_TEST_IS_NEVER_SET").unwrap().len(), 1);
        assert!(message(Secrets::from_env("MEDHOOK_TEST_IS_NEVER_SET")).contains("not set"));
        // PATH is set in every test environment.
        assert_eq!(Secrets::from_env("PATH").unwrap().iter().next().unwrap().label(), "PATH");
    }
}
