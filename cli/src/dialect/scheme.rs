//! Builds a scheme from its options.

use medhook::{
    Ed25519Body, Encoding, HmacSha256Body, HmacSha512Body, SchemeConfig, SharedSecret, StandardWebhooks,
    TimestampedHmac,
};

use super::options::{OptionMistake, OptionSource, SchemeOptions};
use super::words::{AuthorizationForm, HashName, KeyEncoding, SchemeName, TimestampOf, word};
use crate::preset::Preset;

type Built<T> = Result<T, OptionMistake>;

/// Builds a scheme with a signature of the body, which all have the same options.
macro_rules! of_body {
    ($options:ident, $Scheme:ident) => {{
        let mut scheme = $Scheme::new($options.header()?).prefix($options.prefix()?).encoding($options.encoding());
        if let Some(separator) = $options.separator()? {
            scheme = scheme.separator(separator);
        }
        if let Some(encoding) = $options.secret_encoding {
            scheme = scheme.secret_encoding(encoding.into());
        }
        scheme
    }};
}

impl SchemeOptions {
    /// Returns the scheme that the options describe, with this name. Every option must apply to it.
    pub(crate) fn build(&self, scheme: SchemeName, source: OptionSource) -> Built<SchemeConfig> {
        if let Some((key, _)) = self.given().find(|(key, given)| *given && !scheme.keys().contains(key)) {
            let scheme = source.pair("scheme", &word(scheme));
            return Err(OptionMistake::new(key, format!("does not apply to {scheme}; remove it")));
        }
        Ok(match scheme {
            SchemeName::StandardWebhooks => self.standard_webhooks()?,
            SchemeName::HmacSha256 => of_body!(self, HmacSha256Body).into(),
            SchemeName::HmacSha512 => of_body!(self, HmacSha512Body).into(),
            SchemeName::Ed25519 if self.secret_encoding == Some(KeyEncoding::Text) => {
                return Err(OptionMistake::new("secret_encoding", "must be base64 or hex for a public key"));
            }
            SchemeName::Ed25519 => of_body!(self, Ed25519Body).into(),
            SchemeName::TimestampedHmac => self.timestamped_hmac(source)?,
            SchemeName::SharedSecret => self.shared_secret(source)?.into(),
        })
    }

    /// Returns whether the time of the event is signed, and no preset knows how old it may be.
    pub(crate) fn needs_max_age(&self) -> bool {
        self.timestamp_of == Some(TimestampOf::Event)
    }

    fn standard_webhooks(&self) -> Built<SchemeConfig> {
        let mut scheme = StandardWebhooks::new();
        if let Some(prefix) = &self.header_prefix {
            if prefix.len() > LONGEST_PREFIX || http::HeaderName::try_from(format!("{prefix}id")).is_err() {
                let problem = "must be the beginning of the names of headers, such as svix-, of at most 64 bytes";
                return Err(OptionMistake::new("header_prefix", problem));
            }
            scheme = scheme.header_prefix(prefix);
        }
        if let Some(encoding) = self.secret_encoding {
            scheme = scheme.secret_encoding(encoding.into());
        }
        if self.needs_max_age() {
            scheme = scheme.timestamp_of_event();
        }
        Ok(scheme.into())
    }

    fn timestamped_hmac(&self, source: OptionSource) -> Built<SchemeConfig> {
        if let Some(preset) = self.preset {
            let other = self.given().find(|(key, given)| *given && *key != "preset");
            if let Some((key, _)) = other {
                let preset = source.key("preset");
                return Err(OptionMistake::new(key, format!("{preset} sets it; remove one of them")));
            }
            return Ok(match preset {
                Preset::Terra => TimestampedHmac::terra(),
                Preset::Whoop => TimestampedHmac::whoop(),
                Preset::Oura => TimestampedHmac::oura(),
            }
            .into());
        }
        let header = self.header().map_err(|mistake| mistake.or(source, "preset"))?;
        let mut scheme = match (&self.timestamp_element, &self.timestamp_header) {
            (Some(_), Some(_)) => {
                let element = source.key("timestamp_element");
                let problem = format!("the timestamp is either in a header or in {element}; remove one of them");
                return Err(OptionMistake::new("timestamp_header", problem));
            }
            (None, None) => {
                let element = source.key("timestamp_element");
                let problem = format!("missing; set it to the header with the timestamp, or set {element}");
                return Err(OptionMistake::new("timestamp_header", problem));
            }
            (Some(timestamp), None) => TimestampedHmac::elements(header, timestamp, self.signature_element(source)?),
            (None, Some(timestamp)) => {
                if self.signature_element.is_some() {
                    return Err(self.only_with("signature_element", "timestamp_element", source));
                }
                TimestampedHmac::headers(header, header_name("timestamp_header", timestamp)?).prefix(self.prefix()?)
            }
        };
        if let Some(separator) = self.separator()? {
            scheme = scheme.separator(separator);
        }
        if let Some(template) = &self.signed {
            scheme = scheme.signed(template);
        }
        if let Some(unit) = self.timestamp_unit {
            scheme = scheme.timestamp_unit(unit.into());
        }
        if let Some(encoding) = self.secret_encoding {
            scheme = scheme.secret_encoding(encoding.into());
        }
        if let Some(id) = &self.id_header {
            scheme = scheme.id_header(header_name("id_header", id)?);
        }
        if self.hash == Some(HashName::Sha512) {
            scheme = scheme.sha512();
        }
        if self.needs_max_age() {
            scheme = scheme.timestamp_of_event();
        }
        Ok(scheme.encoding(self.encoding()).into())
    }

    /// Returns the name of the elements with signatures. They have no prefix and no separator of their own.
    fn signature_element(&self, source: OptionSource) -> Built<&str> {
        for (key, given) in [("prefix", self.prefix.is_some()), ("separator", self.separator.is_some())] {
            if given {
                let mut mistake = self.only_with(key, "timestamp_header", source);
                if key == "separator" {
                    mistake.problem.push_str(" (elements are separated by commas; no other separator is supported)");
                }
                return Err(mistake);
            }
        }
        self.signature_element.as_deref().ok_or_else(|| {
            let problem = "missing; set it to the name of the elements with signatures, such as v1, or to \"\" if they \
                           have none";
            OptionMistake::new("signature_element", problem)
        })
    }

    fn only_with(&self, key: &'static str, needed: &str, source: OptionSource) -> OptionMistake {
        OptionMistake::new(key, format!("applies only with {}; remove it", source.key(needed)))
    }

    fn shared_secret(&self, source: OptionSource) -> Built<SharedSecret> {
        let form = self.form.map(|form| source.pair("form", &word(form)));
        if let (Some(form), Some(_)) = (&form, &self.header) {
            let problem = format!("{form} uses the header Authorization; remove one of them");
            return Err(OptionMistake::new("header", problem));
        }
        match (self.form, &self.username) {
            (Some(AuthorizationForm::Basic), Some(username)) => Ok(SharedSecret::basic(username)),
            (Some(AuthorizationForm::Basic), None) => {
                Err(OptionMistake::new("username", "missing; set it to the user name that the provider sends"))
            }
            (_, Some(_)) => {
                let basic = source.pair("form", &word(AuthorizationForm::Basic));
                Err(OptionMistake::new("username", format!("applies only with {basic}; remove it")))
            }
            (Some(AuthorizationForm::Bearer), None) => Ok(SharedSecret::bearer()),
            (None, None) => self.header().map(SharedSecret::new).map_err(|mistake| mistake.or(source, "form")),
        }
    }

    fn header(&self) -> Built<&str> {
        match &self.header {
            Some(header) => header_name("header", header),
            None => Err(OptionMistake::new("header", MISSING)),
        }
    }

    fn prefix(&self) -> Built<&str> {
        match self.prefix.as_deref() {
            Some(prefix) if prefix.len() > LONGEST_PREFIX => Err(OptionMistake::new("prefix", TOO_LONG)),
            prefix => Ok(prefix.unwrap_or_default()),
        }
    }

    fn encoding(&self) -> Encoding {
        self.encoding.map_or(Encoding::Either, Encoding::from)
    }

    fn separator(&self) -> Built<Option<char>> {
        let Some(text) = &self.separator else { return Ok(None) };
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => Ok(Some(character)),
            _ => Err(OptionMistake::new("separator", "must be one character, such as `,`")),
        }
    }
}

impl OptionMistake {
    /// Adds an option that can be set instead of the missing one.
    fn or(mut self, source: OptionSource, other: &str) -> Self {
        if self.problem == MISSING {
            self.problem = format!("{MISSING} without {}", source.key(other));
        }
        self
    }
}

const MISSING: &str = "missing, but required";

/// The longest text before a signature, in bytes.
pub(crate) const LONGEST_PREFIX: usize = 64;
pub(crate) const TOO_LONG: &str = "must be at most 64 bytes";

/// Checks the name of a header. It is not quoted, since a whole header line pasted here would include the secret.
pub(crate) fn header_name<'n>(key: &'static str, name: &'n str) -> Built<&'n str> {
    match http::HeaderName::try_from(name) {
        Ok(_) => Ok(name),
        Err(_) => Err(OptionMistake::new(key, "must be the name of a header, without a value")),
    }
}
