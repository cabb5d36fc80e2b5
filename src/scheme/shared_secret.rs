//! A secret sent in one header or in several.

use std::sync::Arc;

use base64ct::{Base64, Encoding as _};
use http::HeaderName;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::header::{LONGEST_HEADER, SignedHeaders, header_name, required};
use super::keys::first_hit;
use super::verification::{SignatureScope, Verification};
#[cfg(feature = "sign")]
use crate::Secret;
use crate::headers::{Found, HeadFault, HeaderProblem};
use crate::secret::SHORT;
use crate::{ConfigError, Headers, Reason, Secrets};

/// A scheme with the secret itself in a header: verbatim, as a bearer token, or as the password of Basic
/// authentication.
///
/// It authenticates the sender but not the body: an attacker who sees one delivery can forge any other. Use it over TLS
/// only, and only if the provider offers no signatures.
///
/// ```
/// use medhook::SharedSecret;
///
/// let verbatim = SharedSecret::new("x-api-key");
/// let bearer = SharedSecret::bearer(); // Authorization: Bearer <secret>
/// let basic = SharedSecret::basic("acme"); // Authorization: Basic <base64 of acme:secret>
/// ```
#[derive(Debug, Clone)]
pub struct SharedSecret {
    pub(crate) header: String,
    pub(crate) form: SharedSecretForm,
    pub(crate) others: Vec<(String, Secrets)>,
}

/// The form of a shared secret in its header.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SharedSecretForm {
    /// The value is the secret.
    Verbatim,
    /// The value is `Bearer` and the secret ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)).
    Bearer,
    /// The value is `Basic` and the base64 of this user name, a colon and the secret
    /// ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)).
    Basic {
        /// The user name.
        username: String,
    },
}

impl SharedSecret {
    /// Creates the scheme for a secret in this header.
    pub fn new(header: impl Into<String>) -> Self {
        SharedSecret { header: header.into(), form: SharedSecretForm::Verbatim, others: Vec::new() }
    }

    /// Creates the scheme for a bearer token in the header `Authorization`. The secret is the token, without `Bearer`.
    #[must_use]
    pub fn bearer() -> Self {
        SharedSecret { form: SharedSecretForm::Bearer, ..SharedSecret::new("authorization") }
    }

    /// Creates the scheme for Basic authentication in the header `Authorization`. The secret is the password. The
    /// user name and the password are encoded in UTF-8.
    pub fn basic(username: impl Into<String>) -> Self {
        let form = SharedSecretForm::Basic { username: username.into() };
        SharedSecret { form, ..SharedSecret::new("authorization") }
    }

    /// Creates the scheme for a secret of this form.
    #[cfg(feature = "testing")]
    pub(crate) fn in_form(header: &str, form: SharedSecretForm) -> Self {
        SharedSecret { form, ..SharedSecret::new(header) }
    }

    /// Returns the name of the first header.
    #[must_use]
    pub fn header(&self) -> &str {
        &self.header
    }

    /// Returns the form of the secret in the first header.
    #[must_use]
    pub fn form(&self) -> &SharedSecretForm {
        &self.form
    }

    /// Requires one of these secrets in another header, too: every header must contain one of its own secrets.
    ///
    /// [`Delivery::secret_label`](crate::Delivery::secret_label) returns the label of the first header's secret.
    #[must_use]
    pub fn also_header(mut self, header: impl Into<String>, secrets: impl Into<Secrets>) -> Self {
        self.others.push((header.into(), secrets.into()));
        self
    }

    /// Returns the first secret of each header, in the order of [`KeyedSharedSecret::header_names`].
    #[cfg(feature = "sign")]
    pub(super) fn signing_secrets<'s>(&'s self, secrets: &'s Secrets) -> impl Iterator<Item = &'s Secret> {
        let all = std::iter::once(secrets).chain(self.others.iter().map(|(_, secrets)| secrets));
        all.filter_map(|secrets| secrets.iter().next())
    }

    /// Returns the names of the headers, in the order in which they were configured.
    pub(super) fn headers(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.header).chain(self.others.iter().map(|(header, _)| header)).map(String::as_str)
    }

    pub(super) fn keyed(&self, secrets: &Secrets) -> Result<KeyedSharedSecret, ConfigError> {
        if let SharedSecretForm::Basic { username } = &self.form
            && (username.contains(':') || username.len() > 256 || username.chars().any(char::is_control))
        {
            return Err(ConfigError::new(
                "the user name must have at most 256 bytes, without `:` and control characters",
            ));
        }
        let mut keyed =
            KeyedSharedSecret { first: Required::read(&self.header, &self.form, secrets)?, others: Vec::new() };
        for (header, secrets) in &self.others {
            let other = Required::read(header, &SharedSecretForm::Verbatim, secrets)?;
            if keyed.all().any(|known| known.header == other.header) {
                return Err(ConfigError::new(format!("header {} is configured twice", other.header)));
            }
            keyed.others.push(other);
        }
        Ok(keyed)
    }
}

pub(crate) struct KeyedSharedSecret {
    first: Required,
    others: Vec<Required>,
}

/// A header, and the secrets of which it must contain one.
struct Required {
    header: HeaderName,
    form: SharedSecretForm,
    keys: Vec<SecretDigest>,
}

struct SecretDigest {
    label: Arc<str>,
    digest: Zeroizing<[u8; 32]>,
    short: bool,
}

impl KeyedSharedSecret {
    /// Compares all headers, so that neither timing nor the reason of a rejection reveals which of them matched: a
    /// missing or malformed header is reported whether the others match or not.
    pub(super) fn begin<'h>(
        &self,
        [first, ..]: &SignedHeaders<'h>,
        headers: &'h (impl Headers + ?Sized),
    ) -> Result<Verification<'h>, HeadFault> {
        let (secret, mut all_match) = self.first.find(*first)?;
        for other in &self.others {
            let (_, matches) = other.find(headers.find(&other.header))?;
            all_match &= matches;
        }
        if !bool::from(all_match) {
            return Err(Reason::SignatureMismatch.into());
        }
        Ok(Verification {
            signature_scope: SignatureScope::SenderOnly,
            secret,
            message_id: None,
            attempted_at: None,
            occurred_at: None,
        })
    }

    pub(super) fn label(&self, index: usize) -> Option<&Arc<str>> {
        self.first.keys.get(index).map(|key| &key.label)
    }

    pub(super) fn short(&self) -> Vec<&str> {
        self.all().flat_map(|required| &required.keys).filter(|key| key.short).map(|key| &*key.label).collect()
    }

    /// Returns the names of the headers, in the order in which they were configured.
    pub(super) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.all().map(|required| &required.header)
    }

    fn all(&self) -> impl Iterator<Item = &Required> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl Required {
    fn read(header: &str, form: &SharedSecretForm, secrets: &Secrets) -> Result<Self, ConfigError> {
        let mut keys = Vec::with_capacity(secrets.len());
        for secret in secrets.iter() {
            let label = secret.shared_label();
            if secret.is_public_key() {
                return Err(ConfigError::new(format!(
                    "secret {label} is a public key, which others may know; use the secret that the provider sends"
                )));
            }
            let presented = form.presented(secret.text());
            let length =
                form.name().map_or(0, |(name, _)| name.len().saturating_add(1)).saturating_add(presented.len());
            if length > LONGEST_HEADER {
                return Err(ConfigError::new(format!(
                    "secret {label}: the header would exceed {LONGEST_HEADER} bytes"
                )));
            }
            keys.push(SecretDigest { label, digest: digest(presented.as_bytes()), short: secret.text().len() < SHORT });
        }
        Ok(Required { header: header_name(header)?, form: form.clone(), keys })
    }

    /// Returns the index of the secret that the header contains, and whether it contains one. Digests are compared, so
    /// timing depends only on the length of the header's value.
    fn find(&self, found: Found<'_>) -> Result<(usize, Choice), HeadFault> {
        let presented = required(found).and_then(|value| self.form.secret_in(value));
        let presented = digest(presented.map_err(|problem| problem.of(&self.header))?);
        Ok(first_hit(self.keys.iter().map(|key| key.digest.ct_eq(&*presented))))
    }
}

impl SharedSecretForm {
    /// Returns the text that a header has for this secret, without the name of the authentication scheme.
    pub(super) fn presented(&self, secret: &str) -> Zeroizing<String> {
        Zeroizing::new(match self {
            SharedSecretForm::Verbatim | SharedSecretForm::Bearer => secret.to_owned(),
            SharedSecretForm::Basic { username } => {
                Base64::encode_string(Zeroizing::new(format!("{username}:{secret}")).as_bytes())
            }
        })
    }

    /// Returns the name of the authentication scheme, which precedes the secret.
    fn name(&self) -> Option<(&'static str, HeaderProblem)> {
        match self {
            SharedSecretForm::Verbatim => None,
            SharedSecretForm::Bearer => Some(("Bearer", HeaderProblem::NoBearer)),
            SharedSecretForm::Basic { .. } => Some(("Basic", HeaderProblem::NoBasic)),
        }
    }

    /// Returns the part of a value that is compared. The name of the authentication scheme is case-insensitive, and is
    /// followed by one or more spaces (RFC 9110, section 11.4).
    fn secret_in<'v>(&self, value: &'v [u8]) -> Result<&'v [u8], HeaderProblem> {
        let Some((name, problem)) = self.name() else { return Ok(value) };
        let (given, rest) = value.split_at_checked(name.len()).ok_or(problem)?;
        let is_scheme = given.eq_ignore_ascii_case(name.as_bytes()) && rest.first() == Some(&b' ');
        if is_scheme { Ok(rest.trim_ascii_start()) } else { Err(problem) }
    }

    /// Returns the value of a header with this secret.
    #[cfg(feature = "sign")]
    pub(super) fn value(&self, secret: &str) -> Zeroizing<String> {
        let presented = self.presented(secret);
        match self.name() {
            None => presented,
            Some((name, _)) => Zeroizing::new(format!("{name} {}", &*presented)),
        }
    }
}

fn digest(bytes: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    fn secrets(label: &str, texts: &[&str]) -> Secrets {
        let mut secrets = texts
            .iter()
            .enumerate()
            .map(|(n, text)| Secret::new(*text).and_then(|secret| secret.labeled(&format!("{label}-{n}"))));
        let first = Secrets::new(secrets.next().unwrap().unwrap());
        secrets.fold(first, |all, secret| all.also(secret.unwrap()).unwrap())
    }

    fn found(scheme: &KeyedSharedSecret, headers: &[(&str, &str)]) -> Result<usize, Reason> {
        let first = headers.find(&scheme.first.header);
        scheme
            .begin(&[first, Found::Absent, Found::Absent], headers)
            .map(|verification| verification.secret)
            .map_err(|fault| fault.reason)
    }

    #[test]
    fn every_header_must_hold_one_of_its_own_secrets() {
        let scheme = SharedSecret::new("x-one").also_header("X-Two", secrets("two", &["second", "second-old"]));
        let scheme = scheme.keyed(&secrets("one", &["first", "first-old"])).unwrap();
        for two in ["second", "second-old"] {
            assert_eq!(found(&scheme, &[("x-one", "first"), ("x-two", two)]), Ok(0));
            assert_eq!(found(&scheme, &[("x-two", two), ("x-one", "first-old")]), Ok(1));
        }
        for (headers, reason) in [
            (&[("x-one", "first")][..], Reason::MissingHeader),
            (&[("x-two", "second")], Reason::MissingHeader),
            (&[("x-one", "first"), ("x-two", "first")], Reason::SignatureMismatch),
            (&[("x-one", "second"), ("x-two", "second")], Reason::SignatureMismatch),
            (&[("x-one", "first"), ("x-two", "secon")], Reason::SignatureMismatch),
            (&[("x-one", "first"), ("x-two", "")], Reason::MalformedHeader),
            // The reasons are the same as with a first secret that matches.
            (&[("x-one", "other")], Reason::MissingHeader),
            (&[("x-one", "other"), ("x-two", "")], Reason::MalformedHeader),
            (&[("x-one", "other"), ("x-two", "second"), ("x-two", "second")], Reason::RepeatedHeader),
            (&[("x-one", "first"), ("x-two", "second"), ("x-two", "second")], Reason::RepeatedHeader),
        ] {
            assert_eq!(found(&scheme, headers), Err(reason), "{headers:?}");
        }
        assert_eq!(scheme.label(1).map(|label| &**label), Some("one-1"));
        assert_eq!(scheme.short(), ["one-0", "one-1", "two-0", "two-1"]);
    }

    #[test]
    fn a_bearer_token_and_a_password_need_the_name_of_their_scheme() {
        let keys = secrets("one", &["open sesame"]);
        let bearer = SharedSecret::bearer().keyed(&keys).unwrap();
        // The base64 of `Aladdin:open sesame`, from RFC 7617.
        let basic = SharedSecret::basic("Aladdin").keyed(&keys).unwrap();
        for (scheme, value, expected) in [
            (&bearer, "Bearer open sesame", Ok(0)),
            (&bearer, "bearer  open sesame", Ok(0)),
            (&bearer, "open sesame", Err(Reason::MalformedHeader)),
            (&bearer, "Bearer", Err(Reason::MalformedHeader)),
            (&bearer, "Beareropen sesame", Err(Reason::MalformedHeader)),
            (&bearer, "Bearer ", Err(Reason::SignatureMismatch)),
            (&bearer, "Bearer open sesam", Err(Reason::SignatureMismatch)),
            (&bearer, "Basic open sesame", Err(Reason::MalformedHeader)),
            (&bearer, "Digest open sesame", Err(Reason::MalformedHeader)),
            (&basic, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Ok(0)),
            (&basic, "BASIC QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Ok(0)),
            (&basic, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ", Err(Reason::SignatureMismatch)),
            (&basic, "Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ==", Err(Reason::SignatureMismatch)),
            (&basic, "Basic open sesame", Err(Reason::SignatureMismatch)),
            (&basic, "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Err(Reason::MalformedHeader)),
            (&basic, "Token QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Err(Reason::MalformedHeader)),
        ] {
            assert_eq!(found(scheme, &[("Authorization", value)]), expected, "{value}");
        }
        assert!(SharedSecret::basic("u".repeat(256)).keyed(&keys).is_ok());
        for username in ["a:b", "a\nb", &*"u".repeat(257)] {
            let problem = SharedSecret::basic(username).keyed(&keys).err().expect("rejected").to_string();
            assert_eq!(problem, "the user name must have at most 256 bytes, without `:` and control characters");
        }
    }

    #[test]
    fn the_first_header_and_its_form_are_known() {
        let scheme = SharedSecret::new("X-One").also_header("x-two", secrets("two", &["second"]));
        assert_eq!((scheme.header(), scheme.form()), ("X-One", &SharedSecretForm::Verbatim));
        assert_eq!(SharedSecret::bearer().header(), "authorization");
    }

    /// Every delivery with it would be rejected.
    #[test]
    fn a_secret_that_makes_a_header_too_long_is_an_error() {
        let secret = |length: usize| Secrets::new(Secret::new("k".repeat(length)).unwrap());
        for (scheme, longest) in
            [(SharedSecret::new("x-key"), 4096), (SharedSecret::bearer(), 4089), (SharedSecret::basic("u"), 3064)]
        {
            assert!(scheme.keyed(&secret(longest)).is_ok(), "{longest}");
            if longest < 4096 {
                let error = scheme.keyed(&secret(longest + 1)).err().expect("rejected").to_string();
                assert_eq!(error, "secret secret: the header would exceed 4096 bytes");
            }
        }
    }

    #[test]
    fn a_public_key_is_no_shared_secret() {
        let secret = Secret::new("whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=").unwrap();
        let keyed = |secret: &Secret| SharedSecret::new("x-key").keyed(&Secrets::new(secret.clone())).map(drop);
        let error = keyed(&secret).unwrap_err().to_string();
        assert_eq!(
            error,
            "secret secret is a public key, which others may know; use the secret that the provider sends"
        );
        assert!(keyed(&secret.literal()).is_ok());
    }

    #[test]
    fn invalid_and_repeated_header_names_are_rejected() {
        let keys = secrets("one", &["first"]);
        let error = |scheme: SharedSecret| scheme.keyed(&keys).err().expect("rejected").to_string();
        assert_eq!(error(SharedSecret::new("")), "\"\" is not a valid header name");
        assert_eq!(error(SharedSecret::new("x one")), "\"x\".. is not a valid header name");
        assert_eq!(
            error(SharedSecret::new("x-one").also_header("x:two", keys.clone())),
            "\"x\".. is not a valid header name"
        );
        assert_eq!(
            error(SharedSecret::new("x-one").also_header("X-One", keys.clone())),
            "header x-one is configured twice"
        );
    }
}
