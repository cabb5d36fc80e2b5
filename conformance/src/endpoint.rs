//! The endpoints that cases are for: a receiver's settings, and what a sender needs to know.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use medhook::testing::{Signing, marked};
use medhook::{
    Azodha, Builder, Cair, Encoding, Fasten, Freshness, HealthSync, MediQuo, Receiver, Secret, Secrets, cair,
};
use serde::Deserialize;

use crate::body::dated;
use crate::error::EndpointError;

/// What a case's receiver is made of, and what its sender has to know.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Endpoint {
    /// The provider's name. Not read: the folder of the file says it.
    #[serde(skip)]
    pub provider: String,
    /// Its secrets, by label. The first in the order of labels signs, unless a case says otherwise.
    pub secrets: BTreeMap<String, String>,
    /// Fasten: secrets of the test mode, beside those of the live mode or alone.
    #[serde(default)]
    pub test_secrets: BTreeMap<String, String>,
    /// Where it is for each endpoint to say: how its provider proves a delivery.
    #[serde(default)]
    pub scheme: Option<Scheme>,
    /// Where it is for each endpoint to say: the header with the proof. MediQuo: another than its usual one.
    #[serde(default)]
    pub header: Option<String>,
    /// Text before an HMAC.
    #[serde(default)]
    pub prefix: Option<String>,
    /// How an HMAC is written, if not either way.
    #[serde(default)]
    pub encoding: Option<Written>,
    /// The kind that is pinned.
    #[serde(default)]
    pub pin_kind: Option<String>,
    /// MediQuo: a second header that must hold one of `also_secrets`, of which the first is sent.
    #[serde(default)]
    pub also_header: Option<String>,
    /// MediQuo: the second header's secrets, by label.
    #[serde(default)]
    pub also_secrets: BTreeMap<String, String>,
    /// How old an event may be, and how far ahead, in seconds, if not as its provider has it.
    #[serde(default)]
    pub event_age: Option<(u64, u64)>,
    /// The longest body, in bytes.
    #[serde(default)]
    pub body_limit: Option<usize>,
    /// How long a body may take, in milliseconds.
    #[serde(default)]
    pub body_timeout_ms: Option<u64>,
}

/// How a delivery is proven, where the provider does not say it once for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Scheme {
    /// HMAC-SHA256 over the body.
    HmacSha256,
    /// The secret itself.
    SharedSecret,
}

/// How an HMAC is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Written {
    /// In hexadecimal digits.
    Hex,
    /// In base64.
    Base64,
}

impl From<Written> for Encoding {
    fn from(written: Written) -> Self {
        match written {
            Written::Hex => Encoding::Hex,
            Written::Base64 => Encoding::Base64,
        }
    }
}

impl Endpoint {
    /// An endpoint of this provider's, as it is unless told otherwise, still without secrets.
    #[must_use]
    pub fn new(provider: &str) -> Self {
        Endpoint {
            provider: provider.to_owned(),
            secrets: BTreeMap::new(),
            test_secrets: BTreeMap::new(),
            scheme: None,
            header: None,
            prefix: None,
            encoding: None,
            pin_kind: None,
            also_header: None,
            also_secrets: BTreeMap::new(),
            event_age: None,
            body_limit: None,
            body_timeout_ms: None,
        }
    }

    /// A receiver, up to its store and clock.
    ///
    /// # Errors
    /// A secret or a provider that the list should not hold.
    pub fn builder(&self, name: &str) -> Result<Builder, EndpointError> {
        let mut builder = self.plain_builder(name)?;
        if let Some((max_age, max_skew)) = self.event_age {
            let (max_age, max_skew) = (Duration::from_secs(max_age), Duration::from_secs(max_skew));
            builder = builder.freshness(Freshness::EventTime { max_age, max_skew });
        }
        if let Some(bytes) = self.body_limit {
            builder = builder.body_limit(bytes);
        }
        if let Some(millis) = self.body_timeout_ms {
            builder = builder.body_timeout(Duration::from_millis(millis));
        }
        Ok(builder)
    }

    /// A new provider is added here, to `signing` and to `time_at`.
    fn plain_builder(&self, name: &str) -> Result<Builder, EndpointError> {
        let secrets = || secrets(&self.secrets);
        Ok(match self.provider.as_str() {
            "azodha" => {
                let header = self.needed("header", self.header.as_deref())?;
                let mut azodha = match self.needed("scheme", self.scheme)? {
                    Scheme::HmacSha256 => Azodha::hmac_sha256(header, secrets()?),
                    Scheme::SharedSecret => Azodha::shared_secret(header, secrets()?),
                };
                if let Some(prefix) = &self.prefix {
                    azodha = azodha.prefix(prefix);
                }
                if let Some(written) = self.encoding {
                    azodha = azodha.encoding(written.into());
                }
                if let Some(kind) = &self.pin_kind {
                    azodha = azodha.pin_kind(kind);
                }
                Receiver::builder(name, azodha)
            }
            "cair" => {
                let header = self.needed("header", self.header.as_deref())?;
                let mut cair = match self.needed("scheme", self.scheme)? {
                    Scheme::HmacSha256 => Cair::hmac_sha256(header, secrets()?),
                    Scheme::SharedSecret => Cair::shared_secret(header, secrets()?),
                };
                if let Some(prefix) = &self.prefix {
                    cair = cair.prefix(prefix);
                }
                if let Some(written) = self.encoding {
                    cair = cair.encoding(written.into());
                }
                if let Some(kind) = &self.pin_kind {
                    cair = cair.pin_kind(self.needed("pin_kind", cair::Kind::from_name(kind))?);
                }
                Receiver::builder(name, cair)
            }
            "fasten" => {
                let fasten = match (self.secrets.is_empty(), self.test_secrets.is_empty()) {
                    (false, false) => Fasten::live(secrets()?).and_test(self::secrets(&self.test_secrets)?),
                    (true, false) => Fasten::test(self::secrets(&self.test_secrets)?),
                    (_, true) => Fasten::live(secrets()?),
                };
                Receiver::builder(name, fasten)
            }
            "healthsync" => Receiver::builder(name, HealthSync::new(secrets()?)),
            "mediquo" => {
                let mut mediquo = MediQuo::new(secrets()?);
                if let Some(header) = &self.header {
                    mediquo = mediquo.header(header);
                }
                if let Some(also) = &self.also_header {
                    mediquo = mediquo.also_header(also, self::secrets(&self.also_secrets)?);
                }
                Receiver::builder(name, mediquo)
            }
            other => return Err(no_provider(other)),
        })
    }

    /// How deliveries to it are signed: in hex where either will do.
    ///
    /// # Errors
    /// What is for each endpoint to say is not said; no such provider.
    pub fn signing(&self) -> Result<Signing, EndpointError> {
        match self.provider.as_str() {
            "azodha" | "cair" => self.chosen_signing(),
            "fasten" => Ok(Signing::StandardWebhooks),
            "healthsync" => Ok(Signing::healthsync()),
            "mediquo" => Ok(self.header.as_ref().map_or_else(Signing::mediquo, Signing::shared_secret)),
            other => Err(no_provider(other)),
        }
    }

    /// Where the bodies of its provider say when they were sent or made, if any does, as a JSON pointer.
    #[must_use]
    pub fn time_at(&self) -> Option<&'static str> {
        match self.provider.as_str() {
            "cair" => Some("/timestamp"),
            "fasten" => Some("/date"),
            "healthsync" => Some("/created_at"),
            "mediquo" => Some("/occurred_on"),
            _ => None,
        }
    }

    /// A body of its provider's as that of another event: made or sent at this Unix time in seconds, if it tells one,
    /// and [`marked`].
    #[must_use]
    pub fn renewed(&self, body: &Bytes, mark: &str, unix: i64) -> Bytes {
        let body = self.time_at().map_or_else(|| body.clone(), |pointer| dated(body, pointer, unix));
        marked(&self.provider, &body, mark)
    }

    /// As `scheme`, `header`, `prefix` and `encoding` say.
    fn chosen_signing(&self) -> Result<Signing, EndpointError> {
        let header = self.needed("header", self.header.clone())?;
        Ok(match self.needed("scheme", self.scheme)? {
            Scheme::HmacSha256 => Signing::HmacSha256Body {
                header,
                prefix: self.prefix.clone().unwrap_or_default(),
                encoding: self.encoding.unwrap_or(Written::Hex).into(),
            },
            Scheme::SharedSecret => Signing::SharedSecret { header },
        })
    }

    fn needed<T>(&self, what: &str, value: Option<T>) -> Result<T, EndpointError> {
        value.ok_or_else(|| EndpointError(format!("an endpoint of {} needs its `{what}`", self.provider)))
    }

    /// The second header, with its first secret.
    #[must_use]
    pub fn also(&self) -> Option<(String, String)> {
        let (_, secret) = self.also_secrets.iter().next()?;
        Some((self.also_header.clone()?, secret.clone()))
    }

    pub(crate) fn secret(&self, label: Option<&str>) -> Option<&str> {
        let mut all = self.secrets.iter().chain(&self.test_secrets);
        match label {
            Some(label) => all.find(|(known, _)| *known == label),
            None => all.next(),
        }
        .map(|(_, secret)| secret.as_str())
    }
}

fn no_provider(name: &str) -> EndpointError {
    EndpointError(format!("no provider {name:?} is known to the list"))
}

/// Without its secrets.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("provider", &self.provider).finish_non_exhaustive()
    }
}

fn secrets(list: &BTreeMap<String, String>) -> Result<Secrets, EndpointError> {
    let mut list =
        list.iter().map(|(label, secret)| Secret::new(secret.as_str()).and_then(|secret| secret.labeled(label)));
    let first = list.next().ok_or_else(|| EndpointError("no secrets".to_owned()))??;
    Ok(list.try_fold(Secrets::new(first), |secrets, secret| secrets.also(secret?))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_is_not_sound_is_one_clear_line() {
        let problem = |provider: &str, rest: &str| {
            let mut endpoint: Endpoint =
                toml::from_str(&format!("secrets = {{ current = \"text\" }}\n{rest}")).unwrap();
            provider.clone_into(&mut endpoint.provider);
            endpoint.builder("name").unwrap_err().to_string()
        };
        assert_eq!(problem("unlisted", ""), "no provider \"unlisted\" is known to the list");
        assert_eq!(problem("azodha", ""), "an endpoint of azodha needs its `header`");
        assert_eq!(problem("azodha", "header = \"x\""), "an endpoint of azodha needs its `scheme`");
    }
}
